/*
 * peer - who is at the other end of a connection, small enough to be copied into every message; text is made when
 * somebody wants to read it.
 *
 * Threads     none of its own: a plain value
 */
#pragma once

#include <stdint.h>

#define SPR_PEER_TEXT_MAX 64

typedef enum spr_peer_kind {
	SPR_PEER_UNKNOWN,
	SPR_PEER_TCP4,
	SPR_PEER_TCP6,
	SPR_PEER_IPC,
} spr_peer_kind;

typedef struct spr_peer {
	uint8_t kind; /* spr_peer_kind */
	uint8_t address
	    [16]; /* TCP4: the first four; IPC: the process id, in the host's order, in the first four */
	uint16_t port; /* in the host's order */
} spr_peer;

/* [any] "tcp://1.2.3.4:567", "tcp://[::1]:567", "ipc:pid=123", or "" for one that is not known. Returns out. */
const char *spr_peer_text(const spr_peer *peer, char out[SPR_PEER_TEXT_MAX]);
