/*
 * sp_wire - what two SP peers say to each other before anything else, and what is said of one that errs. Private to net/.
 *
 *   00 'S' 'P' 00 <protocol, 16 bit> 00 00      both at once
 *
 * Threads     any; no state
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "net/peer.h"

#define SPR_SP_REQ  0x30
#define SPR_SP_REP  0x31
#define SPR_SP_PUSH 0x50
#define SPR_SP_PULL 0x51

#define SPR_SP_GREETING_BYTES 8

/* [any] */
static inline void
spr_sp_write_greeting(uint8_t *bytes, uint16_t protocol)
{
	const uint8_t greeting[SPR_SP_GREETING_BYTES] = {
	    0, 'S', 'P', 0, (uint8_t)(protocol >> 8), (uint8_t)protocol, 0, 0};

	memcpy(bytes, greeting, sizeof(greeting));
}

/* [any] Counts and logs what a peer did that it must not; its connection is to be cut. */
void spr_sp_blame_malformed(const spr_peer *peer, const char *why);
/* [any] what: "a message over"; limit_name: "--max-message" */
void spr_sp_blame_too_large(const spr_peer *peer, uint64_t len, size_t limit, const char *what,
			    const char *limit_name);
