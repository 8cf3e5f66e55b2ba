/*
 * nng_common - what the nng endpoints share: error translation, endpoint set-up, pipe events.
 * Private to net/.
 */
#pragma once

#include <sys/socket.h>

#include <nng/nng.h>

#include "net/net.h"

/* [any] Our code for nng's; the only place that knows both. */
spr_err spr_err_from_nng(int rv);

/* [main] The options every socket of ours wants: size limit of received messages, pipe events. */
spr_err spr_nng_socket_setup(nng_socket socket, size_t max_message, spr_pipe_events *pipes);
/* [any] The URL with the port really bound; port 0: the scheme has none. bound: SPR_URL_MAX bytes. */
void spr_nng_bound_url(const char *url, int port, char *bound);
/* [any] Its length, 0 for an address that cannot be connected to. */
socklen_t spr_nng_sockaddr(const nng_sockaddr *address, struct sockaddr_storage *out);
/* [any] What has this local address is to have little unsent in the kernel (net/unsent.h); nothing for unix sockets. */
void spr_nng_limit_unsent(const nng_sockaddr *address);
/* [any] Who is at the other end. */
spr_peer spr_nng_peer(nng_stream *stream);
/*
 * [any, before the stream is freed] Ends an operation that is out on it. Over TLS by closing the stream: there nng loses an abort that
 * comes between two operations of the connection below, and what is out stays out.
 */
void spr_nng_end(nng_stream *stream, bool is_tls, nng_aio *aio, int rv);
/*
 * [any, before the stream is freed] Its connection is gone. Over TLS nng never ends what begins behind that: whoever has something out
 * looks from time to time, and ends it.
 */
#define SPR_LOOK_MS 2000
bool spr_nng_is_lost(nng_stream *stream);
/* [any] The trail of a failed listen. */
spr_err spr_nng_fail_listen(const char *url, int rv);
/* [main] Binds; bound gets the URL with the real port. Fails with a trail that names the URL. */
spr_err spr_nng_listen(nng_socket socket, const char *url, char *bound);
/* [main] Dials in the background and again for ever, 20 ms to 2 s apart. */
spr_err spr_nng_dial(nng_socket socket, const char *url);
/*
 * [main] Closes a socket whose operations have been stopped. nng 1.5 can hang for ever when a
 * socket is closed right behind the stop, so this waits the moment its reaper needs; see
 * src/DESIGN.md.
 */
void spr_nng_close_settled(nng_socket socket);
