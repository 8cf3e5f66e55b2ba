/*
 * test_host_rules - every spelling of an address that a client of URLs may follow, and every way to hide one.
 */
#include "base/host_rules.h"

#include <string.h>

#include "base/mem.h"
#include "spr_test.h"

static spr_host_rules *
rules_of(char *const *allow, unsigned n_allow, char *const *deny, unsigned n_deny)
{
	spr_host_rules *rules = NULL;

	assert_ok(spr_host_rules_new(&rules, allow, n_allow, deny, n_deny));
	return (rules);
}

static void
expect(const spr_host_rules *rules, const char *url, bool is_admitted)
{
	if ((spr_host_rules_admit(rules, url) == SPR_OK) != is_admitted)
		fail_msg("%s is %s", url, is_admitted ? "refused" : "admitted");
}

static void
test_rules_as_text(void **state)
{
	static const char *const good[] = {
	    "private",   "example.org", "*.example.org", "10.0.0.0/8", "10.1.2.3",
	    "0.0.0.0/0", "fd00::/8",    "::1",           "localhost",  "a_b-c.d1"};
	static const char *const bad[] = {
	    "",           "*",     "*.",          "a..b",      ".a",          "a.",          "a b",
	    "http://a",   "a:80",  "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x",  "10.0.0/8",    "10.1",
	    "fd00::/129", "[::1]", "*.*.a",       "a/8",       "10.0.0.0/-1", "\xc3\xa9.org"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_ok(spr_host_rule_check(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (spr_host_rule_check(bad[i]) != SPR_E_INVALID)
			fail_msg("%s is taken for a rule", bad[i]);
	}
}

static void
test_without_rules(void **state)
{
	spr_host_rules *none = rules_of(NULL, 0, NULL, 0);

	(void)state;
	expect(NULL, "http://127.0.0.1/", true);
	expect(none, "http://a\\b", true);
	spr_host_rules_free(none);
	spr_host_rules_free(NULL);
}

static void
test_private(void **state)
{
	static const char *const inside[] = {"http://127.0.0.1/x",
					     "http://127.1",
					     "http://2130706433/",
					     "http://0x7f000001:80/",
					     "http://0177.0.0.1/",
					     "http://0/",
					     "http://10.255.255.255",
					     "https://172.16.0.1",
					     "http://172.31.255.255",
					     "http://192.168.1.1",
					     "http://169.254.169.254/latest/meta-data",
					     "http://100.64.0.1",
					     "http://224.0.0.1",
					     "http://255.255.255.255",
					     "http://[::1]/",
					     "http://[::]/",
					     "http://[::ffff:10.0.0.1]/",
					     "http://[::ffff:7f00:1]/",
					     "http://[fd00::1]",
					     "http://[fe80::1]",
					     "http://[64:ff9b::a00:1]",
					     "http://[::7f00:1]",
					     "http://localhost",
					     "http://LOCALHOST.:80",
					     "http://x.localhost/",
					     "http://user@127.0.0.1/",
					     "http://127.0.0.1.",
					     "http://127.0.0.1?x",
					     "http://127.0.0.1#x"};
	static const char *const outside[] = {"http://example.org",
					      "http://8.8.8.8",
					      "http://172.32.0.1",
					      "http://11.0.0.1",
					      "http://[2001:db8::1]/",
					      "http://localhost.example.org",
					      "http://u:p@example.org:1",
					      "http://example.org/@127.0.0.1",
					      "http://example.org?http://127.0.0.1"};
	static const char *const tricks[] = {"http://a@b@127.0.0.1/",
					     "http://example.org\\@127.0.0.1/",
					     "http://%31%32%37.0.0.1/",
					     "http://\xe2\x91\xa0.0.0.1/",
					     "http:///",
					     "http://:80/",
					     "http://a b/",
					     "http://[::1",
					     "http://[zz]/",
					     "http://127.0.0.1\t/"};
	char *const deny[] = {(char[]){"private"}};
	spr_host_rules *rules = rules_of(NULL, 0, deny, 1);

	(void)state;
	for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++)
		expect(rules, inside[i], false);
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
		expect(rules, outside[i], true);
	for (size_t i = 0; i < sizeof(tricks) / sizeof(tricks[0]); i++)
		expect(rules, tricks[i], false);
	spr_host_rules_free(rules);
}

static void
test_allow_and_deny(void **state)
{
	char *const allow[] = {(char[]){"*.example.org"}, (char[]){"203.0.113.0/25"},
			       (char[]){"one.test"}};
	char *const deny[] = {(char[]){"bad.example.org"}, (char[]){"203.0.113.7"}};
	spr_host_rules *rules = rules_of(allow, 3, deny, 2);

	(void)state;
	expect(rules, "http://a.example.org/", true);
	expect(rules, "http://A.B.EXAMPLE.ORG/", true);
	expect(rules, "http://example.org/", false); /* below it, not itself */
	expect(rules, "http://aexample.org/", false);
	expect(rules, "http://bad.example.org/", false);
	assert_non_null(strstr(spr_error_text(SPR_E_BAD_CALLBACK), "--callback-deny"));
	expect(rules, "http://worse.bad.example.org/", true);
	expect(rules, "http://one.test", true);
	expect(rules, "http://two.test", false);
	assert_non_null(strstr(spr_error_text(SPR_E_BAD_CALLBACK), "--callback-allow"));
	expect(rules, "http://203.0.113.1", true);
	expect(rules, "http://203.0.113.7", false);
	expect(rules, "http://203.0.113.128", false);
	expect(rules, "http://[::ffff:203.0.113.1]", true);
	spr_host_rules_free(rules);
}

static void
test_failures(void **state)
{
	char *const allow[] = {(char[]){"a b"}};
	spr_host_rules *rules = NULL;

	(void)state;
	assert_fails(spr_host_rules_new(&rules, allow, 1, NULL, 0), SPR_E_INVALID);
	spr_mem_fail_at(1);
	assert_int_equal(spr_host_rules_new(&rules, NULL, 0, NULL, 0), SPR_E_NOMEM);
	spr_mem_fail_at(0);
	assert_null(rules);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rules_as_text), cmocka_unit_test(test_without_rules),
	    cmocka_unit_test(test_private),       cmocka_unit_test(test_allow_and_deny),
	    cmocka_unit_test(test_failures),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
