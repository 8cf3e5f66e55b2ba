/*
 * test_counters - the table is well formed; no count is lost whichever thread made it, ended or not, with a block or
 * without.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "spr_test.h"

#include "base/counters.h"
#include "base/mem.h"

#define N_THREADS (SPR_COUNTER_THREADS + 20)

static void
test_every_row_is_complete(void **state)
{
	char name[256];

	(void)state;
	for (int i = 0; i < SPR_N_COUNTERS; i++) {
		const spr_counter_info *row = &spr_counter_table[i];

		assert_memory_equal(row->metric, "spreader_", 9);
		assert_string_equal(row->metric + strlen(row->metric) - 6, "_total");
		assert_true(strlen(row->help) > 10);
		if (row->labels[0] == '\0')
			snprintf(name, sizeof(name), "%s", row->metric);
		else
			snprintf(name, sizeof(name), "%s{%s}", row->metric, row->labels);
		assert_string_equal(row->name, name);
	}
}

static void
test_names_are_unique_and_metrics_contiguous(void **state)
{
	(void)state;
	for (int i = 0; i < SPR_N_COUNTERS; i++) {
		for (int j = 0; j < i; j++) {
			assert_string_not_equal(spr_counter_table[i].name,
						spr_counter_table[j].name);
			/* rows of one metric stand together and share a help: the metrics page prints it once */
			if (strcmp(spr_counter_table[i].metric, spr_counter_table[j].metric) == 0) {
				assert_string_equal(spr_counter_table[i].metric,
						    spr_counter_table[i - 1].metric);
				assert_string_equal(spr_counter_table[i].help,
						    spr_counter_table[j].help);
			}
		}
	}
}

static void
test_counting_and_adding(void **state)
{
	uint64_t before = spr_counter_sum(SPR_C_JOBS_POSTED);
	uint64_t other = spr_counter_sum(SPR_C_JOBS_FAILED);

	(void)state;
	spr_count(SPR_C_JOBS_POSTED);
	spr_count_add(SPR_C_JOBS_POSTED, 41);
	spr_count_add(SPR_C_JOBS_POSTED, 0);
	assert_int_equal(spr_counter_sum(SPR_C_JOBS_POSTED), before + 42);
	assert_int_equal(spr_counter_sum(SPR_C_JOBS_FAILED), other);
}

static void *
count_and_end(void *arg)
{
	(void)arg;
	spr_count_add(SPR_C_JOB_BYTES, 1000);
	return (NULL);
}

static void
test_nothing_is_lost_when_threads_end(void **state)
{
	uint64_t before = spr_counter_sum(SPR_C_JOB_BYTES);

	(void)state;
	for (int i = 1; i <= 2 * SPR_COUNTER_THREADS; i++) {
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, count_and_end, NULL), 0);
		pthread_join(thread, NULL);
		assert_int_equal(spr_counter_sum(SPR_C_JOB_BYTES), before + 1000U * (unsigned)i);
	}
}

static pthread_barrier_t all_have_counted;
static pthread_barrier_t may_end;

static void *
count_at_once(void *arg)
{
	(void)arg;
	spr_count(SPR_C_MESSAGE_BYTES);
	pthread_barrier_wait(&all_have_counted);
	for (int i = 0; i < 500; i++)
		spr_count_add(SPR_C_MESSAGE_BYTES, 2);
	pthread_barrier_wait(&may_end);
	return (NULL);
}

static void
test_more_threads_than_blocks(void **state)
{
	static pthread_t threads[N_THREADS];
	uint64_t before = spr_counter_sum(SPR_C_MESSAGE_BYTES);

	(void)state;
	pthread_barrier_init(&all_have_counted, NULL, N_THREADS + 1);
	pthread_barrier_init(&may_end, NULL, N_THREADS + 1);
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_at_once, NULL), 0);
	pthread_barrier_wait(&all_have_counted);
	pthread_barrier_wait(&may_end);
	assert_int_equal(spr_counter_sum(SPR_C_MESSAGE_BYTES), before + N_THREADS * 1001U);
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(spr_counter_sum(SPR_C_MESSAGE_BYTES), before + N_THREADS * 1001U);
	pthread_barrier_destroy(&all_have_counted);
	pthread_barrier_destroy(&may_end);
}

static pthread_key_t late_key;

static void
count_late(void *arg)
{
	(void)arg;
	spr_count(SPR_C_STORE_COMMITS);
}

static void *
end_with_a_late_count(void *arg)
{
	pthread_setspecific(late_key, arg);
	spr_count(SPR_C_STORE_COMMITS);
	return (NULL);
}

static void
test_a_count_in_a_thread_destructor(void **state)
{
	uint64_t before = spr_counter_sum(SPR_C_STORE_COMMITS);
	pthread_t thread;

	(void)state;
	/* made after the module's own key: its destructor runs when the block has been given back */
	assert_int_equal(pthread_key_create(&late_key, count_late), 0);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(pthread_create(&thread, NULL, end_with_a_late_count, &late_key),
				 0);
		pthread_join(thread, NULL);
	}
	assert_int_equal(spr_counter_sum(SPR_C_STORE_COMMITS), before + 20);
	pthread_key_delete(late_key);
}

static void
test_counting_does_not_allocate(void **state)
{
	(void)state;
	spr_mem_fail_at(1);
	count_and_end(NULL); /* this thread's first: the test runs first of those that count */
	assert_int_equal(spr_mem_count(), 0);
	spr_mem_fail_at(0);
}

static void
test_gauge_and_histogram_rows(void **state)
{
	(void)state;
	for (int i = 0; i < SPR_N_GAUGES; i++) {
		const spr_gauge_info *row = &spr_gauge_table[i];

		assert_true(strncmp(row->metric, "spreader_", 9) == 0 ||
			    strncmp(row->metric, "process_", 8) == 0);
		assert_int_equal(row->type == SPR_GAUGE_COUNTER,
				 strcmp(row->metric + strlen(row->metric) - 6, "_total") == 0);
		assert_true(strlen(row->help) >= 7);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(row->name, spr_gauge_table[k].name);
	}
	for (int i = 0; i < SPR_N_HISTOGRAMS; i++) {
		const spr_histogram_info *row = &spr_histogram_table[i];

		assert_memory_equal(row->metric, "spreader_", 9);
		assert_true(strlen(row->help) > 10);
		if (row->unit == SPR_UNIT_NS)
			assert_string_equal(row->metric + strlen(row->metric) - 8, "_seconds");
	}
}

/* Every value is in the bucket whose bound is the first that is not below it. */
static void
test_histogram_buckets(void **state)
{
	(void)state;
	for (unsigned b = 1; b < SPR_HISTOGRAM_BUCKETS; b++)
		assert_true(spr_histogram_bound(b) > spr_histogram_bound(b - 1));
	for (unsigned b = 0; b < SPR_HISTOGRAM_BUCKETS - 1; b++) {
		uint64_t bound = spr_histogram_bound(b);
		spr_histogram_sum before, after;

		spr_histogram_read(SPR_H_PAYLOAD, &before);
		spr_histogram_add(SPR_H_PAYLOAD, bound);
		spr_histogram_add(SPR_H_PAYLOAD, bound + 1);
		spr_histogram_read(SPR_H_PAYLOAD, &after);
		assert_int_equal(after.bucket[b], before.bucket[b] + 1);
		assert_int_equal(after.bucket[b + 1], before.bucket[b + 1] + 1);
		assert_int_equal(after.n, before.n + 2);
		assert_int_equal(after.sum, before.sum + 2 * bound + 1);
	}
	for (unsigned power = 0; power < 40; power++) {
		spr_histogram_sum before, after;

		spr_histogram_read(SPR_H_PAYLOAD, &before);
		spr_histogram_add(SPR_H_PAYLOAD, UINT64_C(1) << power);
		spr_histogram_add(SPR_H_PAYLOAD, (UINT64_C(1) << power) + 1);
		spr_histogram_read(SPR_H_PAYLOAD, &after);
		assert_int_equal(spr_histogram_up_to(&after, power),
				 spr_histogram_up_to(&before, power) + 1);
	}
	spr_histogram_add(SPR_H_PAYLOAD, 0);
	spr_histogram_add(SPR_H_PAYLOAD, UINT64_MAX);
}

static void *
add_to_histogram(void *arg)
{
	for (unsigned i = 0; i < 1000; i++)
		spr_histogram_add(SPR_H_MATCHED, 7);
	return (arg);
}

static void
test_histogram_of_threads(void **state)
{
	pthread_t thread[N_THREADS];
	spr_histogram_sum before, after;

	(void)state;
	spr_histogram_read(SPR_H_MATCHED, &before);
	for (unsigned i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, add_to_histogram, NULL), 0);
	for (unsigned i = 0; i < N_THREADS; i++)
		pthread_join(thread[i], NULL);
	spr_histogram_read(SPR_H_MATCHED, &after);
	assert_int_equal(after.n - before.n, N_THREADS * 1000);
	assert_int_equal(after.sum - before.sum, N_THREADS * 7000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_row_is_complete),
	    cmocka_unit_test(test_names_are_unique_and_metrics_contiguous),
	    cmocka_unit_test(test_counting_does_not_allocate),
	    cmocka_unit_test(test_counting_and_adding),
	    cmocka_unit_test(test_nothing_is_lost_when_threads_end),
	    cmocka_unit_test(test_more_threads_than_blocks),
	    cmocka_unit_test(test_a_count_in_a_thread_destructor),
	    cmocka_unit_test(test_gauge_and_histogram_rows),
	    cmocka_unit_test(test_histogram_buckets),
	    cmocka_unit_test(test_histogram_of_threads),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
