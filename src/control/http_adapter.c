/*
 * http_adapter - the routes, and what is common to all of them. The routes themselves are in http_probes.c, http_api.c
 * and http_page.c.
 */
#include "control/http_routes.h"

#include <string.h>

#include "base/mem.h"
#include "control/json_strict.h"

/* One address has at most half of the connections: a hostile client does not shut out the probes of another. */
#define MAX_CONNECTIONS 512
#define MAX_PER_ADDRESS 256
#define MAX_DEFERRED    64
#define IDLE_S          15
#define REQUEST_MS      20000
#define MAX_BODY        (64 * 1024)

static const spr_http_route routes[] = {
    {"GET", "/metrics", spr_http_metrics, false},
    {"GET", "/livez", spr_http_livez, false},
    {"GET", "/readyz", spr_http_readyz, false},
    {"GET", "/version", spr_http_version, false},
    {"POST", "/subscriptions", spr_http_post_subscriptions, true},
    {"GET", "/subscriptions", spr_http_get_subscriptions, true},
    {"GET", "/lookup", spr_http_lookup, true},
    {"GET", "/", spr_http_get_page,
     false}, /* holds no numbers; it asks for them, and for the token */
    {"GET", "/overview", spr_http_overview, true},
};
#define N_ROUTES (sizeof(routes) / sizeof(routes[0]))

/* ---- answers ---- */

static void
say_no_memory(spr_http_exchange *exchange)
{
	static const char text[] =
	    "{\"ok\":false,\"error\":{\"code\":\"store\",\"detail\":\"out of memory\"}}\n";

	spr_http_answer(exchange, &(spr_http_reply){.status = 503,
						    .type = "application/json",
						    .body = text,
						    .len = sizeof(text) - 1,
						    .is_constant = true});
}

static void
say(spr_http_exchange *exchange, unsigned status, const char *type, const char *text,
    const spr_http_header *headers)
{
	char *copy = spr_mem_strdup(text);

	if (copy == NULL) {
		say_no_memory(exchange);
		return;
	}
	spr_http_answer(exchange, &(spr_http_reply){.status = status,
						    .type = type,
						    .headers = headers,
						    .body = copy,
						    .len = strlen(copy)});
}

void
spr_http_say(spr_http_exchange *exchange, unsigned status, const char *type, const char *text)
{
	say(exchange, status, type, text, NULL);
}

static void
refuse(spr_http_exchange *exchange, unsigned status, const char *code, const char *field,
       const char *detail, const spr_http_header *headers)
{
	cJSON *answer = cJSON_CreateObject();
	cJSON *error = NULL;
	char *text = NULL;

	if (cJSON_AddFalseToObject(answer, "ok") != NULL &&
	    (error = cJSON_AddObjectToObject(answer, "error")) != NULL &&
	    cJSON_AddStringToObject(error, "code", code) != NULL &&
	    (field == NULL || cJSON_AddStringToObject(error, "field", field) != NULL) &&
	    cJSON_AddStringToObject(error, "detail", detail) != NULL)
		text = cJSON_PrintUnformatted(answer);
	cJSON_Delete(answer);
	if (text != NULL)
		say(exchange, status, "application/json", text, headers);
	else
		say_no_memory(exchange);
	cJSON_free(text);
}

void
spr_http_refuse(spr_http_exchange *exchange, unsigned status, const char *code, const char *field,
		const char *detail)
{
	refuse(exchange, status, code, field, detail, NULL);
}

/* ---- routing ---- */

static bool
is_method(const char *given, const char *wanted)
{
	return (strcmp(given, wanted) == 0 ||
		(strcmp(given, "HEAD") == 0 && strcmp(wanted, "GET") == 0));
}

static void
refuse_method(spr_http_exchange *exchange, const char *allowed)
{
	static const spr_http_header get[] = {{"Allow", "GET, HEAD"}, {NULL, NULL}};
	static const spr_http_header both[] = {{"Allow", "GET, HEAD, POST"}, {NULL, NULL}};

	refuse(exchange, 405, "bad_request", NULL, "this method is not allowed here",
	       strcmp(allowed, "GET") == 0 ? get : both);
}

static void
serve(spr_http_adapter *adapter, const spr_http_route *route, spr_http_exchange *exchange)
{
	static const spr_http_header bearer[] = {{"WWW-Authenticate", "Bearer"}, {NULL, NULL}};

	switch (route->is_guarded ? spr_http_guard_ask(&adapter->guard, exchange)
				  : SPR_GUARD_OPEN) {
	case SPR_GUARD_OPEN:
		route->function(adapter, exchange);
		return;
	case SPR_GUARD_NO_TOKEN:
		refuse(exchange, 401, "unauthorized", "Authorization", "the admin token is needed",
		       bearer);
		return;
	case SPR_GUARD_FOREIGN:
		spr_http_refuse(exchange, 403, "forbidden", "Host",
				"without an admin token only this machine may ask, under its own "
				"name, and no page of another origin");
		return;
	}
}

/* [http] */
static void
on_request(void *arg, spr_http_exchange *exchange)
{
	spr_http_adapter *adapter = arg;
	const char *path = spr_http_path(exchange);
	const char *allowed = NULL;

	for (size_t i = 0; i < N_ROUTES; i++) {
		if (strcmp(routes[i].path, path) != 0)
			continue;
		if (is_method(spr_http_method(exchange), routes[i].method)) {
			serve(adapter, &routes[i], exchange);
			return;
		}
		allowed = allowed == NULL ? routes[i].method : "";
	}
	if (allowed != NULL)
		refuse_method(exchange, allowed);
	else
		spr_http_refuse(exchange, 404, "not_found", NULL, "there is nothing here");
}

/* ---- life ---- */

spr_err
spr_http_adapter_open(spr_http_adapter **out, spr_control *control, const spr_control_env *env,
		      const char *token_file)
{
	spr_http_adapter *adapter = spr_mem_zalloc(sizeof(*adapter));
	spr_http_config config = {.max_connections = MAX_CONNECTIONS,
				  .max_per_address = MAX_PER_ADDRESS,
				  .max_deferred = MAX_DEFERRED,
				  .idle_s = IDLE_S,
				  .request_ms = REQUEST_MS,
				  .max_body = MAX_BODY,
				  .on_request = on_request,
				  .arg = adapter};
	spr_err rv;

	if (adapter == NULL)
		return (spr_fail(SPR_E_NOMEM, "out of memory"));
	adapter->control = control;
	adapter->env = env;
	if ((rv = spr_http_guard_init(&adapter->guard, token_file)) != SPR_OK ||
	    (rv = spr_http_page_init(&adapter->page)) != SPR_OK ||
	    (rv = spr_http_server_new(&adapter->server, &config)) != SPR_OK) {
		spr_http_adapter_close(adapter);
		return (rv);
	}
	*out = adapter;
	return (SPR_OK);
}

spr_err
spr_http_adapter_reload(spr_http_adapter *adapter)
{
	return (adapter != NULL ? spr_http_guard_reload(&adapter->guard) : SPR_OK);
}

spr_err
spr_http_adapter_listen(spr_http_adapter *adapter, const char *address, char *bound)
{
	return (spr_http_server_listen(adapter->server, address, bound));
}

void
spr_http_adapter_stop(spr_http_adapter *adapter)
{
	if (adapter != NULL)
		spr_http_server_stop(adapter->server);
}

void
spr_http_adapter_close(spr_http_adapter *adapter)
{
	if (adapter == NULL)
		return;
	spr_http_server_free(adapter->server);
	spr_http_page_fini(&adapter->page);
	spr_http_guard_fini(&adapter->guard);
	spr_mem_free(adapter);
}
