/*
 * sp_reader - reads as much as there is, then takes frames out of it.
 *
 *   [begin .. end) of the buffer was read and not taken. A frame that fits into the largest buffer waits there until it is
 *   whole and is copied out: a copy of a few hundred bytes costs less than a system call of its own for each message. A
 *   longer one moves into the message's memory, and what follows of it is read there.
 */
#include "net/sp_reader.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>

#include <nng/supplemental/util/platform.h>

#include "base/assert.h"
#include "base/mem.h"
#include "net/sp_wire.h"
#include "net/timer.h"

#define BUFFER_MIN   ((size_t)4 << 10)
#define BUFFER_MAX   ((size_t)64 << 10)
#define LENGTH_BYTES 8
#define STARVED_MS   10 /* until memory is asked for again */
#define NO_TIMEOUT   NNG_DURATION_INFINITE

typedef struct message {
	spr_buf buf;
	uint8_t data[];
} message;

struct spr_sp_reader {
	/* constant after new */
	spr_sp_reader_config config;
	spr_peer peer;
	size_t head_bytes;
	nng_aio *aio;
	spr_timer pause; /* in place of a read, without memory */
	spr_timer look;  /* over TLS */

	/* the driver's, or nng's thread's while a read is out */
	uint8_t *buffer;
	size_t capacity, begin, end;
	message *
	    large; /* a frame longer than the buffer may be: large_have of buf.len bytes are there */
	size_t large_have, large_capacity;
	uint64_t n_found;
	bool is_full;    /* the last read filled what it was given */
	bool is_starved; /* memory was refused: wait, do not read */
	bool is_over;

	/* guarded by mutex, which is taken alone */
	pthread_mutex_t mutex;
	bool is_reading, is_cut;
};

static void
release_message(spr_buf *buf)
{
	spr_mem_free(buf); /* its first member */
}

/* ---- frames ---- */

static message *
new_message(spr_sp_reader *self, size_t len, size_t capacity)
{
	message *m = spr_mem_alloc(sizeof(*m) + capacity);

	if (m == NULL) {
		self->is_starved = true;
		return (NULL);
	}
	m->buf.len = len;
	m->buf.peer = self->peer;
	m->buf.release = release_message;
	atomic_init(&m->buf.refs, 1);
	return (m);
}

static void
hand_over(spr_sp_reader *self, message *m, uint64_t now_ns, spr_buf **out)
{
	m->buf.data = m->data;
	m->buf.received_ns = now_ns;
	self->n_found++;
	*out = &m->buf;
}

/* The peer did what it must not. */
static spr_sp_found
cut_peer(spr_sp_reader *self)
{
	self->is_over = true;
	self->begin = self->end = 0; /* what follows means nothing */
	return (SPR_SP_FOUND_END);
}

/* What is there of a long frame moves into memory of its own. */
static spr_sp_found
begin_large(spr_sp_reader *self, size_t len)
{
	size_t have = self->end - self->begin - self->head_bytes;
	size_t capacity = have * 2 > BUFFER_MIN ? have * 2 : BUFFER_MIN;

	if ((self->large = new_message(self, len, capacity)) == NULL)
		return (SPR_SP_FOUND_NOTHING);
	memcpy(self->large->data, self->buffer + self->begin + self->head_bytes, have);
	self->large_have = have;
	self->large_capacity = capacity;
	self->begin = self->end = 0;
	return (SPR_SP_FOUND_NOTHING);
}

static spr_sp_found
take_large(spr_sp_reader *self, uint64_t now_ns, spr_buf **out)
{
	if (self->large_have < self->large->buf.len)
		return (SPR_SP_FOUND_NOTHING);
	hand_over(self, self->large, now_ns, out);
	self->large = NULL;
	return (SPR_SP_FOUND_MESSAGE);
}

/* A frame's head has been read. */
static spr_sp_found
take_frame(spr_sp_reader *self, uint64_t now_ns, spr_buf **out)
{
	const uint8_t *head = self->buffer + self->begin;
	uint64_t length;
	message *m;

	memcpy(&length, head + self->head_bytes - LENGTH_BYTES, LENGTH_BYTES);
	length = be64toh(length);
	if (length > INT64_MAX) {
		spr_sp_blame_malformed(&self->peer, "a length of 2^63 or more");
		return (cut_peer(self));
	}
	if (length > self->config.max_message) {
		spr_sp_blame_too_large(&self->peer, length, self->config.max_message,
				       "a message over", self->config.limit_name);
		return (cut_peer(self));
	}
	if (length > BUFFER_MAX - self->head_bytes)
		return (begin_large(self, length));
	if (length > self->end - self->begin - self->head_bytes ||
	    (m = new_message(self, length, length)) == NULL)
		return (SPR_SP_FOUND_NOTHING);
	memcpy(m->data, head + self->head_bytes, length);
	self->begin += self->head_bytes + length;
	hand_over(self, m, now_ns, out);
	return (SPR_SP_FOUND_MESSAGE);
}

spr_sp_found
spr_sp_reader_next(spr_sp_reader *self, uint64_t now_ns, spr_buf **out)
{
	size_t n = self->end - self->begin;

	if (self->large != NULL) {
		if (take_large(self, now_ns, out) == SPR_SP_FOUND_MESSAGE)
			return (SPR_SP_FOUND_MESSAGE);
	} else if (n > 0 && self->config.is_ipc && self->buffer[self->begin] != 1) {
		spr_sp_blame_malformed(&self->peer, "a frame of an unknown kind");
		return (cut_peer(self));
	} else if (n >= self->head_bytes && !self->is_starved) {
		spr_sp_found found = take_frame(self, now_ns, out);

		if (found != SPR_SP_FOUND_NOTHING)
			return (found);
	}
	/* what was read before the end is still handed out, once there is memory for it */
	return (self->is_over && !self->is_starved ? SPR_SP_FOUND_END : SPR_SP_FOUND_NOTHING);
}

/* ---- reads ---- */

/* Room for the next read; false without memory. */
static bool
make_room(spr_sp_reader *self, nng_iov *iov)
{
	size_t len, capacity = self->capacity;
	void *grown;

	if (self->large != NULL) {
		len = self->large->buf.len;
		if (self->large_have == self->large_capacity) {
			capacity = self->large_capacity * 2 < len ? self->large_capacity * 2 : len;
			if ((grown = spr_mem_realloc(self->large, sizeof(message) + capacity)) ==
			    NULL)
				return (false);
			self->large = grown;
			self->large_capacity = capacity;
		}
		capacity = self->large_capacity < len ? self->large_capacity : len;
		*iov = (nng_iov){.iov_buf = self->large->data + self->large_have,
				 .iov_len = capacity - self->large_have};
		return (true);
	}
	memmove(self->buffer, self->buffer + self->begin, self->end - self->begin);
	self->end -= self->begin;
	self->begin = 0;
	if (self->is_full && capacity < BUFFER_MAX &&
	    (grown = spr_mem_realloc(self->buffer, capacity * 2)) != NULL) {
		self->buffer = grown;
		self->capacity = capacity * 2;
	}
	*iov =
	    (nng_iov){.iov_buf = self->buffer + self->end, .iov_len = self->capacity - self->end};
	return (iov->iov_len > 0);
}

/* The mutex is held. Either way on_read follows. */
static void
begin_read(spr_sp_reader *self, bool has_room, nng_iov *iov)
{
	self->is_reading = true;
	if (!has_room) {
		spr_timer_arm(&self->pause, STARVED_MS);
		return;
	}
	nng_aio_set_iov(self->aio, 1, iov);
	nng_stream_recv(self->config.stream, self->aio);
}

bool
spr_sp_reader_read(spr_sp_reader *self)
{
	nng_iov iov;
	bool has_room = !self->is_starved && make_room(self, &iov), is_cut;

	self->is_starved = !has_room;
	pthread_mutex_lock(&self->mutex);
	is_cut = self->is_cut;
	if (!is_cut)
		begin_read(self, has_room, &iov);
	pthread_mutex_unlock(&self->mutex);
	/* not after begin_read: on_read may have freed it */
	if (is_cut) {
		self->is_over = true;
		self->is_starved = false;
	}
	return (!is_cut);
}

static void
take_bytes(spr_sp_reader *self, size_t n)
{
	if (self->large != NULL) {
		self->large_have += n;
		return;
	}
	self->end += n;
	self->is_full = self->end == self->capacity;
}

static void
on_aio(void *arg)
{
	spr_sp_reader *self = arg;
	int rv = nng_aio_result(self->aio);

	pthread_mutex_lock(&self->mutex);
	self->is_reading = false;
	pthread_mutex_unlock(&self->mutex);
	if (rv != 0)
		self->is_over = true;
	else
		take_bytes(self, nng_aio_count(self->aio));
	self->config.on_read(self->config.arg);
}

/* A cut does not hurry it: it is short. */
static void
on_pause(void *arg)
{
	spr_sp_reader *self = arg;

	pthread_mutex_lock(&self->mutex);
	self->is_reading = false;
	self->is_over |= self->is_cut;
	pthread_mutex_unlock(&self->mutex);
	self->is_starved = false;
	self->config.on_read(self->config.arg);
}

/* Not with every read: the look is a system call, and who finds nobody there loses nothing by waiting. */
static void
on_look(void *arg)
{
	spr_sp_reader *self = arg;

	pthread_mutex_lock(&self->mutex);
	if (self->is_reading && spr_nng_is_lost(self->config.stream))
		nng_stream_close(self->config.stream); /* the read ends */
	pthread_mutex_unlock(&self->mutex);
	spr_timer_arm_about(&self->look, SPR_LOOK_MS);
}

bool
spr_sp_reader_cut(spr_sp_reader *self)
{
	bool is_reading;

	pthread_mutex_lock(&self->mutex);
	self->is_cut = true;
	if ((is_reading = self->is_reading))
		spr_nng_end(self->config.stream, self->config.is_tls, self->aio, NNG_ECANCELED);
	pthread_mutex_unlock(&self->mutex);
	return (is_reading);
}

spr_err
spr_sp_reader_new(spr_sp_reader **out, const spr_sp_reader_config *config)
{
	spr_sp_reader *self = spr_mem_zalloc(sizeof(*self));

	if (self == NULL)
		return (SPR_E_NOMEM);
	self->config = *config;
	self->peer = spr_nng_peer(config->stream);
	self->head_bytes = config->is_ipc ? LENGTH_BYTES + 1 : LENGTH_BYTES;
	self->capacity = BUFFER_MIN;
	pthread_mutex_init(&self->mutex, NULL);
	spr_timer_init(&self->pause, on_pause, self);
	spr_timer_init(&self->look, on_look, self);
	if ((self->buffer = spr_mem_alloc(self->capacity)) == NULL ||
	    nng_aio_alloc(&self->aio, on_aio, self) != 0) {
		spr_sp_reader_free(self);
		return (SPR_E_NOMEM);
	}
	nng_aio_set_timeout(self->aio, NNG_DURATION_INFINITE);
	if (config->is_tls)
		spr_timer_arm_about(&self->look, SPR_LOOK_MS);
	*out = self;
	return (SPR_OK);
}

uint64_t
spr_sp_reader_count(const spr_sp_reader *self)
{
	return (self->n_found);
}

const spr_peer *
spr_sp_reader_peer(const spr_sp_reader *self)
{
	return (&self->peer);
}

void
spr_sp_reader_free(spr_sp_reader *self)
{
	if (self == NULL)
		return;
	spr_timer_stop(&self->look);
	if (self->aio != NULL)
		nng_aio_reap(self->aio); /* by nng's reaper: this may be its callback */
	spr_mem_free(self->large);
	spr_mem_free(self->buffer);
	pthread_mutex_destroy(&self->mutex);
	spr_mem_free(self);
}
