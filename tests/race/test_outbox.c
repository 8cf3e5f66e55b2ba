/*
 * test_outbox - dispatchers post through their lanes while other threads end sends, with a byte budget of a few jobs and
 * few notifications, so that dispatchers park all the time: for a slot, for bytes, for a notification. Now and then one
 * gives up the rest of its notification instead of waiting on.
 *
 *   - a parked dispatcher is always woken by what it waits for
 *   - every notification is completed once, when its last job has ended, and failed if and only if a job of it did
 *   - slots, bytes and records are all there again in the end
 *   - with bytes for a few jobs more than dispatchers may keep for themselves, none keeps what another one waits for
 *
 * One job a message, and in batches.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#include "base/clock.h"
#include "base/counters.h"
#include "base/sync.h"
#include "fake_transport.h"
#include "path/outbox.h"

#define MAX_DISPATCHERS 3
#define N_ENDERS        2
#define N_NOTIFICATIONS 10000 /* of each dispatcher */
#define MAX_JOBS        100   /* of each notification: more than a lane has slots */
#define MAX_JOB         300
#define PREFIX_LEN      8
#define LIMIT_MS        20000

typedef struct scene scene;

typedef struct player {
	scene *scene;
	unsigned number;
	uint64_t random;
	pthread_t thread; /* of an ender */
	/* of a dispatcher */
	spr_agent agent;
	spr_outbox_lane *lane;
	spr_notification *open; /* being posted */
	unsigned serial;        /* of it */
	unsigned jobs_left, count_left;
	size_t len; /* of the job that is tried */
} player;

struct scene {
	spr_notifications pool;
	spr_ledger *ledger;
	spr_outbox *outbox;
	spr_waiter waiter[MAX_DISPATCHERS];
	spr_waiters waiters;
	player dispatchers[MAX_DISPATCHERS];
	player enders[N_ENDERS];
	size_t largest; /* of all bytes out */
	size_t usual;   /* payload, at most; now and then one is longer */
	atomic_bool is_over, is_over_budget;
	atomic_uint n_done; /* notifications posted or given up */
	atomic_bool failed[MAX_DISPATCHERS * N_NOTIFICATIONS];
};

/* Opens the next notification; false when all are done, or none is free. */
static bool
open_next(player *self)
{
	scene *s = self->scene;
	unsigned n_jobs = (unsigned)spr_test_below(&self->random, MAX_JOBS + 1);

	if (self->serial == (self->number + 1) * N_NOTIFICATIONS)
		return (false);
	if ((self->open = spr_notification_take(&s->pool, self->number)) == NULL) {
		spr_waiter_want(&s->waiter[self->number], SPR_WANT_INFLIGHT);
		if ((self->open = spr_notification_take(&s->pool, self->number)) == NULL)
			return (false);
	}
	if (spr_test_below(&self->random, 4) > 0)
		n_jobs %= 4;
	self->open->entry = SPR_ANSWER_NONE;
	self->open->upstream = SPR_UPSTREAM_NONE;
	self->open->n_jobs = n_jobs;
	atomic_store(&self->open->failure, SPREADER_REASON_NONE);
	spr_notification_open(self->open, n_jobs + 1, 0);
	self->jobs_left = n_jobs;
	self->count_left = 1;
	return (true);
}

static void
close_open(player *self)
{
	scene *s = self->scene;
	spr_notification *notification = self->open;

	self->open = NULL;
	self->serial++;
	if (spr_notification_release(notification, self->count_left + self->jobs_left, 0))
		spr_ledger_complete(s->ledger, notification);
	atomic_fetch_add(&s->n_done, 1);
}

static void
fail_open(player *self)
{
	if (self->jobs_left > 0) {
		atomic_store(&self->scene->failed[self->serial], true);
		spr_notification_fail(self->open, SPREADER_REASON_PUSH_FAILED);
	}
	close_open(self);
}

static spr_post
post_one(player *self)
{
	uint8_t payload[MAX_JOB - PREFIX_LEN - 1];
	char prefix[PREFIX_LEN + 1];
	spr_job job = {.prefix = prefix, .prefix_len = PREFIX_LEN, .payload = payload};
	spr_post posted;

	memset(payload, 'x', sizeof(payload));
	snprintf(prefix, sizeof(prefix), "%08u", self->serial);
	if (self->len == 0)
		self->len =
		    1 + (size_t)spr_test_below(&self->random, spr_test_below(&self->random, 32) == 0
								  ? sizeof(payload)
								  : self->scene->usual);
	job.payload_len = self->len;
	posted = spr_outbox_post(self->lane, &job, self->open);
	if (posted == SPR_POST_BLOCKED)
		return (posted);
	self->len = 0;
	self->jobs_left--;
	if (posted == SPR_POST_FAILED) {
		self->count_left++;
		atomic_store(&self->scene->failed[self->serial], true);
	}
	return (posted);
}

/* Now and then what is out counts as standing still, also with ends on their way. True: it is to try again at once. */
static bool
looks_again(player *self)
{
	uint64_t now_ns = spr_clock_now_ns(), later_ns = now_ns + SPR_NS_PER_S;

	if (spr_test_below(&self->random, 8) > 0)
		return (false);
	(void)spr_outbox_look_again(self->lane, now_ns);
	return (spr_outbox_look_again(self->lane, later_ns) == later_ns);
}

/* A dispatcher's turn: posts until it must wait. */
static unsigned
do_work(void *state)
{
	player *self = state;
	unsigned n = 0;

	spr_waiter_clear(&self->scene->waiter[self->number]);
	while (n < 32 && (self->open != NULL || open_next(self))) {
		if (self->jobs_left == 0) {
			close_open(self);
		} else if (post_one(self) == SPR_POST_BLOCKED) {
			if (looks_again(self)) {
				n++;
				break;
			}
			if (spr_test_below(&self->random, 4) > 0)
				break;
			fail_open(self);
		}
		n++;
	}
	spr_outbox_end_turn(self->lane, n == 32);
	return (n);
}

/* Each line's job is of a notification that fails. */
static void
note_failed(scene *s, const char *text)
{
	while (text != NULL) {
		atomic_store(&s->failed[atoi(text)], true);
		text = strchr(text, '\n');
		text += text != NULL;
	}
}

/* Plays the completions of all lanes, several in one call; some fail, and now and then there is no memory for jobs. */
static void *
play_ender(void *arg)
{
	player *self = arg;
	scene *s = self->scene;

	unsigned lane = 0;

	while (!atomic_load(&s->is_over)) {
		bool fails = spr_test_below(&self->random, 100) == 0;
		unsigned n = 1 + (unsigned)spr_test_below(&self->random, 4);
		char *text = spr_fake_end_run(lane, n, fails ? SPR_E_CLOSED : SPR_OK);

		if (text == NULL ||
		    spr_test_below(&self->random, 100) == 0) /* ends many in a row, too */
			lane = (unsigned)spr_test_below(&self->random, s->waiters.n);
		if (text == NULL) {
			sched_yield();
			continue;
		}
		if (fails)
			note_failed(s, text);
		if (spr_outbox_bytes(s->outbox) > s->largest || spr_fake_out_bytes() > s->largest)
			atomic_store(&s->is_over_budget, true);
		free(text);
		spr_fake_refuse_outs(spr_test_below(&self->random, 200) == 0);
	}
	return (NULL);
}

static void
open_scene(scene *s, unsigned n_dispatchers, unsigned n_notifications, size_t max_bytes,
	   size_t batch_bytes, size_t usual)
{
	spr_ledger_config ledger = {.batch = 1, .window = 1, .notifications = &s->pool};
	spr_outbox_config outbox = {
	    .transport = &spr_transport_fake, .max_bytes = max_bytes, .batch_bytes = batch_bytes};

	memset(s, 0, sizeof(*s));
	s->usual = usual;
	s->waiters = (spr_waiters){.waiter = s->waiter, .n = n_dispatchers};
	s->largest = max_bytes > MAX_JOB ? max_bytes : MAX_JOB;
	s->largest = s->largest > batch_bytes ? s->largest : batch_bytes;
	assert_ok(spr_notifications_init(&s->pool, n_notifications, n_dispatchers, &s->waiters));
	assert_ok(spr_ledger_new(&s->ledger, &ledger));
	outbox.dispatchers = &s->waiters;
	outbox.ledger = s->ledger;
	assert_ok(spr_outbox_new(&s->outbox, &outbox));
	for (unsigned d = 0; d < n_dispatchers; d++) {
		player *self = &s->dispatchers[d];

		*self = (player){.scene = s,
				 .number = d,
				 .random = spr_test_seed() + d,
				 .serial = d * N_NOTIFICATIONS};
		self->agent = (spr_agent){.name = "dispatcher",
					  .role = SPR_ROLE_DISPATCHER,
					  .do_work = do_work,
					  .state = self};
		spr_agent_init(&self->agent);
		s->waiter[d].agent = &self->agent;
		assert_ok(spr_outbox_lane_open(&self->lane, s->outbox, d));
	}
}

static void
start_threads(scene *s)
{
	for (unsigned i = 0; i < N_ENDERS; i++) {
		player *self = &s->enders[i];

		*self = (player){.scene = s, .random = spr_test_seed() + MAX_DISPATCHERS + i};
		assert_int_equal(pthread_create(&self->thread, NULL, play_ender, self), 0);
	}
	for (unsigned d = 0; d < s->waiters.n; d++)
		assert_ok(spr_agent_start(&s->dispatchers[d].agent));
}

/* Also when a dispatcher sleeps for ever: a stop wakes it. */
static void
stop_threads(scene *s)
{
	for (unsigned d = 0; d < s->waiters.n; d++)
		spr_agent_stop(&s->dispatchers[d].agent);
	atomic_store(&s->is_over, true);
	for (unsigned i = 0; i < N_ENDERS; i++)
		pthread_join(s->enders[i].thread, NULL);
	spr_fake_refuse_outs(false);
}

static uint64_t
sum_done(uint64_t *nacked)
{
	*nacked =
	    spr_counter_sum(SPR_C_NACKED_PUSH_FAILED) + spr_counter_sum(SPR_C_NACKED_OVERLOAD);
	return (*nacked + spr_counter_sum(SPR_C_ACKED_DISPATCHED) +
		spr_counter_sum(SPR_C_ACKED_NO_SUBSCRIBERS));
}

/* However slow the machine is; false: for long nothing was done at all. */
static bool
wait_for_all(scene *s, unsigned total)
{
	unsigned n_before;

	do {
		n_before = s->n_done;
		if (!wait_until(s->n_done != n_before || n_before == total, LIMIT_MS))
			return (false);
	} while (s->n_done != total);
	return (wait_until(spr_notifications_in_flight(&s->pool) == 0, LIMIT_MS));
}

static void
race_of(unsigned n_dispatchers, unsigned n_notifications, size_t max_bytes, size_t batch_bytes,
	size_t usual, unsigned yield_percent)
{
	static scene s;
	unsigned total = n_dispatchers * N_NOTIFICATIONS, n_failed = 0;
	uint64_t nacked_before, done_before = sum_done(&nacked_before), nacked, done;
	bool is_done;

	open_scene(&s, n_dispatchers, n_notifications, max_bytes, batch_bytes, usual);
	spr_sync_yield_percent(yield_percent);
	start_threads(&s);
	is_done = wait_for_all(&s, total);
	if (!is_done)
		print_error("somebody sleeps for ever: %u of %u done, %zu bytes out, wants %x\n",
			    s.n_done, total, spr_outbox_bytes(s.outbox), s.waiter[0].wants);
	stop_threads(&s);
	spr_sync_yield_percent(0);
	assert_true(is_done);
	done = sum_done(&nacked);
	for (unsigned i = 0; i < total; i++)
		n_failed += s.failed[i];
	assert_int_equal(done - done_before, total);
	assert_int_equal(nacked - nacked_before, n_failed);
	assert_true(n_failed > 0);
	assert_false(s.is_over_budget);
	assert_true(spr_outbox_is_idle(s.outbox));
	assert_int_equal(spr_outbox_bytes(s.outbox), 0);
	assert_int_equal(spr_fake_outs(), 0);
	assert_int_equal(spr_fake_out_bytes(), 0);
	spr_outbox_free(s.outbox);
	spr_ledger_free(s.ledger);
	spr_notifications_fini(&s.pool);
}

static void
race_with(unsigned n_dispatchers, unsigned n_notifications, size_t max_bytes, size_t batch_bytes,
	  unsigned yield_percent)
{
	race_of(n_dispatchers, n_notifications, max_bytes, batch_bytes, MAX_JOB - PREFIX_LEN - 1,
		yield_percent);
}

static void
race(unsigned n_dispatchers, unsigned n_notifications, size_t max_bytes, unsigned yield_percent)
{
	race_with(n_dispatchers, n_notifications, max_bytes, 0, yield_percent);
}

static void
test_few_slots(void **state)
{
	uint64_t waits = spr_counter_sum(SPR_C_DISPATCHER_WAITS_SLOT);

	(void)state;
	race(1, 64, SIZE_MAX, 10);
	race(3, 64, SIZE_MAX, 0);
	assert_true(spr_counter_sum(SPR_C_DISPATCHER_WAITS_SLOT) > waits);
}

/* Some jobs are larger than the budget. */
static void
test_few_bytes(void **state)
{
	uint64_t waits = spr_counter_sum(SPR_C_DISPATCHER_WAITS_BYTES);

	(void)state;
	race(1, 64, MAX_JOB - 50, 10);
	race(2, 64, MAX_JOB - 50, 20);
	race(3, 64, 3 * MAX_JOB, 10);
	assert_true(spr_counter_sum(SPR_C_DISPATCHER_WAITS_BYTES) > waits);
}

/* Most jobs need little; a long one waits for what others, who may have nothing more to do, could keep. */
static void
test_bytes_that_are_kept(void **state)
{
	uint64_t waits = spr_counter_sum(SPR_C_DISPATCHER_WAITS_BYTES);

	(void)state;
	race_of(3, 64, MAX_JOB - 30, 0, 4, 10);
	race_of(3, 64, 2 * MAX_JOB, 0, 4, 10);
	race(3, 64, 8 * MAX_JOB, 10);
	assert_true(spr_counter_sum(SPR_C_DISPATCHER_WAITS_BYTES) > waits);
}

static void
test_few_notifications(void **state)
{
	(void)state;
	race(2, 1, SIZE_MAX, 10);
	race(3, 2, 3 * MAX_JOB, 10);
}

/* Of a few jobs, of one or two, and larger than the budget. */
static void
test_batches(void **state)
{
	uint64_t slots = spr_counter_sum(SPR_C_DISPATCHER_WAITS_SLOT);
	uint64_t bytes = spr_counter_sum(SPR_C_DISPATCHER_WAITS_BYTES);

	(void)state;
	race_with(1, 64, SIZE_MAX, 2 * MAX_JOB, 10);
	race_with(3, 64, SIZE_MAX, 4 * MAX_JOB, 10);
	race_with(3, 64, SIZE_MAX, MAX_JOB / 2, 0);
	assert_true(spr_counter_sum(SPR_C_DISPATCHER_WAITS_SLOT) > slots);
	race_with(2, 64, 3 * MAX_JOB, 2 * MAX_JOB, 20);
	race_with(3, 2, MAX_JOB, 2 * MAX_JOB, 10);
	assert_true(spr_counter_sum(SPR_C_DISPATCHER_WAITS_BYTES) > bytes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_few_slots),
	    cmocka_unit_test(test_few_bytes),
	    cmocka_unit_test(test_bytes_that_are_kept),
	    cmocka_unit_test(test_few_notifications),
	    cmocka_unit_test(test_batches),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
