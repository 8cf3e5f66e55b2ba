/*
 * confirm_tcp - a worker that stands still holds up the acks of what its system has no room for; when its connection is
 * reset, all of that goes to another one. A stopped process is not a system that is gone: what fits into its system is acked.
 */
#include "flow.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "spr_test.h"

#define N 10000 /* 40 MB of jobs, four times of what the kernel's buffers can swallow */

/* Until it does not change any more. */
static size_t
settled_count(spr_inbox *inbox)
{
	size_t n;

	do {
		n = spr_inbox_count(inbox);
	} while (spr_inbox_wait(inbox, n + 1, 1500));
	return (n);
}

static void
cut(spr_sp *sp)
{
	const struct linger reset = {.l_onoff = 1};

	assert_int_equal(setsockopt(sp->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	spr_sp_close(sp);
}

static void
test_stopped_worker(void **state)
{
	flow *f = *state;
	char *body, **jobs;
	size_t n_acked, n_taken, n_jobs, job_bytes;
	int unread = 0;
	spr_sp stopped;

	job_bytes = (size_t)asprintf(&body, "{\"predicate\":\"UN.A\",\"pad\":\"%04000d\"}", 0);
	start_upstream(f);
	start_daemon(f, FLAGS("--transport", "native", "--confirm", "tcp"));
	subscribe(f, "UN", "http://a");
	assert_true(spr_sp_dial(&stopped, f->outbox, SPR_SP_PULL));
	expect_stat(f, "spreader_pipes_added_total{socket=\"outbox\"}", 1);
	push_many_start(f, "x", N, body);
	assert_true(spr_inbox_wait(f->answers, 10, spr_test_deadline_ms()));
	n_acked = settled_count(f->answers);
	assert_true(n_acked < N);
	/* what was acked is in its system, not only in ours */
	assert_int_equal(ioctl(stopped.fd, FIONREAD, &unread), 0);
	assert_in_range(n_acked * job_bytes, 1, (size_t)unread);
	n_taken = (size_t)stat_of(f, "spreader_jobs_posted_total");
	cut(&stopped);
	start_worker(f);
	push_many_join(f);
	expect_many_acks(f, "x", N);
	/* what was taken before is lost with it, nothing else */
	expect_stat(f, "spreader_jobs_posted_total", N);
	assert_true(spr_inbox_wait(f->jobs, N - n_taken, spr_test_deadline_ms()));
	jobs = spr_inbox_take_all(f->jobs, &n_jobs);
	while (n_jobs > 0)
		free(jobs[--n_jobs]);
	free(jobs);
	free(body);
	finish(f);
}

static bool
is_stopped(const spr_proc *proc)
{
	char path[64], *text, *state;
	bool is = false;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)spr_proc_pid(proc));
	if ((text = spr_read_file(path)) != NULL && (state = strrchr(text, ')')) != NULL)
		is = state[1] == ' ' && state[2] == 'T';
	free(text);
	return (is);
}

/* It reads nothing and is acked for all that its system has room for, and no more; it is not cut, and goes on where it was. */
static void
test_stopped_process(void **state)
{
	flow *f = *state;
	char *body, count[16];
	spr_proc *worker;

	assert_true(asprintf(&body, "{\"predicate\":\"UN.A\",\"pad\":\"%04000d\"}", 0) > 0);
	snprintf(count, sizeof(count), "%d", N + 1);
	start_upstream(f);
	start_daemon(f, FLAGS("--transport", "native", "--confirm", "tcp"));
	subscribe(f, "UN", "http://a");
	worker = spr_proc_start(
	    f->dir, "worker",
	    FLAGS("python3", SPR_TEST_SOURCE_DIR "/tests/support/sp.py", "pull", f->outbox, count),
	    NULL);
	expect_stat(f, "spreader_pipes_added_total{socket=\"outbox\"}", 1);
	spr_proc_signal(worker, SIGSTOP);
	assert_true(wait_until(is_stopped(worker), (unsigned)spr_test_deadline_ms()));
	push_envelope(f, "unread", body);
	expect_ack(f, "unread");
	push_many_start(f, "x", N, body);
	assert_true(spr_inbox_wait(f->answers, 10, spr_test_deadline_ms()));
	assert_true(settled_count(f->answers) < N);
	assert_true(is_stopped(worker));
	assert_int_equal((int)stat_of(f, "spreader_pipes_removed_total{socket=\"outbox\"}"), 0);
	spr_proc_signal(worker, SIGCONT);
	push_many_join(f);
	expect_many_acks(f, "x", N);
	assert_int_equal(spr_proc_wait(worker, spr_test_deadline_ms()), 0); /* it has all */
	free(body);
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_stopped_worker),
	    flow_test(test_stopped_process),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
