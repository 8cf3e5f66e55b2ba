/*
 * set - see set.h. Why blocks, and why a walk is right while the writer changes them.
 *
 *   newest -> [ . x x . . x . . ] -> [ x x x x ] -> NULL        open -> the blocks with a free entry
 *
 * A new block goes in front, as large as the set is (4 to 64 entries), so a set of 10 has two
 * blocks and a set of 50,000 under 800, and an addition never copies. A free entry is found through
 * the list of open blocks and the block's bits; an empty block is unlinked and retired. No cost
 * depends on how many subscribers there are, but for the writer's index (index.h), which grows by
 * doubling.
 *
 * Exactly once. Let P be an entry that is there during the whole walk. Its block is not empty, so
 * never unlinked, and entries never move: it is met at most once, since the chain leads from newer
 * to older blocks only and a new block goes in front of all others, behind the reader. And at least
 * once: unlinking a block only changes who points at its successor. The pointer of an unlinked
 * block stays as it was, its memory stays until the reader has left (E4), and what it points at is
 * linked or was unlinked later; by induction a reader that stands on an unlinked block still comes
 * to every older block that is linked. Re-using a free entry touches no other entry.
 *
 * The lease of a re-used entry. A reader may load callback A, the writer removes A and puts B with B's
 * lease, and the reader loads that lease: A, dead, would be told on B's time. So the reader looks at the
 * entry's user again, and takes the entry as free when it changed: A was removed and B added during the
 * lookup, neither is owed a job. That A itself came back meanwhile shows in the count that the word carries
 * beside the callback; it repeats after 65,536 users, which is no matter between two neighbouring loads.
 *
 * Rejected: copy on write (an addition to a node with 50,000 subscribers copies 800 KB); ck_hs (a
 * walk while the writer relocates may skip or repeat an entry); unrolled list with moving entries
 * (the same).
 */
#include "route/set.h"

#include "base/assert.h"
#include "base/sync.h"

#define FIRST_CAPACITY 4
#define INDEX_FROM     32 /* subscribers; a scan of fewer is as quick */
#define INDEX_TO       16 /* below, the index goes */

static size_t
block_bytes(uint32_t capacity)
{
	return (sizeof(spr_block) + capacity * sizeof(spr_entry));
}

static uint64_t
all_used(const spr_block *block)
{
	return (UINT64_MAX >> (SPR_BLOCK_MAX - block->capacity));
}

static void
block_destroy(spr_epoch_entry *entry)
{
	spr_space_destroy((char *)entry - offsetof(spr_block, retire));
}

static void
open_push(spr_set *set, spr_block *block)
{
	block->open_previous = NULL;
	block->open_next = set->open;
	if (set->open != NULL)
		set->open->open_previous = block;
	set->open = block;
}

static void
open_remove(spr_set *set, spr_block *block)
{
	if (block->open_previous != NULL)
		block->open_previous->open_next = block->open_next;
	else
		set->open = block->open_next;
	if (block->open_next != NULL)
		block->open_next->open_previous = block->open_previous;
}

static spr_err
block_link(spr_set *set, spr_space *space)
{
	uint32_t capacity = FIRST_CAPACITY;
	spr_block *block = NULL, *older = NULL;

	while (capacity <= spr_set_n(set) && capacity < SPR_BLOCK_MAX)
		capacity *= 2;
	if ((block = spr_space_alloc(space, block_bytes(capacity))) == NULL)
		return (SPR_E_NOMEM);
	block->capacity = capacity;
	/* relaxed: the writer reads its own store, and the block is not published yet */
	older = atomic_load_explicit(&set->newest, memory_order_relaxed);
	atomic_init(&block->older, older);
	if (older != NULL)
		older->newer = block;
	open_push(set, block);
	SPR_YIELD();
	/* E8 release: pairs with the acquire in spr_set_first(); the block is complete, if empty */
	atomic_store_explicit(&set->newest, block, memory_order_release);
	return (SPR_OK);
}

static void
block_unlink(spr_set *set, spr_space *space, spr_block *block)
{
	/* relaxed: the writer reads its own store */
	spr_block *older = atomic_load_explicit(&block->older, memory_order_relaxed);

	open_remove(set, block);
	if (older != NULL)
		older->newer = block->newer;
	SPR_YIELD();
	/* E8 release: pairs with the acquire in spr_set_first() and spr_block_next() */
	atomic_store_explicit(block->newer != NULL ? &block->newer->older : &set->newest, older,
			      memory_order_release);
	spr_space_retire(space, &block->retire, block_destroy, block_bytes(block->capacity));
}

static void
entry_set(spr_entry *entry, struct spr_callback *callback, int64_t expires_s)
{
	/* relaxed: the writer reads its own store */
	unsigned n_users = spr_word_top(atomic_load_explicit(&entry->user, memory_order_relaxed));

	/* E8 release: who sees this lease sees that the entry was free before (spr_entry_read()) */
	atomic_store_explicit(&entry->expires_s, expires_s, memory_order_release);
	SPR_YIELD();
	/* E8 release: pairs with the acquire in spr_entry_read(); callback and lease are complete */
	atomic_store_explicit(&entry->user, spr_word(callback, n_users + 1), memory_order_release);
}

static void
entry_clear(spr_entry *entry)
{
	/* relaxed: the writer reads its own store */
	unsigned n_users = spr_word_top(atomic_load_explicit(&entry->user, memory_order_relaxed));

	SPR_YIELD();
	/* E8 release: pairs with the acquire in spr_entry_read() */
	atomic_store_explicit(&entry->user, spr_word(NULL, n_users), memory_order_release);
}

static void
count(spr_set *set, uint32_t more)
{
	/* relaxed: one writer; readers take it as an estimate */
	atomic_store_explicit(&set->n, spr_set_n(set) + more, memory_order_relaxed);
}

static spr_err
index_make(spr_set *set, spr_space *space)
{
	spr_err rv = spr_index_reserve(&set->index, space, INDEX_FROM * 2);

	if (rv != SPR_OK)
		return (rv);
	for (spr_block *b = set->newest; b != NULL; b = b->older) {
		for (unsigned i = 0; i < b->capacity; i++) {
			if (spr_entry_peek(&b->entry[i]) != NULL)
				spr_index_put(&set->index, spr_entry_peek(&b->entry[i]),
					      (spr_place){b, i});
		}
	}
	return (SPR_OK);
}

/* All that can fail, before anything is changed. */
static spr_err
make_room(spr_set *set, spr_space *space)
{
	uint32_t n = spr_set_n(set) + 1;
	spr_err rv = SPR_OK;

	if (set->index.item != NULL)
		rv = spr_index_reserve(&set->index, space, n);
	else if (n > INDEX_FROM)
		rv = index_make(set, space);
	if (rv == SPR_OK && set->open == NULL)
		rv = block_link(set, space);
	return (rv);
}

spr_err
spr_set_add(spr_set *set, spr_space *space, struct spr_callback *callback, int64_t expires_s)
{
	spr_err rv = make_room(set, space);
	spr_block *block = set->open;
	unsigned slot;

	if (rv != SPR_OK)
		return (rv);
	slot = (unsigned)__builtin_ctzll(~block->used);
	block->used |= UINT64_C(1) << slot;
	if (block->used == all_used(block))
		open_remove(set, block);
	if (set->index.item != NULL)
		spr_index_put(&set->index, callback, (spr_place){block, slot});
	/*
	 * A reader that met the callback in the entry it had before, and meets it again in this one,
	 * loaded the old number before its walk (after the new one it would have seen that entry
	 * free) and loads the new one after.
	 * E8 release: pairs with the acquire in spr_set_additions()
	 */
	atomic_store_explicit(&set->additions, spr_set_additions(set) + 1, memory_order_release);
	entry_set(&block->entry[slot], callback, expires_s);
	count(set, 1);
	return (SPR_OK);
}

bool
spr_set_find(const spr_set *set, const struct spr_callback *callback, spr_place *place)
{
	if (set->index.item != NULL)
		return (spr_index_find(&set->index, callback, place));
	for (spr_block *b = set->newest; b != NULL; b = b->older) {
		for (unsigned i = 0; i < b->capacity; i++) {
			if (spr_entry_peek(&b->entry[i]) == callback) {
				*place = (spr_place){b, i};
				return (true);
			}
		}
	}
	return (false);
}

void
spr_set_renew(spr_place place, int64_t expires_s)
{
	/* E8 release: pairs with the acquire in spr_entry_read() */
	atomic_store_explicit(&place.block->entry[place.slot].expires_s, expires_s,
			      memory_order_release);
}

void
spr_set_remove(spr_set *set, spr_space *space, spr_place place)
{
	spr_block *block = place.block;
	spr_entry *entry = &block->entry[place.slot];

	SPR_ASSERT((block->used >> place.slot & 1) == 1);
	if (set->index.item != NULL)
		spr_index_remove(&set->index, space, spr_entry_peek(entry));
	entry_clear(entry);
	count(set, UINT32_MAX);
	if (block->used == all_used(block))
		open_push(set, block);
	block->used &= ~(UINT64_C(1) << place.slot);
	if (block->used == 0)
		block_unlink(set, space, block);
	if (set->index.item != NULL && spr_set_n(set) < INDEX_TO)
		spr_index_fini(&set->index, space);
}

void
spr_set_fini(spr_set *set, spr_space *space, void (*each)(void *arg, struct spr_callback *callback),
	     void *arg)
{
	spr_block *older = NULL;

	for (spr_block *b = set->newest; b != NULL; b = older) {
		for (unsigned i = 0; i < b->capacity; i++) {
			if (each != NULL && spr_entry_peek(&b->entry[i]) != NULL)
				each(arg, spr_entry_peek(&b->entry[i]));
		}
		older = b->older;
		spr_space_free(space, b, block_bytes(b->capacity));
	}
	spr_index_fini(&set->index, space);
}
