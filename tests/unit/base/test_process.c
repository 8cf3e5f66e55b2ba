/*
 * test_process - the gauges are this process's: they move when it opens a file, uses memory and time, or starts a thread.
 */
#include "base/process.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "spr_test.h"

static void
test_files(void **state)
{
	double before[SPR_N_GAUGES], after[SPR_N_GAUGES];
	int fd;

	(void)state;
	spr_process_read(before);
	fd = dup(2);
	spr_process_read(after);
	close(fd);
	assert_true(after[SPR_G_PROCESS_FDS] == before[SPR_G_PROCESS_FDS] + 1);
	assert_true(before[SPR_G_PROCESS_FDS] >= 3);
	assert_true(after[SPR_G_PROCESS_FDS_LIMIT] >= after[SPR_G_PROCESS_FDS]);
}

static void
test_memory_and_time(void **state)
{
	double now[SPR_N_GAUGES];

	(void)state;
	spr_process_read(now);
	assert_true(now[SPR_G_PROCESS_RESIDENT] > 100000);
	assert_true(now[SPR_G_PROCESS_VIRTUAL] >= now[SPR_G_PROCESS_RESIDENT]);
	assert_true(now[SPR_G_PROCESS_START] <= (double)time(NULL) + 1);
	assert_true(now[SPR_G_PROCESS_START] > (double)time(NULL) - 600);
	/* the kernel counts time in ticks of 10 ms */
	assert_true(wait_until((spr_process_read(now), now[SPR_G_PROCESS_CPU] >= 0.02), 60000));
}

static void *
wait_for_end(void *gate)
{
	pthread_mutex_lock(gate);
	pthread_mutex_unlock(gate);
	return (NULL);
}

static void
test_threads(void **state)
{
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	double before[SPR_N_GAUGES], after[SPR_N_GAUGES];
	pthread_t thread;

	(void)state;
	pthread_mutex_lock(&gate);
	spr_process_read(before);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_end, &gate), 0);
	spr_process_read(after);
	pthread_mutex_unlock(&gate);
	pthread_join(thread, NULL);
	/* a sanitizer's own thread may come up meanwhile */
	assert_true(after[SPR_G_PROCESS_THREADS] > before[SPR_G_PROCESS_THREADS]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_files),
	    cmocka_unit_test(test_memory_and_time),
	    cmocka_unit_test(test_threads),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
