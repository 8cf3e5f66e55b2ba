/*
 * ep_reader - see the header; this is the parser that every byte from the intake's network passes.
 */
#include "net/ep_reader.h"

#include <endian.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "net/sp_wire.h"

#define LENGTH_BYTES 8
#define OWN_MIN      ((size_t)4 << 10) /* a peer that announces much and sends little is given no more */

/* In memory of its own, with what it is handed out as. */
typedef struct spr_ep_message {
	spr_buf buf;
	uint8_t data[];
} message;

static void
release_message(spr_buf *buf)
{
	spr_mem_free(buf); /* its first member */
}

static spr_ep_found
hand_over(spr_ep_reader *self, spr_buf *buf, uint64_t now_ns, spr_buf **out)
{
	buf->peer = self->peer;
	buf->received_ns = now_ns;
	self->n_found++;
	*out = buf;
	return (SPR_EP_FOUND_MESSAGE);
}

static spr_ep_found
hand_over_own(spr_ep_reader *self, message *m, size_t len, uint64_t now_ns, spr_buf **out)
{
	m->buf.data = m->data;
	m->buf.len = len;
	m->buf.release = release_message;
	atomic_init(&m->buf.refs, 1);
	return (hand_over(self, &m->buf, now_ns, out));
}

static spr_ep_found
cut_peer(spr_ep_reader *self)
{
	self->at = self->end; /* what follows means nothing */
	return (SPR_EP_FOUND_END);
}

/* All of it was read. */
static spr_ep_found
take_whole(spr_ep_reader *self, size_t len, uint64_t now_ns, spr_buf **out)
{
	const uint8_t *data = self->at + self->head_bytes;
	spr_buf *buf = spr_ep_slabs_slice(self->slabs, data, len);
	message *m;

	if (buf != NULL) {
		self->at = data + len;
		return (hand_over(self, buf, now_ns, out));
	}
	if ((m = spr_mem_alloc(sizeof(*m) + len)) == NULL)
		return (SPR_EP_FOUND_STARVED);
	memcpy(m->data, data, len);
	self->at = data + len;
	return (hand_over_own(self, m, len, now_ns, out));
}

/* The end of it was not read yet: it moves. */
static spr_ep_found
begin_own(spr_ep_reader *self, size_t len)
{
	const uint8_t *data = self->at + self->head_bytes;
	size_t have = (size_t)(self->end - data);
	size_t capacity = have * 2 > OWN_MIN ? have * 2 : OWN_MIN;

	capacity = capacity < len ? capacity : len;
	if ((self->own = spr_mem_alloc(sizeof(message) + capacity)) == NULL)
		return (SPR_EP_FOUND_STARVED);
	memcpy(self->own->data, data, have);
	self->own_have = have;
	self->own_capacity = capacity;
	self->own_len = len;
	self->at = self->end;
	return (SPR_EP_FOUND_NOTHING);
}

static spr_ep_found
keep_head(spr_ep_reader *self)
{
	self->n_head = (unsigned)(self->end - self->at);
	if (self->n_head > 0)
		memcpy(self->head, self->at, self->n_head);
	self->at = self->end;
	return (SPR_EP_FOUND_NOTHING);
}

static spr_ep_found
take_own(spr_ep_reader *self, uint64_t now_ns, spr_buf **out)
{
	message *m = self->own;

	if (self->own_have < self->own_len)
		return (SPR_EP_FOUND_NOTHING);
	self->own = NULL;
	return (hand_over_own(self, m, self->own_len, now_ns, out));
}

spr_ep_found
spr_ep_reader_next(spr_ep_reader *self, uint64_t now_ns, spr_buf **out)
{
	size_t n = (size_t)(self->end - self->at);
	uint64_t len;

	if (self->own != NULL)
		return (take_own(self, now_ns, out));
	if (n > 0 && self->head_bytes > LENGTH_BYTES && self->at[0] != 1) {
		spr_sp_blame_malformed(&self->peer, "a frame of an unknown kind");
		return (cut_peer(self));
	}
	if (n < self->head_bytes)
		return (keep_head(self));
	memcpy(&len, self->at + self->head_bytes - LENGTH_BYTES, LENGTH_BYTES);
	len = be64toh(len);
	if (len > INT64_MAX) {
		spr_sp_blame_malformed(&self->peer, "a length of 2^63 or more");
		return (cut_peer(self));
	}
	if (len > self->max_message) {
		spr_sp_blame_too_large(&self->peer, len, self->max_message, "a message over",
				       self->limit_name);
		return (cut_peer(self));
	}
	if (n - self->head_bytes >= len)
		return (take_whole(self, len, now_ns, out));
	return (begin_own(self, len));
}

/* False without memory. */
static bool
grow_own(spr_ep_reader *self)
{
	size_t capacity =
	    self->own_capacity * 2 < self->own_len ? self->own_capacity * 2 : self->own_len;
	message *grown;

	if (self->own_have < self->own_capacity)
		return (true);
	if ((grown = spr_mem_realloc(self->own, sizeof(message) + capacity)) == NULL)
		return (false);
	self->own = grown;
	self->own_capacity = capacity;
	return (true);
}

unsigned
spr_ep_reader_room(spr_ep_reader *self, struct iovec iov[2])
{
	unsigned n = 0;
	size_t len;

	SPR_ASSERT(self->at == self->end);
	self->room = NULL;
	if (self->own != NULL) {
		if (!grow_own(self))
			return (0);
		iov[n++] = (struct iovec){.iov_base = self->own->data + self->own_have,
					  .iov_len = self->own_capacity - self->own_have};
		if (self->own_capacity < self->own_len)
			return (n); /* all that comes is still of this frame */
	}
	self->room = spr_ep_slabs_room(self->slabs, &len);
	memcpy(self->room, self->head, self->n_head);
	iov[n++] =
	    (struct iovec){.iov_base = self->room + self->n_head, .iov_len = len - self->n_head};
	return (n);
}

void
spr_ep_reader_took(spr_ep_reader *self, size_t n)
{
	if (self->own != NULL) {
		size_t room = self->own_capacity - self->own_have, k = n < room ? n : room;

		self->own_have += k;
		n -= k;
	}
	if (self->room == NULL)
		return;
	self->at = self->room;
	self->end = self->room + self->n_head + n;
	self->n_head = 0;
	spr_ep_slabs_keep(self->slabs, (size_t)(self->end - self->at));
}

void
spr_ep_reader_init(spr_ep_reader *self, spr_ep_slabs *slabs, const spr_peer *peer, bool is_ipc,
		   size_t max_message, const char *limit_name)
{
	*self = (spr_ep_reader){
	    .slabs = slabs,
	    .peer = *peer,
	    .head_bytes = is_ipc ? LENGTH_BYTES + 1 : LENGTH_BYTES,
	    .max_message = max_message,
	    .limit_name = limit_name,
	};
}

void
spr_ep_reader_fini(spr_ep_reader *self)
{
	spr_mem_free(self->own);
	self->own = NULL;
}
