/*
 * notification - the pool of records: one slab for the life of the daemon, touched only as far as
 * it is used.
 *
 * The free list is last in, first out, so a lightly loaded daemon keeps re-using a few warm records
 * of many.
 */
#include "path/notification.h"

#include "base/assert.h"

spr_err
spr_notifications_init(spr_notifications *pool, unsigned capacity, const spr_waiters *waiters)
{
	spr_stack_init(&pool->free);
	atomic_init(&pool->in_flight, 0);
	atomic_init(&pool->n_touched, 0);
	pool->waiters = waiters;
	pool->capacity = capacity;
	if ((pool->slab = spr_mem_zalloc_aligned(capacity * sizeof(spr_notification))) == NULL)
		return (SPR_E_NOMEM);
	for (unsigned i = capacity; i > 0; i--)
		spr_freelist_push(&pool->free, &pool->slab[i - 1].link);
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
note_touched(spr_notifications *pool, const spr_notification *notification)
{
	uint32_t n = (uint32_t)(notification - pool->slab) + 1;
	/* relaxed throughout: a bound for a snapshot */
	uint32_t seen = atomic_load_explicit(&pool->n_touched, memory_order_relaxed);

	while (seen < n && !atomic_compare_exchange_weak_explicit(
			       &pool->n_touched, &seen, n, memory_order_relaxed /* as above */,
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

spr_notification *
spr_notification_take(spr_notifications *pool)
{
	spr_stack_entry *entry = spr_freelist_pop(&pool->free);

	SPR_ASSERT_ROLE(SPR_ROLE_DISPATCHER);
	if (entry == NULL)
		return (NULL);
	foresee_next(entry);
	/* E11: before the look at the ledger's mark in spr_ledger_opened() */
	atomic_fetch_add_explicit(&pool->in_flight, 1, memory_order_seq_cst);
	note_touched(pool, SPR_STACK_CONTAINER(entry, spr_notification, link));
	return (SPR_STACK_CONTAINER(entry, spr_notification, link));
}

void
spr_notification_begin(spr_notification *notification, uint64_t received_ns)
{
	/* relaxed: a gauge to all but the owner */
	atomic_store_explicit(&notification->received_ns, received_ns, memory_order_relaxed);
}

void
spr_notifications_give_back(spr_notifications *pool, const spr_stack_chain *chain)
{
	if (chain->n == 0)
		return;
	/* release: who reads 0 in flight (the drain) sees what the owners did */
	atomic_fetch_sub_explicit(&pool->in_flight, chain->n, memory_order_release);
	spr_freelist_push_chain(&pool->free, chain);
	spr_waiters_notify(pool->waiters, SPR_WANT_INFLIGHT);
}

void
spr_notification_give_back(spr_notifications *pool, spr_notification *notification)
{
	spr_stack_chain chain = {0};

	spr_notification_add_free(&chain, notification);
	spr_notifications_give_back(pool, &chain);
}

uint32_t
spr_notifications_in_flight(const spr_notifications *pool)
{
	/* acquire: pairs with the release in give_back */
	return (atomic_load_explicit(&pool->in_flight, memory_order_acquire));
}

uint64_t
spr_notification_received_ns(const spr_notification *notification)
{
	return (atomic_load_explicit(&notification->received_ns,
				     memory_order_relaxed /* the owner's own */));
}

uint64_t
spr_notifications_oldest_ns(const spr_notifications *pool)
{
	uint32_t left = spr_notifications_in_flight(pool);
	/* relaxed throughout: a snapshot */
	uint32_t n = atomic_load_explicit(&pool->n_touched, memory_order_relaxed);
	uint64_t oldest_ns = 0;

	for (uint32_t i = 0; i < n && left > 0; i++) {
		uint64_t since_ns = atomic_load_explicit(&pool->slab[i].received_ns,
							 memory_order_relaxed /* as above */);

		left -= since_ns != 0;
		if (since_ns != 0 && (oldest_ns == 0 || since_ns < oldest_ns))
			oldest_ns = since_ns;
	}
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
