/*
 * The answer table against a naive twin: random claims, acks and forgets over few keys, so that
 * every key is seen absent, in flight, acked and evicted many times. The twin is an array of states
 * and a list of acks in order; after each step both must agree on the key just touched, now and
 * then on all of them.
 */
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#include "path/answers.h"

#define N_KEYS     200
#define N_STEPS    60000
#define MAX_WINDOW 128

typedef enum twin_state { TWIN_ABSENT, TWIN_IN_FLIGHT, TWIN_ACKED } twin_state;

typedef struct twin {
	unsigned max_inflight, window;
	twin_state state[N_KEYS];
	uint32_t entry[N_KEYS];
	unsigned in_flight[N_KEYS], n_in_flight; /* keys, any order */
	unsigned acked[MAX_WINDOW], n_acked;     /* keys, oldest first */
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

static void
twin_ack(twin *t, unsigned key)
{
	if (t->window == 0) {
		t->state[key] = TWIN_ABSENT;
		return;
	}
	if (t->n_acked == t->window) {
		t->state[t->acked[0]] = TWIN_ABSENT;
		t->n_acked--;
		memmove(&t->acked[0], &t->acked[1], t->n_acked * sizeof(t->acked[0]));
	}
	t->acked[t->n_acked++] = key;
	t->state[key] = TWIN_ACKED;
}

static void
step_claim(spr_answers *answers, twin *t, unsigned key)
{
	static const spr_claim expected[] = {SPR_CLAIM_NEW, SPR_CLAIM_IN_FLIGHT, SPR_CLAIM_ACKED};
	uint32_t entry = SPR_ANSWER_NONE;

	if (t->n_in_flight == t->max_inflight)
		return; /* nothing to hold during the call */
	assert_int_equal(spr_answers_claim(answers, key_of(key), &entry), expected[t->state[key]]);
	if (t->state[key] != TWIN_ABSENT) {
		assert_int_equal(entry, SPR_ANSWER_NONE);
		return;
	}
	t->state[key] = TWIN_IN_FLIGHT;
	t->entry[key] = entry;
	t->in_flight[t->n_in_flight++] = key;
}

static void
step_answer(spr_answers *answers, twin *t, unsigned percent_acked)
{
	unsigned at, key;

	if (t->n_in_flight == 0)
		return;
	at = random_below(t->n_in_flight);
	key = t->in_flight[at];
	t->in_flight[at] = t->in_flight[--t->n_in_flight];
	if (random_below(100) < percent_acked) {
		spr_answers_acked(answers, t->entry[key]);
		twin_ack(t, key);
	} else {
		spr_answers_forget(answers, t->entry[key]);
		t->state[key] = TWIN_ABSENT;
	}
}

/* No key may be absent in the table but not in the twin, nor the other way round. */
static void
check_all(spr_answers *answers, twin *t)
{
	uint32_t entry;

	assert_int_equal(spr_answers_in_flight(answers), t->n_in_flight);
	assert_int_equal(spr_answers_remembered(answers), t->n_acked);
	if (t->n_in_flight == t->max_inflight)
		return;
	for (unsigned key = 0; key < N_KEYS; key++) {
		spr_claim claim = spr_answers_claim(answers, key_of(key), &entry);

		assert_int_equal(claim == SPR_CLAIM_NEW, t->state[key] == TWIN_ABSENT);
		assert_int_equal(claim == SPR_CLAIM_ACKED, t->state[key] == TWIN_ACKED);
		if (claim == SPR_CLAIM_NEW)
			spr_answers_forget(answers, entry);
	}
}

static void
run(unsigned max_inflight, unsigned window, unsigned percent_acked)
{
	spr_answers *answers = NULL;
	twin *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->max_inflight = max_inflight;
	t->window = window;
	assert_ok(spr_answers_new(&answers, max_inflight, window, 0));
	for (unsigned i = 0; i < N_STEPS; i++) {
		/* drifts between empty and full, so both edges are met */
		if (random_below(100) < (i / 500 % 2 == 0 ? 65u : 35u))
			step_claim(answers, t, random_below(N_KEYS));
		else
			step_answer(answers, t, percent_acked);
		if (i % 997 == 0)
			check_all(answers, t);
	}
	check_all(answers, t);
	spr_answers_free(answers);
	free(t);
}

static void
mostly_acked(void **state)
{
	(void)state;
	run(40, 60, 90);
}

static void
half_forgotten(void **state)
{
	(void)state;
	run(100, 30, 50);
}

static void
window_of_none(void **state)
{
	(void)state;
	run(50, 0, 90);
}

static void
one_in_flight(void **state)
{
	(void)state;
	run(1, MAX_WINDOW, 80);
}

static void
one_and_one(void **state)
{
	(void)state;
	run(1, 1, 80);
}

static void
all_keys_remembered(void **state)
{
	(void)state;
	run(N_KEYS, MAX_WINDOW, 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(mostly_acked),   cmocka_unit_test(half_forgotten),
	    cmocka_unit_test(window_of_none), cmocka_unit_test(one_in_flight),
	    cmocka_unit_test(one_and_one),    cmocka_unit_test(all_keys_remembered),
	};

	random_state = spr_test_seed();
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
