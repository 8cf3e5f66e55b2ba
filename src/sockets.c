/*
 * sockets - which transport serves a socket, and what share of the descriptors it may have.
 */
#include "sockets.h"

#include <string.h>
#include <sys/resource.h>

#include "base/log.h"

#define KEPT_FILES 128 /* descriptors that are no peer's */

/*
 * What the sockets may have of the descriptors leaves some for the store, the log and the rest. A place costs one, the
 * handshakes (at most 256) and those on their way out (a quarter) come on top.
 */
void
spr_sockets_limit_peers(const spr_options *options)
{
	unsigned n_sockets = 4 + options->n_ack_peers;
	unsigned max = options->max_peers;
	/* an epoll set and an eventfd for each thread that the native transport may have */
	unsigned n_loops = options->transport == SPR_TRANSPORT_NATIVE ? options->receivers + 3 : 0;
	rlim_t kept = KEPT_FILES + 2 * n_loops;
	struct rlimit files;
	rlim_t share;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY) {
		share = files.rlim_cur > kept ? (files.rlim_cur - kept) / n_sockets : 0;
		share = share >= 640 ? (share - 256) / 5 * 4 : share / 9 * 4;
		share = share > 8 ? share : 8;
		if (share < max) {
			max = (unsigned)share;
			/* the default is as many as there may be */
			if (options->origins[SPR_OPTION_max_peers] != SPR_CONFIG_DEFAULT)
				spr_info("MAX-PEERS",
					 "wanted=%u granted=%u why=\"RLIMIT_NOFILE is %llu\"",
					 options->max_peers, max,
					 (unsigned long long)files.rlim_cur);
		}
	}
	spr_net_set_max_peers(max);
}

static bool
any_is_ws(const spr_config_list *urls)
{
	for (unsigned i = 0; i < urls->n; i++) {
		if (strncmp(urls->item[i], "ws", 2) == 0)
			return (true);
	}
	return (false);
}

/* Every other listener comes back after whatever a peer does to it. */
void
spr_sockets_warn_of_ws(const char *socket, const char *url)
{
	if (spr_transport_for(url) == &spr_transport_nng_sockets)
		spr_warn("NNG-SOCKET",
			 "socket=%s url=\"%s\" why=\"nng's own socket serves ws, and a peer that "
			 "hangs up at "
			 "the wrong moment can silence it: prefer tcp or ipc\"",
			 socket, url);
}

/* Of all addresses of a PULL socket: nng's own when one of them is ws. */
const spr_transport *
spr_sockets_pull(const spr_options *options, const char *socket, const spr_config_list *listen,
		 const spr_config_list *dial)
{
	if (options->transport == SPR_TRANSPORT_NATIVE)
		return (&spr_transport_native); /* no other schemes: see options_check */
	for (unsigned i = 0; i < listen->n; i++)
		spr_sockets_warn_of_ws(socket, listen->item[i]);
	for (unsigned i = 0; i < dial->n; i++)
		spr_sockets_warn_of_ws(socket, dial->item[i]);
	return (any_is_ws(listen) || any_is_ws(dial) ? &spr_transport_nng_sockets
						     : &spr_transport_nng);
}

const spr_transport *
spr_sockets_outbox(const spr_options *options)
{
	if (options->outbox_listen.n == 0 && options->outbox_dial.n == 0) {
		spr_warn("OUTBOX-NONE", "why=\"--outbox-listen none: jobs are thrown away\"");
		return (&spr_transport_none);
	}
	if (options->transport == SPR_TRANSPORT_NATIVE)
		return (&spr_transport_native);
	if (any_is_ws(&options->outbox_listen) || any_is_ws(&options->outbox_dial)) {
		spr_warn("OUTBOX-WS",
			 "why=\"nng's own PUSH socket serves ws; workers that come and go can "
			 "end the process: prefer tcp or ipc\"");
		return (&spr_transport_nng_sockets);
	}
	return (&spr_transport_nng);
}
