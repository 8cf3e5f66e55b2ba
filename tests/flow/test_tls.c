/*
 * tls - who gets in over tls+tcp, wss and https, with a good certificate, an expired one, another authority's and none;
 * and certificates that are replaced while the daemon runs. The peers are nng's own sockets and Python's ssl.
 */
#include "flow_tls.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>

#include "connect_and_close.h"
#include "spr_test.h"

#define BODY     "{\"predicate\":\"UN.A\"}"
#define ENVELOPE "{\"id\":\"1\",\"body\":" BODY "}"
#define JOB      "{\"s\":\"http://a\",\"payload\":" BODY "}"
#define VERSION  "{\"op\":\"version\"}"

#define start_secure(f, ...)                                                                     \
	start_daemon((f),                                                                        \
		     FLAGS("--tls-cert", path_of((f), "server", "pem"), "--tls-key",             \
			   path_of((f), "server", "key"), "--tls-ca", path_of((f), "ca", "pem"), \
			   "--intake-listen", "tls+tcp://localhost:0", "--outbox-listen",        \
			   "tls+tcp://localhost:0", "--control-listen", "tls+tcp://localhost:0", \
			   __VA_ARGS__))

/* What it prints goes to out. */
static void
get(flow *f, const char *url, const char *ca, const char *name, const char *expected)
{
	static unsigned n;
	char label[32];
	const char *argv[] = {SPR_TEST_SOURCE_DIR "/tests/support/https_get.py",
			      url,
			      path_of(f, ca, "pem"),
			      name != NULL ? path_of(f, name, "pem") : NULL,
			      name != NULL ? path_of(f, name, "key") : NULL,
			      NULL};
	spr_proc *proc;
	char *out;

	snprintf(label, sizeof(label), "get%u", n++);
	proc = spr_proc_start(f->dir, label, argv, NULL);
	assert_int_equal(spr_proc_wait(proc, spr_test_deadline_ms()), 0);
	out = spr_proc_out(proc);
	out[strcspn(out, "\n")] = '\0';
	assert_string_equal(out, expected);
	free(out);
}

static const char *
livez(flow *f)
{
	static char url[160];

	snprintf(url, sizeof(url), "%s/livez", listening(f, "http", 0));
	assert_memory_equal(url, "https://", 8);
	return (url);
}

/* ---- the tests ---- */

static nng_socket upstream;

/* An upstream that speaks TLS as a server, with a certificate of this name; port 0: any. Its URL. */
static const char *
start_tls_upstream(flow *f, const char *name, int port)
{
	static char url[64];
	nng_tls_config *config = config_of(f, NNG_TLS_MODE_SERVER, "ca", name);
	nng_listener listener;

	snprintf(url, sizeof(url), "tls+tcp://localhost:%d", port);
	assert_int_equal(nng_rep0_open(&upstream), 0);
	assert_int_equal(nng_socket_set_ms(upstream, NNG_OPT_RECVTIMEO, spr_test_deadline_ms()), 0);
	assert_int_equal(nng_listener_create(&listener, upstream, url), 0);
	assert_int_equal(nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, config), 0);
	assert_int_equal(nng_listener_start(listener, 0), 0);
	assert_int_equal(nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), 0);
	nng_tls_config_free(config);
	snprintf(url, sizeof(url), "tls+tcp://localhost:%d", port);
	return (url);
}

/* Intake, outbox, control and ack, listened on and dialled. */
static void
test_the_whole_way(void **state)
{
	flow *f = *state;
	nng_socket producer, worker, controller;

	make_all(f);
	start_secure(f, "--ack-dial", start_tls_upstream(f, "good", 0));
	assert_int_equal(nng_push0_open(&producer), 0);
	assert_int_equal(nng_pull0_open(&worker), 0);
	assert_int_equal(nng_req0_open(&controller), 0);
	assert_int_equal(dial(f, producer, listening(f, "intake", 1), "ca", "good"), 0);
	assert_int_equal(dial(f, worker, listening(f, "outbox", 1), "ca", "good"), 0);
	assert_int_equal(dial(f, controller, listening(f, "control", 1), "ca", "good"), 0);
	send_text(controller, VERSION);
	expect_text(controller, "\"ok\":true");
	subscribe(f, "UN.A", "http://a");
	send_text(producer, ENVELOPE);
	expect_text(worker, JOB);
	expect_text(upstream, "\"ack\":[\"1\"]");
	send_text(upstream, "{\"ok\":true}");
	nng_close(producer);
	nng_close(worker);
	nng_close(controller);
	finish(f);
	nng_close(upstream);
}

/* Receipts, and answers that upstream fetches: who shows no certificate of the authority gets neither, and costs only itself. */
static void
test_receipts_and_answers(void **state)
{
	static const char *const bad[] = {NULL, "expired", "foreign"};
	flow *f = *state;
	nng_socket producer, worker, receipts;
	char receipt[128], *job;
	size_t len;

	make_all(f);
	start_secure(f, "--confirm", "receipt", "--receipts-listen", "tls+tcp://localhost:0",
		     "--ack-listen", "tls+tcp://localhost:0");
	subscribe(f, "UN.A", "http://a");
	assert_int_equal(nng_push0_open(&producer), 0);
	assert_int_equal(nng_pull0_open(&worker), 0);
	assert_int_equal(nng_push0_open(&receipts), 0);
	assert_int_equal(nng_rep0_open(&upstream), 0);
	assert_int_equal(dial(f, producer, listening(f, "intake", 1), "ca", "good"), 0);
	assert_int_equal(dial(f, worker, listening(f, "outbox", 1), "ca", "good"), 0);
	assert_int_equal(dial(f, receipts, listening(f, "receipts", 0), "ca", "good"), 0);
	assert_int_equal(dial(f, upstream, listening(f, "ack", 0), "ca", "good"), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_not_equal(
		    try_dial(f, listening(f, "receipts", 0), nng_push0_open, "ca", bad[i]), 0);
		assert_int_not_equal(
		    try_dial(f, listening(f, "ack", 0), nng_rep0_open, "ca", bad[i]), 0);
		snprintf(receipt, sizeof(receipt), "{\"id\":\"%u\",\"body\":" BODY "}", i);
		send_text(producer, receipt);
		assert_int_equal(nng_recv(worker, &job, &len, NNG_FLAG_ALLOC), 0);
		assert_memory_equal(job, "{\"id\":\"", 7);
		snprintf(receipt, sizeof(receipt), "%.*s}", (int)(strchr(job, ',') - job), job);
		nng_free(job, len);
		send_text(receipts, receipt);
		snprintf(receipt, sizeof(receipt), "\"ack\":[\"%u\"]", i);
		expect_text(upstream, receipt);
		send_text(upstream, "{\"ok\":true}");
	}
	nng_close(producer);
	nng_close(worker);
	nng_close(receipts);
	finish(f);
	nng_close(upstream);
}

/* More than any buffer on the way: TLS gives it in many pieces. */
static void
test_a_large_message(void **state)
{
	flow *f = *state;
	nng_socket producer, worker;
	size_t len = 200000;
	char *text = malloc(len + 64);
	char *bytes = malloc(2 * len);
	size_t n = 2 * len;

	make_all(f);
	start_secure(f, NULL);
	assert_int_equal(nng_push0_open(&producer), 0);
	assert_int_equal(nng_pull0_open(&worker), 0);
	assert_int_equal(nng_socket_set_size(worker, NNG_OPT_RECVMAXSZ, 0), 0);
	assert_int_equal(dial(f, producer, listening(f, "intake", 1), "ca", "good"), 0);
	assert_int_equal(dial(f, worker, listening(f, "outbox", 1), "ca", "good"), 0);
	subscribe(f, "UN.A", "http://a");
	strcpy(text, "{\"predicate\":\"UN.A\",\"x\":\"");
	memset(text + strlen(text), 'x', len);
	strcpy(text + strlen("{\"predicate\":\"UN.A\",\"x\":\"") + len, "\"}");
	send_text(producer, text);
	assert_int_equal(nng_recv(worker, bytes, &n, 0), 0);
	assert_true(n > strlen(text));
	assert_memory_equal(bytes + strlen("{\"s\":\"http://a\",\"payload\":"), text, strlen(text));
	nng_close(producer);
	nng_close(worker);
	free(text);
	free(bytes);
	finish(f);
}

static void
test_who_gets_in(void **state)
{
	static int (*const open[])(nng_socket *) = {nng_push0_open, nng_pull0_open, nng_req0_open};
	static const char *const sockets[] = {"intake", "outbox", "control"};
	flow *f = *state;

	make_all(f);
	start_secure(f, NULL);
	for (unsigned i = 0; i < 3; i++) {
		const char *url = listening(f, sockets[i], 1);

		assert_int_equal(try_dial(f, url, open[i], "ca", "good"), 0);
		assert_int_not_equal(try_dial(f, url, open[i], "ca", NULL), 0);
		assert_int_not_equal(try_dial(f, url, open[i], "ca", "expired"), 0);
		assert_int_not_equal(try_dial(f, url, open[i], "ca", "foreign"), 0);
		/* and the daemon's own is not another authority's */
		assert_int_not_equal(try_dial(f, url, open[i], "other-ca", "good"), 0);
		assert_int_equal(try_dial(f, url, open[i], "ca", "good"), 0);
	}
	get(f, livez(f), "ca", "good", "200");
	get(f, livez(f), "ca", NULL, "refused");
	get(f, livez(f), "ca", "expired", "refused");
	get(f, livez(f), "ca", "foreign", "refused");
	get(f, livez(f), "other-ca", "good", "refused");
	finish(f);
}

/* A server whose certificate has expired, or is another authority's, is sent nothing; a good one at its address is. */
static void
test_bad_servers(void **state)
{
	flow *f = *state;
	nng_socket producer;
	char bytes[512];
	size_t len;

	make_all(f);
	for (unsigned i = 0; i < 2; i++) {
		const char *url = start_tls_upstream(f, i == 0 ? "expired" : "foreign", 0);

		start_secure(f, "--ack-dial", url);
		assert_int_equal(nng_push0_open(&producer), 0);
		assert_int_equal(dial(f, producer, listening(f, "intake", 1), "ca", "good"), 0);
		send_text(producer, ENVELOPE);
		assert_int_equal(nng_socket_set_ms(upstream, NNG_OPT_RECVTIMEO, 1000), 0);
		len = sizeof(bytes);
		assert_int_equal(nng_recv(upstream, bytes, &len, 0), NNG_ETIMEDOUT);
		nng_close(upstream);
		(void)start_tls_upstream(f, "good", atoi(strrchr(url, ':') + 1));
		expect_text(upstream, "\"ack\":[\"1\"]");
		send_text(upstream, "{\"ok\":true}");
		nng_close(producer);
		finish(f);
		nng_close(upstream);
	}
}

/* Those who say nothing, or no TLS, hold up neither others nor the end. */
static void
test_silent_peers(void **state)
{
	flow *f = *state;
	struct pollfd overdue = {.events = POLLIN};
	int fds[40];
	char byte;

	make_all(f);
	start_secure(f, NULL);
	for (unsigned i = 0; i < 40; i++) {
		fds[i] = connect_plain(listening(f, "intake", 1));
		if (i % 2 == 0)
			assert_int_equal(write(fds[i], "\0SP\0\0\x50\0\0", 8), 8);
	}
	assert_int_equal(try_dial(f, listening(f, "intake", 1), nng_push0_open, "ca", "good"), 0);
	overdue.fd = fds[1];
	assert_int_equal(poll(&overdue, 1, spr_test_deadline_ms()), 1);
	assert_int_equal(read(fds[1], &byte, 1), 0); /* after ten seconds it is hung up on */
	close(fds[1]);
	fds[1] = connect_plain(listening(f, "intake", 1));
	finish(f);
	for (unsigned i = 0; i < 40; i++)
		close(fds[i]);
}

static void
rename_over(flow *f, const char *from, const char *to)
{
	assert_int_equal(rename(path_of(f, from, "pem"), path_of(f, to, "pem")), 0);
	assert_int_equal(rename(path_of(f, from, "key"), path_of(f, to, "key")), 0);
}

static unsigned
count_in_log(flow *f, const char *text)
{
	char *log = daemon_log(f);
	unsigned n = 0;

	for (const char *at = log; at != NULL && (at = strstr(at, text)) != NULL; at++)
		n++;
	free(log);
	return (n);
}

/* Its n-th, which has done all that it does when this returns. */
static void
hang_up(flow *f, unsigned n)
{
	spr_proc_signal(f->daemon, SIGHUP);
	assert_true(wait_until(count_in_log(f, "RELOADED") + count_in_log(f, "RELOAD-FAILED") == n,
			       (unsigned)spr_test_deadline_ms()));
}

static void
test_replaced_on_hup(void **state)
{
	flow *f = *state;
	nng_socket producer, worker;
	FILE *file;

	make_all(f);
	start_secure(f, NULL);
	subscribe(f, "UN.A", "http://a");
	assert_int_equal(nng_push0_open(&producer), 0);
	assert_int_equal(nng_pull0_open(&worker), 0);
	assert_int_equal(dial(f, producer, listening(f, "intake", 1), "ca", "good"), 0);
	assert_int_equal(dial(f, worker, listening(f, "outbox", 1), "ca", "good"), 0);
	/* a file that is none: what was there stays */
	assert_non_null(file = fopen(path_of(f, "broken", "pem"), "w"));
	fclose(file);
	assert_int_equal(rename(path_of(f, "ca", "pem"), path_of(f, "old-ca", "pem")), 0);
	assert_int_equal(rename(path_of(f, "broken", "pem"), path_of(f, "ca", "pem")), 0);
	hang_up(f, 1);
	assert_int_equal(count_in_log(f, "RELOAD-FAILED"), 1);
	assert_int_equal(count_in_log(f, "RELOADED"), 0);
	assert_int_equal(try_dial(f, listening(f, "intake", 1), nng_push0_open, "old-ca", "good"),
			 0);
	/* another authority, and a certificate of it */
	spr_certs_make(f->dir, "other-ca", "next", false);
	rename_over(f, "next", "server");
	rename_over(f, "other-ca", "ca");
	hang_up(f, 2);
	assert_int_equal(try_dial(f, listening(f, "intake", 1), nng_push0_open, "ca", "foreign"),
			 0);
	assert_int_not_equal(
	    try_dial(f, listening(f, "intake", 1), nng_push0_open, "old-ca", "good"), 0);
	get(f, livez(f), "ca", "foreign", "200");
	get(f, livez(f), "old-ca", "good", "refused");
	/* those who were there go on */
	send_text(producer, BODY);
	expect_text(worker, JOB);
	nng_close(producer);
	nng_close(worker);
	finish(f);
}

#define start_wss(f, ...)                                                                 \
	start_daemon((f), FLAGS("--tls-cert", path_of((f), "server", "pem"), "--tls-key", \
				path_of((f), "server", "key"), "--tls-ca",                \
				path_of((f), "ca", "pem"), __VA_ARGS__))

static void
test_wss(void **state)
{
	flow *f = *state;
	nng_socket producer;
	const char *url;

	make_all(f);
	start_wss(f, "--intake-listen", "wss://localhost:0/in");
	url = listening(f, "intake", 1);
	subscribe(f, "UN.A", "http://a");
	start_worker(f);
	assert_int_not_equal(try_dial(f, url, nng_push0_open, "ca", "foreign"), 0);
	assert_int_not_equal(try_dial(f, url, nng_push0_open, "ca", NULL), 0);
	assert_int_equal(nng_push0_open(&producer), 0);
	assert_int_equal(dial(f, producer, url, "ca", "good"), 0);
	send_text(producer, BODY);
	expect_job(f, "http://a", BODY);
	/* another authority for who comes now; who is there stays */
	spr_certs_make(f->dir, "other-ca", "next", false);
	assert_int_equal(rename(path_of(f, "ca", "pem"), path_of(f, "old-ca", "pem")), 0);
	rename_over(f, "next", "server");
	rename_over(f, "other-ca", "ca");
	hang_up(f, 1);
	assert_int_equal(count_in_log(f, url), 1); /* it says so */
	assert_int_equal(try_dial(f, url, nng_push0_open, "ca", "foreign"), 0);
	assert_int_not_equal(try_dial(f, url, nng_push0_open, "old-ca", "good"), 0);
	send_text(producer, BODY);
	expect_job(f, "http://a", BODY);
	nng_close(producer);
	finish(f);
}

/* Nobody listens there until the socket is closed. */
static int
reserve_port(int *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*port = ntohs(address.sin_port);
	return (fd);
}

/* A producer that listens, with a certificate of this name and its authority. */
static nng_socket
listen_wss(flow *f, const char *ca, const char *name, int port)
{
	nng_tls_config *config = config_of(f, NNG_TLS_MODE_SERVER, ca, name);
	nng_listener listener;
	nng_socket producer;
	char url[64];

	snprintf(url, sizeof(url), "wss://localhost:%d/out", port);
	assert_int_equal(nng_push0_open(&producer), 0);
	assert_int_equal(nng_socket_set_ms(producer, NNG_OPT_SENDTIMEO, spr_test_deadline_ms()), 0);
	assert_int_equal(nng_listener_create(&listener, producer, url), 0);
	assert_int_equal(nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, config), 0);
	assert_int_equal(nng_listener_start(listener, 0), 0);
	nng_tls_config_free(config);
	return (producer);
}

static void
test_wss_dialled(void **state)
{
	flow *f = *state;
	nng_socket producers[2];
	char urls[2][64];
	int fds[2], ports[2];

	make_all(f);
	for (unsigned i = 0; i < 2; i++) {
		fds[i] = reserve_port(&ports[i]);
		snprintf(urls[i], sizeof(urls[i]), "wss://localhost:%d/out", ports[i]);
	}
	start_wss(f, "--intake-dial", urls[0], "--intake-dial", urls[1]);
	subscribe(f, "UN.A", "http://a");
	start_worker(f);
	close(fds[0]);
	producers[0] = listen_wss(f, "ca", "good", ports[0]);
	send_text(producers[0], BODY);
	expect_job(f, "http://a", BODY);
	/* another authority for who is dialled now; who is there stays */
	spr_certs_make(f->dir, "other-ca", "next", false);
	rename_over(f, "next", "server");
	rename_over(f, "other-ca", "ca");
	hang_up(f, 1);
	close(fds[1]);
	producers[1] = listen_wss(f, "ca", "foreign", ports[1]);
	for (unsigned i = 0; i < 2; i++) {
		send_text(producers[i], BODY);
		expect_job(f, "http://a", BODY);
	}
	nng_close(producers[0]);
	nng_close(producers[1]);
	finish(f);
}

static void
test_refused_to_start(void **state)
{
	flow *f = *state;
	char *log;

	make_all(f);
	assert_int_equal(run_daemon(f, FLAGS("--intake-listen", "tls+tcp://localhost:0")), 78);
	assert_int_equal(run_daemon(f, FLAGS("--tls-cert", path_of(f, "server", "pem"), "--tls-key",
					     path_of(f, "good", "key"))),
			 78);
	log = daemon_log(f);
	assert_non_null(strstr(log, "good.key"));
	assert_non_null(strstr(log, "not the key of"));
	free(log);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_the_whole_way),   flow_test(test_receipts_and_answers),
	    flow_test(test_a_large_message), flow_test(test_who_gets_in),
	    flow_test(test_bad_servers),     flow_test(test_silent_peers),
	    flow_test(test_replaced_on_hup), flow_test(test_wss),
	    flow_test(test_wss_dialled),     flow_test(test_refused_to_start),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
