/*
 * http_probes - metrics, liveness, readiness, version: read from snapshots on the server's own threads, so they answer
 * even when control is busy.
 *
 * Liveness looks at nothing outside the process: back-pressure, an absent worker or upstream and a slow disk must never
 * get the daemon restarted.
 */
#include "control/http_routes.h"

#include <stdio.h>
#include <string.h>

#include "control/metrics_text.h"
#include "net/net.h"

#define TEXT "text/plain; charset=utf-8"

void
spr_http_metrics(spr_http_adapter *adapter, spr_http_exchange *exchange)
{
	spr_metrics_format format = spr_metrics_accepted(spr_http_header_of(exchange, "Accept"));
	size_t len = 0;
	char *text = spr_metrics_write(adapter->env, format, &len);

	if (text == NULL) {
		spr_http_refuse(exchange, 503, "store", NULL, "out of memory");
		return;
	}
	spr_http_answer(exchange, &(spr_http_reply){.status = 200,
						    .type = spr_metrics_type(format),
						    .body = text,
						    .len = len});
}

static void
probe(spr_http_adapter *adapter, spr_http_exchange *exchange, spr_probe which)
{
	const spr_control_env *env = adapter->env;
	spr_check checks[SPR_CHECKS_MAX];
	unsigned n = env->read_checks != NULL ? env->read_checks(env->arg, which, checks) : 0;
	bool is_ok = true;
	char text[1024] = "";
	size_t len = 0, ignored;

	for (unsigned i = 0; i < n; i++) {
		const spr_check *check = &checks[i];

		is_ok = is_ok && (check->is_ok || !check->is_needed);
		len += (size_t)snprintf(text + len, sizeof(text) - len, "[%c] %s%s\n",
					check->is_ok ? '+' : '-', check->name,
					check->is_needed ? "" : " (only told)");
	}
	if (spr_http_query(exchange, "verbose", &ignored) == NULL)
		len = 0;
	snprintf(text + len, sizeof(text) - len, is_ok ? "ok\n" : "failed\n");
	spr_http_say(exchange, is_ok ? 200 : 503, TEXT, text);
}

void
spr_http_livez(spr_http_adapter *adapter, spr_http_exchange *exchange)
{
	probe(adapter, exchange, SPR_PROBE_LIVE);
}

void
spr_http_readyz(spr_http_adapter *adapter, spr_http_exchange *exchange)
{
	probe(adapter, exchange, SPR_PROBE_READY);
}

void
spr_http_version(spr_http_adapter *adapter, spr_http_exchange *exchange)
{
	char text[256];

	snprintf(text, sizeof(text), "{\"version\":\"%s\",\"nng\":\"%s\",\"instance\":\"%s\"}\n",
		 SPR_VERSION, spr_net_version(), adapter->env->instance);
	spr_http_say(exchange, 200, "application/json", text);
}
