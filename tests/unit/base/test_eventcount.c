/*
 * test_eventcount - a wake-up before, at and after the wait; deadlines in the past and in the future.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "spr_test.h"

#include "base/clock.h"
#include "base/eventcount.h"

static void
test_wake_changes_the_value(void **state)
{
	spr_ec ec;
	uint32_t value;

	(void)state;
	spr_ec_init(&ec);
	value = spr_ec_value(&ec);
	assert_int_equal(spr_ec_value(&ec), value);
	spr_ec_wake(&ec);
	assert_int_not_equal(spr_ec_value(&ec), value);
}

static void
test_a_wake_before_the_wait_ends_it(void **state)
{
	spr_ec ec;
	uint32_t value;

	(void)state;
	spr_ec_init(&ec);
	for (uint64_t spin_ns = 0; spin_ns <= 1000000; spin_ns += 500000) {
		value = spr_ec_value(&ec);
		spr_ec_wake(&ec);
		assert_true(spr_ec_wait(&ec, value, 0,
					spin_ns)); /* without a deadline: would hang if lost */
	}
}

static void
test_deadlines(void **state)
{
	spr_ec ec;
	uint64_t deadline_ns;

	(void)state;
	spr_ec_init(&ec);
	assert_false(spr_ec_wait(&ec, spr_ec_value(&ec), 1, 0));
	assert_false(spr_ec_wait(&ec, spr_ec_value(&ec), 1, SPR_NS_PER_S));
	deadline_ns = spr_clock_now_ns() + 3 * SPR_NS_PER_MS;
	assert_false(spr_ec_wait(&ec, spr_ec_value(&ec), deadline_ns, 0));
	assert_true(spr_clock_now_ns() >= deadline_ns);
	deadline_ns = spr_clock_now_ns() + 3 * SPR_NS_PER_MS;
	assert_false(spr_ec_wait(&ec, spr_ec_value(&ec), deadline_ns,
				 10 * SPR_NS_PER_S)); /* the spin ends too */
	assert_true(spr_clock_now_ns() >= deadline_ns);
}

struct sleeper {
	spr_ec ec;
	uint64_t spin_ns;
	uint64_t deadline_ns;
	atomic_bool has_value;
	bool was_woken;
};

static void *
sleep_until_woken(void *arg)
{
	struct sleeper *s = arg;
	uint32_t value = spr_ec_value(&s->ec);

	atomic_store(&s->has_value, true);
	s->was_woken = spr_ec_wait(&s->ec, value, s->deadline_ns, s->spin_ns);
	return (NULL);
}

static void
test_a_sleeper_is_woken(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		struct sleeper s = {.spin_ns = i % 2 == 0 ? 0 : 100000};
		pthread_t thread;

		spr_ec_init(&s.ec);
		s.deadline_ns = i % 4 < 2 ? 0 : spr_test_deadline_ns(60000);
		assert_int_equal(pthread_create(&thread, NULL, sleep_until_woken, &s), 0);
		assert_true(wait_until(atomic_load(&s.has_value), 10000));
		spr_ec_wake(&s.ec);
		pthread_join(thread, NULL);
		assert_true(s.was_woken);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_wake_changes_the_value),
	    cmocka_unit_test(test_a_wake_before_the_wait_ends_it),
	    cmocka_unit_test(test_deadlines),
	    cmocka_unit_test(test_a_sleeper_is_woken),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
