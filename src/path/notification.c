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

spr_notification *
spr_notification_take(spr_notifications *pool)
{
	spr_stack_entry *entry = spr_freelist_pop(&pool->free);

	SPR_ASSERT_ROLE(SPR_ROLE_DISPATCHER);
	if (entry == NULL)
		return (NULL);
	/* relaxed: a gauge; the drain reads it in a loop */
	atomic_fetch_add_explicit(&pool->in_flight, 1, memory_order_relaxed);
	return (SPR_STACK_CONTAINER(entry, spr_notification, link));
}

void
spr_notification_give_back(spr_notifications *pool, spr_notification *notification)
{
	/* release: who reads 0 in flight (the drain) sees what the owners did */
	atomic_fetch_sub_explicit(&pool->in_flight, 1, memory_order_release);
	spr_freelist_push(&pool->free, &notification->link);
	spr_waiters_notify(pool->waiters, SPR_WANT_INFLIGHT);
}

uint32_t
spr_notifications_in_flight(const spr_notifications *pool)
{
	/* acquire: pairs with the release in give_back */
	return (atomic_load_explicit(&pool->in_flight, memory_order_acquire));
}

void
spr_notification_fail(spr_notification *notification, spreader_reason reason)
{
	unsigned none = SPREADER_REASON_NONE;

	/* relaxed, both: published by the release of the pending count (E12) */
	if (reason == SPREADER_REASON_RECEIPT_ERROR) {
		atomic_store_explicit(&notification->failure, reason, memory_order_relaxed);
		return;
	}
	atomic_compare_exchange_strong_explicit(&notification->failure, &none, reason,
						memory_order_relaxed, memory_order_relaxed);
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
