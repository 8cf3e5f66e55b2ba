/*
 * examples - the one-page programs of examples/ do what their first lines say.
 */
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_c),
	    flow_test(test_c_nacked),
	    flow_test(test_python),
	    flow_test(test_shell),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
