/*
 * test_http_guard - the token and nothing but the token; without one, this machine and no page of another origin.
 */
#include "control/http_guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

static char *folder;
static char path[300];

static void
write_token(const char *text, size_t len)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	fclose(file);
}

static void
expect_token(spr_http_guard *guard, const char *authorization, bool is_it)
{
	assert_int_equal(spr_http_guard_judge(guard, authorization, "localhost", NULL),
			 is_it ? SPR_GUARD_OPEN : SPR_GUARD_NO_TOKEN);
}

static void
test_token(void **state)
{
	static const char *const wrong[] = {"s3cret",         "Basic s3cret",   "Bearer ",
					    "Bearer s3cre",   "Bearer s3cret2", "Bearer S3cret",
					    "Bearer s3cret x"};
	spr_http_guard guard;

	(void)state;
	write_token("s3cret\r\n\n", 9);
	assert_ok(spr_http_guard_init(&guard, path));
	assert_int_equal(spr_http_guard_judge(&guard, "Bearer s3cret", "evil.example", "http://x"),
			 SPR_GUARD_OPEN);
	expect_token(&guard, "bearer  s3cret", true);
	expect_token(&guard, NULL, false);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		expect_token(&guard, wrong[i], false);
	write_token("other", 5);
	assert_ok(spr_http_guard_reload(&guard));
	expect_token(&guard, "Bearer s3cret", false);
	expect_token(&guard, "Bearer other", true);
	/* what cannot be used leaves the old one */
	write_token(" \n", 2);
	assert_fails(spr_http_guard_reload(&guard), SPR_E_CONFIG);
	expect_token(&guard, "Bearer other", true);
	spr_http_guard_fini(&guard);
}

static void
test_long_tokens(void **state)
{
	char text[SPR_TOKEN_MAX + 20], header[SPR_TOKEN_MAX + 40];
	spr_http_guard guard;

	(void)state;
	memset(text, 'x', sizeof(text));
	write_token(text, SPR_TOKEN_MAX - 1);
	assert_ok(spr_http_guard_init(&guard, path));
	snprintf(header, sizeof(header), "Bearer %.*s", SPR_TOKEN_MAX - 1, text);
	expect_token(&guard, header, true);
	snprintf(header, sizeof(header), "Bearer %.*s", SPR_TOKEN_MAX + 10, text);
	expect_token(&guard, header, false);
	spr_http_guard_fini(&guard);
	write_token(text, SPR_TOKEN_MAX);
	assert_fails(spr_http_guard_init(&guard, path), SPR_E_CONFIG);
	spr_http_guard_fini(&guard);
}

static void
test_unusable_files(void **state)
{
	static const char *const bad[] = {"", "\n", "two words", "two\nlines", "b\xc3\xa9"};
	spr_http_guard guard;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_token(bad[i], strlen(bad[i]));
		assert_fails(spr_http_guard_init(&guard, path), SPR_E_CONFIG);
		assert_non_null(strstr(spr_error_text(SPR_E_CONFIG), path));
		spr_http_guard_fini(&guard);
	}
	assert_fails(spr_http_guard_init(&guard, "/nonexistent/token"), SPR_E_CONFIG);
	spr_http_guard_fini(&guard);
}

static void
test_without_token(void **state)
{
	static const struct {
		const char *host, *origin;
		bool is_open;
	} cases[] = {
	    {"127.0.0.1:7714", NULL, true},
	    {"localhost", NULL, true},
	    {"LOCALHOST:1", "http://localhost:1", true},
	    {"[::1]:7714", "http://[::1]:7714", true},
	    {"127.9.9.9", NULL, true},
	    {NULL, NULL, false},
	    {"", NULL, false},
	    {"evil.example:7714", NULL, false}, /* a name that was made to lead here */
	    {"localhost.evil.example", NULL, false},
	    {"127.0.0.1.evil.example", NULL, false},
	    {"10.0.0.1:7714", NULL, false},
	    {"127.0.0.1:7714", "http://evil.example", false}, /* a page's form */
	    {"127.0.0.1:7714", "http://127.0.0.1:80", false},
	    {"127.0.0.1:7714", "null", false},
	    {"127.0.0.1:7714", "https://127.0.0.1:7714", true},
	};
	spr_http_guard guard;

	(void)state;
	assert_ok(spr_http_guard_init(&guard, NULL));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if ((spr_http_guard_judge(&guard, NULL, cases[i].host, cases[i].origin) ==
		     SPR_GUARD_OPEN) != cases[i].is_open)
			fail_msg("case %zu", i);
	}
	assert_int_equal(spr_http_guard_judge(&guard, NULL, "evil.example", NULL),
			 SPR_GUARD_FOREIGN);
	assert_ok(spr_http_guard_reload(&guard));
	spr_http_guard_fini(&guard);
}

static int
setup(void **state)
{
	(void)state;
	folder = spr_test_tmpdir();
	snprintf(path, sizeof(path), "%s/token", folder);
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	spr_test_cleanup(folder);
	return (0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_token),
	    cmocka_unit_test(test_long_tokens),
	    cmocka_unit_test(test_unusable_files),
	    cmocka_unit_test(test_without_token),
	};

	return (cmocka_run_group_tests(tests, setup, teardown));
}
