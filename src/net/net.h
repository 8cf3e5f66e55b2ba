/*
 * net - endpoints as the daemon sees them, behind one small table of functions, so that a second
 * transport for the same wire protocol can stand beside the first.
 *
 * pull  receives: `receives` are in flight at once; each is one writer of one set of rings.
 * push  sends: each dispatcher has a lane of `slots` sends in flight; a full lane is back-pressure.
 * req   asks: `window` requests in flight at once; the caller knows which slots are free.
 * rep   answers: `window` requests are worked on at once; further ones wait in their connections.
 *
 * Callbacks run on the transport's threads ([nng-cb]) and must not block.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "net/buf.h"

#define SPR_URL_MAX   256
#define SPR_MAX_PEERS 4096

typedef struct spr_pull spr_pull;
typedef struct spr_push spr_push;
typedef struct spr_push_lane spr_push_lane;
typedef struct spr_req spr_req;
typedef struct spr_rep spr_rep;

/* A job, or several, being built. The builder fills data[0..len); it may make len smaller before it sends. */
typedef struct spr_out {
	uint8_t *data;
	size_t len;
	void *handle; /* the transport's message */
} spr_out;

typedef struct spr_pipe_events {
	/* [nng-cb] A peer came (+1) or went (-1). May be NULL. */
	void (*on_pipe)(void *arg, int change);
	void *arg;
} spr_pipe_events;

typedef struct spr_pull_config {
	const char *socket; /* for the log: "intake" */
	const char *
	    thread; /* of the threads' names, where a receive has one; at most 8 characters: "receiver" */
	unsigned receives;
	size_t max_message; /* a longer one costs its sender the connection */
	size_t
	    max_bytes; /* what may be kept for the sake of messages that are held, above their own bytes */
	uint64_t spin_ns; /* how long a receive with a thread polls before it sleeps */
	spr_pipe_events pipes;
	/*
	 * [nng-cb, serial per receive] Takes buf over (one reference). True: receive again at once.
	 * False: the receive is parked until spr_pull_rearm(); between the two, nothing runs for
	 * this receive.
	 */
	bool (*on_receive)(void *arg, unsigned receive, spr_buf *buf);
	void *arg;
} spr_pull_config;

#define SPR_DONE_MAX 64 /* sends that end in one call */

/*
 * [nng-cb] Sends of one lane ended, 1 to SPR_DONE_MAX, whose lengths are so many bytes together: SPR_OK = a worker's connection
 * took them, which for streams means written whole. Their slots are free again when this is called. lane_arg is what the lane
 * was opened with; the cookies are valid until it returns.
 */
typedef void (*spr_on_done)(void *lane_arg, void *const *cookies, unsigned n, size_t bytes,
			    spr_err result);

typedef struct spr_push_config {
	spr_pipe_events pipes;
	spr_on_done on_done;
	/* of the native transport; others look at neither */
	size_t peer_bytes; /* that a connection may be given and has not passed on; 0: 1 MiB */
	bool awaits_tcp;   /* taken = acknowledged by the peer's TCP; unix sockets have none */
} spr_push_config;

typedef struct spr_req_config {
	unsigned window;
	unsigned timeout_ms; /* from send to reply */
	size_t max_reply;
	const char *limit_name; /* of max_reply, for the log */
	spr_pipe_events pipes;
	/*
	 * [nng-cb, main in stop] Once for every send: SPR_OK with the reply, whose bytes are valid until it returns, or
	 * SPR_E_TIMEOUT, SPR_E_CLOSED, SPR_E_CANCELLED, SPR_E_NOMEM without. What was written before the send is
	 * visible (E6).
	 */
	void (*on_reply)(void *arg, unsigned slot, spr_err result, const uint8_t *data, size_t len);
	void *arg;
} spr_req_config;

typedef struct spr_rep_config {
	unsigned window;
	size_t max_request; /* a longer one costs its sender the connection */
	const char *limit_name;
	unsigned stall_ms; /* how long a peer may take nothing of its replies; 0: half a minute */
	spr_pipe_events pipes;
	/*
	 * [nng-cb, whoever replies] Must not block. The owner replies with the same number, once, from any thread, and
	 * from here too; until then the bytes are valid.
	 */
	void (*on_request)(void *arg, unsigned number, const uint8_t *data, size_t len);
	void *arg;
} spr_rep_config;

/* One transport. Every function is [main] unless it says otherwise; none blocks for the network. */
typedef struct spr_transport {
	const char *name;

	uint64_t
	    stream_ns; /* messages that come closer together are a stream; 0: as the user likes */
	spr_err (*pull_open)(spr_pull **out, const spr_pull_config *config);
	/* bound gets the URL really bound (port 0 resolved); SPR_URL_MAX bytes. */
	spr_err (*pull_listen)(spr_pull *pull, const char *url, char *bound);
	spr_err (*pull_dial)(spr_pull *pull, const char *url);
	void (*pull_start)(spr_pull *pull);                   /* posts every receive */
	void (*pull_rearm)(spr_pull *pull, unsigned receive); /* [any] once per parked receive */
	/* [in on_receive] No other message came with this one or waits beside it. NULL: who receives does not know. */
	bool (*pull_is_alone)(const spr_pull *pull, unsigned receive);
	void (*pull_stop)(spr_pull *pull);  /* when it returns no callback runs or will */
	void (*pull_close)(spr_pull *pull); /* after stop; NULL is fine */

	unsigned lane_slots; /* that a lane should have; 0: as the user likes */
	spr_err (*push_open)(spr_push **out, const spr_push_config *config);
	spr_err (*push_listen)(spr_push *push, const char *url, char *bound);
	spr_err (*push_dial)(spr_push *push, const char *url);
	/* Before listen and dial. */
	spr_err (*lane_open)(spr_push_lane **out, spr_push *push, unsigned slots, void *lane_arg);
	/* [lane owner] A job of len bytes to fill, for this lane, before which and while which others may be flushed; SPR_E_NOMEM. */
	spr_err (*out_alloc)(spr_push_lane *lane, spr_out *out, size_t len);
	/* [any] Frees a job that was not sent. */
	void (*out_free)(spr_out *out);
	/* [lane owner] Posts the job: SPR_OK moves it out and on_done will be told of it once;
	 * SPR_E_FULL: no free slot. */
	spr_err (*lane_send)(spr_push_lane *lane, spr_out *out, void *cookie);
	/* [lane owner] No more will be sent now: what was posted may wait until this is called. NULL: nothing waits. */
	void (*lane_flush)(spr_push_lane *lane);
	/* [lane owner] Free slots, at least. */
	unsigned (*lane_room)(spr_push_lane *lane);
	/* [any] Every send that has not been taken ends soon with SPR_E_CANCELLED. */
	void (*lane_abort)(spr_push_lane *lane);
	/* [any] Sends that have not ended. */
	unsigned (*lane_busy)(spr_push_lane *lane);
	/* [main] Waits until every live pipe has written what it took, or deadline_ns; true when
	 * flushed. */
	bool (*push_flush)(spr_push *push, uint64_t deadline_ns);
	/* [main] No lane may be in use any more and no send in flight. NULL is fine. */
	void (*push_close)(spr_push *push);

	spr_err (*req_open)(spr_req **out, const spr_req_config *config);
	spr_err (*req_listen)(spr_req *req, const char *url, char *bound);
	spr_err (*req_dial)(spr_req *req, const char *url);
	/* [one thread] Copies the bytes; the slot, 0..window-1, must be free. On an error, as SPR_E_CLOSED when nobody is
	 * connected, nothing was sent and on_reply will not be called. */
	spr_err (*req_send)(spr_req *req, unsigned slot, const void *data, size_t len);
	/* [any] Peers connected now. */
	unsigned (*req_peers)(const spr_req *req);
	/* Ends every request; when it returns no callback runs or will. */
	void (*req_stop)(spr_req *req);
	void (*req_close)(spr_req *req); /* NULL is fine */

	spr_err (*rep_open)(spr_rep **out, const spr_rep_config *config);
	spr_err (*rep_listen)(spr_rep *rep, const char *url, char *bound);
	void (*rep_start)(spr_rep *rep); /* before it, requests wait */
	/* [any] Exactly once per request; copies the bytes. A peer that has gone gets nothing. */
	void (*rep_reply)(spr_rep *rep, unsigned number, const void *data, size_t len);
	/* When it returns no on_request runs or will; what is owed may still be replied, to nobody. */
	void (*rep_stop)(spr_rep *rep);
	void (*rep_close)(spr_rep *rep); /* NULL is fine */
} spr_transport;

/* tcp and unix sockets, both ways. */
extern const spr_transport spr_transport_nng;
/* Every scheme nng knows; sends over its PUSH socket, which does not stand workers that come and go. */
extern const spr_transport spr_transport_nng_sockets;
/* [any] The one of the two above that serves this URL. */
const spr_transport *spr_transport_for(const char *url);
/* tcp, ipc: PULL on threads of its own that speak SP without nng, one a receive; the rest is nng's. */
extern const spr_transport spr_transport_native;
/* [any] spr_transport_native serves this URL. */
bool spr_transport_native_serves(const char *url);
/* Sends only, to nowhere: jobs are thrown away and completed at once. */
extern const spr_transport spr_transport_none;

/* [main, before sockets are opened] Connections that each may have; SPR_MAX_PEERS unless told. Sockets of nng's own have no limit. */
void spr_net_set_max_peers(unsigned n);
unsigned spr_net_max_peers(void);
/* [any] Version text of the library behind it, "1.5.2". */
const char *spr_net_version(void);
/* [any] How many threads the library runs callbacks on; 0 if unknown. */
unsigned spr_net_threads(void);
