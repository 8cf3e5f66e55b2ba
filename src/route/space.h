/*
 * space - where the routing structures get their memory: counted, and given back after a grace
 * period.
 *
 * Writer      one control thread
 * Reader      any thread: bytes
 * Ownership   alloc gives; free takes back at once (never published); retire hands to the epoch
 * Ordering    E4 through spr_epoch_retire(); bytes is relaxed: a statistic, nothing is decided on
 *             it
 * Progress    as malloc; retire wait-free
 * Limits      memory
 * Teardown    none of its own
 */
#pragma once

#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/epoch.h"
#include "base/mem.h"

typedef struct spr_space {
	spr_epoch *epoch;
	_Atomic uint64_t bytes;
} spr_space;

/* [control] */
static inline void
spr_space_count(spr_space *space, uint64_t more)
{
	/* relaxed, and no read-modify-write: there is one writer, and readers only want a figure */
	atomic_store_explicit(&space->bytes,
			      atomic_load_explicit(&space->bytes, memory_order_relaxed) + more,
			      memory_order_relaxed);
}

/* [control] Zeroed; NULL when out of memory. */
static inline void *
spr_space_alloc(spr_space *space, size_t size)
{
	void *p = spr_mem_zalloc(size);

	if (p != NULL)
		spr_space_count(space, size);
	return (p);
}

/* [control] The same, aligned to a cache line. */
static inline void *
spr_space_alloc_aligned(spr_space *space, size_t size)
{
	void *p = spr_mem_zalloc_aligned(size);

	if (p != NULL)
		spr_space_count(space, size);
	return (p);
}

/* [control] Of what no reader can see. NULL is fine. */
static inline void
spr_space_free(spr_space *space, void *p, size_t size)
{
	if (p != NULL)
		spr_space_count(space, -(uint64_t)size);
	spr_mem_free(p);
}

/* [control or the last holder] For destructors; checked builds overwrite what is freed. */
static inline void
spr_space_destroy(void *p)
{
#if defined(SPR_CHECKED)
	memset(p, 0xdb, malloc_usable_size(p));
#endif
	spr_mem_free(p);
}

/* [control] Of what readers may still look at. */
static inline void
spr_space_retire(spr_space *space, spr_epoch_entry *entry, void (*destroy)(spr_epoch_entry *),
		 size_t size)
{
	spr_space_count(space, -(uint64_t)size);
	spr_epoch_retire(space->epoch, entry, destroy, size);
}
