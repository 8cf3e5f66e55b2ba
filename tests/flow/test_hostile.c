/*
 * hostile - peers that mean no good, on every listener over tcp and ipc, while a producer, an upstream and a worker that mean
 * well lose nothing; afterwards newcomers get through everywhere.
 *
 * On the outbox nobody hostile shakes hands to the end: whoever does is a worker, and gets jobs.
 */
#include "flow.h"

#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BODY   "{\"predicate\":\"UN.A\"}"
#define N_URLS 6
#define N_HELD 64 /* half-open connections of one attacker */
#ifdef __SANITIZE_THREAD__
#define N_DELAYS 100
#define N_STORM  5000
#else
#define N_DELAYS 1000
#define N_STORM  50000 /* notifications meanwhile */
#endif
#define GREETING 8
#define NOBODY   0x77

typedef struct target {
	char url[128];
	spr_sp_protocol protocol; /* that may talk to it */
	bool is_outbox;
} target;

typedef struct attacker {
	pthread_t thread;
	const target *targets;
	unsigned seed;
	atomic_bool is_over;
	unsigned n_attacks, n_refused;
	int held[N_HELD];
} attacker;

/* ---- the daemon and its addresses ---- */

static void
start_under_attack(flow *f, target targets[N_URLS], const char *const more[])
{
	static const char *const kinds[] = {"intake", "outbox", "control"};
	static const spr_sp_protocol protocols[] = {SPR_SP_PUSH, SPR_SP_PULL, SPR_SP_REQ};
	char ipc[3][96];
	const char *flags[16] = {"--intake-listen",  ipc[0], "--outbox-listen", ipc[1],
				 "--control-listen", ipc[2]};
	unsigned n = 6;

	for (unsigned i = 0; i < 3; i++)
		snprintf(ipc[i], sizeof(ipc[i]), "ipc://%s/%s", f->dir, kinds[i]);
	for (unsigned i = 0; more != NULL && more[i] != NULL; i++)
		flags[n++] = more[i];
	start_upstream(f);
	start_daemon(f, flags);
	for (unsigned i = 0; i < N_URLS; i++) {
		snprintf(targets[i].url, sizeof(targets[i].url), "%s",
			 listening(f, kinds[i / 2], i % 2));
		targets[i].protocol = protocols[i / 2];
		targets[i].is_outbox = i / 2 == 1;
	}
}

/* A newcomer is served on each. */
static void
expect_newcomers(flow *f, const target targets[N_URLS], const char *prefix)
{
	char envelope[128], id[64];
	spr_sp peer;

	for (unsigned i = 0; i < N_URLS; i++) {
		assert_true(spr_sp_dial(&peer, targets[i].url, targets[i].protocol));
		if (i / 2 == 0) {
			snprintf(id, sizeof(id), "%s%u", prefix, i);
			snprintf(envelope, sizeof(envelope), "{\"id\":\"%s\",\"body\":" BODY "}",
				 id);
			assert_int_equal(spr_sp_send(&peer, NULL, 0, envelope, strlen(envelope),
						     spr_test_deadline_ms()),
					 SPR_SP_OK);
			expect_ack(f, id);
			expect_job(f, "http://a", BODY);
		} else if (i / 2 == 2) {
			char *reply =
			    spr_sp_ask(&peer, "{\"op\":\"version\"}", 16, spr_test_deadline_ms());

			assert_non_null(reply);
			free(reply);
		}
		spr_sp_close(&peer);
	}
}

/* ---- attacks ---- */

/* Without a byte; -1 when it is refused. Never waits. */
static int
connect_plain(const char *url)
{
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	struct sockaddr_in inet = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	bool is_ipc = strncmp(url, "ipc", 3) == 0;
	int fd = socket(is_ipc ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rv;

	if (fd < 0)
		return (-1);
	fcntl(fd, F_SETFL, is_ipc ? O_NONBLOCK : 0);
	if (is_ipc) {
		snprintf(local.sun_path, sizeof(local.sun_path), "%s", url + strlen("ipc://"));
		rv = connect(fd, (struct sockaddr *)&local, sizeof(local));
	} else {
		inet.sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1));
		rv = connect(fd, (struct sockaddr *)&inet, sizeof(inet));
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (rv == 0)
		return (fd);
	close(fd);
	return (-1);
}

static void
say(int fd, const void *bytes, size_t len)
{
	(void)send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
greet(int fd, uint8_t protocol)
{
	const uint8_t greeting[GREETING] = {0, 'S', 'P', 0, 0, protocol, 0, 0};

	say(fd, greeting, sizeof(greeting));
}

static void
say_frame(int fd, bool is_ipc, uint64_t length, const void *bytes, size_t len)
{
	uint8_t head[9] = {1};

	length = htobe64(length);
	memcpy(head + 1, &length, sizeof(length));
	say(fd, head + !is_ipc, sizeof(head) - !is_ipc);
	say(fd, bytes, len);
}

static void
hang_up(int fd, unsigned how)
{
	const struct linger linger = {.l_onoff = 1};

	if (how & 1)
		shutdown(fd, SHUT_WR);
	if (how & 2)
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

/* Says something bad, as its number tells. */
static void
attack(int fd, const target *t, unsigned kind)
{
	bool is_ipc = strncmp(t->url, "ipc", 3) == 0;
	uint8_t noise[64];

	for (unsigned i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)(kind * 31 + i * 7);
	switch (kind % 8) {
	case 0: /* not a byte */
		return;
	case 1:
		say(fd, noise, sizeof(noise));
		return;
	case 2: /* half a greeting */
		say(fd, "\0SP\0", 4);
		return;
	case 3:
		greet(fd, NOBODY);
		return;
	default:
		break;
	}
	if (t->is_outbox)
		return;
	greet(fd, (uint8_t)t->protocol);
	if (kind % 8 == 4)
		say_frame(fd, is_ipc, 1000, noise, 10); /* half a frame */
	else if (kind % 8 == 5)
		say_frame(fd, is_ipc, (uint64_t)1 << (kind & 8 ? 63 : 40), noise, 10);
	else if (kind % 8 == 6)
		say(fd, "\2", is_ipc); /* a frame of no kind; over tcp nothing */
	else
		say_frame(fd, is_ipc, sizeof(noise), noise,
			  sizeof(noise)); /* no JSON, no request */
}

/* Half of them hang up at once, one way or another; the others stay until their place in the list is needed. */
static void *
run_attacks(void *arg)
{
	attacker *self = arg;

	while (!atomic_load(&self->is_over)) {
		unsigned dice = (unsigned)rand_r(&self->seed);
		const target *t = &self->targets[dice % N_URLS];
		int fd = connect_plain(t->url), *held = &self->held[dice / 64 % N_HELD];

		self->n_attacks++;
		if (fd < 0) {
			self->n_refused++;
			continue;
		}
		attack(fd, t, dice / 8);
		if (dice & 0x100000) {
			hang_up(fd, dice / 0x200000);
			continue;
		}
		if (*held >= 0)
			hang_up(*held, dice / 0x200000);
		*held = fd;
	}
	for (unsigned i = 0; i < N_HELD; i++) {
		if (self->held[i] >= 0)
			close(self->held[i]);
	}
	return (NULL);
}

static unsigned
seed_of_run(void)
{
	const char *text = getenv("SPR_TEST_SEED");
	unsigned seed = text != NULL ? (unsigned)strtoul(text, NULL, 10) : (unsigned)time(NULL);

	fprintf(stderr, "SPR_TEST_SEED=%u\n", seed);
	return (seed);
}

static double
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return ((double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return ((x > y) - (x < y));
}

/* From connect to a reply, as a newcomer each time. */
static void
measure_newcomers(const char *url, double *us)
{
	for (unsigned i = 0; i < N_DELAYS; i++) {
		double start = now_us();
		spr_sp peer;
		char *reply;

		assert_true(spr_sp_dial(&peer, url, SPR_SP_REQ));
		assert_non_null(
		    reply = spr_sp_ask(&peer, "{\"op\":\"version\"}", 16, spr_test_deadline_ms()));
		us[i] = now_us() - start;
		free(reply);
		spr_sp_close(&peer);
	}
	qsort(us, N_DELAYS, sizeof(us[0]), compare);
	fprintf(stderr, "newcomers on %.6s: median %.0f us, longest %.0f us\n", url,
		us[N_DELAYS / 2], us[N_DELAYS - 1]);
}

static void
test_a_storm(void **state)
{
	enum { N = N_STORM, N_ATTACKERS = 2 };
	flow *f = *state;
	target targets[N_URLS];
	attacker attackers[N_ATTACKERS];
	unsigned seed = seed_of_run(), n_attacks = 0;
	double us[N_DELAYS];

	start_under_attack(f, targets, NULL);
	start_worker(f);
	subscribe(f, "UN", "http://a");
	measure_newcomers(targets[4].url, us);
	for (unsigned i = 0; i < N_ATTACKERS; i++) {
		attackers[i] = (attacker){.targets = targets, .seed = seed + i};
		for (unsigned k = 0; k < N_HELD; k++)
			attackers[i].held[k] = -1;
		assert_int_equal(
		    pthread_create(&attackers[i].thread, NULL, run_attacks, &attackers[i]), 0);
	}
	push_many_start(f, "x", N, BODY);
	measure_newcomers(targets[4].url, us);
	measure_newcomers(targets[5].url, us);
	push_many_join(f);
	expect_many_acks(f, "x", N);
	for (unsigned i = 0; i < N_ATTACKERS; i++) {
		atomic_store(&attackers[i].is_over, true);
		pthread_join(attackers[i].thread, NULL);
		n_attacks += attackers[i].n_attacks;
	}
	fprintf(stderr, "%u attacks\n", n_attacks);
	for (unsigned i = 0; i < N; i++)
		expect_job(f, "http://a", BODY);
	expect_newcomers(f, targets, "after");
	assert_true(stat_of(f, "spreader_peers_cut_total{why=\"malformed\"}") > 0);
	assert_true(stat_of(f, "spreader_peers_cut_total{why=\"too_large\"}") > 0);
	assert_true(stat_of(f, "spreader_listener_revivals_total") == 0);
	finish(f);
}

/* ---- crowds ---- */

static unsigned
crowd_size(void)
{
	struct rlimit files;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
	return (files.rlim_cur > 6200 ? 1000 : (unsigned)(files.rlim_cur - 200) / N_URLS);
}

/* On every port, on half of them with a handshake; more than the daemon has places for. */
static void
test_idle_crowds(void **state)
{
	flow *f = *state;
	target targets[N_URLS];
	unsigned n_each = crowd_size(), n = 0;
	int *fds = calloc(N_URLS * n_each, sizeof(int));

	start_under_attack(f, targets, FLAGS("--max-peers", "400"));
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_envelope(f, "before", BODY);
	expect_ack(f, "before");
	expect_job(f, "http://a", BODY);
	for (unsigned i = 0; i < n_each * N_URLS; i++) {
		const target *t = &targets[i % N_URLS];
		int fd = -1;

		for (unsigned tries = 0; fd < 0 && tries < 1000;
		     tries++) { /* the queue of connections is short */
			if ((fd = connect_plain(t->url)) < 0)
				sched_yield();
		}
		if (fd < 0)
			continue;
		if (!t->is_outbox && i / N_URLS % 2 == 0)
			greet(fd, (uint8_t)t->protocol);
		fds[n++] = fd;
	}
	fprintf(stderr, "%u idle connections\n", n);
	assert_true(n > n_each);
	push_envelope(f, "during", BODY); /* those who have spoken before are still there */
	expect_ack(f, "during");
	expect_job(f, "http://a", BODY);
	expect_newcomers(f, targets, "beside");
	assert_true(stat_of(f, "spreader_peers_cut_total{why=\"max_peers\"}") > 0);
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	free(fds);
	expect_newcomers(f, targets, "after");
	finish(f);
}

/* ---- a second daemon ---- */

static void
test_a_second_daemon(void **state)
{
	static const char *const flags[] = {"--intake-listen", "--outbox-listen",
					    "--control-listen"};
	flow *f = *state;
	target targets[N_URLS];

	start_under_attack(f, targets, NULL);
	start_worker(f);
	subscribe(f, "UN", "http://a");
	for (unsigned i = 0; i < 3; i++) {
		const char *url = targets[2 * i + 1].url;
		const char *argv[12] = {SPR_TEST_BUILD_DIR "/spreaderd", "--store",
					":memory:", "--http-listen", "none"};
		unsigned n = 5;
		char expected[512], name[32], *log;
		spr_proc *second;

		for (unsigned k = 0; k < 3; k++) {
			argv[n++] = flags[k];
			argv[n++] = k == i ? url : "tcp://127.0.0.1:0";
		}
		snprintf(name, sizeof(name), "second-%u", i);
		second = spr_proc_start(f->dir, name, argv, NULL);
		assert_int_equal(spr_proc_wait(second, spr_test_deadline_ms()), 71);
		assert_non_null(log = spr_proc_err(second));
		snprintf(expected, sizeof(expected),
			 "%s.lock is locked by another process; stop that one or use another path",
			 url + strlen("ipc://"));
		if (strstr(log, expected) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", log, expected);
		free(log);
	}
	expect_newcomers(f, targets, "first");
	finish(f);
}

/* Killed, it leaves its paths and their locks; the next one takes them over. */
static void
test_a_killed_daemon_is_followed(void **state)
{
	flow *f = *state;
	target targets[N_URLS];

	start_under_attack(f, targets, NULL);
	spr_proc_signal(f->daemon, 9);
	assert_int_equal(spr_proc_wait(f->daemon, spr_test_deadline_ms()), 128 + 9);
	stop_upstream(f);
	start_under_attack(f, targets, NULL);
	start_worker(f);
	subscribe(f, "UN", "http://a");
	expect_newcomers(f, targets, "next");
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_a_storm),
	    flow_test(test_idle_crowds),
	    flow_test(test_a_second_daemon),
	    flow_test(test_a_killed_daemon_is_followed),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
