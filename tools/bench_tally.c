/*
 * bench_tally - laying the workers' tallies over each other: what is in none is missing, what is in two came twice.
 */
#include "bench_tally.h"

#include <string.h>
#include <sys/mman.h>

bool
bench_tally_init(bench_tally *t, uint32_t numbers, unsigned width, bool is_counting)
{
	uint64_t bits = (uint64_t)numbers * (width > 0 ? width : 1);
	size_t size = is_counting ? (size_t)numbers * sizeof(*t->counts)
				  : (size_t)(bits / 64 + 1) * sizeof(*t->bits);
	void *memory = mmap(NULL, size + 1, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	memset(t, 0, sizeof(*t));
	if (memory == MAP_FAILED)
		return (false);
	*t = (bench_tally){.mapped = size + 1, .numbers = numbers, .width = width};
	if (is_counting)
		t->counts = memory;
	else
		t->bits = memory;
	return (true);
}

void
bench_tally_fini(bench_tally *t)
{
	if (t->mapped > 0)
		munmap(t->counts != NULL ? (void *)t->counts : (void *)t->bits, t->mapped);
	memset(t, 0, sizeof(*t));
}

/* Up to 64 bits from `at`. */
static uint64_t
bits_at(const bench_tally *t, uint64_t at, unsigned n)
{
	uint64_t word = __atomic_load_n(&t->bits[at / 64], __ATOMIC_RELAXED) >> at % 64;

	if (at % 64 + n > 64)
		word |= __atomic_load_n(&t->bits[at / 64 + 1], __ATOMIC_RELAXED) << (64 - at % 64);
	return (n == 64 ? word : word & ((UINT64_C(1) << n) - 1));
}

/* Of one notification: how many callbacks came to none, and how often one came to a further one. */
static void
judge_bits(const bench_tally *const *tallies, unsigned n, uint32_t number, bench_verdict *verdict)
{
	unsigned width = tallies[0]->width, step;
	uint64_t at = (uint64_t)number * width;

	for (unsigned done = 0; done < width; done += step, at += step) {
		uint64_t seen = 0;

		step = width - done < 64 ? width - done : 64;
		for (unsigned i = 0; i < n; i++) {
			uint64_t word = bits_at(tallies[i], at, step);

			verdict->twice += (uint64_t)__builtin_popcountll(seen & word);
			seen |= word;
		}
		verdict->missing += step - (uint64_t)__builtin_popcountll(seen);
	}
}

static void
judge_counts(const bench_tally *const *tallies, unsigned n, uint32_t number, bench_verdict *verdict)
{
	uint64_t seen = 0;

	for (unsigned i = 0; i < n; i++)
		seen += tallies[i]->counts[number];
	if (seen < tallies[0]->width)
		verdict->missing += tallies[0]->width - seen;
	else
		verdict->twice += seen - tallies[0]->width;
}

bool
bench_tally_is_whole(const bench_tally *const *tallies, unsigned n, uint32_t number)
{
	bench_verdict verdict = {0};

	judge_bits(tallies, n, number, &verdict);
	return (verdict.missing == 0);
}

bench_verdict
bench_tally_judge(const bench_tally *const *tallies, unsigned n, uint32_t numbers,
		  bool (*is_hit)(const void *arg, uint32_t number), const void *arg)
{
	bench_verdict verdict = {0};

	for (unsigned i = 0; i < n; i++) {
		verdict.twice += tallies[i]->twice;
		verdict.foreign += tallies[i]->foreign;
	}
	for (uint32_t number = 0; number < numbers; number++) {
		bench_verdict one = {0};

		if (tallies[0]->counts != NULL)
			judge_counts(tallies, n, number, &one);
		else
			judge_bits(tallies, n, number, &one);
		if (is_hit(arg, number)) {
			verdict.missing += one.missing;
			verdict.twice += one.twice;
		} else if (tallies[0]->counts == NULL)
			verdict.foreign += tallies[0]->width - one.missing;
	}
	return (verdict);
}
