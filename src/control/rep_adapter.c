/*
 * rep_adapter - one slot for each request that net may have given out: it turns control's one reply
 * argument into the pair (endpoint, number) that net wants back.
 */
#include "control/rep_adapter.h"

#include "base/counters.h"
#include "base/mem.h"

typedef struct slot {
	spr_rep_adapter *adapter;
	unsigned number;
} slot;

struct spr_rep_adapter {
	const spr_transport *transport;
	spr_control *control;
	spr_rep *rep;
	slot slot[]; /* by request number */
};

/* [control] */
static void
on_reply(void *arg, const char *text, size_t len)
{
	slot *s = arg;

	s->adapter->transport->rep_reply(s->adapter->rep, s->number, text, len);
}

/* [nng-cb] */
static void
on_request(void *arg, unsigned number, const uint8_t *data, size_t len)
{
	spr_rep_adapter *adapter = arg;

	spr_control_submit(adapter->control, data, len, on_reply, &adapter->slot[number]);
}

/* [nng-cb] */
static void
on_pipe(void *arg, int change)
{
	(void)arg;
	spr_count(change > 0 ? SPR_C_PIPES_ADDED_CONTROL : SPR_C_PIPES_REMOVED_CONTROL);
}

spr_err
spr_rep_adapter_open(spr_rep_adapter **out, const spr_transport *transport, spr_control *control,
		     unsigned window, size_t max_request)
{
	spr_rep_adapter *adapter = spr_mem_zalloc(sizeof(*adapter) + window * sizeof(slot));
	spr_rep_config config = {.window = window,
				 .max_request = max_request,
				 .limit_name = "the limit of a control request",
				 .pipes = {.on_pipe = on_pipe},
				 .on_request = on_request,
				 .arg = adapter};
	spr_err rv = SPR_OK;

	if (adapter == NULL) {
		return (spr_fail(SPR_E_NOMEM, "open control socket: out of memory"));
	}
	adapter->transport = transport;
	adapter->control = control;
	for (unsigned i = 0; i < window; i++) {
		adapter->slot[i] = (slot){.adapter = adapter, .number = i};
	}
	if ((rv = transport->rep_open(&adapter->rep, &config)) != SPR_OK) {
		spr_wrap("open control socket");
		spr_mem_free(adapter);
		return (rv);
	}
	*out = adapter;
	return (SPR_OK);
}

spr_err
spr_rep_adapter_listen(spr_rep_adapter *adapter, const char *url, char *bound)
{
	return (adapter->transport->rep_listen(adapter->rep, url, bound));
}

void
spr_rep_adapter_start(spr_rep_adapter *adapter)
{
	adapter->transport->rep_start(adapter->rep);
}

void
spr_rep_adapter_stop(spr_rep_adapter *adapter)
{
	adapter->transport->rep_stop(adapter->rep);
}

void
spr_rep_adapter_close(spr_rep_adapter *adapter)
{
	if (adapter == NULL) {
		return;
	}
	adapter->transport->rep_close(adapter->rep);
	spr_mem_free(adapter);
}
