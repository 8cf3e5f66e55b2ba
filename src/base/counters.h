/*
 * counters - the one table of counters; names, help, stats and metrics are derived from it.
 *
 * Each thread counts in its own padded block (made on its first count), so counting is a plain add on a private line;
 * a sum reads all blocks. Blocks of ended threads are kept: a total never goes back.
 *
 * Writer      any thread, its own block
 * Reader      any thread, sums
 * Ownership   blocks belong to the module for the life of the process
 * Ordering    none: relaxed; a sum is a snapshot that no decision is taken on
 * Progress    wait-free after the thread's first count
 * Limits      SPR_COUNTER_THREADS threads have blocks; further ones share an atomic one
 * Teardown    none
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SPR_COUNTER_THREADS 256

/* X(NAME, metric, labels, help); labels is "" or "key=\"value\"" */
/* clang-format off */
#define SPR_COUNTERS(X) \
	X(MESSAGES_RECEIVED,  "spreader_messages_received_total", "", "SP messages received on the intake") \
	X(MESSAGES_EMPTY,     "spreader_messages_empty_total", "", "Empty SP messages received on the intake") \
	X(MESSAGE_BYTES,      "spreader_message_bytes_total", "", "Bytes of SP messages received on the intake") \
	X(NOTIFICATIONS,      "spreader_notifications_received_total", "", "Notifications scanned, whatever became of them") \
	X(DUPLICATES_IN_FLIGHT, "spreader_duplicates_total", "state=\"in_flight\"", "Copies of a notification: dropped while in flight, or acked again") \
	X(DUPLICATES_ACKED,   "spreader_duplicates_total", "state=\"acked\"", "Copies of a notification: dropped while in flight, or acked again") \
	X(ACKED_DISPATCHED,   "spreader_acked_total", "result=\"dispatched\"", "Notifications done, by result") \
	X(ACKED_NO_SUBSCRIBERS, "spreader_acked_total", "result=\"no_subscribers\"", "Notifications done, by result") \
	X(NACKED_NO_PREDICATE, "spreader_nacked_total", "reason=\"no_predicate\"", "Notifications not done, by reason") \
	X(NACKED_BAD_PREDICATE, "spreader_nacked_total", "reason=\"bad_predicate\"", "Notifications not done, by reason") \
	X(NACKED_TOO_LARGE,   "spreader_nacked_total", "reason=\"too_large\"", "Notifications not done, by reason") \
	X(NACKED_OVERLOAD,    "spreader_nacked_total", "reason=\"overload\"", "Notifications not done, by reason") \
	X(NACKED_PUSH_FAILED, "spreader_nacked_total", "reason=\"push_failed\"", "Notifications not done, by reason") \
	X(NACKED_SHUTTING_DOWN, "spreader_nacked_total", "reason=\"shutting_down\"", "Notifications not done, by reason") \
	X(NACKED_NO_SUBSCRIBERS, "spreader_nacked_total", "reason=\"no_subscribers\"", "Notifications not done, by reason") \
	X(REJECTED_NOT_JSON,  "spreader_rejected_total", "reason=\"not_json\"", "Documents without an id to answer, by reason") \
	X(REJECTED_NO_ID,     "spreader_rejected_total", "reason=\"no_id\"", "Documents without an id to answer, by reason") \
	X(DEAD_LETTERS,       "spreader_dead_letters_total", "", "Documents and ids given up for good") \
	X(DEAD_LETTER_ERRORS, "spreader_dead_letter_errors_total", "", "Dead letters that could not be written") \
	X(JOBS_POSTED,        "spreader_jobs_posted_total", "", "Jobs that a worker's connection took") \
	X(JOBS_FAILED,        "spreader_jobs_failed_total", "", "Jobs that could not be posted") \
	X(JOB_BYTES,          "spreader_job_bytes_total", "", "Bytes of jobs that a worker's connection took") \
	X(SUPPRESSED_EXPIRED, "spreader_suppressed_total", "why=\"expired\"", "Subscribers left out of a fan-out, by cause") \
	X(SUPPRESSED_DUPLICATE, "spreader_suppressed_total", "why=\"duplicate\"", "Subscribers left out of a fan-out, by cause") \
	X(ANSWER_REQUESTS,    "spreader_answer_requests_total", "", "Requests sent to upstreams with answers") \
	X(ANSWERS_ACCEPTED,   "spreader_answers_accepted_total", "", "Ids whose answer an upstream accepted") \
	X(ANSWER_REFUSALS,    "spreader_answer_failures_total", "cause=\"refused\"", "Answer requests that failed, by cause") \
	X(ANSWER_TIMEOUTS,    "spreader_answer_failures_total", "cause=\"no_reply\"", "Answer requests that failed, by cause") \
	X(ANSWER_RETRIES,     "spreader_answer_retries_total", "", "Answer requests sent again") \
	X(RECEIVERS_PARKED,   "spreader_receivers_parked_total", "", "Times that a receiver stopped for back-pressure") \
	X(DISPATCHER_WAITS_SLOT, "spreader_dispatcher_waits_total", "for=\"send_slot\"", "Times that a dispatcher waited, by cause") \
	X(DISPATCHER_WAITS_BYTES, "spreader_dispatcher_waits_total", "for=\"job_bytes\"", "Times that a dispatcher waited, by cause") \
	X(DISPATCHER_WAITS_INFLIGHT, "spreader_dispatcher_waits_total", "for=\"inflight\"", "Times that a dispatcher waited, by cause") \
	X(PIPES_ADDED_INTAKE, "spreader_pipes_added_total", "socket=\"intake\"", "Peers that connected, by socket") \
	X(PIPES_ADDED_OUTBOX, "spreader_pipes_added_total", "socket=\"outbox\"", "Peers that connected, by socket") \
	X(PIPES_ADDED_ACK,    "spreader_pipes_added_total", "socket=\"ack\"", "Peers that connected, by socket") \
	X(PIPES_ADDED_CONTROL, "spreader_pipes_added_total", "socket=\"control\"", "Peers that connected, by socket") \
	X(PIPES_REMOVED_INTAKE, "spreader_pipes_removed_total", "socket=\"intake\"", "Peers that went away, by socket") \
	X(PIPES_REMOVED_OUTBOX, "spreader_pipes_removed_total", "socket=\"outbox\"", "Peers that went away, by socket") \
	X(PIPES_REMOVED_ACK,  "spreader_pipes_removed_total", "socket=\"ack\"", "Peers that went away, by socket") \
	X(PIPES_REMOVED_CONTROL, "spreader_pipes_removed_total", "socket=\"control\"", "Peers that went away, by socket") \
	X(PEERS_CUT_TOO_LARGE, "spreader_peers_cut_total", "why=\"too_large\"", "Connections cut by us, by cause") \
	X(PEERS_CUT_MALFORMED, "spreader_peers_cut_total", "why=\"malformed\"", "Connections cut by us, by cause") \
	X(PEERS_CUT_LIMIT,    "spreader_peers_cut_total", "why=\"max_peers\"", "Connections cut by us, by cause") \
	X(LISTENER_REVIVALS,  "spreader_listener_revivals_total", "", "Listeners closed and opened anew, or bound again, because they took no connections") \
	X(CONTROL_REQUESTS,   "spreader_control_requests_total", "", "Control requests") \
	X(CONTROL_ERRORS,     "spreader_control_errors_total", "", "Control requests answered with an error") \
	X(CHANGES_SUBSCRIBE,  "spreader_subscription_changes_total", "op=\"subscribe\"", "Subscription changes, by operation") \
	X(CHANGES_UNSUBSCRIBE, "spreader_subscription_changes_total", "op=\"unsubscribe\"", "Subscription changes, by operation") \
	X(CHANGES_IMPORT,     "spreader_subscription_changes_total", "op=\"import\"", "Subscription changes, by operation") \
	X(CHANGES_EXPIRE,     "spreader_subscription_changes_total", "op=\"expire\"", "Subscription changes, by operation") \
	X(STORE_ERRORS,       "spreader_store_errors_total", "", "Failed store operations") \
	X(STORE_COMMITS,      "spreader_store_commits_total", "", "Committed store transactions") \
	X(STORE_BROKEN_RECORDS, "spreader_store_broken_records_total", "", "Stored subscriptions that could not be used") \
	X(LOG_SUPPRESSED,     "spreader_log_suppressed_total", "", "Log events held back by the rate limit")
/* clang-format on */

typedef enum spr_counter {
#define X(name, metric, labels, help) SPR_C_##name,
	SPR_COUNTERS(X)
#undef X
	    SPR_N_COUNTERS
} spr_counter;

typedef struct spr_counter_info {
	const char *metric; /* without labels */
	const char *labels; /* "" or key="value" */
	const char *name;   /* metric{labels}: the key in stats */
	const char *help;
} spr_counter_info;

extern const spr_counter_info spr_counter_table[SPR_N_COUNTERS];

/* [any] */
void spr_count_add(spr_counter counter, uint64_t n);
static inline void
spr_count(spr_counter counter)
{
	spr_count_add(counter, 1);
}
/* [any] The sum over all threads, now. */
uint64_t spr_counter_sum(spr_counter counter);
