/*
 * bench_tally - how often each job and each ack came. A worker has a tally of its own: a bit for each (notification,
 * callback), or, when what comes has no callback since a bare relay sent it, a counter for each notification. At the end those
 * of all workers are laid over each other.
 *
 * Writer      one a tally
 * Reader      anybody may ask whether a job has come; the rest when the writers have stopped
 * Memory      mapped for the most that may come, and touched as it comes
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bench_tally {
	uint64_t *bits;   /* by number * width + callback */
	uint32_t *counts; /* by number; NULL: bits */
	size_t mapped;
	uint32_t numbers; /* how many there may be */
	unsigned width;
	uint64_t twice;   /* came again, to this one */
	uint64_t foreign; /* what nobody has sent or asked for */
} bench_tally;

/* width: callbacks a notification; is_counting: what comes has none. False without memory. */
bool bench_tally_init(bench_tally *t, uint32_t numbers, unsigned width, bool is_counting);
void bench_tally_fini(bench_tally *t);

/*
 * relaxed throughout: one writer; what a reader must see has gone through sockets in between
 * False when this tally has it already, or it is foreign; counters do not know.
 */
static inline bool
bench_tally_add(bench_tally *t, uint32_t number, unsigned callback)
{
	uint64_t at = (uint64_t)number * t->width + callback, bit = UINT64_C(1) << at % 64, word;

	if (number >= t->numbers || (callback >= t->width && t->counts == NULL)) {
		t->foreign++;
		return (false);
	}
	if (t->counts != NULL) {
		t->counts[number]++;
		return (true);
	}
	word = __atomic_load_n(&t->bits[at / 64], __ATOMIC_RELAXED);
	t->twice += (word & bit) != 0;
	__atomic_store_n(&t->bits[at / 64], word | bit, __ATOMIC_RELAXED);
	return ((word & bit) == 0);
}

/* Has each callback of this notification come to one of the n tallies? Bits only. */
bool bench_tally_is_whole(const bench_tally *const *tallies, unsigned n, uint32_t number);

typedef struct bench_verdict {
	uint64_t missing, twice, foreign;
} bench_verdict;

/* What n tallies say together about the first `numbers` notifications, of which is_hit() says which have jobs at all. */
bench_verdict bench_tally_judge(const bench_tally *const *tallies, unsigned n, uint32_t numbers,
				bool (*is_hit)(const void *arg, uint32_t number), const void *arg);
