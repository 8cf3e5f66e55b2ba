/*
 * The answer table: a key table (path/key_table.c has its proof) of which ids are in flight and
 * which were acked, with a ring of the acked ones in the order in which they are evicted.
 *
 * What it promises
 *   1. Of all overlapping claims of an absent id exactly one returns NEW.
 *   2. An id that is in the table for the whole of a claim is found by it.
 *   3. A claim never returns the state of another id, nor one that its id left before the call.
 *   4. A claim that returns IN_FLIGHT is known to the ledger: it came before answering, or acked or
 *      forget reports it.
 *
 * 1 to 3 are the key table's; only the ledger removes.
 *
 * Copies. A claim that finds its key in flight sets a mark in the entry's state, then looks at the
 * word again (W4); changed: it starts again. The ledger changes the word (R2) or the state (acked)
 * first and looks at the mark afterwards. All four are sequentially consistent, so either the
 * ledger sees the mark or the claim sees the change. A mark that lands on an entry which was removed
 * and re-used meanwhile costs its new owner an answer too many, which upstream accepts.
 *
 * Enough entries. There are max_inflight + dedup_window. Whoever takes one holds one of
 * max_inflight; a claim that took one and then found its key gives it back under the same one; the
 * acked are at most dedup_window because the oldest is evicted before the next is added.
 *
 * Memory orders. E9 goes from the ledger's release (of a state, R1, or a swap) to the acquire with
 * which a claim reads that state, link or word.
 */
#include "path/answers.h"

#include <stdatomic.h>

#include "base/assert.h"
#include "base/mem.h"
#include "path/key_table.h"

_Static_assert(SPR_ANSWERS_MAX == SPR_KEY_ENTRIES_MAX, "entry numbers fit");

/* Bits of a state; none: in flight. */
enum { STATE_IN_FLIGHT = 0, STATE_ACKED = 1, STATE_COPIED = 2 };

struct spr_answers {
	/* constant after new */
	uint32_t dedup_window;
	uint32_t *acked; /* the ledger's ring of acked entries */

	spr_key_table table;

	/* written by dispatchers and ledger */
	_Atomic uint32_t n_in_flight; /* beside the table's free list, which moves with it */

	/* written by the ledger */
	_Alignas(SPR_CACHELINE) uint32_t oldest; /* in acked */
	_Atomic uint32_t n_acked;
};

static inline _Atomic uint64_t *
state_of(spr_answers *answers, uint32_t index)
{
	return (&answers->table.entries[index].state);
}

/* Tells the ledger of a copy. False: the entry may have left the chain meanwhile. */
static bool
mark_copied(spr_answers *answers, spr_key_spot *spot)
{
	SPR_YIELD();
	/* E9: seq_cst, "Copies" above */
	spot->state = atomic_fetch_or_explicit(state_of(answers, spot->index), STATE_COPIED,
					       memory_order_seq_cst);
	SPR_YIELD();
	return (atomic_load_explicit(spot->bucket, memory_order_seq_cst) == spot->seen); /* W4 */
}

static uint32_t
take_entry(spr_answers *answers, spr_answer_key key)
{
	uint32_t index = spr_key_take(&answers->table, key.low, key.high);

	/* E9 release (recycling): see spr_key_take() */
	atomic_store_explicit(state_of(answers, index), STATE_IN_FLIGHT, memory_order_release);
	return (index);
}

spr_claim
spr_answers_claim(spr_answers *answers, spr_answer_key key, uint32_t *out)
{
	uint32_t mine = SPR_KEY_NONE;
	spr_key_spot spot;

	SPR_ASSERT_ROLE(SPR_ROLE_DISPATCHER);
	for (;;) {
		spr_key_find(&answers->table, key.low, key.high, &spot);
		if (spot.index != SPR_KEY_NONE) {
			if ((spot.state & STATE_ACKED) != 0 || mark_copied(answers, &spot))
				break;
			continue;
		}
		if (mine == SPR_KEY_NONE)
			mine = take_entry(answers, key);
		if (spr_key_try_insert(&answers->table, &spot, mine)) {
			/* relaxed: a snapshot for metrics */
			atomic_fetch_add_explicit(&answers->n_in_flight, 1, memory_order_relaxed);
			*out = mine;
			return (SPR_CLAIM_NEW);
		}
	}
	if (mine != SPR_KEY_NONE)
		spr_key_give_back(&answers->table, mine);
	return ((spot.state & STATE_ACKED) != 0 ? SPR_CLAIM_ACKED : SPR_CLAIM_IN_FLIGHT);
}

/* R1 to R3. True: the entry bore the mark of a copy. */
static bool
remove_entry(spr_answers *answers, uint32_t index)
{
	uint64_t state;

	spr_key_unlink(&answers->table, index);
	/* E9: seq_cst, behind R2: "Copies" above */
	state = atomic_load_explicit(state_of(answers, index), memory_order_seq_cst);
	spr_key_give_back(&answers->table, index);
	return ((state & STATE_COPIED) != 0);
}

static void
evict_oldest(spr_answers *answers, uint32_t n_acked)
{
	(void)remove_entry(answers, answers->acked[answers->oldest]);
	answers->oldest = answers->oldest + 1 == answers->dedup_window ? 0 : answers->oldest + 1;
	/* relaxed: a snapshot for metrics, and only the ledger decides by it */
	atomic_store_explicit(&answers->n_acked, n_acked - 1, memory_order_relaxed);
}

static void
leave_in_flight(spr_answers *answers, uint32_t index)
{
	(void)index; /* for the asserts only */
	SPR_ASSERT_ROLE(SPR_ROLE_LEDGER);
	SPR_ASSERT(index != SPR_KEY_NONE && index <= answers->table.n_entries);
	/* relaxed: only the ledger sets this bit */
	SPR_ASSERT((atomic_load_explicit(state_of(answers, index), memory_order_relaxed) &
		    STATE_ACKED) == 0);
	/* relaxed: a snapshot for metrics */
	atomic_fetch_sub_explicit(&answers->n_in_flight, 1, memory_order_relaxed);
}

void
spr_answers_answering(spr_answers *answers, uint32_t index)
{
	/* E9 acquire: a copy that was marked came before what is sent behind this */
	atomic_fetch_and_explicit(state_of(answers, index), ~(uint64_t)STATE_COPIED,
				  memory_order_acq_rel);
}

bool
spr_answers_acked(spr_answers *answers, uint32_t index)
{
	/* relaxed: the ledger's own */
	uint32_t n_acked = atomic_load_explicit(&answers->n_acked, memory_order_relaxed);
	uint64_t slot;

	if (answers->dedup_window == 0)
		return (spr_answers_forget(answers, index));
	leave_in_flight(answers, index);
	if (n_acked == answers->dedup_window)
		evict_oldest(answers, n_acked--);
	slot = (uint64_t)answers->oldest + n_acked;
	answers->acked[slot % answers->dedup_window] = index;
	/* relaxed: a snapshot for metrics, and only the ledger decides by it */
	atomic_store_explicit(&answers->n_acked, n_acked + 1, memory_order_relaxed);
	/* E9 release: pairs with the acquire in spr_key_walk(); seq_cst: "Copies" above */
	return (
	    (atomic_exchange_explicit(state_of(answers, index), STATE_ACKED, memory_order_seq_cst) &
	     STATE_COPIED) != 0);
}

bool
spr_answers_forget(spr_answers *answers, uint32_t index)
{
	leave_in_flight(answers, index);
	return (remove_entry(answers, index));
}

uint32_t
spr_answers_in_flight(const spr_answers *answers)
{
	/* relaxed: a snapshot */
	return (atomic_load_explicit(&answers->n_in_flight, memory_order_relaxed));
}

uint32_t
spr_answers_remembered(const spr_answers *answers)
{
	/* relaxed: a snapshot */
	return (atomic_load_explicit(&answers->n_acked, memory_order_relaxed));
}

spr_err
spr_answers_new(spr_answers **out, unsigned max_inflight, unsigned dedup_window)
{
	uint64_t n_entries = (uint64_t)max_inflight + dedup_window;
	spr_answers *answers;

	if (max_inflight == 0 || n_entries >= SPR_ANSWERS_MAX)
		return (spr_fail(SPR_E_INVALID, "answer table: %u in flight, %u remembered: %s",
				 max_inflight, dedup_window,
				 "at least 1 in flight, and fewer than 2^28 in all"));
	if ((answers = spr_mem_zalloc_aligned(sizeof(*answers))) == NULL)
		return (SPR_E_NOMEM);
	answers->acked = spr_mem_zalloc((size_t)dedup_window * sizeof(*answers->acked));
	if (answers->acked == NULL ||
	    spr_key_table_init(&answers->table, (uint32_t)n_entries) != SPR_OK) {
		spr_answers_free(answers);
		return (SPR_E_NOMEM);
	}
	answers->dedup_window = dedup_window;
	*out = answers;
	return (SPR_OK);
}

void
spr_answers_free(spr_answers *answers)
{
	if (answers == NULL)
		return;
	spr_key_table_fini(&answers->table);
	spr_mem_free(answers->acked);
	spr_mem_free(answers);
}
