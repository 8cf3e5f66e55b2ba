/*
 * queue_store - one table, because an id must be known whatever has become of its notification: the unique index on it is
 * the only look-up that a submit needs.
 *
 * seq is given out here and not by SQLite, which would give the highest number again once its row is deleted: whoever reads
 * on behind a number would never see that row. due is monotonic for the waiting (a jumping clock delays none of them; a
 * start makes them ready), and the wall clock's for the dead and the done. The index on (state, due) holds only those: the
 * way of a notification that nobody refuses touches the table and the index on ids, once in and once out.
 */
#include "queue_store.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash_point.h"
#include "base/mem.h"
#include "store/db.h"
#include "store/lock.h"

#define CACHE_KIB        16384
#define CHECKPOINT_PAGES 8192 /* 32 MiB: a checkpoint is two more fsyncs, and rewrites pages */

static const spr_db_schema schema = {
    .application_id = 0x53505251,
    .version = 1,
    .make = "BEGIN IMMEDIATE;"
	    "CREATE TABLE notifications (seq INTEGER PRIMARY KEY, state INTEGER NOT NULL, due "
	    "INTEGER NOT NULL,"
	    " is_named INTEGER NOT NULL, retries INTEGER NOT NULL, attempts INTEGER NOT NULL, "
	    "submitted INTEGER NOT NULL,"
	    " id BLOB NOT NULL UNIQUE, reason TEXT, body BLOB);"
	    "CREATE INDEX notifications_by_due ON notifications (state, due) WHERE state > 0;"
	    "PRAGMA application_id = 0x53505251;"
	    "PRAGMA user_version = 1;"
	    "COMMIT;",
};

/* X(NAME, SQL); state 0 ready, 1 waiting, 2 dead, 3 done; "state > 0" lets the partial index be used */
/* clang-format off */
#define STATEMENTS(X)                                                                              \
	X(BEGIN,    "BEGIN IMMEDIATE")                                                             \
	X(COMMIT,   "COMMIT")                                                                      \
	X(ROLLBACK, "ROLLBACK")                                                                    \
	X(SUBMIT,   "INSERT INTO notifications VALUES (?1, 0, 0, ?2, 0, 0, ?3, ?4, NULL, ?5)"      \
	            " ON CONFLICT (id) DO NOTHING")                                                \
	X(FIND,     "SELECT seq, state, is_named, retries, attempts FROM notifications WHERE id = ?1") \
	X(FORGET,   "DELETE FROM notifications WHERE seq = ?1")                                    \
	X(DONE,     "UPDATE notifications SET state = 3, due = ?2, reason = NULL, body = NULL WHERE seq = ?1") \
	X(RETRY,    "UPDATE notifications SET state = 1, due = ?2, retries = retries + 1, attempts = attempts + ?3" \
	            " WHERE seq = ?1")                                                             \
	X(COUNT,    "UPDATE notifications SET attempts = attempts + 1 WHERE seq = ?1 RETURNING attempts") \
	X(DIE,      "UPDATE notifications SET state = 2, due = ?2, reason = ?3 WHERE seq = ?1")    \
	X(TAKE_DUE, "UPDATE notifications SET state = 0, due = 0 WHERE seq = (SELECT seq FROM notifications" \
	            " WHERE state = 1 AND state > 0 AND due <= ?1 ORDER BY due LIMIT 1) RETURNING seq") \
	X(FIRST_DUE, "SELECT due FROM notifications WHERE state = 1 AND state > 0 ORDER BY due LIMIT 1") \
	X(FORGET_DONE, "DELETE FROM notifications WHERE seq IN (SELECT seq FROM notifications"     \
	            " WHERE state = 3 AND state > 0 ORDER BY due LIMIT ?1)")                       \
	X(NEXT,     "SELECT seq, id, body FROM notifications WHERE seq > ?1 AND state = 0 ORDER BY seq LIMIT 1") \
	X(READ,     "SELECT seq, id, body FROM notifications WHERE seq = ?1 AND state = 0")        \
	X(OLDEST,   "SELECT seq, submitted FROM notifications WHERE seq >= ?1 AND state < 2 ORDER BY seq LIMIT 1") \
	X(NEXT_DEAD, "SELECT seq, id, body, reason, attempts, submitted, due FROM notifications"   \
	            " WHERE state = 2 AND seq > ?1 ORDER BY seq LIMIT 1")                          \
	X(REQUEUE,  "UPDATE notifications SET state = 1, due = 0, retries = 0, attempts = 0, reason = NULL" \
	            " WHERE seq IN (SELECT seq FROM notifications WHERE state = 2 AND state > 0 ORDER BY due LIMIT ?1)") \
	X(REQUEUE_ONE, "UPDATE notifications SET state = 1, due = 0, retries = 0, attempts = 0, reason = NULL" \
	            " WHERE id = ?1 AND state = 2")                                                \
	X(PURGE,    "DELETE FROM notifications WHERE seq IN (SELECT seq FROM notifications"        \
	            " WHERE state = 2 AND state > 0 ORDER BY due LIMIT ?1)")                       \
	X(PURGE_ONE, "DELETE FROM notifications WHERE id = ?1 AND state = 2")                      \
	X(WAKE_ALL, "UPDATE notifications SET state = 0, due = 0 WHERE state = 1 AND state > 0")   \
	X(COUNTS,   "SELECT (SELECT count(*) FROM notifications),"                                 \
	            " (SELECT count(*) FROM notifications WHERE state = 2 AND state > 0),"         \
	            " (SELECT count(*) FROM notifications WHERE state = 3 AND state > 0),"         \
	            " (SELECT coalesce(max(seq), 0) FROM notifications)")
/* clang-format on */

enum statement {
#define X(name, sql) STATEMENT_##name,
	STATEMENTS(X)
#undef X
	    N_STATEMENTS
};

struct queue_store {
	sqlite3 *db;
	sqlite3_stmt *statement[N_STATEMENTS];
	spr_lock lock;
	bool is_open; /* a transaction */
	uint64_t last;
	uint64_t commits;
	uint64_t lowest; /* nothing live has a lower number */
	queue_counts counts;
	/* as they were when the transaction began */
	queue_counts counts_before;
};

/* --- running a statement --- */

static sqlite3_stmt *
start(queue_store *store, enum statement which)
{
	sqlite3_stmt *stmt = store->statement[which];

	/* a reset repeats the error of the step before it, which has been looked at */
	(void)sqlite3_reset(stmt);
	(void)sqlite3_clear_bindings(stmt);
	return (stmt);
}

static void
bind_number(sqlite3_stmt *stmt, int at, uint64_t number)
{
	(void)sqlite3_bind_int64(stmt, at, (sqlite3_int64)number);
}

static void
bind_bytes(sqlite3_stmt *stmt, int at, queue_bytes bytes)
{
	/* static: the caller's bytes outlive the step */
	(void)sqlite3_bind_blob64(stmt, at, bytes.at, bytes.len, SQLITE_STATIC);
}

static queue_bytes
column_bytes(sqlite3_stmt *stmt, int at)
{
	const void *bytes = sqlite3_column_blob(stmt, at);

	return ((queue_bytes){bytes, (size_t)sqlite3_column_bytes(stmt, at)});
}

/* One row wanted. It stays valid until the statement is started again. */
static spr_err
get_row(queue_store *store, sqlite3_stmt *stmt, const char *what)
{
	int code = sqlite3_step(stmt);

	if (code == SQLITE_ROW)
		return (SPR_OK);
	if (code == SQLITE_DONE)
		return (SPR_E_NOT_FOUND);
	return (spr_db_fail(store->db, what));
}

/* No row wanted, though one may come. */
static spr_err
finish(queue_store *store, sqlite3_stmt *stmt, const char *what)
{
	int code = sqlite3_step(stmt);
	spr_err rv =
	    code == SQLITE_DONE || code == SQLITE_ROW ? SPR_OK : spr_db_fail(store->db, what);

	(void)sqlite3_reset(stmt);
	return (rv);
}

static spr_err
begin(queue_store *store)
{
	spr_err rv = SPR_OK;

	if (store->is_open)
		return (SPR_OK);
	if ((rv = finish(store, start(store, STATEMENT_BEGIN), "begin")) != SPR_OK)
		return (rv);
	store->is_open = true;
	store->counts_before = store->counts;
	return (SPR_OK);
}

/* --- open and close --- */

static spr_err
prepare_all(queue_store *store)
{
	static const char *const sql[N_STATEMENTS] = {
#define X(name, text) [STATEMENT_##name] = text,
	    STATEMENTS(X)
#undef X
	};

	for (int i = 0; i < N_STATEMENTS; i++) {
		if (sqlite3_prepare_v3(store->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &store->statement[i], NULL) != SQLITE_OK)
			return (spr_db_fail(store->db, "prepare"));
	}
	return (SPR_OK);
}

static spr_err
take_stock(queue_store *store)
{
	sqlite3_stmt *stmt = NULL;
	uint64_t n_all = 0;
	spr_err rv = finish(store, start(store, STATEMENT_WAKE_ALL), "make the waiting ready");

	if (rv != SPR_OK)
		return (rv);
	stmt = start(store, STATEMENT_COUNTS);
	if ((rv = get_row(store, stmt, "count")) != SPR_OK)
		return (rv);
	n_all = (uint64_t)sqlite3_column_int64(stmt, 0);
	store->counts.dead = (uint64_t)sqlite3_column_int64(stmt, 1);
	store->counts.done = (uint64_t)sqlite3_column_int64(stmt, 2);
	store->counts.live = n_all - store->counts.dead - store->counts.done;
	store->last = (uint64_t)sqlite3_column_int64(stmt, 3);
	(void)sqlite3_reset(stmt);
	return (SPR_OK);
}

static spr_err
open_all(queue_store *store, const char *path)
{
	char real[PATH_MAX];
	bool is_new = false, is_memory = strcmp(path, ":memory:") == 0;
	spr_err rv = SPR_OK;

	if (!is_memory &&
	    (rv = spr_lock_take(&store->lock, path, "queue", "--store", real)) != SPR_OK)
		return (rv);
	if ((rv = spr_db_open(&store->db, is_memory ? path : real,
			      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) != SPR_OK ||
	    (rv = spr_db_make_ready(store->db, &schema, is_memory, false, &is_new)) != SPR_OK)
		return (rv);
	(void)sqlite3_wal_autocheckpoint(store->db, CHECKPOINT_PAGES);
	if ((rv = spr_db_set_cache(store->db, CACHE_KIB)) != SPR_OK ||
	    (rv = prepare_all(store)) != SPR_OK)
		return (rv);
	return (take_stock(store));
}

spr_err
queue_store_open(queue_store **out, const char *path)
{
	queue_store *store = spr_mem_zalloc(sizeof(*store));
	spr_err rv = SPR_OK;

	if (store == NULL)
		return (spr_fail(SPR_E_NOMEM, "open store %s: out of memory", path));
	store->lock = (spr_lock)SPR_LOCK_NONE;
	if ((rv = open_all(store, path)) != SPR_OK) {
		spr_wrap("open store %s", path);
		queue_store_close(store);
		return (rv);
	}
	*out = store;
	return (SPR_OK);
}

void
queue_store_close(queue_store *store)
{
	if (store == NULL)
		return;
	for (int i = 0; i < N_STATEMENTS; i++)
		(void)sqlite3_finalize(store->statement[i]);
	(void)sqlite3_close(store->db); /* rolls back */
	spr_lock_drop(&store->lock);
	spr_mem_free(store);
}

/* --- the transaction --- */

spr_err
queue_store_commit(queue_store *store)
{
	spr_err rv = SPR_OK;

	if (!store->is_open)
		return (SPR_OK);
	SPR_CRASH_POINT("before-commit");
	if ((rv = finish(store, start(store, STATEMENT_COMMIT), "commit")) != SPR_OK) {
		queue_store_rollback(store);
		return (rv);
	}
	SPR_CRASH_POINT("committed");
	store->is_open = false;
	store->commits++;
	return (SPR_OK);
}

void
queue_store_rollback(queue_store *store)
{
	if (!store->is_open)
		return;
	for (int i = 0; i < N_STATEMENTS; i++)
		(void)sqlite3_reset(store->statement[i]);
	/* a full disk makes SQLite roll back by itself */
	if (sqlite3_get_autocommit(store->db) == 0)
		(void)sqlite3_step(start(store, STATEMENT_ROLLBACK));
	(void)sqlite3_reset(store->statement[STATEMENT_ROLLBACK]);
	store->is_open = false;
	store->counts = store->counts_before;
}

bool
queue_store_is_changed(const queue_store *store)
{
	return (store->is_open);
}

/* --- changes --- */

spr_err
queue_store_submit(queue_store *store, queue_bytes id, bool is_named, queue_bytes body,
		   int64_t now_s, bool *is_new)
{
	sqlite3_stmt *stmt = NULL;
	spr_err rv = begin(store);

	if (rv != SPR_OK)
		return (rv);
	stmt = start(store, STATEMENT_SUBMIT);
	bind_number(stmt, 1, store->last + 1);
	bind_number(stmt, 2, is_named);
	(void)sqlite3_bind_int64(stmt, 3, now_s);
	bind_bytes(stmt, 4, id);
	bind_bytes(stmt, 5, body);
	if ((rv = finish(store, stmt, "insert")) != SPR_OK)
		return (rv);
	*is_new = sqlite3_changes(store->db) > 0;
	if (*is_new) {
		store->last++; /* a rollback leaves a gap, which nobody minds */
		store->counts.live++;
	}
	return (SPR_OK);
}

spr_err
queue_store_find(queue_store *store, queue_bytes id, queue_row *row)
{
	sqlite3_stmt *stmt = start(store, STATEMENT_FIND);
	spr_err rv = SPR_OK;

	bind_bytes(stmt, 1, id);
	if ((rv = get_row(store, stmt, "look an id up")) == SPR_OK) {
		row->seq = (uint64_t)sqlite3_column_int64(stmt, 0);
		row->state = (queue_state)sqlite3_column_int(stmt, 1);
		row->is_named = sqlite3_column_int(stmt, 2) != 0;
		row->retries = (unsigned)sqlite3_column_int(stmt, 3);
		row->attempts = (unsigned)sqlite3_column_int(stmt, 4);
	}
	(void)sqlite3_reset(stmt);
	return (rv);
}

spr_err
queue_store_ack(queue_store *store, const queue_row *row, bool remember, int64_t now_s)
{
	bool is_kept = remember && row->is_named;
	sqlite3_stmt *stmt = NULL;
	spr_err rv = begin(store);

	if (rv != SPR_OK)
		return (rv);
	stmt = start(store, is_kept ? STATEMENT_DONE : STATEMENT_FORGET);
	bind_number(stmt, 1, row->seq);
	if (is_kept)
		(void)sqlite3_bind_int64(stmt, 2, now_s);
	if ((rv = finish(store, stmt, "ack")) != SPR_OK)
		return (rv);
	if (row->state == QUEUE_DEAD)
		store->counts.dead--;
	else
		store->counts.live--;
	store->counts.done += is_kept;
	return (SPR_OK);
}

spr_err
queue_store_retry(queue_store *store, uint64_t seq, uint64_t due_ns, bool counts)
{
	sqlite3_stmt *stmt = NULL;
	spr_err rv = begin(store);

	if (rv != SPR_OK)
		return (rv);
	stmt = start(store, STATEMENT_RETRY);
	bind_number(stmt, 1, seq);
	bind_number(stmt, 2, due_ns);
	bind_number(stmt, 3, counts);
	return (finish(store, stmt, "put off"));
}

spr_err
queue_store_count_attempt(queue_store *store, uint64_t seq, unsigned *attempts)
{
	sqlite3_stmt *stmt = NULL;
	spr_err rv = begin(store);

	if (rv != SPR_OK)
		return (rv);
	stmt = start(store, STATEMENT_COUNT);
	bind_number(stmt, 1, seq);
	if ((rv = get_row(store, stmt, "count an attempt")) == SPR_OK)
		*attempts = (unsigned)sqlite3_column_int(stmt, 0);
	(void)sqlite3_reset(stmt);
	return (rv);
}

spr_err
queue_store_die(queue_store *store, uint64_t seq, const char *reason, int64_t now_s)
{
	sqlite3_stmt *stmt = NULL;
	spr_err rv = begin(store);

	if (rv != SPR_OK)
		return (rv);
	stmt = start(store, STATEMENT_DIE);
	bind_number(stmt, 1, seq);
	(void)sqlite3_bind_int64(stmt, 2, now_s);
	(void)sqlite3_bind_text(stmt, 3, reason, -1, SQLITE_STATIC);
	if ((rv = finish(store, stmt, "dead-letter")) != SPR_OK)
		return (rv);
	store->counts.live--;
	store->counts.dead++;
	return (SPR_OK);
}

spr_err
queue_store_take_due(queue_store *store, uint64_t now_ns, uint64_t *seq)
{
	sqlite3_stmt *stmt = NULL;
	spr_err rv = begin(store);

	if (rv != SPR_OK)
		return (rv);
	stmt = start(store, STATEMENT_TAKE_DUE);
	bind_number(stmt, 1, now_ns);
	if ((rv = get_row(store, stmt, "take what is due")) == SPR_OK)
		*seq = (uint64_t)sqlite3_column_int64(stmt, 0);
	(void)sqlite3_reset(stmt);
	return (rv);
}

spr_err
queue_store_first_due(queue_store *store, uint64_t *due_ns)
{
	sqlite3_stmt *stmt = start(store, STATEMENT_FIRST_DUE);
	spr_err rv = get_row(store, stmt, "look for what is due");

	if (rv == SPR_OK)
		*due_ns = (uint64_t)sqlite3_column_int64(stmt, 0);
	else if (rv == SPR_E_NOT_FOUND)
		*due_ns = UINT64_MAX;
	(void)sqlite3_reset(stmt);
	return (rv == SPR_E_NOT_FOUND ? SPR_OK : rv);
}

spr_err
queue_store_forget(queue_store *store, uint64_t keep, unsigned most)
{
	uint64_t over = store->counts.done > keep ? store->counts.done - keep : 0;
	sqlite3_stmt *stmt = NULL;
	spr_err rv = SPR_OK;

	if (over == 0)
		return (SPR_OK);
	if ((rv = begin(store)) != SPR_OK)
		return (rv);
	stmt = start(store, STATEMENT_FORGET_DONE);
	bind_number(stmt, 1, over < most ? over : most);
	if ((rv = finish(store, stmt, "forget")) == SPR_OK)
		store->counts.done -= (uint64_t)sqlite3_changes(store->db);
	return (rv);
}

/* --- reading --- */

static spr_err
read_one(queue_store *store, enum statement which, uint64_t number, uint64_t *seq, queue_bytes *id,
	 queue_bytes *body)
{
	sqlite3_stmt *stmt = start(store, which);
	spr_err rv = SPR_OK;

	bind_number(stmt, 1, number);
	if ((rv = get_row(store, stmt, "read")) != SPR_OK) {
		(void)sqlite3_reset(stmt);
		return (rv);
	}
	*seq = (uint64_t)sqlite3_column_int64(stmt, 0);
	*id = column_bytes(stmt, 1);
	*body = column_bytes(stmt, 2);
	return (SPR_OK);
}

spr_err
queue_store_next(queue_store *store, uint64_t after, uint64_t *seq, queue_bytes *id,
		 queue_bytes *body)
{
	return (read_one(store, STATEMENT_NEXT, after, seq, id, body));
}

spr_err
queue_store_read(queue_store *store, uint64_t seq, queue_bytes *id, queue_bytes *body)
{
	uint64_t found;

	return (read_one(store, STATEMENT_READ, seq, &found, id, body));
}

void
queue_store_end_read(queue_store *store)
{
	(void)sqlite3_reset(store->statement[STATEMENT_NEXT]);
	(void)sqlite3_reset(store->statement[STATEMENT_READ]);
	(void)sqlite3_reset(store->statement[STATEMENT_NEXT_DEAD]);
}

uint64_t
queue_store_last(const queue_store *store)
{
	return (store->last);
}

queue_counts
queue_store_counts(const queue_store *store)
{
	return (store->counts);
}

uint64_t
queue_store_commits(const queue_store *store)
{
	return (store->commits);
}

spr_err
queue_store_oldest(queue_store *store, int64_t *submitted_s)
{
	sqlite3_stmt *stmt = NULL;
	spr_err rv = SPR_OK;

	*submitted_s = 0;
	if (store->counts.live == 0)
		return (SPR_OK); /* and no table to search for that */
	stmt = start(store, STATEMENT_OLDEST);
	bind_number(stmt, 1, store->lowest);
	if ((rv = get_row(store, stmt, "look for the oldest")) == SPR_OK) {
		store->lowest = (uint64_t)sqlite3_column_int64(stmt, 0);
		*submitted_s = sqlite3_column_int64(stmt, 1);
	}
	(void)sqlite3_reset(stmt);
	return (rv == SPR_E_NOT_FOUND ? SPR_OK : rv);
}

/* --- the dead --- */

spr_err
queue_store_next_dead(queue_store *store, uint64_t after, queue_dead *dead)
{
	sqlite3_stmt *stmt = start(store, STATEMENT_NEXT_DEAD);
	spr_err rv = SPR_OK;

	bind_number(stmt, 1, after);
	if ((rv = get_row(store, stmt, "read the dead")) != SPR_OK) {
		(void)sqlite3_reset(stmt);
		return (rv);
	}
	dead->seq = (uint64_t)sqlite3_column_int64(stmt, 0);
	dead->id = column_bytes(stmt, 1);
	dead->body = column_bytes(stmt, 2);
	dead->reason = column_bytes(stmt, 3);
	dead->attempts = (unsigned)sqlite3_column_int(stmt, 4);
	dead->submitted_s = sqlite3_column_int64(stmt, 5);
	dead->died_s = sqlite3_column_int64(stmt, 6);
	return (SPR_OK);
}

/* Of all, or of one by its id. */
static spr_err
change_dead(queue_store *store, enum statement all, enum statement one, queue_bytes id,
	    unsigned most, unsigned *n)
{
	sqlite3_stmt *stmt = NULL;
	spr_err rv = begin(store);

	if (rv != SPR_OK)
		return (rv);
	stmt = start(store, id.at != NULL ? one : all);
	if (id.at != NULL)
		bind_bytes(stmt, 1, id);
	else
		bind_number(stmt, 1, most);
	if ((rv = finish(store, stmt, "change the dead")) != SPR_OK)
		return (rv);
	*n = (unsigned)sqlite3_changes(store->db);
	store->counts.dead -= *n;
	return (SPR_OK);
}

spr_err
queue_store_requeue(queue_store *store, queue_bytes id, unsigned most, unsigned *n)
{
	spr_err rv = change_dead(store, STATEMENT_REQUEUE, STATEMENT_REQUEUE_ONE, id, most, n);

	if (rv == SPR_OK) {
		store->counts.live += *n;
		store->lowest = 0;
	}
	return (rv);
}

spr_err
queue_store_purge(queue_store *store, queue_bytes id, unsigned most, unsigned *n)
{
	return (change_dead(store, STATEMENT_PURGE, STATEMENT_PURGE_ONE, id, most, n));
}
