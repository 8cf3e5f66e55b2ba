/*
 * store - subscriptions in one SQLite table, changed by one connection and listed by another.
 *
 * WAL, because then a list never waits for a commit and a commit never waits for a list;
 * synchronous=FULL, because an answered change must survive a power cut. The primary key is
 * (pattern, callback) without a rowid: loading and listing walk one tree in order. There is no index
 * by expiry: it held every text a second time, and keeping it cost an import a third of its time. What
 * has expired is found by going round the tree instead, some rows a look. SQLite's own locks are per
 * access, so "one daemon per store" is a lock file beside it.
 *
 * ":memory:" has one connection for both users and a mutex that lasts from begin to commit: there
 * is no disk to wait for.
 */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/counters.h"
#include "base/crash_point.h"
#include "base/mem.h"
#include "store/db.h"
#include "store/lock.h"

/*
 * An import touches pages all over the tree, some 8,000 with each 10,000 rows of a million. What is dirty must fit into
 * the cache, or it is written before the commit and read again; and the longer the log, the more often a page is in it that
 * is written into the database once. Its file keeps its length: a file that grows costs more than one that is written over.
 */
#define LOAD_CACHE_KIB 16384
#define CACHE_KIB      131072
#define LONG_LOG_PAGES 131072

static const spr_db_schema schema = {
    .version = 1,
    .make = "BEGIN IMMEDIATE;"
	    "CREATE TABLE subscriptions (pattern TEXT NOT NULL, callback TEXT NOT NULL,"
	    " expires INTEGER NOT NULL, PRIMARY KEY (pattern, callback)) WITHOUT ROWID;"
	    "PRAGMA user_version = 1;"
	    "COMMIT;",
};

/* X(NAME, connection, SQL) */
/* clang-format off */
#define STATEMENTS(X)                                                                              \
	X(BEGIN,    writer, "BEGIN IMMEDIATE")                                                     \
	X(COMMIT,   writer, "COMMIT")                                                              \
	X(ROLLBACK, writer, "ROLLBACK")                                                            \
	X(RENEW,    writer, "UPDATE subscriptions SET expires = ?3 WHERE pattern = ?1 AND callback = ?2") \
	X(INSERT,   writer, "INSERT INTO subscriptions (pattern, callback, expires) VALUES (?1, ?2, ?3)" \
	                    " ON CONFLICT DO NOTHING")                                             \
	X(REMOVE,   writer, "DELETE FROM subscriptions WHERE pattern = ?1 AND callback = ?2")      \
	X(SCAN,     writer, "SELECT pattern, callback, expires FROM subscriptions"                 \
	                    " WHERE (pattern, callback) > (?1, ?2) ORDER BY pattern, callback")    \
	X(LOAD,     writer, "SELECT pattern, callback, expires FROM subscriptions"                 \
	                    " ORDER BY pattern, callback")                                         \
	/* one range of the tree in its own order; ?4 cuts "P-X" out of "P" to "P/" */             \
	X(LIST,     reader, "SELECT pattern, callback, expires FROM subscriptions"                 \
	                    " WHERE (pattern, callback) > (?1, ?2) AND pattern < ?3"               \
	                    " AND (?4 IS NULL OR pattern = ?4 OR pattern >= ?4 || '.')"            \
	                    " ORDER BY pattern, callback")
/* clang-format on */

enum statement {
#define X(name, connection, sql) STATEMENT_##name,
	STATEMENTS(X)
#undef X
	    N_STATEMENTS
};

struct spr_store {
	sqlite3 *writer;
	sqlite3 *reader; /* the writer itself in memory */
	sqlite3_stmt *statement[N_STATEMENTS];
	spr_lock lock;

	/* written by the writer: pages in the log that are not all in the database; 0: it rests */
	int n_log_pages;
	/* written by the writer: the row that the look for expired ones goes on behind; NULL: the start */
	char *scanned_pattern, *scanned_callback;

	/* in memory only; held from begin to commit or rollback and during list: guards the one
	 * connection. Taken with no other lock of ours held, none is taken under it. */
	pthread_mutex_t memory_lock;
	bool is_memory;
};

/* A reset repeats the error of the step before it, which has been looked at: its result says
 * nothing new. */
static void
finish(sqlite3_stmt *stmt)
{
	(void)sqlite3_reset(stmt);
	(void)sqlite3_clear_bindings(stmt);
}

static void
bind_text(sqlite3_stmt *stmt, int at, const char *text, size_t len)
{
	/* static: every text outlives the step that reads it; finish() unbinds it */
	(void)sqlite3_bind_text64(stmt, at, text, len, SQLITE_STATIC, SQLITE_UTF8);
}

static spr_err
run(spr_store *store, enum statement which, const char *what)
{
	sqlite3_stmt *stmt = store->statement[which];
	spr_err rv = SPR_OK;

	if (sqlite3_step(stmt) != SQLITE_DONE) {
		rv = spr_db_fail(store->writer, what);
	}
	finish(stmt);
	return (rv);
}

/* Without memory the round begins anew. */
static void
set_scanned(spr_store *store, const spr_store_row *row)
{
	spr_mem_free(store->scanned_pattern);
	spr_mem_free(store->scanned_callback);
	store->scanned_pattern = row != NULL ? spr_mem_strdup(row->pattern) : NULL;
	store->scanned_callback = row != NULL ? spr_mem_strdup(row->callback) : NULL;
}

/* ------------------------------------------------------------------------------------------------
 * open */

static spr_err
prepare_all(spr_store *store)
{
	static const char *const sql[N_STATEMENTS] = {
#define X(name, connection, text) [STATEMENT_##name] = text,
	    STATEMENTS(X)
#undef X
	};
	sqlite3 *db[N_STATEMENTS] = {
#define X(name, connection, text) [STATEMENT_##name] = store->connection,
	    STATEMENTS(X)
#undef X
	};

	for (int i = 0; i < N_STATEMENTS; i++) {
		if (sqlite3_prepare_v3(db[i], sql[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &store->statement[i], NULL) != SQLITE_OK) {
			return (spr_db_fail(db[i], "prepare"));
		}
	}
	return (SPR_OK);
}

static spr_err
open_file(spr_store *store, const char *path, bool must_exist)
{
	char real[PATH_MAX];
	struct stat st;
	spr_err rv = SPR_OK;

	if (must_exist && stat(path, &st) != 0 && errno == ENOENT) {
		return (spr_fail(SPR_E_NOT_FOUND, "there is none, and --store-must-exist is set; "
						  "restore it, or start once without that flag"));
	}
	if ((rv = spr_lock_take(&store->lock, path, "daemon", "--store", real)) != SPR_OK) {
		return (rv);
	}
	return (spr_db_open(&store->writer, real, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
}

/* Instead of SQLite's own checkpoint, which would be part of a commit that somebody waits for. */
static int
on_commit(void *arg, sqlite3 *db, const char *name, int n_pages)
{
	spr_store *store = arg;

	(void)db;
	(void)name;
	store->n_log_pages = n_pages;
	return (SQLITE_OK);
}

static spr_err
open_all(spr_store *store, const char *path, bool must_exist, bool *is_new)
{
	spr_err rv = SPR_OK;

	rv = store->is_memory
		 ? spr_db_open(&store->writer, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)
		 : open_file(store, path, must_exist);
	if (rv != SPR_OK ||
	    (rv = spr_db_make_ready(store->writer, &schema, store->is_memory,
				    must_exist && !store->is_memory, is_new)) != SPR_OK) {
		return (rv);
	}
	/* earlier versions made one */
	if (sqlite3_exec(store->writer, "DROP INDEX IF EXISTS subscriptions_by_expires", NULL, NULL,
			 NULL) != SQLITE_OK) {
		return (spr_db_fail(store->writer, "drop index"));
	}
	if (store->is_memory) {
		store->reader = store->writer;
	} else if ((rv = spr_db_open(&store->reader, sqlite3_db_filename(store->writer, "main"),
				     SQLITE_OPEN_READONLY)) != SPR_OK) {
		return (rv);
	}
	(void)sqlite3_wal_hook(store->writer, on_commit, store);
	if ((rv = spr_db_set_cache(store->writer, LOAD_CACHE_KIB)) != SPR_OK) {
		return (rv);
	}
	return (prepare_all(store));
}

spr_err
spr_store_open(spr_store **out, const char *path, bool must_exist, bool *was_created)
{
	spr_store *store = NULL;
	spr_err rv = SPR_OK;
	bool is_new = false;

	if ((store = spr_mem_zalloc(sizeof(*store))) == NULL) {
		return (spr_fail(SPR_E_NOMEM, "open store %s: out of memory", path));
	}
	store->lock = (spr_lock)SPR_LOCK_NONE;
	store->is_memory = strcmp(path, ":memory:") == 0;
	(void)pthread_mutex_init(&store->memory_lock, NULL);
	if ((rv = open_all(store, path, must_exist, &is_new)) != SPR_OK) {
		spr_wrap("open store %s", path);
		spr_store_close(store);
		return (rv);
	}
	*was_created = is_new;
	*out = store;
	return (SPR_OK);
}

void
spr_store_close(spr_store *store)
{
	if (store == NULL) {
		return;
	}
	for (int i = 0; i < N_STATEMENTS; i++) {
		(void)sqlite3_finalize(store->statement[i]);
	}
	if (store->reader != store->writer) {
		(void)sqlite3_close(store->reader);
	}
	/* the last one to close moves the WAL into the database */
	(void)sqlite3_close(store->writer);
	spr_lock_drop(&store->lock);
	set_scanned(store, NULL);
	(void)pthread_mutex_destroy(&store->memory_lock);
	spr_mem_free(store);
}

/* ------------------------------------------------------------------------------------------------
 * rows */

static bool
get_row(sqlite3_stmt *stmt, spr_store_row *row)
{
	if (sqlite3_column_type(stmt, 0) != SQLITE_TEXT ||
	    sqlite3_column_type(stmt, 1) != SQLITE_TEXT ||
	    sqlite3_column_type(stmt, 2) != SQLITE_INTEGER) {
		return (false);
	}
	row->pattern = (const char *)sqlite3_column_text(stmt, 0);
	row->pattern_len = (size_t)sqlite3_column_bytes(stmt, 0);
	row->callback = (const char *)sqlite3_column_text(stmt, 1);
	row->callback_len = (size_t)sqlite3_column_bytes(stmt, 1);
	row->expires_s = sqlite3_column_int64(stmt, 2);
	/* a NUL inside would make two names of one */
	return (row->pattern != NULL && row->callback != NULL &&
		strlen(row->pattern) == row->pattern_len &&
		strlen(row->callback) == row->callback_len);
}

/* Steps a SELECT until `max` good rows were told, broken ones left out. */
static spr_err
each_row(sqlite3_stmt *stmt, const char *what, uint64_t max, uint64_t *n_broken,
	 spr_err (*on_row)(void *arg, const spr_store_row *row), void *arg)
{
	spr_store_row row;
	spr_err rv = SPR_OK;
	int code = SQLITE_ROW;

	for (uint64_t n = 0;
	     n < max && rv == SPR_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW;) {
		if (get_row(stmt, &row)) {
			rv = on_row(arg, &row);
			n++;
		} else {
			(*n_broken)++;
		}
	}
	if (rv == SPR_OK && code != SQLITE_ROW && code != SQLITE_DONE) {
		rv = spr_db_fail(sqlite3_db_handle(stmt), what);
	}
	finish(stmt);
	return (rv);
}

spr_err
spr_store_load(spr_store *store, spr_err (*on_row)(void *arg, const spr_store_row *row), void *arg)
{
	uint64_t n_broken = 0;
	spr_err rv = each_row(store->statement[STATEMENT_LOAD], "load subscriptions", UINT64_MAX,
			      &n_broken, on_row, arg);

	spr_count_add(SPR_C_STORE_BROKEN_RECORDS, n_broken);
	return (rv == SPR_OK ? spr_db_set_cache(store->writer, CACHE_KIB) : rv);
}

static spr_err
scan(spr_store *store, int64_t before_s, unsigned max,
     spr_err (*on_row)(void *arg, const spr_store_row *row), void *arg)
{
	sqlite3_stmt *stmt = store->statement[STATEMENT_SCAN];
	unsigned n = 0, n_seen = 0;
	int code = SQLITE_ROW;
	spr_store_row row = {.pattern = NULL};
	spr_err rv = SPR_OK;

	while (n < max && n_seen < SPR_STORE_SCAN && rv == SPR_OK &&
	       (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (!get_row(stmt, &row)) {
			continue;
		}
		n_seen++;
		if (row.expires_s < before_s) {
			rv = on_row(arg, &row);
			n++;
		}
	}
	if (rv == SPR_OK && code != SQLITE_ROW && code != SQLITE_DONE) {
		rv = spr_db_fail(store->writer, "find expired subscriptions");
	}
	if (rv == SPR_OK) {
		set_scanned(store, code == SQLITE_ROW && n_seen > 0 ? &row : NULL);
	}
	return (rv);
}

spr_err
spr_store_expired(spr_store *store, int64_t before_s, unsigned max,
		  spr_err (*on_row)(void *arg, const spr_store_row *row), void *arg)
{
	sqlite3_stmt *stmt = store->statement[STATEMENT_SCAN];
	bool is_within = store->scanned_pattern != NULL && store->scanned_callback != NULL;
	const char *pattern = is_within ? store->scanned_pattern : "";
	const char *callback = is_within ? store->scanned_callback : "";
	spr_err rv = SPR_OK;

	if (store->is_memory) {
		(void)pthread_mutex_lock(&store->memory_lock);
	}
	bind_text(stmt, 1, pattern, strlen(pattern));
	bind_text(stmt, 2, callback, strlen(callback));
	rv = scan(store, before_s, max, on_row, arg);
	finish(stmt);
	if (store->is_memory) {
		(void)pthread_mutex_unlock(&store->memory_lock);
	}
	return (rv);
}

/* ----------------------------------------------------------------------------------------
 * transactions */

spr_err
spr_store_begin(spr_store *store)
{
	spr_err rv = SPR_OK;

	if (store->is_memory) {
		(void)pthread_mutex_lock(&store->memory_lock);
	}
	if ((rv = run(store, STATEMENT_BEGIN, "begin")) != SPR_OK && store->is_memory) {
		(void)pthread_mutex_unlock(&store->memory_lock);
	}
	return (rv);
}

static spr_err
change(spr_store *store, enum statement which, const spr_store_row *row)
{
	sqlite3_stmt *stmt = store->statement[which];

	bind_text(stmt, 1, row->pattern, row->pattern_len);
	bind_text(stmt, 2, row->callback, row->callback_len);
	if (which != STATEMENT_REMOVE) {
		(void)sqlite3_bind_int64(stmt, 3, row->expires_s);
	}
	return (run(store, which,
		    which == STATEMENT_REMOVE ? "remove subscription" : "store subscription"));
}

spr_err
spr_store_put(spr_store *store, const spr_store_row *row, bool *created)
{
	/* this way round, since what comes in millions is new */
	spr_err rv = change(store, STATEMENT_INSERT, row);
	bool is_new = rv == SPR_OK && sqlite3_changes(store->writer) == 1;

	if (rv == SPR_OK && !is_new) {
		rv = change(store, STATEMENT_RENEW, row);
	}
	if (rv == SPR_OK) {
		*created = is_new;
	}
	return (rv);
}

spr_err
spr_store_remove(spr_store *store, const char *pattern, const char *callback)
{
	spr_store_row row = {.pattern = pattern,
			     .pattern_len = strlen(pattern),
			     .callback = callback,
			     .callback_len = strlen(callback)};
	spr_err rv = change(store, STATEMENT_REMOVE, &row);

	if (rv == SPR_OK && sqlite3_changes(store->writer) == 0) {
		return (spr_fail(SPR_E_NOT_FOUND, "no such subscription"));
	}
	return (rv);
}

spr_err
spr_store_commit(spr_store *store)
{
	spr_err rv;

	SPR_CRASH_POINT("before-commit");
	rv = run(store, STATEMENT_COMMIT, "commit");
	SPR_CRASH_POINT("committed");
	if (rv != SPR_OK) {
		spr_store_rollback(store);
		return (rv);
	}
	spr_count(SPR_C_STORE_COMMITS);
	if (store->is_memory) {
		(void)pthread_mutex_unlock(&store->memory_lock);
	}
	return (SPR_OK);
}

void
spr_store_rollback(spr_store *store)
{
	/* a full disk makes SQLite roll back by itself; the trail of the error that led here is
	 * kept */
	if (!sqlite3_get_autocommit(store->writer)) {
		(void)sqlite3_step(store->statement[STATEMENT_ROLLBACK]);
		finish(store->statement[STATEMENT_ROLLBACK]);
	}
	if (store->is_memory) {
		(void)pthread_mutex_unlock(&store->memory_lock);
	}
}

bool
spr_store_is_at_rest(const spr_store *store)
{
	return (store->n_log_pages == 0);
}

void
spr_store_rest(spr_store *store, bool is_idle)
{
	if (store->n_log_pages == 0 || (!is_idle && store->n_log_pages < LONG_LOG_PAGES)) {
		return;
	}
	/* passive: as far as no reader stands in the way; the next commit says how long the log is then */
	store->n_log_pages = 0;
	if (sqlite3_wal_checkpoint_v2(store->writer, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) !=
	    SQLITE_OK) {
		(void)spr_db_fail(store->writer, "checkpoint"); /* counted; nothing is lost by it */
	}
	if (is_idle) {
		(void)sqlite3_db_release_memory(store->writer);
	}
}

/* ------------------------------------------------------------------------------------------------
 * list */

static void
bind_list(sqlite3_stmt *stmt, const spr_store_query *query, const char *prefix, char *upper,
	  size_t upper_size)
{
	const char *pattern = "", *callback = "";

	if (query->after_pattern != NULL) {
		pattern = query->after_pattern;
		callback = query->after_callback != NULL ? query->after_callback : "";
	}
	if (prefix != NULL) {
		if (strcmp(pattern, prefix) < 0) {
			pattern = prefix;
			callback = "";
		}
		/* '/' is '.' + 1: everything below ends before it */
		snprintf(upper, upper_size, "%s/", prefix);
		bind_text(stmt, 3, upper, strlen(upper));
		bind_text(stmt, 4, prefix, strlen(prefix));
	} else {
		(void)sqlite3_bind_zeroblob(stmt, 3, 0); /* a blob is greater than any text */
	}
	bind_text(stmt, 1, pattern, strlen(pattern));
	bind_text(stmt, 2, callback, strlen(callback));
}

spr_err
spr_store_list(spr_store *store, const spr_store_query *query,
	       spr_err (*on_row)(void *arg, const spr_store_row *row), void *arg)
{
	sqlite3_stmt *stmt = store->statement[STATEMENT_LIST];
	const char *prefix =
	    query->prefix != NULL && strcmp(query->prefix, "*") != 0 ? query->prefix : NULL;
	size_t upper_size = prefix != NULL ? strlen(prefix) + 2 : 1;
	char *upper = spr_mem_alloc(upper_size);
	uint64_t n_broken = 0;
	spr_err rv = SPR_OK;

	if (upper == NULL) {
		return (spr_fail(SPR_E_NOMEM, "list subscriptions: out of memory"));
	}
	if (store->is_memory) {
		(void)pthread_mutex_lock(&store->memory_lock);
	}
	bind_list(stmt, query, prefix, upper, upper_size);
	rv = each_row(stmt, "list subscriptions", query->limit, &n_broken, on_row, arg);
	if (store->is_memory) {
		(void)pthread_mutex_unlock(&store->memory_lock);
	}
	spr_mem_free(upper);
	return (rv);
}
