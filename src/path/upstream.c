/*
 * upstream - batching, pacing and retries of one upstream's answers.
 *
 * A batch is a chain of notifications whose head carries what is known about it; no memory is
 * needed to retry, to halve or to wait. Delays are a few fixed steps, so one list a step is in
 * order of due time by itself.
 *
 * Nothing is sent while nobody is connected: the answers wait as fresh ones, so that a copy of an id which comes meanwhile
 * shares its answer.
 *
 * A refusal (a reply that does not accept) is about the batch's content: from the second one the
 * batch is halved, so that one id an upstream will never take ends up alone. No reply (time-out,
 * connection lost, nobody there) is about the upstream: the batch is kept whole and nothing is ever
 * given up for it. For the same reason a peer that comes makes what had no reply due at once, but not
 * what was refused.
 */
#include "path/upstream.h"

#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/crash_point.h"

#define MAX_REPLY ((size_t)64 << 10)

static void
on_ack_pipe(void *arg, int change)
{
	spr_upstream *self = arg;

	spr_count(change > 0 ? SPR_C_PIPES_ADDED_ACK : SPR_C_PIPES_REMOVED_ACK);
	if (change > 0) {
		/* relaxed: a hint, the wake-up orders it (E3) */
		atomic_store_explicit(&self->reconnected, true, memory_order_relaxed);
		self->wake(self->wake_arg);
	}
}

static void
on_reply(void *arg, unsigned number, spr_err result, const uint8_t *data, size_t len)
{
	spr_upstream *self = arg;
	spr_answer_slot *slot = &self->slots[number];

	slot->result = result;
	slot->accepted = result == SPR_OK && spr_answer_is_accepted(data, len);
	spr_mailbox_push(self->replies, &slot->replied); /* E2 */
	self->wake(self->wake_arg);
}

spr_err
spr_upstream_init(spr_upstream *self, const char *name, unsigned window, unsigned batch,
		  unsigned timeout_ms)
{
	spr_req_config req = {
	    .window = window,
	    .timeout_ms = timeout_ms,
	    .max_reply = MAX_REPLY,
	    .limit_name = "the limit of a reply to answers",
	    .pipes = {.on_pipe = on_ack_pipe, .arg = self},
	    .on_reply = on_reply,
	    .arg = self,
	};

	self->window = window;
	self->batch = batch;
	if ((self->name = spr_mem_strdup(name)) == NULL ||
	    (self->slots = spr_mem_zalloc(window * sizeof(spr_answer_slot))) == NULL)
		return (SPR_E_NOMEM);
	for (unsigned i = 0; i < window; i++)
		self->slots[i].upstream = self;
	return (self->transport->req_open(&self->req, &req));
}

void
spr_upstream_fini(spr_upstream *self)
{
	if (self->req != NULL)
		self->transport->req_close(self->req);
	spr_mem_free(self->slots);
	spr_mem_free(self->name);
}

void
spr_upstream_add(spr_upstream *self, spr_notification *notification)
{
	notification->next = NULL;
	notification->later = NULL;
	notification->attempts = 0;
	notification->refusals = 0;
	if (self->fresh.tail != NULL)
		self->fresh.tail->next = notification;
	else
		self->fresh.head = notification;
	self->fresh.tail = notification;
	self->fresh.n++;
}

void
spr_upstream_take_in(spr_upstream *self, spr_notification *notification)
{
	spr_notification **last = &self->last[self->taken_in.n % SPR_RECORDS_AHEAD];

	notification->next = self->taken_in.head;
	notification->later = self->taken_in.n >= SPR_RECORDS_AHEAD ? *last : NULL;
	notification->attempts = 0;
	notification->refusals = 0;
	*last = notification;
	self->taken_in.head = notification;
	if (self->taken_in.n++ == 0)
		self->taken_in.tail = notification;
}

void
spr_upstream_end_taking(spr_upstream *self)
{
	spr_chain *taken_in = &self->taken_in;

	if (taken_in->n == 0)
		return;
	if (self->fresh.tail != NULL)
		self->fresh.tail->next = taken_in->head;
	else
		self->fresh.head = taken_in->head;
	self->fresh.tail = taken_in->tail;
	self->fresh.n += taken_in->n;
	*taken_in = (spr_chain){0};
}

/* A chain is read some time after it was made, when caches have forgotten it; the link alone would bring one at a time. */
static void
fetch_later(const spr_notification *notification)
{
	if (notification->later != NULL)
		spr_notification_prefetch(notification->later);
}

/* Cuts at most batch notifications off the fresh queue. */
static spr_notification *
take_fresh(spr_upstream *self)
{
	spr_notification *head = self->fresh.head;
	spr_notification *last = head;
	unsigned n = 1;

	for (; n < self->batch && last->next != NULL; n++) {
		fetch_later(last);
		last = last->next;
	}
	self->fresh.head = last->next;
	if (last->next == NULL)
		self->fresh.tail = NULL;
	last->next = NULL;
	self->fresh.n -= n;
	head->batch_n = n;
	return (head);
}

static void
append_batch(spr_chain *list, spr_notification *batch)
{
	batch->next_batch = NULL;
	if (list->tail != NULL)
		list->tail->next_batch = batch;
	else
		list->head = batch;
	list->tail = batch;
	list->n++;
}

static void
retry_later(spr_upstream *self, spr_notification *batch, bool is_refused, uint64_t now_ns)
{
	unsigned level =
	    batch->attempts < SPR_RETRY_LEVELS ? batch->attempts : SPR_RETRY_LEVELS - 1;
	uint64_t factor = UINT64_C(1) << level;

	factor = factor < SPR_RETRY_MAX ? factor : SPR_RETRY_MAX;
	batch->due_ns = now_ns + factor * self->retry_min_ms * SPR_NS_PER_MS;
	batch->is_refused = is_refused;
	if (batch->attempts < UINT16_MAX)
		batch->attempts++;
	append_batch(&self->retry[level], batch);
	self->n_retry++;
}

/* A peer came: what had no reply is due. */
static void
hasten(spr_upstream *self, uint64_t now_ns)
{
	for (unsigned i = 0; self->n_retry > 0 && i < SPR_RETRY_LEVELS; i++) {
		spr_notification *batch = self->retry[i].head, *next;

		self->retry[i] = (spr_chain){0};
		for (; batch != NULL; batch = next) {
			next = batch->next_batch;
			if (!batch->is_refused)
				batch->due_ns = now_ns;
			append_batch(&self->retry[batch->is_refused ? i : SPR_RETRY_LEVELS], batch);
		}
	}
}

/* The retry batch that has been due longest, or NULL. */
static spr_notification *
take_due(spr_upstream *self, uint64_t now_ns)
{
	spr_chain *oldest = NULL;
	spr_notification *batch;

	for (unsigned i = 0; self->n_retry > 0 && i <= SPR_RETRY_LEVELS; i++) {
		spr_chain *list = &self->retry[i];

		if (list->head != NULL && list->head->due_ns <= now_ns &&
		    (oldest == NULL || list->head->due_ns < oldest->head->due_ns))
			oldest = list;
	}
	if (oldest == NULL)
		return (NULL);
	batch = oldest->head;
	if ((oldest->head = batch->next_batch) == NULL)
		oldest->tail = NULL;
	oldest->n--;
	self->n_retry--;
	return (batch);
}

static uint64_t
earliest_retry(const spr_upstream *self)
{
	uint64_t at = 0;

	for (unsigned i = 0; self->n_retry > 0 && i <= SPR_RETRY_LEVELS; i++) {
		const spr_notification *head = self->retry[i].head;

		if (head != NULL && (at == 0 || head->due_ns < at))
			at = head->due_ns;
	}
	return (at);
}

static spr_answer_slot *
free_slot(spr_upstream *self)
{
	for (unsigned i = 0; self->n_out < self->window && i < self->window; i++) {
		if (self->slots[i].batch == NULL && !self->slots[i].is_working)
			return (&self->slots[i]);
	}
	return (NULL);
}

static void
send_batch(spr_upstream *self, spr_notification *batch, const char *instance, spr_text *text,
	   uint64_t now_ns)
{
	spr_answer_slot *slot = free_slot(self);

	if (spr_answer_write(text, instance, batch) != SPR_OK) {
		retry_later(self, batch, false, now_ns);
		return;
	}
	for (const spr_notification *one = batch; one != NULL; one = one->next) {
		if (one->entry != SPR_ANSWER_NONE)
			spr_answers_answering(self->answers, one->entry);
	}
	slot->batch = batch;
	self->n_out++;
	if (self->transport->req_send(self->req, (unsigned)(slot - self->slots), text->data,
				      text->len) != SPR_OK) {
		slot->batch = NULL;
		self->n_out--;
		retry_later(self, batch, false, now_ns);
		return;
	}
	SPR_CRASH_POINT("ack-sent");
	spr_count(SPR_C_ANSWER_REQUESTS);
	if (batch->attempts > 0)
		spr_count(SPR_C_ANSWER_RETRIES);
	self->last_send_ns = now_ns;
}

/* Fresh answers go at once when the upstream has been left alone for a moment, or when they fill a
 * batch. */
static bool
is_fresh_due(const spr_upstream *self, uint64_t now_ns)
{
	return (self->fresh.n >= self->batch ||
		(self->fresh.n > 0 && now_ns >= self->last_send_ns + SPR_ACK_PACE_NS));
}

unsigned
spr_upstream_send(spr_upstream *self, const char *instance, spr_text *text, uint64_t now_ns,
		  uint64_t *wake_at_ns)
{
	unsigned sent = 0;

	/* relaxed: a hint */
	if (atomic_exchange_explicit(&self->reconnected, false, memory_order_relaxed))
		hasten(self, now_ns);
	*wake_at_ns = 0;
	if (self->transport->req_peers(self->req) == 0)
		return (
		    0); /* nobody there: the answers wait here, and a peer that comes wakes us */
	while (free_slot(self) != NULL) {
		/* retries may not take every slot while fresh answers wait */
		bool leave_one =
		    self->fresh.n > 0 && self->window > 1 && self->n_out + 1 == self->window;
		spr_notification *batch = leave_one ? NULL : take_due(self, now_ns);

		if (batch == NULL && is_fresh_due(self, now_ns))
			batch = take_fresh(self);
		if (batch == NULL)
			break;
		send_batch(self, batch, instance, text, now_ns);
		sent++;
	}
	if (free_slot(self) == NULL)
		*wake_at_ns = 0; /* a reply will wake us */
	else {
		*wake_at_ns = earliest_retry(self);
		if (self->fresh.n > 0)
			*wake_at_ns = self->last_send_ns + SPR_ACK_PACE_NS;
	}
	return (sent);
}

static bool
may_send_working(const spr_upstream *self)
{
	return (self->transport->req_peers(self->req) > 0 &&
		self->n_out + (self->window > 1) < self->window);
}

bool
spr_upstream_add_working(spr_upstream *self, spr_notification *notification, const char *instance,
			 spr_text *text)
{
	if (self->working.n == 0 && !may_send_working(self))
		return (false);
	notification->next = self->working.head;
	self->working.head = notification;
	if (++self->working.n == self->batch)
		spr_upstream_send_working(self, instance, text);
	return (true);
}

void
spr_upstream_send_working(spr_upstream *self, const char *instance, spr_text *text)
{
	spr_answer_slot *slot = free_slot(self);
	unsigned n = self->working.n;
	spr_err rv;

	if (n == 0)
		return;
	rv = spr_answer_write_working(text, instance, self->working.head);
	self->working = (spr_chain){0};
	if (rv != SPR_OK || slot == NULL)
		return;
	slot->is_working = true;
	self->n_out++;
	if (self->transport->req_send(self->req, (unsigned)(slot - self->slots), text->data,
				      text->len) != SPR_OK) {
		slot->is_working = false;
		self->n_out--;
		return;
	}
	spr_count(SPR_C_ANSWER_REQUESTS);
	spr_count_add(SPR_C_WORKING, n);
}

/* Cuts the batch in two; both keep its history, and are retried on their own. */
static void
halve(spr_upstream *self, spr_notification *batch, uint64_t now_ns)
{
	spr_notification *last = batch;
	spr_notification *second;
	uint32_t n = batch->batch_n / 2;

	for (uint32_t i = 1; i < n; i++)
		last = last->next;
	second = last->next;
	last->next = NULL;
	second->batch_n = batch->batch_n - n;
	second->attempts = batch->attempts;
	batch->batch_n = n;
	/* a lone id is given its own ten refusals */
	second->refusals = second->batch_n == 1 ? 0 : batch->refusals;
	batch->refusals = n == 1 ? 0 : batch->refusals;
	retry_later(self, batch, true, now_ns);
	retry_later(self, second, true, now_ns);
}

spr_notification *
spr_upstream_replied(spr_answer_slot *slot, uint64_t now_ns, spr_notification **given_up)
{
	spr_upstream *self = slot->upstream;
	spr_notification *batch = slot->batch;

	SPR_ASSERT(batch != NULL || slot->is_working);
	slot->batch = NULL;
	slot->is_working = false;
	self->n_out--;
	if (slot->result == SPR_OK && slot->accepted)
		return (batch);
	if (batch == NULL) {
		spr_count(slot->result != SPR_OK ? SPR_C_ANSWER_TIMEOUTS : SPR_C_ANSWER_REFUSALS);
		return (NULL);
	}
	if (slot->result != SPR_OK) {
		spr_count(SPR_C_ANSWER_TIMEOUTS);
		retry_later(self, batch, false, now_ns);
		return (NULL);
	}
	spr_count(SPR_C_ANSWER_REFUSALS);
	batch->refusals++;
	if (batch->batch_n == 1 && batch->refusals >= SPR_REFUSALS_MAX)
		*given_up = batch;
	else if (batch->batch_n > 1 && batch->refusals >= 2)
		halve(self, batch, now_ns);
	else
		retry_later(self, batch, true, now_ns);
	return (NULL);
}
