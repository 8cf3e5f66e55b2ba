/*
 * test_sweep - the sweep of expired subscriptions, turned by hand, under two clocks that the test
 * moves.
 */
#include "control/sweep.h"

#include "base/mem.h"
#include "control_desk.h"

static void
advance(int64_t s)
{
	test_wall_s += s;
	test_now_ns += (uint64_t)s * SPR_NS_PER_S;
}

static unsigned
sweep(desk *d)
{
	unsigned n = 0, total = 0;

	while ((n = spr_control_write_turn(d->control)) > 0) {
		total += n;
	}
	return (total);
}

static void
store_rows(desk *d, unsigned n, int64_t expires_s)
{
	assert_ok(spr_store_begin(d->env.store));
	for (unsigned i = 0; i < n; i++) {
		char pattern[32];
		spr_store_row row = {pattern, 0, "http://a", 8, expires_s};
		bool created = false;

		row.pattern_len = (size_t)snprintf(pattern, sizeof(pattern), "UN.%u", i);
		assert_ok(spr_store_put(d->env.store, &row, &created));
	}
	assert_ok(spr_store_commit(d->env.store));
}

/* Not in the first hour, not within the grace, and then exactly the ones over it. */
static void
test_sweep(void **state)
{
	desk *d = *state;
	uint64_t swept = spr_counter_sum(SPR_C_CHANGES_EXPIRE), n = 0;

	store_rows(d, 3, NOW_S - 86400 - 10);
	assert_ok(spr_control_load(&d->env, &n));
	submit(d, SUBSCRIBE, 1u);
	spr_control_read_turn(d->control);
	assert_int_equal(spr_control_write_turn(d->control), 1);
	assert_int_equal(subscriptions(d), 4);
	advance(3599);
	assert_int_equal(sweep(d), 0);
	assert_int_equal(subscriptions(d), 4);
	advance(10);
	assert_int_equal(sweep(d), 3);
	assert_int_equal(subscriptions(d), 1);
	assert_true(is_told(&d->env, "UN.A", "http://1"));
	assert_int_equal(spr_counter_sum(SPR_C_CHANGES_EXPIRE), swept + 3);
	/* the one left: expired strictly longer than the grace */
	advance(5 * 86400 - 3609 + 86400);
	assert_int_equal(sweep(d), 0);
	advance(10);
	assert_int_equal(subscriptions(d), 1);
	/* the patient clock follows the wall clock when both run alike */
	assert_int_equal(sweep(d), 1);
	assert_int_equal(subscriptions(d), 0);
}

static void
test_sweep_in_batches(void **state)
{
	desk *d = *state;
	uint64_t n = 0, commits = 0;

	store_rows(d, 2 * SPR_SWEEP_BATCH + 5, NOW_S - 2 * 86400);
	assert_ok(spr_control_load(&d->env, &n));
	advance(3600);
	commits = COMMITS();
	assert_int_equal(spr_control_write_turn(d->control), SPR_SWEEP_BATCH);
	/* requests are served in between */
	submit(d, SUBSCRIBE, 1u);
	spr_control_read_turn(d->control);
	assert_int_equal(spr_control_write_turn(d->control), 1 + SPR_SWEEP_BATCH);
	assert_int_equal(spr_control_write_turn(d->control), 5);
	assert_int_equal(spr_control_write_turn(d->control), 0);
	assert_int_equal(COMMITS(), commits + 4);
	assert_int_equal(subscriptions(d), 1);
}

/* A wall clock that jumps ahead deletes nothing, unless it stays there. */
static void
test_sweep_and_a_jumping_clock(void **state)
{
	desk *d = *state;
	uint64_t n = 0;

	store_rows(d, 3, NOW_S + 3 * 86400);
	assert_ok(spr_control_load(&d->env, &n));
	for (int i = 0; i < 3 * 360; i++) {
		advance(10);
		assert_int_equal(sweep(d), 0);
	}
	test_wall_s += 30 * 86400;
	for (int i = 0; i < 359; i++) {
		advance(10);
		assert_int_equal(sweep(d), 0);
	}
	/* back again: nothing happened */
	test_wall_s -= 30 * 86400;
	advance(10);
	assert_int_equal(sweep(d), 0);
	/* ahead for good: after one to two hours it is believed */
	test_wall_s += 30 * 86400;
	for (int i = 0; i < 2 * 360 + 1; i++) {
		advance(10);
		n += sweep(d);
	}
	assert_int_equal(subscriptions(d), 0);
}

static void
test_sweep_store_error(void **state)
{
	desk *d = *state;
	uint64_t n = 0;

	store_rows(d, 3, NOW_S - 2 * 86400);
	assert_ok(spr_control_load(&d->env, &n));
	advance(3600);
	assert_ok(spr_store_begin(d->env.store));
	assert_int_equal(spr_control_write_turn(d->control), 0);
	spr_store_rollback(d->env.store);
	assert_int_equal(subscriptions(d), 3);
	/* not again at once, but soon */
	assert_int_equal(spr_control_write_turn(d->control), 0);
	advance(10);
	assert_int_equal(spr_control_write_turn(d->control), 3);
	assert_int_equal(subscriptions(d), 0);
}

static void
test_sweep_out_of_memory(void **state)
{
	desk *d = *state;
	uint64_t n = 0;

	store_rows(d, 2, NOW_S - 2 * 86400);
	assert_ok(spr_control_load(&d->env, &n));
	advance(3600);
	for (unsigned long at = 1; at <= 5; at++) {
		spr_mem_fail_at(at);
		assert_int_equal(spr_control_write_turn(d->control), 0);
		spr_mem_fail_at(0);
		advance(10);
	}
	assert_int_equal(spr_control_write_turn(d->control), 2);
}

/* A stored row that could never be used goes the same way, without harm. */
static void
test_sweep_of_broken_rows(void **state)
{
	desk *d = *state;
	spr_store_row row = {"/", 1, "http://a", 8, 5};
	bool created = false;

	assert_ok(spr_store_begin(d->env.store));
	assert_ok(spr_store_put(d->env.store, &row, &created));
	assert_ok(spr_store_commit(d->env.store));
	advance(3600);
	assert_int_equal(spr_control_write_turn(d->control), 1);
	advance(10);
	assert_int_equal(spr_control_write_turn(d->control), 0);
}

/* Idle, it sleeps until the next look for expired rows; with something retired, or a log that is not moved, a second. */
static void
test_when_it_wakes(void **state)
{
	desk *d = *state;
	const spr_agent *writer = spr_control_agent(d->control, SPR_VERB_WRITE);
	uint64_t start_ns = test_now_ns;

	assert_int_equal(spr_control_write_turn(d->control), 0);
	assert_int_equal(writer->wake_at_ns, start_ns + SPR_SWEEP_EVERY_NS);
	submit(d, SUBSCRIBE, 1u);
	submit(d, "{'op':'unsubscribe','pattern':'UN.A','callback':'http://1'}");
	spr_control_read_turn(d->control);
	assert_int_equal(spr_control_write_turn(d->control), 2);
	assert_true(spr_epoch_retired_bytes(d->env.epoch) > 0);
	assert_int_equal(writer->wake_at_ns, start_ns + SPR_NS_PER_S);
	spr_epoch_barrier(d->env.epoch);
	advance(1);
	assert_int_equal(spr_control_write_turn(d->control), 0);
	assert_int_equal(writer->wake_at_ns, start_ns + SPR_SWEEP_EVERY_NS);
	advance(9);
	assert_int_equal(spr_control_write_turn(d->control), 0);
	assert_int_equal(writer->wake_at_ns, start_ns + 2 * SPR_SWEEP_EVERY_NS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    each(test_sweep),
	    each(test_sweep_in_batches),
	    each(test_sweep_and_a_jumping_clock),
	    each(test_sweep_store_error),
	    each(test_sweep_out_of_memory),
	    each(test_sweep_of_broken_rows),
	    each(test_when_it_wakes),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
