/*
 * http_adapter - control over HTTP: a table of routes. What changes subscriptions, or must be asked of control, goes
 * through the same verbs and mailboxes as a request by REP; metrics, probes and the page are answered on the spot.
 *
 * Writer      the server's threads; replies come from the control threads
 * Reader      as the writer
 * Ownership   a request owns its text until the reply
 * Ordering    E2 (control's mailbox)
 * Progress    a request never waits: it is deferred
 * Limits      those of the server
 * Teardown    spr_http_adapter_stop() before spr_control_stop(), then close
 */
#pragma once

#include "control/control.h"
#include "control/http_server.h"

typedef struct spr_http_adapter spr_http_adapter;

/* [main] control, env and token_file (NULL: no token) must outlive it. SPR_E_CONFIG with a trail when the token cannot be
 * read. */
spr_err spr_http_adapter_open(spr_http_adapter **out, spr_control *control,
			      const spr_control_env *env, const char *token_file);
/* [main] Reads the token again; on an error the old one stays. NULL is fine. */
spr_err spr_http_adapter_reload(spr_http_adapter *adapter);
/* [main] See spr_http_server_listen(). */
spr_err spr_http_adapter_listen(spr_http_adapter *adapter, const char *address, char *bound);
/* [main] When it returns no request is under way. NULL is fine. */
void spr_http_adapter_stop(spr_http_adapter *adapter);
/* [main, stopped] NULL is fine. */
void spr_http_adapter_close(spr_http_adapter *adapter);
