/*
 * predicate - normalises predicates and patterns (contract section 4, rules 2 and 8).
 *
 * Reject empty, '/', and a trailing '*' not preceded by '.'; drop one trailing '.', then one trailing '*'; upper-case
 * (full Unicode, locale-free, as Python's str.upper()); split on '.'; drop empty segments.
 * No memory, no state: everything is in the caller's struct, which after an error holds nothing of use. The texts need
 * no NUL after them. Pure functions, [any].
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

#define SPR_PREDICATE_BYTES    1024 /* after normalising, dots between segments included */
#define SPR_PREDICATE_SEGMENTS 64

typedef struct spr_predicate {
	uint16_t len;        /* bytes of text */
	uint16_t n_segments; /* 0: matches only the catch-all layer */
	/* end[i]: offset just past segment i; segment i+1 starts at end[i] + 1 */
	uint16_t end[SPR_PREDICATE_SEGMENTS];
	/* normalised segments joined by '.', NUL-terminated */
	char text[SPR_PREDICATE_BYTES + 1];
} spr_predicate;

/*
 * As the predicate of a notification. text is UTF-8, checked here; a lone surrogate or bad UTF-8 is an error.
 * SPR_E_BAD_PREDICATE, with a trail that names the rule. "*" alone is refused; "." and "*." give no segments.
 */
spr_err spr_predicate_normalise(spr_predicate *out, const char *text, size_t len);

/*
 * As the pattern of a subscription: rule 8 on the text as given (no empty segment, at most one '*', only as the last
 * segment; '*' alone gives no segments and needs allow_catch_all), then rule 2. SPR_E_BAD_PATTERN with a trail.
 */
spr_err
spr_pattern_normalise(spr_predicate *out, const char *text, size_t len, bool allow_catch_all);

/* How list, lookup and export print it: segments joined by '.', the catch-all as "*". */
const char *spr_pattern_text(const spr_predicate *pattern);

/* Callback rule: http or https, with a host. SPR_E_BAD_CALLBACK with a trail. */
spr_err spr_callback_check(const char *text, size_t len);
#define SPR_CALLBACK_MAX 4096

/* Upper-cases one code point into at most 3; returns how many (upper.c, generated table behind it). */
unsigned spr_upper(uint32_t code_point, uint32_t out[3]);
