/*
 * The answer table's calls one by one, on tables so small that every limit is met: one in flight,
 * no window, a window of one, and chains of which the first, a middle and the last entry go.
 */
#include "spr_test.h"

#include "base/mem.h"
#include "path/answers.h"

/* All keys with the same low half share one bucket. */
static spr_answer_key
key_of(uint64_t low, uint64_t high)
{
	return ((spr_answer_key){.low = low, .high = high});
}

static spr_answer_stock stock; /* of the table that there is */

static spr_answers *
table(unsigned max_inflight, unsigned dedup_window)
{
	spr_answers *answers = NULL;

	stock = (spr_answer_stock){0};

	assert_ok(spr_answers_new(&answers, 1, max_inflight, dedup_window, 0));
	assert_non_null(answers);
	return (answers);
}

/* A claim that must be new. */
static uint32_t
claim_new(spr_answers *answers, spr_answer_key key)
{
	uint32_t entry = SPR_ANSWER_NONE;

	assert_int_equal(spr_answers_claim(answers, &stock, key, &entry), SPR_CLAIM_NEW);
	assert_int_not_equal(entry, SPR_ANSWER_NONE);
	return (entry);
}

/* A claim that must not be, and must leave the caller's entry alone. */
static void
claim_finds(spr_answers *answers, spr_answer_key key, spr_claim expected)
{
	uint32_t entry = 4711;

	assert_int_equal(spr_answers_claim(answers, &stock, key, &entry), expected);
	assert_int_equal(entry, 4711);
}

static void
assert_counts(const spr_answers *answers, uint32_t in_flight, uint32_t remembered)
{
	assert_int_equal(spr_answers_in_flight(answers), in_flight);
	assert_int_equal(spr_answers_remembered(answers), remembered);
}

static void
new_refuses_sizes(void **state)
{
	spr_answers *answers = NULL;
	(void)state;

	assert_fails(spr_answers_new(&answers, 1, 0, 16, 3), SPR_E_INVALID);
	assert_string_equal(
	    spr_error_text(SPR_E_INVALID),
	    "answer table: 0 in flight, 16 remembered, 3 resumable: at least 1 in flight, and "
	    "fewer than 2^28 in all");
	assert_fails(spr_answers_new(&answers, 1, 1, SPR_ANSWERS_MAX - 2, 1), SPR_E_INVALID);
	assert_fails(spr_answers_new(&answers, 1, UINT32_MAX, UINT32_MAX, UINT32_MAX),
		     SPR_E_INVALID);
	assert_null(answers);
}

static void
new_at_the_default_sizes(void **state)
{
	spr_answers *answers = table(65536, 1048576);
	(void)state;

	spr_answers_acked(answers, claim_new(answers, key_of(UINT64_MAX, UINT64_MAX)));
	claim_finds(answers, key_of(UINT64_MAX, UINT64_MAX), SPR_CLAIM_ACKED);
	claim_new(answers, key_of(1048575, 0));
	assert_counts(answers, 1, 1);
	spr_answers_free(answers);
}

static void
new_fails_without_memory(void **state)
{
	spr_answers *answers = NULL;
	unsigned long n;
	(void)state;

	spr_mem_fail_at(0);
	spr_answers_free(table(4, 4));
	n = spr_mem_count();
	assert_true(n >= 5);
	for (unsigned long i = 1; i <= n; i++) {
		spr_mem_fail_at(i);
		assert_fails(spr_answers_new(&answers, 1, 4, 4, 4), SPR_E_NOMEM);
		assert_null(answers);
	}
	spr_mem_fail_at(0);
	spr_answers_free(NULL);
}

static void
claim_acked_forget(void **state)
{
	spr_answers *answers = table(4, 4);
	spr_answer_key a = key_of(1, 1), b = key_of(2, 2);
	uint32_t entry_a, entry_b;
	(void)state;

	assert_counts(answers, 0, 0);
	entry_a = claim_new(answers, a);
	entry_b = claim_new(answers, b);
	assert_int_not_equal(entry_a, entry_b);
	claim_finds(answers, a, SPR_CLAIM_IN_FLIGHT);
	assert_counts(answers, 2, 0);

	spr_answers_acked(answers, entry_a);
	claim_finds(answers, a, SPR_CLAIM_ACKED);
	claim_finds(answers, b, SPR_CLAIM_IN_FLIGHT);
	assert_counts(answers, 1, 1);

	spr_answers_forget(answers, entry_b);
	assert_counts(answers, 0, 1);
	entry_b = claim_new(answers, b);
	spr_answers_acked(answers, entry_b);
	claim_finds(answers, b, SPR_CLAIM_ACKED);
	spr_answers_free(answers);
}

/* Both halves of a key count, zero is a key like any other. */
static void
keys_differ_in_every_bit(void **state)
{
	spr_answers *answers = table(129, 0);
	(void)state;

	claim_new(answers, key_of(0, 0));
	for (unsigned bit = 0; bit < 64; bit++) {
		claim_new(answers, key_of(UINT64_C(1) << bit, 0));
		claim_new(answers, key_of(0, UINT64_C(1) << bit));
	}
	claim_finds(answers, key_of(0, 0), SPR_CLAIM_IN_FLIGHT);
	for (unsigned bit = 0; bit < 64; bit++) {
		claim_finds(answers, key_of(UINT64_C(1) << bit, 0), SPR_CLAIM_IN_FLIGHT);
		claim_finds(answers, key_of(0, UINT64_C(1) << bit), SPR_CLAIM_IN_FLIGHT);
	}
	assert_counts(answers, 129, 0);
	spr_answers_free(answers);
}

static void
window_evicts_the_oldest_ack(void **state)
{
	spr_answers *answers = table(1, 3);
	(void)state;

	for (uint64_t i = 0; i < 50; i++) {
		spr_answers_acked(answers, claim_new(answers, key_of(i % 2, i)));
		for (uint64_t k = i >= 2 ? i - 2 : 0; k <= i; k++)
			claim_finds(answers, key_of(k % 2, k), SPR_CLAIM_ACKED);
		if (i >= 3)
			spr_answers_forget(answers, claim_new(answers, key_of((i - 3) % 2, i - 3)));
		assert_counts(answers, 0, i < 3 ? (uint32_t)i + 1 : 3);
	}
	spr_answers_free(answers);
}

static void
window_of_none_remembers_nothing(void **state)
{
	spr_answers *answers = table(1, 0);
	(void)state;

	for (int i = 0; i < 10; i++) {
		spr_answers_acked(answers, claim_new(answers, key_of(7, 7)));
		assert_counts(answers, 0, 0);
	}
	spr_answers_free(answers);
}

static void
window_of_one_remembers_the_last(void **state)
{
	spr_answers *answers = table(1, 1);
	(void)state;

	for (uint64_t i = 1; i < 10; i++) {
		spr_answers_acked(answers, claim_new(answers, key_of(0, i)));
		claim_finds(answers, key_of(0, i), SPR_CLAIM_ACKED);
		spr_answers_forget(answers, claim_new(answers, key_of(0, i - 1)));
	}
	assert_counts(answers, 0, 1);
	spr_answers_free(answers);
}

/* A full table still answers copies, and every entry comes back. */
static void
full_table_is_used_to_the_last_entry(void **state)
{
	spr_answers *answers = table(3, 2);
	uint32_t entries[3];
	(void)state;

	for (uint64_t round = 0; round < 20; round++) {
		for (uint64_t i = 0; i < 3; i++)
			entries[i] = claim_new(answers, key_of(5, round * 3 + i));
		for (uint64_t i = 0; i < 3; i++)
			claim_finds(answers, key_of(5, round * 3 + i), SPR_CLAIM_IN_FLIGHT);
		for (unsigned i = 0; i < 3; i++)
			spr_answers_acked(answers, entries[i]);
		assert_counts(answers, 0, 2);
	}
	spr_answers_free(answers);
}

/* One chain of three; each position removed, the others must stay in reach. */
static void
removal_keeps_the_rest_of_a_chain(void **state)
{
	(void)state;

	for (unsigned gone = 0; gone < 3; gone++) {
		spr_answers *answers = table(3, 0);
		uint32_t entries[3];

		for (unsigned i = 0; i < 3; i++)
			entries[i] = claim_new(answers, key_of(9, i));
		spr_answers_forget(answers, entries[gone]);
		for (unsigned i = 0; i < 3; i++) {
			if (i != gone)
				claim_finds(answers, key_of(9, i), SPR_CLAIM_IN_FLIGHT);
		}
		claim_new(answers, key_of(9, gone));
		assert_counts(answers, 3, 0);
		spr_answers_free(answers);
	}
}

/* A copy before the answer shares it; one behind it is reported, once. */
static void
copies_behind_the_answer_are_reported(void **state)
{
	spr_answer_key one = key_of(1, 1), two = key_of(2, 2);
	spr_answers *answers = table(4, 2);
	uint32_t entry;
	(void)state;

	entry = claim_new(answers, one);
	claim_finds(answers, one, SPR_CLAIM_IN_FLIGHT);
	spr_answers_answering(answers, entry);
	assert_false(spr_answers_forget(answers, entry));

	entry = claim_new(answers, one);
	spr_answers_answering(answers, entry);
	claim_finds(answers, one, SPR_CLAIM_IN_FLIGHT);
	assert_true(spr_answers_forget(answers, entry));

	entry = claim_new(answers, one);
	spr_answers_answering(answers, entry);
	claim_finds(answers, one, SPR_CLAIM_IN_FLIGHT);
	spr_answers_answering(answers, entry); /* sent again: covered */
	assert_false(spr_answers_acked(answers, entry));

	entry = claim_new(answers, two);
	spr_answers_answering(answers, entry);
	claim_finds(answers, two, SPR_CLAIM_IN_FLIGHT);
	assert_true(spr_answers_acked(answers, entry));
	claim_finds(answers, two, SPR_CLAIM_ACKED);
	spr_answers_free(answers);
}

static spr_answers *
table_resuming(unsigned max_inflight, unsigned dedup_window, unsigned resume_window)
{
	spr_answers *answers = NULL;

	stock = (spr_answer_stock){0};
	assert_ok(spr_answers_new(&answers, 1, max_inflight, dedup_window, resume_window));
	return (answers);
}

/* A nack that leaves `jobs` behind, and gives up the chain `evicted`. */
static void
nack(spr_answers *answers, uint32_t entry, uint32_t jobs, uint32_t evicted)
{
	spr_resume out = {4711, 4711};

	assert_false(spr_answers_nacked(answers, entry, (spr_resume){jobs, jobs * 2}, &out));
	assert_int_equal(out.jobs, evicted);
	assert_int_equal(out.n, evicted * 2);
}

/* A claim that takes `jobs` over. */
static uint32_t
claim_resumed(spr_answers *answers, spr_answer_key key, uint32_t jobs)
{
	uint32_t entry = SPR_ANSWER_NONE;
	spr_resume resume;

	assert_int_equal(spr_answers_claim(answers, &stock, key, &entry), SPR_CLAIM_RESUMED);
	assert_int_not_equal(entry, SPR_ANSWER_NONE);
	resume = spr_answers_take_resume(answers, entry);
	assert_int_equal(resume.jobs, jobs);
	assert_int_equal(resume.n, jobs * 2);
	return (entry);
}

static void
evict(spr_answers *answers, uint32_t jobs)
{
	spr_resume out = {0};

	assert_true(spr_answers_evict_resumable(answers, &out));
	assert_int_equal(out.jobs, jobs);
	assert_int_equal(out.n, jobs * 2);
}

static void
evict_finds_none(spr_answers *answers)
{
	spr_resume out = {4711, 4711};

	assert_false(spr_answers_evict_resumable(answers, &out));
	assert_int_equal(out.jobs, 4711);
	assert_int_equal(spr_answers_resumable(answers), 0);
}

static void
a_nacked_id_is_resumed_once(void **state)
{
	spr_answers *answers = table_resuming(2, 2, 2);
	spr_answer_key key = key_of(1, 1);
	uint32_t entry;
	(void)state;

	entry = claim_new(answers, key);
	nack(answers, entry, SPR_ANSWERS_MAX - 1, 0);
	assert_counts(answers, 0, 0);
	assert_int_equal(spr_answers_resumable(answers), 1);

	entry = claim_resumed(answers, key, SPR_ANSWERS_MAX - 1);
	assert_counts(answers, 1, 0);
	assert_int_equal(spr_answers_resumable(answers), 0);
	claim_finds(answers, key, SPR_CLAIM_IN_FLIGHT);
	evict_finds_none(answers);

	spr_answers_answering(answers, entry);
	nack(answers, entry, 12, 0);
	spr_answers_acked(answers, claim_resumed(answers, key, 12));
	claim_finds(answers, key, SPR_CLAIM_ACKED);
	evict_finds_none(answers);
	spr_answers_free(answers);
}

static void
a_resumed_id_is_forgotten(void **state)
{
	spr_answers *answers = table_resuming(1, 0, 1);
	(void)state;

	nack(answers, claim_new(answers, key_of(1, 1)), 5, 0);
	spr_answers_forget(answers, claim_resumed(answers, key_of(1, 1), 5));
	claim_new(answers, key_of(1, 1));
	evict_finds_none(answers);
	spr_answers_free(answers);
}

/* Without a window, and without jobs, a nack forgets. */
static void
nothing_to_resume(void **state)
{
	spr_answers *answers = table(1, 1);
	(void)state;

	nack(answers, claim_new(answers, key_of(1, 1)), 7, 7);
	nack(answers, claim_new(answers, key_of(1, 1)), 0, 0);
	claim_new(answers, key_of(1, 1));
	evict_finds_none(answers);
	spr_answers_free(answers);

	answers = table_resuming(1, 0, 1);
	nack(answers, claim_new(answers, key_of(1, 1)), 0, 0);
	assert_int_equal(spr_answers_resumable(answers), 0);
	claim_new(answers, key_of(1, 1));
	spr_answers_free(answers);
}

static void
a_full_window_gives_the_oldest_nack_up(void **state)
{
	spr_answers *answers = table_resuming(1, 0, 3);
	(void)state;

	for (uint32_t i = 1; i < 50; i++) {
		nack(answers, claim_new(answers, key_of(i % 2, i)), i, i > 3 ? i - 3 : 0);
		assert_int_equal(spr_answers_resumable(answers), i < 3 ? i : 3);
	}
	for (uint32_t i = 47; i < 50; i++)
		evict(answers, i);
	evict_finds_none(answers);
	for (uint32_t i = 1; i < 50; i++)
		spr_answers_forget(answers, claim_new(answers, key_of(i % 2, i)));
	spr_answers_free(answers);
}

/* The slot of an earlier nack stands for nothing, though its id is resumable again. */
static void
an_id_nacked_again_is_the_youngest(void **state)
{
	spr_answers *answers = table_resuming(1, 0, 3);
	(void)state;

	for (uint32_t i = 1; i <= 3; i++)
		nack(answers, claim_new(answers, key_of(0, i)), i, 0);
	/* the same chain, as when nothing new was opened */
	nack(answers, claim_resumed(answers, key_of(0, 1), 1), 1, 0);
	evict(answers, 2);
	evict(answers, 3);
	evict(answers, 1);
	evict_finds_none(answers);
	spr_answers_free(answers);
}

/* The oldest stays while others come and go more often than there are slots. */
static void
slots_of_what_was_claimed_are_used_again(void **state)
{
	spr_answers *answers = table_resuming(1, 0, 2);
	(void)state;

	nack(answers, claim_new(answers, key_of(0, 1)), 1, 0);
	nack(answers, claim_new(answers, key_of(0, 2)), 2, 0);
	for (uint32_t i = 0; i < 20; i++)
		nack(answers, claim_resumed(answers, key_of(0, 2), 2 + i), 3 + i, 0);
	assert_int_equal(spr_answers_resumable(answers), 2);
	evict(answers, 1);
	evict(answers, 22);
	evict_finds_none(answers);
	spr_answers_free(answers);
}

/* Every entry is used, and comes back: in flight, acked and resumable at once, round after round. */
static void
all_kinds_fill_the_table(void **state)
{
	spr_answers *answers = table_resuming(2, 2, 2);
	(void)state;

	for (uint32_t first = 1; first < 100; first += 6) {
		uint32_t entries[2];

		for (uint32_t i = first; i < first + 2; i++)
			spr_answers_acked(answers, claim_new(answers, key_of(3, i)));
		for (uint32_t i = first + 2; i < first + 4; i++)
			nack(answers, claim_new(answers, key_of(3, i)), i, first == 1 ? 0 : i - 6);
		for (uint32_t i = 0; i < 2; i++)
			entries[i] = claim_new(answers, key_of(3, first + 4 + i));
		assert_counts(answers, 2, 2);
		assert_int_equal(spr_answers_resumable(answers), 2);
		for (uint32_t i = 0; i < 2; i++) {
			claim_finds(answers, key_of(3, first + i), SPR_CLAIM_ACKED);
			claim_finds(answers, key_of(3, first + 4 + i), SPR_CLAIM_IN_FLIGHT);
		}
		for (uint32_t i = 0; i < 2; i++)
			spr_answers_forget(answers, entries[i]);
	}
	spr_answers_free(answers);
}

static void
a_copy_behind_a_nack_is_reported(void **state)
{
	spr_answers *answers = table_resuming(1, 0, 1);
	spr_answer_key key = key_of(1, 1);
	spr_resume evicted;
	uint32_t entry;
	(void)state;

	entry = claim_new(answers, key);
	spr_answers_answering(answers, entry);
	claim_finds(answers, key, SPR_CLAIM_IN_FLIGHT);
	assert_true(spr_answers_nacked(answers, entry, (spr_resume){3, 6}, &evicted));

	/* the mark is not inherited by the next attempt */
	entry = claim_resumed(answers, key, 3);
	assert_false(spr_answers_nacked(answers, entry, (spr_resume){3, 6}, &evicted));
	spr_answers_free(answers);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(new_refuses_sizes),
	    cmocka_unit_test(new_at_the_default_sizes),
	    cmocka_unit_test(new_fails_without_memory),
	    cmocka_unit_test(claim_acked_forget),
	    cmocka_unit_test(keys_differ_in_every_bit),
	    cmocka_unit_test(window_evicts_the_oldest_ack),
	    cmocka_unit_test(window_of_none_remembers_nothing),
	    cmocka_unit_test(window_of_one_remembers_the_last),
	    cmocka_unit_test(full_table_is_used_to_the_last_entry),
	    cmocka_unit_test(removal_keeps_the_rest_of_a_chain),
	    cmocka_unit_test(copies_behind_the_answer_are_reported),
	    cmocka_unit_test(a_nacked_id_is_resumed_once),
	    cmocka_unit_test(a_resumed_id_is_forgotten),
	    cmocka_unit_test(nothing_to_resume),
	    cmocka_unit_test(a_full_window_gives_the_oldest_nack_up),
	    cmocka_unit_test(an_id_nacked_again_is_the_youngest),
	    cmocka_unit_test(slots_of_what_was_claimed_are_used_again),
	    cmocka_unit_test(all_kinds_fill_the_table),
	    cmocka_unit_test(a_copy_behind_a_nack_is_reported),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
