/*
 * test_error - every code has a name and a text; the trail says where, what and why, and never speaks for another error.
 */
#include <pthread.h>
#include <string.h>

#include "spr_test.h"

static void
test_every_code_has_name_and_text(void **state)
{
	(void)state;
	for (int i = 0; i < SPR_N_ERRORS; i++) {
		assert_true(strlen(spr_err_text((spr_err)i)) > 1);
		assert_memory_equal(spr_err_name((spr_err)i), "SPR_", 4);
		for (int j = 0; j < i; j++) {
			assert_string_not_equal(spr_err_text((spr_err)i), spr_err_text((spr_err)j));
			assert_string_not_equal(spr_err_name((spr_err)i), spr_err_name((spr_err)j));
		}
	}
	assert_string_equal(spr_err_name(SPR_E_NOMEM), "SPR_E_NOMEM");
	assert_string_equal(spr_err_text(SPR_E_NOMEM), "out of memory");
}

static void
test_a_code_out_of_range_is_no_crash(void **state)
{
	(void)state;
	assert_string_equal(spr_err_text((spr_err)SPR_N_ERRORS), "unknown error");
	assert_string_equal(spr_err_name((spr_err)-1), "SPR_E_?");
	assert_string_equal(spr_error_text((spr_err)1000), "unknown error");
}

static void
test_fail_starts_and_wrap_prefixes(void **state)
{
	(void)state;
	assert_fails(spr_fail(SPR_E_IO, "open %s: %s", "x.db", "disk on fire"), SPR_E_IO);
	spr_wrap("load %d subscriptions", 3);
	spr_wrap("start");
	assert_string_equal(spr_error_text(SPR_E_IO),
			    "start: load 3 subscriptions: open x.db: disk on fire");
	/* reading does not use it up */
	assert_string_equal(spr_error_text(SPR_E_IO),
			    "start: load 3 subscriptions: open x.db: disk on fire");
	assert_fails(spr_fail(SPR_E_STORE, "new"), SPR_E_STORE);
	assert_string_equal(spr_error_text(SPR_E_STORE), "new");
}

static void
test_a_trail_speaks_for_its_code_only(void **state)
{
	(void)state;
	spr_fail(SPR_E_IO, "open x");
	assert_string_equal(spr_error_text(SPR_E_NOMEM), "out of memory");
	assert_string_equal(spr_error_text(SPR_OK), "ok");
	assert_string_equal(spr_error_text(SPR_E_IO), "open x");
	spr_error_clear();
	assert_string_equal(spr_error_text(SPR_E_IO), "input/output error");
}

static void
test_wrap_of_a_bare_code(void **state)
{
	(void)state;
	spr_error_clear();
	spr_wrap("parse");
	spr_wrap("load %s", "file");
	assert_string_equal(spr_error_text(SPR_E_NOMEM), "load file: parse: out of memory");
	/* from then on it is the trail of that code */
	assert_string_equal(spr_error_text(SPR_E_IO), "input/output error");
	assert_string_equal(spr_error_text(SPR_E_NOMEM), "load file: parse: out of memory");
}

static void
test_arguments_may_point_into_the_trail(void **state)
{
	(void)state;
	spr_fail(SPR_E_IO, "deep");
	spr_fail(SPR_E_STORE, "outer (%s)", spr_error_text(SPR_E_IO));
	assert_string_equal(spr_error_text(SPR_E_STORE), "outer (deep)");
	spr_wrap("again %s", spr_error_text(SPR_E_STORE));
	assert_string_equal(spr_error_text(SPR_E_STORE), "again outer (deep): outer (deep)");
}

static void
test_what_is_too_long_is_cut(void **state)
{
	char big[3000];
	size_t len;

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	spr_fail(SPR_E_IO, "%s", big);
	len = strlen(spr_error_text(SPR_E_IO));
	assert_int_equal(len, 1023);
	spr_wrap("front");
	assert_int_equal(strlen(spr_error_text(SPR_E_IO)), 1023);
	assert_memory_equal(spr_error_text(SPR_E_IO), "front: xxx", 10);
	spr_wrap("%s", big);
	assert_int_equal(strlen(spr_error_text(SPR_E_IO)), 1023);
	spr_error_clear();
	spr_wrap("%s", big);
	assert_int_equal(strlen(spr_error_text(SPR_E_IO)), 1023);
}

static void *
fail_elsewhere(void *arg)
{
	(void)arg;
	spr_fail(SPR_E_IO, "other thread");
	return (NULL);
}

static void
test_trails_are_thread_local(void **state)
{
	pthread_t thread;

	(void)state;
	spr_fail(SPR_E_IO, "mine");
	assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
	pthread_join(thread, NULL);
	assert_string_equal(spr_error_text(SPR_E_IO), "mine");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_code_has_name_and_text),
	    cmocka_unit_test(test_a_code_out_of_range_is_no_crash),
	    cmocka_unit_test(test_fail_starts_and_wrap_prefixes),
	    cmocka_unit_test(test_a_trail_speaks_for_its_code_only),
	    cmocka_unit_test(test_wrap_of_a_bare_code),
	    cmocka_unit_test(test_arguments_may_point_into_the_trail),
	    cmocka_unit_test(test_what_is_too_long_is_cut),
	    cmocka_unit_test(test_trails_are_thread_local),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
