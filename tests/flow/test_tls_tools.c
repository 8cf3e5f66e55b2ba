/*
 * tls_tools - spreaderctl and spreader-queue over TLS: what they ask, and who may ask the queue.
 */
#include "flow_tls.h"

#include <signal.h>
#include <unistd.h>

#include <nng/protocol/reqrep0/req.h>

#include "spr_test.h"

#define CTL           SPR_TEST_BUILD_DIR "/spreaderctl"
#define QUEUE         SPR_TEST_BUILD_DIR "/spreader-queue"
#define BODY          "{\"predicate\":\"UN.A\"}"
#define SECURE        "tls+tcp://localhost:0"
#define PATIENCE      "--timeout", "60s"
#define AS(f, name)   "--tls-cert", path_of(f, name, "pem"), "--tls-key", path_of(f, name, "key")
#define TRUST(f, ca)  "--tls-ca", path_of(f, ca, "pem")
#define NOBODY(f, ca) TRUST(f, ca), PATIENCE

/* Runs it to its end; its output and its complaints must have these texts in them. */
static void
run(flow *f, const char *const argv[], const char *const env[], int expected, const char *out,
    const char *err)
{
	static unsigned n;
	char label[32];
	spr_proc *proc;
	char *printed, *said;
	int code;

	snprintf(label, sizeof(label), "run%u", n++);
	proc = spr_proc_start(f->dir, label, argv, env);
	code = spr_proc_wait(proc, spr_test_deadline_ms());
	printed = spr_proc_out(proc);
	said = spr_proc_err(proc);
	if (code != expected || strstr(printed, out) == NULL || strstr(said, err) == NULL)
		fail_msg("exit %d, \"%s\", \"%s\" is not %d, \"%s\", \"%s\"", code, printed, said,
			 expected, out, err);
	free(printed);
	free(said);
}

static void
test_spreaderctl(void **state)
{
	flow *f = *state;
	char variables[4][192];
	const char *const env[] = {variables[0], variables[1], variables[2], variables[3], NULL};
	const char *url;

	make_all(f);
	start_daemon(f, FLAGS(AS(f, "server"), TRUST(f, "ca"), "--control-listen", SECURE));
	url = listening(f, "control", 1);
	run(f,
	    FLAGS(CTL, "subscribe", "UN.A", "http://a", "--url", url, AS(f, "good"),
		  NOBODY(f, "ca")),
	    NULL, 0, "created", "");
	run(f, FLAGS(CTL, "list", "--url", url, AS(f, "good"), NOBODY(f, "ca")), NULL, 0,
	    "http://a", "");
	/* whom the daemon does not take, or who does not take the daemon */
	run(f, FLAGS(CTL, "list", "--url", url, NOBODY(f, "ca")), NULL, 69, "",
	    "--tls-cert of one");
	run(f, FLAGS(CTL, "list", "--url", url, AS(f, "foreign"), NOBODY(f, "ca")), NULL, 69, "",
	    "--tls-cert of one");
	run(f, FLAGS(CTL, "list", "--url", url, AS(f, "expired"), NOBODY(f, "ca")), NULL, 69, "",
	    "--tls-cert of one");
	run(f, FLAGS(CTL, "list", "--url", url, AS(f, "good"), NOBODY(f, "other-ca")), NULL, 69, "",
	    "--tls-cert of one");
	/* what is wrong with the flags */
	run(f, FLAGS(CTL, "list", "--url", url), NULL, 2, "", "needs --tls-ca");
	run(f, FLAGS(CTL, "list", "--url", url, TRUST(f, "none")), NULL, 2, "",
	    "none.pem: No such");
	run(f,
	    FLAGS(CTL, "list", "--url", url, TRUST(f, "ca"), "--tls-cert",
		  path_of(f, "good", "pem")),
	    NULL, 2, "", "tls-cert and tls-key are given together");
	/* the environment says it once for all, for addresses without TLS too */
	snprintf(variables[0], sizeof(variables[0]), "SPREADER_CONTROL_URL=%s", url);
	snprintf(variables[1], sizeof(variables[1]), "SPREADER_CONTROL_TLS_CA=%s",
		 path_of(f, "ca", "pem"));
	snprintf(variables[2], sizeof(variables[2]), "SPREADER_CONTROL_TLS_CERT=%s",
		 path_of(f, "good", "pem"));
	snprintf(variables[3], sizeof(variables[3]), "SPREADER_CONTROL_TLS_KEY=%s",
		 path_of(f, "good", "key"));
	run(f, FLAGS(CTL, "list", PATIENCE), env, 0, "http://a", "");
	run(f, FLAGS(CTL, "list", "--url", f->control, PATIENCE), env, 0, "http://a", "");
	finish(f);
}

/* ---- the queue ---- */

/* The n-th URL of one of its sockets. */
static const char *
address(const cJSON *ready, const char *socket, int n)
{
	return (
	    cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(
				   cJSON_GetObjectItemCaseSensitive(ready, "listening"), socket),
			       n)
		->valuestring);
}

static spr_proc *
start_queue(flow *f, const char *to, cJSON **ready)
{
	char path[96], store[96], answers[96];
	const char *const argv[] = {QUEUE,
				    "--store",
				    store,
				    "--ready-file",
				    path,
				    "--submit-listen",
				    SECURE,
				    "--answer-listen",
				    answers,
				    "--answer-listen",
				    SECURE,
				    "--control-listen",
				    SECURE,
				    AS(f, "server"),
				    TRUST(f, "ca"),
				    "--to",
				    to,
				    NULL};
	spr_proc *proc;
	char *text = NULL;

	snprintf(path, sizeof(path), "%s/queue.json", f->dir);
	snprintf(store, sizeof(store), "%s/q.db", f->dir);
	snprintf(answers, sizeof(answers), "ipc://%s/answers", f->dir);
	proc = spr_proc_start(f->dir, "queue", argv, NULL);
	if (!wait_until(access(path, R_OK) == 0 || spr_proc_wait(proc, 0) != -1,
			(unsigned)spr_test_deadline_ms()) ||
	    (text = spr_read_file(path)) == NULL)
		fail_msg("the queue does not become ready: %s", spr_proc_err(proc));
	*ready = cJSON_Parse(text); /* whole: it is renamed into place */
	free(text);
	return (proc);
}

static bool
has_said(spr_proc *proc, const char *text)
{
	char *said = spr_proc_err(proc);
	bool has = said != NULL && strstr(said, text) != NULL;

	free(said);
	return (has);
}

static void
write_document(flow *f, char path[96])
{
	FILE *file;

	snprintf(path, 96, "%s/documents", f->dir);
	assert_non_null(file = fopen(path, "w"));
	fputs("{\"id\":\"1\",\"body\":" BODY "}\n", file);
	fclose(file);
}

/* From submit to the worker, and each of its sockets for those who show a certificate alone. */
static void
test_queue(void **state)
{
	static const char *const bad[] = {NULL, "expired", "foreign"};
	static const char *const sockets[] = {"submit", "answer", "control"};
	flow *f = *state;
	char documents[96];
	spr_proc *queue;
	nng_socket asker;
	cJSON *ready;

	make_all(f);
	write_document(f, documents);
	snprintf(f->upstream_url, sizeof(f->upstream_url), "ipc://%.40s/answers", f->dir);
	start_daemon(f, FLAGS(AS(f, "server"), TRUST(f, "ca"), "--intake-listen", SECURE));
	queue = start_queue(f, listening(f, "intake", 1), &ready);
	subscribe(f, "UN.A", "http://a");
	start_worker(f);
	run(f,
	    FLAGS(QUEUE, "submit", documents, "--url", address(ready, "submit", 0), AS(f, "good"),
		  NOBODY(f, "ca")),
	    NULL, 0, "taken 1", "");
	expect_job(f, "http://a", BODY);
	for (unsigned i = 0; i < 3; i++) {
		const char *url = address(ready, sockets[i], i == 1);

		for (unsigned k = 0; k < 3; k++)
			assert_int_not_equal(try_dial(f, url, nng_req0_open, "ca", bad[k]), 0);
	}
	assert_int_equal(nng_req0_open(&asker), 0);
	assert_int_equal(dial(f, asker, address(ready, "answer", 1), "ca", "good"), 0);
	send_text(asker, "{\"instance\":\"x\",\"ack\":[\"2\"]}");
	expect_text(asker, "{\"ok\":true}");
	nng_close(asker);
	run(f,
	    FLAGS(QUEUE, "stats", "--url", address(ready, "control", 0), AS(f, "good"),
		  NOBODY(f, "ca")),
	    NULL, 0, "acked_total", "");
	run(f, FLAGS(QUEUE, "stats", "--url", address(ready, "control", 0), NOBODY(f, "ca")), NULL,
	    69, "", "cannot reach");
	finish(f);
	spr_proc_signal(queue, SIGTERM);
	assert_int_equal(spr_proc_wait(queue, spr_test_deadline_ms()), 0);
	cJSON_Delete(ready);
}

static void
test_queue_takes_others_on_hup(void **state)
{
	flow *f = *state;
	spr_proc *queue;
	const char *url;
	cJSON *ready;

	make_all(f);
	queue = start_queue(f, "tls+tcp://localhost:1", &ready);
	url = address(ready, "control", 0);
	run(f, FLAGS(QUEUE, "stats", "--url", url, AS(f, "good"), NOBODY(f, "ca")), NULL, 0,
	    "acked_total", "");
	assert_int_equal(rename(path_of(f, "foreign", "pem"), path_of(f, "server", "pem")), 0);
	spr_proc_signal(queue, SIGHUP);
	assert_true(wait_until(has_said(queue, "RELOAD-FAILED"), (unsigned)spr_test_deadline_ms()));
	run(f, FLAGS(QUEUE, "stats", "--url", url, AS(f, "good"), NOBODY(f, "ca")), NULL, 0,
	    "acked_total", "");
	assert_int_equal(rename(path_of(f, "foreign", "key"), path_of(f, "server", "key")), 0);
	spr_proc_signal(queue, SIGHUP);
	assert_true(wait_until(has_said(queue, "RELOADED"), (unsigned)spr_test_deadline_ms()));
	run(f, FLAGS(QUEUE, "stats", "--url", url, AS(f, "good"), NOBODY(f, "other-ca")), NULL, 0,
	    "acked_total", "");
	run(f, FLAGS(QUEUE, "stats", "--url", url, AS(f, "good"), NOBODY(f, "ca")), NULL, 69, "",
	    "cannot reach");
	spr_proc_signal(queue, SIGTERM);
	assert_int_equal(spr_proc_wait(queue, spr_test_deadline_ms()), 0);
	cJSON_Delete(ready);
}

static void
test_queue_refused_to_start(void **state)
{
	flow *f = *state;

	make_all(f);
	run(f, FLAGS(QUEUE, "--control-listen", "tcp://0.0.0.0:0"), NULL, 78, "",
	    "needs tls+tcp:// with --tls-ca");
	run(f, FLAGS(QUEUE, "--to", "tls+tcp://localhost:1", TRUST(f, "none")), NULL, 78, "",
	    "none.pem: No such");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_spreaderctl),
	    flow_test(test_queue),
	    flow_test(test_queue_takes_others_on_hup),
	    flow_test(test_queue_refused_to_start),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
