/*
 * test_assert - roles, and asserts that really end the program in checked builds (seen from a forked child).
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spr_test.h"

#include "base/assert.h"

static const spr_role all_roles[] = {SPR_ROLE_MAIN,     SPR_ROLE_RECEIVER, SPR_ROLE_DISPATCHER,
				     SPR_ROLE_LEDGER,   SPR_ROLE_CONTROL,  SPR_ROLE_HTTP,
				     SPR_ROLE_WATCHDOG, SPR_ROLE_NNG_CB};

static void
test_role_names(void **state)
{
	static const char *const names[] = {"main",    "receiver", "dispatcher", "ledger",
					    "control", "http",     "watchdog",   "nng-cb"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_string_equal(spr_role_name(all_roles[i]), names[i]);
	assert_string_equal(spr_role_name(SPR_ROLE_NONE), "none");
	assert_string_equal(spr_role_name((spr_role)3), "unknown");
}

static void
assert_false_claim(void)
{
	SPR_ASSERT(1 + 1 == 3);
}

static void
act_as_ledger(void)
{
	SPR_ASSERT_ROLE(SPR_ROLE_LEDGER | SPR_ROLE_CONTROL);
}

/* The signal that ended the child, 0 if it exited. */
static int
signal_of(void (*act)(void), spr_role role)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		close(2);
		/* cmocka and the sanitizers would catch it and report */
		signal(SIGABRT, SIG_DFL);
		spr_role_set(role);
		act();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return (WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static void
test_a_false_assert_aborts(void **state)
{
	(void)state;
	assert_int_equal(signal_of(assert_false_claim, SPR_ROLE_NONE), SIGABRT);
}

static void
test_a_wrong_role_aborts(void **state)
{
	(void)state;
	assert_int_equal(signal_of(act_as_ledger, SPR_ROLE_DISPATCHER), SIGABRT);
	assert_int_equal(signal_of(act_as_ledger, SPR_ROLE_LEDGER), 0);
	assert_int_equal(signal_of(act_as_ledger, SPR_ROLE_CONTROL), 0);
	assert_int_equal(signal_of(act_as_ledger, SPR_ROLE_NONE), 0);
}

static void
test_the_role_is_kept(void **state)
{
	(void)state;
	assert_int_equal(spr_role_get(), SPR_ROLE_NONE);
	spr_role_set(SPR_ROLE_HTTP);
	assert_int_equal(spr_role_get(), SPR_ROLE_HTTP);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_role_names),
	    cmocka_unit_test(test_a_false_assert_aborts),
	    cmocka_unit_test(test_a_wrong_role_aborts),
	    cmocka_unit_test(test_the_role_is_kept),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
