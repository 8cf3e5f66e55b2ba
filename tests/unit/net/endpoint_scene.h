/*
 * endpoint_scene - listeners that stay: a locked path, a path that is taken away, a listener that died; many handshakes; a
 * limit of connections; dialers that meet peers who hang up. Define TRANSPORT, and OTHER_URL: one more kind of address.
 */
#pragma once

#include "pull_scene.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/counters.h"

static inline const char *
path_of(const scene *s)
{
	return (s->url + strlen("ipc://"));
}

static inline void
lock_path_of(const scene *s, char out[SPR_URL_MAX + 8])
{
	snprintf(out, SPR_URL_MAX + 8, "%s.lock", path_of(s));
}

/* A newcomer gets a message through. A path is there a moment before anybody listens. */
static inline void
expect_service(scene *s)
{
	unsigned n_received = s->n_received;
	spr_sp peer;

	assert_true(wait_until(spr_sp_dial(&peer, s->url, SPR_SP_PUSH), LIMIT_MS));
	push(&peer, 20);
	assert_true(wait_until(s->n_received == n_received + 1, LIMIT_MS));
	spr_sp_close(&peer);
}

/* Connected, and not a byte; -1 when it is refused. */
static inline int
connect_plain(const char *url)
{
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	struct sockaddr_in inet = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	bool is_ipc = strncmp(url, "ipc", 3) == 0;
	int fd = socket(is_ipc ? AF_UNIX : AF_INET, SOCK_STREAM, 0), rv;

	if (is_ipc) {
		assert_true(strlen(url) - 6 < sizeof(local.sun_path));
		strcpy(local.sun_path, url + 6);
		rv = connect(fd, (struct sockaddr *)&local, sizeof(local));
	} else {
		inet.sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1));
		rv = connect(fd, (struct sockaddr *)&inet, sizeof(inet));
	}
	if (rv == 0)
		return (fd);
	close(fd);
	return (-1);
}

static inline void
reset(int fd)
{
	const struct linger linger = {.l_onoff = 1};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

/* ---- the path of an ipc address ---- */

static inline void
test_a_path_is_locked(void **state)
{
	char lock[SPR_URL_MAX + 8], expected[4 * SPR_URL_MAX], bound[SPR_URL_MAX];
	struct stat there;
	scene s, other;

	(void)state;
	open_scene(&s, "ipc", 1);
	lock_path_of(&s, lock);
	assert_int_equal(stat(lock, &there), 0);
	assert_int_equal(there.st_mode & 0777, 0600);
	open_pull(&other, 1);
	assert_fails(transport->pull_listen(other.pull, s.url, bound), SPR_E_ADDRESS);
	snprintf(expected, sizeof(expected),
		 "listen on %s: %s is locked by another process; stop that one or use another path",
		 s.url, lock);
	assert_string_equal(spr_error_text(SPR_E_ADDRESS), expected);
	close_scene(&other);
	expect_service(&s); /* it was not touched */
	transport->pull_stop(s.pull);
	transport->pull_close(s.pull);
	assert_int_equal(access(lock, F_OK), -1); /* an orderly end leaves neither */
	assert_int_equal(access(path_of(&s), F_OK), -1);
	spr_test_cleanup(s.dir);
}

/* What a killed process leaves is replaced: the path, and a lock file that nobody holds. */
static inline void
test_a_stale_path_is_replaced(void **state)
{
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	char url[SPR_URL_MAX], lock[SPR_URL_MAX + 8];
	scene s;
	int fd;

	(void)state;
	open_pull(&s, 1);
	snprintf(url, sizeof(url), "ipc://%s/s", s.dir);
	snprintf(lock, sizeof(lock), "%s/s.lock", s.dir);
	snprintf(local.sun_path, sizeof(local.sun_path), "%.90s/s", s.dir);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&local, sizeof(local)), 0);
	close(fd);
	close(open(lock, O_CREAT | O_RDWR, 0600));
	assert_ok(transport->pull_listen(s.pull, url, s.url));
	transport->pull_start(s.pull);
	expect_service(&s);
	close_scene(&s);
}

static inline void
test_a_file_is_not_removed(void **state)
{
	char url[SPR_URL_MAX], path[SPR_URL_MAX], bound[SPR_URL_MAX];
	scene s;

	(void)state;
	open_pull(&s, 1);
	snprintf(path, sizeof(path), "%s/s", s.dir);
	snprintf(url, sizeof(url), "ipc://%.200s", path);
	close(open(path, O_CREAT | O_RDWR, 0600));
	assert_fails(transport->pull_listen(s.pull, url, bound), SPR_E_ADDRESS);
	assert_non_null(
	    strstr(spr_error_text(SPR_E_ADDRESS), "no socket; remove it or use another path"));
	assert_int_equal(access(path, F_OK), 0);
	close_scene(&s);
}

/* ---- revivals ---- */

static inline void
test_a_path_that_is_gone_comes_back(void **state)
{
	uint64_t n = spr_counter_sum(SPR_C_LISTENER_REVIVALS);
	unsigned n_before;
	spr_sp peer;
	scene s;

	(void)state;
	open_scene(&s, "ipc", 1);
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_PUSH));
	push(&peer, 20);
	assert_true(wait_until(s.n_received == 1, LIMIT_MS));
	assert_int_equal(unlink(path_of(&s)), 0);
	assert_true(wait_until(spr_counter_sum(SPR_C_LISTENER_REVIVALS) == n + 1, LIMIT_MS));
	assert_true(wait_until(access(path_of(&s), F_OK) == 0, LIMIT_MS));
	expect_service(&s);
	n_before = s.n_received;
	push(&peer, 20); /* connections live on */
	assert_true(wait_until(s.n_received == n_before + 1, LIMIT_MS));
	spr_sp_close(&peer);
	/* another file in its place */
	assert_int_equal(unlink(path_of(&s)), 0);
	n = (uint64_t)socket(AF_UNIX, SOCK_STREAM, 0);
	{
		struct sockaddr_un local = {.sun_family = AF_UNIX};

		snprintf(local.sun_path, sizeof(local.sun_path), "%.100s", path_of(&s));
		assert_int_equal(bind((int)n, (struct sockaddr *)&local, sizeof(local)), 0);
		close((int)n);
	}
	n = spr_counter_sum(SPR_C_LISTENER_REVIVALS);
	assert_true(wait_until(spr_counter_sum(SPR_C_LISTENER_REVIVALS) > n, LIMIT_MS));
	expect_service(&s);
	close_scene(&s);
}

/* The descriptor that listens on this port. */
static inline int
listening_descriptor(const char *url)
{
	int port = atoi(strrchr(url, ':') + 1);

	for (int fd = 3; fd < 1024; fd++) {
		struct sockaddr_in inet;
		socklen_t len = sizeof(inet), n = sizeof(int);
		int is_listening = 0;

		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &n) == 0 &&
		    is_listening && getsockname(fd, (struct sockaddr *)&inet, &len) == 0 &&
		    inet.sin_family == AF_INET && ntohs(inet.sin_port) == port)
			return (fd);
	}
	return (-1);
}

/* Dead as no peer should be able to make it: it listens no more, and nng is not told. */
static inline void
test_a_dead_listener_is_revived(void **state)
{
	uint64_t n = spr_counter_sum(SPR_C_LISTENER_REVIVALS);
	scene s;

	(void)state;
	open_scene(&s, "tcp", 1);
	expect_service(&s);
	assert_int_equal(shutdown(listening_descriptor(s.url), SHUT_RDWR), 0);
	assert_true(wait_until(spr_counter_sum(SPR_C_LISTENER_REVIVALS) > n, LIMIT_MS));
	assert_true(wait_until(listening_descriptor(s.url) >= 0, LIMIT_MS));
	expect_service(&s);
	close_scene(&s);
}

/* In place of the one of libc, for all of this program: there is a host here.test, and it is counted who asks for it. */
static atomic_uint n_lookups;

int
getaddrinfo(const char *restrict node, const char *restrict service,
	    const struct addrinfo *restrict hints, struct addrinfo **restrict out)
{
	static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (node != NULL && strcmp(node, "here.test") == 0) {
		atomic_fetch_add(&n_lookups, 1);
		node = "127.0.0.1";
	}
	return (real(node, service, hints, out));
}

/* Whoever had to look a name up would hold up a whole loop, or all timers, for as long as the name server likes. */
static inline void
test_a_revival_looks_up_no_name(void **state)
{
	uint64_t n = spr_counter_sum(SPR_C_LISTENER_REVIVALS);
	scene s;

	(void)state;
	open_pull(&s, 1);
	assert_ok(transport->pull_listen(s.pull, "tcp://here.test:0", s.url));
	assert_int_equal(strncmp(s.url, "tcp://here.test:", 16), 0);
	assert_true(n_lookups > 0);
	snprintf(s.url, sizeof(s.url), "tcp://127.0.0.1:%d", atoi(strrchr(s.url, ':') + 1));
	transport->pull_start(s.pull);
	expect_service(&s);
	atomic_store(&n_lookups, 0);
	assert_int_equal(shutdown(listening_descriptor(s.url), SHUT_RDWR), 0);
	assert_true(wait_until(spr_counter_sum(SPR_C_LISTENER_REVIVALS) > n, LIMIT_MS));
	assert_true(wait_until(listening_descriptor(s.url) >= 0, LIMIT_MS));
	expect_service(&s);
	assert_int_equal(n_lookups, 0);
	close_scene(&s);
}

/* Nor does it take away what somebody has put in place of the path. */
static inline void
test_a_revival_removes_no_file(void **state)
{
	uint64_t n = spr_counter_sum(SPR_C_LISTENER_REVIVALS);
	scene s;

	(void)state;
	open_scene(&s, "ipc", 1);
	assert_int_equal(unlink(path_of(&s)), 0);
	close(open(path_of(&s), O_CREAT | O_RDWR, 0600));
	assert_true(wait_until(spr_counter_sum(SPR_C_LISTENER_REVIVALS) > n + 1, LIMIT_MS));
	assert_int_equal(access(path_of(&s), F_OK), 0);
	assert_int_equal(connect_plain(s.url), -1);
	assert_int_equal(unlink(path_of(&s)), 0); /* and comes back when that is gone */
	expect_service(&s);
	close_scene(&s);
}

/* It cannot come back at first: the folder is gone. */
static inline void
test_a_revival_is_tried_again(void **state)
{
	uint64_t n = spr_counter_sum(SPR_C_LISTENER_REVIVALS);
	char aside[SPR_URL_MAX];
	scene s;

	(void)state;
	open_scene(&s, "ipc", 1);
	snprintf(aside, sizeof(aside), "%s.aside", s.dir);
	assert_int_equal(rename(s.dir, aside), 0);
	assert_true(wait_until(spr_counter_sum(SPR_C_LISTENER_REVIVALS) > n + 1, LIMIT_MS));
	assert_int_equal(rename(aside, s.dir), 0);
	assert_true(wait_until(access(path_of(&s), F_OK) == 0, LIMIT_MS));
	assert_true(wait_until((n = (uint64_t)connect_plain(s.url)) != (uint64_t)-1, LIMIT_MS));
	close((int)n);
	expect_service(&s);
	close_scene(&s);
}

/* Nobody comes, and the listener is well: it is looked at, not opened anew. */
static inline void
test_an_idle_listener_is_left_alone(void **state)
{
	static const char *const urls[] = {"tcp://127.0.0.1:0", "tcp://0.0.0.0:0", OTHER_URL,
					   "ipc"};
	uint64_t n = spr_counter_sum(SPR_C_LISTENER_REVIVALS);
	uint64_t until_ns = spr_clock_now_ns() + 7 * SPR_NS_PER_S; /* three looks */
	char url[SPR_URL_MAX];
	scene s[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		open_pull(&s[i], 1);
		if (i == 3)
			snprintf(url, sizeof(url), "ipc://%s/s", s[i].dir);
		else if (strcmp(urls[i], "abstract") == 0)
			snprintf(url, sizeof(url), "abstract://%s", s[i].dir + 1);
		else
			snprintf(url, sizeof(url), "%s", urls[i]);
		assert_ok(transport->pull_listen(s[i].pull, url, s[i].url));
		transport->pull_start(s[i].pull);
	}
	assert_true(wait_until(spr_clock_now_ns() >= until_ns, LIMIT_MS));
	assert_int_equal(spr_counter_sum(SPR_C_LISTENER_REVIVALS), n);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(s[i].n_added, 0); /* its own knock is no peer */
		close_scene(&s[i]);
	}
}

/* ---- crowds ---- */

static inline void
test_bad_handshakes_hold_up_nobody(void **state)
{
	enum { N_SILENT = 300 };
	static const char *const schemes[] = {"tcp", "ipc"};
	int silent[N_SILENT], fd;
	char greeting[64];
	scene s;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		open_scene(&s, schemes[k], 1);
		for (unsigned i = 0; i < N_SILENT; i++)
			assert_true((silent[i] = connect_plain(s.url)) >= 0);
		expect_service(&s);
		for (unsigned i = 0; i < 200; i++) {
			assert_true((fd = connect_plain(s.url)) >= 0);
			if (i % 4 == 1)
				(void)send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL);
			if (i % 4 == 2)
				(void)send(fd, "\0SP\0\0", 5, MSG_NOSIGNAL);
			if (i % 4 == 3)
				shutdown(fd, SHUT_WR);
			if (i % 2 == 0)
				close(fd);
			else
				reset(fd);
		}
		expect_service(&s);
		/* more than may shake hands at once: the oldest went, before their time was over */
		assert_true(wait_until(
		    recv(silent[0], greeting, sizeof(greeting), MSG_DONTWAIT) == 0, LIMIT_MS));
		for (unsigned i = 0; i < 2; i++) /* our greeting, then nothing yet */
			assert_int_not_equal(recv(silent[N_SILENT - 1], greeting, 8, MSG_DONTWAIT),
					     0);
		for (unsigned i = 0; i < N_SILENT; i++)
			close(silent[i]);
		expect_service(&s);
		close_scene(&s);
	}
}

/* Full of those that say nothing, there is still a place; full of those that spoke, there is none. */
static inline void
test_the_limit_of_peers(void **state)
{
	enum { MAX = 8 };
	static const char *const schemes[] = {"tcp", "ipc"};
	uint64_t n_cut = spr_counter_sum(SPR_C_PEERS_CUT_LIMIT);
	spr_sp silent[MAX], speaker[MAX], late;
	scene s;

	(void)state;
	spr_net_set_max_peers(MAX);
	for (unsigned k = 0; k < 2; k++) {
		open_scene(&s, schemes[k], 2);
		for (unsigned i = 0; i < MAX; i++) {
			assert_true(spr_sp_dial(&silent[i], s.url, SPR_SP_PUSH));
			assert_true(wait_until(s.n_added == i + 1, LIMIT_MS));
		}
		for (unsigned i = 0; i < MAX; i++) {
			assert_true(spr_sp_dial(&speaker[i], s.url, SPR_SP_PUSH));
			push(&speaker[i], 20);
			assert_true(wait_until(s.n_received == i + 1, LIMIT_MS));
			assert_true(
			    spr_sp_wait_gone(&silent[i], LIMIT_MS)); /* the oldest of them */
			spr_sp_close(&silent[i]);
		}
		(void)spr_sp_dial(&late, s.url, SPR_SP_PUSH);
		assert_true(spr_sp_wait_gone(&late, LIMIT_MS));
		spr_sp_close(&late);
		for (unsigned i = 0; i < MAX; i++)
			push(&speaker[i], 20);
		assert_true(wait_until(s.n_received == 2 * MAX, LIMIT_MS));
		assert_int_equal(spr_counter_sum(SPR_C_PEERS_CUT_LIMIT),
				 n_cut + (k + 1) * (MAX + 1));
		spr_sp_close(&speaker[0]); /* its place is free again */
		assert_true(wait_until(s.n_removed == MAX + 1, LIMIT_MS));
		expect_service(&s);
		for (unsigned i = 1; i < MAX; i++)
			spr_sp_close(&speaker[i]);
		close_scene(&s);
	}
	spr_net_set_max_peers(SPR_MAX_PEERS);
}

/* ---- dialers ---- */

static inline void
test_a_dialer_that_is_hung_up_on(void **state)
{
	scene s;
	spr_sp peer;
	char url[64];
	int listener = spr_sp_listen("tcp://127.0.0.1:0", url), fd;

	(void)state;
	open_pull(&s, 1);
	assert_ok(transport->pull_dial(s.pull, url));
	transport->pull_start(s.pull);
	for (unsigned i = 0; i < 12; i++) {
		assert_true((fd = accept(listener, NULL, NULL)) >= 0);
		if (i % 3 == 0)
			shutdown(fd, SHUT_WR);
		if (i % 3 == 1)
			(void)send(fd, "what?", 5, MSG_NOSIGNAL);
		if (i % 2 == 0)
			close(fd);
		else
			reset(fd);
	}
	assert_true(spr_sp_adopt(&peer, accept(listener, NULL, NULL), SPR_SP_PUSH));
	push(&peer, 20);
	assert_true(wait_until(s.n_received == 1, LIMIT_MS));
	spr_sp_close(&peer);
	close(listener);
	close_scene(&s);
}

#define ENDPOINT_TESTS                                                                            \
	cmocka_unit_test(test_a_path_is_locked), cmocka_unit_test(test_a_stale_path_is_replaced), \
	    cmocka_unit_test(test_a_file_is_not_removed),                                         \
	    cmocka_unit_test(test_a_path_that_is_gone_comes_back),                                \
	    cmocka_unit_test(test_a_dead_listener_is_revived),                                    \
	    cmocka_unit_test(test_a_revival_looks_up_no_name),                                    \
	    cmocka_unit_test(test_a_revival_removes_no_file),                                     \
	    cmocka_unit_test(test_a_revival_is_tried_again),                                      \
	    cmocka_unit_test(test_an_idle_listener_is_left_alone),                                \
	    cmocka_unit_test(test_bad_handshakes_hold_up_nobody),                                 \
	    cmocka_unit_test(test_the_limit_of_peers),                                            \
	    cmocka_unit_test(test_a_dialer_that_is_hung_up_on)
