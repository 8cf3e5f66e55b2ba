/*
 * unsent - how much the kernel takes of a connection before it has sent it. Private to net/.
 *
 * Of a worker that is slower than the rest it would take megabytes, and whatever is posted behind them waits for them: a job of
 * a small notification for thousands of a large one. Behind this limit they stand in the queues of the daemon, which lets small
 * ones pass. What is on the way, or in the peer's buffer, is not counted: a long way is filled as before.
 *
 * Threads     any; no state
 */
#pragma once

#include <sys/socket.h>

#define SPR_UNSENT_BYTES (64 * 1024)

/* [any] Of one tcp connection, or of those that a listener will accept; others are not harmed. */
void spr_unsent_limit(int fd);
/*
 * [any] The same for what has this local address, of which only the address is known: nng 1.5.2 gives no descriptor. It looks at
 * all of the process: for listeners, and connections that are dialled.
 */
void spr_unsent_limit_at(const struct sockaddr *address, socklen_t len);
