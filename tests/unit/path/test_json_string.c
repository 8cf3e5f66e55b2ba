/*
 * test_json_string - decoding the text between quotes, and quoting, against a byte-by-byte twin.
 * What is read and what is written both end at an unreadable page.
 */
#include <string.h>

#include "path/scan.h"
#include "spr_guard.h"
#include "spr_test.h"

#define MAX_TEXT   600
#define MAX_QUOTED (6 * MAX_TEXT + 2)

static uint8_t *text_guard, *out_guard;

static spr_range
guarded(const void *text, size_t len)
{
	return ((spr_range){memcpy(text_guard - len, text, len), len});
}

static const struct {
	const char *text;
	const char *decoded;
	size_t len;
	bool has_lone;
} decodings[] = {
    {"", "", 0, false},
    {"abc", "abc", 3, false},
    {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t", 8, false},
    {"a\\u0000b", "a\0b", 3, false},
    {"\\u0041\\u00e9\\u20AC", "A\xC3\xA9\xE2\x82\xAC", 6, false},
    {"\\u007f\\u0080\\u07ff\\u0800\\uffff", "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF", 11,
     false},
    {"\\ud7ff\\ue000", "\xED\x9F\xBF\xEE\x80\x80", 6, false},
    {"\xC3\xA9\\n\xF0\x9F\x98\x80", "\xC3\xA9\n\xF0\x9F\x98\x80", 7, false},
    {"\\ud83d\\ude00", "\xF0\x9F\x98\x80", 4, false},
    {"\\uD800\\uDC00\\uDBFF\\uDFFF", "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", 8, false},
    {"\\ud800", "\xED\xA0\x80", 3, true},
    {"\\udfff", "\xED\xBF\xBF", 3, true},
    {"\\ude00\\ud83d", "\xED\xB8\x80\xED\xA0\xBD", 6, true},
    {"\\ud83d\\ud83d\\ude00", "\xED\xA0\xBD\xF0\x9F\x98\x80", 7, true},
    {"\\ud83dx\\ude00", "\xED\xA0\xBDx\xED\xB8\x80", 7, true},
    {"\\ud83d\\\\ude00", "\xED\xA0\xBD\\ude00", 9, true},
    {"\\ud83d\\n", "\xED\xA0\xBD\n", 4, true},
    {"\\ud83d\\u0041",
     "\xED\xA0\xBD"
     "A",
     4, true},
};

static void
test_decode(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(decodings) / sizeof(*decodings); i++) {
		spr_range text = guarded(decodings[i].text, strlen(decodings[i].text));
		size_t len = decodings[i].len;
		bool has_lone = !decodings[i].has_lone;

		assert_int_equal(spr_scan_decoded_len(text), len);
		assert_int_equal(spr_scan_decode(text, NULL, SIZE_MAX, &has_lone), len);
		assert_int_equal(has_lone, decodings[i].has_lone);
		has_lone = !decodings[i].has_lone;
		assert_int_equal(spr_scan_decode(text, out_guard - len, len, &has_lone), len);
		assert_memory_equal(out_guard - len, decodings[i].decoded, len);
		assert_int_equal(has_lone, decodings[i].has_lone);
	}
}

/* A buffer that is too small by any amount is told, and not overrun. */
static void
test_decode_over_max(void **state)
{
	bool has_lone;

	(void)state;
	for (size_t i = 0; i < sizeof(decodings) / sizeof(*decodings); i++) {
		spr_range text = guarded(decodings[i].text, strlen(decodings[i].text));
		for (size_t max = 0; max < decodings[i].len; max++)
			assert_int_equal(spr_scan_decode(text, out_guard - max, max, &has_lone),
					 SIZE_MAX);
	}
}

/* Quoting as its contract says it, one byte at a time. */
static size_t
quote_slowly(char *out, const uint8_t *text, size_t len)
{
	static const char letters[] = "btn?fr"; /* of 8 to 13 */
	char *p = out;

	*p++ = '"';
	for (size_t i = 0; i < len; i++) {
		uint8_t c = text[i];
		if (c == '"' || c == '\\')
			p += sprintf(p, "\\%c", c);
		else if (c >= 8 && c <= 13 && c != 11)
			p += sprintf(p, "\\%c", letters[c - 8]);
		else if (c < 0x20)
			p += sprintf(p, "\\u%04x", c);
		else if (c == 0xED && len - i >= 3 && (text[i + 1] & 0xE0) == 0xA0 &&
			 (text[i + 2] & 0xC0) == 0x80) {
			p += sprintf(p, "\\ud%x%02x", 0x8 | (text[i + 1] >> 2 & 7),
				     (text[i + 1] << 6 & 0xC0) | (text[i + 2] & 0x3F));
			i += 2;
		} else
			*p++ = (char)c;
	}
	*p++ = '"';
	return ((size_t)(p - out));
}

static void
assert_quoted(const uint8_t *text, size_t len)
{
	static char expected[MAX_QUOTED + 1];
	spr_range input = guarded(text, len);
	size_t n = quote_slowly(expected, text, len);

	assert_int_equal(spr_json_quoted_len(input.at, len), n);
	assert_int_equal(spr_json_quote(out_guard - n, input.at, len), n);
	assert_memory_equal(out_guard - n, expected, n);
}

/* Every byte at every place of a text of every length up to a few vectors. */
static void
test_quote_each_byte_at_each_place(void **state)
{
	uint8_t text[50];

	(void)state;
	for (unsigned byte = 0; byte <= 0xFF; byte++)
		for (size_t len = 1; len <= sizeof(text); len += len < 20 ? 1 : 7)
			for (size_t at = 0; at < len; at++) {
				memset(text, 'x', len);
				text[at] = (uint8_t)byte;
				assert_quoted(text, len);
			}
}

static void
test_quote_surrogates(void **state)
{
	static const char *const pieces[] = {
	    "\xED\xA0\x80", "\xED\xBF\xBF", "\xED\xAF\x95", "\xED\x9F\xBF",     "\xED\xA0",
	    "\xED",         "\xED\xA0x",    "\xED\xC0\x80", "\xED\xED\xA0\x80", "\xED\xA0\xC0",
	};
	uint8_t text[80];

	(void)state;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++)
		for (size_t before = 0; before < 36; before++)
			for (size_t after = 0; after < 36; after++) {
				size_t n = strlen(pieces[i]);
				memset(text, '.', before);
				memcpy(text + before, pieces[i], n);
				memset(text + before + n, '.', after);
				assert_quoted(text, before + n + after);
			}
}

static void
test_quote_mixtures(void **state)
{
	static const char alphabet[] = "aaaaaaaabcd \"\"\\\n\t\x01\x1f\x7f\xED\xA0\x80\xC3\xA9";
	uint64_t random = spr_test_seed();
	uint8_t text[MAX_TEXT];

	(void)state;
	for (int round = 0; round < 20000; round++) {
		size_t len = spr_test_below(&random, round % 2 == 0 ? 70 : MAX_TEXT);
		size_t kinds = 1 + spr_test_below(&random, sizeof(alphabet) - 1);
		for (size_t i = 0; i < len; i++)
			text[i] = (uint8_t)alphabet[spr_test_below(&random, kinds)];
		assert_quoted(text, len);
	}
}

/* What is quoted is a JSON string, and decodes to what it was made of. */
static void
test_quoted_text_decodes_to_itself(void **state)
{
	static const char *const pieces[] = {
	    "a",
	    "\"",
	    "\\",
	    "\n",
	    "\x01",
	    "/",
	    "\xC3\xA9",
	    "\xED\xA0\x80",
	    "\xED\x9F\xBF",
	    "\xF0\x9F\x98\x80",
	    "plain text of some length",
	};
	uint64_t random = spr_test_seed() + 1;
	uint8_t text[MAX_TEXT], quoted[MAX_QUOTED], decoded[MAX_TEXT];
	spr_document document;
	bool has_lone;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		size_t len = 0, n;
		for (uint64_t k = spr_test_below(&random, 20); k > 0; k--) {
			const char *piece =
			    pieces[spr_test_below(&random, sizeof(pieces) / sizeof(*pieces))];
			memcpy(text + len, piece, strlen(piece));
			len += strlen(piece);
		}
		n = spr_json_quote(quoted, text, len);
		assert_int_equal(spr_scan_document(quoted, n, SPR_FORMAT_BARE, &document), n);
		assert_int_equal(document.whole.len, n);
		n = spr_scan_decode((spr_range){quoted + 1, n - 2}, decoded, sizeof(decoded),
				    &has_lone);
		assert_int_equal(n, len);
		assert_memory_equal(decoded, text, len);
	}
}

static void
test_line_breaks_become_spaces(void **state)
{
	static const uint8_t others[] = "{\t\"a\\n\": \v\f\x8d\x8a }  x";
	char text[64], out[64];

	(void)state;
	assert_false(spr_json_has_line_break((const uint8_t *)"\n", 0));
	/* at every place, in a vector and behind it */
	for (size_t len = 1; len <= 40; len++) {
		for (size_t at = 0; at < len; at++) {
			memset(text, 'x', sizeof(text));
			text[len] = '\n'; /* is not looked at */
			assert_false(spr_json_has_line_break((const uint8_t *)text, len));
			text[at] = at % 2 ? '\n' : '\r';
			assert_true(spr_json_has_line_break((const uint8_t *)text, len));
			memset(out, '-', sizeof(out));
			spr_json_copy_on_one_line((uint8_t *)out, (const uint8_t *)text, len);
			text[at] = ' ';
			assert_memory_equal(out, text, len);
			assert_int_equal(out[len], '-');
		}
	}
	assert_false(spr_json_has_line_break(others, sizeof(others) - 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_line_breaks_become_spaces),
	    cmocka_unit_test(test_decode),
	    cmocka_unit_test(test_decode_over_max),
	    cmocka_unit_test(test_quote_each_byte_at_each_place),
	    cmocka_unit_test(test_quote_surrogates),
	    cmocka_unit_test(test_quote_mixtures),
	    cmocka_unit_test(test_quoted_text_decodes_to_itself),
	};

	text_guard = spr_guard_end(MAX_TEXT);
	out_guard = spr_guard_end(MAX_QUOTED);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
