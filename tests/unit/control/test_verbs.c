/*
 * test_verbs - every operation from the request's text to the reply's, against a store in memory and a clock that stands
 * still, so that replies can be compared as text.
 */
#include "control/verbs.h"

#include <cjson/cJSON.h>

#include "base/counters.h"
#include "base/mem.h"
#include "control/json_strict.h"
#include "control_env.h"
#include "net/net.h"

typedef struct bench {
	spr_control_env env;
	spr_epoch_record *record;
	char *reply; /* the last one */
} bench;

static int
setup(void **state)
{
	bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	env_init(&b->env, ":memory:");
	assert_ok(spr_epoch_register(b->env.epoch, &b->record));
	*state = b;
	return (0);
}

static int
teardown(void **state)
{
	bench *b = *state;

	spr_epoch_unregister(b->record);
	env_fini(&b->env);
	free(b->reply);
	free(b);
	return (0);
}

static void
run_write(spr_request *request, spr_control_env *env)
{
	spr_err rv = spr_store_begin(env->store);

	if (rv == SPR_OK && (rv = spr_request_store(request, env)) != SPR_OK) {
		spr_store_rollback(env->store);
	} else if (rv == SPR_OK) {
		rv = spr_store_commit(env->store);
	}
	if (rv != SPR_OK) {
		spr_request_finish(request, rv);
	} else {
		spr_request_publish(request, env);
	}
}

static const char *
ask_bytes(bench *b, const void *text, size_t len)
{
	spr_request request;

	spr_request_init(&request);
	if (spr_request_parse(&request, &b->env, text, len) == SPR_OK) {
		if (request.verb->kind == SPR_VERB_READ) {
			spr_request_read(&request, &b->env, b->record);
		} else {
			run_write(&request, &b->env);
		}
	}
	assert_true(request.is_done);
	free(b->reply);
	b->reply = strdup(spr_request_reply(&request));
	spr_request_fini(&request);
	return (b->reply);
}

/* Single quotes stand for double ones. */
static const char *
ask(bench *b, const char *text)
{
	char *quoted = strdup(text);
	const char *reply;

	for (char *p = quoted; *p != '\0'; p++) {
		*p = *p == '\'' ? '"' : *p;
	}
	reply = ask_bytes(b, quoted, strlen(quoted));
	free(quoted);
	return (reply);
}

static void
expect(bench *b, const char *request, const char *reply)
{
	char *quoted = strdup(reply);

	for (char *p = quoted; *p != '\0'; p++) {
		*p = *p == '\'' ? '"' : *p;
	}
	assert_string_equal(ask(b, request), quoted);
	free(quoted);
}

static void
expect_error(bench *b, const char *request, const char *code, const char *detail)
{
	uint64_t errors = spr_counter_sum(SPR_C_CONTROL_ERRORS);
	cJSON *json = cJSON_Parse(ask(b, request));
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
	const char *got = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(error, "code"));
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(error, "detail"));

	if (!cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(json, "ok")) || got == NULL ||
	    text == NULL || strcmp(got, code) != 0 || strstr(text, detail) == NULL) {
		fail_msg("%s: got %s, wanted %s with \"%s\"", request, b->reply, code, detail);
	}
	assert_int_equal(spr_counter_sum(SPR_C_CONTROL_ERRORS), errors + 1);
	cJSON_Delete(json);
}

static void
expect_listed(bench *b, const char *rows)
{
	char reply[4096];

	snprintf(reply, sizeof(reply), "{'ok':true,'subscriptions':[%s]}", rows);
	expect(b, "{'op':'list','limit':1000}", reply);
}

#define EXPIRES_DEFAULT "2026-11-29T13:35:13Z"
#define ROW(pattern, callback)                                                              \
	"{'pattern':'" pattern "','callback':'" callback "','expires_at':'" EXPIRES_DEFAULT \
	"','expired':false}"

/* ------------------------------------------------------------------------------------- refusals of all kinds */

static void
test_not_json(void **state)
{
	static const char *const texts[] = {"",
					    " ",
					    "{",
					    "nul",
					    "{'op':'version'} {}",
					    "{'op':'version'}x",
					    "{'op':'ver\\u0000sion'}",
					    "{'op':'version','x':'\\\\\\u0000'}",
					    "{'op':'version','\\u0000':1}",
					    "{'op':'version','x':'\\uD800'}",
					    "{'op':'version','x':'\\u12G4'}",
					    "{'op':'version','x':'\\u12'}",
					    "{'op':'version','x':'\\q'}",
					    "{'op':'version','x':'\xc0\x80'}",
					    "{'op':'version','x':'\xed\xa0\x80'}",
					    "{'op':'version','x':'\xf4\x90\x80\x80'}",
					    "{'op':'version','x':'\xe2\x82'}",
					    "{'op':'version','x':'\xff'}",
					    "{'op':'version','x':'a\nb'}",
					    "{'op':'version','x':01}",
					    "{'op':'version','x':1.}",
					    "{'op':'version','x':.5}",
					    "{'op':'version','x':-}",
					    "{'op':'version','x':1e}",
					    "{'op':'version','x':+1}",
					    "{'op':'version','x':-01}",
					    "{'op':'version','x':NaN}",
					    "\xef\xbb\xbf{'op':'version'}",
					    "{'op':'version',}",
					    "{'op':'version','x':[1,]}",
					    "{'op' 'version'}",
					    "{'op':'version'\x01}",
					    "{'op':'version'",
					    "'x",
					    "{'op':'version','x':'\\",
					    NULL};
	bench *b = *state;

	for (int i = 0; texts[i] != NULL; i++) {
		expect_error(b, texts[i], "bad_request", "");
	}
	assert_non_null(strstr(ask_bytes(b, "{\"op\":\"version\"}\0", 17), "bad_request"));
	assert_non_null(strstr(ask_bytes(b, "{\"op\":\"ver\0sion\"}", 17), "bad_request"));
	assert_non_null(strstr(ask_bytes(b, "", 0), "bad_request"));
}

static void
test_json_of_all_kinds(void **state)
{
	bench *b = *state;

	/* an escaped backslash before u0000 is no escape of NUL */
	assert_non_null(strstr(ask(b, "{'op':'version','x':'\\\\u0000'}"), "\"ok\":true"));
	assert_non_null(
	    strstr(ask(b, " \t\r\n{'op':'version','x':[-0,0.5,1e9,-1.5E-3,true,false,null,{}],"
			  "'y':'\\n\\u00e4\\ud83d\\ude00\xc3\xa4\xf0\x9f\x98\x80'} \n"),
		   "\"ok\":true"));
	/* the last of duplicates counts, and names are exact */
	assert_non_null(strstr(ask(b, "{'op':'list','op':'version'}"), "\"instance\""));
	expect_error(b, "{'OP':'version'}", "bad_request", "op: is missing");
}

static void
test_depth(void **state)
{
	bench *b = *state;
	char text[2048] = "{\"op\":\"version\",\"x\":";
	size_t at = strlen(text);

	memset(text + at, '[', SPR_JSON_DEPTH - 1);
	memset(text + at + SPR_JSON_DEPTH - 1, ']', SPR_JSON_DEPTH - 1);
	strcpy(text + at + 2 * (SPR_JSON_DEPTH - 1), "}");
	assert_non_null(strstr(ask(b, text), "\"ok\":true"));
	memset(text + at, '[', SPR_JSON_DEPTH);
	memset(text + at + SPR_JSON_DEPTH, ']', SPR_JSON_DEPTH);
	strcpy(text + at + 2 * SPR_JSON_DEPTH, "}");
	expect_error(b, text, "bad_request", "nested over 512 deep");
}

#define SUBSCRIBE "{'op':'subscribe','pattern':'UN.A','callback':'http://a'"
#define IMPORT(entry) \
	"{'op':'import','subscriptions':[{'pattern':'UN.A','callback':'http://a'}," entry "]}"

static const struct {
	const char *request, *code, *detail;
} refusals[] = {
    {"5", "bad_request", "object"},
    {"[]", "bad_request", "object"},
    {"{}", "bad_request", "op: is missing"},
    {"{'op':5}", "bad_request", "op: must be a string"},
    {"{'op':'Version'}", "unknown_op",
     "op Version is unknown; known are subscribe, unsubscribe, import, list, lookup, stats, "
     "health, version"},
    {"{'op':''}", "unknown_op", "known are"},

    {"{'op':'subscribe','callback':'http://a'}", "bad_request", "pattern: is missing"},
    {"{'op':'subscribe','pattern':'UN.A'}", "bad_request", "callback: is missing"},
    {"{'op':'subscribe','pattern':1,'callback':'http://a'}", "bad_request",
     "pattern: must be a string"},
    {"{'op':'subscribe','pattern':'','callback':'http://a'}", "bad_pattern", "pattern: "},
    {"{'op':'subscribe','pattern':'UN..A','callback':'http://a'}", "bad_pattern", "pattern: "},
    {"{'op':'subscribe','pattern':'*','callback':'http://a'}", "bad_pattern", "--allow-catch-all"},
    {"{'op':'subscribe','pattern':'UN.A','callback':'ftp://a'}", "bad_callback", "callback: "},
    {"{'op':'subscribe','pattern':'UN.A','callback':''}", "bad_callback", "callback: "},
    {SUBSCRIBE ",'lease_seconds':3599}", "bad_lease",
     "lease_seconds: must be an integer from 3600 to 31536000"},
    {SUBSCRIBE ",'lease_seconds':31536001}", "bad_lease", "lease_seconds"},
    {SUBSCRIBE ",'lease_seconds':3600.5}", "bad_lease", "lease_seconds"},
    {SUBSCRIBE ",'lease_seconds':'3600'}", "bad_lease", "lease_seconds"},
    {SUBSCRIBE ",'lease_seconds':true}", "bad_lease", "lease_seconds"},
    {SUBSCRIBE ",'lease_seconds':null}", "bad_lease", "lease_seconds"},
    {SUBSCRIBE ",'lease_seconds':1e400}", "bad_lease", "lease_seconds"},
    {SUBSCRIBE ",'lease_seconds':-1e400}", "bad_lease", "lease_seconds"},
    {SUBSCRIBE ",'lease_seconds':0}", "bad_lease", "lease_seconds"},

    {"{'op':'unsubscribe','pattern':'UN..A','callback':'http://a'}", "bad_pattern", "pattern: "},
    {"{'op':'unsubscribe','pattern':'UN.A'}", "bad_request", "callback: is missing"},
    {"{'op':'unsubscribe','pattern':'UN.A','callback':'http://a'}", "not_found",
     "no such subscription"},
    {"{'op':'unsubscribe','pattern':'UN.A','callback':''}", "not_found", "no such subscription"},

    {"{'op':'import'}", "bad_request", "subscriptions: is missing"},
    {"{'op':'import','subscriptions':{}}", "bad_request", "subscriptions: must be an array"},
    {IMPORT("5"), "bad_request", "subscriptions: each must be an object"},
    {IMPORT("{'pattern':'UN.A'}"), "bad_request", "callback: is missing"},
    {IMPORT("{'pattern':'/','callback':'http://a'}"), "bad_pattern", "pattern: "},
    {IMPORT("{'pattern':'UN.A','callback':'a'}"), "bad_callback", "callback: "},
    {IMPORT("{'pattern':'UN.A','callback':'http://a','lease_seconds':1}"), "bad_lease",
     "lease_seconds"},
    {IMPORT("{'pattern':'UN.A','callback':'http://a','expires_at':5}"), "bad_lease",
     "expires_at: must be an RFC"},
    {IMPORT("{'pattern':'UN.A','callback':'http://a','expires_at':'soon'}"), "bad_lease",
     "expires_at"},
    {IMPORT("{'pattern':'UN.A','callback':'http://a','expires_at':'2027-11-24T13:35:14Z'}"),
     "bad_lease", "expires_at: must be at most 31536000 seconds from now"},
    {IMPORT("{'pattern':'UN.A','callback':'http://"
	    "a','expires_at':'2026-11-25T00:00:00Z','lease_seconds':3600}"),
     "bad_lease", "give one of them"},

    {"{'op':'list','limit':0}", "bad_request", "limit: must be an integer from 1 to 1000"},
    {"{'op':'list','limit':1001}", "bad_request", "limit"},
    {"{'op':'list','limit':1.5}", "bad_request", "limit"},
    {"{'op':'list','limit':'5'}", "bad_request", "limit"},
    {"{'op':'list','limit':null}", "bad_request", "limit"},
    {"{'op':'list','after':5}", "bad_request", "after: must be a string"},
    {"{'op':'list','after':'x'}", "bad_request", "after: must be the next of an earlier page"},
    {"{'op':'list','after':'[]'}", "bad_request", "after: must be"},
    {"{'op':'list','after':'[1,2]'}", "bad_request", "after: must be"},
    {"{'op':'list','prefix':'UN..A'}", "bad_pattern", "prefix: "},
    {"{'op':'list','prefix':5}", "bad_request", "prefix: must be a string"},
    {"{'op':'list','callback':5}", "bad_request", "callback: must be a string"},

    {"{'op':'lookup'}", "bad_request", "predicate: is missing"},
    {"{'op':'lookup','predicate':''}", "bad_predicate", "predicate: "},
    {"{'op':'lookup','predicate':'*'}", "bad_predicate", "predicate: "},
    {"{'op':'lookup','predicate':'UN*'}", "bad_predicate", "predicate: "},
};

static void
test_refusals(void **state)
{
	bench *b = *state;

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		expect_error(b, refusals[i].request, refusals[i].code, refusals[i].detail);
		/* exactly the refused entries of an import have an index, and it is the entry's */
		assert_true((strstr(b->reply, "\"index\":1") != NULL) ==
			    (strstr(refusals[i].request, "'subscriptions':[") != NULL));
	}
	expect_listed(b, "");
}

/* A detail that is cut inside a character stays UTF-8. */
static void
test_detail_is_utf8(void **state)
{
	bench *b = *state;
	char op[200] = "{\"op\":\"x";

	for (int i = 0; i < 40; i++) {
		strcat(op, "\xc3\xa4");
	}
	strcat(op, "\"}");
	ask_bytes(b, op, strlen(op));
	assert_non_null(strstr(b->reply, "unknown_op"));
	assert_non_null(strstr(b->reply, "\xc3\xa4? is unknown"));
}

static void
test_codes(void **state)
{
	(void)state;
	assert_string_equal(spr_control_code(SPR_E_CLOSED), "shutting_down");
	assert_string_equal(spr_control_code(SPR_E_STORE), "store");
	assert_string_equal(spr_control_code(SPR_E_NOMEM), "store");
	assert_string_equal(spr_control_code(SPR_E_NOT_JSON), "bad_request");
}

static void
test_table(void **state)
{
	(void)state;
	for (int i = 0; i < SPR_N_VERBS; i++) {
		assert_int_equal(spr_verb_table[i].id, i);
		assert_non_null(spr_verb_table[i].function);
		assert_true(strlen(spr_verb_table[i].help) > 10);
		for (int j = 0; j < i; j++) {
			assert_string_not_equal(spr_verb_table[i].op, spr_verb_table[j].op);
		}
	}
}

/* ---------------------------------------------------------------------------------------------------- changes */

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

static char *
make_import(unsigned n)
{
	size_t size = 64 + (size_t)n * 64, len;
	char *text = malloc(size);

	len = (size_t)snprintf(text, size, "{'op':'import','subscriptions':[");
	for (unsigned i = 0; i < n; i++) {
		len += (size_t)snprintf(text + len, size - len,
					"%s{'pattern':'UN.%u','callback':'http://%u'}",
					i > 0 ? "," : "", i, i);
	}
	snprintf(text + len, size - len, "]}");
	return (text);
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

/* ------------------------------------------------------------------------------------------ memory and store */

/* Stored, but not made visible for lack of memory: an error, and the same request again mends it. */
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

static const char *const each_kind[] = {
    SUBSCRIBE "}",
    "{'op':'import','subscriptions':[{'pattern':'UN.B','callback':"
    "'http://b'},{'pattern':'UN.C','callback':'http://c'}]}",
    "{'op':'list','limit':1,'prefix':'UN','after':'[\\'A\\',\\'b\\']'}",
    "{'op':'lookup','predicate':'UN.B.C'}",
    "{'op':'stats'}",
    "{'op':'version'}",
    "{'op':'health'}",
    "{'op':'unsubscribe','pattern':'UN.A','callback':'http://a'}"};

/* Each of our allocations fails in turn: an error reply of code store, and then it works. */
static void
test_out_of_memory(void **state)
{
	bench *b = *state;

	for (size_t i = 0; i < sizeof(each_kind) / sizeof(each_kind[0]); i++) {
		unsigned long n = 0;

		for (unsigned long at = 1;; at++) {
			spr_mem_fail_at(at);
			ask(b, each_kind[i]);
			n = spr_mem_count();
			spr_mem_fail_at(0);
			if (n < at) {
				break;
			}
			assert_non_null(strstr(b->reply, "\"code\":\"store\""));
		}
		assert_non_null(strstr(b->reply, "\"ok\":true"));
	}
}

static unsigned long json_left; /* allocations until the failing one; 0: none fails */
static bool has_json_failed;

static void *
failing_malloc(size_t size)
{
	if (json_left > 0 && --json_left == 0) {
		json_left = 1; /* and all after it */
		has_json_failed = true;
		return (NULL);
	}
	return (malloc(size));
}

/* Each of cJSON's allocations fails in turn. */
static void
test_out_of_json_memory(void **state)
{
	bench *b = *state;
	cJSON_Hooks failing = {.malloc_fn = failing_malloc, .free_fn = free};

	for (size_t i = 0; i < sizeof(each_kind) / sizeof(each_kind[0]); i++) {
		for (unsigned long at = 1;; at++) {
			cJSON_InitHooks(&failing);
			json_left = at;
			has_json_failed = false;
			ask(b, each_kind[i]);
			cJSON_InitHooks(NULL);
			if (!has_json_failed) {
				break;
			}
			/* while parsing it looks like bad text: cJSON does not tell */
			assert_true(strstr(b->reply, "\"code\":\"store\"") != NULL ||
				    strstr(b->reply, "\"code\":\"bad_request\"") != NULL);
		}
		/* a removal that was done but not confirmed for lack of memory is not there again */
		assert_true(strstr(b->reply, "\"ok\":true") != NULL ||
			    strstr(b->reply, "not_found") != NULL);
	}
}

/* ------------------------------------------------------------------------------------------------------ reads */

static void
test_list_pages(void **state)
{
	bench *b = *state;

	ask(b, "{'op':'import','subscriptions':[{'pattern':'UN.A','callback':'http://a'},"
	       "{'pattern':'UN.A','callback':'http://b'},{'pattern':'UN.AB','callback':'http://a'},"
	       "{'pattern':'UN.A.B','callback':'http://c'}]}");
	expect(b, "{'op':'list','limit':2}",
	       "{'ok':true,'subscriptions':[" ROW("UN.A", "http://a") "," ROW(
		   "UN.A", "http://b") "],"
				       "'next':'[\\'UN.A\\',\\'http://b\\']'}");
	expect(b, "{'op':'list','limit':2,'after':'[\\'UN.A\\',\\'http://b\\']'}",
	       "{'ok':true,'subscriptions':[" ROW("UN.A.B", "http://c") "," ROW("UN.AB",
										"http://a") "]}");
	expect(b, "{'op':'list','after':'[\\'UN.AB\\',\\'http://a\\']'}",
	       "{'ok':true,'subscriptions':[]}");
	expect(b, "{'op':'list','prefix':'un.a.*'}",
	       "{'ok':true,'subscriptions':[" ROW("UN.A", "http://a") "," ROW(
		   "UN.A", "http://b") "," ROW("UN.A.B", "http://c") "]}");
	expect(b, "{'op':'list','prefix':'*','callback':'http://a'}",
	       "{'ok':true,'subscriptions':[" ROW("UN.A", "http://a") "," ROW("UN.AB",
									      "http://a") "]}");
}

static void
test_list_default_limit(void **state)
{
	bench *b = *state;
	char *import = make_import(SPR_LIST_DEFAULT + 1);
	cJSON *json = NULL;

	ask(b, import);
	json = cJSON_Parse(ask(b, "{'op':'list'}"));
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "subscriptions")),
			 SPR_LIST_DEFAULT);
	assert_non_null(cJSON_GetObjectItem(json, "next"));
	cJSON_Delete(json);
	free(import);
}

static void
test_expired_is_strict(void **state)
{
	bench *b = *state;

	ask(b, SUBSCRIBE ",'lease_seconds':3600}");
	test_wall_s = NOW_S + 3600;
	assert_non_null(strstr(ask(b, "{'op':'list'}"), "\"expired\":false"));
	assert_non_null(
	    strstr(ask(b, "{'op':'lookup','predicate':'UN.A'}"), "\"callbacks\":[\"http://a\"]"));
	test_wall_s++;
	assert_non_null(strstr(ask(b, "{'op':'list'}"), "\"expired\":true"));
	assert_non_null(strstr(ask(b, "{'op':'lookup','predicate':'UN.A'}"), "\"callbacks\":[]"));
}

static void
test_lookup(void **state)
{
	bench *b = *state;

	b->env.allow_catch_all = true;
	expect(b, "{'op':'lookup','predicate':'un.b'}",
	       "{'ok':true,'callbacks':[],'layers':[{'pattern':'*','matched':[],'suppressed':[]},"
	       "{'pattern':'UN','matched':[],'suppressed':[]},{'pattern':'UN.B','matched':[],'"
	       "suppressed':[]}]}");
	ask(b, "{'op':'import','subscriptions':[{'pattern':'*','callback':'http://a'},"
	       "{'pattern':'UN.B','callback':'http://a'},{'pattern':'UN.B','callback':'http://old',"
	       "'expires_at':'2020-01-01T00:00:00Z'},{'pattern':'UN.B.C','callback':'http://c'}]}");
	expect(b, "{'op':'lookup','predicate':'un.b.c.d'}",
	       "{'ok':true,'callbacks':['http://a','http://c'],'layers':["
	       "{'pattern':'*','matched':['http://a'],'suppressed':[]},"
	       "{'pattern':'UN','matched':[],'suppressed':[]},"
	       "{'pattern':'UN.B','matched':[],'suppressed':[{'callback':'http://"
	       "a','why':'duplicate'},"
	       "{'callback':'http://old','why':'expired'}]},"
	       "{'pattern':'UN.B.C','matched':['http://c'],'suppressed':[]},"
	       "{'pattern':'UN.B.C.D','matched':[],'suppressed':[]}]}");
	/* a predicate without segments has the catch-all layer only */
	expect(b, "{'op':'lookup','predicate':'.'}",
	       "{'ok':true,'callbacks':['http://a'],'layers':[{'pattern':'*','matched':['http://"
	       "a'],'suppressed':[]}]}");
}

static void
test_lookup_without_record(void **state)
{
	bench *b = *state;
	spr_epoch_record *record = b->record;

	b->record = NULL;
	expect_error(b, "{'op':'lookup','predicate':'UN'}", "store", "out of memory");
	b->record = record;
}

static void
add_gauge(void *arg, void *object)
{
	(void)spr_json_add_u64(object, arg, UINT64_C(9007199254740993));
}

static void
test_stats(void **state)
{
	bench *b = *state;
	cJSON *json = NULL;
	char gauge[] = "gauge";

	b->env.add_stats = add_gauge;
	b->env.arg = gauge;
	ask(b, SUBSCRIBE "}");
	json = cJSON_Parse(ask(b, "{'op':'stats'}"));
	for (int i = 0; i < SPR_N_COUNTERS; i++) {
		assert_true(cJSON_IsNumber(
		    cJSON_GetObjectItemCaseSensitive(json, spr_counter_table[i].name)));
	}
	assert_int_equal(cJSON_GetObjectItemCaseSensitive(json, "spreader_subscriptions")->valueint,
			 1);
	assert_int_equal(cJSON_GetObjectItemCaseSensitive(json, "spreader_callbacks")->valueint, 1);
	assert_true(cJSON_GetObjectItemCaseSensitive(json, "spreader_trie_nodes")->valueint > 0);
	assert_true(
	    cJSON_GetObjectItemCaseSensitive(json, "spreader_subscription_bytes")->valueint > 0);
	assert_true(
	    cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(json, "spreader_retired_bytes")));
	/* flat: nothing but ok and numbers */
	for (const cJSON *member = json->child->next; member != NULL; member = member->next) {
		assert_true(cJSON_IsNumber(member));
	}
	assert_non_null(strstr(b->reply, "\"gauge\":9007199254740993"));
	cJSON_Delete(json);
}

static void
add_ready(void *arg, void *object)
{
	(void)arg;
	cJSON_AddTrueToObject(object, "ready");
}

static void
test_health_and_version(void **state)
{
	bench *b = *state;
	char version[256];

	expect(b, "{'op':'health'}", "{'ok':true}");
	b->env.add_health = add_ready;
	expect(b, "{'op':'health'}", "{'ok':true,'ready':true}");
	snprintf(version, sizeof(version),
		 "{'ok':true,'version':'%s','nng':'%s','instance':'b00t'}", SPR_VERSION,
		 spr_net_version());
	expect(b, "{'op':'version'}", version);
}

/* ---------------------------------------------------------------------------------------------------- loading */

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

#define each(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    each(test_not_json),
	    each(test_json_of_all_kinds),
	    each(test_depth),
	    each(test_refusals),
	    each(test_detail_is_utf8),
	    cmocka_unit_test(test_codes),
	    cmocka_unit_test(test_table),
	    each(test_subscribe),
	    each(test_lease_rules_are_read_anew),
	    each(test_catch_all),
	    each(test_unsubscribe),
	    each(test_import),
	    each(test_import_limit),
	    each(test_export_and_import),
	    each(test_retry_mends),
	    each(test_removal_mends),
	    each(test_out_of_memory),
	    each(test_out_of_json_memory),
	    each(test_list_pages),
	    each(test_list_default_limit),
	    each(test_expired_is_strict),
	    each(test_lookup),
	    each(test_lookup_without_record),
	    each(test_stats),
	    each(test_health_and_version),
	    each(test_load),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
