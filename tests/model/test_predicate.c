/*
 * test_predicate - random predicates and patterns against a naive twin, and upper-casing against
 * Python's str.upper().
 *
 * The twin shares no code with the module but spr_upper(): iconv decodes and encodes, the rules are
 * applied one after the other to an array of code points. Python, if it is there, is the oracle for
 * spr_upper() over every code point it knows.
 */
#include "route/predicate.h"

#include "spr_test.h"

#include <iconv.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PYTHON  "/usr/bin/python3"
#define MOST_IN 2400
#define ROUNDS  200000

/* ---- the twin ---- */

typedef struct twin {
	uint32_t point[MOST_IN * 3]; /* upper-cased segments with '.' between */
	size_t n_points;
	unsigned n_segments;
	char text[MOST_IN * 4];
	size_t len;
} twin;

static bool
convert(const char *to, const char *from, const void *in, size_t in_len, void *out, size_t *out_len)
{
	iconv_t cd = iconv_open(to, from);
	char *in_at = NULL;
	char *out_at = out;
	size_t room = *out_len;
	size_t rv;

	assert_true(cd != (iconv_t)-1);
	memcpy(&in_at, &in, sizeof(in_at)); /* iconv's missing const */
	rv = iconv(cd, &in_at, &in_len, &out_at, &room);
	iconv_close(cd);
	*out_len -= room;
	return (rv != (size_t)-1 && in_len == 0);
}

static void
twin_add_segment(twin *t, const uint32_t *point, size_t n)
{
	if (n == 0)
		return;
	if (t->n_segments++ > 0)
		t->point[t->n_points++] = '.';
	for (size_t i = 0; i < n; i++)
		t->n_points += spr_upper(point[i], t->point + t->n_points);
}

static bool
twin_normalise(twin *t, const char *text, size_t len)
{
	static uint32_t point[MOST_IN];
	size_t bytes = sizeof(point);
	size_t n, start = 0;

	t->n_points = t->n_segments = 0;
	if (len == 0 || !convert("UCS-4LE", "UTF-8", text, len, point, &bytes))
		return (false);
	n = bytes / sizeof(point[0]);
	for (size_t i = 0; i < n; i++) {
		if (point[i] == '/' || point[i] > 0x10ffff) /* UCS-4 reaches beyond Unicode */
			return (false);
	}
	if (point[n - 1] == '*' && !(n >= 2 && point[n - 2] == '.'))
		return (false);
	if (point[n - 1] == '.')
		n--;
	if (n > 0 && point[n - 1] == '*')
		n--;
	for (size_t i = 0; i <= n; i++) {
		if (i == n || point[i] == '.') {
			twin_add_segment(t, point + start, i - start);
			start = i + 1;
		}
	}
	t->len = sizeof(t->text);
	assert_true(convert("UTF-8", "UCS-4LE", t->point, t->n_points * sizeof(t->point[0]),
			    t->text, &t->len));
	return (t->len <= SPR_PREDICATE_BYTES && t->n_segments <= SPR_PREDICATE_SEGMENTS);
}

/* Rule 8 by its words; strtok-like walk over the segments as given. */
static bool
twin_is_pattern(const char *text, size_t len, bool allow_catch_all)
{
	size_t start = 0;
	size_t n_stars = 0;

	for (size_t i = 0; i < len; i++)
		n_stars += text[i] == '*';
	for (size_t i = 0; i <= len; i++) {
		if (i < len && text[i] != '.')
			continue;
		if (i == start)
			return (false);
		if (memchr(text + start, '*', i - start) != NULL && (i != len || i - start != 1))
			return (false);
		start = i + 1;
	}
	return (n_stars <= 1 && memchr(text, '\0', len) == NULL &&
		(allow_catch_all || len != 1 || n_stars == 0));
}

/* ---- random texts ---- */

static const char *const pieces[] = {"a",
				     "b",
				     "z",
				     "Q",
				     "7",
				     "-",
				     "UN",
				     "cefact",
				     "a-longer-segment-of-some-words",
				     ".",
				     ".",
				     ".",
				     ".",
				     "..",
				     "*",
				     ".*",
				     "/",
				     "@",
				     "[",
				     "`",
				     "{",
				     "\x7f",
				     "\n",
				     "\xc3\x9f",
				     "\xc3\xa9",
				     "\xc4\xb1",
				     "\xc5\x89",
				     "\xce\x90",
				     "\xef\xac\x81",
				     "\xe4\xb8\xad",
				     "\xf0\x90\x90\xa8",
				     "\xed\xa0\x80",
				     "\xc3",
				     "\x80",
				     "\xff",
				     "\xf4\x90\x80\x80",
				     "\xc0\xae"};
enum { N_PIECES = sizeof(pieces) / sizeof(pieces[0]), N_LETTERS = 9, N_TAME = 16 };

/* One of several tempers: pure ASCII near every limit, some dots, and anything at all. */
static size_t
make_text(char *text, uint64_t *state)
{
	static const uint32_t many[] = {3, 8, 20, 130, 600};
	uint64_t n_pieces = spr_test_below(state, many[spr_test_below(state, 5)] + 1);
	const uint64_t choices[] = {N_LETTERS + 3, N_TAME, N_PIECES};
	uint64_t choice = choices[spr_test_below(state, 3)];
	size_t len = 0;

	for (uint64_t i = 0; i < n_pieces; i++) {
		const char *piece = pieces[spr_test_below(state, choice)];
		size_t n = strlen(piece);

		if (spr_test_below(state, 200) == 0)
			piece = "", n = 1; /* a NUL */
		if (len + n > MOST_IN)
			break;
		memcpy(text + len, piece, n);
		len += n;
	}
	return (len);
}

static void
compare(const spr_predicate *p, const twin *t)
{
	unsigned n_ends = 0;

	assert_int_equal(p->len, t->len);
	assert_int_equal(p->n_segments, t->n_segments);
	assert_memory_equal(p->text, t->text, t->len);
	assert_int_equal(p->text[p->len], '\0');
	for (size_t i = 0; i < t->len; i++) {
		if (t->text[i] == '.') {
			assert_int_equal(p->end[n_ends], i);
			n_ends++;
		}
	}
	if (t->len > 0) {
		assert_int_equal(p->end[n_ends], t->len);
	}
}

static void
test_twin(void **state)
{
	static twin t;
	size_t n_good = 0, n_patterns = 0;
	uint64_t random = spr_test_seed();
	spr_predicate p;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		char buffer[MOST_IN];
		size_t len = make_text(buffer, &random);
		char *text = malloc(
		    len > 0 ? len : 1); /* exact, so that a sanitizer sees any step outside */
		bool is_good, allow = spr_test_below(&random, 2) == 0;

		assert_non_null(text);
		memcpy(text, buffer, len);
		is_good = twin_normalise(&t, text, len);
		assert_int_equal(spr_predicate_normalise(&p, text, len),
				 is_good ? SPR_OK : SPR_E_BAD_PREDICATE);
		if (is_good) {
			compare(&p, &t);
			n_good++;
		}
		if (len == 1 && text[0] == '*') /* the one pattern that is no predicate */
			is_good = true, t.len = t.n_segments = 0;
		is_good = is_good && twin_is_pattern(text, len, allow);
		assert_int_equal(spr_pattern_normalise(&p, text, len, allow),
				 is_good ? SPR_OK : SPR_E_BAD_PATTERN);
		if (is_good) {
			compare(&p, &t);
			n_patterns++;
		}
		free(text);
	}
	print_message("%zu predicates and %zu patterns of %d texts were good\n", n_good, n_patterns,
		      ROUNDS);
	assert_true(n_good > ROUNDS / 10 && n_good < ROUNDS && n_patterns > ROUNDS / 100);
}

/* ---- Python as the oracle of upper-casing ---- */

/* One line for each assigned code point: itself, then its upper case, in hex. */
static const char ask_python[] = PYTHON
    " -c \"import unicodedata as u\n"
    "for c in map(chr, range(0x110000)):\n"
    " if u.category(c) not in ('Cn', 'Cs'): print(*('%x' % ord(x) for x in c + c.upper()))\"";

static void
test_python(void **state)
{
	char line[128];
	size_t n = 0;
	FILE *f;

	(void)state;
	if (access(PYTHON, X_OK) != 0) {
		print_message("no " PYTHON ": upper-casing is not compared\n");
		skip();
	}
	f = popen(ask_python, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		uint32_t out[3];
		char *at = line;
		unsigned long code_point = strtoul(at, &at, 16);
		unsigned n_out = spr_upper((uint32_t)code_point, out);

		for (unsigned i = 0; i < n_out; i++) {
			if (strtoul(at, &at, 16) != out[i])
				fail_msg("U+%04lX differs: %s", code_point, line);
		}
		assert_string_equal(at, "\n");
		n++;
	}
	assert_int_equal(pclose(f), 0);
	assert_true(n > 250000); /* Unicode 14 assigns 282,146, private use included */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_twin),
	    cmocka_unit_test(test_python),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
