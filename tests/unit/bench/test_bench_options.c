/*
 * test_bench_options - defaults, roles, and which options do not go together.
 */
#include "bench_options.h"

#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static spr_err
parse(bench_options *out, const char *const words[])
{
	char *argv[8] = {strdup("bench")}, *envp[] = {NULL};
	int argc = 1;
	spr_err rv;

	for (; words[argc - 1] != NULL; argc++)
		argv[argc] = strdup(words[argc - 1]);
	rv = bench_options_parse(out, argc, argv, envp);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return (rv);
}

static void
test_defaults(void **state)
{
	bench_options o;

	(void)state;
	assert_ok(parse(&o, WORDS(NULL)));
	assert_int_equal(o.action, BENCH_ACTION_RUN);
	assert_int_equal(o.fan_out, 1);
	assert_true(o.control);
	assert_null(o.ack);
	assert_true(o.is_producer && o.is_worker);
	assert_false(o.is_upstream); /* nowhere to take answers */
	bench_options_free(&o);
}

static void
test_roles(void **state)
{
	bench_options o;

	(void)state;
	assert_ok(parse(&o, WORDS("--ack=tcp://127.0.0.1:0")));
	assert_true(o.is_producer && o.is_worker && o.is_upstream);
	bench_options_free(&o);
	assert_ok(parse(&o, WORDS("--role=worker", "--run=7", "--count=9")));
	assert_true(!o.is_producer && o.is_worker && !o.is_upstream);
	bench_options_free(&o);
	assert_ok(parse(
	    &o, WORDS("--role=producer", "--role=upstream", "--ack=x", "--run=7", "--count=9")));
	assert_true(o.is_producer && !o.is_worker && o.is_upstream);
	bench_options_free(&o);
}

static void
test_refused(void **state)
{
	static const struct {
		const char *words[5], *text;
	} bad[] = {
	    {{"--role=queen"}, "--role: queen is not producer, worker or upstream"},
	    {{"--role=worker", "--count=9"}, "--role: needs --run and --count"},
	    {{"--role=worker", "--run=9"}, "--role: needs --run and --count"},
	    {{"--role=upstream", "--run=9", "--count=9"}, "--role: upstream needs --ack"},
	    {{"--null", "--daemon=x"}, "--null: has no target; leave --daemon out"},
	    {{"--null", "--role=worker", "--run=1", "--count=1"}, "--null: needs all roles"},
	    {{"--null", "--workers=2"}, "--null: has one producer and one worker"},
	    {{"--daemon=x", "--role=worker", "--run=1", "--count=1"}, "--daemon: needs all roles"},
	    {{"--daemon=x", "--no-control"}, "--daemon: needs --control"},
	    {{"--daemon-flag=x"}, "--daemon-flag: needs --daemon"},
	    {{"--ack=x", "--no-control"}, "--ack: a relay gives no answers"},
	    {{"--ack=x", "--null"}, "--ack: a relay gives no answers"},
	    {{"--confirm=receipt"}, "--confirm: receipt needs --ack"},
	    {{"--hit-percent=50", "--no-control"}, "--hit-percent: a relay hands on everything"},
	    {{"--background=1", "--no-control"}, "--background: needs control"},
	    {{"--churn=1", "--null"}, "--churn: needs control"},
	    {{"--depth=0"}, "--depth: 0 is not"},
	    {{"--verify=none"}, "--verify: none is not"},
	    {{"--duration=1ms"}, "--duration: 1ms is not"},
	    {{"--nonsense"}, "--nonsense"},
	};
	bench_options o;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		spr_err rv = parse(&o, bad[i].words);

		assert_fails(rv, SPR_E_USAGE);
		if (strstr(spr_error_text(rv), bad[i].text) == NULL)
			fail_msg("\"%s\" lacks \"%s\"", spr_error_text(rv), bad[i].text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_roles),
	    cmocka_unit_test(test_refused),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
