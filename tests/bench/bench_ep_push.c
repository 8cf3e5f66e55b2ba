/*
 * The sending half of the native transport: nanoseconds a job from its making to its completion, one lane, into workers on
 * loopback that throw away what comes. TSV, one line a series; a turn is so many jobs between two calls of lane_flush.
 *
 *   bytes, turn, workers   of a job; jobs; connections
 *   cpu_ns                 processor time a job of the thread that posts: making, dealing, the system call, completions
 *   wall_ns                time a job
 *   MB/s                   of jobs
 *
 * usage: bench_ep_push [JOBS, default 2000000]
 *
 * Expected: with turns of one job the system call is all; from some 64 on a job of 256 bytes costs the kernel's copy and some
 * tens of ns; long jobs cost their copies. More workers cost a little: shorter runs.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "net/net.h"
#include "sp_raw.h"

#define MAX_WORKERS 16
#define SLOTS       256
#define MAX_TURN    SLOTS
#define READ_BYTES  (1 << 20)

static const spr_transport *const transport = &spr_transport_native;

typedef struct bench {
	spr_push *push;
	spr_push_lane *lane;
	atomic_uint n_peers;
	atomic_ulong n_done; /* jobs */
	spr_sp workers[MAX_WORKERS];
	pthread_t readers[MAX_WORKERS];
	unsigned n_workers;
} bench;

static void
must(bool holds)
{
	if (!holds)
		abort();
}

static void
on_pipe(void *arg, int change)
{
	bench *b = arg;

	atomic_fetch_add(&b->n_peers, (unsigned)change);
}

static void
on_done(void *lane_arg, void *const *cookies, unsigned n, size_t bytes, spr_err result)
{
	bench *b = lane_arg;

	(void)cookies;
	(void)bytes;
	must(result == SPR_OK);
	atomic_fetch_add_explicit(&b->n_done, n, memory_order_relaxed /* a count */);
}

/* The kernel does not even copy what it throws away. */
static void *
discard(void *arg)
{
	spr_sp *worker = arg;

	while (recv(worker->fd, NULL, READ_BYTES, MSG_TRUNC) > 0)
		continue;
	return (NULL);
}

static void
open_bench(bench *b, unsigned n_workers)
{
	const spr_push_config config = {.pipes = {.on_pipe = on_pipe, .arg = b},
					.on_done = on_done};
	char url[SPR_URL_MAX];

	memset(b, 0, sizeof(*b));
	b->n_workers = n_workers;
	must(transport->push_open(&b->push, &config) == SPR_OK);
	must(transport->lane_open(&b->lane, b->push, SLOTS, b) == SPR_OK);
	must(transport->push_listen(b->push, "tcp://127.0.0.1:0", url) == SPR_OK);
	for (unsigned i = 0; i < n_workers; i++) {
		must(spr_sp_dial(&b->workers[i], url, SPR_SP_PULL));
		must(fcntl(b->workers[i].fd, F_SETFL, 0) == 0); /* it waits */
		must(pthread_create(&b->readers[i], NULL, discard, &b->workers[i]) == 0);
	}
	while (atomic_load(&b->n_peers) < n_workers)
		sched_yield();
}

static void
close_bench(bench *b)
{
	while (transport->lane_busy(b->lane) > 0)
		sched_yield();
	transport->push_close(b->push);
	for (unsigned i = 0; i < b->n_workers; i++) {
		pthread_join(b->readers[i], NULL);
		spr_sp_close(&b->workers[i]);
	}
}

/* True: posted. */
static bool
post(bench *b, const uint8_t *bytes, size_t len)
{
	spr_out out;

	if (transport->lane_room(b->lane) == 0)
		return (false);
	must(transport->out_alloc(b->lane, &out, len) == SPR_OK);
	memcpy(out.data, bytes, len);
	must(transport->lane_send(b->lane, &out, NULL) == SPR_OK);
	return (true);
}

static uint64_t
cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return ((uint64_t)t.tv_sec * SPR_NS_PER_S + (uint64_t)t.tv_nsec);
}

static void
measure(size_t len, unsigned turn, unsigned n_workers, unsigned long n_jobs)
{
	uint8_t *bytes = calloc(1, len);
	uint64_t began_ns, cpu_began_ns, took_ns, cpu_took_ns;
	unsigned long n = 0;
	bench b;

	must(bytes != NULL);
	open_bench(&b, n_workers);
	began_ns = spr_clock_now_ns();
	cpu_began_ns = cpu_ns();
	while (n < n_jobs) {
		unsigned k = 0;

		while (k < turn && post(&b, bytes, len))
			k++;
		transport->lane_flush(b.lane);
		n += k;
		if (k < turn)
			sched_yield(); /* the kernel takes no more: the loop goes on */
	}
	cpu_took_ns = cpu_ns() - cpu_began_ns;
	took_ns = spr_clock_now_ns() - began_ns;
	close_bench(&b);
	must(b.n_done == n);
	printf("%zu\t%u\t%u\t%.1f\t%.1f\t%.0f\n", len, turn, n_workers,
	       (double)cpu_took_ns / (double)n, (double)took_ns / (double)n,
	       (double)(n * len) * 1e3 / (double)took_ns);
	fflush(stdout);
	free(bytes);
}

int
main(int argc, char **argv)
{
	static const struct {
		size_t len;
		unsigned turn, n_workers, part; /* of the jobs: one in so many */
	} series[] = {{256, 1, 1, 10},    {256, 8, 1, 4},     {256, 64, 1, 1}, {256, 256, 1, 1},
		      {256, 256, 2, 1},   {256, 256, 16, 1},  {64, 256, 1, 1}, {1024, 256, 1, 2},
		      {16384, 64, 1, 20}, {262144, 4, 1, 200}};
	unsigned long n_jobs = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000000;

	spr_role_set(SPR_ROLE_DISPATCHER);
	printf("bytes\tturn\tworkers\tcpu_ns\twall_ns\tMB/s\n");
	for (unsigned i = 0; i < sizeof(series) / sizeof(series[0]); i++)
		measure(series[i].len, series[i].turn, series[i].n_workers,
			n_jobs / series[i].part);
	return (0);
}
