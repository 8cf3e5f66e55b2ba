/*
 * lock - one process at a time has a database: a locked file beside it, whose lock ends with its process, however it dies.
 *
 * Threads     main alone
 * Ownership   the struct is its owner's; the path inside is its own
 */
#pragma once

#include "base/error.h"

typedef struct spr_lock {
	int fd; /* -1: not held */
	char *path;
} spr_lock;

#define SPR_LOCK_NONE                  \
	{                              \
		.fd = -1, .path = NULL \
	}

/*
 * [main] Two names of one database are one lock: *real is where its file is, or will be, PATH_MAX bytes.
 * SPR_E_LOCKED names the process that has it as a `holder` ("daemon"), and `flag` as the way to another file; SPR_E_IO.
 */
spr_err
spr_lock_take(spr_lock *lock, const char *path, const char *holder, const char *flag, char *real);
/* [main] The file goes too. Fine when it is not held. */
void spr_lock_drop(spr_lock *lock);
