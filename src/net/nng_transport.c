/*
 * nng_transport - the tables that make nng's endpoints transports: one has streams of our own, the other, for schemes whose
 * framing is nng's alone (ws), its PULL and PUSH sockets.
 */
#include "net/nng_pull.h"
#include "net/nng_push.h"
#include "net/sp_pull.h"
#include "net/sp_push.h"

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
    .lane_open = spr_sp_lane_open,
    .out_alloc = spr_sp_out_alloc,
    .out_free = spr_sp_out_free,
    .lane_send = spr_sp_lane_send,
    .lane_room = spr_sp_lane_room,
    .lane_abort = spr_sp_lane_abort,
    .lane_busy = spr_sp_lane_busy,
    .push_flush = spr_sp_push_flush,
    .push_close = spr_sp_push_close,
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
};
