/*
 * deadlines - one line a record, beside the pool: a look at all of them a few times a second reads 32 bytes a record instead
 * of the records.
 *
 * There is no list of what is in flight, and no timer a notification: either would cost something for every notification, and
 * hardly one is ever late. What a look costs grows with the records that were ever in use at once, as the pool hands the same
 * few out again.
 *
 * When no receipts are awaited nothing is late, and the only question is who is in flight for long: then the look reads the
 * records after all, and opening and closing one costs nothing, where a line would go to the dispatcher and back for each.
 *
 * Times may be a few milliseconds old (the coarse clock) and are only ever compared with durations of at least 10 ms.
 */
#include "path/deadlines.h"

#include "base/counters.h"

typedef struct line {
	_Atomic uint64_t since_ns;   /* in flight since; 0: not */
	_Atomic uint64_t touched_ns; /* the last push or receipt */
	/* the ledger's, reset by open */
	uint64_t left_ns; /* when a worker left; 0: none did */
	uint64_t told_ns; /* when upstream was told that it is worked on */
} line;

struct spr_deadlines {
	/* constant after new */
	spr_deadlines_config config;
	line *lines;

	/* written by pipe events */
	_Alignas(SPR_CACHELINE) atomic_uint n_left;
	/* written by the ledger */
	unsigned n_left_seen;
	unsigned n_told; /* lines with told_ns; without receipts */
};

spr_err
spr_deadlines_new(spr_deadlines **out, const spr_deadlines_config *config)
{
	spr_deadlines *deadlines = spr_mem_zalloc_aligned(sizeof(*deadlines));

	if (deadlines == NULL)
		return (SPR_E_NOMEM);
	deadlines->config = *config;
	deadlines->lines = spr_mem_zalloc_aligned(config->notifications->capacity * sizeof(line));
	if (deadlines->lines == NULL) {
		spr_deadlines_free(deadlines);
		return (SPR_E_NOMEM);
	}
	*out = deadlines;
	return (SPR_OK);
}

void
spr_deadlines_free(spr_deadlines *deadlines)
{
	if (deadlines == NULL)
		return;
	spr_mem_free(deadlines->lines);
	spr_mem_free(deadlines);
}

static unsigned
number_of(const spr_deadlines *deadlines, const spr_notification *notification)
{
	return ((unsigned)(notification - deadlines->config.notifications->slab));
}

void
spr_deadlines_open(spr_deadlines *deadlines, const spr_notification *notification)
{
	line *self = &deadlines->lines[number_of(deadlines, notification)];
	uint64_t received_ns = spr_notification_received_ns(notification);

	if (deadlines->config.jobs == NULL)
		return;
	self->left_ns = 0;
	self->told_ns = 0;
	/* relaxed: published by the release below */
	atomic_store_explicit(&self->touched_ns, received_ns, memory_order_relaxed);
	atomic_store_explicit(&self->since_ns, received_ns | 1, memory_order_release /* E17 */);
}

void
spr_deadlines_touch(spr_deadlines *deadlines, const spr_notification *notification, uint64_t now_ns)
{
	_Atomic uint64_t *touched =
	    &deadlines->lines[number_of(deadlines, notification)].touched_ns;

	/* relaxed load: a coarse time is mostly there already. Two that touch at once may leave the older of two times that
	 * are hardly apart */
	if (atomic_load_explicit(touched, memory_order_relaxed) < now_ns)
		atomic_store_explicit(touched, now_ns, memory_order_release /* E17 */);
}

void
spr_deadlines_worker_left(spr_deadlines *deadlines)
{
	/* relaxed: the ledger's wake-up orders it (E3) */
	atomic_fetch_add_explicit(&deadlines->n_left, 1, memory_order_relaxed);
}

void
spr_deadlines_close(spr_deadlines *deadlines, const spr_notification *notification)
{
	line *self = &deadlines->lines[number_of(deadlines, notification)];
	_Atomic uint64_t *since = &self->since_ns;

	if (deadlines->config.jobs == NULL) {
		if (deadlines->n_told > 0 && self->told_ns != 0) {
			self->told_ns = 0;
			deadlines->n_told--;
		}
		return;
	}
	/* relaxed, both: only the ledger looks, and the record reaches the next dispatcher by the free list (E2) */
	if (atomic_load_explicit(since, memory_order_relaxed) != 0)
		atomic_store_explicit(since, 0, memory_order_relaxed);
}

static uint64_t
earlier(uint64_t a_ns, uint64_t b_ns)
{
	return (a_ns < b_ns ? a_ns : b_ns);
}

static uint64_t
due_of(const spr_deadlines_config *config, const line *self)
{
	/* E17 acquire */
	uint64_t touched_ns = atomic_load_explicit(&self->touched_ns, memory_order_acquire);
	uint64_t from_ns = touched_ns > self->left_ns ? touched_ns : self->left_ns;

	if (self->left_ns == 0)
		return (touched_ns + config->timeout_ns);
	return (earlier(touched_ns + config->timeout_ns, from_ns + config->grace_ns));
}

/*
 * What lacks a receipt fails. The counts are the ledger's then, so the reason is marked in time; jobs whose receipts come
 * meanwhile are not among them.
 */
static void
fail_late(spr_deadlines *deadlines, spr_notification *notification, spreader_reason reason,
	  const spr_deadlines_found *found)
{
	uint32_t n = spr_jobs_fail_chain(deadlines->config.jobs, notification->jobs);

	if (n == 0)
		return;
	spr_count_add(SPR_C_JOBS_UNCONFIRMED, n);
	spr_notification_fail(notification, reason);
	if (spr_notification_release(notification, 0, n)) /* E12 */
		found->on_complete(found->arg, notification);
}

static void
look_at_working(spr_deadlines *deadlines, line *self, uint64_t since_ns, uint64_t now_ns,
		spr_notification *notification, const spr_deadlines_found *found)
{
	const spr_deadlines_config *config = &deadlines->config;
	uint64_t from_ns = self->told_ns != 0 ? self->told_ns : since_ns;

	if (now_ns < from_ns + config->working_ns || !found->on_working(found->arg, notification))
		return;
	deadlines->n_told += self->told_ns == 0;
	self->told_ns = now_ns;
}

/* When it was opened; 0: it is not. Without receipts the record itself tells: pending is 0 until it is opened. */
static uint64_t
since_of(const spr_deadlines_config *config, const line *self, const spr_notification *notification)
{
	if (config->jobs != NULL)
		return (atomic_load_explicit(&self->since_ns, memory_order_acquire /* E17 */));
	/* E17 acquire: what the dispatcher wrote before it opened it */
	if (atomic_load_explicit(&notification->pending, memory_order_acquire) == 0)
		return (0);
	return (spr_notification_received_ns(notification));
}

typedef struct look {
	uint64_t now_ns;
	bool gives_up, has_left;
	const spr_deadlines_found *found;
	uint64_t earliest_ns; /* the next due; UINT64_MAX: none */
} look;

static void
look_at(spr_deadlines *deadlines, unsigned number, look *the)
{
	const spr_deadlines_config *config = &deadlines->config;
	line *self = &deadlines->lines[number];
	spr_notification *notification = &config->notifications->slab[number];
	uint64_t since_ns = since_of(config, self, notification), pending, due_ns;

	if (since_ns == 0)
		return;
	/* E12 acquire: without a push outstanding the chain of jobs is whole */
	pending = atomic_load_explicit(&notification->pending, memory_order_acquire);
	if (pending == 0)
		return; /* complete, on its way to us */
	if (config->jobs != NULL && the->has_left && self->left_ns == 0)
		self->left_ns = the->now_ns;
	look_at_working(deadlines, self, since_ns, the->now_ns, notification, the->found);
	if (config->jobs == NULL || (uint32_t)pending != 0)
		return;
	due_ns = due_of(config, self);
	if (the->gives_up || the->now_ns >= due_ns)
		fail_late(deadlines, notification,
			  the->gives_up ? SPREADER_REASON_SHUTTING_DOWN
					: SPREADER_REASON_RECEIPT_TIMEOUT,
			  the->found);
	else
		the->earliest_ns = earlier(the->earliest_ns, due_ns);
}

uint64_t
spr_deadlines_look(spr_deadlines *deadlines, uint64_t now_ns, bool gives_up,
		   const spr_deadlines_found *found)
{
	const spr_notifications *pool = deadlines->config.notifications;
	/* relaxed: see worker_left */
	unsigned n_left = atomic_load_explicit(&deadlines->n_left, memory_order_relaxed);
	look the = {.now_ns = now_ns,
		    .gives_up = gives_up,
		    .has_left = n_left != deadlines->n_left_seen,
		    .found = found,
		    .earliest_ns = UINT64_MAX};
	unsigned i, end;

	deadlines->n_left_seen = n_left;
	for (unsigned shard = 0; shard < pool->n_shards; shard++)
		for (spr_notifications_touched(pool, shard, &i, &end); i < end; i++)
			look_at(deadlines, i, &the);
	return (the.earliest_ns == UINT64_MAX ? 0 : the.earliest_ns);
}
