/*
 * Dispatchers by hand: messages are delivered, turns done and sends ended one by one, so that every order of events is
 * the test's choice. The last tests let the threads run.
 */
#include "path/lookahead.h"
#include "path_scene.h"

#include "base/mem.h"

#define BODY  "{\"predicate\":\"UN.A\"}"
#define SMALL "{\"predicate\":\"ZZ\"}"

/* Is this job's end, or another one's? Ends the oldest send. */
static bool
end_is_of(const char *callback)
{
	char *text = spr_fake_end(0, SPR_OK);
	bool is_it;

	assert_non_null(text);
	is_it = strncmp(text + strlen("{\"s\":\""), callback, strlen(callback)) == 0;
	free(text);
	return (is_it);
}

static void
one_notification(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true});
	(void)state;

	subscribe(s, "UN", "http://a");
	subscribe(s, "UN.A", "http://a");
	assert_int_equal(turn(s), 0);
	deliver_envelope("1", BODY);
	assert_int_equal(turn(s), 1);
	assert_int_equal(spr_fake_busy(0), 1);
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 0);
	expect_job("http://a", BODY);
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 1);
	assert_int_equal(counted(s, SPR_C_SUPPRESSED_DUPLICATE), 1);
	assert_int_equal(turn(s), 0);
	assert_int_equal(in_flight(s), 1); /* until upstream has accepted the ack */
	scene_close(s);
}

static void
several_documents_and_a_broken_one(void **state)
{
	scene *s = scene_bare();
	(void)state;

	subscribe(s, "UN", "http://a");
	deliver(BODY "\n" BODY BODY " \n  {broken " BODY "\n" BODY "\n\n");
	assert_int_equal(turn(s), 5);
	assert_int_equal(counted(s, SPR_C_NOTIFICATIONS), 5);
	assert_int_equal(counted(s, SPR_C_REJECTED_NOT_JSON), 1);
	assert_int_equal(spr_fake_end_all(0, SPR_OK), 4);
	assert_one_letter(s, LETTER("not_json", "{broken {"));
	assert_int_equal(turn(s), 0);
	assert_int_equal(in_flight(s), 0);
	scene_close(s);
}

/* A turn ends whatever a peer sends. */
static void
messages_without_documents(void **state)
{
	scene *s = scene_open((scene_wants){.is_bare = true, .ring_slots = 128});
	unsigned n = 0;
	(void)state;

	deliver("");
	assert_int_equal(counted(s, SPR_C_MESSAGES_EMPTY), 1);
	assert_int_equal(turn(s), 0);
	for (unsigned i = 0; i < SPR_TURN_DOCUMENTS + 8; i++)
		deliver(" \r\n\t");
	assert_int_equal(turn(s), SPR_TURN_DOCUMENTS);
	assert_int_equal(spr_intake_waiting(s->intake), 8 - SPR_LOOKAHEAD);
	n = turns(s);
	assert_int_equal(n, 1);
	assert_int_equal(counted(s, SPR_C_NOTIFICATIONS), 0);
	assert_int_equal(in_flight(s), 0);
	assert_int_equal(spr_intake_bytes(s->intake), 0);
	assert_int_equal(spr_fake_bufs(), 0);
	scene_close(s);
}

/* With somebody to answer the message goes as soon as its last fan-out is posted. */
static void
message_is_released_when_its_documents_are_posted(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true});
	(void)state;

	subscribe_many(s, "UN.A", 40);
	deliver("{\"id\":\"1\",\"body\":" BODY "}\n{\"id\":\"2\",\"body\":" BODY "}");
	assert_int_equal(turn(s), 2);
	assert_int_equal(spr_fake_busy(0), 64);
	assert_int_equal(turn(s), 0); /* blocked */
	assert_int_equal(spr_fake_bufs(), 1);
	assert_int_equal(spr_fake_end_all(0, SPR_OK), 64);
	assert_true(turn(s) > 0);
	assert_int_equal(spr_fake_bufs(), 0);
	assert_int_equal(spr_intake_bytes(s->intake), 0);
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 1);
	assert_int_equal(spr_fake_end_all(0, SPR_OK), 16);
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 2);
	scene_close(s);
}

/* With nobody to tell it is kept until the last job has ended, should it become a dead letter. */
static void
message_is_kept_while_nobody_can_be_told(void **state)
{
	scene *s = scene_bare();
	(void)state;

	subscribe_many(s, "UN.A", 2);
	deliver(BODY " " BODY);
	assert_int_equal(turn(s), 2);
	assert_int_equal(spr_fake_bufs(), 1);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(spr_fake_bufs(), 1);
		free(spr_fake_end(0, SPR_OK));
	}
	assert_int_equal(spr_fake_bufs(), 0);
	assert_int_equal(spr_intake_bytes(s->intake), 0);
	assert_int_equal(in_flight(s), 0);
	assert_int_equal(counted(s, SPR_C_DEAD_LETTERS), 0);
	scene_close(s);
}

static void
failed_job_of_a_bare_document_is_a_dead_letter(void **state)
{
	scene *s = scene_bare();
	(void)state;

	subscribe_many(s, "UN.A", 3);
	deliver(SMALL BODY);
	assert_int_equal(turn(s), 2);
	assert_int_equal(spr_fake_end_all(0, SPR_E_CLOSED), 3);
	assert_one_letter(s, LETTER("\"reason\":\"push_failed\"",
				    "\"bytes\":\"{\\\"predicate\\\":\\\"UN.A\\\"}\""));
	assert_int_equal(in_flight(s), 0);
	scene_close(s);
}

static void
without_memory_for_a_bare_job(void **state)
{
	scene *s = scene_bare();
	(void)state;

	subscribe(s, "UN.A", "http://a");
	deliver(BODY);
	spr_fake_refuse_outs(true);
	assert_int_equal(turn(s), 1);
	spr_fake_refuse_outs(false);
	assert_one_letter(s, LETTER("\"reason\":\"overload\"", "UN.A"));
	assert_int_equal(in_flight(s), 0);
	scene_close(s);
}

/* While the outbox takes nothing, nothing is read. */
static void
blocked_outbox_stops_reading(void **state)
{
	scene *s = scene_bare();
	(void)state;

	subscribe_many(s, "UN.A", 65);
	subscribe(s, "ZZ", "http://small");
	deliver(BODY);
	assert_int_equal(turn(s), 1);
	deliver(SMALL);
	deliver(SMALL);
	assert_int_equal(turns(s), 0);
	assert_int_equal(spr_intake_waiting(s->intake), 2);
	assert_int_equal(counted(s, SPR_C_DISPATCHER_WAITS_SLOT), 2);
	assert_int_equal(atomic_load(&s->waiters.waiter[0].wants), SPR_WANT_SLOT);
	free(spr_fake_end(0, SPR_OK));
	assert_int_equal(turn(s), 2); /* the last job of the one, and the next is read */
	assert_int_equal(spr_fake_end_all(0, SPR_OK), 64);
	turns(s);
	expect_job("http://small", SMALL);
	expect_job("http://small", SMALL);
	assert_int_equal(in_flight(s), 0);
	assert_int_equal(atomic_load(&s->waiters.waiter[0].wants), 0);
	scene_close(s);
}

/* Not even between two slices. */
static void
blocked_outbox_stops_reading_between_slices(void **state)
{
	scene *s = scene_bare();
	(void)state;

	subscribe_many(s, "UN.A", SPR_WHOLE_JOBS + 1);
	subscribe(s, "ZZ", "http://small");
	deliver(BODY);
	for (unsigned n = 0; n < SPR_SLICE_JOBS - SPR_OUTBOX_SLOTS; n += SPR_OUTBOX_SLOTS) {
		turns(s);
		assert_int_equal(spr_fake_end_all(0, SPR_OK), SPR_OUTBOX_SLOTS);
	}
	for (unsigned i = 0; i < 5; i++)
		deliver(SMALL);
	turns(s); /* the last slots of the slice; one small one is read and finds none */
	assert_int_equal(spr_intake_waiting(s->intake), 4 - SPR_LOOKAHEAD);
	while (in_flight(s) > 0 || spr_intake_waiting(s->intake) > 0) {
		(void)spr_fake_end_all(0, SPR_OK);
		turns(s);
	}
	scene_close(s);
}

/* One that is not large is not cut up: nobody takes references of its callbacks. */
static void
up_to_a_thousand_are_one_slice(void **state)
{
	scene *s = scene_bare();
	(void)state;

	subscribe_many(s, "UN.A", SPR_WHOLE_JOBS);
	subscribe(s, "ZZ", "http://small");
	deliver(BODY);
	deliver(SMALL);
	for (unsigned n = 0; n < SPR_WHOLE_JOBS; n += SPR_OUTBOX_SLOTS) {
		turns(s);
		for (unsigned i = 0; i < SPR_OUTBOX_SLOTS; i++)
			assert_false(end_is_of("http://small"));
	}
	turns(s);
	assert_true(end_is_of("http://small"));
	scene_close(s);
}

/* Large ones take turns, a slice each. */
static void
large_ones_take_turns(void **state)
{
	enum { LARGE = 4000 };
	scene *s = scene_bare();
	unsigned left[2] = {LARGE, LARGE}, run = 0, longest = 0, n_runs = 0;
	bool last = false, now;
	char callback[64];
	(void)state;

	subscribe_many(s, "UN.A", LARGE);
	for (unsigned i = 0; i < LARGE; i++) {
		snprintf(callback, sizeof(callback), "http://other/%u", i);
		subscribe(s, "UN.B", callback);
	}
	deliver("{\"predicate\":\"UN.B\"}");
	deliver(BODY);
	while (left[0] > 0 && left[1] > 0) {
		turns(s);
		now = end_is_of("http://many");
		left[now]--;
		run = now == last ? run + 1 : 1;
		n_runs += now != last;
		longest = run > longest ? run : longest;
		last = now;
	}
	assert_true(longest <= SPR_SLICE_JOBS);
	assert_true(n_runs >= 2 * (LARGE / SPR_SLICE_JOBS));
	while (in_flight(s) > 0) {
		(void)spr_fake_end_all(0, SPR_OK);
		turns(s);
	}
	scene_close(s);
}

/*
 * However few jobs the outbox takes at a time, small notifications that come during a large fan-out pass between its
 * slices: after at most one of them, and what was in the lane.
 */
static void
play_small_ones_pass(unsigned taken_at_a_time)
{
	enum { LARGE = 5000, N_SMALL = 8 };
	scene *s = scene_bare();
	unsigned n_large = 0, n_small = 0;

	subscribe_many(s, "UN.A", LARGE);
	subscribe(s, "ZZ", "http://small");
	deliver(BODY);
	assert_int_equal(turn(s), 1);
	for (unsigned i = 0; i < N_SMALL; i++)
		deliver(SMALL);
	while (n_small < N_SMALL) {
		for (unsigned i = 0; i < taken_at_a_time && spr_fake_busy(0) > 0; i++) {
			if (end_is_of("http://small"))
				n_small++;
			else
				n_large++;
		}
		turns(s);
	}
	assert_true(n_large <= SPR_SLICE_JOBS + SPR_OUTBOX_SLOTS);
	while (in_flight(s) > 0) {
		n_large += spr_fake_end_all(0, SPR_OK);
		turns(s);
	}
	assert_int_equal(n_large, LARGE);
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 1 + N_SMALL);
	scene_close(s);
}

static void
small_ones_pass_between_slices(void **state)
{
	(void)state;
	play_small_ones_pass(1);
	play_small_ones_pass(7);
	play_small_ones_pass(64);
}

/* Nor do small ones that keep coming stop the large one. */
static void
small_ones_do_not_stop_a_large_one(void **state)
{
	enum { LARGE = 3000 };
	scene *s = scene_open((scene_wants){.is_bare = true, .ring_slots = 4096});
	unsigned n_large = 0, n_small = 0;
	(void)state;

	subscribe_many(s, "UN.A", LARGE);
	subscribe(s, "ZZ", "http://small");
	deliver(BODY);
	assert_int_equal(turn(s), 1);
	while (n_large < LARGE) {
		if (spr_intake_waiting(s->intake) < 100)
			deliver(SMALL);
		if (end_is_of("http://small"))
			n_small++;
		else
			n_large++;
		(void)turn(s);
		assert_true(n_small <= 8 * (LARGE / SPR_SLICE_JOBS + 1));
	}
	assert_true(n_small >= 32);
	while (in_flight(s) > 0 || spr_intake_waiting(s->intake) > 0) {
		(void)spr_fake_end_all(0, SPR_OK);
		turns(s);
	}
	scene_close(s);
}

/* More large ones than a dispatcher opens at once: the others wait, all but those that are scanned ahead in the ring. */
static void
more_than_can_be_open(void **state)
{
	enum { LARGE = 1100, N = SPR_OPEN_FANOUTS + 10 };
	scene *s = scene_open((scene_wants){.is_bare = true, .ring_slots = 128});
	unsigned n = 0, waiting = N, least = N;
	(void)state;

	subscribe_many(s, "UN.A", LARGE);
	for (unsigned i = 0; i < N; i++)
		deliver(BODY);
	while (waiting > 0 || in_flight(s) > 0) {
		turns(s);
		n += spr_fake_end_all(0, SPR_OK);
		waiting = spr_intake_waiting(s->intake);
		if (counted(s, SPR_C_ACKED_DISPATCHED) == 0 && waiting < least)
			least = waiting;
		assert_true(in_flight(s) <= SPR_OPEN_FANOUTS + 1);
	}
	assert_int_equal(least, N - SPR_OPEN_FANOUTS - SPR_LOOKAHEAD);
	assert_int_equal(n, LARGE * N);
	assert_true(are_idle(s));
	scene_close(s);
}

/* The records are used up: the message waits in the dispatcher's hands until one is given back. */
static void
all_records_in_flight(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true, .max_inflight = 2});
	spr_notification *done;
	(void)state;

	deliver("{\"id\":\"1\",\"body\":{}}{\"id\":\"2\",\"body\":{}}{\"id\":\"3\",\"body\":{}}");
	assert_int_equal(turn(s), 2);
	assert_int_equal(turn(s), 0);
	assert_false(are_idle(s));
	assert_int_equal(counted(s, SPR_C_DISPATCHER_WAITS_INFLIGHT), 2);
	assert_int_equal(atomic_load(&s->waiters.waiter[0].wants), SPR_WANT_INFLIGHT);
	assert_int_equal(spr_fake_bufs(), 1);

	done = &s->notifications.slab[0];
	spr_answers_forget(s->answers, done->entry);
	spr_notification_give_back(&s->notifications, done);
	assert_int_equal(turn(s), 1);
	assert_int_equal(counted(s, SPR_C_NACKED_NO_PREDICATE), 3);
	assert_true(are_idle(s));
	assert_int_equal(spr_fake_bufs(), 0);
	scene_close(s);
}

/* A guest has other things to do: a few documents, short slices. It says when more is left. */
static void
guests_do_small_turns(void **state)
{
	scene *s = scene_bare();
	spr_agent *agent = s->waiters.waiter[0].agent;
	(void)state;

	subscribe_many(s, "UN.A", 1100);
	assert_false(agent->do_guest_work(agent->state));
	for (unsigned i = 0; i < 10; i++)
		deliver(SMALL);
	assert_true(agent->do_guest_work(agent->state));
	assert_int_equal(spr_intake_waiting(s->intake), 2 - SPR_LOOKAHEAD);
	assert_false(agent->do_guest_work(agent->state));
	deliver(BODY);
	assert_true(agent->do_guest_work(agent->state)); /* the rest of the fan-out */
	assert_int_equal(spr_fake_busy(0), 64);
	assert_false(agent->do_guest_work(agent->state)); /* blocked: a completion wakes */
	while (in_flight(s) > 0) {
		(void)spr_fake_end_all(0, SPR_OK);
		(void)agent->do_guest_work(agent->state);
	}
	assert_int_equal(counted(s, SPR_C_JOBS_POSTED), 1100);
	scene_close(s);
}

static void
new_without_memory(void **state)
{
	scene *s = scene_bare();
	spr_dispatchers *dispatchers = NULL;
	unsigned long n;
	(void)state;

	spr_mem_fail_at(0);
	assert_ok(spr_dispatchers_new(&dispatchers, &s->config));
	n = spr_mem_count();
	spr_dispatchers_free(dispatchers);
	dispatchers = NULL;
	for (unsigned long i = 1; i <= n; i++) {
		spr_mem_fail_at(i);
		assert_fails(spr_dispatchers_new(&dispatchers, &s->config), SPR_E_NOMEM);
		assert_null(dispatchers);
	}
	spr_mem_fail_at(0);
	spr_dispatchers_free(NULL);
	/* the waiters are the scene's dispatchers' again */
	s->waiters.waiter[0].agent = NULL;
	assert_ok(spr_dispatchers_new(&dispatchers, &s->config));
	assert_non_null(s->waiters.waiter[0].agent);
	spr_dispatchers_free(s->dispatchers);
	s->dispatchers = dispatchers;
	assert_ok(spr_dispatchers_connect(s->dispatchers, s->intake, s->outbox));
	assert_ok(s->waiters.waiter[0].agent->on_start(s->waiters.waiter[0].agent->state));
	scene_close(s);
}

static void
threads_wake_and_stop(void **state)
{
	scene *s = scene_open((scene_wants){
	    .is_bare = true, .has_threads = true, .n_dispatchers = 2, .receivers = 1});
	unsigned n = 0;
	(void)state;

	subscribe_many(s, "UN.A", 200);
	deliver(BODY);
	assert_true(wait_until((n += spr_fake_end_all(0, SPR_OK)) == 200, 20000));
	assert_true(wait_until(in_flight(s) == 0 && are_idle(s), 20000));
	deliver(BODY);
	assert_true(wait_until(spr_fake_busy(0) == 64, 20000));
	spr_dispatchers_give_up(s->dispatchers);
	assert_true(wait_until(are_idle(s), 20000));
	assert_true(wait_until(spr_fake_end_all(0, SPR_OK) == 0 && in_flight(s) == 0, 20000));
	assert_int_equal(counted(s, SPR_C_NACKED_SHUTTING_DOWN), 1);
	scene_close(s);
}

static bool
are_alive(scene *s, uint64_t ahead_s)
{
	return (spr_dispatchers_are_alive(
	    s->dispatchers, spr_clock_now_ns() + ahead_s * SPR_NS_PER_S, 10 * SPR_NS_PER_S));
}

/* Dead is work that lies there; nothing to do, and nothing to do it with, is alive. */
static void
dead_is_work_that_lies_there(void **state)
{
	scene *s = scene_bare();
	(void)state;

	subscribe_many(s, "UN.A", 200);
	assert_true(are_alive(s, 100)); /* it has not begun yet */
	(void)turn(s);
	assert_true(are_alive(s, 100));
	deliver(BODY);
	assert_true(are_alive(s, 5));
	assert_false(are_alive(s, 11)); /* a turn nobody does */
	(void)turn(s);
	deliver(BODY);
	(void)turn(s);
	assert_true(are_alive(
	    s, 100)); /* the lane is full: it waits for a slot, with a message in its ring */
	while (spr_fake_end_all(0, SPR_OK) > 0)
		(void)turn(s);
	(void)turn(s);
	assert_true(are_alive(s, 100));
	scene_close(s);
}

/* Also when it is in the dispatcher's hands already. */
static void
dead_is_what_it_holds(void **state)
{
	scene *s = scene_bare();
	(void)state;

	subscribe_many(s, "UN.A", 65);
	deliver(BODY);
	deliver("{}");
	(void)turns(s);
	assert_int_equal(spr_intake_waiting(s->intake), 0);
	assert_true(are_alive(s, 100)); /* it waits for a slot, with a document scanned ahead */
	spr_waiter_clear(&s->waiters.waiter[0]);
	assert_false(are_alive(s, 11)); /* nobody will wake it */
	while (in_flight(s) > 0) {
		(void)spr_fake_end_all(0, SPR_OK);
		(void)turns(s);
	}
	assert_true(are_alive(s, 100));
	scene_close(s);
}

/* Blanks are not read sooner than documents while a large one is open. */
static void
blanks_take_turns(void **state)
{
	enum { N = 40 };
	scene *s = scene_open((scene_wants){.is_bare = true, .ring_slots = 64});
	(void)state;

	subscribe_many(s, "UN.A", SPR_WHOLE_JOBS + SPR_SLICE_JOBS);
	deliver(BODY);
	for (unsigned i = 0; i < N; i++)
		deliver(" ");
	for (unsigned n = 0; n < SPR_SLICE_JOBS; n += SPR_OUTBOX_SLOTS) {
		(void)turn(s);
		assert_int_equal(spr_fake_end_all(0, SPR_OK), SPR_OUTBOX_SLOTS);
	}
	(void)turn(s); /* the slice has ended, and the next one is not posted yet or blocked */
	assert_in_range(spr_fake_bufs(), 1 + N - 8, 1 + N);
	while (in_flight(s) > 0 || spr_fake_bufs() > 0) {
		(void)spr_fake_end_all(0, SPR_OK);
		(void)turns(s);
	}
	scene_close(s);
}

static void
oldest_in_flight(void **state)
{
	scene *s = scene_bare();
	uint64_t first_ns, second_ns;
	(void)state;

	subscribe(s, "UN.A", "http://a");
	assert_true(spr_notifications_oldest_ns(&s->notifications) == 0);
	deliver(BODY);
	(void)turn(s);
	first_ns = spr_notifications_oldest_ns(&s->notifications);
	assert_true(first_ns != 0 && first_ns <= spr_clock_now_ns());
	assert_true(wait_until(spr_clock_now_ns() > first_ns, 60000));
	deliver(BODY);
	(void)turn(s);
	assert_true(spr_notifications_oldest_ns(&s->notifications) == first_ns);
	expect_job("http://a", BODY);
	second_ns = spr_notifications_oldest_ns(&s->notifications);
	assert_true(second_ns > first_ns);
	expect_job("http://a", BODY);
	assert_true(spr_notifications_oldest_ns(&s->notifications) == 0);
	scene_close(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_notification),
	    cmocka_unit_test(several_documents_and_a_broken_one),
	    cmocka_unit_test(messages_without_documents),
	    cmocka_unit_test(message_is_released_when_its_documents_are_posted),
	    cmocka_unit_test(message_is_kept_while_nobody_can_be_told),
	    cmocka_unit_test(failed_job_of_a_bare_document_is_a_dead_letter),
	    cmocka_unit_test(without_memory_for_a_bare_job),
	    cmocka_unit_test(blocked_outbox_stops_reading),
	    cmocka_unit_test(blocked_outbox_stops_reading_between_slices),
	    cmocka_unit_test(up_to_a_thousand_are_one_slice),
	    cmocka_unit_test(large_ones_take_turns),
	    cmocka_unit_test(small_ones_pass_between_slices),
	    cmocka_unit_test(small_ones_do_not_stop_a_large_one),
	    cmocka_unit_test(more_than_can_be_open),
	    cmocka_unit_test(all_records_in_flight),
	    cmocka_unit_test(guests_do_small_turns),
	    cmocka_unit_test(dead_is_work_that_lies_there),
	    cmocka_unit_test(dead_is_what_it_holds),
	    cmocka_unit_test(blanks_take_turns),
	    cmocka_unit_test(oldest_in_flight),
	    cmocka_unit_test(new_without_memory),
	    cmocka_unit_test(threads_wake_and_stop),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
