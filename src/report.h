/*
 * report - what the daemon says about itself: health, stats gauges, the ready file, the state dump. Part of the
 * composition root: it reads every part and changes none.
 *
 * Threads     main, control and http; everything read is constant after start, or a snapshot that its module allows to
 *             any
 */
#pragma once

#include <pthread.h>
#include "base/notify.h"
#include "control/http_adapter.h"
#include "control/rep_adapter.h"
#include "options.h"
#include "path/dispatch.h"
#include "path/receipts.h"
#include "store/store.h"

typedef enum spr_socket_kind {
	SPR_SOCKET_INTAKE,
	SPR_SOCKET_OUTBOX,
	SPR_SOCKET_ACK,
	SPR_SOCKET_RECEIPTS,
	SPR_SOCKET_CONTROL,
	SPR_SOCKET_HTTP,
	SPR_N_SOCKETS
} spr_socket_kind;

typedef struct spr_listening {
	char **url;
	unsigned n;
} spr_listening;

typedef struct spr_daemon {
	/* constant after start */
	spr_options *options; /* rows marked RELOAD are main's alone */
	int argc;
	char **argv;
	char **envp;
	char instance[17];
	uint64_t key_seed;
	uint64_t started_ns;
	uint64_t n_loaded;
	spr_store *store;
	spr_epoch *epoch;
	spr_subscriptions *subscriptions;
	spr_host_rules *callback_rules;
	spr_dead_letter *dead_letter;
	spr_waiters waiters;
	spr_answers *answers;
	spr_jobs *jobs;         /* NULL without --confirm receipt */
	spr_receipts *receipts; /* as jobs */
	spr_ledger *ledger;
	spr_dispatchers *dispatchers;
	spr_outbox *outbox;
	spr_intake *intake;
	spr_control *control;
	spr_rep_adapter *control_rep;
	spr_http_adapter *http;
	spr_notifications notifications;
	spr_control_env control_env;

	/* written by main, read by control and http */
	atomic_bool is_ready;

	/* main fills it while control answers already; the mutex is taken alone */
	pthread_mutex_t listening_mutex;
	spr_listening listening[SPR_N_SOCKETS];

	/* main's alone */
	spr_notify notify;
	uint64_t told_ns; /* when the service manager last heard how it goes */
} spr_daemon;

/* [any] Gauges, by spr_gauge. arg is the daemon. */
void spr_report_gauges(void *arg, double *gauges);
/* [any] What a probe looks at. arg is the daemon. */
unsigned spr_report_checks(void *arg, spr_probe probe, spr_check *checks);
/* [control] "ready", "checks", "listening", into a cJSON object. arg is the daemon. */
void spr_report_health(void *arg, void *object);
/* [main] Atomically: written beside it and renamed. SPR_E_IO with a trail. */
spr_err spr_report_write_ready_file(spr_daemon *daemon, const char *path);
/* [main] USR1: a few log lines. */
void spr_report_log_state(const spr_daemon *daemon);
/* [main] Hands the lease rules of the options to control. */
void spr_report_set_leases(spr_daemon *daemon);
