/*
 * req - asks a REP peer: `window` requests in flight at once on one REQ socket. Used for answers to
 * upstream.
 *
 * Writer      the ledger: spr_req_send()
 * Reader      on_reply runs on the transport's threads, once per request
 * Ownership   the request's bytes are copied; the reply's bytes are valid during on_reply only
 * Ordering    E6: what was written before send is visible in its on_reply
 * Progress    send never waits
 * Limits      window requests; slot numbers 0..window-1, the caller tracks which are free
 * Teardown    spr_req_stop(), then spr_req_close()
 */
#pragma once

#include "net/net.h"

typedef struct spr_req spr_req;

typedef struct spr_req_config {
	unsigned window;
	unsigned timeout_ms; /* from send to reply, per half */
	size_t max_reply;
	spr_pipe_events pipes;
	/* [nng-cb] SPR_OK with the reply, or SPR_E_TIMEOUT, SPR_E_CLOSED, SPR_E_CANCELLED,
	 * SPR_E_NOMEM without. */
	void (*on_reply)(void *arg, unsigned slot, spr_err result, const uint8_t *data, size_t len);
	void *arg;
} spr_req_config;

/* [main] */
spr_err spr_req_open(spr_req **out, const spr_req_config *config);
spr_err spr_req_listen(spr_req *req, const char *url, char *bound);
spr_err spr_req_dial(spr_req *req, const char *url);
/* [ledger] The slot must be free. On an error nothing was sent and on_reply will not be called. */
spr_err spr_req_send(spr_req *req, unsigned slot, const void *data, size_t len);
/* [any] Peers connected now. */
unsigned spr_req_peers(const spr_req *req);
/* [main] Ends every request (on_reply with an error); when it returns no callback runs or will. */
void spr_req_stop(spr_req *req);
/* [main] NULL is fine. */
void spr_req_close(spr_req *req);
