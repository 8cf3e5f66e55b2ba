/*
 * report - health, gauges, ready file and state dump: one function reads each from the parts.
 */
#include "report.h"

#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/process.h"

static const char *const socket_names[SPR_N_SOCKETS] = {"intake",   "outbox",  "ack",
							"receipts", "control", "http"};

#define DEAD_AFTER_NS (10 * SPR_NS_PER_S)

static bool
is_ready(const spr_daemon *daemon)
{
	return (atomic_load_explicit(&daemon->is_ready, memory_order_relaxed /* a snapshot */));
}

/* A moment of the monotonic clock on the wall, in seconds; 0: never. */
static double
on_the_wall(uint64_t at_ns)
{
	double age_s = (double)(spr_clock_now_ns() - at_ns) / (double)SPR_NS_PER_S;

	return (at_ns == 0 ? 0 : (double)spr_clock_wall_s() - age_s);
}

void
spr_report_gauges(void *arg, double *gauges)
{
	const spr_daemon *daemon = arg;
	const spr_options *options = daemon->options;

	gauges[SPR_G_UPTIME] =
	    (double)(spr_clock_now_ns() - daemon->started_ns) / (double)SPR_NS_PER_S;
	gauges[SPR_G_READY] = is_ready(daemon);
	gauges[SPR_G_IN_FLIGHT] = spr_notifications_in_flight(&daemon->notifications);
	gauges[SPR_G_IN_FLIGHT_LIMIT] = options->max_inflight;
	gauges[SPR_G_OLDEST] = on_the_wall(spr_notifications_oldest_ns(&daemon->notifications));
	gauges[SPR_G_INTAKE_WAITING] = spr_intake_waiting(daemon->intake);
	gauges[SPR_G_INTAKE_WAITING_LIMIT] =
	    (double)options->receivers * options->dispatchers * (options->ring_slots - 1);
	gauges[SPR_G_INTAKE_BYTES] = (double)spr_intake_bytes(daemon->intake);
	gauges[SPR_G_INTAKE_BYTES_LIMIT] = (double)options->max_inflight_bytes * 3 / 4;
	gauges[SPR_G_PARKED_RECEIVERS] = spr_intake_parked(daemon->intake);
	gauges[SPR_G_OUTBOX_BYTES] = (double)spr_outbox_bytes(daemon->outbox);
	gauges[SPR_G_OUTBOX_BYTES_LIMIT] = (double)options->max_inflight_bytes / 4;
	gauges[SPR_G_PEERS_OUTBOX] = spr_outbox_peers(daemon->outbox);
	gauges[SPR_G_PEERS_ACK] = spr_ledger_peers(daemon->ledger);
	gauges[SPR_G_ANSWERS_REMEMBERED] =
	    daemon->answers != NULL ? spr_answers_remembered(daemon->answers) : 0;
	gauges[SPR_G_ANSWERS_RESUMABLE] =
	    daemon->answers != NULL ? spr_answers_resumable(daemon->answers) : 0;
	if (daemon->jobs != NULL) {
		gauges[SPR_G_OPEN_JOBS] = spr_jobs_known(daemon->jobs);
		gauges[SPR_G_OPEN_JOBS_RESERVED] =
		    spr_credits_reserved(spr_jobs_credits(daemon->jobs));
		gauges[SPR_G_OPEN_JOBS_LIMIT] = options->max_open_jobs;
	}
	spr_process_read(gauges);
}

unsigned
spr_report_checks(void *arg, spr_probe probe, spr_check *checks)
{
	const spr_daemon *daemon = arg;
	uint64_t now_ns = spr_clock_now_ns();
	unsigned n = 0;

	if (probe == SPR_PROBE_LIVE) {
		checks[n++] = (spr_check){
		    "dispatchers",
		    spr_dispatchers_are_alive(daemon->dispatchers, now_ns, DEAD_AFTER_NS), true};
		checks[n++] = (spr_check){
		    "ledger", spr_ledger_is_alive(daemon->ledger, now_ns, DEAD_AFTER_NS), true};
		return (n);
	}
	/* asked only once they are */
	checks[n++] = (spr_check){"subscriptions_loaded", true, true};
	checks[n++] = (spr_check){"receiving", is_ready(daemon), true};
	checks[n++] = (spr_check){"outbox_connected", spr_outbox_peers(daemon->outbox) > 0,
				  daemon->options->ready_needs_outbox};
	checks[n++] = (spr_check){"ack_connected",
				  !spr_ledger_has_upstreams(daemon->ledger) ||
				      spr_ledger_peers(daemon->ledger) > 0,
				  false};
	return (n);
}

static void
add_listening(spr_daemon *daemon, cJSON *object)
{
	cJSON *listening = cJSON_AddObjectToObject(object, "listening");

	pthread_mutex_lock(&daemon->listening_mutex);
	for (unsigned i = 0; i < SPR_N_SOCKETS; i++) {
		cJSON *urls = cJSON_AddArrayToObject(listening, socket_names[i]);

		for (unsigned k = 0; k < daemon->listening[i].n; k++)
			cJSON_AddItemToArray(urls, cJSON_CreateString(daemon->listening[i].url[k]));
	}
	pthread_mutex_unlock(&daemon->listening_mutex);
}

void
spr_report_health(void *arg, void *object)
{
	spr_daemon *daemon = arg;
	spr_check found[SPR_CHECKS_MAX];
	unsigned n = spr_report_checks(arg, SPR_PROBE_READY, found);
	bool is_all_ready = true;
	cJSON *checks;

	for (unsigned i = 0; i < n; i++)
		is_all_ready = is_all_ready && (found[i].is_ok || !found[i].is_needed);
	cJSON_AddBoolToObject(object, "ready", is_all_ready);
	checks = cJSON_AddObjectToObject(object, "checks");
	for (unsigned i = 0; i < n; i++)
		cJSON_AddBoolToObject(checks, found[i].name, found[i].is_ok);
	add_listening(daemon, object);
}

static char *
ready_text(spr_daemon *daemon)
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
