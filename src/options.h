/*
 * options - the daemon's options: one table; the struct, flags, environment, file keys, --help and
 * the README's table come from it. Precedence: flag, environment, file, default.
 *
 * A duration is in nanoseconds and a size in bytes, as the field's name says. A CHOICE field holds
 * the word's index in its row, which is the enum named below. Rows marked LATER are declared but
 * not built: any value but the default is refused.
 *
 * Threads     main alone; other threads may read, before they start, what a reload does not change
 * Ownership   the struct owns its texts and lists until spr_options_free()
 */
#pragma once

#include <stdio.h>

#include "base/cgroup.h"
#include "base/config.h"
#include "spreader/wire.h"

/* X(TYPE, field, name, default, range, flag, help). NULL as default: derived, see
 * spr_options_parse(). */
/* clang-format off */
#define SPR_OPTIONS(X) \
	X(TEXT,     config,             "config",             "none", "FILE", NOT_IN_FILE, "JSON file of options: an object, its keys the flags' names without --") \
	X(LIST,     intake_listen,      "intake-listen",      SPREADER_INTAKE_URL, "URL", PLAIN, "Receive notifications on this PULL address; repeatable; the default goes when --intake-dial is given") \
	X(LIST,     intake_dial,        "intake-dial",        "none", "URL", PLAIN, "Receive notifications from the producer at this address; repeatable") \
	X(CHOICE,   transport,          "transport",          "nng", "nng native", PLAIN, "What moves notifications, jobs and receipts: nng's streams, or sockets of our own (tcp, ipc, unix only); the same wire either way") \
	X(CHOICE,   intake_format,      "intake-format",      "auto", "auto envelope bare", PLAIN, "What a document is: {id, body} or the body itself; auto: envelope when there is an ack socket") \
	X(LIST,     outbox_listen,      "outbox-listen",      SPREADER_OUTBOX_URL, "URL", PLAIN, "Offer jobs on this PUSH address; repeatable; the default goes when --outbox-dial is given; none: no outbox") \
	X(LIST,     outbox_dial,        "outbox-dial",        "none", "URL", PLAIN, "Push jobs to the delivery worker at this address; repeatable") \
	X(LIST,     ack_dial,           "ack-dial",           "none", "[NAME=]URL", PLAIN, "Send answers to the upstream of that name (none: the unnamed one) at this REP address; repeatable") \
	X(LIST,     ack_listen,         "ack-listen",         "none", "[NAME=]URL", PLAIN, "Let the upstream of that name fetch answers at this address; repeatable") \
	X(LIST,     receipts_listen,    "receipts-listen",    SPREADER_RECEIPTS_URL, "URL", PLAIN, "Take receipts on this PULL address, with --confirm receipt only; repeatable; the default goes when --receipts-dial is given") \
	X(LIST,     receipts_dial,      "receipts-dial",      "none", "URL", PLAIN, "Take receipts from the delivery worker at this address; repeatable") \
	X(LIST,     control_listen,     "control-listen",     SPREADER_CONTROL_URL, "URL", PLAIN, "Answer control requests on this REP address; repeatable; none: no control") \
	X(LIST,     http_listen,        "http-listen",        SPREADER_HTTP_ADDRESS, "HOST:PORT", PLAIN, "Serve metrics, probes, the subscription API and a page over HTTP; repeatable; none: no HTTP") \
	X(BOOL,     ready_needs_outbox, "ready-needs-outbox", "false", "", PLAIN, "Not ready, for /readyz, without a delivery worker") \
	X(COUNT,    receivers,          "receivers",          "2", "1..64", PLAIN, "Receives in flight on the intake; a thread each with --transport native") \
	X(COUNT,    dispatchers,        "dispatchers",        NULL, "1..256", PLAIN, "Dispatcher threads; by default the CPUs that the process may use, by affinity and by its control group's quota") \
	X(POWER,    ring_slots,         "ring-slots",         "1024", "4..16777216", PLAIN, "Slots of each ring between a receiver and a dispatcher; a power of two") \
	X(DURATION, spin_ns,            "spin",               "0", "0..1s", PLAIN, "How long an idle dispatcher spins, and a receiver of --transport native polls its sockets, before it sleeps") \
	X(COUNT,    max_inflight,       "max-inflight",       "65536", "1..16777216", PLAIN, "Notifications in flight at once") \
	X(SIZE,     max_inflight_bytes, "max-inflight-bytes", "256MiB", "64KiB..1TiB", PLAIN, "Memory for received messages (three quarters) and jobs (one quarter); at least 2 x receivers x max-message and 4 x max-job; by default at most a quarter of the control group's memory limit") \
	X(SIZE,     max_notification_bytes, "max-notification", "256KiB", "256..1GiB", PLAIN, "Longest document") \
	X(SIZE,     max_message_bytes,  "max-message",        "4MiB", "256..1GiB", PLAIN, "Longest SP message; the sender of a longer one loses its connection") \
	X(SIZE,     max_job_bytes,      "max-job",            "1MiB", "256..1GiB", PLAIN, "Longest job") \
	X(COUNT,    max_fanout,         "max-fanout",         "1000000", "1..100000000", PLAIN, "Callbacks of one notification") \
	X(COUNT,    max_peers,          "max-peers",          "4096", "8..1000000", PLAIN, "Connections of each socket, less when descriptors are short; a newcomer takes the place of the oldest that never carried a message") \
	X(SIZE,     outbox_batch_bytes, "outbox-batch-bytes", "0", "0..1GiB", PLAIN, "Put as many ready jobs as fit into one message, one a line; 0: one job a message; up to max-job") \
	X(SIZE,     outbox_peer_bytes,  "outbox-peer-bytes",  "1MiB", "4KiB..1GiB", PLAIN, "With --transport native: jobs that one worker's connection may have been given and not passed on to the kernel (with --confirm tcp: to its TCP); others get the rest") \
	X(DURATION, outbox_timeout_ns,  "outbox-timeout",     "0", "0..1d", PLAIN, "How long the outbox may take nothing before the open notification fails; 0: wait") \
	X(COUNT,    ack_batch,          "ack-batch",          "256", "1..10000", PLAIN, "Ids in one answer request") \
	X(COUNT,    ack_window,         "ack-window",         "8", "1..64", PLAIN, "Answer requests in flight to one upstream") \
	X(DURATION, ack_timeout_ns,     "ack-timeout",        "5s", "10ms..10m", PLAIN, "How long an answer request waits for its reply before it is sent again") \
	X(COUNT,    dedup_window,       "dedup-window",       "1048576", "0..67108864", PLAIN, "Acked ids remembered, so that a copy is acked and not dispatched again") \
	X(COUNT,    resume_window,      "resume-window",      "4096", "0..16777216", PLAIN, "Notifications whose receipts are remembered for their next attempt") \
	X(COUNT,    max_open_jobs,      "max-open-jobs",      "1048576", "1..268435455", PLAIN, "Jobs that wait for their receipts or are remembered with them; at least max-fanout with --confirm receipt") \
	X(CHOICE,   confirm,            "confirm",            "push", "push tcp receipt", PLAIN, "What a job needs before its notification is acked: to be pushed; to be acknowledged by the TCP of its worker's machine (--transport native, tcp:// only); or its receipt") \
	X(DURATION, receipt_timeout_ns, "receipt-timeout",    "30s", "10ms..1d", PLAIN, "How long a receipt may take, from the last push or receipt of its notification") \
	X(DURATION, receipt_grace_ns,   "receipt-grace",      "5s", "0..1d", PLAIN, "What is left of that when a delivery worker leaves") \
	X(BOOL,     job_id,             "job-id",             "false", "", PLAIN, "Put an id into every job, also without --confirm receipt") \
	X(CHOICE,   message_payload,    "message-payload",    "string", "string object", PLAIN, "How body.message becomes the payload: as a JSON string of its text, or as the value itself") \
	X(CHOICE,   no_subscribers,     "no-subscribers",     "ack", "ack nack dead-letter", PLAIN, "What becomes of a notification that nobody subscribed to") \
	X(DURATION, drain_timeout_ns,   "drain-timeout",      "20s", "0..1h", PLAIN, "How long a stop may take; 2 s before its end what is left is nacked") \
	X(DURATION, shutdown_delay_ns,  "shutdown-delay",     "0", "0..10m", PLAIN, "How long a stop still receives, not ready any more") \
	X(DURATION, lease_default_ns,   "lease-default",      "5d", "1s..36500d", RELOAD, "Lease of a subscription that asks for none; whole seconds") \
	X(DURATION, lease_min_ns,       "lease-min",          "1h", "1s..36500d", RELOAD, "Shortest lease granted; whole seconds") \
	X(DURATION, lease_max_ns,       "lease-max",          "365d", "1s..36500d", RELOAD, "Longest lease granted; whole seconds") \
	X(DURATION, lease_grace_ns,     "lease-grace",        "1d", "0..36500d", RELOAD, "How long an expired subscription stays listed; whole seconds") \
	X(BOOL,     allow_catch_all,    "allow-catch-all",    "false", "", PLAIN, "Allow the pattern * (everything)") \
	X(LIST,     callback_allow,     "callback-allow",     "none", "HOST", PLAIN, "Take only callbacks at these hosts: name, *.name, address/bits, or private; repeatable") \
	X(LIST,     callback_deny,      "callback-deny",      "none", "HOST", PLAIN, "Refuse callbacks at these hosts, whatever is allowed; private: all ranges that are not of the internet, and localhost; repeatable") \
	X(TEXT,     store,              "store",              "spreader.db", "FILE", PLAIN, "SQLite file of the subscriptions; :memory: keeps none") \
	X(BOOL,     store_must_exist,   "store-must-exist",   "false", "", PLAIN, "Refuse to start when the store is missing, instead of creating it") \
	X(TEXT,     dead_letter,        "dead-letter",        "none", "FILE", PLAIN, "Append what can be neither dispatched nor answered to this file, as NDJSON; reopened on HUP") \
	X(TEXT,     ready_file,         "ready-file",         "none", "FILE", PLAIN, "Write the bound addresses to this file, as JSON, once ready") \
	X(CHOICE,   log_level,          "log-level",          "info", "error warn info debug", RELOAD, "Least important events to log") \
	X(CHOICE,   log_format,         "log-format",         "auto", "auto text json", PLAIN, "auto: text on a terminal, else json") \
	X(TEXT,     tls_cert,           "tls-cert",           "none", "FILE", PLAIN, "Certificate of this daemon and what is between it and its authority, PEM, for tls+tcp://, wss:// and HTTP, which is https then; the file is read again on HUP") \
	X(TEXT,     tls_key,            "tls-key",            "none", "FILE", PLAIN, "Key of the certificate, PEM, without a password; the file is read again on HUP") \
	X(TEXT,     tls_ca,             "tls-ca",             "none", "FILE", PLAIN, "Peers must show a certificate of this authority, PEM; the file is read again on HUP") \
	X(TEXT,     admin_token_file,   "admin-token-file",   "none", "FILE", PLAIN, "Bearer token that HTTP requests about subscriptions must carry; the file is read again on HUP")
/* clang-format on */

typedef enum spr_option {
#define X(type, field, name, standard, range, flag, help) SPR_OPTION_##field,
	SPR_OPTIONS(X)
#undef X
	    SPR_N_OPTIONS
} spr_option;

/* The words of the CHOICE rows, in their order; log_level and log_format are the enums of
 * base/log.h. */
typedef enum spr_intake_format {
	SPR_INTAKE_AUTO,
	SPR_INTAKE_ENVELOPE,
	SPR_INTAKE_BARE
} spr_intake_format;
typedef enum spr_transport_choice { SPR_TRANSPORT_NNG, SPR_TRANSPORT_NATIVE } spr_transport_choice;
typedef enum spr_confirm { SPR_CONFIRM_PUSH, SPR_CONFIRM_TCP, SPR_CONFIRM_RECEIPT } spr_confirm;
typedef enum spr_message_payload { SPR_PAYLOAD_STRING, SPR_PAYLOAD_OBJECT } spr_message_payload;
typedef enum spr_no_subscribers {
	SPR_NO_SUBSCRIBERS_ACK,
	SPR_NO_SUBSCRIBERS_NACK,
	SPR_NO_SUBSCRIBERS_DEAD_LETTER,
} spr_no_subscribers;

typedef enum spr_options_action {
	SPR_ACTION_HELP,
	SPR_ACTION_VERSION,
	SPR_ACTION_CHECK_CONFIG,
	SPR_ACTION_PRINT_CONFIG,
	SPR_ACTION_HELP_MARKDOWN,
	SPR_ACTION_HELP_TABLE,
	SPR_ACTION_RUN,
} spr_options_action;

/* One face of one upstream. */
#define SPR_ACK_NAME_MAX 64
typedef struct spr_ack_peer {
	char name[SPR_ACK_NAME_MAX + 1]; /* "" for the unnamed upstream */
	bool listen;                     /* else dial */
	const char *url;                 /* owned by the list it came from */
} spr_ack_peer;

typedef struct spr_options {
#define X(type, field, name, standard, range, flag, help) spr_config_field_##type field;
	SPR_OPTIONS(X)
#undef X
	spr_config_origin origins[SPR_N_OPTIONS];
	spr_options_action action;
	spr_ack_peer *ack_peers; /* peers of one name stand together */
	unsigned n_ack_peers;
	/* what the machine allows: dispatchers and max_inflight_bytes are derived from it */
	unsigned cpus; /* by affinity */
	spr_cgroup_limits cgroup;
} spr_options;

/*
 * [main] argv and envp end in NULL. Derives dispatchers, max_inflight_bytes, intake_format (never AUTO afterwards),
 * ack_peers, and empties a default listen list that an explicit dial replaces. SPR_E_USAGE (exit 2;
 * never with --check-config), SPR_E_CONFIG (exit 78), SPR_E_NOMEM, each with a trail. After help
 * and version nothing but the flags was read.
 */
spr_err spr_options_parse(spr_options *out, int argc, char **argv, char **envp);
/* [test] In front of /proc and /sys when a limit of the machine is read; "" otherwise. Not copied. */
void spr_options_set_root(const char *root);
/* [any] What must hold between options, and every URL. SPR_E_CONFIG with a trail. Part of parse. */
spr_err spr_options_check(const spr_options *options);
/* [any] What the other options ask of max_inflight_bytes. */
uint64_t spr_options_least_inflight_bytes(const spr_options *options);
/*
 * [main] Reads every source again and takes over the rows marked RELOAD. Another row that changed
 * is logged once and keeps its value. On an error nothing changes.
 */
spr_err spr_options_reload(spr_options *current, int argc, char **argv, char **envp);
/* [main] A zeroed struct is fine. */
void spr_options_free(spr_options *options);

/* [main] --help, --help-markdown, --help-table. */
void spr_options_print_help(FILE *out);
void spr_options_print_markdown(FILE *out);
void spr_options_print_table(FILE *out);
/* [main] --print-config: "ring-slots = 1024  (default)" a line. callback_threads: the transport's;
 * 0 is unknown. */
void spr_options_print(const spr_options *options, unsigned callback_threads, FILE *out);
