/*
 * json_value - finds where a JSON value ends, and refuses what RFC 8259 and UTF-8 refuse. Knows no
 * member names.
 *
 * Every function takes the bytes [p, end) and reads none at or beyond end. Those that return a
 * pointer return NULL for text that is not well formed. Pure functions, [any]. The short ones are
 * inlined: most strings of a notification are done with one 16-byte compare, and a call would cost
 * more than that.
 */
#pragma once

#include <emmintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Out of line: what the inline functions leave over. */
const uint8_t *spr_json_string_rest(const uint8_t *p, const uint8_t *end, bool *escaped);
const uint8_t *spr_json_space_rest(const uint8_t *p, const uint8_t *end);

/* The value at p; `depth` containers are open around it. Its end is behind the longest text that
 * makes a value. */
const uint8_t *spr_json_value(const uint8_t *p, const uint8_t *end, unsigned depth);
/* Is the well-formed value [p, end) what Python calls true? */
bool spr_json_is_truthy(const uint8_t *p, const uint8_t *end);

/* Bit i is set when byte i ends a run of plain string bytes: quote, backslash, control, or not
 * ASCII (signed < 0x20). */
static inline unsigned
spr_json_stops(const uint8_t *p)
{
	__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
	__m128i backslash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
	__m128i low = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20));

	return ((unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), low)));
}

/* p is behind the opening quote; returns behind the closing one. *escaped is set when there are
 * backslashes. */
static inline const uint8_t *
spr_json_string(const uint8_t *p, const uint8_t *end, bool *escaped)
{
	unsigned stops;

	*escaped = false;
	while (end - p >= 16) {
		if ((stops = spr_json_stops(p)) != 0) {
			p += __builtin_ctz(stops);
			if (*p == '"')
				return (p + 1);
			break;
		}
		p += 16;
	}
	return (spr_json_string_rest(p, end, escaped));
}

/* Behind the white space, maybe at end. */
static inline const uint8_t *
spr_json_space(const uint8_t *p, const uint8_t *end)
{
	return (p < end && *p <= ' ' ? spr_json_space_rest(p, end) : p);
}

/* Behind a colon and the white space around it. */
static inline const uint8_t *
spr_json_colon(const uint8_t *p, const uint8_t *end)
{
	p = spr_json_space(p, end);
	return (p < end && *p == ':' ? spr_json_space(p + 1, end) : NULL);
}
