/*
 * daemon - start and stop as one ordered table.
 *
 * Start walks the table forward; a failure unwinds from where it stood. Stop walks it backward, behind the drain (run.c).
 */
#include "daemon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/rep_adapter.h"
#include "net/tls.h"
#include "path/dispatch.h"
#include "report.h"
#include "run.h"
#include "sockets.h"
#include "store/store.h"

#define CONTROL_WINDOW      4
#define CONTROL_REQUEST_MAX (16u << 20) /* an import of 10,000 entries with long callbacks */
#define CLOSE_LIMIT_S       3

typedef struct step {
	const char *name;
	spr_err (*start)(spr_daemon *daemon);
	void (*stop)(spr_daemon *daemon); /* may be NULL; accepts what start left half-made */
} step;

int
spr_exit_code(spr_err err)
{
	switch (err) {
	case SPR_OK:
		return (SPR_EXIT_OK);
	case SPR_E_USAGE:
		return (SPR_EXIT_USAGE);
	case SPR_E_CONFIG:
		return (SPR_EXIT_CONFIG);
	case SPR_E_ADDRESS:
		return (SPR_EXIT_BIND);
	case SPR_E_IO:
	case SPR_E_LOCKED:
		return (SPR_EXIT_FILE);
	default:
		return (SPR_EXIT_FAILURE);
	}
}

/* ---- the steps, in start order ---- */

static spr_err
start_instance(spr_daemon *daemon)
{
	uint64_t random[2];
	struct rlimit files;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return (spr_fail(SPR_E_SYSTEM, "getrandom: %s", strerror(errno)));
	snprintf(daemon->instance, sizeof(daemon->instance), "%016llx",
		 (unsigned long long)random[0]);
	daemon->key_seed = random[1];
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max; /* one descriptor a peer */
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	spr_sockets_limit_peers(daemon->options);
	return (SPR_OK);
}

static spr_err
start_certificates(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;

	return (spr_tls_load(options->tls_cert, options->tls_key, options->tls_ca));
}

static void
stop_certificates(spr_daemon *daemon)
{
	(void)daemon;
	spr_tls_unload();
}

static spr_err
start_store(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;
	bool was_created = false;
	spr_err rv =
	    spr_store_open(&daemon->store, options->store, options->store_must_exist, &was_created);

	if (rv == SPR_OK && was_created && strcmp(options->store, ":memory:") != 0)
		spr_warn("STORE-CREATED",
			 "path=\"%s\" why=\"there was none; it has no subscriptions yet\"",
			 options->store);
	return (rv);
}

static void
stop_store(spr_daemon *daemon)
{
	spr_store_close(daemon->store);
}

static spr_err
start_subscriptions(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;
	spr_control_env *env = &daemon->control_env;
	spr_err rv;

	if ((rv = spr_epoch_new(&daemon->epoch)) != SPR_OK ||
	    (rv = spr_subscriptions_new(&daemon->subscriptions, daemon->epoch)) != SPR_OK ||
	    (rv = spr_host_rules_new(&daemon->callback_rules, options->callback_allow.item,
				     options->callback_allow.n, options->callback_deny.item,
				     options->callback_deny.n)) != SPR_OK)
		return (rv);
	env->epoch = daemon->epoch;
	env->subscriptions = daemon->subscriptions;
	env->store = daemon->store;
	env->allow_catch_all = options->allow_catch_all;
	env->callback_rules = daemon->callback_rules;
	env->instance = daemon->instance;
	env->read_gauges = spr_report_gauges;
	env->read_checks = spr_report_checks;
	env->add_health = spr_report_health;
	env->arg = daemon;
	spr_report_set_leases(daemon);
	return (spr_control_load(env, &daemon->n_loaded));
}

static void
stop_subscriptions(spr_daemon *daemon)
{
	spr_subscriptions_free(daemon->subscriptions);
	spr_epoch_free(daemon->epoch);
	spr_host_rules_free(daemon->callback_rules);
}

static spr_err
start_dead_letter(spr_daemon *daemon)
{
	spr_err rv = spr_dead_letter_new(&daemon->dead_letter, daemon->options->dead_letter);

	return (rv != SPR_OK ? rv : spr_dead_letter_start(daemon->dead_letter));
}

static void
stop_dead_letter(spr_daemon *daemon)
{
	spr_dead_letter_free(daemon->dead_letter);
}

static bool
awaits_receipts(const spr_options *options)
{
	return (options->confirm == SPR_CONFIRM_RECEIPT);
}

static spr_err
start_ledger(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;
	/* without receipts there is nothing to resume by */
	unsigned resume_window = awaits_receipts(options) ? options->resume_window : 0;
	spr_err rv;
	spr_ledger_config config;

	daemon->waiters.n = options->dispatchers;
	if ((daemon->waiters.waiter =
		 spr_mem_zalloc_aligned(options->dispatchers * sizeof(spr_waiter))) == NULL)
		return (SPR_E_NOMEM);
	if ((rv = spr_notifications_init(&daemon->notifications, options->max_inflight,
					 options->dispatchers, &daemon->waiters)) != SPR_OK ||
	    (options->n_ack_peers > 0 &&
	     (rv = spr_answers_new(&daemon->answers, options->dispatchers, options->max_inflight,
				   options->dedup_window, resume_window)) != SPR_OK) ||
	    (awaits_receipts(options) &&
	     (rv = spr_jobs_new(&daemon->jobs, options->max_open_jobs)) != SPR_OK))
		return (rv);
	config = (spr_ledger_config){
	    .batch = options->ack_batch,
	    .window = options->ack_window,
	    .timeout_ms = (unsigned)(options->ack_timeout_ns / SPR_NS_PER_MS),
	    .instance = daemon->instance,
	    .notifications = &daemon->notifications,
	    .answers = daemon->answers,
	    .jobs = daemon->jobs,
	    .max_jobs = options->max_open_jobs,
	    .receipt_timeout_ns = options->receipt_timeout_ns,
	    .receipt_grace_ns = options->receipt_grace_ns,
	    .dead_letter = daemon->dead_letter,
	};
	return (spr_ledger_new(&daemon->ledger, &config));
}

static void
stop_ledger(spr_daemon *daemon)
{
	spr_ledger_free(daemon->ledger);
	spr_answers_free(daemon->answers);
	spr_jobs_free(daemon->jobs);
	spr_notifications_fini(&daemon->notifications);
	spr_mem_free(daemon->waiters.waiter);
}

static spr_err
start_dispatchers(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;
	spr_dispatch_config config = {
	    .n_dispatchers = options->dispatchers,
	    .spin_ns = options->spin_ns,
	    .format =
		options->intake_format == SPR_INTAKE_BARE ? SPR_FORMAT_BARE : SPR_FORMAT_ENVELOPE,
	    .message_as_string = options->message_payload == SPR_PAYLOAD_STRING,
	    .no_subscribers = (spr_if_nobody)options->no_subscribers,
	    .on_one_line = options->outbox_batch_bytes > 0,
	    .max_notification = options->max_notification_bytes,
	    .max_job = options->max_job_bytes,
	    .max_fanout = options->max_fanout,
	    .outbox_timeout_ns = options->outbox_timeout_ns,
	    .key_seed = daemon->key_seed,
	    .has_job_ids = awaits_receipts(options) || options->job_id,
	    .waiters = &daemon->waiters,
	    .ledger = daemon->ledger,
	    .answers = daemon->answers,
	    .jobs = daemon->jobs,
	    .notifications = &daemon->notifications,
	    .subscriptions = daemon->subscriptions,
	    .epoch = daemon->epoch,
	    .dead_letter = daemon->dead_letter,
	};

	return (spr_dispatchers_new(&daemon->dispatchers, &config));
}

static void
stop_dispatchers(spr_daemon *daemon)
{
	spr_dispatchers_free(daemon->dispatchers);
}

static spr_err
start_outbox(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;
	spr_err rv;
	spr_outbox_config config = {
	    .transport = spr_sockets_outbox(options),
	    .max_bytes = options->max_inflight_bytes / 4,
	    .batch_bytes = options->outbox_batch_bytes,
	    .peer_bytes = options->outbox_peer_bytes,
	    .awaits_tcp = options->confirm == SPR_CONFIRM_TCP,
	    .dispatchers = &daemon->waiters,
	    .ledger = daemon->ledger,
	    .instance = awaits_receipts(options) || options->job_id ? daemon->instance : NULL,
	    .jobs = daemon->jobs,
	    .notifications = &daemon->notifications,
	};

	if ((rv = spr_outbox_new(&daemon->outbox, &config)) != SPR_OK)
		return (rv);
	return (spr_dispatchers_connect(daemon->dispatchers, daemon->intake, daemon->outbox));
}

static void
stop_outbox(spr_daemon *daemon)
{
	spr_outbox_free(daemon->outbox);
}

static spr_err
start_receipts(spr_daemon *daemon)
{
	spr_receipts_config config = {
	    .transport =
		spr_sockets_pull(daemon->options, "receipts", &daemon->options->receipts_listen,
				 &daemon->options->receipts_dial),
	    .max_message = daemon->options->max_message_bytes,
	    .instance = daemon->instance,
	    .jobs = daemon->jobs,
	    .notifications = &daemon->notifications,
	    .ledger = daemon->ledger,
	};

	return (daemon->jobs != NULL ? spr_receipts_new(&daemon->receipts, &config) : SPR_OK);
}

static void
stop_receipts(spr_daemon *daemon)
{
	spr_receipts_free(daemon->receipts);
}

static spr_err
start_intake(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;
	spr_intake_config config = {
	    .transport =
		spr_sockets_pull(options, "intake", &options->intake_listen, &options->intake_dial),
	    .receivers = options->receivers,
	    .ring_slots = options->ring_slots,
	    .max_message = options->max_message_bytes,
	    .max_bytes = options->max_inflight_bytes / 4 * 3,
	    .spin_ns = options->spin_ns,
	    .dispatchers = &daemon->waiters,
	    .n_dispatchers = options->dispatchers,
	};

	return (spr_intake_new(&daemon->intake, &config));
}

static void
stop_intake(spr_daemon *daemon)
{
	spr_intake_free(daemon->intake);
}

static spr_err
start_control(spr_daemon *daemon)
{
	spr_err rv;

	if ((rv = spr_control_new(&daemon->control, &daemon->control_env)) != SPR_OK)
		return (rv);
	return (spr_control_start(daemon->control));
}

static void
stop_control(spr_daemon *daemon)
{
	if (daemon->control != NULL)
		spr_control_stop(daemon->control);
	spr_rep_adapter_close(daemon->control_rep);
	spr_control_free(daemon->control);
}

static spr_err
start_threads(spr_daemon *daemon)
{
	spr_err rv = spr_dispatchers_start(daemon->dispatchers);

	return (rv != SPR_OK ? rv : SPR_OK);
}

static void
stop_threads(spr_daemon *daemon)
{
	spr_dispatchers_give_up(daemon->dispatchers); /* no-op after a clean drain */
	spr_dispatchers_stop(daemon->dispatchers);
	spr_ledger_stop(daemon->ledger);
}

/* Keeps a bound URL for health and the ready file. */
static spr_err
remember(spr_daemon *daemon, spr_socket_kind kind, const char *bound)
{
	spr_listening *self = &daemon->listening[kind];
	char *url = spr_mem_strdup(bound);
	char **grown;
	spr_err rv = SPR_E_NOMEM;

	pthread_mutex_lock(&daemon->listening_mutex);
	if (url != NULL &&
	    (grown = spr_mem_realloc(self->url, (self->n + 1) * sizeof(char *))) != NULL) {
		self->url = grown;
		self->url[self->n++] = url;
		url = NULL;
		rv = SPR_OK;
	}
	pthread_mutex_unlock(&daemon->listening_mutex);
	spr_mem_free(url);
	return (rv);
}

static spr_err
bind_outbox(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;
	char bound[SPR_URL_MAX];
	spr_err rv = SPR_OK;

	for (unsigned i = 0; rv == SPR_OK && i < options->outbox_listen.n; i++) {
		if ((rv = spr_outbox_listen(daemon->outbox, options->outbox_listen.item[i],
					    bound)) == SPR_OK)
			rv = remember(daemon, SPR_SOCKET_OUTBOX, bound);
	}
	for (unsigned i = 0; rv == SPR_OK && i < options->outbox_dial.n; i++)
		rv = spr_outbox_dial(daemon->outbox, options->outbox_dial.item[i]);
	if (rv != SPR_OK)
		spr_wrap("outbox");
	return (rv);
}

static spr_err
bind_receipts(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;
	char bound[SPR_URL_MAX];
	spr_err rv = SPR_OK;

	if (daemon->receipts == NULL)
		return (SPR_OK);
	for (unsigned i = 0; rv == SPR_OK && i < options->receipts_listen.n; i++) {
		if ((rv = spr_receipts_listen(daemon->receipts, options->receipts_listen.item[i],
					      bound)) == SPR_OK)
			rv = remember(daemon, SPR_SOCKET_RECEIPTS, bound);
	}
	for (unsigned i = 0; rv == SPR_OK && i < options->receipts_dial.n; i++)
		rv = spr_receipts_dial(daemon->receipts, options->receipts_dial.item[i]);
	if (rv != SPR_OK) {
		spr_wrap("receipts");
		return (rv);
	}
	spr_receipts_start(daemon->receipts);
	return (SPR_OK);
}

static void
stop_bind_receipts(spr_daemon *daemon)
{
	if (daemon->receipts != NULL)
		spr_receipts_stop(daemon->receipts);
}

/* Upstreams are known before the ledger and the dispatchers start: their table never changes afterwards. */
static spr_err
bind_ack(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;
	char bound[SPR_URL_MAX];
	spr_err rv = SPR_OK;

	for (unsigned i = 0; rv == SPR_OK && i < options->n_ack_peers; i++) {
		const spr_ack_peer *peer = &options->ack_peers[i];

		spr_sockets_warn_of_ws("ack", peer->url);
		if (!peer->listen)
			rv = spr_ledger_dial(daemon->ledger, peer->name, peer->url);
		else if ((rv = spr_ledger_listen(daemon->ledger, peer->name, peer->url, bound)) ==
			 SPR_OK)
			rv = remember(daemon, SPR_SOCKET_ACK, bound);
	}
	if (rv != SPR_OK)
		spr_wrap("ack");
	return (rv != SPR_OK ? rv : spr_ledger_start(daemon->ledger));
}

static spr_err
bind_control(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;
	char bound[SPR_URL_MAX];
	spr_err rv;

	if (options->control_listen.n == 0)
		return (SPR_OK);
	spr_sockets_warn_of_ws("control", options->control_listen.item[0]);
	rv = spr_rep_adapter_open(&daemon->control_rep,
				  spr_transport_for(options->control_listen.item[0]),
				  daemon->control, CONTROL_WINDOW, CONTROL_REQUEST_MAX);
	for (unsigned i = 0; rv == SPR_OK && i < options->control_listen.n; i++) {
		if ((rv = spr_rep_adapter_listen(daemon->control_rep,
						 options->control_listen.item[i], bound)) == SPR_OK)
			rv = remember(daemon, SPR_SOCKET_CONTROL, bound);
	}
	if (rv != SPR_OK) {
		spr_wrap("control");
		return (rv);
	}
	spr_rep_adapter_start(daemon->control_rep);
	return (SPR_OK);
}

static void
stop_bind_control(spr_daemon *daemon)
{
	if (daemon->control_rep != NULL)
		spr_rep_adapter_stop(daemon->control_rep);
}

static spr_err
bind_http(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;
	char bound[SPR_HTTP_ADDRESS_MAX];
	spr_err rv;

	if (options->http_listen.n == 0)
		return (SPR_OK);
	rv = spr_http_adapter_open(&daemon->http, daemon->control, &daemon->control_env,
				   options->admin_token_file);
	for (unsigned i = 0; rv == SPR_OK && i < options->http_listen.n; i++) {
		if ((rv = spr_http_adapter_listen(daemon->http, options->http_listen.item[i],
						  bound)) == SPR_OK)
			rv = remember(daemon, SPR_SOCKET_HTTP, bound);
	}
	if (rv != SPR_OK)
		spr_wrap("http");
	return (rv);
}

static void
stop_bind_http(spr_daemon *daemon)
{
	spr_http_adapter_stop(daemon->http);
	spr_http_adapter_close(daemon->http);
}

static spr_err
bind_intake(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;
	char bound[SPR_URL_MAX];
	spr_err rv = SPR_OK;

	for (unsigned i = 0; rv == SPR_OK && i < options->intake_listen.n; i++) {
		if ((rv = spr_intake_listen(daemon->intake, options->intake_listen.item[i],
					    bound)) == SPR_OK)
			rv = remember(daemon, SPR_SOCKET_INTAKE, bound);
	}
	for (unsigned i = 0; rv == SPR_OK && i < options->intake_dial.n; i++)
		rv = spr_intake_dial(daemon->intake, options->intake_dial.item[i]);
	if (rv != SPR_OK)
		spr_wrap("intake");
	return (rv);
}

/*
 * Before the first message is received: a start that fails here has taken nothing. Whoever finds the file also finds the
 * daemon ready when he asks it.
 */
static spr_err
write_ready_file(spr_daemon *daemon)
{
	const char *path = daemon->options->ready_file;
	spr_err rv = SPR_OK;

	/* relaxed: health is a snapshot */
	atomic_store_explicit(&daemon->is_ready, true, memory_order_relaxed);
	if (path != NULL && (rv = spr_report_write_ready_file(daemon, path)) != SPR_OK)
		atomic_store_explicit(&daemon->is_ready, false,
				      memory_order_relaxed /* as above */);
	return (rv);
}

static void
remove_ready_file(spr_daemon *daemon)
{
	if (daemon->options->ready_file != NULL)
		(void)unlink(daemon->options->ready_file);
}

static spr_err
start_receiving(spr_daemon *daemon)
{
	spr_intake_start(daemon->intake);
	spr_info("READY", "version=%s nng=%s transport=%s instance=%s subscriptions=%llu",
		 SPR_VERSION, spr_net_version(),
		 daemon->options->transport == SPR_TRANSPORT_NATIVE ? "native" : "nng",
		 daemon->instance, (unsigned long long)daemon->n_loaded);
	return (SPR_OK);
}

static void
stop_receiving(spr_daemon *daemon)
{
	spr_intake_stop(daemon->intake);
}

static const step steps[] = {
    {"instance", start_instance, NULL},
    {"certificates", start_certificates, stop_certificates},
    {"store", start_store, stop_store},
    {"load subscriptions", start_subscriptions, stop_subscriptions},
    {"dead letters", start_dead_letter, stop_dead_letter},
    {"ledger", start_ledger, stop_ledger},
    {"dispatchers", start_dispatchers, stop_dispatchers},
    {"intake", start_intake, stop_intake},
    {"outbox", start_outbox, stop_outbox}, /* its last completions finish messages of the intake */
    {"receipts", start_receipts, stop_receipts},
    {"control", start_control, stop_control},
    {"bind receipts", bind_receipts, stop_bind_receipts}, /* before the first job can leave */
    {"bind outbox", bind_outbox, NULL},
    {"bind ack", bind_ack, NULL},
    {"start dispatchers", start_threads, stop_threads},
    {"bind control", bind_control, stop_bind_control},
    {"bind http", bind_http,
     stop_bind_http}, /* stops before control, which answers what it asked */
    {"bind intake", bind_intake, NULL},
    {"ready file", write_ready_file, remove_ready_file},
    /* last: nothing is received before all else is there, nor while the rest stops */
    {"receive", start_receiving, stop_receiving},
};
#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

static void
stop_steps(spr_daemon *daemon, size_t n)
{
	while (n > 0) {
		n--;
		if (steps[n].stop != NULL)
			steps[n].stop(daemon);
	}
}

static spr_err
start_steps(spr_daemon *daemon)
{
	for (size_t i = 0; i < N_STEPS; i++) {
		spr_err rv = steps[i].start(daemon);

		if (rv != SPR_OK) {
			spr_error("START-FAILED", "step=\"%s\" why=\"%s\"", steps[i].name,
				  spr_error_text(rv));
			stop_steps(daemon, i + 1);
			return (rv);
		}
	}
	return (SPR_OK);
}

/* ---- the end ---- */

static int close_exit_code;

static void *
limit_close(void *arg)
{
	(void)arg;
	spr_role_set(SPR_ROLE_WATCHDOG);
	pthread_setname_np(pthread_self(), "close-limit");
	sleep(CLOSE_LIMIT_S);
	_exit(close_exit_code);
}

/* nng can hang in a close; the work is done by then, so the exit code is already known. */
static void
arm_close_limit(int code)
{
	pthread_t thread;

	close_exit_code = code;
	if (pthread_create(&thread, NULL, limit_close, NULL) == 0)
		pthread_detach(thread);
}

int
spr_daemon_run(spr_options *options, int argc, char **argv, char **envp)
{
	spr_daemon *daemon = spr_mem_zalloc_aligned(sizeof(*daemon));
	spr_err rv;
	int code;

	if (daemon == NULL)
		return (SPR_EXIT_FAILURE);
	pthread_mutex_init(&daemon->listening_mutex, NULL);
	daemon->options = options;
	daemon->argc = argc;
	daemon->argv = argv;
	daemon->envp = envp;
	daemon->started_ns = spr_clock_now_ns();
	spr_notify_open(&daemon->notify, envp);
	if ((rv = start_steps(daemon)) != SPR_OK) {
		code = spr_exit_code(rv);
	} else {
		code = spr_run(daemon);
		arm_close_limit(code);
		stop_steps(daemon, N_STEPS);
	}
	for (unsigned i = 0; i < SPR_N_SOCKETS; i++) {
		for (unsigned k = 0; k < daemon->listening[i].n; k++)
			spr_mem_free(daemon->listening[i].url[k]);
		spr_mem_free(daemon->listening[i].url);
	}
	spr_notify_close(&daemon->notify);
	pthread_mutex_destroy(&daemon->listening_mutex);
	spr_mem_free(daemon);
	return (code);
}
