/*
 * lock - one process at a time has a database: a locked file beside it, which outlives nobody's death.
 *
 * Threads     main alone
 */
#pragma once

#include "base/error.h"

/*
 * [main] Locks <path>.lock and keeps it open in *fd, to be given to spr_lock_drop(). SPR_E_LOCKED names the process that has
 * it as a `holder` ("daemon"), and `flag` as the way to another file; SPR_E_IO.
 */
spr_err spr_lock_take(int *fd, const char *path, const char *holder, const char *flag);
/* [main] The file stays: deleting it would race with the next to lock it. -1 is fine. */
void spr_lock_drop(int fd);
