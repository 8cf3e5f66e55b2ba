/*
 * test_epoch - what is retired is destroyed once, after the sections that were open, and not before enough is waiting.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "spr_test.h"

#include "base/epoch.h"
#include "base/mem.h"

typedef struct thing {
	spr_epoch_entry entry;
	atomic_uint n_destroyed;
} thing;

static spr_epoch *chain_epoch; /* where destroy_and_retire() retires the thing after it */

static void
destroy(spr_epoch_entry *entry)
{
	thing *t = (thing *)(void *)entry;

	atomic_fetch_add(&t->n_destroyed, 1);
}

static void
destroy_and_retire(spr_epoch_entry *entry)
{
	thing *t = (thing *)(void *)entry;

	destroy(entry);
	spr_epoch_retire(chain_epoch, &(t + 1)->entry, destroy, 10);
}

static void
test_every_allocation_may_fail(void **state)
{
	spr_epoch *epoch = NULL;
	spr_epoch_record *record = NULL;

	(void)state;
	spr_mem_fail_at(1);
	assert_fails(spr_epoch_new(&epoch), SPR_E_NOMEM);
	spr_mem_fail_at(0);
	assert_null(epoch);
	assert_ok(spr_epoch_new(&epoch));
	spr_mem_fail_at(1);
	assert_fails(spr_epoch_register(epoch, &record), SPR_E_NOMEM);
	spr_mem_fail_at(0);
	assert_null(record);
	spr_epoch_free(epoch);
	spr_epoch_free(NULL);
	spr_epoch_unregister(NULL);
}

static void
test_barrier_destroys_all_once(void **state)
{
	spr_epoch *epoch;
	thing things[3] = {0};

	(void)state;
	assert_ok(spr_epoch_new(&epoch));
	assert_int_equal(spr_epoch_retired_bytes(epoch), 0);
	spr_epoch_barrier(epoch); /* with nothing to do */
	for (int i = 0; i < 3; i++) {
		spr_epoch_retire(epoch, &things[i].entry, destroy, 100);
		assert_int_equal(spr_epoch_retired_bytes(epoch), 100 * (i + 1));
	}
	spr_epoch_collect(epoch);
	assert_int_equal(things[0].n_destroyed, 0); /* not enough is waiting */
	spr_epoch_barrier(epoch);
	assert_int_equal(spr_epoch_retired_bytes(epoch), 0);
	spr_epoch_barrier(epoch);
	for (int i = 0; i < 3; i++)
		assert_int_equal(things[i].n_destroyed, 1);
	spr_epoch_free(epoch);
}

static void
test_collect_by_count_and_by_bytes(void **state)
{
	spr_epoch *epoch;
	thing things[256] = {0};
	thing big = {0};

	(void)state;
	assert_ok(spr_epoch_new(&epoch));
	for (int i = 0; i < 255; i++)
		spr_epoch_retire(epoch, &things[i].entry, destroy, 1);
	spr_epoch_collect(epoch);
	assert_int_equal(things[0].n_destroyed, 0);
	spr_epoch_retire(epoch, &things[255].entry, destroy, 1);
	spr_epoch_collect(epoch);
	for (int i = 0; i < 256; i++)
		assert_int_equal(things[i].n_destroyed, 1);
	spr_epoch_retire(epoch, &big.entry, destroy, 1 << 20);
	spr_epoch_collect(epoch);
	assert_int_equal(big.n_destroyed, 1);
	assert_int_equal(spr_epoch_retired_bytes(epoch), 0);
	spr_epoch_free(epoch);
}

static bool
collects(spr_epoch *epoch, thing *t)
{
	spr_epoch_collect(epoch);
	return (t->n_destroyed == 1);
}

static void
test_collect_flushes_leftovers_in_time(void **state)
{
	spr_epoch *epoch;
	thing one = {0};

	(void)state;
	assert_ok(spr_epoch_new(&epoch));
	spr_epoch_retire(epoch, &one.entry, destroy, 1);
	assert_true(wait_until(collects(epoch, &one), 30000));
	spr_epoch_free(epoch);
}

static void
test_free_destroys_what_destructors_retire(void **state)
{
	thing things[2] = {0};

	(void)state;
	assert_ok(spr_epoch_new(&chain_epoch));
	spr_epoch_retire(chain_epoch, &things[0].entry, destroy_and_retire, 5);
	spr_epoch_barrier(chain_epoch);
	assert_int_equal(things[1].n_destroyed, 1);
	assert_int_equal(spr_epoch_retired_bytes(chain_epoch), 0);
	things[0].n_destroyed = things[1].n_destroyed = 0;
	spr_epoch_retire(chain_epoch, &things[0].entry, destroy_and_retire, 5);
	spr_epoch_free(chain_epoch);
	assert_int_equal(things[0].n_destroyed, 1);
	assert_int_equal(things[1].n_destroyed, 1);
}

static void
test_records_are_recycled(void **state)
{
	spr_epoch *epoch;
	spr_epoch_record *first, *second, *again;

	(void)state;
	assert_ok(spr_epoch_new(&epoch));
	assert_ok(spr_epoch_register(epoch, &first));
	assert_ok(spr_epoch_register(epoch, &second));
	assert_ptr_not_equal(first, second);
	spr_epoch_unregister(first);
	spr_mem_fail_at(1); /* a recycled one costs no memory */
	assert_ok(spr_epoch_register(epoch, &again));
	spr_mem_fail_at(0);
	assert_ptr_equal(first, again);
	spr_epoch_enter(again);
	spr_epoch_leave(again);
	spr_epoch_unregister(again);
	spr_epoch_unregister(second);
	spr_epoch_free(epoch);
}

struct reader {
	spr_epoch *epoch;
	thing *seen;
	atomic_bool is_inside;
	atomic_bool may_leave;
	unsigned n_destroyed_inside;
	spr_err rv;
};

static void *
stay_inside(void *arg)
{
	struct reader *r = arg;
	spr_epoch_record *record = NULL;

	if ((r->rv = spr_epoch_register(r->epoch, &record)) != SPR_OK) {
		atomic_store(&r->is_inside, true);
		return (NULL);
	}
	spr_epoch_enter(record);
	spr_epoch_enter(record);
	atomic_store(&r->is_inside, true);
	while (!atomic_load(&r->may_leave))
		spr_test_pause(0);
	spr_epoch_leave(record);
	/* the inner leave ends nothing */
	r->n_destroyed_inside = atomic_load(&r->seen->n_destroyed);
	spr_epoch_leave(record);
	spr_epoch_unregister(record);
	return (NULL);
}

static void *
open_later(void *arg)
{
	struct reader *r = arg;

	/* gives the barrier time to be wrong; it cannot fail a right one */
	spr_test_pause(0);
	atomic_store(&r->may_leave, true);
	return (NULL);
}

static void
test_barrier_waits_for_an_open_section(void **state)
{
	thing one = {0};
	struct reader r = {.seen = &one};
	pthread_t reader, opener;

	(void)state;
	assert_ok(spr_epoch_new(&r.epoch));
	assert_int_equal(pthread_create(&reader, NULL, stay_inside, &r), 0);
	assert_true(wait_until(atomic_load(&r.is_inside), 10000));
	spr_epoch_retire(r.epoch, &one.entry, destroy, 1);
	assert_int_equal(pthread_create(&opener, NULL, open_later, &r), 0);
	spr_epoch_barrier(r.epoch);
	assert_true(atomic_load(&r.may_leave));
	assert_int_equal(one.n_destroyed, 1);
	pthread_join(opener, NULL);
	pthread_join(reader, NULL);
	assert_ok(r.rv);
	assert_int_equal(r.n_destroyed_inside, 0);
	spr_epoch_free(r.epoch);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_allocation_may_fail),
	    cmocka_unit_test(test_barrier_destroys_all_once),
	    cmocka_unit_test(test_collect_by_count_and_by_bytes),
	    cmocka_unit_test(test_collect_flushes_leftovers_in_time),
	    cmocka_unit_test(test_free_destroys_what_destructors_retire),
	    cmocka_unit_test(test_records_are_recycled),
	    cmocka_unit_test(test_barrier_waits_for_an_open_section),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
