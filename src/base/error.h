/*
 * error - the one list of error codes, and the trail that makes one line of them.
 *
 * Hot path: return the bare code. Cold path: spr_fail() at the source, spr_wrap() on the way up; spr_error_text() then
 * gives one line that names object, cause and remedy: "load subscriptions: open store x.db: disk I/O error".
 * The trail is thread-local; it is valid until the thread's next spr_fail(). Out-parameters are written on SPR_OK only.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* clang-format off */
#define SPR_ERRORS(X)                                                     \
	X(OK,            "ok")                                            \
	X(E_NOMEM,       "out of memory")                                 \
	X(E_FULL,        "full")                                          \
	X(E_EMPTY,       "empty")                                         \
	X(E_TIMEOUT,     "timed out")                                     \
	X(E_CLOSED,      "closed")                                        \
	X(E_CANCELLED,   "cancelled")                                     \
	X(E_INVALID,     "invalid value")                                 \
	X(E_NOT_FOUND,   "not found")                                     \
	X(E_EXISTS,      "exists already")                                \
	X(E_TOO_LARGE,   "too large")                                     \
	X(E_TOO_MANY,    "too many")                                      \
	X(E_UNSUPPORTED, "not supported")                                 \
	X(E_IO,          "input/output error")                            \
	X(E_STORE,       "store error")                                   \
	X(E_LOCKED,      "in use by another process")                     \
	X(E_ADDRESS,     "cannot bind or dial address")                   \
	X(E_CONFIG,      "bad configuration")                             \
	X(E_USAGE,       "bad command line")                              \
	X(E_NOT_JSON,    "not JSON")                                      \
	X(E_BAD_PATTERN, "bad pattern")                                   \
	X(E_BAD_PREDICATE, "bad predicate")                               \
	X(E_BAD_CALLBACK, "bad callback")                                 \
	X(E_BAD_LEASE,   "bad lease")                                     \
	X(E_PEER,        "peer refused")                                  \
	X(E_SYSTEM,      "system error")
/* clang-format on */

typedef enum spr_err {
#define X(name, text) SPR_##name,
	SPR_ERRORS(X)
#undef X
	    SPR_N_ERRORS
} spr_err;

/* [any] The code's fixed text; never NULL. */
const char *spr_err_text(spr_err err);
/* [any] The code's name, "SPR_E_NOMEM"; never NULL. For tests and logs. */
const char *spr_err_name(spr_err err);

/* [any] Starts a new trail: formats the object and cause, returns err. */
spr_err spr_fail(spr_err err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* [any] Puts "<format>: " before the trail; returns nothing, keeps the code. */
void spr_wrap(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* [any] The trail as one line, or the code's text if no trail was left. Owned by the thread. */
const char *spr_error_text(spr_err err);
/* [any] Forgets the trail. */
void spr_error_clear(void);
