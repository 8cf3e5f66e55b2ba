/*
 * nng_secure - sets the configuration anew on an endpoint that runs.
 *
 * nng exchanges a pointer for that, and gives up its reference to the configuration before. Each connection has one of its
 * own, but an accept that begins reads the pointer first and takes its reference then: so no configuration may go meanwhile,
 * and all of them are kept while the socket is. There are as many as there were certificates.
 *
 * The accept that is out has the configuration of its beginning. It cannot be ended, but it can be used up: a connection of
 * our own, which hangs up, is before whoever connects later.
 */
#include "net/nng_secure.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <nng/supplemental/tls/tls.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/net.h"
#include "net/nng_common.h"
#include "net/tls.h"

#define CONNECT_S 1 /* to ourselves: longer only when the queue of its connections is full */

typedef struct kept kept;
struct kept {
	nng_tls_config *config;
	kept *older;
};

typedef struct endpoint endpoint;
struct endpoint {
	/* constant after it is made */
	nng_socket socket;
	nng_listener listener;
	nng_dialer dialer;
	bool is_listening;
	char url[SPR_URL_MAX];
	spr_tls_watcher watcher;
	endpoint *next;

	kept *configs;
};

static endpoint *endpoints; /* main's */

static spr_err
set_config(endpoint *self)
{
	kept *k = spr_mem_zalloc(sizeof(*k));
	spr_err rv = k == NULL ? SPR_E_NOMEM : SPR_OK;
	int nrv;

	if (rv == SPR_OK)
		rv = spr_tls_config(&k->config, self->url, self->is_listening, NULL);
	if (rv != SPR_OK) {
		spr_mem_free(k);
		return (rv);
	}
	k->older = self->configs;
	self->configs = k;
	nrv = self->is_listening
		  ? nng_listener_set_ptr(self->listener, NNG_OPT_TLS_CONFIG, k->config)
		  : nng_dialer_set_ptr(self->dialer, NNG_OPT_TLS_CONFIG, k->config);
	return (nrv == 0 ? SPR_OK
			 : spr_fail(spr_err_from_nng(nrv), "%s: %s", self->url, nng_strerror(nrv)));
}

static void
use_up_accept(const endpoint *self)
{
	const struct timeval limit = {.tv_sec = CONNECT_S};
	struct sockaddr_storage address;
	nng_sockaddr bound;
	socklen_t len;
	int fd;

	if (nng_listener_get_addr(self->listener, NNG_OPT_LOCADDR, &bound) != 0 ||
	    (len = spr_nng_sockaddr(&bound, &address)) == 0 ||
	    (fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
		return;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	(void)connect(fd, (struct sockaddr *)&address, len);
	close(fd);
}

static void
on_load(void *arg)
{
	endpoint *self = arg;
	char bound[SPR_URL_MAX];
	spr_err rv = set_config(self);
	int port = 0;

	if (self->is_listening)
		(void)nng_listener_get_int(self->listener, NNG_OPT_TCP_BOUND_PORT, &port);
	spr_nng_bound_url(self->url, port, bound);
	if (rv != SPR_OK) {
		spr_error("CERTIFICATE-KEPT", "url=\"%s\" why=\"%s; the one before stays\"", bound,
			  spr_error_text(rv));
		return;
	}
	if (self->is_listening)
		use_up_accept(self);
	spr_info("CERTIFICATE-RENEWED", "url=\"%s\"", bound);
}

static void
free_endpoint(endpoint *self)
{
	kept *k;

	while ((k = self->configs) != NULL) {
		self->configs = k->older;
		nng_tls_config_free(k->config);
		spr_mem_free(k);
	}
	spr_mem_free(self);
}

static spr_err
add(const endpoint *like, const char *url)
{
	endpoint *self;
	spr_err rv;

	if (!spr_tls_is_url(url))
		return (SPR_OK);
	if ((self = spr_mem_alloc(sizeof(*self))) == NULL)
		return (SPR_E_NOMEM);
	*self = *like;
	snprintf(self->url, sizeof(self->url), "%s", url);
	if ((rv = set_config(self)) != SPR_OK) {
		free_endpoint(self);
		return (rv);
	}
	self->watcher = (spr_tls_watcher){.on_load = on_load, .arg = self};
	self->next = endpoints;
	endpoints = self;
	spr_tls_watch(&self->watcher);
	return (SPR_OK);
}

spr_err
spr_nng_secure_listener(nng_socket socket, nng_listener listener, const char *url)
{
	const endpoint like = {.socket = socket, .listener = listener, .is_listening = true};

	return (add(&like, url));
}

spr_err
spr_nng_secure_dialer(nng_socket socket, nng_dialer dialer, const char *url)
{
	const endpoint like = {.socket = socket, .dialer = dialer};

	return (add(&like, url));
}

void
spr_nng_secure_forget(nng_socket socket)
{
	endpoint **at = &endpoints, *self;

	while ((self = *at) != NULL) {
		if (nng_socket_id(self->socket) != nng_socket_id(socket)) {
			at = &self->next;
			continue;
		}
		*at = self->next;
		spr_tls_unwatch(&self->watcher);
		free_endpoint(self);
	}
}
