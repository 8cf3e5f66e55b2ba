/*
 * test_http_server - whole requests in, answers out, at once or later from another thread; and every limit, by a client
 * that breaks it.
 */
#include "control/http_server.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/counters.h"
#include "base/mem.h"
#include "http_raw.h"
#include "proc.h"
#include "spr_test.h"

#define MAX_BODY     1000
#define MAX_DEFERRED 2

typedef struct desk {
	spr_http_server *server;
	char url[SPR_HTTP_ADDRESS_MAX];
	atomic_uint n_requests;
	/* of the request that was deferred last; it waits for spr_http_answer() */
	spr_http_exchange *_Atomic waiting[MAX_DEFERRED];
	atomic_uint n_waiting;
} desk;

static void
answer(spr_http_exchange *exchange, unsigned status, const char *text)
{
	char *copy = spr_mem_strdup(text);

	spr_http_answer(exchange, &(spr_http_reply){.status = status,
						    .type = "text/plain",
						    .body = copy,
						    .len = strlen(copy)});
}

/* Says what it got: method path, ?x=, a header, the body. /later waits. */
static void
on_request(void *arg, spr_http_exchange *exchange)
{
	desk *d = arg;
	size_t body_len, x_len;
	const char *body = spr_http_body(exchange, &body_len),
		   *x = spr_http_query(exchange, "x", &x_len);
	const char *header = spr_http_header_of(exchange, "X-Test");
	char text[2048];

	atomic_fetch_add(&d->n_requests, 1);
	if (strcmp(spr_http_path(exchange), "/later") == 0 && spr_http_defer(exchange)) {
		unsigned i = atomic_load(&d->n_waiting);

		atomic_store(&d->waiting[i], exchange);
		atomic_store(&d->n_waiting, i + 1);
		return;
	}
	snprintf(text, sizeof(text), "%s %s x=%.*s header=%s body=%.*s", spr_http_method(exchange),
		 spr_http_path(exchange), x != NULL ? (int)x_len : 4, x != NULL ? x : "none",
		 header != NULL ? header : "none", (int)body_len, body);
	answer(exchange, 200, text);
}

static spr_http_config
config_of(desk *d)
{
	return ((spr_http_config){.max_connections = 64,
				  .max_per_address = 64,
				  .max_deferred = MAX_DEFERRED,
				  .idle_s = 60,
				  .request_ms = 60000,
				  .max_body = MAX_BODY,
				  .on_request = on_request,
				  .arg = d});
}

static void
start(desk *d, const spr_http_config *config)
{
	assert_ok(spr_http_server_new(&d->server, config));
	assert_ok(spr_http_server_listen(d->server, "127.0.0.1:0", d->url));
}

static int
setup(void **state)
{
	*state = calloc(1, sizeof(desk));
	return (*state != NULL ? 0 : -1);
}

static int
teardown(void **state)
{
	desk *d = *state;

	spr_http_server_stop(d->server);
	spr_http_server_free(d->server);
	free(d);
	return (0);
}

static void
expect(const char *url, const char *method, const char *target, const char *headers,
       const char *body, int status, const char *text)
{
	spr_http_got got;

	if (!spr_http_ask(url, method, target, headers, body, &got))
		fail_msg("%s %s: no answer", method, target);
	assert_int_equal(got.status, status);
	assert_string_equal(got.body, text);
	assert_non_null(strstr(got.head, "X-Content-Type-Options: nosniff"));
	assert_non_null(strstr(got.head, "Cache-Control: no-store"));
	spr_http_forget(&got);
}

static void
test_requests(void **state)
{
	desk *d = *state;
	spr_http_config config = config_of(d);

	start(d, &config);
	expect(d->url, "GET", "/a", "", NULL, 200, "GET /a x=none header=none body=");
	expect(d->url, "GET", "/a?x=1%202&y", "X-Test: h\r\n", NULL, 200,
	       "GET /a x=1 2 header=h body=");
	expect(d->url, "GET", "/%61%", "", NULL, 200, "GET /a% x=none header=none body=");
	expect(d->url, "GET", "/a?x", "", NULL, 200, "GET /a x= header=none body=");
	expect(d->url, "POST", "/b", "", "some bytes", 200,
	       "POST /b x=none header=none body=some bytes");
	expect(d->url, "HEAD", "/a", "", NULL, 200, "");
	assert_int_equal(atomic_load(&d->n_requests), 6);
}

static void
test_later(void **state)
{
	desk *d = *state;
	spr_http_config config = config_of(d);
	const char request[] = "GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	spr_http_got got;
	int fd[MAX_DEFERRED];

	start(d, &config);
	for (unsigned i = 0; i < MAX_DEFERRED; i++) {
		assert_true((fd[i] = spr_http_connect(d->url)) >= 0);
		assert_true(spr_http_write(fd[i], request, strlen(request)));
		assert_true(wait_until(atomic_load(&d->n_waiting) == i + 1, 60000));
	}
	/* no more may wait: this one is answered at once */
	expect(d->url, "GET", "/later", "", NULL, 200, "GET /later x=none header=none body=");
	for (unsigned i = MAX_DEFERRED; i-- > 0;) {
		answer(atomic_load(&d->waiting[i]), 202, "at last");
		assert_true(spr_http_read(fd[i], &got, spr_test_deadline_ms()));
		assert_int_equal(got.status, 202);
		assert_string_equal(got.body, "at last");
		spr_http_forget(&got);
		close(fd[i]);
	}
}

static void *
stop_server(void *arg)
{
	desk *d = arg;

	spr_http_server_stop(d->server);
	return (d);
}

/* Asks for what has to wait, and answers it if it does. False: the server is about to stop, and lets nothing wait any more. */
static bool
is_deferred(desk *d, const char *request)
{
	struct pollfd got = {.fd = spr_http_connect(d->url), .events = POLLIN};
	bool is_waiting;

	if (got.fd < 0)
		return (false);
	assert_true(spr_http_write(got.fd, request, strlen(request)));
	assert_true(wait_until(atomic_load(&d->n_waiting) == 2 || poll(&got, 1, 0) == 1, 60000));
	is_waiting = atomic_load(&d->n_waiting) == 2;
	if (is_waiting) {
		atomic_store(&d->n_waiting, 1);
		answer(atomic_load(&d->waiting[1]), 200, "not yet");
	}
	close(got.fd);
	return (is_waiting);
}

/* A stop lets what waits be answered, and the client gets it, or at least the connection's end. */
static void
test_stop_waits_for_answers(void **state)
{
	desk *d = *state;
	spr_http_config config = config_of(d);
	const char request[] = "GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	pthread_t stopper;
	int fd;
	struct pollfd end;

	start(d, &config);
	assert_true((fd = spr_http_connect(d->url)) >= 0);
	assert_true(spr_http_write(fd, request, strlen(request)));
	assert_true(wait_until(atomic_load(&d->n_waiting) == 1, 60000));
	assert_int_equal(pthread_create(&stopper, NULL, stop_server, d), 0);
	while (is_deferred(d, request))
		continue;
	answer(atomic_load(&d->waiting[0]), 200, "still");
	pthread_join(stopper, NULL);
	end = (struct pollfd){.fd = fd, .events = POLLIN};
	assert_int_equal(poll(&end, 1, spr_test_deadline_ms()), 1);
	close(fd);
}

static void
test_body_limit(void **state)
{
	desk *d = *state;
	spr_http_config config = config_of(d);
	char body[MAX_BODY + 2], wanted[MAX_BODY + 100];
	const char huge[] = "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\nxxx";
	const char chunked[] = "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
	spr_http_got got;
	unsigned n;
	int fd;

	start(d, &config);
	memset(body, 'x', sizeof(body));
	body[MAX_BODY] = '\0';
	snprintf(wanted, sizeof(wanted), "POST /b x=none header=none body=%s", body);
	expect(d->url, "POST", "/b", "", body, 200, wanted);
	n = atomic_load(&d->n_requests);

	/* refused by its length, before it is sent */
	assert_true((fd = spr_http_connect(d->url)) >= 0);
	assert_true(spr_http_write(fd, huge, strlen(huge)));
	assert_true(spr_http_read(fd, &got, spr_test_deadline_ms()));
	assert_int_equal(got.status, 413);
	spr_http_forget(&got);
	close(fd);

	/* without a length: the connection ends, whatever else is sent */
	assert_true((fd = spr_http_connect(d->url)) >= 0);
	assert_true(spr_http_write(fd, chunked, strlen(chunked)));
	memset(body, 'x', sizeof(body));
	memcpy(body, "3e0\r\n", 5);
	assert_true(wait_until(
	    !spr_http_write(fd, body, 5 + 0x3e0) || !spr_http_write(fd, "\r\n", 2), 60000));
	close(fd);
	assert_int_equal(atomic_load(&d->n_requests), n);
}

static bool
is_closed(int fd)
{
	struct pollfd look = {.fd = fd, .events = POLLIN};
	char byte;

	return (poll(&look, 1, 0) == 1 && recv(fd, &byte, 1, MSG_PEEK) <= 0);
}

/* A byte now and then keeps a connection from being idle for ever, but not its request from being late. */
static void
test_slow_request(void **state)
{
	desk *d = *state;
	spr_http_config config = config_of(d);
	uint64_t cut = spr_counter_sum(SPR_C_HTTP_CUT);
	spr_http_got got;
	int fd;

	config.request_ms = 500;
	start(d, &config);
	assert_true((fd = spr_http_connect(d->url)) >= 0);
	assert_true(spr_http_write(fd, "GET / HTTP/1.1\r\n", 16));
	assert_true(wait_until(!spr_http_write(fd, "X", 1) || is_closed(fd), 60000));
	assert_true(spr_counter_sum(SPR_C_HTTP_CUT) > cut);
	/* ended, not answered: too many bytes would have been */
	assert_false(spr_http_read(fd, &got, spr_test_deadline_ms()));
	close(fd);
	expect(d->url, "GET", "/a", "", NULL, 200, "GET /a x=none header=none body=");
}

static void
test_idle(void **state)
{
	desk *d = *state;
	spr_http_config config = config_of(d);
	int fd;

	config.idle_s = 1;
	start(d, &config);
	assert_true((fd = spr_http_connect(d->url)) >= 0);
	assert_true(wait_until(is_closed(fd), 60000));
	close(fd);
}

static void
test_too_many_connections(void **state)
{
	desk *d = *state;
	spr_http_config config = config_of(d);
	uint64_t added = spr_counter_sum(SPR_C_HTTP_CONNECTIONS_ADDED);
	uint64_t removed = spr_counter_sum(SPR_C_HTTP_CONNECTIONS_REMOVED);
	int fd[20];
	unsigned n = 0;

	config.max_per_address = 4;
	start(d, &config);
	for (unsigned i = 0; i < 20; i++)
		assert_true((fd[i] = spr_http_connect(d->url)) >= 0);
	/* all but four are closed */
	assert_true(wait_until(({
				       n = 0;
				       for (unsigned i = 0; i < 20; i++)
					       n += is_closed(fd[i]);
				       n >= 16;
			       }),
			       60000));
	assert_int_equal(n, 16);
	/* a thread of the server's has still to take the last ones */
	assert_true(wait_until(spr_counter_sum(SPR_C_HTTP_CONNECTIONS_ADDED) >= added + 4, 60000));
	assert_int_equal(spr_counter_sum(SPR_C_HTTP_CONNECTIONS_ADDED), added + 4);
	for (unsigned i = 0; i < 20; i++)
		close(fd[i]);
	assert_true(
	    wait_until(spr_counter_sum(SPR_C_HTTP_CONNECTIONS_REMOVED) == removed + 4, 60000));
	expect(d->url, "GET", "/a", "", NULL, 200, "GET /a x=none header=none body=");
}

static void
test_addresses(void **state)
{
	desk *d = *state;
	spr_http_config config = config_of(d);
	char other[SPR_HTTP_ADDRESS_MAX];

	start(d, &config);
	assert_memory_equal(d->url, "http://127.0.0.1:", 17);
	assert_ok(spr_http_server_listen(d->server, "localhost:0", other));
	assert_fails(spr_http_server_listen(d->server, d->url + 7, other), SPR_E_ADDRESS);
	assert_non_null(strstr(spr_error_text(SPR_E_ADDRESS), "in use"));
	assert_fails(spr_http_server_listen(d->server, "127.0.0.1", other), SPR_E_ADDRESS);
	assert_fails(spr_http_server_listen(d->server, "127.0.0.1:", other), SPR_E_ADDRESS);
	assert_fails(spr_http_server_listen(d->server, "::1:0", other), SPR_E_ADDRESS);
	assert_fails(spr_http_server_listen(d->server, "no.such.host.invalid:1", other),
		     SPR_E_ADDRESS);
	for (unsigned i = 2; i < 8; i++)
		assert_ok(spr_http_server_listen(d->server, "127.0.0.1:0", other));
	assert_fails(spr_http_server_listen(d->server, "127.0.0.1:0", other), SPR_E_TOO_MANY);
}

static void
test_no_memory(void **state)
{
	desk *d = *state;
	spr_http_config config = config_of(d);
	spr_http_server *none = NULL;

	spr_mem_fail_at(1);
	assert_int_equal(spr_http_server_new(&none, &config), SPR_E_NOMEM);
	spr_mem_fail_at(0);
	assert_null(none);
	spr_http_server_stop(NULL);
	spr_http_server_free(NULL);
}

#define each(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    each(test_requests),
	    each(test_later),
	    each(test_stop_waits_for_answers),
	    each(test_body_limit),
	    each(test_slow_request),
	    each(test_idle),
	    each(test_too_many_connections),
	    each(test_addresses),
	    each(test_no_memory),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
