/*
 * queue_push - from ready notifications to pushed messages. First what has to be pushed again, then what was never pushed, in
 * the order of submission.
 *
 * As many notifications as are ready share a message: the first of a calm time goes alone and at once, and under load a message
 * costs what one notification would. A message that is whole in the kernel starts the time of its notifications; before that
 * nobody can have seen them.
 */
#include "queue_inside.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/log.h"

#define BATCH_BYTES  (64 * 1024)
#define POSTED_BYTES (8 * 1024 * 1024)
#define PAUSE_NS     (100 * SPR_NS_PER_MS)
#define END_LIMIT_NS (2 * SPR_NS_PER_S)
#define END_PAUSE_NS SPR_NS_PER_MS

/* [nng-cb] */
static void
on_done(void *lane_arg, void *const *cookies, unsigned n, size_t bytes, spr_err result)
{
	queue *q = lane_arg;

	(void)bytes;
	for (unsigned i = 0; i < n; i++) {
		queue_batch *batch = cookies[i];

		batch->result = result;
		spr_mailbox_push(&q->ended, &batch->entry);
	}
	spr_agent_wake(&q->agent);
}

/* [nng-cb] */
static void
on_pipe(void *arg, int change)
{
	queue *q = arg;

	/* relaxed: no data goes with them */
	atomic_fetch_add_explicit(&q->n_peers, change, memory_order_relaxed);
	if (change < 0)
		atomic_fetch_add_explicit(&q->n_lost, 1, memory_order_relaxed /* as above */);
}

spr_err
queue_push_open(queue *q)
{
	spr_push_config config = {.pipes = {.on_pipe = on_pipe, .arg = q}, .on_done = on_done};
	spr_err rv = SPR_OK;

	for (unsigned i = 0; i < QUEUE_N_BATCHES; i++) {
		q->batches[i].next_free = q->free_batches;
		q->free_batches = &q->batches[i];
	}
	if ((rv = q->transport->push_open(&q->push, &config)) != SPR_OK)
		return (rv);
	return (q->transport->lane_open(&q->lane, q->push, QUEUE_LANE_SLOTS, q));
}

static void
end_batch(queue *q, queue_batch *batch)
{
	/* relaxed: a lost connection is told at any time */
	uint64_t n_lost = atomic_load_explicit(&q->n_lost, memory_order_relaxed);

	for (unsigned i = 0; i < batch->n; i++) {
		queue_record *record = batch->records[i];

		record->n_lost = n_lost;
		if (batch->result == SPR_OK)
			queue_flight_handed_out(&q->flight, record,
						q->now_ns + q->options->visibility_ns);
		else
			queue_flight_push_again(&q->flight, record, true);
	}
	q->bytes_posted -= batch->bytes;
	batch->next_free = q->free_batches;
	q->free_batches = batch;
}

unsigned
queue_push_take_ended(queue *q)
{
	spr_stack_entry *entry = spr_mailbox_pop_all(&q->ended), *next = NULL;
	unsigned n = 0;

	for (; entry != NULL; entry = next) {
		queue_batch *batch = SPR_STACK_CONTAINER(entry, queue_batch, entry);

		next = spr_stack_next(entry);
		n += batch->n;
		end_batch(q, batch);
	}
	return (n);
}

static bool
is_full(const queue *q, const queue_batch *batch)
{
	return (batch->n == QUEUE_BATCH_NOTIFICATIONS || q->message.len >= BATCH_BYTES ||
		q->message.has_failed);
}

static void
add_to_batch(queue *q, queue_batch *batch, queue_record *record, queue_bytes id, queue_bytes body)
{
	queue_text_envelope(&q->message, id, body, q->options->name);
	queue_flight_pushing(&q->flight, record);
	batch->records[batch->n++] = record;
}

static spr_err
gather_again(queue *q, queue_batch *batch)
{
	queue_bytes id, body;
	spr_err rv = SPR_OK;

	while (!is_full(q, batch) && q->flight.to_push.first != NULL) {
		queue_record *record = q->flight.to_push.first;

		rv = queue_store_read(q->store, record->seq, &id, &body);
		if (rv == SPR_OK)
			add_to_batch(q, batch, record, id, body);
		else if (rv == SPR_E_NOT_FOUND)
			queue_flight_release(&q->flight, record);
		else
			return (rv);
	}
	return (SPR_OK);
}

static spr_err
gather_new(queue *q, queue_batch *batch)
{
	queue_bytes id, body;
	uint64_t seq;
	spr_err rv = SPR_OK;

	while (!is_full(q, batch) && q->flight.free.first != NULL &&
	       q->cursor < queue_store_last(q->store)) {
		rv = queue_store_next(q->store, q->cursor, &seq, &id, &body);
		if (rv == SPR_E_NOT_FOUND) {
			q->cursor = queue_store_last(q->store);
			return (SPR_OK);
		}
		if (rv != SPR_OK)
			return (rv);
		q->cursor = seq;
		/* one that was waiting may be in flight again before the cursor has come to it */
		if (queue_flight_find(&q->flight, seq) == NULL)
			add_to_batch(q, batch, queue_flight_add(&q->flight, seq), id, body);
	}
	return (SPR_OK);
}

/* The batch's notifications are to be pushed later, first ones first. */
static void
give_up(queue *q, queue_batch *batch)
{
	while (batch->n > 0)
		queue_flight_push_again(&q->flight, batch->records[--batch->n], true);
	q->push_pause_ns = q->now_ns + PAUSE_NS;
}

static bool
send_batch(queue *q, queue_batch *batch)
{
	spr_out out;

	if (q->message.has_failed ||
	    q->transport->out_alloc(q->lane, &out, q->message.len) != SPR_OK)
		return (false);
	memcpy(out.data, q->message.data, q->message.len);
	out.len = batch->bytes = q->message.len;
	if (q->transport->lane_send(q->lane, &out, batch) != SPR_OK) {
		q->transport->out_free(&out);
		return (false);
	}
	return (true);
}

/* One message; 0: nothing is ready, or it did not go. */
static unsigned
push_one(queue *q)
{
	queue_batch *batch = q->free_batches;
	spr_err rv = SPR_OK;

	batch->n = 0;
	q->message.len = 0;
	q->message.has_failed = false;
	if ((rv = gather_again(q, batch)) == SPR_OK)
		rv = gather_new(q, batch);
	if (rv != SPR_OK) {
		q->totals.store_errors++;
		spr_error("STORE-FAILED", "why=\"%s\"", spr_error_text(rv));
	}
	if (batch->n == 0) {
		if (rv != SPR_OK)
			give_up(q, batch);
		return (0);
	}
	q->free_batches = batch->next_free;
	if (!send_batch(q, batch)) {
		give_up(q, batch);
		batch->next_free = q->free_batches;
		q->free_batches = batch;
		return (0);
	}
	SPR_CRASH_POINT("pushed");
	q->bytes_posted += batch->bytes;
	q->totals.push_messages++;
	q->totals.pushed += batch->n;
	return (batch->n);
}

unsigned
queue_push_ready(queue *q)
{
	unsigned n = 0, n_more = 0;

	if (q->now_ns < q->push_pause_ns)
		return (0);
	q->push_pause_ns = 0;
	while (q->free_batches != NULL && q->bytes_posted < POSTED_BYTES &&
	       q->transport->lane_room(q->lane) > 0 && (n_more = push_one(q)) > 0)
		n += n_more;
	queue_store_end_read(q->store);
	return (n);
}

bool
queue_push_end(queue *q)
{
	uint64_t limit_ns = spr_clock_now_ns() + END_LIMIT_NS;
	struct timespec pause = {.tv_nsec = END_PAUSE_NS};

	if (q->lane == NULL)
		return (true);
	q->transport->lane_abort(q->lane);
	while (q->transport->lane_busy(q->lane) > 0) {
		if (spr_clock_now_ns() > limit_ns)
			return (false);
		nanosleep(&pause, NULL);
	}
	(void)queue_push_take_ended(q);
	return (true);
}
