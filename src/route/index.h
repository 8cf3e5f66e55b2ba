/*
 * index - where a callback's entry is in a large subscriber set. The writer's own; readers never see it.
 *
 * Threads     one: control
 * Ownership   points at callbacks and blocks, owns neither
 * Limits      memory; reserve fails with SPR_E_NOMEM and leaves the index as it was; a change is amortised O(1)
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "route/space.h"

struct spr_block;
struct spr_callback;

/* Where an entry is. */
typedef struct spr_place {
	struct spr_block *block;
	unsigned slot;
} spr_place;

typedef struct spr_index_item {
	const struct spr_callback *callback; /* NULL: empty */
	uint64_t place;                      /* a word: block, slot */
} spr_index_item;

typedef struct spr_index {
	spr_index_item *item; /* NULL: no index */
	uint32_t log2;
	uint32_t n;
} spr_index;

/* Makes room for n items in all; SPR_E_NOMEM. */
spr_err spr_index_reserve(spr_index *index, spr_space *space, uint32_t n);
/* Room was reserved, the callback is not in. */
void spr_index_put(spr_index *index, const struct spr_callback *callback, spr_place place);
/* False when it is not in. */
bool spr_index_find(const spr_index *index, const struct spr_callback *callback, spr_place *place);
/* The callback is in. */
void spr_index_remove(spr_index *index, spr_space *space, const struct spr_callback *callback);
/* Back to no index. */
void spr_index_fini(spr_index *index, spr_space *space);
