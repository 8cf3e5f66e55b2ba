/*
 * sp_pull - the receiving half of a transport: SP PULL over streams of our own. See net.h for the calls.
 *
 * Writer      nng's threads
 * Reader      whoever on_receive hands the message to
 * Ownership   messages move to on_receive; streams and readers belong to their connection
 * Ordering    E2 (connections with something read), E15 (the turn of a receive, which a parked one keeps); nng's locks
 *             hand a rearm on to its callback
 * Progress    callbacks never wait
 * Limits      a connection has at most 64 KiB read ahead, or one longer message; see sp_reader.h
 * Teardown    stop, then close
 */
#pragma once

#include "net/net.h"

spr_err spr_sp_pull_open(spr_pull **out, const spr_pull_config *config);
spr_err spr_sp_pull_listen(spr_pull *pull, const char *url, char *bound);
spr_err spr_sp_pull_dial(spr_pull *pull, const char *url);
void spr_sp_pull_start(spr_pull *pull);
void spr_sp_pull_rearm(spr_pull *pull, unsigned receive);
void spr_sp_pull_stop(spr_pull *pull);
void spr_sp_pull_close(spr_pull *pull);
