/*
 * bench_beside - what large fan-outs do to small ones: the latency of a steady trickle of fan-out 1, alone and beside a stream of
 * notifications that become very many jobs each, in turn. Expected shape: the p99 beside at most twice the p99 alone.
 *
 * usage: bench_beside INTAKE-PORT OUTBOX-PORT LARGE [PAIRS, default 5] [MS a slice, default 1000] [RATE, default 2000]
 *
 * The daemon has one subscription to BESIDE.SMALL and LARGE to BESIDE.LARGE, and takes bare notifications. Small ones come at
 * RATE a second, whatever comes back; their latency counts from when each was due. Two large ones are open at once. Everything
 * leaves by one connection, as it would to a worker that serves both. Prints a JSON array of the pairs.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"
#include "sp_raw.h"

#define FOR_EVER_MS  86400000
#define SEND_MS      60000
#define STANDSTILL_S 30
#define N_OPEN       2 /* large ones */

/* Behind it, when a small one was due; zero in a large one. */
#define MARK "\"mark\":\""

static long n_large_jobs; /* of one notification */
static long ms = 1000, rate = 2000;

/* written by the worker, read by the producers */
static atomic_long n_small_seen, n_large_seen;
static uint64_t *took_ns; /* of the small ones of this slice, in the order they came */
static long n_most;       /* that a slice can have */

static atomic_bool is_streaming; /* written by the small producer, for the large one */
static atomic_long n_large_sent;

static _Noreturn void
die(const char *what)
{
	fprintf(stderr, "bench_beside: %s\n", what);
	exit(1);
}

static spr_sp
dial(const char *port, spr_sp_protocol mine)
{
	char url[64];
	spr_sp sp;

	snprintf(url, sizeof(url), "tcp://127.0.0.1:%s", port);
	if (!spr_sp_dial(&sp, url, mine))
		die(url);
	return (sp);
}

static void
start_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, arg) != 0)
		die("cannot start a thread");
	pthread_detach(thread);
}

static void
push(spr_sp *sp, const char *predicate, uint64_t due_ns)
{
	char text[300];
	int len = snprintf(text, sizeof(text),
			   "{\"predicate\":\"%s\"," MARK "%020llu\",\"pad\":\"%0170d\"}", predicate,
			   (unsigned long long)due_ns, 0);

	if (spr_sp_send(sp, NULL, 0, text, (size_t)len, SEND_MS) != SPR_SP_OK)
		die("the intake takes nothing");
}

/* --- the worker ----------------------------------------------------------------------------------- */

static void
note_job(const char *job, size_t len)
{
	const char *mark = memmem(job, len, MARK, sizeof(MARK) - 1);
	uint64_t due_ns = mark != NULL ? strtoull(mark + sizeof(MARK) - 1, NULL, 10) : 0;
	long n;

	if (due_ns == 0) {
		atomic_fetch_add(&n_large_seen, 1);
		return;
	}
	n = atomic_load(&n_small_seen);
	if (n < n_most)
		took_ns[n] = spr_clock_now_ns() - due_ns;
	atomic_store(&n_small_seen, n + 1);
}

static void *
run_worker(void *arg)
{
	const uint8_t *data, *end, *next;
	size_t len;

	while (spr_sp_recv(arg, &data, &len, FOR_EVER_MS) == SPR_SP_OK) {
		end = data + len;
		for (; data < end; data = next + 1) { /* a line is a job */
			if ((next = memchr(data, '\n', (size_t)(end - data))) == NULL)
				next = end;
			note_job((const char *)data, (size_t)(next - data));
		}
	}
	die("the outbox is gone");
}

/* --- the producers -------------------------------------------------------------------------------- */

static void
rest_ns(uint64_t ns)
{
	nanosleep(&(struct timespec){.tv_nsec = (long)ns}, NULL);
}

static void
wait_for(atomic_long *count, long n)
{
	uint64_t moved_ns = spr_clock_now_ns();
	long last = -1, seen;

	while ((seen = atomic_load(count)) < n) {
		if (seen != last)
			moved_ns = spr_clock_now_ns();
		else if (spr_clock_now_ns() - moved_ns > STANDSTILL_S * SPR_NS_PER_S)
			die("jobs are missing");
		last = seen;
		rest_ns(100000);
	}
}

static void *
run_large_producer(void *arg)
{
	for (;;) {
		long sent = atomic_load(&n_large_sent);

		wait_for(&n_large_seen, (sent - N_OPEN + 1) * n_large_jobs);
		if (!atomic_load(&is_streaming)) {
			rest_ns(1000000);
			continue;
		}
		atomic_store(&n_large_sent, sent + 1);
		push(arg, "BESIDE.LARGE", 0);
	}
	return (NULL);
}

static long
trickle(spr_sp *sp)
{
	uint64_t start_ns = spr_clock_now_ns(), now_ns, due_ns;
	long n = n_most;

	for (long i = 0; i < n; i++) {
		due_ns = start_ns + (uint64_t)i * SPR_NS_PER_S / (uint64_t)rate;
		while ((now_ns = spr_clock_now_ns()) < due_ns)
			rest_ns(due_ns - now_ns);
		push(sp, "BESIDE.SMALL", due_ns);
	}
	wait_for(&n_small_seen, n);
	return (n);
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return ((x > y) - (x < y));
}

static void
run_slice(spr_sp *sp, const char *name, bool is_beside)
{
	long before = atomic_load(&n_large_seen), n;
	uint64_t began_ns = spr_clock_now_ns();
	double took_s;

	atomic_store(&n_small_seen, 0);
	atomic_store(&is_streaming, is_beside);
	n = trickle(sp);
	took_s = (double)(spr_clock_now_ns() - began_ns) / 1e9;
	qsort(took_ns, (size_t)n, sizeof(*took_ns), compare);
	printf("\"%s\":{\"p50_us\":%.1f,\"p99_us\":%.1f,\"large_jobs_per_s\":%.0f}", name,
	       (double)took_ns[n / 2] / 1e3, (double)took_ns[n * 99 / 100] / 1e3,
	       (double)(atomic_load(&n_large_seen) - before) / took_s);
	atomic_store(&is_streaming, false);
	/* one that was just being begun is counted by the next look */
	for (long sent = -1; sent != atomic_load(&n_large_sent);) {
		sent = atomic_load(&n_large_sent);
		wait_for(&n_large_seen, sent * n_large_jobs);
		rest_ns(5000000);
	}
}

int
main(int argc, char **argv)
{
	long n_pairs = argc > 4 ? atol(argv[4]) : 5;
	spr_sp outbox, small, large;

	if (argc < 4 || argc > 7 || (n_large_jobs = atol(argv[3])) < 1)
		die("usage: bench_beside INTAKE-PORT OUTBOX-PORT LARGE [PAIRS] [MS] [RATE]");
	ms = argc > 5 ? atol(argv[5]) : ms;
	rate = argc > 6 ? atol(argv[6]) : rate;
	n_most = rate * ms / 1000;
	if (n_most < 1 || (took_ns = calloc((size_t)n_most, sizeof(*took_ns))) == NULL)
		die("no small ones, or no memory for them");
	prctl(PR_SET_TIMERSLACK, 1);
	outbox = dial(argv[2], SPR_SP_PULL);
	small = dial(argv[1], SPR_SP_PUSH);
	large = dial(argv[1], SPR_SP_PUSH);
	start_thread(run_worker, &outbox);
	start_thread(run_large_producer, &large);
	printf("[");
	for (long i = 0; i < n_pairs; i++) {
		printf("%s{", i > 0 ? ",\n" : "");
		/* which is first changes, so that what drifts hits both */
		run_slice(&small, i % 2 == 0 ? "alone" : "beside", i % 2 != 0);
		printf(",");
		run_slice(&small, i % 2 == 0 ? "beside" : "alone", i % 2 == 0);
		printf("}");
	}
	printf("]\n");
	return (0);
}
