/*
 * test_top - the largest counts, whatever came and went, against a naive twin.
 */
#include "route/top.h"

#include <string.h>

#include "route/subscriptions.h"
#include "spr_test.h"

#define N_KEYS 40 /* fewer than are kept: then it is exact */

static void
test_against_a_twin(void **state)
{
	static spr_top top;
	static spr_top_entry got[SPR_TOP_SHOWN];
	uint64_t random = spr_test_seed(), twin[N_KEYS] = {0};

	(void)state;
	spr_top_init(&top);
	for (unsigned round = 0; round < 2000; round++) {
		unsigned key = (unsigned)spr_test_below(&random, N_KEYS), n, n_live = 0;
		uint64_t last = UINT64_MAX;
		char name[16];

		twin[key] = spr_test_below(&random, 4) == 0 ? 0 : spr_test_below(&random, 1000);
		snprintf(name, sizeof(name), "K%u", key);
		spr_top_note(&top, &twin[key], name, strlen(name), twin[key]);
		n = spr_top_read(&top, got);
		for (unsigned i = 0; i < N_KEYS; i++)
			n_live += twin[i] > 0;
		assert_int_equal(n, n_live < SPR_TOP_SHOWN ? n_live : SPR_TOP_SHOWN);
		for (unsigned i = 0; i < n; i++) {
			const uint64_t *at = got[i].key;
			unsigned n_larger = 0;

			snprintf(name, sizeof(name), "K%u", (unsigned)(at - twin));
			assert_string_equal(got[i].pattern, name);
			assert_true(got[i].n == *at && got[i].n <= last);
			last = got[i].n;
			for (unsigned k = 0; k < N_KEYS; k++)
				n_larger += twin[k] > got[i].n;
			assert_true(n_larger <= i);
		}
	}
	spr_top_fini(&top);
}

/* More patterns than are followed: the large ones come in, whenever they do. */
static void
test_more_than_are_kept(void **state)
{
	static spr_top top;
	static spr_top_entry got[SPR_TOP_SHOWN];
	static char keys[1000];

	(void)state;
	spr_top_init(&top);
	for (unsigned i = 0; i < 1000; i++)
		spr_top_note(&top, &keys[i], "X", 1, 1 + i % 7);
	for (unsigned i = 0; i < SPR_TOP_SHOWN; i++)
		spr_top_note(&top, &keys[990 + i], "LARGE", 5, 100 + i);
	assert_int_equal(spr_top_read(&top, got), SPR_TOP_SHOWN);
	for (unsigned i = 0; i < SPR_TOP_SHOWN; i++) {
		assert_int_equal(got[i].n, 100 + SPR_TOP_SHOWN - 1 - i);
		assert_string_equal(got[i].pattern, "LARGE");
	}
	spr_top_fini(&top);
}

static void
change(spr_subscriptions *s, const char *pattern, const char *callback, bool is_in)
{
	spr_predicate normal;
	bool created;

	assert_ok(spr_pattern_normalise(&normal, pattern, strlen(pattern), true));
	if (is_in)
		assert_ok(spr_subscriptions_subscribe(s, &normal, callback, strlen(callback), 1,
						      &created));
	else
		assert_ok(spr_subscriptions_unsubscribe(s, &normal, callback, strlen(callback)));
}

static void
test_of_subscriptions(void **state)
{
	static spr_top_entry got[SPR_TOP_SHOWN];
	spr_epoch *epoch;
	spr_subscriptions *s;

	(void)state;
	assert_ok(spr_epoch_new(&epoch));
	assert_ok(spr_subscriptions_new(&s, epoch));
	assert_int_equal(spr_subscriptions_top(s, got), 0);
	change(s, "*", "http://a", true);
	change(s, "UN.A", "http://a", true);
	change(s, "UN.A", "http://b", true);
	change(s, "UN.A", "http://b", true); /* renewed */
	assert_int_equal(spr_subscriptions_top(s, got), 2);
	assert_string_equal(got[0].pattern, "UN.A");
	assert_int_equal(got[0].n, 2);
	assert_string_equal(got[1].pattern, "*");
	change(s, "UN.A", "http://b", false);
	change(s, "UN.A", "http://a", false);
	assert_int_equal(spr_subscriptions_top(s, got), 1);
	change(s, "*", "http://a", false);
	assert_int_equal(spr_subscriptions_top(s, got), 0);
	spr_subscriptions_free(s);
	spr_epoch_free(epoch);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_against_a_twin),
	    cmocka_unit_test(test_more_than_are_kept),
	    cmocka_unit_test(test_of_subscriptions),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
