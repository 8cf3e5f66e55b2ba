/*
 * counters - the one table of counters, gauges and histograms; names, help, stats and metrics are derived from it.
 *
 * Each thread counts in its own padded block (made on its first count), so counting is a plain add on a private line;
 * a sum reads all blocks. Blocks of ended threads are kept: a total never goes back. Histograms live in the same blocks.
 * Gauges have no memory: they are read where they are known, when somebody asks.
 *
 * A histogram is log-linear: four buckets to each power of two, so a value is known to a quarter of itself. What is
 * shown outside are sums up to powers of two, which are exact: a bucket holds the values above its lower bound, up to
 * and with its upper one.
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
	X(NACKED_RECEIPT_TIMEOUT, "spreader_nacked_total", "reason=\"receipt_timeout\"", "Notifications not done, by reason") \
	X(NACKED_RECEIPT_ERROR, "spreader_nacked_total", "reason=\"receipt_error\"", "Notifications not done, by reason") \
	X(NACKED_SHUTTING_DOWN, "spreader_nacked_total", "reason=\"shutting_down\"", "Notifications not done, by reason") \
	X(NACKED_NO_SUBSCRIBERS, "spreader_nacked_total", "reason=\"no_subscribers\"", "Notifications not done, by reason") \
	X(REJECTED_NOT_JSON,  "spreader_rejected_total", "reason=\"not_json\"", "Documents without an id to answer, by reason") \
	X(REJECTED_NO_ID,     "spreader_rejected_total", "reason=\"no_id\"", "Documents without an id to answer, by reason") \
	X(DEAD_LETTERS,       "spreader_dead_letters_total", "", "Documents and ids given up for good") \
	X(DEAD_LETTER_ERRORS, "spreader_dead_letter_errors_total", "", "Dead letters that could not be written") \
	X(JOBS_POSTED,        "spreader_jobs_posted_total", "", "Jobs that a worker's connection took") \
	X(JOBS_FAILED,        "spreader_jobs_failed_total", "", "Jobs that could not be posted") \
	X(JOB_BYTES,          "spreader_job_bytes_total", "", "Bytes of jobs that a worker's connection took") \
	X(JOBS_CONFIRMED,     "spreader_jobs_confirmed_total", "", "Jobs whose receipt came, in time or late") \
	X(JOBS_UNCONFIRMED,   "spreader_jobs_unconfirmed_total", "", "Jobs whose receipt did not come in time") \
	X(JOBS_RESUMED,       "spreader_jobs_resumed_total", "", "Jobs not posted again: an earlier attempt brought their receipt") \
	X(RECEIPTS_TAKEN,     "spreader_receipts_total", "result=\"taken\"", "Receipts, by what they meant") \
	X(RECEIPTS_ERROR,     "spreader_receipts_total", "result=\"error\"", "Receipts, by what they meant") \
	X(RECEIPTS_LATE,      "spreader_receipts_total", "result=\"late\"", "Receipts, by what they meant") \
	X(RECEIPTS_AGAIN,     "spreader_receipts_total", "result=\"again\"", "Receipts, by what they meant") \
	X(RECEIPTS_STALE,     "spreader_receipts_total", "result=\"stale\"", "Receipts, by what they meant") \
	X(RECEIPTS_MISROUTED, "spreader_receipts_total", "result=\"misrouted\"", "Receipts, by what they meant") \
	X(RECEIPTS_BAD,       "spreader_receipts_total", "result=\"bad\"", "Receipts, by what they meant") \
	X(SUPPRESSED_EXPIRED, "spreader_suppressed_total", "why=\"expired\"", "Subscribers left out of a fan-out, by cause") \
	X(SUPPRESSED_DUPLICATE, "spreader_suppressed_total", "why=\"duplicate\"", "Subscribers left out of a fan-out, by cause") \
	X(ANSWER_REQUESTS,    "spreader_answer_requests_total", "", "Requests sent to upstreams with answers") \
	X(ANSWERS_ACCEPTED,   "spreader_answers_accepted_total", "", "Ids whose answer an upstream accepted") \
	X(ANSWER_REFUSALS,    "spreader_answer_failures_total", "cause=\"refused\"", "Answer requests that failed, by cause") \
	X(ANSWER_TIMEOUTS,    "spreader_answer_failures_total", "cause=\"no_reply\"", "Answer requests that failed, by cause") \
	X(WORKING,            "spreader_working_total", "", "Ids named to upstreams as worked on") \
	X(ANSWER_RETRIES,     "spreader_answer_retries_total", "", "Answer requests sent again") \
	X(RECEIVERS_PARKED,   "spreader_receivers_parked_total", "", "Times that a receiver stopped for back-pressure") \
	X(DISPATCHER_WAITS_SLOT, "spreader_dispatcher_waits_total", "for=\"send_slot\"", "Times that a dispatcher waited, by cause") \
	X(DISPATCHER_WAITS_BYTES, "spreader_dispatcher_waits_total", "for=\"job_bytes\"", "Times that a dispatcher waited, by cause") \
	X(DISPATCHER_WAITS_INFLIGHT, "spreader_dispatcher_waits_total", "for=\"inflight\"", "Times that a dispatcher waited, by cause") \
	X(DISPATCHER_WAITS_JOBS, "spreader_dispatcher_waits_total", "for=\"open_jobs\"", "Times that a dispatcher waited, by cause") \
	X(PIPES_ADDED_INTAKE, "spreader_pipes_added_total", "socket=\"intake\"", "Peers that connected, by socket") \
	X(PIPES_ADDED_OUTBOX, "spreader_pipes_added_total", "socket=\"outbox\"", "Peers that connected, by socket") \
	X(PIPES_ADDED_ACK,    "spreader_pipes_added_total", "socket=\"ack\"", "Peers that connected, by socket") \
	X(PIPES_ADDED_RECEIPTS, "spreader_pipes_added_total", "socket=\"receipts\"", "Peers that connected, by socket") \
	X(PIPES_ADDED_CONTROL, "spreader_pipes_added_total", "socket=\"control\"", "Peers that connected, by socket") \
	X(PIPES_REMOVED_INTAKE, "spreader_pipes_removed_total", "socket=\"intake\"", "Peers that went away, by socket") \
	X(PIPES_REMOVED_OUTBOX, "spreader_pipes_removed_total", "socket=\"outbox\"", "Peers that went away, by socket") \
	X(PIPES_REMOVED_ACK,  "spreader_pipes_removed_total", "socket=\"ack\"", "Peers that went away, by socket") \
	X(PIPES_REMOVED_RECEIPTS, "spreader_pipes_removed_total", "socket=\"receipts\"", "Peers that went away, by socket") \
	X(PIPES_REMOVED_CONTROL, "spreader_pipes_removed_total", "socket=\"control\"", "Peers that went away, by socket") \
	X(PEERS_CUT_TOO_LARGE, "spreader_peers_cut_total", "why=\"too_large\"", "Connections cut by us, by cause") \
	X(PEERS_CUT_MALFORMED, "spreader_peers_cut_total", "why=\"malformed\"", "Connections cut by us, by cause") \
	X(PEERS_CUT_LIMIT,    "spreader_peers_cut_total", "why=\"max_peers\"", "Connections cut by us, by cause") \
	X(PEERS_CUT_VANISHED, "spreader_peers_cut_total", "why=\"vanished\"", "Connections cut by us, by cause") \
	X(LISTENER_REVIVALS,  "spreader_listener_revivals_total", "", "Listeners closed and opened anew, or bound again, because they took no connections") \
	X(HTTP_CONNECTIONS_ADDED, "spreader_http_connections_opened_total", "", "HTTP connections taken") \
	X(HTTP_CONNECTIONS_REMOVED, "spreader_http_connections_closed_total", "", "HTTP connections ended, by either side") \
	X(HTTP_CUT,           "spreader_http_connections_cut_total", "", "HTTP connections ended because a request took too long") \
	X(HTTP_OK,            "spreader_http_requests_total", "result=\"ok\"", "HTTP requests answered, by result") \
	X(HTTP_REFUSED,       "spreader_http_requests_total", "result=\"refused\"", "HTTP requests answered, by result") \
	X(HTTP_FAILED,        "spreader_http_requests_total", "result=\"failed\"", "HTTP requests answered, by result") \
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

/* X(NAME, TYPE, metric, labels, help); a COUNTER here is one that somebody else counts */
#define SPR_GAUGES(X) \
	X(BUILD_INFO,         GAUGE, "spreader_build_info", "version=\"" SPR_VERSION "\"", "Always 1; its label says what runs") \
	X(UPTIME,             GAUGE, "spreader_uptime_seconds", "", "Time since the start") \
	X(READY,              GAUGE, "spreader_ready", "", "1 while /readyz says so") \
	X(IN_FLIGHT,          GAUGE, "spreader_in_flight", "", "Notifications in flight") \
	X(IN_FLIGHT_LIMIT,    GAUGE, "spreader_in_flight_limit", "", "Most notifications that can be in flight") \
	X(OLDEST,             GAUGE, "spreader_oldest_in_flight_timestamp_seconds", "", "When the oldest notification in flight was received; 0: there is none") \
	X(INTAKE_WAITING,     GAUGE, "spreader_intake_waiting", "", "Messages waiting for a dispatcher") \
	X(INTAKE_WAITING_LIMIT, GAUGE, "spreader_intake_waiting_limit", "", "Most messages that can wait for a dispatcher") \
	X(INTAKE_BYTES,       GAUGE, "spreader_intake_bytes", "", "Bytes of received messages that are not finished") \
	X(INTAKE_BYTES_LIMIT, GAUGE, "spreader_intake_bytes_limit", "", "Most bytes of received messages that are not finished") \
	X(PARKED_RECEIVERS,   GAUGE, "spreader_parked_receivers", "", "Receivers stopped for back-pressure now") \
	X(OUTBOX_BYTES,       GAUGE, "spreader_outbox_bytes", "", "Bytes of jobs that are not written") \
	X(OUTBOX_BYTES_LIMIT, GAUGE, "spreader_outbox_bytes_limit", "", "Most bytes of jobs that are not written") \
	X(PEERS_INTAKE,       GAUGE, "spreader_peers", "socket=\"intake\"", "Peers connected now, by socket") \
	X(PEERS_OUTBOX,       GAUGE, "spreader_peers", "socket=\"outbox\"", "Peers connected now, by socket") \
	X(PEERS_ACK,          GAUGE, "spreader_peers", "socket=\"ack\"", "Peers connected now, by socket") \
	X(PEERS_RECEIPTS,     GAUGE, "spreader_peers", "socket=\"receipts\"", "Peers connected now, by socket") \
	X(PEERS_CONTROL,      GAUGE, "spreader_peers", "socket=\"control\"", "Peers connected now, by socket") \
	X(ANSWERS_REMEMBERED, GAUGE, "spreader_answers_remembered", "", "Acked ids remembered") \
	X(ANSWERS_RESUMABLE,  GAUGE, "spreader_answers_resumable", "", "Nacked ids whose receipts are remembered for their next attempt") \
	X(OPEN_JOBS,          GAUGE, "spreader_open_jobs", "", "Jobs in the table of receipts: waiting for theirs, or remembered with it") \
	X(OPEN_JOBS_RESERVED, GAUGE, "spreader_open_jobs_reserved", "", "The same, with those that are about to be posted") \
	X(OPEN_JOBS_LIMIT,    GAUGE, "spreader_open_jobs_limit", "", "Most jobs in the table of receipts") \
	X(SUBSCRIPTIONS,      GAUGE, "spreader_subscriptions", "", "Subscriptions, expired ones too") \
	X(CALLBACKS,          GAUGE, "spreader_callbacks", "", "Distinct callbacks") \
	X(TRIE_NODES,         GAUGE, "spreader_trie_nodes", "", "Nodes of the trie of patterns") \
	X(SUBSCRIPTION_BYTES, GAUGE, "spreader_subscription_bytes", "", "Memory of trie and callbacks") \
	X(RETIRED_BYTES,      GAUGE, "spreader_retired_bytes", "", "Memory taken out of the trie that waits for readers to leave") \
	X(HTTP_CONNECTIONS,   GAUGE, "spreader_http_connections", "", "HTTP connections open now") \
	X(PROCESS_CPU,        COUNTER, "process_cpu_seconds_total", "", "Processor time of user and system") \
	X(PROCESS_START,      GAUGE, "process_start_time_seconds", "", "When the process started, in seconds since 1970") \
	X(PROCESS_VIRTUAL,    GAUGE, "process_virtual_memory_bytes", "", "Virtual memory") \
	X(PROCESS_RESIDENT,   GAUGE, "process_resident_memory_bytes", "", "Resident memory") \
	X(PROCESS_FDS,        GAUGE, "process_open_fds", "", "Open file descriptors") \
	X(PROCESS_FDS_LIMIT,  GAUGE, "process_max_fds", "", "Most file descriptors that can be open") \
	X(PROCESS_THREADS,    GAUGE, "process_threads", "", "Threads")

/*
 * X(NAME, metric, labels, UNIT, first, step, n, help); a UNIT of NS is recorded in nanoseconds and shown in seconds.
 * Shown are the counts up to 2^first, 2^(first + step), ... n of them.
 */
#define SPR_HISTOGRAMS(X) \
	X(STAGE_QUEUE,   "spreader_stage_seconds", "stage=\"queue\"", NS, 10, 2, 13, "Time of each stage: queue, of a message until its dispatcher; resolve, of a document, measured once a turn; push, until the last job was written (has its receipt); ack, until upstream accepted the answer") \
	X(STAGE_RESOLVE, "spreader_stage_seconds", "stage=\"resolve\"", NS, 10, 2, 13, "Time of each stage: queue, of a message until its dispatcher; resolve, of a document, measured once a turn; push, until the last job was written (has its receipt); ack, until upstream accepted the answer") \
	X(STAGE_PUSH,    "spreader_stage_seconds", "stage=\"push\"", NS, 10, 2, 13, "Time of each stage: queue, of a message until its dispatcher; resolve, of a document, measured once a turn; push, until the last job was written (has its receipt); ack, until upstream accepted the answer") \
	X(STAGE_CONFIRM, "spreader_stage_seconds", "stage=\"confirm\"", NS, 10, 2, 13, "Time of each stage: queue, of a message until its dispatcher; resolve, of a document, measured once a turn; push, until the last job was written (has its receipt); ack, until upstream accepted the answer") \
	X(STAGE_ACK,     "spreader_stage_seconds", "stage=\"ack\"", NS, 10, 2, 13, "Time of each stage: queue, of a message until its dispatcher; resolve, of a document, measured once a turn; push, until the last job was written (has its receipt); ack, until upstream accepted the answer") \
	X(NOTIFICATION,  "spreader_notification_seconds", "", NS, 10, 2, 13, "Time of a whole notification, from its receipt to the accepted answer, or to its last job when nobody is answered") \
	X(MATCHED,       "spreader_matched_subscribers", "", ONE, 0, 2, 11, "Callbacks of a notification") \
	X(PAYLOAD,       "spreader_payload_bytes", "", ONE, 6, 2, 8, "Size of the payload of a notification with subscribers")
/* clang-format on */

typedef enum spr_counter {
#define X(name, metric, labels, help) SPR_C_##name,
	SPR_COUNTERS(X)
#undef X
	    SPR_N_COUNTERS
} spr_counter;

typedef enum spr_gauge {
#define X(name, type, metric, labels, help) SPR_G_##name,
	SPR_GAUGES(X)
#undef X
	    SPR_N_GAUGES
} spr_gauge;

typedef enum spr_histogram {
#define X(name, metric, labels, unit, first, step, n, help) SPR_H_##name,
	SPR_HISTOGRAMS(X)
#undef X
	    SPR_N_HISTOGRAMS
} spr_histogram;

typedef enum spr_gauge_type { SPR_GAUGE_GAUGE, SPR_GAUGE_COUNTER } spr_gauge_type;
typedef enum spr_unit { SPR_UNIT_ONE, SPR_UNIT_NS } spr_unit;

typedef struct spr_counter_info {
	const char *metric; /* without labels */
	const char *labels; /* "" or key="value" */
	const char *name;   /* metric{labels}: the key in stats */
	const char *help;
} spr_counter_info;

typedef struct spr_gauge_info {
	const char *metric;
	const char *labels;
	const char *name;
	const char *help;
	spr_gauge_type type;
} spr_gauge_info;

typedef struct spr_histogram_info {
	const char *metric;
	const char *labels;
	const char *help;
	spr_unit unit;
	unsigned first; /* powers of two */
	unsigned step;
	unsigned n;
} spr_histogram_info;

extern const spr_counter_info spr_counter_table[SPR_N_COUNTERS];
extern const spr_gauge_info spr_gauge_table[SPR_N_GAUGES];
extern const spr_histogram_info spr_histogram_table[SPR_N_HISTOGRAMS];

/* [any] */
void spr_count_add(spr_counter counter, uint64_t n);
static inline void
spr_count(spr_counter counter)
{
	spr_count_add(counter, 1);
}
/* [any] The sum over all threads, now. */
uint64_t spr_counter_sum(spr_counter counter);

#define SPR_HISTOGRAM_BUCKETS 168 /* values up to 2^43; larger ones are in the last */

typedef struct spr_histogram_sum {
	uint64_t bucket[SPR_HISTOGRAM_BUCKETS];
	uint64_t sum; /* of the values */
	uint64_t n;   /* of values: all buckets together */
} spr_histogram_sum;

/* [any] */
void spr_histogram_add(spr_histogram histogram, uint64_t value);
/* [any] All threads together, now. */
void spr_histogram_read(spr_histogram histogram, spr_histogram_sum *out);
/* [any] The largest value of a bucket. */
uint64_t spr_histogram_bound(unsigned bucket);
/* [any] Values of at most 2^power. */
uint64_t spr_histogram_up_to(const spr_histogram_sum *sum, unsigned power);
