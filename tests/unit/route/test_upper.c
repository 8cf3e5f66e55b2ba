/*
 * test_upper - the table's shape, well-known mappings, and that the committed table is what the
 * generator prints. All code points against Python's str.upper(): tests/model/test_predicate.c.
 */
#include "route/predicate.h"

#include "route/upper_table.h"
#include "spr_test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_RUNS    (sizeof(upper_runs) / sizeof(upper_runs[0]))
#define N_SPECIAL (sizeof(special_upper) / sizeof(special_upper[0]))
#define UNICODE   "/usr/share/unicode/UnicodeData.txt"
#define PYTHON    "/usr/bin/python3"

static void
test_known(void **state)
{
	static const struct {
		uint32_t in;
		unsigned n;
		uint32_t out[3];
	} known[] = {
	    {'a', 1, {'A'}},
	    {'Z', 1, {'Z'}},
	    {0x7f, 1, {0x7f}},
	    {0xb5, 1, {0x39c}},                 /* micro sign -> capital mu */
	    {0xd7, 1, {0xd7}},                  /* between two runs of letters */
	    {0xdf, 2, {'S', 'S'}},              /* sharp s */
	    {0xff, 1, {0x178}},                 /* y with diaeresis */
	    {0x101, 1, {0x100}},                /* stride 2: a letter ... */
	    {0x102, 1, {0x102}},                /* ... and its neighbour, upper case already */
	    {0x130, 1, {0x130}},                /* I with dot */
	    {0x131, 1, {'I'}},                  /* dotless i; a Turkish locale changes nothing */
	    {0x149, 2, {0x2bc, 'N'}},           /* n with apostrophe */
	    {0x1c5, 1, {0x1c4}},                /* title case */
	    {0x390, 3, {0x399, 0x308, 0x301}},  /* iota with dialytika and tonos */
	    {0x3c2, 1, {0x3a3}},                /* final sigma */
	    {0x10d0, 1, {0x1c90}},              /* Georgian */
	    {0x1fb7, 3, {0x391, 0x342, 0x399}}, /* three, inside a run of special ones */
	    {0xfb01, 2, {'F', 'I'}},            /* ligature */
	    {0xfb06, 2, {'S', 'T'}},            /* last of its run */
	    {0xfb07, 1, {0xfb07}},              /* just after it */
	    {0x4e00, 1, {0x4e00}},              /* no case at all */
	    {0x10428, 1, {0x10400}},            /* beyond 16 bits */
	    {0x1e943, 1, {0x1e921}},            /* the last run's end */
	    {0x1e944, 1, {0x1e944}},            /* beyond the last run */
	    {0x10ffff, 1, {0x10ffff}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		uint32_t out[3] = {0, 0, 0};

		assert_int_equal(spr_upper(known[i].in, out), known[i].n);
		assert_memory_equal(out, known[i].out, known[i].n * sizeof(out[0]));
	}
}

/* The search relies on sorted runs that do not overlap, and on places inside the second table. */
static void
test_table_shape(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_RUNS; i++) {
		const struct upper_run *run = &upper_runs[i];

		assert_true(run->first <= run->last);
		assert_true(i == 0 || upper_runs[i - 1].last < run->first);
		if (run->stride == 0) {
			assert_true(run->delta >= 0);
			assert_true((size_t)run->delta + run->last - run->first < N_SPECIAL);
		} else {
			assert_int_equal((run->last - run->first) % run->stride, 0);
		}
	}
	for (size_t i = 0; i < N_SPECIAL; i++) {
		assert_true(special_upper[i][0] != 0 && special_upper[i][1] != 0);
	}
}

/* Upper case is upper case already: what list prints can be imported again. And no dot, star or
 * slash comes to be. */
static void
test_idempotent(void **state)
{
	(void)state;
	for (uint32_t c = 0; c <= 0x10ffff; c++) {
		uint32_t out[3], again[3];
		unsigned n = spr_upper(c, out);

		assert_in_range(n, 1, 3);
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(spr_upper(out[i], again), 1);
			assert_int_equal(again[0], out[i]);
			assert_true(out[i] == c || (out[i] >= 'A' && out[i] <= 0x10ffff));
			assert_true(out[i] < 0xd800 || out[i] > 0xdfff || out[i] == c);
		}
	}
}

static char *
read_all(FILE *f)
{
	enum { MOST = 1 << 20 };
	char *text = malloc(MOST + 1);
	size_t n;

	assert_non_null(f);
	assert_non_null(text);
	n = fread(text, 1, MOST, f);
	assert_true(n > 0 && n < MOST);
	text[n] = '\0';
	return (text);
}

static void
test_table_is_generated(void **state)
{
	char *committed = NULL;
	char *printed = NULL;
	FILE *f;

	(void)state;
	if (access(UNICODE, R_OK) != 0 || access(PYTHON, X_OK) != 0) {
		print_message("no " UNICODE " or no " PYTHON ": the table is not compared\n");
		skip();
	}
	f = fopen(SPR_TEST_SOURCE_DIR "/src/route/upper_table.h", "r");
	committed = read_all(f);
	fclose(f);
	f = popen(PYTHON " " SPR_TEST_SOURCE_DIR "/tools/gen-upper", "r");
	printed = read_all(f);
	assert_int_equal(pclose(f), 0);

	bool is_same_unicode = strstr(printed, "UNICODE \"" SPR_UPPER_UNICODE "\"") != NULL;
	bool is_same = strcmp(committed, printed) == 0;

	free(committed);
	free(printed);
	if (!is_same_unicode) {
		print_message("this machine has another Unicode than " SPR_UPPER_UNICODE
			      ": the table is not compared\n");
		skip();
	}
	assert_true(is_same);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_known),
	    cmocka_unit_test(test_table_shape),
	    cmocka_unit_test(test_idempotent),
	    cmocka_unit_test(test_table_is_generated),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
