/*
 * answer_text - the text of an answer request, and whether its reply accepts it.
 *
 * Pure functions and one growing buffer; [ledger] owns the buffer, accepted() is for [any].
 */
#pragma once

#include "path/notification.h"

typedef struct spr_text {
	uint8_t *data;
	size_t len;
	size_t capacity;
} spr_text;

/* Writes {"instance":...,"ack":[...],"nack":[...]} for a chain of notifications linked by next.
 * SPR_E_NOMEM. */
spr_err spr_answer_write(spr_text *text, const char *instance, const spr_notification *chain);
/* Writes {"instance":...,"working":[...]} for one. SPR_E_NOMEM. */
spr_err
spr_answer_write_working(spr_text *text, const char *instance, const spr_notification *chain);
/* Frees the buffer. */
void spr_text_fini(spr_text *text);

/* Accepted = a JSON object without "ok":false. */
bool spr_answer_is_accepted(const uint8_t *reply, size_t len);

/* The wire code of a reason ("too_large"), whether upstream should try again, a sentence. */
const char *spr_reason_code(spreader_reason reason);
bool spr_reason_is_retry(spreader_reason reason);
const char *spr_reason_detail(spreader_reason reason);
