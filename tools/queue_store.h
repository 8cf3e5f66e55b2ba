/*
 * queue_store - the queue's notifications in one SQLite table, and all of the queue's SQL.
 *
 *   ready --retry()--> waiting --take_due()--> ready        ready, waiting --die()--> dead --requeue()--> waiting
 *   ready, waiting, dead --ack()--> done (a producer's own id, remembered so that a copy is known) or gone
 *
 * Which of the ready ones are handed out is not in here: after a start all of them are to be handed out again.
 *
 * The first change opens a transaction; queue_store_commit() puts all since then on disk with one fsync, and
 * queue_store_rollback() takes all back. The first failure ends the transaction: what is left is to roll back.
 *
 * Threads     one at a time
 * Ownership   rows point into SQLite's memory until the next call
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct queue_store queue_store;

typedef enum queue_state { QUEUE_READY, QUEUE_WAITING, QUEUE_DEAD, QUEUE_DONE } queue_state;

typedef struct queue_bytes {
	const uint8_t *at;
	size_t len;
} queue_bytes;

typedef struct queue_counts {
	uint64_t live; /* ready and waiting */
	uint64_t dead;
	uint64_t done;
} queue_counts;

typedef struct queue_row {
	uint64_t seq; /* order of submission, from 1 */
	queue_state state;
	bool is_named;     /* the id is the producer's own */
	unsigned retries;  /* nacks so far, for the back-off */
	unsigned attempts; /* those that count towards --max-attempts */
} queue_row;

typedef struct queue_dead {
	uint64_t seq;
	queue_bytes id, body, reason;
	unsigned attempts;
	int64_t submitted_s, died_s; /* wall clock */
} queue_dead;

/*
 * Creates it when there is none. SPR_E_LOCKED when another queue has it; SPR_E_IO; SPR_E_STORE, also for a database of another
 * program or schema. Whatever was waiting is ready.
 */
spr_err queue_store_open(queue_store **out, const char *path);
/* Rolls back. NULL is fine. */
void queue_store_close(queue_store *store);

/* No transaction is open: SPR_OK, and nothing is counted. After a failure it is rolled back. */
spr_err queue_store_commit(queue_store *store);
void queue_store_rollback(queue_store *store);
bool queue_store_is_changed(const queue_store *store);

/* *is_new: false when the id is known, in whatever state; then nothing changes. */
spr_err queue_store_submit(queue_store *store, queue_bytes id, bool is_named, queue_bytes body,
			   int64_t now_s, bool *is_new);
/* SPR_E_NOT_FOUND (without a trail): nobody knows the id. */
spr_err queue_store_find(queue_store *store, queue_bytes id, queue_row *row);
/* The row is of this transaction. remember: keep the id of a named one. */
spr_err queue_store_ack(queue_store *store, const queue_row *row, bool remember, int64_t now_s);
/* Waiting until due_ns (monotonic); counts: it was one of the attempts. */
spr_err queue_store_retry(queue_store *store, uint64_t seq, uint64_t due_ns, bool counts);
/* *attempts: with this one. */
spr_err queue_store_count_attempt(queue_store *store, uint64_t seq, unsigned *attempts);
spr_err queue_store_die(queue_store *store, uint64_t seq, const char *reason, int64_t now_s);
/* The one of the waiting ones that is due first is ready, if it is due at now_ns; SPR_E_NOT_FOUND. */
spr_err queue_store_take_due(queue_store *store, uint64_t now_ns, uint64_t *seq);
/* When the first waiting one is due; UINT64_MAX: none waits. */
spr_err queue_store_first_due(queue_store *store, uint64_t *due_ns);
/* Forgets done ones, oldest first, until only `keep` are left, at most `most` of them. */
spr_err queue_store_forget(queue_store *store, uint64_t keep, unsigned most);

/* The ready one behind `after` in their order; SPR_E_NOT_FOUND. */
spr_err queue_store_next(queue_store *store, uint64_t after, uint64_t *seq, queue_bytes *id,
			 queue_bytes *body);
/* The ready one; SPR_E_NOT_FOUND. */
spr_err queue_store_read(queue_store *store, uint64_t seq, queue_bytes *id, queue_bytes *body);
/* What next, read and next_dead gave is not used any more: an open read would keep the log from being cut. */
void queue_store_end_read(queue_store *store);
/* The highest number so far. */
uint64_t queue_store_last(const queue_store *store);
queue_counts queue_store_counts(const queue_store *store);
/* Transactions that are on disk. */
uint64_t queue_store_commits(const queue_store *store);
/* Of the oldest live one; 0: there is none. */
spr_err queue_store_oldest(queue_store *store, int64_t *submitted_s);

/* The dead one behind `after`; SPR_E_NOT_FOUND. */
spr_err queue_store_next_dead(queue_store *store, uint64_t after, queue_dead *dead);
/* One by its id, or, with id.at NULL, the first `most`. Due at once, its attempts forgotten. *n: how many. */
spr_err queue_store_requeue(queue_store *store, queue_bytes id, unsigned most, unsigned *n);
spr_err queue_store_purge(queue_store *store, queue_bytes id, unsigned most, unsigned *n);
