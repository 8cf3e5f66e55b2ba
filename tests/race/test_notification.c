/*
 * test_notification - a pool of few records that many threads take, share among holders of pending counts, and give back.
 *
 *   - a record has one taker at a time, and nobody gets one beyond the capacity
 *   - of all holders one is the last, and it sees what the others wrote before they let go (E12): plain fields that
 *     ThreadSanitizer watches
 *   - the failure is a reason that a holder gave, and there if and only if one gave any; a receipt_error wins
 */
#include <pthread.h>
#include <sched.h>

#include "spr_test.h"

#include "base/sync.h"
#include "fake_waiters.h"
#include "path/notification.h"

#define N_THREADS   4
#define CAPACITY    3
#define N_SHARDS    2 /* one has two records, one has one: each thread takes of both */
#define MAX_HOLDERS 4
#define N_ROUNDS    20000 /* of each thread: taken and opened */

/* A pending count on its way to whoever plays its holder. */
typedef struct share {
	spr_stack_entry link;
	unsigned record, holder;
} share;

typedef struct record {
	unsigned n_holders; /* plain, all of it */
	unsigned mark[MAX_HOLDERS];
	spreader_reason reason[MAX_HOLDERS];
	share share[MAX_HOLDERS];
} record;

typedef struct scene {
	spr_fake_waiters waiters;
	spr_notifications pool;
	spr_stack shares; /* a free list: any thread takes one */
	record records[CAPACITY];
	atomic_uint owners[CAPACITY];
	pthread_barrier_t gate;
	atomic_uint n_bad, n_closed;
} scene;

typedef struct player {
	scene *scene;
	unsigned number;
	uint64_t random;
	pthread_t thread;
} player;

static void
check(scene *s, bool holds, const char *what, unsigned number)
{
	if (!holds && atomic_fetch_add(&s->n_bad, 1) < 10)
		print_error("%s (record %u)\n", what, number);
}

/* The last holder: the record is its own. */
static void
close_record(scene *s, unsigned number)
{
	record *r = &s->records[number];
	spreader_reason failure = spr_notification_failure(&s->pool.slab[number]);
	bool was_given = failure == SPREADER_REASON_NONE, any_given = false, any_error = false;

	for (unsigned i = 0; i < r->n_holders; i++) {
		check(s, r->mark[i] == 1, "closed before a holder let go", number);
		r->mark[i] = 0;
		any_given |= r->reason[i] != SPREADER_REASON_NONE;
		any_error |= r->reason[i] == SPREADER_REASON_RECEIPT_ERROR;
		was_given |= r->reason[i] == failure;
	}
	check(s, any_error == (failure == SPREADER_REASON_RECEIPT_ERROR), "receipt_error lost",
	      number);
	check(s, was_given, "failed for a reason that nobody gave", number);
	check(s, any_given == (failure != SPREADER_REASON_NONE), "a reason was lost", number);
	check(s, atomic_exchange(&s->owners[number], 0) == 1, "given back twice", number);
	spr_notification_give_back(&s->pool, &s->pool.slab[number]);
	atomic_fetch_add(&s->n_closed, 1);
}

static void
let_go(player *self, unsigned number, unsigned holder)
{
	scene *s = self->scene;
	record *r = &s->records[number];
	spr_notification *notification = &s->pool.slab[number];

	r->mark[holder] = 1;
	r->reason[holder] = SPREADER_REASON_NONE;
	if (spr_test_below(&self->random, 4) == 0) {
		r->reason[holder] =
		    SPREADER_REASON_OVERLOAD + (unsigned)spr_test_below(&self->random, 4);
		spr_notification_fail(notification, r->reason[holder]);
	}
	SPR_YIELD();
	/* some hold a push, some a receipt */
	if (spr_notification_release(notification, holder % 2 == 0, holder % 2 == 1))
		close_record(s, number);
}

/* Takes a record and shares it out; false when there is none. */
static bool
open_record(player *self)
{
	scene *s = self->scene;
	spr_notification *notification = spr_notification_take(&s->pool, self->number);
	unsigned number, n_holders = 1 + (unsigned)spr_test_below(&self->random, MAX_HOLDERS);
	record *r;

	if (notification == NULL)
		return (false);
	number = (unsigned)(notification - s->pool.slab);
	r = &s->records[number];
	check(s, atomic_exchange(&s->owners[number], 1) == 0, "taken twice", number);
	r->n_holders = n_holders;
	atomic_store_explicit(&notification->failure, SPREADER_REASON_NONE, memory_order_relaxed);
	spr_notification_open(notification, (n_holders + 1) / 2, n_holders / 2);
	for (unsigned i = 1; i < n_holders; i++) {
		r->share[i].record = number;
		r->share[i].holder = i;
		spr_freelist_push(&s->shares, &r->share[i].link);
	}
	let_go(self, number, 0);
	return (true);
}

static bool
play_holder(player *self)
{
	spr_stack_entry *entry = spr_freelist_pop(&self->scene->shares);
	share *mine;

	if (entry == NULL)
		return (false);
	mine = SPR_STACK_CONTAINER(entry, share, link);
	let_go(self, mine->record, mine->holder);
	return (true);
}

static void *
play(void *arg)
{
	player *self = arg;
	scene *s = self->scene;

	pthread_barrier_wait(&s->gate);
	for (unsigned n = 0; n < N_ROUNDS;) {
		if (spr_test_below(&self->random, 2) == 0 && open_record(self))
			n++;
		else if (!play_holder(self))
			sched_yield();
		check(s, spr_notifications_in_flight(&s->pool) <= CAPACITY, "over capacity", 0);
	}
	while (atomic_load(&s->n_closed) < N_THREADS * N_ROUNDS) {
		if (!play_holder(self))
			sched_yield();
	}
	return (NULL);
}

static void
race(unsigned yield_percent)
{
	static scene s;
	player players[N_THREADS];

	s = (scene){0};
	spr_fake_waiters_init(&s.waiters, 1);
	assert_ok(spr_notifications_init(&s.pool, CAPACITY, N_SHARDS, &s.waiters.waiters));
	spr_stack_init(&s.shares);
	pthread_barrier_init(&s.gate, NULL, N_THREADS);
	spr_sync_yield_percent(yield_percent);
	for (unsigned i = 0; i < N_THREADS; i++) {
		players[i] = (player){.scene = &s, .number = i, .random = spr_test_seed() + i};
		assert_int_equal(pthread_create(&players[i].thread, NULL, play, &players[i]), 0);
	}
	for (unsigned i = 0; i < N_THREADS; i++)
		pthread_join(players[i].thread, NULL);
	spr_sync_yield_percent(0);
	assert_int_equal(s.n_bad, 0);
	assert_int_equal(s.n_closed, N_THREADS * N_ROUNDS);
	assert_int_equal(spr_notifications_in_flight(&s.pool), 0);
	for (unsigned i = 0; i < CAPACITY; i++)
		assert_non_null(spr_notification_take(&s.pool, 0));
	assert_null(spr_notification_take(&s.pool, 0));
	pthread_barrier_destroy(&s.gate);
	spr_notifications_fini(&s.pool);
}

static void
test_records_are_shared_and_given_back(void **state)
{
	(void)state;
	race(0);
	race(10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_records_are_shared_and_given_back),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
