/*
 * bench_options - the load tool's options: one table, from which the struct, the flags, the environment and --help come.
 *
 * Threads     main alone; constant after the parse
 * Ownership   the struct owns its texts and lists until bench_options_free()
 */
#pragma once

#include <stdio.h>

#include "base/config.h"

#define BENCH_CONTROL_URL "tcp://127.0.0.1:7713"

/* X(TYPE, field, name, default, range, help) */
/* clang-format off */
#define BENCH_OPTIONS(X) \
	X(TEXT,     daemon,      "daemon",         "none", "FILE", "Start this spreaderd on free ports, in memory, and end it; --in, --out, --receipts and --control-url are then its own") \
	X(LIST,     daemon_flag, "daemon-flag",    "none", "FLAG", "Give it this flag, such as --daemon-flag=--dispatchers=1; repeatable") \
	X(TEXT,     in,          "in",             "tcp://127.0.0.1:7710", "URL", "Push notifications to this PULL address") \
	X(TEXT,     out,         "out",            "tcp://127.0.0.1:7711", "URL", "Take jobs from this PUSH address") \
	X(TEXT,     ack,         "ack",            "none", "URL", "Send envelopes, and take answers on this REP address (port 0: a free one); none: bare notifications, no answers") \
	X(CHOICE,   confirm,     "confirm",        "push", "push receipt", "receipt: workers send a receipt for each job, and no ack may come before the last of them") \
	X(TEXT,     receipts,    "receipts",       "tcp://127.0.0.1:7712", "URL", "Send receipts to this PULL address") \
	X(BOOL,     control,     "control",        "true", "", "Subscribe what the run needs; off: the target is a relay, which hands on what it gets") \
	X(TEXT,     control_url, "control-url",    BENCH_CONTROL_URL, "URL", "Subscribe at this REP address") \
	X(BOOL,     null,        "null",           "false", "", "No target: a relay of its own moves the bytes, and the result is the limit of this program here") \
	X(LIST,     role,        "role",           "none", "WORD", "Be only producer, worker or upstream; repeatable; none: all. Processes of one run have the same --run and --count") \
	X(COUNT,    run,         "run",            "0", "0..4294967295", "The run's number, part of every id; 0: a fresh one") \
	X(COUNT,    count,       "count",          "0", "0..4294967295", "Notifications; 0: as many as --duration lets") \
	X(DURATION, duration_ns, "duration",       "5s", "10ms..1d", "How long to send, without --count; in the open loop all that is due in it is sent, however long that takes") \
	X(COUNT,    window,      "window",         "10000", "1..4294967295", "Closed loop: so many notifications without all their jobs and their answer at once") \
	X(CHOICE,   window_for,  "window-for",     "all", "all jobs", "What ends it for a notification: its jobs and its answer, or its jobs alone") \
	X(COUNT,    rate,        "rate",           "0", "0..1000000000", "Open loop: so many notifications a second, whatever comes back, and latency from when each was due; 0: closed loop") \
	X(COUNT,    documents,   "documents",      "1", "1..10000", "Notifications a message") \
	X(SIZE,     size,        "size",           "256", "1..1MiB", "Bytes of a document, at least; its fields need some 130, an envelope 60 more") \
	X(COUNT,    fan_out,     "fan-out",        "1", "1..100000", "Jobs a notification: so many callbacks are subscribed; of a relay: copies it makes") \
	X(COUNT,    depth,       "depth",          "5", "1..60", "Segments of a predicate") \
	X(COUNT,    predicates,  "predicates",     "1", "1..100000", "Different predicates, in turn") \
	X(COUNT,    hit_percent, "hit-percent",    "100", "0..100", "Notifications of a hundred that somebody is subscribed to") \
	X(COUNT,    background,  "background",     "0", "0..10000000", "Subscriptions beside, ten callbacks a pattern, that nothing matches") \
	X(COUNT,    churn,       "churn",          "0", "0..1000000", "Subscriptions made and ended a second, beside the load") \
	X(COUNT,    producers,   "producers",      "1", "1..64", "Connections that push") \
	X(COUNT,    workers,     "workers",        "1", "1..64", "Connections that take jobs") \
	X(COUNT,    threads,     "threads",        "2", "1..64", "Threads that share producers, workers and upstream in turn") \
	X(COUNT,    receipts_a_message, "receipts-per-message", "64", "1..1000", "Receipts a message at most; they go when no job waits to be read") \
	X(CHOICE,   verify,      "verify",         "full", "full count", "full: every job and every ack exactly once; count: only how many jobs, and latency of some") \
	X(DURATION, patience_ns, "patience",       "10s", "100ms..1h", "How long nothing may come before the run is given up") \
	X(DURATION, sample_ns,   "sample",         "0", "0..1h", "So often a line of: ns so far, jobs, processor ns of this program, of the target; 0: none") \
	X(COUNT,    pid,         "pid",            "0", "0..4194304", "Say what this process uses, too; 0: none but --daemon") \
	X(COUNT,    limit,       "limit",          "0", "0..4294967295", "Jobs a second that a --null run made: say which share of it was reached") \
	X(BOOL,     json,        "json",           "false", "", "One JSON object instead of a table")
/* clang-format on */

enum {
#define X(type, field, name, standard, range, help) BENCH_OPTION_##field,
	BENCH_OPTIONS(X)
#undef X
	    BENCH_N_OPTIONS
};

enum { BENCH_CONFIRM_PUSH, BENCH_CONFIRM_RECEIPT };
enum { BENCH_WINDOW_ALL, BENCH_WINDOW_JOBS };
enum { BENCH_VERIFY_FULL, BENCH_VERIFY_COUNT };

typedef enum bench_action {
	BENCH_ACTION_HELP,
	BENCH_ACTION_VERSION,
	BENCH_ACTION_HELP_MARKDOWN,
	BENCH_ACTION_HELP_TABLE,
	BENCH_ACTION_RUN,
} bench_action;

typedef struct bench_options {
#define X(type, field, name, standard, range, help) spr_config_field_##type field;
	BENCH_OPTIONS(X)
#undef X
	spr_config_origin origins[BENCH_N_OPTIONS];
	bench_action action;
	bool is_producer, is_worker, is_upstream; /* from role */
} bench_options;

/* argv and envp end in NULL. SPR_E_USAGE (exit 2), SPR_E_CONFIG (exit 78), SPR_E_NOMEM, each with a trail. */
spr_err bench_options_parse(bench_options *out, int argc, char **argv, char **envp);
/* The table over this struct, zeroed or parsed. */
spr_config bench_options_config(bench_options *options);
/* A zeroed struct is fine. */
void bench_options_free(bench_options *options);
void bench_options_print_help(FILE *out);
