/*
 * ep_slab - memory that one thread reads sockets into, and that messages are slices of. Private to net/.
 *
 *   slab  [ read and handed out as slices | read, not looked at | room ]      one at a time is read into
 *
 * Reads of all connections of a loop go into the same slab one behind the other, so what is kept for the sake of a few
 * messages is little while messages come and go in about the order in which they came. Where they do not, there is a bound:
 * at most so many slabs exist. When all are held, messages are copied into memory of their own until one comes back, and so
 * a held slab never keeps more from being received than it would with copies.
 *
 * Writer      the owner: one thread at a time
 * Reader      whoever holds a slice
 * Ownership   a slice is a buffer with one reference; its release gives its share of the slab back. A slab with no shares
 *             left goes back to its owner's store, or is freed when that has gone
 * Ordering    E5 for the shares; E2 for slabs that come back
 * Progress    wait-free but for E2's push
 * Limits      SPR_EP_SLAB_BYTES and SPR_EP_SLAB_SLICES a slab, touched as used; as many slabs as told and one for copies
 * Teardown    spr_ep_slabs_free() at any time: slabs that are held live on
 */
#pragma once

#include "base/error.h"
#include "net/buf.h"

#define SPR_EP_SLAB_BYTES  ((size_t)256 << 10)
#define SPR_EP_SLAB_SLICES 4096
#define SPR_EP_SLAB_MEMORY \
	(SPR_EP_SLAB_BYTES + SPR_EP_SLAB_SLICES * SPR_CACHELINE) /* with its slices */
#define SPR_EP_SLAB_ROOM ((size_t)64 << 10)                      /* what a read is given at least */

typedef struct spr_ep_slabs spr_ep_slabs;

/* [any] max_slabs is at least 1. SPR_E_NOMEM. */
spr_err spr_ep_slabs_new(spr_ep_slabs **out, unsigned max_slabs);
/* [owner] NULL is fine. */
void spr_ep_slabs_free(spr_ep_slabs *self);

/*
 * [owner] Room to read into, at least SPR_EP_SLAB_ROOM bytes of it. What was there and is in no slice is void. Of what is
 * read, slices are made until the next call.
 */
uint8_t *spr_ep_slabs_room(spr_ep_slabs *self, size_t *len);
/* [owner] The first n bytes of the room are kept. */
void spr_ep_slabs_keep(spr_ep_slabs *self, size_t n);
/* [owner] A buffer without peer and time, of bytes that are in the room. NULL: it must be copied. */
spr_buf *spr_ep_slabs_slice(spr_ep_slabs *self, const uint8_t *data, size_t len);
