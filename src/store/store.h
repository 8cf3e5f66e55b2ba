/*
 * store - subscriptions on disk (SQLite; WAL, synchronous=FULL). The only folder with SQL.
 *
 * Writer      one control thread: begin, put, remove, commit, roll back, sweep
 * Reader      one control thread with its own connection: list. Reads never wait for a commit
 * Ownership   strings passed to callbacks are valid during the call
 * Ordering    what commit returned SPR_OK for is on disk
 * Progress    commit waits for the disk; a long log is moved by spr_store_rest(), half a second each 512 MiB
 * Limits      one daemon per store: an exclusive lock on <path>.lock, held for life
 * Teardown    both users stopped; spr_store_close()
 *
 * Errors carry a trail: "open store x.db: unable to open database file".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct spr_store spr_store;

typedef struct spr_store_row {
	const char *pattern; /* normalised text, the catch-all as "*" */
	size_t pattern_len;
	const char *callback;
	size_t callback_len;
	int64_t expires_s;
} spr_store_row;

/*
 * [main] path may be ":memory:". *was_created is set when there was none, or an empty file.
 * SPR_E_NOT_FOUND with must_exist and none; SPR_E_LOCKED when another daemon has it; SPR_E_IO when
 * <path>.lock cannot be made; SPR_E_STORE when it is unreadable, read-only, another program's or of
 * a newer schema.
 */
spr_err spr_store_open(spr_store **out, const char *path, bool must_exist, bool *was_created);
/* [main] NULL and half-built are fine. */
void spr_store_close(spr_store *store);

/* [main, before the users start] Every row; the callback's error ends it. A row with wrong types is
 * counted (STORE_BROKEN_RECORDS) and skipped. */
spr_err
spr_store_load(spr_store *store, spr_err (*on_row)(void *arg, const spr_store_row *row), void *arg);

/* [control writer] One transaction at a time. */
spr_err spr_store_begin(spr_store *store);
spr_err spr_store_put(spr_store *store, const spr_store_row *row, bool *created);
/* SPR_E_NOT_FOUND when there is none (the transaction stays open). */
spr_err spr_store_remove(spr_store *store, const char *pattern, const char *callback);
/* An error rolls back: after it no transaction is open. */
spr_err spr_store_commit(spr_store *store);
void spr_store_rollback(spr_store *store);
/*
 * What commits leave for later: their log is moved into the database, and with is_idle cached pages are given back. After
 * each transaction, which does it only when the log has grown long, and when nothing has been written for a while. A failure
 * is counted, and tried again after the next commit.
 */
void spr_store_rest(spr_store *store, bool is_idle);
/* Nothing is left for an idle spr_store_rest(). */
bool spr_store_is_at_rest(const spr_store *store);
/*
 * Rows with expires_s < before_s, at most max of them, among the next SPR_STORE_SCAN behind those of the last call, and round
 * again from the first when the end was reached. An error: the next call looks at the same rows.
 */
#define SPR_STORE_SCAN 10000
spr_err spr_store_expired(spr_store *store, int64_t before_s, unsigned max,
			  spr_err (*on_row)(void *arg, const spr_store_row *row), void *arg);

typedef struct spr_store_query {
	unsigned limit;
	const char *after_pattern; /* NULL: from the start; else rows behind (pattern, callback) */
	const char *after_callback;
	const char *prefix; /* NULL, or a pattern: it and all below it; "*" is everything */
} spr_store_query;
/* [control reader] Rows in (pattern, callback) order, bytewise. */
spr_err spr_store_list(spr_store *store, const spr_store_query *query,
		       spr_err (*on_row)(void *arg, const spr_store_row *row), void *arg);
