/*
 * units - one small table a kind, largest unit first, so that parsing and formatting cannot
 * disagree.
 */
#include "base/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

typedef struct unit {
	const char *suffix;
	uint64_t factor;
} unit;

static const unit size_units[] = {
    {"TiB", UINT64_C(1) << 40},
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"", 1},
    {NULL, 0},
};

static const unit duration_units[] = {
    {"d", 86400 * SPR_NS_PER_S},
    {"h", 3600 * SPR_NS_PER_S},
    {"m", 60 * SPR_NS_PER_S},
    {"s", SPR_NS_PER_S},
    {"ms", SPR_NS_PER_MS},
    {"us", 1000},
    {NULL, 0},
};

/* Reads the digits at the start; *rest is what follows them. */
static bool
parse_digits(const char *text, uint64_t *number, const char **rest)
{
	uint64_t n = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9'; at++) {
		if (__builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, (unsigned)(*at - '0'), &n))
			return (false);
	}
	*number = n;
	*rest = at;
	return (at != text);
}

static bool
parse_with(const unit *units, const char *text, uint64_t *value)
{
	uint64_t n = 0;
	const char *suffix = NULL;

	if (!parse_digits(text, &n, &suffix))
		return (false);
	for (; units->suffix != NULL; units++) {
		if (strcmp(units->suffix, suffix) == 0) {
			if (__builtin_mul_overflow(n, units->factor, &n))
				return (false);
			*value = n;
			return (true);
		}
	}
	return (false);
}

static void
format_with(const unit *units, uint64_t value, char *out)
{
	while (units[1].suffix != NULL && value % units->factor != 0)
		units++;
	snprintf(out, SPR_UNITS_TEXT_MAX, "%" PRIu64 "%s", value / units->factor, units->suffix);
}

bool
spr_units_parse_count(const char *text, uint64_t *count)
{
	uint64_t n = 0;
	const char *rest = NULL;

	if (!parse_digits(text, &n, &rest) || *rest != '\0')
		return (false);
	*count = n;
	return (true);
}

bool
spr_units_parse_size(const char *text, uint64_t *bytes)
{
	return (parse_with(size_units, text, bytes));
}

bool
spr_units_parse_duration(const char *text, uint64_t *ns)
{
	if (strcmp(text, "0") == 0) {
		*ns = 0;
		return (true);
	}
	return (parse_with(duration_units, text, ns));
}

void
spr_units_format_size(uint64_t bytes, char *out)
{
	if (bytes == 0)
		strcpy(out, "0");
	else
		format_with(size_units, bytes, out);
}

void
spr_units_format_duration(uint64_t ns, char *out)
{
	if (ns == 0)
		strcpy(out, "0");
	else
		format_with(duration_units, ns, out);
}
