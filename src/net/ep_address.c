/*
 * ep_address - URLs, addresses, names.
 *
 * getaddrinfo cannot be cancelled and may take half a minute. So a look-up has a thread of its own, which nobody joins: it
 * shares a record with whoever asked, and the last of the two frees it.
 */
#include "net/ep_address.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct spr_ep_lookup {
	/* constant after start */
	spr_ep_address address;
	spr_ep_loop *loop;
	spr_ep_task *task;

	/* guarded by mutex; a task is posted under it */
	pthread_mutex_t mutex;
	bool is_given_up, has_ended;
	struct addrinfo *list;
};

static const struct scheme {
	const char *name;
	int family;
} schemes[] = {
    {"tcp", AF_UNSPEC}, {"tcp4", AF_INET}, {"tcp6", AF_INET6}, {"ipc", AF_UNIX}, {"unix", AF_UNIX}};

static const struct scheme *
scheme_of(const char *url)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t len = strlen(schemes[i].name);

		if (strncmp(url, schemes[i].name, len) == 0 && strncmp(url + len, "://", 3) == 0)
			return (&schemes[i]);
	}
	return (NULL);
}

bool
spr_ep_is_served(const char *url)
{
	return (scheme_of(url) != NULL);
}

/* ":port" or nothing, and a path, which means nothing. */
static const char *
parse_port(spr_ep_address *out, const char *url, const char *text)
{
	char *end;
	unsigned long port = 0;

	out->host_end = (size_t)(text - url);
	if (*text == ':') {
		if (text[1] < '0' || text[1] > '9' ||
		    (port = strtoul(text + 1, &end, 10)) > 65535 || (*end != '\0' && *end != '/'))
			return ("not a port");
	} else if (*text != '\0' && *text != '/') {
		return ("not a port");
	}
	snprintf(out->port, sizeof(out->port), "%lu", port);
	return (NULL);
}

static const char *
parse_host(spr_ep_address *out, const char *url, const char *text)
{
	const char *end;

	if (*text == '[') {
		if ((end = strchr(++text, ']')) == NULL)
			return ("no end of [");
		memcpy(out->host, text, (size_t)(end - text));
		return (parse_port(out, url, end + 1));
	}
	end = text + strcspn(text, ":/");
	if (*text != '*')
		memcpy(out->host, text, (size_t)(end - text));
	return (parse_port(out, url, end));
}

const char *
spr_ep_address_parse(spr_ep_address *out, const char *url)
{
	const struct scheme *scheme = scheme_of(url);
	const char *text = strstr(url, "://");

	*out = (spr_ep_address){0};
	if (scheme == NULL)
		return ("not a tcp://, ipc:// or unix:// address");
	if (strlen(url) >= SPR_URL_MAX)
		return ("too long");
	text += strlen("://");
	out->family = scheme->family;
	strcpy(out->scheme, scheme->name);
	if (scheme->family != AF_UNIX)
		return (parse_host(out, url, text));
	if (text[0] == '\0')
		return ("no path");
	if (strlen(text) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return ("a path of more than 107 bytes");
	strcpy(out->host, text);
	return (NULL);
}

/* One that getaddrinfo could have made. */
static int
resolve_path(const spr_ep_address *address, struct addrinfo **out)
{
	struct addrinfo *info = spr_mem_zalloc(sizeof(*info) + sizeof(struct sockaddr_un));
	struct sockaddr_un *name = (void *)(info + 1);

	if (info == NULL)
		return (EAI_MEMORY);
	name->sun_family = AF_UNIX;
	strcpy(name->sun_path, address->host);
	info->ai_family = AF_UNIX;
	info->ai_addr = (struct sockaddr *)name;
	info->ai_addrlen = sizeof(*name);
	*out = info;
	return (0);
}

int
spr_ep_resolve(const spr_ep_address *address, int flags, struct addrinfo **out)
{
	const struct addrinfo hints = {.ai_family = address->family,
				       .ai_socktype = SOCK_STREAM,
				       .ai_flags = flags | AI_NUMERICSERV};

	if (address->family == AF_UNIX)
		return (resolve_path(address, out));
	return (getaddrinfo(address->host[0] == '\0' ? NULL : address->host, address->port, &hints,
			    out));
}

void
spr_ep_addresses_free(struct addrinfo *list)
{
	if (list != NULL && list->ai_family == AF_UNIX)
		spr_mem_free(list);
	else if (list != NULL)
		freeaddrinfo(list);
}

static void
free_lookup(spr_ep_lookup *self)
{
	pthread_mutex_destroy(&self->mutex);
	spr_mem_free(self);
}

static void *
look_up(void *arg)
{
	spr_ep_lookup *self = arg;
	struct addrinfo *list = NULL;
	bool is_given_up;

	(void)spr_ep_resolve(&self->address, 0, &list);
	pthread_mutex_lock(&self->mutex);
	self->has_ended = true;
	self->list = list;
	if (!(is_given_up = self->is_given_up))
		spr_ep_loop_post(self->loop, self->task);
	pthread_mutex_unlock(&self->mutex);
	if (is_given_up) {
		spr_ep_addresses_free(list);
		free_lookup(self);
	}
	return (NULL);
}

/* Signals are for the main thread. */
static bool
start_thread(spr_ep_lookup *self)
{
	sigset_t all, before;
	pthread_t thread;
	bool is_started;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	is_started = pthread_create(&thread, NULL, look_up, self) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (is_started)
		pthread_detach(thread);
	return (is_started);
}

spr_ep_lookup *
spr_ep_lookup_start(const spr_ep_address *address, spr_ep_loop *loop, spr_ep_task *task)
{
	spr_ep_lookup *self = spr_mem_zalloc(sizeof(*self));

	if (self == NULL)
		return (NULL);
	self->address = *address;
	self->loop = loop;
	self->task = task;
	pthread_mutex_init(&self->mutex, NULL);
	if (!start_thread(self)) {
		free_lookup(self);
		return (NULL);
	}
	return (self);
}

struct addrinfo *
spr_ep_lookup_take(spr_ep_lookup *self)
{
	struct addrinfo *list;

	pthread_mutex_lock(&self->mutex); /* its thread may still be about to leave it */
	list = self->list;
	pthread_mutex_unlock(&self->mutex);
	free_lookup(self);
	return (list);
}

void
spr_ep_lookup_give_up(spr_ep_lookup *self)
{
	bool has_ended;

	if (self == NULL)
		return;
	pthread_mutex_lock(&self->mutex);
	self->is_given_up = true;
	has_ended = self->has_ended;
	pthread_mutex_unlock(&self->mutex);
	if (has_ended) {
		spr_ep_addresses_free(self->list);
		free_lookup(self);
	}
}
