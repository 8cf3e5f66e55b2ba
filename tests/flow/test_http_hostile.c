/*
 * test_http_hostile - whatever is thrown at HTTP, the process lives, its probes answer others, and the notifications that
 * pass beside it lose nothing. The attacks come from 127.0.0.2, the probes from 127.0.0.1.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "flow.h"
#include "http_raw.h"
#include "spr_test.h"

#define BODY     "{\"predicate\":\"UN.A\"}"
#define ATTACKER "127.0.0.2"
#define N_BESIDE 3000

/* The stream beside the attack. */
static void
begin(flow *f)
{
	start_upstream(f);
	start_daemon(f, NULL);
	start_worker(f);
	subscribe(f, "UN.A", "http://a");
	push_many_start(f, "x", N_BESIDE, BODY);
}

static void
end(flow *f)
{
	spr_http_got got;

	assert_true(spr_http_ask(listening(f, "http", 0), "GET", "/livez", "", NULL, &got));
	assert_int_equal(got.status, 200);
	spr_http_forget(&got);
	push_many_join(f);
	expect_many_acks(f, "x", N_BESIDE);
	assert_true(spr_inbox_wait(f->jobs, N_BESIDE, spr_test_deadline_ms()));
	for (unsigned i = 0; i < N_BESIDE; i++)
		expect_job(f, "http://a", BODY);
	finish(f);
}

/* How many of n connections there can be at once, half a request on each. */
static unsigned
hold(flow *f, int *fd, unsigned n)
{
	unsigned n_open = 0;

	for (unsigned i = 0; i < n; i++) {
		fd[i] = spr_http_connect_from(listening(f, "http", 0), ATTACKER);
		if (fd[i] >= 0)
			n_open += spr_http_write(fd[i], "GET /metrics HTTP/1.1\r\nX-Slow: ", 31);
	}
	return (n_open);
}

/* Thousands of half requests from one address: the other address is served all the while. */
static void
test_thousands_of_half_requests(void **state)
{
	flow *f = *state;
	struct rlimit files;
	unsigned n;
	int *fd;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
	n = files.rlim_cur > 10200 ? 10000 : (unsigned)files.rlim_cur - 200;
	assert_non_null(fd = calloc(n, sizeof(*fd)));
	begin(f);
	assert_true(hold(f, fd, n) > 0);
	assert_true(stat_of(f, "spreader_http_connections") <= 512);
	end(f);
	for (unsigned i = 0; i < n; i++) {
		if (fd[i] >= 0)
			close(fd[i]);
	}
	free(fd);
}

/* 1 GiB each: with its length told, and without. It ends long before. */
static void
test_endless_bodies(void **state)
{
	static const char *const heads[] = {
	    "POST /subscriptions HTTP/1.1\r\nHost: x\r\nContent-Type: "
	    "application/x-www-form-urlencoded\r\n"
	    "Content-Length: 1073741824\r\n\r\n",
	    "POST /subscriptions HTTP/1.1\r\nHost: x\r\nContent-Type: "
	    "application/x-www-form-urlencoded\r\n"
	    "Transfer-Encoding: chunked\r\n\r\n40000000\r\n",
	    "GET / HTTP/1.1\r\nHost: x\r\nX-Long: ",
	    "GET /?",
	};
	static char piece[65536];
	flow *f = *state;

	begin(f);
	memset(piece, 'a', sizeof(piece));
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		int fd = spr_http_connect_from(listening(f, "http", 0), ATTACKER);
		unsigned long n = 0;

		assert_true(fd >= 0);
		(void)spr_http_write(fd, heads[i], strlen(heads[i]));
		while (n < 1073741824UL && spr_http_write(fd, piece, sizeof(piece)))
			n += sizeof(piece);
		assert_true(n < 64 << 20); /* what fits into the buffers of two sockets */
		close(fd);
	}
	end(f);
}

static void
test_odd_requests(void **state)
{
	static const char *const requests[] = {
	    "GET /%41 HTTP/1.1\r\nHost: x\r\n\r\n",
	    "GET /% HTTP/1.1\r\nHost: x\r\n\r\n",
	    "GET /%4 HTTP/1.1\r\nHost: x\r\n\r\n",
	    "GET /%zz?%=%&%41=%4 HTTP/1.1\r\nHost: x\r\n\r\n",
	    "GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
	    "GET /metrics%00 HTTP/1.1\r\nHost: x\r\n\r\n",
	    "GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
	    "GET http://x/livez HTTP/1.1\r\nHost: x\r\n\r\n",
	    "GET * HTTP/1.1\r\nHost: x\r\n\r\n",
	    "GET\r\n\r\n",
	    "\r\n\r\n\r\n",
	    "GET /livez\r\n\r\n",
	    "GET /livez HTTP/9.9\r\n\r\n",
	    "GET /livez HTTP/1.1\r\n\r\n",
	    "BREW /livez HTTP/1.1\r\nHost: x\r\n\r\n",
	    "POST /subscriptions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
	    "POST /subscriptions HTTP/1.1\r\nHost: x\r\nContent-Length: "
	    "99999999999999999999999\r\n\r\n",
	    "POST /subscriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: "
	    "4\r\n\r\nabcd",
	    "POST /subscriptions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	    "POST /subscriptions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
	    "chunked\r\n\r\nffffffffffffffff\r\n",
	    "POST /livez HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
	    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	    "\xff\xfe\xfd",
	    "\0\0SP\0",
	    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	};
	flow *f = *state;

	begin(f);
	for (unsigned round = 0; round < 20; round++) {
		for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
			int fd = spr_http_connect_from(listening(f, "http", 0), ATTACKER);

			if (fd < 0) /* one of too many that are not closed yet */
				continue;
			(void)spr_http_write(fd, requests[i], strlen(requests[i]));
			close(fd);
		}
	}
	end(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_thousands_of_half_requests),
	    flow_test(test_endless_bodies),
	    flow_test(test_odd_requests),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
