/*
 * budget - allowances of the bytes that jobs may take.
 *
 * Bytes are taken from the common count only when there is room, never added and taken off again: another dispatcher would see
 * the budget used, park, and be woken by nobody, as nothing is out that could end. What is on its way from a spare to the common count
 * is in neither for a moment: therefore wants are read once more behind it.
 */
#include "path/budget.h"

#include "base/sync.h"

#define CHUNK ((size_t)64 << 10)

void
spr_budget_init(spr_budget *budget, size_t max, const spr_waiters *waiters)
{
	budget->max = max;
	budget->chunk = max / 4 < CHUNK ? max / 4 : CHUNK;
	budget->waiters = waiters;
}

void
spr_budget_join(spr_budget *budget, spr_budget_share *share, const spr_waiter *waiter)
{
	share->budget = budget;
	share->waiter = waiter;
	share->next = budget->shares;
	budget->shares = share;
}

static bool
is_wanted(const spr_budget *budget)
{
	return (spr_waiters_want(budget->waiters, SPR_WANT_BYTES));
}

/* needed more are used, and extra if there is room for that too; how many, 0: no room. */
static size_t
use(spr_budget *budget, size_t needed, size_t extra)
{
	/* E11: seq_cst against release_used(), also when the swap fails */
	size_t used = atomic_load_explicit(&budget->used, memory_order_seq_cst), n;

	do {
		if (used + needed + extra <= budget->max)
			n = needed + extra;
		else if (used == 0 || used + needed <= budget->max)
			n = needed;
		else
			return (0);
		SPR_YIELD();
	} while (!atomic_compare_exchange_weak_explicit(
	    &budget->used, &used, used + n, memory_order_seq_cst /* E11 */, memory_order_seq_cst));
	return (n);
}

/* The one who looks again by himself needs no wake-up; or NULL. */
static void
release_used(spr_budget *budget, size_t n, const spr_waiter *looks)
{
	if (n == 0)
		return;
	SPR_YIELD();
	atomic_fetch_sub_explicit(&budget->used, n, memory_order_seq_cst /* E11 */);
	for (unsigned i = 0; i < budget->waiters->n; i++) {
		if (&budget->waiters->waiter[i] != looks)
			spr_waiter_notify(&budget->waiters->waiter[i], SPR_WANT_BYTES);
	}
}

static size_t
take_spare(spr_budget_share *share)
{
	/* E11, both: seq_cst against what is given to it */
	if (atomic_load_explicit(&share->spare, memory_order_seq_cst) == 0)
		return (0);
	return (atomic_exchange_explicit(&share->spare, 0, memory_order_seq_cst));
}

static void
set_allowance(spr_budget_share *share, size_t allowance)
{
	/* relaxed: others read it for a snapshot */
	atomic_store_explicit(&share->allowance, allowance, memory_order_relaxed);
}

static size_t
allowance_of(const spr_budget_share *share)
{
	/* relaxed: the dispatcher's own, or for a snapshot */
	return (atomic_load_explicit(&share->allowance, memory_order_relaxed));
}

bool
spr_budget_refill(spr_budget_share *share, size_t len)
{
	spr_budget *budget = share->budget;
	size_t allowance = allowance_of(share) + take_spare(share), extra = 0, n;

	if (allowance < len) {
		if (len < budget->chunk && !is_wanted(budget))
			extra = budget->chunk;
		n = use(budget, len - allowance, extra);
		if (n == 0) {
			set_allowance(share, allowance);
			return (false);
		}
		allowance += n;
	}
	set_allowance(share, allowance - len);
	return (true);
}

bool
spr_budget_take_all(spr_budget_share *share, size_t len)
{
	spr_budget *budget = share->budget;
	size_t n = allowance_of(share);

	set_allowance(share, 0);
	for (spr_budget_share *other = budget->shares; other != NULL; other = other->next)
		n += take_spare(other);
	release_used(budget, n, share->waiter);
	return (use(budget, len, 0) > 0);
}

void
spr_budget_give_back(spr_budget_share *share, size_t len)
{
	spr_budget *budget = share->budget;
	/* E11: seq_cst against the look at all spares */
	size_t before = atomic_fetch_add_explicit(&share->spare, len, memory_order_seq_cst);

	SPR_YIELD();
	if (before + len > 2 * budget->chunk || is_wanted(budget))
		release_used(budget, take_spare(share), NULL);
}

void
spr_budget_end_turn(spr_budget_share *share)
{
	size_t allowance = allowance_of(share);

	if (allowance == 0)
		return;
	set_allowance(share, 0);
	spr_budget_give_back(share, allowance);
}

size_t
spr_budget_in_use(const spr_budget *budget)
{
	/* relaxed throughout: a snapshot. The count first, so that it is never above the bound */
	size_t used = atomic_load_explicit(&budget->used, memory_order_relaxed), kept = 0;

	for (const spr_budget_share *share = budget->shares; share != NULL; share = share->next)
		kept += allowance_of(share) +
			atomic_load_explicit(&share->spare, memory_order_relaxed /* as above */);
	return (used > kept ? used - kept : 0);
}
