/*
 * test_http_api - subscribing, listing and looking up over HTTP: every answer, the token, the rules for callbacks; and
 * that what HTTP did is what control and notifications see.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"
#include "http_raw.h"
#include "spr_test.h"

#define FORM   "Content-Type: application/x-www-form-urlencoded\r\n"
#define HOOK   "&hub.callback=http%3A%2F%2Fhost.example%2Fhook"
#define TOPIC  "&hub.topic=UN.CEFACT.TRADE.CO.created"
#define BODY   "{\"predicate\":\"UN.CEFACT.TRADE.CO.created\"}"
#define TARGET "/subscriptions"
#define SUB    "hub.mode=subscribe"

static void
expect(flow *f, const char *method, const char *target, const char *headers, const char *body,
       int status, const char *part)
{
	spr_http_got got;

	if (!spr_http_ask(listening(f, "http", 0), method, target, headers, body, &got))
		fail_msg("%s %s: no answer", method, target);
	if (got.status != status || strstr(got.body, part) == NULL)
		fail_msg("%s %s %s: %d %s instead of %d and %s", method, target,
			 body != NULL ? body : "", got.status, got.body, status, part);
	spr_http_forget(&got);
}

static void
test_subscribe_and_unsubscribe(void **state)
{
	flow *f = *state;

	start_daemon(f, NULL);
	start_worker(f);
	expect(f, "POST", TARGET, FORM, SUB TOPIC HOOK "&hub.lease_seconds=604800", 202,
	       "\"created\":true");
	expect(f, "POST", TARGET,
	       "content-type: Application/X-WWW-Form-Urlencoded; charset=utf-8\r\n", SUB TOPIC HOOK,
	       202, "\"renewed\":true");
	push_text(f, BODY);
	expect_job(f, "http://host.example/hook", BODY);
	unsubscribe(f, "UN.CEFACT.TRADE.CO.created", "http://host.example/hook");
	expect(f, "POST", TARGET, FORM, "hub.mode=unsubscribe" TOPIC HOOK, 404, "not_found");
	subscribe(f, "UN", "http://host.example/hook");
	/* precise topics are for those who come, not for those who leave */
	expect(f, "POST", TARGET, FORM, "hub.mode=unsubscribe&hub.topic=UN" HOOK, 202,
	       "\"ok\":true");
	push_text(f, BODY);
	expect_stat(f, "spreader_acked_total{result=\"no_subscribers\"}", 1);
	finish(f);
}

static void
test_answers(void **state)
{
	static const struct {
		const char *form, *field;
	} bad[] = {
	    {"", "hub.mode"},
	    {TOPIC HOOK, "hub.mode"},
	    {"hub.mode=publish" TOPIC HOOK, "hub.mode"},
	    {SUB HOOK, "hub.topic"},
	    {SUB "&hub.topic=" HOOK, "hub.topic"},
	    {SUB "&hub.topic=UN.CEFACT.TRADE" HOOK, "hub.topic"},
	    {SUB "&hub.topic=un.cefact" HOOK, "hub.topic"},
	    {SUB "&hub.topic=*" HOOK, "hub.topic"},
	    {SUB "&hub.topic=A..B" HOOK, "hub.topic"},
	    {SUB "&hub.topic=A.*.B" HOOK, "hub.topic"},
	    {SUB TOPIC, "hub.callback"},
	    {SUB TOPIC "&hub.callback=ftp://x", "hub.callback"},
	    {SUB TOPIC HOOK "&hub.lease_seconds=", "hub.lease_seconds"},
	    {SUB TOPIC HOOK "&hub.lease_seconds=1e4", "hub.lease_seconds"},
	    {SUB TOPIC HOOK "&hub.lease_seconds=-1", "hub.lease_seconds"},
	    {SUB TOPIC HOOK "&hub.lease_seconds=0", "hub.lease_seconds"},
	    {SUB TOPIC HOOK "&hub.lease_seconds=999999999999", "hub.lease_seconds"},
	};
	flow *f = *state;
	char part[64];

	start_daemon(f, NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(part, sizeof(part), "\"field\":\"%s\"", bad[i].field);
		expect(f, "POST", TARGET, FORM, bad[i].form, 400, part);
	}
	expect(f, "POST", TARGET, FORM, SUB TOPIC TOPIC HOOK, 400, "comes twice");
	expect(f, "POST", TARGET, FORM, SUB HOOK "&hub.topic=%ff", 400, "bad_request");
	expect(f, "POST", TARGET, FORM, SUB HOOK "&hub.topic=%0", 400, "escape");
	expect(f, "POST", TARGET, "Content-Type: application/json\r\n", "{}", 415, "Content-Type");
	expect(f, "POST", TARGET, "", "hub.mode=subscribe", 415, "Content-Type");
	expect(f, "PUT", TARGET, "", "", 405, "not allowed");
	/* these are precise enough, or not of that tree */
	expect(f, "POST", TARGET, FORM, SUB "&hub.topic=UN.*" HOOK, 202, "created");
	expect(f, "POST", TARGET, FORM, SUB "&hub.topic=UN.A.B.C" HOOK "&hub.lease_seconds=0003600",
	       202, "created");
	expect(f, "POST", TARGET, FORM, SUB "&hub.topic=UNO.X" HOOK, 202, "created");
	assert_true(stat_of(f, "spreader_subscriptions") == 3);
	finish(f);
}

static void
test_list_and_lookup(void **state)
{
	static const char one[] = "{\"ok\":true,\"subscriptions\":[{\"pattern\":\"UN.A.B\"";
	flow *f = *state;

	start_daemon(f, NULL);
	subscribe(f, "UN.A", "http://a");
	subscribe(f, "UN.A.B", "http://b");
	subscribe(f, "X", "http://a");
	expect(f, "GET", TARGET, "", NULL, 200, "\"pattern\":\"X\"");
	expect(f, "GET", TARGET "?limit=2", "", NULL, 200,
	       "\"next\":\"[\\\"UN.A.B\\\",\\\"http://b\\\"]\"");
	expect(f, "GET", TARGET "?after=%5B%22UN.A.B%22%2C%22http%3A%2F%2Fb%22%5D", "", NULL, 200,
	       "{\"ok\":true,\"subscriptions\":[{\"pattern\":\"X\"");
	expect(f, "GET", TARGET "?prefix=un.a.b", "", NULL, 200, one);
	expect(f, "GET", TARGET "?callback=http://b", "", NULL, 200, one);
	expect(f, "GET", TARGET "?prefix=a*", "", NULL, 400, "\"field\":\"prefix\"");
	expect(f, "GET", TARGET "?limit=0", "", NULL, 400, "\"field\":\"limit\"");
	expect(f, "GET", TARGET "?limit=1001", "", NULL, 400, "limit");
	expect(f, "GET", TARGET "?limit=x", "", NULL, 400, "\"field\":\"limit\"");
	expect(f, "GET", TARGET "?after=x", "", NULL, 400, "after");
	expect(f, "GET", TARGET "?callback=%00", "", NULL, 400, "\"field\":\"callback\"");
	expect(f, "GET", TARGET "?callback=%ff", "", NULL, 400, "bad_request");
	expect(f, "GET", "/lookup?predicate=un.a.b.c", "", NULL, 200,
	       "\"callbacks\":[\"http://a\",\"http://b\"]");
	expect(f, "GET", "/lookup", "", NULL, 400, "\"field\":\"predicate\"");
	expect(f, "GET", "/lookup?predicate=*", "", NULL, 400, "\"field\":\"predicate\"");
	finish(f);
}

static void
write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	fputs(text, file);
	fclose(file);
}

static bool
is_token(flow *f, const char *token)
{
	char header[128];
	spr_http_got got;
	bool is_it;

	snprintf(header, sizeof(header), "Authorization: Bearer %s\r\n", token);
	assert_true(spr_http_ask(listening(f, "http", 0), "GET", TARGET, header, NULL, &got));
	is_it = got.status == 200;
	spr_http_forget(&got);
	return (is_it);
}

static void
test_token(void **state)
{
	flow *f = *state;
	char path[96];

	snprintf(path, sizeof(path), "%s/token", f->dir);
	assert_int_equal(run_daemon(f, FLAGS("--admin-token-file", path)), 78);
	write_file(path, "first\n");
	start_daemon(f, FLAGS("--admin-token-file", path));
	expect(f, "GET", TARGET, "", NULL, 401, "unauthorized");
	expect(f, "GET", "/lookup?predicate=A", "", NULL, 401, "unauthorized");
	expect(f, "POST", TARGET, FORM, SUB TOPIC HOOK, 401, "unauthorized");
	assert_true(stat_of(f, "spreader_subscriptions") == 0);
	expect(f, "GET", "/metrics", "", NULL, 200, "spreader_subscriptions 0");
	expect(f, "GET", "/readyz", "", NULL, 200, "ok");
	expect(f, "POST", TARGET, FORM "Authorization: Bearer first\r\n", SUB TOPIC HOOK, 202,
	       "created");
	write_file(path, "second\n");
	spr_proc_signal(f->daemon, SIGHUP);
	assert_true(wait_until(is_token(f, "second"), (unsigned)spr_test_deadline_ms()));
	assert_false(is_token(f, "first"));
	finish(f);
}

/* Without a token: no page of another origin. */
static void
test_other_origins(void **state)
{
	flow *f = *state;

	start_daemon(f, NULL);
	expect(f, "POST", TARGET, FORM "Origin: http://evil.example\r\n", SUB TOPIC HOOK, 403,
	       "forbidden");
	assert_true(stat_of(f, "spreader_subscriptions") == 0);
	finish(f);
}

/* The page needs no token and holds nothing; its numbers do, as they name patterns. */
static void
test_page(void **state)
{
	flow *f = *state;
	char path[96];
	const char *nonce;
	spr_http_got got;

	snprintf(path, sizeof(path), "%s/token", f->dir);
	write_file(path, "t0ken");
	start_daemon(f, FLAGS("--admin-token-file", path));
	subscribe(f, "UN.A", "http://a");
	subscribe(f, "UN.A", "http://b");
	subscribe(f, "UN.B", "http://b");
	assert_true(spr_http_ask(listening(f, "http", 0), "GET", "/", "", NULL, &got));
	assert_int_equal(got.status, 200);
	assert_non_null(nonce = strstr(got.head, "script-src 'nonce-"));
	assert_non_null(strstr(got.head, "default-src 'none'"));
	assert_memory_equal(strstr(got.body, "<script nonce=\"") + 15, nonce + 18, 16);
	assert_null(strstr(got.body, "NONCE"));
	assert_string_equal(got.body + got.len - 8, "</html>\n");
	spr_http_forget(&got);
	expect(f, "GET", "/overview", "", NULL, 401, "unauthorized");
	expect(f, "GET", "/overview", "Authorization: Bearer t0ken\r\n", NULL, 200,
	       "\"top\":[{\"pattern\":\"UN.A\",\"n\":2},{\"pattern\":\"UN.B\",\"n\":1}]");
	expect(f, "GET", "/overview", "Authorization: Bearer t0ken\r\n", NULL, 200,
	       "\"errors\":[\"");
	expect(f, "GET", "/overview", "Authorization: Bearer t0ken\r\n", NULL, 200,
	       "\"stages\":{\"queue\":[");
	finish(f);
}

/* By every way of subscribing. */
static void
test_callback_hosts(void **state)
{
	flow *f = *state;

	assert_int_equal(run_daemon(f, FLAGS("--callback-deny", "10.0.0.0/99")), 78);
	start_daemon(f, FLAGS("--callback-deny", "private"));
	expect(f, "POST", TARGET, FORM, SUB TOPIC "&hub.callback=http://127.0.0.1:22/", 400,
	       "\"field\":\"hub.callback\"");
	expect(f, "POST", TARGET, FORM, SUB TOPIC "&hub.callback=http://0x7f.1/", 400,
	       "\"field\":\"hub.callback\"");
	expect(f, "POST", TARGET, FORM, SUB TOPIC HOOK, 202, "created");
	expect_refused(f,
		       "{\"op\":\"subscribe\",\"pattern\":\"UN\",\"callback\":\"http://[::1]/\"}",
		       "bad_callback");
	expect_refused(
	    f,
	    "{\"op\":\"import\",\"subscriptions\":[{\"pattern\":\"UN\",\"callback\":\"http://a\"},"
	    "{\"pattern\":\"UN\",\"callback\":\"http://10.1.1.1\"}]}",
	    "bad_callback");
	assert_true(stat_of(f, "spreader_subscriptions") == 1);
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_subscribe_and_unsubscribe),
	    flow_test(test_answers),
	    flow_test(test_list_and_lookup),
	    flow_test(test_token),
	    flow_test(test_other_origins),
	    flow_test(test_page),
	    flow_test(test_callback_hosts),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
