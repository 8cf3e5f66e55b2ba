/*
 * test_epoch - readers hold what the writer is replacing. A destructor poisons its object (and reuses the memory): a
 * reader that sees poison inside its section was betrayed (E4).
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "spr_test.h"

#include "base/epoch.h"
#include "base/sync.h"

#define N_READERS      3
#define N_CELLS        8
#define N_CHANGES      20000
#define N_POOL         2048
#define ALIVE          0x600dU
#define POISON         0xdeadU
#define REGISTER_EVERY 500

typedef struct object {
	spr_epoch_entry entry;
	unsigned words[4]; /* plain on purpose: only the epoch keeps reader and destructor apart */
	struct object *next_free;
} object;

struct race {
	spr_epoch *epoch;
	pthread_barrier_t gate;
	_Atomic(object *) cells[N_CELLS];
	atomic_bool is_over;
	atomic_uint n_poisoned;
	atomic_uint n_failed;
	uint64_t seed;
	atomic_uint n_names;
};

/* The writer's own: destructors run on it. */
static object pool[N_POOL];
static object *free_objects;

static void
set_words(object *o, unsigned word)
{
	for (int i = 0; i < 4; i++)
		o->words[i] = word;
}

static void
poison(spr_epoch_entry *entry)
{
	object *o = (object *)(void *)entry;

	set_words(o, POISON);
	o->next_free = free_objects;
	free_objects = o;
}

static object *
make(struct race *r)
{
	object *o;

	while ((o = free_objects) == NULL)
		spr_epoch_barrier(r->epoch);
	free_objects = o->next_free;
	set_words(o, ALIVE);
	return (o);
}

static void
look(struct race *r, spr_epoch_record *record, uint64_t *rng)
{
	bool is_nested = spr_test_below(rng, 4) == 0;
	object *o;

	spr_epoch_enter(record);
	/* acquire: pairs with the writer's exchange */
	o = atomic_load_explicit(&r->cells[spr_test_below(rng, N_CELLS)], memory_order_acquire);
	if (is_nested) {
		spr_epoch_enter(record);
		spr_epoch_leave(record);
	}
	for (int i = 0; i < 4; i++) {
		if (o->words[i] != ALIVE)
			atomic_fetch_add(&r->n_poisoned, 1);
		SPR_YIELD();
	}
	spr_epoch_leave(record);
}

static void *
read_cells(void *arg)
{
	struct race *r = arg;
	uint64_t rng = r->seed + atomic_fetch_add(&r->n_names, 1);
	spr_epoch_record *record = NULL;
	unsigned n = 0;

	pthread_barrier_wait(&r->gate);
	while (!atomic_load(&r->is_over)) {
		if (record == NULL && spr_epoch_register(r->epoch, &record) != SPR_OK) {
			atomic_fetch_add(&r->n_failed, 1);
			break;
		}
		look(r, record, &rng);
		if (++n % REGISTER_EVERY == 0) { /* threads come and go */
			spr_epoch_unregister(record);
			record = NULL;
		}
	}
	spr_epoch_unregister(record);
	return (NULL);
}

static void
change_cells(struct race *r)
{
	uint64_t rng = r->seed + 1000;

	for (unsigned i = 0; i < N_CHANGES; i++) {
		object *o = make(r);
		/* acq_rel: release publishes the object, pairs with the acquire in look */
		object *old = atomic_exchange_explicit(&r->cells[spr_test_below(&rng, N_CELLS)], o,
						       memory_order_acq_rel);

		spr_epoch_retire(r->epoch, &old->entry, poison, sizeof(*old));
		spr_epoch_collect(r->epoch);
		if (spr_test_below(&rng, 200) == 0)
			spr_epoch_barrier(r->epoch);
	}
}

static void
race(unsigned yield_percent)
{
	struct race r = {.seed = spr_test_seed()};
	pthread_t readers[N_READERS];

	free_objects = NULL;
	for (int i = 0; i < N_POOL; i++)
		poison(&pool[i].entry);
	assert_ok(spr_epoch_new(&r.epoch));
	for (int i = 0; i < N_CELLS; i++)
		atomic_init(&r.cells[i], make(&r));
	spr_sync_yield_percent(yield_percent);
	pthread_barrier_init(&r.gate, NULL, N_READERS + 1);
	for (int i = 0; i < N_READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_cells, &r), 0);
	pthread_barrier_wait(&r.gate);
	change_cells(&r);
	atomic_store(&r.is_over, true);
	for (int i = 0; i < N_READERS; i++)
		pthread_join(readers[i], NULL);
	spr_sync_yield_percent(0);
	spr_epoch_free(r.epoch);
	assert_int_equal(atomic_load(&r.n_poisoned), 0);
	assert_int_equal(atomic_load(&r.n_failed), 0);
	pthread_barrier_destroy(&r.gate);
}

static void
test_no_reader_sees_poison(void **state)
{
	(void)state;
	race(0);
	race(5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_no_reader_sees_poison),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
