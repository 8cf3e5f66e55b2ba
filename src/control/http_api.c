/*
 * http_api - subscriptions over HTTP: a WebSub form or a query becomes a control request, and control's reply an answer.
 *
 * The names of a form are not those of control, so an error says which field it means; the texts are control's own.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "control/http_form.h"
#include "control/http_routes.h"
#include "control/json_strict.h"

#define OK_PREFIX "{\"ok\":true"

/* A request that control works on. */
typedef struct asked {
	spr_http_exchange *exchange;
	char *text;
	unsigned status; /* when it is ok */
	bool is_of_form; /* its fields have the form's names */
} asked;

/* What a control error is called here. */
static const struct trouble {
	const char *code;
	unsigned status;
	const char *form_field;
	const char *query_field;
} troubles[] = {
    {"bad_pattern", 400, "hub.topic", "prefix"},
    {"bad_predicate", 400, NULL, "predicate"},
    {"bad_callback", 400, "hub.callback", "callback"},
    {"bad_lease", 400, "hub.lease_seconds", NULL},
    {"not_found", 404, NULL, NULL},
    {"store", 503, NULL, NULL},
    {"shutting_down", 503, NULL, NULL},
};

/* ---- control's reply ---- */

static void
answer_error(const asked *a, const char *text)
{
	cJSON *reply = cJSON_Parse(text);
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(reply, "error");
	const cJSON *code = cJSON_GetObjectItemCaseSensitive(error, "code");
	const cJSON *detail = cJSON_GetObjectItemCaseSensitive(error, "detail");
	const char *name = cJSON_IsString(code) ? code->valuestring : "store";
	struct trouble trouble = {.status = strcmp(name, "store") == 0 ? 503 : 400};

	for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++) {
		if (strcmp(troubles[i].code, name) == 0)
			trouble = troubles[i];
	}
	spr_http_refuse(a->exchange, trouble.status, name,
			a->is_of_form ? trouble.form_field : trouble.query_field,
			cJSON_IsString(detail) ? detail->valuestring : "out of memory");
	cJSON_Delete(reply);
}

/* [control] Must not wait: a copy and a wake-up. */
static void
on_reply(void *arg, const char *text, size_t len)
{
	asked *a = arg;

	(void)len;
	if (strncmp(text, OK_PREFIX, strlen(OK_PREFIX)) == 0)
		spr_http_say(a->exchange, a->status, "application/json", text);
	else
		answer_error(a, text);
	cJSON_free(a->text);
	spr_mem_free(a);
}

/* ---- asking ---- */

/* Takes the request over; NULL stands for "no memory for it". */
static void
ask(spr_http_adapter *adapter, spr_http_exchange *exchange, cJSON *request, asked how)
{
	asked *a = spr_mem_alloc(sizeof(*a));
	char *text = request != NULL ? cJSON_PrintUnformatted(request) : NULL;

	cJSON_Delete(request);
	if (a == NULL || text == NULL) {
		spr_http_refuse(exchange, 503, "store", NULL, "out of memory");
	} else if (!spr_http_defer(exchange)) {
		spr_http_refuse(exchange, 503, "too_many", NULL,
				"too many requests wait, or the daemon stops");
	} else {
		*a = how;
		a->exchange = exchange;
		a->text = text;
		spr_control_submit(adapter->control, (const uint8_t *)text, strlen(text), on_reply,
				   a);
		return;
	}
	cJSON_free(text);
	spr_mem_free(a);
}

static cJSON *
begin(const char *op)
{
	cJSON *request = cJSON_CreateObject();

	if (cJSON_AddStringToObject(request, "op", op) != NULL)
		return (request);
	cJSON_Delete(request);
	return (NULL);
}

/* ---- the form ---- */

static bool
is_form(const char *type)
{
	static const char form[] = "application/x-www-form-urlencoded";
	size_t len = sizeof(form) - 1;

	return (type != NULL && strncasecmp(type, form, len) == 0 &&
		(type[len] == '\0' || type[len] == ';' || type[len] == ' '));
}

/* The original API's rule: a topic of the UN tree is precise, or says that it is not. */
static bool
is_precise(const char *topic)
{
	unsigned n_segments = 1;

	if (strncasecmp(topic, "UN.", 3) != 0)
		return (true);
	for (const char *p = topic; *p != '\0'; p++) {
		if (*p == '*')
			return (true);
		n_segments += *p == '.';
	}
	return (n_segments >= 4);
}

/* NULL, or the field that is wrong and *why. */
static const char *
check_form(const spr_form *form, const char **why)
{
	static const char *const needed[] = {"hub.mode", "hub.topic", "hub.callback"};
	const char *mode = spr_form_get(form, "hub.mode");
	const char *lease = spr_form_get(form, "hub.lease_seconds");

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		const char *value = spr_form_get(form, needed[i]);

		*why = "is missing";
		if (value == NULL || value[0] == '\0')
			return (needed[i]);
	}
	*why = "must be subscribe or unsubscribe";
	if (strcmp(mode, "subscribe") != 0 && strcmp(mode, "unsubscribe") != 0)
		return ("hub.mode");
	*why = "must be a whole number";
	if (lease != NULL &&
	    (lease[0] == '\0' || strlen(lease) > 12 || lease[strspn(lease, "0123456789")] != '\0'))
		return ("hub.lease_seconds");
	*why = "a topic of UN. needs four segments, or a wildcard at its end";
	if (strcmp(mode, "subscribe") == 0 && !is_precise(spr_form_get(form, "hub.topic")))
		return ("hub.topic");
	return (NULL);
}

static cJSON *
request_of(const spr_form *form)
{
	const char *lease = spr_form_get(form, "hub.lease_seconds");
	bool is_subscribe = strcmp(spr_form_get(form, "hub.mode"), "subscribe") == 0;
	cJSON *request = begin(is_subscribe ? "subscribe" : "unsubscribe");

	if (cJSON_AddStringToObject(request, "pattern", spr_form_get(form, "hub.topic")) != NULL &&
	    cJSON_AddStringToObject(request, "callback", spr_form_get(form, "hub.callback")) !=
		NULL &&
	    (lease == NULL || !is_subscribe ||
	     cJSON_AddRawToObject(request, "lease_seconds",
				  lease[strspn(lease, "0")] != '\0' ? lease + strspn(lease, "0")
								    : "0") != NULL))
		return (request);
	cJSON_Delete(request);
	return (NULL);
}

void
spr_http_post_subscriptions(spr_http_adapter *adapter, spr_http_exchange *exchange)
{
	spr_form form = {.n = 0};
	const char *field, *why = NULL, *body;
	size_t len;
	spr_err rv;

	if (!is_form(spr_http_header_of(exchange, "Content-Type"))) {
		spr_http_refuse(exchange, 415, "bad_request", "Content-Type",
				"must be application/x-www-form-urlencoded");
		return;
	}
	body = spr_http_body(exchange, &len);
	if ((rv = spr_form_parse(&form, body, len)) != SPR_OK) {
		spr_http_refuse(exchange, rv == SPR_E_NOMEM ? 503 : 400,
				rv == SPR_E_NOMEM ? "store" : "bad_request", NULL,
				spr_error_text(rv));
		return;
	}
	if ((field = check_form(&form, &why)) != NULL)
		spr_http_refuse(exchange, 400, "bad_request", field, why);
	else
		ask(adapter, exchange, request_of(&form),
		    (asked){.status = 202, .is_of_form = true});
	spr_form_fini(&form);
}

/* ---- queries ---- */

/* Adds a member when the query has it. False: it was answered. */
static bool
add_text(spr_http_exchange *exchange, cJSON *request, const char *name)
{
	size_t len;
	const char *value = spr_http_query(exchange, name, &len);

	if (value == NULL)
		return (true);
	if (strlen(value) != len) {
		spr_http_refuse(exchange, 400, "bad_request", name, "a NUL in it");
		return (false);
	}
	if (cJSON_AddStringToObject(request, name, value) != NULL)
		return (true);
	spr_http_refuse(exchange, 503, "store", NULL, "out of memory");
	return (false);
}

static bool
add_limit(spr_http_exchange *exchange, cJSON *request)
{
	size_t len;
	const char *value = spr_http_query(exchange, "limit", &len);

	if (value == NULL)
		return (true);
	if (len == 0 || len > 4 || value[0] == '0' || strspn(value, "0123456789") != len) {
		spr_http_refuse(exchange, 400, "bad_request", "limit",
				"must be an integer from 1 to 1000");
		return (false);
	}
	if (cJSON_AddRawToObject(request, "limit", value) != NULL)
		return (true);
	spr_http_refuse(exchange, 503, "store", NULL, "out of memory");
	return (false);
}

void
spr_http_get_subscriptions(spr_http_adapter *adapter, spr_http_exchange *exchange)
{
	cJSON *request = begin("list");

	if (request == NULL ||
	    (add_text(exchange, request, "prefix") && add_text(exchange, request, "callback") &&
	     add_text(exchange, request, "after") && add_limit(exchange, request)))
		ask(adapter, exchange, request, (asked){.status = 200});
	else
		cJSON_Delete(request);
}

void
spr_http_lookup(spr_http_adapter *adapter, spr_http_exchange *exchange)
{
	cJSON *request = begin("lookup");
	size_t len;

	if (spr_http_query(exchange, "predicate", &len) == NULL) {
		cJSON_Delete(request);
		spr_http_refuse(exchange, 400, "bad_request", "predicate", "is missing");
		return;
	}
	if (request == NULL || add_text(exchange, request, "predicate"))
		ask(adapter, exchange, request, (asked){.status = 200});
	else
		cJSON_Delete(request);
}
