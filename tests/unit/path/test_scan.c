/*
 * test_scan - what a document says: the input and outcome table, rule 1 (predicate), rule 6
 * (payload) and rule 9 (truthiness), duplicates, and how a message is cut into documents.
 */
#include "path/scan.h"

#include <string.h>

#include "base/mem.h"
#include "spr_guard.h"
#include "spr_test.h"

#define MAX_TEXT 8192
#define NONE     SPREADER_REASON_NONE
#define NO_ID    SPREADER_REASON_NO_ID
#define NO_PRED  SPREADER_REASON_NO_PREDICATE
#define BAD_PRED SPREADER_REASON_BAD_PREDICATE
#define NOT_JSON SPREADER_REASON_NOT_JSON

static uint8_t *guard;

/* One document that is all of the text, against an unreadable page. */
static spr_document
scan_one(const char *text, spr_format format)
{
	spr_document document;
	size_t len = strlen(text);

	memcpy(guard - len, text, len);
	assert_int_equal(spr_scan_document(guard - len, len, format, &document), len);
	if (document.reason != NOT_JSON)
		assert_int_equal(document.whole.len, len);
	return (document);
}

static void
assert_reason(const char *text, spr_format format, spreader_reason reason)
{
	spr_document document = scan_one(text, format);

	if (document.reason != reason)
		fail_msg("%s: reason %d, not %d", text, document.reason, reason);
}

/* text NULL: the range is not set. */
static void
assert_range(const char *document, spr_range range, const char *text)
{
	if (text == NULL ? range.at != NULL
			 : range.len != strlen(text) || memcmp(range.at, text, range.len) != 0)
		fail_msg("%s: %.*s, not %s", document, (int)range.len, (const char *)range.at,
			 text);
}

static void
test_outcomes_of_an_envelope(void **state)
{
	static const struct {
		const char *text;
		spreader_reason reason;
	} rows[] = {
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"UN\"}}", NONE},
	    {"{\"x\":{\"id\":5},\"body\":{\"predicate\":\"UN\"},\"id\":\"1\"}", NONE},
	    {"[]", NO_ID},
	    {"5", NO_ID},
	    {"\"id\"", NO_ID},
	    {"null", NO_ID},
	    {"{}", NO_ID},
	    {"{\"body\":{\"predicate\":\"UN\"}}", NO_ID},
	    {"{\"id\":\"\",\"body\":{\"predicate\":\"UN\"}}", NO_ID},
	    {"{\"id\":null,\"body\":{\"predicate\":\"UN\"}}", NO_ID},
	    {"{\"id\":5,\"body\":{\"predicate\":\"UN\"}}", NO_ID},
	    {"{\"id\":[\"1\"],\"body\":{\"predicate\":\"UN\"}}", NO_ID},
	    {"{\"ID\":\"1\",\"body\":{\"predicate\":\"UN\"}}", NO_ID},
	    {"{\"body\":{\"id\":\"1\",\"predicate\":\"UN\"}}", NO_ID},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"UN\"},\"from\":\"\"}", NONE},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"UN\"},\"from\":null}", NO_ID},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"UN\"},\"from\":{}}", NO_ID},
	    {"{\"id\":\"1\"}", NO_PRED},
	    {"{\"id\":\"1\",\"body\":null}", NO_PRED},
	    {"{\"id\":\"1\",\"body\":\"UN\"}", NO_PRED},
	    {"{\"id\":\"1\",\"body\":[{\"predicate\":\"UN\"}]}", NO_PRED},
	    {"{\"id\":\"1\",\"body\":{}}", NO_PRED},
	    {"{\"id\":\"1\",\"predicate\":\"UN\",\"body\":{}}", NO_PRED},
	    {"{\"id\":\"1\",\"message\":{\"predicate\":\"UN\"},\"body\":{}}", NO_PRED},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"U\\ud800\"}}", BAD_PRED},
	    {"{\"id\":\"1\",\"body\":{\"message\":{\"predicate\":\"\\udc00\"}}}", BAD_PRED},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"\\ud83d\\ude00\"}}", NONE},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"UN\",\"x\":\"\\ud800\"}}", NONE},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"/\"}}", NONE}, /* normalising is not ours */
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"UN\"}", NOT_JSON},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"UN\"},}", NOT_JSON},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"UN\",\"x\":01}}", NOT_JSON},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"UN\",\"x\":\"\xFF\"}}", NOT_JSON},
	    {"{\"id\":\"1\" \"body\":{}}", NOT_JSON},
	    {"{\"id\":\"1\",id:{}}", NOT_JSON},
	    {"{\"id\":\"1\",\"body\"}", NOT_JSON},
	    {"{\"id\"", NOT_JSON},
	    {"{\"id\":", NOT_JSON},
	    {"{\"id", NOT_JSON},
	    {"{", NOT_JSON},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_reason(rows[i].text, SPR_FORMAT_ENVELOPE, rows[i].reason);
}

/* Rules 1, 6 and 9 together. expected predicate NULL: no_predicate; payload NULL: the whole body. */
static void
test_predicate_and_payload(void **state)
{
	static const struct {
		const char *body;
		const char *predicate;
		const char *payload;
	} rows[] = {
	    {"{\"predicate\":\"UN.A\"}", "UN.A", NULL},
	    {"{ \"predicate\" : \"UN.A\" , \"message\" : { \"x\" : 1 } }", "UN.A", "{ \"x\" : 1 }"},
	    {"{\"message\":{\"predicate\":\"B\"},\"predicate\":\"A\"}", "A",
	     "{\"predicate\":\"B\"}"},
	    {"{\"message\":{\"predicate\":\"B\"}}", "B", "{\"predicate\":\"B\"}"},
	    {"{\"predicate\":null,\"message\":{\"predicate\":\"B\"}}", "B",
	     "{\"predicate\":\"B\"}"},
	    {"{\"predicate\":false,\"message\":{\"predicate\":\"B\"}}", "B",
	     "{\"predicate\":\"B\"}"},
	    {"{\"predicate\":0,\"message\":{\"predicate\":\"B\"}}", "B", "{\"predicate\":\"B\"}"},
	    {"{\"predicate\":-0.0e5,\"message\":{\"predicate\":\"B\"}}", "B",
	     "{\"predicate\":\"B\"}"},
	    {"{\"predicate\":1e-400,\"message\":{\"predicate\":\"B\"}}", "B",
	     "{\"predicate\":\"B\"}"},
	    {"{\"predicate\":\"\",\"message\":{\"predicate\":\"B\"}}", "B",
	     "{\"predicate\":\"B\"}"},
	    {"{\"predicate\":[ ],\"message\":{\"predicate\":\"B\"}}", "B", "{\"predicate\":\"B\"}"},
	    {"{\"predicate\":{},\"message\":{\"predicate\":\"B\"}}", "B", "{\"predicate\":\"B\"}"},
	    {"{\"predicate\":5,\"message\":{\"predicate\":\"B\"}}", NULL, NULL},
	    {"{\"predicate\":true,\"message\":{\"predicate\":\"B\"}}", NULL, NULL},
	    {"{\"predicate\":[\"A\"],\"message\":{\"predicate\":\"B\"}}", NULL, NULL},
	    {"{\"predicate\":{\"predicate\":\"A\"}}", NULL, NULL},
	    {"{\"message\":{\"predicate\":\"\"}}", NULL, NULL},
	    {"{\"message\":{\"predicate\":1}}", NULL, NULL},
	    {"{\"message\":{\"message\":{\"predicate\":\"B\"}}}", NULL, NULL},
	    {"{\"message\":[{\"predicate\":\"B\"}]}", NULL, NULL},
	    {"{\"message\":\"B\"}", NULL, NULL},
	    {"{\"predicate\":\"A\",\"message\":\"hi\"}", "A", "\"hi\""},
	    {"{\"predicate\":\"A\",\"message\":[1, 2]}", "A", "[1, 2]"},
	    {"{\"predicate\":\"A\",\"message\":-5e0}", "A", "-5e0"},
	    {"{\"predicate\":\"A\",\"message\":true}", "A", "true"},
	    {"{\"predicate\":\"A\",\"message\":null}", "A", NULL},
	    {"{\"predicate\":\"A\",\"message\":false}", "A", NULL},
	    {"{\"predicate\":\"A\",\"message\":0.00}", "A", NULL},
	    {"{\"predicate\":\"A\",\"message\":\"\"}", "A", NULL},
	    {"{\"predicate\":\"A\",\"message\":[\n]}", "A", NULL},
	    {"{\"predicate\":\"A\",\"message\":{ }}", "A", NULL},
	    {"{\"Predicate\":\"A\"}", NULL, NULL},
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *body = rows[i].body;
		const char *payload = rows[i].payload != NULL ? rows[i].payload : body;
		for (int format = SPR_FORMAT_ENVELOPE; format <= SPR_FORMAT_BARE; format++) {
			snprintf(text, sizeof(text),
				 format == SPR_FORMAT_BARE ? "%s" : "{\"body\": %s ,\"id\":\"1\"}",
				 body);
			spr_document d = scan_one(text, (spr_format)format);
			assert_int_equal(d.reason, rows[i].predicate != NULL ? NONE : NO_PRED);
			assert_range(text, d.id, format == SPR_FORMAT_BARE ? NULL : "1");
			assert_range(text, d.predicate, rows[i].predicate);
			if (rows[i].predicate == NULL)
				continue;
			assert_range(text, d.body, body);
			assert_range(text, d.payload, payload);
			assert_int_equal(d.payload_is_message, rows[i].payload != NULL);
			assert_false(d.predicate_is_escaped || d.has_from);
		}
	}
}

static void
test_bare(void **state)
{
	(void)state;
	assert_reason("[]", SPR_FORMAT_BARE, NO_PRED);
	assert_reason("\"UN\"", SPR_FORMAT_BARE, NO_PRED);
	assert_reason("{}", SPR_FORMAT_BARE, NO_PRED);
	assert_reason("{\"id\":\"1\",\"body\":{\"predicate\":\"UN\"}}", SPR_FORMAT_BARE, NO_PRED);
	assert_reason("{\"id\":5,\"from\":null,\"predicate\":\"UN\"}", SPR_FORMAT_BARE, NONE);
	assert_reason("{\"predicate\":\"\\ud800\"}", SPR_FORMAT_BARE, BAD_PRED);
	assert_reason("{\"predicate\":\"UN\"", SPR_FORMAT_BARE, NOT_JSON);
}

/* The last one counts, and what an earlier one held is forgotten whatever the last one is. */
static void
test_duplicates(void **state)
{
	static const struct {
		const char *text;
		spreader_reason reason;
		const char *id, *predicate, *payload;
	} rows[] = {
	    {"{\"id\":\"1\",\"id\":\"2\",\"body\":{\"predicate\":\"A\",\"predicate\":\"B\"}}", NONE,
	     "2", "B", "{\"predicate\":\"A\",\"predicate\":\"B\"}"},
	    {"{\"id\":\"1\",\"id\":2,\"body\":{\"predicate\":\"A\"}}", NO_ID, NULL, NULL, NULL},
	    {"{\"id\":1,\"id\":\"2\",\"from\":5,\"from\":\"x\",\"body\":{\"predicate\":\"A\"}}",
	     NONE, "2", "A", "{\"predicate\":\"A\"}"},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"A\",\"message\":7},\"body\":{\"predicate\":"
	     "\"B\"}}",
	     NONE, "1", "B", "{\"predicate\":\"B\"}"},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"A\"},\"body\":{\"message\":7}}", NO_PRED, "1",
	     NULL, "7"},
	    {"{\"id\":\"1\",\"body\":{\"message\":{\"predicate\":\"A\"}},\"body\":{}}", NO_PRED,
	     "1", NULL, "{}"},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"A\"},\"body\":null}", NO_PRED, "1", NULL,
	     NULL},
	    {"{\"id\":\"1\",\"body\":5,\"body\":{\"predicate\":\"A\"}}", NONE, "1", "A",
	     "{\"predicate\":\"A\"}"},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"A\",\"predicate\":\"\"}}", NO_PRED, "1", NULL,
	     "{\"predicate\":\"A\",\"predicate\":\"\"}"},
	    {"{\"id\":\"1\",\"body\":{\"message\":{\"predicate\":\"A\"},\"message\":{\"x\":1}}}",
	     NO_PRED, "1", NULL, "{\"x\":1}"},
	    {"{\"id\":\"1\",\"body\":{\"message\":{\"predicate\":\"A\"},\"message\":5}}", NO_PRED,
	     "1", NULL, "5"},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"A\",\"message\":5,\"message\":0}}", NONE, "1",
	     "A", "{\"predicate\":\"A\",\"message\":5,\"message\":0}"},
	    {"{\"id\":\"1\",\"body\":{\"message\":{\"predicate\":1,\"predicate\":\"B\"}}}", NONE,
	     "1", "B", "{\"predicate\":1,\"predicate\":\"B\"}"},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"A\"},\"body\":{\"predicate\":\"B\"", NOT_JSON,
	     NULL, NULL, NULL},
	    {"{\"id\":\"1\",\"body\":{\"x\":01},\"body\":{\"predicate\":\"B\"}}", NOT_JSON, NULL,
	     NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		spr_document d = scan_one(rows[i].text, SPR_FORMAT_ENVELOPE);
		assert_int_equal(d.reason, rows[i].reason);
		assert_range(rows[i].text, d.id, rows[i].id);
		assert_range(rows[i].text, d.predicate, rows[i].predicate);
		assert_range(rows[i].text, d.payload, rows[i].payload);
	}
}

static void
test_escaped_names(void **state)
{
	spr_document d;

	(void)state;
	d = scan_one("{\"\\u0069d\":\"1\",\"fro\\u006D\":\"x\",\"b\\u006fdy\":{\"predicat\\u0065\":"
		     "\"\",\"mess\\u0061ge\":{\"\\u0070\\u0072\\u0065\\u0064\\u0069\\u0063\\u0061"
		     "\\u0074\\u0065\":\"A\\u0042\"}}}",
		     SPR_FORMAT_ENVELOPE);
	assert_int_equal(d.reason, NONE);
	assert_true(d.has_from && d.predicate_is_escaped && d.payload_is_message);
	assert_range("from", d.from, "x");
	assert_range("predicate", d.predicate, "A\\u0042");
	/* close to a name, or longer than any */
	assert_reason("{\"id\\u0000\":\"1\",\"body\":{\"predicate\":\"A\"}}", SPR_FORMAT_ENVELOPE,
		      NO_ID);
	assert_reason("{\"\\\\u0069d\":\"1\",\"body\":{}}", SPR_FORMAT_ENVELOPE, NO_ID);
	assert_reason("{\"id\":\"1\",\"body\":{\"predicates\\n\":\"A\"}}", SPR_FORMAT_ENVELOPE,
		      NO_PRED);
	assert_reason("{\"id\":\"1\",\"body\":{\"predicate\\n\":\"A\"}}", SPR_FORMAT_ENVELOPE,
		      NO_PRED);
	assert_reason("{\"id\":\"1\",\"body\":{\"\\ud800\":\"A\"}}", SPR_FORMAT_ENVELOPE, NO_PRED);
	/* an escaped duplicate is one */
	assert_reason("{\"id\":\"1\",\"i\\u0064\":2,\"body\":{\"predicate\":\"A\"}}",
		      SPR_FORMAT_ENVELOPE, NO_ID);
}

/* An id of `n` times the unit. */
static spr_document
scan_id(const char *unit, size_t n)
{
	static char text[MAX_TEXT];
	char *p = text + sprintf(text, "{\"id\":\"");

	for (size_t i = 0; i < n; i++)
		p += sprintf(p, "%s", unit);
	sprintf(p, "\",\"body\":{\"predicate\":\"A\"}}");
	return (scan_one(text, SPR_FORMAT_ENVELOPE));
}

/* The limit is on the decoded bytes. */
static void
test_id_lengths(void **state)
{
	static const struct {
		const char *unit;
		size_t bytes;
	} rows[] = {
	    {"x", 1},
	    {"\\n", 1},
	    {"\\u0000", 1},
	    {"\\u00e9", 2},
	    {"\xC3\xA9", 2},
	    {"\\u20ac", 3},
	    {"\\ud800", 3},
	    {"\\udc00", 3},
	    {"\xF0\x9F\x98\x80", 4},
	    {"\\ud83d\\ude00", 4},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t most = SPREADER_ID_MAX / rows[i].bytes;
		for (size_t n = 1; n <= most; n += most - 1) {
			spr_document d = scan_id(rows[i].unit, n);
			assert_int_equal(d.reason, NONE);
			assert_int_equal(d.id_decoded_len, n * rows[i].bytes);
			assert_int_equal(d.id.len, n * strlen(rows[i].unit));
		}
		assert_int_equal(scan_id(rows[i].unit, most + 1).reason, NO_ID);
		assert_null(scan_id(rows[i].unit, most + 1).id.at);
	}
}

/* 512 open at once, the envelope and the body among them. */
static void
test_depth_counts_the_envelope(void **state)
{
	static const struct {
		const char *before;
		size_t open;
	} rows[] = {
	    {"{\"id\":\"1\",\"x\":", 1},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"A\",\"x\":", 2},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"A\",\"message\":", 2},
	    {"{\"id\":\"1\",\"body\":{\"predicate\":\"A\",\"message\":{\"predicate\":", 3},
	};
	char text[MAX_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		for (size_t excess = 0; excess <= 1; excess++) {
			size_t n = SPR_SCAN_DEPTH - rows[i].open + excess;
			char *p = text + sprintf(text, "%s", rows[i].before);
			memset(p, '[', n);
			memset(p + n, ']', n);
			p += 2 * n;
			memset(p, '}', rows[i].open);
			p[rows[i].open] = '\0';
			spreader_reason reason = scan_one(text, SPR_FORMAT_ENVELOPE).reason;
			assert_int_equal(reason == NOT_JSON, excess == 1);
		}
}

/* Documents of a message, each as its whole text; "!" and the used bytes for one that is none. */
static void
assert_documents(const char *message, const char *expected)
{
	char got[512] = "";
	size_t len = strlen(message), used;
	spr_document d;

	memcpy(guard - len, message, len);
	for (const uint8_t *p = guard - len; p < guard; p += used) {
		memset(&d, 0xA5, sizeof(d));
		used = spr_scan_document(p, (size_t)(guard - p), SPR_FORMAT_BARE, &d);
		if (used == 0)
			break;
		assert_true(used <= (size_t)(guard - p));
		if (d.reason == NOT_JSON) {
			assert_null(d.whole.at);
			sprintf(got + strlen(got), "<!%.*s>", (int)used, (const char *)p);
		} else {
			sprintf(got + strlen(got), "<%.*s>", (int)d.whole.len,
				(const char *)d.whole.at);
		}
	}
	assert_string_equal(got, expected);
}

static void
test_documents_of_a_message(void **state)
{
	static const struct {
		const char *message;
		const char *documents;
	} rows[] = {
	    {"", ""},
	    {" \t\r\n", ""},
	    {"{}", "<{}>"},
	    {" {}\n", "<{}>"},
	    {"{}{}", "<{}><{}>"},
	    {"{}\n{}\n", "<{}><{}>"},
	    {"1 2", "<1><2>"},
	    {"[1]\"a\"2", "<[1]><\"a\"><2>"},
	    {"truefalse", "<true><false>"},
	    {"01", "<0><1>"},
	    {"1-2", "<1><-2>"},
	    {"12abc", "<12><!abc>"},
	    {"12abc\n3", "<12><!abc\n><3>"},
	    {"1.\n2", "<1><!.\n><2>"},
	    {"{}x{}\n{}", "<{}><!x{}\n><{}>"},
	    {"{\"a\":}\n{}", "<!{\"a\":}\n><{}>"},
	    {"{\"a\":1\n}\n]\n{}", "<{\"a\":1\n}><!]\n><{}>"},
	    /* the newline counts from the document's first byte, not from where it broke */
	    {"[1,\n2,\n,\n{}", "<![1,\n><2><!,\n><!,\n><{}>"},
	    {"  [\n\n7", "<!  [\n><7>"},
	    {"\n\nx\n7", "<!\n\nx\n><7>"},
	    {"\"a\nb\" 1\n2", "<!\"a\n><!b\" 1\n><2>"},
	    {"{", "<!{>"},
	    {"x\n", "<!x\n>"},
	    {"\xEF\xBB\xBF{}\n{}", "<!\xEF\xBB\xBF{}\n><{}>"},
	    {"\xFF\n{}", "<!\xFF\n><{}>"},
	    {"nul\nnull", "<!nul\n><null>"},
	    {"NaN\n-\n1", "<!NaN\n><!-\n><1>"},
	    {"{}\v{}", "<{}><!\v{}>"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_documents(rows[i].message, rows[i].documents);
}

static void
test_white_space_leaves_the_document_alone(void **state)
{
	spr_document d, before;

	(void)state;
	memset(&d, 0xA5, sizeof(d));
	before = d;
	assert_int_equal(spr_scan_document(guard, 0, SPR_FORMAT_ENVELOPE, &d), 0);
	assert_int_equal(spr_scan_document((const uint8_t *)" \n", 2, SPR_FORMAT_BARE, &d), 0);
	assert_memory_equal(&d, &before, sizeof(d));
}

static void
test_nothing_is_allocated(void **state)
{
	(void)state;
	spr_mem_fail_at(1);
	assert_reason("{\"id\":\"\\n\",\"body\":{\"predicat\\u0065\":\"\\u0041\"}}",
		      SPR_FORMAT_ENVELOPE, NONE);
	assert_int_equal(spr_mem_count(), 0);
	spr_mem_fail_at(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_outcomes_of_an_envelope),
	    cmocka_unit_test(test_predicate_and_payload),
	    cmocka_unit_test(test_bare),
	    cmocka_unit_test(test_duplicates),
	    cmocka_unit_test(test_escaped_names),
	    cmocka_unit_test(test_id_lengths),
	    cmocka_unit_test(test_depth_counts_the_envelope),
	    cmocka_unit_test(test_documents_of_a_message),
	    cmocka_unit_test(test_white_space_leaves_the_document_alone),
	    cmocka_unit_test(test_nothing_is_allocated),
	};

	guard = spr_guard_end(MAX_TEXT);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
