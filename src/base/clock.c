/*
 * clock - the two clocks, and RFC 3339 in and out. The calendar is the C library's; reading is
 * strict and locale-free.
 */
#include "base/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#define YEAR_0000 INT64_C(-62167219200) /* 0000-01-01T00:00:00Z */
#define YEAR_9999 INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

static uint64_t
read_ns(clockid_t clock)
{
	struct timespec now;
	uint64_t ns;

	clock_gettime(clock, &now);
	ns = (uint64_t)now.tv_sec * SPR_NS_PER_S + (uint64_t)now.tv_nsec;
	return (ns == 0 ? 1 : ns); /* 0 means "no deadline" to callers */
}

uint64_t
spr_clock_now_ns(void)
{
	return (read_ns(CLOCK_MONOTONIC));
}

uint64_t
spr_clock_coarse_ns(void)
{
	return (read_ns(CLOCK_MONOTONIC_COARSE));
}

int64_t
spr_clock_wall_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return ((int64_t)now.tv_sec);
}

void
spr_clock_format(int64_t wall_s, char *out)
{
	time_t t = (time_t)wall_s;
	struct tm tm;

	if (t < YEAR_0000)
		t = YEAR_0000;
	if (t > YEAR_9999)
		t = YEAR_9999;
	gmtime_r(&t, &tm);
	snprintf(out, SPR_CLOCK_TEXT_MAX, "%04u-%02u-%02uT%02u:%02u:%02uZ",
		 (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
		 (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
		 (unsigned)tm.tm_sec % 100);
}

/* Exactly n digits, at most max. */
static bool
read_number(const char **cursor, int n, int min, int max, int *out)
{
	int value = 0;

	for (int i = 0; i < n; i++) {
		char c = (*cursor)[i];

		if (c < '0' || c > '9')
			return (false);
		value = value * 10 + (c - '0');
	}
	*cursor += n;
	*out = value;
	return (value >= min && value <= max);
}

static bool
read_char(const char **cursor, char upper, char lower)
{
	if (**cursor != upper && **cursor != lower)
		return (false);
	(*cursor)++;
	return (true);
}

static bool
read_date(const char **cursor, struct tm *tm)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int year, month, day, last;

	if (!read_number(cursor, 4, 0, 9999, &year) || !read_char(cursor, '-', '-') ||
	    !read_number(cursor, 2, 1, 12, &month) || !read_char(cursor, '-', '-'))
		return (false);
	last = days[month - 1];
	if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
		last = 29;
	tm->tm_year = year - 1900;
	tm->tm_mon = month - 1;
	if (!read_number(cursor, 2, 1, last, &day))
		return (false);
	tm->tm_mday = day;
	return (true);
}

static bool
read_time(const char **cursor, struct tm *tm)
{
	/* second 60 is a leap second: it counts as the next one */
	if (!read_number(cursor, 2, 0, 23, &tm->tm_hour) || !read_char(cursor, ':', ':') ||
	    !read_number(cursor, 2, 0, 59, &tm->tm_min) || !read_char(cursor, ':', ':') ||
	    !read_number(cursor, 2, 0, 60, &tm->tm_sec))
		return (false);
	if (**cursor == '.') {
		int digit;

		(*cursor)++;
		if (!read_number(cursor, 1, 0, 9, &digit))
			return (false);
		while (**cursor >= '0' && **cursor <= '9')
			(*cursor)++;
	}
	return (true);
}

static bool
read_offset(const char **cursor, int64_t *offset_s)
{
	int sign = **cursor == '-' ? -1 : 1;
	int hours, minutes;

	if (read_char(cursor, 'Z', 'z')) {
		*offset_s = 0;
		return (true);
	}
	if (!read_char(cursor, '+', '-') || !read_number(cursor, 2, 0, 23, &hours) ||
	    !read_char(cursor, ':', ':') || !read_number(cursor, 2, 0, 59, &minutes))
		return (false);
	*offset_s = sign * (hours * INT64_C(3600) + minutes * INT64_C(60));
	return (true);
}

_Bool
spr_clock_parse(const char *text, int64_t *wall_s)
{
	struct tm tm = {0};
	int64_t offset_s;
	const char *cursor = text;

	if (!read_date(&cursor, &tm) || !read_char(&cursor, 'T', 't') || !read_time(&cursor, &tm) ||
	    !read_offset(&cursor, &offset_s) || *cursor != '\0')
		return (false);
	*wall_s = (int64_t)timegm(&tm) - offset_s;
	return (true);
}
