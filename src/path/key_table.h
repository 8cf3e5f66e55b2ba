/*
 * key_table - a hash table of fixed size that many threads look up and insert into without locks while one removes.
 *
 * An entry has a word and a note that belong to the user. The core is what the answer table (path/answers.h) and the
 * table of jobs (path/jobs.h) share; its calls are inline because they are on the path of every notification and every
 * job. What it promises and why it holds is in key_table.c.
 *
 * Writer      any thread inserts, and changes the user's fields; one thread removes
 * Reader      any thread
 * Ownership   an entry that was taken is the caller's until it is inserted or given back; what is in a stock is its owner's
 * Ordering    E9, E16: what was done before an insertion or a removal is visible to the find that sees it
 * Progress    lock-free: a call starts again only because another one in the same bucket (of the free list: any other)
 *             has been completed
 * Limits      n_entries below SPR_KEY_ENTRIES_MAX; whoever takes an entry knows by a count of his own that there is one, with
 *             `together` more for each stock but his
 * Teardown    after all users stopped
 *
 * Which calls may overlap (X: the caller excludes it):
 *
 *                         find, take, insert, give back    remove
 *      find, take,
 *      insert, give back               -                     -
 *      remove                          -                     X
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/sync.h"

#define SPR_KEY_INDEX_BITS  28
#define SPR_KEY_INDEX_MASK  ((UINT64_C(1) << SPR_KEY_INDEX_BITS) - 1)
#define SPR_KEY_ENTRIES_MAX (UINT32_C(1) << SPR_KEY_INDEX_BITS)
/* Entries are numbered from 1. */
#define SPR_KEY_NONE UINT32_C(0)

/* Half a cache line. What a walk reads is stored with release: "Memory orders" in key_table.c. */
typedef struct spr_key_entry {
	_Atomic uint64_t low;
	_Atomic uint64_t high;
	_Atomic uint32_t next;  /* in its bucket or on the free list */
	_Atomic uint32_t note;  /* the user's; on the free list the next chain */
	_Atomic uint64_t state; /* the user's, and part of what a find returns */
} spr_key_entry;

/* {version : 36, entry number : 28} */
typedef _Atomic uint64_t spr_key_word;

typedef struct spr_key_table {
	/* constant after init */
	spr_key_entry
	    *entries; /* [0] is not used, so that zeroed memory is a table of empty buckets */
	spr_key_word *buckets;
	void *memory; /* of entries */
	uint64_t bucket_mask;
	uint32_t n_entries;
	uint32_t together; /* entries of a chain on the free list, at most */

	/* written by all */
	_Alignas(SPR_CACHELINE) spr_key_word free;
	_Atomic uint32_t n_used; /* entries taken at least once; may run a little over n_entries */
} spr_key_table;

/* Entries that one taker has to itself: a chain, so that he touches the free list once in many. {0} is empty. */
typedef struct spr_key_stock {
	uint32_t first;
} spr_key_stock;

/* Entries that one thread has put together, to go back in one step. {0} is empty. */
typedef struct spr_key_chain {
	uint32_t first;
	uint32_t n;
} spr_key_chain;

/* What a find saw: the chain, and the youngest entry of the key in it. */
typedef struct spr_key_spot {
	spr_key_word *bucket;
	uint64_t seen;
	uint64_t state;
	uint32_t index; /* SPR_KEY_NONE: the key is not there */
} spr_key_spot;

/* [main] together: at least 1. SPR_E_NOMEM. A table of zeroes is empty: fini may follow a failed init, or none. */
spr_err spr_key_table_init(spr_key_table *table, uint32_t n_entries, uint32_t together);
/* [main] */
void spr_key_table_fini(spr_key_table *table);
/* [the one that removes] The entry leaves its bucket (R1, R2). The caller gives it back, last. */
void spr_key_unlink(spr_key_table *table, uint32_t index);
/* [any] An entry that is not in a bucket goes back to the free ones (R3). */
void spr_key_give_back(spr_key_table *table, uint32_t index);
/* [owner of the stock] The same, into the stock. */
void spr_key_restock(spr_key_table *table, spr_key_stock *stock, uint32_t index);
/* [owner of the chain] The same for many: one more that goes with the others; and then all of a chain, 1 to `together`. */
void spr_key_chain_add(spr_key_table *table, spr_key_chain *chain, uint32_t index);
void spr_key_give_back_chain(spr_key_table *table, const spr_key_chain *chain);
/* [owner of the stock] One for the key, whose state is that of its last user. With `together` 1 nothing is left in the stock. */
uint32_t spr_key_take(spr_key_table *table, spr_key_stock *stock, uint64_t low, uint64_t high);

static inline uint32_t
spr_key_index_of(uint64_t value)
{
	return ((uint32_t)(value & SPR_KEY_INDEX_MASK));
}

static inline spr_key_word *
spr_key_bucket_of(spr_key_table *table, uint64_t low)
{
	return (&table->buckets[low & table->bucket_mask]);
}

/* Another first entry, the next version. For key_table.c and the insertion below. */
static inline bool
spr_key_swap(spr_key_word *at, uint64_t *expected, uint32_t index)
{
	uint64_t successor =
	    ((*expected & ~SPR_KEY_INDEX_MASK) + (UINT64_C(1) << SPR_KEY_INDEX_BITS)) | index;

	SPR_YIELD();
	/* E9, E16 release: the removal, or the fields of a new entry; acquire: the chain it found */
	return (atomic_compare_exchange_weak_explicit(at, expected, successor, memory_order_seq_cst,
						      memory_order_acquire));
}

/* Walks the chain of the word in `spot`. False: the word has changed, what was read means nothing. */
static inline bool
spr_key_walk(const spr_key_table *table, uint64_t low, uint64_t high, spr_key_spot *spot)
{
	uint32_t index = spr_key_index_of(spot->seen);

	while (index != SPR_KEY_NONE) {
		const spr_key_entry *e = &table->entries[index];
		/* E9, E16 acquire, all four: the stores of its users; and any re-use shows in W2 */
		uint64_t low_now = atomic_load_explicit(&e->low, memory_order_acquire);
		uint64_t high_now = atomic_load_explicit(&e->high, memory_order_acquire);
		uint64_t state_now = atomic_load_explicit(&e->state, memory_order_acquire);
		uint32_t next = atomic_load_explicit(&e->next, memory_order_acquire);

		SPR_YIELD();
		/* relaxed: W2 is ordered behind the four loads by their acquire */
		if (atomic_load_explicit(spot->bucket, memory_order_relaxed) != spot->seen)
			return (false);
		if (low_now == low && high_now == high) {
			spot->state = state_now;
			break;
		}
		index = next;
	}
	spot->index = index;
	return (true);
}

/* [any] */
static inline void
spr_key_find(spr_key_table *table, uint64_t low, uint64_t high, spr_key_spot *spot)
{
	spot->bucket = spr_key_bucket_of(table, low);
	do {
		/* E9, E16 acquire: W1, pairs with spr_key_swap() of removals and insertions */
		spot->seen = atomic_load_explicit(spot->bucket, memory_order_acquire);
	} while (!spr_key_walk(table, low, high, spot));
}

/* [owner of the entry] In front of the chain that the find saw. False: it has changed, find again. */
static inline bool
spr_key_try_insert(spr_key_table *table, const spr_key_spot *spot, uint32_t index)
{
	uint64_t seen = spot->seen;

	/* E9, E16 release (recycling): see spr_key_take(); the swap (W3) publishes it */
	atomic_store_explicit(&table->entries[index].next, spr_key_index_of(seen),
			      memory_order_release);
	return (spr_key_swap(spot->bucket, &seen, index));
}
