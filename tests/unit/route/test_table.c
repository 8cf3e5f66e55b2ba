/*
 * Unit tests of table: hashes chosen so that items meet, wrap around and die in each other's way; every
 * allocation failing in turn.
 */
#include "spr_test.h"

#include "base/mem.h"
#include "route/table.h"

#define N_ITEMS 2000

typedef struct item {
	uint64_t hash;
	unsigned id;
	bool is_in;
} item;

static spr_epoch *epoch;
static spr_space space;
static spr_table table;
static item items[N_ITEMS];

static int
setup(void **state)
{
	(void)state;
	assert_ok(spr_epoch_new(&epoch));
	space = (spr_space){.epoch = epoch};
	spr_table_init(&table, &space, offsetof(item, hash));
	for (unsigned i = 0; i < N_ITEMS; i++)
		items[i] = (item){.id = i};
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	spr_table_fini(&table);
	spr_epoch_free(epoch);
	assert_int_equal(space.bytes, 0);
	return (0);
}

static bool
item_is(const void *it, const void *key)
{
	return (((const item *)it)->id == *(const unsigned *)key);
}

static bool
is_found(uint64_t hash, unsigned id)
{
	const item *it = spr_table_find(&table, hash, item_is, &id);

	assert_true(it == NULL || it == &items[id]);
	return (it != NULL);
}

static void
insert(unsigned id)
{
	assert_ok(spr_table_insert(&table, &items[id]));
	items[id].is_in = true;
}

static void
take_out(unsigned id)
{
	spr_table_remove(&table, &items[id]);
	items[id].is_in = false;
}

static void
count_item(void *arg, void *it)
{
	assert_true(((const item *)it)->is_in);
	(*(unsigned *)arg)++;
}

/* Each item is found if it is in, and only then. */
static void
check(unsigned n)
{
	unsigned n_in = 0, n_told = 0;

	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(is_found(items[i].hash, i), items[i].is_in);
		n_in += items[i].is_in;
	}
	spr_table_each(&table, count_item, &n_told);
	assert_int_equal(n_told, n_in);
}

static void
test_an_empty_table_finds_nothing(void **state)
{
	(void)state;
	assert_false(is_found(5, 0));
	check(1);
}

static void
test_equal_hashes_are_told_apart(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		items[i].hash = UINT64_MAX;
		insert(i);
	}
	check(100);
	for (unsigned i = 0; i < 100; i += 2)
		take_out(i);
	check(100);
	for (unsigned i = 1; i < 100; i += 2)
		take_out(i);
	check(100);
	assert_int_equal(atomic_load(&table.shard[255]), 0);
}

static void
test_the_way_leads_over_the_end(void **state)
{
	(void)state;
	/* all want the last slot but one of the eight, and have different pieces */
	for (unsigned i = 0; i < 4; i++) {
		items[i].hash = 6 | (uint64_t)i << 42;
		insert(i);
	}
	check(4);
	take_out(1); /* in the way of 2 and 3 */
	check(4);
	take_out(3); /* the last of them: 1's dead slot stays in 2's way */
	check(4);
	insert(1); /* into its dead slot or another */
	check(4);
	take_out(0);
	take_out(1);
	check(4);
}

static void
test_random_items_in_few_places(void **state)
{
	uint64_t random = spr_test_seed();

	(void)state;
	for (unsigned i = 0; i < N_ITEMS; i++) {
		items[i].hash = spr_test_below(&random, 64) | spr_test_below(&random, 4) << 40 |
				spr_test_below(&random, 3) << 56;
	}
	for (unsigned step = 0; step < 200000; step++) {
		unsigned bound = step / 20000 % 2 == 0 ? N_ITEMS : N_ITEMS / 20;
		unsigned i = (unsigned)spr_test_below(&random, N_ITEMS);

		if (items[i].is_in && (i >= bound || spr_test_below(&random, 2) == 0))
			take_out(i);
		else if (!items[i].is_in && i < bound)
			insert(i);
		assert_int_equal(is_found(items[i].hash, i), items[i].is_in);
		if (step % 5000 == 0) {
			check(N_ITEMS);
			spr_epoch_barrier(epoch);
		}
	}
}

static void
test_no_memory_changes_nothing(void **state)
{
	unsigned n_failed = 0;

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		items[i].hash = i;
		spr_mem_fail_at(1);
		if (spr_table_insert(&table, &items[i]) == SPR_OK) {
			spr_mem_fail_at(0);
			items[i].is_in = true;
			continue;
		}
		spr_mem_fail_at(0);
		n_failed++;
		check(300);
		insert(i);
	}
	/* the first array, and each doubling: 8 slots for 4 items, 16 for 8, ... 1024 */
	assert_int_equal(n_failed, 8);
	check(300);
	/* removing needs no memory; without, the array stays as large */
	spr_mem_fail_at(1);
	for (unsigned i = 0; i < 300; i++)
		take_out(i);
	spr_mem_fail_at(0);
	check(300);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_an_empty_table_finds_nothing), TEST(test_equal_hashes_are_told_apart),
	    TEST(test_the_way_leads_over_the_end),   TEST(test_random_items_in_few_places),
	    TEST(test_no_memory_changes_nothing),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
