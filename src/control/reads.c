/*
 * reads - the verbs that change nothing. They run on the reader's thread and never wait for a
 * commit: list has its own connection to the store, lookup is a reader of the subscriptions like
 * any dispatcher.
 */
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "control/json_strict.h"
#include "control/verbs.h"
#include "net/net.h"

static spr_err
no_memory(void)
{
	return (spr_fail(SPR_E_NOMEM, "out of memory"));
}

/* -------------------------------------------------------------------------------------------------
 * list */

typedef struct listing {
	cJSON *rows;
	int64_t now_s;
	const char *callback; /* NULL: every one */
	unsigned limit;
	unsigned n, n_seen;
	char *next; /* the cursor, once there may be more: JSON text */
} listing;

/* ["pattern","callback"] of a row, as a string: the next page begins behind it. Opaque to the caller. */
static spr_err
set_cursor(listing *list, const char *pattern, const char *callback)
{
	const char *pair[2] = {pattern, callback};
	cJSON *cursor = cJSON_CreateStringArray(pair, 2);

	list->next = cursor != NULL ? cJSON_PrintUnformatted(cursor) : NULL;
	cJSON_Delete(cursor);
	return (list->next != NULL ? SPR_OK : no_memory());
}

static spr_err
add_row(listing *list, const spr_store_row *row)
{
	cJSON *object = cJSON_CreateObject();
	char expires[SPR_CLOCK_TEXT_MAX];

	spr_control_format_time(row->expires_s, expires);
	if (object == NULL || !cJSON_AddItemToArray(list->rows, object) ||
	    cJSON_AddStringToObject(object, "pattern", row->pattern) == NULL ||
	    cJSON_AddStringToObject(object, "callback", row->callback) == NULL ||
	    cJSON_AddStringToObject(object, "expires_at", expires) == NULL ||
	    cJSON_AddBoolToObject(object, "expired", row->expires_s < list->now_s) == NULL) {
		return (no_memory());
	}
	list->n++;
	return (SPR_OK);
}

/* One row more than asked for is read, to know whether there is a next page. */
static spr_err
list_row(void *arg, const spr_store_row *row)
{
	listing *list = arg;
	const cJSON *last = NULL;

	if (list->n < list->limit) {
		return (add_row(list, row));
	}
	last = list->rows->child->prev; /* cJSON keeps the tail there */
	return (set_cursor(list, spr_json_last(last, "pattern")->valuestring,
			   spr_json_last(last, "callback")->valuestring));
}

/* A page of one callback ends when it is full or has looked at SPR_LIST_SCAN rows, whatever it found. */
static spr_err
list_row_of_callback(void *arg, const spr_store_row *row)
{
	listing *list = arg;
	spr_err rv = SPR_OK;

	if (list->next != NULL) {
		return (SPR_OK);
	}
	list->n_seen++;
	if (strcmp(row->callback, list->callback) == 0 && (rv = add_row(list, row)) != SPR_OK) {
		return (rv);
	}
	return (list->n == list->limit || list->n_seen == SPR_LIST_SCAN
		    ? set_cursor(list, row->pattern, row->callback)
		    : SPR_OK);
}

static spr_err
read_cursor(const char *text, cJSON **cursor, spr_store_query *query)
{
	const cJSON *pattern = NULL, *callback = NULL;

	if (spr_json_strict_parse(cursor, (const uint8_t *)text, strlen(text)) == SPR_OK &&
	    cJSON_IsArray(*cursor) && cJSON_GetArraySize(*cursor) == 2) {
		pattern = cJSON_GetArrayItem(*cursor, 0);
		callback = cJSON_GetArrayItem(*cursor, 1);
	}
	if (!cJSON_IsString(pattern) || !cJSON_IsString(callback)) {
		return (spr_fail(SPR_E_INVALID, "after: must be the next of an earlier page"));
	}
	query->after_pattern = pattern->valuestring;
	query->after_callback = callback->valuestring;
	return (SPR_OK);
}

static spr_err
read_limit(const cJSON *member, unsigned *limit)
{
	if (member == NULL) {
		*limit = SPR_LIST_DEFAULT;
		return (SPR_OK);
	}
	if (!cJSON_IsNumber(member) || member->valuedouble < 1 ||
	    member->valuedouble > SPR_LIST_MAX ||
	    member->valuedouble != (double)(int)member->valuedouble) {
		return (spr_fail(SPR_E_INVALID, "limit: must be an integer from 1 to %d",
				 SPR_LIST_MAX));
	}
	*limit = (unsigned)member->valuedouble;
	return (SPR_OK);
}

static spr_err
read_query(const cJSON *json, listing *list, cJSON **cursor, spr_predicate *prefix,
	   spr_store_query *query)
{
	const char *after = NULL, *text = NULL;
	spr_err rv = SPR_OK;

	if ((rv = read_limit(spr_json_last(json, "limit"), &list->limit)) != SPR_OK) {
		return (rv);
	}
	if (spr_json_last(json, "after") != NULL &&
	    ((rv = spr_request_string(json, "after", &after)) != SPR_OK ||
	     (rv = read_cursor(after, cursor, query)) != SPR_OK)) {
		return (rv);
	}
	if (spr_json_last(json, "callback") != NULL &&
	    (rv = spr_request_string(json, "callback", &list->callback)) != SPR_OK) {
		return (rv);
	}
	query->limit = list->callback != NULL ? SPR_LIST_SCAN : list->limit + 1;
	if (spr_json_last(json, "prefix") != NULL) {
		if ((rv = spr_request_string(json, "prefix", &text)) != SPR_OK) {
			return (rv);
		}
		if ((rv = spr_pattern_normalise(prefix, text, strlen(text), true)) != SPR_OK) {
			spr_wrap("prefix");
			return (rv);
		}
		query->prefix = spr_pattern_text(prefix);
	}
	return (SPR_OK);
}

spr_err
spr_verb_list(spr_request *request, const spr_control_env *env)
{
	listing list = {.now_s = spr_control_wall_s(env)};
	spr_store_query query = {.limit = 0};
	spr_predicate prefix;
	cJSON *cursor = NULL;
	spr_err rv = SPR_OK;

	if ((rv = read_query(request->json, &list, &cursor, &prefix, &query)) != SPR_OK) {
		goto out;
	}
	if ((list.rows = cJSON_AddArrayToObject(request->answer, "subscriptions")) == NULL) {
		rv = no_memory();
		goto out;
	}
	rv = spr_store_list(env->store, &query,
			    list.callback != NULL ? list_row_of_callback : list_row, &list);
	if (rv == SPR_OK && list.next != NULL &&
	    cJSON_AddStringToObject(request->answer, "next", list.next) == NULL) {
		rv = no_memory();
	}
out:
	cJSON_free(list.next);
	cJSON_Delete(cursor);
	return (rv);
}

/* -----------------------------------------------------------------------------------------------
 * lookup */

typedef struct explaining {
	const spr_predicate *predicate;
	cJSON *callbacks, *layers;
	cJSON *matched, *suppressed; /* of the layer being told */
	bool has_failed;             /* for lack of memory */
} explaining;

static void
on_layer(void *arg, unsigned n_segments)
{
	explaining *explain = arg;
	cJSON *layer = cJSON_CreateObject();
	char pattern[SPR_PREDICATE_BYTES + 1] = "*";

	if (n_segments > 0) {
		size_t len = explain->predicate->end[n_segments - 1];

		memcpy(pattern, explain->predicate->text, len);
		pattern[len] = '\0';
	}
	explain->matched = explain->suppressed = NULL;
	if (layer == NULL || !cJSON_AddItemToArray(explain->layers, layer) ||
	    cJSON_AddStringToObject(layer, "pattern", pattern) == NULL ||
	    (explain->matched = cJSON_AddArrayToObject(layer, "matched")) == NULL ||
	    (explain->suppressed = cJSON_AddArrayToObject(layer, "suppressed")) == NULL) {
		explain->has_failed = true;
	}
}

static bool
add_text(cJSON *array, const char *text)
{
	cJSON *item = cJSON_CreateString(text);

	return (item != NULL && cJSON_AddItemToArray(array, item));
}

static void
on_subscriber(void *arg, unsigned n_segments, const char *callback, int64_t expires_s,
	      spr_verdict verdict)
{
	explaining *explain = arg;
	cJSON *item = NULL;

	(void)n_segments;
	(void)expires_s;
	if (explain->has_failed) {
		return;
	}
	if (verdict == SPR_VERDICT_TOLD) {
		explain->has_failed = !add_text(explain->callbacks, callback) ||
				      !add_text(explain->matched, callback);
	} else if ((item = cJSON_CreateObject()) == NULL ||
		   !cJSON_AddItemToArray(explain->suppressed, item) ||
		   cJSON_AddStringToObject(item, "callback", callback) == NULL ||
		   cJSON_AddStringToObject(item, "why",
					   verdict == SPR_VERDICT_EXPIRED ? "expired"
									  : "duplicate") == NULL) {
		explain->has_failed = true;
	}
}

spr_err
spr_verb_lookup(spr_request *request, const spr_control_env *env)
{
	spr_predicate predicate;
	explaining state = {.predicate = &predicate};
	spr_explain explain = {.on_layer = on_layer, .on_subscriber = on_subscriber, .arg = &state};
	const char *text = NULL;
	spr_err rv = SPR_OK;

	if ((rv = spr_request_string(request->json, "predicate", &text)) != SPR_OK) {
		return (rv);
	}
	if ((rv = spr_predicate_normalise(&predicate, text, strlen(text))) != SPR_OK) {
		spr_wrap("predicate");
		return (rv);
	}
	if (request->record == NULL ||
	    (state.callbacks = cJSON_AddArrayToObject(request->answer, "callbacks")) == NULL ||
	    (state.layers = cJSON_AddArrayToObject(request->answer, "layers")) == NULL) {
		return (no_memory());
	}
	rv = spr_subscriptions_explain(env->subscriptions, request->record, &predicate,
				       spr_control_wall_s(env), &explain);
	if (rv != SPR_OK) {
		return (spr_fail(rv, "lookup: %s", spr_err_text(rv)));
	}
	return (state.has_failed ? no_memory() : SPR_OK);
}

/* ----------------------------------------------------------------------------- stats, health,
 * version */

static double
difference(spr_counter more, spr_counter less)
{
	/* in this order: a peer that comes and goes between the two sums must not give -1 */
	uint64_t gone = spr_counter_sum(less);
	uint64_t come = spr_counter_sum(more);

	return (come > gone ? (double)(come - gone) : 0);
}

void
spr_control_read_gauges(const spr_control_env *env, double *gauges)
{
	spr_subscriptions_stats stats;

	memset(gauges, 0, SPR_N_GAUGES * sizeof(*gauges));
	spr_subscriptions_get_stats(env->subscriptions, &stats);
	gauges[SPR_G_BUILD_INFO] = 1;
	gauges[SPR_G_SUBSCRIPTIONS] = (double)stats.subscriptions;
	gauges[SPR_G_CALLBACKS] = (double)stats.callbacks;
	gauges[SPR_G_TRIE_NODES] = (double)stats.nodes;
	gauges[SPR_G_SUBSCRIPTION_BYTES] = (double)stats.bytes;
	gauges[SPR_G_RETIRED_BYTES] = (double)stats.retired_bytes;
	gauges[SPR_G_PEERS_INTAKE] =
	    difference(SPR_C_PIPES_ADDED_INTAKE, SPR_C_PIPES_REMOVED_INTAKE);
	gauges[SPR_G_PEERS_RECEIPTS] =
	    difference(SPR_C_PIPES_ADDED_RECEIPTS, SPR_C_PIPES_REMOVED_RECEIPTS);
	gauges[SPR_G_PEERS_CONTROL] =
	    difference(SPR_C_PIPES_ADDED_CONTROL, SPR_C_PIPES_REMOVED_CONTROL);
	gauges[SPR_G_HTTP_CONNECTIONS] =
	    difference(SPR_C_HTTP_CONNECTIONS_ADDED, SPR_C_HTTP_CONNECTIONS_REMOVED);
	if (env->read_gauges != NULL) {
		env->read_gauges(env->arg, gauges);
	}
}

spr_err
spr_verb_stats(spr_request *request, const spr_control_env *env)
{
	double gauges[SPR_N_GAUGES];
	cJSON *answer = request->answer;

	for (int i = 0; i < SPR_N_COUNTERS; i++) {
		if (!spr_json_add_u64(answer, spr_counter_table[i].name,
				      spr_counter_sum((spr_counter)i))) {
			return (no_memory());
		}
	}
	spr_control_read_gauges(env, gauges);
	for (int i = 0; i < SPR_N_GAUGES; i++) {
		if (cJSON_AddNumberToObject(answer, spr_gauge_table[i].name, gauges[i]) == NULL) {
			return (no_memory());
		}
	}
	return (SPR_OK);
}

spr_err
spr_verb_health(spr_request *request, const spr_control_env *env)
{
	if (env->add_health != NULL) {
		env->add_health(env->arg, request->answer);
	}
	return (SPR_OK);
}

spr_err
spr_verb_version(spr_request *request, const spr_control_env *env)
{
	cJSON *answer = request->answer;

	if (cJSON_AddStringToObject(answer, "version", SPR_VERSION) == NULL ||
	    cJSON_AddStringToObject(answer, "nng", spr_net_version()) == NULL ||
	    cJSON_AddStringToObject(answer, "instance", env->instance) == NULL) {
		return (no_memory());
	}
	return (SPR_OK);
}
