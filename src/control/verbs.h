/*
 * verbs - the control operations: one table, each a function from a JSON request to a JSON reply.
 * No sockets here: the REP adapter and HTTP call in.
 *
 * Two threads have the role control: the reader runs verbs marked READ, and parses every request;
 * the writer is the only one that changes the store and the subscriptions, and joins whatever
 * changes are waiting into one transaction.
 *
 *   spr_request_parse            [reader]  text -> verb, and for a WRITE verb its changes, checked
 *     READ:  spr_request_read    [reader]  -> reply
 *     WRITE: spr_request_store   [writer]  inside a transaction
 *            spr_request_publish [writer]  after its commit -> reply
 *   spr_request_finish           [any]     an error instead -> reply
 *
 * Threads     a request is one thread's at a time: the reader's, then by E2 the writer's
 * Ownership   a request owns its JSON, its changes and its reply, not the text it was parsed from
 * Limits      a reply is bounded by list's limit of 1,000 rows; lookup is bounded by the fan-out
 */
#pragma once

#include "base/epoch.h"
#include "base/host_rules.h"
#include "route/subscriptions.h"
#include "store/store.h"

#define SPR_IMPORT_MAX   10000
#define SPR_LIST_MAX     1000
#define SPR_LIST_DEFAULT 100
#define SPR_LIST_SCAN    10000 /* rows that a page of one callback looks at, found or not */

/* What a probe looks at, and what it found. */
#define SPR_CHECKS_MAX 8
typedef enum spr_probe { SPR_PROBE_READY, SPR_PROBE_LIVE } spr_probe;
typedef struct spr_check {
	const char *name;
	bool is_ok;
	bool is_needed; /* else it is only told */
} spr_check;

/* What verbs need of the daemon. Constant after start, except the lease rules (reloaded: read once
 * per request). */
typedef struct spr_control_env {
	spr_epoch *epoch;
	spr_subscriptions *subscriptions;
	spr_store *store;
	bool allow_catch_all;
	const spr_host_rules *callback_rules; /* NULL: any host */
	_Atomic int64_t lease_default_s, lease_min_s, lease_max_s, lease_grace_s;
	const char *instance;
	/* Clocks; NULL: the real ones. */
	int64_t (*wall_s)(void);
	uint64_t (*now_ns)(void);
	/* [any] Fills in the gauges that other modules know, by spr_gauge. May be NULL. */
	void (*read_gauges)(void *arg, double *gauges);
	/* [control] Fills "ready" and "checks", "listening" (a cJSON object). May be NULL. */
	void (*add_health)(void *arg, void *object);
	/* [any] Fills in at most SPR_CHECKS_MAX; how many. May be NULL. */
	unsigned (*read_checks)(void *arg, spr_probe probe, spr_check *checks);
	void *arg;
} spr_control_env;

typedef enum spr_verb_kind { SPR_VERB_READ, SPR_VERB_WRITE } spr_verb_kind;

/* X(NAME, op, kind, function, help) */
/* clang-format off */
#define SPR_VERBS(X)                                                                                             \
	X(SUBSCRIBE,   "subscribe",   WRITE, spr_verb_subscribe,   "pattern, callback[, lease_seconds]: adds or renews") \
	X(UNSUBSCRIBE, "unsubscribe", WRITE, spr_verb_unsubscribe, "pattern, callback: removes")                     \
	X(IMPORT,      "import",      WRITE, spr_verb_import,      "subscriptions[]: adds or renews all or none")    \
	X(LIST,        "list",        READ,  spr_verb_list,        "[limit, after, prefix, callback]: what is stored") \
	X(LOOKUP,      "lookup",      READ,  spr_verb_lookup,      "predicate: who would be told, and why")          \
	X(STATS,       "stats",       READ,  spr_verb_stats,       "every counter and gauge")                        \
	X(HEALTH,      "health",      READ,  spr_verb_health,      "ready, checks, addresses listened on")           \
	X(VERSION,     "version",     READ,  spr_verb_version,     "versions and the instance")
/* clang-format on */

typedef enum spr_verb_id {
#define X(name, op, kind, function, help) SPR_VERB_##name,
	SPR_VERBS(X)
#undef X
	    SPR_N_VERBS
} spr_verb_id;

/* One change of one subscription, checked. */
typedef struct spr_change {
	char *pattern;        /* normalised text, owned */
	const char *callback; /* inside the request's JSON */
	int64_t expires_s;
	unsigned at; /* its place in the request */
	bool is_removal;
	bool was_stored; /* before this change; set by spr_request_store() */
} spr_change;

typedef struct spr_request spr_request;

typedef struct spr_verb {
	spr_verb_id id;
	const char *op;
	spr_verb_kind kind;
	/* READ: fills request->answer. WRITE: fills request->change. An error leaves a trail. */
	spr_err (*function)(spr_request *request, const spr_control_env *env);
	const char *help;
} spr_verb;

extern const spr_verb spr_verb_table[SPR_N_VERBS];

struct spr_request {
	const spr_verb *verb;     /* NULL until parsed */
	struct cJSON *json;       /* the request */
	struct cJSON *answer;     /* the reply being built */
	spr_epoch_record *record; /* the reader's, during spr_request_read() */
	spr_change *change;
	size_t n_changes;
	long index;  /* of the first bad entry of an import; -1: none */
	char *reply; /* malloc memory; NULL with is_done: there was no memory for one */
	bool is_done;
};

void spr_request_init(spr_request *request);
/* NULL members are fine. */
void spr_request_fini(spr_request *request);

/* [control reader] An error has made the reply. */
spr_err spr_request_parse(spr_request *request, const spr_control_env *env, const uint8_t *data,
			  size_t len);
/* [control reader] Runs a READ verb and makes the reply. */
void spr_request_read(spr_request *request, const spr_control_env *env, spr_epoch_record *record);
/* [control writer, inside a transaction] An error is the store's: the caller rolls back and
 * finishes with it. */
spr_err spr_request_store(spr_request *request, const spr_control_env *env);
/* [control writer, after the commit] Makes the changes visible to lookups, then the reply. */
void spr_request_publish(spr_request *request, const spr_control_env *env);
/* [any] Makes the reply: the answer's text, or an error's from its code and trail. Once per
 * request. */
void spr_request_finish(spr_request *request, spr_err err);
/* [any] The reply's text, NUL-terminated, the request's own. Never NULL once the request is done.
 */
const char *spr_request_reply(const spr_request *request);

/* The code on the wire: "bad_pattern" for SPR_E_BAD_PATTERN. */
const char *spr_control_code(spr_err err);

/* [main, before the control threads start] Every stored row becomes visible to lookups. *n: how
 * many. */
spr_err spr_control_load(const spr_control_env *env, uint64_t *n);

/* For the verbs themselves. */
/* {"ok":true}; SPR_E_NOMEM with a trail. */
spr_err spr_request_begin_answer(spr_request *request);
int64_t spr_control_wall_s(const spr_control_env *env);
uint64_t spr_control_now_ns(const spr_control_env *env);
/* A string member; SPR_E_INVALID with a trail that names it. */
spr_err spr_request_string(const struct cJSON *object, const char *name, const char **out);
/* A stored time as text, whatever is stored. */
void spr_control_format_time(int64_t wall_s, char *out);
/* [any] Every gauge of the table, SPR_N_GAUGES of them. */
void spr_control_read_gauges(const spr_control_env *env, double *gauges);
#define X(name, op, kind, function, help) \
	spr_err function(spr_request *request, const spr_control_env *env);
SPR_VERBS(X)
#undef X
