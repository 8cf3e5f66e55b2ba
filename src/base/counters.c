/*
 * counters - one block of plain adds per thread.
 *
 * The blocks are static: a thread's first count must not allocate, because counting goes on when
 * memory is gone. Their pages come into being when a thread first counts. A block whose thread has
 * ended goes to the next new thread, which counts on from what it finds: totals never go back, and
 * threads that come and go do not use up the blocks.
 */
#include "base/counters.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/mem.h"

const spr_counter_info spr_counter_table[] = {
#define X(id, the_metric, the_labels, the_help)                                                  \
	[SPR_C_##                                                                                \
	    id] = {.metric = the_metric,                                                         \
		   .labels = the_labels,                                                         \
		   .name = sizeof(the_labels) == 1 ? the_metric : the_metric "{" the_labels "}", \
		   .help = the_help},
    SPR_COUNTERS(X)
#undef X
};
_Static_assert(sizeof(spr_counter_table) / sizeof(spr_counter_table[0]) == SPR_N_COUNTERS,
	       "a row for each counter");

typedef struct block {
	_Atomic uint64_t values[SPR_N_COUNTERS] __attribute__((aligned(SPR_CACHELINE)));
	atomic_bool is_taken;
} block;

static block blocks[SPR_COUNTER_THREADS];
static block shared; /* for threads that found no block; added to atomically */

static atomic_uint n_blocks; /* blocks ever taken: how far a sum must look */
static _Thread_local block *mine;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool has_key; /* constant after once */

static void
give_back(void *arg)
{
	block *b = arg;

	mine = NULL;
	/* release: this thread's adds; pairs with the acquire in take_block */
	atomic_store_explicit(&b->is_taken, false, memory_order_release);
}

static void
make_key(void)
{
	has_key = pthread_key_create(&key, give_back) == 0;
}

static block *
take_block(void)
{
	for (unsigned i = 0; i < SPR_COUNTER_THREADS; i++) {
		bool expected = false;
		unsigned seen;

		/* acquire: the adds of the block's last owner; pairs with the release in give_back
		 */
		if (!atomic_compare_exchange_strong_explicit(&blocks[i].is_taken, &expected, true,
							     memory_order_acquire,
							     memory_order_relaxed))
			continue;
		/* relaxed: a sum that comes before it misses counts that are only just being made
		 */
		seen = atomic_load_explicit(&n_blocks, memory_order_relaxed);
		while (seen < i + 1 &&
		       !atomic_compare_exchange_weak_explicit(
			   &n_blocks, &seen, i + 1,
			   memory_order_relaxed /* a bound to look up to */, memory_order_relaxed))
			continue;
		return (&blocks[i]);
	}
	return (&shared);
}

static block *
first_count(void)
{
	block *b;

	pthread_once(&once, make_key);
	b = has_key ? take_block() : &shared;
	/* a block that cannot be given back at the thread's end would be lost */
	if (b != &shared && pthread_setspecific(key, b) != 0) {
		give_back(b);
		b = &shared;
	}
	mine = b;
	return (b);
}

void
spr_count_add(spr_counter counter, uint64_t n)
{
	block *b = mine != NULL ? mine : first_count();
	_Atomic uint64_t *value = &b->values[counter];

	if (b == &shared) {
		/* relaxed: a statistic */
		atomic_fetch_add_explicit(value, n, memory_order_relaxed);
		return;
	}
	/* relaxed, and no one step: this thread is the only writer */
	atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

uint64_t
spr_counter_sum(spr_counter counter)
{
	/* relaxed: a statistic */
	unsigned n = atomic_load_explicit(&n_blocks, memory_order_relaxed);
	uint64_t sum = atomic_load_explicit(&shared.values[counter], memory_order_relaxed);

	for (unsigned i = 0; i < n; i++)
		sum += atomic_load_explicit(&blocks[i].values[counter],
					    memory_order_relaxed); /* relaxed: as above */
	return (sum);
}
