/*
 * notification - the pool of records: one slab for the life of the daemon, a shard of it for each
 * dispatcher, up to SPR_SHARDS_MAX.
 *
 * Free lists are last in, first out, so a lightly loaded daemon keeps re-using a few warm records of
 * many. Each shard has one, and the count of what was taken from it, in lines of its own.
 */
#include "path/notification.h"

#include "base/assert.h"

/* The last shards may have fewer, or none. */
static void
fill(spr_notifications *pool, unsigned number)
{
	spr_notification_shard *shard = &pool->shards[number];
	unsigned begin = number * pool->a_shard;
	unsigned end =
	    begin + pool->a_shard < pool->capacity ? begin + pool->a_shard : pool->capacity;

	spr_stack_init(&shard->free);
	atomic_init(&shard->in_flight, 0);
	atomic_init(&shard->n_touched, 0);
	for (unsigned i = end; i-- > begin;) {
		pool->slab[i].shard = (uint16_t)number;
		spr_freelist_push(&shard->free, &pool->slab[i].link);
	}
}

spr_err
spr_notifications_init(spr_notifications *pool, unsigned capacity, unsigned n_dispatchers,
		       const spr_waiters *waiters)
{
	pool->waiters = waiters;
	pool->capacity = capacity;
	pool->n_shards = n_dispatchers < SPR_SHARDS_MAX ? n_dispatchers : SPR_SHARDS_MAX;
	pool->a_shard = (capacity + pool->n_shards - 1) / pool->n_shards;
	if ((pool->slab =
		 spr_mem_zalloc_aligned(capacity * sizeof(spr_notification) +
					pool->n_shards * sizeof(spr_notification_shard))) == NULL)
		return (SPR_E_NOMEM);
	pool->shards = (spr_notification_shard *)(void *)(pool->slab + capacity);
	for (unsigned i = 0; i < pool->n_shards; i++)
		fill(pool, i);
	return (SPR_OK);
}

void
spr_notifications_fini(spr_notifications *pool)
{
	spr_mem_free(pool->slab);
	pool->slab = NULL;
}

/* How far a look at all records must go. It grows to the most that were ever in flight, and is only read then. */
static void
note_touched(spr_notification_shard *shard, uint32_t n)
{
	/* relaxed throughout: a bound for a snapshot */
	uint32_t seen = atomic_load_explicit(&shard->n_touched, memory_order_relaxed);

	while (seen < n && !atomic_compare_exchange_weak_explicit(
			       &shard->n_touched, &seen, n, memory_order_relaxed /* as above */,
			       memory_order_relaxed))
		continue;
}

/* The ledger wrote both last: this one's second line, and the one that is probably taken next. */
static void
foresee_next(spr_stack_entry *entry)
{
	const spr_stack_entry *next = spr_stack_next(entry);

	__builtin_prefetch(&SPR_STACK_CONTAINER(entry, spr_notification, link)->next, 1);
	if (next != NULL)
		__builtin_prefetch(next, 1);
}

static spr_notification *
take_of(spr_notifications *pool, unsigned number)
{
	spr_notification_shard *shard = &pool->shards[number];
	spr_stack_entry *entry = spr_freelist_pop(&shard->free);
	spr_notification *notification;

	if (entry == NULL)
		return (NULL);
	foresee_next(entry);
	/* E11: before the look at the ledger's mark in spr_ledger_opened() */
	atomic_fetch_add_explicit(&shard->in_flight, 1, memory_order_seq_cst);
	notification = SPR_STACK_CONTAINER(entry, spr_notification, link);
	note_touched(shard, (uint32_t)(notification - pool->slab) - number * pool->a_shard + 1);
	return (notification);
}

spr_notification *
spr_notification_take(spr_notifications *pool, unsigned dispatcher)
{
	unsigned own = dispatcher % pool->n_shards;
	spr_notification *notification = take_of(pool, own);

	SPR_ASSERT_ROLE(SPR_ROLE_DISPATCHER);
	for (unsigned i = 1; notification == NULL && i < pool->n_shards; i++)
		notification = take_of(pool, (own + i) % pool->n_shards);
	return (notification);
}

void
spr_notification_begin(spr_notification *notification, uint64_t received_ns)
{
	/* relaxed: a gauge to all but the owner */
	atomic_store_explicit(&notification->received_ns, received_ns, memory_order_relaxed);
}

void
spr_notifications_give_back(spr_notifications *pool, const spr_notification_chains *chains)
{
	bool any = false;

	for (unsigned i = 0; i < pool->n_shards; i++) {
		const spr_stack_chain *chain = &chains->of[i];

		if (chain->n == 0)
			continue;
		/* release: who reads 0 in flight (the drain) sees what the owners did */
		atomic_fetch_sub_explicit(&pool->shards[i].in_flight, chain->n,
					  memory_order_release);
		spr_freelist_push_chain(&pool->shards[i].free, chain);
		any = true;
	}
	if (any)
		spr_waiters_notify(pool->waiters, SPR_WANT_INFLIGHT);
}

void
spr_notification_give_back(spr_notifications *pool, spr_notification *notification)
{
	spr_notification_chains chains = {0};

	spr_notification_add_free(&chains, notification);
	spr_notifications_give_back(pool, &chains);
}

uint32_t
spr_notifications_in_flight(const spr_notifications *pool)
{
	uint32_t n = 0;

	/* acquire: pairs with the release in give_back */
	for (unsigned i = 0; i < pool->n_shards; i++)
		n += atomic_load_explicit(&pool->shards[i].in_flight,
					  memory_order_acquire /* as above */);
	return (n);
}

uint64_t
spr_notification_received_ns(const spr_notification *notification)
{
	return (atomic_load_explicit(&notification->received_ns,
				     memory_order_relaxed /* the owner's own */));
}

/* Of one shard, or as of those looked at before. */
static uint64_t
oldest_of(const spr_notifications *pool, unsigned shard, uint64_t oldest_ns)
{
	/* relaxed: a snapshot */
	uint32_t left = atomic_load_explicit(&pool->shards[shard].in_flight, memory_order_relaxed);
	unsigned i, end;

	for (spr_notifications_touched(pool, shard, &i, &end); i < end && left > 0; i++) {
		uint64_t since_ns = spr_notification_received_ns(&pool->slab[i]);

		left -= since_ns != 0;
		if (since_ns != 0 && (oldest_ns == 0 || since_ns < oldest_ns))
			oldest_ns = since_ns;
	}
	return (oldest_ns);
}

uint64_t
spr_notifications_oldest_ns(const spr_notifications *pool)
{
	uint64_t oldest_ns = 0;

	for (unsigned i = 0; i < pool->n_shards; i++)
		oldest_ns = oldest_of(pool, i, oldest_ns);
	return (oldest_ns);
}

void
spr_notification_fail(spr_notification *notification, spreader_reason reason)
{
	unsigned none = SPREADER_REASON_NONE;

	/* relaxed, both: published by the release of the pending count (E12) */
	if (reason == SPREADER_REASON_RECEIPT_ERROR) {
		atomic_store_explicit(&notification->failure, reason,
				      memory_order_relaxed /* as above */);
		return;
	}
	atomic_compare_exchange_strong_explicit(&notification->failure, &none, reason,
						memory_order_relaxed /* as above */,
						memory_order_relaxed);
}

bool
spr_notification_release(spr_notification *notification, uint32_t pushes, uint32_t receipts)
{
	uint64_t mine = (uint64_t)receipts << 32 | pushes;
	/* E12 release: my failure mark; acquire: everyone else's, for the last one */
	uint64_t before =
	    atomic_fetch_sub_explicit(&notification->pending, mine, memory_order_acq_rel);

	SPR_ASSERT((uint32_t)before >= pushes && before >> 32 >= receipts);
	return (before == mine);
}

spreader_reason
spr_notification_failure(const spr_notification *notification)
{
	/* relaxed: ordered by E12, this is the owner */
	return (
	    (spreader_reason)atomic_load_explicit(&notification->failure, memory_order_relaxed));
}
