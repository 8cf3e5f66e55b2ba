/*
 * ep_listener - a socket that listens, can be checked, and bound anew. Private to net/.
 *
 * Threads     one at a time: main until the endpoint is open, then its home loop, then main when that has stopped
 */
#pragma once

#include "net/ep_address.h"
#include "net/sp_path.h"

typedef struct spr_ep_listener {
	int fd; /* -1: there is none */
	spr_ep_address address;
	struct sockaddr_storage name; /* really bound: to be bound again, without a look-up */
	socklen_t name_len;           /* 0: not bound yet */
	spr_sp_path path;
	char bound[SPR_URL_MAX];
} spr_ep_listener;

/* [main] Waits for a name server, if the URL has a name. SPR_E_ADDRESS with a trail; then nothing is open. */
spr_err spr_ep_listener_open(spr_ep_listener *self, const char *url);
/* [owner] False: nobody can find it any more, as its path is gone or another file. */
bool spr_ep_listener_is_there(const spr_ep_listener *self);
/* [owner, not watched] Closes and binds the same address again, waiting for nobody; SPR_E_ADDRESS with a trail. */
spr_err spr_ep_listener_reopen(spr_ep_listener *self);
/* [owner, not watched] The path, if it is ours, and its lock are removed. Twice is fine. */
void spr_ep_listener_close(spr_ep_listener *self);
