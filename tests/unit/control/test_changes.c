/*
 * test_changes - subscribe, unsubscribe, import: what is stored, what is visible to lookups, and
 * how the two come together again after one of them failed. And the load at the start.
 */
#include "base/mem.h"
#include "control/verbs.h"
#include "control_ask.h"

static void
test_subscribe(void **state)
{
	bench *b = *state;
	uint64_t changes = spr_counter_sum(SPR_C_CHANGES_SUBSCRIBE);

	expect(b, "{'op':'subscribe','pattern':'un.a.*','callback':'http://a'}",
	       "{'ok':true,'created':true,'expires_at':'" EXPIRES_DEFAULT "'}");
	assert_true(is_told(&b->env, "UN.A.B", "http://a"));
	assert_false(is_told(&b->env, "UN.AB", "http://a"));
	expect(b, SUBSCRIBE ",'lease_seconds':3600}",
	       "{'ok':true,'renewed':true,'expires_at':'2026-11-24T14:35:13Z'}");
	expect(b, SUBSCRIBE ",'lease_seconds':31536000.0}",
	       "{'ok':true,'renewed':true,'expires_at':'2027-11-24T13:35:13Z'}");
	expect(b, SUBSCRIBE ",'lease_seconds':1,'lease_seconds':7200}",
	       "{'ok':true,'renewed':true,'expires_at':'2026-11-24T15:35:13Z'}");
	assert_int_equal(spr_counter_sum(SPR_C_CHANGES_SUBSCRIBE), changes + 4);
	expect_listed(b, "{'pattern':'UN.A','callback':'http://"
			 "a','expires_at':'2026-11-24T15:35:13Z','expired':false}");
}

static void
test_lease_rules_are_read_anew(void **state)
{
	bench *b = *state;

	atomic_store(&b->env.lease_default_s, 60);
	atomic_store(&b->env.lease_min_s, 10);
	atomic_store(&b->env.lease_max_s, 100);
	expect(b, SUBSCRIBE "}", "{'ok':true,'created':true,'expires_at':'2026-11-24T13:36:13Z'}");
	expect(b, SUBSCRIBE ",'lease_seconds':10}",
	       "{'ok':true,'renewed':true,'expires_at':'2026-11-24T13:35:23Z'}");
	expect_error(b, SUBSCRIBE ",'lease_seconds':101}", "bad_lease", "from 10 to 100");
}

static void
test_catch_all(void **state)
{
	bench *b = *state;

	b->env.allow_catch_all = true;
	expect(b, "{'op':'subscribe','pattern':'*','callback':'http://a'}",
	       "{'ok':true,'created':true,'expires_at':'" EXPIRES_DEFAULT "'}");
	assert_true(is_told(&b->env, "X", "http://a"));
	expect_listed(b, ROW("*", "http://a"));
	/* what is there can be removed after the rule has changed */
	b->env.allow_catch_all = false;
	expect(b, "{'op':'unsubscribe','pattern':'*','callback':'http://a'}", "{'ok':true}");
	assert_false(is_told(&b->env, "X", "http://a"));
	expect_listed(b, "");
}

static void
test_unsubscribe(void **state)
{
	bench *b = *state;
	uint64_t changes = spr_counter_sum(SPR_C_CHANGES_UNSUBSCRIBE);

	ask(b, SUBSCRIBE "}");
	expect(b, "{'op':'unsubscribe','pattern':'un.a.*','callback':'http://a'}", "{'ok':true}");
	assert_false(is_told(&b->env, "UN.A", "http://a"));
	expect_error(b, "{'op':'unsubscribe','pattern':'UN.A','callback':'http://a'}", "not_found",
		     "no such");
	assert_int_equal(spr_counter_sum(SPR_C_CHANGES_UNSUBSCRIBE), changes + 1);
}

static void
test_import(void **state)
{
	bench *b = *state;
	uint64_t changes = spr_counter_sum(SPR_C_CHANGES_IMPORT);

	expect(b, "{'op':'import','subscriptions':[]}", "{'ok':true,'created':0,'renewed':0}");
	ask(b, SUBSCRIBE ",'lease_seconds':3600}");
	expect(b,
	       "{'op':'import','subscriptions':[{'pattern':'UN.A','callback':'http://a'},"
	       "{'pattern':'UN.B','callback':'http://b','lease_seconds':432000,'expired':false},"
	       "{'pattern':'UN.C','callback':'http://c','expires_at':'2026-11-29T14:35:13+01:00'},"
	       "{'pattern':'UN.C','callback':'http://c','expires_at':'2026-11-29T13:35:13Z'},"
	       "{'pattern':'UN.D','callback':'http://"
	       "d','expires_at':'2020-01-01T00:00:00Z','expired':true}]}",
	       "{'ok':true,'created':3,'renewed':2}");
	assert_int_equal(spr_counter_sum(SPR_C_CHANGES_IMPORT), changes + 5);
	expect_listed(
	    b, ROW("UN.A", "http://a") "," ROW("UN.B", "http://b") "," ROW(
		   "UN.C", "http://c") ","
				       "{'pattern':'UN.D','callback':'http://"
				       "d','expires_at':'2020-01-01T00:00:00Z','expired':true}");
	assert_true(is_told(&b->env, "UN.B", "http://b"));
	assert_false(is_told(&b->env, "UN.D", "http://d"));
}

/* The last of several counts, wherever the others stand. */
static void
test_import_of_the_same(void **state)
{
	bench *b = *state;

	expect(b,
	       "{'op':'import','subscriptions':[{'pattern':'UN.C','callback':'http://"
	       "c','lease_seconds':3600},"
	       "{'pattern':'UN.B','callback':'http://b'},"
	       "{'pattern':'UN.C','callback':'http://c','lease_seconds':7200},"
	       "{'pattern':'UN.A','callback':'http://a'},"
	       "{'pattern':'UN.C','callback':'http://c','lease_seconds':432000}]}",
	       "{'ok':true,'created':3,'renewed':2}");
	expect_listed(
	    b, ROW("UN.A", "http://a") "," ROW("UN.B", "http://b") "," ROW("UN.C", "http://c"));
}

static void
test_import_limit(void **state)
{
	bench *b = *state;
	char *most = make_import(SPR_IMPORT_MAX), *more = make_import(SPR_IMPORT_MAX + 1);

	expect_error(b, more, "too_many", "subscriptions: 10001 are over the limit of 10000");
	expect_listed(b, "");
	expect(b, most, "{'ok':true,'created':10000,'renewed':0}");
	assert_true(is_told(&b->env, "UN.9999", "http://9999"));
	free(most);
	free(more);
}

/* What list prints can be imported, and is the same then. */
static void
test_export_and_import(void **state)
{
	bench *b = *state;
	char *listed = NULL, import[4096];
	const char *rows = NULL;

	b->env.allow_catch_all = true;
	ask(b,
	    "{'op':'import','subscriptions':[{'pattern':'*','callback':'http://a'},"
	    "{'pattern':'stra\xc3\x9f"
	    "e.*','callback':'https://b/?q=\\u0022\\\\'},{'pattern':'UN.X','callback':'http://c',"
	    "'expires_at':'2001-01-01T00:00:00Z'}]}");
	assert_non_null(strstr(b->reply, "\"created\":3"));
	listed = strdup(ask(b, "{'op':'list'}"));
	rows = strchr(listed, '[');
	snprintf(import, sizeof(import), "{\"op\":\"import\",\"subscriptions\":%s", rows);
	spr_epoch_unregister(b->record);
	env_fini(&b->env);
	env_init(&b->env, ":memory:");
	b->env.allow_catch_all = true;
	assert_ok(spr_epoch_register(b->env.epoch, &b->record));
	ask_bytes(b, import, strlen(import));
	assert_string_equal(b->reply, "{\"ok\":true,\"created\":3,\"renewed\":0}");
	assert_string_equal(ask(b, "{'op':'list'}"), listed);
	free(listed);
}

/* Stored, but not made visible for lack of memory: an error, and the same again mends it. */
static void
test_retry_mends(void **state)
{
	static const char *const requests[] = {
	    SUBSCRIBE "}",
	    "{'op':'import','subscriptions':[{'pattern':'UN.A','callback':'http://a'}]}"};
	bench *b = *state;

	for (unsigned i = 0; i < 2; i++) {
		spr_request request;
		char *text = strdup(requests[i]);

		for (char *p = text; *p != '\0'; p++) {
			*p = *p == '\'' ? '"' : *p;
		}
		spr_request_init(&request);
		assert_ok(
		    spr_request_parse(&request, &b->env, (const uint8_t *)text, strlen(text)));
		assert_ok(spr_store_begin(b->env.store));
		assert_ok(spr_request_store(&request, &b->env));
		assert_ok(spr_store_commit(b->env.store));
		spr_mem_fail_at(1);
		spr_request_publish(&request, &b->env);
		spr_mem_fail_at(0);
		assert_non_null(strstr(spr_request_reply(&request), "\"code\":\"store\""));
		assert_non_null(strstr(spr_request_reply(&request), "stored but not active"));
		spr_request_fini(&request);
		free(text);
		assert_false(is_told(&b->env, "UN.A", "http://a"));
		ask(b, requests[i]);
		assert_non_null(strstr(b->reply, "\"renewed\":"));
		assert_true(is_told(&b->env, "UN.A", "http://a"));
		ask(b, "{'op':'unsubscribe','pattern':'UN.A','callback':'http://a'}");
	}
}

/* A removal reaches the subscriptions even when the store no longer has the row. */
static void
test_removal_mends(void **state)
{
	bench *b = *state;

	ask(b, SUBSCRIBE "}");
	assert_ok(spr_store_begin(b->env.store));
	assert_ok(spr_store_remove(b->env.store, "UN.A", "http://a"));
	assert_ok(spr_store_commit(b->env.store));
	assert_true(is_told(&b->env, "UN.A", "http://a"));
	expect(b, "{'op':'unsubscribe','pattern':'UN.A','callback':'http://a'}", "{'ok':true}");
	assert_false(is_told(&b->env, "UN.A", "http://a"));
	/* and the other way round: stored, but not visible */
	ask(b, SUBSCRIBE "}");
	{
		spr_predicate pattern;

		assert_ok(spr_pattern_normalise(&pattern, "UN.A", 4, false));
		assert_ok(
		    spr_subscriptions_unsubscribe(b->env.subscriptions, &pattern, "http://a", 8));
	}
	expect(b, "{'op':'unsubscribe','pattern':'UN.A','callback':'http://a'}", "{'ok':true}");
	expect_listed(b, "");
}

static void
put_row(spr_store *store, const char *pattern, const char *callback, int64_t expires_s)
{
	spr_store_row row = {pattern, strlen(pattern), callback, strlen(callback), expires_s};
	bool created = false;

	assert_ok(spr_store_put(store, &row, &created));
}

static void
test_load(void **state)
{
	bench *b = *state;
	uint64_t broken = spr_counter_sum(SPR_C_STORE_BROKEN_RECORDS), n = 99;

	assert_ok(spr_store_begin(b->env.store));
	put_row(b->env.store, "*", "http://all", NOW_S);
	put_row(b->env.store, "UN.A", "http://a", NOW_S);
	put_row(b->env.store, "UN.B", "http://b", 5);
	put_row(b->env.store, "un.low", "http://a", NOW_S);
	put_row(b->env.store, "UN.*", "http://a", NOW_S);
	put_row(b->env.store, "/", "http://a", NOW_S);
	put_row(b->env.store, "", "http://a", NOW_S);
	put_row(b->env.store, "UN.C", "nowhere", NOW_S);
	assert_ok(spr_store_commit(b->env.store));

	spr_mem_fail_at(1);
	assert_int_equal(spr_control_load(&b->env, &n), SPR_E_NOMEM);
	spr_mem_fail_at(0);
	assert_int_equal(n, 99);
	assert_non_null(strstr(spr_error_text(SPR_E_NOMEM), "load subscriptions"));

	broken = spr_counter_sum(SPR_C_STORE_BROKEN_RECORDS);
	assert_ok(spr_control_load(&b->env, &n));
	assert_int_equal(n, 3);
	assert_int_equal(spr_counter_sum(SPR_C_STORE_BROKEN_RECORDS), broken + 5);
	assert_true(is_told(&b->env, "UN.A.X", "http://a"));
	assert_true(is_told(&b->env, "ZZ", "http://all"));
	assert_false(is_told(&b->env, "UN.LOW", "http://a"));
	assert_false(is_told(&b->env, "UN.B", "http://b"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    each(test_subscribe),    each(test_lease_rules_are_read_anew),
	    each(test_catch_all),    each(test_unsubscribe),
	    each(test_import),       each(test_import_of_the_same),
	    each(test_import_limit), each(test_export_and_import),
	    each(test_retry_mends),  each(test_removal_mends),
	    each(test_load),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
