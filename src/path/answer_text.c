/*
 * answer_text - builds answer requests and reads their replies.
 *
 * The request is built into one buffer that keeps its size; ids are written as JSON strings from
 * their decoded bytes, so they come back to upstream equal whatever escapes it had used.
 *
 * A reply is read without memory: an accepted one must never look refused because memory was short,
 * or because it holds something that a more forgetful parser gives up on.
 */
#include "path/answer_text.h"

#include <string.h>

#include "path/json_value.h"
#include "path/scan.h"

typedef struct reason_info {
	const char *code;
	bool is_retry;
	const char *detail;
} reason_info;

static const reason_info reasons[SPREADER_N_REASONS] = {
    [SPREADER_REASON_NONE] = {"none", false, ""},
#define X(name, code_, retry_, detail_) [SPREADER_REASON_##name] = {code_, retry_, detail_},
    SPREADER_REASONS(X)
#undef X
};

const char *
spr_reason_code(spreader_reason reason)
{
	return (reasons[reason].code);
}

bool
spr_reason_is_retry(spreader_reason reason)
{
	return (reasons[reason].is_retry);
}

const char *
spr_reason_detail(spreader_reason reason)
{
	return (reasons[reason].detail);
}

static spr_err
reserve(spr_text *text, size_t more)
{
	size_t capacity = text->capacity > 0 ? text->capacity : 4096;
	uint8_t *data;

	if (text->len + more <= text->capacity)
		return (SPR_OK);
	while (capacity < text->len + more)
		capacity *= 2;
	if ((data = spr_mem_realloc(text->data, capacity)) == NULL)
		return (SPR_E_NOMEM);
	text->data = data;
	text->capacity = capacity;
	return (SPR_OK);
}

static spr_err
add(spr_text *text, const char *s)
{
	size_t len = strlen(s);

	if (reserve(text, len) != SPR_OK)
		return (SPR_E_NOMEM);
	memcpy(text->data + text->len, s, len);
	text->len += len;
	return (SPR_OK);
}

static spr_err
add_quoted(spr_text *text, const uint8_t *bytes, size_t len)
{
	if (reserve(text, spr_json_quoted_len(bytes, len)) != SPR_OK)
		return (SPR_E_NOMEM);
	text->len += spr_json_quote(text->data + text->len, bytes, len);
	return (SPR_OK);
}

static spr_err
add_nack(spr_text *text, const spr_notification *notification)
{
	spreader_reason reason = spr_notification_failure(notification);

	if (add(text, "{\"id\":") != SPR_OK ||
	    add_quoted(text, notification->id, notification->id_len) != SPR_OK ||
	    add(text, ",\"reason\":\"") != SPR_OK || add(text, spr_reason_code(reason)) != SPR_OK ||
	    add(text, spr_reason_is_retry(reason) ? "\",\"retry\":true" : "\",\"retry\":false") !=
		SPR_OK ||
	    add(text, ",\"detail\":\"") != SPR_OK || add(text, spr_reason_detail(reason)) != SPR_OK)
		return (SPR_E_NOMEM);
	return (add(text, "\"}"));
}

/* One of the two lists; left out when empty. */
static spr_err
add_list(spr_text *text, const char *name, const spr_notification *chain, bool acks)
{
	const char *before = name;

	for (; chain != NULL; chain = chain->next) {
		if ((spr_notification_failure(chain) == SPREADER_REASON_NONE) != acks)
			continue;
		if (add(text, before) != SPR_OK)
			return (SPR_E_NOMEM);
		if ((acks ? add_quoted(text, chain->id, chain->id_len) : add_nack(text, chain)) !=
		    SPR_OK)
			return (SPR_E_NOMEM);
		before = ",";
	}
	return (before == name ? SPR_OK : add(text, "]"));
}

static spr_err
begin(spr_text *text, const char *instance)
{
	text->len = 0;
	if (add(text, "{\"instance\":\"") != SPR_OK || add(text, instance) != SPR_OK)
		return (SPR_E_NOMEM);
	return (add(text, "\""));
}

spr_err
spr_answer_write(spr_text *text, const char *instance, const spr_notification *chain)
{
	if (begin(text, instance) != SPR_OK ||
	    add_list(text, ",\"ack\":[", chain, true) != SPR_OK ||
	    add_list(text, ",\"nack\":[", chain, false) != SPR_OK)
		return (SPR_E_NOMEM);
	return (add(text, "}"));
}

spr_err
spr_answer_write_working(spr_text *text, const char *instance, const spr_notification *chain)
{
	const char *before = ",\"working\":[";

	if (begin(text, instance) != SPR_OK)
		return (SPR_E_NOMEM);
	for (; chain != NULL; chain = chain->next, before = ",") {
		if (add(text, before) != SPR_OK ||
		    add_quoted(text, chain->id, chain->id_len) != SPR_OK)
			return (SPR_E_NOMEM);
	}
	return (add(text, "]}"));
}

void
spr_text_fini(spr_text *text)
{
	spr_mem_free(text->data);
	*text = (spr_text){0};
}

/* Is the name between the quotes "ok", however it is written? */
static bool
is_ok_name(spr_range name)
{
	uint8_t text[2];
	bool ignored;

	return (spr_scan_decode(name, text, sizeof(text), &ignored) == 2 &&
		memcmp(text, "ok", 2) == 0);
}

bool
spr_answer_is_accepted(const uint8_t *reply, size_t len)
{
	const uint8_t *end = reply + len, *p = spr_json_space(reply, end), *at;
	spr_document document;
	bool accepted = true, escaped, is_ok;

	/* one document, nothing behind it; from here on the text is known to be well formed */
	if (p == end || *p != '{' ||
	    spr_scan_document(reply, len, SPR_FORMAT_BARE, &document) != len ||
	    document.reason == SPREADER_REASON_NOT_JSON)
		return (false);
	for (p = spr_json_space(p + 1, end); *p != '}'; p = spr_json_space(p, end)) {
		at = *p == ',' ? spr_json_space(p + 1, end) : p;
		p = spr_json_string(at + 1, end, &escaped);
		is_ok = is_ok_name((spr_range){at + 1, (size_t)(p - at) - 2});
		at = spr_json_colon(p, end);
		p = spr_json_value(at, end, 1);
		if (is_ok)
			accepted = *at != 'f'; /* the last duplicate counts */
	}
	return (accepted);
}
