/*
 * The table of jobs: nanoseconds a job for each step of its life, one thread. TSV, one line a series: fan-outs of 100 jobs are opened
 * until n are open, then pushed (their owner is looked up), get their receipts in random order, and are forgotten.
 *
 *   open          how many are open at once; hot: the same keys again and again, else new ones
 *   open..forget  ns a job; all: their sum, and what a job costs in this table
 *
 * A last line has one chain of a million, failed by time-out and forgotten.
 *
 * Expected: some 60 ns in all while everything is in the cache; new keys cost a miss for their bucket; with more jobs than the cache has lines
 * for, a miss or two each for open, receipt and forget (bucket, entry), flat from there on: nothing grows with the number of jobs.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "path/jobs.h"

#define FAN_OUT  100
#define MAX_OPEN 1000000
#define N_FEW    1000
#define N_JOBS   4000000 /* of a series, about */

enum { OPEN, PUSH, RECEIPT, FORGET, N_STEPS };

typedef struct bench {
	spr_jobs *jobs;
	uint32_t n;  /* open at once */
	bool is_hot; /* the same keys again and again */
	uint64_t first_key;
	uint32_t job[MAX_OPEN];
	uint32_t head[MAX_OPEN / FAN_OUT];
	uint32_t order[MAX_OPEN];
	uint64_t ns[N_STEPS];
} bench;

/* splitmix64: stands for the hash of a job. */
static uint64_t
mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (x ^ (x >> 31));
}

static spr_job_key
key_of(uint64_t i)
{
	return ((spr_job_key){.low = mix(i), .high = mix(~i)});
}

static void
must(bool holds)
{
	if (!holds)
		abort();
}

static void
open_all(bench *b)
{
	for (uint32_t f = 0; f < b->n / FAN_OUT; f++) {
		uint32_t n_chain = 0;

		b->head[f] = SPR_JOB_NONE;
		must(spr_credits_reserve(spr_jobs_credits(b->jobs), FAN_OUT));
		for (uint32_t i = f * FAN_OUT; i < (f + 1) * FAN_OUT; i++)
			must(spr_jobs_open(b->jobs, key_of(b->first_key + i), f, &b->head[f],
					   &n_chain, &b->job[i]) == SPR_JOB_OPENED);
	}
}

static void
push_all(bench *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		must(spr_jobs_owner(b->jobs, b->job[i]) == i / FAN_OUT);
}

static void
receipt_all(bench *b)
{
	uint32_t owner;

	for (uint32_t i = 0; i < b->n; i++)
		must(spr_jobs_receipt(b->jobs, key_of(b->first_key + b->order[i]), false, &owner) ==
		     SPR_RECEIPT_TAKEN);
}

static void
forget_all(bench *b)
{
	for (uint32_t f = 0; f < b->n / FAN_OUT; f++) {
		must(spr_jobs_forget(b->jobs, b->head[f]) == FAN_OUT);
		spr_credits_give_back(spr_jobs_credits(b->jobs), FAN_OUT);
	}
}

static void
shuffle(bench *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		b->order[i] = i;
	for (uint32_t i = b->n - 1; i > 0; i--) {
		uint32_t other = (uint32_t)(mix(i) % (i + 1)), kept = b->order[i];

		b->order[i] = b->order[other];
		b->order[other] = kept;
	}
}

static void
life(bench *b)
{
	static void (*const step[N_STEPS])(bench *) = {open_all, push_all, receipt_all, forget_all};

	for (int i = 0; i < N_STEPS; i++) {
		uint64_t began_ns = spr_clock_now_ns();

		step[i](b);
		b->ns[i] += spr_clock_now_ns() - began_ns;
	}
	if (!b->is_hot)
		b->first_key += b->n;
}

static void
series(bench *b, uint32_t n)
{
	uint32_t rounds = N_JOBS / n;
	double all = 0;

	b->n = n;
	shuffle(b);
	life(b); /* touches the memory */
	for (int i = 0; i < N_STEPS; i++)
		b->ns[i] = 0;
	for (uint32_t i = 0; i < rounds; i++)
		life(b);
	printf("%u%s", n, b->is_hot ? " hot" : "");
	for (int i = 0; i < N_STEPS; i++) {
		double each = (double)b->ns[i] / rounds / n;

		printf("\t%.1f", each);
		all += each;
	}
	printf("\t%.1f\n", all);
}

static void
one_chain(bench *b)
{
	uint32_t head = SPR_JOB_NONE, n_chain = 0, job;
	uint64_t began_ns, failed_ns;

	for (uint32_t i = 0; i < MAX_OPEN; i++)
		must(spr_jobs_open(b->jobs, key_of(i), 1, &head, &n_chain, &job) == SPR_JOB_OPENED);
	began_ns = spr_clock_now_ns();
	must(spr_jobs_fail_chain(b->jobs, head) == MAX_OPEN);
	failed_ns = spr_clock_now_ns();
	must(spr_jobs_forget(b->jobs, head) == MAX_OPEN);
	printf("one chain of %u\tfail %.1f\tforget %.1f\n", MAX_OPEN,
	       (double)(failed_ns - began_ns) / MAX_OPEN,
	       (double)(spr_clock_now_ns() - failed_ns) / MAX_OPEN);
}

int
main(void)
{
	static bench b;

	must(spr_jobs_new(&b.jobs, 1 << 20) == SPR_OK);
	printf("open\topen\tpush\treceipt\tforget\tall\n");
	b.is_hot = true;
	series(&b, N_FEW);
	b.is_hot = false;
	series(&b, N_FEW);
	series(&b, 100000);
	series(&b, MAX_OPEN);
	one_chain(&b);
	spr_jobs_free(b.jobs);
	return (0);
}
