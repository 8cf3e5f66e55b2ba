/*
 * ep_reader - frames out of the bytes of one connection. It does not read itself: it says where the next bytes shall go,
 * is told how many came, and is asked for messages. Private to net/.
 *
 *   spr_ep_reader_room() --> readv --> spr_ep_reader_took() --> spr_ep_reader_next() until it has NOTHING --> room ...
 *
 * A frame that came whole is a slice of the slab it was read into. One that is cut off at the end of a read moves into
 * memory of its own, the rest of it is read there, and what follows it into the slab, by the same call.
 *
 * Threads     one at a time: its connection's loop
 */
#pragma once

#include <sys/uio.h>

#include "net/ep_slab.h"

#define SPR_EP_HEAD_MAX 9 /* a byte 1 on unix sockets, the length */

typedef struct spr_ep_reader {
	/* constant after init */
	spr_ep_slabs *slabs; /* shared with the other connections of the loop */
	spr_peer peer;
	size_t head_bytes;
	size_t max_message;
	const char *limit_name; /* of max_message, for the log */

	uint64_t n_found;
	const uint8_t *at, *end; /* read and not looked at */
	uint8_t *room; /* of the slab, given out for the next read; NULL: there was none */
	uint8_t head[SPR_EP_HEAD_MAX]; /* n_head bytes of one that is cut off */
	unsigned n_head;
	struct spr_ep_message *own; /* a frame that was cut off: own_have of own_len bytes */
	size_t own_have, own_capacity, own_len;
} spr_ep_reader;

typedef enum spr_ep_found {
	SPR_EP_FOUND_MESSAGE,
	SPR_EP_FOUND_NOTHING, /* a read is needed */
	SPR_EP_FOUND_STARVED, /* no memory: to be asked again later, before anything is read */
	SPR_EP_FOUND_END,     /* the peer did what it must not: it was counted and logged */
} spr_ep_found;

void spr_ep_reader_init(spr_ep_reader *self, spr_ep_slabs *slabs, const spr_peer *peer, bool is_ipc,
			size_t max_message, const char *limit_name);
/* What was found and handed out lives on. All zeros are fine. */
void spr_ep_reader_fini(spr_ep_reader *self);
/* Where to read to: 1 or 2 parts; 0 without memory. Until took is called no other reader of these slabs may be asked. */
unsigned spr_ep_reader_room(spr_ep_reader *self, struct iovec iov[2]);
/* n may be 0. From here on next must be asked until it has NOTHING. */
void spr_ep_reader_took(spr_ep_reader *self, size_t n);
/* All that was read has been handed out, but for a part of a message that is cut off. */
static inline bool
spr_ep_reader_is_empty(const spr_ep_reader *self)
{
	return (self->at == self->end);
}
/* A message is the caller's, with one reference. */
spr_ep_found spr_ep_reader_next(spr_ep_reader *self, uint64_t now_ns, spr_buf **out);
