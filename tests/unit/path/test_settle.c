/*
 * What becomes of ids, jobs and credits when an answer was accepted, one outcome after the other; the test is dispatcher and
 * ledger.
 */
#include "fake_waiters.h"
#include "path/settle.h"
#include "spr_test.h"

#define MAX_JOBS 8
#define ID       ((spr_answer_key){.low = 1, .high = 1})

typedef struct scene {
	spr_notification notification; /* first: it needs its alignment */
	spr_fake_waiters dispatchers;
	spr_settle_env env;
	spr_answer_stock stock;
} scene;

static scene *
scene_open(unsigned resume_window)
{
	scene *s = spr_mem_zalloc_aligned(sizeof(*s));

	assert_non_null(s);
	spr_fake_waiters_init(&s->dispatchers, 1);
	s->env.max_jobs = MAX_JOBS;
	s->env.dispatchers = &s->dispatchers.waiters;
	assert_ok(spr_answers_new(&s->env.answers, 1, 8, 4, resume_window));
	assert_ok(spr_jobs_new(&s->env.jobs, MAX_JOBS));
	return (s);
}

static void
scene_close(scene *s)
{
	spr_jobs_free(s->env.jobs);
	spr_answers_free(s->env.answers);
	spr_mem_free(s);
}

/* An attempt with credits for n + 1 jobs, n of them opened and failed; its answer has been accepted. True: owed again. */
static bool
settle(scene *s, spr_answer_key id, uint32_t n, spreader_reason reason)
{
	spr_notification *self = &s->notification;
	uint32_t job;

	assert_int_equal(spr_answers_claim(s->env.answers, &s->stock, id, &self->entry),
			 SPR_CLAIM_NEW);
	assert_true(spr_credits_reserve(spr_jobs_credits(s->env.jobs), n + 1));
	self->credits = n + 1;
	for (uint32_t i = 0; i < n; i++) {
		spr_job_key key = {.low = id.low, .high = 100 * id.high + i};

		assert_int_equal(
		    spr_jobs_open(s->env.jobs, key, 0, &self->jobs, &self->n_known, &job),
		    SPR_JOB_OPENED);
	}
	if (n > 0)
		assert_int_equal(spr_jobs_fail_chain(s->env.jobs, self->jobs), n);
	atomic_store(&self->failure, reason);
	return (spr_settle_accepted(&s->env, self));
}

static void
assert_held(const scene *s, uint32_t known, uint32_t reserved, uint32_t resumable)
{
	assert_int_equal(spr_jobs_known(s->env.jobs), known);
	assert_int_equal(spr_credits_reserved(spr_jobs_credits(s->env.jobs)), reserved);
	assert_int_equal(spr_answers_resumable(s->env.answers), resumable);
	assert_int_equal(spr_answers_in_flight(s->env.answers), 0);
	assert_int_equal(s->notification.entry, SPR_ANSWER_NONE);
	assert_int_equal(s->notification.jobs, SPR_JOB_NONE);
	assert_int_equal(s->notification.n_known + s->notification.credits, 0);
}

static void
an_ack_forgets_the_jobs(void **state)
{
	scene *s = scene_open(4);

	(void)state;
	assert_false(settle(s, ID, 3, SPREADER_REASON_NONE));
	assert_held(s, 0, 0, 0);
	assert_int_equal(spr_answers_claim(s->env.answers, &s->stock, ID, &s->notification.entry),
			 SPR_CLAIM_ACKED);
	scene_close(s);
}

/* And a copy, which has no entry, settles nothing. */
static void
a_nack_keeps_the_jobs_and_their_credits(void **state)
{
	scene *s = scene_open(4);
	spr_resume left;

	(void)state;
	assert_false(settle(s, ID, 3, SPREADER_REASON_RECEIPT_TIMEOUT));
	assert_held(s, 3, 3, 1);
	assert_false(spr_settle_accepted(&s->env, &s->notification));
	assert_held(s, 3, 3, 1);
	assert_int_equal(spr_answers_claim(s->env.answers, &s->stock, ID, &s->notification.entry),
			 SPR_CLAIM_RESUMED);
	left = spr_answers_take_resume(s->env.answers, s->notification.entry);
	assert_int_equal(left.n, 3);
	/* its next attempt is given up */
	s->notification.jobs = left.jobs;
	s->notification.n_known = s->notification.credits = left.n;
	spr_settle_given_up(&s->env, &s->notification);
	assert_held(s, 0, 0, 0);
	assert_int_equal(settle(s, ID, 0, SPREADER_REASON_PUSH_FAILED), false);
	assert_held(s, 0, 0, 0); /* nothing was opened: nothing to remember */
	scene_close(s);
}

static void
an_overload_and_a_nack_for_good_forget(void **state)
{
	scene *s = scene_open(4);

	(void)state;
	assert_false(settle(s, ID, 3, SPREADER_REASON_OVERLOAD));
	assert_held(s, 0, 0, 0);
	assert_false(settle(s, ID, 3, SPREADER_REASON_TOO_LARGE));
	assert_held(s, 0, 0, 0);
	scene_close(s);
}

static void
a_full_window_forgets_its_oldest(void **state)
{
	scene *s = scene_open(1);

	(void)state;
	assert_false(settle(s, ID, 3, SPREADER_REASON_PUSH_FAILED));
	assert_false(
	    settle(s, (spr_answer_key){.low = 2, .high = 2}, 2, SPREADER_REASON_RECEIPT_ERROR));
	assert_held(s, 2, 2, 1);
	scene_close(s);
	s = scene_open(0);
	assert_false(settle(s, ID, 3, SPREADER_REASON_PUSH_FAILED));
	assert_held(s, 0, 0, 0);
	scene_close(s);
}

static void
room_is_made_oldest_first_and_no_more_than_asked_for(void **state)
{
	scene *s = scene_open(4);

	(void)state;
	assert_false(settle(s, ID, 3, SPREADER_REASON_PUSH_FAILED));
	assert_false(
	    settle(s, (spr_answer_key){.low = 2, .high = 2}, 2, SPREADER_REASON_PUSH_FAILED));
	spr_settle_make_room(&s->env, MAX_JOBS - 5);
	assert_held(s, 5, 5, 2);
	spr_settle_make_room(&s->env, MAX_JOBS - 4);
	assert_held(s, 2, 2, 1);
	/* what is in flight cannot be forgotten */
	assert_true(spr_credits_reserve(spr_jobs_credits(s->env.jobs), 1));
	spr_settle_make_room(&s->env, MAX_JOBS);
	assert_held(s, 0, 1, 0);
	scene_close(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_ack_forgets_the_jobs),
	    cmocka_unit_test(a_nack_keeps_the_jobs_and_their_credits),
	    cmocka_unit_test(an_overload_and_a_nack_for_good_forget),
	    cmocka_unit_test(a_full_window_forgets_its_oldest),
	    cmocka_unit_test(room_is_made_oldest_first_and_no_more_than_asked_for),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
