/*
 * dispatch - one dispatcher's turn.
 *
 * A turn posts one slice of the fan-out that has waited longest, then reads up to SPR_TURN_DOCUMENTS
 * documents. A fan-out of up to SPR_WHOLE_JOBS is finished where it was found; a larger one queues up behind
 * the others after each slice, so small notifications pass between its slices: a slice is what they wait for, so it is
 * small. When the outbox takes no more, the
 * fan-out at the front is tried again first and nothing new is read: the rings fill, receivers
 * park, producers feel it. While fan-outs are open, SLICE_DOCUMENTS documents are read for every slice
 * that was used up: with an outbox that is always full, what was just read is at the front, and a
 * stream of small notifications could keep a large one from ever being posted.
 */
#include "path/dispatch.h"

#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "path/document.h"
#include "path/lookahead.h"

#define SLICE_DOCUMENTS 8

/* A guest's turn is small: the thread has sockets to serve. */
#define GUEST_DOCUMENTS 8
#define GUEST_JOBS      64

typedef struct spr_dispatcher {
	/* constant after start */
	const spr_dispatch_config *config;
	unsigned number;
	char name[16];
	spr_waiter *waiter;
	spr_outbox_lane *lane;
	spr_fanout_env env;
	spr_agent agent;

	/* written by the dispatcher */
	_Alignas(SPR_CACHELINE) spr_document_env documents;
	uint64_t now_ns; /* when this turn began */
	bool is_timed;   /* this turn's one measured document is done */
	unsigned whole;  /* jobs of the largest fan-out that this turn posts in one go */
	spr_lookahead lookahead;
	spr_fanout *free;
	spr_fanout *open_head; /* the one to be posted next */
	spr_fanout *open_tail;
	unsigned may_read;   /* documents, before the head's slice, if there is a head */
	bool is_blocked;     /* the head found no slot or bytes */
	bool goes_on;        /* the last turn has left something that can be done at once */
	spr_fanout *waiting; /* for credits; nothing is read meanwhile */
	/* the outbox has taken nothing since then; 0: nothing waits for it */
	uint64_t stalled_since_ns;
	unsigned taken_when_stalled;
	uint64_t look_at_ns; /* when its thread looks again at an outbox that is full */
	spr_fanout fanouts[SPR_OPEN_FANOUTS];

	/* written by the dispatcher, read by main */
	_Alignas(SPR_CACHELINE) atomic_bool is_busy;
	/* the same, read by probes */
	atomic_bool is_in_turn;
	_Atomic uint64_t turn_began_ns;
	/* written by main */
	atomic_bool gives_up;
} spr_dispatcher;

struct spr_dispatchers {
	spr_dispatch_config config;
	spr_dispatcher *dispatcher;
};

static void
append_open(spr_dispatcher *self, spr_fanout *fanout)
{
	fanout->next_open = NULL;
	if (self->open_tail != NULL)
		self->open_tail->next_open = fanout;
	else
		self->open_head = fanout;
	self->open_tail = fanout;
}

static void
prepend_open(spr_dispatcher *self, spr_fanout *fanout)
{
	fanout->next_open = self->open_head;
	self->open_head = fanout;
	if (self->open_tail == NULL)
		self->open_tail = fanout;
}

static spr_fanout *
pop_open(spr_dispatcher *self)
{
	spr_fanout *fanout = self->open_head;

	if (fanout != NULL && (self->open_head = fanout->next_open) == NULL)
		self->open_tail = NULL;
	return (fanout);
}

static void
recycle(spr_dispatcher *self, spr_fanout *fanout)
{
	fanout->next_open = self->free;
	self->free = fanout;
}

static bool
gives_up(const spr_dispatcher *self)
{
	/* relaxed: polled each turn, the wake-up orders it (E3) */
	return (atomic_load_explicit(&self->gives_up, memory_order_relaxed));
}

static void
fail_rest(spr_dispatcher *self, spr_fanout *fanout, spreader_reason reason)
{
	if (fanout == NULL)
		return;
	spr_fanout_fail_rest(fanout, &self->env, reason);
	recycle(self, fanout);
}

/* A guest posts no more of any than a slice. */
static unsigned
slice_of(const spr_dispatcher *self, const spr_fanout *fanout)
{
	if (fanout->matches.n <= self->whole || self->whole < SPR_SLICE_JOBS)
		return (self->whole);
	return (SPR_SLICE_JOBS);
}

/*
 * Posts a slice and puts the fan-out where it belongs: free, behind the others, at the front and blocked, or aside. Not into
 * the queue without credits: there it would stop those behind it, which hold some.
 */
static void
post_slice(spr_dispatcher *self, spr_fanout *fanout)
{
	switch (spr_fanout_post(fanout, &self->env, self->lane, slice_of(self, fanout))) {
	case SPR_SLICE_DONE:
		recycle(self, fanout);
		break;
	case SPR_SLICE_MORE:
		append_open(self, fanout);
		self->may_read = SLICE_DOCUMENTS;
		break;
	case SPR_SLICE_BLOCKED:
		prepend_open(self, fanout);
		self->is_blocked = true;
		return;
	case SPR_SLICE_WAITS:
		self->waiting = fanout;
		return;
	}
	self->is_blocked = false;
}

/*
 * The outbox has taken nothing at all for too long: what it was given and has not taken fails, and so do the jobs that
 * the open notification has left. Units of work done.
 */
static unsigned
check_outbox_timeout(spr_dispatcher *self)
{
	uint64_t timeout_ns = self->config->outbox_timeout_ns;
	unsigned taken = spr_outbox_taken(self->config->outbox);
	uint64_t now_ns;

	if (timeout_ns == 0)
		return (0);
	if (!self->is_blocked && spr_outbox_lane_out(self->lane) == 0) {
		self->stalled_since_ns = 0;
		return (0);
	}
	now_ns = spr_clock_now_ns();
	if (self->stalled_since_ns == 0 || taken != self->taken_when_stalled) {
		self->taken_when_stalled = taken;
		self->stalled_since_ns = now_ns;
	}
	if (now_ns < self->stalled_since_ns + timeout_ns) {
		self->agent.wake_at_ns = self->stalled_since_ns + timeout_ns;
		return (0);
	}
	spr_warn("OUTBOX-TIMEOUT",
		 "dispatcher=%u why=\"no worker took a job for --outbox-timeout; the open "
		 "notification fails\"",
		 self->number);
	spr_outbox_abort(self->lane, SPREADER_REASON_PUSH_FAILED);
	if (self->is_blocked)
		fail_rest(self, pop_open(self), SPREADER_REASON_PUSH_FAILED);
	self->is_blocked = false;
	self->stalled_since_ns = 0;
	return (1);
}

static void
wake_by(spr_dispatcher *self, uint64_t at_ns)
{
	if (self->agent.wake_at_ns == 0 || at_ns < self->agent.wake_at_ns)
		self->agent.wake_at_ns = at_ns;
}

/*
 * The outbox is full: workers that stand still may have all that is out, while others have nothing to do. A guest asks for the
 * thread only if it is not to come anyway. Units of work done.
 */
static unsigned
look_at_outbox(spr_dispatcher *self)
{
	uint64_t now_ns, at_ns;

	if (!self->is_blocked)
		return (0);
	now_ns = spr_clock_now_ns();
	at_ns = spr_outbox_look_again(self->lane, now_ns);
	if (at_ns > now_ns && self->look_at_ns <= now_ns) {
		self->look_at_ns = at_ns;
		wake_by(self, at_ns);
	}
	return (at_ns == now_ns);
}

/* True when it got its credits, or was failed: it waits no more. */
static bool
post_waiting(spr_dispatcher *self)
{
	spr_fanout *fanout = self->waiting;

	if (fanout == NULL || self->is_blocked)
		return (false);
	self->waiting = NULL;
	post_slice(self, fanout);
	return (self->waiting == NULL && !self->is_blocked);
}

static unsigned
post_open(spr_dispatcher *self)
{
	spr_fanout *fanout;

	if (gives_up(self)) {
		spr_outbox_abort(self->lane, SPREADER_REASON_SHUTTING_DOWN);
		while ((fanout = pop_open(self)) != NULL)
			fail_rest(self, fanout, SPREADER_REASON_SHUTTING_DOWN);
		fail_rest(self, self->waiting, SPREADER_REASON_SHUTTING_DOWN);
		self->waiting = NULL;
		self->is_blocked = false;
	}
	if (post_waiting(self))
		return (1);
	if (self->open_head == NULL)
		return (0);
	post_slice(self, pop_open(self));
	return (self->is_blocked ? 0 : 1);
}

/* The clock is read once a turn: a message that came after its start has not waited. */
static void
note_queued(const spr_dispatcher *self, const spr_buf *message)
{
	spr_histogram_add(SPR_H_STAGE_QUEUE, self->now_ns > message->received_ns
						 ? self->now_ns - message->received_ns
						 : 0);
}

/* Only the first document of a turn, whose start is the turn's: in a stream one of many, a lone one always. */
static void
note_resolved(spr_dispatcher *self)
{
	if (self->is_timed)
		return;
	self->is_timed = true;
	spr_histogram_add(SPR_H_STAGE_RESOLVE, spr_clock_now_ns() - self->now_ns);
}

/* A record for the next notification; NULL: all are in flight, and the dispatcher will be woken. */
static spr_notification *
take_notification(spr_dispatcher *self)
{
	spr_notifications *pool = self->config->notifications;
	spr_notification *notification = spr_notification_take(pool, self->number);

	if (notification != NULL)
		return (notification);
	spr_waiter_want(self->waiter, SPR_WANT_INFLIGHT); /* E11: declare, then look again */
	if ((notification = spr_notification_take(pool, self->number)) == NULL)
		spr_count(SPR_C_DISPATCHER_WAITS_INFLIGHT);
	return (notification);
}

/* Nobody can be told should a job fail: then the document goes to the dead letters. */
static void
keep_message(spr_notification *notification, const spr_fanout *fanout)
{
	spr_buf_hold(fanout->message);
	notification->message = fanout->message;
	notification->document = fanout->document;
}

/* Works on the document whose turn it is. */
static void
read_document(spr_dispatcher *self, const spr_ahead *ahead, spr_notification *notification)
{
	spr_fanout *fanout = self->free;

	spr_notification_begin(notification, ahead->message->received_ns);
	notification->stage_ns = self->now_ns;
	self->documents.gives_up = gives_up(self);
	self->documents.peer = &ahead->message->peer;
	self->documents.key = ahead->has_key ? &ahead->key : NULL;
	spr_epoch_enter(
	    self->documents.record); /* until its first slice is posted, which never waits */
	if (spr_document_resolve(&self->documents, &ahead->document, notification, fanout)) {
		self->free = fanout->next_open;
		fanout->message = ahead->message;
		if (notification->upstream == SPR_UPSTREAM_NONE)
			keep_message(notification, fanout);
		note_resolved(self);
		post_slice(self, fanout);
	}
	spr_epoch_leave(self->documents.record);
}

static bool
may_read(const spr_dispatcher *self)
{
	return (!self->is_blocked && self->waiting == NULL && self->free != NULL &&
		(self->open_head == NULL || self->may_read > 0));
}

/* A message without documents counts too: a turn must end whatever a peer sends. */
static unsigned
read_documents(spr_dispatcher *self, unsigned max)
{
	unsigned n = 0;
	const spr_ahead *ahead;
	spr_notification *notification = NULL;

	for (; n < max && may_read(self); n++) {
		ahead = spr_lookahead_first(&self->lookahead, &self->documents);
		if (ahead == NULL)
			break;
		if (!ahead->is_nothing && (notification = take_notification(self)) == NULL)
			break;
		if (ahead->is_first)
			note_queued(self, ahead->message);
		self->may_read -= self->may_read > 0;
		if (!ahead->is_nothing)
			read_document(self, ahead, notification);
		spr_lookahead_pass(&self->lookahead, self->config->intake);
	}
	return (n);
}

/* One turn. Documents read. */
static unsigned
turn(spr_dispatcher *self, unsigned documents, unsigned jobs)
{
	unsigned posted, read, timed_out;
	bool was_blocked = self->is_blocked;

	spr_waiter_clear(self->waiter);
	self->whole = jobs;
	self->documents.now_s = spr_clock_wall_s();
	self->now_ns = spr_clock_now_ns();
	/* relaxed, both: the probe's view */
	atomic_store_explicit(&self->turn_began_ns, self->now_ns, memory_order_relaxed);
	atomic_store_explicit(&self->is_in_turn, true, memory_order_relaxed /* as above */);
	/* relaxed: only the store of false below tells anything */
	atomic_store_explicit(&self->is_busy, true, memory_order_relaxed);
	posted = post_open(self);
	self->is_timed = posted > 0; /* its time would be the other's */
	read = read_documents(self, documents);
	self->goes_on = read >= documents || (self->open_head != NULL && !self->is_blocked);
	/* what waits for credits was not asked behind the one that was blocked, and wants nothing now */
	self->goes_on |= was_blocked && !self->is_blocked && self->waiting != NULL;
	/* before the turn is called over: the drain waits for what it sees */
	spr_outbox_end_turn(self->lane, self->goes_on);
	timed_out = check_outbox_timeout(self) + look_at_outbox(self);
	self->goes_on |= timed_out > 0; /* what was blocked is not any more */
	/* release: who reads false (the drain) sees all that was done before */
	if (spr_lookahead_is_empty(&self->lookahead) && self->open_head == NULL &&
	    self->waiting == NULL && !spr_outbox_has_batch(self->lane))
		atomic_store_explicit(&self->is_busy, false, memory_order_release);
	atomic_store_explicit(&self->is_in_turn, false,
			      memory_order_relaxed /* the probe's view */);
	return (posted + read + timed_out);
}

static unsigned
do_work(void *state)
{
	spr_dispatcher *self = state;
	unsigned n = turn(self, SPR_TURN_DOCUMENTS, SPR_WHOLE_JOBS);

	if (self->look_at_ns > self->now_ns)
		wake_by(self, self->look_at_ns);
	return (n);
}

/* What is left is the dispatcher's own: more documents than a guest reads, more jobs than it posts. */
static bool
do_guest_work(void *state)
{
	spr_dispatcher *self = state;

	(void)turn(self, GUEST_DOCUMENTS, GUEST_JOBS);
	return (self->goes_on);
}

static spr_err
on_start(void *state)
{
	spr_dispatcher *self = state;

	return (spr_epoch_register(self->config->epoch, &self->documents.record));
}

static void
on_stop(void *state)
{
	spr_dispatcher *self = state;

	spr_epoch_unregister(self->documents.record);
}

static void
init_dispatcher(spr_dispatcher *self, const spr_dispatch_config *config, unsigned number)
{
	self->config = config;
	self->number = number;
	self->waiter = &config->waiters->waiter[number];
	snprintf(self->name, sizeof(self->name), "dispatcher-%u", number % 1000);
	self->agent = (spr_agent){
	    .name = self->name,
	    .role = SPR_ROLE_DISPATCHER,
	    .on_start = on_start,
	    .do_work = do_work,
	    .do_guest_work = do_guest_work,
	    .on_stop = on_stop,
	    .state = self,
	    .spin_ns = config->spin_ns,
	};
	spr_agent_init(&self->agent);
	self->waiter->agent = &self->agent;
	self->documents.config = config;
	self->documents.fanouts = &self->env;
	for (unsigned i = 0; i < SPR_OPEN_FANOUTS; i++)
		recycle(self, &self->fanouts[i]);
}

spr_err
spr_dispatchers_new(spr_dispatchers **out, const spr_dispatch_config *config)
{
	spr_dispatchers *dispatchers = spr_mem_zalloc(sizeof(*dispatchers));

	if (dispatchers == NULL)
		return (SPR_E_NOMEM);
	dispatchers->config = *config;
	dispatchers->dispatcher =
	    spr_mem_zalloc_aligned(config->n_dispatchers * sizeof(spr_dispatcher));
	if (dispatchers->dispatcher == NULL) {
		spr_dispatchers_free(dispatchers);
		return (SPR_E_NOMEM);
	}
	for (unsigned d = 0; d < config->n_dispatchers; d++)
		init_dispatcher(&dispatchers->dispatcher[d], &dispatchers->config, d);
	*out = dispatchers;
	return (SPR_OK);
}

spr_err
spr_dispatchers_connect(spr_dispatchers *dispatchers, spr_intake *intake, spr_outbox *outbox)
{
	spr_err rv;

	dispatchers->config.intake = intake;
	dispatchers->config.outbox = outbox;
	dispatchers->config.job_id_len = spr_outbox_id_len(outbox);
	spr_ledger_connect(dispatchers->config.ledger, intake);
	for (unsigned d = 0; d < dispatchers->config.n_dispatchers; d++) {
		spr_dispatcher *self = &dispatchers->dispatcher[d];

		self->env = (spr_fanout_env){
		    .subscriptions = dispatchers->config.subscriptions,
		    .intake = intake,
		    .ledger = dispatchers->config.ledger,
		    .number = d,
		    .has_ids = dispatchers->config.has_job_ids,
		    .jobs = dispatchers->config.jobs,
		    .notifications = dispatchers->config.notifications,
		    .waiter = self->waiter,
		};
		if ((rv = spr_outbox_lane_open(&self->lane, outbox, d)) != SPR_OK)
			return (rv);
	}
	return (SPR_OK);
}

spr_err
spr_dispatchers_start(spr_dispatchers *dispatchers)
{
	spr_err rv = SPR_OK;

	for (unsigned d = 0; rv == SPR_OK && d < dispatchers->config.n_dispatchers; d++)
		rv = spr_agent_start(&dispatchers->dispatcher[d].agent);
	return (rv);
}

void
spr_dispatchers_give_up(spr_dispatchers *dispatchers)
{
	for (unsigned d = 0; d < dispatchers->config.n_dispatchers; d++) {
		spr_dispatcher *self = &dispatchers->dispatcher[d];

		/* relaxed: the wake-up orders it (E3) */
		atomic_store_explicit(&self->gives_up, true, memory_order_relaxed);
		spr_agent_wake(&self->agent);
	}
}

bool
spr_dispatchers_are_idle(const spr_dispatchers *dispatchers)
{
	for (unsigned d = 0; d < dispatchers->config.n_dispatchers; d++) {
		/* acquire: pairs with the release in do_work */
		if (atomic_load_explicit(&dispatchers->dispatcher[d].is_busy, memory_order_acquire))
			return (false);
	}
	return (true);
}

static bool
is_alive(const spr_dispatchers *dispatchers, unsigned d, uint64_t now_ns, uint64_t limit_ns)
{
	const spr_dispatcher *self = &dispatchers->dispatcher[d];
	/* relaxed throughout: a snapshot of a state that has to last for seconds */
	uint64_t began_ns = atomic_load_explicit(&self->turn_began_ns, memory_order_relaxed);

	if (began_ns == 0 || now_ns < began_ns + limit_ns)
		return (true);
	if (atomic_load_explicit(&self->is_in_turn, memory_order_relaxed /* as above */))
		return (false);
	if (atomic_load_explicit(&self->waiter->wants, memory_order_relaxed /* as above */) != 0)
		return (true); /* it will be woken */
	return (!atomic_load_explicit(&self->is_busy, memory_order_relaxed /* as above */) &&
		spr_intake_waiting_for(dispatchers->config.intake, d) == 0);
}

bool
spr_dispatchers_are_alive(const spr_dispatchers *dispatchers, uint64_t now_ns, uint64_t limit_ns)
{
	for (unsigned d = 0; d < dispatchers->config.n_dispatchers; d++) {
		if (!is_alive(dispatchers, d, now_ns, limit_ns))
			return (false);
	}
	return (true);
}

void
spr_dispatchers_stop(spr_dispatchers *dispatchers)
{
	for (unsigned d = 0; d < dispatchers->config.n_dispatchers; d++)
		spr_agent_stop(&dispatchers->dispatcher[d].agent);
}

static void
free_dispatcher(spr_dispatcher *self)
{
	spr_lookahead_fini(&self->lookahead);
	for (unsigned i = 0; i < SPR_OPEN_FANOUTS; i++)
		spr_fanout_fini(&self->fanouts[i]);
	spr_document_env_fini(&self->documents);
}

void
spr_dispatchers_free(spr_dispatchers *dispatchers)
{
	if (dispatchers == NULL)
		return;
	for (unsigned d = 0;
	     dispatchers->dispatcher != NULL && d < dispatchers->config.n_dispatchers; d++)
		free_dispatcher(&dispatchers->dispatcher[d]);
	spr_mem_free(dispatchers->dispatcher);
	spr_mem_free(dispatchers);
}
