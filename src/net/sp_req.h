/*
 * sp_req - requests over byte streams of our own (nng_stream), for tcp and unix sockets. Private to net/; the contract is
 * in net.h.
 *
 * Threads     as net.h says
 */
#pragma once

#include "net/net.h"

spr_err spr_sp_req_open(spr_req **out, const spr_req_config *config);
spr_err spr_sp_req_listen(spr_req *req, const char *url, char *bound);
spr_err spr_sp_req_dial(spr_req *req, const char *url);
spr_err spr_sp_req_send(spr_req *req, unsigned slot, const void *data, size_t len);
unsigned spr_sp_req_peers(const spr_req *req);
void spr_sp_req_stop(spr_req *req);
void spr_sp_req_close(spr_req *req);
