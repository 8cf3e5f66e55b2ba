/*
 * fake_transport - see fake_transport.h.
 *
 * Lanes keep their sends in a list under a mutex, as any transport does; the callbacks run outside it. A receive's armed
 * mark is the one edge between whoever re-arms it and whoever delivers next.
 */
#include "fake_transport.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

typedef struct fake_out {
	struct fake_out *next;
	void *cookie;
	size_t len, made_len;
	bool is_aborted;
	uint8_t bytes[];
} fake_out;

typedef struct fake_buf {
	spr_buf buf;
	uint8_t bytes[];
} fake_buf;

typedef struct fake_receive {
	atomic_bool is_armed;
	atomic_uint n_rearms;
} fake_receive;

struct spr_pull {
	spr_pull_config config;
	atomic_bool is_stopped;
	fake_receive receive[SPR_FAKE_RECEIVES];
};

struct spr_push_lane {
	spr_push *push;
	void *arg;
	pthread_mutex_t lock; /* guards the list */
	fake_out *head, *tail;
	atomic_uint room;
	atomic_uint busy;
};

struct spr_push {
	spr_push_config config;
	bool is_flushed;
	unsigned n_lanes;
	spr_push_lane *lane[SPR_FAKE_LANES];
};

static spr_pull *the_pull;
static spr_push *the_push;
static atomic_uint n_bufs;
static atomic_uint n_made;
static _Atomic uint64_t fake_now_ns = 1;
static atomic_uint n_outs;
static _Atomic size_t out_bytes;
static atomic_bool refuses_outs;

static void
expect(bool condition, const char *what, unsigned number)
{
	if (condition)
		return;
	fprintf(stderr, "fake transport: %s (%u)\n", what, number);
	abort();
}

static void
release_buf(spr_buf *buf)
{
	free(buf);
	atomic_fetch_sub(&n_bufs, 1);
}

spr_buf *
spr_fake_buf(const void *data, size_t len)
{
	fake_buf *self = malloc(sizeof(*self) + len);

	expect(self != NULL, "no memory", 0);
	if (len > 0)
		memcpy(self->bytes, data, len);
	/* lone ones and ones of a stream in turn, whatever the machine's pace */
	self->buf = (spr_buf){
	    .data = self->bytes,
	    .len = len,
	    .received_ns = atomic_fetch_add(&fake_now_ns, atomic_load(&n_made) % 2 ? 40000 : 10000),
	    .release = release_buf,
	};
	atomic_fetch_add(&n_made, 1);
	atomic_init(&self->buf.refs, 1);
	atomic_fetch_add(&n_bufs, 1);
	return (&self->buf);
}

unsigned
spr_fake_bufs(void)
{
	return (atomic_load(&n_bufs));
}

static spr_err
fake_pull_open(spr_pull **out, const spr_pull_config *config)
{
	spr_pull *pull = spr_mem_zalloc(sizeof(*pull));

	if (pull == NULL)
		return (SPR_E_NOMEM);
	expect(the_pull == NULL, "one pull at a time", 0);
	expect(config->receives <= SPR_FAKE_RECEIVES, "too many receives", config->receives);
	pull->config = *config;
	*out = the_pull = pull;
	return (SPR_OK);
}

static spr_err
fake_pull_listen(spr_pull *pull, const char *url, char *bound)
{
	(void)pull;
	snprintf(bound, SPR_URL_MAX, "%s", url);
	return (SPR_OK);
}

static spr_err
fake_pull_dial(spr_pull *pull, const char *url)
{
	(void)pull;
	(void)url;
	return (SPR_OK);
}

static void
fake_pull_start(spr_pull *pull)
{
	for (unsigned i = 0; i < pull->config.receives; i++)
		atomic_store_explicit(&pull->receive[i].is_armed, true, memory_order_release);
}

static void
fake_pull_rearm(spr_pull *pull, unsigned receive)
{
	fake_receive *self = &pull->receive[receive];

	expect(receive < pull->config.receives, "no such receive", receive);
	atomic_fetch_add_explicit(&self->n_rearms, 1, memory_order_relaxed);
	if (atomic_load(&pull->is_stopped))
		return;
	expect(!atomic_exchange_explicit(&self->is_armed, true, memory_order_acq_rel),
	       "re-armed twice", receive);
}

static void
fake_pull_stop(spr_pull *pull)
{
	atomic_store(&pull->is_stopped, true);
	for (unsigned i = 0; i < pull->config.receives; i++)
		atomic_store(&pull->receive[i].is_armed, false);
}

static void
fake_pull_close(spr_pull *pull)
{
	if (pull == NULL)
		return;
	the_pull = NULL;
	spr_mem_free(pull);
}

bool
spr_fake_deliver(unsigned receive, spr_buf *buf)
{
	fake_receive *self = &the_pull->receive[receive];

	/* once it says "parked", the receive is somebody else's: not to be touched from then on */
	expect(atomic_exchange_explicit(&self->is_armed, false, memory_order_acq_rel),
	       "delivered to a receive that is not armed", receive);
	if (!the_pull->config.on_receive(the_pull->config.arg, receive, buf))
		return (false);
	expect(!atomic_exchange_explicit(&self->is_armed, true, memory_order_acq_rel),
	       "re-armed although it was not parked", receive);
	return (true);
}

bool
spr_fake_is_armed(unsigned receive)
{
	return (atomic_load_explicit(&the_pull->receive[receive].is_armed, memory_order_acquire));
}

unsigned
spr_fake_rearms(unsigned receive)
{
	return (atomic_load_explicit(&the_pull->receive[receive].n_rearms, memory_order_relaxed));
}

static spr_err
fake_push_open(spr_push **out, const spr_push_config *config)
{
	spr_push *push = spr_mem_zalloc(sizeof(*push));

	if (push == NULL)
		return (SPR_E_NOMEM);
	expect(the_push == NULL, "one push at a time", 0);
	push->config = *config;
	push->is_flushed = true;
	*out = the_push = push;
	return (SPR_OK);
}

static spr_err
fake_push_listen(spr_push *push, const char *url, char *bound)
{
	(void)push;
	snprintf(bound, SPR_URL_MAX, "%s", url);
	return (SPR_OK);
}

static spr_err
fake_push_dial(spr_push *push, const char *url)
{
	(void)push;
	(void)url;
	return (SPR_OK);
}

static spr_err
fake_lane_open(spr_push_lane **out, spr_push *push, unsigned slots, void *lane_arg)
{
	spr_push_lane *lane;

	expect(push->n_lanes < SPR_FAKE_LANES, "too many lanes", push->n_lanes);
	if ((lane = spr_mem_zalloc(sizeof(*lane))) == NULL)
		return (SPR_E_NOMEM);
	lane->push = push;
	lane->arg = lane_arg;
	pthread_mutex_init(&lane->lock, NULL);
	atomic_init(&lane->room, slots);
	push->lane[push->n_lanes++] = lane;
	*out = lane;
	return (SPR_OK);
}

static spr_err
fake_out_alloc(spr_push_lane *lane, spr_out *out, size_t len)
{
	fake_out *self;

	(void)lane;
	if (atomic_load(&refuses_outs) || (self = spr_mem_alloc(sizeof(*self) + len)) == NULL)
		return (SPR_E_NOMEM);
	*self = (fake_out){.len = len, .made_len = len};
	*out = (spr_out){.data = self->bytes, .len = len, .handle = self};
	atomic_fetch_add(&n_outs, 1);
	atomic_fetch_add(&out_bytes, len);
	return (SPR_OK);
}

static void
fake_out_free(spr_out *out)
{
	fake_out *self = out->handle;

	atomic_fetch_sub(&out_bytes, self->made_len);
	spr_mem_free(self);
	out->handle = NULL;
	atomic_fetch_sub(&n_outs, 1);
}

static spr_err
fake_lane_send(spr_push_lane *lane, spr_out *out, void *cookie)
{
	fake_out *self = out->handle;

	if (atomic_load_explicit(&lane->room, memory_order_acquire) == 0)
		return (SPR_E_FULL);
	atomic_fetch_sub_explicit(&lane->room, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&lane->busy, 1, memory_order_relaxed);
	expect(out->len <= self->len, "longer than it was made", (unsigned)out->len);
	self->len = out->len;
	self->cookie = cookie;
	out->handle = NULL;
	pthread_mutex_lock(&lane->lock);
	if (lane->tail != NULL)
		lane->tail->next = self;
	else
		lane->head = self;
	lane->tail = self;
	pthread_mutex_unlock(&lane->lock);
	return (SPR_OK);
}

static unsigned
fake_lane_room(spr_push_lane *lane)
{
	return (atomic_load_explicit(&lane->room, memory_order_acquire));
}

static void
fake_lane_abort(spr_push_lane *lane)
{
	pthread_mutex_lock(&lane->lock);
	for (fake_out *self = lane->head; self != NULL; self = self->next)
		self->is_aborted = true;
	pthread_mutex_unlock(&lane->lock);
}

static unsigned
fake_lane_busy(spr_push_lane *lane)
{
	return (atomic_load_explicit(&lane->busy, memory_order_acquire));
}

static bool
fake_push_flush(spr_push *push, uint64_t deadline_ns)
{
	(void)deadline_ns;
	return (push->is_flushed);
}

static void
fake_push_close(spr_push *push)
{
	if (push == NULL)
		return;
	the_push = NULL;
	for (unsigned i = 0; i < push->n_lanes; i++) {
		expect(push->lane[i]->head == NULL, "closed with sends in flight", i);
		pthread_mutex_destroy(&push->lane[i]->lock);
		spr_mem_free(push->lane[i]);
	}
	spr_mem_free(push);
}

/* Behind the first of a run only what ends as that does. */
static fake_out *
take_oldest(spr_push_lane *lane, bool is_first, bool is_aborted)
{
	fake_out *self;

	pthread_mutex_lock(&lane->lock);
	self = lane->head;
	if (!is_first && self != NULL && self->is_aborted != is_aborted)
		self = NULL;
	if (self != NULL && (lane->head = self->next) == NULL)
		lane->tail = NULL;
	pthread_mutex_unlock(&lane->lock);
	return (self);
}

/* Its text is added to *text, a line. */
static size_t
give_up_text(fake_out *self, char **text)
{
	spr_out out = {.handle = self};
	size_t len = self->len, before = *text != NULL ? strlen(*text) + 1 : 0;

	*text = realloc(*text, before + len + 1);
	expect(*text != NULL, "no memory", 0);
	if (before > 0)
		(*text)[before - 1] = '\n';
	memcpy(*text + before, self->bytes, len);
	(*text)[before + len] = '\0';
	fake_out_free(&out);
	return (len);
}

char *
spr_fake_end_run(unsigned number, unsigned max, spr_err result)
{
	spr_push_lane *lane = the_push->lane[number];
	void *cookies[SPR_DONE_MAX];
	fake_out *self;
	unsigned n = 0;
	size_t bytes = 0;
	bool is_aborted = false;
	char *text = NULL;

	while (n < max && (self = take_oldest(lane, n == 0, is_aborted)) != NULL) {
		is_aborted = self->is_aborted;
		cookies[n++] = self->cookie;
		bytes += give_up_text(self, &text);
	}
	if (n == 0)
		return (NULL);
	atomic_fetch_add_explicit(&lane->room, n, memory_order_release);
	the_push->config.on_done(lane->arg, cookies, n, bytes,
				 is_aborted ? SPR_E_CANCELLED : result);
	atomic_fetch_sub_explicit(&lane->busy, n, memory_order_release);
	return (text);
}

char *
spr_fake_end(unsigned number, spr_err result)
{
	return (spr_fake_end_run(number, 1, result));
}

char *
spr_fake_peek(unsigned number)
{
	spr_push_lane *lane = the_push->lane[number];
	char *text = NULL;

	pthread_mutex_lock(&lane->lock);
	if (lane->head != NULL) {
		text = strndup((const char *)lane->head->bytes, lane->head->len);
		expect(text != NULL, "no memory", number);
	}
	pthread_mutex_unlock(&lane->lock);
	return (text);
}

unsigned
spr_fake_end_all(unsigned lane, spr_err result)
{
	unsigned n = 0;
	char *text;

	for (unsigned left = spr_fake_busy(lane);
	     n < left && (text = spr_fake_end(lane, result)) != NULL; n++)
		free(text);
	return (n);
}

unsigned
spr_fake_busy(unsigned lane)
{
	return (fake_lane_busy(the_push->lane[lane]));
}

unsigned
spr_fake_outs(void)
{
	return (atomic_load(&n_outs));
}

size_t
spr_fake_out_bytes(void)
{
	return (atomic_load(&out_bytes));
}

void
spr_fake_refuse_outs(bool refuse)
{
	atomic_store(&refuses_outs, refuse);
}

void
spr_fake_set_flushed(bool is_flushed)
{
	the_push->is_flushed = is_flushed;
}

void
spr_fake_pull_pipe(int change)
{
	if (the_pull->config.pipes.on_pipe != NULL)
		the_pull->config.pipes.on_pipe(the_pull->config.pipes.arg, change);
}

void
spr_fake_push_pipe(int change)
{
	if (the_push->config.pipes.on_pipe != NULL)
		the_push->config.pipes.on_pipe(the_push->config.pipes.arg, change);
}

const spr_transport spr_transport_fake = {
    .name = "fake",
    .pull_open = fake_pull_open,
    .pull_listen = fake_pull_listen,
    .pull_dial = fake_pull_dial,
    .pull_start = fake_pull_start,
    .pull_rearm = fake_pull_rearm,
    .pull_stop = fake_pull_stop,
    .pull_close = fake_pull_close,
    .push_open = fake_push_open,
    .push_listen = fake_push_listen,
    .push_dial = fake_push_dial,
    .lane_open = fake_lane_open,
    .out_alloc = fake_out_alloc,
    .out_free = fake_out_free,
    .lane_send = fake_lane_send,
    .lane_room = fake_lane_room,
    .lane_abort = fake_lane_abort,
    .lane_busy = fake_lane_busy,
    .push_flush = fake_push_flush,
    .push_close = fake_push_close,
};
