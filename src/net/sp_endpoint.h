/*
 * sp_endpoint - a listening or dialling address that yields byte streams on which the SP handshake is done (over
 * nng_stream). Private to net/.
 *
 *   listen: accept -> handshake -> on_stream        dial: dial -> handshake -> on_stream -> spr_sp_endpoint_lost -> dial ...
 *
 * Writer      nng's threads; main opens and closes
 * Reader      nng's threads: on_stream
 * Ownership   on_stream moves the stream out; a dialled one is told back when it is lost
 * Ordering    nng's locks order the steps of one handshake; the list of handshakes has a mutex of its own
 * Progress    callbacks never wait
 * Limits      a handshake takes at most 10 s; a peer of another protocol is cut off; re-dialling with full jitter, 20 ms
 *             doubling to 2 s; 256 handshakes at once, the oldest is cut for a newcomer; accepting pauses for 10 ms
 *             doubling to 640 ms after an error; a listener that takes no connections is opened anew within 4 s
 * Teardown    spr_sp_endpoint_close(); when it returns no callback runs or will
 */
#pragma once

#include <pthread.h>

#include "net/nng_common.h"
#include "net/sp_wire.h"

typedef struct spr_sp_endpoint spr_sp_endpoint;

typedef struct spr_sp_endpoint_config {
	uint16_t protocol; /* ours */
	uint16_t peer;     /* the only one that may talk to us */
	/* [nng-cb] */
	void (*on_stream)(void *arg, spr_sp_endpoint *endpoint, nng_stream *stream);
	void *arg;
} spr_sp_endpoint_config;

/* [main] bound as in net.h; NULL dials. */
spr_err spr_sp_endpoint_open(spr_sp_endpoint **out, const spr_sp_endpoint_config *config,
			     const char *url, char *bound);
/* [nng-cb] A stream of this endpoint is gone: a dialler dials again. */
void spr_sp_endpoint_lost(spr_sp_endpoint *endpoint);
/* [any] Frames on its streams begin with a byte 1, as on every unix socket. */
bool spr_sp_endpoint_is_ipc(const spr_sp_endpoint *endpoint);
bool spr_sp_endpoint_is_tls(const spr_sp_endpoint *endpoint);
/* [main] No more streams come; those given out are the owner's to close. */
void spr_sp_endpoint_stop(spr_sp_endpoint *endpoint);
/* [main] After stop, when every stream given out is told lost. NULL is fine. */
void spr_sp_endpoint_free(spr_sp_endpoint *endpoint);
