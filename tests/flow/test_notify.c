/*
 * notify - what a service manager hears from the daemon: ready only once bound, reloads, how it goes, the stop and its
 * limit; and from the queue.
 */
#include "flow.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "spr_test.h"

static int manager;

static int
setup(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (flow_setup(state) != 0)
		return (-1);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", ((flow *)*state)->dir);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	return (bind(manager, (struct sockaddr *)&address, sizeof(address)));
}

static int
teardown(void **state)
{
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	close(manager);
	return (flow_teardown(state));
}

/* The next message; "" when none comes within ms. Valid until the next call. */
static const char *
heard(int ms)
{
	static char text[4096];
	struct pollfd ready = {.fd = manager, .events = POLLIN};
	ssize_t n = 0;

	if (poll(&ready, 1, ms) == 1)
		n = recv(manager, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	return (text);
}

/* The next message that is no mere line of state, nor sign of life, begins so. */
static const char *
expect_heard(const char *start)
{
	const char *text;

	do
		text = heard(spr_test_deadline_ms());
	while (strncmp(text, "STATUS=", 7) == 0 || strncmp(text, "WATCHDOG=1", 10) == 0);
	if (strncmp(text, start, strlen(start)) != 0)
		fail_msg("heard '%s' instead of '%s'", text, start);
	return (text);
}

static void
test_a_life(void **state)
{
	flow *f = *state;

	start_daemon(f, FLAGS("--drain-timeout", "7s"));
	expect_heard("READY=1");
	spr_proc_signal(f->daemon, SIGHUP);
	expect_heard("RELOADING=1\nMONOTONIC_USEC=");
	expect_heard("READY=1");
	spr_proc_signal(f->daemon, SIGTERM);
	assert_string_equal(expect_heard("STOPPING=1"),
			    "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=12000000");
	assert_int_equal(spr_proc_wait(f->daemon, spr_test_deadline_ms()), 0);
	assert_string_equal(heard(0), "");
}

static void
test_not_ready_when_it_cannot_bind(void **state)
{
	flow *f = *state;
	char url[64];
	int taken = spr_sp_listen("tcp://127.0.0.1:0", url);

	assert_int_equal(run_daemon(f, FLAGS("--intake-listen", url)), 71);
	assert_string_equal(heard(0), "");
	close(taken);
}

/* Once every half of the wanted period, for as long as it lives. */
static void
test_how_it_goes(void **state)
{
	flow *f = *state;
	const char *text;

	setenv("WATCHDOG_USEC", "200000", 1);
	start_daemon(f, NULL);
	subscribe(f, "UN.A", "http://a");
	do {
		text = heard(spr_test_deadline_ms());
		assert_string_not_equal(text, "");
	} while (
	    strcmp(text, "WATCHDOG=1\nSTATUS=receiving; 0 in flight; 1 subscriptions; 0 workers") !=
	    0);
	stop_daemon(f, 0);
}

static spr_proc *
start_queue(flow *f, const char *submit)
{
	char store[96];

	snprintf(store, sizeof(store), "%s/q.db", f->dir);
	return (spr_proc_start(f->dir, "queue",
			       FLAGS(SPR_TEST_BUILD_DIR "/spreader-queue", "--store", store,
				     "--submit-listen", submit, "--answer-listen",
				     "tcp://127.0.0.1:0", "--control-listen", "none"),
			       NULL));
}

static void
test_the_queue(void **state)
{
	flow *f = *state;
	spr_proc *queue;

	setenv("WATCHDOG_USEC", "200000", 1);
	queue = start_queue(f, "tcp://127.0.0.1:0");
	assert_string_equal(heard(spr_test_deadline_ms()), "READY=1");
	for (int i = 0; i < 3; i++)
		assert_string_equal(heard(spr_test_deadline_ms()),
				    "WATCHDOG=1\nSTATUS=0 dispatchers");
	spr_proc_signal(queue, SIGHUP);
	expect_heard("RELOADING=1\nMONOTONIC_USEC=");
	expect_heard("READY=1");
	spr_proc_signal(queue, SIGTERM);
	expect_heard("STOPPING=1");
	assert_int_equal(spr_proc_wait(queue, spr_test_deadline_ms()), 0);
	assert_string_equal(heard(0), "");
}

static void
test_the_queue_cannot_bind(void **state)
{
	char url[64];
	int taken = spr_sp_listen("tcp://127.0.0.1:0", url);

	assert_int_equal(spr_proc_wait(start_queue(*state, url), spr_test_deadline_ms()), 71);
	assert_string_equal(heard(0), "");
	close(taken);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_a_life, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_not_ready_when_it_cannot_bind, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_how_it_goes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_the_queue, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_the_queue_cannot_bind, setup, teardown),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
