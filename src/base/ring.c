/*
 * ring - ck_ring, single producer and single consumer.
 *
 * Only this form is used: with several producers ck_ring makes each wait until all earlier ones
 * have published, which collapses as soon as there are more of them than processors.
 */
#include "base/ring.h"

#include <ck_ring.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/sync.h"

struct spr_ring {
	ck_ring_t ring __attribute__((aligned(SPR_CACHELINE)));
	ck_ring_buffer_t slots[] __attribute__((aligned(SPR_CACHELINE)));
};

spr_err
spr_ring_new(spr_ring **out, unsigned slots)
{
	spr_ring *ring;

	if (slots < 4 || (slots & (slots - 1)) != 0)
		return (spr_fail(SPR_E_INVALID,
				 "ring of %u slots: must be a power of two, 4 or more", slots));
	if ((ring = spr_mem_zalloc_aligned(sizeof(*ring) + slots * sizeof(ring->slots[0]))) == NULL)
		return (SPR_E_NOMEM);
	ck_ring_init(&ring->ring, slots);
	*out = ring;
	return (SPR_OK);
}

void
spr_ring_free(spr_ring *ring)
{
	spr_mem_free(ring);
}

bool
spr_ring_try_push(spr_ring *ring, void *item)
{
	bool has_pushed;

	SPR_ASSERT(item != NULL); /* NULL is how pop says "empty" */
	SPR_YIELD();
	SPR_TSAN_RELEASE(ring); /* E1 release: pairs with the acquire in spr_ring_try_pop */
	SPR_TSAN_IGNORE_BEGIN();
	has_pushed = ck_ring_enqueue_spsc(&ring->ring, ring->slots, item);
	SPR_TSAN_IGNORE_END();
	SPR_YIELD();
	return (has_pushed);
}

void *
spr_ring_try_pop(spr_ring *ring)
{
	void *item = NULL;
	bool has_popped;

	SPR_YIELD();
	SPR_TSAN_IGNORE_BEGIN();
	has_popped = ck_ring_dequeue_spsc(&ring->ring, ring->slots, &item);
	SPR_TSAN_IGNORE_END();
	if (!has_popped)
		return (NULL);
	SPR_TSAN_ACQUIRE(ring); /* E1 acquire: pairs with the release in spr_ring_try_push */
	SPR_YIELD();
	return (item);
}

void *
spr_ring_peek(const spr_ring *ring, unsigned n)
{
	unsigned head = ck_pr_load_uint(&ring->ring.c_head);
	void *item;

	if (ck_ring_size(&ring->ring) <= n)
		return (NULL);
	ck_pr_fence_load(); /* E1 acquire: as in spr_ring_try_pop */
	item = ck_pr_load_ptr(&ring->slots[(head + n) & ring->ring.mask].value);
	SPR_TSAN_ACQUIRE(ring);
	return (item);
}

unsigned
spr_ring_size(const spr_ring *ring)
{
	return (ck_ring_size(&ring->ring));
}
