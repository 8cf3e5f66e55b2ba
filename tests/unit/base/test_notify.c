/*
 * notify: what arrives at the manager's socket, in both kinds of names, and which environments mean nobody.
 */
#include "spr_test.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/notify.h"

static char *dir;
static char path[100];
static int manager;

/* A manager that listens on this name; a leading '@' is the abstract space. */
static int
listen_on(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	assert_true(fd > 0);
	strcpy(address.sun_path, name);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	return (fd);
}

static int
start_manager(void **state)
{
	(void)state;
	dir = spr_test_tmpdir();
	snprintf(path, sizeof(path), "%s/n", dir);
	manager = listen_on(path);
	return (0);
}

static int
stop_manager(void **state)
{
	(void)state;
	close(manager);
	spr_test_cleanup(dir);
	return (0);
}

static void
expect(int fd, const char *wanted)
{
	char got[4096];
	ssize_t n = recv(fd, got, sizeof(got) - 1, 0); /* a datagram is there once it is sent */

	assert_true(n >= 0);
	got[n] = '\0';
	assert_string_equal(got, wanted);
}

static void
expect_nothing(int fd)
{
	char got[16];

	assert_int_equal(recv(fd, got, sizeof(got), 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static spr_notify
opened(const char *name, const char *watchdog, const char *pid)
{
	char *envp[] = {(char[]){"OTHER=1"}, (char[256]){0}, (char[64]){0}, (char[64]){0}, NULL};
	spr_notify notify;

	snprintf(envp[1], 256, "NOTIFY_SOCKET%s%s",
		 name != NULL ? "=" : "X=", name != NULL ? name : "");
	snprintf(envp[2], 64, "%s=%s", watchdog != NULL ? "WATCHDOG_USEC" : "A", watchdog);
	snprintf(envp[3], 64, "%s=%s", pid != NULL ? "WATCHDOG_PID" : "B", pid);
	spr_notify_open(&notify, envp);
	return (notify);
}

static void
test_what_is_said_arrives(void **state)
{
	spr_notify notify = opened(path, NULL, NULL);

	(void)state;
	assert_true(spr_notify_is_heard(&notify));
	spr_notify_say(&notify, "READY=1\nSTATUS=%d of %s", 3, "x");
	expect(manager, "READY=1\nSTATUS=3 of x");
	spr_notify_say(&notify, "STOPPING=1");
	expect(manager, "STOPPING=1");
	spr_notify_close(&notify);
	assert_false(spr_notify_is_heard(&notify));
	spr_notify_say(&notify, "READY=1");
	expect_nothing(manager);
	spr_notify_close(&notify);
}

static void
test_abstract_names(void **state)
{
	char name[64];
	spr_notify notify;
	int fd;

	(void)state;
	snprintf(name, sizeof(name), "@spreader-notify-%d", (int)getpid());
	fd = listen_on(name);
	notify = opened(name, NULL, NULL);
	spr_notify_say(&notify, "READY=1");
	expect(fd, "READY=1");
	spr_notify_close(&notify);
	close(fd);
}

static void
test_a_long_message_is_cut(void **state)
{
	spr_notify notify = opened(path, NULL, NULL);
	char text[3000], wanted[1024];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	memcpy(wanted, text, sizeof(wanted) - 1);
	wanted[sizeof(wanted) - 1] = '\0';
	spr_notify_say(&notify, "%s", text);
	expect(manager, wanted);
	spr_notify_close(&notify);
}

static void
test_nobody(void **state)
{
	static const char *const names[] = {
	    NULL, "", "/", "@", "relative", "/no/such/socket", "@no-such-spreader-manager"};
	char long_name[200];
	spr_notify notify;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		notify = opened(names[i], "1000000", NULL);
		assert_false(spr_notify_is_heard(&notify));
		assert_int_equal(notify.watchdog_ns, 0);
		spr_notify_say(&notify, "READY=1");
	}
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[0] = '/';
	long_name[sizeof(long_name) - 1] = '\0';
	notify = opened(long_name, NULL, NULL);
	assert_false(spr_notify_is_heard(&notify));
	expect_nothing(manager);
}

/* A manager that goes away costs nothing but what it is told. */
static void
test_a_manager_that_left(void **state)
{
	spr_notify notify = opened(path, NULL, NULL);

	(void)state;
	close(manager);
	spr_notify_say(&notify, "READY=1");
	spr_notify_say(&notify, "WATCHDOG=1");
	spr_notify_close(&notify);
	unlink(path);
	manager = listen_on(path);
}

static void
test_watchdog(void **state)
{
	static const struct {
		const char *usec;
		uint64_t ns;
	} cases[] = {{"30000000", 30000000000},   {"1", 1000}, {"", 0}, {"-1", 0}, {"5s", 0},
		     {"99999999999999999999", 0}, {NULL, 0}};
	char pid[32];
	spr_notify notify;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		notify = opened(path, cases[i].usec, NULL);
		assert_true(notify.watchdog_ns == cases[i].ns);
		spr_notify_close(&notify);
	}
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	notify = opened(path, "5", pid);
	assert_true(notify.watchdog_ns == 5000);
	spr_notify_close(&notify);
	notify = opened(path, "5", "1");
	assert_true(notify.watchdog_ns == 0);
	spr_notify_close(&notify);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_what_is_said_arrives, start_manager, stop_manager),
	    cmocka_unit_test_setup_teardown(test_abstract_names, start_manager, stop_manager),
	    cmocka_unit_test_setup_teardown(test_a_long_message_is_cut, start_manager,
					    stop_manager),
	    cmocka_unit_test_setup_teardown(test_nobody, start_manager, stop_manager),
	    cmocka_unit_test_setup_teardown(test_a_manager_that_left, start_manager, stop_manager),
	    cmocka_unit_test_setup_teardown(test_watchdog, start_manager, stop_manager),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
