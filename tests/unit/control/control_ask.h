/*
 * control_ask - a request from its text to its reply, against a store in memory and a clock that
 * stands still, so that replies can be compared as text. Single quotes stand for double ones.
 */
#pragma once

#include <cjson/cJSON.h>

#include "base/counters.h"
#include "control_env.h"

typedef struct bench {
	spr_control_env env;
	spr_epoch_record *record;
	char *reply; /* the last one */
} bench;

static inline int
setup(void **state)
{
	bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	env_init(&b->env, ":memory:");
	assert_ok(spr_epoch_register(b->env.epoch, &b->record));
	*state = b;
	return (0);
}

static inline int
teardown(void **state)
{
	bench *b = *state;

	spr_epoch_unregister(b->record);
	env_fini(&b->env);
	free(b->reply);
	free(b);
	return (0);
}

static inline void
run_write(spr_request *request, spr_control_env *env)
{
	spr_err rv = spr_store_begin(env->store);

	if (rv == SPR_OK && (rv = spr_request_store(request, env)) != SPR_OK) {
		spr_store_rollback(env->store);
	} else if (rv == SPR_OK) {
		rv = spr_store_commit(env->store);
	}
	if (rv != SPR_OK) {
		spr_request_finish(request, rv);
	} else {
		spr_request_publish(request, env);
	}
}

static inline const char *
ask_bytes(bench *b, const void *text, size_t len)
{
	spr_request request;

	spr_request_init(&request);
	if (spr_request_parse(&request, &b->env, text, len) == SPR_OK) {
		if (request.verb->kind == SPR_VERB_READ) {
			spr_request_read(&request, &b->env, b->record);
		} else {
			run_write(&request, &b->env);
		}
	}
	assert_true(request.is_done);
	free(b->reply);
	b->reply = strdup(spr_request_reply(&request));
	spr_request_fini(&request);
	return (b->reply);
}

static inline const char *
ask(bench *b, const char *text)
{
	char *quoted = strdup(text);
	const char *reply;

	for (char *p = quoted; *p != '\0'; p++) {
		*p = *p == '\'' ? '"' : *p;
	}
	reply = ask_bytes(b, quoted, strlen(quoted));
	free(quoted);
	return (reply);
}

static inline void
expect(bench *b, const char *request, const char *reply)
{
	char *quoted = strdup(reply);

	for (char *p = quoted; *p != '\0'; p++) {
		*p = *p == '\'' ? '"' : *p;
	}
	assert_string_equal(ask(b, request), quoted);
	free(quoted);
}

static inline void
expect_error(bench *b, const char *request, const char *code, const char *detail)
{
	uint64_t errors = spr_counter_sum(SPR_C_CONTROL_ERRORS);
	cJSON *json = cJSON_Parse(ask(b, request));
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
	const char *got = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(error, "code"));
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(error, "detail"));

	if (!cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(json, "ok")) || got == NULL ||
	    text == NULL || strcmp(got, code) != 0 || strstr(text, detail) == NULL) {
		fail_msg("%s: got %s, wanted %s with \"%s\"", request, b->reply, code, detail);
	}
	assert_int_equal(spr_counter_sum(SPR_C_CONTROL_ERRORS), errors + 1);
	cJSON_Delete(json);
}

static inline void
expect_listed(bench *b, const char *rows)
{
	char reply[4096];

	snprintf(reply, sizeof(reply), "{'ok':true,'subscriptions':[%s]}", rows);
	expect(b, "{'op':'list','limit':1000}", reply);
}

#define SUBSCRIBE       "{'op':'subscribe','pattern':'UN.A','callback':'http://a'"
#define EXPIRES_DEFAULT "2026-11-29T13:35:13Z"
#define ROW(pattern, callback)                                                              \
	"{'pattern':'" pattern "','callback':'" callback "','expires_at':'" EXPIRES_DEFAULT \
	"','expired':false}"

static inline char *
make_import(unsigned n)
{
	size_t size = 64 + (size_t)n * 64, len;
	char *text = malloc(size);

	len = (size_t)snprintf(text, size, "{'op':'import','subscriptions':[");
	for (unsigned i = 0; i < n; i++) {
		len += (size_t)snprintf(text + len, size - len,
					"%s{'pattern':'UN.%u','callback':'http://%u'}",
					i > 0 ? "," : "", i, i);
	}
	snprintf(text + len, size - len, "]}");
	return (text);
}

#define each(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
