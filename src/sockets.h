/*
 * sockets - which transport serves a socket, and what share of the descriptors it may have.
 *
 * Threads     main alone
 */
#pragma once

#include "net/net.h"
#include "options.h"

/* [main] Before sockets are opened: --max-peers, or less when RLIMIT_NOFILE allows no more. */
void spr_sockets_limit_peers(const spr_options *options);
/* [main] Logs that an address is served by a socket of nng's own. */
void spr_sockets_warn_of_ws(const char *socket, const char *url);
/* [main] Of the addresses of a PULL socket; of the outbox. Warns of ws. */
const spr_transport *spr_sockets_pull(const spr_options *options, const char *socket,
				      const spr_config_list *listen, const spr_config_list *dial);
const spr_transport *spr_sockets_outbox(const spr_options *options);
