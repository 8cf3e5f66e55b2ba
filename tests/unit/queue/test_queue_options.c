/*
 * test_queue_options - what is refused, by which name and with which exit, and whose variables are left alone.
 */
#include "queue_options.h"

#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

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
	    {"--control-listen=tcp://0.0.0.0:1",
	     "--control-listen: tcp://0.0.0.0:1 is not tcp:// on a loopback"},
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_accepted),
	    cmocka_unit_test(test_refused),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
