/*
 * test_predicate - every rule of predicates, patterns and callbacks, with its text; the limits; and
 * the recorded answers of the original (tests/vectors/contract.json). The module allocates nothing,
 * so no allocation can fail.
 */
#include "route/predicate.h"

#include "spr_test.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VECTORS SPR_TEST_SOURCE_DIR "/tests/vectors/contract.json"
#define N_OF(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT(s) (s), sizeof(s) - 1
#define MOST_IN 8192

typedef struct refusal {
	const char *text;
	size_t len;
	const char *trail;
} refusal;

/* Segments as "A/B/", the way the vectors print a layer. */
static void
print_layer(const spr_predicate *p, unsigned n_segments, char *out)
{
	size_t start = 0;

	*out = '\0';
	for (unsigned i = 0; i < n_segments; i++) {
		assert_true(p->end[i] > start && p->end[i] <= p->len);
		out += sprintf(out, "%.*s/", (int)(p->end[i] - start), p->text + start);
		start = (size_t)p->end[i] + 1;
	}
}

static void
check_text(const spr_predicate *p, const char *text, unsigned n_segments)
{
	assert_string_equal(p->text, text);
	assert_int_equal(p->len, strlen(text));
	assert_int_equal(p->n_segments, n_segments);
	for (unsigned i = 0; i < n_segments; i++) {
		assert_int_equal(p->text[p->end[i]], i + 1 < n_segments ? '.' : '\0');
	}
	if (n_segments > 0) {
		assert_int_equal(p->end[n_segments - 1], p->len);
	}
}

static cJSON *
load_vectors(void)
{
	FILE *f = fopen(VECTORS, "r");
	char *text = malloc(1 << 20);
	cJSON *json;

	assert_non_null(f);
	assert_non_null(text);
	text[fread(text, 1, (1 << 20) - 1, f)] = '\0';
	fclose(f);
	json = cJSON_Parse(text);
	free(text);
	assert_non_null(json);
	return (json);
}

static void
check_vector(const char *in, const cJSON *layers)
{
	spr_predicate p;
	char layer[2 * SPR_PREDICATE_BYTES];

	print_message("vector \"%s\"\n", in);
	if (cJSON_IsNull(layers)) {
		assert_fails(spr_predicate_normalise(&p, in, strlen(in)), SPR_E_BAD_PREDICATE);
		assert_fails(spr_pattern_normalise(&p, in, strlen(in), false), SPR_E_BAD_PATTERN);
		return;
	}
	assert_ok(spr_predicate_normalise(&p, in, strlen(in)));
	assert_int_equal(p.n_segments, cJSON_GetArraySize(layers));
	for (unsigned i = 0; i < p.n_segments; i++) {
		print_layer(&p, i + 1, layer);
		assert_string_equal(layer, cJSON_GetArrayItem(layers, (int)i)->valuestring);
	}
}

static void
test_vectors(void **state)
{
	cJSON *json = load_vectors();
	const cJSON *patterns = cJSON_GetObjectItem(json, "patterns");
	const cJSON *entry;

	(void)state;
	assert_true(cJSON_GetArraySize(patterns) > 40);
	cJSON_ArrayForEach(entry, patterns)
	{
		check_vector(cJSON_GetObjectItem(entry, "in")->valuestring,
			     cJSON_GetObjectItem(entry, "layers"));
	}
	cJSON_Delete(json);
}

static void
test_predicates(void **state)
{
	static const struct {
		const char *in;
		const char *out;
		unsigned n_segments;
	} good[] = {
	    {"UN.CEFACT.TRADE.CO.created", "UN.CEFACT.TRADE.CO.CREATED", 5},
	    {"@[`{az09-_", "@[`{AZ09-_", 1}, /* the neighbours of the letters */
	    {"a.b.*..", "A.B.*", 3},         /* one dot goes, and then no star is last */
	    {"a*.", "A", 1},                 /* the star is judged before the dot goes */
	    {"a...b....c", "A.B.C", 3},
	    {"....a", "A", 1},
	    {"a.*.", "A", 1},
	    {"*.*.*", "*.*", 2},
	    {"12345678", "12345678", 1}, /* one word to the byte */
	    {"1234567.9", "1234567.9", 2},
	    {"12345678.0", "12345678.0", 2},
	    {"\xc3\xa9t\xc3\xa9.x", "\xc3\x89T\xc3\x89.X", 2},
	    {"x.\xe4\xb8\xad\xe6\x96\x87.y", "X.\xe4\xb8\xad\xe6\x96\x87.Y", 3},
	    {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf", 1},
	    {"a\xef\xbc\x8f\xef\xbc\x8e", "A\xef\xbc\x8f\xef\xbc\x8e",
	     1}, /* full-width look-alikes */
	};
	spr_predicate p;

	(void)state;
	for (size_t i = 0; i < N_OF(good); i++) {
		assert_ok(spr_predicate_normalise(&p, good[i].in, strlen(good[i].in)));
		check_text(&p, good[i].out, good[i].n_segments);
	}
}

/* A NUL is a character like another in a predicate; it just cannot be subscribed to. */
static void
test_predicate_with_nul(void **state)
{
	spr_predicate p;

	(void)state;
	assert_ok(spr_predicate_normalise(&p, TEXT("a\0b.c")));
	assert_int_equal(p.len, 5);
	assert_memory_equal(p.text, "A\0B.C", 6);
	assert_int_equal(p.n_segments, 2);
}

static void
test_predicates_refused(void **state)
{
	static const refusal bad[] = {
	    {TEXT(""), "empty: \"\""},
	    {TEXT("*"), "trailing '*' not preceded by '.': \"*\""},
	    {TEXT("a.b*"), "trailing '*' not preceded by '.': \"a.b*\""},
	    {TEXT("a/b"), "holds '/': \"a/b\""},
	    {TEXT("a.b/."), "holds '/': \"a.b/.\""},
	    {TEXT("/"), "holds '/': \"/\""},
	    {TEXT("\xc3\xa9/x"), "holds '/': \"\\xc3\\xa9/x\""},
	    {TEXT("a\"\\\n\x7f/"), "holds '/': \"a\\x22\\x5c\\x0a\\x7f/\""},
	    {TEXT("a\0/"), "holds '/': \"a\\x00/\""},
	    {TEXT(
		 "012345678901234567890123456789012345678901234567890123456789012/"), /* just fits */
	     "holds '/': \"012345678901234567890123456789012345678901234567890123456789012/\""},
	    {TEXT("0123456789012345678901234567890123456789012345678901234567890123/"),
	     "holds '/': \"0123456789012345678901234567890123456789012345678901234567890123\"..."},
	};
	spr_predicate p;

	(void)state;
	for (size_t i = 0; i < N_OF(bad); i++) {
		assert_fails(spr_predicate_normalise(&p, bad[i].text, bad[i].len),
			     SPR_E_BAD_PREDICATE);
		assert_string_equal(spr_error_text(SPR_E_BAD_PREDICATE), bad[i].trail);
	}
}

static void
test_not_utf8(void **state)
{
	static const refusal bad[] = {
	    {TEXT("\x80"), "not UTF-8: \"\\x80\""}, /* lone continuation */
	    {TEXT("\xbf.a"), "not UTF-8: \"\\xbf.a\""},
	    {TEXT("\xc3"), "not UTF-8: \"\\xc3\""}, /* cut */
	    {TEXT("\xe4\xb8."), "not UTF-8: \"\\xe4\\xb8.\""},
	    {TEXT("\xf0\x90\x90"), "not UTF-8: \"\\xf0\\x90\\x90\""},
	    {TEXT("\xc3z"), "not UTF-8: \"\\xc3z\""},        /* no continuation */
	    {TEXT("\xc0\xaf"), "not UTF-8: \"\\xc0\\xaf\""}, /* overlong '/' */
	    {TEXT("\xc1\xbf"), "not UTF-8: \"\\xc1\\xbf\""},
	    {TEXT("\xe0\x9f\xbf"), "not UTF-8: \"\\xe0\\x9f\\xbf\""},
	    {TEXT("\xf0\x8f\xbf\xbf"), "not UTF-8: \"\\xf0\\x8f\\xbf\\xbf\""},
	    {TEXT("a.\xed\xa0\x80"), "not UTF-8: \"a.\\xed\\xa0\\x80\""},      /* first surrogate */
	    {TEXT("\xed\xbf\xbf.a"), "not UTF-8: \"\\xed\\xbf\\xbf.a\""},      /* last surrogate */
	    {TEXT("\xf4\x90\x80\x80"), "not UTF-8: \"\\xf4\\x90\\x80\\x80\""}, /* beyond U+10FFFF */
	    {TEXT("\xf5\x80\x80\x80"), "not UTF-8: \"\\xf5\\x80\\x80\\x80\""},
	    {TEXT("\xff"), "not UTF-8: \"\\xff\""},
	};
	spr_predicate p;

	(void)state;
	for (size_t i = 0; i < N_OF(bad); i++) {
		assert_fails(spr_predicate_normalise(&p, bad[i].text, bad[i].len),
			     SPR_E_BAD_PREDICATE);
		assert_string_equal(spr_error_text(SPR_E_BAD_PREDICATE), bad[i].trail);
		assert_fails(spr_pattern_normalise(&p, bad[i].text, bad[i].len, true),
			     SPR_E_BAD_PATTERN);
	}
	assert_fails(spr_predicate_normalise(&p, TEXT("\xed\x9f\xbf")),
		     SPR_OK); /* just below the surrogates */
	assert_ok(spr_predicate_normalise(&p, TEXT("\xee\x80\x80"))); /* just above */
}

/* times x unit, then last; normalised; expects len and n_segments, or a refusal when len is 0. */
static void
check_repeated(const char *unit, size_t times, const char *last, size_t len, unsigned n_segments)
{
	static char text[MOST_IN];
	size_t n = 0;
	spr_predicate p;
	spr_err rv;

	for (size_t i = 0; i < times; i++) {
		n += (size_t)sprintf(text + n, "%s", unit);
	}
	n += (size_t)sprintf(text + n, "%s", last);
	assert_true(n < sizeof(text));
	rv = spr_predicate_normalise(&p, text, n);
	assert_fails(rv, n_segments > 0 ? SPR_OK : SPR_E_BAD_PREDICATE);
	if (rv == SPR_OK) {
		assert_int_equal(p.len, len);
		assert_int_equal(p.n_segments, n_segments);
		assert_int_equal(p.text[p.len], '\0');
		assert_int_equal(p.end[n_segments - 1], len);
	}
}

static void
check_too_long(void)
{
	assert_int_equal(strncmp(spr_error_text(SPR_E_BAD_PREDICATE), "over 1024 bytes: ", 17), 0);
}

static void
test_limit_bytes(void **state)
{
	(void)state;
	check_repeated("a", 1024, "", 1024, 1);
	check_repeated("a", 1024, ".", 1024, 1);
	check_repeated("a", 1024, ".*", 1024, 1);
	check_repeated("a", 1024, ".*.", 1024, 1);
	check_repeated("a", 1025, "", 0, 0);
	check_too_long();
	check_repeated("a", 1023, ".b", 0, 0);
	check_too_long();
	check_repeated("a", 1022, ".b", 1024, 2);
	check_repeated("a", 1022, "...b", 1024, 2); /* what is dropped does not count */
	check_repeated(".", 4000, "b", 1, 1);
	check_repeated("a", 1024, ".b", 0, 0); /* no room for the dot */
	check_too_long();
	check_repeated("a", 1022, "\xc3\xa9", 1024, 1);
	check_repeated("a", 1023, "\xc3\xa9", 0, 0);
	check_too_long();
	check_repeated("\xc5\x89", 341, "a", 1024, 1); /* upper case is longer ... */
	check_repeated("\xc5\x89", 342, "", 0, 0);
	check_too_long();
	check_repeated("\xc4\xb1", 1024, "", 1024, 1); /* ... or shorter than the text */
	check_repeated("\xc4\xb1", 1025, "", 0, 0);
}

static void
test_limit_segments(void **state)
{
	(void)state;
	check_repeated("a.", 63, "b", 127, 64);
	check_repeated("a.", 64, "", 127, 64);
	check_repeated("a..", 63, "b", 127, 64);
	check_repeated("a.", 63, "\xc3\xa9.*", 128, 64);
	check_repeated("a.", 64, "b", 0, 0);
	assert_int_equal(strncmp(spr_error_text(SPR_E_BAD_PREDICATE), "over 64 segments: ", 18), 0);
	check_repeated("a.", 64, "\xc3\xa9", 0, 0);
	check_repeated("a.", 64, ".*", 127, 64);
	check_repeated("a..", 64, "b", 0, 0);
}

/* Every length across the word size, in a buffer without a byte to spare: the sanitizers see any
 * step outside. */
static void
test_no_byte_beyond(void **state)
{
	spr_predicate p;

	(void)state;
	for (size_t len = 1; len <= 40; len++) {
		for (size_t dot = 0; dot < len; dot++) {
			char *text = malloc(len);

			assert_non_null(text);
			memset(text, 'z', len);
			text[dot] = '.';
			assert_ok(spr_predicate_normalise(&p, text, len));
			assert_int_equal(p.n_segments, dot == 0 || dot + 1 == len ? len > 1 : 2);
			assert_int_equal(p.len, dot == 0 || dot + 1 == len ? len - 1 : len);
			assert_int_equal(strspn(p.text, "Z."), p.len);
			free(text);
		}
	}
}

static void
test_patterns(void **state)
{
	static const struct {
		const char *in;
		const char *printed;
		unsigned n_segments;
	} good[] = {
	    {"un.cefact.*", "UN.CEFACT", 2},
	    {"UN.CEFACT", "UN.CEFACT", 2},
	    {"a", "A", 1},
	    {" a. b ", " A. B ", 2},
	    {"stra\xc3\x9f"
	     "e.*",
	     "STRASSE", 1},
	    {"*", "*", 0},
	};
	spr_predicate p, again;

	(void)state;
	for (size_t i = 0; i < N_OF(good); i++) {
		assert_ok(spr_pattern_normalise(&p, good[i].in, strlen(good[i].in), true));
		check_text(&p, good[i].n_segments > 0 ? good[i].printed : "", good[i].n_segments);
		assert_string_equal(spr_pattern_text(&p), good[i].printed);
		/* what list prints can be imported again */
		assert_ok(
		    spr_pattern_normalise(&again, good[i].printed, strlen(good[i].printed), true));
		check_text(&again, p.text, p.n_segments);
	}
}

static void
test_patterns_refused(void **state)
{
	static const refusal bad[] = {
	    {TEXT(""), "empty: \"\""},
	    {TEXT("."), "empty segment: \".\""},
	    {TEXT("a."), "empty segment: \"a.\""},
	    {TEXT(".a"), "empty segment: \".a\""},
	    {TEXT("a..b"), "empty segment: \"a..b\""},
	    {TEXT(".*"), "empty segment: \".*\""},
	    {TEXT("a.b.*."), "'*' is allowed once, as the last segment: \"a.b.*.\""},
	    {TEXT("**"), "'*' is allowed once, as the last segment: \"**\""},
	    {TEXT("*."), "'*' is allowed once, as the last segment: \"*.\""},
	    {TEXT("*.b"), "'*' is allowed once, as the last segment: \"*.b\""},
	    {TEXT("*.*"), "'*' is allowed once, as the last segment: \"*.*\""},
	    {TEXT("a*"), "'*' is allowed once, as the last segment: \"a*\""},
	    {TEXT("a.*b"), "'*' is allowed once, as the last segment: \"a.*b\""},
	    {TEXT("a.b*"), "'*' is allowed once, as the last segment: \"a.b*\""},
	    {TEXT("a.*.b"), "'*' is allowed once, as the last segment: \"a.*.b\""},
	    {TEXT("a.**"), "'*' is allowed once, as the last segment: \"a.**\""},
	    {TEXT("a\0b"), "holds a NUL: \"a\\x00b\""},
	    {TEXT("a/b"), "holds '/': \"a/b\""},
	    {TEXT("a\xff"), "not UTF-8: \"a\\xff\""},
	};
	spr_predicate p;

	(void)state;
	for (size_t i = 0; i < N_OF(bad); i++) {
		assert_fails(spr_pattern_normalise(&p, bad[i].text, bad[i].len, true),
			     SPR_E_BAD_PATTERN);
		assert_string_equal(spr_error_text(SPR_E_BAD_PATTERN), bad[i].trail);
		assert_fails(spr_pattern_normalise(&p, bad[i].text, bad[i].len, false),
			     SPR_E_BAD_PATTERN);
	}
	assert_fails(spr_pattern_normalise(&p, TEXT("*"), false), SPR_E_BAD_PATTERN);
	assert_string_equal(spr_error_text(SPR_E_BAD_PATTERN),
			    "the catch-all needs --allow-catch-all: \"*\"");
}

static void
test_pattern_limits(void **state)
{
	char text[1 + SPR_PREDICATE_BYTES + 2];
	spr_predicate p;

	(void)state;
	memset(text, 'a', sizeof(text));
	assert_ok(spr_pattern_normalise(&p, text, SPR_PREDICATE_BYTES, false));
	assert_fails(spr_pattern_normalise(&p, text, SPR_PREDICATE_BYTES + 1, false),
		     SPR_E_BAD_PATTERN);
	assert_int_equal(strncmp(spr_error_text(SPR_E_BAD_PATTERN), "over 1024 bytes: ", 17), 0);
	memcpy(text + SPR_PREDICATE_BYTES, ".*", 2);
	assert_ok(spr_pattern_normalise(&p, text, SPR_PREDICATE_BYTES + 2, false));
	assert_int_equal(p.len, SPR_PREDICATE_BYTES);
}

static void
test_callbacks(void **state)
{
	static const char *const good[] = {
	    "http://a",
	    "https://a",
	    "HTTP://A",
	    "hTTpS://a.example/x?y=z#f",
	    "http://a:80",
	    "http://a:",
	    "http://a:0/",
	    "http://a:65535",
	    "http://a:00080",
	    "http://user:secret@a/",
	    "http://@a",
	    "http://a@b@c:1",
	    "http://[::1]",
	    "http://[::1]:8080/x",
	    "http://u@[2001:db8::7]:",
	    "http://[fe80::1%25eth0]/",
	    "http://[::ffff:192.0.2.1]",
	    "http://127.0.0.1:9/cb",
	    "http://a?x",
	    "http://a#x",
	    "http://a/@:",
	    "http://m\xc3\xbcnchen.example/\xe2\x82\xac",
	    "http://a/%20",
	    "http://a_b.svc.cluster.local",
	    "http://[0000:0000:0000:0000:0000:ffff:192.168.100.228]",
	};

	(void)state;
	for (size_t i = 0; i < N_OF(good); i++) {
		print_message("callback %s\n", good[i]);
		assert_ok(spr_callback_check(good[i], strlen(good[i])));
	}
}

static const refusal bad_callbacks[] = {
    {TEXT(""), "not http:// or https://: \"\""},
    {TEXT("http:/"), "not http:// or https://: \"http:/\""},
    {TEXT("http:/a/b"), "not http:// or https://: \"http:/a/b\""},
    {TEXT("https:/"), "not http:// or https://: \"https:/\""},
    {TEXT("ftp://a"), "not http:// or https://: \"ftp://a\""},
    {TEXT(" http://a"), "not http:// or https://: \" http://a\""},
    {TEXT("a.example/cb"), "not http:// or https://: \"a.example/cb\""},
    {TEXT("http://"), "no host: \"http://\""},
    {TEXT("https://"), "no host: \"https://\""},
    {TEXT("http:///x"), "no host: \"http:///x\""},
    {TEXT("http://?x"), "no host: \"http://?x\""},
    {TEXT("http://#x"), "no host: \"http://#x\""},
    {TEXT("http://:80"), "no host: \"http://:80\""},
    {TEXT("http://u@"), "no host: \"http://u@\""},
    {TEXT("http://u:p@:80/x"), "no host: \"http://u:p@:80/x\""},
    {TEXT("http://a@b@:80"), "no host: \"http://a@b@:80\""},
    {TEXT("http://::1"), "no host: \"http://::1\""},
    {TEXT("http://a:65536"), "port is not 0 to 65535: \"http://a:65536\""},
    {TEXT("http://a:18446744073709551696"),
     "port is not 0 to 65535: \"http://a:18446744073709551696\""},
    {TEXT("http://a:-1"), "port is not 0 to 65535: \"http://a:-1\""},
    {TEXT("http://a:b:c"), "port is not 0 to 65535: \"http://a:b:c\""},
    {TEXT("http://[::1]x"), "port is not 0 to 65535: \"http://[::1]x\""},
    {TEXT("http://[]"), "not an IPv6 address in the brackets: \"http://[]\""},
    {TEXT("http://[::1"), "not an IPv6 address in the brackets: \"http://[::1\""},
    {TEXT("http://[::1/]"), "not an IPv6 address in the brackets: \"http://[::1/]\""},
    {TEXT("http://[a]"), "not an IPv6 address in the brackets: \"http://[a]\""},
    {TEXT("http://[::1%]"), "not an IPv6 address in the brackets: \"http://[::1%]\""},
    {TEXT("http://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]"),
     "not an IPv6 address in the brackets: "
     "\"http://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]\""},
    {TEXT("http://[0000:0000:0000:0000:0000:0ffff:192.168.100.228]"),
     "not an IPv6 address in the brackets: "
     "\"http://[0000:0000:0000:0000:0000:0ffff:192.168.100.228]\""},
    {TEXT("http://a\0b"), "holds a control character or a blank: \"http://a\\x00b\""},
    {TEXT("http://a/ b"), "holds a control character or a blank: \"http://a/ b\""},
    {TEXT("http://a/\r\n"), "holds a control character or a blank: \"http://a/\\x0d\\x0a\""},
    {TEXT("http://a/\x7f"), "holds a control character or a blank: \"http://a/\\x7f\""},
    {TEXT("http://a/\xc2\x85"), "holds a control character or a blank: \"http://a/\\xc2\\x85\""},
    {TEXT("http://a/\xc2\xa0"), "holds a control character or a blank: \"http://a/\\xc2\\xa0\""},
    {TEXT("http://\xe3\x80\x80"),
     "holds a control character or a blank: \"http://\\xe3\\x80\\x80\""},
    {TEXT("http://a/\xe2\x80\xa8"),
     "holds a control character or a blank: \"http://a/\\xe2\\x80\\xa8\""},
    {TEXT("http://a/\xff"), "not UTF-8: \"http://a/\\xff\""},
    {TEXT("http://a/\xed\xa0\x80"), "not UTF-8: \"http://a/\\xed\\xa0\\x80\""},
};

static void
test_callbacks_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(bad_callbacks); i++) {
		assert_fails(spr_callback_check(bad_callbacks[i].text, bad_callbacks[i].len),
			     SPR_E_BAD_CALLBACK);
		assert_string_equal(spr_error_text(SPR_E_BAD_CALLBACK), bad_callbacks[i].trail);
	}
}

/* Cut anywhere, without a byte to spare. */
static void
test_callback_cut(void **state)
{
	static const char whole[] = "https://u@[::1]:80/";

	(void)state;
	for (size_t len = 1; len < sizeof(whole); len++) {
		char *text = malloc(len);
		bool is_whole = len >= strlen("https://u@[::1]");

		assert_non_null(text);
		memcpy(text, whole, len);
		if (len == strlen("https://u"))
			is_whole = true;
		assert_fails(spr_callback_check(text, len), is_whole ? SPR_OK : SPR_E_BAD_CALLBACK);
		free(text);
	}
}

static void
test_callback_limit(void **state)
{
	char text[SPR_CALLBACK_MAX + 1];

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "http://", 7);
	assert_ok(spr_callback_check(text, SPR_CALLBACK_MAX));
	assert_fails(spr_callback_check(text, SPR_CALLBACK_MAX + 1), SPR_E_BAD_CALLBACK);
	assert_int_equal(strncmp(spr_error_text(SPR_E_BAD_CALLBACK), "over 4096 bytes: ", 17), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vectors),
	    cmocka_unit_test(test_predicates),
	    cmocka_unit_test(test_predicate_with_nul),
	    cmocka_unit_test(test_predicates_refused),
	    cmocka_unit_test(test_not_utf8),
	    cmocka_unit_test(test_limit_bytes),
	    cmocka_unit_test(test_limit_segments),
	    cmocka_unit_test(test_no_byte_beyond),
	    cmocka_unit_test(test_patterns),
	    cmocka_unit_test(test_patterns_refused),
	    cmocka_unit_test(test_pattern_limits),
	    cmocka_unit_test(test_callbacks),
	    cmocka_unit_test(test_callbacks_refused),
	    cmocka_unit_test(test_callback_cut),
	    cmocka_unit_test(test_callback_limit),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
