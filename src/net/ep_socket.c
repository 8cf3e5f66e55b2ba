/*
 * ep_socket - what the native transport asks of a connection, whoever made it.
 */
#include "net/ep_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/unsent.h"

/* An idle peer that is gone: found after 5 + 3 * 2 seconds. */
#define KEEPALIVE_IDLE_S     5
#define KEEPALIVE_INTERVAL_S 2
#define KEEPALIVE_PROBES     3

/*
 * Between two retransmissions, or probes of a window that is shut, while nobody answers: the kernel doubles it to two
 * minutes, in which nothing could be found out. Linux 6.15 has it; older ones are what they are.
 */
#define RTO_MAX_MS 3000
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44
#endif

spr_peer
spr_ep_socket_peer(int fd)
{
	struct sockaddr_storage name = {0};
	const struct sockaddr_in *in = (const void *)&name;
	const struct sockaddr_in6 *in6 = (const void *)&name;
	socklen_t len = sizeof(name);
	struct ucred who;
	socklen_t who_len = sizeof(who);
	spr_peer peer = {.kind = SPR_PEER_UNKNOWN};

	if (getpeername(fd, (struct sockaddr *)&name, &len) != 0)
		return (peer);
	if (name.ss_family == AF_INET) {
		peer.kind = SPR_PEER_TCP4;
		memcpy(peer.address, &in->sin_addr, sizeof(in->sin_addr));
		peer.port = ntohs(in->sin_port);
	} else if (name.ss_family == AF_INET6) {
		peer.kind = SPR_PEER_TCP6;
		memcpy(peer.address, &in6->sin6_addr, sizeof(in6->sin6_addr));
		peer.port = ntohs(in6->sin6_port);
	} else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &who_len) == 0) {
		int32_t pid = who.pid;

		peer.kind = SPR_PEER_IPC;
		memcpy(peer.address, &pid, sizeof(pid));
	}
	return (peer);
}

static void
set_int(int fd, int level, int name, int value)
{
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

void
spr_ep_socket_set_up(int fd, int family, unsigned user_timeout_ms)
{
	if (family == AF_UNIX)
		return;
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	spr_unsent_limit(fd);
	set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_int(fd, IPPROTO_TCP, TCP_RTO_MAX_MS, RTO_MAX_MS);
	if (user_timeout_ms > 0)
		set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)user_timeout_ms);
}

int
spr_ep_socket_connect(const struct addrinfo *to, unsigned user_timeout_ms, bool *is_connecting)
{
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return (-1);
	spr_ep_socket_set_up(fd, to->ai_family, user_timeout_ms);
	*is_connecting = false;
	if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
		return (fd);
	*is_connecting = errno == EINPROGRESS;
	if (*is_connecting)
		return (fd);
	close(fd);
	return (-1);
}
