/*
 * tls - the process's certificate, key and authority: read, checked, and handed to whatever speaks TLS.
 *
 * SP sockets speak it with the library inside nng, HTTP with GnuTLS; both are given the same files, and GnuTLS, which says
 * what is wrong with them, looks at them first. A listener shows the certificate, and with an authority takes no peer
 * without one of it; a dialler takes no server without one, and shows ours when there is one.
 *
 * Writer      main: load, unload
 * Reader      any: everything else; a mutex orders them
 * Ownership   texts and credentials are this module's until unload
 * Ordering    the mutex
 * Progress    files are read by main alone; the rest holds the mutex for as long as it takes to parse a certificate
 * Limits      1 MiB a file
 * Teardown    unload, when nothing speaks TLS any more
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct nng_tls_config;
struct nng_stream_dialer;
struct nng_stream_listener;

/*
 * [main] Each may be NULL; cert and key are given together, or neither. SPR_E_CONFIG with a trail that names the file and the cause: what
 * was loaded before stays. An expired certificate is logged, and loaded: its peers refuse it.
 */
spr_err spr_tls_load(const char *cert, const char *key, const char *ca);
/* [main] */
void spr_tls_unload(void);

/* Told on main, before spr_tls_load() returns, that it has loaded others. Must not block. */
typedef struct spr_tls_watcher spr_tls_watcher;
struct spr_tls_watcher {
	void (*on_load)(void *arg);
	void *arg;
	spr_tls_watcher *next;
};
/* [any] */
void spr_tls_watch(spr_tls_watcher *watcher);
/* [any, holding nothing that on_load takes] When it returns, on_load does not run and never will. One that never watched is fine. */
void spr_tls_unwatch(spr_tls_watcher *watcher);

/* [any] tls+tcp:// and wss:// */
bool spr_tls_is_url(const char *url);
/* [any] Changes with what is loaded; never 0. */
unsigned spr_tls_generation(void);
/*
 * [any] A configuration for this URL, which the caller frees, and its generation (may be NULL). What a dialler expects of the
 * server's certificate is the host of its URL. SPR_E_CONFIG when the files for it are not loaded, SPR_E_NOMEM.
 */
spr_err spr_tls_config(struct nng_tls_config **out, const char *url, bool is_listening,
		       unsigned *generation);
/*
 * [whoever accepts or dials, nothing under way] Gives it what is loaded, if that is not what it has; no TLS URL: nothing to do. 0 is
 * the generation of none. On an error it keeps what it had. For streams; nng's own sockets have net/nng_secure.h.
 */
spr_err
spr_tls_renew_listener(struct nng_stream_listener *listener, const char *url, unsigned *generation);
spr_err
spr_tls_renew_dialer(struct nng_stream_dialer *dialer, const char *url, unsigned *generation);

/* [main] PEM texts for a server of GnuTLS's, valid until the next load; cert is NULL when there is none. */
void spr_tls_texts(const char **cert, const char **key, const char **ca);
/* [any] A session of GnuTLS's that has not begun its handshake: it takes what is loaded now. */
void spr_tls_secure(void *session);
