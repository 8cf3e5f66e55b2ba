/*
 * bench - spreader-bench as a process: what it says of a daemon that does everything right, and of relays that do not.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench_run.h"
#include "sp_raw.h"

#define DAEMON "--daemon=" SPR_TEST_BUILD_DIR "/spreaderd"
#define ACK    "--ack=tcp://127.0.0.1:0"

/* --- a daemon that is right --------------------------------------------------------------------- */

/* All good, this many jobs and acks. */
static void
expect_good(const char *const arguments[], double jobs, double acks)
{
	bench_run r;

	start(&r, arguments);
	join(&r);
	assert_int_equal(r.code, 0);
	assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(r.result, "good")));
	assert_true(number_of(&r, NULL, "jobs") == jobs);
	assert_true(number_of(&r, NULL, "acks") == acks);
	if (jobs > 0)
		assert_true(number_of(&r, "job_latency_us", "n") == jobs);
	assert_true(number_of(&r, "self", "cpu_seconds") > 0);
	end(&r);
}

static void
test_closed(void **state)
{
	(void)state;
	expect_good(ARGS(DAEMON, "--count=3000"), 3000, 0);
	expect_good(ARGS(DAEMON, "--count=300", "--window=1", "--threads=1", ACK), 300, 300);
	expect_good(ARGS("--null", "--count=3000", "--fan-out=3"), 9000, 0);
}

static void
test_batched(void **state)
{
	(void)state;
	/* whole messages, but for the last; a window that is smaller than a message */
	expect_good(
	    ARGS(DAEMON, "--count=1001", "--documents=10", "--fan-out=70", "--window=3", ACK),
	    70070, 1001);
	/* and batches of jobs, with and without receipts */
	expect_good(ARGS(DAEMON, "--daemon-flag=--outbox-batch-bytes=16KiB", "--count=500",
			 "--documents=20", "--fan-out=9", ACK),
		    4500, 500);
	expect_good(ARGS(DAEMON, "--daemon-flag=--outbox-batch-bytes=16KiB", "--count=500",
			 "--documents=20", "--fan-out=9", "--confirm=receipt", ACK),
		    4500, 500);
}

static void
test_several(void **state)
{
	(void)state;
	expect_good(ARGS(DAEMON, "--count=2000", "--producers=3", "--workers=3", "--threads=4",
			 "--fan-out=5", ACK),
		    10000, 2000);
}

static void
test_receipts(void **state)
{
	(void)state;
	expect_good(
	    ARGS(DAEMON, "--count=500", "--confirm=receipt", "--workers=2", "--fan-out=65", ACK),
	    32500, 500);
	expect_good(
	    ARGS(DAEMON, "--count=500", "--confirm=receipt", "--receipts-per-message=1", ACK), 500,
	    500);
}

static void
test_misses(void **state)
{
	(void)state;
	expect_good(ARGS(DAEMON, "--count=2000", "--hit-percent=30", "--predicates=100",
			 "--background=2000", ACK),
		    600, 2000);
	expect_good(ARGS(DAEMON, "--count=2000", "--hit-percent=0", "--depth=1", ACK), 0, 2000);
}

/* The open loop sends what is due by then, whether or not anything comes back. */
static void
test_open(void **state)
{
	bench_run r;

	(void)state;
	start(&r, ARGS(DAEMON, "--rate=2000", "--duration=500ms", "--documents=4", ACK));
	join(&r);
	assert_int_equal(r.code, 0);
	assert_true(number_of(&r, NULL, "notifications") == 1000);
	assert_true(number_of(&r, "sent_late_us", "n") == number_of(&r, NULL, "messages_sent"));
	end(&r);
}

static void
test_churn(void **state)
{
	bench_run r;

	(void)state;
	start(&r, ARGS(DAEMON, "--churn=1000", "--duration=300ms", "--fan-out=3", ACK));
	join(&r);
	assert_int_equal(r.code, 0);
	assert_true(number_of(&r, NULL, "churn_per_second") > 0);
	assert_true(number_of(&r, "checks", "churn_refused") == 0);
	end(&r);
}

/* --- relays that are wrong ---------------------------------------------------------------------- */

typedef enum fault { NONE, DROP, DOUBLE, FOREIGN, STALL } fault;

typedef struct relay {
	int in, out;
	char in_url[64], out_url[64];
	fault what;
	sem_t may_read; /* STALL: not before */
	pthread_t thread;
} relay;

#define FAULTY 777 /* the message with which it is done */

static void
hand_on(relay *r, spr_sp *out, const uint8_t *data, size_t len, unsigned n)
{
	int times = n == FAULTY && r->what == DROP ? 0 : n == FAULTY && r->what == DOUBLE ? 2 : 1;

	for (int i = 0; i < times; i++)
		spr_sp_send(out, NULL, 0, data, len, spr_test_deadline_ms());
	if (n == FAULTY && r->what == FOREIGN)
		spr_sp_send(out, NULL, 0, "{}", 2, spr_test_deadline_ms());
}

static void *
run_relay(void *arg)
{
	relay *r = arg;
	spr_sp in = SPR_SP_CLOSED, out = SPR_SP_CLOSED;
	int out_fd = accept(r->out, NULL, NULL), in_fd;
	const uint8_t *data;
	size_t len;

	if (out_fd < 0 || !spr_sp_adopt(&out, out_fd, SPR_SP_PUSH))
		return (NULL);
	in_fd = accept(r->in, NULL, NULL);
	if (in_fd >= 0 && spr_sp_adopt(&in, in_fd, SPR_SP_PULL)) {
		while (r->what == STALL && sem_wait(&r->may_read) != 0)
			continue;
		for (unsigned n = 0;
		     spr_sp_recv(&in, &data, &len, spr_test_deadline_ms()) == SPR_SP_OK; n++)
			hand_on(r, &out, data, len, n);
	}
	spr_sp_close(&in);
	spr_sp_close(&out);
	return (NULL);
}

typedef struct place {
	relay relay;
	char in[80], out[80]; /* flags */
} place;

static void
start_relay(place *p, fault what)
{
	p->relay = (relay){.what = what};
	sem_init(&p->relay.may_read, 0, 0);
	p->relay.in = spr_sp_listen("tcp://127.0.0.1:0", p->relay.in_url);
	p->relay.out = spr_sp_listen("tcp://127.0.0.1:0", p->relay.out_url);
	assert_true(p->relay.in >= 0 && p->relay.out >= 0);
	snprintf(p->in, sizeof(p->in), "--in=%s", p->relay.in_url);
	snprintf(p->out, sizeof(p->out), "--out=%s", p->relay.out_url);
	assert_int_equal(pthread_create(&p->relay.thread, NULL, run_relay, &p->relay), 0);
}

static void
end_relay(place *p)
{
	shutdown(p->relay.out, SHUT_RDWR); /* when nobody came */
	shutdown(p->relay.in, SHUT_RDWR);
	pthread_join(p->relay.thread, NULL);
	close(p->relay.in);
	close(p->relay.out);
}

/* 1000 notifications through a relay that does so; what the tool says of them. */
static void
through(bench_run *b, fault what, const char *verify)
{
	place p;

	start_relay(&p, what);
	start(b, ARGS(p.in, p.out, "--no-control", "--count=1000", verify,
		      what == DROP ? "--patience=500ms" : "--patience=1m"));
	join(b);
	end_relay(&p);
}

static void
expect_checks(fault what, const char *verify, int code, double missing, double twice,
	      double foreign)
{
	bench_run r;

	through(&r, what, verify);
	assert_int_equal(r.code, code);
	assert_true(number_of(&r, "checks", "jobs_missing") == missing);
	assert_true(number_of(&r, "checks", "jobs_twice") == twice);
	assert_true(number_of(&r, "checks", "jobs_foreign") == foreign);
	end(&r);
}

static void
test_relays(void **state)
{
	(void)state;
	expect_checks(NONE, "--verify=full", 0, 0, 0, 0);
	expect_checks(DROP, "--verify=full", 1, 1, 0, 0);
	expect_checks(DOUBLE, "--verify=full", 1, 0, 1, 0);
	expect_checks(FOREIGN, "--verify=full", 1, 0, 0, 1);
	expect_checks(NONE, "--verify=count", 0, 0, 0, 0);
	expect_checks(DROP, "--verify=count", 1, 1, 0, 0);
	expect_checks(DOUBLE, "--verify=count", 1, 0, 1, 0);
}

static unsigned
n_lines(const bench_run *r)
{
	char *out = spr_proc_out(r->proc);
	unsigned n = 0;

	for (const char *at = out; (at = strchr(at, '\n')) != NULL; at++)
		n++;
	free(out);
	return (n);
}

/*
 * The relay reads nothing for 300 ms, and a few of the messages of a quarter MiB, one a millisecond, fill the buffers on the
 * way: the client cannot write most of the others when they are due. Their latency counts from then all the same: message
 * k, due at k ms, comes at 300 at the earliest. Measured from the write, more than half would look fast.
 */
static void
test_no_coordinated_omission(void **state)
{
	bench_run r;
	place p;

	(void)state;
	start_relay(&p, STALL);
	start(&r, ARGS(p.in, p.out, "--no-control", "--rate=1000", "--count=300", "--size=256KiB",
		       "--sample=50ms", "--patience=1m"));
	assert_true(wait_until(n_lines(&r) >= 7, spr_test_deadline_ms())); /* the first at 0 */
	sem_post(&p.relay.may_read);
	join(&r);
	end_relay(&p);
	assert_int_equal(r.code, 0);
	assert_true(number_of(&r, "job_latency_us", "p50") >= 145e3);
	assert_true(number_of(&r, "job_latency_us", "max") >= 295e3);
	assert_true(number_of(&r, "sent_late_us", "max") >= 50e3);
	end(&r);
}

/* A run of two processes: each checks what it sees. */
static void
test_roles(void **state)
{
	bench_run worker, producer;
	place p;

	(void)state;
	start_relay(&p, DOUBLE);
	start(&worker, ARGS(p.in, p.out, "--no-control", "--role=worker", "--run=7", "--count=1000",
			    "--patience=1m"));
	start(&producer,
	      ARGS(p.in, p.out, "--no-control", "--role=producer", "--run=7", "--count=1000"));
	join(&producer);
	join(&worker);
	end_relay(&p);
	assert_int_equal(producer.code, 0);
	assert_true(number_of(&producer, NULL, "notifications") == 1000);
	assert_int_equal(worker.code, 1);
	assert_true(number_of(&worker, "checks", "jobs_twice") == 1);
	assert_true(number_of(&worker, NULL, "messages_sent") == 0);
	end(&worker);
	cJSON_Delete(producer.result);
	free(producer.err);
	spr_test_cleanup(producer.dir);
}

/* For people: no figures are looked at, but that each part is there. */
static void
test_table(void **state)
{
	static const char *const parts[] = {
	    "\nnotifications ",
	    "\njobs ",
	    "\nof the limit ",
	    "\njob ",
	    "\nspreader-bench ",
	    "\n  bench-p ",
	    "\n  relay ",
	    "\ngood: each job looked at; jobs missing 0, twice 0, foreign 0\n"};
	char text[8192] = "";
	FILE *pipe = popen(BENCH_PROGRAM " --null --count=20000 --limit=1000000", "r");

	(void)state;
	assert_non_null(pipe);
	assert_true(fread(text, 1, sizeof(text) - 1, pipe) > 0);
	assert_int_equal(pclose(pipe), 0);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strstr(text, parts[i]) == NULL)
			fail_msg("no %s in %s", parts[i], text);
	}
}

/* Lines of what has come so far, for those who cut a long run into pieces. */
static void
test_samples(void **state)
{
	unsigned long long ns, jobs, own, target, last = 0;
	char text[4096] = "", *at = text;
	FILE *pipe;

	(void)state;
	pipe = popen(BENCH_PROGRAM " --null --duration=300ms --sample=50ms --json", "r");
	assert_non_null(pipe);
	assert_true(fread(text, 1, sizeof(text) - 1, pipe) > 0);
	assert_int_equal(pclose(pipe), 0);
	for (unsigned n = 0; sscanf(at, "%llu %llu %llu %llu\n", &ns, &jobs, &own, &target) == 4;
	     n++) {
		assert_true(n == 0 || (ns > last && own > 0));
		last = ns;
		at = strchr(at, '\n') + 1;
	}
	assert_true(last > 0);
}

static void
test_no_target(void **state)
{
	bench_run r;

	(void)state;
	start(&r, ARGS(DAEMON, "--daemon-flag=--no-such-flag", "--count=1"));
	join(&r);
	assert_int_equal(r.code, 1);
	end(&r);
	start(&r, ARGS("--in=http://x", "--out=tcp://127.0.0.1:1", "--no-control",
		       "--role=producer", "--run=1", "--count=1"));
	join(&r);
	assert_int_equal(r.code, 71);
	end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_closed),    cmocka_unit_test(test_batched),
	    cmocka_unit_test(test_several),   cmocka_unit_test(test_receipts),
	    cmocka_unit_test(test_misses),    cmocka_unit_test(test_open),
	    cmocka_unit_test(test_churn),     cmocka_unit_test(test_relays),
	    cmocka_unit_test(test_no_target), cmocka_unit_test(test_no_coordinated_omission),
	    cmocka_unit_test(test_roles),     cmocka_unit_test(test_samples),
	    cmocka_unit_test(test_table),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
