/*
 * sp_push - the sending half over byte streams of our own (nng_stream), for tcp and unix sockets. Private to net/; the
 * contract is in net.h, with more behind a completion than nng's PUSH socket can give: a send that ended well is in the
 * kernel whole, and what a lost connection had not written goes to another one.
 *
 * Threads     as net.h says
 */
#pragma once

#include "net/net.h"

spr_err spr_sp_push_open(spr_push **out, const spr_push_config *config);
spr_err spr_sp_push_listen(spr_push *push, const char *url, char *bound);
spr_err spr_sp_push_dial(spr_push *push, const char *url);
spr_err spr_sp_lane_open(spr_push_lane **out, spr_push *push, unsigned slots, void *lane_arg);
spr_err spr_sp_out_alloc(spr_push_lane *lane, spr_out *out, size_t len);
void spr_sp_out_free(spr_out *out);
spr_err spr_sp_lane_send(spr_push_lane *lane, spr_out *out, void *cookie);
unsigned spr_sp_lane_room(spr_push_lane *lane);
void spr_sp_lane_abort(spr_push_lane *lane);
unsigned spr_sp_lane_busy(spr_push_lane *lane);
bool spr_sp_push_flush(spr_push *push, uint64_t deadline_ns);
void spr_sp_push_close(spr_push *push);
