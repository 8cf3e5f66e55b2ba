/*
 * test_ring - the smallest ring: full, empty, order over many laps, and what is seen ahead.
 */
#include "spr_test.h"

#include "base/mem.h"
#include "base/ring.h"

static void
test_slots_must_be_a_power_of_two(void **state)
{
	static const unsigned bad[] = {0, 1, 2, 3, 5, 6, 7, 12, 1000};
	spr_ring *ring = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_fails(spr_ring_new(&ring, bad[i]), SPR_E_INVALID);
	assert_null(ring);
	assert_string_equal(spr_error_text(SPR_E_INVALID),
			    "ring of 1000 slots: must be a power of two, 4 or more");
}

static void
test_no_memory(void **state)
{
	spr_ring *ring = NULL;

	(void)state;
	spr_mem_fail_at(1);
	assert_fails(spr_ring_new(&ring, 4), SPR_E_NOMEM);
	spr_mem_fail_at(0);
	assert_null(ring);
	spr_ring_free(NULL);
}

static void
test_one_slot_stays_unused(void **state)
{
	spr_ring *ring;
	int items[4];

	(void)state;
	assert_ok(spr_ring_new(&ring, 4));
	assert_null(spr_ring_try_pop(ring));
	assert_int_equal(spr_ring_size(ring), 0);
	for (int i = 0; i < 3; i++) {
		assert_true(spr_ring_try_push(ring, &items[i]));
		assert_int_equal(spr_ring_size(ring), i + 1);
	}
	assert_false(spr_ring_try_push(ring, &items[3]));
	assert_int_equal(spr_ring_size(ring), 3);
	assert_ptr_equal(spr_ring_try_pop(ring), &items[0]);
	assert_true(spr_ring_try_push(ring, &items[3]));
	for (int i = 1; i < 4; i++)
		assert_ptr_equal(spr_ring_try_pop(ring), &items[i]);
	assert_null(spr_ring_try_pop(ring));
	spr_ring_free(ring);
}

static void
test_order_over_many_laps(void **state)
{
	uint64_t rng = spr_test_seed();
	uintptr_t next_in = 1, next_out = 1;
	spr_ring *ring;

	(void)state;
	assert_ok(spr_ring_new(&ring, 8));
	for (int i = 0; i < 20000; i++) {
		if (spr_test_below(&rng, 2) == 0) {
			bool has_pushed = spr_ring_try_push(ring, (void *)next_in);

			assert_int_equal(has_pushed, next_in - next_out < 7);
			next_in += has_pushed;
		} else {
			uintptr_t item = (uintptr_t)spr_ring_try_pop(ring);

			assert_int_equal(item, next_in == next_out ? 0 : next_out);
			next_out += item != 0;
		}
		assert_int_equal(spr_ring_size(ring), next_in - next_out);
		for (unsigned n = 0; n < 8; n++)
			assert_int_equal((uintptr_t)spr_ring_peek(ring, n),
					 n < next_in - next_out ? next_out + n : 0);
	}
	spr_ring_free(ring);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_slots_must_be_a_power_of_two),
	    cmocka_unit_test(test_no_memory),
	    cmocka_unit_test(test_one_slot_stays_unused),
	    cmocka_unit_test(test_order_over_many_laps),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
