/*
 * answers - the answer table: which ids are in flight, and which were acked lately.
 *
 *                 claim (dispatcher)                      acked (ledger)
 *        absent ---------------------> in flight ------------------------> acked
 *          ^                               |                                 |
 *          |        forget (ledger)        |        evicted, FIFO (ledger)   |
 *          +-------------------------------+---------------------------------+
 *          |                               ^ |
 *          | evicted, FIFO (ledger)  claim | | nacked (ledger), when there are jobs to remember
 *          |                  (dispatcher) | v
 *          +---------------------------- resumable
 *
 * Writer      dispatchers claim by compare-and-swap; only the ledger moves an entry on from in flight, or out
 * Reader      dispatchers
 * Ownership   an entry belongs to the notification that claimed it until the ledger moves it on; the chain of a resumable
 *             one moves with the claim, or with the eviction
 * Ordering    E9: what was done before acked, nacked or forget is visible to the claim that sees it. The
 *             entry number gets from the claim to the ledger by the caller's own edge (E2)
 * Progress    claim is lock-free: it starts again only when another claim or a removal in the same
 *             bucket was completed; the ledger's calls: only claims in the same bucket delay them
 * Limits      max_inflight entries in flight, plus dedup_window acked ones, plus resume_window resumable ones, in all a little
 *             below SPR_ANSWERS_MAX; a stock for each dispatcher; memory is fixed at start but touched only as it is first used
 * Teardown    after dispatchers and ledger have stopped
 *
 * Which calls may overlap (X: the caller excludes it):
 *
 *                         claim, take_resume  the ledger's  snapshots
 *      claim, take_resume         -                -            -
 *      the ledger's               -                X            -
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "path/key_table.h"

typedef struct spr_answers spr_answers;

/* Of (from, id), by a hash seeded per boot; the low bits of `low` choose the bucket. */
typedef struct spr_answer_key {
	uint64_t low;
	uint64_t high;
} spr_answer_key;

typedef enum spr_claim {
	SPR_CLAIM_NEW,
	SPR_CLAIM_IN_FLIGHT,
	SPR_CLAIM_ACKED,
	SPR_CLAIM_RESUMED, /* as NEW, and the jobs of its earlier attempts are the caller's: take_resume */
} spr_claim;

/* What is remembered of a nacked id: its chain in the table of jobs, and how many there are. */
typedef struct spr_resume {
	uint32_t jobs; /* 0: none */
	uint32_t n;
} spr_resume;
/* A dispatcher's own free entries, which it takes many at once: of one table, for one thread. {0} is empty; there is nothing to end. */
typedef spr_key_stock spr_answer_stock;
/* No entry has this number: for notifications without an id. */
#define SPR_ANSWER_NONE UINT32_MAX
/* max_inflight and both windows are less together. */
#define SPR_ANSWERS_MAX (UINT32_C(1) << 28)

/*
 * [any] Either window may be 0: then an acked or a nacked id is forgotten at once. SPR_E_INVALID when
 * max_inflight is 0 or the sum is too large; SPR_E_NOMEM.
 */
spr_err spr_answers_new(spr_answers **out, unsigned n_dispatchers, unsigned max_inflight,
			unsigned dedup_window, unsigned resume_window);
/* [any] NULL is fine. */
void spr_answers_free(spr_answers *answers);
/* [any] It will be claimed soon: its place is on its way into the cache meanwhile. */
void spr_answers_foresee(spr_answers *answers, spr_answer_key key);
/* [dispatcher] It will be claimed after the next one, and was foreseen before: the same for what else the claim looks at. */
void
spr_answers_foresee_claim(spr_answers *answers, const spr_answer_stock *stock, spr_answer_key key);
/* [ledger] It will be answered soon. */
void spr_answers_prefetch(const spr_answers *answers, uint32_t entry);
/*
 * [dispatcher] NEW, RESUMED: *entry is the caller's. Otherwise *entry is untouched. The caller holds one of
 * max_inflight during the call, and after NEW and RESUMED until acked, nacked or forget has returned: that is why there
 * is always an entry to take.
 */
spr_claim spr_answers_claim(spr_answers *answers, spr_answer_stock *stock, spr_answer_key key,
			    uint32_t *entry);
/*
 * [ledger] The answer is about to be sent. Copies that were claimed before share it; one that comes
 * later may have been sent after upstream saw the answer, and is reported by acked, nacked or forget.
 */
void spr_answers_answering(spr_answers *answers, uint32_t entry);
/*
 * [ledger] Upstream accepted the ack: remembered; a full window gives up its oldest one. True: a
 * copy came since answering, so the answer is owed once more (the entry is no longer the caller's).
 */
bool spr_answers_acked(spr_answers *answers, uint32_t entry);
/* [ledger] Upstream accepted the nack, or the id was given up: forgotten. True as for acked. */
bool spr_answers_forget(spr_answers *answers, uint32_t entry);
/*
 * [ledger] Upstream accepted the nack, and there are jobs to remember until the id comes again. *evicted is what a full window
 * gives up for it, or the same jobs when there is no window; n is 0 for nothing. The caller forgets it. True as for acked.
 */
bool
spr_answers_nacked(spr_answers *answers, uint32_t entry, spr_resume resume, spr_resume *evicted);
/* [ledger] Gives the oldest resumable id up, to make room in the table of jobs. False: there is none. */
bool spr_answers_evict_resumable(spr_answers *answers, spr_resume *evicted);
/* [dispatcher, after SPR_CLAIM_RESUMED only] What was remembered. */
spr_resume spr_answers_take_resume(spr_answers *answers, uint32_t entry);
/* [any] Snapshots: in flight (which looks at all entries), acked, resumable. */
uint32_t spr_answers_in_flight(const spr_answers *answers);
uint32_t spr_answers_remembered(const spr_answers *answers);
uint32_t spr_answers_resumable(const spr_answers *answers);
