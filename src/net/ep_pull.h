/*
 * ep_pull - the receiving half of the native transport: SP PULL on loops of epoll. See net.h for the calls.
 *
 * A receive is a thread: a loop with connections of its own, whose messages it hands on one by one.
 *
 * Writer      loops
 * Reader      whoever on_receive hands the message to
 * Ownership   messages move to on_receive; descriptors and readers belong to their connection, which belongs to its loop
 * Ordering    E2, E18 (a rearm is a task), E19 (connections), E5 (messages and the slabs that they are slices of)
 * Progress    loops never wait but in epoll
 * Limits      slabs, with their slices, as max_bytes of net.h says, at least two a receive, at most SPR_EP_PULL_SLABS; see
 *             ep_slab.h. Beside them up to max_message a connection for a message that has not come whole
 * Teardown    stop ends the threads, then close; messages may live on
 */
#pragma once

#include "net/net.h"

#define SPR_EP_PULL_SLABS 64 /* a receive: 16 MiB */

spr_err spr_ep_pull_open(spr_pull **out, const spr_pull_config *config);
spr_err spr_ep_pull_listen(spr_pull *pull, const char *url, char *bound);
spr_err spr_ep_pull_dial(spr_pull *pull, const char *url);
void spr_ep_pull_start(spr_pull *pull);
void spr_ep_pull_rearm(spr_pull *pull, unsigned receive);
bool spr_ep_pull_is_alone(const spr_pull *pull, unsigned receive);
void spr_ep_pull_stop(spr_pull *pull);
void spr_ep_pull_close(spr_pull *pull);
