/*
 * The calls of the table of jobs one by one, on tables so small that every limit is met: each arrow between its states, chains
 * that grow, are taken over and go, and what becomes of equal keys.
 */
#include "spr_test.h"

#include "base/mem.h"
#include "path/jobs.h"

/* A chain as its holder keeps it. */
typedef struct chain {
	uint32_t owner;
	uint32_t head;
	uint32_t n;
} chain;

/* All keys with the same low half share one bucket. */
static spr_job_key
key_of(uint64_t low, uint64_t high)
{
	return ((spr_job_key){.low = low, .high = high});
}

static spr_jobs *
table(unsigned capacity)
{
	spr_jobs *jobs = NULL;

	assert_ok(spr_jobs_new(&jobs, capacity));
	assert_non_null(jobs);
	return (jobs);
}

/* A job that must be new in the chain. */
static uint32_t
open_new(spr_jobs *jobs, chain *c, spr_job_key key)
{
	uint32_t job = SPR_JOB_NONE, n = c->n;

	assert_int_equal(spr_jobs_open(jobs, key, c->owner, &c->head, &c->n, &job), SPR_JOB_OPENED);
	assert_int_not_equal(job, SPR_JOB_NONE);
	assert_int_equal(c->head, job);
	assert_int_equal(c->n, n + 1);
	assert_int_equal(spr_jobs_owner(jobs, job), c->owner);
	return (job);
}

/* A job that is in the chain from before. */
static uint32_t
open_finds(spr_jobs *jobs, chain *c, spr_job_key key, spr_job_opened expected)
{
	uint32_t job = SPR_JOB_NONE, head = c->head, n = c->n;

	assert_int_equal(spr_jobs_open(jobs, key, c->owner, &c->head, &c->n, &job), expected);
	assert_int_equal(job != SPR_JOB_NONE, expected != SPR_JOB_RECEIPTED);
	assert_int_equal(c->head, head);
	assert_int_equal(c->n, n);
	return (job);
}

static void
receipt_is_taken(spr_jobs *jobs, spr_job_key key, bool is_error, uint32_t owner)
{
	uint32_t found = 4711;

	assert_int_equal(spr_jobs_receipt(jobs, key, is_error, &found), SPR_RECEIPT_TAKEN);
	assert_int_equal(found, owner);
}

/* One that is not must leave the caller's owner alone. */
static void
receipt_is(spr_jobs *jobs, spr_job_key key, bool is_error, spr_receipt_taken expected)
{
	uint32_t found = 4711;

	assert_int_equal(spr_jobs_receipt(jobs, key, is_error, &found), expected);
	assert_int_equal(found, 4711);
}

static void
forget(spr_jobs *jobs, chain *c)
{
	assert_int_equal(spr_jobs_forget(jobs, c->head), c->n);
	*c = (chain){.owner = c->owner};
}

static void
new_refuses_sizes(void **state)
{
	spr_jobs *jobs = NULL;
	(void)state;

	assert_fails(spr_jobs_new(&jobs, 0), SPR_E_INVALID);
	assert_string_equal(spr_error_text(SPR_E_INVALID),
			    "table of jobs: 0: at least 1, and fewer than 2^28");
	assert_fails(spr_jobs_new(&jobs, SPR_JOBS_MAX), SPR_E_INVALID);
	assert_fails(spr_jobs_new(&jobs, UINT32_MAX), SPR_E_INVALID);
	assert_null(jobs);
}

static void
new_fails_without_memory(void **state)
{
	spr_jobs *jobs = NULL;
	unsigned long n;
	(void)state;

	spr_mem_fail_at(0);
	spr_jobs_free(table(4));
	n = spr_mem_count();
	assert_true(n >= 3);
	for (unsigned long i = 1; i <= n; i++) {
		spr_mem_fail_at(i);
		assert_fails(spr_jobs_new(&jobs, 4), SPR_E_NOMEM);
		assert_null(jobs);
	}
	spr_mem_fail_at(0);
	spr_jobs_free(NULL);
}

static void
a_receipt_counts_once(void **state)
{
	spr_jobs *jobs = table(2);
	spr_job_key key = key_of(1, 2);
	chain c = {.owner = 7};
	uint32_t job;
	(void)state;

	receipt_is(jobs, key, false, SPR_RECEIPT_UNKNOWN);
	receipt_is(jobs, key, true, SPR_RECEIPT_UNKNOWN);
	job = open_new(jobs, &c, key);
	receipt_is(jobs, key_of(1, 3), false, SPR_RECEIPT_UNKNOWN);
	receipt_is(jobs, key_of(2, 2), false, SPR_RECEIPT_UNKNOWN);
	receipt_is_taken(jobs, key, false, 7);
	receipt_is(jobs, key, false, SPR_RECEIPT_AGAIN);
	receipt_is(jobs, key, true, SPR_RECEIPT_AGAIN);
	assert_false(spr_jobs_fail(jobs, job));
	assert_int_equal(spr_jobs_fail_chain(jobs, c.head), 0);
	forget(jobs, &c);
	receipt_is(jobs, key, false, SPR_RECEIPT_UNKNOWN);
	spr_jobs_free(jobs);
}

/* All three ways to fail; what comes late counts for the next attempt. */
static void
a_failure_counts_once(void **state)
{
	enum { BY_ERROR, BY_PUSH, BY_TIME, N_WAYS };
	(void)state;

	for (int way = 0; way < N_WAYS; way++) {
		spr_jobs *jobs = table(1);
		spr_job_key key = key_of(1, 2);
		chain c = {.owner = 7};
		uint32_t job = open_new(jobs, &c, key);

		if (way == BY_ERROR)
			receipt_is_taken(jobs, key, true, 7);
		else if (way == BY_PUSH)
			assert_true(spr_jobs_fail(jobs, job));
		else
			assert_int_equal(spr_jobs_fail_chain(jobs, c.head), 1);
		receipt_is(jobs, key, true, SPR_RECEIPT_AGAIN);
		assert_false(spr_jobs_fail(jobs, job));
		assert_int_equal(spr_jobs_fail_chain(jobs, c.head), 0);
		receipt_is(jobs, key, false, SPR_RECEIPT_LATE);
		receipt_is(jobs, key, false, SPR_RECEIPT_AGAIN);
		open_finds(jobs, &c, key, SPR_JOB_RECEIPTED);
		forget(jobs, &c);
		spr_jobs_free(jobs);
	}
}

/* The next attempt has another record; it may have new jobs, and some of the old ones may be gone. */
static void
the_next_attempt_opens_what_has_no_receipt(void **state)
{
	spr_jobs *jobs = table(5);
	chain c = {.owner = 7};
	(void)state;

	for (uint64_t i = 0; i < 4; i++)
		open_new(jobs, &c, key_of(3, i));
	receipt_is_taken(jobs, key_of(3, 1), false, 7);
	assert_int_equal(spr_jobs_fail_chain(jobs, c.head), 3);
	receipt_is(jobs, key_of(3, 3), false, SPR_RECEIPT_LATE);

	c.owner = 12;
	open_finds(jobs, &c, key_of(3, 1), SPR_JOB_RECEIPTED);
	open_finds(jobs, &c, key_of(3, 3), SPR_JOB_RECEIPTED);
	assert_int_equal(spr_jobs_owner(jobs, open_finds(jobs, &c, key_of(3, 2), SPR_JOB_OPENED)),
			 12);
	open_new(jobs, &c, key_of(3, 9));
	receipt_is_taken(jobs, key_of(3, 9), false, 12);
	receipt_is_taken(jobs, key_of(3, 2), false, 12);
	receipt_is(jobs, key_of(3, 0), false, SPR_RECEIPT_LATE);
	assert_int_equal(spr_jobs_known(jobs), 5);
	forget(jobs, &c);
	assert_int_equal(spr_jobs_known(jobs), 0);
	spr_jobs_free(jobs);
}

/* The first thing that the next attempt opens is a new job: receipts for it are the new owner's. */
static void
a_new_job_of_the_next_attempt_has_its_owner(void **state)
{
	spr_jobs *jobs = table(2);
	chain c = {.owner = 7};
	(void)state;

	spr_jobs_fail(jobs, open_new(jobs, &c, key_of(0, 1)));
	c.owner = 12;
	open_new(jobs, &c, key_of(0, 2));
	receipt_is_taken(jobs, key_of(0, 2), true, 12);
	forget(jobs, &c);
	spr_jobs_free(jobs);
}

static void
the_same_job_twice_is_open_once(void **state)
{
	spr_jobs *jobs = table(2);
	chain c = {.owner = 7};
	uint32_t job;
	(void)state;

	job = open_new(jobs, &c, key_of(0, 1));
	assert_int_equal(open_finds(jobs, &c, key_of(0, 1), SPR_JOB_TWICE), job);
	assert_int_equal(spr_jobs_owner(jobs, job), 7);
	receipt_is_taken(jobs, key_of(0, 1), false, 7);
	receipt_is(jobs, key_of(0, 1), false, SPR_RECEIPT_AGAIN);
	open_finds(jobs, &c, key_of(0, 1), SPR_JOB_RECEIPTED);
	forget(jobs, &c);
	spr_jobs_free(jobs);
}

/* An id is claimed anew while the chain of its earlier attempts waits to be forgotten: the jobs of the old chain, failed and
 * receipted, are not the new one's, and go without touching it. */
static void
a_chain_that_was_given_up_is_not_opened_again(void **state)
{
	(void)state;

	for (int order = 0; order < 2; order++) {
		spr_jobs *jobs = table(4);
		chain old = {.owner = 7}, new = {.owner = 7};

		spr_jobs_fail(jobs, open_new(jobs, &old, key_of(0, 1)));
		open_new(jobs, &old, key_of(0, 2));
		receipt_is_taken(jobs, key_of(0, 2), false, 7);
		open_new(jobs, &new, key_of(0, 1));
		open_new(jobs, &new, key_of(0, 2));
		assert_int_equal(spr_jobs_known(jobs), 4);
		if (order == 0)
			forget(jobs, &old);
		receipt_is_taken(jobs, key_of(0, 1), false, 7);
		receipt_is_taken(jobs, key_of(0, 2), true, 7);
		if (order == 1)
			forget(jobs, &old);
		receipt_is(jobs, key_of(0, 1), false, SPR_RECEIPT_AGAIN);
		receipt_is(jobs, key_of(0, 2), false, SPR_RECEIPT_LATE);
		forget(jobs, &new);
		receipt_is(jobs, key_of(0, 1), false, SPR_RECEIPT_UNKNOWN);
		spr_jobs_free(jobs);
	}
}

/* Equal keys of two owners: nobody gets the other one's count, and both get all of theirs. */
static void
equal_keys_of_two_owners(void **state)
{
	spr_jobs *jobs = table(6);
	chain a = {.owner = 1}, b = {.owner = 2};
	(void)state;

	open_new(jobs, &a, key_of(5, 5));
	open_new(jobs, &b, key_of(5, 5));
	receipt_is_taken(jobs, key_of(5, 5), false, 2);
	receipt_is(jobs, key_of(5, 5), false, SPR_RECEIPT_AGAIN);
	assert_int_equal(spr_jobs_fail_chain(jobs, b.head), 0);
	assert_int_equal(spr_jobs_fail_chain(jobs, a.head), 1);
	/* hidden behind b's: a second one of its own */
	a.owner = 3;
	open_new(jobs, &a, key_of(5, 5));
	receipt_is_taken(jobs, key_of(5, 5), false, 3);
	forget(jobs, &b);
	forget(jobs, &a);
	receipt_is(jobs, key_of(5, 5), false, SPR_RECEIPT_UNKNOWN);
	spr_jobs_free(jobs);
}

/* Several chains through one bucket; each in turn goes first, and the others stay in reach. */
static void
chains_are_forgotten_in_any_order(void **state)
{
	(void)state;

	for (unsigned first = 0; first < 3; first++) {
		spr_jobs *jobs = table(30);
		chain chains[3] = {{.owner = 0}, {.owner = 1}, {.owner = 2}};

		for (unsigned i = 0; i < 30; i++)
			open_new(jobs, &chains[i % 3], key_of(0, i));
		for (unsigned k = first; k < first + 3; k++) {
			assert_int_equal(spr_jobs_fail_chain(jobs, chains[k % 3].head), 10);
			forget(jobs, &chains[k % 3]);
			for (unsigned i = 0; i < 30; i++) {
				bool is_gone = (i % 3 + 3 - first) % 3 <= k - first;

				if (is_gone)
					receipt_is(jobs, key_of(0, i), false, SPR_RECEIPT_UNKNOWN);
				else
					open_finds(jobs, &chains[i % 3], key_of(0, i),
						   SPR_JOB_TWICE);
			}
			assert_int_equal(spr_jobs_known(jobs), 20 - (k - first) * 10);
		}
		spr_jobs_free(jobs);
	}
}

/* Numbers, owners and keys at their ends. */
static void
widest_values(void **state)
{
	spr_jobs *jobs = table(2);
	chain c = {.owner = UINT32_MAX};
	(void)state;

	open_new(jobs, &c, key_of(UINT64_MAX, UINT64_MAX));
	open_new(jobs, &c, key_of(0, 0));
	receipt_is_taken(jobs, key_of(0, 0), false, UINT32_MAX);
	receipt_is_taken(jobs, key_of(UINT64_MAX, UINT64_MAX), true, UINT32_MAX);
	forget(jobs, &c);
	assert_int_equal(spr_jobs_forget(jobs, SPR_JOB_NONE), 0);
	assert_int_equal(spr_jobs_fail_chain(jobs, SPR_JOB_NONE), 0);
	spr_jobs_free(jobs);
}

/* Every entry is used, and comes back, round after round. */
static void
all_credits_are_all_jobs(void **state)
{
	spr_jobs *jobs = table(3);
	(void)state;

	for (uint64_t round = 0; round < 50; round++) {
		chain c = {.owner = (uint32_t)round};

		assert_false(spr_credits_reserve(spr_jobs_credits(jobs), 4));
		assert_true(spr_credits_reserve(spr_jobs_credits(jobs), 2));
		assert_false(spr_credits_reserve(spr_jobs_credits(jobs), 2));
		assert_true(spr_credits_reserve(spr_jobs_credits(jobs), 1));
		assert_true(spr_credits_reserve(spr_jobs_credits(jobs), 0));
		assert_false(spr_credits_reserve(spr_jobs_credits(jobs), UINT32_MAX));
		assert_int_equal(spr_credits_reserved(spr_jobs_credits(jobs)), 3);
		for (uint64_t i = 0; i < 3; i++)
			open_new(jobs, &c, key_of(i % 2, round * 3 + i));
		assert_int_equal(spr_jobs_fail_chain(jobs, c.head), 3);
		forget(jobs, &c);
		spr_credits_give_back(spr_jobs_credits(jobs), 3);
	}
	assert_int_equal(spr_credits_reserved(spr_jobs_credits(jobs)), 0);
	spr_jobs_free(jobs);
}

/* A chain of a million goes by a loop, not by recursion. */
static void
a_million_jobs(void **state)
{
	enum { N = 1000000 };
	spr_jobs *jobs = table(N);
	chain c = {.owner = 1};
	uint32_t job;
	(void)state;

	assert_true(spr_credits_reserve(spr_jobs_credits(jobs), N));
	for (uint64_t i = 0; i < N; i++) {
		spr_job_key key = key_of(i * UINT64_C(0x9e3779b97f4a7c15), i);

		if (spr_jobs_open(jobs, key, 1, &c.head, &c.n, &job) != SPR_JOB_OPENED)
			fail();
	}
	assert_int_equal(spr_jobs_known(jobs), N);
	assert_int_equal(spr_jobs_fail_chain(jobs, c.head), N);
	forget(jobs, &c);
	assert_int_equal(spr_jobs_known(jobs), 0);
	spr_jobs_free(jobs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(new_refuses_sizes),
	    cmocka_unit_test(new_fails_without_memory),
	    cmocka_unit_test(a_receipt_counts_once),
	    cmocka_unit_test(a_failure_counts_once),
	    cmocka_unit_test(the_next_attempt_opens_what_has_no_receipt),
	    cmocka_unit_test(a_new_job_of_the_next_attempt_has_its_owner),
	    cmocka_unit_test(the_same_job_twice_is_open_once),
	    cmocka_unit_test(a_chain_that_was_given_up_is_not_opened_again),
	    cmocka_unit_test(equal_keys_of_two_owners),
	    cmocka_unit_test(chains_are_forgotten_in_any_order),
	    cmocka_unit_test(widest_values),
	    cmocka_unit_test(all_credits_are_all_jobs),
	    cmocka_unit_test(a_million_jobs),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
