/*
 * sp_rep - replies over byte streams of our own (nng_stream), for tcp and unix sockets. Private to net/; the contract is in
 * net.h.
 *
 * Threads     as net.h says
 */
#pragma once

#include "net/net.h"

#define SPR_SP_HOPS 8

spr_err spr_sp_rep_open(spr_rep **out, const spr_rep_config *config);
spr_err spr_sp_rep_listen(spr_rep *rep, const char *url, char *bound);
void spr_sp_rep_start(spr_rep *rep);
void spr_sp_rep_reply(spr_rep *rep, unsigned number, const void *data, size_t len);
void spr_sp_rep_stop(spr_rep *rep);
void spr_sp_rep_close(spr_rep *rep);

/* [any] Bytes of the back-trace that a request begins with, up to and with the word whose top bit is set; 0: there is none
 * within SPR_SP_HOPS words of devices. */
size_t spr_sp_trace_len(const uint8_t *data, size_t len);
