/*
 * bench_churn - changes of subscriptions beside the load: so many a second, in turn a new one and the end of an old one, next
 * to those that the run needs.
 *
 * Threads     main starts and stops it; it has one of its own
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

typedef struct bench_churn bench_churn;

spr_err
bench_churn_start(bench_churn **out, const char *control_url, unsigned depth, unsigned a_second);
/* How many were answered ok, and how many not or never. NULL is fine. */
void bench_churn_stop(bench_churn *churn, uint64_t *n_done, uint64_t *n_refused);
