/*
 * queue_text - walks JSON that is known to be well formed: a document is checked as a whole first, and looked into then.
 */
#include "queue_text.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "path/json_value.h"

/* --- writing --- */

static bool
reserve(queue_text *text, size_t more)
{
	size_t capacity = text->capacity > 0 ? text->capacity : 4096;
	uint8_t *data = NULL;

	if (text->has_failed)
		return (false);
	if (text->len + more <= text->capacity)
		return (true);
	while (capacity < text->len + more)
		capacity *= 2;
	if ((data = spr_mem_realloc(text->data, capacity)) == NULL) {
		text->has_failed = true;
		return (false);
	}
	text->data = data;
	text->capacity = capacity;
	return (true);
}

void
queue_text_add(queue_text *text, const void *bytes, size_t len)
{
	if (len == 0 || !reserve(text, len))
		return;
	memcpy(text->data + text->len, bytes, len);
	text->len += len;
}

void
queue_text_put(queue_text *text, const char *s)
{
	queue_text_add(text, s, strlen(s));
}

void
queue_text_quote(queue_text *text, queue_bytes bytes)
{
	if (reserve(text, spr_json_quoted_len(bytes.at, bytes.len)))
		text->len += spr_json_quote(text->data + text->len, bytes.at, bytes.len);
}

void
queue_text_number(queue_text *text, long long number)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%lld", number);
	queue_text_put(text, digits);
}

void
queue_text_fini(queue_text *text)
{
	spr_mem_free(text->data);
	*text = (queue_text){.data = NULL};
}

void
queue_text_envelope(queue_text *text, queue_bytes id, queue_bytes body, const char *from)
{
	queue_text_put(text, "{\"id\":");
	queue_text_quote(text, id);
	queue_text_put(text, ",\"body\":");
	queue_text_add(text, body.at, body.len);
	if (from != NULL) {
		queue_text_put(text, ",\"from\":");
		queue_text_quote(text, (queue_bytes){(const uint8_t *)from, strlen(from)});
	}
	queue_text_put(text, "}\n");
}

/* --- walking --- */

/* Where in a well-formed object or array the walk is. */
typedef struct walk {
	const uint8_t *at, *end;
	bool is_object;
} walk;

static walk
walk_into(spr_range value)
{
	return ((walk){value.at + 1, value.at + value.len, value.at[0] == '{'});
}

/* The next member or element; name is between the quotes. */
static bool
walk_next(walk *w, spr_range *name, spr_range *value)
{
	const uint8_t *p = spr_json_space(w->at, w->end);
	bool escaped;

	if (p < w->end && *p == ',')
		p = spr_json_space(p + 1, w->end);
	if (*p == '}' || *p == ']')
		return (false);
	if (w->is_object) {
		name->at = p + 1;
		p = spr_json_string(p + 1, w->end, &escaped);
		name->len = (size_t)(p - 1 - name->at);
		p = spr_json_colon(p, w->end);
	}
	value->at = p;
	w->at = spr_json_value(p, w->end, 1);
	value->len = (size_t)(w->at - p);
	return (true);
}

static bool
is_name(spr_range name, const char *wanted)
{
	uint8_t text[16];
	size_t len = 0;

	return (queue_decode(name, text, sizeof(text), &len) && len == strlen(wanted) &&
		memcmp(text, wanted, len) == 0);
}

/* What is between the quotes of a string; false: it is none. */
static bool
unquote(spr_range value, spr_range *text)
{
	if (value.len == 0 || value.at[0] != '"')
		return (false);
	*text = (spr_range){value.at + 1, value.len - 2};
	return (true);
}

bool
queue_decode(spr_range text, uint8_t *out, size_t max, size_t *len)
{
	bool has_lone_surrogate;
	size_t n = spr_scan_decode(text, out, max, &has_lone_surrogate);

	if (n == SIZE_MAX)
		return (false);
	*len = n;
	return (true);
}

/* --- submitted documents --- */

static spr_err
check_submit(spr_range id, spr_range body, size_t max_body, spr_range *id_text)
{
	size_t len = 0;

	if (body.at == NULL || body.at[0] != '{')
		return (spr_fail(SPR_E_INVALID, "\"body\" is no object"));
	if (body.len > max_body)
		return (spr_fail(SPR_E_TOO_LARGE, "\"body\" has %zu bytes, at most %zu are taken",
				 body.len, max_body));
	*id_text = (spr_range){NULL, 0};
	if (id.at == NULL)
		return (SPR_OK);
	if (!unquote(id, id_text) || (len = spr_scan_decoded_len(*id_text)) < 1 ||
	    len > SPREADER_ID_MAX)
		return (spr_fail(SPR_E_INVALID, "\"id\" is no string of 1 to %d bytes",
				 SPREADER_ID_MAX));
	return (SPR_OK);
}

spr_err
queue_read_submit(const uint8_t *data, size_t len, size_t max_body, size_t *used, spr_range *id,
		  queue_bytes *body)
{
	const uint8_t *end = data + len, *p = spr_json_space(data, end), *behind = NULL;
	spr_range name = {NULL, 0}, value, id_value = {NULL, 0}, body_value = {NULL, 0};
	walk w;
	spr_err rv = SPR_OK;

	if (p == end)
		return (SPR_E_NOT_FOUND);
	if ((behind = spr_json_value(p, end, 0)) == NULL)
		return (spr_fail(SPR_E_INVALID, "not JSON"));
	if (*p != '{')
		return (spr_fail(SPR_E_INVALID, "no object"));
	w = walk_into((spr_range){p, (size_t)(behind - p)});
	while (walk_next(&w, &name, &value)) {
		if (is_name(name, "id"))
			id_value = value;
		else if (is_name(name, "body"))
			body_value = value;
	}
	if ((rv = check_submit(id_value, body_value, max_body, id)) != SPR_OK)
		return (rv);
	*body = (queue_bytes){body_value.at, body_value.len};
	*used = (size_t)(spr_json_space(behind, end) - data);
	return (SPR_OK);
}

/* --- answer requests --- */

typedef struct answer_reader {
	spr_err (*on_answer)(void *arg, const queue_answer *answer);
	void *arg;
} answer_reader;

static spr_err
give(const answer_reader *r, spr_range id, queue_answer *answer)
{
	uint8_t bytes[SPREADER_ID_MAX];
	size_t len = 0;

	if (!queue_decode(id, bytes, sizeof(bytes), &len) || len == 0)
		return (SPR_OK);
	answer->id = (queue_bytes){bytes, len};
	return (r->on_answer(r->arg, answer));
}

static spr_err
read_ids(const answer_reader *r, spr_range list, queue_answer_kind kind)
{
	walk w = walk_into(list);
	spr_range name, value, id;
	queue_answer answer = {.kind = kind};
	spr_err rv = SPR_OK;

	while (rv == SPR_OK && walk_next(&w, &name, &value)) {
		if (!unquote(value, &id))
			return (spr_fail(SPR_E_INVALID, "an id in \"%s\" is no string",
					 kind == QUEUE_ACK ? "ack" : "working"));
		rv = give(r, id, &answer);
	}
	return (rv);
}

static spr_err
read_nack(const answer_reader *r, spr_range nack)
{
	queue_answer answer = {.kind = QUEUE_NACK, .is_retry = true};
	spr_range name = {NULL, 0}, value, id = {NULL, 0};
	bool has_id = false;
	walk w;

	if (nack.at[0] != '{')
		return (spr_fail(SPR_E_INVALID, "an element of \"nack\" is no object"));
	w = walk_into(nack);
	while (walk_next(&w, &name, &value)) {
		if (is_name(name, "id"))
			has_id = unquote(value, &id);
		else if (is_name(name, "retry"))
			answer.is_retry = value.at[0] != 'f'; /* only a plain false gives up */
		else if (is_name(name, "reason"))
			(void)unquote(value, &answer.reason);
		else if (is_name(name, "detail"))
			(void)unquote(value, &answer.detail);
	}
	if (!has_id)
		return (spr_fail(SPR_E_INVALID, "an element of \"nack\" has no string \"id\""));
	return (give(r, id, &answer));
}

static spr_err
read_nacks(const answer_reader *r, spr_range list)
{
	walk w = walk_into(list);
	spr_range name, value;
	spr_err rv = SPR_OK;

	while (rv == SPR_OK && walk_next(&w, &name, &value))
		rv = read_nack(r, value);
	return (rv);
}

spr_err
queue_read_answers(const uint8_t *data, size_t len,
		   spr_err (*on_answer)(void *arg, const queue_answer *answer), void *arg)
{
	static const char *const names[] = {"ack", "nack", "working"};
	const uint8_t *end = data + len, *p = spr_json_space(data, end), *behind = NULL;
	answer_reader r = {on_answer, arg};
	spr_range lists[3] = {{NULL, 0}}, name = {NULL, 0}, value;
	spr_err rv = SPR_OK;
	walk w;

	if (p == end || *p != '{' || (behind = spr_json_value(p, end, 0)) == NULL ||
	    spr_json_space(behind, end) != end)
		return (spr_fail(SPR_E_INVALID, "not one JSON object"));
	w = walk_into((spr_range){p, (size_t)(behind - p)});
	while (walk_next(&w, &name, &value)) {
		for (int i = 0; i < 3; i++) {
			if (is_name(name, names[i]))
				lists[i] = value;
		}
	}
	for (int i = 0; i < 3; i++) {
		if (lists[i].at != NULL && lists[i].at[0] != '[')
			return (spr_fail(SPR_E_INVALID, "\"%s\" is no array", names[i]));
	}
	/* an ack beats a nack of the same request by coming after it */
	if (lists[QUEUE_NACK].at != NULL)
		rv = read_nacks(&r, lists[QUEUE_NACK]);
	if (rv == SPR_OK && lists[QUEUE_ACK].at != NULL)
		rv = read_ids(&r, lists[QUEUE_ACK], QUEUE_ACK);
	if (rv == SPR_OK && lists[QUEUE_WORKING].at != NULL)
		rv = read_ids(&r, lists[QUEUE_WORKING], QUEUE_WORKING);
	return (rv);
}
