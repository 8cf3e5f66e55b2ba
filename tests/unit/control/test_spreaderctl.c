/*
 * spreaderctl: each verb's request as sent, what it prints, every error's line, every exit code.
 */
#include "ctl_run.h"

/* --- every verb: request as sent, what is printed ------------------------------------------------ */

static const struct exchange {
	const char *arguments[8];
	const char *replies[MANY];
	const char *requests[MANY];
	int code;
	const char *out, *err;
} exchanges[] = {
    {{"subscribe", "UN.A", "http://a"},
     {OK_CREATED},
     {"{\"op\":\"subscribe\",\"pattern\":\"UN.A\",\"callback\":\"http://a\"}"},
     0,
     "created, expires 2026-11-29T00:00:00Z\n",
     ""},
    {{"--lease", "2h", "subscribe", "UN.A", "http://a"},
     {"{\"ok\":true,\"renewed\":true,\"expires_at\":\"x\"}"},
     {"{\"op\":\"subscribe\",\"pattern\":\"UN.A\",\"callback\":\"http://"
      "a\",\"lease_seconds\":7200}"},
     0,
     "renewed, expires x\n",
     ""},
    {{"subscribe", "UN.A", "ftp://a"},
     {"{\"ok\":false,\"error\":{\"code\":\"bad_callback\",\"detail\":\"no\\u001b[2J host\"}}"},
     {"{\"op\":\"subscribe\",\"pattern\":\"UN.A\",\"callback\":\"ftp://a\"}"},
     1,
     "",
     "spreaderctl: subscribe UN.A ftp://a: bad_callback: no\\x1b[2J host\n"},
    {{"subscribe", "A", "b"},
     {"{\"ok\":false}"},
     {NULL},
     1,
     "",
     "spreaderctl: subscribe A b: refused: no reason given\n"},
    {{"--json", "subscribe", "A", "b"},
     {"{ \"ok\" : true, \"n\": 9007199254740993 }"},
     {NULL},
     0,
     "{ \"ok\" : true, \"n\": 9007199254740993 }\n",
     ""},
    {{"unsubscribe", "UN.A", "http://a"},
     {"{\"ok\":true}"},
     {"{\"op\":\"unsubscribe\",\"pattern\":\"UN.A\",\"callback\":\"http://a\"}"},
     0,
     "removed\n",
     ""},
    {{"unsubscribe", "--json=true", "A", "b"},
     {"{\"ok\":false,\"error\":{\"code\":\"not_found\",\"detail\":\"none\"}}"},
     {NULL},
     1,
     "{\"ok\":false,\"error\":{\"code\":\"not_found\",\"detail\":\"none\"}}\n",
     "spreaderctl: unsubscribe A b: not_found: none\n"},
    /* two pages; the pattern column is as wide as the widest so far; a callback cannot drive the terminal */
    {{"list"},
     {"{\"ok\":true,\"subscriptions\":[{\"pattern\":\"UN.A\",\"callback\":\"http://"
      "a\",\"expires_at\":"
      "\"2026-11-29T00:00:00Z\",\"expired\":false}],\"next\":\"c1\"}",
      "{\"ok\":true,\"subscriptions\":[{\"pattern\":\"UN.\\u00dcBER.X\",\"callback\":\"http://"
      "b\\u001b\\u009b\","
      "\"expires_at\":\"2026-11-01T00:00:00Z\",\"expired\":true}]}"},
     {"{\"op\":\"list\",\"limit\":1000}", "{\"op\":\"list\",\"limit\":1000,\"after\":\"c1\"}"},
     0,
     "EXPIRES               STATE    PATTERN  CALLBACK\n"
     "2026-11-29T00:00:00Z  live     UN.A     http://a\n"
     "2026-11-01T00:00:00Z  expired  UN.\303\234BER.X  http://b\\x1b\\xc2\\x9b\n"
     "2 subscriptions, 1 of them expired\n",
     ""},
    {{"list", "--prefix", "UN", "--callback=http://a", "--limit", "2"},
     {"{\"ok\":true,\"subscriptions\":[{\"pattern\":\"p\",\"callback\":\"c\",\"expires_at\":\"e\"}]"
      ",\"next\":\"x\"}",
      "{\"ok\":true,\"subscriptions\":[{\"pattern\":\"p\",\"callback\":\"d\",\"expires_at\":\"e\"}]"
      ",\"next\":\"y\"}"},
     {"{\"op\":\"list\",\"limit\":2,\"prefix\":\"UN\",\"callback\":\"http://a\"}",
      "{\"op\":\"list\",\"limit\":1,\"after\":\"x\",\"prefix\":\"UN\",\"callback\":\"http://a\"}"},
     0,
     "EXPIRES               STATE    PATTERN  CALLBACK\n"
     "e                     live     p        c\n"
     "e                     live     p        d\n"
     "2 subscriptions; there are more\n",
     ""},
    {{"list", "--callback=http://a"},
     {"{\"ok\":true,\"subscriptions\":[],\"next\":\"x\"}",
      "{\"ok\":true,\"subscriptions\":[{\"pattern\":\"p\",\"callback\":\"c\",\"expires_at\":\"e\"}]"
      "}"},
     {"{\"op\":\"list\",\"limit\":1000,\"callback\":\"http://a\"}",
      "{\"op\":\"list\",\"limit\":1000,\"after\":\"x\",\"callback\":\"http://a\"}"},
     0,
     "EXPIRES               STATE    PATTERN  CALLBACK\n"
     "e                     live     p        c\n"
     "1 subscription\n",
     ""},
    {{"list"}, {"{\"ok\":true,\"subscriptions\":[]}"}, {NULL}, 0, "0 subscriptions\n", ""},
    {{"list", "--json"},
     {"{\"ok\":true,\"subscriptions\":[{\"pattern\":\"p\",\"callback\":\"c\",\"expires_at\":\"e\","
      "\"expired\":true},"
      "{\"pattern\":\"q\",\"callback\":\"c\",\"expires_at\":\"e\",\"expired\":false}]}"},
     {NULL},
     0,
     "{\"pattern\":\"p\",\"callback\":\"c\",\"expires_at\":\"e\",\"expired\":true}\n"
     "{\"pattern\":\"q\",\"callback\":\"c\",\"expires_at\":\"e\",\"expired\":false}\n",
     ""},
    {{"list", "--prefix", "A*B"},
     {"{\"ok\":false,\"error\":{\"code\":\"bad_pattern\",\"detail\":\"prefix: no\"}}"},
     {NULL},
     1,
     "",
     "spreaderctl: list: bad_pattern: prefix: no\n"},
    {{"lookup", "un.a.b"},
     {"{\"ok\":true,\"callbacks\":[\"http://a\",\"http://b\"],\"layers\":["
      "{\"pattern\":\"*\",\"matched\":[],\"suppressed\":[]},"
      "{\"pattern\":\"UN\",\"matched\":[\"http://a\"],\"suppressed\":[]},"
      "{\"pattern\":\"UN.A.B\",\"matched\":[\"http://b\"],\"suppressed\":["
      "{\"callback\":\"http://a\",\"why\":\"duplicate\"},{\"callback\":\"http://"
      "c\",\"why\":\"expired\"}]}]}"},
     {"{\"op\":\"lookup\",\"predicate\":\"un.a.b\"}"},
     0,
     "told: 2\n  UN      http://a\n  UN.A.B  http://b\n"
     "not told: 2\n  UN.A.B  duplicate  http://a\n  UN.A.B  expired    http://c\n",
     ""},
    {{"lookup", "X"}, {"{\"ok\":true,\"layers\":[]}"}, {NULL}, 0, "told: 0\n", ""},
    {{"stats"},
     {"{\"ok\":true,\"a\":1,\"longer\":4294967296,\"rate\":0.5}"},
     {"{\"op\":\"stats\"}"},
     0,
     "a       1\nlonger  4294967296\nrate    0.5\n",
     ""},
    {{"health"},
     {"{\"ok\":true,\"ready\":true,\"checks\":{\"store\":true},\"listening\":{\"intake\":[\"tcp://"
      "h:1\"],\"ack\":[]}}"},
     {"{\"op\":\"health\"}"},
     0,
     "ready  yes\nchecks:\n  store  yes\nlistening:\n  intake:\n    tcp://h:1\n  ack: none\n",
     ""},
    {{"health"}, {"{\"ok\":true,\"ready\":false}"}, {NULL}, 1, "ready  no\n", ""},
    {{"health", "--json"},
     {"{\"ok\":true,\"ready\":false}"},
     {NULL},
     1,
     "{\"ok\":true,\"ready\":false}\n",
     ""},
    {{"version"},
     {"{\"ok\":true,\"version\":\"1\",\"nng\":\"2\",\"instance\":\"i\"}"},
     {"{\"op\":\"version\"}"},
     0,
     "version   1\nnng       2\ninstance  i\n",
     ""},
    {{"export"},
     {"{\"ok\":true,\"subscriptions\":[{\"pattern\":\"p\",\"callback\":\"c\",\"expires_at\":\"e\","
      "\"expired\":true}]}"},
     {"{\"op\":\"list\",\"limit\":1000}"},
     0,
     "{\"pattern\":\"p\",\"callback\":\"c\",\"expires_at\":\"e\"}\n",
     ""},
};

static void
test_verbs(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(exchanges) / sizeof(exchanges[0]); i++) {
		const struct exchange *e = &exchanges[i];
		run r;

		call(&r, e->arguments, e->replies);
		expect(&r, e->code, e->out, e->err);
		for (unsigned k = 0; k < MANY && e->requests[k] != NULL; k++) {
			assert_true(k < r.server.n);
			assert_string_equal(r.server.requests[k], e->requests[k]);
		}
		assert_true(e->requests[0] == NULL || r.server.n == MANY ||
			    e->requests[r.server.n] == NULL);
		end(&r);
	}
}

/* --- answers that are none ----------------------------------------------------------------------- */

static void
test_bad_replies(void **state)
{
	static const struct {
		const char *arguments[4];
		const char *replies[2];
		const char *what;
	} bad[] = {
	    {{"stats"}, {"<html>"}, "line 1, column 1: not JSON"},
	    {{"stats"}, {"{\"ok\":1}"}, "no \"ok\" in it"},
	    {{"stats"}, {"[true]"}, "no \"ok\" in it"},
	    {{"subscribe", "a", "b"},
	     {"{\"ok\":true,\"expires_at\":5}"},
	     "no \"expires_at\" in it"},
	    {{"list"}, {"{\"ok\":true}"}, "no \"subscriptions\" as they should be"},
	    {{"list"},
	     {"{\"ok\":true,\"subscriptions\":[{}]}"},
	     "no \"subscriptions\" as they should be"},
	    {{"list"},
	     {"{\"ok\":true,\"subscriptions\":[],\"next\":\"x\"}"},
	     "no \"subscriptions\" as they should be"},
	    {{"lookup", "a"}, {"{\"ok\":true}"}, "no \"layers\" as they should be"},
	    {{"lookup", "a"}, {"{\"ok\":true,\"layers\":[5]}"}, "no \"layers\" as they should be"},
	    {{"lookup", "a"},
	     {"{\"ok\":true,\"layers\":[{\"pattern\":\"p\",\"matched\":[5],\"suppressed\":[]}]}"},
	     "no \"layers\" as they should be"},
	    {{"lookup", "a"},
	     {"{\"ok\":true,\"layers\":[{\"pattern\":\"p\",\"matched\":[],\"suppressed\":[{}]}]}"},
	     "no \"layers\" as they should be"},
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		run r;

		call(&r, bad[i].arguments, bad[i].replies);
		snprintf(text, sizeof(text), "@: the answer is not spreaderd's: %s; check --url\n",
			 bad[i].what);
		expect_error(&r, 69, text);
		end(&r);
	}
}

/* With --url, which wins over the variable, and no server of ours. */
static void
call_at(run *r, int port, const char *timeout)
{
	memset(r, 0, sizeof(*r));
	snprintf(r->server.url, sizeof(r->server.url), "tcp://127.0.0.1:%d", port);
	r->dir = spr_test_tmpdir();
	finish(r, ARGS(PROGRAM, "stats", timeout, "--url", r->server.url), "nonsense");
}

static void
test_unreachable(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	run r;

	(void)state;
	call(&r, ARGS("stats", "--timeout", "50ms"), ARGS(SILENCE));
	expect_error(&r, 69, "no answer from spreaderd at @ within 50ms; raise --timeout, " REMEDY);
	end(&r);
	call(&r, ARGS("stats"), ARGS(HANG_UP));
	expect_error(&r, 69, "cannot reach spreaderd at @: Connection reset; start it, " REMEDY);
	end(&r);

	/* bound and not listening: refused, and nobody else gets the port */
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	call_at(&r, ntohs(address.sin_port), PATIENCE);
	expect_error(&r, 69, "cannot reach spreaderd at @: Connection refused; start it, " REMEDY);
	end(&r);

	/* listening, but nobody shakes hands */
	assert_int_equal(listen(fd, 1), 0);
	call_at(&r, ntohs(address.sin_port), "--timeout=100ms");
	expect_error(&r, 69,
		     "no answer from spreaderd at @ within 100ms; raise --timeout, " REMEDY);
	end(&r);
	close(fd);
}

/* --- command line -------------------------------------------------------------------------------- */

static void
test_usage(void **state)
{
	static const struct {
		const char *arguments[6];
		const char *err;
	} bad[] = {
	    {{NULL}, "no verb given; --help lists them"},
	    {{"frobnicate"}, "frobnicate: no such verb; --help lists them"},
	    {{"--bogus", "stats"}, "--bogus: no such flag; --help lists them"},
	    {{"stats", "extra"}, "stats takes no argument; --help tells more"},
	    {{"lookup"}, "lookup takes PREDICATE; --help tells more"},
	    {{"subscribe", "A"}, "subscribe takes PATTERN CALLBACK; --help tells more"},
	    {{"export", "a", "b"}, "export takes [FILE|-]; --help tells more"},
	    {{"subscribe", "A", "b", "c"}, "c: one argument too many"},
	    {{"stats", "--lease", "1h"}, "--lease: stats has no such option; --help tells more"},
	    {{"lookup", "A", "--limit=1"}, "--limit: lookup has no such option; --help tells more"},
	    {{"subscribe", "A", "b", "--lease=1500ms"}, "--lease: must be whole seconds"},
	    {{"subscribe", "A", "b", "--lease=5"}, "--lease: 5 is not a duration from 0 to 36500d"},
	    {{"stats", "--timeout", "0"}, "--timeout: 0 is not a duration from 1ms to 1h"},
	    {{"stats", "--url", "nonsense"},
	     "--url: nonsense is not an address such as tcp://127.0.0.1:7713: Invalid argument"},
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		run r;

		call(&r, bad[i].arguments, ARGS(NULL));
		snprintf(text, sizeof(text), "spreaderctl: %s\n", bad[i].err);
		expect(&r, 2, "", text);
		assert_int_equal(r.server.n, 0);
		end(&r);
	}
}

static void
test_help_and_version(void **state)
{
	static const char *const wanted[] = {"\n  subscribe PATTERN CALLBACK [--lease]\n",
					     "\n  unsubscribe PATTERN CALLBACK\n",
					     "\n  list [--prefix] [--callback] [--limit]\n",
					     "\n  lookup PREDICATE\n",
					     "\n  import FILE|-\n",
					     "\n  export [FILE|-]\n",
					     "\n  stats\n",
					     "\n  health\n",
					     "\n  version\n",
					     "\n  --url URL  [tcp://127.0.0.1:7713]\n",
					     "\n  --timeout TIME  [5s; 1ms..1h]\n",
					     "\n  --json  [off]\n"};
	run r;

	(void)state;
	for (int by_word = 0; by_word < 2; by_word++) {
		call(&r, by_word ? ARGS("help") : ARGS("--help"), ARGS(NULL));
		assert_int_equal(r.code, 0);
		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
			assert_non_null(strstr(r.out, wanted[i]));
		end(&r);
	}
	call(&r, ARGS("--version"), ARGS(NULL));
	expect(&r, 0, "spreaderctl " SPR_VERSION "\n", "");
	end(&r);
}

static void
test_full_disk(void **state)
{
	run r = {.code = 0};

	(void)state;
	start_server(&r, ARGS("{\"ok\":true}"));
	finish(&r, ARGS("sh", "-c", "exec " PROGRAM " " PATIENCE " unsubscribe a b >/dev/full"),
	       r.server.url);
	expect(&r, 1, "", "spreaderctl: cannot write to standard output\n");
	end(&r);
}

/* --- import and export --------------------------------------------------------------------------- */

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_verbs),
	    cmocka_unit_test(test_bad_replies),
	    cmocka_unit_test(test_unreachable),
	    cmocka_unit_test(test_usage),
	    cmocka_unit_test(test_help_and_version),
	    cmocka_unit_test(test_full_disk),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
