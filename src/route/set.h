/*
 * set - the subscribers of one pattern: a chain of blocks whose entries never move while readable.
 *
 * Writer      one control thread: add, renew, remove, fini, find
 * Reader      any thread inside an epoch section: the inline calls below
 * Ownership   an entry counts as one subscription of its callback, which the caller counts
 * Ordering    E8: entry and callback are complete before a reader can see the pointer
 * Progress    readers wait-free; a change is O(1), amortised over the growth of the writer's index
 * Limits      memory; add fails with SPR_E_NOMEM and leaves the set as it was
 * Teardown    no reader left
 *
 * For readers: an entry that is there during the whole walk is met exactly once. One that comes or
 * goes meanwhile may be met or not; a callback may then be met twice (removed here, added there),
 * and spr_set_additions() differs before and after the walk.
 */
#pragma once

#include <stdatomic.h>

#include "base/sync.h"
#include "route/index.h"
#include "route/space.h"
#include "route/word.h"

#define SPR_BLOCK_MAX 64 /* entries; one bit each in used */

typedef struct spr_block spr_block;

typedef struct spr_entry {
	_Atomic uint64_t
	    user; /* a word: callback, NULL when free; how often the entry was given out */
	_Atomic int64_t expires_s;
} spr_entry;

struct spr_block {
	_Atomic(spr_block *) older; /* next for readers */
	uint32_t capacity;
	/* writer only */
	uint64_t used;
	union {
		struct {
			spr_block *newer;
			spr_block *open_next; /* among the blocks with a free entry */
			spr_block *open_previous;
		};
		spr_epoch_entry retire;
	};
	spr_entry entry[];
};

typedef struct spr_set {
	_Atomic(spr_block *) newest;
	_Atomic uint32_t n;
	_Atomic uint32_t additions;
	/* writer only */
	spr_block *open;
	spr_index index;
} spr_set;

/* [control] SPR_OK or SPR_E_NOMEM. The callback must not be in. */
spr_err
spr_set_add(spr_set *set, spr_space *space, struct spr_callback *callback, int64_t expires_s);
/* [control] False when it is not in. */
bool spr_set_find(const spr_set *set, const struct spr_callback *callback, spr_place *place);
/* [control] */
void spr_set_renew(spr_place place, int64_t expires_s);
/* [control] */
void spr_set_remove(spr_set *set, spr_space *space, spr_place place);
/* [control, no reader left or never published] Each callback is told, so that its count can be
 * given back. */
void spr_set_fini(spr_set *set, spr_space *space,
		  void (*each)(void *arg, struct spr_callback *callback), void *arg);

/* [any] A snapshot: how many subscribers. */
static inline uint32_t
spr_set_n(const spr_set *set)
{
	/* relaxed: an estimate */
	return (atomic_load_explicit(&set->n, memory_order_relaxed));
}

/* [any, inside epoch] How often something was added; see the head comment. */
static inline uint32_t
spr_set_additions(const spr_set *set)
{
	/* E8 acquire: pairs with the release in spr_set_add() */
	return (atomic_load_explicit(&set->additions, memory_order_acquire));
}

/* [any, inside epoch] The block to start at; NULL when there is none. */
static inline const spr_block *
spr_set_first(const spr_set *set)
{
	/* E8 acquire: pairs with the release in set.c, block_link() and block_unlink() */
	return (atomic_load_explicit(&set->newest, memory_order_acquire));
}

/* [any, inside epoch] The block after this one; NULL after the last. */
static inline const spr_block *
spr_block_next(const spr_block *block)
{
	/* E8 acquire: pairs with the release in set.c, block_unlink() */
	return (atomic_load_explicit(&block->older, memory_order_acquire));
}

/* [control] The callback; NULL when the entry is free. */
static inline struct spr_callback *
spr_entry_peek(const spr_entry *entry)
{
	/* relaxed: the writer reads its own store */
	return (spr_word_pointer(atomic_load_explicit(&entry->user, memory_order_relaxed)));
}

/*
 * [any, inside epoch] The callback with the lease that belongs to it; NULL when the entry is free, or was
 * given to another user just now (both of which then changed during the walk).
 */
static inline struct spr_callback *
spr_entry_read(const spr_entry *entry, int64_t *expires_s)
{
	/* E8 acquire: pairs with the release in entry_set() */
	uint64_t user = atomic_load_explicit(&entry->user, memory_order_acquire);

	if (spr_word_pointer(user) == NULL)
		return (NULL);
	SPR_YIELD();
	/* E8 acquire: the lease of a next user makes "free" before it visible to the load below */
	*expires_s = atomic_load_explicit(&entry->expires_s, memory_order_acquire);
	SPR_YIELD();
	/* relaxed: ordered by the acquire above */
	if (atomic_load_explicit(&entry->user, memory_order_relaxed) != user)
		return (NULL);
	return (spr_word_pointer(user));
}
