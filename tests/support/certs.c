/*
 * certs - GnuTLS makes them: unlike the openssl command it can also make one that has expired.
 */
#include "certs.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "proc.h"

#define HOUR 3600

static unsigned last_serial;

static void
write_file(const char *dir, const char *name, const char *suffix, const gnutls_datum_t *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.%s", dir, name, suffix);
	assert_non_null(file = fopen(path, "w"));
	assert_int_equal(fwrite(text->data, 1, text->size, file), text->size);
	assert_int_equal(fclose(file), 0);
}

static gnutls_datum_t
read_file(const char *dir, const char *name, const char *suffix)
{
	char path[256];
	char *text;

	snprintf(path, sizeof(path), "%s/%s.%s", dir, name, suffix);
	assert_non_null(text = spr_read_file(path));
	return ((gnutls_datum_t){.data = (unsigned char *)text, .size = (unsigned)strlen(text)});
}

static void
begin(gnutls_x509_crt_t *cert, gnutls_x509_privkey_t *key, const char *name, time_t until)
{
	uint8_t serial = (uint8_t)++last_serial;

	assert_int_equal(gnutls_x509_privkey_init(key), 0);
	assert_int_equal(
	    gnutls_x509_privkey_generate(*key, GNUTLS_PK_ECDSA,
					 GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
	    0);
	assert_int_equal(gnutls_x509_crt_init(cert), 0);
	assert_int_equal(gnutls_x509_crt_set_version(*cert, 3), 0);
	assert_int_equal(gnutls_x509_crt_set_serial(*cert, &serial, 1), 0);
	assert_int_equal(gnutls_x509_crt_set_dn_by_oid(*cert, GNUTLS_OID_X520_COMMON_NAME, 0, name,
						       (unsigned)strlen(name)),
			 0);
	assert_int_equal(gnutls_x509_crt_set_key(*cert, *key), 0);
	assert_int_equal(gnutls_x509_crt_set_activation_time(*cert, time(NULL) - 24 * HOUR), 0);
	assert_int_equal(gnutls_x509_crt_set_expiration_time(*cert, until), 0);
}

static void
end(const char *dir, const char *name, gnutls_x509_crt_t cert, gnutls_x509_privkey_t key)
{
	gnutls_datum_t text;

	assert_int_equal(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &text), 0);
	write_file(dir, name, "pem", &text);
	gnutls_free(text.data);
	assert_int_equal(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text), 0);
	write_file(dir, name, "key", &text);
	gnutls_free(text.data);
	gnutls_x509_crt_deinit(cert);
	gnutls_x509_privkey_deinit(key);
}

void
spr_certs_authority(const char *dir, const char *name)
{
	gnutls_x509_crt_t cert;
	gnutls_x509_privkey_t key;

	begin(&cert, &key, name, time(NULL) + HOUR);
	assert_int_equal(gnutls_x509_crt_set_ca_status(cert, 1), 0);
	assert_int_equal(gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0), 0);
	end(dir, name, cert, key);
}

void
spr_certs_make(const char *dir, const char *authority, const char *name, bool is_expired)
{
	gnutls_datum_t ca_text = read_file(dir, authority, "pem");
	gnutls_datum_t ca_key_text = read_file(dir, authority, "key");
	gnutls_x509_crt_t cert, ca;
	gnutls_x509_privkey_t key, ca_key;

	assert_int_equal(gnutls_x509_crt_init(&ca), 0);
	assert_int_equal(gnutls_x509_crt_import(ca, &ca_text, GNUTLS_X509_FMT_PEM), 0);
	assert_int_equal(gnutls_x509_privkey_init(&ca_key), 0);
	assert_int_equal(gnutls_x509_privkey_import(ca_key, &ca_key_text, GNUTLS_X509_FMT_PEM), 0);
	begin(&cert, &key, name, time(NULL) + (is_expired ? -HOUR : HOUR));
	assert_int_equal(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, "localhost",
							      9, GNUTLS_FSAN_SET),
			 0);
	assert_int_equal(gnutls_x509_crt_sign2(cert, ca, ca_key, GNUTLS_DIG_SHA256, 0), 0);
	end(dir, name, cert, key);
	gnutls_x509_crt_deinit(ca);
	gnutls_x509_privkey_deinit(ca_key);
	gnutls_free(ca_text.data);
	gnutls_free(ca_key_text.data);
}
