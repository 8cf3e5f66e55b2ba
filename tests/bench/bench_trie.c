/*
 * bench_trie - what routing costs with a million subscriptions.
 *
 * The data: a tree of 100,000 patterns, ten below each up to five segments deep, so every layer of a
 * predicate has subscribers; ten callbacks of 60 bytes on each pattern, 100,000 distinct ones.
 *
 *   load       seconds and bytes (of the process) for all of them, through spr_subscriptions
 *   lookup     normalise, enter, find the layers, leave; nothing copied out. `hot` repeats 64 predicates,
 *              `uniform` takes any. `churn`: in turn with and without a
 *              writer that makes 50,000 changes a second
 *   resolve    the same with the 50 callbacks held, made distinct, and dropped
 *   change     subscribe and unsubscribe on a pattern with 10 and with 50,000 subscribers
 *
 * One line a series: name, ns (best and median of the rounds). Expected shape: uniform two or three times
 * hot (the cache misses of a lookup overlap), churn within 1.2 of quiet, change the same for 10 and 50,000.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "route/callbacks.h"
#include "route/trie.h"

#define N_PATTERNS     100000
#define N_EACH         10
#define N_CALLBACKS    100000
#define CALLBACK_LEN   60
#define N_HOT          64
#define N_WARM_UP      50
#define N_ROUNDS       101
#define ROUND          2000
#define CHURN_PER_S    50000
#define CHURN_ROUND    50000
#define N_CHURN_ROUNDS 51
#define N_LARGE        50000
#define NEVER          INT64_MAX

static char (*patterns)[48];
static char (*callbacks)[CALLBACK_LEN + 1];
static volatile uint64_t sink;

static uint64_t
random_below(uint64_t n)
{
	static _Thread_local uint64_t x = UINT64_C(0x9e3779b97f4a7c15);

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return ((x >> 16) % n);
}

static void
must(spr_err rv)
{
	if (rv != SPR_OK) {
		fprintf(stderr, "%s\n", spr_error_text(rv));
		exit(1);
	}
}

/* Pattern i is its parent's text and one more segment; ten roots, ten below each. */
static void
make_texts(void)
{
	if ((patterns = calloc(N_PATTERNS, sizeof(*patterns))) == NULL ||
	    (callbacks = calloc(N_CALLBACKS, sizeof(*callbacks))) == NULL)
		must(SPR_E_NOMEM);
	for (int i = 0; i < N_PATTERNS; i++) {
		const char *parent = i < 10 ? "" : patterns[i / 10 - 1];

		snprintf(patterns[i], sizeof(patterns[i]), "%.36s%sSEG%05d", parent,
			 i < 10 ? "" : ".", i % 99991);
	}
	for (int i = 0; i < N_CALLBACKS; i++)
		snprintf(callbacks[i], sizeof(callbacks[i]),
			 "https://subscriber-%06d.example.org/hooks/trade/sink/%05d", i, i);
}

/* Of the i-th subscription; those of one pattern differ. */
static int
callback_of(int i)
{
	return ((int)(((uint64_t)i * 7919 + (uint64_t)(i / N_PATTERNS)) % N_CALLBACKS));
}

static void
normalise(spr_predicate *p, int i)
{
	must(spr_predicate_normalise(p, patterns[i], strlen(patterns[i])));
}

static size_t
resident_bytes(void)
{
	unsigned long pages = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f == NULL || fscanf(f, "%lu %lu", &pages, &resident) != 2)
		exit(1);
	fclose(f);
	return (resident * (size_t)sysconf(_SC_PAGESIZE));
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return ((x > y) - (x < y));
}

/* Runs op `round` times a round, some rounds not counted first; prints and returns the median cost of one. */
static double
measure_round(const char *name, unsigned round, void (*op)(void *arg), void *arg)
{
	double ns[N_ROUNDS];

	for (int i = -N_WARM_UP; i < N_ROUNDS; i++) {
		uint64_t start = spr_clock_now_ns();

		for (unsigned j = 0; j < round; j++)
			op(arg);
		if (i >= 0)
			ns[i] = (double)(spr_clock_now_ns() - start) / round;
	}
	qsort(ns, N_ROUNDS, sizeof(*ns), by_value);
	printf("%s\t%.0f\t%.0f\n", name, ns[0], ns[N_ROUNDS / 2]);
	return (ns[N_ROUNDS / 2]);
}

static double
measure(const char *name, void (*op)(void *arg), void *arg)
{
	return (measure_round(name, ROUND, op, arg));
}

/* One lookup bench: a trie of its own, since spr_subscriptions does not show the one it has. */
typedef struct lookup_bench {
	spr_epoch *epoch;
	spr_epoch_record *record;
	spr_space space;
	spr_trie trie;
	spr_callbacks callbacks;
	bool is_hot;
	unsigned n_layers;                   /* of the last lookup */
	atomic_bool is_churning, is_stopped; /* for the writer */
} lookup_bench;

/* Adds the subscription, or removes it when it is there. */
static void
toggle(lookup_bench *b, int pattern, int callback)
{
	spr_predicate p;
	spr_trie_node *node;
	spr_place place;
	spr_callback *c = spr_callbacks_intern(&b->callbacks, callbacks[callback], CALLBACK_LEN);

	normalise(&p, pattern);
	node = spr_trie_get(&b->trie, &p);
	if (c == NULL)
		must(SPR_E_NOMEM);
	if (node != NULL && spr_set_find(&node->set, c, &place)) {
		spr_set_remove(&node->set, &b->space, place);
		spr_callbacks_release(&b->callbacks, c);
		spr_callbacks_release(&b->callbacks, c);
		if (spr_set_n(&node->set) == 0)
			spr_trie_remove(&b->trie, node);
	} else if (node != NULL) {
		must(spr_set_add(&node->set, &b->space, c, NEVER));
	} else {
		node = spr_trie_node_new(&b->trie, &p);
		must(node != NULL ? SPR_OK : SPR_E_NOMEM);
		must(spr_set_add(&node->set, &b->space, c, NEVER));
		must(spr_trie_insert(&b->trie, node));
	}
}

static void *
churn(void *arg)
{
	lookup_bench *b = arg;
	uint64_t last_ns = spr_clock_now_ns(), now_ns, due = 0;

	/* in lumps of 50, a millisecond each; every change comes twice, so the size stays */
	for (; !atomic_load(&b->is_stopped); last_ns = now_ns) {
		usleep(1000);
		now_ns = spr_clock_now_ns();
		if (!atomic_load(&b->is_churning))
			continue;
		for (due += (now_ns - last_ns) * CHURN_PER_S; due >= 2 * SPR_NS_PER_S;
		     due -= 2 * SPR_NS_PER_S) {
			int pattern = (int)random_below(N_PATTERNS);
			int callback = (int)random_below(N_CALLBACKS);

			toggle(b, pattern, callback);
			toggle(b, pattern, callback);
			spr_epoch_collect(b->epoch);
		}
	}
	return (NULL);
}

static void
lookup(void *arg)
{
	lookup_bench *b = arg;
	const spr_trie_node *layer[SPR_TRIE_LAYERS];
	spr_predicate p;

	normalise(&p, b->is_hot ? N_PATTERNS - 1 - (int)random_below(N_HOT) * 997
				: N_PATTERNS / 9 + (int)random_below(N_PATTERNS - N_PATTERNS / 9));
	spr_epoch_enter(b->record);
	b->n_layers = spr_trie_find(&b->trie, &p, layer);
	spr_epoch_leave(b->record);
}

static void
release(void *arg, spr_callback *callback)
{
	spr_callbacks_release(arg, callback);
}

static void
fill(lookup_bench *b)
{
	must(spr_epoch_new(&b->epoch));
	must(spr_epoch_register(b->epoch, &b->record));
	b->space.epoch = b->epoch;
	spr_trie_init(&b->trie, &b->space, 1);
	spr_callbacks_init(&b->callbacks, &b->space, 2);
	for (int i = 0; i < N_PATTERNS * N_EACH; i++)
		toggle(b, i % N_PATTERNS, callback_of(i));
}

static double
time_lookups(lookup_bench *b, bool is_churning)
{
	uint64_t start_ns;

	atomic_store(&b->is_churning, is_churning);
	usleep(2000); /* the writer has seen it */
	start_ns = spr_clock_now_ns();
	for (unsigned i = 0; i < CHURN_ROUND; i++)
		lookup(b);
	return ((double)(spr_clock_now_ns() - start_ns) / CHURN_ROUND);
}

/* Quiet and with the writer in turn, each longer than the writer's millisecond. */
static void
bench_churn(lookup_bench *b, const char *name)
{
	double with_ns[N_CHURN_ROUNDS], ratio[N_CHURN_ROUNDS];

	for (int i = 0; i < N_CHURN_ROUNDS; i++) {
		double quiet_ns = time_lookups(b, false);

		with_ns[i] = time_lookups(b, true);
		ratio[i] = with_ns[i] / quiet_ns;
	}
	qsort(with_ns, N_CHURN_ROUNDS, sizeof(*with_ns), by_value);
	qsort(ratio, N_CHURN_ROUNDS, sizeof(*ratio), by_value);
	printf("%s\t%.0f\t%.0f\n  churn/quiet %.2f\n", name, with_ns[0],
	       with_ns[N_CHURN_ROUNDS / 2], ratio[N_CHURN_ROUNDS / 2]);
}

static void
bench_lookup(void)
{
	static lookup_bench b;
	pthread_t writer;

	fill(&b);
	for (int hot = 1; hot >= 0; hot--) {
		b.is_hot = hot != 0;
		(void)measure(hot ? "lookup hot" : "lookup uniform", lookup, &b);
		must(b.n_layers == 5 ? SPR_OK : SPR_E_NOT_FOUND);
	}
	if (pthread_create(&writer, NULL, churn, &b) != 0)
		exit(1);
	for (int hot = 1; hot >= 0; hot--) {
		b.is_hot = hot != 0;
		bench_churn(&b, hot ? "lookup hot churn" : "lookup uniform churn");
	}
	atomic_store(&b.is_stopped, true);
	pthread_join(writer, NULL);
	spr_trie_fini(&b.trie, release, &b.callbacks);
	spr_callbacks_fini(&b.callbacks);
	spr_epoch_unregister(b.record);
	spr_epoch_free(b.epoch);
}

typedef struct whole_bench {
	spr_epoch *epoch;
	spr_epoch_record *record;
	spr_subscriptions *subs;
	spr_matches matches;
	spr_predicate pattern; /* of change */
	bool is_hot;
} whole_bench;

static void
subscribe(whole_bench *b, const spr_predicate *p, const char *callback)
{
	bool created = false;

	must(spr_subscriptions_subscribe(b->subs, p, callback, strlen(callback), NEVER, &created));
}

static void
load(whole_bench *b)
{
	size_t before = resident_bytes();
	uint64_t start = spr_clock_now_ns();
	spr_subscriptions_stats stats;
	spr_predicate p;

	for (int i = 0; i < N_PATTERNS * N_EACH; i++) {
		normalise(&p, i % N_PATTERNS);
		subscribe(b, &p, callbacks[callback_of(i)]);
		spr_epoch_collect(b->epoch);
	}
	spr_subscriptions_get_stats(b->subs, &stats);
	printf("load\t%.2f s\t%.0f bytes a subscription (%.0f without malloc's)\n",
	       (double)(spr_clock_now_ns() - start) / 1e9,
	       (double)(resident_bytes() - before) / (double)stats.subscriptions,
	       (double)stats.bytes / (double)stats.subscriptions);
}

static void
resolve(void *arg)
{
	whole_bench *b = arg;
	spr_predicate p;

	normalise(&p, b->is_hot ? N_PATTERNS - 1 - (int)random_below(N_HOT) * 997
				: N_PATTERNS / 9 + (int)random_below(N_PATTERNS - N_PATTERNS / 9));
	must(spr_subscriptions_resolve(b->subs, b->record, &p, 0, SIZE_MAX, &b->matches));
	sink += b->matches.n;
	spr_matches_drop_from(b->subs, &b->matches, 0);
}

static void
change(void *arg)
{
	static const char fresh[] =
	    "https://subscriber-fresh.example.org/hooks/notifications/fresh";
	whole_bench *b = arg;

	subscribe(b, &b->pattern, fresh);
	must(spr_subscriptions_unsubscribe(b->subs, &b->pattern, fresh, sizeof(fresh) - 1));
	spr_epoch_collect(b->epoch);
}

static void
resolve_large(void *arg)
{
	whole_bench *b = arg;

	must(spr_subscriptions_resolve(b->subs, b->record, &b->pattern, 0, SIZE_MAX, &b->matches));
	must(b->matches.n >= N_LARGE ? SPR_OK : SPR_E_NOT_FOUND);
	spr_matches_drop_from(b->subs, &b->matches, 0);
}

static void
bench_change(whole_bench *b)
{
	double small, large;

	normalise(&b->pattern, N_PATTERNS - 1);
	small = measure("change at 10", change, b);
	for (int i = 0; i < N_LARGE; i++)
		subscribe(b, &b->pattern, callbacks[i]);
	large = measure("change at 50000", change, b);
	printf("  50000/10 %.2f\n", large / small);
	(void)measure_round("resolve 50000", 1, resolve_large, b);
}

int
main(void)
{
	whole_bench b = {0};

	make_texts();
	must(spr_epoch_new(&b.epoch));
	must(spr_epoch_register(b.epoch, &b.record));
	must(spr_subscriptions_new(&b.subs, b.epoch));
	load(&b);
	b.is_hot = true;
	(void)measure("resolve hot", resolve, &b);
	b.is_hot = false;
	(void)measure("resolve uniform", resolve, &b);
	bench_change(&b);
	spr_matches_fini(&b.matches);
	spr_subscriptions_free(b.subs);
	spr_epoch_unregister(b.record);
	spr_epoch_free(b.epoch);
	bench_lookup();
	free(patterns);
	free(callbacks);
	return (0);
}
