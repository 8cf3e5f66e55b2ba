/*
 * test_ep_silence - who is gone and who is only quiet: as a decision over numbers, and on sockets.
 */
#include "spr_test.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

#include "net/ep_silence.h"
#include "net/ep_socket.h"
#include "vanish.h"

#define LIMIT_MS 20000

static void
test_decision(void **state)
{
	static const struct {
		spr_ep_silence silence;
		bool is_final;
	} rows[] = {
	    {{false, 0, 0}, false},    {{false, 9, 60000}, false}, /* nothing waits: keepalive's */
	    {{true, 0, 60000}, false}, {{true, 2, 60000}, false},  /* hardly asked */
	    {{true, 3, 9999}, false},  {{true, 15, 0}, false},     /* it has just answered */
	    {{true, 3, 10000}, true},  {{true, 15, 120000}, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(spr_ep_silence_is_final(&rows[i].silence), rows[i].is_final);
}

/* Both ends of a connection over loopback. */
static void
connect_pair(int *ours, int *theirs)
{
	struct sockaddr_in name = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(name);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&name, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&name, &len), 0);
	*ours = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(*ours, (struct sockaddr *)&name, len), 0);
	*theirs = accept(listener, NULL, NULL);
	assert_true(*theirs >= 0);
	close(listener);
	spr_ep_socket_set_up(*ours, AF_INET, 0);
}

static spr_ep_silence
look(int fd, spr_ep_silence *out)
{
	return (*out = spr_ep_silence_read(fd));
}

static void
test_in_flight(void **state)
{
	spr_ep_silence silence;
	int ours, theirs;

	(void)state;
	connect_pair(&ours, &theirs);
	assert_false(look(ours, &silence).is_waiting);
	assert_int_equal(send(ours, "x", 1, 0), 1);
	assert_true(
	    wait_until(!look(ours, &silence).is_waiting, LIMIT_MS)); /* acknowledged, not read */
	vanish(theirs);
	assert_int_equal(send(ours, "x", 1, 0), 1);
	assert_true(wait_until(look(ours, &silence).n_unheard >= 3, LIMIT_MS));
	assert_true(silence.is_waiting);
	assert_true(silence.silent_ms > 0);
	close(ours);
	close(theirs);
}

static void
test_shut_window(void **state)
{
	static char bytes[1 << 20];
	spr_ep_silence silence;
	int ours, theirs;

	(void)state;
	connect_pair(&ours, &theirs);
	while (send(ours, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		continue;
	/* it answers each probe, whatever else happens: never two unanswered, and heard of again and again */
	assert_true(wait_until(look(ours, &silence).silent_ms > 1000, LIMIT_MS));
	assert_true(wait_until(look(ours, &silence).silent_ms < 200, LIMIT_MS));
	assert_true(silence.is_waiting);
	assert_in_range(silence.n_unheard, 0, 1);
	vanish(theirs);
	assert_true(wait_until(look(ours, &silence).n_unheard >= 3, LIMIT_MS));
	close(ours);
	close(theirs);
}

static void
test_not_tcp(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(send(pair[0], "x", 1, 0), 1);
	assert_false(spr_ep_silence_read(pair[0]).is_waiting);
	close(pair[0]);
	close(pair[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_decision),
	    cmocka_unit_test(test_in_flight),
	    cmocka_unit_test(test_shut_window),
	    cmocka_unit_test(test_not_tcp),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
