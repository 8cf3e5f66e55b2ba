/*
 * spr_made - see the header. Objects know what they are, so that the members that matter come often
 * and mostly with a value that fits; what is never made well-formed cannot be found misread.
 */
#include "spr_made.h"

#include <string.h>

#include "spr_test.h"

typedef enum object_kind { ENVELOPE, BODY, MESSAGE, OTHER } object_kind;

#define PICK(t, list) ((list)[spr_test_below(&(t)->random, sizeof(list) / sizeof(*(list)))])

static bool
chance(spr_made_text *t, unsigned percent)
{
	return (spr_test_below(&t->random, 100) < percent);
}

static void
put(spr_made_text *t, const char *piece)
{
	size_t n = strlen(piece);

	if (n <= SPR_MADE_MAX - t->len) {
		memcpy(t->at + t->len, piece, n);
		t->len += n;
	}
}

static void
put_space(spr_made_text *t)
{
	static const char *const spaces[] = {" ", "\n", "\t", "\r\n", "    ", " \n\t\r "};

	if (chance(t, 6))
		put(t, PICK(t, spaces));
}

static void
put_string(spr_made_text *t)
{
	static const char *const pieces[] = {
	    "a",
	    "UN.CEFACT",
	    ".",
	    "*",
	    "/",
	    "\\n",
	    "\\\"",
	    "\\\\",
	    "\\/",
	    "\\u0041",
	    "\\u00e9",
	    "\\ud83d\\ude00",
	    "\xC3\xA9",
	    "\xE2\x82\xAC",
	    "\xF0\x9F\x98\x80",
	    "}",
	    "]",
	    ",",
	    ":",
	    "some plain text that is longer than a vector or two of them",
	    "\x7f",
	    "predicate",
	};
	static const char *const rare[] = {"\\ud800", "\\udfff", "\\u0000",
					   "\\uDBFF\\uDBFF\\uDFFF"};

	put(t, "\"");
	for (uint64_t n = spr_test_below(&t->random, chance(t, 3) ? 100 : 5); n > 0; n--)
		put(t, PICK(t, pieces));
	if (chance(t, 4))
		put(t, PICK(t, rare));
	put(t, "\"");
}

static void
put_number(spr_made_text *t)
{
	static const char *const numbers[] = {
	    "0",        "-0",     "0.0",       "0e7",
	    "-0.00E-3", "1",      "-1",        "12345678901234567890123",
	    "1e400",    "1e-400", "2.47e-324", "2.48e-324",
	    "0.1",      "1.5e3",  "5e-324",    "9007199254740993",
	};
	static const char *const tails[] = {"0", "00", "7", ".5", ".0", "e3", "E-320", "e+0"};

	put(t, PICK(t, numbers));
	if (chance(t, 10)) /* often no number any more */
		put(t, PICK(t, tails));
}

static void put_object(spr_made_text *t, object_kind kind, unsigned depth);

static void
put_nest(spr_made_text *t)
{
	uint64_t n = 500 + spr_test_below(&t->random, 20);

	for (uint64_t i = 0; i < n; i++)
		put(t, i % 3 == 0 ? "{\"\":" : "[");
	put(t, "0");
	for (uint64_t i = n; i-- > 0;)
		put(t, i % 3 == 0 ? "}" : "]");
}

static void
put_value(spr_made_text *t, unsigned depth)
{
	static const char *const plain[] = {"null", "true", "false", "\"\"",
					    "[]",   "{}",   "[ ]",   "{ }"};
	uint64_t dice = spr_test_below(&t->random, depth < 5 ? 10 : 7);

	if (dice < 2) {
		put(t, PICK(t, plain));
	} else if (dice < 5) {
		put_string(t);
	} else if (dice < 7) {
		put_number(t);
	} else if (dice < 8) {
		put_object(t, OTHER, depth + 1);
	} else if (chance(t, 1)) {
		put_nest(t);
	} else {
		put(t, "[");
		for (uint64_t n = spr_test_below(&t->random, 4); n > 0; n--) {
			put_space(t);
			put_value(t, depth + 1);
			put_space(t);
			put(t, n > 1 ? "," : "");
		}
		put(t, "]");
	}
}

/* A member of an object of this kind: mostly one that matters there, with a value that fits. */
static void
put_member(spr_made_text *t, object_kind kind, unsigned depth)
{
	static const char *const names[4][7] = {
	    {"id", "body", "body", "from", "\\u0069d", "bo\\u0064y", "x"},
	    {"predicate", "predicate", "message", "predicat\\u0065", "\\u006dessage", "id", "x"},
	    {"predicate", "predicate", "x", "message", "\\u0070redicate", "predicate\\u0000", "y"},
	    {"id", "body", "x", "predicate", "message", "", "predicates\\n"},
	};
	const char *name = names[kind][spr_test_below(&t->random, 7)];

	put_space(t);
	put(t, "\"");
	put(t, name);
	put(t, "\"");
	put_space(t);
	put(t, ":");
	put_space(t);
	if (kind == ENVELOPE && strchr(name, 'b') != NULL && chance(t, 95))
		put_object(t, BODY, depth + 1);
	else if (kind == BODY && strstr(name, "essage") != NULL && chance(t, 50))
		put_object(t, MESSAGE, depth + 1);
	else if (kind != OTHER && strstr(name, "essage") == NULL && chance(t, 80))
		put_string(t);
	else
		put_value(t, depth + 1);
	put_space(t);
}

static void
put_object(spr_made_text *t, object_kind kind, unsigned depth)
{
	uint64_t n = spr_test_below(&t->random, 7);

	put(t, "{");
	if (kind == ENVELOPE && chance(t, 90))
		put(t, n > 0 ? "\"id\":\"7\"," : "\"id\":\"7\"");
	for (; n > 0; n--) {
		put_member(t, kind, depth);
		put(t, n > 1 ? "," : "");
	}
	put(t, "}");
}

static void
damage(spr_made_text *t)
{
	static const char *const pieces[] = {
	    "\"",
	    "\\",
	    "{",
	    "}",
	    "[",
	    "]",
	    ",",
	    ":",
	    "0",
	    "-",
	    ".",
	    "e",
	    "\n",
	    " ",
	    "x",
	    "\\u12",
	    "\x01",
	    "\x1f",
	    "\x80",
	    "\xC3",
	    "\xED\xA0\x80",
	    "\xC0\x80",
	    "\xF4\x90\x80\x80",
	    "\xEF\xBB\xBF",
	    "NaN",
	    "Infinity",
	    "-Infinity",
	    "null",
	    "\"a\"",
	    "\\x",
	    "\v",
	    "\xC2\xA0",
	    "//",
	    "'",
	    "1.",
	    "01",
	};
	size_t at = spr_test_below(&t->random, t->len + 1), n;
	const char *piece;

	switch (spr_test_below(&t->random, 4)) {
	case 0: /* lose some bytes */
		n = spr_test_below(&t->random, 4);
		n = n < t->len - at ? n : t->len - at;
		memmove(t->at + at, t->at + at + n, t->len - at - n);
		t->len -= n;
		break;
	case 1: /* lose the end */
		t->len = chance(t, 30) ? at : t->len;
		break;
	case 2: /* change a byte */
		if (at < t->len)
			t->at[at] = (char)(chance(t, 50) ? spr_test_below(&t->random, 256)
							 : (uint64_t)*PICK(t, pieces));
		break;
	default: /* something more */
		piece = PICK(t, pieces);
		n = strlen(piece);
		if (n > SPR_MADE_MAX - t->len)
			break;
		memmove(t->at + at + n, t->at + at, t->len - at);
		memcpy(t->at + at, piece, n);
		t->len += n;
	}
}

void
spr_made_message(spr_made_text *t, spr_format format)
{
	static const char *const between[] = {"", "\n", "\n", "\n", " ", "\n\n"};

	t->len = 0;
	for (uint64_t n = 1 + spr_test_below(&t->random, 3); n > 0; n--) {
		if (chance(t, 95))
			put_object(t, format == SPR_FORMAT_BARE ? BODY : ENVELOPE, 0);
		else
			put_value(t, 0);
		put(t, PICK(t, between));
	}
	while (chance(t, 40))
		damage(t);
	t->at[t->len] = '\0';
}
