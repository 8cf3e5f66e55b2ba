/*
 * test_bench_mark - marks, documents as JSON, and the layout of jobs as daemon and relay send them.
 */
#include "bench_mark.h"

#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "base/mem.h"
#include "spr_test.h"

#define MARK "00c0ffee-00000007-000000000000abcd"

static void
test_hex(void **state)
{
	static const uint32_t values[] = {0, 9, 10, 0xf, 0x10, 0x09afc0de, 0x80000000, 0xffffffff};
	char text[9] = "", wanted[9];

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		snprintf(wanted, sizeof(wanted), "%08x", values[i]);
		bench_hex_put(text, values[i]);
		assert_string_equal(text, wanted);
		assert_int_equal(bench_hex_get(text), values[i]);
	}
}

static void
test_mark(void **state)
{
	char text[BENCH_MARK_LEN + 1] = "";
	bench_mark mark = {0xc0ffee, 7, 0xabcd}, back;

	(void)state;
	bench_mark_put(text, &mark);
	assert_string_equal(text, MARK);
	mark.at_ns = UINT64_C(0x123456789abcdef0);
	bench_mark_put(text, &mark);
	back = bench_mark_get(text);
	assert_int_equal(back.run, mark.run);
	assert_int_equal(back.number, mark.number);
	assert_int_equal(back.at_ns, mark.at_ns);
}

static cJSON *
document(const bench_documents *d, uint32_t number, uint64_t at_ns)
{
	char *text = malloc(d->len + 2);
	cJSON *root;

	assert_non_null(text);
	bench_documents_put(d, text, number, at_ns);
	assert_int_equal(text[d->len], '\n');
	text[d->len] = '\0';
	assert_null(strchr(text, '\n'));
	root = cJSON_Parse(text);
	assert_non_null(root);
	free(text);
	return (root);
}

static const char *
member(const cJSON *object, const char *name)
{
	return (cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name)));
}

/* What is asked for by an envelope's body is what is subscribed, for a hit; and never for a miss. */
static void
expect_predicate(const cJSON *body, unsigned depth, unsigned fan_out, unsigned i, bool is_hit)
{
	char pattern[BENCH_PATTERN_MAX];
	unsigned segments = 1;

	bench_pattern(pattern, depth, fan_out, i);
	if (is_hit)
		assert_string_equal(member(body, "predicate"), pattern);
	else
		assert_string_not_equal(member(body, "predicate"), pattern);
	for (const char *at = pattern; (at = strchr(at, '.')) != NULL; at++)
		segments++;
	assert_int_equal(segments, depth);
}

static void
test_documents(void **state)
{
	static const unsigned depths[] = {1, 2, 3, 60};
	bench_documents d;

	(void)state;
	for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
		for (unsigned number = 0; number < 40; number++) {
			const cJSON *body;
			cJSON *root;

			assert_true(
			    bench_documents_init(&d, true, 900, depths[i], 3, 25, 10, 0xc0ffee));
			root = document(&d, number, 0xabcd);
			body = cJSON_GetObjectItemCaseSensitive(root, "body");
			assert_string_equal(member(root, "id"), member(body, "bench"));
			assert_int_equal(bench_mark_get(member(root, "id")).number, number);
			expect_predicate(body, depths[i], 10, number % 3, number % 4 == 3);
			assert_int_equal(bench_documents_is_hit(&d, number), number % 4 == 3);
			assert_int_equal(bench_documents_hits(&d, number + 1), (number + 1) / 4);
			assert_int_equal(d.len, 900);
			cJSON_Delete(root);
			bench_documents_fini(&d);
		}
	}
}

/* As long as asked for, unless that is too short; bare ones have no envelope. */
static void
test_sizes(void **state)
{
	bench_documents d;
	cJSON *root;

	(void)state;
	assert_true(bench_documents_init(&d, false, 1, 5, 1, 100, 1, 1));
	root = document(&d, 3, 4);
	assert_null(member(root, "id"));
	assert_string_equal(member(root, "pad"), "");
	assert_true(d.len < 130);
	cJSON_Delete(root);
	bench_documents_fini(&d);
	assert_true(bench_documents_init(&d, false, BENCH_DOCUMENT_MAX, 5, 1, 100, 1, 1));
	assert_int_equal(d.len, BENCH_DOCUMENT_MAX);
	bench_documents_fini(&d);
	spr_mem_fail_at(1);
	assert_false(bench_documents_init(&d, false, 1, 5, 1, 100, 1, 1));
	spr_mem_fail_at(0);
}

static void
test_background(void **state)
{
	char pattern[BENCH_PATTERN_MAX], other[BENCH_PATTERN_MAX];

	(void)state;
	bench_background_pattern(pattern, 1, 12345);
	assert_string_equal(pattern, "B12345");
	bench_background_pattern(pattern, 2, 12345);
	assert_string_equal(pattern, "B12.B345");
	bench_background_pattern(pattern, 5, 12345);
	assert_string_equal(pattern, "UN.BENCH.S2.B12.B345");
	bench_pattern(other, 5, 1, 0);
	assert_string_equal(other, "UN.BENCH.S2.S3.F1P000000");
}

#define BODY "{\"bench\":\"" MARK "\",\"predicate\":\"UN.A\"}"
#define JOB  "{\"s\":\"" BENCH_CALLBACK "0000002a\",\"payload\":" BODY "}"
#define ID                                                                          \
	"{\"id\":\"1234-00112233445566778899aabbccddeeff\",\"s\":\"" BENCH_CALLBACK \
	"0000002a\",\"payload\":" BODY "}"

#define ENVELOPE "{\"id\":\"" MARK "\",\"body\":" BODY "}"

static void
test_layouts(void **state)
{
	bench_layout layout = {0};
	static const char batch[] = JOB "\n" JOB "\n" ID;

	(void)state;
	assert_false(bench_layout_holds(&layout, batch, strlen(batch)));
	assert_true(bench_layout_find(&layout, batch, strlen(batch)));
	assert_int_equal(layout.len, strlen(JOB));
	assert_int_equal(bench_hex_get(batch + layout.callback_at), 0x2a);
	assert_int_equal(bench_mark_get(batch + layout.mark_at).number, 7);
	assert_int_equal(layout.id_len, 0);
	assert_true(bench_layout_holds(&layout, batch, strlen(batch)));
	assert_true(bench_layout_holds(&layout, JOB, strlen(JOB)));
	assert_false(bench_layout_holds(&layout, JOB, strlen(JOB) - 1));
	assert_false(bench_layout_holds(&layout, ID, strlen(ID)));
	assert_true(bench_layout_find(&layout, ID, strlen(ID)));
	assert_int_equal(layout.id_len, strlen("1234-00112233445566778899aabbccddeeff"));
	/* a relay hands on the envelope, whose id is none of a job */
	assert_true(bench_layout_find(&layout, ENVELOPE, strlen(ENVELOPE)));
	assert_int_equal(layout.callback_at, 0);
	assert_int_equal(layout.id_len, 0);
}

static void
test_no_jobs(void **state)
{
	static const char *const others[] = {
	    "",
	    "{}",
	    "nonsense",
	    "{\"bench\":\"",
	    "{\"bench\":\"" MARK,
	    "{\"bench\":\"short\"}\n" BODY,
	};
	bench_layout layout = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(bench_layout_find(&layout, others[i], strlen(others[i])));
	assert_int_equal(layout.len, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hex),        cmocka_unit_test(test_mark),
	    cmocka_unit_test(test_documents),  cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_background), cmocka_unit_test(test_layouts),
	    cmocka_unit_test(test_no_jobs),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
