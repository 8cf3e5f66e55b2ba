/*
 * test_http_form - fields in, texts out; whatever a body can hold is either decoded or refused.
 */
#include "control/http_form.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "spr_test.h"

static void
test_fields(void **state)
{
	const char body[] = "hub.mode=subscribe&a=1%2B1+%3d+2&&empty=&bare&%66=%C3%a9&=nameless";
	spr_form form;

	(void)state;
	assert_ok(spr_form_parse(&form, body, strlen(body)));
	assert_int_equal(form.n, 6);
	assert_string_equal(spr_form_get(&form, "hub.mode"), "subscribe");
	assert_string_equal(spr_form_get(&form, "a"), "1+1 = 2");
	assert_string_equal(spr_form_get(&form, "empty"), "");
	assert_string_equal(spr_form_get(&form, "bare"), "");
	assert_string_equal(spr_form_get(&form, "f"), "\xc3\xa9");
	assert_null(spr_form_get(&form, "b"));
	spr_form_fini(&form);
	spr_form_fini(&form);
	assert_ok(spr_form_parse(&form, "", 0));
	assert_int_equal(form.n, 0);
	spr_form_fini(&form);
}

static void
test_refused(void **state)
{
	static const char *const bad[] = {"a=%",   "a=%4",    "a=%zz",     "%0=1",
					  "a=%00", "a=1&a=2", "a=1&%61=2", "a=x%2"};
	char many[512] = "";
	spr_form form;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_fails(spr_form_parse(&form, bad[i], strlen(bad[i])), SPR_E_INVALID);
	assert_fails(spr_form_parse(&form, "a=1\0b", 5), SPR_E_INVALID);
	for (unsigned i = 0; i <= SPR_FORM_FIELDS_MAX; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), "f%u=&", i);
	assert_fails(spr_form_parse(&form, many, strlen(many)), SPR_E_TOO_MANY);
	spr_mem_fail_at(1);
	assert_int_equal(spr_form_parse(&form, "a", 1), SPR_E_NOMEM);
	spr_mem_fail_at(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fields),
	    cmocka_unit_test(test_refused),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
