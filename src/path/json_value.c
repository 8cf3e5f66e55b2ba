/*
 * json_value - the strict skip of the scanner: validates a value and says where it ends.
 *
 * There is no recursion: what is open is one byte a level, the bracket that will close it, so a
 * hostile depth costs SPR_SCAN_DEPTH bytes of stack and no more. Numbers stay text; their only
 * property that matters is whether they are 0.
 *
 * Tried and not kept: one bit a level (no faster, 2 to 4 more operations a bracket); a first string
 * step of 32 bytes (17 to 25 % slower: strings of notifications are short); one copy of the member
 * loop for each kind of object (within the noise).
 */
#include "path/json_value.h"

#include <string.h>

#include "path/scan.h"

static bool
is_digit(const uint8_t *p, const uint8_t *end)
{
	return (p < end && *p >= '0' && *p <= '9');
}

static const uint8_t *
skip_digits(const uint8_t *p, const uint8_t *end)
{
	while (is_digit(p, end))
		p++;
	return (p);
}

/* The longest number at p, so that "1.x" is 1 and "01" is 0: what follows is the caller's to judge.
 */
static const uint8_t *
skip_number(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *q;

	if (*p == '-')
		p++;
	if (!is_digit(p, end))
		return (NULL);
	p = *p == '0' ? p + 1 : skip_digits(p + 1, end);
	if (p < end && *p == '.' && is_digit(p + 1, end))
		p = skip_digits(p + 2, end);
	if (p < end && (*p | 0x20) == 'e') {
		q = p + 1;
		if (q < end && (*q == '+' || *q == '-'))
			q++;
		if (is_digit(q, end))
			p = skip_digits(q + 1, end);
	}
	return (p);
}

static const uint8_t *
skip_literal(const uint8_t *p, const uint8_t *end, const char *literal, size_t len)
{
	return ((size_t)(end - p) >= len && memcmp(p, literal, len) == 0 ? p + len : NULL);
}

static const uint8_t *
skip_scalar(const uint8_t *p, const uint8_t *end)
{
	bool escaped;

	if (p == end)
		return (NULL);
	switch (*p) {
	case '"':
		return (spr_json_string(p + 1, end, &escaped));
	case 't':
		return (skip_literal(p, end, "true", 4));
	case 'f':
		return (skip_literal(p, end, "false", 5));
	case 'n':
		return (skip_literal(p, end, "null", 4));
	default:
		return (skip_number(p, end));
	}
}

/* A member's name and its colon. */
static const uint8_t *
skip_name(const uint8_t *p, const uint8_t *end)
{
	bool escaped;

	if (p == end || *p != '"' || (p = spr_json_string(p + 1, end, &escaped)) == NULL)
		return (NULL);
	return (spr_json_colon(p, end));
}

const uint8_t *
spr_json_value(const uint8_t *p, const uint8_t *end, unsigned depth)
{
	uint8_t closer[SPR_SCAN_DEPTH + 1];
	const unsigned outside = depth;

	for (;;) {
		if (p < end && (*p == '{' || *p == '[')) {
			if (depth == SPR_SCAN_DEPTH)
				return (NULL);
			closer[++depth] = *p + 2; /* '{' + 2 is '}', '[' + 2 is ']' */
			p = spr_json_space(p + 1, end);
			if (p == end)
				return (NULL);
			if (*p != closer[depth]) {
				if (closer[depth] == '}' && (p = skip_name(p, end)) == NULL)
					return (NULL);
				continue;
			}
		} else if ((p = skip_scalar(p, end)) == NULL) {
			return (NULL);
		}
		for (;;) { /* a value has ended here, or an empty container is about to */
			if (depth == outside)
				return (p);
			p = spr_json_space(p, end);
			if (p == end)
				return (NULL);
			if (*p != closer[depth])
				break;
			depth--;
			p++;
		}
		if (*p != ',')
			return (NULL);
		p = spr_json_space(p + 1, end);
		if (closer[depth] == '}' && (p = skip_name(p, end)) == NULL)
			return (NULL);
	}
}

const uint8_t *
spr_json_space_rest(const uint8_t *p, const uint8_t *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	return (p);
}

static bool
is_between(uint8_t c, uint8_t low, uint8_t high)
{
	return (c >= low && c <= high);
}

/* One character that is not ASCII: no overlong form, no surrogate, nothing over U+10FFFF. */
static const uint8_t *
skip_wide(const uint8_t *p, const uint8_t *end)
{
	size_t left = (size_t)(end - p);

	if (is_between(*p, 0xC2, 0xDF))
		return (left >= 2 && is_between(p[1], 0x80, 0xBF) ? p + 2 : NULL);
	if (is_between(*p, 0xE0, 0xEF))
		return (
		    left >= 3 &&
			    is_between(p[1], *p == 0xE0 ? 0xA0 : 0x80, *p == 0xED ? 0x9F : 0xBF) &&
			    is_between(p[2], 0x80, 0xBF)
			? p + 3
			: NULL);
	if (is_between(*p, 0xF0, 0xF4))
		return (
		    left >= 4 &&
			    is_between(p[1], *p == 0xF0 ? 0x90 : 0x80, *p == 0xF4 ? 0x8F : 0xBF) &&
			    is_between(p[2], 0x80, 0xBF) && is_between(p[3], 0x80, 0xBF)
			? p + 4
			: NULL);
	return (NULL);
}

static bool
is_hex(uint8_t c)
{
	return (is_between(c, '0', '9') || is_between(c | 0x20, 'a', 'f'));
}

/* p is at a backslash. */
static const uint8_t *
skip_escape(const uint8_t *p, const uint8_t *end)
{
	if (end - p < 2)
		return (NULL);
	switch (p[1]) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return (p + 2);
	case 'u':
		return (end - p >= 6 && is_hex(p[2]) && is_hex(p[3]) && is_hex(p[4]) && is_hex(p[5])
			    ? p + 6
			    : NULL);
	default:
		return (NULL);
	}
}

const uint8_t *
spr_json_string_rest(const uint8_t *p, const uint8_t *end, bool *escaped)
{
	unsigned stops;

	while (p != NULL && p < end) {
		if (*p == '"')
			return (p + 1);
		if (*p == '\\') {
			*escaped = true;
			p = skip_escape(p, end);
		} else if (*p >= 0x80) {
			p = skip_wide(p, end);
		} else if (*p < 0x20) {
			return (NULL);
		} else if (end - p >= 16) {
			stops = spr_json_stops(p);
			p += stops == 0 ? 16 : __builtin_ctz(stops);
		} else {
			p++;
		}
	}
	return (NULL);
}

/*
 * Nothing but a number equal to 0 is false, and a double that underflows is 0.0: at or under half
 * of the least one, 2^-1075. A number that agrees with it in all the digits here counts as 0; it
 * has 751 of them in truth.
 */
static bool
is_nonzero_after_rounding(const uint8_t *first, const uint8_t *mantissa_end)
{
	static const char half_of_least[] = "2470328229206232720882843964341106861825";

	for (const char *limit = half_of_least; *limit != '\0'; limit++) {
		if (first < mantissa_end && *first == '.')
			first++;
		int digit = first < mantissa_end ? *first++ - '0' : 0;
		if (digit != *limit - '0')
			return (digit > *limit - '0');
	}
	return (false);
}

static int64_t
read_exponent(const uint8_t *p, const uint8_t *end)
{
	int64_t value = 0;
	bool negative = p < end && *p == '-';

	if (p < end && (*p == '-' || *p == '+'))
		p++;
	/* saturates far beyond what digits of a message can make up for */
	for (; p < end && value < INT64_C(1000000000000); p++)
		value = value * 10 + (*p - '0');
	return (negative ? -value : value);
}

static bool
is_number_truthy(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *first = NULL, *point = NULL, *mantissa_end = p;
	int64_t power; /* of ten, of the first digit that is not 0 */

	for (; mantissa_end < end && (*mantissa_end | 0x20) != 'e'; mantissa_end++) {
		if (*mantissa_end == '.')
			point = mantissa_end;
		else if (first == NULL && is_between(*mantissa_end, '1', '9'))
			first = mantissa_end;
	}
	if (first == NULL)
		return (false);
	if (point == NULL)
		point = mantissa_end;
	power = first < point ? point - first - 1 : point - first;
	if (mantissa_end < end)
		power += read_exponent(mantissa_end + 1, end);
	return (power > -324 || (power == -324 && is_nonzero_after_rounding(first, mantissa_end)));
}

bool
spr_json_is_truthy(const uint8_t *p, const uint8_t *end)
{
	switch (*p) {
	case 't':
		return (true);
	case 'f':
	case 'n':
		return (false);
	case '"':
		return (end - p > 2);
	case '{':
	case '[':
		return (*spr_json_space(p + 1, end) != *p + 2);
	default:
		return (is_number_truthy(p, end));
	}
}
