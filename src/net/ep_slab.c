/*
 * ep_slab - slabs, and the shares that slices have in them.
 *
 * Shares are not counted one by one as slices are made: a slab begins with more than it can ever give, and when its owner is
 * done with it those that were not given are taken off at once. So making a slice costs no locked instruction.
 */
#include "net/ep_slab.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/stack.h"

#define ALL_SHARES (1u << 30)

typedef struct slab slab;

typedef struct slice {
	spr_buf buf;
	slab *slab;
} slice;
_Static_assert(sizeof(slice) == SPR_CACHELINE, "a slice is a line of its own");

struct slab {
	spr_stack_entry returned;
	spr_ep_slabs *owner;
	atomic_uint shares;
	/* the owner's */
	slab *next; /* in store */
	unsigned n_slices;
	size_t used;
	slice *slices;
	uint8_t *data;
};

struct spr_ep_slabs {
	spr_stack returned; /* by whoever gave the last share back; first: it is aligned */

	/* one for the owner, one for each slab that is not here */
	_Alignas(SPR_CACHELINE) atomic_uint refs;

	/* the owner's */
	_Alignas(SPR_CACHELINE) slab *current; /* &copied while the others are held */
	slab *store;
	slab *copied; /* has no slices: read into, copied from */
	unsigned n_slabs, max_slabs;
};

static slab *
new_slab(spr_ep_slabs *owner)
{
	/* not zeroed: pages are touched as used */
	slab *self = spr_mem_alloc(sizeof(*self) + SPR_CACHELINE +
				   SPR_EP_SLAB_SLICES * sizeof(slice) + SPR_EP_SLAB_BYTES);
	uintptr_t behind = (uintptr_t)(self + 1);

	if (self == NULL)
		return (NULL);
	*self = (slab){.owner = owner};
	self->slices = (slice *)(behind + SPR_CACHELINE - behind % SPR_CACHELINE);
	self->data = (uint8_t *)(self->slices + SPR_EP_SLAB_SLICES);
	return (self);
}

static void
begin(slab *self)
{
	self->n_slices = 0;
	self->used = 0;
	atomic_init(&self->shares, ALL_SHARES);
}

static void
take_returned(spr_ep_slabs *self)
{
	spr_stack_entry *entry = spr_mailbox_pop_all(&self->returned), *next;

	for (; entry != NULL; entry = next) {
		slab *one = SPR_STACK_CONTAINER(entry, slab, returned);

		next = spr_stack_next(entry);
		one->next = self->store;
		self->store = one;
	}
}

static void
drop_owner(spr_ep_slabs *self)
{
	slab *one;

	/* E5: everything done with slabs comes before their end */
	if (atomic_fetch_sub_explicit(&self->refs, 1, memory_order_acq_rel) != 1)
		return;
	take_returned(self);
	while ((one = self->store) != NULL) {
		self->store = one->next;
		spr_mem_free(one);
	}
	spr_mem_free(self->copied);
	spr_mem_free(self);
}

static void
give_shares_back(slab *self, unsigned n)
{
	spr_ep_slabs *owner = self->owner;

	/* E5 release: my accesses come before the slab is read into again; acquire: everybody else's too */
	if (atomic_fetch_sub_explicit(&self->shares, n, memory_order_acq_rel) != n)
		return;
	spr_mailbox_push(&owner->returned, &self->returned); /* E2 */
	drop_owner(owner);
}

static void
release_slice(spr_buf *buf)
{
	give_shares_back(((slice *)(void *)buf)->slab, 1);
}

/* One that nobody holds; NULL: there is none, and no memory or no leave for one more. */
static slab *
take_slab(spr_ep_slabs *self)
{
	slab *one;

	if (self->store == NULL)
		take_returned(self);
	if ((one = self->store) != NULL) {
		self->store = one->next;
	} else if (self->n_slabs < self->max_slabs && (one = new_slab(self)) != NULL) {
		self->n_slabs++;
	}
	if (one != NULL) {
		begin(one);
		atomic_fetch_add_explicit(&self->refs, 1,
					  memory_order_relaxed /* the owner has one already */);
	}
	return (one);
}

static void
retire(spr_ep_slabs *self)
{
	slab *one = self->current;

	self->current = NULL;
	if (one != NULL && one != self->copied)
		give_shares_back(one, ALL_SHARES - one->n_slices);
}

static bool
is_free(const slab *self)
{
	/* E5 acquire: what was done with the slices */
	return (atomic_load_explicit(&self->shares, memory_order_acquire) ==
		ALL_SHARES - self->n_slices);
}

uint8_t *
spr_ep_slabs_room(spr_ep_slabs *self, size_t *len)
{
	slab *one = self->current;

	if (one != NULL && one != self->copied && is_free(one)) {
		begin(one); /* the same bytes again: they are in the cache */
	} else if (one == NULL || one == self->copied ||
		   SPR_EP_SLAB_BYTES - one->used < SPR_EP_SLAB_ROOM ||
		   one->n_slices == SPR_EP_SLAB_SLICES) {
		retire(self);
		if ((one = take_slab(self)) == NULL) {
			one = self->copied;
			begin(one);
		}
		self->current = one;
	}
	*len = SPR_EP_SLAB_BYTES - one->used;
	return (one->data + one->used);
}

void
spr_ep_slabs_keep(spr_ep_slabs *self, size_t n)
{
	SPR_ASSERT(n <= SPR_EP_SLAB_BYTES - self->current->used);
	self->current->used += n;
}

spr_buf *
spr_ep_slabs_slice(spr_ep_slabs *self, const uint8_t *data, size_t len)
{
	slab *one = self->current;
	slice *s;

	if (one == self->copied || one->n_slices == SPR_EP_SLAB_SLICES)
		return (NULL);
	SPR_ASSERT(data >= one->data && data + len <= one->data + SPR_EP_SLAB_BYTES);
	s = &one->slices[one->n_slices++];
	s->slab = one;
	s->buf.data = data;
	s->buf.len = len;
	s->buf.release = release_slice;
	atomic_init(&s->buf.refs, 1);
	return (&s->buf);
}

spr_err
spr_ep_slabs_new(spr_ep_slabs **out, unsigned max_slabs)
{
	spr_ep_slabs *self = spr_mem_zalloc_aligned(sizeof(*self));

	SPR_ASSERT(max_slabs > 0);
	if (self == NULL)
		return (SPR_E_NOMEM);
	if ((self->copied = new_slab(self)) == NULL) {
		spr_mem_free(self);
		return (SPR_E_NOMEM);
	}
	spr_stack_init(&self->returned);
	atomic_init(&self->refs, 1);
	self->max_slabs = max_slabs;
	*out = self;
	return (SPR_OK);
}

void
spr_ep_slabs_free(spr_ep_slabs *self)
{
	if (self == NULL)
		return;
	retire(self);
	drop_owner(self);
}
