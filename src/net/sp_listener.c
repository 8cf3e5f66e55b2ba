/*
 * sp_listener - nng's stream listener, with what it does not do itself: lock a path, notice that it is gone, come back.
 */
#include "net/sp_listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/sp_path.h"
#include "net/tls.h"

struct spr_sp_listener {
	nng_stream_listener *stream;
	char url[SPR_URL_MAX]; /* with the address really bound */
	spr_sp_path path;      /* of an ipc address */
	int probe_fd;
	unsigned tls_generation;
};

/* ---- the address ---- */

/* What it accepts has the options of what listens. */
static void
limit_unsent(nng_stream_listener *stream)
{
	nng_sockaddr address;

	if (nng_stream_listener_get_addr(stream, NNG_OPT_LOCADDR, &address) == 0)
		spr_nng_limit_unsent(&address);
}

static spr_err
bind_stream(spr_sp_listener *self, int *port)
{
	spr_err rv;
	int nrv;

	if ((nrv = nng_stream_listener_alloc(&self->stream, self->url)) != 0)
		return (spr_nng_fail_listen(self->url, nrv));
	/* half-open peers are found by the kernel; schemes without tcp refuse the option, which is fine */
	(void)nng_stream_listener_set_bool(self->stream, NNG_OPT_TCP_KEEPALIVE, true);
	self->tls_generation = 0;
	if ((rv = spr_sp_listener_renew(self)) != SPR_OK) {
		nng_stream_listener_free(self->stream);
		self->stream = NULL;
		return (rv);
	}
	if ((nrv = nng_stream_listener_listen(self->stream)) != 0) {
		nng_stream_listener_free(self->stream);
		self->stream = NULL;
		return (spr_nng_fail_listen(self->url, nrv));
	}
	limit_unsent(self->stream);
	if (port != NULL)
		(void)nng_stream_listener_get_int(self->stream, NNG_OPT_TCP_BOUND_PORT, port);
	spr_sp_path_note(&self->path);
	return (SPR_OK);
}

static socklen_t
address_of(const spr_sp_listener *self, struct sockaddr_storage *out)
{
	nng_sockaddr address;

	if (self->stream == NULL ||
	    nng_stream_listener_get_addr(self->stream, NNG_OPT_LOCADDR, &address) != 0)
		return (0);
	return (spr_nng_sockaddr(&address, out));
}

/* It is bound again without a name server, for which everybody who has to do with this socket would wait. */
static void
note_bound(spr_sp_listener *self, const char *bound)
{
	struct sockaddr_storage address = {0};
	socklen_t len = address_of(self, &address);
	bool is_v6 = address.ss_family == AF_INET6;
	char host[64], port[8];

	strcpy(self->url, bound);
	if (len > 0 && (is_v6 || address.ss_family == AF_INET) &&
	    getnameinfo((struct sockaddr *)&address, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		snprintf(self->url, sizeof(self->url), "%.*s%s%s%s:%s",
			 (int)(strstr(bound, "://") + 3 - bound), bound, is_v6 ? "[" : "", host,
			 is_v6 ? "]" : "", port);
}

spr_err
spr_sp_listener_open(spr_sp_listener **out, const char *url, char *bound)
{
	spr_sp_listener *self = spr_mem_zalloc(sizeof(*self));
	spr_err rv;
	int port = 0;

	if (self == NULL)
		return (SPR_E_NOMEM);
	self->probe_fd = -1;
	if ((rv = spr_sp_path_init(&self->path, url)) != SPR_OK)
		goto fail;
	strcpy(self->url, url);
	/* nng would take a file that is no socket for a stale one, and remove it */
	if ((rv = spr_sp_path_lock(&self->path)) != SPR_OK ||
	    (rv = spr_sp_path_check(&self->path)) != SPR_OK ||
	    (rv = bind_stream(self, &port)) != SPR_OK)
		goto fail;
	spr_nng_bound_url(url, port, bound);
	note_bound(self, bound);
	*out = self;
	return (SPR_OK);
fail:
	spr_sp_listener_free(self);
	return (rv);
}

nng_stream_listener *
spr_sp_listener_stream(spr_sp_listener *self)
{
	return (self->stream);
}

/* ---- is it alive? ---- */

bool
spr_sp_listener_is_there(const spr_sp_listener *self)
{
	return (self->stream != NULL && spr_sp_path_is_there(&self->path));
}

static void
end_probe(spr_sp_listener *self)
{
	if (self->probe_fd >= 0)
		close(self->probe_fd);
	self->probe_fd = -1;
}

bool
spr_sp_listener_probe(spr_sp_listener *self)
{
	static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0xFF, 0xFF, 0, 0};
	struct sockaddr_storage address;
	socklen_t len = address_of(self, &address);

	end_probe(self);
	if (len == 0)
		return (true);
	if ((self->probe_fd =
		 socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
		return (true);
	/* EAGAIN: the queue is full; whether anybody takes from it is seen later */
	if (connect(self->probe_fd, (struct sockaddr *)&address, len) != 0 &&
	    errno != EINPROGRESS && errno != EAGAIN)
		return (false);
	/* should the connection not be there yet, it ends without a greeting, which hurts nobody */
	(void)send(self->probe_fd, greeting, sizeof(greeting), MSG_NOSIGNAL | MSG_DONTWAIT);
	return (true);
}

/* ---- anew, and the end ---- */

bool
spr_sp_listener_is_stale(const spr_sp_listener *self)
{
	return (self->stream != NULL && spr_tls_is_url(self->url) &&
		self->tls_generation != spr_tls_generation());
}

spr_err
spr_sp_listener_renew(spr_sp_listener *self)
{
	return (self->stream == NULL
		    ? SPR_OK
		    : spr_tls_renew_listener(self->stream, self->url, &self->tls_generation));
}

static void
unbind(spr_sp_listener *self)
{
	end_probe(self);
	if (self->stream != NULL)
		nng_stream_listener_close(self->stream); /* removes the path */
}

spr_err
spr_sp_listener_reopen(spr_sp_listener *self)
{
	spr_err rv;

	/* nng removes whatever is at the path, when it closes too */
	if ((rv = spr_sp_path_check(&self->path)) != SPR_OK)
		return (rv);
	unbind(self);
	if (self->stream != NULL)
		nng_stream_listener_free(self->stream);
	self->stream = NULL;
	return (bind_stream(self, NULL));
}

void
spr_sp_listener_close(spr_sp_listener *self)
{
	unbind(self);
	spr_sp_path_unlock(&self->path);
}

void
spr_sp_listener_free(spr_sp_listener *self)
{
	if (self == NULL)
		return;
	spr_sp_listener_close(self);
	if (self->stream != NULL)
		nng_stream_listener_free(self->stream);
	spr_mem_free(self);
}
