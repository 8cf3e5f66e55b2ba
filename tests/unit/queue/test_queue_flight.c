/*
 * test_queue_flight - records between their places, in order, against a naive twin.
 */
#include "queue_flight.h"

#include <stdlib.h>

#include "base/mem.h"
#include "spr_test.h"

static void
test_order(void **state)
{
	queue_flight f;
	queue_record *a = NULL, *b = NULL;

	(void)state;
	assert_ok(queue_flight_init(&f, 2));
	assert_non_null(a = queue_flight_add(&f, 1));
	assert_non_null(b = queue_flight_add(&f, 3)); /* shares the bucket */
	assert_null(queue_flight_add(&f, 5));
	assert_ptr_equal(queue_flight_find(&f, 1), a);
	assert_ptr_equal(queue_flight_find(&f, 3), b);
	assert_null(queue_flight_find(&f, 5));
	assert_ptr_equal(f.to_push.first, a);
	queue_flight_pushing(&f, a);
	queue_flight_pushing(&f, b);
	queue_flight_handed_out(&f, a, 10);
	queue_flight_handed_out(&f, b, 11);
	assert_int_equal(f.n_out, 2);
	queue_flight_extend(&f, a, 12);
	assert_ptr_equal(f.out.first, b);
	queue_flight_push_again(&f, b, true);
	queue_flight_extend(&f, b, 20); /* not out: its time has not begun */
	assert_ptr_equal(f.to_push.first, b);
	queue_flight_release(&f, b);
	assert_null(queue_flight_find(&f, 3));
	assert_int_equal(f.n_used, 1);
	queue_flight_fini(&f);
}

/* Settled while it is being pushed: nobody finds it, and its memory is kept until the push has ended, however that goes. */
static void
test_gone(void **state)
{
	queue_flight f;
	queue_record *r = NULL;

	(void)state;
	assert_ok(queue_flight_init(&f, 1));
	for (int is_sent = 0; is_sent < 2; is_sent++) {
		assert_non_null(r = queue_flight_add(&f, 7));
		queue_flight_pushing(&f, r);
		queue_flight_release(&f, r);
		assert_null(queue_flight_find(&f, 7));
		assert_null(queue_flight_add(&f, 8));
		if (is_sent)
			queue_flight_handed_out(&f, r, 5);
		else
			queue_flight_push_again(&f, r, true);
		assert_int_equal(f.n_used, 0);
		assert_null(f.to_push.first);
		assert_null(f.out.first);
	}
	queue_flight_fini(&f);
}

enum { MOST = 13, NUMBERS = 40 };

static void
check_twin(const queue_flight *f, const uint8_t places[NUMBERS])
{
	unsigned n_used = 0, n_out = 0, n_to_push = 0;
	uint64_t last_ns = 0;

	for (uint64_t seq = 0; seq < NUMBERS; seq++) {
		const queue_record *r = queue_flight_find(f, seq);

		assert_int_equal(r != NULL ? r->place : QUEUE_FREE, places[seq]);
		n_used += places[seq] != QUEUE_FREE;
		n_out += places[seq] == QUEUE_OUT;
		n_to_push += places[seq] == QUEUE_TO_PUSH;
	}
	assert_int_equal(f->n_used, n_used);
	assert_int_equal(f->n_out, n_out);
	for (const queue_record *r = f->out.first; r != NULL; r = r->next, n_out--) {
		assert_true(r->deadline_ns > last_ns);
		last_ns = r->deadline_ns;
	}
	for (const queue_record *r = f->to_push.first; r != NULL; r = r->next)
		n_to_push--;
	assert_int_equal(n_out + n_to_push, 0);
}

static void
test_random(void **state)
{
	queue_flight f;
	uint8_t places[NUMBERS] = {QUEUE_FREE};
	uint64_t random = spr_test_seed(), now_ns = 1;

	(void)state;
	assert_ok(queue_flight_init(&f, MOST));
	for (int i = 0; i < 20000; i++) {
		uint64_t seq = spr_test_below(&random, NUMBERS);
		queue_record *r = queue_flight_find(&f, seq);
		bool first = spr_test_below(&random, 2) == 0;

		now_ns++;
		if (r == NULL) {
			bool is_full = f.n_used == MOST;

			r = queue_flight_add(&f, seq);
			assert_int_equal(r == NULL, is_full);
			places[seq] = r != NULL ? QUEUE_TO_PUSH : QUEUE_FREE;
		} else if (r->place == QUEUE_TO_PUSH && first) {
			queue_flight_pushing(&f, r);
			places[seq] = QUEUE_PUSHING;
		} else if (r->place == QUEUE_PUSHING && first) {
			queue_flight_handed_out(&f, r, now_ns);
			places[seq] = QUEUE_OUT;
		} else if (r->place == QUEUE_PUSHING || (r->place == QUEUE_OUT && first)) {
			queue_flight_push_again(&f, r, first);
			places[seq] = QUEUE_TO_PUSH;
		} else if (r->place == QUEUE_OUT && spr_test_below(&random, 2) == 0) {
			queue_flight_extend(&f, r, now_ns);
		} else {
			queue_flight_release(&f, r);
			places[seq] = QUEUE_FREE;
		}
		check_twin(&f, places);
	}
	queue_flight_fini(&f);
}

static void
test_no_memory(void **state)
{
	queue_flight f;

	(void)state;
	for (unsigned long n = 1; n < 3; n++) {
		spr_mem_fail_at(n);
		assert_fails(queue_flight_init(&f, 4), SPR_E_NOMEM);
		spr_mem_fail_at(0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_order),
	    cmocka_unit_test(test_gone),
	    cmocka_unit_test(test_random),
	    cmocka_unit_test(test_no_memory),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
