/*
 * ledger - answers upstream: one ack or nack a notification, kept until the upstream has accepted it. It also ends what waits
 * for receipts too long (path/deadlines.h), and remembers what it was told for the next attempt (path/settle.h).
 *
 *   last pending count --spr_ledger_complete--> mailbox --> [ledger] batches --> REQ slot --reply--> accepted: free
 *                                                              ^                              |
 *                                                              +---- retry lists <--- refused, no reply
 *
 * Writer      any thread: complete; [nng-cb]: replies
 * Reader      the ledger thread
 * Ownership   complete moves the notification in; it leaves to the free pool when its answer was accepted or given up
 * Ordering    E2 (mailbox); E9 (answer table); an ack is built only from a notification whose pending count is zero
 *             (E12)
 * Progress    complete is lock-free
 * Limits      the notifications in flight; window requests an upstream
 * Teardown    stop the agent, then free; what is unanswered then is still in flight in the pool
 *
 * Pace: an answer goes at once when nothing was sent in the last millisecond or a batch is full, else with the next
 * batch, at most a millisecond later. So a busy ledger sends a thousand requests a second, or full ones, not one a notification.
 *
 * Looks: while anything is in flight it looks at the deadlines a few times a second; with nothing in flight it does not tick.
 */
#pragma once

#include "base/agent.h"
#include "net/net.h"
#include "path/answers.h"
#include "path/dead_letter.h"
#include "path/intake.h"
#include "path/jobs.h"
#include "path/notification.h"

typedef struct spr_ledger spr_ledger;

typedef struct spr_ledger_config {
	unsigned batch;        /* ids a request, at most */
	unsigned window;       /* requests in flight an upstream */
	unsigned timeout_ms;   /* for a reply */
	unsigned retry_min_ms; /* the first delay of a retry; 0: as in the contract */
	const char *instance;  /* boot id */
	spr_notifications *notifications;
	spr_answers *answers; /* NULL without upstreams */
	spr_jobs *jobs;       /* NULL unless receipts are awaited */
	unsigned max_jobs;    /* capacity of jobs */
	uint64_t receipt_timeout_ns;
	uint64_t receipt_grace_ns;
	uint64_t
	    working_ns; /* upstream hears of what is in flight for so long; 0: as in the contract */
	spr_dead_letter *dead_letter;
} spr_ledger_config;

/* [main] */
spr_err spr_ledger_new(spr_ledger **out, const spr_ledger_config *config);
/* [main, before start] The upstream of that name ("": the unnamed one), made on first use. */
spr_err spr_ledger_listen(spr_ledger *ledger, const char *name, const char *url, char *bound);
spr_err spr_ledger_dial(spr_ledger *ledger, const char *name, const char *url);
/* [any, after start] The upstream's number, SPR_UPSTREAM_NONE when there is none of that name. */
uint16_t spr_ledger_upstream(const spr_ledger *ledger, const char *name, size_t len);
/* [any] False: no answers are ever sent. */
bool spr_ledger_has_upstreams(const spr_ledger *ledger);
/* [main] */
spr_err spr_ledger_start(spr_ledger *ledger);
/* [main] Requests in flight are ended; nothing is sent any more. */
void spr_ledger_stop(spr_ledger *ledger);
/* [main] NULL is fine. */
void spr_ledger_free(spr_ledger *ledger);

/* [main, before start] Where messages go that notifications without an upstream have kept. */
void spr_ledger_connect(spr_ledger *ledger, spr_intake *intake);

/*
 * [owner of the notification] Its failure is the answer: NONE is an ack. Without an upstream a failure goes to the dead
 * letters, if the message was kept, and the record is free at once.
 */
void spr_ledger_complete(spr_ledger *ledger, spr_notification *notification);
/* Notifications that completed together. {0} is none; what was gathered is to be handed over. */
typedef struct spr_completed {
	spr_stack_chain chain;
	uint64_t now_ns;
	uint32_t last[SPR_RECORDS_AHEAD]; /* of the chain, in turn: see spr_notification's ahead */
} spr_completed;
/* [owner of the notification] The same for many: one clock reading, one push, one wake-up. */
void
spr_ledger_gather(spr_ledger *ledger, spr_completed *completed, spr_notification *notification);
void spr_ledger_hand_over(spr_ledger *ledger, const spr_completed *completed);
/* [any] False: it has had something to do and has not come round for limit_ns. */
bool spr_ledger_is_alive(const spr_ledger *ledger, uint64_t now_ns, uint64_t limit_ns);
/* [dispatcher] The notification has jobs, which are about to be posted. */
void spr_ledger_opened(spr_ledger *ledger, const spr_notification *notification);
/* [holder of a pending count, receipts are awaited] A push or a receipt ended; before the count is given back. */
void spr_ledger_touch(spr_ledger *ledger, const spr_notification *notification, uint64_t now_ns);
/* [any] A delivery worker left: what it had may never get its receipt. */
void spr_ledger_worker_left(spr_ledger *ledger);
/* [dispatcher] Another one may be the first in line for credits: remembered jobs are to make room for it, and it is to be woken. */
void spr_ledger_look_at_line(spr_ledger *ledger);
/* [main] From here on what was pushed and lacks its receipt fails with shutting_down. */
void spr_ledger_give_up(spr_ledger *ledger);
/* [any] Peers of all ack sockets now. */
unsigned spr_ledger_peers(const spr_ledger *ledger);
