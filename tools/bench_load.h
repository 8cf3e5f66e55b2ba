/*
 * bench_load - one run: producers, workers and the upstream on a few threads, each of which waits for its sockets.
 *
 *	producer    takes numbers while the window (or the rate) lets, writes them as messages
 *	worker      reads jobs, tallies them, sends receipts                          -> n_jobs
 *	upstream    takes answers, tallies acks                                       -> n_acks
 *
 * Whoever has raised n_jobs or n_acks wakes the producers for which the window has opened wide enough.
 *
 * Threads     main opens, starts, waits and stops; a loop's members belong to its thread until it has stopped, but for what is
 *             atomic
 * Ordering    a producer says what it waits for, then looks at the counters again; whoever counts does so, then looks who
 *             waits; both with a full fence in between
 */
#pragma once

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/mem.h"
#include "bench_histogram.h"
#include "bench_link.h"
#include "bench_mark.h"
#include "bench_options.h"
#include "bench_tally.h"

#define BENCH_PEERS_MAX   256
#define BENCH_RECEIPT_MAX 96 /* bytes */
#define BENCH_REASON_MAX  64

typedef struct bench_load bench_load;
typedef struct bench_loop bench_loop;

/* What epoll tells of: the first member of whatever has a descriptor. */
typedef struct bench_source {
	void (*on_ready)(struct bench_source *source);
} bench_source;

typedef struct bench_producer {
	bench_source source;
	bench_load *load;
	bench_loop *loop;
	bench_link link;
	uint64_t n_messages, n_bytes;
	bench_histogram late; /* open loop: how much later than intended it was written */

	_Alignas(SPR_CACHELINE) _Atomic uint64_t
	    wanted; /* so wide must the window be; 0: it does not wait */
	atomic_bool is_finished;
} bench_producer;

typedef struct bench_worker {
	bench_source source, receipts_source;
	bench_load *load;
	bench_link link, receipts;
	bench_layout layout;
	bench_tally tally;
	bench_histogram latency;
	uint64_t jobs, n_messages, n_bytes, last_ns;
	char *receipts_text; /* not sent yet */
	size_t receipts_len;
	unsigned n_receipts;
	/* jobs in a row whose notification was due at the same time */
	char due_text[16];
	uint64_t due_ns, n_due;

	_Alignas(SPR_CACHELINE) _Atomic uint64_t n_jobs;
} bench_worker;

typedef struct bench_peer {
	bench_source source;
	struct bench_upstream *upstream;
	bench_link link;
} bench_peer;

typedef struct bench_upstream {
	bench_source source;
	bench_load *load;
	bench_loop *loop;
	int listener;
	bench_peer peers[BENCH_PEERS_MAX];
	bench_tally tally;
	bench_histogram latency;
	uint64_t acks, n_early, last_ns;
	char reason[BENCH_REASON_MAX]; /* of the first nack */

	_Alignas(SPR_CACHELINE) _Atomic uint64_t n_acks;
	_Atomic uint64_t n_nacks;
	atomic_uint n_peers;
} bench_upstream;

struct bench_loop {
	bench_source wake_source;
	bench_load *load;
	pthread_t thread;
	bool is_running;
	int epoll, wake; /* wake: an eventfd */
	char name[16];
	bench_producer *producers[64];
	unsigned n_producers;
};

struct bench_load {
	/* main's */
	pid_t target;
	const volatile sig_atomic_t *is_enough;
	uint64_t sample_due_ns;

	/* constant after start */
	const bench_options *options;
	bench_documents documents;
	uint32_t run;
	char run_text[8];
	uint32_t numbers; /* the most there may be */
	unsigned n_loops, n_producers, n_workers;
	bench_loop *loops;
	bench_producer *producers;
	bench_worker *workers;
	const bench_tally **tallies; /* the workers' */
	bench_upstream *upstream;    /* NULL: none here */
	char ack_url[BENCH_URL_MAX];
	_Atomic uint64_t begun_ns; /* 0: not yet */

	/* written by producers */
	_Alignas(SPR_CACHELINE) _Atomic uint64_t n_taken;

	/* written by main; is_broken by anybody */
	_Alignas(SPR_CACHELINE) _Atomic uint64_t limit; /* of n_taken */
	atomic_bool is_stopping, is_ending, is_broken;
};

/* [main] Makes room and listens for answers. options must outlive it. On failure nothing is left. */
spr_err bench_load_open(bench_load **out, const bench_options *options);
/* [main] Connects to where the target listens; returns when the target has found the upstream, too. */
spr_err bench_load_connect(bench_load *load, const char *in, const char *out, const char *receipts);
/* [main] Begins to send, and waits until all has come, or nothing more does. target: whose processor time samples tell; 0:
 * nobody's. When *is_enough becomes true no more is sent. */
void bench_load_run(bench_load *load, pid_t target, const volatile sig_atomic_t *is_enough);
/* [main] Waits until nothing has come for a moment. */
void bench_load_settle(bench_load *load);
/* [main] Ends the threads; all may be read then. */
void bench_load_stop(bench_load *load);
/* [main] NULL is fine. */
void bench_load_close(bench_load *load);

/* [any] Since the run's begin; 0 before. */
uint64_t bench_load_now_ns(const bench_load *load);
/* [any] Jobs that the first n notifications make. */
uint64_t bench_load_jobs_of(const bench_load *load, uint64_t n);
/* [any] How many more may be sent now. */
uint64_t bench_load_allowed(const bench_load *load, uint64_t n_taken);
/* [any] A connection is lost, or memory is short: the run ends, unless it is ending anyway. */
void bench_load_break(bench_load *load, const char *what);

/* --- loops; main opens (a zeroed one), starts, stops and closes them ---------------------------------- */

spr_err bench_loop_open(bench_loop *loop, bench_load *load);
spr_err bench_loop_start(bench_loop *loop);
/* [any] It looks at everything again. */
void bench_loop_poke(bench_loop *loop);
/* Either is fine with one that was not opened, or not started. */
void bench_loop_stop(bench_loop *loop);
void bench_loop_close(bench_loop *loop);

/* --- roles; of the thread that has them ------------------------------------------------------------- */

/* A descriptor's readiness goes to the source; events as epoll has them. */
bool bench_loop_watch(bench_loop *loop, int fd, uint32_t events, bench_source *source);

/* Writes what may be written now. Returns when it is to be called again at the latest, on the run's clock: 0 at once,
 * UINT64_MAX when something is ready. */
uint64_t bench_producer_pump(bench_producer *producer);
void bench_producer_on_ready(bench_source *source);
void bench_worker_on_ready(bench_source *source);
void bench_worker_on_receipts_ready(bench_source *source);
void bench_upstream_on_ready(bench_source *source);
