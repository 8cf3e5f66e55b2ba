/*
 * sp_listener - a bound address that can be checked, and bound anew. Private to net/.
 *
 * Beside the path of an ipc address stands "<path>.lock", held by flock as long as we listen there, so that a second daemon
 * is told so before it touches the path of the first. A path that nobody has locked, and on which nobody answers, is what a
 * killed process left: it is replaced.
 *
 * Writer      one thread at a time: the owner's mutex
 * Reader      as the writer
 * Ownership   the lock and the path are ours until close
 * Ordering    none of its own
 * Progress    no call waits for a peer
 * Limits      URLs of SPR_URL_MAX bytes
 * Teardown    close, when no accept is out; free
 */
#pragma once

#include "net/nng_common.h"

typedef struct spr_sp_listener spr_sp_listener;

/* [main] bound as in net.h. Waits for a name server, if the URL has a name. SPR_E_ADDRESS with a trail, SPR_E_NOMEM. */
spr_err spr_sp_listener_open(spr_sp_listener **out, const char *url, char *bound);
/* [owner] Valid until reopen or free; NULL after a reopen that failed. */
nng_stream_listener *spr_sp_listener_stream(spr_sp_listener *self);
/* [owner] False when the path is gone or is another file than the one we made. True for addresses without a path. */
bool spr_sp_listener_is_there(const spr_sp_listener *self);
/*
 * [owner] Connects, and greets as no protocol at all, which whoever accepts it refuses. False: there is nobody to connect
 * to. The connection before it is closed. Without a descriptor to spare nothing happens.
 */
bool spr_sp_listener_probe(spr_sp_listener *self);
/* [owner] Other certificates have been loaded since it was given its own. */
bool spr_sp_listener_is_stale(const spr_sp_listener *self);
/* [owner, no accept out] Gives it those; what it has accepted goes on. */
spr_err spr_sp_listener_renew(spr_sp_listener *self);
/*
 * [owner, no accept out] Closes and binds the same address again, asking no name server; SPR_E_ADDRESS with a trail. While
 * somebody else's file stands at the path nothing is touched.
 */
spr_err spr_sp_listener_reopen(spr_sp_listener *self);
/* [owner] No more connections come; accepts end. The path and its lock are removed. */
void spr_sp_listener_close(spr_sp_listener *self);
/* [owner] NULL is fine. */
void spr_sp_listener_free(spr_sp_listener *self);
