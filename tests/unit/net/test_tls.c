/*
 * test_tls - what is wrong with a file is said with its name, and what was loaded before stays.
 */
#include "net/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>

#include "base/mem.h"
#include "certs.h"
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_was_loaded_stays, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_a_url_needs, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
