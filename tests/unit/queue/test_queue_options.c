/*
 * test_queue_options - what is refused, by which name and with which exit, and whose variables are left alone.
 */
#include "queue_options.h"

#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#define WORDS_MAX 8

/* Flags with blanks between. */
static spr_err
parse_words(queue_options *out, const char *flags)
{
	char text[512];
	char name[] = "queue";
	char *argv[WORDS_MAX + 2] = {name};
	char *envp[] = {NULL};
	int argc = 1;

	snprintf(text, sizeof(text), "%s", flags);
	for (char *word = strtok(text, " "); word != NULL && argc <= WORDS_MAX;
	     word = strtok(NULL, " "))
		argv[argc++] = word;
	return (queue_options_parse(out, argc, argv, envp));
}

static spr_err
parse(queue_options *out, const char *flag, const char *variable)
{
	char name[] = "queue", a[128], b[128];
	char *argv[] = {name, flag != NULL ? a : NULL, NULL};
	char *envp[] = {variable != NULL ? b : NULL, NULL};

	snprintf(a, sizeof(a), "%s", flag != NULL ? flag : "");
	snprintf(b, sizeof(b), "%s", variable != NULL ? variable : "");
	return (queue_options_parse(out, flag != NULL ? 2 : 1, argv, envp));
}

static void
test_accepted(void **state)
{
	static const char *const flags[] = {
	    "--control-listen=none",
	    "--control-listen=ipc:///tmp/x",
	    "--control-listen=tcp://localhost:1",
	    "--to=tcp://10.0.0.1:7710",
	    "--stdin",
	    "--store=:memory:",
	};
	static const char *const variables[] = {
	    "SPREADER_QUEUE_TO=tcp://a:1,tcp://b:2", "SPREADER_QUEUE_SUBMIT_URL=x",
	    "SPREADER_QUEUE_CONTROL_URL=x",          "SPREADER_QUEUE_SERVICE_HOST=x",
	    "SPREADER_QUEUE_PORT_7720_TCP=x",        "SPREADER_RING_SLOTS=8",
	};
	queue_options o;

	(void)state;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		assert_ok(parse(&o, flags[i], NULL));
		queue_options_free(&o);
	}
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		assert_ok(parse(&o, NULL, variables[i]));
		queue_options_free(&o);
	}
	assert_ok(parse(&o, NULL, variables[0]));
	assert_int_equal(o.to.n, 2);
	assert_int_equal(o.max_outstanding, 32768);
	assert_int_equal(o.max_attempts, 0);
	queue_options_free(&o);
}

static void
test_refused(void **state)
{
	static const char *const bad[][2] = {
	    {"--max-outstanding=0", "--max-outstanding: 0 is not"},
	    {"--visibility-timeout=1ms", "--visibility-timeout: 1ms is not"},
	    {"--submit-listen=none", "--submit-listen: none is not possible"},
	    {"--answer-listen=none", "--answer-listen: none is not possible"},
	    {"--retry-longest=10ms", "--retry-longest: shorter than --retry-first"},
	    {"--max-message=1KiB", "--max-body"},
	    {"--nonsense", "--nonsense"},
	    {"word", "word"},
	};
	queue_options o;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		spr_err rv = parse(&o, bad[i][0], NULL);

		/* a fault between options may be blamed on the default of the other one */
		assert_true(rv == SPR_E_USAGE || rv == SPR_E_CONFIG);
		if (strstr(spr_error_text(rv), bad[i][1]) == NULL)
			fail_msg("\"%s\" lacks \"%s\"", spr_error_text(rv), bad[i][1]);
	}
	assert_fails(parse(&o, NULL, "SPREADER_QUEUE_MAX_OUTSTANDING=x"), SPR_E_CONFIG);
	assert_fails(parse(&o, NULL, "SPREADER_QUEUE_NONSENSE=x"), SPR_E_CONFIG);
	/* help needs no good configuration */
	assert_ok(parse(&o, "--help", "SPREADER_QUEUE_NONSENSE=x"));
	assert_int_equal(o.action, QUEUE_ACTION_HELP);
}

/* Control has no password: beyond this machine it takes who shows a certificate, and nobody else. */
static void
test_addresses(void **state)
{
	static const char *const bad[][2] = {
	    {"--control-listen tcp://0.0.0.0:1",
	     "--control-listen: tcp://0.0.0.0:1 is not loopback, which needs tls+tcp:// with "
	     "--tls-ca; or "
	     "use a loopback address, ipc:// or abstract://"},
	    {"--control-listen tcp://127.evil.example:1",
	     "--control-listen: tcp://127.evil.example:1 is not loopback"},
	    {"--control-listen tls+tcp://0.0.0.0:1 --tls-cert c --tls-key k",
	     "--control-listen: tls+tcp://0.0.0.0:1 is not loopback"},
	    {"--control-listen wss://0.0.0.0:1 --tls-cert c --tls-key k --tls-ca a",
	     "--control-listen: wss://0.0.0.0:1 is not loopback"},
	    {"--submit-listen tls+tcp://h:1",
	     "--submit-listen: tls+tcp://h:1 needs --tls-cert and --tls-key"},
	    {"--answer-listen tls+tcp://h:1 --tls-ca a",
	     "--answer-listen: tls+tcp://h:1 needs --tls-cert and --tls-key"},
	    {"--to tls+tcp://h:1 --tls-cert c --tls-key k", "--to: tls+tcp://h:1 needs --tls-ca"},
	    {"--to tcp://h:0", "--to: tcp://h:0 has port 0"},
	    {"--to ws://h:1", "--to: ws://h:1: nothing is pushed over ws; use tcp://, tls+tcp://, "
			      "ipc:// or abstract://"},
	    {"--submit-listen tcp://h:1 --submit-listen ws://h:2",
	     "--submit-listen: ws:// and other schemes cannot share one socket"},
	    {"--to h:1", "--to: h:1 is not a tcp://"},
	    {"--tls-cert c", "--tls-cert: needs --tls-key"},
	    {"--tls-key k", "--tls-key: needs --tls-cert"},
	};
	queue_options o;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_fails(parse_words(&o, bad[i][0]), SPR_E_CONFIG);
		if (strncmp(spr_error_text(SPR_E_CONFIG), bad[i][1], strlen(bad[i][1])) != 0)
			fail_msg("\"%s\" is not \"%s\"", spr_error_text(SPR_E_CONFIG), bad[i][1]);
	}
	assert_ok(parse_words(
	    &o, "--control-listen tls+tcp://0.0.0.0:1 --tls-cert c --tls-key k --tls-ca a"));
	queue_options_free(&o);
	assert_ok(parse_words(&o, "--to tls+tcp://h:1 --tls-ca a"));
	queue_options_free(&o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_accepted),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_addresses),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
