/*
 * table - a hash table of pointers that readers probe while one writer changes it.
 *
 * Writer      one control thread: insert, remove, fini
 * Reader      any thread inside an epoch section: find (the writer needs no section)
 * Ownership   items stay the caller's: it retires an item after remove, never before
 * Ordering    E8: what was written to an item before insert is visible to the find that returns it
 * Progress    find wait-free: it looks at each slot of one array at most once; a change is
 *             amortised O(1), and no single one moves more than a shard's items
 * Limits      memory; insert fails with SPR_E_NOMEM and leaves the table as it was
 * Teardown    no reader left
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "route/space.h"
#include "route/word.h"

#define SPR_TABLE_SHARDS 256

/* The slots of a shard. They are never moved: to grow, a new array is filled and published. */
typedef struct spr_table_array {
	spr_epoch_entry retire;
	/* writer only */
	uint32_t log2;
	uint32_t n_live;
	uint32_t n_dead; /* removed, still in some item's way */
	/* read by readers */
	_Alignas(SPR_CACHELINE) _Atomic uint64_t slot[];
} spr_table_array;

typedef struct spr_table {
	_Atomic uint64_t shard[SPR_TABLE_SHARDS]; /* array, its log2 on top; 0: none yet */
	spr_space *space;
	size_t hash_at; /* offset of an item's uint64_t hash, for growing */
} spr_table;

/*
 * A shard's word has the array's log2 on top of its pointer, so that one load gives both; a slot's has a
 * piece of the item's hash, so that what is not looked for is passed without touching its memory. A used
 * slot's piece is never 0; an empty slot is 0, a dead one 1.
 */
#define SPR_TABLE_DEAD UINT64_C(1)

static inline unsigned
spr_table_piece(uint64_t hash)
{
	return ((unsigned)(hash >> 40 & 0xffff) | 1);
}

/* [control] hash_at is the offset in an item of its uint64_t hash. */
void spr_table_init(spr_table *table, spr_space *space, size_t hash_at);
/* [control, no reader left] Forgets the items. */
void spr_table_fini(spr_table *table);
/* [control] The item must not be in; its hash is read from it. */
spr_err spr_table_insert(spr_table *table, void *item);
/* [control] The item must be in. */
void spr_table_remove(spr_table *table, const void *item);
/* [control] Calls each for every item; it may free the item if the table is not used any more but
 * for fini. */
void spr_table_each(const spr_table *table, void (*each)(void *arg, void *item), void *arg);

/*
 * [any, inside epoch] The item with this hash that is_it(item, key) says yes to, or NULL. It is
 * called for items of other hashes too, if rarely.
 */
static inline void *
spr_table_find(const spr_table *table, uint64_t hash,
	       bool (*is_it)(const void *item, const void *key), const void *key)
{
	/* E8 acquire: pairs with the release that published the array in table.c */
	uint64_t word = atomic_load_explicit(&table->shard[hash >> 56], memory_order_acquire);
	const spr_table_array *array = spr_word_pointer(word);
	uint64_t mask = (UINT64_C(1) << spr_word_top(word)) - 1;

	if (array == NULL)
		return (NULL);
	for (uint64_t n = 0; n <= mask; n++) {
		/* E8 acquire: pairs with the release of the slot in table.c */
		uint64_t found =
		    atomic_load_explicit(&array->slot[(hash + n) & mask], memory_order_acquire);

		if (found == 0)
			break;
		if (spr_word_top(found) == spr_table_piece(hash) &&
		    is_it(spr_word_pointer(found), key))
			return (spr_word_pointer(found));
	}
	return (NULL);
}
