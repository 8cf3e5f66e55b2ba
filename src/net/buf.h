/*
 * buf - a received message: reference-counted bytes with a release hook. path/ sees this and no transport type.
 *
 * Writer      the receiver that made it, before handing it on
 * Reader      whoever holds a reference; bytes never change
 * Ownership   made with one reference; hold adds one, drop gives one back; the last drop calls release
 * Ordering    E5: every access through a reference happens before release
 * Progress    wait-free
 * Limits      none of its own; the intake budget counts its length
 * Teardown    release hooks must outlive their buffers
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/peer.h"

typedef struct spr_buf spr_buf;
struct spr_buf {
	const uint8_t *data;
	size_t len;
	uint64_t received_ns; /* monotonic */
	spr_peer peer;        /* who sent it */
	atomic_uint refs;
	void (*release)(spr_buf *buf);
};

/* [any] */
static inline void
spr_buf_hold(spr_buf *buf)
{
	/* relaxed: the caller already holds a reference, nothing is published by taking one more */
	atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);
}

/* [any] True when this was the last reference: the buffer is gone. */
static inline bool
spr_buf_drop(spr_buf *buf)
{
	/* E5 release: my accesses are before the release hook; acquire: everyone else's too */
	if (atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel) != 1)
		return (false);
	buf->release(buf);
	return (true);
}
