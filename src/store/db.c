/*
 * db - what a database must be before the store trusts it, and the modes it then runs in.
 *
 * A database of another program is refused before anything of it is changed. One without tables is
 * as good as none: it is what a crash during the first start leaves behind.
 */
#include "store/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/counters.h"

#define BUSY_TIMEOUT_MS 5000 /* another program may look into the database, or back it up */

/* What whoever reads the message can do about it; a semicolon before it. */
static const char *
remedy_of(int code)
{
	switch (code) {
	case SQLITE_NOTADB:
	case SQLITE_CORRUPT:
		return ("; restore it from a backup, or move it away to begin with an empty one");
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return (
		    "; it must be a file that this user may write, in a folder that it may write");
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ("; another program holds it, such as a backup: end that one");
	case SQLITE_FULL:
		return ("; make room on its disk");
	case SQLITE_IOERR:
		return ("; look after its disk");
	default:
		return ("");
	}
}

spr_err
spr_db_fail(sqlite3 *db, const char *what)
{
	int code = db != NULL ? sqlite3_errcode(db) & 0xff : SQLITE_NOMEM;
	int system = db != NULL ? sqlite3_system_errno(db) : 0;
	const char *text = db != NULL ? sqlite3_errmsg(db) : "out of memory";
	bool is_system = system != 0 && (code == SQLITE_CANTOPEN || code == SQLITE_IOERR);

	spr_count(SPR_C_STORE_ERRORS);
	return (spr_fail(code == SQLITE_NOMEM ? SPR_E_NOMEM : SPR_E_STORE, "%s: %s%s%s%s", what,
			 text, is_system ? ": " : "", is_system ? strerror(system) : "",
			 remedy_of(code)));
}

/* The first value of what the statement gives, as text. */
static spr_err
get_text(sqlite3 *db, const char *sql, char *out, size_t size)
{
	sqlite3_stmt *stmt = NULL;
	const char *text = NULL;
	spr_err rv = SPR_OK;
	int code = 0;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
		return (spr_db_fail(db, sql));
	}
	out[0] = '\0';
	code = sqlite3_step(stmt);
	if (code == SQLITE_ROW && (text = (const char *)sqlite3_column_text(stmt, 0)) != NULL) {
		snprintf(out, size, "%s", text);
	} else if (code != SQLITE_DONE) {
		rv = spr_db_fail(db, sql);
	}
	(void)sqlite3_finalize(stmt);
	return (rv);
}

spr_err
spr_db_open(sqlite3 **out, const char *path, int flags)
{
	if (sqlite3_open_v2(path, out, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		return (spr_db_fail(*out, "open"));
	}
	(void)sqlite3_extended_result_codes(*out, 1);
	(void)sqlite3_busy_timeout(*out, BUSY_TIMEOUT_MS);
	return (SPR_OK);
}

static spr_err
set_modes(sqlite3 *db, bool is_memory)
{
	char mode[16];
	spr_err rv = SPR_OK;

	if ((rv = get_text(db, "PRAGMA journal_mode = WAL", mode, sizeof(mode))) != SPR_OK) {
		return (rv);
	}
	if (strcmp(mode, is_memory ? "memory" : "wal") != 0) {
		return (spr_fail(SPR_E_STORE,
				 "its file system cannot do WAL (journal mode is %s); keep it on "
				 "a local disk",
				 mode));
	}
	return (get_text(db, "PRAGMA synchronous = FULL", mode, sizeof(mode)));
}

spr_err
spr_db_set_cache(sqlite3 *db, unsigned kib)
{
	char sql[64], none[8];

	snprintf(sql, sizeof(sql), "PRAGMA cache_size = -%u", kib);
	return (get_text(db, sql, none, sizeof(none)));
}

static spr_err
judge(sqlite3 *db, const spr_db_schema *schema, bool *is_new)
{
	char version[24], tables[24], application[24];
	spr_err rv = SPR_OK;

	if ((rv = get_text(db, "PRAGMA user_version", version, sizeof(version))) != SPR_OK ||
	    (rv = get_text(db, "PRAGMA application_id", application, sizeof(application))) !=
		SPR_OK ||
	    (rv = get_text(db, "SELECT count(*) FROM sqlite_schema", tables, sizeof(tables))) !=
		SPR_OK) {
		return (rv);
	}
	*is_new = strcmp(version, "0") == 0 && strcmp(tables, "0") == 0;
	if (*is_new) {
		return (SPR_OK);
	}
	if (strcmp(version, "0") == 0 || strtol(application, NULL, 10) != schema->application_id) {
		return (spr_fail(SPR_E_STORE, "it is a database of another program; give this one "
					      "another --store"));
	}
	if (strtol(version, NULL, 10) != schema->version) {
		return (spr_fail(SPR_E_STORE,
				 "its schema version is %s, this program knows %d; run the program "
				 "that wrote it",
				 version, schema->version));
	}
	return (SPR_OK);
}

spr_err
spr_db_make_ready(sqlite3 *db, const spr_db_schema *schema, bool is_memory, bool must_exist,
		  bool *is_new)
{
	spr_err rv = SPR_OK;

	if (sqlite3_db_readonly(db, "main") == 1) {
		return (spr_fail(SPR_E_STORE, "it is read-only%s", remedy_of(SQLITE_READONLY)));
	}
	if ((rv = judge(db, schema, is_new)) != SPR_OK) {
		return (rv);
	}
	if (*is_new && must_exist) {
		return (spr_fail(SPR_E_NOT_FOUND,
				 "it is empty, and --store-must-exist is set; restore it, "
				 "or start once without that flag"));
	}
	if ((rv = set_modes(db, is_memory)) != SPR_OK) {
		return (rv);
	}
	if (*is_new && sqlite3_exec(db, schema->make, NULL, NULL, NULL) != SQLITE_OK) {
		return (spr_db_fail(db, "create tables"));
	}
	return (SPR_OK);
}
