/*
 * bench_link - an SP connection of the load tool: many frames a system call, in both directions. No library is in between, so
 * that what is measured is the other side.
 *
 *   handshake  00 'S' 'P' 00 <protocol, 16 bit> 00 00, from both sides
 *   tcp frame  <length, 64 bit> <bytes>            unix sockets: a byte 1 before that
 *
 * Threads     one at a time
 * Memory      two buffers a link; they grow to the longest frame
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define BENCH_URL_MAX 256
/* A request or a reply of ours; what is longer is not from the daemon. */
#define BENCH_FRAME_MAX ((size_t)1 << 30)

typedef enum bench_protocol {
	BENCH_REQ = 0x30,
	BENCH_REP = 0x31,
	BENCH_PUSH = 0x50,
	BENCH_PULL = 0x51,
} bench_protocol;

typedef struct bench_buffer {
	char *bytes;
	size_t start, end, size; /* [start, end) is in it */
} bench_buffer;

typedef struct bench_link {
	int fd;        /* -1: closed */
	bool is_local; /* a unix socket */
	bench_buffer in, out;
} bench_link;

#define BENCH_LINK_CLOSED ((bench_link){.fd = -1})

/* Tries for patience_ns: the other side may be starting. tcp://HOST:PORT, ipc://PATH. SPR_E_ADDRESS with a trail. */
spr_err
bench_link_dial(bench_link *link, const char *url, bench_protocol mine, uint64_t patience_ns);
/* *fd listens; bound gets the URL with the real port, BENCH_URL_MAX bytes. SPR_E_ADDRESS with a trail. */
spr_err bench_listen(int *fd, const char *url, char *bound);
/* Takes a newcomer; it must shake hands within seconds. */
spr_err bench_link_accept(bench_link *link, int listener, bench_protocol mine);
void bench_link_close(bench_link *link);

typedef enum bench_io { BENCH_IO_DONE, BENCH_IO_AGAIN, BENCH_IO_GONE } bench_io;

/* One read of what there is: DONE, AGAIN when there is nothing. */
bench_io bench_link_read(bench_link *link);
/* The next whole frame of what was read, valid until the next read. */
bool bench_link_next(bench_link *link, char **data, size_t *len);
/* Room for a frame of at most max bytes in the out buffer; NULL without memory. */
char *bench_link_room(bench_link *link, size_t max);
/* The len bytes written there become a frame. */
void bench_link_put(bench_link *link, size_t len);
/* Bytes waiting to be written. */
static inline size_t
bench_link_waiting(const bench_link *link)
{
	return (link->out.end - link->out.start);
}
/* Writes what it can: DONE when nothing waits any more. */
bench_io bench_link_flush(bench_link *link);
/* Waits until it can be read (or, with is_write, written), at most so long; false when it cannot. */
bool bench_link_wait(bench_link *link, bool is_write, uint64_t ns);
