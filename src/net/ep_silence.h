/*
 * ep_silence - has the host at the other end of a tcp connection gone without a word? Private to net/.
 *
 * Keepalive asks only while nothing is on its way. While something is, the kernel asks by sending it again, or by probing a
 * window that is shut, and gives up after a quarter of an hour. TCP_USER_TIMEOUT is sooner, but cuts those who answer every
 * probe and merely do not read. So what is looked at is how many questions in a row had no answer, and since when.
 *
 * Threads     any; no state
 */
#pragma once

#include <stdbool.h>

typedef struct spr_ep_silence {
	bool is_waiting;    /* bytes are in the kernel that the peer has not acknowledged */
	unsigned n_unheard; /* questions in a row that had no answer */
	unsigned silent_ms; /* since the last answer to anything */
} spr_ep_silence;

/* [any] Of a socket that is not tcp: nothing waits. */
spr_ep_silence spr_ep_silence_read(int fd);
/* [any] Nobody is there any more: at least three questions, and ten seconds. */
bool spr_ep_silence_is_final(const spr_ep_silence *silence);
