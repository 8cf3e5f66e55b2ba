/*
 * Race test of subscriptions: readers resolve and explain while the writer changes everything but a
 * set of permanent subscriptions.
 *
 * In every lookup each permanent callback comes exactly once, no callback comes twice, and a "dead"
 * one, never subscribed but with an expired lease, never comes, though it shares entries with live
 * ones. What a reader holds stays readable after its section. The writer makes blocks, nodes, tables
 * and callbacks come and go all the time, and gives up the processor at the edges.
 */
#include "spr_test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/sync.h"
#include "route/subscriptions.h"

#define N_READERS     3
#define N_LAYERS      4
#define N_PERMANENT   40
#define N_ALONE       10 /* of them at the pattern that is alone in its predicate */
#define N_PASSING     100
#define N_SIDE        400 /* patterns beside the looked-up ones: they make the tables grow */
#define MIN_CHANGES   30000
#define MIN_LOOKUPS   2000 /* of each reader */
#define YIELD_PERCENT 3
#define NOW           INT64_C(1000)

static const char *const layers[N_LAYERS] = {"R", "R.B", "R.B.C", "R.B.C.D"};

/* SOLO ones are at the pattern ALONE only, so each removal is the callback's last. */
typedef enum kind { KEEP, LIVE, DEAD, SOLO, N_KINDS } kind;
static const char *const kind_names[N_KINDS] = {"keep", "live", "dead", "solo"};

/* Two predicates: one with all the layers, one with a single layer. */
#define DEEP  "R.B.C.D.E"
#define ALONE "Q"

static spr_epoch *epoch;
static spr_subscriptions *subs;
static pthread_barrier_t gate;
static atomic_bool is_over;

typedef struct reader {
	pthread_t thread;
	spr_epoch_record *record;
	uint64_t random;
	atomic_uint n_lookups;
	const char *_Atomic error; /* the first; read after joining */
	/* of one lookup */
	unsigned n_told[N_KINDS][N_PASSING];
	spr_matches now, before;
} reader;

static void
note(reader *r, const char *error)
{
	const char *none = NULL;

	(void)atomic_compare_exchange_strong(&r->error, &none, error);
}

static void
told(reader *r, const char *text)
{
	for (kind k = 0; k < N_KINDS; k++) {
		size_t len = strlen(kind_names[k]);
		long i;

		if (strncmp(text, kind_names[k], len) != 0 || text[len] != '-')
			continue;
		i = strtol(text + len + 1, NULL, 10);
		if (i >= 0 && i < N_PASSING) {
			r->n_told[k][i]++;
			return;
		}
	}
	note(r, "a callback nobody subscribed");
}

static void
check_told(reader *r, unsigned n_permanent)
{
	for (unsigned i = 0; i < N_PASSING; i++) {
		if (i < n_permanent && r->n_told[KEEP][i] == 0)
			note(r, "a permanent subscription was missed");
		if (r->n_told[KEEP][i] > 1 || r->n_told[LIVE][i] > 1 || r->n_told[SOLO][i] > 1)
			note(r, "a callback came twice");
		if (r->n_told[DEAD][i] > 0)
			note(r, "a dead lease was honoured");
	}
	memset(r->n_told, 0, sizeof(r->n_told));
	/* relaxed: a count */
	atomic_fetch_add_explicit(&r->n_lookups, 1, memory_order_relaxed);
}

static void
resolve(reader *r, const spr_predicate *predicate, unsigned n_permanent)
{
	if (spr_subscriptions_resolve(subs, r->record, predicate, NOW, SIZE_MAX, &r->now) != SPR_OK)
		note(r, "resolve failed");
	for (size_t i = 0; i < r->now.n; i++)
		told(r, spr_callback_text(r->now.callback[i]));
	check_told(r, n_permanent);
	if (spr_test_below(&r->random, 4) == 0) {
		spr_matches swap = r->before;

		/* held over some lookups; the texts must still be there */
		for (size_t i = 0; i < r->before.n; i++)
			told(r, spr_callback_text(r->before.callback[i]));
		memset(r->n_told, 0, sizeof(r->n_told));
		spr_matches_drop_from(subs, &swap, 0);
		r->before = r->now;
		r->now = swap;
	}
	spr_matches_drop_from(subs, &r->now, 0);
}

static void
on_layer(void *arg, unsigned n_segments)
{
	(void)arg;
	(void)n_segments;
}

static void
on_subscriber(void *arg, unsigned n_segments, const char *text, int64_t expires_s,
	      spr_verdict verdict)
{
	(void)n_segments;
	(void)expires_s;
	if (verdict == SPR_VERDICT_TOLD)
		told(arg, text);
}

static void *
read_all_the_time(void *arg)
{
	reader *r = arg;
	const spr_explain explain = {on_layer, on_subscriber, r};
	spr_predicate deep, alone;

	(void)spr_predicate_normalise(&deep, DEEP, strlen(DEEP));
	(void)spr_predicate_normalise(&alone, ALONE, strlen(ALONE));
	pthread_barrier_wait(&gate);
	while (!atomic_load(&is_over) && atomic_load(&r->error) == NULL) {
		switch (spr_test_below(&r->random, 4)) {
		case 0:
			if (spr_subscriptions_explain(subs, r->record, &deep, NOW, &explain) !=
			    SPR_OK)
				note(r, "explain failed");
			check_told(r, N_PERMANENT);
			break;
		case 1:
			resolve(r, &deep, N_PERMANENT);
			break;
		default:
			resolve(r, &alone, N_ALONE);
		}
	}
	spr_matches_drop_from(subs, &r->before, 0);
	spr_matches_fini(&r->before);
	spr_matches_fini(&r->now);
	return (NULL);
}

/* [writer] */
static void
change(const char *pattern, kind k, unsigned i, bool is_subscribed)
{
	char text[32];
	spr_predicate p;
	bool created = false;
	spr_err rv;

	snprintf(text, sizeof(text), "%s-%u", kind_names[k], i);
	assert_ok(spr_pattern_normalise(&p, pattern, strlen(pattern), true));
	if (is_subscribed) {
		assert_ok(spr_subscriptions_subscribe(subs, &p, text, strlen(text),
						      NOW - (k == DEAD), &created));
		return;
	}
	rv = spr_subscriptions_unsubscribe(subs, &p, text, strlen(text));
	assert_true(rv == SPR_OK || rv == SPR_E_NOT_FOUND);
}

/* Callbacks leave and come back, in other entries: a walk under way may meet one twice. */
static void
shuffle_alone(uint64_t *random)
{
	unsigned first = (unsigned)spr_test_below(random, 8);

	for (unsigned i = 0; i < 8; i++)
		change(ALONE, SOLO, i, false);
	for (unsigned i = 0; i < 8; i++)
		change(ALONE, SOLO, (first + i * 3) % 8, true);
}

/* A dead one leaves its entry to a live one and gets it back. */
static void
lend_entry(void)
{
	change(ALONE, DEAD, 0, false);
	change(ALONE, SOLO, 9, true);
	change(ALONE, SOLO, 9, false);
	change(ALONE, DEAD, 0, true);
}

static void
random_change(uint64_t *random)
{
	uint64_t what = spr_test_below(random, 100);
	unsigned i = (unsigned)spr_test_below(random, N_PASSING);
	const char *layer = layers[spr_test_below(random, N_LAYERS)];
	char side[16];

	if (what < 10) {
		/* permanent ones are renewed, at one of their layers */
		change(layers[i % N_PERMANENT % N_LAYERS], KEEP, i % N_PERMANENT, true);
	} else if (what < 30) {
		snprintf(side, sizeof(side), "S.%u", (unsigned)spr_test_below(random, N_SIDE));
		change(side, LIVE, i, spr_test_below(random, 2) == 0);
	} else if (what < 32) {
		for (i = 0; i < N_PASSING; i++) {
			change(layer, LIVE, i, false);
			change(layer, DEAD, i, false);
		}
	} else if (what < 40) {
		shuffle_alone(random);
	} else if (what < 60) {
		lend_entry();
	} else {
		change(layer, what % 2 == 0 ? LIVE : DEAD, i, spr_test_below(random, 5) < 3);
	}
	spr_epoch_collect(epoch);
}

static bool
all_have_read(reader readers[])
{
	for (unsigned i = 0; i < N_READERS; i++) {
		/* relaxed: a count */
		if (atomic_load_explicit(&readers[i].n_lookups, memory_order_relaxed) <
			MIN_LOOKUPS &&
		    atomic_load(&readers[i].error) == NULL)
			return (false);
	}
	return (true);
}

static void
write_until_all_have_read(reader readers[])
{
	uint64_t random = spr_test_seed();

	pthread_barrier_wait(&gate);
	for (unsigned n = 0; n < MIN_CHANGES || !all_have_read(readers); n++)
		random_change(&random);
	atomic_store(&is_over, true);
}

static void
test_permanent_subscriptions_come_exactly_once(void **state)
{
	static reader readers[N_READERS];

	(void)state;
	assert_ok(spr_epoch_new(&epoch));
	assert_ok(spr_subscriptions_new(&subs, epoch));
	for (unsigned i = 0; i < N_PERMANENT; i++) {
		change(layers[i % N_LAYERS], KEEP, i, true);
		if (i % 3 == 0) /* at two layers */
			change(layers[(i + 1) % N_LAYERS], KEEP, i, true);
		if (i < N_ALONE)
			change(ALONE, KEEP, i, true);
	}
	spr_sync_yield_percent(YIELD_PERCENT);
	assert_int_equal(pthread_barrier_init(&gate, NULL, N_READERS + 1), 0);
	for (unsigned i = 0; i < N_READERS; i++) {
		readers[i].random = spr_test_seed() + i + 1;
		assert_ok(spr_epoch_register(epoch, &readers[i].record));
		assert_int_equal(
		    pthread_create(&readers[i].thread, NULL, read_all_the_time, &readers[i]), 0);
	}
	write_until_all_have_read(readers);
	for (unsigned i = 0; i < N_READERS; i++) {
		assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
		spr_epoch_unregister(readers[i].record);
	}
	spr_sync_yield_percent(0);
	pthread_barrier_destroy(&gate);
	spr_subscriptions_free(subs);
	spr_epoch_free(epoch);
	for (unsigned i = 0; i < N_READERS; i++) {
		if (atomic_load(&readers[i].error) != NULL)
			fail_msg("reader %u: %s", i, atomic_load(&readers[i].error));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_permanent_subscriptions_come_exactly_once),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
