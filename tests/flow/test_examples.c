/*
 * examples - the one-page programs of examples/ do what their first lines say.
 */
#include "flow.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#define EXAMPLES SPR_TEST_SOURCE_DIR "/examples/"
#define PROGRAMS SPR_TEST_BUILD_DIR "/"

/* Waits for its end, exit 0, and gives its output, which the caller frees. */
static char *
output_of(spr_proc *proc)
{
	int status = spr_proc_wait(proc, spr_test_deadline_ms());
	char *err = spr_proc_err(proc);

	if (status != 0)
		fail_msg("it ended with %d: %s", status, err);
	free(err);
	return (spr_proc_out(proc));
}

static void
test_c(void **state)
{
	enum { N = 100 };
	flow *f = *state;
	spr_proc *worker, *producer;
	char *out;
	char job[128];

	start_daemon(f, FLAGS("--ack-listen", "tcp://127.0.0.1:0"));
	subscribe(f, "UN.EXAMPLE.*", "http://a");
	worker = spr_proc_start(f->dir, "worker",
				FLAGS(PROGRAMS "example_worker", f->outbox, "100"), NULL);
	producer = spr_proc_start(
	    f->dir, "producer",
	    FLAGS(PROGRAMS "example_producer_with_acks", f->intake, listening(f, "ack", 0), "100"),
	    NULL);
	out = output_of(producer);
	assert_string_equal(out, "100 notifications answered\n");
	free(out);
	out = output_of(worker);
	for (int i = 0; i < N; i++) {
		snprintf(job, sizeof(job),
			 "{\"s\":\"http://"
			 "a\",\"payload\":{\"predicate\":\"UN.EXAMPLE.created\",\"n\":%d}}\n",
			 i);
		assert_non_null(strstr(out, job));
	}
	free(out);
	assert_true(stat_of(f, "spreader_acked_total{result=\"dispatched\"}") == N);
	finish(f);
}

/* What is nacked for good is told by the exit status. */
static void
test_c_nacked(void **state)
{
	flow *f = *state;
	spr_proc *producer;

	start_daemon(f, FLAGS("--ack-listen", "tcp://127.0.0.1:0", "--no-subscribers", "nack"));
	producer = spr_proc_start(
	    f->dir, "producer",
	    FLAGS(PROGRAMS "example_producer_with_acks", f->intake, listening(f, "ack", 0), "3"),
	    NULL);
	assert_int_equal(spr_proc_wait(producer, spr_test_deadline_ms()), 1);
	finish(f);
}

/* A producer that reads a line from a shell, and the worker's one line of output. */
static void
check_script(flow *f, const char *command)
{
	spr_proc *worker, *producer;
	char *out;

	start_daemon(f, NULL);
	subscribe(f, "UN.EXAMPLE", "http://a");
	worker = spr_proc_start(f->dir, "worker",
				FLAGS("python3", EXAMPLES "worker.py", f->outbox, "1"), NULL);
	producer =
	    spr_proc_start(f->dir, "producer", FLAGS("sh", "-c", command, "sh", f->intake), NULL);
	free(output_of(producer));
	out = output_of(worker);
	assert_string_equal(out, "http://a {\"predicate\": \"UN.EXAMPLE.created\"}\n");
	free(out);
	finish(f);
}

static void
test_python(void **state)
{
	check_script(*state, "echo '{\"predicate\":\"UN.EXAMPLE.created\"}' | " EXAMPLES
			     "producer.py \"$1\"");
}

static void
test_shell(void **state)
{
	check_script(*state,
		     "echo '{\"predicate\":\"UN.EXAMPLE.created\"}' | " EXAMPLES "push.sh \"$1\"");
}

/* --- workers with receipts, behind a queue --- */

enum { N_DOCUMENTS = 500 };

static size_t
count(const char *text, const char *part)
{
	size_t n = 0;

	for (; text != NULL && (text = strstr(text, part)) != NULL; text++)
		n++;
	return (n);
}

static size_t
count_lines(const char *path)
{
	char *text = spr_read_file(path);
	size_t n = count(text, "\n");

	free(text);
	return (n);
}

/* The daemon, and a new queue that has the documents, which is returned. */
static spr_proc *
start_both(flow *f, const char *name)
{
	char documents[96], store[96], answers[64], control[96], shell[160];
	FILE *file = NULL;

	snprintf(documents, sizeof(documents), "%s/in.ndjson", f->dir);
	assert_non_null(file = fopen(documents, "w"));
	for (int i = 0; i < N_DOCUMENTS; i++)
		fprintf(file, "{\"id\":\"%d\",\"body\":{\"predicate\":\"UN.A\",\"n\":%d}}\n", i, i);
	fclose(file);
	snprintf(answers, sizeof(answers), "ipc://%.40s/a", f->dir);
	strcpy(f->upstream_url, answers);
	start_daemon(f, FLAGS("--confirm", "receipt", "--receipts-listen", "tcp://127.0.0.1:0",
			      "--receipt-grace", "100ms"));
	snprintf(store, sizeof(store), "%s/%s.db", f->dir, name);
	snprintf(control, sizeof(control), "ipc://%s/%s", f->dir, name);
	snprintf(shell, sizeof(shell), "exec \"$@\" < %s", documents);
	return (spr_proc_start(f->dir, name,
			       FLAGS("sh", "-c", shell, "sh", PROGRAMS "spreader-queue", "--stdin",
				     "--store", store, "--to", f->intake, "--submit-listen",
				     "tcp://127.0.0.1:0", "--answer-listen", answers,
				     "--control-listen", control, "--retry-first", "10ms"),
			       NULL));
}

/* Has the queue been told that all of them are done? */
static bool
is_done(flow *f, const char *name)
{
	static const char request[] = "{\"op\":\"stats\"}";
	char url[96], *stats = NULL;
	spr_sp sp = SPR_SP_CLOSED;
	bool is_so = false;

	snprintf(url, sizeof(url), "ipc://%s/%s", f->dir, name);
	if (!spr_sp_dial(&sp, url, SPR_SP_REQ))
		return (false);
	stats = spr_sp_ask(&sp, request, sizeof(request) - 1, spr_test_deadline_ms());
	is_so = count(stats, "\"remembered\":500,") == 1 && count(stats, "\"depth\":0,") == 1;
	free(stats);
	spr_sp_close(&sp);
	return (is_so);
}

static spr_proc *
start_receipter(flow *f, const char *name, const char *const program[], const char *path)
{
	const char *argv[8] = {program[0], program[1]};
	size_t n = program[1] != NULL ? 2 : 1;

	argv[n++] = f->outbox;
	argv[n++] = listening(f, "receipts", 0);
	argv[n++] = path;
	return (spr_proc_start(f->dir, name, argv, NULL));
}

static void
kill_and_wait(spr_proc *proc)
{
	spr_proc_signal(proc, SIGKILL);
	assert_int_equal(spr_proc_wait(proc, spr_test_deadline_ms()), 128 + SIGKILL);
}

/*
 * A worker is killed, another one goes on with its file: all jobs are there. When everything comes again, from a queue and
 * a daemon that know nothing of it, it is receipted and the file stays as it is, but for `n_forgotten`.
 */
static void
check_receipts(flow *f, const char *const program[], size_t n_forgotten)
{
	char path[96], part[32], *text = NULL;
	spr_proc *worker = NULL, *queue = NULL;
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/jobs.ndjson", f->dir);
	queue = start_both(f, "first");
	subscribe(f, "UN.A", "http://a");
	worker = start_receipter(f, "worker-1", program, path);
	assert_true(wait_until(count_lines(path) > 0, (unsigned)spr_test_deadline_ms()));
	kill_and_wait(worker);
	worker = start_receipter(f, "worker-2", program, path);
	assert_true(wait_until(is_done(f, "first"), (unsigned)spr_test_deadline_ms()));
	kill_and_wait(worker);
	text = spr_read_file(path);
	for (int i = 0; i < N_DOCUMENTS; i++) {
		snprintf(part, sizeof(part), "\"n\":%d}", i);
		assert_true(count(text, part) >= 1);
	}
	free(text);
	n = count_lines(path);
	assert_in_range(n, N_DOCUMENTS, N_DOCUMENTS + n_forgotten);

	kill_and_wait(queue);
	kill_and_wait(f->daemon);
	(void)start_both(f, "second");
	(void)start_receipter(f, "worker-3", program, path);
	assert_true(wait_until(is_done(f, "second"), (unsigned)spr_test_deadline_ms()));
	assert_in_range(count_lines(path), n, n + n_forgotten);
}

static void
test_c_receipts(void **state)
{
	/* two of 500 hashes in one of a million places happens; four times it does not */
	check_receipts(*state, FLAGS(PROGRAMS "example_worker_with_receipts"), 3);
}

static void
test_python_receipts(void **state)
{
	check_receipts(*state, FLAGS("python3", EXAMPLES "worker_with_receipts.py"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_c),     flow_test(test_c_nacked),   flow_test(test_python),
	    flow_test(test_shell), flow_test(test_c_receipts), flow_test(test_python_receipts),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
