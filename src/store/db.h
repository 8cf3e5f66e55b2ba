/*
 * db - one SQLite connection, opened, judged and made ready: for those who hold SQL, which are store/ and the queue.
 *
 * Errors carry a trail that names the cause; what came from SQLite is counted (STORE_ERRORS).
 */
#pragma once

#include <sqlite3.h>

#include <stdbool.h>

#include "base/error.h"

/* What a database holds, and how to tell that it is this. */
typedef struct spr_db_schema {
	int application_id; /* PRAGMA application_id: which program's */
	int version;        /* PRAGMA user_version; make sets both */
	const char *make;   /* SQL that creates the tables, in a transaction of its own */
} spr_db_schema;

/* [the connection's user] SPR_E_STORE or SPR_E_NOMEM from the connection's last error. */
spr_err spr_db_fail(sqlite3 *db, const char *what);
/* [main] flags: SQLITE_OPEN_... *out is set even on an error, and is to be closed. */
spr_err spr_db_open(sqlite3 **out, const char *path, int flags);
/* [the connection's user] How many pages it may keep in memory. */
spr_err spr_db_set_cache(sqlite3 *db, unsigned kib);
/* [main] Refuses what is not ours without changing it; then WAL, synchronous=FULL, and the tables
 * if there are none. *is_new: there were none; with must_exist, that is SPR_E_NOT_FOUND. */
spr_err spr_db_make_ready(sqlite3 *db, const spr_db_schema *schema, bool is_memory, bool must_exist,
			  bool *is_new);
