/*
 * json_strict - a lexical check before cJSON, which then has only the grammar left to judge.
 *
 * The check looks at what cJSON is lax about: bytes outside strings, string contents, numbers,
 * depth. Everything else (commas, colons, brackets that match) cJSON refuses by itself. Not the hot
 * path's scanner: that one is path/'s, and wants byte ranges, not a tree.
 */
#include "control/json_strict.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

/* Bytes of the UTF-8 character at p, 0 when it is none: no overlong forms, no surrogates, nothing
 * over U+10FFFF. */
static size_t
utf8_len(const uint8_t *p, size_t left)
{
	size_t n = p[0] < 0x80   ? 1
		   : p[0] < 0xc2 ? 0
		   : p[0] < 0xe0 ? 2
		   : p[0] < 0xf0 ? 3
		   : p[0] < 0xf5 ? 4
				 : 0;
	uint8_t low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
	uint8_t high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;

	if (n < 2) {
		return (n);
	}
	if (n > left || p[1] < low || p[1] > high) {
		return (0);
	}
	for (size_t i = 2; i < n; i++) {
		if (p[i] < 0x80 || p[i] > 0xbf) {
			return (0);
		}
	}
	return (n);
}

static bool
is_digit(const uint8_t *p, const uint8_t *end)
{
	return (p < end && *p >= '0' && *p <= '9');
}

/* Behind the escape at p (its backslash), NULL when it is none. */
static const uint8_t *
check_escape(const uint8_t *p, const uint8_t *end)
{
	uint32_t code = 0;

	if (end - p < 2) {
		return (NULL);
	}
	if (p[1] != 'u') {
		return (p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) != NULL ? p + 2 : NULL);
	}
	if (end - p < 6) {
		return (NULL);
	}
	for (int i = 2; i < 6; i++) {
		uint8_t c = p[i] | 0x20;

		if (!is_digit(p + i, end) && (c < 'a' || c > 'f')) {
			return (NULL);
		}
		code = code << 4 | (uint32_t)(is_digit(p + i, end) ? p[i] - '0' : c - 'a' + 10);
	}
	/* \u0000 would end the string for cJSON and whoever reads its text */
	return (code != 0 ? p + 6 : NULL);
}

/* Behind the string at p (its quote), NULL when it is none. */
static const uint8_t *
check_string(const uint8_t *p, const uint8_t *end)
{
	for (p++; p != NULL && p < end;) {
		size_t n = 0;

		if (*p == '"') {
			return (p + 1);
		}
		if (*p == '\\') {
			p = check_escape(p, end);
		} else if (*p < 0x20 || (n = utf8_len(p, (size_t)(end - p))) == 0) {
			return (NULL);
		} else {
			p += n;
		}
	}
	return (NULL);
}

static const uint8_t *
check_digits(const uint8_t *p, const uint8_t *end)
{
	if (!is_digit(p, end)) {
		return (NULL);
	}
	while (is_digit(p, end)) {
		p++;
	}
	return (p);
}

static const uint8_t *
check_number(const uint8_t *p, const uint8_t *end)
{
	if (*p == '-') {
		p++;
	}
	if (p < end && *p == '0') {
		if (is_digit(++p, end)) {
			return (NULL);
		}
	} else {
		p = check_digits(p, end);
	}
	if (p != NULL && p < end && *p == '.') {
		p = check_digits(p + 1, end);
	}
	if (p != NULL && p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-')) {
			p++;
		}
		p = check_digits(p, end);
	}
	return (p);
}

static bool
check_text(const uint8_t *p, const uint8_t *end)
{
	int depth = 0;

	while (p != NULL && p < end) {
		if (*p == '"') {
			p = check_string(p, end);
		} else if (*p == '-' || is_digit(p, end)) {
			p = check_number(p, end);
		} else if (*p == '\0' || strchr(" \t\r\n{}[],:aeflnrstu", *p) == NULL) {
			return (false);
		} else {
			depth += *p == '{' || *p == '[' ? 1 : *p == '}' || *p == ']' ? -1 : 0;
			if (depth > SPR_JSON_DEPTH) {
				return (false);
			}
			p++;
		}
	}
	return (p != NULL);
}

spr_err
spr_json_strict_parse(cJSON **out, const uint8_t *data, size_t len)
{
	if (!check_text(data, data + len)) {
		return (
		    spr_fail(SPR_E_NOT_JSON,
			     "not JSON in UTF-8, or a string holds \\u0000, or nested over %d deep",
			     SPR_JSON_DEPTH));
	}
	return (spr_json_parse(out, (const char *)data, len));
}

const cJSON *
spr_json_last(const cJSON *object, const char *name)
{
	const cJSON *member = NULL, *last = NULL;

	cJSON_ArrayForEach(member, object)
	{
		if (member->string != NULL && strcmp(member->string, name) == 0) {
			last = member;
		}
	}
	return (last);
}

bool
spr_json_add_u64(cJSON *object, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return (cJSON_AddRawToObject(object, name, text) != NULL);
}

void
spr_json_clean(char *text)
{
	uint8_t *p = (uint8_t *)text;
	size_t left = strlen(text);

	while (left > 0) {
		size_t n = utf8_len(p, left);

		if (n == 0) {
			*p = '?';
			n = 1;
		}
		p += n;
		left -= n;
	}
}
