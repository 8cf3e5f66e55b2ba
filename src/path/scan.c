/*
 * scan - reads one notification document in one pass: which members matter, and what they say.
 *
 * Three objects are looked into (envelope, body, message); everything else is skipped, though as
 * strictly. A member that comes again replaces what was learnt from the earlier one, so the pass
 * only notes ranges, and judges at the end.
 */
#include "path/scan.h"

#include <string.h>

#include "path/json_value.h"

/* What the object being read is. In a bare document there is no envelope. */
typedef enum object_kind { ENVELOPE, BODY, MESSAGE } object_kind;

/* A member's value; absent: at is NULL. */
typedef struct value {
	const uint8_t *at;
	const uint8_t *end;
	bool escaped; /* a string with backslashes */
} value;

typedef struct reader {
	const uint8_t *end;
	value id;
	value from;
	value body;
	value predicate;       /* of the body */
	value message;         /* of the body */
	value inner_predicate; /* of the message */
} reader;

#define LONGEST_NAME 9 /* "predicate" */

static value *
slot_of_plain(reader *r, object_kind kind, const uint8_t *name, size_t len)
{
	switch (len) {
	case 2:
		return (kind == ENVELOPE && memcmp(name, "id", 2) == 0 ? &r->id : NULL);
	case 4:
		if (kind != ENVELOPE)
			return (NULL);
		if (memcmp(name, "body", 4) == 0)
			return (&r->body);
		return (memcmp(name, "from", 4) == 0 ? &r->from : NULL);
	case 7:
		return (kind == BODY && memcmp(name, "message", 7) == 0 ? &r->message : NULL);
	case 9:
		if (kind == ENVELOPE || memcmp(name, "predicate", 9) != 0)
			return (NULL);
		return (kind == BODY ? &r->predicate : &r->inner_predicate);
	default:
		return (NULL);
	}
}

/* Where the member's value is noted; NULL: it does not matter. */
static value *
slot_of(reader *r, object_kind kind, const uint8_t *name, size_t len, bool escaped)
{
	uint8_t decoded[LONGEST_NAME];
	bool has_lone_surrogate;

	if (!escaped)
		return (slot_of_plain(r, kind, name, len));
	len =
	    spr_scan_decode((spr_range){name, len}, decoded, sizeof(decoded), &has_lone_surrogate);
	return (slot_of_plain(r, kind, decoded, len));
}

static const uint8_t *read_object(reader *r, const uint8_t *p, unsigned depth, object_kind kind);

/* Also forgets what an earlier member of the same name held. */
static const uint8_t *
read_value(reader *r, value *slot, const uint8_t *p, unsigned depth)
{
	const uint8_t *end = r->end;

	if (slot == &r->body)
		r->predicate.at = r->message.at = r->inner_predicate.at = NULL;
	else if (slot == &r->message)
		r->inner_predicate.at = NULL;
	slot->at = p;
	if (p < end && *p == '"')
		p = spr_json_string(p + 1, end, &slot->escaped);
	else if (p < end && *p == '{' && slot == &r->body)
		p = read_object(r, p, depth, BODY);
	else if (p < end && *p == '{' && slot == &r->message)
		p = read_object(r, p, depth, MESSAGE);
	else
		p = spr_json_value(p, end, depth);
	slot->end = p;
	return (p);
}

/* p is at the brace; `depth` containers are open around it. At most three calls deep. */
static const uint8_t *
read_object(reader *r, const uint8_t *p, unsigned depth, object_kind kind)
{
	const uint8_t *end = r->end, *name;
	value *slot;
	bool escaped;

	p = spr_json_space(p + 1, end);
	if (p < end && *p == '}')
		return (p + 1);
	depth++;
	for (;;) {
		if (p == end || *p != '"')
			return (NULL);
		name = p + 1;
		if ((p = spr_json_string(name, end, &escaped)) == NULL)
			return (NULL);
		slot = slot_of(r, kind, name, (size_t)(p - 1 - name), escaped);
		if ((p = spr_json_colon(p, end)) == NULL)
			return (NULL);
		p = slot == NULL ? spr_json_value(p, end, depth) : read_value(r, slot, p, depth);
		if (p == NULL)
			return (NULL);
		p = spr_json_space(p, end);
		if (p == end)
			return (NULL);
		if (*p == '}')
			return (p + 1);
		if (*p != ',')
			return (NULL);
		p = spr_json_space(p + 1, end);
	}
}

static bool
is_string(const value *v)
{
	return (v->at != NULL && *v->at == '"');
}

static bool
is_object(const value *v)
{
	return (v->at != NULL && *v->at == '{');
}

static bool
is_truthy(const value *v)
{
	return (v->at != NULL && spr_json_is_truthy(v->at, v->end));
}

static spr_range
text_of(const value *v)
{
	return ((spr_range){v->at, (size_t)(v->end - v->at)});
}

static spr_range
between_quotes(const value *v)
{
	return ((spr_range){v->at + 1, (size_t)(v->end - v->at) - 2});
}

static bool
judge_envelope(const reader *r, spr_document *out)
{
	spr_range id;
	size_t decoded_len;

	if (!is_string(&r->id) || (r->from.at != NULL && !is_string(&r->from)))
		return (false);
	id = between_quotes(&r->id);
	decoded_len = r->id.escaped ? spr_scan_decoded_len(id) : id.len;
	if (decoded_len == 0 || decoded_len > SPREADER_ID_MAX)
		return (false);
	out->id = id;
	out->id_decoded_len = decoded_len;
	if ((out->has_from = r->from.at != NULL))
		out->from = between_quotes(&r->from);
	return (true);
}

/* Rule 1: the body's own predicate when truthy, else the message's when the message is an object.
 */
static spreader_reason
judge_predicate(const reader *r, spr_document *out)
{
	const value *predicate = &r->predicate;
	bool has_lone_surrogate;

	if (!is_truthy(predicate))
		predicate = &r->inner_predicate;
	if (!is_string(predicate) || !is_truthy(predicate))
		return (SPREADER_REASON_NO_PREDICATE);
	out->predicate = between_quotes(predicate);
	out->predicate_is_escaped = predicate->escaped;
	if (!predicate->escaped)
		return (SPREADER_REASON_NONE);
	(void)spr_scan_decode(out->predicate, NULL, SIZE_MAX, &has_lone_surrogate);
	return (has_lone_surrogate ? SPREADER_REASON_BAD_PREDICATE : SPREADER_REASON_NONE);
}

static spreader_reason
judge(const reader *r, spr_format format, spr_document *out)
{
	if (format == SPR_FORMAT_ENVELOPE && !judge_envelope(r, out))
		return (SPREADER_REASON_NO_ID);
	if (!is_object(&r->body))
		return (SPREADER_REASON_NO_PREDICATE);
	out->body = text_of(&r->body);
	out->payload_is_message = is_truthy(&r->message);
	out->payload = text_of(out->payload_is_message ? &r->message : &r->body);
	return (judge_predicate(r, out));
}

/* Where reading resumes after a document that is none. */
static const uint8_t *
behind_newline(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));

	return (newline != NULL ? newline + 1 : end);
}

size_t
spr_scan_document(const uint8_t *data, size_t len, spr_format format, spr_document *out)
{
	const uint8_t *end = data + len, *at = spr_json_space(data, end), *p;
	reader r = {.end = end};

	if (at == end)
		return (0);
	if (format == SPR_FORMAT_BARE)
		p = read_value(&r, &r.body, at, 0);
	else
		p = *at == '{' ? read_object(&r, at, 0, ENVELOPE) : spr_json_value(at, end, 0);
	*out = (spr_document){.reason = SPREADER_REASON_NOT_JSON};
	if (p == NULL)
		return ((size_t)(behind_newline(at, end) - data));
	out->whole = (spr_range){at, (size_t)(p - at)};
	out->reason = judge(&r, format, out);
	return ((size_t)(spr_json_space(p, end) - data));
}
