/*
 * test_intake - receivers against dispatchers with rings of four slots and a budget of a few messages, so that receivers
 * park all the time, for either reason, and are un-parked by whoever pops or finishes.
 *
 *   - every message arrives once, and in order for each receiver and dispatcher
 *   - nobody waits for ever: dispatchers really park, and each receive is armed again in the end
 *   - the budget is never exceeded and is all there again in the end
 *   - E13: preferred ring and held buffer are plain fields that ThreadSanitizer watches
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "spr_test.h"

#include "base/sync.h"
#include "fake_transport.h"
#include "path/intake.h"

#define MAX_RECEIVERS   3
#define MAX_DISPATCHERS 3
#define N_MESSAGES      20000
#define MAX_MESSAGE     64
#define MAX_UNFINISHED  4
#define LIMIT_MS        20000

typedef struct message {
	unsigned receiver, number;
	char rest[MAX_MESSAGE - 2 * sizeof(unsigned)];
} message;

typedef struct scene scene;

typedef struct player {
	scene *scene;
	unsigned number;
	uint64_t random;
	pthread_t thread;
	/* of a dispatcher */
	spr_agent agent;
	unsigned next[MAX_RECEIVERS]; /* no smaller number may come from there */
} player;

struct scene {
	spr_intake *intake;
	spr_waiter waiter[MAX_DISPATCHERS];
	spr_waiters waiters;
	player receivers[MAX_RECEIVERS];
	player dispatchers[MAX_DISPATCHERS];
	unsigned n_receivers;
	size_t max_bytes;
	atomic_uint n_arrived, n_bad;
	atomic_uchar seen[MAX_RECEIVERS][N_MESSAGES];
};

static void
check(scene *s, bool holds, const char *what, unsigned number)
{
	if (!holds && atomic_fetch_add(&s->n_bad, 1) < 10)
		print_error("%s (%u)\n", what, number);
}

/* The time limit is one wait's, not the run's: a busy machine is slow, a lost wake-up is for ever. */
static bool
wait_for_arm(unsigned receive)
{
	for (unsigned i = 0; i < 100; i++) {
		if (spr_fake_is_armed(receive))
			return (true);
		sched_yield();
	}
	return (wait_until(spr_fake_is_armed(receive), LIMIT_MS));
}

/* Plays the completions of one receive. */
static void *
play_receiver(void *arg)
{
	player *self = arg;
	scene *s = self->scene;
	message m = {.receiver = self->number};

	while (m.number < N_MESSAGES) {
		size_t len = sizeof(m) - (size_t)spr_test_below(&self->random, sizeof(m.rest) + 1);

		if (!wait_for_arm(self->number)) {
			check(s, false, "never armed again", self->number);
			return (NULL);
		}
		if (spr_test_below(&self->random, 50) == 0)
			len = 0;
		(void)spr_fake_deliver(self->number, spr_fake_buf(&m, len));
		m.number += len > 0;
	}
	return (NULL);
}

static void
read_message(player *self, const spr_buf *buf)
{
	scene *s = self->scene;
	message m;

	memcpy(&m, buf->data, 2 * sizeof(unsigned));
	check(s, m.number >= self->next[m.receiver], "out of order", m.number);
	self->next[m.receiver] = m.number + 1;
	check(s, atomic_fetch_add(&s->seen[m.receiver][m.number], 1) == 0, "twice", m.number);
	check(s, spr_intake_bytes(s->intake) <= s->max_bytes, "over the budget", m.number);
	atomic_fetch_add(&s->n_arrived, 1);
}

/* Pops some, and gives them back later and in another order, as fan-outs do; but all of them before it parks. */
static unsigned
do_work(void *state)
{
	player *self = state;
	scene *s = self->scene;
	spr_buf *unfinished[MAX_UNFINISHED];
	unsigned n = 0, wanted = 1 + (unsigned)spr_test_below(&self->random, MAX_UNFINISHED);

	spr_waiter_clear(&s->waiter[self->number]);
	while (n < wanted && (unfinished[n] = spr_intake_pop(s->intake, self->number)) != NULL) {
		read_message(self, unfinished[n]);
		spr_buf_hold(unfinished[n]);
		n++;
	}
	for (unsigned i = 0; i < n; i++)
		spr_intake_finish(s->intake, unfinished[i]);
	for (unsigned i = n; i > 0; i--)
		spr_intake_finish(s->intake, unfinished[i - 1]);
	return (n);
}

static void
init_players(scene *s, unsigned n_dispatchers)
{
	for (unsigned i = 0; i < s->n_receivers; i++)
		s->receivers[i] = (player){.scene = s, .number = i, .random = spr_test_seed() + i};
	s->waiters = (spr_waiters){.waiter = s->waiter, .n = n_dispatchers};
	for (unsigned i = 0; i < n_dispatchers; i++) {
		player *self = &s->dispatchers[i];

		*self = (player){
		    .scene = s, .number = i, .random = spr_test_seed() + MAX_RECEIVERS + i};
		self->agent = (spr_agent){.name = "dispatcher",
					  .role = SPR_ROLE_DISPATCHER,
					  .do_work = do_work,
					  .state = self};
		spr_agent_init(&self->agent);
		s->waiter[i].agent = &self->agent;
	}
}

static void
race(unsigned n_receivers, unsigned n_dispatchers, size_t max_bytes, unsigned yield_percent)
{
	static scene s;
	spr_intake_config config = {
	    .transport = &spr_transport_fake,
	    .receivers = n_receivers,
	    .ring_slots = 4,
	    .max_message = MAX_MESSAGE,
	    .max_bytes = max_bytes,
	    .dispatchers = &s.waiters,
	    .n_dispatchers = n_dispatchers,
	};
	unsigned n_rearms = 0;

	memset(&s, 0, sizeof(s));
	s.n_receivers = n_receivers;
	s.max_bytes = max_bytes;
	init_players(&s, n_dispatchers);
	assert_ok(spr_intake_new(&s.intake, &config));
	spr_sync_yield_percent(yield_percent);
	for (unsigned d = 0; d < n_dispatchers; d++)
		assert_ok(spr_agent_start(&s.dispatchers[d].agent));
	spr_intake_start(s.intake);
	for (unsigned r = 0; r < n_receivers; r++)
		assert_int_equal(
		    pthread_create(&s.receivers[r].thread, NULL, play_receiver, &s.receivers[r]),
		    0);
	for (unsigned r = 0; r < n_receivers; r++)
		pthread_join(s.receivers[r].thread, NULL);
	assert_true(wait_until(spr_intake_waiting(s.intake) == 0 &&
				   spr_intake_parked(s.intake) == 0 &&
				   spr_intake_bytes(s.intake) == 0,
			       LIMIT_MS));
	for (unsigned r = 0; r < n_receivers; r++) {
		assert_true(wait_until(spr_fake_is_armed(r), LIMIT_MS));
		n_rearms += spr_fake_rearms(r);
	}
	spr_intake_stop(s.intake);
	for (unsigned d = 0; d < n_dispatchers; d++)
		spr_agent_stop(&s.dispatchers[d].agent);
	spr_sync_yield_percent(0);
	assert_int_equal(s.n_bad, 0);
	assert_int_equal(s.n_arrived, n_receivers * N_MESSAGES);
	assert_true(n_rearms > N_MESSAGES / 100); /* or this test proves little */
	spr_intake_free(s.intake);
	assert_int_equal(spr_fake_bufs(), 0);
}

/* Alone, a receiver that misses its moment is helped by nobody. */
static void
test_one_receiver(void **state)
{
	(void)state;
	race(1, 1, SIZE_MAX, 20);
	race(1, 1, 2 * MAX_MESSAGE, 20);
	race(1, 2, 2 * MAX_MESSAGE, 20);
}

static void
test_tiny_rings(void **state)
{
	(void)state;
	race(3, 1, SIZE_MAX, 0);
	race(3, 2, SIZE_MAX, 10);
}

static void
test_tiny_budget(void **state)
{
	(void)state;
	race(3, 1, 2 * 3 * MAX_MESSAGE, 0);
	race(3, 3, 2 * 3 * MAX_MESSAGE, 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_one_receiver),
	    cmocka_unit_test(test_tiny_rings),
	    cmocka_unit_test(test_tiny_budget),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
