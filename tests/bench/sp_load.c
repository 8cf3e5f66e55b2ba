/*
 * Load on plain sockets: a producer, one delivery worker and, if asked for, an upstream that takes
 * answers. It shares no code with the daemon and knows no nng, so it measures the daemon and not a
 * library against itself; it drives anything that relays SP messages, baseline_nng_relay too.
 *
 * usage: sp_load thr|lat in=PORT out=PORT [ack=PORT] [receipts=PORT] [n=N] [fan=F] [docs=D] [size=S] [window=W]
 *                [envelope=0|1] [sample=MS pid=PID]
 *
 *   thr   notifications and jobs a second; at most W notifications' worth of jobs or acks are open
 *   lat   one notification at a time: percentiles of the time from its send to its last job
 *
 *   n, fan      notifications, and jobs that each must become (so many subscriptions must be there)
 *   docs, size  documents a message, and bytes a document
 *   envelope    0: bare bodies
 *   ack         listens there as the upstream's REP
 *   receipts    the worker sends receipts there: up to 64 a message, sooner when no job waits to be read
 *   sample, pid a line every so many ms: the time in ns, jobs so far, processor ns of this process and of
 *               process PID. The load then has no limit on its time
 *
 * Exit: 0 done, 1 jobs or acks are missing, 2 it could not begin. Ids begin with the run's own
 * prefix: the daemon remembers the last run's, and an ack of those that comes late must not count.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <endian.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sp_raw.h"

#define PREDICATE   "UN.CEFACT.TRADE.CO.created"
#define FOR_EVER_MS 86400000
#define REPLY_MS    5000

#define RECEIPTS_A_MESSAGE 64
#define SEND_BYTES         16000 /* a system call's worth of small messages */
#define LIMIT_S            50.0
#define STANDSTILL_S       8.0

static struct {
	long in, out, ack, receipts, n, fan, docs, size, window, envelope, sample, pid;
} options = {.n = 100000, .fan = 1, .docs = 1, .size = 256, .window = 20000, .envelope = 1};

static const struct {
	const char *name;
	long *value;
	long min;
} option_table[] = {
    {"in", &options.in, 1},         {"out", &options.out, 1},
    {"ack", &options.ack, 0},       {"receipts", &options.receipts, 1},
    {"n", &options.n, 1},           {"fan", &options.fan, 1},
    {"docs", &options.docs, 1},     {"size", &options.size, 0},
    {"window", &options.window, 1}, {"envelope", &options.envelope, 0},
    {"sample", &options.sample, 1}, {"pid", &options.pid, 1},
};

/* counted by the worker and the upstream, read by the producer */
static atomic_long n_jobs, n_acks, n_nacks, n_ack_peers;
static atomic_bool worker_is_gone;

static char run_prefix[16]; /* constant after start */
static char *is_acked;      /* by number; the upstream's threads */

static double
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return ((double)t.tv_sec + (double)t.tv_nsec * 1e-9);
}

static void
rest_us(long us)
{
	nanosleep(&(struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000}, NULL);
}

static _Noreturn void
die(const char *what, const char *object)
{
	fprintf(stderr, "sp_load: %s %s\n", what, object);
	exit(2);
}

/* Retries for five seconds: the other side may just be starting. */
static spr_sp
dial(long port, spr_sp_protocol mine)
{
	struct timeval timeout = {.tv_sec = REPLY_MS / 1000};
	char url[64];
	spr_sp sp;

	snprintf(url, sizeof(url), "tcp://127.0.0.1:%ld", port);
	for (int i = 0; !spr_sp_dial(&sp, url, mine); i++) {
		if (i == 500)
			die("cannot dial", url);
		rest_us(10000);
	}
	/* blocking: one system call a message instead of a try, a poll and another try */
	fcntl(sp.fd, F_SETFL, 0);
	setsockopt(sp.fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(sp.fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	return (sp);
}

/*
 * The delivery worker: a job a line, the last one with or without a line break.
 */

static long
count_jobs(const uint8_t *data, size_t len)
{
	const uint8_t *end = data + len, *next;
	long n = 0;

	for (; data < end; data = next + 1, n++) {
		if ((next = memchr(data, '\n', (size_t)(end - data))) == NULL)
			return (n + 1);
	}
	return (n);
}

/* Receipts that are not sent yet; the worker's. */
static struct {
	spr_sp sp;
	char text[RECEIPTS_A_MESSAGE * 96];
	size_t len;
	unsigned n;
} receipts = {.sp = {.fd = -1}};

static void
send_receipts(void)
{
	if (receipts.n > 0)
		(void)spr_sp_send(&receipts.sp, NULL, 0, receipts.text, receipts.len, REPLY_MS);
	receipts.len = receipts.n = 0;
}

/* The id is the first member, and at most 64 bytes. */
static void
add_receipt(const uint8_t *job, size_t len)
{
	const uint8_t *end = len > 8 ? memchr(job + 7, '"', len - 7) : NULL;

	if (end == NULL || end - job > 7 + 64)
		return;
	memcpy(receipts.text + receipts.len, job, (size_t)(end - job));
	receipts.len += (size_t)(end - job);
	memcpy(receipts.text + receipts.len, "\"}\n", 3);
	receipts.len += 3;
	if (++receipts.n == RECEIPTS_A_MESSAGE)
		send_receipts();
}

static void *
run_worker(void *arg)
{
	const uint8_t *data;
	size_t len;
	spr_sp_result result;

	for (;;) {
		result = spr_sp_recv(arg, &data, &len, receipts.n > 0 ? 0 : FOR_EVER_MS);
		if (result == SPR_SP_OK) {
			atomic_fetch_add(&n_jobs, count_jobs(data, len));
			if (receipts.sp.fd >= 0)
				add_receipt(data, len);
		} else if (result == SPR_SP_TIMEOUT)
			send_receipts();
		else
			break;
	}
	atomic_store(&worker_is_gone, true);
	return (NULL);
}

/*
 * The upstream: a thread a connection
 */

/* 1 if it is an id of this run that was not acked before. The two ends of a re-sent request may be
 * on two connections. */
static long
note_ack(const char *id)
{
	size_t len = strlen(run_prefix);
	long i;

	if (strncmp(id, run_prefix, len) != 0)
		return (0);
	i = atol(id + len);
	if (i < 0 || i >= options.n)
		return (0);
	return (__atomic_exchange_n(&is_acked[i], 1, __ATOMIC_RELAXED) == 0); /* a flag alone */
}

/* Our ids have no escapes, so a quote is the end. */
static long
count_acks(const char *request)
{
	const char *at = strstr(request, "\"ack\""), *end;
	long n = 0;

	if (at == NULL || (at = strchr(at, '[')) == NULL || (end = strchr(at, ']')) == NULL)
		return (0);
	while ((at = strchr(at, '"')) != NULL && at < end) {
		n += note_ack(++at);
		if ((at = strchr(at, '"')) == NULL)
			break;
		at++;
	}
	return (n);
}

static long
count_nacks(const char *request)
{
	long n = 0;

	while ((request = strstr(request, "\"reason\"")) != NULL) {
		request++;
		n++;
	}
	return (n);
}

/* Counts after the reply: the last one must not be cut off by our exit. */
static void
serve_answers(spr_sp *sp)
{
	static const char reply[] = "{\"ok\":true}";
	const uint8_t *data;
	size_t len;

	while (spr_sp_recv(sp, &data, &len, FOR_EVER_MS) == SPR_SP_OK && len >= 4) {
		char *request = strndup((const char *)data + 4, len - 4);
		long acks, nacks;

		if (request == NULL)
			abort();
		acks = count_acks(request);
		nacks = count_nacks(request);
		free(request);
		if (spr_sp_send(sp, data, 4, reply, strlen(reply), REPLY_MS) != SPR_SP_OK)
			return;
		atomic_fetch_add(&n_nacks, nacks);
		atomic_fetch_add(&n_acks, acks);
	}
}

static void *
run_upstream_connection(void *arg)
{
	int fd = (int)(intptr_t)arg;
	spr_sp sp;

	if (!spr_sp_adopt(&sp, fd, SPR_SP_REP))
		return (NULL);
	atomic_fetch_add(&n_ack_peers, 1);
	serve_answers(&sp);
	spr_sp_close(&sp);
	return (NULL);
}

static void
start_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, arg) != 0)
		die("cannot start", "a thread");
	pthread_detach(thread);
}

static void *
run_upstream(void *arg)
{
	int fd, listener = (int)(intptr_t)arg;

	while ((fd = accept(listener, NULL, NULL)) >= 0)
		start_thread(run_upstream_connection, (void *)(intptr_t)fd);
	return (NULL);
}

static void
start_upstream(void)
{
	char url[64], bound[64];
	int listener;

	snprintf(url, sizeof(url), "tcp://127.0.0.1:%ld", options.ack);
	if ((listener = spr_sp_listen(url, bound)) < 0)
		die("cannot listen on", url);
	start_thread(run_upstream, (void *)(intptr_t)listener);
}

/*
 * Figures while it runs
 */

static unsigned long long
clock_ns(clockid_t clock)
{
	struct timespec t = {0};

	clock_gettime(clock, &t);
	return ((unsigned long long)t.tv_sec * 1000000000 + (unsigned long long)t.tv_nsec);
}

/* One thread reads all of a line, so that neighbouring figures belong to one instant. */
static void *
run_sampler(void *arg)
{
	clockid_t of_peer;

	(void)arg;
	if (clock_getcpuclockid((pid_t)options.pid, &of_peer) != 0)
		die("no such process:", "pid");
	for (;;) {
		printf("%llu %ld %llu %llu\n", clock_ns(CLOCK_MONOTONIC), atomic_load(&n_jobs),
		       clock_ns(CLOCK_PROCESS_CPUTIME_ID), clock_ns(of_peer));
		fflush(stdout);
		rest_us(options.sample * 1000);
	}
	return (NULL);
}

/*
 * The producer
 */

static size_t
put_document(char *at, long i)
{
	const char *tail = options.envelope ? "\"}}" : "\"}";
	size_t len = 0, size = (size_t)options.size;

	if (options.envelope)
		len += (size_t)sprintf(at, "{\"id\":\"%s%ld\",\"body\":", run_prefix, i);
	len += (size_t)sprintf(at + len,
			       "{\"predicate\":\"" PREDICATE "\",\"sender\":\"AU\",\"obj\":\"");
	if (len + strlen(tail) < size) {
		memset(at + len, 'x', size - len - strlen(tail));
		len = size - strlen(tail);
	}
	strcpy(at + len, tail);
	return (len + strlen(tail));
}

/* One message: its length, and up to `docs` documents. */
static size_t
put_message(char *at, long *sent)
{
	size_t len = 8;
	uint64_t frame;

	for (long d = 0; d < options.docs && *sent < options.n; d++) {
		len += put_document(at + len, (*sent)++);
		at[len++] = '\n';
	}
	frame = htobe64(len - 8);
	memcpy(at, &frame, 8);
	return (len);
}

/* The most that put_message() writes. */
static size_t
message_max(void)
{
	return (8 + (size_t)options.docs * ((size_t)options.size + 256));
}

static char *
message_buffer(size_t size)
{
	char *buffer = malloc(size);

	if (buffer == NULL)
		die("out of memory for", "a message");
	return (buffer);
}

static bool
has_all(long sent)
{
	return (atomic_load(&n_jobs) >= sent * options.fan &&
		(options.ack == 0 || atomic_load(&n_acks) >= sent));
}

static bool
is_over_window(long sent)
{
	return (sent * options.fan - atomic_load(&n_jobs) > options.window ||
		(options.ack != 0 && sent - atomic_load(&n_acks) > options.window));
}

/* Nothing has come for a while, or the run is too long. */
static bool
is_stuck(double began_s)
{
	static double moved_s;
	static long last = -1;
	long sum = atomic_load(&n_jobs) + atomic_load(&n_acks);
	double now = now_s();

	if (sum != last) {
		last = sum;
		moved_s = now;
	}
	return (atomic_load(&worker_is_gone) || now > moved_s + STANDSTILL_S ||
		(options.sample == 0 && now > began_s + LIMIT_S));
}

static long
produce(spr_sp *intake, double began_s)
{
	char *buffer = message_buffer(SEND_BYTES + message_max());
	long sent = 0;

	while (sent < options.n) {
		size_t len = 0;

		while (is_over_window(sent) && !is_stuck(began_s))
			rest_us(20);
		if (is_over_window(sent))
			break;
		do
			len += put_message(buffer + len, &sent);
		while (len + message_max() <= SEND_BYTES && sent < options.n);
		if (spr_sp_send_bytes(intake, buffer, len, REPLY_MS) != SPR_SP_OK)
			break;
	}
	free(buffer);
	return (sent);
}

static int
measure_throughput(spr_sp *intake)
{
	double began_s = now_s(), took_s;
	long sent = produce(intake, began_s), jobs, acks;

	while (!has_all(options.n) && !is_stuck(began_s))
		rest_us(100);
	took_s = now_s() - began_s;
	jobs = atomic_load(&n_jobs);
	acks = atomic_load(&n_acks);
	printf("%.0f notif/s %.0f jobs/s (sent %ld jobs %ld acks %ld nacks %ld)\n",
	       (double)jobs / (double)options.fan / took_s, (double)jobs / took_s, sent, jobs, acks,
	       atomic_load(&n_nacks));
	return (jobs == options.n * options.fan && (options.ack == 0 || acks == options.n) ? 0 : 1);
}

/* Sends one notification and waits for its jobs; false when they do not come. */
static bool
round_trip(spr_sp *intake, spr_sp *outbox, char *buffer, long i)
{
	long sent = i, got = 0;
	size_t len = put_message(buffer, &sent);
	const uint8_t *data;

	if (spr_sp_send_bytes(intake, buffer, len, REPLY_MS) != SPR_SP_OK)
		return (false);
	while (got < options.fan) {
		if (spr_sp_recv(outbox, &data, &len, REPLY_MS) != SPR_SP_OK) {
			printf("lost: %ld of %ld jobs of notification %ld\n", got, options.fan, i);
			return (false);
		}
		got += count_jobs(data, len);
	}
	return (true);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x < y ? -1 : x > y);
}

static bool
wait_for_acks(void)
{
	double began_s = now_s();

	while (options.ack != 0 && atomic_load(&n_acks) < options.n) {
		if (now_s() > began_s + 5) {
			printf("lost: %ld acks of %ld\n", atomic_load(&n_acks), options.n);
			return (false);
		}
		rest_us(1000);
	}
	return (true);
}

static int
measure_latency(spr_sp *intake, spr_sp *outbox)
{
	double *took_s = calloc((size_t)options.n, sizeof(*took_s));
	char *buffer = message_buffer(message_max());
	bool is_whole = took_s != NULL;

	for (long i = 0; is_whole && i < options.n; i++) {
		double began_s = now_s();

		is_whole = round_trip(intake, outbox, buffer, i);
		took_s[i] = now_s() - began_s;
	}
	is_whole = is_whole && wait_for_acks();
	if (is_whole) {
		qsort(took_s, (size_t)options.n, sizeof(*took_s), compare);
		printf("p50 %.1f p99 %.1f p99.9 %.1f us\n", took_s[options.n / 2] * 1e6,
		       took_s[options.n * 99 / 100] * 1e6, took_s[options.n * 999 / 1000] * 1e6);
	}
	free(took_s);
	free(buffer);
	return (is_whole ? 0 : 1);
}

static void
read_option(char *text)
{
	char *value = strchr(text, '='), *end;
	size_t n = sizeof(option_table) / sizeof(option_table[0]), i;

	if (value == NULL)
		die("no key=value:", text);
	for (i = 0; i < n; i++) {
		if (strncmp(option_table[i].name, text, (size_t)(value - text)) == 0 &&
		    option_table[i].name[value - text] == '\0')
			break;
	}
	if (i == n)
		die("no such option:", text);
	*option_table[i].value = strtol(value + 1, &end, 10);
	if (*end != '\0' || end == value + 1 || *option_table[i].value < option_table[i].min)
		die("bad value:", text);
}

/* Connections that are still being made are not what is measured. */
static void
settle(void)
{
	double began_s = now_s();

	while (options.ack != 0 && atomic_load(&n_ack_peers) == 0 && now_s() < began_s + 3)
		rest_us(1000);
	rest_us(300000);
}

int
main(int argc, char **argv)
{
	bool is_latency = argc > 1 && strcmp(argv[1], "lat") == 0;
	spr_sp intake, outbox;

	if (argc < 2 || (!is_latency && strcmp(argv[1], "thr") != 0))
		die("usage: sp_load thr|lat in=PORT out=PORT", "[key=value]...");
	for (int i = 2; i < argc; i++)
		read_option(argv[i]);
	if (options.in == 0 || options.out == 0)
		die("needs", "in=PORT and out=PORT");
	if (is_latency)
		options.docs = 1;
	is_acked = calloc(options.ack != 0 ? (size_t)options.n : 1, 1);
	if (is_acked == NULL)
		die("out of memory for n ids:", "n");
	snprintf(run_prefix, sizeof(run_prefix), "%x-",
		 (unsigned)(now_s() * 1e6) ^ (unsigned)getpid() << 16);
	if (options.ack != 0)
		start_upstream();
	outbox = dial(options.out, SPR_SP_PULL);
	if (options.receipts != 0) {
		receipts.sp = dial(options.receipts, SPR_SP_PUSH);
		fcntl(outbox.fd, F_SETFL, O_NONBLOCK); /* whether a job waits is asked of it */
	}
	intake = dial(options.in, SPR_SP_PUSH);
	settle();
	if (is_latency)
		return (measure_latency(&intake, &outbox));
	start_thread(run_worker, &outbox);
	if (options.sample != 0)
		start_thread(run_sampler, NULL);
	return (measure_throughput(&intake));
}
