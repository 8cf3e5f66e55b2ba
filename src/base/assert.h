/*
 * assert - programmer errors and thread roles. Input from outside never reaches an assert.
 *
 * SPR_ASSERT is on in checked builds only. SPR_ASSERT_ROLE enforces the "[role]" of a prototype comment: a thread that
 * never declared a role (a test's own) passes every check.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

typedef enum spr_role {
	SPR_ROLE_NONE = 0,
	SPR_ROLE_MAIN = 1 << 0,
	SPR_ROLE_RECEIVER = 1 << 1,
	SPR_ROLE_DISPATCHER = 1 << 2,
	SPR_ROLE_LEDGER = 1 << 3,
	SPR_ROLE_CONTROL = 1 << 4,
	SPR_ROLE_HTTP = 1 << 5,
	SPR_ROLE_WATCHDOG = 1 << 6,
	SPR_ROLE_NNG_CB = 1 << 7,
} spr_role;

/* [any] Declares the calling thread's role, for its whole life or while it does the work of another. */
void spr_role_set(spr_role role);
/* [any] The calling thread's role; NONE if it never declared one. */
spr_role spr_role_get(void);
/* [any] "main", "dispatcher", ... */
const char *spr_role_name(spr_role role);

#if defined(SPR_CHECKED)
#define SPR_ASSERT(condition)                                                                \
	do {                                                                                 \
		if (!(condition)) {                                                          \
			fprintf(stderr, "%s:%d: assertion failed: %s\n", __FILE__, __LINE__, \
				#condition);                                                 \
			abort();                                                             \
		}                                                                            \
	} while (0)
#define SPR_ASSERT_ROLE(roles) \
	SPR_ASSERT(spr_role_get() == SPR_ROLE_NONE || (spr_role_get() & (unsigned)(roles)) != 0)
#else
#define SPR_ASSERT(condition)  ((void)0)
#define SPR_ASSERT_ROLE(roles) ((void)0)
#endif
