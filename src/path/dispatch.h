/*
 * dispatch - dispatchers: pop messages, scan documents, resolve subscribers, post jobs.
 *
 *   ring --spr_intake_pop--> message --spr_lookahead_first--> document --claim, normalise, resolve--> fan-out
 *                                                                |                                      |
 *                                                                | nack, ack of a copy, reject          | spr_fanout_post
 *                                                                v                                      v (slices)
 *                                                              ledger <----- last pending count ----- outbox
 *
 * Writer      each dispatcher its own state
 * Reader      as the writer; main asks for idleness and tells them to shut down
 * Ownership   a popped message is the dispatcher's until each of its fan-outs and the reading itself have finished it;
 *             a notification that nobody can be told about keeps it until its last job has ended
 * Ordering    E1 (rings), E4 (epoch), E9 (claims), E12 (pending), E15 (turns)
 * Progress    never waits inside a section; waits by parking, woken through its waiter. While one fan-out waits for
 *             credits nothing new is read, but the other ones go on: theirs may be what it waits for. An open batch of jobs
 *             outlives a turn only when the next one follows for certain, its own or the thread's that a guest wakes
 * Limits      SPR_OPEN_FANOUTS fan-outs open at once per dispatcher; one of up to SPR_WHOLE_JOBS jobs is posted in one go, a larger
 *             one in slices of SPR_SLICE_JOBS
 * Teardown    intake stopped, idle, spr_dispatchers_stop(), free
 */
#pragma once

#include "base/epoch.h"
#include "path/answers.h"
#include "path/dead_letter.h"
#include "path/fanout.h"

#define SPR_OPEN_FANOUTS   64
#define SPR_WHOLE_JOBS     1024
#define SPR_SLICE_JOBS     128
#define SPR_TURN_DOCUMENTS 64 /* behind them the outbox is flushed */

typedef enum spr_if_nobody {
	SPR_IF_NOBODY_ACK,
	SPR_IF_NOBODY_NACK,
	SPR_IF_NOBODY_DEAD_LETTER
} spr_if_nobody;

typedef struct spr_dispatch_config {
	unsigned n_dispatchers;
	uint64_t spin_ns;
	spr_format format;
	bool message_as_string;
	bool on_one_line; /* payloads have no line breaks: with batches */
	spr_if_nobody no_subscribers;
	size_t max_notification;
	size_t max_job;
	size_t max_fanout;
	uint64_t outbox_timeout_ns; /* 0: wait */
	uint64_t key_seed;          /* of answer keys, new each boot */
	bool has_job_ids;           /* jobs have ids, so the outbox has an instance */
	size_t job_id_len;          /* what one adds to a job; set when connected */
	spr_waiters *waiters;       /* n_dispatchers of them; dispatch fills in the agents */
	spr_intake *intake;
	spr_outbox *outbox;
	spr_ledger *ledger;
	spr_answers *answers; /* NULL without upstreams */
	spr_jobs *jobs;       /* NULL unless receipts are awaited */
	spr_notifications *notifications;
	spr_subscriptions *subscriptions;
	spr_epoch *epoch;
	spr_dead_letter *dead_letter;
} spr_dispatch_config;

typedef struct spr_dispatchers spr_dispatchers;

/* [main] Fills config->waiters' agents; intake and outbox of the config are set later by
 * spr_dispatchers_connect(). */
spr_err spr_dispatchers_new(spr_dispatchers **out, const spr_dispatch_config *config);
/* [main, before start] */
spr_err
spr_dispatchers_connect(spr_dispatchers *dispatchers, spr_intake *intake, spr_outbox *outbox);
/* [main] */
spr_err spr_dispatchers_start(spr_dispatchers *dispatchers);
/* [main] From here on what is unposted fails with shutting_down: open fan-outs, messages in rings.
 */
void spr_dispatchers_give_up(spr_dispatchers *dispatchers);
/* [main] True when no dispatcher holds a message or an open fan-out. */
bool spr_dispatchers_are_idle(const spr_dispatchers *dispatchers);
/*
 * [any] False: one of them is in the same turn for limit_ns, or has messages before it and nothing to wait for, and has
 * begun no turn for limit_ns. Waiting for a slot, bytes or a record is being alive.
 */
bool
spr_dispatchers_are_alive(const spr_dispatchers *dispatchers, uint64_t now_ns, uint64_t limit_ns);
/* [main] After it is idle or given up. */
void spr_dispatchers_stop(spr_dispatchers *dispatchers);
/* [main] NULL is fine. */
void spr_dispatchers_free(spr_dispatchers *dispatchers);
