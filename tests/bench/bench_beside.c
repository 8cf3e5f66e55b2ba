/*
 * bench_beside - what large fan-outs do to small ones: the latency of a steady trickle of fan-out 1, alone and beside a stream of
 * notifications that become very many jobs each, in turn. Expected shape: the p99 beside at most twice the p99 alone.
 *
 * usage: bench_beside INTAKE OUTBOX LARGE [pairs=5] [ms=1000] [rate=2000] [large_rate=0] [workers=1] [rcvbuf=0]
 *
 * INTAKE and OUTBOX are URLs, or ports of 127.0.0.1. The daemon has one subscription to BESIDE.SMALL and LARGE to BESIDE.LARGE,
 * and takes bare notifications. Small ones come at rate a second, whatever comes back; their latency counts from when each was
 * due. Two large ones are open at once, or, with large_rate, they come at so many jobs a second, as long as no more are open.
 * Everything leaves by one connection, as it would to a worker that serves both, or by several. rcvbuf: SO_RCVBUF of each, in
 * bytes; 0: the kernel lets it grow.
 *
 * Prints a JSON array of the pairs. ahead: how many large jobs reached the workers between a small one's sending and its job:
 * what was in its way, which a busy machine changes less than it does the time.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "sp_raw.h"

#define FOR_EVER_MS  86400000
#define SEND_MS      60000
#define STANDSTILL_S 30
#define N_OPEN       2 /* large ones */

/* Behind it, a small one's number, from 1; zero in a large one. */
#define MARK "\"mark\":\""

static long n_large_jobs; /* of one notification */
static long pairs = 5, ms = 1000, rate = 2000, large_rate, workers = 1, rcvbuf;

/* A small one of this slice: its producer fills in the first two before it goes, its worker the others. */
typedef struct small_one {
	uint64_t due_ns;
	long seen_before; /* large jobs */
	uint64_t took_ns;
	uint64_t ahead;
} small_one;

/* written by the workers, read by the producers */
static atomic_long n_small_seen, n_large_seen;
static small_one *small_ones;
static long n_most; /* that a slice can have */

static atomic_bool is_streaming; /* written by the small producer, for the large one */
static atomic_long n_large_sent;

static _Noreturn void
die(const char *what)
{
	fprintf(stderr, "bench_beside: %s\n", what);
	exit(1);
}

static spr_sp
dial(const char *where, spr_sp_protocol mine)
{
	char url[256];
	spr_sp sp;

	snprintf(url, sizeof(url), "%s%s", strstr(where, "://") ? "" : "tcp://127.0.0.1:", where);
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
push(spr_sp *sp, const char *predicate, long number)
{
	char text[300];
	int len = snprintf(text, sizeof(text),
			   "{\"predicate\":\"%s\"," MARK "%020ld\",\"pad\":\"%0170d\"}", predicate,
			   number, 0);

	if (spr_sp_send(sp, NULL, 0, text, (size_t)len, SEND_MS) != SPR_SP_OK)
		die("the intake takes nothing");
}

/* --- the worker ----------------------------------------------------------------------------------- */

static void
note_job(const char *job, size_t len)
{
	const char *mark = memmem(job, len, MARK, sizeof(MARK) - 1);
	long number = mark != NULL ? strtol(mark + sizeof(MARK) - 1, NULL, 10) : 0;
	small_one *one;

	if (number == 0) {
		atomic_fetch_add(&n_large_seen, 1);
		return;
	}
	if (number > n_most)
		die("a job of nobody's");
	one = &small_ones[number - 1];
	one->took_ns = spr_clock_now_ns() - one->due_ns;
	one->ahead = (uint64_t)(atomic_load(&n_large_seen) - one->seen_before);
	atomic_fetch_add(&n_small_seen, 1);
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

/* When the next large one is due; whoever is late is late for good. */
static uint64_t
due_after(uint64_t due_ns)
{
	uint64_t now_ns = spr_clock_now_ns();

	if (large_rate == 0)
		return (now_ns);
	due_ns += (uint64_t)n_large_jobs * SPR_NS_PER_S / (uint64_t)large_rate;
	return (due_ns > now_ns ? due_ns : now_ns);
}

static void *
run_large_producer(void *arg)
{
	uint64_t due_ns = 0;

	for (;;) {
		long sent = atomic_load(&n_large_sent);

		wait_for(&n_large_seen, (sent - N_OPEN + 1) * n_large_jobs);
		if (!atomic_load(&is_streaming) || spr_clock_now_ns() < due_ns) {
			rest_ns(1000000);
			continue;
		}
		due_ns = due_after(due_ns);
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
		small_ones[i].due_ns = due_ns;
		small_ones[i].seen_before = atomic_load(&n_large_seen);
		push(sp, "BESIDE.SMALL", i + 1);
	}
	wait_for(&n_small_seen, n);
	return (n);
}

static int
by_time(const void *a, const void *b)
{
	uint64_t x = ((const small_one *)a)->took_ns, y = ((const small_one *)b)->took_ns;

	return ((x > y) - (x < y));
}

static int
by_ahead(const void *a, const void *b)
{
	uint64_t x = ((const small_one *)a)->ahead, y = ((const small_one *)b)->ahead;

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
	qsort(small_ones, (size_t)n, sizeof(*small_ones), by_time);
	printf("\"%s\":{\"p50_us\":%.1f,\"p99_us\":%.1f,\"large_jobs_per_s\":%.0f", name,
	       (double)small_ones[n / 2].took_ns / 1e3,
	       (double)small_ones[n * 99 / 100].took_ns / 1e3,
	       (double)(atomic_load(&n_large_seen) - before) / took_s);
	qsort(small_ones, (size_t)n, sizeof(*small_ones), by_ahead);
	printf(",\"ahead_p50\":%ld,\"ahead_p99\":%ld}", (long)small_ones[n / 2].ahead,
	       (long)small_ones[n * 99 / 100].ahead);
	atomic_store(&is_streaming, false);
	/* one that was just being begun is counted by the next look */
	for (long sent = -1; sent != atomic_load(&n_large_sent);) {
		sent = atomic_load(&n_large_sent);
		wait_for(&n_large_seen, sent * n_large_jobs);
		rest_ns(5000000);
	}
}

static void
read_option(const char *text)
{
	const struct {
		const char *name;
		long *value;
	} options[] = {{"pairs=", &pairs},           {"ms=", &ms},           {"rate=", &rate},
		       {"large_rate=", &large_rate}, {"workers=", &workers}, {"rcvbuf=", &rcvbuf}};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		size_t len = strlen(options[i].name);

		if (strncmp(text, options[i].name, len) == 0) {
			*options[i].value = atol(text + len);
			return;
		}
	}
	die(text);
}

static void
start_worker(const char *where)
{
	spr_sp *sp = malloc(sizeof(*sp));
	int bytes = (int)rcvbuf;

	if (sp == NULL)
		die("no memory");
	*sp = dial(where, SPR_SP_PULL);
	if (bytes > 0)
		setsockopt(sp->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	start_thread(run_worker, sp);
}

int
main(int argc, char **argv)
{
	spr_sp small, large;

	if (argc < 4 || (n_large_jobs = atol(argv[3])) < 1)
		die("usage: bench_beside INTAKE OUTBOX LARGE [name=value...]");
	for (int i = 4; i < argc; i++)
		read_option(argv[i]);
	n_most = rate * ms / 1000;
	if (n_most < 1 || (small_ones = calloc((size_t)n_most, sizeof(*small_ones))) == NULL)
		die("no small ones, or no memory for them");
	prctl(PR_SET_TIMERSLACK, 1);
	for (long i = 0; i < workers; i++)
		start_worker(argv[2]);
	small = dial(argv[1], SPR_SP_PUSH);
	large = dial(argv[1], SPR_SP_PUSH);
	start_thread(run_large_producer, &large);
	printf("[");
	for (long i = 0; i < pairs; i++) {
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
