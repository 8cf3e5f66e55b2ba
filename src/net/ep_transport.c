/*
 * ep_transport - the table of the native transport. What it does not do itself is nng's.
 */
#include "net/ep_address.h"
#include "net/ep_pull.h"
#include "net/ep_push.h"
#include "net/sp_rep.h"
#include "net/sp_req.h"

const spr_transport spr_transport_native = {
    .name = "native",
    .stream_ns = 12000, /* a receive costs less than nng's; what one read brings is one instant */
    .pull_open = spr_ep_pull_open,
    .pull_listen = spr_ep_pull_listen,
    .pull_dial = spr_ep_pull_dial,
    .pull_start = spr_ep_pull_start,
    .pull_rearm = spr_ep_pull_rearm,
    .pull_stop = spr_ep_pull_stop,
    .pull_close = spr_ep_pull_close,
    .lane_slots = 256, /* joined into 64 KiB a system call, with jobs of 256 bytes */
    .push_open = spr_ep_push_open,
    .push_listen = spr_ep_push_listen,
    .push_dial = spr_ep_push_dial,
    .lane_open = spr_ep_lane_open,
    .out_alloc = spr_ep_out_alloc,
    .out_free = spr_ep_out_free,
    .lane_send = spr_ep_lane_send,
    .lane_flush = spr_ep_lane_flush,
    .lane_room = spr_ep_lane_room,
    .lane_abort = spr_ep_lane_abort,
    .lane_busy = spr_ep_lane_busy,
    .push_flush = spr_ep_push_flush,
    .push_close = spr_ep_push_close,
    .req_open = spr_sp_req_open,
    .req_listen = spr_sp_req_listen,
    .req_dial = spr_sp_req_dial,
    .req_send = spr_sp_req_send,
    .req_peers = spr_sp_req_peers,
    .req_stop = spr_sp_req_stop,
    .req_close = spr_sp_req_close,
    .rep_open = spr_sp_rep_open,
    .rep_listen = spr_sp_rep_listen,
    .rep_start = spr_sp_rep_start,
    .rep_reply = spr_sp_rep_reply,
    .rep_stop = spr_sp_rep_stop,
    .rep_close = spr_sp_rep_close,
};

bool
spr_transport_native_serves(const char *url)
{
	return (spr_ep_is_served(url));
}
