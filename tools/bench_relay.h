/*
 * bench_relay - the least that can stand where the daemon is: takes whole frames and sends them on as they are, so many times
 * each. What a run against it makes is the load tool's own limit.
 *
 * Threads     main starts and stops it; it has one of its own, of one producer and one worker
 */
#pragma once

#include "base/error.h"
#include "bench_link.h"

typedef struct bench_relay bench_relay;

/* in and out get its addresses, BENCH_URL_MAX bytes each. */
spr_err bench_relay_start(bench_relay **out, unsigned copies, char *in_url, char *out_url);
/* NULL is fine. */
void bench_relay_stop(bench_relay *relay);
