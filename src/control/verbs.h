/*
 * verbs - the control operations: one table, each a function from a JSON request to a JSON reply. No sockets here:
 * the REP adapter (and later HTTP) calls in.
 *
 * Two threads have the role control: the reader runs verbs marked READ, and parses every request; the writer is the only
 * one that changes the store and the subscriptions, and joins whatever changes are waiting into one transaction.
 *
 * Ownership   the reply text is malloc memory and passes to the caller
 * Limits      a reply is bounded by list's limit of 1,000 rows; lookup is bounded by the fan-out
 */
#pragma once

#include "base/epoch.h"
#include "route/subscriptions.h"
#include "store/store.h"

/* What verbs need of the daemon. Constant after start, except the lease rules (reloaded: read once per request). */
typedef struct spr_control_env {
	spr_subscriptions *subscriptions;
	spr_store         *store;
	bool               allow_catch_all;
	_Atomic int64_t    lease_default_s, lease_min_s, lease_max_s;
	const char        *instance;
	/* [control] Adds gauges of other modules to the stats object (a cJSON object). May be NULL. */
	void (*add_stats)(void *arg, void *object);
	/* [control] Fills "ready" and "checks", "listening" (a cJSON object). */
	void (*add_health)(void *arg, void *object);
	void *arg;
} spr_control_env;

typedef enum spr_verb_kind { SPR_VERB_READ, SPR_VERB_WRITE } spr_verb_kind;
