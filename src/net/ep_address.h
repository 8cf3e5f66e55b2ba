/*
 * ep_address - from a URL to socket addresses, and a look-up of names that nobody waits for. Private to net/.
 *
 *   spr_ep_lookup_start() --> [a thread of its own] getaddrinfo --> [loop] the task --> spr_ep_lookup_take()
 *                       \--> spr_ep_lookup_give_up(): the task never runs, the thread ends when it may
 *
 * Writer      the owner; the look-up's thread
 * Reader      the loop that the task is posted to
 * Ownership   the list of addresses moves to whoever takes it, spr_ep_addresses_free(); the task is the owner's memory
 * Ordering    the look-up's mutex, then E2 of its task
 * Progress    none of its calls waits for a name server but spr_ep_resolve()
 * Limits      a thread for each look-up; a URL of SPR_URL_MAX bytes
 * Teardown    take or give up
 */
#pragma once

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "net/ep_loop.h"
#include "net/net.h"

typedef struct spr_ep_address {
	int family;             /* AF_UNIX, AF_INET, AF_INET6; AF_UNSPEC: whatever the host has */
	char scheme[8];         /* "tcp" */
	char host[SPR_URL_MAX]; /* without brackets; "": any. Of AF_UNIX the path */
	char port[6];           /* "0" unless told */
	size_t host_end;        /* of the URL: behind it there is the port, or nothing */
} spr_ep_address;

/* [any] A URL of a scheme that is served. */
bool spr_ep_is_served(const char *url);
/* [any] NULL, or what is wrong with it. */
const char *spr_ep_address_parse(spr_ep_address *out, const char *url);
/*
 * [any] As getaddrinfo, of all families here: its error, or 0 and a list. flags: AI_PASSIVE, AI_NUMERICHOST.
 */
int spr_ep_resolve(const spr_ep_address *address, int flags, struct addrinfo **out);
/* [any] NULL is fine. */
void spr_ep_addresses_free(struct addrinfo *list);

typedef struct spr_ep_lookup spr_ep_lookup;
/* [any] task runs on loop when it has ended. NULL: there is no memory, or no thread, for it. */
spr_ep_lookup *
spr_ep_lookup_start(const spr_ep_address *address, spr_ep_loop *loop, spr_ep_task *task);
/* [loop, in the task] Frees it; NULL: there is no such name. */
struct addrinfo *spr_ep_lookup_take(spr_ep_lookup *lookup);
/* [any, not once the task runs] Frees it, now or later. NULL is fine. */
void spr_ep_lookup_give_up(spr_ep_lookup *lookup);
