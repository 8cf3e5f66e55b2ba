/*
 * test_sp_secure - peers that come over TLS and hang up at once, when nothing of ours is out on their stream. nng never ends
 * what begins behind that, so it is the sockets that must: each such peer goes, and those who are there are served.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/supplemental/tls/tls.h>

#include "certs.h"
#include "net/net.h"
#include "net/sp_wire.h"
#include "net/tls.h"
#include "proc.h"
#include "spr_test.h"

#define N_PEERS 24
#define URL     "tls+tcp://localhost:0"

static const spr_transport *const transport = &spr_transport_nng;

static char dir[64];
static atomic_int n_peers;
static atomic_uint n_came, n_received, n_sent;

static void
load(const char *name)
{
	char cert[96], key[96];

	snprintf(cert, sizeof(cert), "%s/%s.pem", dir, name);
	snprintf(key, sizeof(key), "%s/%s.key", dir, name);
	assert_ok(spr_tls_load(cert, key, NULL));
}

static int
setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/spreader-secure-XXXXXX");
	assert_non_null(mkdtemp(dir));
	spr_certs_authority(dir, "ca");
	spr_certs_make(dir, "ca", "a", false);
	load("a");
	n_peers = 0;
	n_came = n_received = n_sent = 0;
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	spr_tls_unload();
	spr_remove_tree(dir);
	return (0);
}

static void
on_pipe(void *arg, int change)
{
	(void)arg;
	atomic_fetch_add(&n_peers, change);
	if (change > 0)
		atomic_fetch_add(&n_came, 1);
}

static nng_tls_config *
trusting_anybody(void)
{
	nng_tls_config *config;

	assert_int_equal(nng_tls_config_alloc(&config, NNG_TLS_MODE_CLIENT), 0);
	assert_int_equal(nng_tls_config_auth_mode(config, NNG_TLS_AUTH_MODE_NONE), 0);
	return (config);
}

/* ---- a peer on a stream of its own ---- */

static void
wait_for(nng_aio *aio)
{
	nng_aio_wait(aio);
	assert_int_equal(nng_aio_result(aio), 0);
}

static void
move(nng_stream *stream, nng_aio *aio, void (*begin)(nng_stream *stream, nng_aio *aio), void *bytes,
     size_t len)
{
	nng_iov iov = {.iov_buf = bytes, .iov_len = len};

	assert_int_equal(nng_aio_set_iov(aio, 1, &iov), 0);
	begin(stream, aio);
	wait_for(aio);
	assert_int_equal(nng_aio_count(aio), len);
}

/* Says who it is, and the rest in the same breath, and hangs up. */
static void
come_and_go(const char *url, uint16_t protocol, const void *rest, size_t len)
{
	nng_tls_config *config = trusting_anybody();
	nng_stream_dialer *dialer;
	nng_stream *stream;
	nng_aio *aio;
	uint8_t bytes[64], theirs[SPR_SP_GREETING_BYTES];

	assert_int_equal(nng_aio_alloc(&aio, NULL, NULL), 0);
	nng_aio_set_timeout(aio, (nng_duration)spr_test_deadline_ms());
	assert_int_equal(nng_stream_dialer_alloc(&dialer, url), 0);
	assert_int_equal(nng_stream_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config), 0);
	nng_stream_dialer_dial(dialer, aio);
	wait_for(aio);
	stream = nng_aio_get_output(aio, 0);
	move(stream, aio, nng_stream_recv, theirs, sizeof(theirs));
	spr_sp_write_greeting(bytes, protocol);
	if (len > 0)
		memcpy(bytes + SPR_SP_GREETING_BYTES, rest, len);
	move(stream, aio, nng_stream_send, bytes, SPR_SP_GREETING_BYTES + len);
	nng_stream_close(stream);
	nng_stream_free(stream);
	nng_stream_dialer_free(dialer);
	nng_aio_free(aio);
	nng_tls_config_free(config);
}

/* Frames: of one byte, and of a request of one byte. */
static const uint8_t message[] = {0, 0, 0, 0, 0, 0, 0, 1, 'x'};
static const uint8_t request[] = {0, 0, 0, 0, 0, 0, 0, 5, 0x80, 0, 0, 1, 'x'};

#define come_and_go_often(url, protocol, rest)                                                 \
	do {                                                                                   \
		for (unsigned k = 0; k < N_PEERS; k++)                                         \
			come_and_go((url), (protocol), (rest), k % 2 == 0 ? sizeof(rest) : 0); \
	} while (0)

/* ---- receivers ---- */

static bool
on_receive(void *arg, unsigned receive, spr_buf *buf)
{
	(void)arg;
	(void)receive;
	spr_buf_drop(buf);
	atomic_fetch_add(&n_received, 1);
	return (true);
}

static void
test_producers_that_hang_up(void **state)
{
	const spr_pull_config config = {
	    .receives = 2, .max_message = 1000, .pipes.on_pipe = on_pipe, .on_receive = on_receive};
	char bound[SPR_URL_MAX];
	spr_pull *pull;

	(void)state;
	assert_ok(transport->pull_open(&pull, &config));
	assert_ok(transport->pull_listen(pull, URL, bound));
	transport->pull_start(pull);
	come_and_go_often(bound, SPR_SP_PUSH, message);
	assert_true(wait_until(atomic_load(&n_peers) == 0, (unsigned)spr_test_deadline_ms()));
	assert_true(atomic_load(&n_came) > 0);
	transport->pull_stop(pull);
	transport->pull_close(pull);
}

/* ---- workers ---- */

static void
on_done(void *lane_arg, void *const *cookies, unsigned n, size_t bytes, spr_err result)
{
	(void)lane_arg;
	(void)cookies;
	(void)bytes;
	assert_int_equal(result, SPR_OK);
	atomic_fetch_add(&n_sent, n);
}

static nng_socket
start_worker(const char *url)
{
	nng_tls_config *config = trusting_anybody();
	nng_socket worker;
	nng_dialer dialer;

	assert_int_equal(nng_pull0_open(&worker), 0);
	assert_int_equal(nng_socket_set_ms(worker, NNG_OPT_RECVTIMEO, spr_test_deadline_ms()), 0);
	assert_int_equal(nng_dialer_create(&dialer, worker, url), 0);
	assert_int_equal(nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config), 0);
	assert_int_equal(nng_dialer_start(dialer, 0), 0);
	nng_tls_config_free(config);
	return (worker);
}

static void
send_job(spr_push_lane *lane)
{
	spr_out out;

	assert_ok(transport->out_alloc(lane, &out, 1));
	*(char *)out.data = 'j';
	assert_ok(transport->lane_send(lane, &out, NULL));
}

static void
test_workers_that_hang_up(void **state)
{
	const spr_push_config config = {.pipes.on_pipe = on_pipe, .on_done = on_done};
	char bound[SPR_URL_MAX], job[8];
	spr_push_lane *lane;
	nng_socket worker;
	spr_push *push;
	size_t len = sizeof(job);

	(void)state;
	assert_ok(transport->push_open(&push, &config));
	assert_ok(transport->lane_open(&lane, push, 1, NULL));
	assert_ok(transport->push_listen(push, URL, bound));
	come_and_go_often(bound, SPR_SP_PULL, message);
	assert_true(wait_until(atomic_load(&n_peers) == 0, (unsigned)spr_test_deadline_ms()));
	assert_true(atomic_load(&n_came) > 0);
	/* and a job goes to the one who is there */
	worker = start_worker(bound);
	assert_true(wait_until(atomic_load(&n_peers) == 1, (unsigned)spr_test_deadline_ms()));
	send_job(lane);
	assert_int_equal(nng_recv(worker, job, &len, 0), 0);
	assert_true(wait_until(atomic_load(&n_sent) == 1, (unsigned)spr_test_deadline_ms()));
	nng_close(worker);
	transport->push_close(push);
}

/* More than a system call carries as they are, and more than TLS takes at once: all come, whole and in order. */
static void
test_many_jobs(void **state)
{
	enum { N = 1000, SLOTS = 512 };
	const spr_push_config config = {.pipes.on_pipe = on_pipe, .on_done = on_done};
	const unsigned limit_ms = (unsigned)spr_test_deadline_ms();
	char bound[SPR_URL_MAX], job[N];
	spr_push_lane *lane;
	nng_socket worker;
	spr_push *push;
	spr_out out;

	(void)state;
	assert_ok(transport->push_open(&push, &config));
	assert_ok(transport->lane_open(&lane, push, SLOTS, NULL));
	assert_ok(transport->push_listen(push, URL, bound));
	worker = start_worker(bound);
	assert_true(wait_until(atomic_load(&n_peers) == 1, limit_ms));
	for (unsigned sent = 0, received = 0; received < N;) {
		size_t len = sizeof(job);

		for (; sent < N && transport->lane_room(lane) > 0; sent++) {
			assert_ok(transport->out_alloc(lane, &out, sent));
			memset(out.data, (int)(sent & 0x7F), sent);
			assert_ok(transport->lane_send(lane, &out, NULL));
		}
		assert_int_equal(nng_recv(worker, job, &len, 0), 0);
		assert_int_equal(len, received);
		for (size_t i = 0; i < len; i++)
			assert_int_equal(job[i], received & 0x7F);
		received++;
	}
	assert_true(wait_until(atomic_load(&n_sent) == N, limit_ms));
	nng_close(worker);
	transport->push_close(push);
}

/* ---- who asks ---- */

static void
on_request(void *arg, unsigned number, const uint8_t *data, size_t len)
{
	spr_rep **rep = arg;

	atomic_fetch_add(&n_received, 1);
	transport->rep_reply(*rep, number, data, len);
}

static void
test_clients_that_hang_up(void **state)
{
	spr_rep *rep;
	const spr_rep_config config = {.window = 4,
				       .max_request = 1000,
				       .limit_name = "the test's limit",
				       .pipes.on_pipe = on_pipe,
				       .on_request = on_request,
				       .arg = &rep};
	char bound[SPR_URL_MAX];

	(void)state;
	assert_ok(transport->rep_open(&rep, &config));
	assert_ok(transport->rep_listen(rep, URL, bound));
	transport->rep_start(rep);
	come_and_go_often(bound, SPR_SP_REQ, request);
	assert_true(wait_until(atomic_load(&n_peers) == 0, (unsigned)spr_test_deadline_ms()));
	assert_true(atomic_load(&n_came) > 0);
	transport->rep_stop(rep);
	transport->rep_close(rep);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_producers_that_hang_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_workers_that_hang_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_many_jobs, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_clients_that_hang_up, setup, teardown),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
