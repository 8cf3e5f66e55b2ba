/*
 * outbox - posts jobs: bounded slots and bytes, and one completion a message that gives its jobs' pending counts back.
 *
 *   dispatcher --spr_outbox_post--> [batch] --> lane --> push socket --on_done--> pending count -n --last--> ledger
 *                   |  no slot, no bytes: the dispatcher waits                        |
 *                   +<--------- woken, or helped, by ---------------------------------+
 *
 * A message is one job, or, with batch_bytes, as many as are ready: they are collected in the lane's open batch, which is sent
 * when the next job does not fit, when the dispatcher ends a turn with nothing more to do or about to wait, or after a turn that
 * added nothing. No timer is involved: while a batch is open its dispatcher is going on.
 *
 * Writer      dispatchers, each on its own lane
 * Reader      completions ([nng-cb]) and the ledger behind them
 * Ownership   a posted job's bytes belong to the transport; one push count of the notification travels with it. The cookie is
 *             the notification, or, when receipts are awaited, the number of the job, whose owner is looked up while that
 *             count is held, or the batch (path/batch.h). A batch ends as a whole: all its jobs are posted, or none is
 * Ordering    E12 (pending count), E2 (slots), E11 (waiting)
 * Progress    post never waits
 * Limits      slots per lane, and of batches two full ones, or 256 KiB; job bytes over all lanes (a single job larger than the limit is let through alone). A batch
 *             takes what its message was made with, and its slot, when it is opened: sending it never waits
 * Teardown    dispatchers stopped, lanes idle, then free
 */
#pragma once

#include "net/net.h"
#include "path/batch.h"
#include "path/budget.h"
#include "path/jobs.h"
#include "path/ledger.h"
#include "path/notification.h"
#include "path/waiters.h"

#define SPR_OUTBOX_SLOTS 64 /* of batches; of single jobs unless the transport says otherwise */

typedef struct spr_outbox spr_outbox;
typedef struct spr_outbox_lane spr_outbox_lane;

typedef struct spr_outbox_config {
	const spr_transport *transport;
	size_t max_bytes;   /* of jobs that have not ended */
	size_t batch_bytes; /* of one message, unless a job is longer; 0: one job a message */
	size_t peer_bytes;  /* as in net.h, both */
	bool awaits_tcp;
	const spr_waiters *dispatchers;
	spr_ledger *ledger;
	const char *instance; /* the part of job ids before the dash; NULL: jobs have none */
	/* both NULL unless receipts are awaited: then a job that was pushed still lacks its receipt */
	spr_jobs *jobs;
	spr_notifications *notifications;
} spr_outbox_config;

typedef enum spr_post {
	SPR_POST_OK, /* posted, or in the open batch; its completion will give the push count back */
	SPR_POST_BLOCKED, /* nothing happened; the dispatcher's wants are set: park and try again */
	SPR_POST_FAILED,  /* no memory; the caller gives the pending counts back */
} spr_post;

/* A job to be: its bytes are prefix, payload, "}", with the id as the first member when there is a key. No line breaks in it
 * with batches. */
typedef struct spr_job {
	const char *prefix;
	size_t prefix_len;
	const uint8_t *payload;
	size_t payload_len;
	const spr_job_key *key; /* set if and only if the outbox has an instance */
	uint32_t number;        /* in the table of jobs, if there is one */
} spr_job;

/* [main] */
spr_err spr_outbox_new(spr_outbox **out, const spr_outbox_config *config);
spr_err spr_outbox_listen(spr_outbox *outbox, const char *url, char *bound);
spr_err spr_outbox_dial(spr_outbox *outbox, const char *url);
/* [main] One lane for dispatcher number d. */
spr_err spr_outbox_lane_open(spr_outbox_lane **out, spr_outbox *outbox, unsigned d);
/* [dispatcher, its lane] */
spr_post spr_outbox_post(spr_outbox_lane *lane, const spr_job *job, spr_notification *notification);
/* [dispatcher, its lane] Sends the open batch, if there is one. */
void spr_outbox_send_batch(spr_outbox_lane *lane);
/*
 * [dispatcher, its lane] A turn ends, and what was posted leaves: also the open batch, unless another turn follows for certain
 * (goes_on) and this one has posted a job.
 */
void spr_outbox_end_turn(spr_outbox_lane *lane, bool goes_on);
/*
 * [dispatcher, its lane, blocked] When it is to try again though nobody has woken it: what workers that stand still have been
 * given is not waited for. now_ns: at once; 0: something must end first.
 */
uint64_t spr_outbox_look_again(spr_outbox_lane *lane, uint64_t now_ns);
/* [dispatcher, its lane] */
bool spr_outbox_has_batch(const spr_outbox_lane *lane);
/* [any] What an id adds to a job, in bytes. */
size_t spr_outbox_id_len(const spr_outbox *outbox);
/* [dispatcher, its lane] Ends what has not been taken, the open batch too; each such job fails its notification with
 * this reason. */
void spr_outbox_abort(spr_outbox_lane *lane, spreader_reason reason);
/* [any] Messages of the lane that have not ended. */
unsigned spr_outbox_lane_out(const spr_outbox_lane *lane);
/* [any] Messages taken by pipes so far, modulo 2^32: stands still while the outbox takes nothing. */
unsigned spr_outbox_taken(const spr_outbox *outbox);
/* [any] Snapshot: bytes of jobs that have not ended; allowances of lanes (path/budget.h) are not in it. */
size_t spr_outbox_bytes(const spr_outbox *outbox);
/* [any] Peers connected now. */
unsigned spr_outbox_peers(const spr_outbox *outbox);
/* [main, dispatchers idle] True when every live pipe has written what it took. */
bool spr_outbox_flush(spr_outbox *outbox, uint64_t deadline_ns);
/* [main] True when no send is in flight and every completion has returned. */
bool spr_outbox_is_idle(const spr_outbox *outbox);
/* [main] NULL is fine. */
void spr_outbox_free(spr_outbox *outbox);
