/*
 * Unit tests of trie: which nodes a predicate finds, and what is left when nodes go or memory fails.
 */
#include "spr_test.h"

#include <string.h>

#include "base/mem.h"
#include "route/trie.h"

static spr_epoch *epoch;
static spr_space space;
static spr_trie trie;

static int
setup(void **state)
{
	(void)state;
	assert_ok(spr_epoch_new(&epoch));
	space = (spr_space){.epoch = epoch};
	spr_trie_init(&trie, &space, spr_test_seed());
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	spr_trie_fini(&trie, NULL, NULL);
	assert_int_equal(space.bytes, 0);
	spr_epoch_free(epoch);
	return (0);
}

static spr_predicate
normalised(const char *text)
{
	spr_predicate p;

	assert_ok(spr_pattern_normalise(&p, text, strlen(text), true));
	return (p);
}

static spr_trie_node *
insert(const char *pattern)
{
	spr_predicate p = normalised(pattern);
	spr_trie_node *node = spr_trie_node_new(&trie, &p);

	assert_non_null(node);
	assert_null(spr_trie_get(&trie, &p));
	assert_ok(spr_trie_insert(&trie, node));
	assert_ptr_equal(spr_trie_get(&trie, &p), node);
	return (node);
}

/* The patterns found, in order, joined by blanks; the catch-all as "*". */
static void
expect(const char *predicate, const char *wanted)
{
	const spr_trie_node *layer[SPR_TRIE_LAYERS];
	spr_predicate p = normalised(predicate);
	unsigned n = spr_trie_find(&trie, &p, layer);
	char text[2048] = "";

	for (unsigned i = 0; i < n; i++) {
		strcat(text, i > 0 ? " " : "");
		if (layer[i]->n_segments == 0)
			strcat(text, "*");
		strncat(text, layer[i]->text, layer[i]->len);
	}
	assert_string_equal(text, wanted);
}

static void
test_layers_come_shortest_first(void **state)
{
	(void)state;
	expect("A.B.C", "");
	insert("A.B.C");
	insert("A");
	insert("*");
	expect("A.B.C.D", "* A A.B.C");
	expect("A.B", "* A");
	expect("*", "*");
	expect("B.A", "*");
	expect("AB.C", "*");
}

static void
test_segments_do_not_run_into_each_other(void **state)
{
	(void)state;
	insert("A.BC");
	insert("AB.C");
	expect("A.BC", "A.BC");
	expect("AB.C", "AB.C");
	expect("ABC", "");
	expect("A.B.C", "");
}

static void
test_a_length_that_is_not_used_is_not_looked_at(void **state)
{
	spr_trie_node *one, *other;

	(void)state;
	one = insert("A.B");
	other = insert("A.C");
	insert("A.B.C.D");
	assert_int_equal(atomic_load(&trie.depths), 1 << 1 | 1 << 3);
	spr_trie_remove(&trie, one);
	expect("A.B.C.D", "A.B.C.D");
	expect("A.C.X", "A.C");
	assert_int_equal(atomic_load(&trie.depths), 1 << 1 | 1 << 3);
	spr_trie_remove(&trie, other);
	assert_int_equal(atomic_load(&trie.depths), 1 << 3);
	expect("A.C.X", "");
	expect("A.B.C.D", "A.B.C.D");
}

static void
test_the_catch_all_comes_and_goes(void **state)
{
	spr_trie_node *root;

	(void)state;
	root = insert("*");
	expect("A", "*");
	spr_trie_remove(&trie, root);
	expect("A", "");
	insert("*");
	expect("A", "*");
	assert_int_equal(atomic_load(&trie.depths), 0);
}

static void
test_the_longest_predicate(void **state)
{
	char text[2 * SPR_PREDICATE_SEGMENTS] = "A";
	spr_trie_node *node;

	(void)state;
	for (unsigned i = 1; i < SPR_PREDICATE_SEGMENTS; i++)
		strcat(text, ".A");
	node = insert(text);
	assert_int_equal(node->n_segments, SPR_PREDICATE_SEGMENTS);
	assert_int_equal(atomic_load(&trie.depths), UINT64_C(1) << 63);
	expect(text, text);
	spr_trie_remove(&trie, node);
	expect(text, "");
	assert_int_equal(atomic_load(&trie.depths), 0);
}

static void
test_a_reader_s_node_stays_until_it_leaves(void **state)
{
	const spr_trie_node *layer[SPR_TRIE_LAYERS];
	spr_predicate p = normalised("A.B");
	spr_epoch_record *record = NULL;

	(void)state;
	assert_ok(spr_epoch_register(epoch, &record));
	insert("A.B");
	spr_epoch_enter(record);
	assert_int_equal(spr_trie_find(&trie, &p, layer), 1);
	spr_trie_remove(&trie, spr_trie_get(&trie, &p));
	assert_int_equal(space.bytes, 0);
	assert_true(spr_epoch_retired_bytes(epoch) > 0);
	assert_memory_equal(layer[0]->text, "A.B", 3);
	spr_epoch_leave(record);
	spr_epoch_barrier(epoch);
	assert_int_equal(spr_epoch_retired_bytes(epoch), 0);
	spr_epoch_unregister(record);
}

static void
test_no_memory_changes_nothing(void **state)
{
	spr_predicate p = normalised("A.B");
	spr_trie_node *node = NULL;

	(void)state;
	spr_mem_fail_at(1);
	assert_null(spr_trie_node_new(&trie, &p));
	spr_mem_fail_at(2);
	node = spr_trie_node_new(&trie, &p);
	assert_non_null(node);
	assert_fails(spr_trie_insert(&trie, node), SPR_E_NOMEM);
	spr_mem_fail_at(0);
	assert_int_equal(atomic_load(&trie.depths), 0);
	expect("A.B", "");
	spr_trie_node_free(&trie, node);
	assert_int_equal(space.bytes, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_layers_come_shortest_first),
	    TEST(test_segments_do_not_run_into_each_other),
	    TEST(test_a_length_that_is_not_used_is_not_looked_at),
	    TEST(test_the_catch_all_comes_and_goes),
	    TEST(test_the_longest_predicate),
	    TEST(test_a_reader_s_node_stays_until_it_leaves),
	    TEST(test_no_memory_changes_nothing),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
