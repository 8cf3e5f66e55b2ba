/*
 * nng_common - error translation, endpoint set-up and pipe events for the nng endpoints.
 *
 * Endpoints are always created, configured, then started: options set later do not reach
 * connections that exist.
 */
#include "net/nng_common.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <nng/supplemental/util/platform.h>

#include "base/log.h"
#include "net/nng_secure.h"
#include "net/unsent.h"

#define RECONNECT_MIN_MS 20
#define RECONNECT_MAX_MS 2000
#define SETTLE_MS        20

const char *
spr_net_version(void)
{
	return (nng_version());
}

unsigned
spr_net_threads(void)
{
	/* nng sizes its callback pool by the machine, not by affinity: two a processor, 16 at most
	 */
	long n = sysconf(_SC_NPROCESSORS_ONLN) * 2;

	return (n > 16 ? 16 : n < 2 ? 2 : (unsigned)n);
}

spr_err
spr_err_from_nng(int rv)
{
	switch (rv) {
	case 0:
		return (SPR_OK);
	case NNG_ENOMEM:
		return (SPR_E_NOMEM);
	case NNG_ETIMEDOUT:
	case NNG_EAGAIN:
		return (SPR_E_TIMEOUT);
	case NNG_ECANCELED:
		return (SPR_E_CANCELLED);
	case NNG_ECLOSED:
	case NNG_ECONNRESET:
	case NNG_ECONNSHUT:
	case NNG_ECONNABORTED:
		return (SPR_E_CLOSED);
	case NNG_EADDRINUSE:
	case NNG_EADDRINVAL:
	case NNG_ECONNREFUSED:
	case NNG_EUNREACHABLE:
	case NNG_EPERM:
		return (SPR_E_ADDRESS);
	case NNG_EMSGSIZE:
		return (SPR_E_TOO_LARGE);
	case NNG_EINVAL:
		return (SPR_E_INVALID);
	case NNG_ENOTSUP:
		return (SPR_E_UNSUPPORTED);
	default:
		return (SPR_E_SYSTEM);
	}
}

static void
on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	spr_pipe_events *pipes = arg;

	(void)pipe;
	if (pipes->on_pipe != NULL)
		pipes->on_pipe(pipes->arg, event == NNG_PIPE_EV_REM_POST ? -1 : 1);
}

spr_err
spr_nng_socket_setup(nng_socket socket, size_t max_message, spr_pipe_events *pipes)
{
	int rv;

	if ((rv = nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, max_message)) != 0 ||
	    (rv = nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS)) != 0 ||
	    (rv = nng_socket_set_ms(socket, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS)) != 0 ||
	    /* not ADD_POST: a peer of the wrong protocol never gets that far, but goes with REM_POST */
	    (rv = nng_pipe_notify(socket, NNG_PIPE_EV_ADD_PRE, on_pipe, pipes)) != 0 ||
	    (rv = nng_pipe_notify(socket, NNG_PIPE_EV_REM_POST, on_pipe, pipes)) != 0)
		return (spr_fail(spr_err_from_nng(rv), "set up socket: %s", nng_strerror(rv)));
	return (SPR_OK);
}

void
spr_nng_bound_url(const char *url, int port, char *bound)
{
	const char *host = strstr(url, "://") + 3; /* nng has parsed it */
	size_t len = strcspn(host, "/");
	size_t host_len = len;

	while (host_len > 0 && host[host_len - 1] != ':' && host[host_len - 1] != ']')
		host_len--;
	/* what precedes the last colon, unless that is none or inside of [v6] */
	host_len = host_len > 0 && host[host_len - 1] == ':' ? host_len - 1 : len;
	if (port > 0)
		snprintf(bound, SPR_URL_MAX, "%.*s:%d%s", (int)(host - url + (long)host_len), url,
			 port, host + len);
	else
		snprintf(bound, SPR_URL_MAX, "%s", url);
}

socklen_t
spr_nng_sockaddr(const nng_sockaddr *address, struct sockaddr_storage *out)
{
	struct sockaddr_un *local = (struct sockaddr_un *)out;
	struct sockaddr_in *inet = (struct sockaddr_in *)out;
	struct sockaddr_in6 *inet6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	switch (address->s_family) {
	case NNG_AF_IPC:
		local->sun_family = AF_UNIX;
		if (strlen(address->s_ipc.sa_path) >= sizeof(local->sun_path))
			return (0);
		strcpy(local->sun_path, address->s_ipc.sa_path);
		return (sizeof(*local));
	case NNG_AF_ABSTRACT:
		if (address->s_abstract.sa_len >= sizeof(local->sun_path))
			return (0);
		local->sun_family = AF_UNIX; /* a name begins with a NUL and has no end */
		memcpy(local->sun_path + 1, address->s_abstract.sa_name,
		       address->s_abstract.sa_len);
		return ((socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				    address->s_abstract.sa_len));
	case NNG_AF_INET:
		inet->sin_family = AF_INET;
		inet->sin_port = address->s_in.sa_port;
		inet->sin_addr.s_addr = address->s_in.sa_addr;
		return (sizeof(*inet));
	case NNG_AF_INET6:
		inet6->sin6_family = AF_INET6;
		inet6->sin6_port = address->s_in6.sa_port;
		memcpy(&inet6->sin6_addr, address->s_in6.sa_addr, sizeof(inet6->sin6_addr));
		return (sizeof(*inet6));
	default:
		return (0);
	}
}

void
spr_nng_limit_unsent(const nng_sockaddr *address)
{
	struct sockaddr_storage its = {0};
	socklen_t len = spr_nng_sockaddr(address, &its);

	if (len > 0 && its.ss_family != AF_UNIX)
		spr_unsent_limit_at((const struct sockaddr *)&its, len);
}

spr_peer
spr_nng_peer(nng_stream *stream)
{
	spr_peer peer = {.kind = SPR_PEER_UNKNOWN};
	nng_sockaddr address;
	uint64_t pid;
	int32_t pid_bytes;

	if (nng_stream_get_addr(stream, NNG_OPT_REMADDR, &address) == 0) {
		if (address.s_family == NNG_AF_INET) {
			peer.kind = SPR_PEER_TCP4;
			memcpy(peer.address, &address.s_in.sa_addr, sizeof(address.s_in.sa_addr));
			peer.port = ntohs(address.s_in.sa_port);
			return (peer);
		}
		if (address.s_family == NNG_AF_INET6) {
			peer.kind = SPR_PEER_TCP6;
			memcpy(peer.address, address.s_in6.sa_addr, sizeof(peer.address));
			peer.port = ntohs(address.s_in6.sa_port);
			return (peer);
		}
	}
	if (nng_stream_get_uint64(stream, NNG_OPT_IPC_PEER_PID, &pid) == 0) {
		peer.kind = SPR_PEER_IPC;
		pid_bytes = (int32_t)pid;
		memcpy(peer.address, &pid_bytes, sizeof(pid_bytes));
	}
	return (peer);
}

void
spr_nng_end(nng_stream *stream, bool is_tls, nng_aio *aio, int rv)
{
	if (is_tls)
		nng_stream_close(stream);
	else
		nng_aio_abort(aio, rv);
}

bool
spr_nng_is_lost(nng_stream *stream)
{
	nng_sockaddr address;

	return (nng_stream_get_addr(stream, NNG_OPT_REMADDR, &address) != 0);
}

spr_err
spr_nng_fail_listen(const char *url, int rv)
{
	return (spr_fail(SPR_E_ADDRESS, "listen on %s: %s; %s", url, nng_strerror(rv),
			 rv == NNG_EADDRINUSE ? "is another process using it?" : "check the URL"));
}

spr_err
spr_nng_listen(nng_socket socket, const char *url, char *bound)
{
	nng_listener listener;
	spr_err err;
	int rv, port = 0;

	if ((rv = nng_listener_create(&listener, socket, url)) != 0)
		return (spr_nng_fail_listen(url, rv));
	/* half-open peers are found by the kernel; schemes without tcp refuse the option, which is
	 * fine */
	(void)nng_listener_set_bool(listener, NNG_OPT_TCP_KEEPALIVE, true);
	if ((err = spr_nng_secure_listener(socket, listener, url)) != SPR_OK) {
		nng_listener_close(listener);
		return (err);
	}
	if ((rv = nng_listener_start(listener, 0)) != 0) {
		nng_listener_close(listener);
		return (spr_nng_fail_listen(url, rv));
	}
	(void)nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port);
	spr_nng_bound_url(url, port, bound);
	return (SPR_OK);
}

spr_err
spr_nng_dial(nng_socket socket, const char *url)
{
	nng_dialer dialer;
	spr_err err;
	int rv;

	if ((rv = nng_dialer_create(&dialer, socket, url)) != 0)
		return (
		    spr_fail(SPR_E_ADDRESS, "dial %s: %s; check the URL", url, nng_strerror(rv)));
	(void)nng_dialer_set_bool(dialer, NNG_OPT_TCP_KEEPALIVE, true);
	if ((err = spr_nng_secure_dialer(socket, dialer, url)) != SPR_OK) {
		nng_dialer_close(dialer);
		return (err);
	}
	if ((rv = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK)) != 0) {
		nng_dialer_close(dialer);
		return (spr_fail(SPR_E_ADDRESS, "dial %s: %s", url, nng_strerror(rv)));
	}
	return (SPR_OK);
}

void
spr_nng_close_settled(nng_socket socket)
{
	nng_msleep(SETTLE_MS);
	nng_close(socket);
	spr_nng_secure_forget(socket);
}
