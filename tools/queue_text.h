/*
 * queue_text - the queue's wire formats: submitted documents, answer requests and envelopes, as byte ranges, so that a body
 * comes out as it went in.
 *
 * Pure functions and one growing buffer. Errors are SPR_E_INVALID or SPR_E_TOO_LARGE with a trail that names the fault.
 *
 * Threads     one at a time for each buffer
 */
#pragma once

#include "path/scan.h"

#include "base/error.h"
#include "queue_store.h"

/* Grows as it is written; the first failure to get memory is kept, and the text is not to be used then. */
typedef struct queue_text {
	uint8_t *data;
	size_t len, capacity;
	bool has_failed;
} queue_text;

void queue_text_add(queue_text *text, const void *bytes, size_t len);
void queue_text_put(queue_text *text, const char *s);
/* As a JSON string. */
void queue_text_quote(queue_text *text, queue_bytes bytes);
void queue_text_number(queue_text *text, long long number);
void queue_text_fini(queue_text *text);

/* The next document of a message: *body verbatim, its id between the quotes (at NULL: it has none). data[0..len) begins
 * with it. *used: what it and the white space behind it take. SPR_E_NOT_FOUND: only white space was left. */
spr_err queue_read_submit(const uint8_t *data, size_t len, size_t max_body, size_t *used,
			  spr_range *id, queue_bytes *body);

typedef enum queue_answer_kind { QUEUE_ACK, QUEUE_NACK, QUEUE_WORKING } queue_answer_kind;

typedef struct queue_answer {
	queue_answer_kind kind;
	queue_bytes id; /* decoded */
	bool is_retry;
	spr_range reason, detail; /* of a nack, between the quotes; at NULL: none */
} queue_answer;

/* Calls on_answer for each id of a request. Whatever it returns other than SPR_OK ends the reading. An id that no notification
 * can have is skipped. */
spr_err queue_read_answers(const uint8_t *data, size_t len,
			   spr_err (*on_answer)(void *arg, const queue_answer *answer), void *arg);

/* Decodes the text between quotes; at most max bytes of it (a reason that is too long is cut to nothing: false). */
bool queue_decode(spr_range text, uint8_t *out, size_t max, size_t *len);

/* {"id":...,"body":...,"from":...}; from NULL: without. */
void queue_text_envelope(queue_text *text, queue_bytes id, queue_bytes body, const char *from);
