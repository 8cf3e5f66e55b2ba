/*
 * ep_pull - connections are read by the loop that owns them, and what was read is handed on at once.
 *
 *   on_stream --> [loop] on_ready: readv --> spr_ep_reader_next --> on_receive --> ... until all that was read is taken
 *                                                                     | false: parked, in the middle of what was read
 *
 * One read a connection in a round of epoll, so a busy producer does not starve the others. A receive that is parked, or has
 * no memory, reads nothing: what becomes ready meanwhile is taken out of the epoll set, which is cheap as it happens once a
 * connection and pause, and put back when the receive goes on, behind what had been read before. A receive is born parked;
 * start rearms it.
 */
#include "net/ep_pull.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/ep_endpoint.h"
#include "net/ep_reader.h"
#include "net/sp_places.h"
#include "net/sp_wire.h"
#include "net/timer.h"

#define STARVED_MS      10 /* until memory is asked for again */
#define USER_TIMEOUT_MS 10000

typedef struct receive receive;
typedef struct connection connection;

struct connection {
	spr_ep_watch watch;
	/* constant after on_stream */
	receive *receive;
	spr_ep_endpoint *endpoint;
	spr_sp_place place;
	/* the loop's */
	spr_ep_reader reader;
	bool is_aside; /* out of the epoll set while its receive is held */
	connection *next_aside;
	connection *next, *prev;
};

struct receive {
	/* constant after open */
	spr_pull *pull;
	unsigned index;
	spr_ep_loop *loop;

	spr_ep_task rearm; /* posted by whoever rearms */
	spr_ep_task fed;   /* posted by hunger: memory is asked for again */
	spr_timer hunger;

	/* the loop's, main's when it has stopped */
	spr_ep_slabs *slabs;
	bool is_parked, is_starved;
	connection *current; /* has been read from, and not all of it is taken */
	uint64_t read_ns;    /* when */
	unsigned n_taken;    /* messages of it */
	connection *aside;
	connection *connections;
};

struct spr_pull {
	/* constant after open, listen, dial */
	spr_pull_config config;
	receive *receives;
	spr_ep_loop **loops;
	spr_ep_endpoint *endpoints;
	spr_sp_places places;
};

/* ---- a connection's life ---- */

static void
link_connection(receive *self, connection *c)
{
	if ((c->next = self->connections) != NULL)
		c->next->prev = c;
	self->connections = c;
}

static void
unlink_connection(receive *self, connection *c)
{
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		self->connections = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
}

static void
take_from_aside(connection *c)
{
	connection **at = &c->receive->aside;

	while (*at != c)
		at = &(*at)->next_aside;
	*at = c->next_aside;
}

static void
end_connection(connection *c)
{
	spr_pull *pull = c->receive->pull;
	spr_ep_endpoint *endpoint = c->endpoint;

	spr_sp_places_leave(&pull->places, &c->place); /* from here on nobody cuts it */
	unlink_connection(c->receive, c);
	if (c->is_aside)
		take_from_aside(c);
	else
		spr_ep_loop_unwatch(c->receive->loop, &c->watch);
	close(c->watch.fd);
	spr_ep_reader_fini(&c->reader);
	spr_mem_free(c);
	if (pull->config.pipes.on_pipe != NULL)
		pull->config.pipes.on_pipe(pull->config.pipes.arg, -1);
	spr_ep_endpoint_lost(endpoint);
}

/* ---- on the loop of a receive ---- */

static bool
is_held(const receive *self)
{
	return (self->is_parked || self->is_starved);
}

static void
starve(receive *self)
{
	self->is_starved = true;
	spr_timer_arm(&self->hunger, STARVED_MS);
}

/* What was read from the current connection, until nothing is left of it or the receive is held. */
static void
serve(receive *self)
{
	spr_pull *pull = self->pull;
	connection *c = self->current;
	spr_buf *buf;

	for (;;) {
		switch (spr_ep_reader_next(&c->reader, self->read_ns, &buf)) {
		case SPR_EP_FOUND_MESSAGE:
			if (c->reader.n_found == 1)
				spr_sp_places_speak(&pull->places, &c->place);
			self->n_taken++;
			if (pull->config.on_receive(pull->config.arg, self->index, buf))
				continue;
			self->is_parked = true;
			return;
		case SPR_EP_FOUND_STARVED:
			starve(self);
			return;
		case SPR_EP_FOUND_NOTHING:
			self->current = NULL;
			return;
		case SPR_EP_FOUND_END:
			self->current = NULL;
			end_connection(c);
			return;
		}
	}
}

/* It is not watched, and looked at again when the receive goes on. */
static void
put_aside(connection *c)
{
	c->is_aside = true;
	c->next_aside = c->receive->aside;
	c->receive->aside = c;
}

static void
on_ready(spr_ep_watch *watch, uint32_t events)
{
	connection *c = SPR_STACK_CONTAINER(watch, connection, watch);
	receive *self = c->receive;
	struct iovec iov[2];
	unsigned n_parts = 0;
	ssize_t n;

	(void)events;
	if (!is_held(self) && (n_parts = spr_ep_reader_room(&c->reader, iov)) == 0)
		starve(self);
	if (is_held(self)) {
		spr_ep_loop_unwatch(self->loop, watch);
		put_aside(c);
		return;
	}
	n = readv(watch->fd, iov, (int)n_parts);
	if (n > 0) {
		self->read_ns = spr_clock_now_ns();
		self->current = c;
		self->n_taken = 0;
		spr_ep_reader_took(&c->reader, (size_t)n);
		serve(self);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		end_connection(c);
	}
}

/* The receive goes on where it stopped, unless it is held for another reason. */
static void
go_on(receive *self)
{
	connection *c;

	if (!is_held(self) && self->current != NULL)
		serve(self);
	if (is_held(self))
		return;
	while ((c = self->aside) != NULL) {
		if (spr_ep_loop_watch(self->loop, &c->watch, EPOLLIN) != SPR_OK) {
			starve(self); /* the kernel is short of memory */
			return;
		}
		self->aside = c->next_aside;
		c->is_aside = false;
	}
}

static void
on_rearm(spr_ep_task *task)
{
	receive *self = SPR_STACK_CONTAINER(task, receive, rearm);

	self->is_parked = false;
	go_on(self);
}

static void
on_fed(spr_ep_task *task)
{
	receive *self = SPR_STACK_CONTAINER(task, receive, fed);

	self->is_starved = false;
	go_on(self);
}

static void
on_hunger(void *arg)
{
	receive *self = arg;

	spr_ep_loop_post(self->loop, &self->fed);
}

/* Its loop finds it at its end. */
static void
cut(spr_sp_place *place)
{
	connection *c = SPR_STACK_CONTAINER(place, connection, place);

	(void)shutdown(c->watch.fd, SHUT_RDWR);
}

static receive *
receive_of(spr_pull *pull, const spr_ep_loop *loop)
{
	receive *self = pull->receives;

	while (self->loop != loop)
		self++;
	return (self);
}

static void
on_stream(void *arg, spr_ep_endpoint *endpoint, spr_ep_loop *loop, int fd, const spr_peer *peer)
{
	spr_pull *pull = arg;
	receive *self = receive_of(pull, loop);
	connection *c = spr_mem_zalloc(sizeof(*c));

	if (c != NULL)
		c->watch.fd = fd;
	if (c == NULL || !spr_sp_places_enter(&pull->places, &c->place, cut, peer)) {
		spr_mem_free(c);
		close(fd);
		spr_ep_endpoint_lost(endpoint);
		return;
	}
	c->watch.on_ready = on_ready;
	c->receive = self;
	c->endpoint = endpoint;
	spr_ep_reader_init(&c->reader, self->slabs, peer, spr_ep_endpoint_is_ipc(endpoint),
			   pull->config.max_message, "--max-message");
	link_connection(self, c);
	if (pull->config.pipes.on_pipe != NULL)
		pull->config.pipes.on_pipe(pull->config.pipes.arg, 1);
	if (spr_ep_loop_watch(loop, &c->watch, EPOLLIN) != SPR_OK) {
		put_aside(c);
		end_connection(c);
	}
}

/* ---- the table's functions ---- */

static unsigned
max_slabs(const spr_pull_config *config)
{
	size_t n = config->max_bytes / config->receives / SPR_EP_SLAB_MEMORY;

	return (n < 2 ? 2 : n < SPR_EP_PULL_SLABS ? (unsigned)n : SPR_EP_PULL_SLABS);
}

static spr_err
open_receive(spr_pull *pull, unsigned index)
{
	receive *self = &pull->receives[index];
	char name[24]; /* at most 15 are used: there are at most 64 receives */
	const spr_ep_loop_config loop = {
	    .name = name, .role = SPR_ROLE_RECEIVER, .spin_ns = pull->config.spin_ns};
	spr_err rv;

	snprintf(name, sizeof(name), "%.8s-%u", pull->config.thread, index);
	self->pull = pull;
	self->index = index;
	self->is_parked = true;
	self->rearm.run = on_rearm;
	self->fed.run = on_fed;
	spr_timer_init(&self->hunger, on_hunger, self);
	if ((rv = spr_ep_slabs_new(&self->slabs, max_slabs(&pull->config))) != SPR_OK ||
	    (rv = spr_ep_loop_start(&self->loop, &loop)) != SPR_OK)
		return (rv);
	pull->loops[index] = self->loop;
	return (SPR_OK);
}

spr_err
spr_ep_pull_open(spr_pull **out, const spr_pull_config *config)
{
	spr_pull *pull = spr_mem_zalloc(sizeof(*pull));
	spr_err rv = SPR_OK;

	if (pull == NULL)
		return (SPR_E_NOMEM);
	pull->config = *config;
	spr_sp_places_init(&pull->places, config->socket);
	pull->receives = spr_mem_zalloc_aligned(config->receives * sizeof(receive));
	pull->loops = spr_mem_zalloc(config->receives * sizeof(spr_ep_loop *));
	if (pull->receives == NULL || pull->loops == NULL || (rv = spr_timers_hold()) != SPR_OK) {
		spr_mem_free(pull->receives);
		spr_mem_free(pull->loops);
		spr_sp_places_fini(&pull->places);
		spr_mem_free(pull);
		return (SPR_E_NOMEM);
	}
	for (unsigned i = 0; rv == SPR_OK && i < config->receives; i++)
		rv = open_receive(pull, i);
	if (rv != SPR_OK) {
		spr_ep_pull_close(pull);
		return (rv);
	}
	*out = pull;
	return (SPR_OK);
}

static spr_err
add_endpoint(spr_pull *pull, const char *url, char *bound)
{
	const spr_ep_endpoint_config config = {
	    .protocol = SPR_SP_PULL,
	    .peer = SPR_SP_PUSH,
	    .loops = pull->loops,
	    .n_loops = pull->config.receives,
	    .user_timeout_ms = USER_TIMEOUT_MS, /* we send nothing that a living peer could leave */
	    .on_stream = on_stream,
	    .arg = pull,
	};

	return (spr_ep_endpoints_add(&pull->endpoints, &config, url, bound));
}

spr_err
spr_ep_pull_listen(spr_pull *pull, const char *url, char *bound)
{
	return (add_endpoint(pull, url, bound));
}

spr_err
spr_ep_pull_dial(spr_pull *pull, const char *url)
{
	return (add_endpoint(pull, url, NULL));
}

void
spr_ep_pull_start(spr_pull *pull)
{
	for (unsigned i = 0; i < pull->config.receives; i++)
		spr_ep_pull_rearm(pull, i);
}

void
spr_ep_pull_rearm(spr_pull *pull, unsigned index)
{
	receive *self = &pull->receives[index];

	spr_ep_loop_post(self->loop, &self->rearm);
}

bool
spr_ep_pull_is_alone(const spr_pull *pull, unsigned index)
{
	const receive *self = &pull->receives[index];

	return (self->n_taken == 1 && spr_ep_reader_is_empty(&self->current->reader) &&
		!spr_ep_loop_has_more(self->loop));
}

void
spr_ep_pull_stop(spr_pull *pull)
{
	for (unsigned i = 0; i < pull->config.receives; i++)
		spr_ep_loop_stop(pull->receives[i].loop);
}

void
spr_ep_pull_close(spr_pull *pull)
{
	if (pull == NULL)
		return;
	spr_ep_pull_stop(pull);
	spr_ep_endpoints_stop(pull->endpoints);
	for (unsigned i = 0; i < pull->config.receives; i++) {
		receive *self = &pull->receives[i];

		spr_timer_stop(&self->hunger);
		while (self->connections != NULL)
			end_connection(self->connections);
		spr_ep_slabs_free(self->slabs);
		spr_ep_loop_free(self->loop);
	}
	spr_ep_endpoints_free(pull->endpoints);
	spr_sp_places_fini(&pull->places);
	spr_timers_drop();
	spr_mem_free(pull->receives);
	spr_mem_free(pull->loops);
	spr_mem_free(pull);
}
