/* units: what is a number, and that formatting gives back what was parsed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/units.h"

static const char *const never[] = {"",
				    " ",
				    "-1",
				    "+1",
				    "1 ",
				    " 1",
				    "1.5",
				    "1e3",
				    "0x10",
				    "KiB",
				    "ms",
				    "18446744073709551616",
				    "99999999999999999999999",
				    "1kib",
				    "1KB",
				    "1K",
				    "5 s",
				    "1sec",
				    "-0"};

static void
test_count(void **state)
{
	uint64_t n = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		assert_false(spr_units_parse_count(never[i], &n));
		assert_int_equal(n, 7); /* left alone */
	}
	assert_false(spr_units_parse_count("64KiB", &n));
	assert_true(spr_units_parse_count("0", &n));
	assert_int_equal(n, 0);
	assert_true(spr_units_parse_count("18446744073709551615", &n));
	assert_true(n == UINT64_MAX);
}

typedef bool (*parse_fn)(const char *text, uint64_t *value);
typedef void (*format_fn)(uint64_t value, char *out);

static void
check_pair(parse_fn parse, format_fn format, const char *text, uint64_t value, const char *printed)
{
	char out[SPR_UNITS_TEXT_MAX];
	uint64_t n = 0;

	assert_true(parse(text, &n));
	assert_true(n == value);
	format(n, out);
	assert_string_equal(out, printed);
}

static void
test_size(void **state)
{
	uint64_t n = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		assert_false(spr_units_parse_size(never[i], &n));
	assert_false(spr_units_parse_size("16777216TiB", &n)); /* 2^64 */
	assert_false(spr_units_parse_size("5ms", &n));
	assert_int_equal(n, 7);
	check_pair(spr_units_parse_size, spr_units_format_size, "0", 0, "0");
	check_pair(spr_units_parse_size, spr_units_format_size, "256", 256, "256");
	check_pair(spr_units_parse_size, spr_units_format_size, "1024", 1024, "1KiB");
	check_pair(spr_units_parse_size, spr_units_format_size, "64KiB", 65536, "64KiB");
	check_pair(spr_units_parse_size, spr_units_format_size, "1536KiB", 1572864, "1536KiB");
	check_pair(spr_units_parse_size, spr_units_format_size, "2048MiB", UINT64_C(2) << 30,
		   "2GiB");
	check_pair(spr_units_parse_size, spr_units_format_size, "1TiB", UINT64_C(1) << 40, "1TiB");
	check_pair(spr_units_parse_size, spr_units_format_size, "0MiB", 0, "0");
}

static void
test_duration(void **state)
{
	char out[SPR_UNITS_TEXT_MAX];
	uint64_t n = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		assert_false(spr_units_parse_duration(never[i], &n));
	assert_false(spr_units_parse_duration("5", &n));
	assert_false(spr_units_parse_duration("00", &n));
	assert_false(spr_units_parse_duration("213504d", &n)); /* over 2^64 ns */
	assert_int_equal(n, 7);
	check_pair(spr_units_parse_duration, spr_units_format_duration, "0", 0, "0");
	check_pair(spr_units_parse_duration, spr_units_format_duration, "0s", 0, "0");
	check_pair(spr_units_parse_duration, spr_units_format_duration, "50us", 50000, "50us");
	check_pair(spr_units_parse_duration, spr_units_format_duration, "250ms",
		   250 * SPR_NS_PER_MS, "250ms");
	check_pair(spr_units_parse_duration, spr_units_format_duration, "1000ms", SPR_NS_PER_S,
		   "1s");
	check_pair(spr_units_parse_duration, spr_units_format_duration, "90s", 90 * SPR_NS_PER_S,
		   "90s");
	check_pair(spr_units_parse_duration, spr_units_format_duration, "120m", 7200 * SPR_NS_PER_S,
		   "2h");
	check_pair(spr_units_parse_duration, spr_units_format_duration, "5d", 432000 * SPR_NS_PER_S,
		   "5d");
	spr_units_format_duration(1999, out);
	assert_string_equal(out, "1us");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_count),
	    cmocka_unit_test(test_size),
	    cmocka_unit_test(test_duration),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
