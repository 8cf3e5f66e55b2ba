/*
 * The whole path on the fake transport: receivers deliver (and are lent turns), dispatchers scan, resolve and post,
 * pipes take jobs, a writer subscribes and unsubscribes; with rings, lanes, budgets and records so few that everybody
 * waits for everybody.
 *
 *   - who is subscribed all the time gets each notification exactly once, who comes and goes at most once
 *   - each notification ends once: as done when each of its jobs was taken, else as a dead letter
 *   - nobody waits for ever, and in the end every message, record, job and byte is back
 */
#include <pthread.h>
#include <sched.h>

#include "base/sync.h"
#include "path_scene.h"

#define RECEIVERS 2
#define PIPES     2
#define N_EACH    1500 /* notifications a receiver */
#define N         (RECEIVERS * N_EACH)
#define STEADY    6
#define FICKLE    8
#define LIMIT_MS  60000

typedef struct play {
	scene *s;
	unsigned percent_failed; /* sends */
	uint64_t deadline_ns;
	atomic_bool is_over; /* pipes and writer may leave */
	atomic_uint n_bad, n_delivered, n_changes;
	atomic_uint failed[N]; /* jobs of it that were not taken */
	atomic_uint told[N][STEADY + FICKLE];
} play;

typedef struct player {
	play *play;
	unsigned number;
	uint64_t random;
	pthread_t thread;
} player;

static void
check(play *p, bool holds, const char *what, unsigned number)
{
	if (!holds && atomic_fetch_add(&p->n_bad, 1) < 10)
		print_error("notification %u: %s\n", number, what);
}

static bool
has_time(const play *p)
{
	return (spr_clock_now_ns() < p->deadline_ns);
}

/* Several documents a message, now and then. */
static void *
receive(void *arg)
{
	player *self = arg;
	play *p = self->play;
	char text[512];

	for (unsigned i = 0; i < N_EACH && has_time(p);) {
		unsigned n = 1 + (unsigned)spr_test_below(&self->random, 4);
		size_t len = 0;

		if (!spr_fake_is_armed(self->number)) {
			sched_yield();
			continue;
		}
		for (; n > 0 && i < N_EACH; n--, i++)
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"{\"predicate\":\"UN.A.b\",\"n\":%u}\n",
						self->number * N_EACH + i);
		(void)spr_fake_deliver(self->number, spr_fake_buf(text, len));
	}
	return (NULL);
}

static void
note_end(play *p, const char *job, spr_err result)
{
	unsigned callback, n;

	if (sscanf(job,
		   "{\"s\":\"http://steady/%u\",\"payload\":{\"predicate\":\"UN.A.b\",\"n\":%u}}",
		   &callback, &n) == 2)
		check(p, callback < STEADY, "no such callback", n);
	else if (sscanf(
		     job,
		     "{\"s\":\"http://fickle/%u\",\"payload\":{\"predicate\":\"UN.A.b\",\"n\":%u}}",
		     &callback, &n) == 2)
		callback += STEADY;
	else
		n = N;
	if (n >= N || callback >= STEADY + FICKLE) {
		check(p, false, job, n);
		return;
	}
	atomic_fetch_add(&p->told[n][callback], 1);
	if (result != SPR_OK)
		atomic_fetch_add(&p->failed[n], 1);
}

/* Takes jobs of every lane. What was aborted is not told apart here: the last test does not ask. */
static void *
take_jobs(void *arg)
{
	player *self = arg;
	play *p = self->play;
	char *job;

	while (!atomic_load(&p->is_over)) {
		unsigned lane = (unsigned)spr_test_below(&self->random, p->s->waiters.n);
		spr_err result =
		    spr_test_below(&self->random, 100) < p->percent_failed ? SPR_E_CLOSED : SPR_OK;

		if ((job = spr_fake_end(lane, result)) == NULL) {
			sched_yield();
			continue;
		}
		note_end(p, job, result);
		free(job);
	}
	return (NULL);
}

/* The only writer. Each fickle callback is under one of three patterns, twice under two. */
static void *
churn(void *arg)
{
	static const char *const patterns[] = {"UN", "UN.A", "UN.A.b"};
	player *self = arg;
	play *p = self->play;
	bool is_there[FICKLE][3] = {{false}};
	spr_predicate pattern;
	char callback[64];
	bool created;

	while (!atomic_load(&p->is_over)) {
		unsigned k = (unsigned)spr_test_below(&self->random, FICKLE);
		unsigned at = (unsigned)spr_test_below(&self->random, 3);
		size_t len = (size_t)snprintf(callback, sizeof(callback), "http://fickle/%u", k);
		spr_err rv =
		    spr_pattern_normalise(&pattern, patterns[at], strlen(patterns[at]), false);

		if (rv == SPR_OK && is_there[k][at])
			rv = spr_subscriptions_unsubscribe(p->s->subscriptions, &pattern, callback,
							   len);
		else if (rv == SPR_OK)
			rv = spr_subscriptions_subscribe(p->s->subscriptions, &pattern, callback,
							 len, INT64_MAX, &created);
		check(p, rv == SPR_OK, "a change failed", k);
		is_there[k][at] = !is_there[k][at];
		spr_epoch_collect(p->s->epoch);
		atomic_fetch_add(&p->n_changes, 1);
		sched_yield();
	}
	return (NULL);
}

static bool
is_all_back(const scene *s)
{
	return (spr_intake_bytes(s->intake) == 0 &&
		spr_notifications_in_flight(&s->notifications) == 0 &&
		spr_outbox_is_idle(s->outbox));
}

static void
start(play *p, player *players, unsigned n, void *(*run)(void *))
{
	for (unsigned i = 0; i < n; i++) {
		players[i] = (player){
		    .play = p,
		    .number = i,
		    .random = spr_test_seed() + (uint64_t)(uintptr_t)&players[i],
		};
		assert_int_equal(pthread_create(&players[i].thread, NULL, run, &players[i]), 0);
	}
}

static void
join(player *players, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pthread_join(players[i].thread, NULL);
}

/* Each twice, so that there are duplicates to leave out. */
static void
subscribe_steady(scene *s)
{
	static const char *const patterns[] = {"UN", "UN.A", "UN.A.b"};
	char callback[64];

	for (unsigned i = 0; i < STEADY; i++) {
		snprintf(callback, sizeof(callback), "http://steady/%u", i);
		subscribe(s, patterns[i % 3], callback);
		subscribe(s, patterns[(i + 1) % 3], callback);
	}
}

static void
assert_outcome(play *p)
{
	unsigned n_failed = 0;

	for (unsigned n = 0; n < N; n++) {
		for (unsigned i = 0; i < STEADY; i++)
			check(p, atomic_load(&p->told[n][i]) == 1, "not told once", n);
		for (unsigned i = STEADY; i < STEADY + FICKLE; i++)
			check(p, atomic_load(&p->told[n][i]) <= 1, "told twice", n);
		n_failed += atomic_load(&p->failed[n]) > 0;
	}
	assert_int_equal(atomic_load(&p->n_bad), 0);
	assert_int_equal(counted(p->s, SPR_C_NACKED_PUSH_FAILED), n_failed);
	assert_int_equal(counted(p->s, SPR_C_DEAD_LETTERS), n_failed);
	assert_int_equal(counted(p->s, SPR_C_ACKED_DISPATCHED), N - n_failed);
	assert_int_equal(counted(p->s, SPR_C_NOTIFICATIONS), N);
}

/* gives_up_at: after so many notifications the dispatchers are told to give up; 0: never. */
static void
run_play(scene_wants wants, unsigned percent_failed, unsigned gives_up_at)
{
	play *p = calloc(1, sizeof(*p));
	player receivers[RECEIVERS], pipes[PIPES], writer[1];

	assert_non_null(p);
	wants.is_bare = true;
	wants.has_threads = true;
	wants.receivers = RECEIVERS;
	p->s = scene_open(wants);
	p->percent_failed = percent_failed;
	p->deadline_ns = spr_test_deadline_ns(LIMIT_MS);
	subscribe_steady(p->s);
	start(p, writer, 1, churn);
	start(p, pipes, PIPES, take_jobs);
	start(p, receivers, RECEIVERS, receive);
	if (gives_up_at > 0) {
		assert_true(
		    wait_until(counted(p->s, SPR_C_NOTIFICATIONS) >= gives_up_at, LIMIT_MS));
		spr_dispatchers_give_up(p->s->dispatchers);
	}
	join(receivers, RECEIVERS);
	assert_true(has_time(p)); /* else somebody was not woken */
	spr_intake_stop(p->s->intake);
	assert_true(wait_until(is_all_back(p->s), LIMIT_MS));
	assert_true(spr_dispatchers_are_idle(p->s->dispatchers) ||
		    wait_until(spr_dispatchers_are_idle(p->s->dispatchers), LIMIT_MS));
	atomic_store(&p->is_over, true);
	join(pipes, PIPES);
	join(writer, 1);
	assert_int_equal(spr_fake_bufs(), 0);
	assert_int_equal(spr_outbox_bytes(p->s->outbox), 0);
	assert_true(atomic_load(&p->n_changes) > 0);
	if (gives_up_at == 0) {
		assert_outcome(p);
	} else {
		assert_int_equal(atomic_load(&p->n_bad), 0);
		assert_int_equal(counted(p->s, SPR_C_NOTIFICATIONS), N);
		assert_int_equal(counted(p->s, SPR_C_NACKED_SHUTTING_DOWN) +
				     counted(p->s, SPR_C_ACKED_DISPATCHED),
				 N);
		assert_int_equal(counted(p->s, SPR_C_DEAD_LETTERS),
				 counted(p->s, SPR_C_NACKED_SHUTTING_DOWN));
	}
	scene_close(p->s);
	free(p);
}

static void
plenty_of_everything(void **state)
{
	(void)state;
	run_play((scene_wants){.n_dispatchers = 2}, 0, 0);
}

static void
everything_is_short(void **state)
{
	(void)state;
	run_play((scene_wants){.n_dispatchers = 2,
			       .ring_slots = 4,
			       .max_inflight = 3,
			       .outbox_bytes = 300,
			       .max_message = 512,
			       .intake_bytes = 2048},
		 0, 0);
}

static void
few_records(void **state)
{
	(void)state;
	run_play((scene_wants){.n_dispatchers = 3, .ring_slots = 4, .max_inflight = 2}, 0, 0);
}

static void
sends_fail(void **state)
{
	(void)state;
	run_play((scene_wants){.n_dispatchers = 2, .ring_slots = 8, .max_inflight = 16}, 5, 0);
}

static void
given_up_in_between(void **state)
{
	(void)state;
	run_play((scene_wants){.n_dispatchers = 2, .ring_slots = 8, .max_inflight = 16}, 0, N / 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plenty_of_everything), cmocka_unit_test(everything_is_short),
	    cmocka_unit_test(few_records),          cmocka_unit_test(sends_fail),
	    cmocka_unit_test(given_up_in_between),
	};

	spr_sync_yield_percent(2);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
