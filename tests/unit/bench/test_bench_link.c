/*
 * test_bench_link - frames that come in pieces, are long, or many at once; peers that do not read, hang up or speak something
 * else; addresses that are none.
 */
#include "bench_link.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proc.h"
#include "sp_raw.h"
#include "spr_test.h"

#define LONG_BYTES (3u << 20)
#define MANY       5000

/* --- a pair: ours, and one of another make ------------------------------------------------------ */

typedef struct pair {
	char url[BENCH_URL_MAX];
	int listener;
	bench_link link;
	spr_sp peer;
	bool is_connected;
} pair;

static void *
dial(void *arg)
{
	pair *p = arg;

	p->is_connected = spr_sp_dial(&p->peer, p->url, SPR_SP_PUSH);
	return (NULL);
}

static void
connect_pair(pair *p, const char *url)
{
	pthread_t thread;

	*p = (pair){.peer = SPR_SP_CLOSED};
	assert_ok(bench_listen(&p->listener, url, p->url));
	assert_int_equal(pthread_create(&thread, NULL, dial, p), 0);
	while (bench_link_accept(&p->link, p->listener, BENCH_PULL) == SPR_E_EMPTY)
		bench_link_wait(&(bench_link){.fd = p->listener}, false, SPR_NS_PER_S);
	pthread_join(thread, NULL);
	assert_true(p->is_connected);
}

static void
close_pair(pair *p)
{
	bench_link_close(&p->link);
	bench_link_close(&p->link);
	spr_sp_close(&p->peer);
	close(p->listener);
}

/* The next frame, waited for. */
static char *
next(bench_link *link, size_t *len)
{
	char *data = NULL;

	while (!bench_link_next(link, &data, len)) {
		if (bench_link_read(link) == BENCH_IO_AGAIN)
			assert_true(bench_link_wait(
			    link, false, (uint64_t)spr_test_deadline_ms() * SPR_NS_PER_MS));
	}
	return (data);
}

static void
expect_frames(const char *url)
{
	static const uint8_t two[] = {0, 0, 0, 0, 0, 0, 0, 2, 'h', 'i', 0, 0, 0, 0, 0, 0, 0, 0};
	size_t len;
	char *data;
	pair p;

	connect_pair(&p, url);
	for (size_t i = 0; !p.peer.is_ipc && i < sizeof(two); i++) {
		assert_false(i < 10 && bench_link_next(&p.link, &data, &len));
		assert_int_equal(spr_sp_send_bytes(&p.peer, two + i, 1, spr_test_deadline_ms()),
				 SPR_SP_OK);
		bench_link_wait(&p.link, false, SPR_NS_PER_S);
		assert_int_equal(bench_link_read(&p.link), BENCH_IO_DONE);
	}
	if (p.peer.is_ipc) {
		spr_sp_send(&p.peer, NULL, 0, "hi", 2, spr_test_deadline_ms());
		spr_sp_send(&p.peer, NULL, 0, NULL, 0, spr_test_deadline_ms());
	}
	data = next(&p.link, &len);
	assert_int_equal(len, 2);
	assert_memory_equal(data, "hi", 2);
	next(&p.link, &len);
	assert_int_equal(len, 0);
	assert_int_equal(bench_link_read(&p.link), BENCH_IO_AGAIN);
	spr_sp_close(&p.peer);
	bench_link_wait(&p.link, false, SPR_NS_PER_S);
	assert_int_equal(bench_link_read(&p.link), BENCH_IO_GONE);
	close_pair(&p);
}

static void
test_frames(void **state)
{
	char *dir = spr_test_tmpdir(), url[128];

	(void)state;
	expect_frames("tcp://127.0.0.1:0");
	snprintf(url, sizeof(url), "ipc://%s/x", dir);
	expect_frames(url);
	spr_test_cleanup(dir);
}

static void *
send_long(void *arg)
{
	char *bytes = calloc(LONG_BYTES, 1);

	if (bytes == NULL)
		return (NULL);
	memset(bytes, 'x', LONG_BYTES);
	spr_sp_send(arg, NULL, 0, bytes, LONG_BYTES, spr_test_deadline_ms());
	for (unsigned i = 0; i < MANY; i++)
		spr_sp_send(arg, NULL, 0, &i, sizeof(i), spr_test_deadline_ms());
	free(bytes);
	return (NULL);
}

static void
test_long_and_many(void **state)
{
	pthread_t thread;
	size_t len;
	char *data;
	pair p;

	(void)state;
	connect_pair(&p, "tcp://127.0.0.1:0");
	assert_int_equal(pthread_create(&thread, NULL, send_long, &p.peer), 0);
	data = next(&p.link, &len);
	assert_int_equal(len, LONG_BYTES);
	for (size_t i = 0; i < len; i++)
		assert_true(data[i] == 'x');
	for (unsigned i = 0, got; i < MANY; i++) {
		data = next(&p.link, &len);
		assert_int_equal(len, sizeof(got));
		memcpy(&got, data, sizeof(got));
		assert_int_equal(got, i);
	}
	pthread_join(thread, NULL);
	close_pair(&p);
}

/* A frame of more than any peer of ours would send. */
static void
test_absurd(void **state)
{
	static const uint8_t head[] = {0x7f, 0, 0, 0, 0, 0, 0, 2};
	bench_io io;
	pair p;

	(void)state;
	connect_pair(&p, "tcp://127.0.0.1:0");
	spr_sp_send_bytes(&p.peer, head, sizeof(head), spr_test_deadline_ms());
	do
		bench_link_wait(&p.link, false, SPR_NS_PER_S);
	while ((io = bench_link_read(&p.link)) == BENCH_IO_DONE && p.link.in.end < sizeof(head));
	assert_int_equal(bench_link_read(&p.link), BENCH_IO_GONE);
	close_pair(&p);
}

/* What is not read waits here; nothing is lost, and order stays. */
static void
test_back_pressure(void **state)
{
	unsigned sent = 0, n = 0;
	const uint8_t *data;
	size_t len;
	pair p;

	(void)state;
	connect_pair(&p, "tcp://127.0.0.1:0");
	while (bench_link_flush(&p.link) == BENCH_IO_DONE) {
		char *at = bench_link_room(&p.link, 1000);

		assert_non_null(at);
		memset(at, 0, 1000);
		memcpy(at, &sent, sizeof(sent));
		sent++;
		bench_link_put(&p.link, 1000);
	}
	assert_true(bench_link_waiting(&p.link) > 0);
	while (n < sent) {
		assert_int_equal(spr_sp_recv(&p.peer, &data, &len, spr_test_deadline_ms()),
				 SPR_SP_OK);
		assert_int_equal(len, 1000);
		assert_memory_equal(data, &n, sizeof(n));
		n++;
		bench_link_flush(&p.link);
	}
	assert_int_equal(bench_link_waiting(&p.link), 0);
	spr_sp_close(&p.peer);
	close_pair(&p);
}

static void
test_no_memory(void **state)
{
	bench_link link = BENCH_LINK_CLOSED;

	(void)state;
	spr_mem_fail_at(1);
	assert_null(bench_link_room(&link, 10));
	assert_int_equal(bench_link_read(&link), BENCH_IO_GONE);
	spr_mem_fail_at(0);
}

static void
expect_refused(const char *url, const char *why)
{
	bench_link link;
	char bound[BENCH_URL_MAX];
	int fd = -1;

	assert_fails(bench_link_dial(&link, url, BENCH_PUSH, 0), SPR_E_ADDRESS);
	if (strstr(spr_error_text(SPR_E_ADDRESS), why) == NULL)
		fail_msg("%s: %s", url, spr_error_text(SPR_E_ADDRESS));
	assert_int_equal(link.fd, -1);
	if (strstr(why, "nobody") == NULL) {
		assert_fails(bench_listen(&fd, url, bound), SPR_E_ADDRESS);
		assert_int_equal(fd, -1);
	}
}

static void *
speak_rep(void *arg)
{
	spr_sp sp = SPR_SP_CLOSED;

	return (spr_sp_dial(&sp, arg, SPR_SP_REP) ? arg : NULL);
}

static void
test_refused(void **state)
{
	char url[BENCH_URL_MAX], taken[BENCH_URL_MAX], long_url[300];
	void *did_connect;
	pthread_t thread;
	bench_link link;
	int fd, other = -1;
	spr_err rv;

	(void)state;
	memset(long_url, 'x', sizeof(long_url));
	memcpy(long_url, "ipc://", 6);
	long_url[299] = '\0';
	expect_refused("http://x", "not tcp:// and not ipc://");
	expect_refused("tcp://127.0.0.1", "not tcp://HOST:PORT");
	expect_refused("tcp://:1", "not tcp://HOST:PORT");
	expect_refused("tcp://no-such-host.invalid:1", "no-such-host.invalid");
	expect_refused(long_url, "the path is too long");
	expect_refused("ipc:///no/such/place", "nobody is there");
	assert_ok(bench_listen(&fd, "tcp://127.0.0.1:0", url));
	assert_fails(bench_listen(&other, url, taken), SPR_E_ADDRESS);
	assert_int_equal(pthread_create(&thread, NULL, speak_rep, url), 0);
	while ((rv = bench_link_accept(&link, fd, BENCH_PULL)) == SPR_E_EMPTY)
		bench_link_wait(&(bench_link){.fd = fd}, false, SPR_NS_PER_S);
	assert_int_equal(rv, SPR_E_PEER);
	pthread_join(thread, &did_connect);
	assert_null(did_connect);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_frames),    cmocka_unit_test(test_long_and_many),
	    cmocka_unit_test(test_absurd),    cmocka_unit_test(test_back_pressure),
	    cmocka_unit_test(test_no_memory), cmocka_unit_test(test_refused),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
