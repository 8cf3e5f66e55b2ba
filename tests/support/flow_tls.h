/*
 * flow_tls - verbs for flow tests of what speaks TLS: certificates in the test's folder, and peers with one of them.
 */
#pragma once

#include "flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>

#include "certs.h"

/* Files "<name>.pem", in the test's folder. */
static inline char *
path_of(flow *f, const char *name, const char *suffix)
{
	static char paths[8][128];
	static unsigned n;
	char *path = paths[n++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s.%s", f->dir, name, suffix);
	return (path);
}

static inline void
make_all(flow *f)
{
	spr_certs_authority(f->dir, "ca");
	spr_certs_authority(f->dir, "other-ca");
	spr_certs_make(f->dir, "ca", "server", false);
	spr_certs_make(f->dir, "ca", "good", false);
	spr_certs_make(f->dir, "ca", "expired", true);
	spr_certs_make(f->dir, "other-ca", "foreign", false);
}

static inline nng_tls_config *
config_of(flow *f, nng_tls_mode mode, const char *ca, const char *name)
{
	char *cert = name != NULL ? spr_read_file(path_of(f, name, "pem")) : NULL;
	char *key = name != NULL ? spr_read_file(path_of(f, name, "key")) : NULL;
	char *authority = spr_read_file(path_of(f, ca, "pem"));
	nng_tls_config *config;

	assert_int_equal(nng_tls_config_alloc(&config, mode), 0);
	assert_int_equal(nng_tls_config_ca_chain(config, authority, NULL), 0);
	assert_int_equal(nng_tls_config_auth_mode(config, NNG_TLS_AUTH_MODE_REQUIRED), 0);
	if (mode == NNG_TLS_MODE_CLIENT)
		assert_int_equal(nng_tls_config_server_name(config, "localhost"), 0);
	if (name != NULL)
		assert_int_equal(nng_tls_config_own_cert(config, cert, key, NULL), 0);
	free(cert);
	free(key);
	free(authority);
	return (config);
}

/* Dials with this certificate (NULL: none), and waits for the outcome: both handshakes, or an error. */
static inline int
dial(flow *f, nng_socket socket, const char *url, const char *ca, const char *name)
{
	nng_tls_config *config = config_of(f, NNG_TLS_MODE_CLIENT, ca, name);
	nng_dialer dialer;
	int rv;

	assert_int_equal(nng_socket_set_ms(socket, NNG_OPT_RECVTIMEO, spr_test_deadline_ms()), 0);
	assert_int_equal(nng_socket_set_ms(socket, NNG_OPT_SENDTIMEO, spr_test_deadline_ms()), 0);
	assert_int_equal(nng_dialer_create(&dialer, socket, url), 0);
	assert_int_equal(nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config), 0);
	if ((rv = nng_dialer_start(dialer, 0)) != 0)
		(void)nng_dialer_close(dialer);
	nng_tls_config_free(config);
	return (rv);
}

static inline void
send_text(nng_socket socket, const char *text)
{
	assert_int_equal(nng_send(socket, (void *)(uintptr_t)text, strlen(text), 0), 0);
}

static inline void
expect_text(nng_socket socket, const char *text)
{
	char bytes[512];
	size_t len = sizeof(bytes) - 1;

	assert_int_equal(nng_recv(socket, bytes, &len, 0), 0);
	bytes[len] = '\0';
	if (strstr(bytes, text) == NULL)
		fail_msg("not '%s' but: %s", text, bytes);
}

static inline int
try_dial(flow *f, const char *url, int (*open)(nng_socket *), const char *ca, const char *name)
{
	nng_socket socket;
	int rv;

	assert_int_equal(open(&socket), 0);
	rv = dial(f, socket, url, ca, name);
	nng_close(socket);
	return (rv);
}
