/*
 * test_mem - sizes at the edges, and the failures that tests ask for.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#include "base/mem.h"

static void
test_size_zero_is_unique(void **state)
{
	void *a = spr_mem_alloc(0);
	void *b = spr_mem_zalloc(0);
	void *c = spr_mem_zalloc_aligned(0);
	void *d = spr_mem_realloc(NULL, 0);

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	assert_non_null(c);
	assert_non_null(d);
	assert_ptr_not_equal(a, b);
	d = spr_mem_realloc(d, 100);
	assert_non_null(d);
	d = spr_mem_realloc(d, 0); /* shrinks, does not free */
	assert_non_null(d);
	spr_mem_free(a);
	spr_mem_free(b);
	spr_mem_free(c);
	spr_mem_free(d);
	spr_mem_free(NULL);
}

static void
test_zeroed_and_aligned(void **state)
{
	(void)state;
	for (size_t size = 1; size < 300; size += 7) {
		unsigned char *plain = spr_mem_zalloc(size);
		unsigned char *aligned = spr_mem_zalloc_aligned(size);

		assert_non_null(plain);
		assert_non_null(aligned);
		assert_int_equal((uintptr_t)aligned % SPR_CACHELINE, 0);
		for (size_t i = 0; i < size; i++) {
			assert_int_equal(plain[i], 0);
			assert_int_equal(aligned[i], 0);
		}
		memset(plain, 0xff, size);
		memset(aligned, 0xff, size);
		spr_mem_free(plain);
		spr_mem_free(aligned);
	}
}

static void
test_sizes_that_would_overflow(void **state)
{
	(void)state;
	/* rounding these up would wrap around to a small size */
	for (size_t less = 0; less < SPR_CACHELINE - 1; less++)
		assert_null(spr_mem_zalloc_aligned(SIZE_MAX - less));
}

static void
test_is_plain_malloc_memory(void **state)
{
	char *copy = spr_mem_strdup("text");

	(void)state;
	assert_string_equal(copy, "text");
	free(copy);
	spr_mem_free(strdup("text"));
	copy = spr_mem_strdup("");
	assert_string_equal(copy, "");
	copy = spr_mem_realloc(copy, 4);
	assert_non_null(copy);
	assert_string_equal(copy, "");
	spr_mem_free(copy);
}

static void
test_each_kind_fails_on_request(void **state)
{
	void *kept = spr_mem_alloc(8);

	(void)state;
	assert_non_null(kept);
	spr_mem_fail_at(1);
	assert_null(spr_mem_alloc(1));
	assert_null(spr_mem_zalloc(1));
	assert_null(spr_mem_zalloc_aligned(1));
	assert_null(spr_mem_strdup("x"));
	assert_null(spr_mem_realloc(kept, 16)); /* kept stays valid */
	assert_int_equal(spr_mem_count(), 5);
	spr_mem_fail_at(0);
	assert_int_equal(spr_mem_count(), 0);
	spr_mem_free(kept);
}

static void
test_the_nth_and_all_after_fail(void **state)
{
	void *p[3];

	(void)state;
	spr_mem_fail_at(3);
	for (int i = 0; i < 3; i++)
		p[i] = spr_mem_alloc(1);
	assert_non_null(p[0]);
	assert_non_null(p[1]);
	assert_null(p[2]);
	assert_null(spr_mem_alloc(1));
	assert_int_equal(spr_mem_count(), 4);
	spr_mem_fail_at(0);
	spr_mem_free(p[0]);
	spr_mem_free(p[1]);
}

static void *
allocate_elsewhere(void *arg)
{
	*(void **)arg = spr_mem_alloc(1);
	return (NULL);
}

static void
test_failures_are_thread_local(void **state)
{
	pthread_t thread;
	void *theirs = NULL;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, allocate_elsewhere, &theirs), 0);
	spr_mem_fail_at(1);
	pthread_join(thread, NULL);
	assert_non_null(theirs);
	assert_int_equal(spr_mem_count(), 0);
	spr_mem_fail_at(0);
	spr_mem_free(theirs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_size_zero_is_unique),
	    cmocka_unit_test(test_zeroed_and_aligned),
	    cmocka_unit_test(test_sizes_that_would_overflow),
	    cmocka_unit_test(test_is_plain_malloc_memory),
	    cmocka_unit_test(test_each_kind_fails_on_request),
	    cmocka_unit_test(test_the_nth_and_all_after_fail),
	    cmocka_unit_test(test_failures_are_thread_local),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
