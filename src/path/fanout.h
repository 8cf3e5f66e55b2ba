/*
 * fanout - one notification's jobs while they are being posted: who is left, and the payload bytes they share.
 *
 * Writer      one dispatcher
 * Reader      as the writer
 * Ownership   holds one pending count of its notification, one reference of its message, and the callbacks from `next`
 *             on; spr_fanout_post() gives each back as it goes, the last of all at its end
 * Ordering    E12
 * Progress    never waits; a slice is at most the number of jobs asked for
 * Limits      callbacks by max_fanout; the payload by max_job
 * Teardown    spr_fanout_fini(), when it is closed
 */
#pragma once

#include "path/intake.h"
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
	uint8_t *encoded;
	size_t encoded_capacity;
};

typedef enum spr_slice {
	SPR_SLICE_DONE,    /* every job is posted or failed: the fan-out is closed */
	SPR_SLICE_MORE,    /* the slice is used up */
	SPR_SLICE_BLOCKED, /* no slot or bytes: park and come back */
} spr_slice;

/* What fan-outs need of the daemon; constant. */
typedef struct spr_fanout_env {
	spr_subscriptions *subscriptions;
	spr_intake *intake;
	spr_ledger *ledger;
} spr_fanout_env;

/*
 * [dispatcher] Sets payload: the document's text, or the message's as a JSON string of at most max bytes.
 * SPR_E_TOO_LARGE, SPR_E_NOMEM.
 */
spr_err spr_fanout_set_payload(spr_fanout *fanout, const spr_document *document, bool as_string,
			       size_t max);
/* [dispatcher] The size of the largest job. */
size_t spr_fanout_longest_job(const spr_fanout *fanout);
/* [dispatcher] The notification's pending count becomes the number of jobs and one for us. */
void spr_fanout_open(spr_fanout *fanout);
/*
 * [dispatcher] Posts jobs of a slice of at most max. What was blocked goes on with the rest of its slice: an outbox that
 * takes a few at a time must not make one slice of a whole fan-out.
 */
spr_slice
spr_fanout_post(spr_fanout *fanout, const spr_fanout_env *env, spr_outbox_lane *lane, unsigned max);
/* [dispatcher] The jobs that are left fail together, for this reason; the fan-out is closed. */
void spr_fanout_fail_rest(spr_fanout *fanout, const spr_fanout_env *env, spreader_reason reason);
/* [dispatcher] */
void spr_fanout_fini(spr_fanout *fanout);
