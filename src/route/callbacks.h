/*
 * callbacks - each callback text once, with its job prefix made, counted.
 *
 * Writer      one control thread: init, fini, find, intern, release
 * Reader      any thread: hold inside an epoch section that found it; drop anywhere
 * Ownership   refs is one for being interned and one for each hold; whoever drops the last one
 *             frees
 * Ordering    E8: complete before an entry points at it. E4: the interned reference is dropped
 *             after a grace period
 * Progress    hold and drop wait-free
 * Limits      memory
 * Teardown    fini; what a reader still holds lives until it drops it
 */
#pragma once

#include "route/subscriptions.h"
#include "route/table.h"

typedef struct spr_callbacks {
	spr_table table;
	uint64_t seed;
	_Atomic uint64_t n;
	spr_space *space;
} spr_callbacks;

/* [control] */
void spr_callbacks_init(spr_callbacks *callbacks, spr_space *space, uint64_t seed);
/* [control, no reader left] After each subscription's release. */
void spr_callbacks_fini(spr_callbacks *callbacks);
/* [control] NULL when nobody subscribes with it. */
spr_callback *spr_callbacks_find(const spr_callbacks *callbacks, const char *text, size_t len);
/* [control] For one more subscription; NULL when out of memory. */
spr_callback *spr_callbacks_intern(spr_callbacks *callbacks, const char *text, size_t len);
/* [control] One subscription less; after the last one the callback is retired. */
void spr_callbacks_release(spr_callbacks *callbacks, spr_callback *callback);

/* [any, inside the epoch section that found it] */
static inline void
spr_callback_hold(spr_callback *callback)
{
	/* relaxed: the epoch keeps it alive here; the count alone matters */
	atomic_fetch_add_explicit(&callback->refs, 1, memory_order_relaxed);
}

/* [any] Interned or not, the same text? Two objects of one text can meet when it left and came back
 * meanwhile. */
bool spr_callback_is_same(const spr_callback *a, const spr_callback *b);
