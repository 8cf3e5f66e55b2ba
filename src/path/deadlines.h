/*
 * deadlines - which notifications are in flight since when: whose receipts are late, and which upstream should hear that it is
 * being worked on. Private to the ledger.
 *
 *   deadline = last push or receipt + timeout, once every push has ended
 *   a worker left: earlier of that and now + grace; from then on the last push or receipt + grace; once a notification
 *
 * Writer      dispatchers open; holders of a pending count touch; the ledger looks and closes
 * Reader      the ledger
 * Ownership   a record's line is the record's; a complete notification's record changes hands only by the ledger, so what the
 *             ledger finds open stays that notification while it looks
 * Ordering    E17: what the dispatcher wrote before open, and what was done before a touch, is visible to the look that sees it;
 *             E12: a look that sees no push outstanding sees the whole chain of jobs
 * Progress    open and touch are wait-free
 * Limits      one line a record, touched as records are
 * Teardown    after dispatchers, completions and the ledger have stopped
 */
#pragma once

#include "path/jobs.h"
#include "path/notification.h"

typedef struct spr_deadlines spr_deadlines;

typedef struct spr_deadlines_config {
	const spr_notifications *notifications;
	spr_jobs *jobs; /* NULL: no receipts are awaited, nothing is ever late */
	uint64_t timeout_ns;
	uint64_t grace_ns;
	uint64_t working_ns; /* in flight for so long: worked on; and again after as long */
} spr_deadlines_config;

/* What a look finds; called on the spot. */
typedef struct spr_deadlines_found {
	/* its last receipt counts were taken: it is complete */
	void (*on_complete)(void *arg, spr_notification *notification);
	/* false: upstream cannot be told now */
	bool (*on_working)(void *arg, spr_notification *notification);
	void *arg;
} spr_deadlines_found;

/* [main] SPR_E_NOMEM. */
spr_err spr_deadlines_new(spr_deadlines **out, const spr_deadlines_config *config);
/* [main] NULL is fine. */
void spr_deadlines_free(spr_deadlines *deadlines);

/* [dispatcher] The notification has jobs and is in flight, since it was received. */
void spr_deadlines_open(spr_deadlines *deadlines, const spr_notification *notification);
/* [holder of a pending count] A push or a receipt ended. */
void spr_deadlines_touch(spr_deadlines *deadlines, const spr_notification *notification,
			 uint64_t now_ns);
/* [any] A delivery worker left. */
void spr_deadlines_worker_left(spr_deadlines *deadlines);
/* [ledger] The notification is complete, whether it was opened or not. */
void spr_deadlines_close(spr_deadlines *deadlines, const spr_notification *notification);
/*
 * [ledger] Looks at all that is open: jobs that are late fail with receipt_timeout, or all that lack a receipt with
 * shutting_down when gives_up. Returns the earliest time at which one may become late, 0: none.
 */
uint64_t spr_deadlines_look(spr_deadlines *deadlines, uint64_t now_ns, bool gives_up,
			    const spr_deadlines_found *found);
