/*
 * control_env - what the control tests stand on: a store, empty subscriptions, and two clocks that
 * only move when told.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "control/verbs.h"
#include "spr_test.h"

#define NOW_S INT64_C(1795527313) /* 2026-11-24T13:35:13Z */

static int64_t test_wall_s;
static uint64_t test_now_ns;

static int64_t
get_wall_s(void)
{
	return (test_wall_s);
}

static uint64_t
get_now_ns(void)
{
	return (test_now_ns);
}

static inline void
env_init(spr_control_env *env, const char *store)
{
	bool was_created = false;

	test_wall_s = NOW_S;
	test_now_ns = 1000 * SPR_NS_PER_S;
	*env = (spr_control_env){.instance = "b00t", .wall_s = get_wall_s, .now_ns = get_now_ns};
	atomic_init(&env->lease_default_s, 5 * 86400);
	atomic_init(&env->lease_min_s, 3600);
	atomic_init(&env->lease_max_s, 365 * 86400);
	atomic_init(&env->lease_grace_s, 86400);
	assert_ok(spr_epoch_new(&env->epoch));
	assert_ok(spr_subscriptions_new(&env->subscriptions, env->epoch));
	assert_ok(spr_store_open(&env->store, store, false, &was_created));
}

static inline void
env_fini(spr_control_env *env)
{
	spr_store_close(env->store);
	spr_subscriptions_free(env->subscriptions);
	spr_epoch_free(env->epoch);
}

/* Is this callback told about the predicate now? */
static inline bool
is_told(spr_control_env *env, const char *predicate, const char *callback)
{
	spr_epoch_record *record = NULL;
	spr_matches matches = {.n = 0};
	spr_predicate normal;
	bool is_found = false;

	if (spr_predicate_normalise(&normal, predicate, strlen(predicate)) != SPR_OK ||
	    spr_epoch_register(env->epoch, &record) != SPR_OK) {
		abort();
	}
	if (spr_subscriptions_resolve(env->subscriptions, record, &normal, test_wall_s, 1000,
				      &matches) != SPR_OK) {
		abort();
	}
	for (size_t i = 0; i < matches.n; i++) {
		is_found |= strcmp(spr_callback_text(matches.callback[i]), callback) == 0;
	}
	spr_matches_drop_from(env->subscriptions, &matches, 0);
	spr_matches_fini(&matches);
	spr_epoch_unregister(record);
	return (is_found);
}
