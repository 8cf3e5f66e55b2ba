/*
 * The answer table: nanoseconds per claim + acked, one thread, default sizes. TSV, one line a
 * series.
 *
 *   hot       the same 1,000 keys again and again without a window: everything is in the cache
 *   filling   new keys while the window fills: memory is touched for the first time
 *   full      new keys with the whole window remembered: each ack evicts the oldest
 *   copies    claims of remembered keys at random: nothing moves
 *
 * Expected: hot well under 100 ns; full a few cache misses above it (bucket, entry, and bucket and
 * neighbours of the evicted one); copies two misses.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "path/answers.h"

#define MAX_INFLIGHT 65536
#define WINDOW       1048576
#define N_HOT        4000000

/* splitmix64: stands for the hash of an id. */
static uint64_t
mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (x ^ (x >> 31));
}

static spr_answer_key
key_of(uint64_t i)
{
	return ((spr_answer_key){.low = mix(i), .high = mix(~i)});
}

static void
report(const char *series, uint64_t began_ns, uint64_t n)
{
	printf("%s\t%llu\t%.1f\n", series, (unsigned long long)n,
	       (double)(spr_clock_now_ns() - began_ns) / (double)n);
}

static spr_answer_stock stock; /* of the table that there is */

static spr_answers *
table(unsigned window)
{
	spr_answers *answers = NULL;

	stock = (spr_answer_stock){0};

	if (spr_answers_new(&answers, 1, MAX_INFLIGHT, window, 0) != SPR_OK) {
		fprintf(stderr, "%s\n", spr_error_text(SPR_E_NOMEM));
		exit(1);
	}
	return (answers);
}

/* Keys first..first + n - 1, the same `period` over and over. */
static void
cycle(spr_answers *answers, const char *series, uint64_t first, uint64_t n, uint64_t period)
{
	uint64_t began_ns = spr_clock_now_ns();
	uint32_t entry;

	for (uint64_t i = 0; i < n; i++) {
		if (spr_answers_claim(answers, &stock, key_of(first + i % period), &entry) !=
		    SPR_CLAIM_NEW)
			abort();
		spr_answers_acked(answers, entry);
	}
	report(series, began_ns, n);
}

static void
copies(spr_answers *answers, uint64_t first, uint64_t n)
{
	uint64_t began_ns = spr_clock_now_ns();
	uint32_t entry;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = first + mix(i) % WINDOW;

		if (spr_answers_claim(answers, &stock, key_of(at), &entry) != SPR_CLAIM_ACKED)
			abort();
	}
	report("copies", began_ns, n);
}

int
main(void)
{
	spr_answers *answers = table(0);

	printf("series\toperations\tns_each\n");
	cycle(answers, "hot", 0, N_HOT, 1000);
	spr_answers_free(answers);
	answers = table(WINDOW);
	cycle(answers, "filling", 0, WINDOW, WINDOW);
	cycle(answers, "full", WINDOW, 2 * (uint64_t)WINDOW, 2 * (uint64_t)WINDOW);
	copies(answers, 2 * (uint64_t)WINDOW, 2 * (uint64_t)WINDOW);
	spr_answers_free(answers);
	return (0);
}
