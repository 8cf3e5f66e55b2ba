/* json: exactly one document, where the error is, and no NUL by any road. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"

static void
test_good(void **state)
{
	static const char *const good[] = {"{}", " [1,2] \r\n\t", "\"\\\\u0000\"", "null",
					   "{\"a\":\"\\u00e9\"}"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cJSON *root = NULL;

		assert_int_equal(spr_json_parse(&root, good[i], strlen(good[i])), SPR_OK);
		assert_non_null(root);
		cJSON_Delete(root);
	}
}

static void
test_bad(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *error;
	} bad[] = {
	    {"", 0, "empty"},
	    {"{", 1, "line 1, column 1: not JSON"},
	    {"{\n \"a\": }", 9, "line 2, column 7: not JSON"},
	    {"{} {}", 5, "line 1, column 4: something follows the JSON document"},
	    {"[1]\n]", 5, "line 2, column 1: something follows the JSON document"},
	    {"{\0}", 3, "line 1, column 2: a NUL character is not allowed"},
	    {"{}\0", 3, "line 1, column 3: a NUL character is not allowed"},
	    {"\"\\\\\\u0000\"", 10, "line 1, column 4: a NUL character is not allowed"},
	    {"\"\\", 2, "line 1, column 2: not JSON"},
	    {"\"\\u000", 6, "line 1, column 2: not JSON"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cJSON *root = NULL;
		char *exact = spr_mem_alloc(bad[i].len); /* so that a read past the end is seen */

		assert_non_null(exact);
		memcpy(exact, bad[i].text, bad[i].len);
		assert_int_equal(spr_json_parse(&root, exact, bad[i].len), SPR_E_NOT_JSON);
		assert_null(root);
		assert_string_equal(spr_error_text(SPR_E_NOT_JSON), bad[i].error);
		spr_mem_free(exact);
	}
}

static void
test_text(void **state)
{
	static const char text[] = "{\"a\":\"x\",\"A\":\"y\",\"n\":1}";
	cJSON *root = NULL;

	(void)state;
	assert_int_equal(spr_json_parse(&root, text, strlen(text)), SPR_OK);
	assert_string_equal(spr_json_text(root, "A"), "y");
	assert_null(spr_json_text(root, "n"));
	assert_null(spr_json_text(root, "absent"));
	assert_null(spr_json_text(NULL, "a"));
	cJSON_Delete(root);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_bad),
	    cmocka_unit_test(test_text),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
