/*
 * http_guard - who may list and change subscriptions over HTTP: whoever has the token; without one, whoever is on this
 * machine and no web page.
 *
 * Writer      main: read again
 * Reader      http
 * Ownership   the struct is its adapter's
 * Ordering    a mutex around the token; innermost
 * Progress    takes a lock for a moment
 * Limits      a token of SPR_TOKEN_MAX bytes
 * Teardown    nobody asks any more; fini
 */
#pragma once

#include <pthread.h>

#include "control/http_server.h"

#define SPR_TOKEN_MAX 1024

typedef struct spr_http_guard {
	const char *file; /* NULL: no token; constant */

	/* guards token */
	pthread_mutex_t lock;
	char token[SPR_TOKEN_MAX]; /* the rest is zero */
} spr_http_guard;

typedef enum spr_verdict_of_guard {
	SPR_GUARD_OPEN,
	SPR_GUARD_NO_TOKEN, /* 401: none, or the wrong one */
	SPR_GUARD_FOREIGN, /* 403: asked by a page of somebody else, or under a name that is not this machine's */
} spr_verdict_of_guard;

/* [main] SPR_E_CONFIG with a trail when the file cannot be used. */
spr_err spr_http_guard_init(spr_http_guard *guard, const char *file);
/* [main] */
void spr_http_guard_fini(spr_http_guard *guard);
/* [main] On an error the old token stays. */
spr_err spr_http_guard_reload(spr_http_guard *guard);
/* [http] */
spr_verdict_of_guard spr_http_guard_ask(spr_http_guard *guard, const spr_http_exchange *exchange);
/* [any, for tests] The same for given headers, NULL when absent. */
spr_verdict_of_guard spr_http_guard_judge(spr_http_guard *guard, const char *authorization,
					  const char *host, const char *origin);
