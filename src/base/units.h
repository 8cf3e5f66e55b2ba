/*
 * units - numbers as people write them: "1024", "64KiB", "250ms". Pure functions, [any].
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SPR_UNITS_TEXT_MAX 32

/* Each takes the whole text and no sign, blank or fraction; false when it is none or does not fit
 * 64 bits. */
bool spr_units_parse_count(const char *text, uint64_t *count);
/* Bytes; suffix none, KiB, MiB, GiB or TiB. */
bool spr_units_parse_size(const char *text, uint64_t *bytes);
/* Nanoseconds; suffix us, ms, s, m, h or d; only 0 may stand without one. */
bool spr_units_parse_duration(const char *text, uint64_t *ns);

/* The same value in its largest unit without remainder: "256MiB", "1000", "90s". out:
 * SPR_UNITS_TEXT_MAX bytes. */
void spr_units_format_size(uint64_t bytes, char *out);
/* What is below a microsecond is dropped. */
void spr_units_format_duration(uint64_t ns, char *out);
