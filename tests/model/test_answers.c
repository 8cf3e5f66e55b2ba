/*
 * The answer table against a naive twin: random claims, acks, nacks, forgets and evictions over few
 * keys, so that every key is seen in each state many times. The twin is an array of states, a list
 * of acks and one of nacks in order, and what each nack left behind; after each step both must agree
 * on the key just touched, now and then on all of them.
 */
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#include "path/answers.h"

#define N_KEYS     200
#define N_STEPS    60000
#define MAX_WINDOW 128

typedef enum twin_state { TWIN_ABSENT, TWIN_IN_FLIGHT, TWIN_ACKED, TWIN_RESUMABLE } twin_state;

/* Keys, oldest first. */
typedef struct queue {
	unsigned key[MAX_WINDOW], n;
} queue;

typedef struct twin {
	/* how often out of 100 an answer is an ack, and a nack that leaves jobs; else it is a forget */
	unsigned percent_acked, percent_nacked;
	unsigned max_inflight, window, resume_window;
	spr_answer_stock stock;
	twin_state state[N_KEYS];
	bool is_copied[N_KEYS];
	spr_resume resume[N_KEYS];
	uint32_t entry[N_KEYS];
	unsigned in_flight[N_KEYS], n_in_flight; /* keys, any order */
	queue acked, resumable;
} twin;

static uint64_t random_state;

static unsigned
random_below(unsigned n)
{
	return ((unsigned)spr_test_below(&random_state, n));
}

/* Eight buckets' worth of low halves: chains of dozens. */
static spr_answer_key
key_of(unsigned k)
{
	return ((spr_answer_key){.low = k % 8, .high = k / 8});
}

static unsigned
pop_oldest(queue *q)
{
	unsigned key = q->key[0];

	q->n--;
	memmove(&q->key[0], &q->key[1], q->n * sizeof(q->key[0]));
	return (key);
}

static void
remove_key(queue *q, unsigned key)
{
	unsigned at = 0;

	while (q->key[at] != key)
		at++;
	q->n--;
	memmove(&q->key[at], &q->key[at + 1], (q->n - at) * sizeof(q->key[0]));
}

static void
twin_ack(twin *t, unsigned key)
{
	t->state[key] = t->window == 0 ? TWIN_ABSENT : TWIN_ACKED;
	if (t->window == 0)
		return;
	if (t->acked.n == t->window)
		t->state[pop_oldest(&t->acked)] = TWIN_ABSENT;
	t->acked.key[t->acked.n++] = key;
}

static spr_resume
twin_evict(twin *t)
{
	unsigned key = pop_oldest(&t->resumable);

	t->state[key] = TWIN_ABSENT;
	return (t->resume[key]);
}

/* What the nack gives up. */
static spr_resume
twin_nack(twin *t, unsigned key, spr_resume resume)
{
	spr_resume evicted = {0};

	t->state[key] = TWIN_ABSENT;
	if (t->resume_window == 0 || resume.n == 0)
		return (resume);
	if (t->resumable.n == t->resume_window)
		evicted = twin_evict(t);
	t->state[key] = TWIN_RESUMABLE;
	t->resume[key] = resume;
	t->resumable.key[t->resumable.n++] = key;
	return (evicted);
}

static void
assert_same_resume(spr_resume a, spr_resume b)
{
	assert_int_equal(a.n, b.n);
	if (a.n != 0)
		assert_int_equal(a.jobs, b.jobs);
}

static void
step_claim(spr_answers *answers, twin *t, unsigned key)
{
	static const spr_claim expected[] = {SPR_CLAIM_NEW, SPR_CLAIM_IN_FLIGHT, SPR_CLAIM_ACKED,
					     SPR_CLAIM_RESUMED};
	uint32_t entry = SPR_ANSWER_NONE;
	spr_claim claim;

	if (t->n_in_flight == t->max_inflight)
		return; /* nothing to hold during the call */
	claim = spr_answers_claim(answers, &t->stock, key_of(key), &entry);
	assert_int_equal(claim, expected[t->state[key]]);
	if (claim == SPR_CLAIM_IN_FLIGHT)
		t->is_copied[key] = true;
	if (claim == SPR_CLAIM_IN_FLIGHT || claim == SPR_CLAIM_ACKED) {
		assert_int_equal(entry, SPR_ANSWER_NONE);
		return;
	}
	if (claim == SPR_CLAIM_RESUMED) {
		assert_int_equal(entry, t->entry[key]);
		assert_same_resume(spr_answers_take_resume(answers, entry), t->resume[key]);
		remove_key(&t->resumable, key);
	}
	t->state[key] = TWIN_IN_FLIGHT;
	t->is_copied[key] = false;
	t->entry[key] = entry;
	t->in_flight[t->n_in_flight++] = key;
}

/* Few chains, so that an id is often nacked with the one it had before; and none at all. */
static bool
nack(spr_answers *answers, twin *t, unsigned key)
{
	spr_resume resume = {.jobs = random_below(3) + 1, .n = random_below(5)};
	spr_resume evicted = {.jobs = 4711, .n = 4711};
	bool is_copied = spr_answers_nacked(answers, t->entry[key], resume, &evicted);

	assert_same_resume(evicted, twin_nack(t, key, resume));
	return (is_copied);
}

static void
step_answer(spr_answers *answers, twin *t)
{
	unsigned at, key, percent = random_below(100);
	bool is_copied;

	if (t->n_in_flight == 0)
		return;
	at = random_below(t->n_in_flight);
	key = t->in_flight[at];
	if (random_below(3) == 0) {
		spr_answers_answering(answers, t->entry[key]);
		t->is_copied[key] = false;
		return;
	}
	t->in_flight[at] = t->in_flight[--t->n_in_flight];
	if (percent < t->percent_acked) {
		is_copied = spr_answers_acked(answers, t->entry[key]);
		twin_ack(t, key);
	} else if (percent < t->percent_acked + t->percent_nacked) {
		is_copied = nack(answers, t, key);
	} else {
		is_copied = spr_answers_forget(answers, t->entry[key]);
		t->state[key] = TWIN_ABSENT;
	}
	assert_int_equal(is_copied, t->is_copied[key]);
}

static void
step_evict(spr_answers *answers, twin *t)
{
	spr_resume evicted;
	bool is_any = spr_answers_evict_resumable(answers, &evicted);

	assert_int_equal(is_any, t->resumable.n > 0);
	if (is_any)
		assert_same_resume(evicted, twin_evict(t));
}

/* No key may be in the table but not in the twin, nor the other way round. The resumable ones are
 * left in their order: claims and evictions meet them. */
static void
check_all(spr_answers *answers, twin *t)
{
	uint32_t entry;

	assert_int_equal(spr_answers_in_flight(answers), t->n_in_flight);
	assert_int_equal(spr_answers_remembered(answers), t->acked.n);
	assert_int_equal(spr_answers_resumable(answers), t->resumable.n);
	if (t->n_in_flight == t->max_inflight)
		return;
	for (unsigned key = 0; key < N_KEYS; key++) {
		spr_claim claim;

		if (t->state[key] == TWIN_RESUMABLE)
			continue;
		claim = spr_answers_claim(answers, &t->stock, key_of(key), &entry);
		assert_int_equal(claim == SPR_CLAIM_NEW, t->state[key] == TWIN_ABSENT);
		assert_int_equal(claim == SPR_CLAIM_ACKED, t->state[key] == TWIN_ACKED);
		if (claim == SPR_CLAIM_IN_FLIGHT)
			t->is_copied[key] = true;
		if (claim == SPR_CLAIM_NEW)
			assert_false(spr_answers_forget(answers, entry));
	}
}

static void
run(const twin *sizes)
{
	spr_answers *answers = NULL;
	twin *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	*t = *sizes;
	assert_ok(spr_answers_new(&answers, 1, t->max_inflight, t->window, t->resume_window));
	for (unsigned i = 0; i < N_STEPS; i++) {
		/* drifts between empty and full, so both edges are met */
		if (random_below(100) < (i / 500 % 2 == 0 ? 65u : 35u))
			step_claim(answers, t, random_below(N_KEYS));
		else
			step_answer(answers, t);
		if (random_below(100) == 0)
			step_evict(answers, t);
		if (i % 997 == 0)
			check_all(answers, t);
	}
	while (t->resumable.n > 0)
		step_evict(answers, t);
	check_all(answers, t);
	spr_answers_free(answers);
	free(t);
}

static void
mostly_acked(void **state)
{
	(void)state;
	run(&(twin){.max_inflight = 40,
		    .window = 60,
		    .resume_window = 0,
		    .percent_acked = 90,
		    .percent_nacked = 0});
}

static void
half_forgotten(void **state)
{
	(void)state;
	run(&(twin){.max_inflight = 100,
		    .window = 30,
		    .resume_window = 10,
		    .percent_acked = 50,
		    .percent_nacked = 10});
}

static void
windows_of_none(void **state)
{
	(void)state;
	run(&(twin){.max_inflight = 50,
		    .window = 0,
		    .resume_window = 0,
		    .percent_acked = 60,
		    .percent_nacked = 30});
}

static void
one_in_flight(void **state)
{
	(void)state;
	run(&(twin){.max_inflight = 1,
		    .window = MAX_WINDOW,
		    .resume_window = 20,
		    .percent_acked = 50,
		    .percent_nacked = 40});
}

static void
one_of_each(void **state)
{
	(void)state;
	run(&(twin){.max_inflight = 1,
		    .window = 1,
		    .resume_window = 1,
		    .percent_acked = 40,
		    .percent_nacked = 50});
}

static void
all_keys_remembered(void **state)
{
	(void)state;
	run(&(twin){.max_inflight = N_KEYS,
		    .window = MAX_WINDOW,
		    .resume_window = MAX_WINDOW,
		    .percent_acked = 60,
		    .percent_nacked = 40});
}

static void
mostly_nacked(void **state)
{
	(void)state;
	run(&(twin){.max_inflight = 30,
		    .window = 5,
		    .resume_window = 20,
		    .percent_acked = 5,
		    .percent_nacked = 90});
}

static void
many_are_claimed_again(void **state)
{
	(void)state;
	run(&(twin){.max_inflight = 20,
		    .window = 3,
		    .resume_window = MAX_WINDOW,
		    .percent_acked = 2,
		    .percent_nacked = 96});
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(mostly_acked),    cmocka_unit_test(half_forgotten),
	    cmocka_unit_test(windows_of_none), cmocka_unit_test(one_in_flight),
	    cmocka_unit_test(one_of_each),     cmocka_unit_test(all_keys_remembered),
	    cmocka_unit_test(mostly_nacked),   cmocka_unit_test(many_are_claimed_again),
	};

	random_state = spr_test_seed();
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
