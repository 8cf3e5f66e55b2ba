/*
 * sp_pull - messages from connections to receives.
 *
 *   on_stream --> read --> on_read --> ready (mailbox) --> [turn] round of connections --> on_receive
 *                   ^                                         |  all that was read is taken
 *                   +-----------------------------------------+
 *
 * Why not nng's PULL socket: a peer that connects and hangs up at the right moment silences its listener for good, it takes
 * two system calls and two hand-overs between threads a message, and it drops the sender of an oversized one without a word.
 *
 * Each connection belongs to one receive, the one that had the fewest. What is ready is served in the receive's turn
 * (base/turn.h), some messages at a time each, so on_receive is serial and a busy producer does not starve the others. A
 * parked receive keeps its turn: nobody serves its connections, none of them reads, and whoever rearms it goes on with
 * what had been read. A receive is born parked; start rearms it.
 */
#include "net/sp_pull.h"

#include <pthread.h>

#include <nng/nng.h>
#include <nng/supplemental/util/platform.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/stack.h"
#include "base/turn.h"
#include "net/sp_endpoints.h"
#include "net/sp_places.h"
#include "net/sp_reader.h"

#define ROUND_MESSAGES 64 /* of one connection, while others wait */
#define CLOSE_WAIT_NS  (2 * SPR_NS_PER_S)

typedef struct receive receive;
typedef struct connection connection;

struct connection {
	/* constant after start */
	spr_pull *pull;
	receive *receive;
	spr_sp_endpoint *endpoint;
	nng_stream *stream;
	spr_sp_reader *reader;
	spr_sp_place place;

	spr_stack_entry ready;
	uint64_t read_ns; /* when the last read ended; published by ready */

	connection *next_ready;  /* with the receive's turn */
	connection *next, *prev; /* guarded by the pull's mutex */
};

struct receive {
	/* constant after open */
	_Alignas(SPR_CACHELINE) spr_pull *pull;
	unsigned index;
	nng_aio *rearm; /* takes a rearm to a thread of nng's */

	spr_stack ready;
	_Alignas(SPR_CACHELINE) spr_turn turn; /* kept while parked */

	/* with the turn */
	connection *head, *tail;
	unsigned n_served; /* messages of the first one in this round */

	unsigned n_connections; /* guarded by the pull's mutex */
};

struct spr_pull {
	/* constant after open, listen, dial */
	spr_pull_config config;
	receive *receives;
	spr_sp_endpoints endpoints;
	spr_sp_places places;

	atomic_bool is_stopping;
	atomic_uint n_connections;
	atomic_uint n_inside; /* callbacks that are running: stop waits for their end */

	/* guarded by mutex; a reader's is taken inside it */
	pthread_mutex_t mutex;
	connection *connections;
};

/* ---- a connection's life ---- */

static receive *
least_used(spr_pull *pull)
{
	receive *least = &pull->receives[0];

	for (unsigned i = 1; i < pull->config.receives; i++) {
		if (pull->receives[i].n_connections < least->n_connections)
			least = &pull->receives[i];
	}
	return (least);
}

static void
link_connection(spr_pull *pull, connection *c)
{
	pthread_mutex_lock(&pull->mutex);
	c->receive = least_used(pull);
	c->receive->n_connections++;
	if ((c->next = pull->connections) != NULL)
		c->next->prev = c;
	pull->connections = c;
	pthread_mutex_unlock(&pull->mutex);
}

static void
unlink_connection(spr_pull *pull, connection *c)
{
	pthread_mutex_lock(&pull->mutex);
	c->receive->n_connections--;
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		pull->connections = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	pthread_mutex_unlock(&pull->mutex);
}

/* Its reader has met the end, or nobody drives it any more. */
static void
end_connection(connection *c)
{
	spr_pull *pull = c->pull;
	spr_sp_endpoint *endpoint = c->endpoint;

	spr_sp_places_leave(&pull->places, &c->place); /* from here on nobody cuts it */
	unlink_connection(pull, c);
	spr_sp_reader_free(c->reader);
	nng_stream_close(c->stream);
	nng_stream_free(c->stream);
	spr_mem_free(c);
	if (pull->config.pipes.on_pipe != NULL)
		pull->config.pipes.on_pipe(pull->config.pipes.arg, -1);
	spr_sp_endpoint_lost(endpoint);
	/* release: close frees pull and endpoint when it reads 0 */
	atomic_fetch_sub_explicit(&pull->n_connections, 1, memory_order_release);
}

/* ---- with the turn of a receive ---- */

static void
append_ready(receive *self, connection *c)
{
	c->next_ready = NULL;
	if (self->tail != NULL)
		self->tail->next_ready = c;
	else
		self->head = c;
	self->tail = c;
}

static void
take_ready(receive *self)
{
	spr_stack_entry *entry, *next;

	for (entry = spr_mailbox_pop_all(&self->ready); entry != NULL; entry = next) {
		next = spr_stack_next(entry);
		append_ready(self, SPR_STACK_CONTAINER(entry, connection, ready));
	}
}

/* The first one's round is over. */
static connection *
take_first(receive *self)
{
	connection *c = self->head;

	if ((self->head = c->next_ready) == NULL)
		self->tail = NULL;
	self->n_served = 0;
	return (c);
}

/* One step with the first connection. False: parked, and the receive is no longer the caller's. */
static bool
serve(receive *self)
{
	spr_pull *pull = self->pull;
	connection *c = self->head;
	unsigned index = self->index;
	spr_buf *buf;

	switch (spr_sp_reader_next(c->reader, c->read_ns, &buf)) {
	case SPR_SP_FOUND_MESSAGE:
		if (spr_sp_reader_count(c->reader) == 1)
			spr_sp_places_speak(&pull->places, &c->place);
		if (++self->n_served == ROUND_MESSAGES)
			append_ready(self, take_first(self));
		return (pull->config.on_receive(pull->config.arg, index, buf));
	case SPR_SP_FOUND_NOTHING:
		take_first(self);
		if (!spr_sp_reader_read(c->reader))
			append_ready(self, c); /* it was cut: the next look says so */
		return (true);
	case SPR_SP_FOUND_END:
		end_connection(take_first(self));
		return (true);
	}
	return (true);
}

static bool
is_stopping(spr_pull *pull)
{
	/* seq_cst: a callback comes in, then reads this; stop sets this, then looks who is inside: one sees the other */
	return (atomic_load_explicit(&pull->is_stopping, memory_order_seq_cst));
}

/* The caller has the turn. */
static void
run(receive *self)
{
	spr_pull *pull = self->pull;

	do {
		for (;;) {
			if (self->n_served == 0)
				take_ready(self);
			if (self->head == NULL)
				break;
			/* the turn is kept: the rest is close's */
			if (is_stopping(pull) || !serve(self))
				return;
		}
	} while (spr_turn_give_back(&self->turn) && spr_turn_take(&self->turn));
}

/* ---- nng's callbacks ---- */

static void
come_in(spr_pull *pull)
{
	/* seq_cst: see is_stopping */
	atomic_fetch_add_explicit(&pull->n_inside, 1, memory_order_seq_cst);
}

/* The last thing a callback does with pull. */
static void
go_out(spr_pull *pull)
{
	/* release: pairs with the acquire in spr_sp_pull_stop */
	atomic_fetch_sub_explicit(&pull->n_inside, 1, memory_order_release);
}

static void
on_read(void *arg)
{
	connection *c = arg;
	spr_pull *pull = c->pull;
	receive *self = c->receive;

	come_in(pull);
	c->read_ns = spr_clock_now_ns();
	spr_mailbox_push(&self->ready, &c->ready); /* E2: whoever has the turn may end it */
	if (!is_stopping(pull) && spr_turn_take(&self->turn))
		run(self);
	go_out(pull);
}

static void
on_rearm(void *arg)
{
	receive *self = arg;
	spr_pull *pull = self->pull;

	come_in(pull);
	if (nng_aio_result(self->rearm) == 0 && !is_stopping(pull))
		run(self);
	go_out(pull);
}

static void
cut(spr_sp_place *place)
{
	connection *c = SPR_STACK_CONTAINER(place, connection, place);

	(void)spr_sp_reader_cut(c->reader);
}

static void
on_stream(void *arg, spr_sp_endpoint *endpoint, nng_stream *stream)
{
	spr_pull *pull = arg;
	connection *c = spr_mem_zalloc(sizeof(*c));
	const spr_sp_reader_config config = {
	    .stream = stream,
	    .is_ipc = spr_sp_endpoint_is_ipc(endpoint),
	    .is_tls = spr_sp_endpoint_is_tls(endpoint),
	    .max_message = pull->config.max_message,
	    .limit_name = "--max-message",
	    .on_read = on_read,
	    .arg = c,
	};

	if (c == NULL || spr_sp_reader_new(&c->reader, &config) != SPR_OK ||
	    !spr_sp_places_enter(&pull->places, &c->place, cut, spr_sp_reader_peer(c->reader))) {
		if (c != NULL)
			spr_sp_reader_free(c->reader);
		spr_mem_free(c);
		nng_stream_close(stream);
		nng_stream_free(stream);
		spr_sp_endpoint_lost(endpoint);
		return;
	}
	c->pull = pull;
	c->endpoint = endpoint;
	c->stream = stream;
	/* relaxed: close reads it when no stream comes any more */
	atomic_fetch_add_explicit(&pull->n_connections, 1, memory_order_relaxed);
	link_connection(pull, c);
	if (pull->config.pipes.on_pipe != NULL)
		pull->config.pipes.on_pipe(pull->config.pipes.arg, 1);
	if (!spr_sp_reader_read(c->reader))
		on_read(c); /* cut already */
}

/* ---- the table's functions ---- */

static spr_err
open_receives(spr_pull *pull)
{
	unsigned n = pull->config.receives;

	if ((pull->receives = spr_mem_zalloc_aligned(n * sizeof(receive))) == NULL)
		return (SPR_E_NOMEM);
	for (unsigned i = 0; i < n; i++) {
		receive *self = &pull->receives[i];

		self->pull = pull;
		self->index = i;
		spr_stack_init(&self->ready);
		(void)spr_turn_take(&self->turn);
		if (nng_aio_alloc(&self->rearm, on_rearm, self) != 0)
			return (SPR_E_NOMEM);
	}
	return (SPR_OK);
}

spr_err
spr_sp_pull_open(spr_pull **out, const spr_pull_config *config)
{
	spr_pull *pull = spr_mem_zalloc(sizeof(*pull));
	spr_err rv;

	if (pull == NULL)
		return (SPR_E_NOMEM);
	pull->config = *config;
	pthread_mutex_init(&pull->mutex, NULL);
	spr_sp_places_init(&pull->places, config->socket);
	if ((rv = open_receives(pull)) != SPR_OK) {
		spr_sp_pull_close(pull);
		return (rv);
	}
	*out = pull;
	return (SPR_OK);
}

static spr_err
add_endpoint(spr_pull *pull, const char *url, char *bound)
{
	const spr_sp_endpoint_config config = {
	    .protocol = SPR_SP_PULL, .peer = SPR_SP_PUSH, .on_stream = on_stream, .arg = pull};

	return (spr_sp_endpoints_add(&pull->endpoints, &config, url, bound));
}

spr_err
spr_sp_pull_listen(spr_pull *pull, const char *url, char *bound)
{
	return (add_endpoint(pull, url, bound));
}

spr_err
spr_sp_pull_dial(spr_pull *pull, const char *url)
{
	return (add_endpoint(pull, url, NULL));
}

void
spr_sp_pull_start(spr_pull *pull)
{
	for (unsigned i = 0; i < pull->config.receives; i++)
		spr_sp_pull_rearm(pull, i);
}

void
spr_sp_pull_rearm(spr_pull *pull, unsigned index)
{
	nng_aio *aio = pull->receives[index].rearm;

	/* an operation that is over at once: its callback runs on a thread of nng's. Not on a stopped one: then it is late */
	if (nng_aio_begin(aio))
		nng_aio_finish(aio, 0);
}

void
spr_sp_pull_stop(spr_pull *pull)
{
	/* seq_cst: see is_stopping */
	atomic_store_explicit(&pull->is_stopping, true, memory_order_seq_cst);
	for (unsigned i = 0; pull->receives != NULL && i < pull->config.receives; i++) {
		if (pull->receives[i].rearm != NULL)
			nng_aio_stop(pull->receives[i].rearm);
	}
	/* seq_cst: see is_stopping; and acquire of what they did */
	while (atomic_load_explicit(&pull->n_inside, memory_order_seq_cst) > 0)
		nng_msleep(1);
}

/* Nobody serves any more and no stream comes: main is the driver of all that are ready, and a cut makes the others so. */
static void
close_connections(spr_pull *pull)
{
	uint64_t deadline_ns = spr_clock_now_ns() + CLOSE_WAIT_NS;

	pthread_mutex_lock(&pull->mutex);
	for (connection *c = pull->connections; c != NULL; c = c->next)
		(void)spr_sp_reader_cut(c->reader);
	pthread_mutex_unlock(&pull->mutex);
	for (;;) {
		for (unsigned i = 0; pull->receives != NULL && i < pull->config.receives; i++) {
			take_ready(&pull->receives[i]);
			while (pull->receives[i].head != NULL)
				end_connection(take_first(&pull->receives[i]));
		}
		/* acquire, both: pairs with the releases in end_connection and go_out */
		if ((atomic_load_explicit(&pull->n_connections, memory_order_acquire) == 0 &&
		     atomic_load_explicit(&pull->n_inside, memory_order_acquire) == 0) ||
		    spr_clock_now_ns() >= deadline_ns)
			return;
		nng_msleep(1);
	}
}

void
spr_sp_pull_close(spr_pull *pull)
{
	if (pull == NULL)
		return;
	spr_sp_pull_stop(pull);
	spr_sp_endpoints_stop(&pull->endpoints);
	close_connections(pull);
	spr_sp_endpoints_fini(&pull->endpoints);
	for (unsigned i = 0; pull->receives != NULL && i < pull->config.receives; i++) {
		if (pull->receives[i].rearm != NULL)
			nng_aio_free(pull->receives[i].rearm);
	}
	pthread_mutex_destroy(&pull->mutex);
	spr_sp_places_fini(&pull->places);
	spr_mem_free(pull->receives);
	spr_mem_free(pull);
}
