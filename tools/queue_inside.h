/*
 * queue_inside - what queue.c, queue_push.c and queue_control.c share. Private to them.
 *
 * Threads     the queue's thread, unless a field says otherwise
 */
#pragma once

#include <stdatomic.h>

#include "base/agent.h"
#include "queue.h"
#include "queue_flight.h"
#include "queue_text.h"

#define QUEUE_BATCH_NOTIFICATIONS 32
#define QUEUE_LANE_SLOTS          64
#define QUEUE_N_BATCHES           (2 * QUEUE_LANE_SLOTS) /* those that have ended may wait for their turn */

/* X(field, name in stats) */
/* clang-format off */
#define QUEUE_TOTALS(X)                                \
	X(submitted,      "submitted_total")           \
	X(duplicates,     "duplicates_total")          \
	X(refused,        "refused_requests_total")    \
	X(pushed,         "pushed_total")              \
	X(push_messages,  "push_messages_total")       \
	X(acked,          "acked_total")               \
	X(nacked_retry,   "nacked_retry_total")        \
	X(nacked_final,   "nacked_final_total")        \
	X(unknown,        "answers_unknown_total")     \
	X(extended,       "extended_total")            \
	X(timeouts,       "timeouts_total")            \
	X(dead_lettered,  "dead_lettered_total")       \
	X(store_errors,   "store_errors_total")
/* clang-format on */

typedef struct queue_totals {
#define X(field, name) uint64_t field;
	QUEUE_TOTALS(X)
#undef X
} queue_totals;

/* One pushed message. */
typedef struct queue_batch queue_batch;
struct queue_batch {
	spr_stack_entry entry; /* in the mailbox of those that have ended */
	queue_batch *next_free;
	spr_err result;
	size_t bytes;
	unsigned n;
	queue_record *records[QUEUE_BATCH_NOTIFICATIONS];
};

struct queue {
	/* constant after start */
	const queue_options *options;
	queue_store *store;
	const spr_transport *transport;
	spr_push *push;
	spr_push_lane *lane;
	spr_agent agent;
	char boot[17]; /* begins the ids that the queue makes */

	/* any */
	spr_stack requests;
	spr_stack ended; /* batches */
	_Atomic int n_peers;
	_Atomic uint64_t n_lost; /* connections to dispatchers */

	queue_flight flight;
	queue_record *touched, *last_touched; /* in the order of their fates */
	uint64_t cursor; /* every ready one up to here has been in flight since the start */
	uint64_t next_due_ns;
	uint64_t push_pause_ns; /* no push before then: memory or the store failed */
	uint64_t n_made_ids;
	uint64_t random;
	bool is_stopping;

	/* one turn's */
	uint64_t now_ns;
	int64_t now_s;
	queue_text replies;

	queue_batch batches[QUEUE_N_BATCHES];
	queue_batch *free_batches;
	size_t bytes_posted;
	queue_text message;

	queue_totals totals;
};

/* --- queue_push.c --- */

spr_err queue_push_open(queue *q);
/* Takes what has ended; returns how many notifications. */
unsigned queue_push_take_ended(queue *q);
/* Pushes what there is room for; returns how many notifications. */
unsigned queue_push_ready(queue *q);
bool queue_push_end(queue *q);

/* --- queue_control.c --- */

/* Writes the reply; SPR_OK for a refusal too, an error only when the store fails. */
spr_err queue_control_request(queue *q, const uint8_t *data, size_t len);

/* --- queue.c --- */

/* {"ok":false,...} at the end of q->replies. */
void queue_refuse(queue *q, const char *code, const char *detail);
