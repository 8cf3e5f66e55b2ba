/*
 * sp_push - frames from lanes to connections.
 *
 *   lane_send --> posted (mailbox) --+                                +--> write: up to 64 frames a system call
 *                                    +--> [turn] pending x idle ------+              |
 *   connection idle again ----> returned (mailbox) <---- whole batch in the kernel --+
 *                                                  <---- lost: what was not written is posted again
 *
 * Why not nng's PUSH socket: it puts a pipe that is being closed back among the ready ones (its send completion does not
 * look), which swallows the next message or touches freed memory: a few hundred workers that come and go end the process.
 * It also writes one message a system call, under a mutex that every sender waits for.
 *
 * Matching frames with idle connections is done in a turn (base/turn.h): whoever posts a frame or brings a connection back
 * takes the turn if it is free, and otherwise leaves the rest to its holder. Nobody waits, and writes are begun outside.
 *
 * A connection has two references: one is held by its sending side (idle in the list, or writing), one by the watch, a
 * read that ends when the peer hangs up or says anything at all, which a PULL peer never does; it goes with the death into
 * the mailbox. The last one frees it.
 */
#include "net/sp_push.h"

#include <nng/nng.h>
#include <nng/supplemental/util/platform.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/stack.h"
#include "base/turn.h"
#include "net/sp_batch.h"
#include "net/sp_endpoints.h"
#include "net/sp_places.h"
#include "net/timer.h"

#define CLOSE_WAIT_NS (2 * SPR_NS_PER_S)

typedef struct connection connection;
struct connection {
	/* constant after start */
	spr_push *push;
	spr_sp_endpoint *endpoint;
	nng_stream *stream;
	nng_aio *send, *watch;
	size_t head_bytes; /* of each frame */
	uint8_t said;      /* by the peer: ignored */
	bool is_tls;
	spr_timer look; /* over TLS */

	spr_sp_place place;
	atomic_bool is_displaced;
	atomic_bool is_closed; /* over TLS, by us: what is written is not believed */

	spr_stack_entry returned; /* idle again, or its sending side is over */
	spr_stack_entry died;     /* the watch has ended */
	atomic_uint refs;

	/* the writer's: whoever has it out of the idle list */
	spr_sp_batch batch;
	bool is_broken;
	bool has_carried; /* a whole job */

	/* with the turn */
	bool is_known, is_idle, is_dead;
	connection *next_known, *prev_known;
	connection *next_idle, *prev_idle;
	connection *next_died; /* the watch's reference is to be given back */
	connection *next_out;  /* to be written, or to be let go, when the turn is given back */
};

struct spr_push {
	/* constant after open, listen, dial */
	spr_push_config config;
	spr_push_lane *lanes;
	spr_sp_endpoints endpoints;
	spr_sp_places places;
	unsigned batch_frames; /* that one connection may be given together */

	spr_stack posted, returned, died;
	_Alignas(SPR_CACHELINE) spr_turn turn;
	atomic_bool wants_abort;
	atomic_uint n_aborts; /* calls of abort so far */
	atomic_uint n_connections;
	atomic_uint n_inside; /* callbacks that are running: close waits for their end */

	/* with the turn */
	_Alignas(SPR_CACHELINE) frame_queue pending;
	connection *known;
	connection *idle_head, *idle_tail;
	unsigned n_idle;
};

/* What a turn leaves to be done behind it. */
typedef struct leftovers {
	connection *to_write;
	connection *to_drop; /* by next_out */
	connection *died;    /* by next_died */
	frame_queue ended;
} leftovers;

/* ---- a connection's life ---- */

static void
drop_connection(connection *c)
{
	spr_push *push = c->push;
	spr_sp_endpoint *endpoint = c->endpoint;

	/* E5: my accesses are before the free; acquire: the other side's too */
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	spr_sp_places_leave(&push->places, &c->place); /* from here on nobody cuts it */
	spr_timer_stop(&c->look);
	nng_stream_free(c->stream);
	nng_aio_reap(c->send); /* by nng's reaper: this may be one of their callbacks */
	nng_aio_reap(c->watch);
	spr_mem_free(c);
	if (push->config.pipes.on_pipe != NULL)
		push->config.pipes.on_pipe(push->config.pipes.arg, -1);
	spr_sp_endpoint_lost(endpoint);
	/* release: close frees push and endpoint when it reads 0 */
	atomic_fetch_sub_explicit(&push->n_connections, 1, memory_order_release);
}

/* What is out on it ends; over TLS that is the connection's end. */
static void
end_operation(connection *c, nng_aio *aio, int rv)
{
	/* seq_cst: set, then close; begin_secure_write begins, then looks: one of the two ends it */
	if (c->is_tls)
		atomic_store_explicit(&c->is_closed, true, memory_order_seq_cst);
	spr_nng_end(c->stream, c->is_tls, aio, rv);
}

static bool
is_closed(connection *c)
{
	/* seq_cst: see end_operation */
	return (c->is_tls && atomic_load_explicit(&c->is_closed, memory_order_seq_cst));
}

/* ---- with the turn ---- */

static void
add_idle(spr_push *push, connection *c)
{
	c->is_idle = true;
	c->next_idle = NULL;
	c->prev_idle = push->idle_tail;
	if (push->idle_tail != NULL)
		push->idle_tail->next_idle = c;
	else
		push->idle_head = c;
	push->idle_tail = c;
	push->n_idle++;
}

static void
remove_idle(spr_push *push, connection *c)
{
	c->is_idle = false;
	if (c->prev_idle != NULL)
		c->prev_idle->next_idle = c->next_idle;
	else
		push->idle_head = c->next_idle;
	if (c->next_idle != NULL)
		c->next_idle->prev_idle = c->prev_idle;
	else
		push->idle_tail = c->prev_idle;
	push->n_idle--;
}

static void
add_known(spr_push *push, connection *c)
{
	c->is_known = true;
	c->next_known = push->known;
	if (c->next_known != NULL)
		c->next_known->prev_known = c;
	push->known = c;
}

static void
remove_known(spr_push *push, connection *c)
{
	if (c->prev_known != NULL)
		c->prev_known->next_known = c->next_known;
	else
		push->known = c->next_known;
	if (c->next_known != NULL)
		c->next_known->prev_known = c->prev_known;
}

/* The sending side is over: its reference is given back behind the turn. */
static void
let_go(spr_push *push, connection *c, leftovers *left)
{
	remove_known(push, c);
	c->next_out = left->to_drop;
	left->to_drop = c;
}

static void
take_events(spr_push *push, leftovers *left)
{
	spr_stack_entry *entry, *next;

	spr_sp_frames_take(&push->posted, &push->pending);
	/* deaths first: what has died is not made idle */
	for (entry = spr_mailbox_pop_all(&push->died); entry != NULL; entry = next) {
		connection *c = SPR_STACK_CONTAINER(entry, connection, died);

		next = spr_stack_next(entry);
		c->is_dead = true;
		c->next_died = left->died;
		left->died = c;
		if (c->is_idle) {
			remove_idle(push, c);
			let_go(push, c, left);
		} else {
			end_operation(c, c->send,
				      NNG_ECLOSED); /* what it carries goes to another one */
		}
	}
	for (entry = spr_mailbox_pop_all(&push->returned); entry != NULL; entry = next) {
		connection *c = SPR_STACK_CONTAINER(entry, connection, returned);

		next = spr_stack_next(entry);
		if (!c->is_known)
			add_known(push, c);
		if (c->is_dead || c->is_broken)
			let_go(push, c, left);
		else
			add_idle(push, c);
	}
}

/* Pending frames of aborted lanes end; writes that are under way are cut off, which ends or posts again what they carry. */
static void
carry_out_abort(spr_push *push, leftovers *left)
{
	frame_queue kept = {0};
	frame *f;

	/* E15: set before the turn was asked for */
	if (!atomic_exchange_explicit(&push->wants_abort, false, memory_order_relaxed))
		return;
	while ((f = take_first(&push->pending)) != NULL) {
		f->result = SPR_E_CANCELLED;
		append(is_aborted(f) ? &left->ended : &kept, f);
	}
	push->pending = kept;
	for (connection *c = push->known; c != NULL; c = c->next_known) {
		if (!c->is_idle)
			end_operation(c, c->send, NNG_ECANCELED);
	}
}

/* Frames go round the idle connections; they are joined only when there are more frames than connections. */
static void
match(spr_push *push, leftovers *left)
{
	while (push->pending.head != NULL && push->idle_head != NULL) {
		connection *c = push->idle_head;
		unsigned share = (push->pending.n + push->n_idle - 1) / push->n_idle;

		remove_idle(push, c);
		for (; share > 0 && spr_sp_batch_has_room(&c->batch, push->batch_frames,
							  push->pending.head->len, c->head_bytes);
		     share--)
			spr_sp_batch_give(&c->batch, take_first(&push->pending), c->head_bytes);
		c->next_out = left->to_write;
		left->to_write = c;
	}
}

/* The connection is of no more use: what it had not written goes to another one, unless it was aborted. */
static void
give_up_batch(connection *c, frame_queue *ended)
{
	frame *f;

	c->is_broken = true;
	nng_stream_close(c->stream);
	while ((f = spr_sp_batch_take(&c->batch)) != NULL) {
		f->result = SPR_E_CANCELLED;
		if (is_aborted(f))
			append(ended, f);
		else
			spr_mailbox_push(&c->push->posted, &f->posted); /* E2 */
	}
}

/* nng does not end what begins on a closed stream, but for a close behind it. */
static void
begin_secure_write(connection *c)
{
	/* relaxed: the writer has one; with this one c is still there when the write has ended */
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	nng_stream_send(c->stream, c->send);
	if (is_closed(c))
		nng_stream_close(c->stream);
	drop_connection(c);
}

static void
begin_write(connection *c)
{
	nng_iov parts[SPR_SP_PARTS];
	unsigned n = spr_sp_batch_parts(&c->batch, c->head_bytes, parts);

	nng_aio_set_iov(c->send, n, parts);
	if (c->is_tls)
		begin_secure_write(c);
	else
		nng_stream_send(c->stream, c->send);
}

/* True: something came back, look again. */
static bool
do_leftovers(spr_push *push, leftovers *left)
{
	connection *next;
	bool is_back = false;

	for (connection *c = left->to_write; c != NULL; c = next) {
		next = c->next_out; /* c may be back before begin_write returns */
		if (!has_aborted(&c->batch.frames)) {
			begin_write(c);
			continue;
		}
		give_up_batch(c, &left->ended);
		spr_mailbox_push(&push->returned, &c->returned); /* E2 */
		is_back = true;
	}
	for (connection *c = left->to_drop; c != NULL; c = next) {
		next = c->next_out;
		drop_connection(c);
	}
	for (connection *c = left->died; c != NULL; c = next) {
		next = c->next_died;
		drop_connection(c);
	}
	spr_sp_frames_end(&left->ended);
	return (is_back);
}

/*
 * A write that begins beside an abort may miss it: nng aborts only what has begun. So whoever begins writes notes the count
 * of aborts before, and asks for the abort once more when it has changed.
 */
static unsigned
count_aborts(const spr_push *push)
{
	/* acquire: pairs with the release in spr_sp_lane_abort */
	return (atomic_load_explicit(&push->n_aborts, memory_order_acquire));
}

static bool
abort_again(spr_push *push, unsigned n_aborts)
{
	if (count_aborts(push) == n_aborts)
		return (false);
	/* relaxed: the turn that is asked for sees it (E15) */
	atomic_store_explicit(&push->wants_abort, true, memory_order_relaxed);
	return (true);
}

/* Something was posted, returned, died or is to be aborted. */
static void
look(spr_push *push)
{
	bool again = true;

	while (again && spr_turn_take(&push->turn)) {
		leftovers left = {0};
		unsigned n_aborts = count_aborts(push);

		take_events(push, &left);
		carry_out_abort(push, &left);
		match(push, &left);
		again = spr_turn_give_back(&push->turn);
		again |= do_leftovers(push, &left);
		again |= abort_again(push, n_aborts);
	}
}

/* ---- nng's callbacks ---- */

static void
come_in(spr_push *push)
{
	/* relaxed: ordered before close by the E2 edge of what the callback pushes */
	atomic_fetch_add_explicit(&push->n_inside, 1, memory_order_relaxed);
}

/* The last thing a callback does with push. */
static void
go_out(spr_push *push)
{
	/* release: pairs with the acquire in close_connections */
	atomic_fetch_sub_explicit(&push->n_inside, 1, memory_order_release);
}

static void
on_written(void *arg)
{
	connection *c = arg;
	spr_push *push = c->push;
	frame_queue ended = {0};
	unsigned n_aborts = count_aborts(push);
	int rv = nng_aio_result(c->send);

	come_in(push);
	if (is_closed(c))
		rv = NNG_ECLOSED; /* nng may have taken it when nothing was there to send it */
	if (rv == 0) {
		spr_sp_batch_written(&c->batch, c->head_bytes, nng_aio_count(c->send), &ended);
		if (ended.head != NULL && !c->has_carried) {
			c->has_carried = true;
			spr_sp_places_speak(&push->places, &c->place);
		}
	}
	if (rv != 0 || has_aborted(&c->batch.frames))
		give_up_batch(c, &ended);
	if (c->batch.frames.head != NULL) { /* the kernel took a part */
		begin_write(c);
		if (abort_again(push, n_aborts))
			look(push);
	} else {
		spr_mailbox_push(&push->returned,
				 &c->returned); /* E2: whoever has the turn may use it */
		look(push);
	}
	spr_sp_frames_end(&ended);
	go_out(push);
}

/*
 * The peer hung up, or said something. The stream is not closed here: a write may be about to begin on it, and nng never
 * ends a write that begins on a closed stream. Whoever writes and fails closes it, or the last reference.
 */
static void
on_watched(void *arg)
{
	connection *c = arg;
	spr_push *push = c->push;

	come_in(push);
	spr_mailbox_push(&push->died, &c->died); /* E2: with the watch's reference */
	look(push);
	go_out(push);
}

/* As if the peer had hung up: its watch ends. */
static void
cut(spr_sp_place *place)
{
	connection *c = SPR_STACK_CONTAINER(place, connection, place);

	/* seq_cst: set, then abort the watch; on_stream begins the watch, then looks: the abort is not missed */
	atomic_store_explicit(&c->is_displaced, true, memory_order_seq_cst);
	end_operation(c, c->watch, NNG_ECANCELED);
}

/* Over TLS nng never ends a watch that begins when the connection is lost already. */
static void
on_look(void *arg)
{
	connection *c = arg;

	if (spr_nng_is_lost(c->stream))
		end_operation(c, c->watch, NNG_ECLOSED);
	spr_timer_arm_about(&c->look, SPR_LOOK_MS);
}

static void
begin_watch(connection *c)
{
	nng_iov iov = {.iov_buf = &c->said, .iov_len = 1};

	nng_aio_set_iov(c->watch, 1, &iov);
	nng_stream_recv(c->stream, c->watch);
	/* seq_cst: see cut */
	if (atomic_load_explicit(&c->is_displaced, memory_order_seq_cst))
		end_operation(c, c->watch, NNG_ECANCELED);
	if (c->is_tls)
		on_look(c);
}

static void
on_stream(void *arg, spr_sp_endpoint *endpoint, nng_stream *stream)
{
	spr_push *push = arg;
	connection *c = spr_mem_zalloc(sizeof(*c));
	const spr_peer peer = spr_nng_peer(stream);

	if (c == NULL || nng_aio_alloc(&c->send, on_written, c) != 0 ||
	    nng_aio_alloc(&c->watch, on_watched, c) != 0 ||
	    !spr_sp_places_enter(&push->places, &c->place, cut, &peer)) {
		if (c != NULL && c->send != NULL)
			nng_aio_reap(c->send);
		if (c != NULL && c->watch != NULL)
			nng_aio_reap(c->watch);
		spr_mem_free(c);
		nng_stream_close(stream);
		nng_stream_free(stream);
		spr_sp_endpoint_lost(endpoint);
		return;
	}
	c->push = push;
	c->endpoint = endpoint;
	c->stream = stream;
	c->head_bytes = spr_sp_endpoint_is_ipc(endpoint) ? LENGTH_BYTES + 1 : LENGTH_BYTES;
	c->is_tls = spr_sp_endpoint_is_tls(endpoint);
	spr_timer_init(&c->look, on_look, c);
	atomic_init(&c->refs, 2);
	nng_aio_set_timeout(c->send, NNG_DURATION_INFINITE);
	nng_aio_set_timeout(c->watch, NNG_DURATION_INFINITE);
	/* relaxed: close reads it when no stream comes any more */
	atomic_fetch_add_explicit(&push->n_connections, 1, memory_order_relaxed);
	if (push->config.pipes.on_pipe != NULL)
		push->config.pipes.on_pipe(push->config.pipes.arg, 1);
	begin_watch(c); /* first: a write that fails closes the stream */
	spr_mailbox_push(&push->returned, &c->returned); /* E2 */
	look(push);
}

/* ---- the table's functions ---- */

spr_err
spr_sp_push_open(spr_push **out, const spr_push_config *config)
{
	spr_push *push = spr_mem_zalloc_aligned(sizeof(*push));

	if (push == NULL)
		return (SPR_E_NOMEM);
	push->config = *config;
	spr_sp_places_init(&push->places, "outbox");
	spr_stack_init(&push->posted);
	spr_stack_init(&push->returned);
	spr_stack_init(&push->died);
	*out = push;
	return (SPR_OK);
}

static spr_err
add_endpoint(spr_push *push, const char *url, char *bound)
{
	const spr_sp_endpoint_config config = {
	    .protocol = SPR_SP_PUSH, .peer = SPR_SP_PULL, .on_stream = on_stream, .arg = push};

	return (spr_sp_endpoints_add(&push->endpoints, &config, url, bound));
}

spr_err
spr_sp_push_listen(spr_push *push, const char *url, char *bound)
{
	return (add_endpoint(push, url, bound));
}

spr_err
spr_sp_push_dial(spr_push *push, const char *url)
{
	return (add_endpoint(push, url, NULL));
}

/* An eighth of a lane: so many connections that stand still may have all of it, not fewer. */
static unsigned
batch_frames_of(unsigned slots, unsigned before)
{
	unsigned n = slots / 8;

	if (n < SPR_SP_PARTS)
		n = SPR_SP_PARTS;
	if (n > SPR_SP_BATCH_FRAMES)
		n = SPR_SP_BATCH_FRAMES;
	return (n > before ? n : before);
}

spr_err
spr_sp_lane_open(spr_push_lane **out, spr_push *push, unsigned slots, void *lane_arg)
{
	spr_push_lane *lane = spr_mem_zalloc_aligned(sizeof(*lane));

	if (lane == NULL)
		return (SPR_E_NOMEM);
	lane->push = push;
	lane->slots = slots;
	lane->arg = lane_arg;
	lane->on_done = push->config.on_done;
	lane->next = push->lanes;
	push->lanes = lane;
	push->batch_frames = batch_frames_of(slots, push->batch_frames);
	*out = lane;
	return (SPR_OK);
}

spr_err
spr_sp_lane_send(spr_push_lane *lane, spr_out *out, void *cookie)
{
	frame *f = out->handle;

	SPR_ASSERT_ROLE(SPR_ROLE_DISPATCHER);
	if (spr_sp_lane_room(lane) == 0)
		return (SPR_E_FULL);
	out->handle = NULL;
	set_head(f, out->len);
	f->lane = lane;
	f->cookie = cookie;
	/* relaxed, all three: only the owner's own later reads and the releases of completions matter */
	f->aborts = atomic_load_explicit(&lane->n_aborts, memory_order_relaxed);
	atomic_fetch_add_explicit(&lane->n_out, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&lane->n_busy, 1, memory_order_relaxed);
	spr_mailbox_push(&lane->push->posted, &f->posted); /* E2 */
	look(lane->push);
	return (SPR_OK);
}

void
spr_sp_lane_abort(spr_push_lane *lane)
{
	/* relaxed, both: the turn that is asked for sees them (E15) */
	atomic_fetch_add_explicit(&lane->n_aborts, 1, memory_order_relaxed);
	/* release: who sees the count sees the lane's */
	atomic_fetch_add_explicit(&lane->push->n_aborts, 1, memory_order_release);
	atomic_store_explicit(&lane->push->wants_abort, true, memory_order_relaxed);
	look(lane->push);
}

/* What has ended well is in the kernel: flushed is idle. */
bool
spr_sp_push_flush(spr_push *push, uint64_t deadline_ns)
{
	for (spr_push_lane *lane = push->lanes; lane != NULL; lane = lane->next) {
		while (spr_sp_lane_busy(lane) > 0) {
			if (spr_clock_now_ns() >= deadline_ns)
				return (false);
			nng_msleep(1);
		}
	}
	return (true);
}

/* No stream comes any more and nothing is being sent: each watch ends when its stream is closed. */
static void
close_connections(spr_push *push)
{
	uint64_t deadline_ns = spr_clock_now_ns() + CLOSE_WAIT_NS;

	/* acquire, both: pairs with the releases in drop_connection and go_out */
	while ((atomic_load_explicit(&push->n_connections, memory_order_acquire) > 0 ||
		atomic_load_explicit(&push->n_inside, memory_order_acquire) > 0) &&
	       spr_clock_now_ns() < deadline_ns) {
		if (spr_turn_take(&push->turn)) {
			leftovers left = {0};

			take_events(push, &left); /* some may have come a moment ago */
			for (connection *c = push->known; c != NULL; c = c->next_known)
				nng_stream_close(c->stream);
			(void)spr_turn_give_back(&push->turn);
			(void)do_leftovers(push, &left);
		}
		nng_msleep(1);
	}
}

void
spr_sp_push_close(spr_push *push)
{
	spr_push_lane *next;

	if (push == NULL)
		return;
	spr_sp_endpoints_stop(&push->endpoints);
	close_connections(push);
	spr_sp_endpoints_fini(&push->endpoints);
	spr_sp_frames_take(&push->posted, &push->pending);
	spr_sp_frames_free(&push->pending);
	for (spr_push_lane *lane = push->lanes; lane != NULL; lane = next) {
		next = lane->next;
		spr_mem_free(lane);
	}
	spr_sp_places_fini(&push->places);
	spr_mem_free(push);
}
