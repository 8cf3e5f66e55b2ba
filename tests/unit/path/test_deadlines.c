/*
 * test_deadlines - who is late when, and who is worked on; times are the test's own.
 */
#include "spr_test.h"

#include "fake_waiters.h"
#include "path/deadlines.h"

#define TIMEOUT 1000
#define GRACE   100
#define WORKING 5000
#define START   10000

typedef struct scene {
	spr_notifications pool; /* first: it needs its alignment */
	spr_fake_waiters waiters;
	spr_jobs *jobs;
	spr_deadlines *deadlines;
	spr_notification *notification;
	uint32_t job[2];
	unsigned n_complete, n_working;
	bool can_tell;
} scene;

static void
on_complete(void *arg, spr_notification *notification)
{
	scene *s = arg;

	assert_ptr_equal(notification, s->notification);
	s->n_complete++;
}

static bool
on_working(void *arg, spr_notification *notification)
{
	scene *s = arg;

	assert_ptr_equal(notification, s->notification);
	s->n_working += s->can_tell;
	return (s->can_tell);
}

static uint64_t
look(scene *s, uint64_t now_ns, bool gives_up)
{
	const spr_deadlines_found found = {on_complete, on_working, s};

	return (spr_deadlines_look(s->deadlines, now_ns, gives_up, &found));
}

static scene *
open_scene(bool awaits_receipts)
{
	scene *s = spr_mem_zalloc_aligned(sizeof(*s));
	spr_deadlines_config config = {
	    .timeout_ns = TIMEOUT, .grace_ns = GRACE, .working_ns = WORKING};

	assert_non_null(s);
	s->can_tell = true;
	spr_fake_waiters_init(&s->waiters, 1);
	assert_ok(spr_notifications_init(&s->pool, 4, 2, &s->waiters.waiters));
	assert_ok(spr_jobs_new(&s->jobs, 4));
	config.notifications = &s->pool;
	config.jobs = awaits_receipts ? s->jobs : NULL;
	assert_ok(spr_deadlines_new(&s->deadlines, &config));
	s->notification = spr_notification_take(&s->pool, 0);
	spr_notification_begin(s->notification, START);
	return (s);
}

/* In flight with two jobs; their pushes and the dispatcher's hold are out. */
static scene *
open_jobs(void)
{
	scene *s = open_scene(true);
	spr_notification *notification = s->notification;

	assert_true(spr_credits_reserve(spr_jobs_credits(s->jobs), 2));
	spr_notification_open(notification, 3, 2);
	spr_deadlines_open(s->deadlines, notification);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(spr_jobs_open(s->jobs, (spr_job_key){i, i}, 0, &notification->jobs,
					       &notification->n_known, &s->job[i]),
				 SPR_JOB_OPENED);
	return (s);
}

static void
push_all(scene *s, uint64_t now_ns)
{
	spr_deadlines_touch(s->deadlines, s->notification, now_ns);
	assert_false(spr_notification_release(s->notification, 3, 0));
}

static void
take_receipt(scene *s, unsigned i, uint64_t now_ns)
{
	uint32_t owner;

	assert_int_equal(spr_jobs_receipt(s->jobs, (spr_job_key){i, i}, false, &owner),
			 SPR_RECEIPT_TAKEN);
	assert_int_equal(owner, 0);
	spr_deadlines_touch(s->deadlines, s->notification, now_ns);
	(void)spr_notification_release(s->notification, 0, 1);
}

static void
close_scene(scene *s)
{
	spr_deadlines_free(s->deadlines);
	spr_jobs_free(s->jobs);
	spr_notifications_fini(&s->pool);
	spr_mem_free(s);
}

/* It runs from the last push or receipt, and not before every push has ended. */
static void
test_timeout(void **state)
{
	scene *s = open_jobs();

	(void)state;
	assert_int_equal(look(s, START + 1000 * TIMEOUT, false), 0);
	push_all(s, 50000);
	assert_int_equal(look(s, 50000 + TIMEOUT - 1, false), 50000 + TIMEOUT);
	take_receipt(s, 0, 50500);
	assert_int_equal(look(s, 50500 + TIMEOUT - 1, false), 50500 + TIMEOUT);
	assert_int_equal(s->n_complete, 0);
	assert_int_equal(look(s, 50500 + TIMEOUT, false), 0);
	assert_int_equal(s->n_complete, 1);
	assert_int_equal(spr_notification_failure(s->notification),
			 SPREADER_REASON_RECEIPT_TIMEOUT);
	/* complete: nothing more is found */
	assert_int_equal(look(s, UINT64_MAX / 2, false), 0);
	assert_int_equal(s->n_complete, 1);
	close_scene(s);
}

static void
test_the_first_reason_stays(void **state)
{
	scene *s = open_jobs();

	(void)state;
	assert_true(spr_jobs_fail(s->jobs, s->job[0]));
	spr_notification_fail(s->notification, SPREADER_REASON_PUSH_FAILED);
	assert_false(spr_notification_release(s->notification, 1, 1));
	assert_false(spr_notification_release(s->notification, 2, 0));
	(void)look(s, START + TIMEOUT, false);
	assert_int_equal(s->n_complete, 1);
	assert_int_equal(spr_notification_failure(s->notification), SPREADER_REASON_PUSH_FAILED);
	close_scene(s);
}

/* Once a notification; what it is at or behind shortens from then on, also while pushes are under way. */
static void
test_grace(void **state)
{
	scene *s = open_jobs();

	(void)state;
	push_all(s, 50000);
	spr_deadlines_worker_left(s->deadlines);
	assert_int_equal(look(s, 50300, false), 50300 + GRACE);
	spr_deadlines_worker_left(s->deadlines);
	assert_int_equal(look(s, 50390, false), 50300 + GRACE);
	take_receipt(s, 0, 50395);
	assert_int_equal(look(s, 50450, false), 50395 + GRACE);
	(void)look(s, 50395 + GRACE, false);
	assert_int_equal(s->n_complete, 1);
	close_scene(s);

	s = open_jobs();
	spr_deadlines_worker_left(s->deadlines);
	assert_int_equal(look(s, 20000, false), 0);
	push_all(s, 50000);
	assert_int_equal(look(s, 50001, false), 50000 + GRACE);
	/* never later than without */
	close_scene(s);
	s = open_jobs();
	push_all(s, 50000);
	spr_deadlines_worker_left(s->deadlines);
	assert_int_equal(look(s, 50000 + TIMEOUT - 1, false), 50000 + TIMEOUT);
	close_scene(s);
}

static void
test_give_up(void **state)
{
	scene *s = open_jobs();

	(void)state;
	(void)look(s, START, true);
	assert_int_equal(s->n_complete, 0); /* pushes are under way */
	push_all(s, START);
	(void)look(s, START, true);
	assert_int_equal(s->n_complete, 1);
	assert_int_equal(spr_notification_failure(s->notification), SPREADER_REASON_SHUTTING_DOWN);
	close_scene(s);
}

/* Also without receipts. Again after as long, but only once upstream could be told. */
static void
test_working(void **state)
{
	scene *s = open_scene(false);

	(void)state;
	assert_int_equal(look(s, START + WORKING, false), 0); /* not opened yet */
	assert_int_equal(s->n_working, 0);
	spr_notification_open(s->notification, 2, 0);
	spr_deadlines_open(s->deadlines, s->notification);
	(void)look(s, START + WORKING - 1, false);
	assert_int_equal(s->n_working, 0);
	s->can_tell = false;
	(void)look(s, START + WORKING + 1, false);
	s->can_tell = true;
	(void)look(s, START + WORKING + 2, false);
	assert_int_equal(s->n_working, 1);
	(void)look(s, START + 2 * WORKING + 1, false);
	assert_int_equal(s->n_working, 1);
	(void)look(s, START + 2 * WORKING + 2, false);
	assert_int_equal(s->n_working, 2);
	assert_true(spr_notification_release(s->notification, 2, 0));
	(void)look(s, START + 9 * WORKING, false); /* complete, not closed */
	spr_deadlines_close(s->deadlines, s->notification);
	(void)look(s, START + 9 * WORKING, false);
	assert_int_equal(s->n_working, 2);
	close_scene(s);
}

static void
test_no_memory(void **state)
{
	scene *s = open_scene(true);
	const spr_deadlines_config config = {.notifications = &s->pool};
	spr_deadlines *deadlines = NULL;

	(void)state;
	for (unsigned long i = 1; i <= 2; i++) {
		spr_mem_fail_at(i);
		assert_fails(spr_deadlines_new(&deadlines, &config), SPR_E_NOMEM);
		spr_mem_fail_at(0);
		assert_null(deadlines);
	}
	close_scene(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_timeout), cmocka_unit_test(test_the_first_reason_stays),
	    cmocka_unit_test(test_grace),   cmocka_unit_test(test_give_up),
	    cmocka_unit_test(test_working), cmocka_unit_test(test_no_memory),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
