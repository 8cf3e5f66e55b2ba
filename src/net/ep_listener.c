/*
 * ep_listener - socket, bind, listen.
 *
 * A path on which nobody answers, and that nobody has locked, is what a killed process left: it is replaced.
 */
#include "net/ep_listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* As getaddrinfo would say it. */
static struct addrinfo
info_of(spr_ep_listener *self)
{
	return ((struct addrinfo){.ai_family = self->name.ss_family,
				  .ai_addr = (struct sockaddr *)&self->name,
				  .ai_addrlen = self->name_len});
}

static int
new_socket(int family)
{
	return (socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

static bool
is_stale(const struct addrinfo *info)
{
	int fd = new_socket(info->ai_family);
	bool is_refused;

	if (fd < 0)
		return (false);
	is_refused = connect(fd, info->ai_addr, info->ai_addrlen) != 0 && errno == ECONNREFUSED;
	close(fd);
	return (is_refused);
}

static bool
bind_socket(const spr_ep_listener *self, int fd, const struct addrinfo *info)
{
	const int on = 1;

	if (info->ai_family != AF_UNIX)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, info->ai_addr, info->ai_addrlen) == 0)
		return (true);
	if (errno != EADDRINUSE || info->ai_family != AF_UNIX)
		return (false);
	if (!is_stale(info) || unlink(self->path.path) != 0) {
		errno = EADDRINUSE;
		return (false);
	}
	return (bind(fd, info->ai_addr, info->ai_addrlen) == 0);
}

/* Or an errno. */
static int
listen_at(spr_ep_listener *self, const struct addrinfo *info)
{
	int cause;

	if ((self->fd = new_socket(info->ai_family)) < 0)
		return (errno);
	if (bind_socket(self, self->fd, info) && listen(self->fd, SOMAXCONN) == 0)
		return (0);
	cause = errno;
	close(self->fd);
	self->fd = -1;
	return (cause);
}

static spr_err
fail(const char *url, const char *why, const char *hint)
{
	return (spr_fail(SPR_E_ADDRESS, "listen on %s: %s; %s", url, why, hint));
}

static spr_err
bind_url(spr_ep_listener *self)
{
	struct addrinfo *list = NULL, known = info_of(self);
	int cause;
	spr_err rv;

	if ((rv = spr_sp_path_check(&self->path)) != SPR_OK)
		return (rv);
	if (self->name_len == 0 && (cause = spr_ep_resolve(&self->address, AI_PASSIVE, &list)) != 0)
		return (fail(self->path.url, gai_strerror(cause), "check the URL"));
	cause = listen_at(self, list != NULL ? list : &known);
	spr_ep_addresses_free(list);
	if (cause != 0)
		return (
		    fail(self->path.url, strerror(cause),
			 cause == EADDRINUSE ? "is another process using it?" : "check the URL"));
	spr_sp_path_note(&self->path);
	return (SPR_OK);
}

static void
note_bound(spr_ep_listener *self)
{
	/* both kinds have the port at the same place */
	const struct sockaddr_in6 *name = (const void *)&self->name;
	socklen_t len = sizeof(self->name);

	if (getsockname(self->fd, (struct sockaddr *)&self->name, &len) == 0)
		self->name_len = len;
	if (self->address.family == AF_UNIX)
		strcpy(self->bound, self->path.url);
	else
		snprintf(self->bound, sizeof(self->bound), "%.*s:%u", (int)self->address.host_end,
			 self->path.url, ntohs(name->sin6_port));
}

spr_err
spr_ep_listener_open(spr_ep_listener *self, const char *url)
{
	const char *why;
	spr_err rv;

	*self = (spr_ep_listener){.fd = -1};
	if ((rv = spr_sp_path_init(&self->path, url)) != SPR_OK)
		return (rv);
	if ((why = spr_ep_address_parse(&self->address, url)) != NULL)
		return (fail(url, why, "check the URL"));
	if ((rv = spr_sp_path_lock(&self->path)) != SPR_OK)
		return (rv);
	if ((rv = bind_url(self)) != SPR_OK) {
		spr_sp_path_unlock(&self->path);
		return (rv);
	}
	note_bound(self);
	return (SPR_OK);
}

bool
spr_ep_listener_is_there(const spr_ep_listener *self)
{
	return (self->fd >= 0 && spr_sp_path_is_there(&self->path));
}

static void
unbind(spr_ep_listener *self)
{
	if (self->fd < 0)
		return;
	if (self->address.family == AF_UNIX && spr_sp_path_is_there(&self->path))
		(void)unlink(self->path.path);
	close(self->fd);
	self->fd = -1;
}

spr_err
spr_ep_listener_reopen(spr_ep_listener *self)
{
	unbind(self);
	return (bind_url(self));
}

void
spr_ep_listener_close(spr_ep_listener *self)
{
	unbind(self);
	spr_sp_path_unlock(&self->path);
}
