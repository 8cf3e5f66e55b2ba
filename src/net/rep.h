/*
 * rep - answers REQ peers: control requests come in, replies go out, `window` at once.
 *
 * Writer      whoever owns a request: spr_rep_reply(), from any thread, once
 * Reader      on_request runs on the transport's threads
 * Ownership   the request's bytes are valid until its reply; reply copies its bytes
 * Ordering    E7: the request's bytes are visible to the thread that gets its number by an E1 or E2 edge
 * Progress    reply never waits
 * Limits      window requests are worked on at once; further ones wait in their connections
 * Teardown    spr_rep_stop(), then spr_rep_close()
 */
#pragma once

#include "net/net.h"

typedef struct spr_rep spr_rep;

typedef struct spr_rep_config {
	unsigned window;
	size_t max_request;
	spr_pipe_events pipes;
	/* [nng-cb] Must not block. The owner replies with the same number, later and from any
	 * thread. */
	void (*on_request)(void *arg, unsigned number, const uint8_t *data, size_t len);
	void *arg;
} spr_rep_config;

/* [main] */
spr_err spr_rep_open(spr_rep **out, const spr_rep_config *config);
spr_err spr_rep_listen(spr_rep *rep, const char *url, char *bound);
void spr_rep_start(spr_rep *rep);
/* [any] Exactly once per request. */
void spr_rep_reply(spr_rep *rep, unsigned number, const void *data, size_t len);
/* [main] When it returns no on_request runs or will; owed replies are still to be made or are
 * dropped by close. */
void spr_rep_stop(spr_rep *rep);
void spr_rep_close(spr_rep *rep);
