/*
 * control_desk - a control over a store on disk whose agents a test turns by hand, and slips: one
 * submitted request each, with the reply that came.
 */
#pragma once

#include <stdatomic.h>

#include "base/counters.h"
#include "control/control.h"
#include "control_env.h"

#define MANY 400

typedef struct desk desk;

/* One submitted request and its reply. */
typedef struct slip {
	desk *desk;
	char *text;
	char *reply;
	atomic_uint n_replies;
	const char *must_be_told; /* looked up at the moment of the reply */
	bool was_told;
} slip;

struct desk {
	spr_control_env env;
	spr_control *control;
	char *dir;
	char path[256];
	slip slip[MANY];
	unsigned n;
};

static inline int
setup(void **state)
{
	desk *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	d->dir = spr_test_tmpdir();
	snprintf(d->path, sizeof(d->path), "%s/s.db", d->dir);
	env_init(&d->env, d->path);
	assert_ok(spr_control_new(&d->control, &d->env));
	*state = d;
	return (0);
}

static inline int
teardown(void **state)
{
	desk *d = *state;

	spr_control_stop(d->control);
	spr_control_free(d->control);
	env_fini(&d->env);
	for (unsigned i = 0; i < d->n; i++) {
		free(d->slip[i].text);
		free(d->slip[i].reply);
	}
	spr_test_cleanup(d->dir);
	free(d);
	return (0);
}

static inline void
on_reply(void *arg, const char *text, size_t len)
{
	slip *s = arg;

	if (strlen(text) != len) {
		abort();
	}
	if (s->must_be_told != NULL) {
		s->was_told = is_told(&s->desk->env, "UN.A", s->must_be_told);
	}
	free(s->reply);
	s->reply = strdup(text);
	atomic_fetch_add(&s->n_replies, 1);
}

/* Single quotes stand for double ones. */
static inline slip *submit(desk *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline slip *
submit(desk *d, const char *format, ...)
{
	slip *s = &d->slip[d->n++];
	char text[512];
	va_list args;

	assert_true(d->n <= MANY);
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *p = text; *p != '\0'; p++) {
		*p = *p == '\'' ? '"' : *p;
	}
	s->desk = d;
	s->text = strdup(text);
	spr_control_submit(d->control, (const uint8_t *)s->text, strlen(s->text), on_reply, s);
	return (s);
}

static inline void
expect_reply(const slip *s, const char *part)
{
	assert_int_equal(atomic_load(&s->n_replies), 1);
	if (strstr(s->reply, part) == NULL) {
		fail_msg("%s: got %s, wanted %s", s->text, s->reply, part);
	}
}

#define OK            "\"ok\":true"
#define SUBSCRIBE     "{'op':'subscribe','pattern':'UN.A','callback':'http://%u'}"
#define IS_PENDING(s) assert_int_equal(atomic_load(&(s)->n_replies), 0)
#define COMMITS()     spr_counter_sum(SPR_C_STORE_COMMITS)

static inline uint64_t
subscriptions(desk *d)
{
	spr_subscriptions_stats stats;

	spr_subscriptions_get_stats(d->env.subscriptions, &stats);
	return (stats.subscriptions);
}

#define each(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
