/*
 * bench_usage - what a process has used so far, by thread, from /proc: processor time, context switches, most memory. Two
 * readings make what it used in between.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_THREADS_MAX 64

typedef struct bench_thread_usage {
	int tid;
	char name[16];
	uint64_t cpu_ns, waits, preempted; /* voluntary and involuntary switches */
} bench_thread_usage;

typedef struct bench_usage {
	unsigned n; /* threads; those over the limit are left out */
	bench_thread_usage thread[BENCH_THREADS_MAX];
	uint64_t cpu_ns; /* of all threads, those that have ended too */
	uint64_t peak_bytes;
} bench_usage;

/* False when there is no such process, or it is somebody else's secret. */
bool bench_usage_read(bench_usage *usage, pid_t pid);
/* What `after` has more than `before`; threads that have ended in between are not in it. */
void bench_usage_subtract(bench_usage *after, const bench_usage *before);
/* Processor time of the process, ended threads too; 0: there is none. */
uint64_t bench_usage_cpu_ns(pid_t pid);
/* Of the process; switches of the threads that are there. */
bench_thread_usage bench_usage_sum(const bench_usage *usage);
