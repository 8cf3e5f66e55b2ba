/*
 * table - see table.h. Open addressing, linear probing, one array per shard of the hash.
 *
 * Why so. A reader needs one shard word (the 2 KiB of them stay in the nearest cache) and, at most
 * half full and eight slots to the line, nearly always one line of slots. Linear probing needs no
 * per-item link, so removing never writes to an item that a reader stands on. 256 shards bound the
 * longest pause of the writer: when a table of a million items grows, it does so 4,000 items at a
 * time.
 *
 * Why a reader never misses an item that is in all the time. An item's slot does not change while
 * its array is current, and a new array is complete when it is published; the old one is frozen
 * from then on and lives until its readers have left (E4). Within an array, between the slot that
 * an item's hash names and the slot where it is, there never is an empty one: insert takes the
 * first slot that is empty or dead, and remove makes a slot empty only when the next one is, so
 * when nobody's way leads over it. Re-using a dead slot only changes what a reader passes over.
 *
 * Rejected: ck_hs (its readers may spin while the writer relocates, and it needs 64-bit key
 * comparisons through a pointer per probe); chains (a second dependent miss); a table per parent
 * node (a miss for its header, and the writer's pause is that of the largest parent).
 */
#include "route/table.h"

#include "base/assert.h"
#include "base/sync.h"

#define MIN_LOG2 3

static uint64_t
hash_of(const spr_table *table, const void *item)
{
	return (*(const uint64_t *)(const void *)((const char *)item + table->hash_at));
}

static uint64_t
word_of(const spr_table *table, const void *item)
{
	return (spr_word(item, spr_table_piece(hash_of(table, item))));
}

static size_t
array_bytes(unsigned log2)
{
	return (sizeof(spr_table_array) + (sizeof(uint64_t) << log2));
}

static void
array_destroy(spr_epoch_entry *entry)
{
	spr_space_destroy(entry); /* its first member */
}

static spr_table_array *
array_of(const spr_table *table, uint64_t hash)
{
	/* relaxed: the writer reads its own stores */
	return (spr_word_pointer(
	    atomic_load_explicit(&table->shard[hash >> 56], memory_order_relaxed)));
}

static uint64_t
slot_get(const spr_table_array *array, uint64_t i)
{
	/* relaxed: the writer reads its own stores */
	return (atomic_load_explicit(&array->slot[i & ((UINT64_C(1) << array->log2) - 1)],
				     memory_order_relaxed));
}

static void
slot_set(spr_table_array *array, uint64_t i, uint64_t word)
{
	SPR_YIELD();
	/* E8 release: pairs with the acquire in spr_table_find(); the item is complete */
	atomic_store_explicit(&array->slot[i & ((UINT64_C(1) << array->log2) - 1)], word,
			      memory_order_release);
}

static void
array_put(const spr_table *table, spr_table_array *array, const void *item)
{
	uint64_t i = hash_of(table, item);

	while (slot_get(array, i) > SPR_TABLE_DEAD)
		i++;
	if (slot_get(array, i) == SPR_TABLE_DEAD)
		array->n_dead--;
	array->n_live++;
	slot_set(array, i, word_of(table, item));
}

static void
shard_publish(spr_table *table, uint64_t hash, spr_table_array *old, spr_table_array *array)
{
	uint64_t word = 0;

	if (array != NULL)
		word = spr_word(array, array->log2);
	SPR_YIELD();
	/* E8 release: pairs with the acquire in spr_table_find(); the array is complete */
	atomic_store_explicit(&table->shard[hash >> 56], word, memory_order_release);
	if (old != NULL)
		spr_space_retire(table->space, &old->retire, array_destroy, array_bytes(old->log2));
}

static spr_err
shard_rebuild(spr_table *table, uint64_t hash, unsigned log2)
{
	spr_table_array *old = array_of(table, hash);
	spr_table_array *array = spr_space_alloc_aligned(table->space, array_bytes(log2));

	if (array == NULL)
		return (SPR_E_NOMEM);
	array->log2 = log2;
	for (uint64_t i = 0; old != NULL && i < UINT64_C(1) << old->log2; i++) {
		if (slot_get(old, i) > SPR_TABLE_DEAD)
			array_put(table, array, spr_word_pointer(slot_get(old, i)));
	}
	shard_publish(table, hash, old, array);
	return (SPR_OK);
}

/* Half full, dead slots included, is full: then it is at most a quarter full again, so a rebuild
 * pays for itself. */
static spr_err
shard_make_room(spr_table *table, uint64_t hash)
{
	const spr_table_array *array = array_of(table, hash);
	uint64_t size;

	if (array == NULL)
		return (shard_rebuild(table, hash, MIN_LOG2));
	size = UINT64_C(1) << array->log2;
	if ((array->n_live + array->n_dead + UINT64_C(1)) * 2 <= size)
		return (SPR_OK);
	return (shard_rebuild(
	    table, hash, (array->n_live + UINT64_C(1)) * 4 > size ? array->log2 + 1 : array->log2));
}

static void
shard_give_back(spr_table *table, uint64_t hash)
{
	spr_table_array *array = array_of(table, hash);

	if (array->n_live == 0)
		shard_publish(table, hash, array, NULL);
	else if (array->log2 > MIN_LOG2 + 1 && array->n_live < UINT64_C(1) << (array->log2 - 4))
		(void)shard_rebuild(table, hash, array->log2 - 2); /* no memory: it stays large */
}

void
spr_table_init(spr_table *table, spr_space *space, size_t hash_at)
{
	for (unsigned i = 0; i < SPR_TABLE_SHARDS; i++)
		atomic_init(&table->shard[i], 0);
	table->space = space;
	table->hash_at = hash_at;
}

void
spr_table_fini(spr_table *table)
{
	for (uint64_t i = 0; i < SPR_TABLE_SHARDS; i++) {
		spr_table_array *array = array_of(table, i << 56);

		if (array == NULL)
			continue;
		spr_space_free(table->space, array, array_bytes(array->log2));
		/* relaxed: no reader is left */
		atomic_store_explicit(&table->shard[i], 0, memory_order_relaxed);
	}
}

spr_err
spr_table_insert(spr_table *table, void *item)
{
	uint64_t hash = hash_of(table, item);
	spr_err rv = shard_make_room(table, hash);

	SPR_ASSERT(spr_word_top((uintptr_t)item) == 0);
	if (rv == SPR_OK)
		array_put(table, array_of(table, hash), item);
	return (rv);
}

void
spr_table_remove(spr_table *table, const void *item)
{
	uint64_t i = hash_of(table, item);
	spr_table_array *array = array_of(table, i);

	while (slot_get(array, i) != word_of(table, item)) {
		SPR_ASSERT(slot_get(array, i) != 0);
		i++;
	}
	slot_set(array, i, SPR_TABLE_DEAD);
	array->n_live--;
	array->n_dead++;
	/* nobody's way leads over dead slots before an empty one */
	for (; slot_get(array, i) == SPR_TABLE_DEAD && slot_get(array, i + 1) == 0; i--) {
		slot_set(array, i, 0);
		array->n_dead--;
	}
	shard_give_back(table, hash_of(table, item));
}

void
spr_table_each(const spr_table *table, void (*each)(void *arg, void *item), void *arg)
{
	for (uint64_t i = 0; i < SPR_TABLE_SHARDS; i++) {
		const spr_table_array *array = array_of(table, i << 56);

		for (uint64_t j = 0; array != NULL && j < UINT64_C(1) << array->log2; j++) {
			if (slot_get(array, j) > SPR_TABLE_DEAD)
				each(arg, spr_word_pointer(slot_get(array, j)));
		}
	}
}
