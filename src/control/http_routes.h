/*
 * http_routes - what the files behind http_adapter.h share: the adapter, a request under way, and the ways to answer.
 *
 * Threads     http; a request that was handed to control is the control threads' until its reply
 */
#pragma once

#include "control/http_adapter.h"

struct spr_http_adapter {
	/* constant after open */
	spr_control *control;
	const spr_control_env *env;
	spr_http_server *server;
};

typedef struct spr_http_route {
	const char *method; /* GET answers HEAD too */
	const char *path;
	void (*function)(spr_http_adapter *adapter, spr_http_exchange *exchange);
} spr_http_route;

/* [http] A copy of the text; 503 without memory. */
void spr_http_say(spr_http_exchange *exchange, unsigned status, const char *type, const char *text);
/* [http] {"ok":false,"error":{"code":..,"field":..,"detail":..}}; field may be NULL. */
void spr_http_refuse(spr_http_exchange *exchange, unsigned status, const char *code,
		     const char *field, const char *detail);

/* [http] One function a route. */
void spr_http_metrics(spr_http_adapter *adapter, spr_http_exchange *exchange);
void spr_http_livez(spr_http_adapter *adapter, spr_http_exchange *exchange);
void spr_http_readyz(spr_http_adapter *adapter, spr_http_exchange *exchange);
void spr_http_version(spr_http_adapter *adapter, spr_http_exchange *exchange);
