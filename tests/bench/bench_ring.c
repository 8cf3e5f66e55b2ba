/*
 * bench_ring - what a hand-over costs: the ring between two threads, and a wake-up through the eventcount.
 *
 * Prints TSV. Expected: alone is a few nanoseconds, the instructions; between two threads the travelling of cache lines is
 * an order of magnitude more, least when the ring is large enough to run apart. Waking a parked thread costs a thousand
 * times the instructions, which is why a batch is woken for once; a spinning one wakes with less spread.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/eventcount.h"
#include "base/ring.h"

#define N_ITEMS 4000000U
#define SPINS   256U
#define N_WAKES 5000U

static spr_ring *ring;

/* A short spin first: a system call a failed try would be all that is measured. */
static void
give_way(unsigned *n_failed)
{
	if (++*n_failed % SPINS != 0)
		__builtin_ia32_pause();
	else
		sched_yield();
}

static void *
produce(void *arg)
{
	unsigned n_full = 0;

	for (uintptr_t i = 1; i <= N_ITEMS; i++) {
		while (!spr_ring_try_push(ring, (void *)i))
			give_way(&n_full);
	}
	return (arg);
}

static void
bench_hand_over(unsigned slots)
{
	pthread_t producer;
	unsigned n_empty = 0;
	uint64_t began_ns;

	if (spr_ring_new(&ring, slots) != SPR_OK)
		abort();
	began_ns = spr_clock_now_ns();
	if (pthread_create(&producer, NULL, produce, NULL) != 0)
		abort();
	for (uintptr_t i = 1; i <= N_ITEMS;) {
		void *item = spr_ring_try_pop(ring);

		if (item == NULL) {
			give_way(&n_empty);
			continue;
		}
		if ((uintptr_t)item != i)
			abort();
		i++;
	}
	printf("ring_spsc\tslots=%u\tns_per_element\t%.1f\n", slots,
	       (double)(spr_clock_now_ns() - began_ns) / N_ITEMS);
	pthread_join(producer, NULL);
	spr_ring_free(ring);
}

/* One thread, push then pop: the instructions alone, nothing moves between caches. */
static void
bench_alone(void)
{
	uint64_t began_ns;

	if (spr_ring_new(&ring, 1024) != SPR_OK)
		abort();
	began_ns = spr_clock_now_ns();
	for (uintptr_t i = 1; i <= N_ITEMS; i++) {
		if (!spr_ring_try_push(ring, (void *)i) || (uintptr_t)spr_ring_try_pop(ring) != i)
			abort();
	}
	printf("ring_alone\tslots=1024\tns_per_element\t%.1f\n",
	       (double)(spr_clock_now_ns() - began_ns) / N_ITEMS);
	spr_ring_free(ring);
}

struct wakes {
	spr_ec ec;
	spr_ec answer;
	uint64_t spin_ns;
	_Atomic uint64_t woken_at_ns;
};

static void *
sleep_and_note(void *arg)
{
	struct wakes *w = arg;

	for (uint32_t i = 0; i < N_WAKES; i++) {
		spr_ec_wait(&w->ec, i, 0, w->spin_ns);
		/* relaxed: ordered by the wake (E3) */
		atomic_store_explicit(&w->woken_at_ns, spr_clock_now_ns(), memory_order_relaxed);
		spr_ec_wake(&w->answer);
	}
	return (NULL);
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return ((x > y) - (x < y));
}

static void
bench_wake(uint64_t spin_ns, uint64_t gap_ns)
{
	static uint64_t took_ns[N_WAKES];
	struct wakes w = {.spin_ns = spin_ns};
	pthread_t sleeper;

	spr_ec_init(&w.ec);
	spr_ec_init(&w.answer);
	if (pthread_create(&sleeper, NULL, sleep_and_note, &w) != 0)
		abort();
	for (uint32_t i = 0; i < N_WAKES; i++) {
		struct timespec gap = {.tv_nsec = (long)gap_ns};
		uint64_t began_ns;

		nanosleep(&gap, NULL); /* so that the sleeper is asleep, or in its spin */
		began_ns = spr_clock_now_ns();
		spr_ec_wake(&w.ec);
		spr_ec_wait(&w.answer, i, 0, 0);
		/* relaxed: ordered by the wake (E3) */
		took_ns[i] = atomic_load_explicit(&w.woken_at_ns, memory_order_relaxed) - began_ns;
	}
	pthread_join(sleeper, NULL);
	qsort(took_ns, N_WAKES, sizeof(took_ns[0]), compare);
	printf("wake\tspin_ns=%llu gap_ns=%llu\tp50_ns\t%llu\n", (unsigned long long)spin_ns,
	       (unsigned long long)gap_ns, (unsigned long long)took_ns[N_WAKES / 2]);
	printf("wake\tspin_ns=%llu gap_ns=%llu\tp99_ns\t%llu\n", (unsigned long long)spin_ns,
	       (unsigned long long)gap_ns, (unsigned long long)took_ns[N_WAKES * 99 / 100]);
}

int
main(void)
{
	printf("# what\tparameter\tunit\tvalue\n");
	bench_alone();
	for (unsigned slots = 64; slots <= 16384; slots *= 4)
		bench_hand_over(slots);
	bench_wake(0, 100000);
	bench_wake(200000, 100000);
	return (0);
}
