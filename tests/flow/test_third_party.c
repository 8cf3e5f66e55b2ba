/*
 * third_party - programs that are not ours speak to the daemon: nngcat, nanocat, libnanomsg under Perl and C, nng under C, and
 * a client in Python on plain sockets; over tcp and over ipc, whoever dials.
 */
#include "flow.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spr_test.h"

#define BODY     "{\"predicate\":\"UN.A\",\"n\":1}"
#define ENVELOPE "{\"id\":\"1\",\"body\":" BODY "}"
#define JOB      "{\"s\":\"http://a\",\"payload\":" BODY "}"
#define SP_PY    SPR_TEST_SOURCE_DIR "/tests/support/sp.py"
#define NANO_PL  SPR_TEST_SOURCE_DIR "/tests/support/nano.pl"

static bool
has_printed(spr_proc *proc, const char *text)
{
	char *out = spr_proc_out(proc);
	bool has = out != NULL && strstr(out, text) != NULL;

	free(out);
	return (has);
}

static void
expect_printed(spr_proc *proc, const char *text)
{
	if (wait_until(has_printed(proc, text), (unsigned)spr_test_deadline_ms()))
		return;
	fail_msg("it has printed '%s', not '%s'", spr_proc_out(proc), text);
}

/* Runs a program to its end. */
static void
run(flow *f, const char *name, const char *const argv[])
{
	assert_int_equal(
	    spr_proc_wait(spr_proc_start(f->dir, name, argv, NULL), spr_test_deadline_ms()), 0);
}

static void
test_python(void **state)
{
	flow *f = *state;
	spr_proc *worker, *upstream;
	char url[64] = "";
	char *out;

	upstream = spr_proc_start(f->dir, "upstream", FLAGS("python3", SP_PY, "acks"), NULL);
	assert_true(wait_until(has_printed(upstream, "\n"), (unsigned)spr_test_deadline_ms()));
	out = spr_proc_out(upstream);
	assert_int_equal(sscanf(out, "%63s", url), 1);
	free(out);
	start_daemon(f, FLAGS("--ack-dial", url));
	subscribe(f, "UN", "http://a");
	worker =
	    spr_proc_start(f->dir, "worker", FLAGS("python3", SP_PY, "pull", f->outbox, "1"), NULL);
	run(f, "producer",
	    FLAGS("sh", "-c", "printf '%s\\n' \"$3\" \"$4\" | python3 \"$1\" push \"$2\"", "sh",
		  SP_PY, f->intake, ENVELOPE, "{\"id\":\"2\",\"body\":{}}"));
	assert_int_equal(spr_proc_wait(worker, spr_test_deadline_ms()), 0);
	expect_printed(worker, JOB "\n");
	expect_printed(upstream, "\"1\"");
	expect_printed(upstream, "\"reason\":\"no_predicate\"");
	expect_stat(f, "spreader_answers_accepted_total", 2);
	finish(f);
}

/* The daemon listens for its upstream, which is a cat's REP. */
static void
take_answers_listening(flow *f, const char *url, const char *const cat[])
{
	const char *argv[8] = {cat[0], cat[1], cat[2], NULL, "--raw", "--data", "{\"ok\":true}"};
	spr_proc *upstream;

	start_daemon(f, FLAGS("--ack-listen", url));
	start_worker(f);
	subscribe(f, "UN", "http://a");
	argv[3] = listening(f, "ack", 0);
	upstream = spr_proc_start(f->dir, "upstream", argv, NULL);
	push_text(f, ENVELOPE);
	expect_job(f, "http://a", BODY);
	expect_printed(upstream, "\"ack\":[\"1\"]");
	expect_stat(f, "spreader_answers_accepted_total", 1);
	finish(f);
}

static void
test_nngcat_takes_answers(void **state)
{
	take_answers_listening(*state, "tcp://127.0.0.1:0", FLAGS("nngcat", "--rep", "--dial"));
}

/* By a socket of nng's own, which the log warns of. */
static void
test_nngcat_takes_answers_over_ws(void **state)
{
	char *log;

	take_answers_listening(*state, "ws://127.0.0.1:0/ack", FLAGS("nngcat", "--rep", "--dial"));
	assert_non_null(log = daemon_log(*state));
	assert_non_null(strstr(log, "NNG-SOCKET"));
	free(log);
}

static void
test_nanocat_takes_answers(void **state)
{
	flow *f = *state;
	char url[96];

	snprintf(url, sizeof(url), "ipc://%s/ack", f->dir);
	take_answers_listening(f, url, FLAGS("nanocat", "--rep", "--connect"));
}

/* The daemon dials its upstream, which may come later. */
static void
take_answers_dialling(flow *f, const char *const cat[])
{
	const char *argv[8] = {cat[0], cat[1], cat[2], NULL, "--raw", "--data", "{\"ok\":true}"};
	char url[64];
	int port = spr_sp_reserve(url);
	spr_proc *upstream;

	start_daemon(f, FLAGS("--ack-dial", url));
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_text(f, ENVELOPE);
	expect_job(f, "http://a", BODY);
	argv[3] = url;
	upstream = spr_proc_start(f->dir, "upstream", argv, NULL);
	expect_printed(upstream, "\"ack\":[\"1\"]");
	expect_stat(f, "spreader_answers_accepted_total", 1);
	finish(f);
	close(port);
}

static void
test_nngcat_is_dialled(void **state)
{
	take_answers_dialling(*state, FLAGS("nngcat", "--rep", "--listen"));
}

static void
test_nanocat_is_dialled(void **state)
{
	take_answers_dialling(*state, FLAGS("nanocat", "--rep", "--bind"));
}

static void
test_nanocat_controls(void **state)
{
	flow *f = *state;
	spr_proc *asker;

	start_daemon(f, NULL);
	asker = spr_proc_start(f->dir, "asker",
			       FLAGS("nanocat", "--req", "--connect", f->control, "--raw", "--data",
				     "{\"op\":\"version\"}"),
			       NULL);
	expect_printed(asker, "\"ok\":true");
	spr_proc_signal(asker, SIGTERM);
	finish(f);
}

static void
test_nngcat_controls(void **state)
{
	flow *f = *state;
	spr_proc *asker;

	start_daemon(f, NULL);
	start_worker(f);
	asker = spr_proc_start(
	    f->dir, "asker",
	    FLAGS("nngcat", "--req", "--dial", f->control, "--raw", "--data",
		  "{\"op\":\"subscribe\",\"pattern\":\"UN.*\",\"callback\":\"http://a\"}"),
	    NULL);
	expect_printed(asker, "\"ok\":true");
	spr_proc_signal(asker, SIGTERM);
	push_text(f, BODY);
	expect_job(f, "http://a", BODY);
	finish(f);
}

static void
test_ipc(void **state)
{
	flow *f = *state;
	char intake[96], outbox[96], control[96];
	spr_sp producer, controller;
	spr_worker *worker;
	char *reply;
	static const char request[] =
	    "{\"op\":\"subscribe\",\"pattern\":\"UN\",\"callback\":\"http://a\"}";

	snprintf(intake, sizeof(intake), "ipc://%s/intake", f->dir);
	snprintf(outbox, sizeof(outbox), "ipc://%s/outbox", f->dir);
	snprintf(control, sizeof(control), "ipc://%s/control", f->dir);
	start_upstream(f);
	start_daemon(f, FLAGS("--intake-listen", intake, "--outbox-listen", outbox,
			      "--control-listen", control));
	assert_string_equal(listening(f, "intake", 1), intake);
	assert_true(spr_sp_dial(&controller, control, SPR_SP_REQ));
	reply = spr_sp_ask(&controller, request, strlen(request), spr_test_deadline_ms());
	assert_non_null(strstr(reply, "\"ok\":true"));
	free(reply);
	spr_sp_close(&controller);
	worker = spr_worker_start(outbox, f->jobs, SIZE_MAX);
	assert_non_null(worker);
	f->workers[f->n_workers++] = worker;
	assert_true(spr_sp_dial(&producer, intake, SPR_SP_PUSH));
	assert_int_equal(
	    spr_sp_send(&producer, NULL, 0, ENVELOPE, strlen(ENVELOPE), spr_test_deadline_ms()),
	    SPR_SP_OK);
	expect_job(f, "http://a", BODY);
	expect_ack(f, "1");
	push_text(f, "{\"id\":\"2\",\"body\":" BODY "}"); /* tcp beside it, into the same outbox */
	expect_job(f, "http://a", BODY);
	expect_ack(f, "2");
	spr_sp_close(&producer);
	finish(f);
}

/* ---- every peer, both roles, both schemes, whoever dials ---- */

typedef struct peer {
	const char *const *pull, *const *push; /* a way goes behind, then the URL, then more */
	const char *connect, *bind;
	const char *more_pull, *more_push[4];
	const char *expected;
} peer;

#define CAT(name, connect_flag, bind_flag)                                           \
	{                                                                            \
		.pull = FLAGS(name, "--pull"), .push = FLAGS(name, "--push"),        \
		.connect = connect_flag, .bind = bind_flag, .more_pull = "--raw",    \
		.more_push = {"--data", BODY, "--interval", "3600"}, .expected = JOB \
	}
#define PROGRAM(...)                                                                    \
	{                                                                               \
		.pull = FLAGS(__VA_ARGS__, "pull"), .push = FLAGS(__VA_ARGS__, "push"), \
		.connect = "connect", .bind = "bind", .more_push = {BODY},              \
		.expected = JOB "\n" JOB "\n"                                           \
	}

static const peer nngcat = CAT("nngcat", "--dial", "--listen");
static const peer nanocat = CAT("nanocat", "--connect", "--bind");
static const peer nanomsg_in_perl = PROGRAM("perl", NANO_PL);
static const peer nng_in_c = PROGRAM(SPR_TEST_BUILD_DIR "/tests/peer_nng");
static const peer nanomsg_in_c = PROGRAM(SPR_TEST_BUILD_DIR "/tests/peer_nanomsg");

static spr_proc *
start_peer(flow *f, const peer *p, bool pulls, bool is_dialled, const char *url)
{
	const char *argv[12];
	unsigned n = 0;

	for (const char *const *word = pulls ? p->pull : p->push; *word != NULL; word++)
		argv[n++] = *word;
	argv[n++] = is_dialled ? p->bind : p->connect;
	argv[n++] = url;
	if (pulls)
		argv[n++] = p->more_pull;
	for (unsigned i = 0; !pulls && i < 4; i++)
		argv[n++] = p->more_push[i];
	argv[n] = NULL;
	return (spr_proc_start(f->dir, pulls ? "worker" : "producer", argv, NULL));
}

/* One of them is the worker, another one the producer; both dial the daemon, or are dialled by it. */
static void
meet(flow *f, const peer *p, bool is_ipc, bool is_dialled)
{
	char intake[96], outbox[96];
	int intake_port = -1, outbox_port = -1;
	spr_proc *worker;

	snprintf(intake, sizeof(intake), "ipc://%s/intake", f->dir);
	snprintf(outbox, sizeof(outbox), "ipc://%s/outbox", f->dir);
	if (!is_ipc && is_dialled) {
		intake_port = spr_sp_reserve(intake);
		outbox_port = spr_sp_reserve(outbox);
	} else if (!is_ipc) {
		strcpy(intake, "tcp://127.0.0.1:0");
		strcpy(outbox, "tcp://127.0.0.1:0");
	}
	start_daemon(f, is_dialled ? FLAGS("--intake-dial", intake, "--outbox-dial", outbox)
				   : FLAGS("--intake-listen", intake, "--outbox-listen", outbox));
	subscribe(f, "UN", "http://a");
	worker =
	    start_peer(f, p, true, is_dialled, is_dialled ? outbox : listening(f, "outbox", 1));
	(void)start_peer(f, p, false, is_dialled, is_dialled ? intake : listening(f, "intake", 1));
	expect_printed(worker, p->expected);
	finish(f);
	if (intake_port >= 0)
		close(intake_port);
	if (outbox_port >= 0)
		close(outbox_port);
}

#define MEETINGS(p)                                      \
	static void test_##p##_tcp(void **state)         \
	{                                                \
		meet(*state, &p, false, false);          \
	}                                                \
	static void test_##p##_tcp_dialled(void **state) \
	{                                                \
		meet(*state, &p, false, true);           \
	}                                                \
	static void test_##p##_ipc(void **state)         \
	{                                                \
		meet(*state, &p, true, false);           \
	}                                                \
	static void test_##p##_ipc_dialled(void **state) \
	{                                                \
		meet(*state, &p, true, true);            \
	}
#define meetings(p)                                                                              \
	flow_test(test_##p##_tcp), flow_test(test_##p##_tcp_dialled), flow_test(test_##p##_ipc), \
	    flow_test(test_##p##_ipc_dialled)

MEETINGS(nngcat)
MEETINGS(nanocat)
MEETINGS(nanomsg_in_perl)
MEETINGS(nng_in_c)
MEETINGS(nanomsg_in_c)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    meetings(nngcat),
	    meetings(nanocat),
	    meetings(nanomsg_in_perl),
	    meetings(nng_in_c),
	    meetings(nanomsg_in_c),
	    flow_test(test_python),
	    flow_test(test_nngcat_takes_answers),
	    flow_test(test_nanocat_takes_answers),
	    flow_test(test_nngcat_takes_answers_over_ws),
	    flow_test(test_nngcat_is_dialled),
	    flow_test(test_nanocat_is_dialled),
	    flow_test(test_nanocat_controls),
	    flow_test(test_nngcat_controls),
	    flow_test(test_ipc),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
