/*
 * ep_endpoint - accept or dial, then eight bytes each way.
 *
 * Listening and dialling happen on one loop, the address's home; a handshake on the loop that will own the connection.
 * Timers only post tasks to the home loop, or shut a descriptor down: its loop then finds the connection at its end. So a
 * connection is closed by its own loop alone, and cut by anybody.
 *
 * Every new connection has a record of its own until it is given out, so a peer that says nothing holds up nobody else, and
 * one that hangs up in the middle costs only itself. When too many are shaking hands the oldest is cut.
 */
#include "net/ep_endpoint.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/ep_listener.h"
#include "net/ep_socket.h"
#include "net/sp_wire.h"
#include "net/timer.h"

#define HANDSHAKE_MS   10000
#define HANDSHAKES_MAX 256 /* at once */
#define ACCEPTS_MAX    64  /* in a row, before other descriptors have their turn */
#define PAUSE_MIN_MS   10  /* behind an accept that failed: doubled each time */
#define PAUSE_MAX_MS   640
#define FAILURES_MAX   8    /* accepts in a row, until the listener counts as dead */
#define WATCH_MS       2000 /* between two looks at a path */
#define DIAL_MIN_MS    20
#define DIAL_MAX_MS    2000

typedef struct handshake handshake;
struct handshake {
	spr_ep_watch watch;
	spr_ep_endpoint *endpoint;
	spr_ep_loop *loop;
	spr_peer peer;
	spr_timer deadline;

	/* the loop's */
	bool is_connecting;
	unsigned n_done;
	uint8_t bytes[SPR_SP_GREETING_BYTES];

	/* guarded by the endpoint's mutex */
	bool is_cut;
	handshake *newer, *older;
};

struct spr_ep_endpoint {
	/* constant after add */
	spr_ep_endpoint_config config;
	spr_ep_endpoint *next;
	spr_ep_loop *home;
	bool is_listening, is_name;
	char url[SPR_URL_MAX];
	spr_ep_address address; /* a dialler's */
	unsigned max_handshakes;

	spr_timer pause; /* before the next dial, or accept */
	spr_timer look;
	spr_ep_task again;  /* posted by pause */
	spr_ep_task looked; /* posted by look */

	/* the home loop's; a dialler's are also its connection's loop's, which is the same */
	spr_ep_listener listener;
	spr_ep_watch accepting;
	bool is_accepting;
	unsigned pause_ms, n_failures;
	unsigned dial_ms;
	struct addrinfo *addresses, *at; /* at: to be dialled next; NULL: from the start */
	spr_ep_lookup *lookup;
	spr_ep_task resolved; /* posted by lookup */

	/* guarded by mutex, which is taken alone but for the timers' inside */
	pthread_mutex_t mutex;
	handshake *oldest, *newest;
	unsigned n_handshakes;
};

static void dial(spr_ep_endpoint *self);

static spr_ep_loop *
least_used(const spr_ep_endpoint *self)
{
	spr_ep_loop *least = self->config.loops[0];

	for (unsigned i = 1; i < self->config.n_loops; i++) {
		if (spr_ep_loop_watches(self->config.loops[i]) < spr_ep_loop_watches(least))
			least = self->config.loops[i];
	}
	return (least);
}

/* ---- the list of handshakes; the mutex is held in all that end in _locked ---- */

static void
unlink_locked(handshake *h)
{
	spr_ep_endpoint *self = h->endpoint;

	if (h->older != NULL)
		h->older->newer = h->newer;
	else
		self->oldest = h->newer;
	if (h->newer != NULL)
		h->newer->older = h->older;
	else
		self->newest = h->older;
	if (!h->is_cut)
		self->n_handshakes--;
}

/* Its loop will find it at its end. */
static void
cut_locked(handshake *h)
{
	h->is_cut = true;
	h->endpoint->n_handshakes--;
	(void)shutdown(h->watch.fd, SHUT_RDWR);
}

static void
cut_oldest_locked(spr_ep_endpoint *self)
{
	handshake *h = self->oldest;

	while (h != NULL && h->is_cut)
		h = h->newer;
	if (h != NULL)
		cut_locked(h);
}

static void
on_deadline(void *arg)
{
	handshake *h = arg;

	pthread_mutex_lock(&h->endpoint->mutex);
	if (!h->is_cut)
		cut_locked(h);
	pthread_mutex_unlock(&h->endpoint->mutex);
}

static void
link_handshake(handshake *h)
{
	spr_ep_endpoint *self = h->endpoint;

	pthread_mutex_lock(&self->mutex);
	if (self->n_handshakes >= self->max_handshakes)
		cut_oldest_locked(self);
	if ((h->older = self->newest) != NULL)
		h->older->newer = h;
	else
		self->oldest = h;
	self->newest = h;
	self->n_handshakes++;
	pthread_mutex_unlock(&self->mutex);
	spr_timer_arm(&h->deadline, HANDSHAKE_MS);
}

/* From here on nobody cuts it. */
static bool
was_cut(handshake *h)
{
	spr_ep_endpoint *self = h->endpoint;
	bool is_cut;

	spr_timer_stop(&h->deadline);
	pthread_mutex_lock(&self->mutex);
	unlink_locked(h);
	is_cut = h->is_cut;
	pthread_mutex_unlock(&self->mutex);
	return (is_cut);
}

/* ---- a handshake ---- */

/* Full jitter: peers that were lost together do not come back together. */
static void
dial_later(spr_ep_endpoint *self)
{
	unsigned number = 0, ms = self->dial_ms;

	(void)!getrandom(&number, sizeof(number), GRND_NONBLOCK);
	self->dial_ms = ms * 2 < DIAL_MAX_MS ? ms * 2 : DIAL_MAX_MS;
	spr_timer_arm(&self->pause, number % (ms + 1)); /* last: then it is the home loop's again */
}

/* A dialler has other addresses of a name to try at once, or waits. */
static void
dial_failed(spr_ep_endpoint *self)
{
	if (self->at != NULL)
		spr_ep_loop_post(self->home, &self->again);
	else
		dial_later(self);
}

static void
end_handshake(handshake *h, bool is_done)
{
	spr_ep_endpoint *self = h->endpoint;

	if (was_cut(h))
		is_done = false;
	if (is_done) {
		if (!self->is_listening)
			self->dial_ms = DIAL_MIN_MS;
		self->config.on_stream(self->config.arg, self, h->loop, h->watch.fd, &h->peer);
	} else {
		close(h->watch.fd);
		if (!self->is_listening)
			dial_failed(self);
	}
	spr_mem_free(h);
}

static void
leave_loop(handshake *h, bool is_done)
{
	spr_ep_loop_unwatch(h->loop, &h->watch);
	end_handshake(h, is_done);
}

/* Nothing was sent before, so there is room for eight bytes, or the connection is of no use. */
static bool
greet(const handshake *h)
{
	uint8_t greeting[SPR_SP_GREETING_BYTES];

	spr_sp_write_greeting(greeting, h->endpoint->config.protocol);
	return (send(h->watch.fd, greeting, sizeof(greeting), MSG_NOSIGNAL) ==
		(ssize_t)sizeof(greeting));
}

static void
on_connected(handshake *h)
{
	int cause = 0;
	socklen_t len = sizeof(cause);

	(void)getsockopt(h->watch.fd, SOL_SOCKET, SO_ERROR, &cause, &len);
	if (cause != 0) {
		leave_loop(h, false);
		return;
	}
	h->is_connecting = false;
	h->peer = spr_ep_socket_peer(h->watch.fd);
	if (!greet(h))
		leave_loop(h, false);
	else
		spr_ep_loop_change(h->loop, &h->watch, EPOLLIN);
}

static void
on_ready(spr_ep_watch *watch, uint32_t events)
{
	handshake *h = SPR_STACK_CONTAINER(watch, handshake, watch);
	uint8_t expected[SPR_SP_GREETING_BYTES];
	ssize_t n;

	(void)events;
	if (h->is_connecting) {
		on_connected(h);
		return;
	}
	n = recv(watch->fd, h->bytes + h->n_done, sizeof(h->bytes) - h->n_done, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		leave_loop(h, false);
		return;
	}
	if ((h->n_done += (unsigned)n) < sizeof(h->bytes))
		return;
	spr_sp_write_greeting(expected, h->endpoint->config.peer);
	leave_loop(h, memcmp(expected, h->bytes, sizeof(expected)) == 0);
}

/* Takes fd over, whatever becomes of it. The last step may hand the record to another thread. */
static void
begin_handshake(spr_ep_endpoint *self, spr_ep_loop *loop, int fd, bool is_connecting)
{
	handshake *h = spr_mem_zalloc(sizeof(*h));

	if (h == NULL) {
		close(fd);
		if (!self->is_listening)
			dial_later(self);
		return;
	}
	h->watch = (spr_ep_watch){.fd = fd, .on_ready = on_ready};
	h->endpoint = self;
	h->loop = loop;
	h->is_connecting = is_connecting;
	spr_timer_init(&h->deadline, on_deadline, h);
	link_handshake(h);
	if (!is_connecting)
		h->peer = spr_ep_socket_peer(fd);
	if ((!is_connecting && !greet(h)) ||
	    spr_ep_loop_watch(loop, &h->watch, is_connecting ? EPOLLOUT : EPOLLIN) != SPR_OK)
		end_handshake(h, false);
}

/* ---- listening ---- */

static void
stop_accepting(spr_ep_endpoint *self)
{
	if (self->is_accepting)
		spr_ep_loop_unwatch(self->home, &self->accepting);
	self->is_accepting = false;
}

/* Out of descriptors, say: in a hurry nothing gets better. */
static void
accept_later(spr_ep_endpoint *self, int cause)
{
	if (cause != EMFILE && cause != ENFILE && cause != ENOBUFS && cause != ENOMEM)
		self->n_failures++; /* those are not the listener's */
	stop_accepting(self);
	spr_timer_arm(&self->pause, self->pause_ms);
	self->pause_ms = self->pause_ms * 2 < PAUSE_MAX_MS ? self->pause_ms * 2 : PAUSE_MAX_MS;
}

static void
go_on_accepting(spr_ep_endpoint *self)
{
	if (self->is_accepting || self->listener.fd < 0)
		return;
	self->accepting.fd = self->listener.fd;
	if (spr_ep_loop_watch(self->home, &self->accepting, EPOLLIN) == SPR_OK)
		self->is_accepting = true;
	else
		accept_later(self, ENOMEM);
}

static void
on_newcomer(spr_ep_watch *watch, uint32_t events)
{
	spr_ep_endpoint *self = SPR_STACK_CONTAINER(watch, spr_ep_endpoint, accepting);

	(void)events;
	for (unsigned n = 0; n < ACCEPTS_MAX; n++) {
		int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			if (errno != EAGAIN)
				accept_later(self, errno);
			return;
		}
		self->pause_ms = PAUSE_MIN_MS;
		self->n_failures = 0;
		spr_ep_socket_set_up(fd, self->listener.address.family,
				     self->config.user_timeout_ms);
		begin_handshake(self, least_used(self), fd, false);
	}
}

static void
revive(spr_ep_endpoint *self)
{
	spr_err rv;

	stop_accepting(self);
	self->n_failures = 0;
	spr_count(SPR_C_LISTENER_REVIVALS);
	if ((rv = spr_ep_listener_reopen(&self->listener)) == SPR_OK)
		spr_warn("LISTENER-REVIVED",
			 "url=\"%s\" why=\"it took no connections; it was opened anew\"",
			 self->url);
	else
		spr_error("LISTENER-DEAD", "url=\"%s\" why=\"%s; it is tried again\"", self->url,
			  spr_error_text(rv));
	go_on_accepting(self);
}

static void
on_look(void *arg)
{
	spr_ep_endpoint *self = arg;

	spr_ep_loop_post(self->home, &self->looked);
}

static void
look(spr_ep_task *task)
{
	spr_ep_endpoint *self = SPR_STACK_CONTAINER(task, spr_ep_endpoint, looked);

	if (!spr_ep_listener_is_there(&self->listener) || self->n_failures >= FAILURES_MAX)
		revive(self);
	spr_timer_arm_about(&self->look, WATCH_MS);
}

/* ---- dialling ---- */

static void
on_resolved(spr_ep_task *task)
{
	spr_ep_endpoint *self = SPR_STACK_CONTAINER(task, spr_ep_endpoint, resolved);

	spr_ep_addresses_free(self->addresses);
	self->addresses = self->at = spr_ep_lookup_take(self->lookup);
	self->lookup = NULL;
	if (self->at == NULL)
		dial_later(self);
	else
		dial(self);
}

/* The first address of a name is asked for anew each time. */
static void
dial(spr_ep_endpoint *self)
{
	const struct addrinfo *to = self->at;
	bool is_connecting;
	int fd;

	if (to == NULL && self->is_name) {
		self->lookup = spr_ep_lookup_start(&self->address, self->home, &self->resolved);
		if (self->lookup == NULL)
			dial_later(self);
		return;
	}
	if (to == NULL)
		to = self->addresses;
	self->at = to->ai_next;
	fd = spr_ep_socket_connect(to, self->config.user_timeout_ms, &is_connecting);
	if (fd < 0)
		dial_failed(self);
	else
		begin_handshake(self, self->home, fd, is_connecting);
}

static void
on_pause(void *arg)
{
	spr_ep_endpoint *self = arg;

	spr_ep_loop_post(self->home, &self->again);
}

static void
go_on(spr_ep_task *task)
{
	spr_ep_endpoint *self = SPR_STACK_CONTAINER(task, spr_ep_endpoint, again);

	if (self->is_listening)
		go_on_accepting(self);
	else
		dial(self);
}

/* ---- opening and closing ---- */

static spr_err
open_listener(spr_ep_endpoint *self, const char *url, char *bound)
{
	spr_err rv;

	self->is_listening = true;
	if ((rv = spr_ep_listener_open(&self->listener, url)) != SPR_OK)
		return (rv);
	strcpy(self->url, self->listener.bound);
	strcpy(bound, self->url);
	self->accepting.on_ready = on_newcomer;
	spr_timer_arm_about(&self->look, WATCH_MS);
	return (SPR_OK);
}

static spr_err
open_dialler(spr_ep_endpoint *self, const char *url)
{
	const char *why = spr_ep_address_parse(&self->address, url);
	int cause;

	if (why == NULL && self->address.family != AF_UNIX && self->address.host[0] == '\0')
		why = "no host";
	if (why == NULL && self->address.family != AF_UNIX && self->address.port[0] == '0')
		why = "no port";
	if (why != NULL)
		return (spr_fail(SPR_E_ADDRESS, "dial %s: %s; check the URL", url, why));
	strcpy(self->url, url);
	cause = spr_ep_resolve(&self->address, AI_NUMERICHOST, &self->addresses);
	if (cause == EAI_MEMORY)
		return (SPR_E_NOMEM);
	self->is_name = cause != 0;
	return (SPR_OK);
}

static spr_err
open_endpoint(spr_ep_endpoint *self, const spr_ep_endpoint_config *config, const char *url,
	      char *bound)
{
	self->config = *config;
	self->listener.fd = self->listener.path.lock_fd = -1;
	self->max_handshakes =
	    spr_net_max_peers() < HANDSHAKES_MAX ? spr_net_max_peers() : HANDSHAKES_MAX;
	self->pause_ms = PAUSE_MIN_MS;
	self->dial_ms = DIAL_MIN_MS;
	self->again.run = go_on;
	self->looked.run = look;
	self->resolved.run = on_resolved;
	pthread_mutex_init(&self->mutex, NULL);
	spr_timer_init(&self->pause, on_pause, self);
	spr_timer_init(&self->look, on_look, self);
	return (bound != NULL ? open_listener(self, url, bound) : open_dialler(self, url));
}

static void
free_endpoint(spr_ep_endpoint *self)
{
	spr_ep_addresses_free(self->addresses);
	pthread_mutex_destroy(&self->mutex);
	spr_mem_free(self);
	spr_timers_drop();
}

spr_err
spr_ep_endpoints_add(spr_ep_endpoint **list, const spr_ep_endpoint_config *config, const char *url,
		     char *bound)
{
	spr_ep_endpoint *self = spr_mem_zalloc_aligned(sizeof(*self));
	unsigned n = 0;
	spr_err rv;

	if (self == NULL)
		return (SPR_E_NOMEM);
	if ((rv = spr_timers_hold()) != SPR_OK) {
		spr_mem_free(self);
		return (rv);
	}
	for (const spr_ep_endpoint *other = *list; other != NULL; other = other->next)
		n++;
	self->home = config->loops[n % config->n_loops];
	if ((rv = open_endpoint(self, config, url, bound)) != SPR_OK) {
		free_endpoint(self);
		return (rv);
	}
	self->next = *list;
	*list = self;
	spr_ep_loop_post(self->home, &self->again);
	return (SPR_OK);
}

void
spr_ep_endpoint_lost(spr_ep_endpoint *self)
{
	if (!self->is_listening)
		dial_later(self);
}

bool
spr_ep_endpoint_is_ipc(const spr_ep_endpoint *self)
{
	return ((self->is_listening ? &self->listener.address : &self->address)->family == AF_UNIX);
}

/* Its loops have stopped: what is left of it belongs to main. */
static void
stop_endpoint(spr_ep_endpoint *self)
{
	spr_timer_stop(&self->pause);
	spr_timer_stop(&self->look);
	spr_ep_lookup_give_up(self->lookup);
	self->lookup = NULL;
	while (self->oldest != NULL) {
		handshake *h = self->oldest;

		(void)was_cut(h);
		spr_ep_loop_unwatch(h->loop, &h->watch);
		close(h->watch.fd);
		spr_mem_free(h);
	}
	stop_accepting(self);
	spr_ep_listener_close(&self->listener);
}

void
spr_ep_endpoints_stop(spr_ep_endpoint *list)
{
	for (spr_ep_endpoint *self = list; self != NULL; self = self->next)
		stop_endpoint(self);
}

void
spr_ep_endpoints_free(spr_ep_endpoint *list)
{
	spr_ep_endpoint *next;

	for (; list != NULL; list = next) {
		next = list->next;
		free_endpoint(list);
	}
}
