/*
 * http_server - HTTP/1.1 on sockets of its own, in front of libmicrohttpd: whole requests in, answers out, and every
 * limit that keeps a hostile client from mattering to the rest of the daemon.
 *
 *   [http] headers, body --on_request--> spr_http_answer()                   at once
 *                                    \-> spr_http_defer() ... spr_http_answer()  later, from any thread
 *
 * A connection is dropped when it is idle, when its request is not there and answered in time however slowly it
 * trickles, and not even taken when there are too many of them, or of one address.
 *
 * Writer      the library's threads call on_request; any thread may answer what was deferred
 * Reader      as the writer
 * Ownership   an exchange is the server's; from on_request until its answer it may be read by whoever answers
 * Ordering    E2 where a request goes through control; an answer passes by the library's own lock
 * Progress    on_request must not wait; an answer takes a lock for a moment
 * Limits      spr_http_config
 * Teardown    spr_http_server_stop() waits for what was deferred, so whoever answers must still run; then free
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define SPR_HTTP_ADDRESS_MAX 128

typedef struct spr_http_server spr_http_server;
typedef struct spr_http_exchange spr_http_exchange;

typedef struct spr_http_config {
	unsigned max_connections;
	unsigned max_per_address;
	unsigned max_deferred;
	unsigned idle_s;     /* between requests, and between bytes */
	unsigned request_ms; /* from the first moment of a request to the end of its answer */
	size_t max_body;
	void (*on_request)(void *arg, spr_http_exchange *exchange); /* [http] */
	void *arg;
} spr_http_config;

typedef struct spr_http_header {
	const char *name;
	const char *value;
} spr_http_header;

/* An answer: constant texts, but for the body. */
typedef struct spr_http_reply {
	unsigned status;
	const char *type;
	const spr_http_header *headers; /* ends with a NULL name; may be NULL */
	const char *body;
	size_t len;
	bool
	    is_constant; /* the body lives for ever; else it is malloc memory that the server frees */
} spr_http_reply;

/* [main] */
spr_err spr_http_server_new(spr_http_server **out, const spr_http_config *config);
/* [main] address is HOST:PORT, [V6]:PORT too; bound gets "http://HOST:PORT", with a
 * certificate loaded (net/tls.h) "https://HOST:PORT", SPR_HTTP_ADDRESS_MAX bytes. SPR_E_ADDRESS
 * with a trail. Serves from here on. */
spr_err spr_http_server_listen(spr_http_server *server, const char *address, char *bound);
/* [main] NULL is fine. */
void spr_http_server_stop(spr_http_server *server);
/* [main, stopped] NULL is fine. */
void spr_http_server_free(spr_http_server *server);

/* [whoever answers] */
const char *spr_http_method(const spr_http_exchange *exchange);
const char *spr_http_path(const spr_http_exchange *exchange);
/* NULL when there is none. */
const char *spr_http_header_of(const spr_http_exchange *exchange, const char *name);
/* NULL when there is none; len is 0 and the text "" for one without a value. Both must not be kept. */
const char *spr_http_query(const spr_http_exchange *exchange, const char *name, size_t *len);
const char *spr_http_body(const spr_http_exchange *exchange, size_t *len);

/* [http, in on_request] The answer will come later. False: too many wait already, or the server stops; answer now. */
bool spr_http_defer(spr_http_exchange *exchange);
/* [any, once an exchange] */
void spr_http_answer(spr_http_exchange *exchange, const spr_http_reply *reply);
