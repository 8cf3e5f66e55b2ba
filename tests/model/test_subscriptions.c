/*
 * Model test of subscriptions: random changes and lookups, each compared with a naive twin that matches
 * by comparing strings.
 *
 * One thread is writer and reader by turns. That readers and writer meet in the middle of a walk is
 * tested too, and repeatably: explain calls back inside its epoch section, and the callback changes
 * subscriptions there. What nobody touched meanwhile must come out exactly once, what was there at no
 * time not at all. Fan-outs held from earlier lookups must stay readable whatever is unsubscribed and
 * reclaimed; checked builds overwrite reclaimed memory.
 */
#include "spr_test.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "route/subscriptions.h"

#define N_DEPTHS    5 /* 0 to 4 segments of 3 names */
#define N_PATTERNS  121
#define N_CALLBACKS 150
#define N_VIEWS     8
#define N_STEPS     100000
#define TIDE        4000
#define NOW         INT64_C(1000000)
#define ABSENT      INT64_MIN

/* A fan-out kept for later, with the texts it had. */
typedef struct view {
	spr_matches matches;
	char (*text)[16];
	size_t n;
} view;

typedef struct model {
	uint64_t random;
	unsigned percent_added;
	spr_epoch *epoch;
	spr_epoch_record *record;
	spr_subscriptions *subs;
	char pattern[N_PATTERNS][16];
	char callback[N_CALLBACKS][16];
	int64_t expires[N_PATTERNS][N_CALLBACKS]; /* the twin */
	view views[N_VIEWS];
	/* of an explain that is interrupted by changes */
	bool is_touched[N_PATTERNS][N_CALLBACKS];
	unsigned n_layers;
	unsigned n_told[N_CALLBACKS];
	unsigned n_met[N_PATTERNS][N_CALLBACKS];
	char predicate[32];
} model;

static uint64_t
below(model *m, uint64_t n)
{
	return (spr_test_below(&m->random, n));
}

/* Every pattern of up to 4 segments; one name is the beginning of another, on purpose. */
static void
make_texts(model *m)
{
	static const char *const names[] = {"A", "AB", "B"};
	unsigned n = 1, from = 0;

	for (unsigned depth = 1, to = 1; depth < N_DEPTHS; depth++, from = to, to = n) {
		for (unsigned parent = from; parent < to; parent++) {
			for (unsigned i = 0; i < 3; i++)
				snprintf(m->pattern[n++], sizeof(m->pattern[0]), "%s%s%s",
					 m->pattern[parent], depth > 1 ? "." : "", names[i]);
		}
	}
	assert_int_equal(n, N_PATTERNS);
	for (unsigned i = 0; i < N_CALLBACKS; i++)
		snprintf(m->callback[i], sizeof(m->callback[0]), "http://%u", i);
}

static int
setup(void **state)
{
	model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->random = spr_test_seed();
	assert_ok(spr_epoch_new(&m->epoch));
	assert_ok(spr_epoch_register(m->epoch, &m->record));
	assert_ok(spr_subscriptions_new(&m->subs, m->epoch));
	make_texts(m);
	for (unsigned p = 0; p < N_PATTERNS; p++) {
		for (unsigned c = 0; c < N_CALLBACKS; c++)
			m->expires[p][c] = ABSENT;
	}
	*state = m;
	return (0);
}

static void
drop_view(model *m, view *v)
{
	spr_matches_drop_from(m->subs, &v->matches, 0);
	free(v->text);
	v->text = NULL;
	v->n = 0;
}

static int
teardown(void **state)
{
	model *m = *state;

	for (unsigned i = 0; i < N_VIEWS; i++) {
		drop_view(m, &m->views[i]);
		spr_matches_fini(&m->views[i].matches);
	}
	spr_subscriptions_free(m->subs);
	spr_epoch_unregister(m->record);
	spr_epoch_free(m->epoch);
	free(m);
	return (0);
}

static spr_predicate
normalised(const char *text)
{
	spr_predicate p;

	assert_ok(spr_pattern_normalise(&p, *text != '\0' ? text : "*",
					*text != '\0' ? strlen(text) : 1, true));
	return (p);
}

/* Few patterns get most of the subscribers, so that some sets are large and most are small. */
static unsigned
random_pattern(model *m)
{
	return ((unsigned)(below(m, 2) == 0 ? below(m, 5) : below(m, N_PATTERNS)));
}

static void
subscribe(model *m, unsigned p, unsigned c, bool may_fail)
{
	int64_t expires = NOW + 2 - (int64_t)below(m, 4);
	spr_predicate pattern = normalised(m->pattern[p]);
	bool created = false, is_new = m->expires[p][c] == ABSENT;
	spr_err rv;

	if (may_fail)
		spr_mem_fail_at(1 + below(m, 4));
	rv = spr_subscriptions_subscribe(m->subs, &pattern, m->callback[c], strlen(m->callback[c]),
					 expires, &created);
	spr_mem_fail_at(0);
	if (may_fail && rv == SPR_E_NOMEM)
		return;
	assert_int_equal(rv, SPR_OK);
	assert_int_equal(created, is_new);
	m->expires[p][c] = expires;
}

static void
unsubscribe(model *m, unsigned p, unsigned c)
{
	spr_predicate pattern = normalised(m->pattern[p]);
	spr_err rv = spr_subscriptions_unsubscribe(m->subs, &pattern, m->callback[c],
						   strlen(m->callback[c]));

	assert_int_equal(rv, m->expires[p][c] == ABSENT ? SPR_E_NOT_FOUND : SPR_OK);
	m->expires[p][c] = ABSENT;
}

static void
change(model *m)
{
	unsigned p = random_pattern(m), c = (unsigned)below(m, N_CALLBACKS);

	m->is_touched[p][c] = true;
	if (below(m, 100) < m->percent_added)
		subscribe(m, p, c, below(m, 10) == 0);
	else
		unsubscribe(m, p, c);
}

/* All of a pattern's subscriptions at once: blocks and nodes go. */
static void
clear_pattern(model *m)
{
	unsigned p = random_pattern(m);

	for (unsigned c = 0; c < N_CALLBACKS; c++) {
		if (m->expires[p][c] != ABSENT)
			unsubscribe(m, p, c);
	}
}

static bool
matches(const char *pattern, const char *predicate)
{
	size_t n = strlen(pattern);

	return (n == 0 || (strncmp(pattern, predicate, n) == 0 &&
			   (predicate[n] == '\0' || predicate[n] == '.')));
}

static void
random_predicate(model *m)
{
	const char *text = m->pattern[1 + below(m, N_PATTERNS - 1)];

	snprintf(m->predicate, sizeof(m->predicate), "%s%s", text, below(m, 4) == 0 ? ".AB.C" : "");
}

static void
check_stats(model *m)
{
	spr_subscriptions_stats s;
	uint64_t n = 0, n_nodes = 0, n_callbacks = 0;
	bool is_used[N_CALLBACKS] = {false};

	for (unsigned p = 0; p < N_PATTERNS; p++) {
		uint64_t before = n;

		for (unsigned c = 0; c < N_CALLBACKS; c++) {
			n += m->expires[p][c] != ABSENT;
			is_used[c] |= m->expires[p][c] != ABSENT;
		}
		n_nodes += n > before;
	}
	for (unsigned c = 0; c < N_CALLBACKS; c++)
		n_callbacks += is_used[c];
	spr_subscriptions_get_stats(m->subs, &s);
	assert_int_equal(s.subscriptions, n);
	assert_int_equal(s.nodes, n_nodes);
	assert_int_equal(s.callbacks, n_callbacks);
}

static unsigned
callback_number(const char *text)
{
	unsigned n = 0;

	assert_int_equal(sscanf(text, "http://%u", &n), 1);
	assert_in_range(n, 0, N_CALLBACKS - 1);
	return (n);
}

/* Resolves into a view and compares with the twin. */
static void
resolve(model *m)
{
	view *v = &m->views[below(m, N_VIEWS)];
	spr_predicate predicate;
	unsigned n_live[N_CALLBACKS] = {0};
	size_t n_distinct = 0, n_all = 0, n_expired = 0;

	drop_view(m, v);
	random_predicate(m);
	predicate = normalised(m->predicate);
	assert_ok(spr_subscriptions_resolve(m->subs, m->record, &predicate, NOW, N_CALLBACKS,
					    &v->matches));
	for (unsigned p = 0; p < N_PATTERNS; p++) {
		for (unsigned c = 0; matches(m->pattern[p], m->predicate) && c < N_CALLBACKS; c++) {
			if (m->expires[p][c] == ABSENT)
				continue;
			n_expired += m->expires[p][c] < NOW;
			n_live[c] += m->expires[p][c] >= NOW;
		}
	}
	for (unsigned c = 0; c < N_CALLBACKS; c++) {
		n_distinct += n_live[c] > 0;
		n_all += n_live[c];
	}
	assert_int_equal(v->matches.n, n_distinct);
	assert_int_equal(v->matches.suppressed_expired, n_expired);
	assert_int_equal(v->matches.suppressed_duplicate, n_all - n_distinct);
	v->n = v->matches.n;
	v->text = calloc(v->n + 1, sizeof(*v->text));
	assert_non_null(v->text);
	for (size_t i = 0; i < v->n; i++) {
		unsigned c = callback_number(spr_callback_text(v->matches.callback[i]));

		assert_true(n_live[c] > 0);
		n_live[c] = 0; /* not twice */
		strcpy(v->text[i], m->callback[c]);
	}
}

/* What was held earlier has not changed. */
static void
check_views(model *m)
{
	for (unsigned i = 0; i < N_VIEWS; i++) {
		view *v = &m->views[i];

		assert_int_equal(v->matches.n, v->n);
		for (size_t j = 0; j < v->n; j++)
			assert_string_equal(spr_callback_text(v->matches.callback[j]), v->text[j]);
	}
}

static void
on_layer(void *arg, unsigned n_segments)
{
	model *m = arg;

	assert_int_equal(n_segments, m->n_layers);
	m->n_layers++;
	change(m);
}

/* The pattern of so many segments that is a prefix of the predicate. */
static unsigned
layer_pattern(const model *m, unsigned n_segments)
{
	for (unsigned p = 0; p < N_PATTERNS; p++) {
		unsigned n = m->pattern[p][0] != '\0';

		for (const char *at = m->pattern[p]; *at != '\0'; at++)
			n += *at == '.';
		if (n == n_segments && matches(m->pattern[p], m->predicate))
			return (p);
	}
	fail_msg("no pattern of %u segments is a prefix of %s", n_segments, m->predicate);
	return (0);
}

static void
on_subscriber(void *arg, unsigned n_segments, const char *text, int64_t expires_s,
	      spr_verdict verdict)
{
	model *m = arg;
	unsigned p = layer_pattern(m, n_segments), c = callback_number(text);

	m->n_met[p][c]++;
	if (!m->is_touched[p][c]) {
		assert_int_equal(expires_s, m->expires[p][c]);
		assert_int_equal(verdict == SPR_VERDICT_EXPIRED, expires_s < NOW);
	}
	assert_int_equal(verdict == SPR_VERDICT_EXPIRED, expires_s < NOW);
	m->n_told[c] += verdict == SPR_VERDICT_TOLD;
	assert_in_range(m->n_told[c], 0, 1);
	if (verdict == SPR_VERDICT_DUPLICATE)
		assert_int_equal(m->n_told[c], 1);
	for (uint64_t i = below(m, 4); i > 0; i--)
		change(m);
	if (below(m, 50) == 0) {
		for (unsigned i = 0; i < N_CALLBACKS; i++)
			m->is_touched[p][i] |= m->expires[p][i] != ABSENT && i % 2 == 0;
		for (unsigned i = 0; i < N_CALLBACKS; i += 2) {
			if (m->expires[p][i] != ABSENT)
				unsubscribe(m, p, i);
		}
	}
}

/* A walk with changes in the middle of it. */
static void
explain(model *m)
{
	const spr_explain e = {on_layer, on_subscriber, m};
	spr_predicate predicate;

	memset(m->is_touched, 0, sizeof(m->is_touched));
	memset(m->n_told, 0, sizeof(m->n_told));
	memset(m->n_met, 0, sizeof(m->n_met));
	m->n_layers = 0;
	random_predicate(m);
	predicate = normalised(m->predicate);
	assert_ok(spr_subscriptions_explain(m->subs, m->record, &predicate, NOW, &e));
	assert_int_equal(m->n_layers, predicate.n_segments + 1u);
	for (unsigned p = 0; p < N_PATTERNS; p++) {
		bool is_layer = matches(m->pattern[p], m->predicate);

		for (unsigned c = 0; c < N_CALLBACKS; c++) {
			if (!m->is_touched[p][c])
				assert_int_equal(m->n_met[p][c],
						 is_layer && m->expires[p][c] != ABSENT);
			if (!m->is_touched[p][c] && is_layer && m->expires[p][c] >= NOW)
				assert_int_equal(m->n_told[c], 1);
		}
	}
}

static void
test_random_transactions(void **state)
{
	model *m = *state;

	for (unsigned step = 0; step < N_STEPS; step++) {
		uint64_t what = below(m, 100);

		/* sets fill up, and run empty */
		m->percent_added = step / TIDE % 2 == 0 ? 65 : 35;
		if (what < 80)
			change(m);
		else if (what < 90)
			resolve(m);
		else if (what < 94)
			explain(m);
		else if (what < 95)
			clear_pattern(m);
		else if (what < 97)
			check_views(m);
		else if (what < 99)
			spr_epoch_collect(m->epoch);
		else
			spr_epoch_barrier(m->epoch);
		if (step % 100 == 0)
			check_stats(m);
	}
	check_views(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_random_transactions, setup, teardown),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
