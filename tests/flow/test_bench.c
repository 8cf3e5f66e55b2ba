/*
 * bench - spreader-bench as a process: what it says of a daemon that does everything right, and of relays that do not.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "proc.h"
#include "sp_raw.h"
#include "spr_test.h"

#define PROGRAM   SPR_TEST_BUILD_DIR "/spreader-bench"
#define DAEMON    "--daemon=" SPR_TEST_BUILD_DIR "/spreaderd"
#define ACK       "--ack=tcp://127.0.0.1:0"
#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define ARGS_MAX  24

typedef struct run {
	char *dir;
	spr_proc *proc;
	int code;
	cJSON *result;
} run;

static void
start(run *r, const char *const arguments[])
{
	const char *argv[ARGS_MAX] = {PROGRAM, "--json"};

	memset(r, 0, sizeof(*r));
	r->dir = spr_test_tmpdir();
	for (unsigned i = 0; arguments[i] != NULL; i++)
		argv[i + 2] = arguments[i];
	r->proc = spr_proc_start(r->dir, "bench", argv, NULL);
	assert_non_null(r->proc);
}

static void
join(run *r)
{
	char *out, *err;

	r->code = spr_proc_wait(r->proc, spr_test_deadline_ms());
	out = spr_proc_out(r->proc);
	err = spr_proc_err(r->proc);
	r->result = cJSON_Parse(out);
	if (r->code != 0)
		printf("exit %d\n%s%s\n", r->code, out, err);
	free(out);
	free(err);
}

static void
end(run *r)
{
	cJSON_Delete(r->result);
	spr_proc_end_all();
	spr_test_cleanup(r->dir);
}

static double
number_of(const run *r, const char *group, const char *name)
{
	const cJSON *object =
	    group != NULL ? cJSON_GetObjectItemCaseSensitive(r->result, group) : r->result;
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	if (!cJSON_IsNumber(item))
		fail_msg("no number %s", name);
	return (item->valuedouble);
}

/* --- a daemon that is right --------------------------------------------------------------------- */

/* All good, this many jobs and acks. */
static void
expect_good(const char *const arguments[], double jobs, double acks)
{
	run r;

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
	run r;

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
	run r;

	(void)state;
	start(&r, ARGS(DAEMON, "--churn=1000", "--duration=300ms", "--fan-out=3", ACK));
	join(&r);
	assert_int_equal(r.code, 0);
	assert_true(number_of(&r, NULL, "churn_per_second") > 0);
	assert_true(number_of(&r, "checks", "churn_refused") == 0);
	end(&r);
}

/* --- relays that are wrong ---------------------------------------------------------------------- */

typedef enum fault { NONE, DROP, DOUBLE, FOREIGN } fault;

typedef struct relay {
	int in, out;
	char in_url[64], out_url[64];
	fault what;
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
		for (unsigned n = 0;
		     spr_sp_recv(&in, &data, &len, spr_test_deadline_ms()) == SPR_SP_OK; n++)
			hand_on(r, &out, data, len, n);
	}
	spr_sp_close(&in);
	spr_sp_close(&out);
	return (NULL);
}

/* 1000 notifications through a relay that does so; what the tool says of them. */
static void
through(run *b, fault what, const char *verify)
{
	char in[80], out[80];
	relay r = {.what = what};

	r.in = spr_sp_listen("tcp://127.0.0.1:0", r.in_url);
	r.out = spr_sp_listen("tcp://127.0.0.1:0", r.out_url);
	assert_true(r.in >= 0 && r.out >= 0);
	snprintf(in, sizeof(in), "--in=%s", r.in_url);
	snprintf(out, sizeof(out), "--out=%s", r.out_url);
	assert_int_equal(pthread_create(&r.thread, NULL, run_relay, &r), 0);
	start(b, ARGS(in, out, "--no-control", "--count=1000", verify,
		      what == DROP ? "--patience=500ms" : "--patience=1m"));
	join(b);
	shutdown(r.out, SHUT_RDWR); /* when nobody came */
	shutdown(r.in, SHUT_RDWR);
	pthread_join(r.thread, NULL);
	close(r.in);
	close(r.out);
}

static void
expect_checks(fault what, const char *verify, int code, double missing, double twice,
	      double foreign)
{
	run r;

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

static void
test_no_target(void **state)
{
	run r;

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
	    cmocka_unit_test(test_no_target),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
