/*
 * The answer table: a key table (path/key_table.c has its proof) of which ids are in flight, acked
 * or resumable, with the ledger's rings of the last two in the order in which they are evicted.
 *
 *      state      {uses : 33, jobs : 28, copied : 1, kind : 2}
 *
 * What it promises
 *   1. Of all overlapping claims of an absent or resumable id exactly one returns NEW or RESUMED.
 *   2. An id that is in the table for the whole of a claim is found by it.
 *   3. A claim never returns the state of another id, nor one that its id left before the call.
 *   4. A claim that returns IN_FLIGHT is known to the ledger: it came before answering, or acked,
 *      nacked or forget reports it.
 *   5. A chain that was remembered comes out once: with the claim that returns RESUMED, or as
 *      evicted.
 *
 * Why they hold. The key table gives 2, 3 and, for absent ids, 1; only the ledger removes. The rest
 * is one word: whoever moves an entry out of in flight or out of resumable, or marks a copy, changes
 * the state by a read-modify-write, and all but the ledger, whose own the entry in flight is, by
 * compare-and-swap from the value that the find returned. The uses in it move on whenever the entry
 * is taken for another id and whenever it becomes resumable, so a swap never lands on another id nor
 * on another nack of the same one.
 *
 *   1, 5. Two claims and an eviction start from the same value; one of them changes it.
 *   4.    The mark is set on a state in flight, so before the one exchange that ends it, which
 *         returns the mark; or it is cleared by answering before the answer is sent. A claim that
 *         finds the mark set already may leave it at that: it read it before whichever of the two
 *         comes next.
 *
 * Gone. An entry is marked gone before it is unlinked: by the exchange that returns the mark, or the
 * swap that evicts it. A claim that finds it so takes its id for absent and puts an entry in front
 * of it, for its time in the table is over; the ledger alone removes, and is at it, so there is
 * never a third one of an id. Evicted acks need no mark: a claim may return ACKED until R2.
 *
 * Order of eviction. Acked ids leave in the order of their acks, so a ring will do. A resumable one
 * may be claimed in between, by a dispatcher, who cannot take its slot out of the ledger's list, and
 * be nacked and added again; so a slot has the state that the entry was given with it, and stands
 * for it only as long as they are equal. There are twice as many slots as the window; when they are
 * used up at least half of them are empty shells, which are then squeezed out. Who claims takes the
 * id out of the count behind his swap: the ledger may give up one too many meanwhile, never one too
 * few.
 *
 * Enough entries. There are max_inflight + dedup_window + resume_window, as many as the ledger
 * holds back to give them back together, and as many for each dispatcher, who takes them together. Whoever takes one holds one
 * of max_inflight; a claim that took one and then finds its id gives it back before it goes on. The acked and the resumable are
 * at most their windows because the oldest is evicted before the next is added. An entry that nobody has had has the state 0.
 *
 * What is in flight is counted when somebody asks: a count of its own would be another cache line
 * that goes to and fro between dispatchers and ledger for every id.
 *
 * Memory orders. E9 goes from the ledger's release (of a state, R1, or a swap) to the acquire with
 * which a claim reads that state, link or word.
 *
 * Rejected: links between the resumable ones (only the ledger could change them, so what was claimed
 * would stay in the list until it comes back: the same shells, and eight bytes more an entry).
 */
#include "path/answers.h"

#include <stdatomic.h>

#include "base/assert.h"
#include "base/mem.h"
#include "path/key_table.h"

_Static_assert(SPR_ANSWERS_MAX - 1 <= SPR_KEY_INDEX_MASK, "entry numbers fit");

enum { KIND_IN_FLIGHT = 0, KIND_ACKED, KIND_RESUMABLE, KIND_GONE };

#define KIND_MASK  UINT64_C(3)
#define COPIED     (UINT64_C(1) << 2)
#define JOBS_SHIFT 3
#define USES_SHIFT (JOBS_SHIFT + SPR_KEY_INDEX_BITS)
#define USE        (UINT64_C(1) << USES_SHIFT)
#define USES_MASK  (~(USE - 1))

/* A resumable id; an empty shell when the entry's state is another one by now. */
typedef struct slot {
	uint64_t state;
	uint32_t index;
} slot;

#define EVICT_AHEAD 4  /* evictions between one thing that is fetched and the next */
#define TOGETHER    32 /* entries that are taken and freed at once, of many */

struct spr_answers {
	/* constant after new */
	uint32_t dedup_window;
	uint32_t resume_window;
	uint32_t *acked; /* the ledger's ring of acked entries */
	slot *slots;     /* the ledger's list of resumable ones */

	spr_key_table table;

	/* written by dispatchers and ledger */
	_Atomic uint32_t n_resumable;

	/* written by the ledger */
	_Alignas(SPR_CACHELINE) uint32_t oldest; /* in acked */
	spr_key_chain freed;                     /* not yet given back */
	_Atomic uint32_t n_acked;
	uint32_t first_slot, end_slot;
};

static inline _Atomic uint64_t *
state_of(const spr_answers *answers, uint32_t index)
{
	return (&answers->table.entries[index].state);
}

/* From the very value that was read: fails when it is another id, or another time in flight. */
static bool
change(spr_answers *answers, uint32_t index, uint64_t from, uint64_t to)
{
	SPR_YIELD();
	/* E9 acquire: the ledger's; release: the mark. On failure nothing is used */
	return (atomic_compare_exchange_strong_explicit(
	    state_of(answers, index), &from, to, memory_order_acq_rel, memory_order_relaxed));
}

static uint32_t
take_entry(spr_answers *answers, spr_answer_stock *stock, spr_answer_key key)
{
	uint32_t index = spr_key_take(&answers->table, stock, key.low, key.high);
	/* relaxed: of the last use, by the free list (recycling) */
	uint64_t last = atomic_load_explicit(state_of(answers, index), memory_order_relaxed);

	/* E9 release (recycling): see spr_key_take() */
	atomic_store_explicit(state_of(answers, index), ((last & USES_MASK) + USE) | KIND_IN_FLIGHT,
			      memory_order_release);
	return (index);
}

/* What is free is not counted as in flight. */
static void
give_back_unused(spr_answers *answers, spr_answer_stock *stock, uint32_t index)
{
	/* relaxed: nobody else has had the number of this use */
	uint64_t state = atomic_load_explicit(state_of(answers, index), memory_order_relaxed);

	/* E9 release (recycling): see spr_key_take() */
	atomic_store_explicit(state_of(answers, index), state | KIND_GONE, memory_order_release);
	spr_key_restock(&answers->table, stock, index);
}

/* What a claim of an id that is there comes to. False: its state has changed meanwhile. */
static bool
meet(spr_answers *answers, const spr_key_spot *spot, spr_claim *claim, uint32_t *out)
{
	switch (spot->state & KIND_MASK) {
	case KIND_ACKED:
		*claim = SPR_CLAIM_ACKED;
		return (true);
	case KIND_RESUMABLE:
		*claim = SPR_CLAIM_RESUMED;
		if (!change(answers, spot->index, spot->state, spot->state & ~KIND_MASK))
			return (false);
		/* relaxed: a snapshot for metrics; and "Order of eviction" above */
		atomic_fetch_sub_explicit(&answers->n_resumable, 1, memory_order_relaxed);
		*out = spot->index;
		return (true);
	default:
		*claim = SPR_CLAIM_IN_FLIGHT;
		return ((spot->state & COPIED) != 0 ||
			change(answers, spot->index, spot->state, spot->state | COPIED));
	}
}

void
spr_answers_foresee(spr_answers *answers, spr_answer_key key)
{
	__builtin_prefetch(spr_key_bucket_of(&answers->table, key.low), 1);
}

/* The one that is claimed before it takes the first of the stock. */
static uint32_t
second_free(const spr_answers *answers, const spr_answer_stock *stock)
{
	uint32_t second = SPR_KEY_NONE;

	if (stock->first != SPR_KEY_NONE)
		second = atomic_load_explicit(&answers->table.entries[stock->first].next,
					      memory_order_relaxed /* a guess */);
	if (second == SPR_KEY_NONE)
		second = spr_key_index_of(atomic_load_explicit(
		    &answers->table.free, memory_order_relaxed /* the same */));
	return (second);
}

void
spr_answers_foresee_claim(spr_answers *answers, const spr_answer_stock *stock, spr_answer_key key)
{
	/* relaxed: a guess */
	uint64_t first =
	    atomic_load_explicit(spr_key_bucket_of(&answers->table, key.low), memory_order_relaxed);

	__builtin_prefetch(&answers->table.entries[spr_key_index_of(first)]);
	__builtin_prefetch(&answers->table.entries[second_free(answers, stock)], 1);
}

void
spr_answers_prefetch(const spr_answers *answers, uint32_t index)
{
	__builtin_prefetch(&answers->table.entries[index], 1);
}

spr_claim
spr_answers_claim(spr_answers *answers, spr_answer_stock *stock, spr_answer_key key, uint32_t *out)
{
	uint32_t mine = SPR_KEY_NONE;
	spr_key_spot spot;
	spr_claim claim;

	SPR_ASSERT_ROLE(SPR_ROLE_DISPATCHER);
	for (;;) {
		spr_key_find(&answers->table, key.low, key.high, &spot);
		if (spot.index != SPR_KEY_NONE && (spot.state & KIND_MASK) != KIND_GONE) {
			if (mine != SPR_KEY_NONE)
				give_back_unused(answers, stock, mine);
			mine = SPR_KEY_NONE;
			if (meet(answers, &spot, &claim, out))
				return (claim);
			continue;
		}
		if (mine == SPR_KEY_NONE)
			mine = take_entry(answers, stock, key);
		if (spr_key_try_insert(&answers->table, &spot, mine)) {
			*out = mine;
			return (SPR_CLAIM_NEW);
		}
	}
}

static spr_resume
resume_in(const spr_answers *answers, uint32_t index, uint64_t state)
{
	return ((spr_resume){
	    .jobs = spr_key_index_of(state >> JOBS_SHIFT),
	    /* relaxed: written before the state was made resumable, which the caller acquired */
	    .n = atomic_load_explicit(&answers->table.entries[index].note, memory_order_relaxed),
	});
}

spr_resume
spr_answers_take_resume(spr_answers *answers, uint32_t index)
{
	/* relaxed: the entry is the caller's, the bits stay while it is in flight */
	return (resume_in(answers, index,
			  atomic_load_explicit(state_of(answers, index), memory_order_relaxed)));
}

/* R1 to R3. The free list belongs to dispatchers' caches: for each entry it would come here and go back. */
static void
remove_entry(spr_answers *answers, uint32_t index)
{
	spr_key_unlink(&answers->table, index);
	spr_key_chain_add(&answers->table, &answers->freed, index);
	if (answers->freed.n < answers->table.together)
		return;
	spr_key_give_back_chain(&answers->table, &answers->freed);
	answers->freed = (spr_key_chain){0};
}

/* Of the acked one that is evicted so many evictions later. */
static spr_key_entry *
oldest_entry(const spr_answers *answers, uint32_t later)
{
	uint32_t window = answers->dedup_window, at = answers->oldest + later;

	return (&answers->table.entries[answers->acked[at < window ? at : at - window]]);
}

static spr_key_word *
oldest_bucket(spr_answers *answers, uint32_t later)
{
	/* relaxed: an acked entry's key stays until the ledger removes it */
	return (spr_key_bucket_of(
	    &answers->table,
	    atomic_load_explicit(&oldest_entry(answers, later)->low, memory_order_relaxed)));
}

/* They were last touched a window ago: the entry is fetched, some evictions later its bucket, then the first one in that. */
static void
prefetch_oldest(spr_answers *answers, uint32_t n_acked)
{
	uint64_t seen;

	if (n_acked <= 3 * EVICT_AHEAD)
		return;
	__builtin_prefetch(oldest_entry(answers, 3 * EVICT_AHEAD), 1);
	__builtin_prefetch(oldest_bucket(answers, 2 * EVICT_AHEAD), 1);
	/* relaxed: a guess */
	seen = atomic_load_explicit(oldest_bucket(answers, EVICT_AHEAD), memory_order_relaxed);
	__builtin_prefetch(&answers->table.entries[spr_key_index_of(seen)], 1);
}

static void
evict_oldest(spr_answers *answers, uint32_t n_acked)
{
	prefetch_oldest(answers, n_acked);
	remove_entry(answers, answers->acked[answers->oldest]);
	answers->oldest = answers->oldest + 1 == answers->dedup_window ? 0 : answers->oldest + 1;
	/* relaxed: a snapshot for metrics, and only the ledger decides by it */
	atomic_store_explicit(&answers->n_acked, n_acked - 1, memory_order_relaxed);
}

/* Of an entry in flight, less the mark: the ledger's own, until it moves it on. */
static uint64_t
in_flight_state(const spr_answers *answers, uint32_t index)
{
	uint64_t state;

	SPR_ASSERT_ROLE(SPR_ROLE_LEDGER);
	SPR_ASSERT(index != SPR_KEY_NONE && index <= answers->table.n_entries);
	/* relaxed: but for the mark, only the ledger changes it from here */
	state = atomic_load_explicit(state_of(answers, index), memory_order_relaxed);
	SPR_ASSERT((state & KIND_MASK) == KIND_IN_FLIGHT);
	return (state & ~COPIED);
}

/* True: the entry bore the mark of a copy. */
static bool
leave_in_flight(spr_answers *answers, uint32_t index, uint64_t state)
{
	SPR_YIELD();
	/* E9 release: pairs with the acquire in spr_key_walk(); acquire: the claim that left a mark */
	return ((atomic_exchange_explicit(state_of(answers, index), state, memory_order_acq_rel) &
		 COPIED) != 0);
}

void
spr_answers_answering(spr_answers *answers, uint32_t index)
{
	/* E9 acquire: a copy that was marked came before what is sent behind this; one that is not seen is reported later */
	if ((atomic_load_explicit(state_of(answers, index), memory_order_acquire) & COPIED) != 0)
		atomic_fetch_and_explicit(state_of(answers, index), ~COPIED,
					  memory_order_acq_rel /* E9, as above */);
}

bool
spr_answers_acked(spr_answers *answers, uint32_t index)
{
	uint64_t state = in_flight_state(answers, index) & USES_MASK;
	/* relaxed: the ledger's own */
	uint32_t n_acked = atomic_load_explicit(&answers->n_acked, memory_order_relaxed);
	uint32_t at;

	if (answers->dedup_window == 0)
		return (spr_answers_forget(answers, index));
	if (n_acked == answers->dedup_window)
		evict_oldest(answers, n_acked--);
	at = answers->oldest + n_acked; /* both below SPR_ANSWERS_MAX */
	answers->acked[at < answers->dedup_window ? at : at - answers->dedup_window] = index;
	/* relaxed: a snapshot for metrics, and only the ledger decides by it */
	atomic_store_explicit(&answers->n_acked, n_acked + 1, memory_order_relaxed);
	return (leave_in_flight(answers, index, state | KIND_ACKED));
}

bool
spr_answers_forget(spr_answers *answers, uint32_t index)
{
	uint64_t state = in_flight_state(answers, index) & USES_MASK;
	bool is_copied = leave_in_flight(answers, index, state | KIND_GONE);

	remove_entry(answers, index);
	return (is_copied);
}

static void
squeeze(spr_answers *answers)
{
	uint32_t n = 0;

	for (uint32_t i = answers->first_slot; i < answers->end_slot; i++) {
		slot *s = &answers->slots[i];

		/* relaxed: what is a shell stays one; one that becomes a shell now may stay */
		if (atomic_load_explicit(state_of(answers, s->index), memory_order_relaxed) ==
		    s->state)
			answers->slots[n++] = *s;
	}
	answers->first_slot = 0;
	answers->end_slot = n;
}

bool
spr_answers_nacked(spr_answers *answers, uint32_t index, spr_resume resume, spr_resume *evicted)
{
	uint64_t state = in_flight_state(answers, index);

	*evicted = (spr_resume){0};
	if (answers->resume_window == 0 || resume.n == 0) {
		*evicted = resume;
		return (spr_answers_forget(answers, index));
	}
	/* relaxed: it never says too few */
	if (atomic_load_explicit(&answers->n_resumable, memory_order_relaxed) >=
	    answers->resume_window)
		(void)spr_answers_evict_resumable(answers, evicted);
	/* relaxed: as above */
	atomic_fetch_add_explicit(&answers->n_resumable, 1, memory_order_relaxed);
	if (answers->end_slot == 2 * answers->resume_window)
		squeeze(answers);
	state = ((state & USES_MASK) + USE) | (uint64_t)resume.jobs << JOBS_SHIFT | KIND_RESUMABLE;
	answers->slots[answers->end_slot++] = (slot){.state = state, .index = index};
	/* relaxed: published by the state */
	atomic_store_explicit(&answers->table.entries[index].note, resume.n, memory_order_relaxed);
	return (leave_in_flight(answers, index, state));
}

bool
spr_answers_evict_resumable(spr_answers *answers, spr_resume *evicted)
{
	SPR_ASSERT_ROLE(SPR_ROLE_LEDGER);
	while (answers->first_slot < answers->end_slot) {
		slot s = answers->slots[answers->first_slot++];

		if (!change(answers, s.index, s.state, (s.state & USES_MASK) | KIND_GONE))
			continue;
		*evicted = resume_in(answers, s.index, s.state);
		remove_entry(answers, s.index);
		/* relaxed: a snapshot for metrics, and the ledger's own decision */
		atomic_fetch_sub_explicit(&answers->n_resumable, 1, memory_order_relaxed);
		return (true);
	}
	return (false);
}

uint32_t
spr_answers_in_flight(const spr_answers *answers)
{
	/* relaxed, both: a snapshot */
	uint32_t n = atomic_load_explicit(&answers->table.n_used, memory_order_relaxed);
	uint32_t n_in_flight = 0;

	if (n > answers->table.n_entries)
		n = answers->table.n_entries;
	for (uint32_t i = 1; i <= n; i++) {
		uint64_t state =
		    atomic_load_explicit(state_of(answers, i), memory_order_relaxed /* as above */);

		n_in_flight += state != 0 && (state & KIND_MASK) == KIND_IN_FLIGHT;
	}
	return (n_in_flight);
}

uint32_t
spr_answers_remembered(const spr_answers *answers)
{
	/* relaxed: a snapshot */
	return (atomic_load_explicit(&answers->n_acked, memory_order_relaxed));
}

uint32_t
spr_answers_resumable(const spr_answers *answers)
{
	/* relaxed: a snapshot */
	return (atomic_load_explicit(&answers->n_resumable, memory_order_relaxed));
}

/* Of few in flight, few: the memory of a small table is not for stocks. */
static uint32_t
together(unsigned max_inflight)
{
	if (max_inflight >= 16 * TOGETHER)
		return (TOGETHER);
	return (max_inflight < 16 ? 1 : max_inflight / 16);
}

spr_err
spr_answers_new(spr_answers **out, unsigned n_dispatchers, unsigned max_inflight,
		unsigned dedup_window, unsigned resume_window)
{
	uint64_t n_entries = (uint64_t)max_inflight + dedup_window + resume_window +
			     together(max_inflight) * ((uint64_t)n_dispatchers + 1);
	spr_answers *answers;

	if (max_inflight == 0 || n_entries >= SPR_ANSWERS_MAX)
		return (spr_fail(SPR_E_INVALID,
				 "answer table: %u in flight, %u remembered, %u resumable: %s",
				 max_inflight, dedup_window, resume_window,
				 "at least 1 in flight, and fewer than 2^28 in all"));
	if ((answers = spr_mem_zalloc_aligned(sizeof(*answers))) == NULL)
		return (SPR_E_NOMEM);
	answers->acked = spr_mem_zalloc((size_t)dedup_window * sizeof(*answers->acked));
	answers->slots = spr_mem_zalloc(2 * (size_t)resume_window * sizeof(*answers->slots));
	if (answers->acked == NULL || answers->slots == NULL ||
	    spr_key_table_init(&answers->table, (uint32_t)n_entries, together(max_inflight)) !=
		SPR_OK) {
		spr_answers_free(answers);
		return (SPR_E_NOMEM);
	}
	answers->dedup_window = dedup_window;
	answers->resume_window = resume_window;
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
	spr_mem_free(answers->slots);
	spr_mem_free(answers);
}
