/*
 * test_json_value - which texts are values, and where they end. Every text lies against an
 * unreadable page, so that a read past its end crashes.
 */
#include "path/json_value.h"

#include <string.h>

#include "path/scan.h"
#include "spr_guard.h"
#include "spr_test.h"

#define MAX_TEXT 4096

static uint8_t *guard;

/* How many bytes of the text the value at its start takes; -1: it is none. */
static long
value_len(const void *text, size_t len)
{
	const uint8_t *at = memcpy(guard - len, text, len);
	const uint8_t *end = spr_json_value(at, guard, 0);

	return (end == NULL ? -1 : end - at);
}

static void
assert_len(const char *text, long expected)
{
	long len = value_len(text, strlen(text));

	if (len != expected)
		fail_msg("%s: took %ld, not %ld", text, len, expected);
}

static void
test_whole_values(void **state)
{
	static const char *const whole[] = {
	    "null",
	    "true",
	    "false",
	    "0",
	    "-0",
	    "12",
	    "-12.50e+3",
	    "0.0",
	    "0e0",
	    "1E5",
	    "1e-05",
	    "123456789012345678901234567890.123456789e99999",
	    "\"\"",
	    "\"a\"",
	    "\"\x7f\"",
	    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uD800\\udfff\\uAbCd\"",
	    "[]",
	    "[ ]",
	    "{}",
	    "{\t}",
	    "[1]",
	    "[1,2 , 3\n]",
	    "[[],{},[{}]]",
	    "{\"a\":1}",
	    "{\"\":{\"\":[]}}",
	    "{ \"a\" : 1 , \"a\" : [ true , null ] }",
	    "[\r\n\t \"x\"\r\n\t ]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(whole) / sizeof(*whole); i++)
		assert_len(whole[i], (long)strlen(whole[i]));
}

/* A value is the longest text that makes one; what follows does not matter. */
static void
test_values_end_where_they_cannot_go_on(void **state)
{
	static const struct {
		const char *text;
		long len;
	} rows[] = {
	    {"12abc", 2},  {"01", 1},   {"-01", 2},  {"1.", 1},    {"1.x", 1},
	    {"1.5.2", 3},  {"1e", 1},   {"1e+", 1},  {"1e+x", 1},  {"1.5e", 3},
	    {"1e5.5", 3},  {"0x10", 1}, {"1-2", 1},  {"truee", 4}, {"nulls", 4},
	    {"\"a\"b", 3}, {"[]]", 2},  {"{}{}", 2}, {"[1]x", 3},  {"1 ", 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_len(rows[i].text, rows[i].len);
}

static const char *const broken[] = {
    "",
    "-",
    "-a",
    "+1",
    ".5",
    "-.5",
    "abc",
    "tru",
    "True",
    "nul",
    "fals",
    "NaN",
    "Infinity",
    "-Infinity",
    "'a'",
    ",",
    ":",
    "]",
    "}",
    "/**/1",
    "\xEF\xBB\xBF"
    "1",
    "\x01",
    /* strings */
    "\"",
    "\"a",
    "\"\n\"",
    "\"\t\"",
    "\"\x1f\"",
    "\"\\\"",
    "\"\\",
    "\"\\x\"",
    "\"\\U0041\"",
    "\"\\u\"",
    "\"\\u123\"",
    "\"\\u123g\"",
    "\"\\u123",
    "\"\\u+123\"",
    "\"\\u00:0\"",
    "\"\\u00@0\"",
    "\"\\u00`0\"",
    "\"\\ \"",
    "\"\\\n\"",
    "\"\\'\"",
    /* arrays */
    "[",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[,]",
    "[1 2]",
    "[1}",
    "[1:2]",
    "[\"a\":1]",
    "[01]",
    "[1.]",
    "[-]",
    "[1e]",
    "[nul]",
    "[truefalse]",
    "[[]",
    "[1\x0b]",
    "[1,\xC2\xA0"
    "2]",
    "[\f]",
    /* objects */
    "{",
    "{\"",
    "{\"a",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1",
    "{\"a\":1,",
    "{\"a\":1,}",
    "{,}",
    "{\"a\"}",
    "{\"a\",1}",
    "{\"a\" 1}",
    "{\"a\"::1}",
    "{a:1}",
    "{1:1}",
    "{\"a\":1]",
    "{\"a\":1 \"b\":2}",
    "{\"a\":}",
    "{null:1}",
    "{\"a\":{}",
    "{\"a\\x\":1}",
    "{[]:1}",
    "{\"a\":1,2}",
    "[{\"a\":1},{]",
};

static void
test_what_is_no_value(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++)
		assert_len(broken[i], -1);
	assert_int_equal(value_len("[1,\0]", 5), -1);
	assert_int_equal(value_len("\"a\0\"", 4), -1);
}

static void
test_every_cut_is_no_value(void **state)
{
	static const char text[] =
	    "{\"a\\u00e9\":[1.5e3,true,false,null,\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80 and a "
	    "tail of plain text\"],\"b\" : { \"c\":[ ] , \"d\":{}} , \"e\":-0}";

	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++)
		assert_int_equal(value_len(text, len), -1);
	assert_len(text, sizeof(text) - 1);
}

/* Strings are read 16 bytes at a time: what matters is found at every place, with any tail. */
static void
test_every_place_in_a_string(void **state)
{
	static const struct {
		const char *piece;
		bool is_valid;
	} rows[] = {
	    {"", true},         {"\\n", true},          {"\\u12aF", true},
	    {"\xC3\xA9", true}, {"\xE2\x82\xAC", true}, {"\xF0\x9F\x98\x80", true},
	    {"\x7f", true},     {"\x1f", false},        {"\n", false},
	    {"\x80", false},    {"\xFF", false},        {"\xC3", false},
	    {"\\x", false},     {"\\u12", false},       {"\xED\xA0\x80", false},
	};
	uint8_t text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		for (size_t before = 0; before < 40; before++)
			for (size_t after = 0; after < 40; after++) {
				size_t len = 0, n = strlen(rows[i].piece);
				text[len++] = '"';
				memset(text + len, 'x', before);
				len += before;
				memcpy(text + len, rows[i].piece, n);
				len += n;
				memset(text + len, 'y', after);
				len += after;
				text[len++] = '"';
				assert_int_equal(value_len(text, len),
						 rows[i].is_valid ? (long)len : -1);
				assert_int_equal(value_len(text, len - 1), -1);
			}
}

/* Is it one character of UTF-8? By arithmetic: decode it, and see whether that is how it is encoded. */
static bool
is_character(const uint8_t *c, size_t len)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t code;

	if (len == 1)
		return (c[0] < 0x80);
	if ((unsigned)c[0] >> (7 - len) != (0xFFu >> (7 - len) & ~1u)) /* len ones, then a zero */
		return (false);
	code = c[0] & (0x7Fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((c[i] & 0xC0) != 0x80)
			return (false);
		code = code << 6 | (c[i] & 0x3Fu);
	}
	return (code >= least[len] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF));
}

/* Can the text be cut into characters? */
static bool
is_utf8(const uint8_t *text, size_t len)
{
	if (len == 0)
		return (true);
	for (size_t n = 1; n <= len && n <= 4; n++)
		if (is_character(text, n))
			return (is_utf8(text + n, len - n));
	return (false);
}

/* All combinations of bytes at the borders of what UTF-8 allows. */
static void
test_utf8(void **state)
{
	static const uint8_t borders[] = {0x7F, 0x80, 0x8F, 0x90, 0x9F,
					  0xA0, 0xBF, 0xC0, 0xC2, 0xFF};
	enum { N = sizeof(borders) };
	uint8_t text[7] = {'"'};
	size_t n_valid = 0;

	(void)state;
	for (unsigned lead = 0x80; lead <= 0xFF; lead++)
		for (unsigned rest = 0; rest < N * N * N; rest++)
			for (size_t len = 1; len <= 4; len++) {
				text[1] = (uint8_t)lead;
				text[2] = borders[rest % N];
				text[3] = borders[rest / N % N];
				text[4] = borders[rest / N / N];
				text[1 + len] = '"';
				if (is_utf8(text + 1, len)) {
					n_valid++;
					assert_int_equal(value_len(text, len + 2), len + 2);
				} else {
					assert_int_equal(value_len(text, len + 2), -1);
				}
			}
	assert_true(n_valid > 10000);
}

/* `depth` opening brackets as `open` says, round and round, then a scalar and what closes them. */
static size_t
make_nest(char *text, const char *open, size_t depth)
{
	char *p = text;

	for (size_t i = 0; i < depth; i++)
		p += sprintf(p, "%s", open[i % strlen(open)] == '{' ? "{\"\":" : "[");
	*p++ = '0';
	for (size_t i = depth; i-- > 0;)
		*p++ = open[i % strlen(open)] == '{' ? '}' : ']';
	return ((size_t)(p - text));
}

static void
test_depth(void **state)
{
	static const char *const opens[] = {"[", "{", "[{", "{[", "[[{"};
	static char text[MAX_TEXT];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(opens) / sizeof(*opens); i++) {
		len = make_nest(text, opens[i], SPR_SCAN_DEPTH);
		assert_int_equal(value_len(text, len), len);
		len = make_nest(text, opens[i], SPR_SCAN_DEPTH + 1);
		assert_int_equal(value_len(text, len), -1);
		/* what is open around it counts */
		len = make_nest(text, opens[i], SPR_SCAN_DEPTH - 3);
		memcpy(guard - len, text, len);
		assert_ptr_equal(spr_json_value(guard - len, guard, 3), guard);
		assert_null(spr_json_value(guard - len, guard, 4));
		/* each bracket is closed by its own kind, however deep */
		for (size_t at = len / 2 + 1; at < len; at += 37) {
			text[at] ^= ']' ^ '}';
			assert_int_equal(value_len(text, len), -1);
			text[at] ^= ']' ^ '}';
		}
	}
}

static void
test_depth_counts_what_is_open_only(void **state)
{
	static char text[MAX_TEXT];
	size_t len = 0;

	(void)state;
	text[len++] = '[';
	while (len < sizeof(text) - 20)
		len += (size_t)sprintf(text + len, "[{\"\":[]},{}],");
	text[len - 1] = ']';
	assert_int_equal(value_len(text, len), len);
}

static void
test_truthiness(void **state)
{
	static const char *const falsy[] = {
	    "null",
	    "false",
	    "\"\"",
	    "[]",
	    "{}",
	    "[ \t\r\n]",
	    "{ }",
	    "0",
	    "-0",
	    "0.0",
	    "-0.000",
	    "0e5",
	    "0E-5",
	    "0.0e999999999999999999999999",
	    "1e-400",
	    "-1e-324",
	    "2.4703e-324",
	    "2.470328229206232e-324",
	    "0.00001e-320",
	    "24.7e-325",
	    "247000e-329",
	    "1e-99999999999999999999999999999",
	    "0.000000000000000000000000000000000000000001e-290",
	};
	static const char *const truthy[] = {
	    "true",
	    "\" \"",
	    "\"\\u0000\"",
	    "[0]",
	    "{\"\":0}",
	    "[ null ]",
	    "1",
	    "-1",
	    "10",
	    "0.1",
	    "1e400",
	    "1e-323",
	    "5e-324",
	    "2.4704e-324",
	    "2.4703282292062328e-324",
	    "0.0003e-320",
	    "25e-325",
	    "248000e-329",
	    "1e99999999999999999999999999999",
	    "1e+0",
	    "0.5e-0",
	    "100000000000000000000000000000000000000000e-360",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(falsy) / sizeof(*falsy); i++) {
		const uint8_t *text = (const uint8_t *)falsy[i];
		if (spr_json_is_truthy(text, text + strlen(falsy[i])))
			fail_msg("%s is not falsy", falsy[i]);
	}
	for (size_t i = 0; i < sizeof(truthy) / sizeof(*truthy); i++) {
		const uint8_t *text = (const uint8_t *)truthy[i];
		if (!spr_json_is_truthy(text, text + strlen(truthy[i])))
			fail_msg("%s is not truthy", truthy[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_whole_values),
	    cmocka_unit_test(test_values_end_where_they_cannot_go_on),
	    cmocka_unit_test(test_what_is_no_value),
	    cmocka_unit_test(test_every_cut_is_no_value),
	    cmocka_unit_test(test_every_place_in_a_string),
	    cmocka_unit_test(test_utf8),
	    cmocka_unit_test(test_depth),
	    cmocka_unit_test(test_depth_counts_what_is_open_only),
	    cmocka_unit_test(test_truthiness),
	};

	guard = spr_guard_end(MAX_TEXT);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
