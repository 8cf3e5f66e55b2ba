/*
 * sp_raw - the SP wire protocol over a plain socket, tcp and ipc, so that tests share no code with
 * the daemon.
 *
 *   handshake  both sides at once: 00 'S' 'P' 00 <protocol, 16 bit> 00 00
 *   tcp frame  <length, 64 bit> <bytes>
 *   ipc frame  01 <length, 64 bit> <bytes>
 *   REQ, REP   the bytes begin with a 4-byte request id, top bit set; the reply repeats it
 *
 * One connection belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum spr_sp_protocol {
	SPR_SP_REQ = 0x30,
	SPR_SP_REP = 0x31,
	SPR_SP_PUSH = 0x50,
	SPR_SP_PULL = 0x51,
} spr_sp_protocol;

typedef struct spr_sp {
	int fd; /* -1: closed */
	bool is_ipc;
	uint8_t *buffer; /* received, not handed out yet: [start, end) */
	size_t start, end, size;
} spr_sp;

#define SPR_SP_CLOSED ((spr_sp){.fd = -1})

typedef enum spr_sp_result { SPR_SP_OK, SPR_SP_TIMEOUT, SPR_SP_GONE } spr_sp_result;

/* Connects and shakes hands; false when there is nobody, or the peer speaks something else. url:
 * tcp://a.b.c.d:p, ipc://path */
bool spr_sp_dial(spr_sp *sp, const char *url, spr_sp_protocol mine);
/* A descriptor that keeps a free port: bound, not listening, so that dialling it is refused; spr_sp_listen() can have it.
 * bound (at least 64 bytes) gets the URL. -1 if it cannot. */
int spr_sp_reserve(char *bound);
/* A listening descriptor, -1 if it cannot; bound (at least 64 bytes) gets the URL with the real
 * port. tcp:// only. */
int spr_sp_listen(const char *url, char *bound);
/* Takes over an accepted descriptor and shakes hands. */
bool spr_sp_adopt(spr_sp *sp, int fd, spr_sp_protocol mine);
void spr_sp_close(spr_sp *sp);

/* One message, made of a head (may be empty) and a body. TIMEOUT: the peer does not read; the
 * connection is of no use any more. */
spr_sp_result spr_sp_send(spr_sp *sp, const void *head, size_t head_len, const void *body,
			  size_t body_len, int ms);
/* One message, valid until the next call. */
spr_sp_result spr_sp_recv(spr_sp *sp, const uint8_t **data, size_t *len, int ms);
/* Bytes as they are, no frame. */
spr_sp_result spr_sp_send_bytes(spr_sp *sp, const void *bytes, size_t len, int ms);
/* Waits until the peer closes; true when it did. */
bool spr_sp_wait_gone(spr_sp *sp, int ms);
/* As REQ: asks and waits for the reply, as text that the caller frees; NULL if none came. */
char *spr_sp_ask(spr_sp *sp, const char *request, size_t len, int ms);
