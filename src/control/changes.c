/*
 * changes - the verbs that change subscriptions, and the way of a change: checked, stored,
 * published, answered.
 *
 * Checking needs no lock and is done by the reader, before any transaction: what reaches the writer
 * can only fail for the store's or memory's reasons, so one bad request never costs its neighbours
 * in the same transaction.
 *
 * A change that is stored but could not be published is answered with an error, and the same
 * request sent again mends it: storing again is harmless, and a removal is published even when the
 * store no longer has the row.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/json_strict.h"
#include "control/verbs.h"

/* ---------------------------------------------------------------------------------------------
 * checking */

static spr_err
check_lease_seconds(const cJSON *member, const spr_control_env *env, int64_t now_s,
		    int64_t *expires_s)
{
	/* relaxed, all three: single values of a reload; which side of it a request falls on does
	 * not matter */
	int64_t lease = atomic_load_explicit(&env->lease_default_s, memory_order_relaxed);
	int64_t min = atomic_load_explicit(&env->lease_min_s, memory_order_relaxed);
	int64_t max = atomic_load_explicit(&env->lease_max_s, memory_order_relaxed);

	if (member != NULL) {
		double given = member->valuedouble;

		/* the range first: what passes it fits an int64_t */
		if (!cJSON_IsNumber(member) || given < (double)min || given > (double)max ||
		    given != (double)(int64_t)given) {
			return (spr_fail(SPR_E_BAD_LEASE,
					 "lease_seconds: must be an integer from %lld to %lld",
					 (long long)min, (long long)max));
		}
		lease = (int64_t)given;
	}
	*expires_s = now_s + lease;
	return (SPR_OK);
}

/* An exported row may have expired on its way: importing it is fine, it is suppressed and swept
 * like any other. */
static spr_err
check_expires_at(const cJSON *member, const spr_control_env *env, int64_t now_s, int64_t *expires_s)
{
	/* relaxed: as above */
	int64_t max = atomic_load_explicit(&env->lease_max_s, memory_order_relaxed);
	int64_t given = 0;

	if (!cJSON_IsString(member) || !spr_clock_parse(member->valuestring, &given)) {
		return (spr_fail(SPR_E_BAD_LEASE, "expires_at: must be an RFC 3339 time"));
	}
	if (given > now_s + max) {
		return (spr_fail(SPR_E_BAD_LEASE,
				 "expires_at: must be at most %lld seconds from now",
				 (long long)max));
	}
	*expires_s = given;
	return (SPR_OK);
}

static spr_err
check_names(const cJSON *object, const spr_control_env *env, spr_change *change)
{
	const char *pattern = NULL, *callback = NULL;
	spr_predicate normal;
	spr_err rv = SPR_OK;

	if ((rv = spr_request_string(object, "pattern", &pattern)) != SPR_OK ||
	    (rv = spr_request_string(object, "callback", &callback)) != SPR_OK) {
		return (rv);
	}
	/* what is there can be removed, whatever the rules have become since */
	if ((rv = spr_pattern_normalise(&normal, pattern, strlen(pattern),
					env->allow_catch_all || change->is_removal)) != SPR_OK) {
		spr_wrap("pattern");
		return (rv);
	}
	if (!change->is_removal &&
	    ((rv = spr_callback_check(callback, strlen(callback))) != SPR_OK ||
	     (rv = spr_host_rules_admit(env->callback_rules, callback)) != SPR_OK)) {
		spr_wrap("callback");
		return (rv);
	}
	if ((change->pattern = spr_mem_strdup(spr_pattern_text(&normal))) == NULL) {
		return (spr_fail(SPR_E_NOMEM, "out of memory"));
	}
	change->callback = callback;
	return (SPR_OK);
}

static spr_err
alloc_changes(spr_request *request, size_t n)
{
	request->change = spr_mem_alloc(n * sizeof(*request->change));
	return (request->change != NULL ? SPR_OK : spr_fail(SPR_E_NOMEM, "out of memory"));
}

spr_err
spr_verb_subscribe(spr_request *request, const spr_control_env *env)
{
	spr_change change = {.is_removal = false};
	spr_err rv = SPR_OK;

	if ((rv = check_lease_seconds(spr_json_last(request->json, "lease_seconds"), env,
				      spr_control_wall_s(env), &change.expires_s)) != SPR_OK ||
	    (rv = alloc_changes(request, 1)) != SPR_OK ||
	    (rv = check_names(request->json, env, &change)) != SPR_OK) {
		return (rv);
	}
	request->change[request->n_changes++] = change;
	return (SPR_OK);
}

spr_err
spr_verb_unsubscribe(spr_request *request, const spr_control_env *env)
{
	spr_change change = {.is_removal = true};
	spr_err rv = SPR_OK;

	if ((rv = alloc_changes(request, 1)) != SPR_OK ||
	    (rv = check_names(request->json, env, &change)) != SPR_OK) {
		return (rv);
	}
	request->change[request->n_changes++] = change;
	return (SPR_OK);
}

static spr_err
check_entry(const cJSON *entry, const spr_control_env *env, int64_t now_s, spr_change *change)
{
	const cJSON *lease = spr_json_last(entry, "lease_seconds");
	const cJSON *expires = spr_json_last(entry, "expires_at");
	spr_err rv = SPR_OK;

	if (!cJSON_IsObject(entry)) {
		return (spr_fail(SPR_E_INVALID, "subscriptions: each must be an object"));
	}
	if (lease != NULL && expires != NULL) {
		return (
		    spr_fail(SPR_E_BAD_LEASE, "lease_seconds and expires_at: give one of them"));
	}
	rv = expires != NULL ? check_expires_at(expires, env, now_s, &change->expires_s)
			     : check_lease_seconds(lease, env, now_s, &change->expires_s);
	return (rv == SPR_OK ? check_names(entry, env, change) : rv);
}

/* In the order of the store's tree, which then touches each page once; what is given twice keeps its order. */
static int
compare_changes(const void *a, const void *b)
{
	const spr_change *x = a, *y = b;
	int order = strcmp(x->pattern, y->pattern);

	if (order == 0) {
		order = strcmp(x->callback, y->callback);
	}
	return (order != 0 ? order : x->at < y->at ? -1 : 1);
}

spr_err
spr_verb_import(spr_request *request, const spr_control_env *env)
{
	const cJSON *entries = spr_json_last(request->json, "subscriptions");
	const cJSON *entry = NULL;
	int64_t now_s = spr_control_wall_s(env);
	int n = cJSON_IsArray(entries) ? cJSON_GetArraySize(entries) : -1;
	spr_err rv = SPR_OK;

	if (n < 0) {
		return (spr_fail(SPR_E_INVALID, "subscriptions: %s",
				 entries == NULL ? "is missing" : "must be an array"));
	}
	if (n > SPR_IMPORT_MAX) {
		return (spr_fail(SPR_E_TOO_MANY, "subscriptions: %d are over the limit of %d", n,
				 SPR_IMPORT_MAX));
	}
	if ((rv = alloc_changes(request, (size_t)n)) != SPR_OK) {
		return (rv);
	}
	cJSON_ArrayForEach(entry, entries)
	{
		spr_change change = {.at = (unsigned)request->n_changes};

		if ((rv = check_entry(entry, env, now_s, &change)) != SPR_OK) {
			request->index = (long)request->n_changes;
			return (rv);
		}
		request->change[request->n_changes++] = change;
	}
	qsort(request->change, request->n_changes, sizeof(*request->change), compare_changes);
	return (SPR_OK);
}

/* ----------------------------------------------------------------------------------------------
 * storing */

spr_err
spr_request_store(spr_request *request, const spr_control_env *env)
{
	SPR_ASSERT_ROLE(SPR_ROLE_CONTROL);
	for (size_t i = 0; i < request->n_changes; i++) {
		spr_change *change = &request->change[i];
		spr_store_row row = {.pattern = change->pattern,
				     .pattern_len = strlen(change->pattern),
				     .callback = change->callback,
				     .callback_len = strlen(change->callback),
				     .expires_s = change->expires_s};
		bool created = false;
		spr_err rv = change->is_removal
				 ? spr_store_remove(env->store, change->pattern, change->callback)
				 : spr_store_put(env->store, &row, &created);

		if (rv != SPR_OK && !(change->is_removal && rv == SPR_E_NOT_FOUND)) {
			return (rv);
		}
		change->was_stored = change->is_removal ? rv == SPR_OK : !created;
	}
	return (SPR_OK);
}

/* -------------------------------------------------------------------------------------------
 * publishing */

static spr_err
publish_change(const spr_change *change, const spr_control_env *env)
{
	spr_predicate pattern;
	bool created = false;
	spr_err rv =
	    spr_pattern_normalise(&pattern, change->pattern, strlen(change->pattern), true);

	if (rv != SPR_OK) {
		return (rv);
	}
	if (!change->is_removal) {
		return (spr_subscriptions_subscribe(env->subscriptions, &pattern, change->callback,
						    strlen(change->callback), change->expires_s,
						    &created));
	}
	rv = spr_subscriptions_unsubscribe(env->subscriptions, &pattern, change->callback,
					   strlen(change->callback));
	if (rv == SPR_E_NOT_FOUND && change->was_stored) {
		return (SPR_OK);
	}
	return (rv == SPR_E_NOT_FOUND ? spr_fail(rv, "no such subscription") : rv);
}

static bool
fill_answer(const spr_request *request)
{
	const spr_change *first = request->change;
	cJSON *answer = request->answer;
	size_t renewed = 0;
	char expires[SPR_CLOCK_TEXT_MAX];

	switch (request->verb->id) {
	case SPR_VERB_SUBSCRIBE:
		spr_control_format_time(first->expires_s, expires);
		return (cJSON_AddTrueToObject(answer, first->was_stored ? "renewed" : "created") !=
			    NULL &&
			cJSON_AddStringToObject(answer, "expires_at", expires) != NULL);
	case SPR_VERB_IMPORT:
		for (size_t i = 0; i < request->n_changes; i++) {
			renewed += request->change[i].was_stored;
		}
		return (spr_json_add_u64(answer, "created", request->n_changes - renewed) &&
			spr_json_add_u64(answer, "renewed", renewed));
	default:
		return (true);
	}
}

static spr_counter
change_counter(const spr_request *request)
{
	return (request->verb->id == SPR_VERB_SUBSCRIBE     ? SPR_C_CHANGES_SUBSCRIBE
		: request->verb->id == SPR_VERB_UNSUBSCRIBE ? SPR_C_CHANGES_UNSUBSCRIBE
							    : SPR_C_CHANGES_IMPORT);
}

void
spr_request_publish(spr_request *request, const spr_control_env *env)
{
	spr_err rv = SPR_OK, first_error = SPR_OK;

	SPR_ASSERT_ROLE(SPR_ROLE_CONTROL);
	/* to the end, whatever fails: what can be made visible now need not wait for the retry */
	for (size_t i = 0; i < request->n_changes; i++) {
		if ((rv = publish_change(&request->change[i], env)) != SPR_OK &&
		    first_error == SPR_OK) {
			first_error = rv;
		}
	}
	if (first_error == SPR_E_NOT_FOUND) {
		spr_request_finish(request, first_error);
		return;
	}
	if (first_error != SPR_OK) {
		spr_error("CONTROL-INACTIVE", "op=%s why=\"%s\"", request->verb->op,
			  spr_err_text(first_error));
		spr_request_finish(
		    request,
		    spr_fail(SPR_E_STORE,
			     "the change is stored but not active yet (%s): send the request again",
			     spr_err_text(first_error)));
		return;
	}
	spr_count_add(change_counter(request), request->n_changes);
	if ((rv = spr_request_begin_answer(request)) == SPR_OK && !fill_answer(request)) {
		rv = spr_fail(SPR_E_NOMEM, "out of memory");
	}
	spr_request_finish(request, rv);
}

/* ----------------------------------------------------------------------------------------------
 * loading */

typedef struct loading {
	const spr_control_env *env;
	uint64_t n;
} loading;

static spr_err
load_row(void *arg, const spr_store_row *row)
{
	loading *load = arg;
	spr_predicate pattern;
	bool created = false;
	spr_err rv = SPR_OK;

	/* A pattern that is not as we write it could be looked up but never removed: as broken as
	 * one that is none. */
	if (spr_pattern_normalise(&pattern, row->pattern, row->pattern_len, true) != SPR_OK ||
	    strcmp(spr_pattern_text(&pattern), row->pattern) != 0 ||
	    spr_callback_check(row->callback, row->callback_len) != SPR_OK) {
		spr_count(SPR_C_STORE_BROKEN_RECORDS);
		return (SPR_OK);
	}
	if ((rv = spr_subscriptions_subscribe(load->env->subscriptions, &pattern, row->callback,
					      row->callback_len, row->expires_s, &created)) !=
	    SPR_OK) {
		return (spr_fail(rv, "pattern %s: %s", row->pattern, spr_err_text(rv)));
	}
	load->n++;
	return (SPR_OK);
}

spr_err
spr_control_load(const spr_control_env *env, uint64_t *n)
{
	loading load = {.env = env};
	spr_err rv = spr_store_load(env->store, load_row, &load);

	if (rv != SPR_OK) {
		spr_wrap("load subscriptions");
		return (rv);
	}
	*n = load.n;
	return (SPR_OK);
}
