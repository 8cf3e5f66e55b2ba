/*
 * bench_predicate - nanoseconds to normalise one predicate, by kind of text. TSV on stdout.
 *
 * Each series goes through many different texts of five segments, so that branches cannot be learnt
 * by heart. One figure is the mean over one pass of all texts; p50 and p99 are over the passes.
 */
#include "base/clock.h"
#include "route/predicate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_TEXTS = 8192, N_PASSES = 200, TEXT_MAX = 256 };

static char texts[N_TEXTS][TEXT_MAX];
static size_t lens[N_TEXTS];

typedef struct series {
	const char *name;
	const char *letter; /* one character of the last three segments, in UTF-8 */
	const char *dot;
	const char *tail;
} series;

static uint32_t
random_below(uint32_t limit)
{
	static uint64_t state = 1;

	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return ((uint32_t)(state >> 33) % limit);
}

static size_t
make_text(char *out, const series *kind)
{
	char *at = out;

	for (int segment = 0; segment < 5; segment++) {
		uint32_t n = 2 + random_below(8);

		if (segment > 0)
			at = stpcpy(at, kind->dot);
		for (uint32_t i = 0; i < n; i++) {
			if (segment >= 2 && kind->letter != NULL)
				at = stpcpy(at, kind->letter);
			else
				*at++ = (char)((segment < 2 ? 'A' : 'a') + (int)random_below(26));
		}
	}
	at = stpcpy(at, kind->tail);
	return ((size_t)(at - out));
}

static int
compare_doubles(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return ((*x > *y) - (*x < *y));
}

static void
run(const series *kind)
{
	static spr_predicate p;
	double ns[N_PASSES];
	size_t bytes = 0;

	for (int i = 0; i < N_TEXTS; i++) {
		lens[i] = make_text(texts[i], kind);
		bytes += lens[i];
	}
	for (int pass = 0; pass < N_PASSES; pass++) {
		uint64_t start = spr_clock_now_ns();

		for (int i = 0; i < N_TEXTS; i++) {
			if (spr_predicate_normalise(&p, texts[i], lens[i]) != SPR_OK ||
			    p.n_segments != 5)
				abort();
		}
		ns[pass] = (double)(spr_clock_now_ns() - start) / N_TEXTS;
	}
	qsort(ns, N_PASSES, sizeof(ns[0]), compare_doubles);
	printf("%s\t%zu\t%.1f\t%.1f\n", kind->name, bytes / N_TEXTS, ns[N_PASSES / 2],
	       ns[N_PASSES * 99 / 100]);
}

int
main(void)
{
	static const series kinds[] = {
	    {"ascii", NULL, ".", ""},
	    {"ascii-wildcard", NULL, ".", ".*"},
	    {"ascii-empty-segments", NULL, "..", ""},
	    {"latin", "\xc3\xa9", ".", ""},
	    {"sharp-s", "\xc3\x9f", ".", ""},
	    {"han", "\xe4\xb8\xad", ".", ""},
	};

	printf("# normalise, 5 segments; expected: ascii far below the rest, which pay for each "
	       "code point\n");
	printf("kind\tmean_bytes\tp50_ns\tp99_ns\n");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		run(&kinds[i]);
	return (0);
}
