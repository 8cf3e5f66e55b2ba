/*
 * wire.h - what a peer needs to know: the codes that appear on the wire, and the default addresses.
 */
#pragma once

#define SPREADER_INTAKE_URL   "tcp://127.0.0.1:7710"
#define SPREADER_OUTBOX_URL   "tcp://127.0.0.1:7711"
#define SPREADER_RECEIPTS_URL "tcp://127.0.0.1:7712"
#define SPREADER_CONTROL_URL  "tcp://127.0.0.1:7713"
#define SPREADER_HTTP_ADDRESS "127.0.0.1:7714"

/* Why a notification was not done: name on the wire, whether upstream should try again, detail. */
/* clang-format off */
#define SPREADER_REASONS(X)                                                                              \
	X(NOT_JSON,        "not_json",        0, "the document is not RFC 8259 JSON in UTF-8, or nested too deep") \
	X(NO_ID,           "no_id",           0, "no object, no id of 1 to 256 bytes, or an unknown from")        \
	X(NO_PREDICATE,    "no_predicate",    0, "the body is no object or has no non-empty string predicate")   \
	X(BAD_PREDICATE,   "bad_predicate",   0, "the predicate cannot be normalised")                           \
	X(TOO_LARGE,       "too_large",       0, "the document or one of its jobs is over its limit")            \
	X(OVERLOAD,        "overload",        1, "out of memory or too many callbacks")                          \
	X(PUSH_FAILED,     "push_failed",     1, "a job could not be pushed to the outbox")                      \
	X(RECEIPT_TIMEOUT, "receipt_timeout", 1, "a receipt did not arrive in time")                             \
	X(RECEIPT_ERROR,   "receipt_error",   1, "a delivery worker reported an error")                          \
	X(SHUTTING_DOWN,   "shutting_down",   1, "the daemon is draining")                                       \
	X(NO_SUBSCRIBERS,  "no_subscribers",  0, "nobody is subscribed")                                         \
	X(REFUSED,         "refused",         0, "upstream refused the answer ten times")
/* clang-format on */

typedef enum spreader_reason {
	SPREADER_REASON_NONE, /* done: an ack */
#define X(name, code, retry, detail) SPREADER_REASON_##name,
	SPREADER_REASONS(X)
#undef X
	    SPREADER_N_REASONS
} spreader_reason;

/*
 * A job's id is "<instance>-<hex>": the boot id of the daemon that sent it, and 32 hex digits that are the same on every
 * attempt, boot and dispatcher, so a worker drops copies by the part behind the dash. With H = XXH3 of 128 bits, seed 0,
 * written low half first, each half little-endian, in every input:
 *
 *   N   = H(length of from: two bytes, little-endian; from; id of the notification)      from is empty when there is none
 *   C   = H(callback)
 *   hex = H(N C), here the high half first: the number as one reads it
 *
 * A receipt echoes the whole id.
 */
#define SPREADER_JOB_HEX 32

/* The largest id of a notification and of a job, in bytes. */
#define SPREADER_ID_MAX     256
#define SPREADER_JOB_ID_MAX 64
