/*
 * Dispatchers that want few credits and one that wants nearly all of them, each a thread: never more than there are, and while one is
 * in line every other one is served at most once before it.
 */
#include <pthread.h>
#include <sched.h>

#include "path/credits.h"
#include "spr_test.h"

#define THREADS  4
#define ROUNDS   4000
#define CAPACITY 16

typedef struct play {
	spr_credits *credits;
	atomic_uint n_granted, n_passed_by, n_waits;
	_Atomic int64_t in_use;
	atomic_bool is_bad;
	pthread_barrier_t start;
} play;

typedef struct player {
	play *play;
	unsigned d;
	pthread_t thread;
} player;

/* Grants of others from the first refusal to one's own grant, before the place is left. */
static void
wait_in_line(player *self, uint32_t n)
{
	play *p = self->play;
	unsigned before = atomic_load(&p->n_granted);
	unsigned passed;

	atomic_fetch_add(&p->n_waits, 1);
	while (!spr_credits_reserve_in_turn(p->credits, self->d, n))
		sched_yield();
	passed = atomic_load(&p->n_granted) - before;
	if (passed > THREADS - 1)
		atomic_fetch_add(&p->n_passed_by, 1);
}

static void *
play_on(void *arg)
{
	player *self = arg;
	play *p = self->play;
	uint32_t n = self->d == 0 ? CAPACITY - 1 : self->d;

	pthread_barrier_wait(&p->start);
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (!spr_credits_reserve_in_turn(p->credits, self->d, n))
			wait_in_line(self, n);
		atomic_fetch_add(&p->n_granted, 1);
		spr_credits_leave(p->credits, self->d);
		if (atomic_fetch_add(&p->in_use, n) + n > CAPACITY)
			atomic_store(&p->is_bad, true);
		if (i % 2 == 0)
			sched_yield();
		atomic_fetch_sub(&p->in_use, n);
		spr_credits_give_back(p->credits, n);
	}
	return (NULL);
}

static void
nobody_is_passed_by_for_long(void **state)
{
	play p = {.credits = spr_mem_zalloc_aligned(sizeof(spr_credits))};
	player players[THREADS];

	(void)state;
	assert_non_null(p.credits);
	spr_credits_init(p.credits, CAPACITY);
	assert_int_equal(pthread_barrier_init(&p.start, NULL, THREADS), 0);
	for (unsigned d = 0; d < THREADS; d++) {
		players[d] = (player){.play = &p, .d = d};
		assert_int_equal(pthread_create(&players[d].thread, NULL, play_on, &players[d]), 0);
	}
	for (unsigned d = 0; d < THREADS; d++)
		pthread_join(players[d].thread, NULL);
	print_message("%u grants, %u after a wait\n", atomic_load(&p.n_granted),
		      atomic_load(&p.n_waits));
	assert_false(atomic_load(&p.is_bad));
	assert_int_equal(atomic_load(&p.n_passed_by), 0);
	assert_int_equal(spr_credits_reserved(p.credits), 0);
	assert_int_equal(spr_credits_waiting(p.credits), 0);
	pthread_barrier_destroy(&p.start);
	spr_mem_free(p.credits);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nobody_is_passed_by_for_long),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
