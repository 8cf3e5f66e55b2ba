/*
 * db - one SQLite connection, opened, judged and made ready. Inside store/ only.
 *
 * Errors carry a trail that names the cause; what came from SQLite is counted (STORE_ERRORS).
 */
#pragma once

#include <sqlite3.h>

#include "base/error.h"

/* [the connection's user] SPR_E_STORE or SPR_E_NOMEM from the connection's last error. */
spr_err spr_db_fail(sqlite3 *db, const char *what);
/* [main] flags: SQLITE_OPEN_... *out is set even on an error, and is to be closed. */
spr_err spr_db_open(sqlite3 **out, const char *path, int flags);
/* [main] Refuses what is not ours without changing it; then WAL, synchronous=FULL, and the tables
 * if there are none. *is_new: there were none; with must_exist, that is SPR_E_NOT_FOUND. */
spr_err spr_db_make_ready(sqlite3 *db, bool is_memory, bool must_exist, bool *is_new);
