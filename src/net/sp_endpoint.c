/*
 * sp_endpoint - accept or dial, then eight bytes each way.
 *
 * Every stream has a handshake record of its own until it is given out, so a peer that says nothing holds up nobody else,
 * and a connection that is closed in the middle costs only itself. When too many are shaking hands the oldest is cut.
 *
 * A listener is looked at every WATCH_MS: is the path still ours, do accepts fail, and, when nobody has come since the last
 * look, does a connection of our own get through (sp_listener.h)? While those do and nobody else comes, only every fourth look tries
 * one, so that an idle daemon sleeps. A listener that fails is closed and opened anew by the thread that accepts, between two
 * accepts.
 *
 * TLS: nng begins its handshake with our first operation, and while that waits for the peer's part of it an abort of the
 * operation is not heard. So what is shaking hands over TLS is cut by closing its stream, which for these streams, unlike
 * the others, is safe at any moment. Between two accepts, or dials, the certificates are looked at, and replaced when
 * others have been loaded. An accept that is out has the old ones, so the load ends it: whoever connects behind a load is shown
 * the new ones.
 */
#include "net/sp_endpoint.h"

#include <stdio.h>
#include <string.h>

#include <nng/nng.h>
#include <nng/supplemental/util/platform.h>

#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/sp_listener.h"
#include "net/timer.h"
#include "net/tls.h"

#define HANDSHAKE_MS   10000
#define PAUSE_MIN_MS   10 /* behind an accept that failed: doubled each time */
#define PAUSE_MAX_MS   640
#define WATCH_MS       2000 /* and so revivals are this far apart at least */
#define PROBE_RESTS    3 /* looks without a probe, while probes get through and nobody else comes */
#define FAILURES_MAX   8 /* accepts in a row, until the listener counts as dead */
#define HANDSHAKES_MAX 256 /* at once */
#define DIAL_MIN_MS    20
#define DIAL_MAX_MS    2000

typedef struct handshake handshake;
struct handshake {
	spr_sp_endpoint *endpoint;
	nng_stream *stream; /* set to NULL under the mutex */
	nng_aio *aio;
	spr_timer deadline;
	bool is_reading;
	unsigned n_done;
	bool is_taken; /* by stop; guarded by the mutex, as what follows */
	bool is_cut;
	uint8_t bytes[SPR_SP_GREETING_BYTES];
	handshake *newer, *older;
};

struct spr_sp_endpoint {
	/* constant after open */
	spr_sp_endpoint_config config;
	bool is_listening;
	nng_stream_dialer *dialer;
	nng_aio *aio;
	spr_timer pause, watch; /* the watch is a listener's */
	bool is_ipc, is_tls;
	spr_tls_watcher watcher; /* a listener's */
	char url[SPR_URL_MAX];
	unsigned max_handshakes;

	/* one step at a time: nng's locks hand it on */
	unsigned dial_ms, pause_ms;
	unsigned tls_generation; /* the dialler's */

	/* the watch's */
	uint64_t n_accepted_before;
	unsigned n_rests; /* looks that need no probe */
	bool is_probing;  /* since the last look */

	/* guarded by mutex, which is taken alone but for what nng takes inside */
	pthread_mutex_t mutex;
	spr_sp_listener *listener;
	handshake *oldest, *newest;
	unsigned n_handshakes; /* without those that are cut */
	uint64_t n_accepted;
	unsigned n_failures; /* accepts in a row */
	bool wants_revival, is_stopping;
};

/* Nothing is under way: of a listener that is being accepted from nng would read what is replaced. A listener's mutex is held. */
static spr_err
renew_certificates(spr_sp_endpoint *self, bool *was_stale)
{
	*was_stale = false;
	if (!self->is_listening)
		return (spr_tls_renew_dialer(self->dialer, self->url, &self->tls_generation));
	*was_stale = spr_sp_listener_is_stale(self->listener);
	return (spr_sp_listener_renew(self->listener));
}

/* Under the mutex from the look to the accept: a load meets an accept that it can end, or is met by the look. */
static void
next_secure_stream(spr_sp_endpoint *self)
{
	bool was_stale;
	spr_err rv;

	pthread_mutex_lock(&self->mutex);
	rv = renew_certificates(self, &was_stale);
	if (self->is_listening)
		nng_stream_listener_accept(spr_sp_listener_stream(self->listener), self->aio);
	else
		nng_stream_dialer_dial(self->dialer, self->aio);
	pthread_mutex_unlock(&self->mutex);
	if (rv != SPR_OK)
		spr_error("CERTIFICATE-KEPT", "url=\"%s\" why=\"%s; the one before stays\"",
			  self->url, spr_error_text(rv));
	else if (was_stale)
		spr_info("CERTIFICATE-RENEWED", "url=\"%s\"", self->url);
}

static void
next_stream(spr_sp_endpoint *self)
{
	if (self->is_tls)
		next_secure_stream(self);
	else if (self->is_listening)
		/* nobody replaces it but this thread */
		nng_stream_listener_accept(spr_sp_listener_stream(self->listener), self->aio);
	else
		nng_stream_dialer_dial(self->dialer, self->aio);
}

/* [main] */
static void
on_load(void *arg)
{
	spr_sp_endpoint *self = arg;

	pthread_mutex_lock(&self->mutex);
	nng_aio_abort(self->aio, NNG_ECANCELED);
	pthread_mutex_unlock(&self->mutex);
}

static void
pause_then_next(spr_sp_endpoint *self, unsigned ms)
{
	spr_timer_arm(&self->pause, ms);
}

/* Full jitter: peers that were lost together do not come back together. */
static void
dial_later(spr_sp_endpoint *self)
{
	unsigned ms = nng_random() % (self->dial_ms + 1);

	self->dial_ms = self->dial_ms * 2 < DIAL_MAX_MS ? self->dial_ms * 2 : DIAL_MAX_MS;
	pause_then_next(self, ms);
}

/* The mutex is held. */
static void
unlink_handshake(handshake *h)
{
	spr_sp_endpoint *self = h->endpoint;

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

/* The mutex is held. What has begun ends; what has not does not begin. */
static void
cut_handshake(handshake *h)
{
	h->is_cut = true;
	h->endpoint->n_handshakes--;
	if (!h->endpoint->is_tls)
		nng_aio_abort(h->aio, NNG_ECANCELED);
	else if (h->stream != NULL)
		nng_stream_close(h->stream);
}

/* The mutex is held. */
static void
cut_oldest(spr_sp_endpoint *self)
{
	handshake *h = self->oldest;

	while (h != NULL && h->is_cut)
		h = h->newer;
	if (h != NULL)
		cut_handshake(h);
}

static void
on_deadline(void *arg)
{
	handshake *h = arg;
	spr_sp_endpoint *self = h->endpoint;

	pthread_mutex_lock(&self->mutex);
	if (!h->is_cut && !h->is_taken)
		cut_handshake(h);
	pthread_mutex_unlock(&self->mutex);
}

/* The mutex is held. */
static void
link_handshake(handshake *h)
{
	spr_sp_endpoint *self = h->endpoint;

	if (self->n_handshakes >= self->max_handshakes)
		cut_oldest(self);
	if ((h->older = self->newest) != NULL)
		h->older->newer = h;
	else
		self->oldest = h;
	self->newest = h;
	self->n_handshakes++;
}

/* Its stream was given out or closed. While stop has it, stop frees it. */
static void
end_handshake(handshake *h)
{
	spr_sp_endpoint *self = h->endpoint;
	bool is_taken;

	spr_timer_stop(&h->deadline);
	pthread_mutex_lock(&self->mutex);
	is_taken = h->is_taken;
	if (!is_taken)
		unlink_handshake(h);
	pthread_mutex_unlock(&self->mutex);
	if (is_taken)
		return;
	nng_aio_reap(h->aio); /* this is its callback */
	spr_mem_free(h);
}

/* Whoever gets it is the one to close it, or give it out; NULL: another was faster. */
static nng_stream *
take_stream(handshake *h)
{
	spr_sp_endpoint *self = h->endpoint;
	nng_stream *stream;

	pthread_mutex_lock(&self->mutex);
	stream = h->stream;
	h->stream = NULL;
	pthread_mutex_unlock(&self->mutex);
	return (stream);
}

static void
close_stream(handshake *h)
{
	nng_stream *stream = take_stream(h);

	if (stream == NULL)
		return;
	nng_stream_close(stream);
	nng_stream_free(stream);
}

static void
refuse(handshake *h)
{
	spr_sp_endpoint *self = h->endpoint;

	close_stream(h);
	if (self->dialer != NULL)
		dial_later(self);
	end_handshake(h);
}

static void
move_bytes(handshake *h)
{
	spr_sp_endpoint *self = h->endpoint;
	nng_iov iov = {.iov_buf = h->bytes + h->n_done,
		       .iov_len = SPR_SP_GREETING_BYTES - h->n_done};
	bool is_cut;

	pthread_mutex_lock(&self->mutex);
	is_cut = h->is_cut;
	if (!is_cut) {
		nng_aio_set_iov(h->aio, 1, &iov);
		if (h->is_reading)
			nng_stream_recv(h->stream, h->aio);
		else
			nng_stream_send(h->stream, h->aio);
	}
	pthread_mutex_unlock(&self->mutex);
	if (is_cut)
		refuse(h);
}

static void
on_handshake(void *arg)
{
	handshake *h = arg;
	spr_sp_endpoint *self = h->endpoint;
	uint8_t expected[SPR_SP_GREETING_BYTES];
	nng_stream *stream;

	if (nng_aio_result(h->aio) != 0) {
		refuse(h);
		return;
	}
	h->n_done += (unsigned)nng_aio_count(h->aio);
	if (h->n_done < SPR_SP_GREETING_BYTES || !h->is_reading) {
		if (h->n_done == SPR_SP_GREETING_BYTES) {
			h->is_reading = true;
			h->n_done = 0;
		}
		move_bytes(h);
		return;
	}
	spr_sp_write_greeting(expected, self->config.peer);
	if (memcmp(expected, h->bytes, sizeof(expected)) != 0) {
		refuse(h);
		return;
	}
	if (self->dialer != NULL)
		self->dial_ms = DIAL_MIN_MS;
	stream = take_stream(h);
	self->config.on_stream(self->config.arg, self, stream);
	end_handshake(h);
}

/* False when it cannot be begun: the stream is still the caller's. */
static bool
begin_handshake(spr_sp_endpoint *self, nng_stream *stream)
{
	handshake *h = spr_mem_zalloc(sizeof(*h));

	if (h == NULL || nng_aio_alloc(&h->aio, on_handshake, h) != 0) {
		spr_mem_free(h);
		return (false);
	}
	h->endpoint = self;
	h->stream = stream;
	/* else a small message waits for the acknowledgement of the one before, which may take its system 40 ms */
	if (!self->is_ipc)
		(void)nng_stream_set_bool(stream, NNG_OPT_TCP_NODELAY, true);
	nng_aio_set_timeout(h->aio, NNG_DURATION_INFINITE);
	spr_timer_init(&h->deadline, on_deadline, h);
	pthread_mutex_lock(&self->mutex);
	link_handshake(h);
	spr_timer_arm(&h->deadline, HANDSHAKE_MS);
	pthread_mutex_unlock(&self->mutex);
	spr_sp_write_greeting(h->bytes, self->config.protocol);
	move_bytes(h);
	return (true);
}

/* ---- a listener's life ---- */

/* Between two accepts. False: there is nothing to accept from, until another try. */
static bool
revive(spr_sp_endpoint *self)
{
	spr_err rv = SPR_OK;
	bool is_due, is_open;

	pthread_mutex_lock(&self->mutex);
	if ((is_due = self->wants_revival && !self->is_stopping)) {
		self->n_failures = 0;
		rv = spr_sp_listener_reopen(self->listener);
		self->wants_revival = rv != SPR_OK;
	}
	is_open = spr_sp_listener_stream(self->listener) != NULL;
	pthread_mutex_unlock(&self->mutex);
	if (!is_due)
		return (is_open);
	spr_count(SPR_C_LISTENER_REVIVALS);
	if (rv == SPR_OK)
		spr_warn("LISTENER-REVIVED",
			 "url=\"%s\" why=\"it took no connections; it was opened anew\"",
			 self->url);
	else
		spr_error("LISTENER-DEAD", "url=\"%s\" why=\"%s; it is tried again\"", self->url,
			  spr_error_text(rv));
	return (is_open);
}

/* Is there reason to open it anew? */
static bool
is_dead(spr_sp_endpoint *self)
{
	uint64_t n_came = self->n_accepted - self->n_accepted_before;
	bool came = n_came > 0, was_probing = self->is_probing;

	self->n_accepted_before = self->n_accepted;
	self->is_probing = false;
	if (!spr_sp_listener_is_there(self->listener) || self->n_failures >= FAILURES_MAX ||
	    (was_probing && !came))
		return (true);
	if (came && !was_probing) {
		self->n_rests = 0;
		return (false); /* somebody came: no need to try */
	}
	if (was_probing)
		self->n_rests = n_came == 1 ? PROBE_RESTS : 0; /* nobody but ourselves: no hurry */
	if (self->n_rests > 0) {
		self->n_rests--;
		return (false);
	}
	self->is_probing = self->n_failures == 0; /* not while descriptors are short */
	return (self->is_probing && !spr_sp_listener_probe(self->listener));
}

static void
on_watch(void *arg)
{
	spr_sp_endpoint *self = arg;

	pthread_mutex_lock(&self->mutex);
	if (!self->is_stopping) {
		self->wants_revival = self->wants_revival || is_dead(self);
		/* an accept that is out ends; one that is about to begin is met at the next look */
		if (self->wants_revival)
			nng_aio_abort(self->aio, NNG_ECANCELED);
	}
	pthread_mutex_unlock(&self->mutex);
	spr_timer_arm_about(&self->watch, WATCH_MS);
}

static void
count_accept(spr_sp_endpoint *self, int rv)
{
	pthread_mutex_lock(&self->mutex);
	self->n_accepted += rv == 0;
	if (rv == 0)
		self->n_failures = 0;
	else if (rv != NNG_ENOFILES && rv != NNG_ENOMEM) /* those are not the listener's */
		self->n_failures++;
	pthread_mutex_unlock(&self->mutex);
}

/* Out of descriptors, say: in a hurry nothing gets better. */
static void
accept_later(spr_sp_endpoint *self)
{
	unsigned ms = self->pause_ms;

	self->pause_ms = ms * 2 < PAUSE_MAX_MS ? ms * 2 : PAUSE_MAX_MS;
	pause_then_next(self, ms);
}

static void
go_on(spr_sp_endpoint *self)
{
	if (self->is_listening && !revive(self))
		pause_then_next(self, WATCH_MS);
	else
		next_stream(self);
}

static void
on_pause(void *arg)
{
	go_on(arg);
}

static void
accepted(spr_sp_endpoint *self, int rv)
{
	if (rv == NNG_ECANCELED) { /* by us, or it is the end and nothing begins any more */
		go_on(self);
		return;
	}
	count_accept(self, rv);
	if (rv != 0) {
		accept_later(self);
		return;
	}
	self->pause_ms = PAUSE_MIN_MS;
	go_on(self);
}

static void
limit_unsent(nng_stream *stream)
{
	nng_sockaddr address;

	if (nng_stream_get_addr(stream, NNG_OPT_LOCADDR, &address) == 0)
		spr_nng_limit_unsent(&address);
}

/* A stream came, or it did not. */
static void
on_endpoint(void *arg)
{
	spr_sp_endpoint *self = arg;
	int rv = nng_aio_result(self->aio);
	nng_stream *stream;

	/*
	 * No result is taken for the end: a peer that hangs up and resets makes a dial end with NNG_ECLOSED, because that is
	 * what nng makes of EPIPE. Behind stop nothing begins any more.
	 */
	if (rv == 0) {
		stream = nng_aio_get_output(self->aio, 0);
		if (self->dialer != NULL)
			limit_unsent(stream);
		if (!begin_handshake(self, stream)) {
			nng_stream_close(stream);
			nng_stream_free(stream);
			rv = NNG_ENOMEM;
		}
	}
	if (self->is_listening)
		accepted(self, rv);
	else if (rv != 0)
		dial_later(self);
}

static spr_err
open_listener(spr_sp_endpoint *self, const char *url, char *bound)
{
	spr_err rv;

	self->is_listening = true;
	if ((rv = spr_sp_listener_open(&self->listener, url, bound)) != SPR_OK)
		return (rv);
	snprintf(self->url, sizeof(self->url), "%s", bound);
	if (self->is_tls)
		spr_tls_watch(&self->watcher);
	spr_timer_arm_about(&self->watch, WATCH_MS);
	return (SPR_OK);
}

static spr_err
open_dialer(spr_sp_endpoint *self, const char *url)
{
	bool was_stale;
	int rv;

	if ((rv = nng_stream_dialer_alloc(&self->dialer, url)) != 0)
		return (
		    spr_fail(SPR_E_ADDRESS, "dial %s: %s; check the URL", url, nng_strerror(rv)));
	(void)nng_stream_dialer_set_bool(self->dialer, NNG_OPT_TCP_KEEPALIVE, true);
	snprintf(self->url, sizeof(self->url), "%s", url);
	return (renew_certificates(self, &was_stale));
}

spr_err
spr_sp_endpoint_open(spr_sp_endpoint **out, const spr_sp_endpoint_config *config, const char *url,
		     char *bound)
{
	spr_sp_endpoint *self = spr_mem_zalloc(sizeof(*self));
	spr_err rv = SPR_E_NOMEM;

	if (self == NULL)
		return (SPR_E_NOMEM);
	if (spr_timers_hold() != SPR_OK) {
		spr_mem_free(self);
		return (SPR_E_NOMEM);
	}
	self->config = *config;
	self->dial_ms = DIAL_MIN_MS;
	self->pause_ms = PAUSE_MIN_MS;
	self->max_handshakes =
	    spr_net_max_peers() < HANDSHAKES_MAX ? spr_net_max_peers() : HANDSHAKES_MAX;
	self->is_ipc = strncmp(url, "ipc", 3) == 0 || strncmp(url, "unix", 4) == 0 ||
		       strncmp(url, "abstract", 8) == 0;
	self->is_tls = spr_tls_is_url(url);
	self->watcher = (spr_tls_watcher){.on_load = on_load, .arg = self};
	pthread_mutex_init(&self->mutex, NULL);
	spr_timer_init(&self->pause, on_pause, self);
	spr_timer_init(&self->watch, on_watch, self);
	if (nng_aio_alloc(&self->aio, on_endpoint, self) != 0)
		goto fail;
	nng_aio_set_timeout(self->aio, NNG_DURATION_INFINITE);
	if ((rv = bound != NULL ? open_listener(self, url, bound) : open_dialer(self, url)) !=
	    SPR_OK)
		goto fail;
	next_stream(self);
	*out = self;
	return (SPR_OK);
fail:
	spr_sp_endpoint_free(self);
	return (rv);
}

void
spr_sp_endpoint_lost(spr_sp_endpoint *self)
{
	if (self->dialer != NULL)
		dial_later(self);
}

bool
spr_sp_endpoint_is_ipc(const spr_sp_endpoint *self)
{
	return (self->is_ipc);
}

bool
spr_sp_endpoint_is_tls(const spr_sp_endpoint *self)
{
	return (self->is_tls);
}

/* The next handshake, which is now the caller's; NULL: there is none. */
static handshake *
take_handshake(spr_sp_endpoint *self)
{
	handshake *h;

	pthread_mutex_lock(&self->mutex);
	if ((h = self->oldest) != NULL) {
		unlink_handshake(h);
		h->is_taken = true;
		if (self->is_tls && h->stream != NULL)
			nng_stream_close(h->stream);
	}
	pthread_mutex_unlock(&self->mutex);
	return (h);
}

static void
stop_listener(spr_sp_endpoint *self)
{
	pthread_mutex_lock(&self->mutex);
	self->is_stopping = true; /* it is opened no more */
	pthread_mutex_unlock(&self->mutex);
	spr_timer_stop(&self->watch);
	spr_tls_unwatch(&self->watcher);
	if (self->listener != NULL)
		spr_sp_listener_close(self->listener);
}

void
spr_sp_endpoint_stop(spr_sp_endpoint *self)
{
	handshake *h;

	stop_listener(self);
	spr_timer_stop(&self->pause);
	if (self->dialer != NULL)
		nng_stream_dialer_close(self->dialer);
	if (self->aio != NULL)
		nng_aio_stop(self->aio); /* from here on no handshake begins */
	while ((h = take_handshake(self)) != NULL) {
		/* but for TLS not by closing its stream: nng never ends an operation that begins on a closed one */
		nng_aio_stop(h->aio);
		spr_timer_stop(&h->deadline);
		close_stream(h);
		nng_aio_free(h->aio);
		spr_mem_free(h);
	}
}

void
spr_sp_endpoint_free(spr_sp_endpoint *self)
{
	if (self == NULL)
		return;
	spr_sp_endpoint_stop(self);
	spr_sp_listener_free(self->listener);
	if (self->dialer != NULL)
		nng_stream_dialer_free(self->dialer);
	if (self->aio != NULL)
		nng_aio_free(self->aio);
	pthread_mutex_destroy(&self->mutex);
	spr_mem_free(self);
	spr_timers_drop();
}
