/*
 * sp_wire - what two SP peers say to each other before anything else. Private to net/.
 *
 *   00 'S' 'P' 00 <protocol, 16 bit> 00 00      both at once
 *
 * Threads     any; no state
 */
#pragma once

#include <stdint.h>
#include <string.h>

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
