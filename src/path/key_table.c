/*
 * key_table - the proof of the shared core of the answer table and the table of jobs, and its less hot half.
 *
 *      buckets                      entries (slab, numbered from 1)
 *      +-----------------+          +-----+------+-------+     +-----+------+-------+
 *      | version | first |--------->| key | next | state |---->| key | next | state |---->0
 *      +-----------------+          +-----+------+-------+     +-----+------+-------+
 *      | version |   0   |
 *      +-----------------+          free: never used yet (a counter), or used before (a stack of chains)
 *
 * What it promises
 *   1. Of all overlapping find-and-insert of an absent key exactly one succeeds; the others find it.
 *   2. A key that is in the table for the whole of a find is found by it, whatever else is inserted
 *      or removed meanwhile. Of several entries of one key it is the youngest.
 *   3. The state that a find returns was its key's own, at a moment within that find.
 *   4. Nobody waits: a call starts again only because another operation on the same bucket has been
 *      completed.
 *
 * How. A bucket is one 64-bit word: the number of its first entry and a version. Every change of
 * the chain changes the version, the word is only changed by compare-and-swap, and new entries come
 * in at the front. So a find, and the insertion behind it,
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
 * Removing. Only one thread removes, so every link it walks is stable. The first entry of a chain
 * goes by swapping the word. One in the middle takes three steps, and their order is the proof:
 *
 *      R1  previous entry's next = next
 *      R2  version + 1
 *      R3  the entry goes to the free stack, with others in a chain of up to `together`
 *
 * - R2 before R3. A walk that saw anything written by the entry's next owner read it after R3,
 *   hence after R2, and its second look at the word shows the new version. With R3 first it could
 *   follow the next owner's link and miss a key that was there throughout (against 2), or take the
 *   next owner's state for its own (against 3).
 * - R1 before R2. With R2 first, a walk could load the new version, pass through the old link onto
 *   the entry, and then R1 and R3 happen without another change of the word: the same strays,
 *   unnoticed.
 * - Between R1 and R2 a walk may still reach the entry or already miss it, and both pass W2. Both
 *   are right: the key is being removed during that find, which may be ordered before R1 (found)
 *   or after it (absent). If it finds the key absent and inserts it, W3 makes a new version with
 *   the new entry in front, so nobody who loads the word later gets as far as the old entry.
 *
 * Promise 1 follows from W3: of two that found a key absent in the same version of the bucket one
 * fails to swap, and a version in which it is absent stays so until a W3.
 *
 * Changing a state afterwards. A find's state is history when it returns: the entry may have been
 * removed and taken for another key since. So users change a state only by compare-and-swap from
 * the very value that a find returned, and keep a count in it that every taker moves on: the swap
 * then fails unless the entry is still of the use in which the find met it. One that succeeds on an
 * entry which was removed but not taken again has, by its place in the order of that one word,
 * happened before the removal or is harmless to it; the user's proof says which.
 *
 * Version wrap. A word has 28 bits of entry number and 36 of version. A wrong answer needs a walk
 * that is suspended between W1 and W2 while this one bucket is changed exactly 2^36 times: with a
 * million insertions and removals a second that all fall on one bucket of two million, 19 hours. The
 * free stack has the same kind of word; its gap is between two adjacent loads.
 *
 * Free ones come and go in chains, linked by next as in a bucket; the first of each has the next chain in its note. A taker has
 * the whole chain, to himself: with many takers the one word of the free stack would go to and fro for every entry.
 *
 * Enough entries. The user's own count says that there is one for whoever takes one, besides what others have in stock. It may
 * change from one kind of free to the other while he looks: spr_key_take() looks again.
 *
 * Memory orders. The edges of the users (E9, E16) go from the release (of a state, R1, or a swap)
 * to the acquire with which a walk reads that state, link or word. A word is only changed by
 * read-modify-writes, so a release on it reaches every later acquire. Fields of entries are stored
 * with release and loaded with acquire for W2: that look must not show an older word than the field
 * before it implies (recycling). Fences would do as well, but ThreadSanitizer does not see them; on
 * x86 neither costs an instruction.
 *
 * Rejected: open addressing (tombstones, and clearing them needs all finds stopped), ck_ht (loses
 * keys after deletions), ck_hs (one writer only), a lock per bucket (a descheduled thread would hold
 * up the one that removes).
 */
#include "path/key_table.h"

#include "base/assert.h"

_Static_assert(sizeof(spr_key_entry) == SPR_CACHELINE / 2, "an entry is in one cache line");

void
spr_key_chain_add(spr_key_table *table, spr_key_chain *chain, uint32_t index)
{
	/* E9, E16 release (recycling): R2 is seen by whoever sees this link */
	atomic_store_explicit(&table->entries[index].next, chain->first, memory_order_release);
	chain->first = index;
	chain->n++;
}

void
spr_key_give_back_chain(spr_key_table *table, const spr_key_chain *chain)
{
	/* relaxed: a hint, spr_key_swap() checks it */
	uint64_t top = atomic_load_explicit(&table->free, memory_order_relaxed);

	SPR_ASSERT(chain->n > 0 && chain->n <= table->together);
	do {
		/* relaxed: published by the swap; walks do not read it */
		atomic_store_explicit(&table->entries[chain->first].note, spr_key_index_of(top),
				      memory_order_relaxed);
	} while (!spr_key_swap(&table->free, &top, chain->first));
}

void
spr_key_give_back(spr_key_table *table, uint32_t index)
{
	spr_key_chain chain = {0};

	spr_key_chain_add(table, &chain, index);
	spr_key_give_back_chain(table, &chain);
}

void
spr_key_restock(spr_key_table *table, spr_key_stock *stock, uint32_t index)
{
	/* E9, E16 release (recycling): as in spr_key_chain_add() */
	atomic_store_explicit(&table->entries[index].next, stock->first, memory_order_release);
	stock->first = index;
}

/* A whole chain. */
static uint32_t
pop_free(spr_key_table *table)
{
	/* E9, E16 acquire (recycling): pairs with spr_key_swap() in spr_key_give_back_chain() */
	uint64_t top = atomic_load_explicit(&table->free, memory_order_acquire);
	uint32_t next;

	do {
		if (spr_key_index_of(top) == SPR_KEY_NONE)
			return (SPR_KEY_NONE);
		/* relaxed: if the chain was taken meanwhile, the version has moved */
		next = atomic_load_explicit(&table->entries[spr_key_index_of(top)].note,
					    memory_order_relaxed);
	} while (!spr_key_swap(&table->free, &top, next));
	return (spr_key_index_of(top));
}

/* The same of entries that nobody has had yet. */
static uint32_t
pop_unused(spr_key_table *table)
{
	spr_key_stock stock = {0};
	uint32_t first, end;

	/* relaxed: a number is handed out once; there is nothing behind it that anyone wrote */
	if (atomic_load_explicit(&table->n_used, memory_order_relaxed) >= table->n_entries)
		return (SPR_KEY_NONE);
	/* relaxed: as above */
	first = atomic_fetch_add_explicit(&table->n_used, table->together, memory_order_relaxed);
	end =
	    first + table->together < table->n_entries ? first + table->together : table->n_entries;
	while (end > first)
		spr_key_restock(table, &stock, end--);
	return (stock.first);
}

/* Used ones first: they are in the cache, and memory that is never needed is never touched. */
uint32_t
spr_key_take(spr_key_table *table, spr_key_stock *stock, uint64_t low, uint64_t high)
{
	uint32_t index;

	while (stock->first == SPR_KEY_NONE && (stock->first = pop_free(table)) == SPR_KEY_NONE &&
	       (stock->first = pop_unused(table)) == SPR_KEY_NONE)
		SPR_YIELD(); /* "Enough entries" above says why this ends */
	index = stock->first;
	/* relaxed: the chain is the caller's */
	stock->first = atomic_load_explicit(&table->entries[index].next, memory_order_relaxed);
	/* E9, E16 release (recycling), both: an old walk that sees one of them sees R2 too */
	atomic_store_explicit(&table->entries[index].low, low, memory_order_release);
	atomic_store_explicit(&table->entries[index].high, high, memory_order_release);
	return (index);
}

/* The entry in front of `index` in its chain; SPR_KEY_NONE when it is the first. */
static uint32_t
predecessor(const spr_key_table *table, uint32_t first, uint32_t index)
{
	uint32_t prev = SPR_KEY_NONE;

	while (first != index) {
		SPR_ASSERT(first != SPR_KEY_NONE);
		prev = first;
		/* relaxed: published with the word, and only the caller changes links */
		first = atomic_load_explicit(&table->entries[prev].next, memory_order_relaxed);
	}
	return (prev);
}

/* When an insertion makes the first swap fail, the entry is no longer the first. */
void
spr_key_unlink(spr_key_table *table, uint32_t index)
{
	spr_key_entry *e = &table->entries[index];
	/* relaxed, both: came to the caller with the entry, and only he changes links */
	spr_key_word *bucket =
	    spr_key_bucket_of(table, atomic_load_explicit(&e->low, memory_order_relaxed));
	uint32_t next = atomic_load_explicit(&e->next, memory_order_relaxed);
	/* E9, E16 acquire: the links of the chain, published by insertions */
	uint64_t seen = atomic_load_explicit(bucket, memory_order_acquire);
	uint32_t prev;

	for (;;) {
		prev = predecessor(table, spr_key_index_of(seen), index);
		if (prev != SPR_KEY_NONE)
			break;
		if (spr_key_swap(bucket, &seen, next))
			return;
	}
	/* E9, E16 release: R1, who misses the entry sees what was done before its removal */
	atomic_store_explicit(&table->entries[prev].next, next, memory_order_release);
	while (!spr_key_swap(bucket, &seen, spr_key_index_of(seen)))
		continue;
}

/* Zeroed memory is an empty table, and large blocks of it come as pages not yet touched. */
spr_err
spr_key_table_init(spr_key_table *table, uint32_t n_entries, uint32_t together)
{
	uint64_t n_buckets = 1;
	uintptr_t at;

	while (n_buckets < n_entries)
		n_buckets *= 2;
	/* one for [0], one for the alignment */
	table->memory = spr_mem_zalloc(((size_t)n_entries + 2) * sizeof(spr_key_entry));
	table->buckets = spr_mem_zalloc(n_buckets * sizeof(*table->buckets));
	if (table->memory == NULL || table->buckets == NULL) {
		spr_key_table_fini(table);
		return (SPR_E_NOMEM);
	}
	at = (uintptr_t)table->memory % sizeof(spr_key_entry);
	table->entries =
	    (spr_key_entry *)((char *)table->memory + (at == 0 ? 0 : sizeof(spr_key_entry) - at));
	table->bucket_mask = n_buckets - 1;
	table->n_entries = n_entries;
	table->together = together;
	return (SPR_OK);
}

void
spr_key_table_fini(spr_key_table *table)
{
	spr_mem_free(table->memory);
	spr_mem_free(table->buckets);
	table->memory = NULL;
	table->buckets = NULL;
}
