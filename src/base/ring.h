/*
 * ring - bounded hand-over of pointers from one thread to one other (wraps ck_ring, SPSC only).
 *
 * Writer      one thread at a time; whoever takes over the writing end must do so by an acquire edge
 * Reader      one thread
 * Ownership   push moves the pointer in; pop moves it out; a failed push leaves it with the caller
 * Ordering    E1: what was written before push is visible after the matching pop
 * Progress    push, pop and size are wait-free
 * Limits      slots is a power of two >= 4; one slot stays unused; full: push returns false
 * Teardown    only after writer and reader have stopped; what is still inside is the caller's to pop and free
 */
#pragma once

#include "base/error.h"

typedef struct spr_ring spr_ring;

/* [any] */
spr_err spr_ring_new(spr_ring **out, unsigned slots);
/* [any] NULL is fine. */
void spr_ring_free(spr_ring *ring);
/* [writer] False when full. */
bool spr_ring_try_push(spr_ring *ring, void *item);
/* [reader] NULL when empty. */
void *spr_ring_try_pop(spr_ring *ring);
/* [reader] What will be popped after n others; NULL when it is not there yet. The reader may read it, and owns it when it is popped. */
void *spr_ring_peek(const spr_ring *ring, unsigned n);
/* [any] A snapshot of the fill. */
unsigned spr_ring_size(const spr_ring *ring);
