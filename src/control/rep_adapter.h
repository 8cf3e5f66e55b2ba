/*
 * rep_adapter - control over SP REP: hands what net receives to control, and control's
 * replies back.
 *
 * Writer      on_request on the transport's threads
 * Reader      replies come from the control threads
 * Ownership   the request's bytes stay net's until the reply; the adapter keeps no copy
 * Ordering    E7, then E2
 * Progress    never waits
 * Limits      window requests at once, each of at most max_request bytes
 * Teardown    spr_rep_adapter_stop(), spr_control_stop(), spr_rep_adapter_close()
 */
#pragma once

#include "control/control.h"
#include "net/net.h"

typedef struct spr_rep_adapter spr_rep_adapter;

/* [main] control must outlive it. */
spr_err spr_rep_adapter_open(spr_rep_adapter **out, const spr_transport *transport,
			     spr_control *control, unsigned window, size_t max_request);
/* [main] bound gets the URL really bound; SPR_URL_MAX bytes. */
spr_err spr_rep_adapter_listen(spr_rep_adapter *adapter, const char *url, char *bound);
/* [main] */
void spr_rep_adapter_start(spr_rep_adapter *adapter);
/* [main] When it returns, no new request reaches control. */
void spr_rep_adapter_stop(spr_rep_adapter *adapter);
/* [main, control stopped] NULL is fine. */
void spr_rep_adapter_close(spr_rep_adapter *adapter);
