/*
 * test_reads - list, lookup, stats, health, version.
 */
#include "control/json_strict.h"
#include "control/verbs.h"
#include "control_ask.h"
#include "net/net.h"

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

/* Whoever has one subscription among many costs others no more than a page; an empty page may promise another. */
static void
test_list_of_one_callback_is_bounded(void **state)
{
	bench *b = *state;
	char *import = make_import(SPR_LIST_SCAN);

	ask(b, import);
	ask(b, "{'op':'subscribe','pattern':'ZZ','callback':'http://z'}");
	expect(b, "{'op':'list','callback':'http://z'}",
	       "{'ok':true,'subscriptions':[],'next':'[\\'UN.9999\\',\\'http://9999\\']'}");
	expect(b, "{'op':'list','callback':'http://z','after':'[\\'UN.9999\\',\\'http://9999\\']'}",
	       "{'ok':true,'subscriptions':[" ROW("ZZ", "http://z") "]}");
	/* a full page too */
	expect(b, "{'op':'list','callback':'http://5','limit':1}",
	       "{'ok':true,'subscriptions':[" ROW(
		   "UN.5", "http://5") "],"
				       "'next':'[\\'UN.5\\',\\'http://5\\']'}");
	free(import);
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
read_gauges(void *arg, double *gauges)
{
	gauges[SPR_G_IN_FLIGHT] = *(const double *)arg;
}

static double
number_of(const cJSON *json, const char *name)
{
	const cJSON *member = cJSON_GetObjectItemCaseSensitive(json, name);

	assert_true(cJSON_IsNumber(member));
	return (member->valuedouble);
}

static void
test_stats(void **state)
{
	bench *b = *state;
	cJSON *json = NULL;
	double in_flight = 4711;

	b->env.read_gauges = read_gauges;
	b->env.arg = &in_flight;
	ask(b, SUBSCRIBE "}");
	json = cJSON_Parse(ask(b, "{'op':'stats'}"));
	for (int i = 0; i < SPR_N_COUNTERS; i++) {
		(void)number_of(json, spr_counter_table[i].name);
	}
	for (int i = 0; i < SPR_N_GAUGES; i++) {
		(void)number_of(json, spr_gauge_table[i].name);
	}
	assert_true(number_of(json, "spreader_subscriptions") == 1);
	assert_true(number_of(json, "spreader_callbacks") == 1);
	assert_true(number_of(json, "spreader_trie_nodes") > 0);
	assert_true(number_of(json, "spreader_subscription_bytes") > 0);
	assert_true(number_of(json, "spreader_in_flight") == in_flight);
	/* flat: nothing but ok and numbers */
	for (const cJSON *member = json->child->next; member != NULL; member = member->next) {
		assert_true(cJSON_IsNumber(member));
	}
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    each(test_list_pages),
	    each(test_list_of_one_callback_is_bounded),
	    each(test_list_default_limit),
	    each(test_expired_is_strict),
	    each(test_lookup),
	    each(test_lookup_without_record),
	    each(test_stats),
	    each(test_health_and_version),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
