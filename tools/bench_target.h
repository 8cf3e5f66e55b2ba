/*
 * bench_target - what is loaded: a daemon that is started for the run or runs already, what is subscribed there, and the
 * changes made to that beside the load.
 *
 * Threads     main; a churn has a thread of its own
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "bench_link.h"
#include "bench_options.h"

typedef struct bench_target {
	char in[BENCH_URL_MAX], out[BENCH_URL_MAX], receipts[BENCH_URL_MAX], control[BENCH_URL_MAX];
	pid_t pid;       /* whose usage is told; 0: none */
	bool is_ours;    /* to be ended */
	char folder[64]; /* with the ready file; "": none */
} bench_target;

/* ack_url: where answers are served; NULL: nowhere. Waits until it is ready. On failure nothing is left. */
spr_err bench_target_start(bench_target *target, const bench_options *options, const char *ack_url);
/* Subscribes what the run needs, and the background. */
spr_err bench_target_subscribe(const bench_target *target, const bench_options *options);
/* A TERM, if it is ours, and its end awaited: SPR_E_PEER with a trail when it does not end well. A zeroed one is fine. */
spr_err bench_target_stop(bench_target *target);
