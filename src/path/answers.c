/*
 * The answer table: a hash table of fixed size that many dispatchers look up and insert into
 * without locks while one ledger thread removes.
 *
 *      buckets                      entries (slab, numbered from 1)
 *      +-----------------+          +-----+------+-------+     +-----+------+-------+
 *      | version | first |--------->| key | next | state |---->| key | next | state |---->0
 *      +-----------------+          +-----+------+-------+     +-----+------+-------+
 *      | version |   0   |
 *      +-----------------+          free: never used yet (a counter), or used before (a stack)
 *
 * What it promises
 *   1. Of all overlapping claims of an absent key exactly one returns NEW.
 *   2. A key that is in the table for the whole of a claim is found by it, whatever else is
 *      inserted or removed meanwhile.
 *   3. A claim never returns the state of another key, nor one that its key left before the call.
 *   4. A claim that returns IN_FLIGHT is known to the ledger: it came before answering, or acked or
 *      forget reports it.
 *   5. Nobody waits: a claim starts again only because another operation on the same bucket has
 *      been completed.
 *
 * How. A bucket is one 64-bit word: the number of its first entry and a version. Every change of
 * the chain changes the version, the word is only changed by compare-and-swap, and new entries come
 * in at the front. So a claim
 *
 *      loads the word                                              (W1)
 *      reads an entry's key, state and next, then loads the word   (W2) another one: starts again
 *      follows next, or returns the state; or at the chain's end
 *      swaps the word of W1 for {version + 1, its own entry}       (W3) failed: starts again
 *
 * Nothing read from an entry is used before the word was seen unchanged after the read. A walk
 * therefore never strays into another chain, and it ends, although entries are re-used while it
 * looks at them; no grace period is needed. Checking the word only once, at the end of the walk, is
 * as right, but a walk through re-used entries has no natural end and needs a limit on its steps;
 * the look per step costs a load of a line that is in the cache.
 *
 * Removing. Only the ledger removes, so every link it walks is stable. The first entry of a chain
 * goes by swapping the word. One in the middle takes three steps, and their order is the proof:
 *
 *      R1  previous entry's next = next
 *      R2  version + 1
 *      R3  the entry goes to the free stack
 *
 * - R2 before R3. A walk that saw anything written by the entry's next owner read it after R3,
 *   hence after R2, and its second look at the word shows the new version. With R3 first it could
 *   follow the next owner's link and miss a key that was there throughout (against 2), or take the
 *   next owner's state for its own (against 3).
 * - R1 before R2. With R2 first, a walk could load the new version, pass through the old link onto
 *   the entry, and then R1 and R3 happen without another change of the word: the same strays,
 *   unnoticed.
 * - Between R1 and R2 a walk may still reach the entry or already miss it, and both pass W2. Both
 *   are right: the key is being removed during that claim, which may be ordered before R1 (found)
 *   or after it (absent). If it finds the key absent and inserts it, W3 makes a new version with
 *   the new entry in front, so nobody who loads the word later gets as far as the old entry.
 *
 * Promise 1 follows from W3: of two claims that found a key absent in the same version of the
 * bucket one fails to swap, and a version in which it is absent stays so until a W3.
 *
 * Copies. A claim that finds its key in flight sets a mark in the entry's state, then looks at the
 * word again (W4); changed: it starts again. The ledger changes the word (R2) or the state (acked)
 * first and looks at the mark afterwards. All four are sequentially consistent, so either the
 * ledger sees the mark or the claim sees the change. A mark that lands on an entry which was removed
 * and re-used meanwhile costs its new owner an answer too many, which upstream accepts.
 *
 * Version wrap. A word has 28 bits of entry number and 36 of version. A wrong answer needs a walk
 * that is suspended between W1 and W2 while this one bucket is changed exactly 2^36 times: with a
 * million claims and removals a second that all fall on one bucket of two million, 19 hours. The
 * free stack has the same kind of word; its gap is between two adjacent loads.
 *
 * Enough entries. There are max_inflight + dedup_window. Whoever takes one holds one of
 * max_inflight; a claim that took one and then found its key gives it back under the same one; the
 * acked are at most dedup_window because the oldest is evicted before the next is added. So one is
 * always free for the caller, though it may change from one kind of free to the other while he
 * looks: take_entry() looks again.
 *
 * Memory orders. E9 goes from the ledger's release (of a state, R1, or a swap) to the acquire with
 * which a claim reads that state, link or word. A word is only changed by read-modify-writes, so a
 * release on it reaches every later acquire. Fields of entries are stored with release and loaded
 * with acquire for W2: that look must not show an older word than the field before it implies (E9,
 * recycling). Fences would do as well, but ThreadSanitizer does not see them; on x86 neither costs
 * an instruction.
 *
 * Rejected: open addressing (tombstones, and clearing them needs all claims stopped), ck_ht (loses
 * keys after deletions), ck_hs (one writer only), a lock per bucket (a descheduled dispatcher would
 * hold up the ledger).
 */
#include "path/answers.h"

#include <stdatomic.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/sync.h"

#define INDEX_BITS 28
#define INDEX_MASK ((UINT64_C(1) << INDEX_BITS) - 1)
#define NO_ENTRY   0

_Static_assert(SPR_ANSWERS_MAX == UINT64_C(1) << INDEX_BITS, "entry numbers 1..max fit");

/* Bits of a state; none: in flight. */
enum { STATE_IN_FLIGHT = 0, STATE_ACKED = 1, STATE_COPIED = 2 };

typedef struct entry {
	_Atomic uint64_t low;
	_Atomic uint64_t high;
	_Atomic uint32_t next; /* in its bucket or on the free stack */
	_Atomic uint32_t state;
} entry;

/* {version : 36, entry number : 28} */
typedef _Atomic uint64_t word;

struct spr_answers {
	/* constant after new */
	entry *entries; /* [0] is not used, so that zeroed memory is a table of empty buckets */
	word *buckets;
	uint64_t bucket_mask;
	uint32_t n_entries;
	uint32_t dedup_window;
	uint32_t *acked; /* the ledger's ring of acked entries */

	/* written by dispatchers and ledger */
	_Alignas(SPR_CACHELINE) word free;
	_Atomic uint32_t n_used; /* entries taken at least once; may run a little over n_entries */
	_Atomic uint32_t n_in_flight;

	/* written by the ledger */
	_Alignas(SPR_CACHELINE) uint32_t oldest; /* in acked */
	_Atomic uint32_t n_acked;
};

static inline uint32_t
index_of(uint64_t value)
{
	return ((uint32_t)(value & INDEX_MASK));
}

/* The word that replaces `value`: another first entry, the next version. */
static inline uint64_t
successor(uint64_t value, uint32_t index)
{
	return (((value & ~INDEX_MASK) + (UINT64_C(1) << INDEX_BITS)) | index);
}

static inline word *
bucket_of(spr_answers *answers, uint64_t low)
{
	return (&answers->buckets[low & answers->bucket_mask]);
}

static bool
swap_word(word *at, uint64_t *expected, uint32_t index)
{
	SPR_YIELD();
	/* E9 release: the removal, or the fields of a new entry; acquire: the chain it found;
	 * seq_cst: R2, "Copies" above */
	return (atomic_compare_exchange_weak_explicit(at, expected, successor(*expected, index),
						      memory_order_seq_cst, memory_order_acquire));
}

static void
free_entry(spr_answers *answers, uint32_t index)
{
	/* relaxed: a hint, swap_word() checks it */
	uint64_t top = atomic_load_explicit(&answers->free, memory_order_relaxed);

	do {
		/* E9 release (recycling): R2 is seen by whoever sees this link */
		atomic_store_explicit(&answers->entries[index].next, index_of(top),
				      memory_order_release);
	} while (!swap_word(&answers->free, &top, index));
}

static uint32_t
pop_free(spr_answers *answers)
{
	/* E9 acquire (recycling): pairs with swap_word() in free_entry() */
	uint64_t top = atomic_load_explicit(&answers->free, memory_order_acquire);
	uint32_t next;

	do {
		if (index_of(top) == NO_ENTRY)
			return (NO_ENTRY);
		/* relaxed: if the entry was taken meanwhile, the version has moved */
		next = atomic_load_explicit(&answers->entries[index_of(top)].next,
					    memory_order_relaxed);
	} while (!swap_word(&answers->free, &top, next));
	return (index_of(top));
}

static uint32_t
pop_unused(spr_answers *answers)
{
	uint32_t index;

	/* relaxed: a number is handed out once; there is nothing behind it that anyone wrote */
	if (atomic_load_explicit(&answers->n_used, memory_order_relaxed) >= answers->n_entries)
		return (NO_ENTRY);
	/* relaxed: as above */
	index = atomic_fetch_add_explicit(&answers->n_used, 1, memory_order_relaxed) + 1;
	return (index <= answers->n_entries ? index : NO_ENTRY);
}

/* Used ones first: they are in the cache, and memory that is never needed is never touched. */
static uint32_t
take_entry(spr_answers *answers, spr_answer_key key)
{
	uint32_t index;
	entry *e;

	while ((index = pop_free(answers)) == NO_ENTRY && (index = pop_unused(answers)) == NO_ENTRY)
		SPR_YIELD(); /* "Enough entries" above says why this ends */
	e = &answers->entries[index];
	/* E9 release (recycling), all three: an old walk that sees one of them sees R2 too */
	atomic_store_explicit(&e->low, key.low, memory_order_release);
	atomic_store_explicit(&e->high, key.high, memory_order_release);
	atomic_store_explicit(&e->state, STATE_IN_FLIGHT, memory_order_release);
	return (index);
}

typedef enum walk_result { WALK_FOUND, WALK_ABSENT, WALK_DISTURBED } walk_result;

/* Looks for the key in the chain that the word `seen` stood for. */
static walk_result
walk(const spr_answers *answers, const word *bucket, uint64_t seen, spr_answer_key key,
     uint32_t *found, uint32_t *state)
{
	uint32_t index = index_of(seen);

	while (index != NO_ENTRY) {
		const entry *e = &answers->entries[index];
		/* E9 acquire, all four: the ledger's stores; and any re-use shows in W2 */
		uint64_t low = atomic_load_explicit(&e->low, memory_order_acquire);
		uint64_t high = atomic_load_explicit(&e->high, memory_order_acquire);
		uint32_t state_now = atomic_load_explicit(&e->state, memory_order_acquire);
		uint32_t here = index;

		index = atomic_load_explicit(&e->next, memory_order_acquire);
		SPR_YIELD();
		/* relaxed: W2 is ordered behind the four loads by their acquire */
		if (atomic_load_explicit(bucket, memory_order_relaxed) != seen)
			return (WALK_DISTURBED);
		if (low == key.low && high == key.high) {
			*found = here;
			*state = state_now;
			return (WALK_FOUND);
		}
	}
	return (WALK_ABSENT);
}

/* Tells the ledger of a copy. False: the entry may have left the chain meanwhile. */
static bool
mark_copied(spr_answers *answers, const word *bucket, uint64_t seen, uint32_t index,
	    uint32_t *state)
{
	SPR_YIELD();
	/* E9: seq_cst, "Copies" above */
	*state = atomic_fetch_or_explicit(&answers->entries[index].state, STATE_COPIED,
					  memory_order_seq_cst);
	SPR_YIELD();
	return (atomic_load_explicit(bucket, memory_order_seq_cst) == seen); /* W4 */
}

spr_claim
spr_answers_claim(spr_answers *answers, spr_answer_key key, uint32_t *out)
{
	word *bucket = bucket_of(answers, key.low);
	uint32_t mine = NO_ENTRY, found, state;

	SPR_ASSERT_ROLE(SPR_ROLE_DISPATCHER);
	for (;;) {
		/* E9 acquire: W1, pairs with swap_word() of removals and of other claims */
		uint64_t seen = atomic_load_explicit(bucket, memory_order_acquire);
		walk_result result = walk(answers, bucket, seen, key, &found, &state);

		if (result == WALK_DISTURBED)
			continue;
		if (result == WALK_FOUND && (state & STATE_ACKED) == 0 &&
		    !mark_copied(answers, bucket, seen, found, &state))
			continue;
		if (result == WALK_FOUND)
			break;
		if (mine == NO_ENTRY)
			mine = take_entry(answers, key);
		/* E9 release (recycling): see take_entry(); the swap publishes it */
		atomic_store_explicit(&answers->entries[mine].next, index_of(seen),
				      memory_order_release);
		if (swap_word(bucket, &seen, mine)) {
			/* relaxed: a snapshot for metrics */
			atomic_fetch_add_explicit(&answers->n_in_flight, 1, memory_order_relaxed);
			*out = mine;
			return (SPR_CLAIM_NEW);
		}
	}
	if (mine != NO_ENTRY)
		free_entry(answers, mine);
	return ((state & STATE_ACKED) != 0 ? SPR_CLAIM_ACKED : SPR_CLAIM_IN_FLIGHT);
}

/* The entry in front of `index` in its chain; NO_ENTRY when it is the first. */
static uint32_t
predecessor(const spr_answers *answers, uint32_t first, uint32_t index)
{
	uint32_t prev = NO_ENTRY;

	while (first != index) {
		SPR_ASSERT(first != NO_ENTRY);
		prev = first;
		/* relaxed: published with the word, and only the ledger changes links */
		first = atomic_load_explicit(&answers->entries[prev].next, memory_order_relaxed);
	}
	return (prev);
}

/* R1 and R2. When a claim makes the first swap fail, the entry is no longer the first. */
static void
unlink_entry(spr_answers *answers, uint32_t index)
{
	entry *e = &answers->entries[index];
	/* relaxed, both: came to the ledger with the entry, and only the ledger changes links */
	word *bucket = bucket_of(answers, atomic_load_explicit(&e->low, memory_order_relaxed));
	uint32_t next = atomic_load_explicit(&e->next, memory_order_relaxed);
	/* E9 acquire: the links of the chain, published by claims */
	uint64_t seen = atomic_load_explicit(bucket, memory_order_acquire);
	uint32_t prev;

	for (;;) {
		prev = predecessor(answers, index_of(seen), index);
		if (prev != NO_ENTRY)
			break;
		if (swap_word(bucket, &seen, next))
			return;
	}
	/* E9 release: R1, a claim that misses the entry sees what was done before forget */
	atomic_store_explicit(&answers->entries[prev].next, next, memory_order_release);
	while (!swap_word(bucket, &seen, index_of(seen)))
		continue;
}

/* R1 to R3. True: the entry bore the mark of a copy. */
static bool
remove_entry(spr_answers *answers, uint32_t index)
{
	uint32_t state;

	unlink_entry(answers, index);
	/* E9: seq_cst, behind R2: "Copies" above */
	state = atomic_load_explicit(&answers->entries[index].state, memory_order_seq_cst);
	free_entry(answers, index);
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
	SPR_ASSERT(index != NO_ENTRY && index <= answers->n_entries);
	/* relaxed: only the ledger sets this bit */
	SPR_ASSERT((atomic_load_explicit(&answers->entries[index].state, memory_order_relaxed) &
		    STATE_ACKED) == 0);
	/* relaxed: a snapshot for metrics */
	atomic_fetch_sub_explicit(&answers->n_in_flight, 1, memory_order_relaxed);
}

void
spr_answers_answering(spr_answers *answers, uint32_t index)
{
	/* E9 acquire: a copy that was marked came before what is sent behind this */
	atomic_fetch_and_explicit(&answers->entries[index].state, ~(uint32_t)STATE_COPIED,
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
	/* E9 release: pairs with the acquire in walk(); seq_cst: "Copies" above */
	return ((atomic_exchange_explicit(&answers->entries[index].state, STATE_ACKED,
					  memory_order_seq_cst) &
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

/* Zeroed memory is an empty table, and large blocks of it come as pages not yet touched. */
spr_err
spr_answers_new(spr_answers **out, unsigned max_inflight, unsigned dedup_window)
{
	uint64_t n_entries = (uint64_t)max_inflight + dedup_window, n_buckets = 1;
	spr_answers *answers;

	if (max_inflight == 0 || n_entries >= SPR_ANSWERS_MAX)
		return (spr_fail(SPR_E_INVALID, "answer table: %u in flight, %u remembered: %s",
				 max_inflight, dedup_window,
				 "at least 1 in flight, and fewer than 2^28 in all"));
	while (n_buckets < n_entries)
		n_buckets *= 2;
	if ((answers = spr_mem_zalloc_aligned(sizeof(*answers))) == NULL)
		return (SPR_E_NOMEM);
	answers->entries = spr_mem_zalloc((n_entries + 1) * sizeof(*answers->entries));
	answers->buckets = spr_mem_zalloc(n_buckets * sizeof(*answers->buckets));
	answers->acked = spr_mem_zalloc((size_t)dedup_window * sizeof(*answers->acked));
	if (answers->entries == NULL || answers->buckets == NULL || answers->acked == NULL) {
		spr_answers_free(answers);
		return (SPR_E_NOMEM);
	}
	answers->n_entries = (uint32_t)n_entries;
	answers->bucket_mask = n_buckets - 1;
	answers->dedup_window = dedup_window;
	*out = answers;
	return (SPR_OK);
}

void
spr_answers_free(spr_answers *answers)
{
	if (answers == NULL)
		return;
	spr_mem_free(answers->entries);
	spr_mem_free(answers->buckets);
	spr_mem_free(answers->acked);
	spr_mem_free(answers);
}
