/*
 * receipts - takes what delivery workers say of their jobs: mine now, or not possible.
 *
 *   worker --PUSH--> pull socket --on_receive--> documents --spr_jobs_receipt--> counts back --last--> ledger
 *
 * Writer      completions of the pull socket; each does a whole message on the spot
 * Reader      none
 * Ownership   a message is released when its last document is done; a receipt count that a receipt took out of the table of
 *             jobs is given back before that
 * Ordering    E16 (jobs), E12 (pending counts), E17 (deadlines)
 * Progress    never waits; work is bounded by the message
 * Limits      max_message; nothing is kept
 * Teardown    stop, then free; before jobs, ledger and notifications go
 *
 * A document is {"id":"<job id>"} or {"id":"<job id>","error":"<text>"}; other members are ignored, the last duplicate counts, and
 * an error of null is none. A message carries any number of them. What is none of these is counted as bad and costs only itself:
 * reading goes on behind its value, or, when it is no JSON, behind the first newline after its first byte.
 */
#pragma once

#include "net/net.h"
#include "path/jobs.h"
#include "path/ledger.h"
#include "path/notification.h"

#define SPR_RECEIPTS_RECEIVES 2

typedef struct spr_receipts spr_receipts;

typedef struct spr_receipts_config {
	const spr_transport *transport;
	size_t max_message;
	const char *instance; /* ids of other ones are another daemon's */
	spr_jobs *jobs;
	spr_notifications *notifications;
	spr_ledger *ledger;
} spr_receipts_config;

/* [main] */
spr_err spr_receipts_new(spr_receipts **out, const spr_receipts_config *config);
spr_err spr_receipts_listen(spr_receipts *receipts, const char *url, char *bound);
spr_err spr_receipts_dial(spr_receipts *receipts, const char *url);
void spr_receipts_start(spr_receipts *receipts);
/* [main] Nothing is received any more. */
void spr_receipts_stop(spr_receipts *receipts);
/* [main] NULL is fine. */
void spr_receipts_free(spr_receipts *receipts);
/* [any] Takes in what a message holds. */
void spr_receipts_take(spr_receipts *receipts, const uint8_t *data, size_t len);
