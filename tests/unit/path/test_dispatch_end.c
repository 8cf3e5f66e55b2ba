/*
 * How a dispatcher ends what cannot be posted: time-outs of the outbox, giving up, and what it says about being idle.
 */
#include "path_scene.h"

#define BODY  "{\"predicate\":\"UN.A\"}"
#define SMALL "{\"predicate\":\"ZZ\"}"

/* The clock moves by itself, and a nanosecond is over by the next look. */
static void
outbox_timeout_fails_the_open_notification(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true, .outbox_timeout_ns = 1});
	(void)state;

	subscribe_many(s, "UN.A", 70);
	subscribe(s, "ZZ", "http://small");
	deliver_envelope("1", BODY);
	deliver_envelope("2", SMALL);
	assert_int_equal(turn(s), 1);
	assert_int_not_equal(s->waiters.waiter[0].agent->wake_at_ns, 0);
	assert_int_equal(counted(s, SPR_C_JOBS_FAILED), 0);
	assert_int_equal(turn(s), 1);
	assert_int_equal(counted(s, SPR_C_JOBS_FAILED), 6); /* what was left */
	assert_int_equal(spr_fake_bufs(), 1);
	assert_int_equal(spr_fake_end_all(0, SPR_OK), 64); /* aborted, each of them */
	assert_int_equal(counted(s, SPR_C_JOBS_FAILED), 70);
	assert_int_equal(counted(s, SPR_C_NACKED_PUSH_FAILED), 1);
	assert_int_equal(turn(s), 1); /* the next one gets its own chance */
	expect_job("http://small", SMALL);
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 1);
	scene_close(s);
}

/* Each blocked fan-out in its turn, without anybody having to wake the dispatcher. */
static void
outbox_timeout_of_several(void **state)
{
	size_t job = strlen("{\"s\":\"http://many/0\",\"payload\":" BODY "}");
	scene *s = scene_open((scene_wants){
	    .has_upstream = true, .outbox_timeout_ns = 1, .outbox_bytes = job, .n_dispatchers = 1});
	unsigned n = 0;
	(void)state;

	subscribe_many(s, "UN.A", 3);
	deliver_envelope("1", BODY);
	deliver_envelope("2", BODY);
	assert_int_equal(turn(s), 1);
	while (counted(s, SPR_C_JOBS_FAILED) < 2 + 3) {
		assert_true(turn(s) > 0 || s->waiters.waiter[0].agent->wake_at_ns != 0);
		assert_true(++n < 1000);
	}
	assert_int_equal(spr_fake_end_all(0, SPR_OK), 1);
	assert_int_equal(counted(s, SPR_C_NACKED_PUSH_FAILED), 2);
	scene_close(s);
}

/* All jobs are posted, but nobody takes them. */
static void
outbox_timeout_of_what_is_posted(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true, .outbox_timeout_ns = 1});
	(void)state;

	subscribe(s, "UN.A", "http://a");
	deliver_envelope("1", BODY);
	assert_int_equal(turn(s), 1);
	assert_int_not_equal(s->waiters.waiter[0].agent->wake_at_ns, 0);
	assert_int_equal(turn(s), 1);
	assert_int_equal(spr_fake_end_all(0, SPR_OK), 1);
	assert_int_equal(counted(s, SPR_C_NACKED_PUSH_FAILED), 1);
	assert_int_equal(turn(s), 0);
	assert_int_equal(s->waiters.waiter[0].agent->wake_at_ns, 0); /* nothing to watch */
	scene_close(s);
}

/* It is about an outbox that takes nothing at all. */
static void
outbox_timeout_begins_anew_with_each_job_taken(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true, .outbox_timeout_ns = 1});
	(void)state;

	subscribe_many(s, "UN.A", 100);
	deliver_envelope("1", BODY);
	assert_int_equal(turn(s), 1);
	for (unsigned i = 0; i < 99; i++) {
		free(spr_fake_end(0, SPR_OK));
		(void)turn(s);
		assert_int_not_equal(s->waiters.waiter[0].agent->wake_at_ns, 0);
	}
	free(spr_fake_end(0, SPR_OK));
	assert_int_equal(turn(s), 0);
	assert_int_equal(counted(s, SPR_C_JOBS_FAILED), 0);
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 1);
	scene_close(s);
}

static void
without_outbox_timeout_it_waits(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true});
	(void)state;

	subscribe_many(s, "UN.A", 65);
	deliver_envelope("1", BODY);
	assert_int_equal(turn(s), 1);
	assert_int_equal(turn(s), 0); /* it looks again by itself, */
	assert_int_not_equal(s->waiters.waiter[0].agent->wake_at_ns, 0);
	assert_true(wait_until(turn(s) > 0, 20000));
	for (unsigned i = 0; i < 10; i++) { /* and then it knows that all of it stands still */
		assert_int_equal(turn(s), 0);
		assert_int_equal(s->waiters.waiter[0].agent->wake_at_ns, 0);
	}
	spr_dispatchers_give_up(s->dispatchers);
	turns(s);
	(void)spr_fake_end_all(0, SPR_OK);
	scene_close(s);
}

/* Open, posted, and not yet read: all of it is nacked. */
static void
giving_up(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true});
	(void)state;

	subscribe_many(s, "UN.A", 60);
	deliver_envelope("posted", BODY);
	deliver_envelope("open", BODY);
	assert_int_equal(turn(s), 2);
	deliver_envelope("waiting", BODY);
	deliver_envelope("bad", "{}");
	assert_int_equal(turns(s), 0);
	assert_false(are_idle(s));
	spr_dispatchers_give_up(s->dispatchers);
	turns(s);
	assert_true(are_idle(s));
	assert_int_equal(spr_intake_waiting(s->intake), 0);
	assert_int_equal(spr_fake_bufs(), 0);
	assert_int_equal(spr_fake_end_all(0, SPR_OK), 64);
	assert_int_equal(counted(s, SPR_C_NACKED_SHUTTING_DOWN), 3);
	assert_int_equal(counted(s, SPR_C_NACKED_NO_PREDICATE), 1);
	assert_int_equal(counted(s, SPR_C_JOBS_FAILED), 120);
	assert_int_equal(counted(s, SPR_C_DEAD_LETTERS), 0); /* upstream has them */
	scene_close(s);
}

static unsigned
occurrences(const char *text, const char *word)
{
	unsigned n = 0;

	while ((text = strstr(text, word)) != NULL) {
		n++;
		text++;
	}
	return (n);
}

/* Nobody has them: each goes to the dead letters, once. */
static void
giving_up_without_upstream(void **state)
{
	static const char *const names[] = {"posted", "open", "waiting"};
	scene *s = scene_bare();
	char text[128], *letters;
	(void)state;

	subscribe_many(s, "UN.A", 60);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(text, sizeof(text), "{\"predicate\":\"UN.A\",\"x\":\"%s\"}", names[i]);
		deliver(text);
		assert_int_equal(turns(s), i < 2);
	}
	spr_dispatchers_give_up(s->dispatchers);
	turns(s);
	assert_int_equal(spr_fake_end_all(0, SPR_OK), 64);
	letters = read_letters(s);
	assert_int_equal(counted(s, SPR_C_DEAD_LETTERS), 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(occurrences(letters, names[i]), 1);
	free(letters);
	assert_int_equal(in_flight(s), 0);
	assert_int_equal(spr_intake_bytes(s->intake), 0);
	assert_true(spr_outbox_is_idle(s->outbox));
	scene_close(s);
}

static void
idle_is_the_truth(void **state)
{
	scene *s = scene_bare();
	(void)state;

	subscribe_many(s, "UN.A", 65);
	assert_true(are_idle(s));
	deliver(BODY);
	assert_int_equal(turn(s), 1);
	assert_false(are_idle(s)); /* blocked */
	free(spr_fake_end(0, SPR_OK));
	assert_int_equal(turn(s), 1);
	assert_true(are_idle(s)); /* what is out is the outbox's */
	assert_false(spr_outbox_is_idle(s->outbox));
	assert_int_equal(spr_fake_end_all(0, SPR_OK), 64);
	assert_true(spr_outbox_is_idle(s->outbox));
	scene_close(s);
}

/* It leaves the line, in which it would stand before everybody else for ever. */
static void
giving_up_what_waits_for_credits(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true, .max_jobs = 8});
	spr_credits *credits = spr_jobs_credits(s->jobs);
	(void)state;

	subscribe_many(s, "UN.A", 6);
	deliver_envelope("posted", BODY);
	deliver_envelope("waiting", BODY);
	(void)turns(s);
	assert_int_equal(spr_credits_wanted(credits), 6);
	spr_dispatchers_give_up(s->dispatchers);
	(void)turns(s);
	assert_true(are_idle(s));
	assert_int_equal(spr_credits_waiting(credits), 0);
	assert_int_equal(counted(s, SPR_C_JOBS_FAILED), 6);
	(void)spr_fake_end_all(0, SPR_OK);
	scene_close(s);
}

/*
 * A large one is blocked, and a small one waits for credits. When a guest has posted what was left of the large one, the small one is asked
 * again: nothing else would wake the dispatcher for it.
 */
static void
a_guest_leaves_what_waits_for_credits(void **state)
{
	enum { LARGE = 1100, SMALL_ONE = 100, LEFT = LARGE % SPR_OUTBOX_SLOTS };
	scene *s =
	    scene_open((scene_wants){.has_upstream = true, .max_jobs = LARGE + SMALL_ONE / 2});
	spr_agent *agent = s->waiters.waiter[0].agent;
	(void)state;

	subscribe_many(s, "UN.A", LARGE);
	subscribe_many(s, "ZZ", SMALL_ONE);
	deliver_envelope("large", BODY);
	deliver_envelope("small", SMALL);
	for (unsigned n = 0; n < LARGE - LEFT; n += SPR_OUTBOX_SLOTS) {
		turns(s);
		assert_int_equal(spr_fake_end_all(0, SPR_OK), SPR_OUTBOX_SLOTS);
	}
	assert_int_equal(spr_credits_wanted(spr_jobs_credits(s->jobs)), SMALL_ONE);
	for (unsigned n = 0; agent->do_guest_work(agent->state); n++)
		assert_true(n < 10);
	assert_int_equal(spr_fake_busy(0), LEFT);
	assert_int_equal(atomic_load(&s->waiters.waiter[0].wants), SPR_WANT_JOBS);
	spr_dispatchers_give_up(s->dispatchers);
	(void)turns(s);
	(void)spr_fake_end_all(0, SPR_OK);
	scene_close(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(outbox_timeout_fails_the_open_notification),
	    cmocka_unit_test(outbox_timeout_of_several),
	    cmocka_unit_test(outbox_timeout_of_what_is_posted),
	    cmocka_unit_test(outbox_timeout_begins_anew_with_each_job_taken),
	    cmocka_unit_test(without_outbox_timeout_it_waits),
	    cmocka_unit_test(giving_up),
	    cmocka_unit_test(giving_up_what_waits_for_credits),
	    cmocka_unit_test(giving_up_without_upstream),
	    cmocka_unit_test(a_guest_leaves_what_waits_for_credits),
	    cmocka_unit_test(idle_is_the_truth),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
