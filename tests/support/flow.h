/*
 * flow - the running daemon as a cmocka fixture, and the verbs that the flow tests are written in.
 *
 *	static void
 *	test_one_job(void **state)
 *	{
 *		flow *f = *state;
 *
 *		start_upstream(f);              (left out: bare notifications, no answers)
 *		start_daemon(f, NULL);
 *		start_worker(f);
 *		subscribe(f, "UN.A", "http://a");
 *		push_envelope(f, "1", "{\"predicate\":\"UN.A\"}");
 *		expect_job(f, "http://a", "{\"predicate\":\"UN.A\"}");
 *		expect_ack(f, "1");
 *		finish(f);                      (TERM; exit 0; no job and no answer that nobody
 *expected)
 *	}
 *
 * Every expect_ waits for what must come, at most spr_test_deadline_ms(). That nothing more comes
 *needs no waiting: finish() lets the daemon drain and the workers read to the end, and then looks.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <cjson/cJSON.h>

#include "peers.h"
#include "proc.h"
#include "sp_raw.h"

#define FLOW_WORKERS        8
#define FLAGS(...)          ((const char *const[]){__VA_ARGS__, NULL})
#define flow_test(function) cmocka_unit_test_setup_teardown(function, flow_setup, flow_teardown)

struct flow_pusher;

typedef struct flow {
	char dir[64]; /* made by setup, removed by teardown */
	spr_inbox *jobs;
	spr_inbox *answers;
	spr_inbox *heard; /* answer requests as they came */
	spr_upstream *upstream;
	char upstream_url[64]; /* "" : none, bare notifications */
	int upstream_port;     /* keeps the port while it is down; -1 */
	spr_worker *workers[FLOW_WORKERS];
	unsigned n_workers;
	/* of the daemon that was started last */
	spr_proc *daemon;
	unsigned n_starts;
	cJSON *ready; /* the ready file */
	const char *intake, *outbox, *control;
	spr_sp producer;
	spr_sp controller;
	struct flow_pusher *pusher;
} flow;

int flow_setup(void **state);
int flow_teardown(void **state);

/* Before start_daemon(), so that it dials this upstream and takes envelopes; later, to start it again at its address. */
void start_upstream(flow *f);
/* Closes it; the daemon goes on dialling its address. */
void stop_upstream(flow *f);

/* Starts it with tcp sockets on free ports, the store in f->dir, and these flags (FLAGS("--a", "b")
 * or NULL); waits until it is ready. */
void start_daemon(flow *f, const char *const flags[]);
/* Starts it so and waits for its end instead; returns its exit status. */
int run_daemon(flow *f, const char *const flags[]);
/* A TERM, and the exit status awaited. */
void stop_daemon(flow *f, int expected);
/* What it has logged; the caller frees it. */
char *daemon_log(flow *f);
/* The n-th URL of "intake", "outbox", "control". */
const char *listening(flow *f, const char *socket, int n);

spr_worker *start_worker(flow *f);
/* One that stops reading after `limit` jobs, until spr_worker_allow(). */
spr_worker *start_limited_worker(flow *f, size_t limit);

/* A control request; the reply is the caller's. */
cJSON *ask(flow *f, const char *request);
/* A control request that must be answered ok. */
cJSON *ask_ok(flow *f, const char *request);
/* One that must be refused with this code. */
void expect_refused(flow *f, const char *request, const char *code);
void subscribe(flow *f, const char *pattern, const char *callback);
void unsubscribe(flow *f, const char *pattern, const char *callback);
/* n subscriptions to one pattern: http://callback/0, http://callback/1, ... */
void subscribe_many(flow *f, const char *pattern, unsigned n);
/* A number of `stats`; a name that is not there ends the test. */
double stat_of(flow *f, const char *name);
/* Waits until it is at least n. */
void expect_stat(flow *f, const char *name, double n);

/* All of these go through one connection, made at first use. */
void push_bytes(flow *f, const void *data, size_t len);
void push_text(flow *f, const char *text);
void push_envelope(flow *f, const char *id, const char *body);
/* n of them in one go, ids <prefix>0 ..., from a thread of its own and a connection of its own, so that back-pressure
 * does not block the test. */
void push_many_start(flow *f, const char *prefix, unsigned n, const char *body);
/* Waits until all are pushed. */
void push_many_join(flow *f);

/* The job {"s":"<callback>","payload":<payload>}, byte for byte. */
void expect_job(flow *f, const char *callback, const char *payload);
/* The n jobs of a notification on which subscribe_many() counts: each exactly once. Nothing else
 * may be in the inbox. */
void expect_many_jobs(flow *f, unsigned n, const char *payload);
void expect_ack(flow *f, const char *id);
/* Those of push_many_start(). */
void expect_many_acks(flow *f, const char *prefix, unsigned n);
/* With the reason's own "retry". */
void expect_nack(flow *f, const char *id, const char *reason);

/* Drains the daemon: exit 0, workers read to the end, no job and no answer left that was not
 * expected. */
void finish(flow *f);
