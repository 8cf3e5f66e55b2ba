/*
 * ep_push - the sending half on loops of our own (epoll), for tcp and unix sockets. Private to net/; the contract is in
 * net.h. A send that ended well is in the kernel whole, or, when TCP's word was asked for, with the peer's TCP; what a lost
 * connection had not passed on so goes to another one.
 *
 * Threads     as net.h says; on_done runs on the lane's owner in lane_flush, and on the loop
 */
#pragma once

#include "net/net.h"

spr_err spr_ep_push_open(spr_push **out, const spr_push_config *config);
spr_err spr_ep_push_listen(spr_push *push, const char *url, char *bound);
spr_err spr_ep_push_dial(spr_push *push, const char *url);
spr_err spr_ep_lane_open(spr_push_lane **out, spr_push *push, unsigned slots, void *lane_arg);
spr_err spr_ep_out_alloc(spr_push_lane *lane, spr_out *out, size_t len);
void spr_ep_out_free(spr_out *out);
spr_err spr_ep_lane_send(spr_push_lane *lane, spr_out *out, void *cookie);
void spr_ep_lane_flush(spr_push_lane *lane);
unsigned spr_ep_lane_room(spr_push_lane *lane);
void spr_ep_lane_abort(spr_push_lane *lane);
unsigned spr_ep_lane_busy(spr_push_lane *lane);
bool spr_ep_push_flush(spr_push *push, uint64_t deadline_ns);
void spr_ep_push_close(spr_push *push);
