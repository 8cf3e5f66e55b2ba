/*
 * report - health, gauges, ready file and state dump, from one table of gauges.
 */
#include "report.h"

#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

static const char *const socket_names[SPR_N_SOCKETS] = {"intake", "outbox", "ack", "control"};

typedef struct gauge {
	const char *name;
	double (*read)(const spr_daemon *daemon);
} gauge;

static double
read_in_flight(const spr_daemon *daemon)
{
	return (spr_notifications_in_flight(&daemon->notifications));
}

static double
read_in_flight_limit(const spr_daemon *daemon)
{
	return (daemon->options->max_inflight);
}

static double
read_intake_waiting(const spr_daemon *daemon)
{
	return (spr_intake_waiting(daemon->intake));
}

static double
read_intake_bytes(const spr_daemon *daemon)
{
	return ((double)spr_intake_bytes(daemon->intake));
}

static double
read_receivers_parked(const spr_daemon *daemon)
{
	return (spr_intake_parked(daemon->intake));
}

static double
read_outbox_bytes(const spr_daemon *daemon)
{
	return ((double)spr_outbox_bytes(daemon->outbox));
}

static double
read_outbox_peers(const spr_daemon *daemon)
{
	return (spr_outbox_peers(daemon->outbox));
}

static double
read_ack_peers(const spr_daemon *daemon)
{
	return (spr_ledger_peers(daemon->ledger));
}

static double
read_answers_remembered(const spr_daemon *daemon)
{
	return (daemon->answers != NULL ? spr_answers_remembered(daemon->answers) : 0);
}

static double
read_uptime(const spr_daemon *daemon)
{
	return ((double)(spr_clock_now_ns() - daemon->started_ns) / (double)SPR_NS_PER_S);
}

static const gauge gauges[] = {
    {"spreader_in_flight", read_in_flight},
    {"spreader_in_flight_limit", read_in_flight_limit},
    {"spreader_intake_waiting", read_intake_waiting},
    {"spreader_intake_bytes", read_intake_bytes},
    {"spreader_receivers_parked", read_receivers_parked},
    {"spreader_outbox_bytes", read_outbox_bytes},
    {"spreader_peers{socket=\"outbox\"}", read_outbox_peers},
    {"spreader_peers{socket=\"ack\"}", read_ack_peers},
    {"spreader_answers_remembered", read_answers_remembered},
    {"spreader_uptime_seconds", read_uptime},
};
#define N_GAUGES (sizeof(gauges) / sizeof(gauges[0]))

void
spr_report_stats(void *arg, void *object)
{
	const spr_daemon *daemon = arg;

	for (size_t i = 0; i < N_GAUGES; i++)
		cJSON_AddNumberToObject(object, gauges[i].name, gauges[i].read(daemon));
}

static void
add_listening(const spr_daemon *daemon, cJSON *object)
{
	cJSON *listening = cJSON_AddObjectToObject(object, "listening");

	for (unsigned i = 0; i < SPR_N_SOCKETS; i++) {
		cJSON *urls = cJSON_AddArrayToObject(listening, socket_names[i]);

		for (unsigned k = 0; k < daemon->listening[i].n; k++)
			cJSON_AddItemToArray(urls, cJSON_CreateString(daemon->listening[i].url[k]));
	}
}

void
spr_report_health(void *arg, void *object)
{
	const spr_daemon *daemon = arg;
	cJSON *checks;
	/* relaxed: a snapshot */
	bool is_ready = atomic_load_explicit(&daemon->is_ready, memory_order_relaxed);

	cJSON_AddBoolToObject(object, "ready", is_ready);
	checks = cJSON_AddObjectToObject(object, "checks");
	cJSON_AddBoolToObject(checks, "subscriptions_loaded",
			      true); /* control answers only once they are */
	cJSON_AddBoolToObject(checks, "receiving", is_ready);
	cJSON_AddBoolToObject(checks, "outbox_connected", spr_outbox_peers(daemon->outbox) > 0);
	cJSON_AddBoolToObject(checks, "ack_connected",
			      !spr_ledger_has_upstreams(daemon->ledger) ||
				  spr_ledger_peers(daemon->ledger) > 0);
	add_listening(daemon, object);
}

static char *
ready_text(const spr_daemon *daemon)
{
	cJSON *root = cJSON_CreateObject();
	char *text;

	cJSON_AddStringToObject(root, "instance", daemon->instance);
	cJSON_AddNumberToObject(root, "pid", (double)getpid());
	add_listening(daemon, root);
	text = cJSON_PrintUnformatted(root);
	cJSON_Delete(root);
	return (text);
}

spr_err
spr_report_write_ready_file(spr_daemon *daemon, const char *path)
{
	char *text = ready_text(daemon);
	spr_err rv = SPR_OK;

	if (text == NULL)
		return (SPR_E_NOMEM);
	if ((rv = spr_file_replace(path, text)) != SPR_OK)
		spr_wrap("ready file");
	cJSON_free(text);
	return (rv);
}

void
spr_report_log_state(const spr_daemon *daemon)
{
	spr_subscriptions_stats stats;

	spr_subscriptions_get_stats(daemon->subscriptions, &stats);
	spr_info("STATE",
		 "in_flight=%u waiting=%u intake_bytes=%zu parked=%u outbox_bytes=%zu "
		 "outbox_peers=%u ack_peers=%u "
		 "subscriptions=%llu nodes=%llu",
		 spr_notifications_in_flight(&daemon->notifications),
		 spr_intake_waiting(daemon->intake), spr_intake_bytes(daemon->intake),
		 spr_intake_parked(daemon->intake), spr_outbox_bytes(daemon->outbox),
		 spr_outbox_peers(daemon->outbox), spr_ledger_peers(daemon->ledger),
		 (unsigned long long)stats.subscriptions, (unsigned long long)stats.nodes);
}

void
spr_report_set_leases(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;
	spr_control_env *env = &daemon->control_env;

	/* relaxed: each is read once a request, on its own */
	atomic_store_explicit(&env->lease_default_s, options->lease_default_ns / SPR_NS_PER_S,
			      memory_order_relaxed /* as above */);
	atomic_store_explicit(&env->lease_min_s, options->lease_min_ns / SPR_NS_PER_S,
			      memory_order_relaxed /* as above */);
	atomic_store_explicit(&env->lease_max_s, options->lease_max_ns / SPR_NS_PER_S,
			      memory_order_relaxed /* as above */);
	atomic_store_explicit(&env->lease_grace_s, options->lease_grace_ns / SPR_NS_PER_S,
			      memory_order_relaxed /* as above */);
}
