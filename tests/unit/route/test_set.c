/*
 * Unit tests of set: what a reader in the middle of a walk sees, step by step, and the bounds of blocks and
 * index. The callbacks are addresses only; a set never looks into them.
 */
#include "spr_test.h"

#include "base/mem.h"
#include "route/set.h"
#include "route/subscriptions.h"

#define N 1000

static spr_epoch *epoch;
static spr_space space;
static spr_set set;
static spr_callback dummies[N];

static int
setup(void **state)
{
	(void)state;
	assert_ok(spr_epoch_new(&epoch));
	space = (spr_space){.epoch = epoch};
	set = (spr_set){.newest = NULL};
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	spr_set_fini(&set, &space, NULL, NULL);
	assert_int_equal(space.bytes, 0);
	spr_epoch_free(epoch);
	return (0);
}

static void
add(unsigned i, int64_t expires_s)
{
	assert_ok(spr_set_add(&set, &space, &dummies[i], expires_s));
}

static void
take_out(unsigned i)
{
	spr_place place;

	assert_true(spr_set_find(&set, &dummies[i], &place));
	spr_set_remove(&set, &space, place);
	assert_false(spr_set_find(&set, &dummies[i], &place));
}

/* From `from` on, how often each was met. */
static void
walk(const spr_block *from, unsigned n_met[N])
{
	for (const spr_block *b = from; b != NULL; b = spr_block_next(b)) {
		for (unsigned i = 0; i < b->capacity; i++) {
			int64_t expires_s = 0;
			spr_callback *callback = spr_entry_read(&b->entry[i], &expires_s);

			if (callback == NULL)
				continue;
			assert_int_equal(expires_s, callback - dummies);
			n_met[callback - dummies]++;
		}
	}
}

static void
test_blocks_grow_with_the_set(void **state)
{
	static const unsigned wanted[] = {64, 32, 16, 8, 4};
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; i < 61; i++)
		add(i, i);
	for (const spr_block *b = spr_set_first(&set); b != NULL; b = spr_block_next(b))
		assert_int_equal(b->capacity, wanted[n++]);
	assert_int_equal(n, 5);
	for (unsigned i = 61; i < N; i++)
		add(i, i);
	assert_int_equal(spr_set_first(&set)->capacity, SPR_BLOCK_MAX);
	assert_int_equal(spr_set_n(&set), N);
	assert_int_equal(spr_set_additions(&set), N);
}

static void
test_a_free_entry_is_used_before_a_new_block(void **state)
{
	uint64_t bytes = 0;

	(void)state;
	for (unsigned i = 0; i < 12; i++) /* 4 and 8 */
		add(i, i);
	bytes = space.bytes;
	take_out(1);
	take_out(6);
	add(20, 20);
	add(21, 21);
	assert_int_equal(space.bytes, bytes);
	add(22, 22);
	assert_true(space.bytes > bytes);
}

static void
test_a_walk_goes_on_from_an_unlinked_block(void **state)
{
	const spr_block *standing = NULL;
	unsigned n_met[N] = {0};

	(void)state;
	for (unsigned i = 0; i < 60; i++) /* 32, 16, 8, 4 */
		add(i, i);
	standing = spr_set_first(&set);
	/* the block under the reader goes, then the one after it, and new ones come in front */
	for (unsigned i = 12; i < 60; i++)
		take_out(59 + 12 - i);
	for (unsigned i = 100; i < 150; i++)
		add(i, i);
	walk(standing, n_met);
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(n_met[i], 1);
	for (unsigned i = 12; i < 60; i++)
		assert_int_equal(n_met[i], 0);
}

static void
test_an_entry_s_word_never_comes_again(void **state)
{
	spr_place place;
	uint64_t user = 0;

	(void)state;
	add(0, 0);
	assert_true(spr_set_find(&set, &dummies[0], &place));
	add(1, 1); /* keeps the block */
	user = atomic_load(&place.block->entry[place.slot].user);
	take_out(0);
	add(2, 2); /* takes the entry */
	take_out(2);
	add(0, 0);
	/* the same callback in the same entry: a reader can still tell */
	assert_ptr_equal(spr_entry_peek(&place.block->entry[place.slot]), &dummies[0]);
	assert_true(atomic_load(&place.block->entry[place.slot].user) != user);
}

static void
test_renewing_is_not_adding(void **state)
{
	spr_place place;
	int64_t expires_s = 0;

	(void)state;
	add(3, 5);
	assert_true(spr_set_find(&set, &dummies[3], &place));
	spr_set_renew(place, 7);
	assert_ptr_equal(spr_entry_read(&place.block->entry[place.slot], &expires_s), &dummies[3]);
	assert_int_equal(expires_s, 7);
	assert_int_equal(spr_set_additions(&set), 1);
}

static void
test_the_index_comes_and_goes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 32; i++)
		add(i, i);
	assert_null(set.index.item);
	add(32, 32);
	assert_non_null(set.index.item);
	for (unsigned i = 33; i < N; i++)
		add(i, i);
	for (unsigned i = 0; i < N - 16; i++)
		take_out(i);
	assert_non_null(set.index.item);
	take_out(N - 16);
	assert_null(set.index.item);
	assert_int_equal(spr_set_n(&set), 15);
	for (unsigned i = N - 15; i < N; i++)
		take_out(i);
	assert_null(spr_set_first(&set));
}

static void
test_random_changes(void **state)
{
	uint64_t random = spr_test_seed();
	bool is_in[N] = {false};

	(void)state;
	for (unsigned step = 0; step < 100000; step++) {
		unsigned i = (unsigned)spr_test_below(&random, step / 10000 % 2 == 0 ? N : N / 20);

		if (step / 10000 % 2 == 1 && spr_test_below(&random, 2) == 0)
			i = (unsigned)spr_test_below(&random, N);
		if (is_in[i])
			take_out(i);
		else if (step / 10000 % 2 == 0 || i < N / 20)
			add(i, i);
		else
			continue;
		is_in[i] = !is_in[i];
		if (step % 1000 == 0) {
			unsigned n_met[N] = {0};

			walk(spr_set_first(&set), n_met);
			for (unsigned j = 0; j < N; j++)
				assert_int_equal(n_met[j], is_in[j]);
			spr_epoch_barrier(epoch);
		}
	}
}

static void
test_no_memory_changes_nothing(void **state)
{
	spr_place place;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		spr_err rv = SPR_E_NOMEM;

		for (unsigned long n = 1; rv != SPR_OK; n++) {
			uint32_t additions = spr_set_additions(&set);

			spr_mem_fail_at(n);
			rv = spr_set_add(&set, &space, &dummies[i], i);
			spr_mem_fail_at(0);
			if (rv == SPR_OK)
				break;
			assert_int_equal(rv, SPR_E_NOMEM);
			assert_true(n <= 2);
			assert_false(spr_set_find(&set, &dummies[i], &place));
			assert_int_equal(spr_set_n(&set), i);
			assert_int_equal(spr_set_additions(&set), additions);
		}
	}
	for (unsigned i = 0; i < 200; i++)
		assert_true(spr_set_find(&set, &dummies[i], &place));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_blocks_grow_with_the_set),
	    TEST(test_a_free_entry_is_used_before_a_new_block),
	    TEST(test_a_walk_goes_on_from_an_unlinked_block),
	    TEST(test_an_entry_s_word_never_comes_again),
	    TEST(test_renewing_is_not_adding),
	    TEST(test_the_index_comes_and_goes),
	    TEST(test_random_changes),
	    TEST(test_no_memory_changes_nothing),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
