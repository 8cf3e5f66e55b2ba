/*
 * queue_options - the queue's options: one table, from which the struct, the flags, the environment and --help come.
 *
 * Threads     main alone; constant after the parse
 * Ownership   the struct owns its texts and lists until queue_options_free()
 */
#pragma once

#include <stdio.h>

#include "base/config.h"

#define QUEUE_SUBMIT_URL  "tcp://127.0.0.1:7720"
#define QUEUE_ANSWER_URL  "tcp://127.0.0.1:7721"
#define QUEUE_CONTROL_URL "tcp://127.0.0.1:7722"

/* X(TYPE, field, name, default, range, help) */
/* clang-format off */
#define QUEUE_OPTIONS(X) \
	X(TEXT,     store,          "store",          "queue.db", "FILE", "SQLite file of the queue; :memory: keeps none") \
	X(LIST,     to,             "to",             "none", "URL", "Push notifications to the dispatcher whose intake listens here; repeatable") \
	X(TEXT,     name,           "name",           "none", "NAME", "Say \"from\":NAME in every envelope, for dispatchers that know several upstreams") \
	X(LIST,     submit_listen,  "submit-listen",  QUEUE_SUBMIT_URL, "URL", "Take notifications on this REP address; repeatable") \
	X(LIST,     answer_listen,  "answer-listen",  QUEUE_ANSWER_URL, "URL", "Take answers on this REP address; repeatable") \
	X(LIST,     control_listen, "control-listen", QUEUE_CONTROL_URL, "URL", "Answer control requests on this REP address; repeatable; none: no control") \
	X(TEXT,     tls_cert,       "tls-cert",       "none", "FILE", "Certificate of this queue and what is between it and its authority, PEM, for tls+tcp:// and wss://; the file is read again on HUP") \
	X(TEXT,     tls_key,        "tls-key",        "none", "FILE", "Key of the certificate, PEM, without a password; the file is read again on HUP") \
	X(TEXT,     tls_ca,         "tls-ca",         "none", "FILE", "Peers must show a certificate of this authority, PEM; the file is read again on HUP") \
	X(BOOL,     stdin_,         "stdin",          "false", "", "Take notifications from standard input too, one document a line; at its end print what was taken, and go on") \
	X(COUNT,    max_outstanding, "max-outstanding", "32768", "1..16777216", "Notifications that are pushed and not answered at once") \
	X(DURATION, visibility_ns,  "visibility-timeout", "30s", "10ms..1d", "How long an answer may take before the notification is pushed again; \"working\" begins it anew") \
	X(DURATION, retry_first_ns, "retry-first",    "1s", "1ms..1h", "How long after a nack with retry it is pushed again; doubled by each further one, up to a quarter more by chance") \
	X(DURATION, retry_longest_ns, "retry-longest", "5m", "1ms..1d", "Where that doubling ends") \
	X(COUNT,    max_attempts,   "max-attempts",   "0", "0..1000000", "Attempts that end in receipt_error, or without any answer though no dispatcher's connection was lost, before it is dead; 0: no limit") \
	X(COUNT,    remember,       "remember",       "1000000", "0..1000000000", "Acked ids of producers that are remembered, so that a copy submitted late is not dispatched again") \
	X(SIZE,     max_body_bytes, "max-body",       "256KiB", "256..64MiB", "Longest body; what dispatchers take with --max-notification, less the envelope") \
	X(SIZE,     max_message_bytes, "max-message", "4MiB", "256..1GiB", "Longest submit message; the sender of a longer one loses its connection") \
	X(TEXT,     ready_file,     "ready-file",     "none", "FILE", "Write the bound addresses to this file, as JSON, once ready") \
	X(CHOICE,   log_level,      "log-level",      "info", "error warn info debug", "Least important events to log") \
	X(CHOICE,   log_format,     "log-format",     "auto", "auto text json", "auto: text on a terminal, else json")
/* clang-format on */

enum {
#define X(type, field, name, standard, range, help) QUEUE_OPTION_##field,
	QUEUE_OPTIONS(X)
#undef X
	    QUEUE_N_OPTIONS
};

typedef enum queue_action {
	QUEUE_ACTION_HELP,
	QUEUE_ACTION_VERSION,
	QUEUE_ACTION_HELP_MARKDOWN,
	QUEUE_ACTION_HELP_TABLE,
	QUEUE_ACTION_RUN,
} queue_action;

typedef struct queue_options {
#define X(type, field, name, standard, range, help) spr_config_field_##type field;
	QUEUE_OPTIONS(X)
#undef X
	spr_config_origin origins[QUEUE_N_OPTIONS];
	queue_action action;
} queue_options;

/* argv and envp end in NULL. SPR_E_USAGE (exit 2), SPR_E_CONFIG (exit 78), SPR_E_NOMEM, each with a trail. */
spr_err queue_options_parse(queue_options *out, int argc, char **argv, char **envp);
/* The table over this struct, zeroed or parsed. */
spr_config queue_options_config(queue_options *options);
/* A zeroed struct is fine. */
void queue_options_free(queue_options *options);
void queue_options_print_help(FILE *out);
