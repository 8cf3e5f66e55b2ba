/*
 * nng_rep - replies over nng's REP socket, for schemes whose framing is nng's alone (ws). Private to net/; the contract is
 * in net.h.
 *
 * Threads     as net.h says
 */
#pragma once

#include "net/net.h"

spr_err spr_nng_rep_open(spr_rep **out, const spr_rep_config *config);
spr_err spr_nng_rep_listen(spr_rep *rep, const char *url, char *bound);
void spr_nng_rep_start(spr_rep *rep);
void spr_nng_rep_reply(spr_rep *rep, unsigned number, const void *data, size_t len);
void spr_nng_rep_stop(spr_rep *rep);
void spr_nng_rep_close(spr_rep *rep);
