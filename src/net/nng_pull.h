/*
 * nng_pull - the receiving half of the nng transport. Private to net/.
 *
 * Threads     as net.h says
 */
#pragma once

#include "net/net.h"

spr_err spr_nng_pull_open(spr_pull **out, const spr_pull_config *config);
spr_err spr_nng_pull_listen(spr_pull *pull, const char *url, char *bound);
spr_err spr_nng_pull_dial(spr_pull *pull, const char *url);
void spr_nng_pull_start(spr_pull *pull);
void spr_nng_pull_rearm(spr_pull *pull, unsigned receive);
void spr_nng_pull_stop(spr_pull *pull);
void spr_nng_pull_close(spr_pull *pull);
