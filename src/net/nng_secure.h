/*
 * nng_secure - TLS of the endpoints of nng's own sockets, which wss:// has: certificates at first, and others when others are
 * loaded. Connections live on.
 *
 * Writer      main
 * Reader      main: a load is told on main too
 * Ownership   what belongs to a socket is kept until it is forgotten
 * Ordering    none needed: one thread
 * Progress    a load takes one connection to this machine a listener
 * Limits      configurations are kept, one a load: see nng_secure.c
 * Teardown    forget each socket, when it is closed
 */
#pragma once

#include <nng/nng.h>

#include "base/error.h"

/* [main] Between create and start; no TLS URL: nothing to do. SPR_E_CONFIG, SPR_E_NOMEM. */
spr_err spr_nng_secure_listener(nng_socket socket, nng_listener listener, const char *url);
spr_err spr_nng_secure_dialer(nng_socket socket, nng_dialer dialer, const char *url);
/* [main] Behind its close. */
void spr_nng_secure_forget(nng_socket socket);
