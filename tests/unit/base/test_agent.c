/*
 * test_agent - start, work, park, wake, stop; what start and stop promise when on_start fails or work is left.
 */
#include <signal.h>
#include <string.h>

#include "spr_test.h"

#include "base/agent.h"
#include "base/clock.h"

typedef struct worker {
	spr_agent agent;
	atomic_uint todo;
	atomic_uint done;
	atomic_uint n_turns;
	atomic_uint n_started;
	atomic_uint n_stopped;
	uint64_t sleep_ns; /* asked for when idle; 0: for good */
	bool is_slow;
	spr_err start_result;
	char thread_name[16];
	spr_role role;
	bool are_signals_blocked;
	bool is_wake_at_reset;
} worker;

static spr_err
on_start(void *arg)
{
	worker *w = arg;
	sigset_t mask;

	atomic_fetch_add(&w->n_started, 1);
	pthread_getname_np(pthread_self(), w->thread_name, sizeof(w->thread_name));
	w->role = spr_role_get();
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	w->are_signals_blocked = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGHUP) &&
				 sigismember(&mask, SIGINT) && sigismember(&mask, SIGUSR1);
	if (w->start_result == SPR_E_IO)
		return (spr_fail(SPR_E_IO, "no disk"));
	return (w->start_result);
}

static unsigned
do_work(void *arg)
{
	worker *w = arg;

	w->is_wake_at_reset = w->agent.wake_at_ns == 0;
	atomic_fetch_add(&w->n_turns, 1);
	if (w->is_slow)
		spr_test_pause(0);
	if (atomic_load(&w->todo) != 0) {
		atomic_fetch_sub(&w->todo, 1);
		atomic_fetch_add(&w->done, 1);
		return (1);
	}
	if (w->sleep_ns != 0)
		w->agent.wake_at_ns = spr_clock_now_ns() + w->sleep_ns;
	return (0);
}

static void
on_stop(void *arg)
{
	atomic_fetch_add(&((worker *)arg)->n_stopped, 1);
}

static void
worker_init(worker *w)
{
	memset(w, 0, sizeof(*w));
	w->agent = (spr_agent){.name = "test-worker",
			       .role = SPR_ROLE_LEDGER,
			       .on_start = on_start,
			       .do_work = do_work,
			       .on_stop = on_stop,
			       .state = w};
	spr_agent_init(&w->agent);
}

static bool
is_parked(worker *w)
{
	return (atomic_load(&w->agent.is_parked));
}

static void
test_starts_with_name_role_and_no_signals(void **state)
{
	worker w;
	sigset_t before, after;

	(void)state;
	worker_init(&w);
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	assert_ok(spr_agent_start(&w.agent));
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_int_equal(atomic_load(&w.n_started), 1); /* start waits for on_start */
	assert_string_equal(w.thread_name, "test-worker");
	assert_int_equal(w.role, SPR_ROLE_LEDGER);
	assert_true(w.are_signals_blocked);
	assert_int_equal(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
	assert_false(spr_agent_is_stopping(&w.agent));
	spr_agent_stop(&w.agent);
	assert_true(spr_agent_is_stopping(&w.agent));
	assert_int_equal(atomic_load(&w.n_stopped), 1);
	spr_agent_stop(&w.agent); /* a second time is fine */
	assert_int_equal(atomic_load(&w.n_stopped), 1);
}

static void
test_a_failed_start_is_handed_back(void **state)
{
	worker w;

	(void)state;
	worker_init(&w);
	w.start_result = SPR_E_IO;
	assert_fails(spr_agent_start(&w.agent), SPR_E_IO);
	assert_string_equal(spr_error_text(SPR_E_IO), "start thread test-worker: no disk");
	assert_int_equal(atomic_load(&w.n_turns), 0);
	assert_int_equal(atomic_load(&w.n_stopped), 0);
	spr_agent_stop(&w.agent);
	w.start_result = SPR_E_NOMEM; /* no trail of its own */
	assert_fails(spr_agent_start(&w.agent), SPR_E_NOMEM);
	assert_string_equal(spr_error_text(SPR_E_NOMEM), "start thread test-worker: out of memory");
}

static void
test_stop_of_one_that_never_started(void **state)
{
	worker w;

	(void)state;
	worker_init(&w);
	spr_agent_stop(&w.agent);
	assert_int_equal(atomic_load(&w.n_stopped), 0);
}

static void
test_the_hooks_are_optional(void **state)
{
	worker w;

	(void)state;
	worker_init(&w);
	w.agent.on_start = NULL;
	w.agent.on_stop = NULL;
	assert_ok(spr_agent_start(&w.agent));
	spr_agent_stop(&w.agent);
	assert_true(atomic_load(&w.n_turns) > 0);
}

static void
test_parks_when_idle_and_wakes(void **state)
{
	worker w;

	(void)state;
	for (unsigned spin = 0; spin < 2; spin++) {
		worker_init(&w);
		w.agent.spin_ns = spin * 50000;
		assert_ok(spr_agent_start(&w.agent));
		for (unsigned i = 1; i <= 50; i++) {
			assert_true(wait_until(is_parked(&w), 10000));
			atomic_fetch_add(&w.todo, 2);
			spr_agent_wake(&w.agent);
			assert_true(wait_until(atomic_load(&w.done) == 2 * i, 10000));
		}
		spr_agent_stop(&w.agent);
	}
}

static void
test_wakes_by_itself_when_asked_to(void **state)
{
	worker w;

	(void)state;
	worker_init(&w);
	w.sleep_ns = SPR_NS_PER_MS;
	assert_ok(spr_agent_start(&w.agent));
	assert_true(wait_until(atomic_load(&w.n_turns) >= 5, 10000));
	spr_agent_stop(&w.agent);
	assert_true(w.is_wake_at_reset);
}

static void
test_stop_finishes_what_was_handed_over(void **state)
{
	worker w;

	(void)state;
	worker_init(&w);
	assert_ok(spr_agent_start(&w.agent));
	assert_true(wait_until(is_parked(&w), 10000));
	atomic_store(&w.todo, 1000); /* no wake: the stop is one */
	spr_agent_stop(&w.agent);
	assert_int_equal(atomic_load(&w.done), 1000);
	assert_int_equal(atomic_load(&w.todo), 0);
}

static void
test_turns_are_measured(void **state)
{
	worker w;
	uint64_t before_ns = spr_clock_now_ns();

	(void)state;
	worker_init(&w);
	w.is_slow = true;
	assert_ok(spr_agent_start(&w.agent));
	assert_true(wait_until(is_parked(&w), 10000));
	spr_agent_stop(&w.agent);
	assert_true(atomic_load(&w.agent.last_turn_ns) > before_ns);
	assert_true(atomic_load(&w.agent.last_turn_ns) <= spr_clock_now_ns());
	assert_true(atomic_load(&w.agent.longest_turn_ns) >=
		    100000); /* the pause in it is longer */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_starts_with_name_role_and_no_signals),
	    cmocka_unit_test(test_a_failed_start_is_handed_back),
	    cmocka_unit_test(test_stop_of_one_that_never_started),
	    cmocka_unit_test(test_the_hooks_are_optional),
	    cmocka_unit_test(test_parks_when_idle_and_wakes),
	    cmocka_unit_test(test_wakes_by_itself_when_asked_to),
	    cmocka_unit_test(test_stop_finishes_what_was_handed_over),
	    cmocka_unit_test(test_turns_are_measured),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
