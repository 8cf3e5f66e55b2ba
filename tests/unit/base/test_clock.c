/*
 * test_clock - RFC 3339 both ways, to the edges of the calendar; what is no time is refused.
 */
#include <string.h>
#include <time.h>

#include "spr_test.h"

#include "base/clock.h"

static void
test_monotonic_never_zero_never_back(void **state)
{
	uint64_t last = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		uint64_t now = spr_clock_now_ns();

		assert_true(now != 0 && now >= last);
		last = now;
	}
	assert_true(spr_clock_wall_s() > INT64_C(1600000000));
	assert_true(spr_clock_wall_s() <= (int64_t)time(NULL) + 1);
}

static const struct {
	const char *text;
	int64_t wall_s;
} canonical[] = {
    {"1970-01-01T00:00:00Z", 0},
    {"1969-12-31T23:59:59Z", -1},
    {"2026-11-24T13:35:13Z", 1795527313},
    {"2000-02-29T00:00:00Z", 951782400},
    {"2038-01-19T03:14:08Z", 2147483648},
    {"0000-01-01T00:00:00Z", INT64_C(-62167219200)},
    {"9999-12-31T23:59:59Z", INT64_C(253402300799)},
};

static void
test_both_ways(void **state)
{
	char out[SPR_CLOCK_TEXT_MAX];
	int64_t wall_s;

	(void)state;
	for (size_t i = 0; i < sizeof(canonical) / sizeof(canonical[0]); i++) {
		spr_clock_format(canonical[i].wall_s, out);
		assert_string_equal(out, canonical[i].text);
		assert_true(spr_clock_parse(canonical[i].text, &wall_s));
		assert_true(wall_s == canonical[i].wall_s);
	}
}

static void
test_round_trip_of_random_seconds(void **state)
{
	uint64_t rng = spr_test_seed();

	(void)state;
	for (int i = 0; i < 2000; i++) {
		int64_t wall_s =
		    (int64_t)spr_test_below(&rng, UINT64_C(315569520000)) - INT64_C(62167219200);
		int64_t back = 0;
		char out[SPR_CLOCK_TEXT_MAX];

		spr_clock_format(wall_s, out);
		assert_true(spr_clock_parse(out, &back));
		assert_true(back == wall_s);
	}
}

static void
test_seconds_beyond_the_calendar_are_clamped(void **state)
{
	char out[SPR_CLOCK_TEXT_MAX];

	(void)state;
	spr_clock_format(INT64_MAX, out);
	assert_string_equal(out, "9999-12-31T23:59:59Z");
	spr_clock_format(INT64_MIN, out);
	assert_string_equal(out, "0000-01-01T00:00:00Z");
}

static void
test_other_spellings(void **state)
{
	static const struct {
		const char *text;
		int64_t wall_s;
	} rows[] = {
	    {"1970-01-01t00:00:00z", 0},          {"1970-01-01T00:00:00.999999999999Z", 0},
	    {"1970-01-01T01:30:00+01:30", 0},     {"1969-12-31T22:00:00-02:00", 0},
	    {"1970-01-01T00:00:00-00:00", 0},     {"1970-01-01T23:59:00+23:59", 0},
	    {"2016-12-31T23:59:60Z", 1483228800}, /* the leap second counts as the next one */
	};
	int64_t wall_s;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(spr_clock_parse(rows[i].text, &wall_s));
		assert_true(wall_s == rows[i].wall_s);
	}
}

static void
test_what_is_no_time(void **state)
{
	static const char *const rows[] = {
	    "",
	    "now",
	    "2026",
	    "2026-11-24",
	    "2026-11-24T13:35",
	    "2026-11-24T13:35:13", /* no offset: whose time? */
	    "2026-11-24 13:35:13Z",
	    "2026-11-24T13:35:13Z ",
	    " 2026-11-24T13:35:13Z",
	    "2026-11-24T13:35:13ZZ",
	    "2026-11-24T13:35:13.Z",
	    "2026-11-24T13:35:13,5Z",
	    "2026-11-24T13:35:13+01",
	    "2026-11-24T13:35:13+0100",
	    "2026-11-24T13:35:13+24:00",
	    "2026-11-24T13:35:13+01:60",
	    "2026-13-24T13:35:13Z",
	    "2026-00-24T13:35:13Z",
	    "2026-11-00T13:35:13Z",
	    "2026-11-31T13:35:13Z",
	    "2025-02-29T13:35:13Z",
	    "1900-02-29T13:35:13Z",
	    "2026-11-24T24:00:00Z",
	    "2026-11-24T13:60:13Z",
	    "2026-11-24T13:35:61Z",
	    "26-11-24T13:35:13Z",
	    "12026-11-24T13:35:13Z",
	    "-026-11-24T13:35:13Z",
	    "2026-1-24T13:35:13Z",
	    "2026-11-24T13:35:1 Z",
	};
	int64_t wall_s = 42;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (spr_clock_parse(rows[i], &wall_s))
			fail_msg("taken for a time: \"%s\"", rows[i]);
	}
	assert_true(wall_s == 42);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_monotonic_never_zero_never_back),
	    cmocka_unit_test(test_both_ways),
	    cmocka_unit_test(test_round_trip_of_random_seconds),
	    cmocka_unit_test(test_seconds_beyond_the_calendar_are_clamped),
	    cmocka_unit_test(test_other_spellings),
	    cmocka_unit_test(test_what_is_no_time),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
