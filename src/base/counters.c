/*
 * counters - one block of plain adds per thread, for counters and histograms.
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

#define NAMED(metric, labels) (sizeof(labels) == 1 ? metric : metric "{" labels "}")

const spr_gauge_info spr_gauge_table[] = {
#define X(id, the_type, the_metric, the_labels, the_help)      \
	[SPR_G_##id] = {.metric = the_metric,                  \
			.labels = the_labels,                  \
			.name = NAMED(the_metric, the_labels), \
			.help = the_help,                      \
			.type = SPR_GAUGE_##the_type},
    SPR_GAUGES(X)
#undef X
};

const spr_histogram_info spr_histogram_table[] = {
#define X(id, the_metric, the_labels, the_unit, the_first, the_step, the_n, the_help) \
	[SPR_H_##id] = {.metric = the_metric,                                         \
			.labels = the_labels,                                         \
			.help = the_help,                                             \
			.unit = SPR_UNIT_##the_unit,                                  \
			.first = the_first,                                           \
			.step = the_step,                                             \
			.n = the_n},
    SPR_HISTOGRAMS(X)
#undef X
};

typedef struct histogram {
	_Atomic uint64_t bucket[SPR_HISTOGRAM_BUCKETS];
	_Atomic uint64_t sum;
} histogram;

typedef struct block {
	_Atomic uint64_t values[SPR_N_COUNTERS] __attribute__((aligned(SPR_CACHELINE)));
	histogram histograms[SPR_N_HISTOGRAMS];
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

/* One thread's own block needs no atomic step: it is the only writer. */
static inline void
add(const block *b, _Atomic uint64_t *value, uint64_t n)
{
	/* relaxed throughout: a statistic */
	if (b == &shared)
		atomic_fetch_add_explicit(value, n, memory_order_relaxed);
	else
		atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n,
				      memory_order_relaxed /* as above */);
}

void
spr_count_add(spr_counter counter, uint64_t n)
{
	block *b = mine != NULL ? mine : first_count();

	add(b, &b->values[counter], n);
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

/* Four buckets a power of two, each with its upper bound and without its lower one. */
static inline unsigned
bucket_of(uint64_t value)
{
	uint64_t below = value > 0 ? value - 1 : 0;
	unsigned power, bucket;

	if (below < 4)
		return ((unsigned)below);
	power = 63 - (unsigned)__builtin_clzll(below);
	bucket = (power - 1) * 4 + (unsigned)((below >> (power - 2)) & 3);
	return (bucket < SPR_HISTOGRAM_BUCKETS ? bucket : SPR_HISTOGRAM_BUCKETS - 1);
}

uint64_t
spr_histogram_bound(unsigned bucket)
{
	unsigned power = bucket / 4 + 1;

	return (bucket < 4 ? bucket + 1 : (uint64_t)(5 + bucket % 4) << (power - 2));
}

void
spr_histogram_add(spr_histogram which, uint64_t value)
{
	block *b = mine != NULL ? mine : first_count();
	histogram *h = &b->histograms[which];

	add(b, &h->bucket[bucket_of(value)], 1);
	add(b, &h->sum, value);
}

static void
collect(const histogram *h, spr_histogram_sum *out)
{
	for (unsigned i = 0; i < SPR_HISTOGRAM_BUCKETS; i++) {
		/* relaxed: a statistic */
		uint64_t n = atomic_load_explicit(&h->bucket[i], memory_order_relaxed);

		out->bucket[i] += n;
		out->n += n;
	}
	out->sum += atomic_load_explicit(&h->sum, memory_order_relaxed); /* relaxed: as above */
}

void
spr_histogram_read(spr_histogram which, spr_histogram_sum *out)
{
	/* relaxed: a statistic */
	unsigned n = atomic_load_explicit(&n_blocks, memory_order_relaxed);

	*out = (spr_histogram_sum){.n = 0};
	collect(&shared.histograms[which], out);
	for (unsigned i = 0; i < n; i++)
		collect(&blocks[i].histograms[which], out);
}

uint64_t
spr_histogram_up_to(const spr_histogram_sum *sum, unsigned power)
{
	uint64_t n = 0;

	for (unsigned i = 0;
	     i < SPR_HISTOGRAM_BUCKETS && spr_histogram_bound(i) <= UINT64_C(1) << power; i++)
		n += sum->bucket[i];
	return (n);
}
