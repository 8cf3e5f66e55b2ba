/*
 * test_tls - what is wrong with a file is said with its name, and what was loaded before stays; what is loaded reaches whoever
 * connects afterwards.
 */
#include "net/tls.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/pipeline0/push.h>
#include <nng/supplemental/tls/tls.h>

#include "base/mem.h"
#include "certs.h"
#include "net/net.h"
#include "net/timer.h"
#include "proc.h"
#include "spr_test.h"

static char dir[64];

static char *
path_of(const char *name)
{
	static char paths[8][128];
	static unsigned n;
	char *path = paths[n++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return (path);
}

static int
setup(void **state)
{
	FILE *file;

	(void)state;
	strcpy(dir, "/tmp/spreader-tls-XXXXXX");
	assert_non_null(mkdtemp(dir));
	spr_certs_authority(dir, "ca");
	spr_certs_make(dir, "ca", "a", false);
	spr_certs_make(dir, "ca", "b", false);
	spr_certs_make(dir, "ca", "expired", true);
	spr_certs_authority(dir, "other-ca");
	spr_certs_make(dir, "other-ca", "other", false);
	assert_non_null(file = fopen(path_of("text"), "w"));
	fputs("no certificate", file);
	fclose(file);
	assert_non_null(file = fopen(path_of("long"), "w"));
	assert_int_equal(ftruncate(fileno(file), (1 << 20) + 1), 0);
	fclose(file);
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

/* The error names the option and the file, and says why. */
static void
expect_error(const char *cert, const char *key, const char *ca, const char *file, const char *why)
{
	unsigned generation = spr_tls_generation();

	assert_fails(spr_tls_load(cert, key, ca), SPR_E_CONFIG);
	if (strstr(spr_error_text(SPR_E_CONFIG), file) == NULL ||
	    strstr(spr_error_text(SPR_E_CONFIG), why) == NULL)
		fail_msg("not '%s' and '%s' but: %s", file, why, spr_error_text(SPR_E_CONFIG));
	assert_int_equal(spr_tls_generation(), generation);
}

static void
test_errors(void **state)
{
	(void)state;
	expect_error(path_of("none"), path_of("a.key"), NULL, "tls-cert /tmp", "No such file");
	expect_error(path_of("a.pem"), path_of("none"), NULL, "tls-key /tmp", "No such file");
	expect_error(NULL, NULL, path_of("none"), "tls-ca /tmp", "No such file");
	expect_error(NULL, NULL, dir, "tls-ca /tmp", "directory");
	expect_error(NULL, NULL, path_of("long"), "/long", "longer than 1 MiB");
	expect_error(path_of("text"), path_of("a.key"), NULL, "/text", "no PEM certificate");
	expect_error(path_of("a.pem"), path_of("text"), NULL, "/text", "no PEM key");
	expect_error(path_of("a.pem"), path_of("b.key"), NULL, "/b.key", "not the key of tls-cert");
	expect_error(NULL, NULL, path_of("text"), "/text", "no PEM certificate");
	assert_ok(spr_tls_load(path_of("expired.pem"), path_of("expired.key"), NULL));
}

static void
test_what_was_loaded_stays(void **state)
{
	const char *cert, *key, *ca, *before;
	unsigned generation;

	(void)state;
	assert_ok(spr_tls_load(NULL, NULL, NULL));
	spr_tls_texts(&cert, &key, &ca);
	assert_null(cert);
	assert_ok(spr_tls_load(path_of("a.pem"), path_of("a.key"), path_of("ca.pem")));
	generation = spr_tls_generation();
	spr_tls_texts(&before, &key, &ca);
	assert_non_null(before);
	assert_non_null(ca);
	expect_error(path_of("a.pem"), path_of("b.key"), NULL, "/b.key", "not the key");
	assert_ok(spr_tls_load(path_of("a.pem"), path_of("a.key"), path_of("ca.pem")));
	assert_int_equal(spr_tls_generation(), generation); /* nothing new */
	spr_tls_texts(&cert, &key, &ca);
	assert_ptr_equal(cert, before);
	assert_ok(spr_tls_load(path_of("b.pem"), path_of("b.key"), path_of("ca.pem")));
	assert_int_not_equal(spr_tls_generation(), generation);
	spr_tls_texts(&cert, &key, &ca);
	assert_string_not_equal(cert, before); /* which is still there */
}

static void
test_what_a_url_needs(void **state)
{
	nng_tls_config *config;

	(void)state;
	assert_true(spr_tls_is_url("tls+tcp://h:1"));
	assert_true(spr_tls_is_url("wss://h/x"));
	assert_false(spr_tls_is_url("ws://h/x"));
	assert_false(spr_tls_is_url("tcp://h:1"));
	assert_fails(spr_tls_config(&config, "tls+tcp://h:1", true, NULL), SPR_E_CONFIG);
	assert_ok(spr_tls_load(NULL, NULL, path_of("ca.pem")));
	assert_fails(spr_tls_config(&config, "tls+tcp://h:1", true, NULL), SPR_E_CONFIG);
	assert_non_null(strstr(spr_error_text(SPR_E_CONFIG), "--tls-cert and --tls-key"));
	assert_ok(spr_tls_config(&config, "tls+tcp://[::1]:1", false, NULL));
	nng_tls_config_free(config);
	assert_ok(spr_tls_load(path_of("a.pem"), path_of("a.key"), NULL));
	assert_ok(spr_tls_config(&config, "wss://h/x", true, NULL));
	nng_tls_config_free(config);
	assert_fails(spr_tls_config(&config, "wss://h/x", false, NULL), SPR_E_CONFIG);
	assert_non_null(strstr(spr_error_text(SPR_E_CONFIG), "--tls-ca"));
}

static void
test_out_of_memory(void **state)
{
	spr_err rv = SPR_E_NOMEM;
	unsigned n = 0;

	(void)state;
	for (; rv != SPR_OK && n < 20; n++) {
		spr_mem_fail_at(n + 1);
		rv = spr_tls_load(path_of("a.pem"), path_of("a.key"), path_of("ca.pem"));
		spr_mem_fail_at(0);
		assert_true(rv == SPR_OK || rv == SPR_E_NOMEM);
	}
	assert_ok(rv);
	assert_true(n > 1);
}

/* ---- what listens ---- */

static bool
drop(void *arg, unsigned receive, spr_buf *buf)
{
	(void)arg;
	(void)receive;
	spr_buf_drop(buf);
	return (true);
}

static void
listen_at(const spr_transport *transport, spr_pull **pull, const char *url, char *bound)
{
	const spr_pull_config config = {.receives = 1, .max_message = 1000, .on_receive = drop};

	assert_ok(transport->pull_open(pull, &config));
	assert_ok(transport->pull_listen(*pull, url, bound));
	transport->pull_start(*pull);
}

static void
stop_listening(const spr_transport *transport, spr_pull *pull)
{
	transport->pull_stop(pull);
	transport->pull_close(pull);
}

/* Of somebody who trusts this authority alone; NULL: anybody. */
static int
dial(const char *url, const char *ca)
{
	char *authority = ca != NULL ? spr_read_file(path_of(ca)) : NULL;
	nng_tls_config *config;
	nng_dialer dialer;
	nng_socket socket;
	int rv;

	assert_int_equal(nng_tls_config_alloc(&config, NNG_TLS_MODE_CLIENT), 0);
	if (ca != NULL)
		assert_int_equal(nng_tls_config_ca_chain(config, authority, NULL), 0);
	assert_int_equal(nng_tls_config_auth_mode(config, ca != NULL ? NNG_TLS_AUTH_MODE_REQUIRED
								     : NNG_TLS_AUTH_MODE_NONE),
			 0);
	assert_int_equal(nng_tls_config_server_name(config, "localhost"), 0);
	assert_int_equal(nng_push0_open(&socket), 0);
	assert_int_equal(nng_dialer_create(&dialer, socket, url), 0);
	assert_int_equal(nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config), 0);
	rv = nng_dialer_start(dialer, 0);
	nng_close(socket);
	nng_tls_config_free(config);
	free(authority);
	return (rv);
}

static void
wait_on(void *arg)
{
	while (sem_wait(arg) != 0)
		continue;
}

/* The timers' thread is held meanwhile, so it is not the watch, nor anything else in its own time, that brings them. */
static void
test_a_load_reaches_the_next_peer(void **state)
{
	spr_timer timer;
	spr_pull *pull;
	char bound[SPR_URL_MAX];
	sem_t go_on;

	(void)state;
	sem_init(&go_on, 0, 0);
	assert_ok(spr_tls_load(path_of("a.pem"), path_of("a.key"), NULL));
	listen_at(&spr_transport_nng, &pull, "tls+tcp://localhost:0", bound);
	assert_ok(spr_timers_hold());
	spr_timer_init(&timer, wait_on, &go_on);
	spr_timer_arm(&timer, 0);
	assert_int_equal(dial(bound, "ca.pem"), 0);
	for (unsigned i = 0; i < 10; i++) {
		const char *ca = i % 2 == 0 ? "other-ca.pem" : "ca.pem";

		if (i % 2 == 0)
			assert_ok(spr_tls_load(path_of("other.pem"), path_of("other.key"), NULL));
		else
			assert_ok(spr_tls_load(path_of("b.pem"), path_of("b.key"), NULL));
		assert_int_equal(dial(bound, ca), 0);
		assert_int_not_equal(dial(bound, i % 2 == 0 ? "ca.pem" : "other-ca.pem"), 0);
	}
	sem_post(&go_on);
	stop_listening(&spr_transport_nng, pull);
	spr_timer_stop(&timer);
	spr_timers_drop();
	sem_destroy(&go_on);
}

static const struct {
	const spr_transport *transport;
	const char *url;
} kinds[] = {
    {&spr_transport_nng, "tls+tcp://localhost:0"},
    {&spr_transport_nng_sockets, "wss://localhost:0/x"},
};

typedef struct caller {
	pthread_t thread;
	const char *url;
	atomic_bool is_over;
	atomic_uint n_calls, n_failed;
} caller;

static void *
call_on(void *arg)
{
	caller *c = arg;

	while (!atomic_load(&c->is_over)) {
		if (dial(c->url, NULL) != 0)
			atomic_fetch_add(&c->n_failed, 1);
		atomic_fetch_add(&c->n_calls, 1);
	}
	return (NULL);
}

/* Whoever comes in the middle of one gets the old certificate or the new one, but gets in. */
static void
test_loads_while_peers_come(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		spr_pull *pull;
		char bound[SPR_URL_MAX];
		caller c = {.url = bound};

		assert_ok(spr_tls_load(path_of("a.pem"), path_of("a.key"), NULL));
		listen_at(kinds[k].transport, &pull, kinds[k].url, bound);
		assert_int_equal(pthread_create(&c.thread, NULL, call_on, &c), 0);
		for (unsigned i = 0; i < 40; i++) {
			unsigned n_calls = atomic_load(&c.n_calls);

			if (i % 2 == 0)
				assert_ok(spr_tls_load(path_of("b.pem"), path_of("b.key"), NULL));
			else
				assert_ok(spr_tls_load(path_of("a.pem"), path_of("a.key"), NULL));
			if (i % 4 == 0)
				assert_true(wait_until(atomic_load(&c.n_calls) > n_calls,
						       (unsigned)spr_test_deadline_ms()));
		}
		atomic_store(&c.is_over, true);
		pthread_join(c.thread, NULL);
		assert_int_equal(c.n_failed, 0);
		stop_listening(kinds[k].transport, pull);
	}
}

/* What listened is told nothing any more. */
static void
test_a_load_behind_the_end(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		spr_pull *pull;
		char bound[SPR_URL_MAX];

		assert_ok(spr_tls_load(path_of("a.pem"), path_of("a.key"), NULL));
		listen_at(kinds[k].transport, &pull, kinds[k].url, bound);
		stop_listening(kinds[k].transport, pull);
		assert_ok(spr_tls_load(path_of("b.pem"), path_of("b.key"), NULL));
	}
}

/* What does not take its certificate has not got it: it is tried again. */
static void
test_what_failed_is_tried_again(void **state)
{
	static const char url[] = "tls+tcp://127.0.0.1:0"; /* as the streams below are not */
	nng_stream_listener *listener;
	nng_stream_dialer *dialer;
	unsigned generation = 0;

	(void)state;
	assert_ok(spr_tls_load(path_of("a.pem"), path_of("a.key"), path_of("ca.pem")));
	assert_int_equal(nng_stream_listener_alloc(&listener, "tcp://127.0.0.1:0"), 0);
	assert_int_equal(nng_stream_dialer_alloc(&dialer, "tcp://127.0.0.1:1"), 0);
	assert_true(spr_tls_renew_listener(listener, url, &generation) != SPR_OK);
	assert_int_equal(generation, 0);
	assert_true(spr_tls_renew_dialer(dialer, url, &generation) != SPR_OK);
	assert_int_equal(generation, 0);
	nng_stream_listener_free(listener);
	nng_stream_dialer_free(dialer);
	spr_tls_unload();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_was_loaded_stays, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_a_url_needs, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_failed_is_tried_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_load_reaches_the_next_peer, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_loads_while_peers_come, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_load_behind_the_end, setup, teardown),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
