/*
 * tls - one set of files for the whole process, as there is one set of flags.
 *
 * What replaces it must not pull anything from under connections: nng counts the references to its configurations; of
 * GnuTLS's credentials nobody knows when the last session ends, so old ones are kept until unload. They are made only when a
 * file's text has changed, so there are as many as there were certificates.
 */
#include "net/tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/nng_common.h"

#define FILE_MAX   (1u << 20)
#define KEY_ID_MAX 64

typedef struct material {
	char *cert, *key, *ca; /* PEM; NULL: none */
	gnutls_certificate_credentials_t credentials;
	struct material *older;
} material;

/* guarded by the mutex, which is taken last */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static material *current;
static unsigned n_loads = 1;

/* guarded by a mutex of its own, which is taken first: on_load may use all of this module but its list */
static pthread_mutex_t watchers_mutex = PTHREAD_MUTEX_INITIALIZER;
static spr_tls_watcher *watchers;

/* ---- files ---- */

static spr_err
read_text(const char *name, const char *file, char **out)
{
	FILE *stream = fopen(file, "re");
	char *text;
	size_t n;
	int cause;

	if (stream == NULL)
		return (spr_fail(SPR_E_CONFIG, "%s %s: %s", name, file, strerror(errno)));
	if ((text = spr_mem_alloc(FILE_MAX + 1)) == NULL) {
		fclose(stream);
		return (spr_fail(SPR_E_NOMEM, "%s %s: out of memory", name, file));
	}
	errno = 0;
	n = fread(text, 1, FILE_MAX + 1, stream);
	cause = ferror(stream) ? errno : 0;
	fclose(stream);
	if (cause != 0 || n > FILE_MAX) {
		spr_mem_free(text);
		return (spr_fail(SPR_E_CONFIG, "%s %s: %s", name, file,
				 cause != 0 ? strerror(cause) : "longer than 1 MiB"));
	}
	text[n] = '\0';
	*out = text;
	return (SPR_OK);
}

static gnutls_datum_t
datum_of(const char *text)
{
	return ((gnutls_datum_t){.data = (unsigned char *)(uintptr_t)text,
				 .size = (unsigned)strlen(text)});
}

/* At least one certificate; the first one's key id goes to id (may be NULL). */
static spr_err
check_certificates(const char *name, const char *file, const char *text, unsigned char *id,
		   size_t *id_len)
{
	gnutls_datum_t datum = datum_of(text);
	gnutls_x509_crt_t *list = NULL;
	unsigned n = 0;
	int rv = gnutls_x509_crt_list_import2(&list, &n, &datum, GNUTLS_X509_FMT_PEM, 0);

	if (rv < 0)
		return (spr_fail(SPR_E_CONFIG, "%s %s: no PEM certificate: %s", name, file,
				 gnutls_strerror(rv)));
	if (gnutls_x509_crt_get_expiration_time(list[0]) < time(NULL))
		spr_warn("CERTIFICATE-EXPIRED",
			 "option=%s file=\"%s\" why=\"peers will refuse it\"", name, file);
	if (id != NULL && gnutls_x509_crt_get_key_id(list[0], 0, id, id_len) != 0)
		*id_len = 0;
	for (unsigned i = 0; i < n; i++)
		gnutls_x509_crt_deinit(list[i]);
	gnutls_free(list);
	return (SPR_OK);
}

static spr_err
check_key(const char *file, const char *text, const char *cert_file, const unsigned char *cert_id,
	  size_t cert_id_len)
{
	gnutls_datum_t datum = datum_of(text);
	gnutls_x509_privkey_t key;
	unsigned char id[KEY_ID_MAX];
	size_t id_len = sizeof(id);
	spr_err rv = SPR_OK;
	int error;

	if (gnutls_x509_privkey_init(&key) != 0)
		return (spr_fail(SPR_E_NOMEM, "tls-key %s: out of memory", file));
	if ((error = gnutls_x509_privkey_import2(key, &datum, GNUTLS_X509_FMT_PEM, NULL, 0)) != 0)
		rv = spr_fail(SPR_E_CONFIG, "tls-key %s: no PEM key without a password: %s", file,
			      gnutls_strerror(error));
	else if (gnutls_x509_privkey_get_key_id(key, 0, id, &id_len) != 0 ||
		 id_len != cert_id_len || memcmp(id, cert_id, id_len) != 0)
		rv = spr_fail(SPR_E_CONFIG, "tls-key %s: not the key of tls-cert %s", file,
			      cert_file);
	gnutls_x509_privkey_deinit(key);
	return (rv);
}

/* ---- material ---- */

static void
free_material(material *self)
{
	if (self == NULL)
		return;
	if (self->credentials != NULL)
		gnutls_certificate_free_credentials(self->credentials);
	if (self->key != NULL)
		explicit_bzero(self->key, strlen(self->key));
	spr_mem_free(self->cert);
	spr_mem_free(self->key);
	spr_mem_free(self->ca);
	spr_mem_free(self);
}

static spr_err
make_credentials(material *self)
{
	gnutls_datum_t cert, key, ca;
	int rv;

	if ((rv = gnutls_certificate_allocate_credentials(&self->credentials)) != 0)
		return (spr_fail(SPR_E_NOMEM, "certificates: %s", gnutls_strerror(rv)));
	if (self->cert != NULL) {
		cert = datum_of(self->cert);
		key = datum_of(self->key);
		if ((rv = gnutls_certificate_set_x509_key_mem(self->credentials, &cert, &key,
							      GNUTLS_X509_FMT_PEM)) < 0)
			return (
			    spr_fail(SPR_E_CONFIG, "tls-cert, tls-key: %s", gnutls_strerror(rv)));
	}
	if (self->ca != NULL) {
		ca = datum_of(self->ca);
		if ((rv = gnutls_certificate_set_x509_trust_mem(self->credentials, &ca,
								GNUTLS_X509_FMT_PEM)) < 0)
			return (spr_fail(SPR_E_CONFIG, "tls-ca: %s", gnutls_strerror(rv)));
	}
	return (SPR_OK);
}

static spr_err
set_texts(const material *self, nng_tls_config *config)
{
	int rv = 0;

	if (self->ca != NULL &&
	    ((rv = nng_tls_config_ca_chain(config, self->ca, NULL)) != 0 ||
	     (rv = nng_tls_config_auth_mode(config, NNG_TLS_AUTH_MODE_REQUIRED)) != 0))
		return (spr_fail(rv == NNG_ENOMEM ? SPR_E_NOMEM : SPR_E_CONFIG,
				 "tls-ca: the TLS of SP sockets does not take it: %s",
				 nng_strerror(rv)));
	if (self->cert != NULL &&
	    (rv = nng_tls_config_own_cert(config, self->cert, self->key, NULL)) != 0)
		return (spr_fail(rv == NNG_ENOMEM ? SPR_E_NOMEM : SPR_E_CONFIG,
				 "tls-cert, tls-key: the TLS of SP sockets does not take them: %s",
				 nng_strerror(rv)));
	return (SPR_OK);
}

/* The library inside nng knows fewer kinds of keys. */
static spr_err
try_texts(const material *self)
{
	nng_tls_config *config;
	spr_err rv;

	if (nng_tls_config_alloc(&config, NNG_TLS_MODE_SERVER) != 0)
		return (spr_fail(SPR_E_NOMEM, "certificates: out of memory"));
	rv = set_texts(self, config);
	nng_tls_config_free(config);
	return (rv);
}

static spr_err
read_material(material *self, const char *cert, const char *key, const char *ca)
{
	unsigned char id[KEY_ID_MAX];
	size_t id_len = sizeof(id);
	spr_err rv;

	if (cert != NULL &&
	    ((rv = read_text("tls-cert", cert, &self->cert)) != SPR_OK ||
	     (rv = read_text("tls-key", key, &self->key)) != SPR_OK ||
	     (rv = check_certificates("tls-cert", cert, self->cert, id, &id_len)) != SPR_OK ||
	     (rv = check_key(key, self->key, cert, id, id_len)) != SPR_OK))
		return (rv);
	if (ca != NULL && ((rv = read_text("tls-ca", ca, &self->ca)) != SPR_OK ||
			   (rv = check_certificates("tls-ca", ca, self->ca, NULL, NULL)) != SPR_OK))
		return (rv);
	if ((rv = make_credentials(self)) != SPR_OK)
		return (rv);
	return (try_texts(self));
}

void
spr_tls_watch(spr_tls_watcher *watcher)
{
	pthread_mutex_lock(&watchers_mutex);
	watcher->next = watchers;
	watchers = watcher;
	pthread_mutex_unlock(&watchers_mutex);
}

void
spr_tls_unwatch(spr_tls_watcher *watcher)
{
	spr_tls_watcher **at = &watchers;

	pthread_mutex_lock(&watchers_mutex);
	while (*at != NULL && *at != watcher)
		at = &(*at)->next;
	if (*at != NULL)
		*at = watcher->next;
	pthread_mutex_unlock(&watchers_mutex);
}

static void
tell_watchers(void)
{
	pthread_mutex_lock(&watchers_mutex);
	for (spr_tls_watcher *w = watchers; w != NULL; w = w->next)
		w->on_load(w->arg);
	pthread_mutex_unlock(&watchers_mutex);
}

static bool
is_same_text(const char *a, const char *b)
{
	return (a == NULL || b == NULL ? a == b : strcmp(a, b) == 0);
}

spr_err
spr_tls_load(const char *cert, const char *key, const char *ca)
{
	material *self;
	spr_err rv;

	if ((cert == NULL) != (key == NULL))
		return (spr_fail(SPR_E_CONFIG, "tls-cert and tls-key are given together"));
	if (cert == NULL && ca == NULL)
		return (SPR_OK);
	if ((self = spr_mem_zalloc(sizeof(*self))) == NULL)
		return (spr_fail(SPR_E_NOMEM, "certificates: out of memory"));
	if ((rv = read_material(self, cert, key, ca)) != SPR_OK) {
		free_material(self);
		return (rv);
	}
	pthread_mutex_lock(&mutex);
	if (current == NULL || !is_same_text(current->cert, self->cert) ||
	    !is_same_text(current->key, self->key) || !is_same_text(current->ca, self->ca)) {
		self->older = current;
		current = self;
		self = NULL;
		n_loads++;
	}
	pthread_mutex_unlock(&mutex);
	if (self == NULL)
		tell_watchers();
	free_material(self); /* nothing new */
	return (SPR_OK);
}

void
spr_tls_unload(void)
{
	material *next;

	pthread_mutex_lock(&mutex);
	for (; current != NULL; current = next) {
		next = current->older;
		free_material(current);
	}
	pthread_mutex_unlock(&mutex);
}

/* ---- SP sockets ---- */

bool
spr_tls_is_url(const char *url)
{
	return (strncmp(url, "tls+", 4) == 0 || strncmp(url, "wss:", 4) == 0);
}

unsigned
spr_tls_generation(void)
{
	unsigned n;

	pthread_mutex_lock(&mutex);
	n = n_loads;
	pthread_mutex_unlock(&mutex);
	return (n);
}

/* The URL's host, without port and brackets. */
static void
host_of(const char *url, char host[SPR_URL_MAX])
{
	const char *at = strstr(url, "://");
	size_t len;

	at = at != NULL ? at + 3 : url;
	if (*at == '[') {
		at++;
		len = strcspn(at, "]");
	} else {
		len = strcspn(at, ":/");
	}
	snprintf(host, SPR_URL_MAX, "%.*s", (int)len, at);
}

/* The mutex is held. */
static spr_err
fill(nng_tls_config *config, const char *url, bool is_listening)
{
	char host[SPR_URL_MAX];

	if (current == NULL || (is_listening ? current->cert : current->ca) == NULL)
		return (spr_fail(SPR_E_CONFIG, "%s needs %s", url,
				 is_listening ? "--tls-cert and --tls-key" : "--tls-ca"));
	host_of(url, host);
	if (!is_listening && nng_tls_config_server_name(config, host) != 0)
		return (SPR_E_NOMEM);
	return (set_texts(current, config));
}

spr_err
spr_tls_config(nng_tls_config **out, const char *url, bool is_listening, unsigned *generation)
{
	nng_tls_config *config;
	spr_err rv;

	if (nng_tls_config_alloc(&config,
				 is_listening ? NNG_TLS_MODE_SERVER : NNG_TLS_MODE_CLIENT) != 0)
		return (SPR_E_NOMEM);
	pthread_mutex_lock(&mutex);
	if ((rv = fill(config, url, is_listening)) == SPR_OK && generation != NULL)
		*generation = n_loads;
	pthread_mutex_unlock(&mutex);
	if (rv == SPR_OK)
		*out = config;
	else
		nng_tls_config_free(config);
	return (rv);
}

/* NULL: it has what is loaded. */
static spr_err
begin_renewal(nng_tls_config **out, const char *url, bool is_listening, unsigned generation,
	      unsigned *loaded)
{
	*out = NULL;
	if (!spr_tls_is_url(url) || generation == spr_tls_generation())
		return (SPR_OK);
	return (spr_tls_config(out, url, is_listening, loaded));
}

/* The generation is noted when it has been taken: what failed is tried again. */
static spr_err
end_renewal(nng_tls_config *config, const char *url, int nrv, unsigned loaded, unsigned *generation)
{
	nng_tls_config_free(config); /* whoever took it has a reference of its own */
	if (nrv != 0)
		return (spr_fail(spr_err_from_nng(nrv), "%s: %s", url, nng_strerror(nrv)));
	*generation = loaded;
	return (SPR_OK);
}

spr_err
spr_tls_renew_listener(nng_stream_listener *listener, const char *url, unsigned *generation)
{
	nng_tls_config *config;
	unsigned loaded;
	spr_err rv = begin_renewal(&config, url, true, *generation, &loaded);
	int nrv;

	if (rv != SPR_OK || config == NULL)
		return (rv);
	nrv = nng_stream_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, config);
	return (end_renewal(config, url, nrv, loaded, generation));
}

spr_err
spr_tls_renew_dialer(nng_stream_dialer *dialer, const char *url, unsigned *generation)
{
	nng_tls_config *config;
	unsigned loaded;
	spr_err rv = begin_renewal(&config, url, false, *generation, &loaded);
	int nrv;

	if (rv != SPR_OK || config == NULL)
		return (rv);
	nrv = nng_stream_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config);
	return (end_renewal(config, url, nrv, loaded, generation));
}

/* ---- HTTP ---- */

void
spr_tls_texts(const char **cert, const char **key, const char **ca)
{
	pthread_mutex_lock(&mutex);
	*cert = current != NULL ? current->cert : NULL;
	*key = current != NULL ? current->key : NULL;
	*ca = current != NULL ? current->ca : NULL;
	pthread_mutex_unlock(&mutex);
}

/* Should there be no memory for it, the session keeps what its server began with. */
void
spr_tls_secure(void *session)
{
	pthread_mutex_lock(&mutex);
	if (current != NULL && current->cert != NULL) {
		(void)gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, current->credentials);
		if (current->ca != NULL) {
			gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
			gnutls_session_set_verify_cert(session, NULL, 0);
		}
	}
	pthread_mutex_unlock(&mutex);
}
