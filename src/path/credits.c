/*
 * credits - one counter, and a line for those who found too few.
 *
 * The line is a ticket a dispatcher, not a list: leaving it from the middle is one store, and there are as many places as
 * dispatchers. Two that get their tickets at the same time may both look before either is seen, so each other dispatcher can pass
 * a waiting one at most once, with what it was about to take.
 *
 * Rejected: the last wish counts, and whoever is woken first gets them. A fan-out near the limit found its credits taken by
 * small ones of another dispatcher again and again.
 */
#include "path/credits.h"

#include "base/assert.h"
#include "base/sync.h"

#define NO_TICKET UINT64_C(0)
#define THE_LAST  UINT64_MAX /* behind everybody in line */

void
spr_credits_init(spr_credits *credits, uint32_t capacity)
{
	credits->capacity = capacity;
}

/* No overshoot that is taken back: it could turn away another one who has room, and wake nobody. */
bool
spr_credits_reserve(spr_credits *credits, uint32_t n)
{
	/* E11: behind the caller's want, if he has declared one */
	uint32_t reserved = atomic_load_explicit(&credits->n_reserved, memory_order_seq_cst);

	do {
		if (n > credits->capacity - reserved)
			return (false);
		/* E11: as above. The entries that were given back come by the free list (E16) */
	} while (!atomic_compare_exchange_weak_explicit(&credits->n_reserved, &reserved,
							reserved + n, memory_order_seq_cst,
							memory_order_seq_cst));
	return (true);
}

/* The place with the lowest ticket, if it is lower than this one; or NULL. */
static const spr_credits_place *
first_before(const spr_credits *credits, uint64_t ticket)
{
	const spr_credits_place *first = NULL;

	/* E11, both: behind the caller's want; whoever leaves looks at wants afterwards */
	if (atomic_load_explicit(&credits->n_waiting, memory_order_seq_cst) == 0)
		return (NULL);
	for (unsigned d = 0; d < SPR_CREDITS_PLACES; d++) {
		/* E11: as above */
		uint64_t other =
		    atomic_load_explicit(&credits->place[d].ticket, memory_order_seq_cst);

		if (other != NO_TICKET && other < ticket) {
			ticket = other;
			first = &credits->place[d];
		}
	}
	return (first);
}

static void
join(spr_credits *credits, spr_credits_place *place, uint32_t n)
{
	/* relaxed, both: n is published by the ticket, the order of tickets is that of this word alone */
	uint64_t ticket =
	    atomic_fetch_add_explicit(&credits->last_ticket, 1, memory_order_relaxed) + 1;

	atomic_store_explicit(&place->n, n, memory_order_relaxed);
	/* E11, both: before the caller looks again */
	atomic_store_explicit(&place->ticket, ticket, memory_order_seq_cst);
	atomic_fetch_add_explicit(&credits->n_waiting, 1, memory_order_seq_cst);
}

bool
spr_credits_reserve_in_turn(spr_credits *credits, unsigned d, uint32_t n)
{
	spr_credits_place *place = &credits->place[d];
	/* relaxed: written by the caller only */
	uint64_t ticket = atomic_load_explicit(&place->ticket, memory_order_relaxed);

	SPR_ASSERT(d < SPR_CREDITS_PLACES);
	if (first_before(credits, ticket != NO_TICKET ? ticket : THE_LAST) == NULL &&
	    spr_credits_reserve(credits, n))
		return (true);
	if (ticket == NO_TICKET)
		join(credits, place, n);
	return (false);
}

void
spr_credits_leave(spr_credits *credits, unsigned d)
{
	spr_credits_place *place = &credits->place[d];

	/* relaxed: written by the caller only */
	if (atomic_load_explicit(&place->ticket, memory_order_relaxed) == NO_TICKET)
		return;
	/* E11, both: before the caller looks at wants */
	atomic_store_explicit(&place->ticket, NO_TICKET, memory_order_seq_cst);
	atomic_fetch_sub_explicit(&credits->n_waiting, 1, memory_order_seq_cst);
}

void
spr_credits_give_back(spr_credits *credits, uint32_t n)
{
	/* E11: before the caller looks at wants */
	uint32_t before = atomic_fetch_sub_explicit(&credits->n_reserved, n, memory_order_seq_cst);

	SPR_ASSERT(before >= n);
	(void)before; /* for the assert only */
}

uint32_t
spr_credits_wanted(const spr_credits *credits)
{
	const spr_credits_place *first = first_before(credits, THE_LAST);

	/* relaxed: behind its ticket, or of a place that was left: then the one who comes next asks again */
	return (first != NULL ? atomic_load_explicit(&first->n, memory_order_relaxed) : 0);
}

uint32_t
spr_credits_reserved(const spr_credits *credits)
{
	/* relaxed: a snapshot */
	return (atomic_load_explicit(&credits->n_reserved, memory_order_relaxed));
}

uint32_t
spr_credits_waiting(const spr_credits *credits)
{
	/* relaxed: a snapshot */
	return (atomic_load_explicit(&credits->n_waiting, memory_order_relaxed));
}
