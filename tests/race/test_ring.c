/*
 * test_ring - one producer, one consumer, a small ring: every item once, in order, with its contents (E1).
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "spr_test.h"

#include "base/ring.h"
#include "base/sync.h"

#define N_ITEMS 50000

typedef struct item {
	unsigned number;
	unsigned twice; /* plain fields on purpose: only the ring orders them */
} item;

struct race {
	spr_ring *ring;
	pthread_barrier_t gate;
	item *items;
	unsigned n_bad;
};

static void *
produce(void *arg)
{
	struct race *r = arg;

	pthread_barrier_wait(&r->gate);
	for (unsigned i = 0; i < N_ITEMS; i++) {
		r->items[i].number = i;
		r->items[i].twice = 2 * i;
		while (!spr_ring_try_push(r->ring, &r->items[i]))
			sched_yield();
	}
	return (NULL);
}

static void *
consume(void *arg)
{
	struct race *r = arg;

	pthread_barrier_wait(&r->gate);
	for (unsigned i = 0; i < N_ITEMS;) {
		item *it = spr_ring_try_pop(r->ring);

		if (it == NULL) {
			sched_yield();
			continue;
		}
		r->n_bad += it->number != i || it->twice != 2 * i;
		it->twice = 1; /* the consumer owns it now */
		for (unsigned n = 0; n < 2; n++) {
			const item *ahead = spr_ring_peek(r->ring, n);

			r->n_bad += ahead != NULL &&
				    (ahead->number != i + 1 + n || ahead->twice != 2 * (i + 1 + n));
		}
		i++;
	}
	return (NULL);
}

static void
race(unsigned slots, unsigned yield_percent)
{
	struct race r = {0};
	pthread_t producer, consumer;

	assert_ok(spr_ring_new(&r.ring, slots));
	assert_non_null(r.items = calloc(N_ITEMS, sizeof(*r.items)));
	spr_sync_yield_percent(yield_percent);
	pthread_barrier_init(&r.gate, NULL, 2);
	assert_int_equal(pthread_create(&producer, NULL, produce, &r), 0);
	assert_int_equal(pthread_create(&consumer, NULL, consume, &r), 0);
	pthread_join(producer, NULL);
	pthread_join(consumer, NULL);
	assert_int_equal(r.n_bad, 0);
	assert_null(spr_ring_try_pop(r.ring));
	assert_int_equal(spr_ring_size(r.ring), 0);
	pthread_barrier_destroy(&r.gate);
	spr_sync_yield_percent(0);
	free(r.items);
	spr_ring_free(r.ring);
}

static void
test_small_ring(void **state)
{
	(void)state;
	race(4, 0);
	race(4, 10);
}

static void
test_large_ring(void **state)
{
	(void)state;
	race(1024, 0);
	race(1024, 3);
}

/* The writing end goes from thread to thread under a mutex, as it does when a parked receiver is taken over. */
#define N_WRITERS 3

struct relay {
	spr_ring *ring;
	pthread_mutex_t lock; /* guards the writing end and next */
	unsigned next;
	item *items;
};

static void *
produce_in_turn(void *arg)
{
	struct relay *r = arg;
	bool is_over = false;

	while (!is_over) {
		pthread_mutex_lock(&r->lock);
		is_over = r->next == N_ITEMS;
		if (!is_over) {
			r->items[r->next].number = r->next;
			r->items[r->next].twice = 2 * r->next;
			r->next += spr_ring_try_push(r->ring, &r->items[r->next]);
		}
		pthread_mutex_unlock(&r->lock);
		sched_yield();
	}
	return (NULL);
}

static void
test_the_writing_end_may_change_hands(void **state)
{
	struct relay r = {.lock = PTHREAD_MUTEX_INITIALIZER};
	pthread_t writers[N_WRITERS];
	unsigned n_bad = 0;

	(void)state;
	assert_ok(spr_ring_new(&r.ring, 8));
	assert_non_null(r.items = calloc(N_ITEMS, sizeof(*r.items)));
	for (int i = 0; i < N_WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i], NULL, produce_in_turn, &r), 0);
	for (unsigned i = 0; i < N_ITEMS;) {
		item *it = spr_ring_try_pop(r.ring);

		if (it == NULL) {
			sched_yield();
			continue;
		}
		n_bad += it->number != i || it->twice != 2 * i;
		i++;
	}
	for (int i = 0; i < N_WRITERS; i++)
		pthread_join(writers[i], NULL);
	assert_int_equal(n_bad, 0);
	free(r.items);
	spr_ring_free(r.ring);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_small_ring),
	    cmocka_unit_test(test_large_ring),
	    cmocka_unit_test(test_the_writing_end_may_change_hands),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
