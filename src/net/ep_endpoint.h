/*
 * ep_endpoint - an address that is listened at or dialled, and yields connected descriptors on which the SP handshake is
 * done, on loops. What net/sp_endpoint.h is over nng's streams. Private to net/.
 *
 *   listen: accept --> [one loop each] handshake --> on_stream
 *   dial:   look-up --> connect --> handshake --> on_stream --> spr_ep_endpoint_lost --> pause --> connect ...
 *
 * tcp:// (tcp4://, tcp6:// too) and ipc:// (unix:// too). A name to dial is looked up by a thread of its own, so that no
 * loop waits for it; one to listen at by main, once: a listener that is opened anew is bound to the same address. A new
 * connection goes to the loop that watches the fewest.
 *
 * Writer      loops; main opens and closes
 * Reader      loops: on_stream
 * Ownership   on_stream moves the descriptor out; a dialled one is told back when it is lost
 * Ordering    the steps of one address are handed on by E18, E19 and the timers' mutex; handshakes are in a list that has
 *             a mutex of its own
 * Progress    no call waits for the network, but spr_ep_endpoints_add() for the name of a listener
 * Limits      a connect with its handshake takes at most 10 s; a peer of another protocol is cut off; re-dialling with
 *             full jitter, 20 ms doubling to 2 s; 256 handshakes at once, the oldest is cut for a newcomer; accepting
 *             pauses for 10 ms doubling to 640 ms after an error; an ipc path that is gone is bound anew within 2 s
 * Teardown    stop the loops, then spr_ep_endpoints_stop(), then the descriptors given out, then spr_ep_endpoints_free()
 */
#pragma once

#include "net/ep_loop.h"
#include "net/net.h"

typedef struct spr_ep_endpoint spr_ep_endpoint;

typedef struct spr_ep_endpoint_config {
	uint16_t protocol; /* ours: SPR_SP_PULL and so on, net/sp_wire.h */
	uint16_t peer;     /* the only one that may talk to us */
	spr_ep_loop *const *loops;
	unsigned n_loops;
	/*
	 * TCP_USER_TIMEOUT: how long bytes may be unacknowledged; 0: as long as the kernel likes. The kernel also cuts a
	 * peer that is alive and reads nothing for that long (zero window), so where such peers must be borne it is 0.
	 * Keepalive is on whatever this is: an idle peer that is gone is found within 11 s.
	 */
	unsigned user_timeout_ms;
	/*
	 * [loop] fd is the caller's now: not blocking, TCP_NODELAY, watched by nobody, and the first bytes behind the
	 * handshake are not read yet. It must stay on this loop only by the caller's wish.
	 */
	void (*on_stream)(void *arg, spr_ep_endpoint *endpoint, spr_ep_loop *loop, int fd,
			  const spr_peer *peer);
	void *arg;
} spr_ep_endpoint_config;

/* [any] A URL of a scheme that is served here. */
bool spr_ep_is_served(const char *url);
/*
 * [main] Puts one more address before *list, which begins as NULL; bound as in net.h, NULL dials. SPR_E_ADDRESS with a
 * trail, SPR_E_NOMEM.
 */
spr_err spr_ep_endpoints_add(spr_ep_endpoint **list, const spr_ep_endpoint_config *config,
			     const char *url, char *bound);
/* [any] A stream of this endpoint is gone, its descriptor closed: a dialler dials again. */
void spr_ep_endpoint_lost(spr_ep_endpoint *endpoint);
/* [any] Frames on its streams begin with a byte 1, as on every unix socket. */
bool spr_ep_endpoint_is_ipc(const spr_ep_endpoint *endpoint);
/* [main, after its loops have stopped] No more streams come, addresses and paths are given back. */
void spr_ep_endpoints_stop(spr_ep_endpoint *list);
/* [main] After stop, when every stream given out is told lost. NULL is fine. */
void spr_ep_endpoints_free(spr_ep_endpoint *list);
