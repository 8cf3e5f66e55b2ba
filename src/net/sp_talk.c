/*
 * sp_talk - reading, writing and the end of connections on which both sides talk.
 *
 * One mutex for all connections of a socket: control and answers are some thousand messages a second. A write begins under
 * it, and a cut aborts what has begun, so none is missed; the stream is closed when nothing runs on it any more, because
 * nng never ends an operation that begins on a closed one.
 *
 * A connection has one reference for its reading side, from its start until reading is over (also while it is parked), and
 * one for a write that is under way. The last one ends it.
 */
#include "net/sp_talk.h"

#include <endian.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include <nng/nng.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/sp_endpoints.h"
#include "net/sp_places.h"
#include "net/sp_reader.h"
#include "net/timer.h"

#define LENGTH_BYTES   8 /* big-endian, before the data; on unix sockets a byte 1 before it */
#define HEAD_BYTES     (LENGTH_BYTES + 1)
#define BATCH_MESSAGES 8 /* nng passes no more parts to one system call */

struct spr_sp_message {
	spr_sp_message *next;
	size_t len; /* of data */
	uint8_t head[HEAD_BYTES];
	uint8_t data[];
};

typedef struct connection connection;
struct connection {
	spr_sp_peer peer; /* first: the owner's */

	/* constant after start */
	spr_sp_talk *talk;
	spr_sp_endpoint *endpoint;
	nng_stream *stream;
	spr_sp_reader *reader; /* whoever has the reading side's reference drives it */
	nng_aio *write;
	spr_timer stall;
	size_t head_bytes; /* of each frame */
	bool is_tls;
	spr_sp_place place;

	/* guarded by the mutex */
	unsigned refs;
	bool is_dead;    /* nothing is written any more, and reading ends */
	bool is_writing; /* a write is under way, or about to be taken in */
	bool is_choked;  /* reads on when the queue has shrunk */
	bool is_stall_armed;
	uint64_t stalled_ns; /* then the write that is under way has lasted too long */
	spr_sp_message *first, *last;
	size_t n_queued; /* bytes of the queue that are not in the kernel */
	size_t n_sent;   /* bytes of the first message that are */
	connection *next, *prev;
};

struct spr_sp_talk {
	/* constant after new, add */
	spr_sp_talk_config config;
	spr_sp_endpoints endpoints;
	spr_sp_places places; /* its mutex is taken before ours */

	atomic_uint n_peers;

	/* guards what follows, and the connections; no other mutex is taken under it but nng's */
	pthread_mutex_t mutex;
	pthread_cond_t ended;
	unsigned n_connections; /* those in their last callbacks too, which have left the list */
	connection *connections;
};

static connection *
connection_of(spr_sp_peer *peer)
{
	return ((connection *)peer);
}

/* ---- messages ---- */

spr_sp_message *
spr_sp_message_new(const void *head, size_t head_len, const void *data, size_t len)
{
	spr_sp_message *m = spr_mem_alloc(sizeof(*m) + head_len + len);
	uint64_t length = htobe64(head_len + len);

	if (m == NULL)
		return (NULL);
	m->len = head_len + len;
	m->head[0] = 1;
	memcpy(m->head + 1, &length, LENGTH_BYTES);
	memcpy(m->data, head, head_len);
	if (len > 0)
		memcpy(m->data + head_len, data, len);
	return (m);
}

void
spr_sp_message_free(spr_sp_message *message)
{
	spr_mem_free(message);
}

/* ---- a connection's life ---- */

/* The mutex is held. What is under way ends now, and nothing begins any more. */
static void
cut_locked(connection *c)
{
	if (c->is_dead)
		return;
	c->is_dead = true;
	(void)spr_sp_reader_cut(c->reader);
	if (c->is_writing)
		spr_nng_end(c->stream, c->is_tls, c->write, NNG_ECANCELED);
}

/* The mutex is held. */
static void
unlink_locked(connection *c)
{
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		c->talk->connections = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
}

/* The mutex is held. True: the connection is over, and the caller ends it. */
static bool
drop_locked(connection *c)
{
	SPR_ASSERT(c->refs > 0);
	if (--c->refs > 0)
		return (false);
	unlink_locked(c);
	return (true);
}

/* Nothing runs on it any more; the last that is done with the socket is under its mutex. */
static void
end_connection(connection *c)
{
	spr_sp_talk *self = c->talk;
	spr_sp_endpoint *endpoint = c->endpoint;
	spr_sp_message *next;

	spr_sp_places_leave(&self->places, &c->place); /* from here on nobody cuts it */
	/* relaxed: a gauge */
	atomic_fetch_sub_explicit(&self->n_peers, 1, memory_order_relaxed);
	if (self->config.pipes.on_pipe != NULL)
		self->config.pipes.on_pipe(self->config.pipes.arg, -1);
	self->config.on_lost(self->config.arg, &c->peer);
	spr_timer_stop(&c->stall);
	nng_stream_close(c->stream);
	nng_stream_free(c->stream);
	spr_sp_reader_free(c->reader);
	nng_aio_reap(c->write); /* by nng's reaper: this may be its callback */
	for (spr_sp_message *m = c->first; m != NULL; m = next) {
		next = m->next;
		spr_mem_free(m);
	}
	spr_mem_free(c);
	spr_sp_endpoint_lost(endpoint);
	pthread_mutex_lock(&self->mutex);
	self->n_connections--;
	pthread_cond_signal(&self->ended);
	pthread_mutex_unlock(&self->mutex);
}

/* ---- the reading side ---- */

static void
end_reading(connection *c)
{
	bool is_over;

	pthread_mutex_lock(&c->talk->mutex);
	cut_locked(c);
	is_over = drop_locked(c);
	pthread_mutex_unlock(&c->talk->mutex);
	if (is_over)
		end_connection(c);
}

/* True: the peer has not taken enough of what it was sent, and on_written reads on. */
static bool
choke(connection *c)
{
	spr_sp_talk *self = c->talk;
	bool is_choked;

	pthread_mutex_lock(&self->mutex);
	c->is_choked = is_choked = c->n_queued > self->config.max_queued && !c->is_dead;
	pthread_mutex_unlock(&self->mutex);
	return (is_choked);
}

/* Takes the messages that are there, and has more read. The reading side's reference goes with it. */
static void
drive(connection *c)
{
	spr_sp_talk *self = c->talk;
	spr_sp_verdict verdict = SPR_SP_NEXT;
	spr_buf *buf;

	while (verdict == SPR_SP_NEXT && !choke(c)) {
		switch (spr_sp_reader_next(c->reader, spr_clock_now_ns(), &buf)) {
		case SPR_SP_FOUND_MESSAGE:
			if (spr_sp_reader_count(c->reader) == 1)
				spr_sp_places_speak(&self->places, &c->place);
			verdict = self->config.on_message(self->config.arg, &c->peer, buf);
			break;
		case SPR_SP_FOUND_NOTHING:
			if (spr_sp_reader_read(c->reader))
				return;
			break;
		case SPR_SP_FOUND_END:
			verdict = SPR_SP_CUT;
		}
		/* parked, it may have been resumed, and be gone */
		if (verdict == SPR_SP_PARK)
			return;
	}
	if (verdict == SPR_SP_CUT)
		end_reading(c);
}

static void
on_read(void *arg)
{
	drive(arg);
}

void
spr_sp_peer_resume(spr_sp_peer *peer)
{
	drive(connection_of(peer));
}

/* ---- the writing side ---- */

/* One timer for all writes: it is not taken back behind each, and looks what is due when it fires. */
static void
watch_locked(connection *c)
{
	unsigned ms = c->talk->config.stall_ms;

	c->stalled_ns = spr_clock_now_ns() + ms * SPR_NS_PER_MS;
	if (!c->is_stall_armed)
		spr_timer_arm(&c->stall, ms);
	c->is_stall_armed = true;
}

static void
on_stall(void *arg)
{
	connection *c = arg;
	uint64_t now_ns = spr_clock_now_ns();

	pthread_mutex_lock(&c->talk->mutex);
	if ((c->is_stall_armed = c->is_writing && c->stalled_ns > now_ns))
		spr_timer_arm(&c->stall, (unsigned)((c->stalled_ns - now_ns) / SPR_NS_PER_MS + 1));
	else if (c->is_writing)
		/* not a cut: a write that is done, and whose callback is late, has not stalled */
		spr_nng_end(c->stream, c->is_tls, c->write, NNG_ETIMEDOUT);
	pthread_mutex_unlock(&c->talk->mutex);
}

/* The mutex is held, there is something in the queue. */
static void
write_locked(connection *c)
{
	nng_iov iov[BATCH_MESSAGES];
	size_t skip = HEAD_BYTES - c->head_bytes + c->n_sent;
	unsigned n = 0;

	for (spr_sp_message *m = c->first; m != NULL && n < BATCH_MESSAGES; m = m->next) {
		iov[n].iov_buf = m->head + skip;
		iov[n].iov_len = HEAD_BYTES + m->len - skip;
		skip = HEAD_BYTES - c->head_bytes;
		n++;
	}
	nng_aio_set_iov(c->write, n, iov);
	nng_stream_send(c->stream, c->write);
	watch_locked(c);
}

/* The mutex is held. */
static void
take_written_locked(connection *c, size_t n)
{
	spr_sp_message *m;

	c->n_sent += n;
	c->n_queued -= n;
	while ((m = c->first) != NULL && c->n_sent >= c->head_bytes + m->len) {
		c->n_sent -= c->head_bytes + m->len;
		if ((c->first = m->next) == NULL)
			c->last = NULL;
		spr_mem_free(m);
	}
}

static void
on_written(void *arg)
{
	connection *c = arg;
	spr_sp_talk *self = c->talk;
	int rv = nng_aio_result(c->write);
	bool is_over = false, reads_on;

	pthread_mutex_lock(&self->mutex);
	if (rv != 0)
		cut_locked(c);
	else
		take_written_locked(c, nng_aio_count(c->write));
	reads_on = c->is_choked && (c->is_dead || c->n_queued <= self->config.max_queued);
	if (reads_on)
		c->is_choked = false;
	if (c->first != NULL && !c->is_dead) {
		write_locked(c);
	} else {
		c->is_writing = false;
		/* what reads on has its own reference */
		is_over = drop_locked(c);
	}
	pthread_mutex_unlock(&self->mutex);
	if (reads_on)
		drive(c);
	else if (is_over)
		end_connection(c);
}

bool
spr_sp_peer_send(spr_sp_peer *peer, spr_sp_message *message)
{
	connection *c = connection_of(peer);
	spr_sp_talk *self = c->talk;
	bool is_dead;

	pthread_mutex_lock(&self->mutex);
	if (!(is_dead = c->is_dead)) {
		message->next = NULL;
		if (c->last != NULL)
			c->last->next = message;
		else
			c->first = message;
		c->last = message;
		c->n_queued += c->head_bytes + message->len;
		if (!c->is_writing) {
			c->is_writing = true;
			c->refs++;
			write_locked(c);
		}
	}
	pthread_mutex_unlock(&self->mutex);
	return (!is_dead);
}

/* ---- the socket ---- */

/* Its place is wanted. */
static void
cut(spr_sp_place *place)
{
	connection *c = (connection *)(void *)((char *)place - offsetof(connection, place));

	pthread_mutex_lock(&c->talk->mutex);
	cut_locked(c);
	pthread_mutex_unlock(&c->talk->mutex);
}

static connection *
new_connection(spr_sp_talk *self, spr_sp_endpoint *endpoint, nng_stream *stream)
{
	connection *c = spr_mem_zalloc(sizeof(*c));
	spr_sp_reader_config config = {.stream = stream,
				       .is_ipc = spr_sp_endpoint_is_ipc(endpoint),
				       .is_tls = spr_sp_endpoint_is_tls(endpoint),
				       .max_message = self->config.max_message,
				       .limit_name = self->config.limit_name,
				       .on_read = on_read,
				       .arg = c};

	if (c == NULL)
		return (NULL);
	if (nng_aio_alloc(&c->write, on_written, c) != 0)
		goto fail;
	if (spr_sp_reader_new(&c->reader, &config) != SPR_OK)
		goto fail;
	c->talk = self;
	c->endpoint = endpoint;
	c->stream = stream;
	c->head_bytes = config.is_ipc ? HEAD_BYTES : LENGTH_BYTES;
	c->is_tls = config.is_tls;
	c->refs = 1;
	nng_aio_set_timeout(c->write, NNG_DURATION_INFINITE);
	spr_timer_init(&c->stall, on_stall, c);
	if (spr_sp_places_enter(&self->places, &c->place, cut, spr_sp_reader_peer(c->reader)))
		return (c);
fail:
	spr_sp_reader_free(c->reader);
	if (c->write != NULL)
		nng_aio_free(c->write);
	spr_mem_free(c);
	return (NULL);
}

static void
on_stream(void *arg, spr_sp_endpoint *endpoint, nng_stream *stream)
{
	spr_sp_talk *self = arg;
	connection *c = new_connection(self, endpoint, stream);

	if (c == NULL) {
		nng_stream_close(stream);
		nng_stream_free(stream);
		spr_sp_endpoint_lost(endpoint);
		return;
	}
	pthread_mutex_lock(&self->mutex);
	self->n_connections++;
	c->next = self->connections;
	if (c->next != NULL)
		c->next->prev = c;
	self->connections = c;
	pthread_mutex_unlock(&self->mutex);
	if (self->config.on_peer != NULL)
		self->config.on_peer(self->config.arg, &c->peer);
	/* relaxed: a gauge */
	atomic_fetch_add_explicit(&self->n_peers, 1, memory_order_relaxed);
	if (self->config.pipes.on_pipe != NULL)
		self->config.pipes.on_pipe(self->config.pipes.arg, 1);
	drive(c);
}

spr_err
spr_sp_talk_new(spr_sp_talk **out, const spr_sp_talk_config *config)
{
	spr_sp_talk *self = spr_mem_zalloc(sizeof(*self));

	if (self == NULL)
		return (SPR_E_NOMEM);
	self->config = *config;
	spr_sp_places_init(&self->places, config->protocol == SPR_SP_REP ? "control" : "ack");
	pthread_mutex_init(&self->mutex, NULL);
	pthread_cond_init(&self->ended, NULL);
	*out = self;
	return (SPR_OK);
}

spr_err
spr_sp_talk_add(spr_sp_talk *self, const char *url, char *bound)
{
	const spr_sp_endpoint_config config = {.protocol = self->config.protocol,
					       .peer = self->config.peer,
					       .on_stream = on_stream,
					       .arg = self};

	return (spr_sp_endpoints_add(&self->endpoints, &config, url, bound));
}

unsigned
spr_sp_talk_count(const spr_sp_talk *self)
{
	return (atomic_load_explicit(&self->n_peers, memory_order_relaxed /* a gauge */));
}

void
spr_sp_talk_stop(spr_sp_talk *self)
{
	spr_sp_endpoints_stop(&self->endpoints); /* no stream comes any more */
	pthread_mutex_lock(&self->mutex);
	for (connection *c = self->connections; c != NULL; c = c->next)
		cut_locked(c);
	while (self->n_connections > 0)
		pthread_cond_wait(&self->ended, &self->mutex);
	pthread_mutex_unlock(&self->mutex);
}

void
spr_sp_talk_free(spr_sp_talk *self)
{
	if (self == NULL)
		return;
	spr_sp_talk_stop(self);
	spr_sp_endpoints_fini(&self->endpoints);
	spr_sp_places_fini(&self->places);
	pthread_cond_destroy(&self->ended);
	pthread_mutex_destroy(&self->mutex);
	spr_mem_free(self);
}
