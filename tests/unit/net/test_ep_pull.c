/*
 * test_ep_pull - the receiving half of the native transport: beyond the scenes, names, peers that come and go, a receive
 * without memory.
 */
#define TRANSPORT spr_transport_native
#include "own_pull_scene.h"

#include <dirent.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>

static unsigned
count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return (n);
}

static void
leave_with_reset(spr_sp *peer)
{
	const struct linger linger = {.l_onoff = 1};

	(void)setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	spr_sp_close(peer);
}

/* In the middle of whatever they were doing. */
static void
come_and_go(scene *s, unsigned n)
{
	static const char half[] = "\0\0\0\0\0\0\1\0half of it";
	unsigned n_before = s->n_removed;
	spr_sp peer;

	for (unsigned i = 0; i < n; i++) {
		assert_true(spr_sp_dial(&peer, s->url, SPR_SP_PUSH));
		if (i % 4 > 0)
			push(&peer, 20);
		if (i % 4 > 1)
			(void)spr_sp_send_bytes(&peer, half, i % 16, LIMIT_MS);
		if (i % 3 == 0)
			leave_with_reset(&peer);
		else
			spr_sp_close(&peer);
	}
	assert_true(wait_until(s->n_removed == n_before + n, LIMIT_MS));
}

static void
test_peers_that_come_and_go(void **state)
{
	static const char *const schemes[] = {"tcp", "ipc"};
	unsigned n_descriptors;
	size_t n_bytes;
	scene s;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		open_scene(&s, schemes[k], 2);
		come_and_go(&s, 100); /* what is made once is made */
		n_descriptors = count_descriptors();
		n_bytes = mallinfo2().uordblks;
		come_and_go(&s, 1000);
		assert_int_equal(count_descriptors(), n_descriptors);
		assert_in_range(mallinfo2().uordblks, 0, n_bytes + 20000);
		close_scene(&s);
	}
}

/* A name with more than one address, and nobody at the first of them. */
static void
test_a_name_is_dialled(void **state)
{
	char url[64], name[64];
	int listener = spr_sp_listen("tcp://127.0.0.1:0", url);
	scene s;
	spr_sp peer;

	(void)state;
	snprintf(name, sizeof(name), "tcp://localhost:%s", strrchr(url, ':') + 1);
	open_pull(&s, 2);
	assert_ok(transport->pull_dial(s.pull, name));
	transport->pull_start(s.pull);
	for (unsigned n = 1; n <= 2; n++) {
		assert_true(spr_sp_adopt(&peer, accept(listener, NULL, NULL), SPR_SP_PUSH));
		push(&peer, 20);
		assert_true(wait_until(s.n_received == n, LIMIT_MS));
		spr_sp_close(&peer);
	}
	close(listener);
	close_scene(&s);
}

/* The look-up goes on when everything else has ended. */
static void
test_a_name_that_is_not_waited_for(void **state)
{
	scene s;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		open_pull(&s, 1);
		assert_ok(transport->pull_dial(s.pull, "tcp://no.such.name.invalid:1"));
		close_scene(&s);
	}
}

static void
test_half_open_peers_are_looked_for(void **state)
{
	int value[4] = {0};
	socklen_t len = sizeof(int);
	struct sockaddr_storage name;
	socklen_t name_len;
	unsigned n_found = 0;
	scene s;
	spr_sp peer;

	(void)state;
	open_scene(&s, "tcp", 1);
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_PUSH));
	assert_true(wait_until(s.n_added == 1, LIMIT_MS));
	for (int fd = 3; fd < 1024; fd++) {
		int protocol = 0; /* a look-up of a name may have a socket too */

		name_len = sizeof(name);
		if (fd == peer.fd || getpeername(fd, (struct sockaddr *)&name, &name_len) != 0 ||
		    name.ss_family != AF_INET ||
		    getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) != 0 ||
		    protocol != IPPROTO_TCP)
			continue;
		assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value[0], &len), 0);
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value[1], &len), 0);
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &value[2], &len), 0);
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value[3], &len), 0);
		n_found++;
	}
	assert_int_equal(n_found, 1);
	assert_int_equal(value[0], 1);
	assert_in_range(value[1], 1, 10);
	assert_in_range(value[2], 1000, 30000);
	assert_int_equal(value[3], 1);
	spr_sp_close(&peer);
	close_scene(&s);
}

/* A message that is cut off finds no memory: its receive waits, and a stop ends that. */
static void
test_a_stop_while_memory_is_short(void **state)
{
	static const char half[] = "\0\0\0\0\0\0\1\0half of it";
	scene s;
	spr_sp peer, late;

	(void)state;
	open_scene(&s, "tcp", 1);
	atomic_store(&s.is_short_of_memory, true);
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_PUSH));
	push(&peer, 20);
	assert_true(wait_until(s.n_received == 1, LIMIT_MS));
	assert_int_equal(spr_sp_send_bytes(&peer, half, sizeof(half) - 1, LIMIT_MS), SPR_SP_OK);
	assert_false(spr_sp_dial(&late, s.url, SPR_SP_PUSH)); /* nor is there any for a newcomer */
	transport->pull_stop(s.pull);
	assert_int_equal(s.n_received, 1);
	spr_sp_close(&peer);
	close_scene(&s);
}

/* What its sender did comes to light when a receive goes on that was parked before it: more has come since then. */
static void
test_an_end_behind_a_park(void **state)
{
	static const char bad[] = "\0\0\0\0\0\0\0\2m."
				  "\0\0\0\0\0\0\0\2m."
				  "\x80\0\0\0\0\0\0\0";
	scene s;
	spr_sp peer[3];

	(void)state;
	open_scene(&s, "tcp", 1);
	for (unsigned i = 0; i < 3; i++)
		assert_true(spr_sp_dial(&peer[i], s.url, SPR_SP_PUSH));
	assert_true(wait_until(s.n_added == 3, LIMIT_MS));
	atomic_store(&s.is_parking, true);
	assert_int_equal(spr_sp_send_bytes(&peer[1], bad, sizeof(bad) - 1, LIMIT_MS), SPR_SP_OK);
	assert_true(wait_until(s.n_received == 1, LIMIT_MS));
	atomic_store(&s.is_parking, false);
	for (unsigned n = 0; n < 20; n++) { /* all three are ready, and set aside */
		push(&peer[n % 3], 20);
		sched_yield();
	}
	atomic_store(&s.may_receive[0], true);
	transport->pull_rearm(s.pull, 0);
	assert_true(spr_sp_wait_gone(&peer[1], LIMIT_MS));
	assert_true(wait_until(s.n_received == 2 + 13, LIMIT_MS));
	assert_int_equal(s.n_removed, 1);
	for (unsigned i = 0; i < 3; i++)
		spr_sp_close(&peer[i]);
	close_scene(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_messages_arrive),
	    cmocka_unit_test(test_a_parked_receive_waits_for_its_rearm),
	    cmocka_unit_test(test_a_message_too_long_costs_the_connection),
	    cmocka_unit_test(test_it_dials_and_dials_again),
	    cmocka_unit_test(test_stop_ends_the_callbacks),
	    cmocka_unit_test(test_the_url_really_bound),
	    cmocka_unit_test(test_bad_urls),
	    cmocka_unit_test(test_other_peers_get_nowhere),
	    cmocka_unit_test(test_connections_are_spread),
	    cmocka_unit_test(test_back_pressure),
	    cmocka_unit_test(test_no_memory),
	    cmocka_unit_test(test_an_end_behind_a_park),
	    cmocka_unit_test(test_peers_that_come_and_go),
	    cmocka_unit_test(test_a_name_is_dialled),
	    cmocka_unit_test(test_a_name_that_is_not_waited_for),
	    cmocka_unit_test(test_half_open_peers_are_looked_for),
	    cmocka_unit_test(test_a_stop_while_memory_is_short),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
