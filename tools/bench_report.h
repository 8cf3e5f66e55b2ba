/*
 * bench_report - what a run was like: figures from its parts, as a table for people or JSON for machines.
 *
 * Threads     main, when the run has stopped
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench_histogram.h"
#include "bench_load.h"
#include "bench_usage.h"

typedef struct bench_result {
	uint64_t notifications, jobs, jobs_wanted, acks, nacks;
	uint64_t messages_sent, bytes_sent, messages_taken, bytes_taken;
	uint64_t churned, churn_refused;
	double seconds; /* from the first write to the last job or ack */
	bench_verdict verdict;
	uint64_t acks_missing, acks_repeated, acks_early;
	char reason[BENCH_REASON_MAX];
	bench_histogram job_latency, ack_latency, lateness;
	bench_usage target, self;
	bool has_target; /* its usage is known */
	bool is_broken;
	const char *target_failure; /* NULL: none */
} bench_result;

/* Everything but usage and target; the load has stopped. */
void bench_result_collect(bench_result *result, bench_load *load);
/* Has all come, exactly as often as it should? */
bool bench_result_is_good(const bench_result *result, const bench_options *options);
void bench_result_print(const bench_result *result, const bench_options *options, FILE *out);
void bench_result_print_json(const bench_result *result, const bench_options *options, FILE *out);
