/*
 * outbox - the posting side of the data path.
 *
 * A job is one copy of its payload, into the message that is sent. One job a message, that is also one allocation, and the cookie
 * of a send is the notification itself, so a completion finds the pending count without a look-up; only when receipts are
 * awaited it is the job, whose owner the table of jobs knows. With batches all that is paid once a message.
 *
 * A lane has as many batches as slots, and a batch comes back after its slot: who has a free batch has a slot.
 */
#include "path/outbox.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/sync.h"
#include "path/job_id.h"

/* Batches that are out before another one is begun: what is posted next waits behind them, and has to be enough for the pipe. */
#define FULL_BATCHES 2
#define LEAST_OUT    ((size_t)256 << 10)

#define PATIENCE_NS (20 * SPR_NS_PER_MS) /* until what is out counts as standing still */
#define FORGET_NS   (1 * SPR_NS_PER_S)   /* until that is looked for anew */

#define PREFETCH 8 /* notifications ahead: another thread wrote them last */

struct spr_outbox_lane {
	/* constant after open */
	spr_outbox *outbox;
	spr_outbox_lane *next;
	spr_push_lane *lane;
	spr_waiter *waiter;
	spr_batch *batches; /* NULL: one job a message */
	size_t max_out;     /* bytes of batches that may be out when another one is begun */

	/* written by the dispatcher */
	spr_batch *open;
	bool has_posted;     /* since the last turn's end */
	unsigned ended_then; /* none has ended since still_since_ns */
	uint64_t still_since_ns, held_since_ns;
	/* the same, read by completions: with workers that stand still, and not counted as being in the way */
	atomic_uint n_held;
	_Atomic size_t bytes_held;

	/* written by the dispatcher and by completions */
	spr_stack free; /* batches */
	spr_budget_share bytes;
	_Alignas(SPR_CACHELINE) atomic_uint n_sent; /* messages; written by the dispatcher */
	atomic_uint n_ended;                        /* of them */
	atomic_uint n_failed;                       /* of those */
	_Atomic size_t bytes_out; /* of batches that are sent and have not ended */
};

struct spr_outbox {
	/* constant after new */
	spr_outbox_config config;
	unsigned slots; /* of a lane */
	spr_push *push;
	spr_outbox_lane *lanes;
	char id_head[SPREADER_JOB_ID_MAX]; /* {"id":"<instance>- */
	size_t id_head_len;
	size_t id_len; /* with the hex and ", */

	/* written by dispatchers and completions */
	spr_budget budget;

	/* written by completions and pipe events */
	_Alignas(SPR_CACHELINE) atomic_uint abort_reason;
	atomic_int peers;
};

static void
on_outbox_pipe(void *arg, int change)
{
	spr_outbox *outbox = arg;

	spr_count(change > 0 ? SPR_C_PIPES_ADDED_OUTBOX : SPR_C_PIPES_REMOVED_OUTBOX);
	atomic_fetch_add_explicit(&outbox->peers, change, memory_order_relaxed /* a gauge */);
	if (change < 0)
		spr_ledger_worker_left(outbox->config.ledger);
}

/*
 * A dispatcher that waits for a slot gets on when half of its lane is free, on this very thread: for every single slot it
 * would stop again after every job. What is still out keeps the pipes busy meanwhile.
 */
static void
give_back_slots(spr_outbox_lane *lane, unsigned n)
{
	/* E11: seq_cst against the wants that the dispatcher declares */
	unsigned ended = atomic_fetch_add_explicit(&lane->n_ended, n, memory_order_seq_cst) + n;
	/* relaxed: an old value is too low, and wakes too early; not for the last: it follows on all sends */
	unsigned sent = atomic_load_explicit(&lane->n_sent, memory_order_relaxed);
	/* E11, all: as above; whoever is last sees all that came back */
	unsigned n_held = atomic_load_explicit(&lane->n_held, memory_order_seq_cst);
	size_t held = atomic_load_explicit(&lane->bytes_held, memory_order_seq_cst);
	/* more are held than there are slots when ends were on their way here: a slot is free before this */
	unsigned others = n_held < lane->outbox->slots ? lane->outbox->slots - n_held : 0;

	/* E11: as above */
	if ((int)(sent - ended) <= (int)(n_held + others / 2) &&
	    atomic_load_explicit(&lane->bytes_out, memory_order_seq_cst) <=
		held + lane->max_out / 2)
		spr_waiter_notify_and_help(lane->waiter, SPR_WANT_SLOT);
}

static spr_notification *
owner_of(const spr_outbox *outbox, void *cookie)
{
	if (outbox->config.jobs == NULL)
		return (cookie);
	return (&outbox->config.notifications
		     ->slab[spr_jobs_owner(outbox->config.jobs, (uint32_t)(uintptr_t)cookie)]);
}

/*
 * So many pushes of a notification have failed; their numbers when receipts are awaited. The reason is marked before a count
 * is given back. How many receipt counts there are to give back.
 */
static uint32_t
fail_pushes(spr_outbox *outbox, spr_notification *notification, uint32_t n, const uint32_t *numbers)
{
	uint32_t failed = 0;

	/* what has its receipt, from an earlier attempt, has not failed */
	for (uint32_t i = 0; numbers != NULL && i < n; i++)
		failed += spr_jobs_fail(outbox->config.jobs, numbers[i]);
	if (numbers != NULL && failed == 0)
		return (0);
	spr_count_add(SPR_C_JOBS_FAILED, numbers != NULL ? failed : n);
	/* relaxed: set before the abort that ended this send */
	spr_notification_fail(notification, (spreader_reason)atomic_load_explicit(
						&outbox->abort_reason, memory_order_relaxed));
	return (failed);
}

/* So many pushes of a notification have ended. */
static void
end_pushes(spr_outbox *outbox, spr_notification *notification, uint32_t n, const uint32_t *numbers,
	   spr_err result, spr_completed *completed)
{
	uint32_t receipts = 0;

	if (result != SPR_OK)
		receipts = fail_pushes(outbox, notification, n, numbers);
	else if (outbox->config.jobs != NULL)
		spr_ledger_touch(outbox->config.ledger, notification, spr_clock_coarse_ns());
	if (spr_notification_release(notification, n, receipts))
		spr_ledger_gather(outbox->config.ledger, completed, notification);
}

/* So many messages, with so many jobs. */
static void
count_ended(spr_outbox_lane *lane, unsigned n, uint32_t n_jobs, size_t bytes, spr_err result)
{
	if (result != SPR_OK) {
		atomic_fetch_add_explicit(&lane->n_failed, n,
					  memory_order_relaxed /* watched for standing still */);
		return;
	}
	spr_count_add(SPR_C_JOBS_POSTED, n_jobs);
	spr_count_add(SPR_C_JOB_BYTES, bytes);
}

/* So many single jobs have ended. Those of a notification that stand behind each other give their counts back together. */
static void
end_jobs(spr_outbox *outbox, void *const *cookies, unsigned n, spr_err result,
	 spr_completed *completed)
{
	uint32_t numbers[SPR_DONE_MAX];
	spr_notification *owner = owner_of(outbox, cookies[0]), *next;

	for (unsigned i = 0, first = 0; i < n; i++, owner = next) {
		numbers[i] = (uint32_t)(uintptr_t)cookies[i];
		next = i + 1 < n ? owner_of(outbox, cookies[i + 1]) : NULL;
		if (next == owner)
			continue;
		end_pushes(outbox, owner, i + 1 - first,
			   outbox->config.jobs != NULL ? &numbers[first] : NULL, result, completed);
		first = i + 1;
	}
}

static void
on_jobs_done(void *lane_arg, void *const *cookies, unsigned n, size_t bytes, spr_err result)
{
	spr_outbox_lane *lane = lane_arg;
	spr_outbox *outbox = lane->outbox;
	spr_completed completed = {0};

	count_ended(lane, n, n, bytes, result);
	spr_budget_give_back(&lane->bytes, bytes);
	end_jobs(outbox, cookies, n, result, &completed);
	spr_ledger_hand_over(outbox->config.ledger, &completed);
	give_back_slots(lane, n); /* last: this thread may be lent the turn */
}

static void
end_batch(spr_outbox_lane *lane, spr_batch *batch, spr_err result, spr_completed *completed)
{
	spr_outbox *outbox = lane->outbox;
	const uint32_t *numbers = batch->has_numbers ? batch->numbers : NULL;

	count_ended(lane, 1, batch->n_jobs, batch->used - (batch->n_jobs - 1),
		    result); /* without the line breaks */
	spr_budget_give_back(&lane->bytes, batch->size);
	for (uint32_t i = 0; i < batch->n_shares; i++) {
		const spr_batch_share *share = &batch->shares[i];

		if (i + PREFETCH < batch->n_shares)
			__builtin_prefetch(batch->shares[i + PREFETCH].notification, 1);
		end_pushes(outbox, share->notification, share->n, numbers, result, completed);
		if (numbers != NULL)
			numbers += share->n;
	}
	atomic_fetch_sub_explicit(&lane->bytes_out, batch->used, memory_order_seq_cst /* E11 */);
	spr_batch_clear(batch);
	spr_freelist_push(&lane->free, &batch->link); /* E2 */
}

static void
on_batches_done(void *lane_arg, void *const *cookies, unsigned n, size_t bytes, spr_err result)
{
	spr_outbox_lane *lane = lane_arg;
	spr_completed completed = {0};

	(void)bytes;
	for (unsigned i = 0; i < n; i++)
		end_batch(lane, cookies[i], result, &completed);
	spr_ledger_hand_over(lane->outbox->config.ledger, &completed);
	give_back_slots(lane, n); /* last: this thread may be lent the turn */
}

/* What waits for TCP stands there for a while, and is in the kernel. A batch has all its bytes from the start. */
static unsigned
slots_of(const spr_outbox_config *config)
{
	unsigned slots = config->transport->lane_slots;

	if (slots == 0 || config->batch_bytes > 0)
		slots = SPR_OUTBOX_SLOTS;
	return (config->awaits_tcp ? 4 * slots : slots);
}

spr_err
spr_outbox_new(spr_outbox **out, const spr_outbox_config *config)
{
	spr_err rv;
	spr_outbox *outbox = spr_mem_zalloc_aligned(sizeof(*outbox));
	spr_push_config push = {
	    .pipes = {.on_pipe = on_outbox_pipe, .arg = outbox},
	    .on_done = config->batch_bytes > 0 ? on_batches_done : on_jobs_done,
	    .peer_bytes = config->peer_bytes,
	    .awaits_tcp = config->awaits_tcp,
	};

	if (outbox == NULL)
		return (SPR_E_NOMEM);
	outbox->config = *config;
	outbox->slots = slots_of(config);
	spr_budget_init(&outbox->budget, config->max_bytes, config->dispatchers);
	if (config->instance != NULL) {
		outbox->id_head_len = (size_t)snprintf(outbox->id_head, sizeof(outbox->id_head),
						       "{\"id\":\"%s-", config->instance);
		outbox->id_len = outbox->id_head_len + SPREADER_JOB_HEX + 2 - 1;
	}
	atomic_init(&outbox->abort_reason, SPREADER_REASON_PUSH_FAILED);
	if ((rv = config->transport->push_open(&outbox->push, &push)) != SPR_OK) {
		spr_outbox_free(outbox);
		return (rv);
	}
	*out = outbox;
	return (SPR_OK);
}

spr_err
spr_outbox_listen(spr_outbox *outbox, const char *url, char *bound)
{
	return (outbox->config.transport->push_listen(outbox->push, url, bound));
}

spr_err
spr_outbox_dial(spr_outbox *outbox, const char *url)
{
	return (outbox->config.transport->push_dial(outbox->push, url));
}

static void
free_lane(spr_outbox_lane *self)
{
	if (self->open != NULL)
		self->outbox->config.transport->out_free(&self->open->out);
	for (unsigned i = 0; self->batches != NULL && i < self->outbox->slots; i++)
		spr_batch_fini(&self->batches[i]);
	spr_mem_free(self->batches);
	spr_mem_free(self);
}

static bool
make_batches(spr_outbox_lane *self)
{
	self->batches = spr_mem_zalloc_aligned(self->outbox->slots * sizeof(spr_batch));
	for (unsigned i = 0; self->batches != NULL && i < self->outbox->slots; i++) {
		self->batches[i].has_numbers = self->outbox->config.jobs != NULL;
		spr_freelist_push(&self->free, &self->batches[i].link);
	}
	return (self->batches != NULL);
}

spr_err
spr_outbox_lane_open(spr_outbox_lane **out, spr_outbox *outbox, unsigned d)
{
	spr_outbox_lane *self = spr_mem_zalloc_aligned(sizeof(*self));
	spr_err rv = SPR_E_NOMEM;

	if (self == NULL)
		return (SPR_E_NOMEM);
	self->outbox = outbox;
	self->waiter = &outbox->config.dispatchers->waiter[d];
	spr_stack_init(&self->free);
	self->max_out = FULL_BATCHES * outbox->config.batch_bytes;
	if (self->max_out < LEAST_OUT)
		self->max_out = LEAST_OUT;
	if ((outbox->config.batch_bytes > 0 && !make_batches(self)) ||
	    (rv = outbox->config.transport->lane_open(&self->lane, outbox->push, outbox->slots,
						      self)) != SPR_OK) {
		free_lane(self);
		return (rv);
	}
	spr_budget_join(&outbox->budget, &self->bytes, self->waiter);
	self->next = outbox->lanes;
	outbox->lanes = self;
	*out = self;
	return (SPR_OK);
}

/* A slot, or the dispatcher's want set and false. */
static bool
has_slot(spr_outbox_lane *self)
{
	const spr_transport *transport = self->outbox->config.transport;

	if (transport->lane_room(self->lane) > 0)
		return (true);
	SPR_YIELD();
	spr_waiter_want(self->waiter, SPR_WANT_SLOT); /* E11: declare, then look again */
	SPR_YIELD();
	if (transport->lane_room(self->lane) > 0)
		return (true);
	spr_count(SPR_C_DISPATCHER_WAITS_SLOT);
	return (false);
}

static spr_batch *
try_take_batch(spr_outbox_lane *self)
{
	spr_stack_entry *entry = NULL;

	/* relaxed: the dispatcher's own */
	size_t held = atomic_load_explicit(&self->bytes_held, memory_order_relaxed);

	/* E11: seq_cst against what end_batch() gives back */
	if (atomic_load_explicit(&self->bytes_out, memory_order_seq_cst) < held + self->max_out)
		entry = spr_freelist_pop(&self->free);
	return (entry != NULL ? SPR_STACK_CONTAINER(entry, spr_batch, link) : NULL);
}

/* The same for a batch, and the slot that comes with it. */
static spr_batch *
take_batch(spr_outbox_lane *self)
{
	spr_batch *batch = try_take_batch(self);

	if (batch != NULL)
		return (batch);
	SPR_YIELD();
	spr_waiter_want(self->waiter, SPR_WANT_SLOT); /* E11: declare, then look again */
	SPR_YIELD();
	if ((batch = try_take_batch(self)) == NULL)
		spr_count(SPR_C_DISPATCHER_WAITS_SLOT);
	return (batch);
}

/* The same for bytes. */
static bool
reserve_bytes(spr_outbox_lane *self, size_t len)
{
	if (spr_budget_take(&self->bytes, len))
		return (true);
	SPR_YIELD();
	spr_waiter_want(self->waiter, SPR_WANT_BYTES); /* E11 */
	SPR_YIELD();
	if (spr_budget_take_all(&self->bytes, len))
		return (true);
	spr_count(SPR_C_DISPATCHER_WAITS_BYTES);
	return (false);
}

/* The id goes before the prefix, whose brace it takes over. */
static uint8_t *
build_id(const spr_outbox *outbox, uint8_t *at, spr_job_key key)
{
	memcpy(at, outbox->id_head, outbox->id_head_len);
	at += outbox->id_head_len;
	spr_job_key_write(at, key);
	at += SPREADER_JOB_HEX;
	memcpy(at, "\",", 2);
	return (at + 2);
}

static void
build(const spr_outbox *outbox, uint8_t *at, const spr_job *job)
{
	size_t skip = 0;

	if (job->key != NULL) {
		at = build_id(outbox, at, *job->key);
		skip = 1;
	}
	memcpy(at, job->prefix + skip, job->prefix_len - skip);
	at += job->prefix_len - skip;
	memcpy(at, job->payload, job->payload_len);
	at[job->payload_len] = '}';
}

static void
send(spr_outbox_lane *self, spr_out *out, void *cookie)
{
	/* relaxed, both: written by the dispatcher alone, and the send publishes it */
	unsigned n_sent = atomic_load_explicit(&self->n_sent, memory_order_relaxed);

	atomic_store_explicit(&self->n_sent, n_sent + 1, memory_order_relaxed);
	/* there is room: the lane is ours */
	(void)self->outbox->config.transport->lane_send(self->lane, out, cookie);
}

static spr_post
fail_post(spr_notification *notification)
{
	spr_count(SPR_C_JOBS_FAILED);
	spr_notification_fail(notification, SPREADER_REASON_OVERLOAD);
	return (SPR_POST_FAILED);
}

static spr_post
post_alone(spr_outbox_lane *self, const spr_job *job, size_t len, spr_notification *notification)
{
	const spr_outbox *outbox = self->outbox;
	void *cookie =
	    outbox->config.jobs != NULL ? (void *)(uintptr_t)job->number : (void *)notification;
	spr_out out;

	if (!has_slot(self) || !reserve_bytes(self, len))
		return (SPR_POST_BLOCKED);
	if (outbox->config.transport->out_alloc(self->lane, &out, len) != SPR_OK) {
		spr_budget_give_back(&self->bytes, len);
		return (fail_post(notification));
	}
	build(outbox, out.data, job);
	send(self, &out, cookie);
	return (SPR_POST_OK);
}

/* For a first job of len bytes. With little left of the budget a batch is that small. */
static spr_post
open_batch(spr_outbox_lane *self, size_t len)
{
	spr_outbox *outbox = self->outbox;
	size_t size = len > outbox->config.batch_bytes ? len : outbox->config.batch_bytes;
	spr_batch *batch = take_batch(self);

	if (batch == NULL)
		return (SPR_POST_BLOCKED);
	if (!spr_budget_take(&self->bytes, size)) {
		size = len;
		if (!reserve_bytes(self, size)) {
			spr_freelist_push(&self->free, &batch->link);
			return (SPR_POST_BLOCKED);
		}
	}
	if (!spr_batch_can_note(batch) ||
	    outbox->config.transport->out_alloc(self->lane, &batch->out, size) != SPR_OK) {
		spr_freelist_push(&self->free, &batch->link);
		spr_budget_give_back(&self->bytes, size);
		return (SPR_POST_FAILED);
	}
	batch->size = size;
	self->open = batch;
	return (SPR_POST_OK);
}

static spr_post
post_in_batch(spr_outbox_lane *self, const spr_job *job, size_t len, spr_notification *notification)
{
	spr_batch *batch = self->open;
	spr_post opened;

	if (batch != NULL && (batch->used + 1 + len > batch->size || !spr_batch_can_note(batch)))
		spr_outbox_send_batch(self);
	if (self->open == NULL && (opened = open_batch(self, len)) != SPR_POST_OK)
		return (opened == SPR_POST_FAILED ? fail_post(notification) : opened);
	batch = self->open;
	if (batch->used > 0)
		batch->out.data[batch->used++] = '\n';
	build(self->outbox, batch->out.data + batch->used, job);
	batch->used += len;
	spr_batch_note(batch, notification, job->number);
	self->has_posted = true;
	return (SPR_POST_OK);
}

spr_post
spr_outbox_post(spr_outbox_lane *self, const spr_job *job, spr_notification *notification)
{
	const spr_outbox *outbox = self->outbox;
	size_t len = outbox->id_len + job->prefix_len + job->payload_len + 1;

	SPR_ASSERT((job->key != NULL) == (outbox->id_len > 0));
	return (self->batches != NULL ? post_in_batch(self, job, len, notification)
				      : post_alone(self, job, len, notification));
}

void
spr_outbox_send_batch(spr_outbox_lane *self)
{
	spr_batch *batch = self->open;

	if (batch == NULL)
		return;
	self->open = NULL; /* the send may end in here, and open another */
	batch->out.len = batch->used;
	/* relaxed: the send publishes it */
	atomic_fetch_add_explicit(&self->bytes_out, batch->used, memory_order_relaxed);
	send(self, &batch->out, batch);
}

void
spr_outbox_end_turn(spr_outbox_lane *self, bool goes_on)
{
	const spr_transport *transport = self->outbox->config.transport;

	if (!goes_on || !self->has_posted)
		spr_outbox_send_batch(self);
	self->has_posted = false;
	spr_budget_end_turn(&self->bytes);
	if (transport->lane_flush != NULL)
		transport->lane_flush(self->lane);
}

static void
set_held(spr_outbox_lane *self, unsigned n, size_t bytes)
{
	/* E11, both: before the dispatcher declares a want */
	atomic_store_explicit(&self->n_held, n, memory_order_seq_cst);
	atomic_store_explicit(&self->bytes_held, bytes, memory_order_seq_cst);
}

/* Which workers stand still nobody knows here: so all that is out when nothing has ended for a while, and not for long. */
uint64_t
spr_outbox_look_again(spr_outbox_lane *self, uint64_t now_ns)
{
	/* relaxed, all: what ends behind this look wakes, or is seen by the next one */
	unsigned n_ended = atomic_load_explicit(&self->n_ended, memory_order_relaxed);
	unsigned n_out = atomic_load_explicit(&self->n_sent, memory_order_relaxed) - n_ended;
	unsigned n_held = atomic_load_explicit(&self->n_held, memory_order_relaxed);

	if (n_out < n_held ||
	    (n_held > 0 && n_out > n_held && now_ns >= self->held_since_ns + FORGET_NS))
		set_held(self, n_held = 0, 0);
	if (n_ended != self->ended_then || self->still_since_ns == 0) {
		self->ended_then = n_ended;
		self->still_since_ns = now_ns;
	}
	if (n_out == n_held)
		return (0);
	if (now_ns < self->still_since_ns + PATIENCE_NS)
		return (self->still_since_ns + PATIENCE_NS);
	self->held_since_ns = now_ns;
	/* relaxed: a guess of what stands still */
	set_held(self, n_out, atomic_load_explicit(&self->bytes_out, memory_order_relaxed));
	return (now_ns);
}

bool
spr_outbox_has_batch(const spr_outbox_lane *self)
{
	return (self->open != NULL);
}

size_t
spr_outbox_id_len(const spr_outbox *outbox)
{
	return (outbox->id_len);
}

void
spr_outbox_abort(spr_outbox_lane *self, spreader_reason reason)
{
	spr_outbox_send_batch(self);
	/* relaxed: the transport's lock orders it before the completions it causes */
	atomic_store_explicit(&self->outbox->abort_reason, reason, memory_order_relaxed);
	self->outbox->config.transport->lane_abort(self->lane);
}

unsigned
spr_outbox_lane_out(const spr_outbox_lane *self)
{
	/* acquire: every send that is counted as ended is counted as sent */
	unsigned n_ended = atomic_load_explicit(&self->n_ended, memory_order_acquire);

	return (atomic_load_explicit(&self->n_sent, memory_order_relaxed /* a gauge */) - n_ended);
}

unsigned
spr_outbox_taken(const spr_outbox *outbox)
{
	unsigned sum = 0;

	/* relaxed, both: watched for standing still */
	for (const spr_outbox_lane *self = outbox->lanes; self != NULL; self = self->next)
		sum += atomic_load_explicit(&self->n_ended, memory_order_relaxed) -
		       atomic_load_explicit(&self->n_failed, memory_order_relaxed);
	return (sum);
}

size_t
spr_outbox_bytes(const spr_outbox *outbox)
{
	return (spr_budget_in_use(&outbox->budget));
}

unsigned
spr_outbox_peers(const spr_outbox *outbox)
{
	int peers = atomic_load_explicit(&outbox->peers, memory_order_relaxed /* a gauge */);

	return (peers > 0 ? (unsigned)peers : 0);
}

bool
spr_outbox_flush(spr_outbox *outbox, uint64_t deadline_ns)
{
	return (outbox->config.transport->push_flush(outbox->push, deadline_ns));
}

bool
spr_outbox_is_idle(const spr_outbox *outbox)
{
	for (const spr_outbox_lane *self = outbox->lanes; self != NULL; self = self->next) {
		if (outbox->config.transport->lane_busy(self->lane) != 0)
			return (false);
	}
	return (true);
}

void
spr_outbox_free(spr_outbox *outbox)
{
	spr_outbox_lane *next;

	if (outbox == NULL)
		return;
	if (outbox->push != NULL)
		outbox->config.transport->push_close(outbox->push);
	for (spr_outbox_lane *self = outbox->lanes; self != NULL; self = next) {
		next = self->next;
		free_lane(self);
	}
	spr_mem_free(outbox);
}
