/*
 * fuzz_receipts - any bytes as a message of receipts, with a right receipt behind them: whatever they are, they cost their
 * neighbour nothing. The job ends with its receipt, its notification is complete, and nothing is read behind the end.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "path/receipts.h"

#define RIGHT "\n{\"id\":\"cafe-00000000000000020000000000000001\"}"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const spr_job_key key = {.low = 1, .high = 2};

static struct {
	spr_notifications notifications;
	spr_waiters waiters;
	spr_answers *answers;
	spr_jobs *jobs;
	spr_ledger *ledger;
	spr_receipts *receipts;
} the;

/* Stays on in every build, unlike an assert. */
static void
check(bool is_so)
{
	if (!is_so)
		abort();
}

static spr_err
no_pull(spr_pull **out, const spr_pull_config *config)
{
	(void)config;
	*out = NULL;
	return (SPR_OK);
}

static void
open_once(void)
{
	static const spr_transport no_socket = {.pull_open = no_pull};
	spr_ledger_config ledger = {.instance = "cafe", .notifications = &the.notifications};
	spr_receipts_config receipts = {
	    .transport = &no_socket, .instance = "cafe", .notifications = &the.notifications};

	if (the.receipts != NULL)
		return;
	check(spr_notifications_init(&the.notifications, 1, 1, &the.waiters) == SPR_OK);
	check(spr_answers_new(&the.answers, 1, 1, 1, 0) == SPR_OK);
	check(spr_jobs_new(&the.jobs, 1) == SPR_OK);
	ledger.answers = the.answers;
	ledger.jobs = receipts.jobs = the.jobs;
	check(spr_ledger_new(&the.ledger, &ledger) == SPR_OK);
	receipts.ledger = the.ledger;
	check(spr_receipts_new(&the.receipts, &receipts) == SPR_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len = size + sizeof(RIGHT) - 1;
	uint8_t *message = malloc(len);
	uint32_t head = SPR_JOB_NONE, n_chain = 0, job, owner;
	spr_notification *notification;

	check(message != NULL);
	open_once();
	memcpy(message, data, size);
	memcpy(message + size, RIGHT, len - size);
	check((notification = spr_notification_take(&the.notifications, 0)) != NULL);
	notification->entry = SPR_ANSWER_NONE;
	notification->upstream = SPR_UPSTREAM_NONE;
	atomic_store(&notification->failure, SPREADER_REASON_NONE);
	spr_notification_open(notification, 0, 1);
	check(spr_jobs_open(the.jobs, key, 0, &head, &n_chain, &job) == SPR_JOB_OPENED);
	spr_receipts_take(the.receipts, message, len);
	check(spr_notifications_in_flight(&the.notifications) == 0);
	check(spr_jobs_receipt(the.jobs, key, false, &owner) == SPR_RECEIPT_AGAIN);
	check(spr_jobs_forget(the.jobs, head) == 1);
	free(message);
	return (0);
}
