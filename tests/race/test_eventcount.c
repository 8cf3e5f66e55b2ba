/*
 * test_eventcount - the lost wake-up: writers count up and wake, the waiter sleeps without a deadline whenever it sees
 * nothing new. One lost wake-up hangs the test.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "spr_test.h"

#include "base/eventcount.h"
#include "base/sync.h"

#define N_WRITERS 3
#define N_EVENTS  5000

struct race {
	spr_ec ec;
	pthread_barrier_t gate;
	atomic_uint n_events;
	atomic_uint n_seen;
	bool is_lockstep;
	uint64_t spin_ns;
};

static void *
make_events(void *arg)
{
	struct race *r = arg;

	pthread_barrier_wait(&r->gate);
	for (unsigned i = 0; i < N_EVENTS; i++) {
		unsigned mine;

		/* relaxed: the eventcount alone must order it before the waiter's test */
		mine = atomic_fetch_add_explicit(&r->n_events, 1, memory_order_relaxed) + 1;
		spr_ec_wake(&r->ec);
		/* in lockstep every event finds the waiter asleep or about to be */
		while (r->is_lockstep && atomic_load(&r->n_seen) < mine)
			sched_yield();
	}
	return (NULL);
}

static void
wait_for_events(struct race *r)
{
	unsigned n_seen = 0;

	while (n_seen < N_WRITERS * N_EVENTS) {
		uint32_t value = spr_ec_value(&r->ec);
		/* relaxed: as above */
		unsigned n = atomic_load_explicit(&r->n_events, memory_order_relaxed);

		if (n == n_seen) {
			spr_ec_wait(&r->ec, value, 0, r->spin_ns);
			continue;
		}
		n_seen = n;
		atomic_store(&r->n_seen, n);
	}
}

static void
race(bool is_lockstep, uint64_t spin_ns, unsigned yield_percent)
{
	struct race r = {.is_lockstep = is_lockstep, .spin_ns = spin_ns};
	pthread_t threads[N_WRITERS];

	spr_ec_init(&r.ec);
	spr_sync_yield_percent(yield_percent);
	pthread_barrier_init(&r.gate, NULL, N_WRITERS + 1);
	for (unsigned i = 0; i < N_WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, make_events, &r), 0);
	pthread_barrier_wait(&r.gate);
	wait_for_events(&r);
	for (unsigned i = 0; i < N_WRITERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&r.n_seen), N_WRITERS * N_EVENTS);
	pthread_barrier_destroy(&r.gate);
	spr_sync_yield_percent(0);
}

static void
test_free_running(void **state)
{
	(void)state;
	race(false, 0, 0);
	race(false, 0, 20);
	race(false, 2000, 5);
}

static void
test_lockstep(void **state)
{
	(void)state;
	race(true, 0, 0);
	race(true, 0, 20);
	race(true, 2000, 5);
}

/* What was written before the wake is there after the wait that it ended: a baton in a plain variable. */
struct baton {
	spr_ec ec[2];
	unsigned value; /* plain on purpose */
};

static void *
answer(void *arg)
{
	struct baton *b = arg;

	for (unsigned i = 0; i < N_EVENTS; i++) {
		spr_ec_wait(&b->ec[1], i, 0, 0);
		b->value++;
		spr_ec_wake(&b->ec[0]);
	}
	return (NULL);
}

static void
test_wake_orders_plain_writes(void **state)
{
	struct baton b = {.value = 0};
	pthread_t thread;

	(void)state;
	spr_ec_init(&b.ec[0]);
	spr_ec_init(&b.ec[1]);
	assert_int_equal(spr_ec_value(&b.ec[0]), 0);
	assert_int_equal(pthread_create(&thread, NULL, answer, &b), 0);
	for (unsigned i = 0; i < N_EVENTS; i++) {
		b.value++;
		spr_ec_wake(&b.ec[1]);
		spr_ec_wait(&b.ec[0], i, 0, 0);
		assert_int_equal(b.value, 2 * (i + 1));
	}
	pthread_join(thread, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_free_running),
	    cmocka_unit_test(test_lockstep),
	    cmocka_unit_test(test_wake_orders_plain_writes),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
