/*
 * http_routes - what the files behind http_adapter.h share: the adapter, a request under way, and the ways to answer.
 *
 * Threads     http; a request that was handed to control is the control threads' until its reply
 */
#pragma once

#include "control/http_adapter.h"
#include "control/http_guard.h"
#include "control/http_page.h"

struct spr_http_adapter {
	/* constant after open */
	spr_control *control;
	const spr_control_env *env;
	spr_http_server *server;
	spr_http_guard guard;
	spr_http_page page;
};

typedef struct spr_http_route {
	const char *method; /* GET answers HEAD too */
	const char *path;
	void (*function)(spr_http_adapter *adapter, spr_http_exchange *exchange);
	bool is_guarded; /* it lists or changes subscriptions */
} spr_http_route;

/* [whoever answers] A copy of the text; 503 without memory. */
void spr_http_say(spr_http_exchange *exchange, unsigned status, const char *type, const char *text);
/* [whoever answers] {"ok":false,"error":{"code":..,"field":..,"detail":..}}; field may be NULL. */
void spr_http_refuse(spr_http_exchange *exchange, unsigned status, const char *code,
		     const char *field, const char *detail);

/* [http] One function a route. */
void spr_http_metrics(spr_http_adapter *adapter, spr_http_exchange *exchange);
void spr_http_livez(spr_http_adapter *adapter, spr_http_exchange *exchange);
void spr_http_readyz(spr_http_adapter *adapter, spr_http_exchange *exchange);
void spr_http_version(spr_http_adapter *adapter, spr_http_exchange *exchange);
void spr_http_post_subscriptions(spr_http_adapter *adapter, spr_http_exchange *exchange);
void spr_http_get_subscriptions(spr_http_adapter *adapter, spr_http_exchange *exchange);
void spr_http_lookup(spr_http_adapter *adapter, spr_http_exchange *exchange);
void spr_http_get_page(spr_http_adapter *adapter, spr_http_exchange *exchange);
void spr_http_overview(spr_http_adapter *adapter, spr_http_exchange *exchange);
