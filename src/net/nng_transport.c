/*
 * nng_transport - the tables that make nng's endpoints transports: one has streams of our own, the other, for schemes whose
 * framing is nng's alone (ws), its PULL and PUSH sockets.
 */
#include <string.h>

#include "net/nng_pull.h"
#include "net/nng_push.h"
#include "net/nng_rep.h"
#include "net/nng_req.h"
#include "net/sp_pull.h"
#include "net/sp_push.h"
#include "net/sp_rep.h"
#include "net/sp_req.h"

const spr_transport spr_transport_nng = {
    .name = "nng",
    .pull_open = spr_sp_pull_open,
    .pull_listen = spr_sp_pull_listen,
    .pull_dial = spr_sp_pull_dial,
    .pull_start = spr_sp_pull_start,
    .pull_rearm = spr_sp_pull_rearm,
    .pull_stop = spr_sp_pull_stop,
    .pull_close = spr_sp_pull_close,
    .push_open = spr_sp_push_open,
    .push_listen = spr_sp_push_listen,
    .push_dial = spr_sp_push_dial,
    .lane_slots = 512, /* several connections that stand still have a batch each */
    .lane_open = spr_sp_lane_open,
    .out_alloc = spr_sp_out_alloc,
    .out_free = spr_sp_out_free,
    .lane_send = spr_sp_lane_send,
    .lane_room = spr_sp_lane_room,
    .lane_abort = spr_sp_lane_abort,
    .lane_busy = spr_sp_lane_busy,
    .push_flush = spr_sp_push_flush,
    .push_close = spr_sp_push_close,
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

const spr_transport spr_transport_nng_sockets = {
    .name = "nng sockets",
    .pull_open = spr_nng_pull_open,
    .pull_listen = spr_nng_pull_listen,
    .pull_dial = spr_nng_pull_dial,
    .pull_start = spr_nng_pull_start,
    .pull_rearm = spr_nng_pull_rearm,
    .pull_stop = spr_nng_pull_stop,
    .pull_close = spr_nng_pull_close,
    .push_open = spr_nng_push_open,
    .push_listen = spr_nng_push_listen,
    .push_dial = spr_nng_push_dial,
    .lane_open = spr_nng_lane_open,
    .out_alloc = spr_nng_out_alloc,
    .out_free = spr_nng_out_free,
    .lane_send = spr_nng_lane_send,
    .lane_room = spr_nng_lane_room,
    .lane_abort = spr_nng_lane_abort,
    .lane_busy = spr_nng_lane_busy,
    .push_flush = spr_nng_push_flush,
    .push_close = spr_nng_push_close,
    .req_open = spr_nng_req_open,
    .req_listen = spr_nng_req_listen,
    .req_dial = spr_nng_req_dial,
    .req_send = spr_nng_req_send,
    .req_peers = spr_nng_req_peers,
    .req_stop = spr_nng_req_stop,
    .req_close = spr_nng_req_close,
    .rep_open = spr_nng_rep_open,
    .rep_listen = spr_nng_rep_listen,
    .rep_start = spr_nng_rep_start,
    .rep_reply = spr_nng_rep_reply,
    .rep_stop = spr_nng_rep_stop,
    .rep_close = spr_nng_rep_close,
};

const spr_transport *
spr_transport_for(const char *url)
{
	return (strncmp(url, "ws", 2) == 0 ? &spr_transport_nng_sockets : &spr_transport_nng);
}
