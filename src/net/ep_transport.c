/*
 * ep_transport - the table of the native transport. Answers and control go by spr_transport_for().
 */
#include "net/ep_address.h"
#include "net/ep_pull.h"
#include "net/ep_push.h"

const spr_transport spr_transport_native = {
    .name = "native",
    .stream_ns = 12000, /* a receive costs less than nng's; what one read brings is one instant */
    .pull_open = spr_ep_pull_open,
    .pull_listen = spr_ep_pull_listen,
    .pull_dial = spr_ep_pull_dial,
    .pull_start = spr_ep_pull_start,
    .pull_rearm = spr_ep_pull_rearm,
    .pull_is_alone = spr_ep_pull_is_alone,
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
};

bool
spr_transport_native_serves(const char *url)
{
	return (spr_ep_is_served(url));
}
