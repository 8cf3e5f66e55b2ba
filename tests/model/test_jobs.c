/*
 * The table of jobs against a naive twin: notifications of a few ids come, open some of their jobs, get receipts, errors, failed
 * pushes and time-outs in any order, are acked or nacked and come again, or are given up while their id is claimed anew. The twin is
 * an array of jobs with a state, an age and a chain; which one a receipt finds is the youngest of its key.
 */
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#include "path/jobs.h"

#define N_IDS       6
#define N_CALLBACKS 8
#define N_CHAINS    12
#define N_STEPS     200000

typedef enum twin_state { TWIN_ABSENT, TWIN_OPEN, TWIN_FAILED, TWIN_RECEIPTED } twin_state;

/* One job of a chain at most for each callback. */
typedef struct twin_job {
	twin_state state;
	uint32_t job;
	unsigned long age; /* when it was inserted */
} twin_job;

/* The attempts of one notification; in flight, or remembered, or given up. */
typedef struct chain {
	bool is_used, is_in_flight, is_given_up;
	bool has_opened; /* in this attempt: its owner is known */
	unsigned id;
	uint32_t owner, head, n;
	unsigned n_open;
	twin_job jobs[N_CALLBACKS];
} chain;

typedef struct scene {
	spr_jobs *jobs;
	chain chains[N_CHAINS];
	unsigned long now;
	uint32_t known, capacity;
	unsigned n_late, n_again, n_unknown, n_taken; /* every outcome must be met */
} scene;

static uint64_t random_state;

static unsigned
random_below(unsigned n)
{
	return ((unsigned)spr_test_below(&random_state, n));
}

/* Four buckets' worth of low halves. */
static spr_job_key
key_of(unsigned id, unsigned callback)
{
	return ((spr_job_key){.low = callback % 4, .high = id * N_CALLBACKS + callback});
}

/* The chain whose job a receipt meets. */
static chain *
youngest(scene *s, unsigned id, unsigned callback)
{
	chain *found = NULL;

	for (unsigned i = 0; i < N_CHAINS; i++) {
		chain *c = &s->chains[i];

		if (c->is_used && c->id == id && c->jobs[callback].state != TWIN_ABSENT &&
		    (found == NULL || c->jobs[callback].age > found->jobs[callback].age))
			found = c;
	}
	return (found);
}

/* The next attempt of an id, or the first. One that is remembered may have been given up, and then waits to be forgotten beside it. */
static void
step_claim(scene *s, unsigned id)
{
	chain *fresh = NULL, *remembered = NULL;

	for (unsigned i = 0; i < N_CHAINS; i++) {
		chain *c = &s->chains[i];

		if (!c->is_used)
			fresh = c;
		else if (c->id == id && c->is_in_flight)
			return;
		else if (c->id == id && !c->is_given_up)
			remembered = c;
	}
	if (remembered != NULL && random_below(3) > 0) {
		remembered->is_in_flight = true;
		remembered->has_opened = false;
		remembered->owner = random_below(1000);
	} else if (fresh != NULL) {
		if (remembered != NULL)
			remembered->is_given_up = true;
		*fresh = (chain){
		    .is_used = true, .is_in_flight = true, .id = id, .owner = random_below(1000)};
	}
}

static void
step_open(scene *s, chain *c, unsigned callback)
{
	twin_job *twin = &c->jobs[callback];
	uint32_t job = SPR_JOB_NONE, head = c->head, n = c->n;
	spr_job_opened opened;

	if (twin->state == TWIN_ABSENT && !spr_credits_reserve(spr_jobs_credits(s->jobs), 1)) {
		assert_int_equal(s->known, s->capacity);
		return;
	}
	opened = spr_jobs_open(s->jobs, key_of(c->id, callback), c->owner, &c->head, &c->n, &job);
	c->has_opened = true;
	switch (twin->state) {
	case TWIN_ABSENT:
		assert_int_equal(opened, SPR_JOB_OPENED);
		assert_int_equal(c->n, n + 1);
		assert_int_equal(c->head, job);
		*twin = (twin_job){.state = TWIN_OPEN, .job = job, .age = ++s->now};
		s->known++;
		c->n_open++;
		break;
	case TWIN_FAILED:
		assert_int_equal(opened, SPR_JOB_OPENED);
		twin->state = TWIN_OPEN;
		c->n_open++;
		break;
	case TWIN_OPEN:
		assert_int_equal(opened, SPR_JOB_TWICE);
		break;
	default:
		assert_int_equal(opened, SPR_JOB_RECEIPTED);
		return;
	}
	assert_int_equal(job, twin->job);
	assert_int_equal(spr_jobs_owner(s->jobs, job), c->owner);
	if (head == c->head)
		assert_int_equal(c->n, n);
}

static void
step_receipt(scene *s, unsigned id, unsigned callback, bool is_error)
{
	uint32_t owner = 4711;
	spr_receipt_taken taken = spr_jobs_receipt(s->jobs, key_of(id, callback), is_error, &owner);
	chain *c = youngest(s, id, callback);

	if (c == NULL) {
		assert_int_equal(taken, SPR_RECEIPT_UNKNOWN);
		s->n_unknown++;
		return;
	}
	switch (c->jobs[callback].state) {
	case TWIN_OPEN:
		assert_int_equal(taken, SPR_RECEIPT_TAKEN);
		assert_int_equal(owner, c->owner);
		c->n_open--;
		s->n_taken++;
		break;
	case TWIN_FAILED:
		assert_int_equal(taken, is_error ? SPR_RECEIPT_AGAIN : SPR_RECEIPT_LATE);
		s->n_late += !is_error;
		break;
	default:
		assert_int_equal(taken, SPR_RECEIPT_AGAIN);
		s->n_again++;
		return;
	}
	c->jobs[callback].state = is_error ? TWIN_FAILED : TWIN_RECEIPTED;
}

static void
step_fail(scene *s, chain *c, unsigned callback)
{
	twin_job *twin = &c->jobs[callback];

	if (twin->state == TWIN_ABSENT)
		return;
	if (c->has_opened)
		assert_int_equal(spr_jobs_owner(s->jobs, twin->job), c->owner);
	assert_int_equal(spr_jobs_fail(s->jobs, twin->job), twin->state == TWIN_OPEN);
	if (twin->state == TWIN_OPEN) {
		twin->state = TWIN_FAILED;
		c->n_open--;
	}
}

/* A time-out, then a nack; or an ack, when all have answered. */
static void
step_finish(scene *s, chain *c)
{
	assert_int_equal(spr_jobs_fail_chain(s->jobs, c->head), c->n_open);
	for (unsigned i = 0; i < N_CALLBACKS; i++) {
		if (c->jobs[i].state == TWIN_OPEN)
			c->jobs[i].state = TWIN_FAILED;
	}
	c->n_open = 0;
	c->is_in_flight = false;
}

static void
step_forget(scene *s, chain *c)
{
	assert_int_equal(spr_jobs_forget(s->jobs, c->head), c->n);
	spr_credits_give_back(spr_jobs_credits(s->jobs), c->n);
	s->known -= c->n;
	*c = (chain){.is_used = false};
}

static void
step(scene *s)
{
	chain *c = &s->chains[random_below(N_CHAINS)];
	unsigned callback = random_below(N_CALLBACKS), what = random_below(100);

	if (what < 20)
		step_claim(s, random_below(N_IDS));
	else if (what < 45)
		step_receipt(s, random_below(N_IDS), callback, what < 30);
	else if (!c->is_used)
		return;
	else if (c->is_in_flight && what < 85)
		step_open(s, c, callback);
	else if (c->is_in_flight && what < 93)
		step_fail(s, c, callback);
	else if (c->is_in_flight)
		step_finish(s, c);
	else if (what < 60)
		step_forget(s, c);
	assert_int_equal(spr_jobs_known(s->jobs), s->known);
	assert_int_equal(spr_credits_reserved(spr_jobs_credits(s->jobs)), s->known);
}

static void
run(uint32_t capacity)
{
	scene *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->capacity = capacity;
	assert_ok(spr_jobs_new(&s->jobs, capacity));
	for (unsigned i = 0; i < N_STEPS; i++)
		step(s);
	for (unsigned i = 0; i < N_CHAINS; i++) {
		if (s->chains[i].is_used) {
			step_finish(s, &s->chains[i]);
			step_forget(s, &s->chains[i]);
		}
	}
	assert_int_equal(spr_jobs_known(s->jobs), 0);
	for (unsigned id = 0; id < N_IDS; id++) {
		for (unsigned callback = 0; callback < N_CALLBACKS; callback++)
			step_receipt(s, id, callback, false);
	}
	assert_true(s->n_late > 0 && s->n_again > 0 && s->n_taken > 0 && s->n_unknown > 0);
	spr_jobs_free(s->jobs);
	free(s);
}

static void
room_for_all(void **state)
{
	(void)state;
	run(N_CHAINS * N_CALLBACKS);
}

static void
few_credits(void **state)
{
	(void)state;
	run(12);
}

static void
one_job(void **state)
{
	(void)state;
	run(1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(room_for_all),
	    cmocka_unit_test(few_credits),
	    cmocka_unit_test(one_job),
	};

	random_state = spr_test_seed();
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
