/*
 * intake - receivers, their rings, and back-pressure by not receiving.
 *
 * Which dispatcher: a receiver stays with one until its ring there holds SPILL_DEPTH messages, then
 * moves to the emptiest. Light traffic so keeps one dispatcher warm instead of waking all in turn;
 * heavy traffic spreads by itself.
 *
 * No room means: the chosen rings are full (the message waits in the receiver), or the byte budget
 * could not take one more message of the largest size per receive that is armed. Either way the
 * receiver is parked: not armed, owned by nobody, until someone swaps its mark back and so becomes
 * its writer for a moment.
 */
#include "path/intake.h"

#include "base/assert.h"
#include "base/counters.h"
#include "base/crash_point.h"
#include "base/ring.h"
#include "base/sync.h"

/* Messages closer together than this come in a stream, unless the transport knows better: see feed(). */
#define STREAM_NS 25000

#define SPILL_DEPTH 16 /* half a ring when that is less: a full ring must always spill */

#define FORESEEN_BYTES 512 /* of a message: a document or two */

#define FINISHED_SLOTS 16
#define SNAPSHOT_TRIES 8

/* PARKED_HOLDING: a message found no ring with room. PARKED_EMPTY: the byte budget is used. */
enum { RUNNING, PARKED_HOLDING, PARKED_EMPTY };

typedef struct receiver {
	_Alignas(SPR_CACHELINE) atomic_uint state;
	/* owned by the running completion, or by whoever swapped the parked mark to RUNNING */
	unsigned preferred;
	bool is_alone; /* what is being delivered, as far as the transport knows */
	spr_buf *held; /* received, but no ring had room */
	/* constant after new */
	spr_ring **rings; /* one a dispatcher */
} receiver;

typedef struct fed {
	/* where the dispatcher looks first, so that no receiver's ring is always served last; its own */
	_Alignas(SPR_CACHELINE) unsigned first;
	/* when the last message for it was received; written by receivers */
	_Alignas(SPR_CACHELINE) _Atomic uint64_t last_ns;
} fed;

/* Bytes so far, by the threads whose slot this is: no two dispatchers write to one line. */
typedef struct tally {
	_Alignas(SPR_CACHELINE) _Atomic uint64_t n;
} tally;

struct spr_intake {
	/* constant after new */
	spr_intake_config config;
	spr_pull *pull;
	uint64_t stream_ns;
	receiver *receivers;
	fed *fed;       /* one a dispatcher */
	size_t reserve; /* of the budget, for receives that are armed */
	unsigned spill_depth;

	/* written by receivers */
	_Alignas(SPR_CACHELINE) _Atomic uint64_t n_received; /* bytes so far */
	_Atomic uint64_t n_finished; /* as many as were finished at some time at least */

	/* written by receivers and dispatchers */
	_Alignas(SPR_CACHELINE) atomic_uint n_parked;
	tally finished[FINISHED_SLOTS];
};

/*
 * Tells the dispatcher of a message in its ring. A lone message is dispatched here and now if it is idle; of a stream its
 * own thread takes many at once, while this one goes on receiving, and the jobs join into fewer writes. A stream is what came
 * together, or waits together, as far as the transport knows (is_alone), and what comes at that pace. race.switch.
 */
static void
feed(spr_intake *intake, unsigned d, uint64_t received_ns, bool is_alone)
{
	spr_waiter *waiter = &intake->config.dispatchers->waiter[d];
	_Atomic uint64_t *last_ns = &intake->fed[d].last_ns;
	/* relaxed, both: a guess at the pace */
	uint64_t before_ns = atomic_load_explicit(last_ns, memory_order_relaxed);

	atomic_store_explicit(last_ns, received_ns, memory_order_relaxed);
	if (!is_alone || received_ns - before_ns < intake->stream_ns)
		spr_waiter_wake(waiter);
	else
		spr_waiter_offer(waiter);
}

static bool
try_push_to(spr_intake *intake, receiver *self, unsigned d, spr_buf *buf)
{
	uint64_t received_ns = buf->received_ns;

	if (!spr_ring_try_push(self->rings[d], buf)) /* E1 */
		return (false);
	self->preferred = d;
	feed(intake, d, received_ns, self->is_alone);
	return (true);
}

/* Moves buf into a ring; false when all are full. */
static bool
deliver(spr_intake *intake, receiver *self, spr_buf *buf)
{
	unsigned best = self->preferred;
	unsigned best_size = spr_ring_size(self->rings[best]);

	if (best_size >= intake->spill_depth) {
		for (unsigned d = 0; d < intake->config.n_dispatchers; d++) {
			unsigned size = spr_ring_size(self->rings[d]);

			if (size < best_size) {
				best = d;
				best_size = size;
			}
		}
	}
	return (try_push_to(intake, self, best, buf));
}

static _Atomic uint64_t *
my_finished(spr_intake *intake)
{
	static atomic_uint n_threads;
	static _Thread_local unsigned mine; /* 0: none yet */

	if (mine == 0) /* relaxed: a number is handed out once */
		mine = atomic_fetch_add_explicit(&n_threads, 1, memory_order_relaxed) + 1;
	return (&intake->finished[mine % FINISHED_SLOTS].n);
}

static uint64_t
sum_finished(const spr_intake *intake)
{
	uint64_t n = 0;

	/* E13: see park_or_run(); acquire: what was done with the messages before */
	for (unsigned i = 0; i < FINISHED_SLOTS; i++)
		n += atomic_load_explicit(&intake->finished[i].n, memory_order_seq_cst);
	return (n);
}

static bool
fits(const spr_intake *intake, uint64_t finished)
{
	/* relaxed: a receiver sees its own; who acquired what is finished sees that it was received */
	uint64_t received = atomic_load_explicit(&intake->n_received, memory_order_relaxed);

	return (received - finished + intake->reserve <= intake->config.max_bytes);
}

/* What was finished only grows, so an old sum errs on the safe side: the slots are looked at when it says no. */
static bool
has_budget(spr_intake *intake)
{
	uint64_t finished;

	/* acquire: pairs with the release below */
	if (fits(intake, atomic_load_explicit(&intake->n_finished, memory_order_acquire)))
		return (true);
	SPR_YIELD();
	finished = sum_finished(intake);
	/* release: what was received of it is seen with it. An older sum may overwrite it, and is as safe */
	atomic_store_explicit(&intake->n_finished, finished, memory_order_release);
	return (fits(intake, finished));
}

/* The receiver's owner: hands over what is held; true when it may receive again. */
static bool
can_run(spr_intake *intake, receiver *self)
{
	if (self->held != NULL) {
		if (!deliver(intake, self, self->held))
			return (false);
		self->held = NULL;
	}
	return (has_budget(intake));
}

/* What a parked receiver waits for is there. */
static bool
has_room(spr_intake *intake, const receiver *self, unsigned state)
{
	if (state == PARKED_EMPTY)
		return (has_budget(intake));
	/* a quarter of a ring: for every slot the receiver would park again after every message */
	for (unsigned d = 0; state == PARKED_HOLDING && d < intake->config.n_dispatchers; d++) {
		if (spr_ring_size(self->rings[d]) <
		    intake->config.ring_slots - intake->config.ring_slots / 4)
			return (true);
	}
	return (false);
}

/* Swaps the mark back; true when the caller is the receiver's owner now. */
static bool
unpark(spr_intake *intake, receiver *self, unsigned state)
{
	/* E13 acquire: what the last owner wrote */
	if (!atomic_compare_exchange_strong_explicit(&self->state, &state, RUNNING,
						     memory_order_seq_cst, memory_order_relaxed))
		return (false);
	SPR_YIELD();
	atomic_fetch_sub_explicit(&intake->n_parked, 1,
				  memory_order_relaxed /* a late reader looks in vain */);
	return (true);
}

/*
 * The owner gives the receiver up, unless room appears meanwhile. Mark first, then look again:
 * whoever makes room does it the other way round, so one of the two always sees the other. True
 * when the caller still owns it and may receive.
 */
static bool
park_or_run(spr_intake *intake, receiver *self)
{
	for (;;) {
		unsigned state = self->held != NULL ? PARKED_HOLDING : PARKED_EMPTY;

		SPR_YIELD();
		atomic_fetch_add_explicit(&intake->n_parked, 1,
					  memory_order_seq_cst /* E13, before the second look */);
		SPR_YIELD();
		atomic_store_explicit(&self->state, state, memory_order_seq_cst /* E13 release */);
		SPR_YIELD();
		if (!has_room(intake, self, state) || !unpark(intake, self, state))
			return (false);
		if (can_run(intake, self))
			return (true);
	}
}

static bool
is_alone(const spr_intake *intake, unsigned index)
{
	const spr_transport *transport = intake->config.transport;

	return (transport->pull_is_alone == NULL || transport->pull_is_alone(intake->pull, index));
}

static bool
on_receive(void *arg, unsigned index, spr_buf *buf)
{
	spr_intake *intake = arg;
	receiver *self = &intake->receivers[index];

	SPR_ASSERT(self->held == NULL);
	spr_count(SPR_C_MESSAGES_RECEIVED);
	if (buf->len == 0) {
		spr_count(SPR_C_MESSAGES_EMPTY);
		spr_buf_drop(buf);
		return (true);
	}
	spr_count_add(SPR_C_MESSAGE_BYTES, buf->len);
	SPR_CRASH_POINT("received");
	/* relaxed: the decision below reads it again */
	atomic_fetch_add_explicit(&intake->n_received, buf->len, memory_order_relaxed);
	self->held = buf;
	self->is_alone = is_alone(intake, index);
	if (can_run(intake, self))
		return (true);
	self->is_alone = false; /* it has waited */
	spr_count(SPR_C_RECEIVERS_PARKED);
	return (park_or_run(intake, self));
}

/* Room was made: receivers that wait for it run again. */
static void
on_room(spr_intake *intake)
{
	if (atomic_load_explicit(&intake->n_parked,
				 memory_order_seq_cst /* E13, the other half */) == 0)
		return;
	for (unsigned i = 0; i < intake->config.receivers; i++) {
		receiver *self = &intake->receivers[i];
		/* E13: as n_parked; whoever is RUNNING here will look again after its mark */
		unsigned state = atomic_load_explicit(&self->state, memory_order_seq_cst);

		SPR_YIELD();
		if (!has_room(intake, self, state) || !unpark(intake, self, state))
			continue;
		if (can_run(intake, self) || park_or_run(intake, self))
			intake->config.transport->pull_rearm(intake->pull, i);
	}
}

/* Another thread wrote them: the next one's bytes are fetched meanwhile, and of the one after that the record that says where they are. */
static void
foresee(const spr_ring *ring)
{
	const spr_buf *near = spr_ring_peek(ring, 0), *far = spr_ring_peek(ring, 1);

	if (far != NULL)
		__builtin_prefetch(far, 1);
	if (near == NULL)
		return;
	for (size_t at = 0; at < FORESEEN_BYTES && at < near->len; at += SPR_CACHELINE)
		__builtin_prefetch(near->data + at);
}

spr_buf *
spr_intake_pop(spr_intake *intake, unsigned d)
{
	unsigned first = intake->fed[d].first;
	spr_buf *buf;

	SPR_ASSERT_ROLE(SPR_ROLE_DISPATCHER);
	for (unsigned i = 0; i < intake->config.receivers; i++) {
		unsigned r = (first + i) % intake->config.receivers;

		if ((buf = spr_ring_try_pop(intake->receivers[r].rings[d])) != NULL) {
			intake->fed[d].first = r + 1;
			foresee(intake->receivers[r].rings[d]);
			SPR_FULL_FENCE(); /* E13: the free slot is visible before the mark is read
					   */
			on_room(intake);
			return (buf);
		}
	}
	return (NULL);
}

void
spr_intake_finish(spr_intake *intake, spr_buf *buf)
{
	size_t len = buf->len;

	if (!spr_buf_drop(buf))
		return;
	atomic_fetch_add_explicit(my_finished(intake), len,
				  memory_order_seq_cst /* E13, before the mark is read */);
	on_room(intake);
}

static void
on_intake_pipe(void *arg, int change)
{
	(void)arg;
	spr_count(change > 0 ? SPR_C_PIPES_ADDED_INTAKE : SPR_C_PIPES_REMOVED_INTAKE);
}

static spr_err
open_rings(spr_intake *intake)
{
	const spr_intake_config *config = &intake->config;
	spr_err rv;

	if ((intake->receivers = spr_mem_zalloc_aligned(config->receivers * sizeof(receiver))) ==
		NULL ||
	    (intake->fed = spr_mem_zalloc_aligned(config->n_dispatchers * sizeof(fed))) == NULL)
		return (SPR_E_NOMEM);
	for (unsigned i = 0; i < config->receivers; i++) {
		receiver *self = &intake->receivers[i];

		if ((self->rings =
			 spr_mem_zalloc(config->n_dispatchers * sizeof(self->rings[0]))) == NULL)
			return (SPR_E_NOMEM);
		for (unsigned d = 0; d < config->n_dispatchers; d++) {
			if ((rv = spr_ring_new(&self->rings[d], config->ring_slots)) != SPR_OK)
				return (rv);
		}
	}
	return (SPR_OK);
}

spr_err
spr_intake_new(spr_intake **out, const spr_intake_config *config)
{
	spr_err rv;
	spr_intake *intake = spr_mem_zalloc_aligned(sizeof(*intake));
	spr_pull_config pull = {
	    .socket = "intake",
	    .thread = "receiver",
	    .receives = config->receivers,
	    .max_message = config->max_message,
	    .max_bytes = config->max_bytes,
	    .spin_ns = config->spin_ns,
	    .pipes = {.on_pipe = on_intake_pipe},
	    .on_receive = on_receive,
	    .arg = intake,
	};

	if (intake == NULL)
		return (SPR_E_NOMEM);
	intake->config = *config;
	intake->stream_ns =
	    config->transport->stream_ns != 0 ? config->transport->stream_ns : STREAM_NS;
	intake->reserve = config->receivers * config->max_message;
	intake->spill_depth =
	    config->ring_slots / 2 < SPILL_DEPTH ? config->ring_slots / 2 : SPILL_DEPTH;
	if ((rv = open_rings(intake)) != SPR_OK ||
	    (rv = config->transport->pull_open(&intake->pull, &pull)) != SPR_OK) {
		spr_intake_free(intake);
		return (rv);
	}
	*out = intake;
	return (SPR_OK);
}

spr_err
spr_intake_listen(spr_intake *intake, const char *url, char *bound)
{
	return (intake->config.transport->pull_listen(intake->pull, url, bound));
}

spr_err
spr_intake_dial(spr_intake *intake, const char *url)
{
	return (intake->config.transport->pull_dial(intake->pull, url));
}

void
spr_intake_start(spr_intake *intake)
{
	intake->config.transport->pull_start(intake->pull);
}

void
spr_intake_stop(spr_intake *intake)
{
	intake->config.transport->pull_stop(intake->pull);
}

static void
free_receiver(const spr_intake_config *config, receiver *self)
{
	spr_buf *buf;

	if (self->held != NULL)
		spr_buf_drop(self->held);
	for (unsigned d = 0; self->rings != NULL && d < config->n_dispatchers; d++) {
		while (self->rings[d] != NULL && (buf = spr_ring_try_pop(self->rings[d])) != NULL)
			spr_buf_drop(buf);
		spr_ring_free(self->rings[d]);
	}
	spr_mem_free(self->rings);
}

void
spr_intake_free(spr_intake *intake)
{
	if (intake == NULL)
		return;
	if (intake->pull != NULL)
		intake->config.transport->pull_close(intake->pull);
	for (unsigned i = 0; intake->receivers != NULL && i < intake->config.receivers; i++)
		free_receiver(&intake->config, &intake->receivers[i]);
	spr_mem_free(intake->receivers);
	spr_mem_free(intake->fed);
	spr_mem_free(intake);
}

unsigned
spr_intake_waiting(const spr_intake *intake)
{
	unsigned n = 0;

	for (unsigned i = 0; i < intake->config.receivers; i++) {
		const receiver *self = &intake->receivers[i];

		/* acquire: the drain asks until nothing waits */
		n += atomic_load_explicit(&self->state, memory_order_acquire) == PARKED_HOLDING;
		for (unsigned d = 0; d < intake->config.n_dispatchers; d++)
			n += spr_ring_size(self->rings[d]);
	}
	return (n);
}

unsigned
spr_intake_waiting_for(const spr_intake *intake, unsigned d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < intake->config.receivers; i++)
		n += spr_ring_size(intake->receivers[i].rings[d]);
	return (n);
}

size_t
spr_intake_bytes(const spr_intake *intake)
{
	uint64_t received = 0, finished = 0;

	/* nothing came meanwhile: it is neither 0 nor over the budget unless that is so; relaxed: compared only */
	for (unsigned i = 0; i < SNAPSHOT_TRIES; i++) {
		received =
		    atomic_load_explicit(&intake->n_received, memory_order_acquire /* first */);
		finished = sum_finished(intake);
		if (atomic_load_explicit(&intake->n_received, memory_order_relaxed) == received)
			return (received - finished);
	}
	return (received > finished ? received - finished : 1);
}

unsigned
spr_intake_parked(const spr_intake *intake)
{
	return (atomic_load_explicit(&intake->n_parked, memory_order_relaxed /* a gauge */));
}
