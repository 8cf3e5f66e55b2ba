/*
 * verbs - the table, and what is common to all verbs: from text to verb, from result to reply.
 *
 * The verbs themselves are in reads.c and changes.c. Errors travel as spr_err with their trail; the
 * reply's code is derived from the error in one place, so a verb never spells a code.
 */
#include "control/verbs.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/mem.h"
#include "control/json_strict.h"

const spr_verb spr_verb_table[SPR_N_VERBS] = {
#define X(name, op, kind, function, help) \
	[SPR_VERB_##name] = {SPR_VERB_##name, op, SPR_VERB_##kind, function, help},
    SPR_VERBS(X)
#undef X
};

const char *
spr_control_code(spr_err err)
{
	switch (err) {
	case SPR_E_UNSUPPORTED:
		return ("unknown_op");
	case SPR_E_BAD_PATTERN:
		return ("bad_pattern");
	case SPR_E_BAD_PREDICATE:
		return ("bad_predicate");
	case SPR_E_BAD_CALLBACK:
		return ("bad_callback");
	case SPR_E_BAD_LEASE:
		return ("bad_lease");
	case SPR_E_NOT_FOUND:
		return ("not_found");
	case SPR_E_TOO_MANY:
		return ("too_many");
	case SPR_E_CLOSED:
		return ("shutting_down");
	case SPR_E_NOT_JSON:
	case SPR_E_INVALID:
		return ("bad_request");
	default:
		return ("store"); /* out of memory too: nothing of the request is wrong, sending it
				     again may help */
	}
}

int64_t
spr_control_wall_s(const spr_control_env *env)
{
	return (env->wall_s != NULL ? env->wall_s() : spr_clock_wall_s());
}

uint64_t
spr_control_now_ns(const spr_control_env *env)
{
	return (env->now_ns != NULL ? env->now_ns() : spr_clock_now_ns());
}

void
spr_control_format_time(int64_t wall_s, char *out)
{
	const int64_t first = INT64_C(-62167219200),
		      last = INT64_C(253402300799); /* years 0000 and 9999 */

	spr_clock_format(wall_s < first ? first : wall_s > last ? last : wall_s, out);
}

void
spr_request_init(spr_request *request)
{
	*request = (spr_request){.index = -1};
}

void
spr_request_fini(spr_request *request)
{
	for (size_t i = 0; i < request->n_changes; i++) {
		spr_mem_free(request->change[i].pattern);
	}
	spr_mem_free(request->change);
	cJSON_Delete(request->json);
	cJSON_Delete(request->answer);
	cJSON_free(request->reply);
	spr_request_init(request);
}

/* -----------------------------------------------------------------------------------------------
 * reply */

static cJSON *
make_error(const char *code, const char *detail, long index)
{
	cJSON *answer = cJSON_CreateObject();
	cJSON *error = NULL;

	if (answer != NULL && cJSON_AddFalseToObject(answer, "ok") != NULL &&
	    (error = cJSON_AddObjectToObject(answer, "error")) != NULL &&
	    cJSON_AddStringToObject(error, "code", code) != NULL &&
	    cJSON_AddStringToObject(error, "detail", detail) != NULL &&
	    (index < 0 || cJSON_AddNumberToObject(error, "index", (double)index) != NULL)) {
		return (answer);
	}
	cJSON_Delete(answer);
	return (NULL);
}

static cJSON *
make_refusal(spr_err err, long index)
{
	char detail[512];

	/* a copy: it is cleaned up, and the trail may serve the replies of a whole group */
	snprintf(detail, sizeof(detail), "%s", spr_error_text(err));
	spr_json_clean(detail);
	spr_count(SPR_C_CONTROL_ERRORS);
	return (make_error(spr_control_code(err), detail, index));
}

spr_err
spr_request_begin_answer(spr_request *request)
{
	request->answer = cJSON_CreateObject();
	if (request->answer == NULL || cJSON_AddTrueToObject(request->answer, "ok") == NULL) {
		return (spr_fail(SPR_E_NOMEM, "out of memory"));
	}
	return (SPR_OK);
}

void
spr_request_finish(spr_request *request, spr_err err)
{
	SPR_ASSERT(!request->is_done);
	if (err != SPR_OK) {
		cJSON_Delete(request->answer);
		request->answer = make_refusal(err, request->index);
	}
	request->reply = request->answer != NULL ? cJSON_PrintUnformatted(request->answer) : NULL;
	request->is_done = true;
	cJSON_Delete(request->answer);
	request->answer = NULL;
}

const char *
spr_request_reply(const spr_request *request)
{
	return (request->reply != NULL
		    ? request->reply
		    : "{\"ok\":false,\"error\":{\"code\":\"store\",\"detail\":\"out of memory\"}}");
}

/* -----------------------------------------------------------------------------------------------
 * parse */

spr_err
spr_request_string(const cJSON *object, const char *name, const char **out)
{
	const cJSON *member = spr_json_last(object, name);

	if (!cJSON_IsString(member)) {
		return (spr_fail(SPR_E_INVALID, "%s: %s", name,
				 member == NULL ? "is missing" : "must be a string"));
	}
	*out = member->valuestring;
	return (SPR_OK);
}

static spr_err
find_verb(const char *op, const spr_verb **out)
{
	char known[256] = "";
	size_t len = 0;

	for (int i = 0; i < SPR_N_VERBS; i++) {
		if (strcmp(spr_verb_table[i].op, op) == 0) {
			*out = &spr_verb_table[i];
			return (SPR_OK);
		}
		len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s",
					i == 0 ? "" : ", ", spr_verb_table[i].op);
		SPR_ASSERT(len < sizeof(known));
	}
	return (spr_fail(SPR_E_UNSUPPORTED, "op %.64s is unknown; known are %s", op, known));
}

static spr_err
parse(spr_request *request, const spr_control_env *env, const uint8_t *data, size_t len)
{
	const char *op = NULL;
	spr_err rv = SPR_OK;

	if ((rv = spr_json_strict_parse(&request->json, data, len)) != SPR_OK) {
		return (rv);
	}
	if (!cJSON_IsObject(request->json)) {
		return (spr_fail(SPR_E_INVALID, "a request is an object with a member op"));
	}
	if ((rv = spr_request_string(request->json, "op", &op)) != SPR_OK ||
	    (rv = find_verb(op, &request->verb)) != SPR_OK) {
		return (rv);
	}
	return (request->verb->kind == SPR_VERB_WRITE ? request->verb->function(request, env)
						      : SPR_OK);
}

spr_err
spr_request_parse(spr_request *request, const spr_control_env *env, const uint8_t *data, size_t len)
{
	spr_err rv = SPR_OK;

	SPR_ASSERT_ROLE(SPR_ROLE_CONTROL);
	spr_error_clear();
	spr_count(SPR_C_CONTROL_REQUESTS);
	if ((rv = parse(request, env, data, len)) != SPR_OK) {
		spr_request_finish(request, rv);
	}
	return (rv);
}

void
spr_request_read(spr_request *request, const spr_control_env *env, spr_epoch_record *record)
{
	spr_err rv = SPR_OK;

	SPR_ASSERT_ROLE(SPR_ROLE_CONTROL);
	request->record = record;
	if ((rv = spr_request_begin_answer(request)) == SPR_OK) {
		rv = request->verb->function(request, env);
	}
	request->record = NULL;
	spr_request_finish(request, rv);
}
