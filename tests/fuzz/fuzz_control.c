/*
 * fuzz_control - control requests as text, through the two agents turned by hand, over a store in
 * memory.
 *
 * Each line of the input is a request. Every one must be answered exactly once, with an object in
 * strict JSON that says ok or names a known code; what list prints must be taken back by import.
 */
#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "control/control.h"
#include "control/json_strict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

static spr_control_env env;
static spr_control *control;
static unsigned n_replies;
static char *reply;

static int64_t
wall_s(void)
{
	return (1795527313);
}

static void
on_reply(void *arg, const char *text, size_t len)
{
	(void)arg;
	n_replies++;
	free(reply);
	MUST((reply = strdup(text)) != NULL && strlen(reply) == len);
}

static void
start(void)
{
	bool was_created = false;

	/* what is wrong with a request is for its sender, not for the log */
	spr_log_init(SPR_LOG_ERROR, SPR_LOG_TEXT, 2);
	env.allow_catch_all = true;
	env.instance = "fuzz";
	env.wall_s = wall_s;
	atomic_init(&env.lease_default_s, 432000);
	atomic_init(&env.lease_min_s, 3600);
	atomic_init(&env.lease_max_s, 31536000);
	atomic_init(&env.lease_grace_s, 86400);
	MUST(spr_epoch_new(&env.epoch) == SPR_OK);
	MUST(spr_subscriptions_new(&env.subscriptions, env.epoch) == SPR_OK);
	MUST(spr_store_open(&env.store, ":memory:", false, &was_created) == SPR_OK);
	MUST(spr_control_new(&control, &env) == SPR_OK);
}

static void
stop(void)
{
	spr_control_free(control);
	spr_store_close(env.store);
	spr_subscriptions_free(env.subscriptions);
	spr_epoch_free(env.epoch);
}

static void
check_error(const cJSON *json)
{
	static const char *const codes[] = {"bad_request",   "unknown_op",   "bad_pattern",
					    "bad_predicate", "bad_callback", "bad_lease",
					    "not_found",     "too_many",     NULL};
	const char *code =
	    cJSON_GetStringValue(spr_json_last(spr_json_last(json, "error"), "code"));
	bool is_known = false;

	MUST(cJSON_IsString(spr_json_last(spr_json_last(json, "error"), "detail")));
	for (int i = 0; code != NULL && codes[i] != NULL; i++) {
		is_known |= strcmp(code, codes[i]) == 0;
	}
	MUST(is_known);
}

/* True when it was answered ok. */
static bool
ask(const uint8_t *text, size_t len)
{
	cJSON *json = NULL;
	bool is_ok = false;

	n_replies = 0;
	spr_control_submit(control, text, len, on_reply, NULL);
	(void)spr_control_read_turn(control);
	(void)spr_control_write_turn(control);
	MUST(n_replies == 1);
	MUST(spr_json_strict_parse(&json, (const uint8_t *)reply, strlen(reply)) == SPR_OK);
	is_ok = cJSON_IsTrue(spr_json_last(json, "ok"));
	if (!is_ok) {
		check_error(json);
	}
	cJSON_Delete(json);
	return (is_ok);
}

static void
check_export(void)
{
	static const char list[] = "{\"op\":\"list\",\"limit\":1000}";
	cJSON *rows = NULL, *import = NULL;
	char *text = NULL;

	MUST(ask((const uint8_t *)list, strlen(list)));
	MUST((rows = cJSON_Parse(reply)) != NULL && (import = cJSON_CreateObject()) != NULL);
	MUST(cJSON_AddStringToObject(import, "op", "import") != NULL);
	MUST(cJSON_AddItemToObject(import, "subscriptions",
				   cJSON_DetachItemFromObjectCaseSensitive(rows, "subscriptions")));
	MUST((text = cJSON_PrintUnformatted(import)) != NULL);
	MUST(ask((const uint8_t *)text, strlen(text)));
	MUST(strstr(reply, "\"created\":0") != NULL); /* each was there already */
	cJSON_free(text);
	cJSON_Delete(import);
	cJSON_Delete(rows);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool is_changed = false;

	start();
	for (size_t at = 0; at < size;) {
		const uint8_t *end = memchr(data + at, '\n', size - at);
		size_t len = end != NULL ? (size_t)(end - data) - at : size - at;
		uint8_t *line = malloc(len > 0 ? len : 1);

		/* exact size, so that a read past the end is seen by the sanitizers */
		MUST(line != NULL);
		memcpy(line, data + at, len);
		is_changed |= ask(line, len);
		free(line);
		at += len + 1;
	}
	if (is_changed) {
		check_export();
	}
	stop();
	free(reply);
	reply = NULL;
	return (0);
}
