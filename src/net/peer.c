/*
 * peer - the text of a peer. A unix socket has no address worth telling, so it is told by its process.
 */
#include "net/peer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

const char *
spr_peer_text(const spr_peer *peer, char out[SPR_PEER_TEXT_MAX])
{
	char address[INET6_ADDRSTRLEN];
	int32_t pid;

	out[0] = '\0';
	switch (peer->kind) {
	case SPR_PEER_TCP4:
		(void)inet_ntop(AF_INET, peer->address, address, sizeof(address));
		snprintf(out, SPR_PEER_TEXT_MAX, "tcp://%s:%u", address, peer->port);
		break;
	case SPR_PEER_TCP6:
		(void)inet_ntop(AF_INET6, peer->address, address, sizeof(address));
		snprintf(out, SPR_PEER_TEXT_MAX, "tcp://[%s]:%u", address, peer->port);
		break;
	case SPR_PEER_IPC:
		memcpy(&pid, peer->address, sizeof(pid));
		snprintf(out, SPR_PEER_TEXT_MAX, "ipc:pid=%d", (int)pid);
		break;
	default:
		break;
	}
	return (out);
}
