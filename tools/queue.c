/*
 * queue - one turn is one group: everything that has come since the last one is changed in one transaction, put on disk with
 * one fsync, and only then answered. While the disk works the next group comes together, so the busier the queue, the less a
 * notification costs.
 *
 * What a transaction decides about records in flight is noted on them (touch) and done when it is known whether the
 * transaction is on disk; the store is what counts, the records only say who is to be pushed when.
 */
#include "queue_inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/log.h"
#include "base/mem.h"

#define EXPIRE_MOST 1024 /* a turn */
#define CLAIM_MOST  1024
#define FORGET_MOST 4096
#define PAUSE_NS    SPR_NS_PER_S
#define REASON_MAX  512

/* --- records and the transaction --- */

static void
touch(queue *q, queue_record *record, queue_fate on_commit, queue_fate on_rollback)
{
	record->is_touched = true;
	record->on_commit = (uint8_t)on_commit;
	record->on_rollback = (uint8_t)on_rollback;
	record->next_touched = NULL;
	*(q->touched != NULL ? &q->last_touched->next_touched : &q->touched) = record;
	q->last_touched = record;
}

static void
meet_fates(queue *q, bool is_committed)
{
	queue_record *record = NULL, *next = q->touched;

	q->touched = NULL;
	while ((record = next) != NULL) {
		unsigned fate = is_committed ? record->on_commit : record->on_rollback;

		next = record->next_touched;
		record->is_touched = false;
		if (fate == QUEUE_RELEASE)
			queue_flight_release(&q->flight, record);
		else if (fate == QUEUE_PUSH_AGAIN)
			queue_flight_push_again(&q->flight, record, false);
	}
}

/* The notification needs no record any more, if it has one. */
static void
settle(queue *q, uint64_t seq)
{
	queue_record *record = queue_flight_find(&q->flight, seq);

	if (record == NULL)
		return;
	if (record->is_touched)
		record->on_commit = QUEUE_RELEASE;
	else
		touch(q, record, QUEUE_RELEASE, QUEUE_KEEP);
}

/* --- submits --- */

void
queue_refuse(queue *q, const char *code, const char *detail)
{
	q->totals.refused++;
	queue_text_put(&q->replies, "{\"ok\":false,\"error\":{\"code\":\"");
	queue_text_put(&q->replies, code);
	queue_text_put(&q->replies, "\",\"detail\":");
	queue_text_quote(&q->replies, (queue_bytes){(const uint8_t *)detail, strlen(detail)});
	queue_text_put(&q->replies, "}}");
}

/* *n documents, all good; otherwise the refusal is written. */
static bool
check_documents(queue *q, const queue_request *request, unsigned *n)
{
	const uint8_t *at = request->data, *end = at + request->len;
	spr_range id;
	queue_bytes body;
	size_t used = 0;
	spr_err rv = SPR_OK;

	for (*n = 0;; (*n)++) {
		rv = queue_read_submit(at, (size_t)(end - at), q->options->max_body_bytes, &used,
				       &id, &body);
		if (rv == SPR_E_NOT_FOUND && *n > 0)
			return (true);
		if (rv == SPR_E_NOT_FOUND) {
			queue_refuse(q, "bad_request", "no document");
			return (false);
		}
		if (rv != SPR_OK) {
			spr_wrap("document %u", *n + 1);
			queue_refuse(q, rv == SPR_E_TOO_LARGE ? "too_large" : "bad_request",
				     spr_error_text(rv));
			return (false);
		}
		at += used;
	}
}

static spr_err
submit_one(queue *q, spr_range id_text, queue_bytes body)
{
	uint8_t text[SPREADER_ID_MAX];
	queue_bytes id = {text, 0};
	bool is_named = id_text.at != NULL, is_new = false;
	spr_err rv = SPR_OK;

	if (is_named)
		(void)queue_decode(id_text, text, sizeof(text), &id.len);
	else
		id.len = (size_t)snprintf((char *)text, sizeof(text), "%s-%llx", q->boot,
					  (unsigned long long)++q->n_made_ids);
	if ((rv = queue_store_submit(q->store, id, is_named, body, q->now_s, &is_new)) != SPR_OK)
		return (rv);
	if (is_new)
		q->totals.submitted++;
	else
		q->totals.duplicates++;
	queue_text_quote(&q->replies, id);
	return (SPR_OK);
}

static spr_err
submit(queue *q, const queue_request *request)
{
	const uint8_t *at = request->data, *end = at + request->len;
	spr_range id;
	queue_bytes body;
	unsigned n = 0;
	size_t used = 0;
	spr_err rv = SPR_OK;

	if (!check_documents(q, request, &n))
		return (SPR_OK);
	queue_text_put(&q->replies, "{\"ok\":true,\"ids\":[");
	for (unsigned i = 0; i < n && rv == SPR_OK; i++) {
		(void)queue_read_submit(at, (size_t)(end - at), q->options->max_body_bytes, &used,
					&id, &body);
		at += used;
		if (i > 0)
			queue_text_put(&q->replies, ",");
		rv = submit_one(q, id, body);
	}
	queue_text_put(&q->replies, "]}");
	SPR_CRASH_POINT("submitted");
	return (rv);
}

/* --- answers --- */

static uint64_t
next_random(queue *q)
{
	q->random ^= q->random << 13;
	q->random ^= q->random >> 7;
	q->random ^= q->random << 17;
	return (q->random);
}

/* Doubling, up to a quarter more by chance, so that what failed together does not come back together. */
static uint64_t
backoff_ns(queue *q, unsigned retries)
{
	uint64_t ns = q->options->retry_first_ns;

	while (retries-- > 0 && ns < q->options->retry_longest_ns)
		ns *= 2;
	if (ns > q->options->retry_longest_ns)
		ns = q->options->retry_longest_ns;
	return (ns + next_random(q) % (ns / 4 + 1));
}

/* "receipt_error: HTTP 500", as far as it fits. */
static void
write_reason(const queue_answer *answer, char out[REASON_MAX])
{
	size_t len = 0, more = 0;

	if (answer->reason.at == NULL ||
	    !queue_decode(answer->reason, (uint8_t *)out, REASON_MAX / 2, &len))
		len = (size_t)snprintf(out, REASON_MAX, "no_reason");
	out[len] = '\0';
	if (answer->detail.at == NULL || answer->detail.len == 0)
		return;
	if (queue_decode(answer->detail, (uint8_t *)out + len + 2, REASON_MAX - len - 3, &more)) {
		memcpy(out + len, ": ", 2);
		out[len + 2 + more] = '\0';
	}
}

static spr_err
die(queue *q, uint64_t seq, const char *reason)
{
	spr_err rv = queue_store_die(q->store, seq, reason, q->now_s);

	if (rv == SPR_OK) {
		q->totals.dead_lettered++;
		settle(q, seq);
	}
	return (rv);
}

static bool
is_last_attempt(const queue *q, unsigned attempts)
{
	return (q->options->max_attempts > 0 && attempts >= q->options->max_attempts);
}

static spr_err
nack(queue *q, const queue_row *row, const queue_answer *answer)
{
	static const char error[] = "receipt_error";
	const queue_record *record = queue_flight_find(&q->flight, row->seq);
	bool counts = answer->reason.len == sizeof(error) - 1 &&
		      memcmp(answer->reason.at, error, sizeof(error) - 1) == 0;
	char reason[REASON_MAX];
	uint64_t due_ns = 0;
	spr_err rv = SPR_OK;

	if (row->state != QUEUE_READY && row->state != QUEUE_WAITING)
		return (SPR_OK); /* dead already, or acked, which beats it */
	write_reason(answer, reason);
	if (!answer->is_retry) {
		q->totals.nacked_final++;
		return (die(q, row->seq, reason));
	}
	if (row->state == QUEUE_WAITING || record == NULL)
		return (SPR_OK); /* it comes again anyway */
	q->totals.nacked_retry++;
	if (counts && is_last_attempt(q, row->attempts + 1))
		return (die(q, row->seq, reason));
	due_ns = q->now_ns + backoff_ns(q, row->retries);
	if ((rv = queue_store_retry(q->store, row->seq, due_ns, counts)) != SPR_OK)
		return (rv);
	if (due_ns < q->next_due_ns)
		q->next_due_ns = due_ns;
	settle(q, row->seq);
	return (SPR_OK);
}

static spr_err
ack(queue *q, const queue_row *row)
{
	spr_err rv = SPR_OK;

	if (row->state == QUEUE_DONE)
		return (SPR_OK);
	if ((rv = queue_store_ack(q->store, row, q->options->remember > 0, q->now_s)) != SPR_OK)
		return (rv);
	q->totals.acked++;
	settle(q, row->seq);
	return (SPR_OK);
}

static spr_err
on_answer(void *arg, const queue_answer *answer)
{
	queue *q = arg;
	queue_row row;
	queue_record *record = NULL;
	spr_err rv = queue_store_find(q->store, answer->id, &row);

	if (rv == SPR_E_NOT_FOUND) {
		q->totals.unknown++;
		return (SPR_OK);
	}
	if (rv != SPR_OK)
		return (rv);
	if (answer->kind == QUEUE_ACK)
		return (ack(q, &row));
	if (answer->kind == QUEUE_NACK)
		return (nack(q, &row, answer));
	if ((record = queue_flight_find(&q->flight, row.seq)) != NULL) {
		queue_flight_extend(&q->flight, record, q->now_ns + q->options->visibility_ns);
		q->totals.extended++;
	}
	return (SPR_OK);
}

static spr_err
take_answers(queue *q, const queue_request *request)
{
	spr_err rv = queue_read_answers(request->data, request->len, on_answer, q);

	if (rv == SPR_E_INVALID) {
		/* what stands before the fault was taken; taking it again changes nothing */
		queue_refuse(q, "bad_request", spr_error_text(rv));
		return (SPR_OK);
	}
	if (rv == SPR_OK)
		queue_text_put(&q->replies, "{\"ok\":true}");
	SPR_CRASH_POINT("answered");
	return (rv);
}

/* --- time --- */

static spr_err
expire(queue *q, queue_record *record)
{
	/* relaxed: a lost connection explains a time-out whenever it is seen */
	uint64_t n_lost = atomic_load_explicit(&q->n_lost, memory_order_relaxed);
	unsigned attempts = 0;
	spr_err rv = SPR_OK;

	q->totals.timeouts++;
	touch(q, record, QUEUE_PUSH_AGAIN, QUEUE_PUSH_AGAIN);
	if (record->n_lost != n_lost)
		return (SPR_OK);
	rv = queue_store_count_attempt(q->store, record->seq, &attempts);
	if (rv == SPR_OK && is_last_attempt(q, attempts))
		rv = die(q, record->seq, "timeout: no answer within --visibility-timeout");
	return (rv);
}

static spr_err
expire_all(queue *q)
{
	queue_record *record = q->flight.out.first;
	spr_err rv = SPR_OK;

	for (unsigned n = 0;
	     n < EXPIRE_MOST && rv == SPR_OK && record != NULL && record->deadline_ns <= q->now_ns;
	     n++, record = record->next) {
		if (!record->is_touched)
			rv = expire(q, record);
	}
	return (rv);
}

/* Those that waited long enough are to be pushed. */
static spr_err
claim_due(queue *q)
{
	uint64_t seq;
	spr_err rv = SPR_OK;

	if (q->next_due_ns > q->now_ns)
		return (SPR_OK);
	for (unsigned n = 0; n < CLAIM_MOST && q->flight.free.first != NULL; n++) {
		queue_record *record = NULL;

		rv = queue_store_take_due(q->store, q->now_ns, &seq);
		if (rv == SPR_E_NOT_FOUND)
			return (queue_store_first_due(q->store, &q->next_due_ns));
		if (rv != SPR_OK)
			return (rv);
		/* died and was requeued in this group: its record is still there, and will time out */
		if ((record = queue_flight_find(&q->flight, seq)) != NULL)
			record->on_commit = QUEUE_KEEP;
		else
			touch(q, queue_flight_add(&q->flight, seq), QUEUE_KEEP, QUEUE_RELEASE);
	}
	return (SPR_OK);
}

/* --- the group --- */

static spr_err
apply(queue *q, queue_request *request)
{
	spr_err rv = SPR_OK;

	request->reply_at = q->replies.len;
	switch (request->kind) {
	case QUEUE_REQUEST_SUBMIT:
		rv = submit(q, request);
		break;
	case QUEUE_REQUEST_ANSWER:
		rv = take_answers(q, request);
		break;
	case QUEUE_REQUEST_CONTROL:
		rv = queue_control_request(q, request->data, request->len);
		break;
	}
	request->reply_len = q->replies.len - request->reply_at;
	if (rv == SPR_OK && q->replies.has_failed)
		return (spr_fail(SPR_E_NOMEM, "write the reply: out of memory"));
	return (rv);
}

static spr_err
apply_all(queue *q, queue_request *requests)
{
	spr_err rv = SPR_OK;

	for (queue_request *r = requests; r != NULL && rv == SPR_OK; r = r->next)
		rv = apply(q, r);
	if (rv == SPR_OK && !q->is_stopping && (rv = expire_all(q)) == SPR_OK)
		rv = claim_due(q);
	if (rv == SPR_OK && queue_store_is_changed(q->store))
		rv = queue_store_forget(q->store, q->options->remember, FORGET_MOST);
	if (rv == SPR_OK)
		rv = queue_store_commit(q->store);
	return (rv);
}

/* Nothing of the group has happened. */
static void
fail_group(queue *q, queue_request *requests, spr_err err)
{
	static const char no_memory[] = "{\"ok\":false}";
	queue_request *next = NULL;

	queue_store_rollback(q->store);
	q->totals.store_errors++;
	spr_error("STORE-FAILED", "why=\"%s\"", spr_error_text(err));
	q->replies.len = 0;
	q->replies.has_failed = false;
	queue_refuse(q, "store", spr_error_text(err));
	/* what was due and taken is due still, whatever has been looked up meanwhile */
	q->next_due_ns = q->now_ns + PAUSE_NS;
	for (; requests != NULL; requests = next) {
		next = requests->next;
		if (q->replies.has_failed)
			requests->reply(requests, no_memory, sizeof(no_memory) - 1);
		else
			requests->reply(requests, q->replies.data, q->replies.len);
	}
}

/* [queue] All that have come, oldest first. */
static queue_request *
take_requests(queue *q, unsigned *n)
{
	spr_stack_entry *entry = spr_mailbox_pop_all(&q->requests);
	queue_request *first = NULL, **last = &first;

	for (; entry != NULL; entry = spr_stack_next(entry)) {
		queue_request *request = SPR_STACK_CONTAINER(entry, queue_request, entry);

		*last = request;
		last = &request->next;
		(*n)++;
	}
	*last = NULL;
	return (first);
}

static unsigned
run_group(queue *q)
{
	unsigned n = 0;
	queue_request *requests = take_requests(q, &n), *next = NULL;
	spr_err rv = SPR_OK;

	q->replies.len = 0;
	q->replies.has_failed = false;
	rv = apply_all(q, requests);
	for (queue_record *r = q->touched; r != NULL; r = r->next_touched)
		n++;
	meet_fates(q, rv == SPR_OK);
	if (rv != SPR_OK) {
		fail_group(q, requests, rv);
		return (n);
	}
	for (; requests != NULL; requests = next) {
		next = requests->next;
		requests->reply(requests, q->replies.data + requests->reply_at,
				requests->reply_len);
	}
	return (n);
}

static void
set_wake(queue *q)
{
	uint64_t wake_ns = q->next_due_ns;

	if (q->flight.free.first == NULL)
		wake_ns = UINT64_MAX;
	if (q->flight.out.first != NULL && q->flight.out.first->deadline_ns < wake_ns)
		wake_ns = q->flight.out.first->deadline_ns;
	if (q->push_pause_ns != 0 && q->push_pause_ns < wake_ns)
		wake_ns = q->push_pause_ns;
	q->agent.wake_at_ns = wake_ns == UINT64_MAX ? 0 : wake_ns;
}

unsigned
queue_turn(queue *q)
{
	unsigned n = 0;

	q->now_ns = spr_clock_now_ns();
	q->now_s = spr_clock_wall_s();
	n = queue_push_take_ended(q);
	n += run_group(q);
	if (!q->is_stopping)
		n += queue_push_ready(q);
	set_wake(q);
	return (n);
}

/* --- life --- */

static unsigned
do_work(void *state)
{
	return (queue_turn(state));
}

spr_err
queue_new(queue **out, const queue_options *options, queue_store *store,
	  const spr_transport *transport)
{
	queue *q = spr_mem_zalloc_aligned(sizeof(*q));
	uint64_t random[2];
	spr_err rv = SPR_OK;

	if (q == NULL)
		return (spr_fail(SPR_E_NOMEM, "out of memory"));
	q->options = options;
	q->store = store;
	q->transport = transport;
	q->agent = (spr_agent){
	    .name = "queue", .role = SPR_ROLE_DISPATCHER, .do_work = do_work, .state = q};
	spr_agent_init(&q->agent);
	spr_stack_init(&q->requests);
	spr_stack_init(&q->ended);
	q->next_due_ns = UINT64_MAX;
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
		rv = spr_fail(SPR_E_SYSTEM, "getrandom: %s", strerror(errno));
		goto fail;
	}
	snprintf(q->boot, sizeof(q->boot), "%016llx", (unsigned long long)random[0]);
	q->random = random[1] | 1;
	if ((rv = queue_flight_init(&q->flight, options->max_outstanding)) != SPR_OK ||
	    (rv = queue_push_open(q)) != SPR_OK)
		goto fail;
	*out = q;
	return (SPR_OK);
fail:
	queue_free(q);
	return (rv);
}

spr_err
queue_start(queue *q)
{
	spr_err rv = SPR_OK;

	for (unsigned i = 0; i < q->options->to.n; i++) {
		if ((rv = q->transport->push_dial(q->push, q->options->to.item[i])) != SPR_OK) {
			spr_wrap("--to %s", q->options->to.item[i]);
			return (rv);
		}
	}
	return (spr_agent_start(&q->agent));
}

void
queue_ask(queue *q, queue_request *request)
{
	spr_mailbox_push(&q->requests, &request->entry);
	spr_agent_wake(&q->agent);
}

bool
queue_is_alive(const queue *q, uint64_t now_ns, uint64_t limit_ns)
{
	return (spr_agent_is_alive(&q->agent, now_ns, limit_ns));
}

unsigned
queue_peers(queue *q)
{
	/* relaxed: a snapshot */
	int n = atomic_load_explicit(&q->n_peers, memory_order_relaxed);

	return (n > 0 ? (unsigned)n : 0);
}

bool
queue_stop(queue *q)
{
	spr_agent_stop(&q->agent);
	q->is_stopping = true;
	(void)queue_turn(q);
	return (queue_push_end(q));
}

void
queue_free(queue *q)
{
	if (q == NULL)
		return;
	if (q->push != NULL)
		q->transport->push_close(q->push);
	queue_flight_fini(&q->flight);
	queue_text_fini(&q->replies);
	queue_text_fini(&q->message);
	spr_mem_free(q);
}
