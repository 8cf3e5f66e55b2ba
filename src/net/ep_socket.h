/*
 * ep_socket - connections as descriptors: how they are made, set up, and who is at their other end. Private to net/.
 *
 * Threads     any; no state
 */
#pragma once

#include <netdb.h>
#include <stdbool.h>

#include "net/peer.h"

/* [any] Who is at the other end. */
spr_peer spr_ep_socket_peer(int fd);
/* [any] Of tcp: no delay, little unsent (net/unsent.h), keepalive with short times, and TCP_USER_TIMEOUT unless that is 0. */
void spr_ep_socket_set_up(int fd, int family, unsigned user_timeout_ms);
/* [any] One that does not block, set up, connected or connecting; -1: it failed at once. */
int spr_ep_socket_connect(const struct addrinfo *to, unsigned user_timeout_ms, bool *is_connecting);
