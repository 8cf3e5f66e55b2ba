/*
 * ep_connection - turns of a connection, and its end.
 *
 * The socket is watched for its end all the time, for room only after it had none: then whoever brings more frames leaves
 * them to the loop. What is found in a turn is told when the turn is given back: on_done may bring this thread here again.
 */
#include "net/ep_connection.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/counters.h"
#include "base/log.h"
#include "net/ep_silence.h"
#include "net/ep_socket.h"

#define WATCHED (EPOLLIN | EPOLLRDHUP) /* a PULL peer says nothing */

void
spr_ep_connection_hold(spr_ep_connection *c)
{
	/* relaxed: the caller has a reference, or the turn that keeps one */
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

void
spr_ep_connection_drop(spr_ep_connection *c)
{
	spr_ep_hub *hub = c->hub;
	spr_ep_endpoint *endpoint = c->endpoint;

	/* E5: my accesses are before the free; acquire: the others' too */
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	spr_sp_places_leave(&hub->places, &c->place); /* from here on nobody cuts it */
	close(c->watch.fd);
	spr_mem_free(c);
	if (hub->config.pipes.on_pipe != NULL)
		hub->config.pipes.on_pipe(hub->config.pipes.arg, -1);
	spr_ep_endpoint_lost(endpoint);
	/* release: close frees the hub when it reads 0 */
	atomic_fetch_sub_explicit(&hub->n_connections, 1, memory_order_release);
}

/* True: it was not known. */
static bool
tell_death(spr_ep_connection *c)
{
	/* relaxed: only who is first matters, the mailbox orders the rest */
	if (atomic_exchange_explicit(&c->is_death_known, true, memory_order_relaxed))
		return (false);
	spr_mailbox_push(&c->hub->died,
			 &c->died); /* E2; the outbox has a reference until it sees it */
	return (true);
}

/* ---- with the turn ---- */

/* The loop sees the end of it as if the peer had hung up. */
static void
break_off(spr_ep_connection *c)
{
	c->is_broken = true;
	shutdown(c->watch.fd, SHUT_RDWR);
}

static void
arm(spr_ep_connection *c, bool is_armed)
{
	if (c->is_armed == is_armed)
		return;
	c->is_armed = is_armed;
	spr_ep_loop_change(c->loop, &c->watch, is_armed ? WATCHED | EPOLLOUT : WATCHED);
}

static void
write_some(spr_ep_connection *c, spr_ep_written *out)
{
	/* acquire: pairs with the release in on_ready */
	if (c->is_blocked &&
	    !atomic_exchange_explicit(&c->is_writable, false, memory_order_acquire))
		return;
	c->is_blocked = false;
	switch (spr_ep_writer_write(&c->writer, out)) {
	case SPR_EP_WRITE_IDLE:
		arm(c, false);
		break;
	case SPR_EP_WRITE_MORE: /* the loop goes on: others have something else to do */
	case SPR_EP_WRITE_BLOCKED:
		c->is_blocked = true;
		arm(c, true);
		break;
	case SPR_EP_WRITE_BROKEN:
		break_off(c);
		break;
	}
}

/* The last look at what the peer has got. A connection that was reset tells nothing that can be trusted. */
static void
poll_last(spr_ep_connection *c, spr_ep_written *out)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (!c->is_broken && getsockopt(c->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 &&
	    error == 0)
		(void)spr_ep_writer_poll(&c->writer, out);
}

/* Somebody may have gone without a word, with bytes on their way. */
static void
look_for_silence(spr_ep_connection *c)
{
	spr_ep_silence silence = spr_ep_silence_read(c->watch.fd);
	char text[SPR_PEER_TEXT_MAX];
	spr_peer peer;

	if (!silence.is_waiting)
		return;
	if (!spr_ep_silence_is_final(&silence)) {
		c->hub->wants_watch(c->hub);
		return;
	}
	peer = spr_ep_socket_peer(c->watch.fd);
	spr_count(SPR_C_PEERS_CUT_VANISHED);
	spr_warn("PEER-VANISHED", "socket=outbox peer=\"%s\" unanswered=%u silent_ms=%u",
		 spr_peer_text(&peer, text), silence.n_unheard, silence.silent_ms);
	break_off(c);
}

static void
watch(spr_ep_connection *c, uint64_t written_before)
{
	/* relaxed: whoever raised it asks for the turn (E15) */
	unsigned n_watches = atomic_load_explicit(&c->hub->n_watches, memory_order_relaxed);

	if (n_watches != c->seen_watches) {
		c->seen_watches = n_watches;
		look_for_silence(c);
	} else if (c->writer.written != written_before) {
		c->hub->wants_watch(c->hub);
	}
}

static void
do_turn(spr_ep_connection *c, spr_ep_written *out)
{
	uint64_t written_before = c->writer.written;
	/* acquire: pairs with the release in abort, whose lane's count is seen too */
	unsigned n_aborts = atomic_load_explicit(&c->hub->n_aborts, memory_order_acquire);

	if (n_aborts != c->seen_aborts) {
		c->seen_aborts = n_aborts;
		if (!spr_ep_writer_abort(&c->writer, out))
			break_off(c);
	}
	/* relaxed: whoever set it asks for the turn (E15). First: what the kernel would still take nobody reads */
	if (atomic_load_explicit(&c->has_hung_up, memory_order_relaxed)) {
		poll_last(c, out);
		c->is_broken = true;
	}
	if (!c->is_broken)
		write_some(c, out);
	if (!c->is_broken && !c->writer.is_ipc)
		watch(c, written_before);
	if (c->is_broken)
		spr_ep_writer_leave(&c->writer, out);
	else if (c->writer.awaits_tcp && spr_ep_writer_poll(&c->writer, out))
		c->hub->wants_poll(c->hub, out->taken.head != NULL);
}

/* ---- behind it ---- */

static bool
tell(spr_ep_connection *c, spr_ep_written *out, bool is_first, bool is_broken)
{
	const spr_push_config *config = &c->hub->config;
	bool is_news = is_broken && tell_death(c);

	if (out->bytes > 0 && spr_ep_load_give_back(&c->load, out->bytes)) {
		spr_ep_connection_hold(c);
		spr_mailbox_push(&c->hub->returned, &c->returned); /* E2 */
		is_news = true;
	}
	if (is_first)
		spr_sp_places_speak(&c->hub->places, &c->place);
	if (out->left.head != NULL) {
		spr_ep_queue_push(&out->left, &c->hub->posted);
		is_news = true;
	}
	spr_ep_frames_end(&out->taken, config->on_done, SPR_OK);
	spr_ep_frames_end(&out->cancelled, config->on_done, SPR_E_CANCELLED);
	return (is_news);
}

bool
spr_ep_connection_look(spr_ep_connection *c)
{
	bool is_news = false, again = true;

	while (again && spr_turn_take(&c->turn)) {
		spr_ep_written out = {0};
		bool is_first, is_broken;

		do_turn(c, &out);
		is_first = out.taken.head != NULL && !c->has_carried;
		c->has_carried |= is_first;
		is_broken = c->is_broken;
		again = spr_turn_give_back(&c->turn);
		is_news |= tell(c, &out, is_first, is_broken);
	}
	return (is_news);
}

/* ---- the loop ---- */

static void
on_ready(spr_ep_watch *watch, uint32_t events)
{
	spr_ep_connection *c = SPR_STACK_CONTAINER(watch, spr_ep_connection, watch);
	spr_ep_hub *hub = c->hub;
	bool is_over = (events & ~(uint32_t)EPOLLOUT) != 0;
	bool is_news;

	/* release: pairs with the acquire in write_some */
	atomic_store_explicit(&c->is_writable, true, memory_order_release);
	if (is_over) {
		spr_ep_loop_unwatch(c->loop, watch);
		/* relaxed: the turn that is asked for sees it (E15) */
		atomic_store_explicit(&c->has_hung_up, true, memory_order_relaxed);
	}
	is_news = spr_ep_connection_look(c);
	if (is_over) {
		is_news |= tell_death(c); /* the turn may be another's, who has not told yet */
		spr_ep_connection_drop(c);
	}
	if (is_news)
		hub->look(hub);
}

/* As if the peer had hung up. */
static void
cut(spr_sp_place *place)
{
	shutdown(SPR_STACK_CONTAINER(place, spr_ep_connection, place)->watch.fd, SHUT_RDWR);
}

static bool
enter(spr_ep_connection *c, const spr_peer *peer)
{
	if (c == NULL)
		return (false);
	return (spr_sp_places_enter(&c->hub->places, &c->place, cut, peer));
}

static spr_ep_connection *
make(spr_ep_hub *hub, spr_ep_endpoint *endpoint, spr_ep_loop *loop, int fd)
{
	spr_ep_connection *c = spr_mem_zalloc_aligned(sizeof(*c));
	bool is_ipc = spr_ep_endpoint_is_ipc(endpoint);

	if (c == NULL)
		return (NULL);
	c->hub = hub;
	c->endpoint = endpoint;
	c->loop = loop;
	c->watch = (spr_ep_watch){.fd = fd, .on_ready = on_ready};
	spr_ep_writer_init(&c->writer, fd, is_ipc, hub->config.awaits_tcp && !is_ipc);
	atomic_init(&c->refs, 2);
	/* relaxed: an abort that is missed concerns frames that it is not given yet */
	c->seen_aborts = atomic_load_explicit(&hub->n_aborts, memory_order_relaxed);
	/* relaxed: one round more or less */
	c->seen_watches = atomic_load_explicit(&hub->n_watches, memory_order_relaxed);
	return (c);
}

void
spr_ep_connection_new(spr_ep_hub *hub, spr_ep_endpoint *endpoint, spr_ep_loop *loop, int fd,
		      const spr_peer *peer)
{
	spr_ep_connection *c = make(hub, endpoint, loop, fd);
	const spr_pipe_events *pipes = &hub->config.pipes;
	bool is_watched;

	if (!enter(c, peer)) {
		spr_mem_free(c);
		close(fd);
		spr_ep_endpoint_lost(endpoint);
		return;
	}
	/* relaxed: close reads it when no stream comes any more */
	atomic_fetch_add_explicit(&hub->n_connections, 1, memory_order_relaxed);
	if (pipes->on_pipe != NULL)
		pipes->on_pipe(pipes->arg, 1);
	/* watched first: who finds it in the mailbox and fills it asks for EPOLLOUT. It cannot die before, on this loop */
	is_watched = spr_ep_loop_watch(loop, &c->watch, WATCHED) == SPR_OK;
	if (!is_watched) /* relaxed: as in on_ready */
		atomic_store_explicit(&c->has_hung_up, true, memory_order_relaxed);
	if (!c->writer.is_ipc)
		hub->wants_watch(hub);                  /* the greeting may still be on its way */
	spr_mailbox_push(&hub->returned, &c->returned); /* E2 */
	if (!is_watched) {
		(void)tell_death(c);
		spr_ep_connection_drop(c);
	}
	hub->look(hub);
}

void
spr_ep_connection_end(spr_ep_connection *c)
{
	/* relaxed: main alone is left */
	if (!atomic_load_explicit(&c->has_hung_up, memory_order_relaxed))
		spr_ep_connection_drop(c);
	spr_ep_connection_drop(c);
}
