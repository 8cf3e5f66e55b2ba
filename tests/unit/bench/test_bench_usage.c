/*
 * test_bench_usage - this very process: its threads by name, what they have used since, and processes that are not there.
 */
#include "bench_usage.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "spr_test.h"

static pthread_barrier_t begun, done;
static volatile unsigned sink; /* what the work comes to */

static void *
work(void *arg)
{
	(void)arg;
	pthread_setname_np(pthread_self(), "worker bee");
	pthread_barrier_wait(&begun);
	for (unsigned i = 0; i < 20000000; i++)
		sink += i;
	pthread_barrier_wait(&done);
	pthread_barrier_wait(&done);
	return (NULL);
}

static const bench_thread_usage *
thread_of(const bench_usage *usage, const char *name)
{
	for (unsigned i = 0; i < usage->n; i++) {
		if (strcmp(usage->thread[i].name, name) == 0)
			return (&usage->thread[i]);
	}
	return (NULL);
}

static void
test_this_process(void **state)
{
	static bench_usage before, after;
	const bench_thread_usage *bee;
	bench_thread_usage sum;
	pthread_t thread;

	(void)state;
	pthread_barrier_init(&begun, NULL, 2);
	pthread_barrier_init(&done, NULL, 2);
	assert_int_equal(pthread_create(&thread, NULL, work, NULL), 0);
	assert_true(bench_usage_read(&before, getpid())); /* it has not begun */
	pthread_barrier_wait(&begun);
	pthread_barrier_wait(&done);
	assert_true(bench_usage_read(&after, getpid()));
	assert_true(after.peak_bytes >= 1 << 20);
	bench_usage_subtract(&after, &before);
	assert_non_null(bee = thread_of(&after, "worker bee"));
	assert_true(bee->cpu_ns > 0);
	sum = bench_usage_sum(&after);
	assert_true(sum.cpu_ns >= bee->cpu_ns / 2);
	assert_true(sum.waits >= bee->waits);
	pthread_barrier_wait(&done);
	pthread_join(thread, NULL);
	/* what has ended still counts for the process */
	assert_true(bench_usage_cpu_ns(getpid()) >= before.cpu_ns + sum.cpu_ns);
}

static void
test_nobody(void **state)
{
	static bench_usage usage;

	(void)state;
	assert_false(bench_usage_read(&usage, 0x3fffff));
	assert_int_equal(bench_usage_cpu_ns(0x3fffff), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_this_process),
	    cmocka_unit_test(test_nobody),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
