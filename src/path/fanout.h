/*
 * fanout - one notification's jobs while they are being posted: who is left, and the payload bytes they share.
 *
 * Writer      one dispatcher
 * Reader      as the writer
 * Ownership   holds one push count of its notification, which spr_fanout_post() gives back at its end. Message and callbacks
 *             are the caller's and the epoch section's while the first slice is posted; only a fan-out that is open behind it
 *             takes references, one of its message and one of each callback from `next` on, and gives them back as it goes:
 *             most never count anything that other threads count too. When receipts are awaited it holds the
 *             notification's chain of jobs and its credits: for all of them before the first is opened
 * Ordering    E12
 * Progress    never waits; a slice is at most the number of jobs asked for
 * Limits      callbacks by max_fanout; the payload by max_job
 * Teardown    spr_fanout_fini(), when it is closed
 */
#pragma once

#include "path/intake.h"
#include "path/job_id.h"
#include "path/outbox.h"
#include "path/scan.h"
#include "route/subscriptions.h"

typedef struct spr_fanout spr_fanout;
struct spr_fanout {
	spr_fanout *next_open; /* in the dispatcher's queue */
	spr_notification *notification;
	spr_buf *message;
	spr_range document; /* in the message */
	spr_range payload;  /* in the message, or in encoded */
	spr_matches matches;
	size_t next;         /* matches.callback[next..n) are to be posted */
	unsigned slice_left; /* jobs; a slice goes on where it was blocked */
	spr_job_source source;
	bool needs_credits; /* none were to be had: nothing is opened yet */
	bool is_in_line;    /* for them */
	uint32_t opened;    /* the next one is open already, but was blocked; or SPR_JOB_NONE */
	uint8_t *encoded;
	size_t encoded_capacity;
};

typedef enum spr_slice {
	SPR_SLICE_DONE,    /* every job is posted or failed: the fan-out is closed */
	SPR_SLICE_MORE,    /* the slice is used up */
	SPR_SLICE_BLOCKED, /* no slot or bytes: park and come back */
	SPR_SLICE_WAITS,   /* no credits for its jobs: others may go on, and give theirs back */
} spr_slice;

/* What fan-outs need of the daemon; constant. */
typedef struct spr_fanout_env {
	spr_subscriptions *subscriptions;
	spr_intake *intake;
	spr_ledger *ledger;
	unsigned number; /* the dispatcher's */
	bool has_ids;    /* jobs are to have ids */
	spr_jobs *jobs;  /* NULL unless receipts are awaited */
	spr_notifications *notifications;
	spr_waiter *waiter; /* the dispatcher's */
} spr_fanout_env;

/*
 * [dispatcher] Sets payload: the document's text, or the message's as a JSON string of at most max bytes; on one line: with
 * spaces for line breaks between its tokens. SPR_E_TOO_LARGE, SPR_E_NOMEM.
 */
spr_err spr_fanout_set_payload(spr_fanout *fanout, const spr_document *document, bool as_string,
			       bool on_one_line, size_t max);
/* [dispatcher] The size of the largest job. */
size_t spr_fanout_longest_job(const spr_fanout *fanout);
/*
 * [dispatcher] The notification's pending counts become the number of jobs, and one more push for us. False: its jobs of
 * earlier attempts are not all, and there are no credits for more: it is to be answered with overload. Such a one does not
 * wait, or two of them could wait for each other's credits for ever.
 */
bool spr_fanout_open(spr_fanout *fanout, const spr_fanout_env *env);
/*
 * [dispatcher; at first inside the section that found its callbacks] Posts jobs of a slice of at most max. What was blocked goes on with the rest of its slice: an outbox that
 * takes a few at a time must not make one slice of a whole fan-out.
 */
spr_slice
spr_fanout_post(spr_fanout *fanout, const spr_fanout_env *env, spr_outbox_lane *lane, unsigned max);
/* [dispatcher] The jobs that are left fail together, for this reason; the fan-out is closed. */
void spr_fanout_fail_rest(spr_fanout *fanout, const spr_fanout_env *env, spreader_reason reason);
/* [dispatcher] */
void spr_fanout_fini(spr_fanout *fanout);
