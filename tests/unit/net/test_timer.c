/*
 * test_timer - what is armed fires once and in order; arming anew, also from inside; stopping one that waits, that fires,
 * and itself; memory that is freed in fire; holds.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "spr_test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/timer.h"

#define LIMIT_MS 20000
#define LATER_MS 600000
#define N_TIMERS 40

typedef struct scene scene;
typedef struct alarm {
	spr_timer timer;
	scene *scene;
	unsigned ms, n_again;
	uint64_t armed_ns;
	bool was_early, stops_itself, frees_itself;
	spr_timer *stops; /* another one */
	atomic_uint n_fired;
	unsigned place;
} alarm;

struct scene {
	atomic_uint n_fired;
	atomic_bool may_go, is_inside, is_stopped;
};

static void
arm(alarm *a, unsigned ms)
{
	a->ms = ms;
	a->armed_ns = spr_clock_now_ns();
	spr_timer_arm(&a->timer, ms);
}

static void
on_fire(void *arg)
{
	alarm *a = arg;
	scene *s = a->scene;

	a->was_early |= spr_clock_now_ns() < a->armed_ns + a->ms * SPR_NS_PER_MS;
	a->place = atomic_load(&s->n_fired);
	if (a->stops != NULL)
		spr_timer_stop(a->stops);
	if (a->stops_itself)
		spr_timer_stop(&a->timer);
	if (a->n_again > 0) {
		a->n_again--;
		arm(a, a->ms);
	}
	atomic_fetch_add(&a->n_fired, 1);
	if (a->frees_itself)
		spr_mem_free(a);
	atomic_fetch_add(&s->n_fired, 1);
}

/* Until it may go on. */
static void
on_slow(void *arg)
{
	alarm *a = arg;

	atomic_store(&a->scene->is_inside, true);
	(void)wait_until(atomic_load(&a->scene->may_go), LIMIT_MS);
	atomic_fetch_add(&a->n_fired, 1);
}

static void
init(alarm *a, scene *s, void (*fire)(void *arg))
{
	*a = (alarm){.scene = s};
	spr_timer_init(&a->timer, fire, a);
}

static int
hold(void **state)
{
	(void)state;
	assert_ok(spr_timers_hold());
	return (0);
}

static int
drop(void **state)
{
	(void)state;
	spr_timers_drop();
	return (0);
}

static void
test_in_the_order_of_their_time(void **state)
{
	scene s = {0};
	alarm alarms[N_TIMERS], block;
	uint64_t seed = spr_test_seed();
	unsigned order[N_TIMERS];

	(void)state;
	/* none fires before all are armed */
	init(&block, &s, on_slow);
	arm(&block, 0);
	assert_true(wait_until(atomic_load(&s.is_inside), LIMIT_MS));
	for (unsigned i = 0; i < N_TIMERS; i++)
		order[i] = i;
	for (unsigned i = 0; i < N_TIMERS; i++) {
		unsigned with = i + (unsigned)spr_test_below(&seed, N_TIMERS - i), one = order[i];

		order[i] = order[with];
		order[with] = one;
		init(&alarms[order[i]], &s, on_fire);
		/* far enough apart for the time that arming them takes not to count, for most */
		arm(&alarms[order[i]], order[i] * 5);
	}
	atomic_store(&s.may_go, true);
	assert_true(wait_until(atomic_load(&s.n_fired) == N_TIMERS, LIMIT_MS));
	for (unsigned i = 0; i < N_TIMERS; i++) {
		assert_int_equal(alarms[i].n_fired, 1);
		assert_false(alarms[i].was_early);
		for (unsigned j = 0; j < i; j++) {
			if (alarms[j].timer.due_ns < alarms[i].timer.due_ns)
				assert_true(alarms[j].place < alarms[i].place);
		}
		spr_timer_stop(&alarms[i].timer);
	}
	spr_timer_stop(&block.timer);
}

/* The thread sleeps until the later one: the earlier one wakes it up. */
static void
test_an_earlier_one_comes_later(void **state)
{
	scene s = {0};
	alarm later, sooner;

	(void)state;
	init(&later, &s, on_fire);
	init(&sooner, &s, on_fire);
	arm(&later, LATER_MS);
	arm(&sooner, 10);
	assert_true(wait_until(sooner.n_fired == 1, LIMIT_MS));
	arm(&later, 10); /* instead of its first time */
	assert_true(wait_until(later.n_fired == 1, LIMIT_MS));
	spr_timer_stop(&sooner.timer);
	spr_timer_stop(&later.timer);
	assert_int_equal(s.n_fired, 2);
}

static void
test_armed_anew_in_its_fire(void **state)
{
	scene s = {0};
	alarm a;

	(void)state;
	init(&a, &s, on_fire);
	a.n_again = 5;
	arm(&a, 1);
	assert_true(wait_until(atomic_load(&s.n_fired) == 6, LIMIT_MS));
	assert_false(a.was_early);
	spr_timer_stop(&a.timer);
	assert_int_equal(s.n_fired, 6);
}

/* Whatever was due before the last has fired behind it, or never will. */
static void
test_a_stopped_one_never_fires(void **state)
{
	scene s = {0};
	alarm stopped, last, itself, other;

	(void)state;
	init(&stopped, &s, on_fire);
	init(&itself, &s, on_fire);
	init(&other, &s, on_fire);
	init(&last, &s, on_fire);
	arm(&stopped, 5);
	spr_timer_stop(&stopped.timer);
	arm(&stopped, 0); /* stays stopped */
	itself.stops_itself = true;
	itself.n_again = 1; /* in vain */
	itself.stops = &other.timer;
	arm(&other, 200);
	arm(&itself, 0);
	arm(&last, 300);
	assert_true(wait_until(last.n_fired == 1, LIMIT_MS));
	assert_int_equal(itself.n_fired, 1);
	assert_int_equal(other.n_fired, 0);
	assert_int_equal(stopped.n_fired, 0);
	spr_timer_stop(&last.timer);
	spr_timer_stop(&(spr_timer){0});
}

static void *
stop_it(void *arg)
{
	alarm *a = arg;

	spr_timer_stop(&a->timer);
	atomic_store(&a->scene->is_stopped, true);
	return (atomic_load(&a->n_fired) == 1 ? a : NULL);
}

static void
test_stop_waits_for_fire(void **state)
{
	scene s = {0};
	alarm a;
	pthread_t stopper;
	void *fired_first;

	(void)state;
	init(&a, &s, on_slow);
	arm(&a, 0);
	assert_true(wait_until(atomic_load(&s.is_inside), LIMIT_MS));
	assert_int_equal(pthread_create(&stopper, NULL, stop_it, &a), 0);
	assert_false(wait_until(atomic_load(&s.is_stopped), 50));
	atomic_store(&s.may_go, true);
	assert_int_equal(pthread_join(stopper, &fired_first), 0);
	assert_non_null(fired_first);
}

static void
test_freed_in_its_fire(void **state)
{
	scene s = {0};

	(void)state;
	for (unsigned i = 1; i <= 20; i++) {
		alarm *a = spr_mem_alloc(sizeof(*a));

		assert_non_null(a);
		init(a, &s, on_fire);
		a->frees_itself = true;
		arm(a, 0);
		assert_true(wait_until(atomic_load(&s.n_fired) == i, LIMIT_MS));
	}
}

/* Stops against fires, arms against fires: each ends, and nothing fires behind its stop. */
static void
test_stops_beside_fires(void **state)
{
	uint64_t seed = spr_test_seed();
	scene s = {0};

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		alarm a, b;
		unsigned n_fired;

		init(&a, &s, on_fire);
		init(&b, &s, on_fire);
		a.n_again = 3;
		a.ms = 0;
		arm(&a, 0);
		for (uint64_t n = spr_test_below(&seed, 20); n > 0; n--)
			spr_timer_arm(&b.timer, 0);
		spr_timer_stop(&a.timer);
		spr_timer_stop(&b.timer);
		n_fired = atomic_load(&s.n_fired);
		assert_true(a.n_fired <= 4);
		spr_timer_arm(&a.timer, 0);
		assert_int_equal(atomic_load(&s.n_fired), n_fired);
	}
}

/* The thread ends with the last hold and comes back with the next; what is armed meanwhile waits. */
static void
test_holds(void **state)
{
	scene s = {0};
	alarm a;

	(void)state;
	for (unsigned i = 1; i <= 3; i++) {
		assert_ok(spr_timers_hold());
		assert_ok(spr_timers_hold());
		spr_timers_drop();
		init(&a, &s, on_fire);
		arm(&a, 0);
		assert_true(wait_until(atomic_load(&s.n_fired) == 2 * i - 1, LIMIT_MS));
		spr_timers_drop();
		arm(&a, 0);
		assert_ok(spr_timers_hold());
		assert_true(wait_until(atomic_load(&s.n_fired) == 2 * i, LIMIT_MS));
		spr_timer_stop(&a.timer);
		spr_timers_drop();
	}
}

/* Those that need not be exact are due together: never early, and less than a quarter of a second late. */
static void
test_about_the_same_time(void **state)
{
	const uint64_t grid_ns = SPR_NS_PER_S / 4;
	scene s = {0};
	alarm a, b;
	uint64_t before_ns, after_ns;

	(void)state;
	init(&a, &s, on_fire);
	init(&b, &s, on_fire);
	before_ns = spr_clock_now_ns() + LATER_MS * SPR_NS_PER_MS;
	spr_timer_arm_about(&a.timer, LATER_MS);
	after_ns = spr_clock_now_ns() + LATER_MS * SPR_NS_PER_MS;
	assert_true(a.timer.due_ns >= before_ns && a.timer.due_ns < after_ns + grid_ns);
	assert_int_equal(a.timer.due_ns % grid_ns, 0);
	spr_timer_arm_about(&b.timer, 1);
	assert_int_equal(b.timer.due_ns % grid_ns, 0);
	assert_true(wait_until(atomic_load(&b.n_fired) == 1, LIMIT_MS));
	spr_timer_stop(&a.timer);
	spr_timer_stop(&b.timer);
	assert_int_equal(atomic_load(&a.n_fired), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_in_the_order_of_their_time, hold, drop),
	    cmocka_unit_test_setup_teardown(test_an_earlier_one_comes_later, hold, drop),
	    cmocka_unit_test_setup_teardown(test_armed_anew_in_its_fire, hold, drop),
	    cmocka_unit_test_setup_teardown(test_a_stopped_one_never_fires, hold, drop),
	    cmocka_unit_test_setup_teardown(test_stop_waits_for_fire, hold, drop),
	    cmocka_unit_test_setup_teardown(test_freed_in_its_fire, hold, drop),
	    cmocka_unit_test_setup_teardown(test_stops_beside_fires, hold, drop),
	    cmocka_unit_test_setup_teardown(test_about_the_same_time, hold, drop),
	    cmocka_unit_test(test_holds),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
