/*
 * index - see index.h. Open addressing, at most half full; removing shifts the followers back, so
 * nothing is ever dead.
 *
 * Why beside the blocks: readers walk a set from end to end and want it dense, the writer wants one
 * entry of it. Only sets over a few dozen subscribers have an index; for the others a scan is as
 * quick and costs no memory. The hash is of the pointer: callbacks are interned, and an address is
 * nothing that a peer can choose.
 */
#include "route/index.h"

#include "route/word.h"

#define MIN_LOG2 6

static uint64_t
home_of(const spr_index *index, const struct spr_callback *callback)
{
	return ((uint64_t)(uintptr_t)callback * UINT64_C(0x9e3779b97f4a7c15) >> (64 - index->log2));
}

static uint64_t
mask_of(const spr_index *index)
{
	return ((UINT64_C(1) << index->log2) - 1);
}

static size_t
bytes_of(const spr_index *index)
{
	return (sizeof(*index->item) << index->log2);
}

static void
put_item(spr_index *index, spr_index_item item)
{
	uint64_t i = home_of(index, item.callback);

	while (index->item[i].callback != NULL)
		i = (i + 1) & mask_of(index);
	index->item[i] = item;
	index->n++;
}

static spr_err
resize(spr_index *index, spr_space *space, unsigned log2)
{
	spr_index larger = {.log2 = log2};

	larger.item = spr_space_alloc(space, bytes_of(&larger));
	if (larger.item == NULL)
		return (SPR_E_NOMEM);
	for (uint64_t i = 0; index->item != NULL && i <= mask_of(index); i++) {
		if (index->item[i].callback != NULL)
			put_item(&larger, index->item[i]);
	}
	spr_index_fini(index, space);
	*index = larger;
	return (SPR_OK);
}

spr_err
spr_index_reserve(spr_index *index, spr_space *space, uint32_t n)
{
	unsigned log2 = index->item == NULL ? MIN_LOG2 : index->log2;

	while ((uint64_t)n * 2 > UINT64_C(1) << log2)
		log2++;
	if (index->item != NULL && log2 == index->log2)
		return (SPR_OK);
	return (resize(index, space, log2));
}

void
spr_index_put(spr_index *index, const struct spr_callback *callback, spr_place place)
{
	put_item(index, (spr_index_item){callback, spr_word(place.block, place.slot)});
}

static bool
find_item(const spr_index *index, const struct spr_callback *callback, uint64_t *at)
{
	uint64_t i = home_of(index, callback);

	while (index->item[i].callback != NULL && index->item[i].callback != callback)
		i = (i + 1) & mask_of(index);
	*at = i;
	return (index->item[i].callback != NULL);
}

bool
spr_index_find(const spr_index *index, const struct spr_callback *callback, spr_place *place)
{
	uint64_t i = 0;

	if (!find_item(index, callback, &i))
		return (false);
	place->block = spr_word_pointer(index->item[i].place);
	place->slot = spr_word_top(index->item[i].place);
	return (true);
}

void
spr_index_remove(spr_index *index, spr_space *space, const struct spr_callback *callback)
{
	uint64_t hole = 0, mask = mask_of(index);

	if (!find_item(index, callback, &hole))
		return;
	for (uint64_t i = (hole + 1) & mask; index->item[i].callback != NULL; i = (i + 1) & mask) {
		/* it may move back to the hole unless its home lies behind the hole */
		if (((i - home_of(index, index->item[i].callback)) & mask) < ((i - hole) & mask))
			continue;
		index->item[hole] = index->item[i];
		hole = i;
	}
	index->item[hole].callback = NULL;
	index->n--;
	if (index->log2 > MIN_LOG2 && index->n < UINT64_C(1) << (index->log2 - 3))
		(void)resize(index, space, index->log2 - 1); /* no memory: it stays large */
}

void
spr_index_fini(spr_index *index, spr_space *space)
{
	if (index->item != NULL)
		spr_space_free(space, index->item, bytes_of(index));
	*index = (spr_index){0};
}
