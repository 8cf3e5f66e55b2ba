/*
 * conformance - every recorded case of the original use case (tests/vectors/contract.json) through the running daemon.
 * What the file's "about" says is how they are compared.
 */
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cJSON *
read_vectors(void)
{
	char *text = spr_read_file(SPR_TEST_SOURCE_DIR "/tests/vectors/contract.json");
	cJSON *vectors = cJSON_Parse(text);

	assert_non_null(vectors);
	free(text);
	return (vectors);
}

static const cJSON *
member(const cJSON *object, const char *name)
{
	return (cJSON_GetObjectItemCaseSensitive(object, name));
}

/* "A/B/" of the file is "A.B" of ours. */
static void
assert_same_layer(const cJSON *layer, const char *recorded)
{
	const cJSON *pattern = member(layer, "pattern");
	char *wanted = strdup(recorded);

	assert_true(cJSON_IsString(pattern));
	wanted[strlen(wanted) - 1] = '\0';
	for (char *at = wanted; (at = strchr(at, '/')) != NULL;)
		*at = '.';
	assert_string_equal(pattern->valuestring, wanted);
	free(wanted);
}

/* The catch-all is the shortest layer of every predicate; the original had none. */
static void
assert_same_layers(const cJSON *got, const cJSON *recorded)
{
	assert_int_equal(cJSON_GetArraySize(got), cJSON_GetArraySize(recorded) + 1);
	assert_same_layer(cJSON_GetArrayItem(got, 0), "*/");
	for (int i = 0; i < cJSON_GetArraySize(recorded); i++)
		assert_same_layer(cJSON_GetArrayItem(got, i + 1),
				  cJSON_GetArrayItem(recorded, i)->valuestring);
}

static void
check_pattern(flow *f, const cJSON *vector)
{
	const cJSON *layers = member(vector, "layers");
	cJSON *request = cJSON_CreateObject();
	char *text;
	cJSON *reply;

	cJSON_AddStringToObject(request, "op", "lookup");
	cJSON_AddStringToObject(request, "predicate", member(vector, "in")->valuestring);
	text = cJSON_PrintUnformatted(request);
	if (cJSON_IsNull(layers)) {
		expect_refused(f, text, "bad_predicate");
	} else {
		reply = ask_ok(f, text);
		assert_same_layers(member(reply, "layers"), layers);
		cJSON_Delete(reply);
	}
	cJSON_free(text);
	cJSON_Delete(request);
}

static void
test_patterns(void **state)
{
	flow *f = *state;
	cJSON *vectors = read_vectors();
	const cJSON *vector;
	int n = 0;

	start_daemon(f, NULL);
	cJSON_ArrayForEach(vector, member(vectors, "patterns"))
	{
		check_pattern(f, vector);
		n++;
	}
	assert_true(n >= 47);
	cJSON_Delete(vectors);
	finish(f);
}

/* The jobs that the file gives, or NULL for a nack; the one exception of its "about" made explicit. The caller's. */
static cJSON *
wanted_jobs(const cJSON *vector)
{
	const cJSON *body = member(vector, "body");

	if (cJSON_IsString(member(member(body, "message"), "predicate")) &&
	    member(body, "predicate") == NULL)
		return (cJSON_Parse(
		    "[{\"s\":\"http://a\",\"payload\":\"{\\\"predicate\\\":\\\"UN\\\"}\"}]"));
	return (cJSON_IsNull(member(vector, "jobs"))
		    ? NULL
		    : cJSON_Duplicate(member(vector, "jobs"), true));
}

static const char *
wanted_reason(const cJSON *body)
{
	const cJSON *predicate = member(body, "predicate");

	return (cJSON_IsString(predicate) && predicate->valuestring[0] != '\0' ? "bad_predicate"
									       : "no_predicate");
}

/* A payload that is a string holds JSON text: compared as what it means, but it must be a string on both sides. */
static bool
is_same_job(const cJSON *a, const cJSON *b)
{
	const cJSON *payload_a = member(a, "payload");
	const cJSON *payload_b = member(b, "payload");
	cJSON *inner_a, *inner_b;
	bool is_same;

	if (cJSON_GetArraySize(a) != cJSON_GetArraySize(b) ||
	    !cJSON_Compare(member(a, "s"), member(b, "s"), true))
		return (false);
	if (!cJSON_IsString(payload_a) || !cJSON_IsString(payload_b))
		return (cJSON_Compare(payload_a, payload_b, true));
	inner_a = cJSON_Parse(payload_a->valuestring);
	inner_b = cJSON_Parse(payload_b->valuestring);
	is_same = inner_a != NULL && cJSON_Compare(inner_a, inner_b, true);
	cJSON_Delete(inner_a);
	cJSON_Delete(inner_b);
	return (is_same);
}

/* As sets: each job that came strikes one off the list. */
static void
strike_off(cJSON *wanted, const char *text)
{
	cJSON *job = cJSON_Parse(text);
	bool is_wanted = false;

	for (int i = 0; i < cJSON_GetArraySize(wanted) && !is_wanted; i++) {
		is_wanted = is_same_job(cJSON_GetArrayItem(wanted, i), job);
		if (is_wanted)
			cJSON_DeleteItemFromArray(wanted, i);
	}
	cJSON_Delete(job);
	if (!is_wanted)
		fail_msg("nobody wants this job: %s", text);
}

static void
check_dispatch(flow *f, const cJSON *vector, const char *id)
{
	cJSON *wanted = wanted_jobs(vector);
	char *body = cJSON_PrintUnformatted(member(vector, "body"));
	size_t n = (size_t)cJSON_GetArraySize(wanted);
	char **jobs;

	push_envelope(f, id, body);
	if (wanted == NULL)
		expect_nack(f, id, wanted_reason(member(vector, "body")));
	else
		expect_ack(f, id);
	assert_true(spr_inbox_wait(f->jobs, n, spr_test_deadline_ms()));
	jobs = spr_inbox_take_all(f->jobs, &n);
	for (size_t i = 0; i < n; i++) {
		strike_off(wanted, jobs[i]);
		free(jobs[i]);
	}
	assert_int_equal(cJSON_GetArraySize(wanted), 0);
	free(jobs);
	cJSON_free(body);
	cJSON_Delete(wanted);
}

static void
test_dispatch(void **state)
{
	flow *f = *state;
	cJSON *vectors = read_vectors();
	const cJSON *vector;
	char id[16];
	int n = 0;

	start_upstream(f);
	start_daemon(f, NULL);
	start_worker(f);
	cJSON_ArrayForEach(vector, member(vectors, "subscriptions"))
	    subscribe(f, cJSON_GetArrayItem(vector, 0)->valuestring,
		      cJSON_GetArrayItem(vector, 1)->valuestring);
	cJSON_ArrayForEach(vector, member(vectors, "dispatch"))
	{
		snprintf(id, sizeof(id), "%d", n++);
		check_dispatch(f, vector, id);
	}
	assert_true(n >= 33);
	cJSON_Delete(vectors);
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_patterns),
	    flow_test(test_dispatch),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
