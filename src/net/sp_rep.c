/*
 * sp_rep - requests wait with their connections for a slot, first come first served.
 *
 *   on_message: held by its parked peer, which goes into the waiting list
 *   deliver:    slot <- first waiting, on_request, the peer reads on
 *   reply:      sent to the peer if it is still there; the slot is free: deliver
 *
 * A connection has one request waiting at most, so that many connections share the slots fairly, and yet several of one
 * connection are worked on at once when there is room. One thread delivers at a time: a reply made inside on_request, or
 * meanwhile by another thread, only frees its slot.
 */
#include "net/sp_rep.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "net/sp_talk.h"

#define MAX_QUEUED (256u << 10)
#define STALL_MS   30000
#define WORD_BYTES 4

/* A request that is being worked on. */
typedef struct rep_slot {
	spr_sp_peer *peer; /* NULL: gone */
	spr_buf *request;  /* NULL: the slot is free */
	size_t trace_len;
} rep_slot;

struct spr_rep {
	/* constant after open */
	spr_rep_config config;
	spr_sp_talk *talk;

	/* guards what follows; taken before the mutex of the talk */
	pthread_mutex_t mutex;
	pthread_cond_t delivered;
	rep_slot *slots;
	unsigned *free; /* numbers of n_free slots */
	unsigned n_free;
	spr_sp_peer *first_waiting, *last_waiting; /* by next */
	bool is_started, is_stopped, is_delivering;
};

size_t
spr_sp_trace_len(const uint8_t *data, size_t len)
{
	for (size_t at = 0; at + WORD_BYTES <= len && at <= SPR_SP_HOPS * WORD_BYTES;
	     at += WORD_BYTES) {
		if ((data[at] & 0x80) != 0)
			return (at + WORD_BYTES);
	}
	return (0);
}

/* The mutex is held. */
static void
wait_locked(spr_rep *rep, spr_sp_peer *peer, spr_buf *buf)
{
	peer->held = buf;
	peer->next = NULL;
	if (rep->last_waiting != NULL)
		rep->last_waiting->next = peer;
	else
		rep->first_waiting = peer;
	rep->last_waiting = peer;
}

/* The mutex is held. The first waiting peer, NULL: none. */
static spr_sp_peer *
take_waiting_locked(spr_rep *rep)
{
	spr_sp_peer *peer = rep->first_waiting;

	if (peer != NULL && (rep->first_waiting = peer->next) == NULL)
		rep->last_waiting = NULL;
	return (peer);
}

/* The mutex is held. Its request has the slot now. */
static rep_slot *
take_slot_locked(spr_rep *rep, spr_sp_peer *peer)
{
	rep_slot *slot = &rep->slots[rep->free[--rep->n_free]];

	slot->peer = peer;
	slot->request = peer->held;
	slot->trace_len = spr_sp_trace_len(peer->held->data, peer->held->len);
	peer->held = NULL;
	return (slot);
}

static void
deliver(spr_rep *rep)
{
	const spr_rep_config *config = &rep->config;

	pthread_mutex_lock(&rep->mutex);
	while (rep->is_started && !rep->is_stopped && !rep->is_delivering && rep->n_free > 0 &&
	       rep->first_waiting != NULL) {
		spr_sp_peer *peer = take_waiting_locked(rep);
		rep_slot *slot = take_slot_locked(rep, peer);
		const spr_buf *buf = slot->request; /* until it is replied */

		rep->is_delivering = true;
		pthread_mutex_unlock(&rep->mutex);
		config->on_request(config->arg, (unsigned)(slot - rep->slots),
				   buf->data + slot->trace_len, buf->len - slot->trace_len);
		spr_sp_peer_resume(peer);
		pthread_mutex_lock(&rep->mutex);
		rep->is_delivering = false;
		pthread_cond_signal(&rep->delivered);
	}
	pthread_mutex_unlock(&rep->mutex);
}

/* ---- what peers do ---- */

static spr_sp_verdict
on_message(void *arg, spr_sp_peer *peer, spr_buf *buf)
{
	spr_rep *rep = arg;
	bool is_taken = false;

	if (spr_sp_trace_len(buf->data, buf->len) > 0) {
		pthread_mutex_lock(&rep->mutex);
		if ((is_taken = !rep->is_stopped))
			wait_locked(rep, peer, buf);
		pthread_mutex_unlock(&rep->mutex);
	}
	if (!is_taken) {
		(void)spr_buf_drop(buf);
		return (SPR_SP_CUT);
	}
	deliver(rep);
	return (SPR_SP_PARK);
}

static void
on_lost(void *arg, spr_sp_peer *peer)
{
	spr_rep *rep = arg;

	pthread_mutex_lock(&rep->mutex);
	for (unsigned i = 0; i < rep->config.window; i++) {
		if (rep->slots[i].peer == peer)
			rep->slots[i].peer = NULL;
	}
	pthread_mutex_unlock(&rep->mutex);
}

/* ---- the table's functions ---- */

static spr_err
open_parts(spr_rep *rep)
{
	const spr_rep_config *config = &rep->config;
	const spr_sp_talk_config talk = {
	    .protocol = SPR_SP_REP,
	    .peer = SPR_SP_REQ,
	    .max_message = config->max_request,
	    .limit_name = config->limit_name,
	    .max_queued = MAX_QUEUED,
	    .stall_ms = config->stall_ms != 0 ? config->stall_ms : STALL_MS,
	    .pipes = config->pipes,
	    .on_message = on_message,
	    .on_lost = on_lost,
	    .arg = rep,
	};

	if ((rep->slots = spr_mem_zalloc(config->window * sizeof(rep_slot))) == NULL ||
	    (rep->free = spr_mem_alloc(config->window * sizeof(unsigned))) == NULL)
		return (SPR_E_NOMEM);
	for (; rep->n_free < config->window; rep->n_free++)
		rep->free[rep->n_free] = rep->n_free;
	return (spr_sp_talk_new(&rep->talk, &talk));
}

spr_err
spr_sp_rep_open(spr_rep **out, const spr_rep_config *config)
{
	spr_rep *rep = spr_mem_zalloc(sizeof(*rep));
	spr_err rv;

	if (rep == NULL)
		return (SPR_E_NOMEM);
	rep->config = *config;
	pthread_mutex_init(&rep->mutex, NULL);
	pthread_cond_init(&rep->delivered, NULL);
	if ((rv = open_parts(rep)) != SPR_OK) {
		spr_sp_rep_close(rep);
		return (rv);
	}
	*out = rep;
	return (SPR_OK);
}

spr_err
spr_sp_rep_listen(spr_rep *rep, const char *url, char *bound)
{
	return (spr_sp_talk_add(rep->talk, url, bound));
}

void
spr_sp_rep_start(spr_rep *rep)
{
	pthread_mutex_lock(&rep->mutex);
	rep->is_started = true;
	pthread_mutex_unlock(&rep->mutex);
	deliver(rep);
}

void
spr_sp_rep_reply(spr_rep *rep, unsigned number, const void *data, size_t len)
{
	rep_slot *slot = &rep->slots[number];
	spr_buf *request = slot->request;
	spr_sp_message *message;

	SPR_ASSERT(number < rep->config.window && request != NULL);
	/* no memory for the reply: the asker times out and asks again */
	message = spr_sp_message_new(request->data, slot->trace_len, data, len);
	pthread_mutex_lock(&rep->mutex);
	if (message != NULL && slot->peer != NULL && spr_sp_peer_send(slot->peer, message))
		message = NULL;
	*slot = (rep_slot){0};
	rep->free[rep->n_free++] = number;
	pthread_mutex_unlock(&rep->mutex);
	spr_sp_message_free(message);
	(void)spr_buf_drop(request);
	deliver(rep);
}

void
spr_sp_rep_stop(spr_rep *rep)
{
	spr_sp_peer *peer;

	pthread_mutex_lock(&rep->mutex);
	rep->is_stopped = true;
	while (rep->is_delivering)
		pthread_cond_wait(&rep->delivered, &rep->mutex);
	peer = rep->first_waiting; /* nobody comes into the list any more, nor takes out of it */
	rep->first_waiting = rep->last_waiting = NULL;
	pthread_mutex_unlock(&rep->mutex);
	while (peer != NULL) {
		spr_sp_peer *next = peer->next;

		(void)spr_buf_drop(peer->held);
		spr_sp_peer_resume(
		    peer); /* its reading ends with the next message, or when it is cut */
		peer = next;
	}
	spr_sp_talk_stop(rep->talk);
}

void
spr_sp_rep_close(spr_rep *rep)
{
	if (rep == NULL)
		return;
	if (rep->talk != NULL)
		spr_sp_rep_stop(rep);
	spr_sp_talk_free(rep->talk);
	for (unsigned i = 0; rep->slots != NULL && i < rep->config.window; i++) {
		if (rep->slots[i].request != NULL) /* owed, and never replied */
			(void)spr_buf_drop(rep->slots[i].request);
	}
	pthread_cond_destroy(&rep->delivered);
	pthread_mutex_destroy(&rep->mutex);
	spr_mem_free(rep->free);
	spr_mem_free(rep->slots);
	spr_mem_free(rep);
}
