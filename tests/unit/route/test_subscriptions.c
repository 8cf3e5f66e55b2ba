/*
 * Unit tests of subscriptions: each call, both sides of each limit, every allocation failing in turn.
 */
#include "spr_test.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "route/subscriptions.h"

#define NOW 1000
#define ALL SIZE_MAX

static spr_epoch *epoch;
static spr_epoch_record *record;
static spr_subscriptions *subs;
static spr_matches m;

static int
setup(void **state)
{
	(void)state;
	assert_ok(spr_epoch_new(&epoch));
	assert_ok(spr_epoch_register(epoch, &record));
	assert_ok(spr_subscriptions_new(&subs, epoch));
	m = (spr_matches){0};
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	spr_mem_fail_at(0);
	spr_matches_drop_from(subs, &m, 0);
	spr_matches_fini(&m);
	spr_subscriptions_free(subs);
	spr_epoch_unregister(record);
	spr_epoch_free(epoch);
	return (0);
}

static spr_err
subscribe_until(const char *pattern, const char *callback, int64_t expires_s, bool *created)
{
	spr_predicate p;

	assert_ok(spr_pattern_normalise(&p, pattern, strlen(pattern), true));
	return (
	    spr_subscriptions_subscribe(subs, &p, callback, strlen(callback), expires_s, created));
}

static void
subscribe(const char *pattern, const char *callback)
{
	bool created = false;

	assert_ok(subscribe_until(pattern, callback, NOW, &created));
	assert_true(created);
}

static spr_err
unsubscribe(const char *pattern, const char *callback)
{
	spr_predicate p;

	assert_ok(spr_pattern_normalise(&p, pattern, strlen(pattern), true));
	return (spr_subscriptions_unsubscribe(subs, &p, callback, strlen(callback)));
}

static spr_err
resolve(const char *predicate, size_t max_fanout)
{
	spr_predicate p;

	spr_matches_drop_from(subs, &m, 0);
	assert_ok(spr_predicate_normalise(&p, predicate, strlen(predicate)));
	return (spr_subscriptions_resolve(subs, record, &p, NOW, max_fanout, &m));
}

static int
by_text(const void *a, const void *b)
{
	return (strcmp(spr_callback_text(*(spr_callback *const *)a),
		       spr_callback_text(*(spr_callback *const *)b)));
}

/* The callbacks of a predicate, sorted and joined by blanks, are just these. */
static void
expect(const char *predicate, const char *callbacks)
{
	char text[4096] = "";

	assert_ok(resolve(predicate, ALL));
	if (m.n > 0)
		qsort(m.callback, m.n, sizeof(*m.callback), by_text);
	for (size_t i = 0; i < m.n; i++) {
		strcat(text, i > 0 ? " " : "");
		strcat(text, spr_callback_text(m.callback[i]));
	}
	assert_string_equal(text, callbacks);
}

static spr_subscriptions_stats
stats(void)
{
	spr_subscriptions_stats s;

	spr_subscriptions_get_stats(subs, &s);
	return (s);
}

static void
expect_stats(uint64_t subscriptions, uint64_t callbacks, uint64_t nodes)
{
	assert_int_equal(stats().subscriptions, subscriptions);
	assert_int_equal(stats().callbacks, callbacks);
	assert_int_equal(stats().nodes, nodes);
}

static void
test_matches_by_whole_segments(void **state)
{
	(void)state;
	subscribe("UN.CEFACT.*", "a");
	subscribe("UN.CEFACT.TRADE", "b");
	subscribe("UN", "c");
	subscribe("UN.CEFACTX", "d");
	subscribe("CEFACT", "e");
	expect("UN.CEFACT", "a c");
	expect("un.cefact.trade.co.created", "a b c");
	expect("UN.CEFACTX", "c d");
	expect("UN.CEFACTY", "c");
	expect("U", "");
	expect("CEFACT.UN", "e");
	/* the boundary of segments is part of the name */
	subscribe("A.BC", "f");
	expect("AB.C", "");
	expect("A.BC.D", "f");
}

static void
test_catch_all_is_the_layer_of_no_segments(void **state)
{
	(void)state;
	subscribe("*", "all");
	expect("ANY.THING", "all");
	expect(".", "all");
	subscribe("ANY", "any");
	expect("ANY.THING", "all any");
	expect("OTHER", "all");
	assert_ok(unsubscribe("*", "all"));
	expect("ANY.THING", "any");
	expect(".", "");
	assert_fails(unsubscribe("*", "all"), SPR_E_NOT_FOUND);
}

static void
test_one_job_for_each_distinct_callback(void **state)
{
	(void)state;
	subscribe("A", "x");
	subscribe("A.B", "x");
	subscribe("A.B", "y");
	subscribe("*", "x");
	expect("A.B.C", "x y");
	assert_int_equal(m.suppressed_duplicate, 2);
	assert_int_equal(m.suppressed_expired, 0);
	expect("A", "x");
	assert_int_equal(m.suppressed_duplicate, 1);
	expect_stats(4, 2, 3);
}

static void
test_a_lease_is_dead_strictly_after_its_end(void **state)
{
	bool created = false;

	(void)state;
	assert_ok(subscribe_until("A", "past", NOW - 1, &created));
	assert_ok(subscribe_until("A", "now", NOW, &created));
	assert_ok(subscribe_until("A", "min", INT64_MIN, &created));
	assert_ok(subscribe_until("A", "max", INT64_MAX, &created));
	expect("A", "max now");
	assert_int_equal(m.suppressed_expired, 2);
	/* an expired one of a longer layer suppresses nothing of a shorter one */
	assert_ok(subscribe_until("A.B", "now", NOW - 1, &created));
	assert_true(created);
	expect("A.B", "max now");
	assert_int_equal(m.suppressed_expired, 3);
	assert_int_equal(m.suppressed_duplicate, 0);
}

static void
test_subscribing_again_renews(void **state)
{
	bool created = true;

	(void)state;
	subscribe("A.B", "x");
	assert_ok(subscribe_until("a.b", "x", NOW - 1, &created));
	assert_false(created);
	expect("A.B", "");
	assert_ok(subscribe_until("A.B.*", "x", NOW, &created));
	assert_false(created);
	expect("A.B", "x");
	expect_stats(1, 1, 1);
	assert_int_equal(m.callback[0]->n_subscriptions, 1);
}

static void
test_unsubscribe_names_what_is_not_there(void **state)
{
	(void)state;
	subscribe("A.B", "x");
	subscribe("A", "y");
	assert_fails(unsubscribe("A", "x"), SPR_E_NOT_FOUND);
	assert_fails(unsubscribe("A.B.C", "x"), SPR_E_NOT_FOUND);
	assert_fails(unsubscribe("A.B", "z"), SPR_E_NOT_FOUND);
	expect_stats(2, 2, 2);
	assert_ok(unsubscribe("A.B", "x"));
	assert_fails(unsubscribe("A.B", "x"), SPR_E_NOT_FOUND);
	expect("A.B", "y");
	expect_stats(1, 1, 1);
	assert_ok(unsubscribe("A", "y"));
	expect_stats(0, 0, 0);
	spr_epoch_barrier(epoch);
	assert_int_equal(stats().bytes, 0);
	assert_int_equal(stats().retired_bytes, 0);
}

static void
test_a_held_callback_outlives_its_subscription(void **state)
{
	spr_callback *old = NULL;

	(void)state;
	subscribe("A", "x");
	expect("A", "x");
	old = m.callback[0];
	assert_ok(unsubscribe("A", "x"));
	spr_epoch_barrier(epoch);
	assert_string_equal(spr_callback_text(old), "x");
	assert_int_equal(atomic_load(&old->refs), 1);
	subscribe("A", "x"); /* another object, the same text */
	expect("A", "x");
}

static void
test_the_prefix_is_escaped_json(void **state)
{
	(void)state;
	subscribe("A", "http://h/\"\\\x01\n\xc3\xa9");
	subscribe("A", "short");
	assert_ok(resolve("A", ALL));
	assert_int_equal(m.n, 2);
	qsort(m.callback, m.n, sizeof(*m.callback), by_text);
	assert_string_equal(spr_callback_prefix(m.callback[0]),
			    "{\"s\":\"http://h/\\\"\\\\\\u0001\\u000a\xc3\xa9\",\"payload\":");
	assert_string_equal(spr_callback_prefix(m.callback[1]), "{\"s\":\"short\",\"payload\":");
	for (size_t i = 0; i < m.n; i++) {
		assert_int_equal(m.callback[i]->prefix_len,
				 strlen(spr_callback_prefix(m.callback[i])));
		assert_int_equal(m.callback[i]->text_len, strlen(spr_callback_text(m.callback[i])));
	}
	assert_int_equal(m.longest_prefix, m.callback[0]->prefix_len);
	expect("B", "");
	assert_int_equal(m.longest_prefix, 0);
}

static void
test_a_fan_out_over_the_limit_holds_nothing(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		subscribe("A", (const char *[]){"x", "y", "z"}[i]);
	subscribe("A.B", "x");
	subscribe("A.B", "w");
	assert_fails(resolve("A", 2), SPR_E_TOO_MANY);
	assert_int_equal(m.n, 0);
	assert_fails(resolve("A", 0), SPR_E_TOO_MANY);
	assert_ok(resolve("A", 3));
	/* distinct ones count, over all layers */
	assert_fails(resolve("A.B", 3), SPR_E_TOO_MANY);
	assert_int_equal(m.n, 0);
	assert_ok(resolve("A.B", 4));
	assert_int_equal(m.n, 4);
	for (size_t i = 0; i < m.n; i++)
		assert_int_equal(atomic_load(&m.callback[i]->refs), 2);
	assert_ok(resolve("C", 0));
}

#define MANY 3000

static void
name_of(char text[16], int i)
{
	snprintf(text, 16, "cb%04d", i);
}

static void
expect_many(int from, int step)
{
	char name[16];
	size_t n = 0;

	assert_ok(resolve("BIG.X", ALL));
	qsort(m.callback, m.n, sizeof(*m.callback), by_text);
	for (int i = from; i < MANY; i += step, n++) {
		name_of(name, i);
		assert_true(n < m.n);
		assert_string_equal(spr_callback_text(m.callback[n]), name);
	}
	assert_int_equal(m.n, n);
}

static void
test_a_large_set_grows_thins_out_and_goes(void **state)
{
	char name[16];
	uint64_t full = 0;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		name_of(name, i);
		subscribe("BIG", name);
	}
	expect_many(0, 1);
	full = stats().bytes;
	for (int i = 0; i < MANY; i += 2) {
		name_of(name, i);
		assert_ok(unsubscribe("BIG", name));
		assert_fails(unsubscribe("BIG", name), SPR_E_NOT_FOUND);
	}
	expect_many(1, 2);
	for (int i = 0; i < MANY; i += 2) {
		name_of(name, i);
		subscribe("BIG", name);
	}
	expect_many(0, 1);
	/* free entries are used again; the rest is slack of the tables */
	assert_true(stats().bytes <= full + full / 4);
	for (int i = 0; i < MANY; i++) {
		name_of(name, i);
		assert_ok(unsubscribe("BIG", name));
	}
	expect("BIG.X", "");
	spr_epoch_barrier(epoch);
	assert_int_equal(stats().bytes, 0);
}

static void
test_many_children_of_one_parent(void **state)
{
	char pattern[32];

	(void)state;
	for (int i = 0; i < 100000; i++) {
		snprintf(pattern, sizeof(pattern), "P.%d", i);
		subscribe(pattern, "x");
	}
	expect_stats(100000, 1, 100000);
	for (int i = 0; i < 100000; i++) {
		snprintf(pattern, sizeof(pattern), "P.%d", i);
		if (i % 1000 == 0)
			expect(pattern, "x");
		assert_ok(unsubscribe(pattern, "x"));
		if (i % 1000 == 0)
			expect(pattern, "");
	}
	expect_stats(0, 0, 0);
	spr_epoch_barrier(epoch);
	assert_int_equal(stats().bytes, 0);
}

static void
test_all_lengths_up_to_the_longest(void **state)
{
	char text[3 * SPR_PREDICATE_SEGMENTS] = "A";
	char name[16];

	(void)state;
	for (int i = 1; i <= SPR_PREDICATE_SEGMENTS; i++) {
		name_of(name, i);
		subscribe(text, name);
		if (i < SPR_PREDICATE_SEGMENTS)
			strcat(text, ".B");
	}
	subscribe("*", "all");
	assert_ok(resolve(text, ALL));
	assert_int_equal(m.n, SPR_PREDICATE_SEGMENTS + 1);
	expect("A.B", "all cb0001 cb0002");
	text[0] = 'C';
	expect(text, "all");
}

/* What explain says, one line: layer numbers, then callback and verdict of each subscriber. */
static void
on_layer(void *arg, unsigned n_segments)
{
	char *text = arg;

	sprintf(text + strlen(text), "[%u]", n_segments);
}

static void
on_subscriber(void *arg, unsigned n_segments, const char *callback, int64_t expires_s,
	      spr_verdict verdict)
{
	char *text = arg;

	sprintf(text + strlen(text), "%u:%s@%d%c", n_segments, callback, (int)expires_s,
		"ted"[verdict]);
}

static spr_err
explain(const char *predicate, char text[1024])
{
	const spr_explain e = {on_layer, on_subscriber, text};
	spr_predicate p;

	*text = '\0';
	assert_ok(spr_predicate_normalise(&p, predicate, strlen(predicate)));
	return (spr_subscriptions_explain(subs, record, &p, NOW, &e));
}

static void
test_explain_tells_every_layer(void **state)
{
	char text[1024];
	bool created = false;

	(void)state;
	assert_ok(explain("A.B", text));
	assert_string_equal(text, "[0][1][2]");
	assert_ok(subscribe_until("A", "x", NOW - 1, &created));
	assert_ok(subscribe_until("A.B.C", "x", NOW + 1, &created));
	assert_ok(subscribe_until("A.B.C.D", "x", NOW + 2, &created));
	assert_ok(subscribe_until("*", "y", NOW, &created));
	assert_ok(explain("A.B.C.D.E", text));
	assert_string_equal(text, "[0]0:y@1000t[1]1:x@999e[2][3]3:x@1001t[4]4:x@1002d[5]");
	assert_ok(explain(".", text));
	assert_string_equal(text, "[0]0:y@1000t");
}

static void
test_explain_without_memory(void **state)
{
	char text[1024];
	spr_err rv = SPR_E_NOMEM;

	(void)state;
	subscribe("A", "x");
	for (unsigned long n = 1; rv != SPR_OK; n++) {
		spr_mem_fail_at(n);
		rv = explain("A", text);
		assert_true(rv == SPR_OK || (rv == SPR_E_NOMEM && n < 10));
	}
	spr_mem_fail_at(0);
	assert_string_equal(text, "[0][1]1:x@1000t");
}

/* Subscribes with each allocation failing in turn until it succeeds; what was there stays all the
 * time. */
static unsigned long
subscribe_against_failures(const char *pattern, const char *callback, const char *predicate,
			   const char *before)
{
	spr_subscriptions_stats old = stats();
	spr_err rv = SPR_E_NOMEM;
	bool created = false;
	unsigned long n = 0;

	while (rv != SPR_OK) {
		spr_mem_fail_at(++n);
		rv = subscribe_until(pattern, callback, NOW, &created);
		spr_mem_fail_at(0);
		if (rv == SPR_OK)
			break;
		assert_int_equal(rv, SPR_E_NOMEM);
		assert_true(n < 20);
		expect(predicate, before);
		expect_stats(old.subscriptions, old.callbacks, old.nodes);
		assert_fails(unsubscribe(pattern, callback), SPR_E_NOT_FOUND);
	}
	assert_true(created);
	return (n);
}

static void
test_no_memory_changes_nothing(void **state)
{
	char name[16];

	(void)state;
	subscribe("*", "a");
	/* a callback, its shard, a node, a block, the node's shard */
	assert_int_equal(subscribe_against_failures("A.B", "b", "A.B", "a"), 6);
	expect("A.B", "a b");
	/* a callback with its shard at most, and nothing else: the block has room */
	assert_in_range(subscribe_against_failures("A.B", "c", "A.B", "a b"), 2, 3);
	expect("A.B", "a b c");
	/* to where an index is made */
	for (int i = 0; i < 200; i++) {
		name_of(name, i);
		subscribe_against_failures("X", name, "A.B", "a b c");
	}
	assert_ok(resolve("X", ALL));
	assert_int_equal(m.n, 201);
	/* away again: no memory to shrink is no matter */
	spr_matches_drop_from(subs, &m, 0);
	spr_mem_fail_at(1);
	for (int i = 0; i < 200; i++) {
		spr_predicate p;

		name_of(name, i);
		assert_ok(spr_pattern_normalise(&p, "X", 1, true));
		assert_ok(spr_subscriptions_unsubscribe(subs, &p, name, strlen(name)));
	}
	spr_mem_fail_at(0);
	expect("A.B", "a b c");
	expect_stats(3, 3, 2);
}

static void
test_resolve_without_memory_holds_nothing(void **state)
{
	spr_err rv = SPR_E_NOMEM;
	unsigned long n = 0;

	(void)state;
	subscribe("A", "x");
	subscribe("A.B", "x");
	subscribe("A.B", "y");
	while (rv != SPR_OK) {
		spr_mem_fail_at(++n);
		rv = resolve("A.B", ALL);
		spr_mem_fail_at(0);
		if (rv != SPR_OK) {
			assert_int_equal(rv, SPR_E_NOMEM);
			assert_int_equal(m.n, 0);
		}
	}
	assert_int_equal(n, 3); /* the array, the distinct set */
	assert_int_equal(m.n, 2);
	for (size_t i = 0; i < m.n; i++)
		assert_int_equal(atomic_load(&m.callback[i]->refs), 2);
	/* nothing is allocated for what once had room */
	spr_mem_fail_at(1);
	assert_ok(resolve("A.B", ALL));
	assert_int_equal(spr_mem_count(), 0);
}

static void
test_the_distinct_set_s_run_number_wraps(void **state)
{
	(void)state;
	subscribe("A", "x");
	subscribe("A.B", "x");
	subscribe("A.B", "y");
	expect("A.B", "x y");
	/* the number of the run is the first of the set's memory; the next run is 0, which stands for "never used" */
	*(uint32_t *)m.seen = UINT32_MAX;
	expect("A.B", "x y");
	assert_int_equal(*(uint32_t *)m.seen, 1);
	expect("A.B", "x y");
	assert_int_equal(m.suppressed_duplicate, 1);
}

static void
test_new_without_memory(void **state)
{
	spr_subscriptions *other = NULL;

	(void)state;
	spr_mem_fail_at(1);
	assert_fails(spr_subscriptions_new(&other, epoch), SPR_E_NOMEM);
	assert_null(other);
	spr_subscriptions_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_matches_by_whole_segments),
	    TEST(test_catch_all_is_the_layer_of_no_segments),
	    TEST(test_one_job_for_each_distinct_callback),
	    TEST(test_a_lease_is_dead_strictly_after_its_end),
	    TEST(test_subscribing_again_renews),
	    TEST(test_unsubscribe_names_what_is_not_there),
	    TEST(test_a_held_callback_outlives_its_subscription),
	    TEST(test_the_prefix_is_escaped_json),
	    TEST(test_a_fan_out_over_the_limit_holds_nothing),
	    TEST(test_a_large_set_grows_thins_out_and_goes),
	    TEST(test_many_children_of_one_parent),
	    TEST(test_all_lengths_up_to_the_longest),
	    TEST(test_explain_tells_every_layer),
	    TEST(test_explain_without_memory),
	    TEST(test_no_memory_changes_nothing),
	    TEST(test_resolve_without_memory_holds_nothing),
	    TEST(test_the_distinct_set_s_run_number_wraps),
	    TEST(test_new_without_memory),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
