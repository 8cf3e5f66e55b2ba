/*
 * sp_req - each request goes to one peer, and whatever happens to that peer ends it.
 *
 * The peer is the one with the fewest requests out and silences, in turn among equals: a face of the upstream that takes
 * requests and says nothing is asked less and less while another one answers. A time-out is the caller's to retry; a peer
 * that does not even read is cut by its connection's stall limit, which is the same time.
 *
 * The id on the wire tells the slot: it is generation * window + slot, so that a reply to an earlier use of the slot finds
 * nobody. One timer serves all: requests have one limit, so the first to end was the first sent.
 */
#include "net/sp_req.h"

#include <endian.h>
#include <string.h>

#include <nng/nng.h>
#include <nng/supplemental/util/platform.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/sp_talk.h"
#include "net/timer.h"

#define ID_BYTES 4
#define ID_BIT   UINT32_C(0x80000000)

typedef struct req_slot {
	spr_sp_peer *peer; /* NULL: the slot is free */
	uint32_t generation;
	uint64_t deadline_ns;
} req_slot;

struct spr_req {
	/* constant after open */
	spr_req_config config;
	spr_sp_talk *talk;
	spr_timer timer;

	/* guards what follows; taken before the mutex of the talk */
	pthread_mutex_t mutex;
	req_slot *slots;
	spr_sp_peer *first, *last; /* those that may be asked; the one asked last is last */
	bool is_timer_set, is_stopped;
};

static uint32_t
id_of(const spr_req *req, unsigned number)
{
	return (ID_BIT | (req->slots[number].generation * req->config.window + number));
}

/* ---- the list of peers: the mutex is held ---- */

static void
append_peer(spr_req *req, spr_sp_peer *peer)
{
	peer->is_listed = true;
	peer->next = NULL;
	peer->prev = req->last;
	if (req->last != NULL)
		req->last->next = peer;
	else
		req->first = peer;
	req->last = peer;
}

static void
remove_peer(spr_req *req, spr_sp_peer *peer)
{
	if (!peer->is_listed)
		return;
	peer->is_listed = false;
	if (peer->prev != NULL)
		peer->prev->next = peer->next;
	else
		req->first = peer->next;
	if (peer->next != NULL)
		peer->next->prev = peer->prev;
	else
		req->last = peer->prev;
}

static spr_sp_peer *
choose_peer(spr_req *req)
{
	spr_sp_peer *best = req->first;

	for (spr_sp_peer *peer = best; peer != NULL; peer = peer->next) {
		if (peer->n_out + peer->n_silent < best->n_out + best->n_silent)
			best = peer;
	}
	return (best);
}

/* ---- ends ---- */

/* The mutex is held. The caller tells the end, without it. */
static void
end_locked(req_slot *slot)
{
	slot->peer->n_out--;
	slot->peer = NULL;
}

static void
tell(spr_req *req, unsigned number, spr_err result)
{
	req->config.on_reply(req->config.arg, number, result, NULL, 0);
}

/* Ends one request of the peer that is lost. False: there is none left. */
static bool
end_lost(spr_req *req, spr_sp_peer *peer)
{
	unsigned number = 0;

	pthread_mutex_lock(&req->mutex);
	remove_peer(req, peer);
	while (number < req->config.window && req->slots[number].peer != peer)
		number++;
	if (number < req->config.window)
		end_locked(&req->slots[number]);
	pthread_mutex_unlock(&req->mutex);
	if (number == req->config.window)
		return (false);
	tell(req, number, SPR_E_CLOSED);
	return (true);
}

/* Ends one request that is late, or sets the timer for the one that will be next. */
static bool
end_late(spr_req *req, uint64_t now_ns)
{
	uint64_t earliest_ns = UINT64_MAX;
	unsigned number;

	pthread_mutex_lock(&req->mutex);
	for (number = 0; number < req->config.window; number++) {
		req_slot *slot = &req->slots[number];

		if (slot->peer != NULL && slot->deadline_ns <= now_ns) {
			slot->peer->n_silent++;
			end_locked(slot);
			break;
		}
		if (slot->peer != NULL && slot->deadline_ns < earliest_ns)
			earliest_ns = slot->deadline_ns;
	}
	if (number == req->config.window) {
		req->is_timer_set = earliest_ns != UINT64_MAX;
		if (req->is_timer_set)
			spr_timer_arm(&req->timer,
				      (unsigned)((earliest_ns - now_ns) / SPR_NS_PER_MS + 1));
	}
	pthread_mutex_unlock(&req->mutex);
	if (number == req->config.window)
		return (false);
	tell(req, number, SPR_E_TIMEOUT);
	return (true);
}

static void
on_timer(void *arg)
{
	spr_req *req = arg;
	uint64_t now_ns = spr_clock_now_ns();

	while (end_late(req, now_ns))
		;
}

/* ---- what peers do ---- */

static void
on_peer(void *arg, spr_sp_peer *peer)
{
	spr_req *req = arg;

	pthread_mutex_lock(&req->mutex);
	append_peer(req, peer);
	pthread_mutex_unlock(&req->mutex);
}

static spr_sp_verdict
on_message(void *arg, spr_sp_peer *peer, spr_buf *buf)
{
	spr_req *req = arg;
	uint32_t id;
	unsigned number;
	bool is_known;

	if (buf->len < ID_BYTES) {
		(void)spr_buf_drop(buf);
		return (SPR_SP_CUT);
	}
	memcpy(&id, buf->data, ID_BYTES);
	id = be32toh(id);
	number = (id & ~ID_BIT) % req->config.window;
	pthread_mutex_lock(&req->mutex);
	if ((is_known = req->slots[number].peer == peer && id_of(req, number) == id)) {
		peer->n_silent = 0;
		end_locked(&req->slots[number]);
	}
	pthread_mutex_unlock(&req->mutex);
	if (is_known)
		req->config.on_reply(req->config.arg, number, SPR_OK, buf->data + ID_BYTES,
				     buf->len - ID_BYTES);
	(void)spr_buf_drop(buf);
	return (SPR_SP_NEXT);
}

static void
on_lost(void *arg, spr_sp_peer *peer)
{
	while (end_lost(arg, peer))
		;
}

/* ---- the table's functions ---- */

static spr_err
open_parts(spr_req *req)
{
	const spr_req_config *config = &req->config;
	const spr_sp_talk_config talk = {
	    .protocol = SPR_SP_REQ,
	    .peer = SPR_SP_REP,
	    .max_message = config->max_reply,
	    .limit_name = config->limit_name,
	    .max_queued = SIZE_MAX, /* what the window may hold */
	    .stall_ms = config->timeout_ms,
	    .pipes = config->pipes,
	    .on_peer = on_peer,
	    .on_message = on_message,
	    .on_lost = on_lost,
	    .arg = req,
	};

	spr_timer_init(&req->timer, on_timer, req);
	if ((req->slots = spr_mem_zalloc(config->window * sizeof(req_slot))) == NULL)
		return (SPR_E_NOMEM);
	return (spr_sp_talk_new(&req->talk, &talk));
}

spr_err
spr_sp_req_open(spr_req **out, const spr_req_config *config)
{
	spr_req *req = spr_mem_zalloc(sizeof(*req));
	spr_err rv;

	if (req == NULL)
		return (SPR_E_NOMEM);
	req->config = *config;
	pthread_mutex_init(&req->mutex, NULL);
	if ((rv = open_parts(req)) != SPR_OK) {
		spr_sp_req_close(req);
		return (rv);
	}
	*out = req;
	return (SPR_OK);
}

spr_err
spr_sp_req_listen(spr_req *req, const char *url, char *bound)
{
	return (spr_sp_talk_add(req->talk, url, bound));
}

spr_err
spr_sp_req_dial(spr_req *req, const char *url)
{
	return (spr_sp_talk_add(req->talk, url, NULL));
}

/* The mutex is held. False: nobody took it. */
static bool
send_locked(spr_req *req, unsigned number, spr_sp_message *message)
{
	req_slot *slot = &req->slots[number];
	spr_sp_peer *peer;

	while ((peer = choose_peer(req)) != NULL) {
		remove_peer(req, peer);
		if (!spr_sp_peer_send(peer, message))
			continue; /* its end is about to be told */
		append_peer(req, peer);
		peer->n_out++;
		slot->peer = peer;
		slot->deadline_ns = spr_clock_now_ns() + req->config.timeout_ms * SPR_NS_PER_MS;
		if (!req->is_timer_set) {
			req->is_timer_set = true;
			spr_timer_arm(&req->timer, req->config.timeout_ms + 1);
		}
		return (true);
	}
	return (false);
}

spr_err
spr_sp_req_send(spr_req *req, unsigned number, const void *data, size_t len)
{
	spr_sp_message *message;
	uint32_t id;
	spr_err rv = SPR_OK;

	pthread_mutex_lock(&req->mutex);
	SPR_ASSERT(number < req->config.window && req->slots[number].peer == NULL);
	req->slots[number].generation =
	    (req->slots[number].generation + 1) % (~ID_BIT / req->config.window);
	id = htobe32(id_of(req, number));
	if (req->is_stopped)
		rv = SPR_E_CANCELLED;
	else if ((message = spr_sp_message_new(&id, ID_BYTES, data, len)) == NULL)
		rv = SPR_E_NOMEM;
	else if (!send_locked(req, number, message)) {
		spr_sp_message_free(message);
		rv = SPR_E_CLOSED;
	}
	pthread_mutex_unlock(&req->mutex);
	return (rv);
}

unsigned
spr_sp_req_peers(const spr_req *req)
{
	return (spr_sp_talk_count(req->talk));
}

void
spr_sp_req_stop(spr_req *req)
{
	pthread_mutex_lock(&req->mutex);
	req->is_stopped = true;
	pthread_mutex_unlock(&req->mutex);
	spr_timer_stop(&req->timer);
	spr_sp_talk_stop(req->talk); /* on_lost ends every request */
}

void
spr_sp_req_close(spr_req *req)
{
	if (req == NULL)
		return;
	if (req->talk != NULL)
		spr_sp_req_stop(req);
	spr_sp_talk_free(req->talk);
	pthread_mutex_destroy(&req->mutex);
	spr_mem_free(req->slots);
	spr_mem_free(req);
}
