/*
 * answers - the answer table: which ids are in flight, and which were acked lately. Fixed size, 128-bit keys.
 *
 *                 claim (dispatcher)                      acked (ledger)
 *        absent ---------------------> in flight ------------------------> acked
 *          ^                               |                                 |
 *          |        forget (ledger)        |        evicted, FIFO (ledger)   |
 *          +-------------------------------+---------------------------------+
 *
 * Writer      dispatchers claim by compare-and-swap; only the ledger moves an entry on
 * Reader      dispatchers
 * Ownership   an entry belongs to the notification that claimed it until the ledger moves it on
 * Ordering    E9: what was done before acked or forget is visible to the claim that sees it
 * Progress    claim is lock-free; acked and forget are lock-free
 * Limits      max_inflight entries in flight plus dedup_window acked ones; memory fixed at start
 * Teardown    after dispatchers and ledger have stopped
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

typedef struct spr_answers spr_answers;

/* Of (from, id), by a hash seeded per boot. */
typedef struct spr_answer_key {
	uint64_t low;
	uint64_t high;
} spr_answer_key;

typedef enum spr_claim { SPR_CLAIM_NEW, SPR_CLAIM_IN_FLIGHT, SPR_CLAIM_ACKED } spr_claim;
#define SPR_ANSWER_NONE UINT32_MAX

/* [any] dedup_window may be 0. */
spr_err spr_answers_new(spr_answers **out, unsigned max_inflight, unsigned dedup_window);
void spr_answers_free(spr_answers *answers);
/* [dispatcher] NEW: *entry is the caller's. Otherwise *entry is untouched. The caller holds one of max_inflight. */
spr_claim spr_answers_claim(spr_answers *answers, spr_answer_key key, uint32_t *entry);
/* [ledger] The upstream accepted the ack: remembered; the oldest remembered one goes when the window is full. */
void spr_answers_acked(spr_answers *answers, uint32_t entry);
/* [ledger] The upstream accepted the nack, or the id was given up: forgotten. */
void spr_answers_forget(spr_answers *answers, uint32_t entry);
/* [any] Snapshots. */
uint32_t spr_answers_in_flight(const spr_answers *answers);
uint32_t spr_answers_remembered(const spr_answers *answers);
