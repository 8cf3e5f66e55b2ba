/*
 * jobs - the table of jobs that want a receipt: which are open, which have one, which failed. Only with --confirm receipt.
 *
 *            open (dispatcher)             receipt (nng-cb)
 *   absent -------------------> open ---------------------------> receipted
 *     ^                         ^  |  receipt with an error,           ^
 *     |     opened again        |  |  push failed, timed out           | late receipt (nng-cb)
 *     |     (dispatcher)        |  v  (nng-cb, ledger)                 |
 *     |                         failed --------------------------------+
 *     |                                                                |
 *     +------------- forget (ledger): receipted or failed -------------+
 *
 * The jobs of one notification are a chain, whose head its owner keeps: in the notification while it is in flight, in the answer
 * table (path/answers.h) while a nacked id is remembered, so that its next attempt opens only what has no receipt. A job
 * that is in another chain is no concern of an owner: its key is as good as absent to him, and the younger one gets the receipts.
 *
 * Writer      dispatchers open; any thread takes receipts and failures in; only the ledger forgets
 * Reader      as the writer
 * Ownership   an open job holds one receipt count of its owner (path/notification.h): whoever moves it out of open (exactly one
 *             does) gives that count back. A chain belongs to whoever holds its head, one at a time
 * Ordering    E16: what was done before open is visible to whoever takes the job out of open, and what that one did before is
 *             visible to whoever sees the new state
 * Progress    open, receipt and fail are lock-free; forget: only operations in the same bucket delay it
 * Limits      `capacity` jobs, by credits (path/credits.h) that are reserved before the first job of a fan-out is opened: so a fan-out
 *             that was let in never waits for another one. Fixed at start, memory touched only as it is first used
 * Teardown    after dispatchers, receipts and ledger have stopped
 *
 * Which calls may overlap (X: the caller excludes it; c: only on different chains):
 *
 *                          open    receipt    fail, owner    fail_chain, forget
 *      open                  c        -            -                 c
 *      receipt               -        -            -                 -
 *      fail, owner           -        -            -                 c
 *      fail_chain, forget    c        -            c                 X
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "path/credits.h"

typedef struct spr_jobs spr_jobs;

/* Of (from, id, callback), with a seed that never changes: the same for every attempt and every dispatcher. */
typedef struct spr_job_key {
	uint64_t low;
	uint64_t high;
} spr_job_key;

/* No job has this number; the head of an empty chain. */
#define SPR_JOB_NONE UINT32_C(0)
#define SPR_JOBS_MAX (UINT32_C(1) << 28)

/* [main] SPR_E_INVALID when capacity is 0 or SPR_JOBS_MAX or more; SPR_E_NOMEM. */
spr_err spr_jobs_new(spr_jobs **out, unsigned capacity);
/* [main] NULL is fine. */
void spr_jobs_free(spr_jobs *jobs);

/* [any] The table's, as many as it has entries; they live as long as it does. */
spr_credits *spr_jobs_credits(spr_jobs *jobs);

/* [any] It will be opened soon: its place is on its way into the cache meanwhile. */
void spr_jobs_foresee(spr_jobs *jobs, spr_job_key key);

typedef enum spr_job_opened {
	SPR_JOB_OPENED,    /* *job is open: it is to be pushed */
	SPR_JOB_RECEIPTED, /* it has its receipt from an earlier attempt: nothing to do */
	SPR_JOB_TWICE, /* open already in this chain: push it, and give its receipt count back at once */
} spr_job_opened;

/*
 * [dispatcher, holder of the chain] Opens a job for an owner (the number of its notification's record), the same one for all jobs of
 * an attempt. A new job joins the chain: *head changes and *n_chain grows, and it uses one of the credits that the caller holds; one
 * that failed in an earlier attempt is in the chain already and has its credit.
 */
spr_job_opened spr_jobs_open(spr_jobs *jobs, spr_job_key key, uint32_t owner, uint32_t *head,
			     uint32_t *n_chain, uint32_t *job);

typedef enum spr_receipt_taken {
	SPR_RECEIPT_TAKEN, /* the job left open: one receipt count of *owner is the caller's to give back */
	SPR_RECEIPT_LATE,    /* it had failed before: counted for the next attempt */
	SPR_RECEIPT_AGAIN,   /* it had its receipt, or an error came for one that had failed */
	SPR_RECEIPT_UNKNOWN, /* no such job: never was, or forgotten */
} spr_receipt_taken;

/* [any] A receipt came; is_error: the worker could not take the job. */
spr_receipt_taken spr_jobs_receipt(spr_jobs *jobs, spr_job_key key, bool is_error, uint32_t *owner);
/*
 * [holder of a push count of its owner] The push failed. True: the job left open, and one receipt count is the caller's to give back.
 * False: a receipt came first.
 */
bool spr_jobs_fail(spr_jobs *jobs, uint32_t job);
/* [holder of a push count of its owner] */
uint32_t spr_jobs_owner(const spr_jobs *jobs, uint32_t job);
/* [ledger, after the last push] Fails what is still open in a chain; how many: so many receipt counts are the caller's to give back. */
uint32_t spr_jobs_fail_chain(spr_jobs *jobs, uint32_t head);
/* [ledger, holder of the chain, nothing in it open] The jobs leave the table; how many. Credits are given back by the caller. */
uint32_t spr_jobs_forget(spr_jobs *jobs, uint32_t head);

/* [any] A snapshot: jobs in the table. */
uint32_t spr_jobs_known(const spr_jobs *jobs);
