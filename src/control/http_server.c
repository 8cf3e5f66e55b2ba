/*
 * http_server - libmicrohttpd with its own poll threads, and the three things it lacks: a limit on the whole time of a
 * request (it only knows idleness, which a byte now and then defeats), a way to refuse a body before it was sent, and a
 * stop that waits for answers under way.
 *
 * TLS is the library's, but for the credentials: each session is given those that are loaded when it begins, so nothing is
 * opened anew for another certificate, and the library itself only asks for a client's certificate, it does not insist.
 *
 * Rejected: one thread a connection (thousands of clients are thousands of stacks), and the HTTP server inside nng (no
 * time-outs, no limits, and a URL that ends in an escape writes behind its buffer).
 */
#include "control/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/agent.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/tls.h"

#define MAX_ADDRESSES 8
#define N_THREADS     2
#define HEADERS_MAX   (32 * 1024) /* memory of a connection: request line, headers, answer's head */
#define BACKLOG       1024
#define FIRST_BODY    1024
#define LOOK_EVERY_NS (SPR_NS_PER_S / 4)

/* One TCP connection, for the limit on time. */
typedef struct client {
	struct client *next;
	struct client **link; /* what points at it */
	int fd;
	uint64_t since_ns; /* when its request began: accepted, or the last answer was sent */
} client;

struct spr_http_exchange {
	spr_http_server *server;
	struct MHD_Connection *connection;
	const char *method;
	const char *path;
	char *body;
	size_t body_len;
	size_t body_capacity;
	bool is_asked;    /* on_request was called */
	bool is_deferred; /* suspended until answered */
	bool is_answered;
	spr_http_reply reply;
};

struct spr_http_server {
	/* constant after listen */
	spr_http_config config;
	struct MHD_Daemon *daemon[MAX_ADDRESSES];
	unsigned n_daemons;
	spr_agent limiter;

	/* guards all below; taken by http, by whoever answers, and by main; no other lock of ours is taken under it */
	pthread_mutex_t lock;
	pthread_cond_t nothing_deferred;
	client *clients;
	unsigned n_deferred;
	bool is_stopping;
};

/* ---- exchanges ---- */

const char *
spr_http_method(const spr_http_exchange *exchange)
{
	return (exchange->method);
}

const char *
spr_http_path(const spr_http_exchange *exchange)
{
	return (exchange->path);
}

const char *
spr_http_header_of(const spr_http_exchange *exchange, const char *name)
{
	return (MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name));
}

const char *
spr_http_query(const spr_http_exchange *exchange, const char *name, size_t *len)
{
	const char *value = NULL;

	*len = 0;
	if (MHD_lookup_connection_value_n(exchange->connection, MHD_GET_ARGUMENT_KIND, name,
					  strlen(name), &value, len) != MHD_YES)
		return (NULL);
	return (value != NULL ? value : "");
}

const char *
spr_http_body(const spr_http_exchange *exchange, size_t *len)
{
	*len = exchange->body_len;
	return (exchange->body != NULL ? exchange->body : "");
}

bool
spr_http_defer(spr_http_exchange *exchange)
{
	spr_http_server *server = exchange->server;
	bool is_fine;

	pthread_mutex_lock(&server->lock);
	is_fine = !server->is_stopping && server->n_deferred < server->config.max_deferred;
	server->n_deferred += is_fine;
	pthread_mutex_unlock(&server->lock);
	if (is_fine) {
		exchange->is_deferred = true;
		MHD_suspend_connection(exchange->connection);
	}
	return (is_fine);
}

void
spr_http_answer(spr_http_exchange *exchange, const spr_http_reply *reply)
{
	spr_http_server *server = exchange->server;

	exchange->reply = *reply;
	exchange->is_answered = true;
	if (!exchange->is_deferred)
		return;
	MHD_resume_connection(exchange->connection); /* the exchange may be gone from here on */
	pthread_mutex_lock(&server->lock);
	if (--server->n_deferred == 0)
		pthread_cond_signal(&server->nothing_deferred);
	pthread_mutex_unlock(&server->lock);
}

static void
free_exchange(spr_http_exchange *exchange)
{
	if (exchange->is_answered && !exchange->reply.is_constant)
		free((void *)(uintptr_t)exchange->reply.body); /* it was never sent */
	spr_mem_free(exchange->body);
	spr_mem_free(exchange);
}

/* ---- the library's callbacks ---- */

static void
count_status(unsigned status)
{
	spr_count(status < 400   ? SPR_C_HTTP_OK
		  : status < 500 ? SPR_C_HTTP_REFUSED
				 : SPR_C_HTTP_FAILED);
}

static enum MHD_Result
send_reply(spr_http_exchange *exchange)
{
	spr_http_reply *reply = &exchange->reply;
	enum MHD_Result result;
	struct MHD_Response *response = MHD_create_response_from_buffer(
	    reply->len, (void *)(uintptr_t)reply->body,
	    reply->is_constant ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);

	if (response == NULL)
		return (MHD_NO);
	reply->is_constant = true; /* the response has it now */
	MHD_add_response_header(response, "Content-Type", reply->type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	for (const spr_http_header *h = reply->headers; h != NULL && h->name != NULL; h++)
		MHD_add_response_header(response, h->name, h->value);
	count_status(reply->status);
	result = MHD_queue_response(exchange->connection, reply->status, response);
	MHD_destroy_response(response);
	return (result);
}

/* Before anything of the body was read: the answer goes out and the connection is closed. */
static enum MHD_Result
refuse_body(spr_http_exchange *exchange)
{
	static const char text[] = "{\"ok\":false,\"error\":{\"code\":\"too_large\",\"detail\":"
				   "\"the body is too large\"}}\n";

	exchange->reply = (spr_http_reply){.status = 413,
					   .type = "application/json",
					   .body = text,
					   .len = sizeof(text) - 1,
					   .is_constant = true};
	exchange->is_asked = exchange->is_answered = true;
	return (send_reply(exchange));
}

static enum MHD_Result
begin(spr_http_server *server, struct MHD_Connection *connection, const char *path,
      const char *method, void **state)
{
	spr_http_exchange *exchange = spr_mem_zalloc(sizeof(*exchange));
	const char *length;

	if (exchange == NULL)
		return (MHD_NO);
	exchange->server = server;
	exchange->connection = connection;
	exchange->path = path;
	exchange->method = method;
	*state = exchange;
	length = spr_http_header_of(exchange, "Content-Length");
	if (length != NULL && strtoull(length, NULL, 10) > server->config.max_body)
		return (refuse_body(exchange));
	return (MHD_YES);
}

/* A body without a length that turns out too long: nothing can be answered in the middle of it. */
static enum MHD_Result
take_body(spr_http_exchange *exchange, const char *data, size_t *len)
{
	size_t needed = exchange->body_len + *len;
	size_t capacity = exchange->body_capacity > 0 ? exchange->body_capacity : FIRST_BODY;
	char *grown;

	if (needed > exchange->server->config.max_body)
		return (MHD_NO);
	while (capacity < needed)
		capacity *= 2;
	if (capacity > exchange->body_capacity) {
		if ((grown = spr_mem_realloc(exchange->body, capacity)) == NULL)
			return (MHD_NO);
		exchange->body = grown;
		exchange->body_capacity = capacity;
	}
	memcpy(exchange->body + exchange->body_len, data, *len);
	exchange->body_len = needed;
	*len = 0;
	return (MHD_YES);
}

/* [http] Called for the headers, each piece of the body, its end, and once more when what was suspended goes on. */
static enum MHD_Result
on_access(void *arg, struct MHD_Connection *connection, const char *path, const char *method,
	  const char *version, const char *data, size_t *len, void **state)
{
	spr_http_server *server = arg;
	spr_http_exchange *exchange = *state;

	(void)version;
	spr_role_set(SPR_ROLE_HTTP);
	if (exchange == NULL)
		return (begin(server, connection, path, method, state));
	if (*len > 0)
		return (exchange->is_asked ? MHD_NO : take_body(exchange, data, len));
	if (!exchange->is_asked) {
		exchange->is_asked = true;
		server->config.on_request(server->config.arg, exchange);
		/* not looked into any more once it is deferred: the answer may be under way, and frees it */
		if (exchange->is_deferred)
			return (MHD_YES);
	}
	return (exchange->is_answered ? send_reply(exchange) : MHD_NO);
}

/* [http] The exchange is over, however it ended. */
static void
on_completed(void *arg, struct MHD_Connection *connection, void **state,
	     enum MHD_RequestTerminationCode how)
{
	spr_http_server *server = arg;
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	client *c = info != NULL ? info->socket_context : NULL;

	(void)how;
	if (*state != NULL)
		free_exchange(*state);
	*state = NULL;
	if (c == NULL)
		return;
	pthread_mutex_lock(&server->lock);
	c->since_ns = spr_clock_now_ns();
	pthread_mutex_unlock(&server->lock);
}

static void
add_client(spr_http_server *server, client *c)
{
	pthread_mutex_lock(&server->lock);
	c->next = server->clients;
	c->link = &server->clients;
	if (c->next != NULL)
		c->next->link = &c->next;
	server->clients = c;
	pthread_mutex_unlock(&server->lock);
	spr_agent_wake(&server->limiter);
}

static void
remove_client(spr_http_server *server, client *c)
{
	pthread_mutex_lock(&server->lock);
	*c->link = c->next;
	if (c->next != NULL)
		c->next->link = c->link;
	pthread_mutex_unlock(&server->lock);
	spr_mem_free(c);
}

/* [http] A connection came, or is about to be closed: its descriptor is still its own then. */
static void
on_connection(void *arg, struct MHD_Connection *connection, void **context,
	      enum MHD_ConnectionNotificationCode what)
{
	spr_http_server *server = arg;
	const union MHD_ConnectionInfo *info;
	client *c = *context;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		spr_count(SPR_C_HTTP_CONNECTIONS_REMOVED);
		if (c != NULL)
			remove_client(server, c);
		*context = NULL;
		return;
	}
	spr_role_set(SPR_ROLE_HTTP);
	spr_count(SPR_C_HTTP_CONNECTIONS_ADDED);
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	if (info != NULL && info->tls_session != NULL)
		spr_tls_secure(info->tls_session);
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (info == NULL || (c = spr_mem_zalloc(sizeof(*c))) == NULL)
		return; /* without the limit on time, still with that on idleness */
	c->fd = info->connect_fd;
	c->since_ns = spr_clock_now_ns();
	*context = c;
	add_client(server, c);
}

static void __attribute__((format(printf, 2, 0)))
on_library_error(void *arg, const char *format, va_list args)
{
	char text[256];

	(void)arg;
	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	spr_debug("HTTP-LIBRARY", "why=\"%s\"", text);
}

/* ---- the limit on time ---- */

/* A connection that is shut down gives its thread an end of file or an error; the rest is as for any that went away. */
static unsigned
limit_requests(void *state)
{
	spr_http_server *server = state;
	uint64_t now_ns = spr_clock_now_ns();
	uint64_t limit_ns = server->config.request_ms * SPR_NS_PER_MS;

	pthread_mutex_lock(&server->lock);
	if (server->clients != NULL)
		server->limiter.wake_at_ns = now_ns + LOOK_EVERY_NS;
	for (client *c = server->clients; c != NULL; c = c->next) {
		if (now_ns < c->since_ns + limit_ns)
			continue;
		c->since_ns = now_ns;
		spr_count(SPR_C_HTTP_CUT);
		(void)shutdown(c->fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&server->lock);
	return (0);
}

/* ---- listening ---- */

static spr_err
split(const char *address, char *host, size_t host_size, const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t len = colon != NULL ? (size_t)(colon - address) : 0;
	bool is_bracketed = len > 2 && address[0] == '[' && address[len - 1] == ']';

	if (is_bracketed) {
		address++;
		len -= 2;
	}
	*port = "";
	if (colon == NULL || colon[1] == '\0' || len >= host_size ||
	    (!is_bracketed && memchr(address, ':', len) != NULL))
		return (spr_fail(SPR_E_ADDRESS, "%s is no HOST:PORT", address));
	memcpy(host, address, len);
	host[len] = '\0';
	*port = colon + 1;
	return (SPR_OK);
}

static int
bind_one(const struct addrinfo *to)
{
	int fd =
	    socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to->ai_protocol);
	int on = 1;

	if (fd < 0)
		return (-1);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (to->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, to->ai_addr, to->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return (-1);
	}
	return (fd);
}

static spr_err
bind_address(const char *address, int *fd)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	char host[SPR_HTTP_ADDRESS_MAX] = "";
	const char *port = NULL;
	spr_err rv = split(address, host, sizeof(host), &port);
	int error;

	if (rv != SPR_OK)
		return (rv);
	if ((error = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &found)) != 0)
		return (spr_fail(SPR_E_ADDRESS, "%s: %s", address, gai_strerror(error)));
	if ((*fd = bind_one(found)) < 0)
		rv = spr_fail(SPR_E_ADDRESS, "%s: %s", address, strerror(errno));
	freeaddrinfo(found);
	return (rv);
}

static void
print_bound(int fd, bool is_secure, char *bound)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	const char *scheme = is_secure ? "https" : "http";
	char host[INET6_ADDRSTRLEN] = "?", port[8] = "0";

	if (getsockname(fd, (struct sockaddr *)&name, &len) == 0)
		(void)getnameinfo((struct sockaddr *)&name, len, host, sizeof(host), port,
				  sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	if (strchr(host, ':') != NULL)
		snprintf(bound, SPR_HTTP_ADDRESS_MAX, "%s://[%s]:%s", scheme, host, port);
	else
		snprintf(bound, SPR_HTTP_ADDRESS_MAX, "%s://%s:%s", scheme, host, port);
}

/* With these in front of the other options it speaks https; without a certificate the list is empty. */
static bool
tls_options(struct MHD_OptionItem options[5])
{
	const char *cert, *key, *ca;
	unsigned n = 0;

	spr_tls_texts(&cert, &key, &ca);
	if (cert != NULL) {
		options[n++] =
		    (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)cert};
		options[n++] =
		    (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)key};
		options[n++] = (struct MHD_OptionItem){
		    MHD_OPTION_HTTPS_PRIORITIES, 0,
		    (void *)(uintptr_t) "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"};
		if (ca != NULL)
			options[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0,
							       (void *)(uintptr_t)ca};
	}
	options[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
	return (cert != NULL);
}

static struct MHD_Daemon *
start_library(spr_http_server *server, int fd, bool *is_secure)
{
	const spr_http_config *config = &server->config;
	struct MHD_OptionItem tls[5];

	*is_secure = tls_options(tls);
	return (MHD_start_daemon(
	    MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME |
		MHD_USE_ERROR_LOG | (*is_secure ? MHD_USE_TLS : 0),
	    0, NULL, NULL, on_access, server, MHD_OPTION_EXTERNAL_LOGGER, on_library_error, NULL,
	    MHD_OPTION_ARRAY, tls, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_POOL_SIZE,
	    (unsigned)N_THREADS, MHD_OPTION_CONNECTION_LIMIT, config->max_connections,
	    MHD_OPTION_PER_IP_CONNECTION_LIMIT, config->max_per_address,
	    MHD_OPTION_CONNECTION_TIMEOUT, config->idle_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
	    (size_t)HEADERS_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED,
	    on_completed, server, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
	    MHD_OPTION_END));
}

spr_err
spr_http_server_listen(spr_http_server *server, const char *address, char *bound)
{
	struct MHD_Daemon *daemon;
	bool is_secure;
	spr_err rv;
	int fd = -1;

	if (server->n_daemons == MAX_ADDRESSES)
		return (
		    spr_fail(SPR_E_TOO_MANY, "%s: at most %d addresses", address, MAX_ADDRESSES));
	if ((rv = bind_address(address, &fd)) != SPR_OK)
		return (rv);
	if ((daemon = start_library(server, fd, &is_secure)) == NULL) {
		close(fd);
		return (spr_fail(SPR_E_SYSTEM, "%s: libmicrohttpd does not start", address));
	}
	print_bound(fd, is_secure, bound);
	server->daemon[server->n_daemons++] = daemon;
	return (SPR_OK);
}

spr_err
spr_http_server_new(spr_http_server **out, const spr_http_config *config)
{
	spr_http_server *server = spr_mem_zalloc_aligned(sizeof(*server));
	spr_err rv;

	if (server == NULL)
		return (spr_fail(SPR_E_NOMEM, "out of memory"));
	server->config = *config;
	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->nothing_deferred, NULL);
	server->limiter = (spr_agent){.name = "http-limit",
				      .role = SPR_ROLE_HTTP,
				      .do_work = limit_requests,
				      .state = server};
	spr_agent_init(&server->limiter);
	if ((rv = spr_agent_start(&server->limiter)) != SPR_OK) {
		spr_http_server_free(server);
		return (rv);
	}
	*out = server;
	return (SPR_OK);
}

void
spr_http_server_stop(spr_http_server *server)
{
	if (server == NULL)
		return;
	pthread_mutex_lock(&server->lock);
	server->is_stopping = true;
	while (server->n_deferred >
	       0) /* the library must not be stopped with a suspended connection */
		pthread_cond_wait(&server->nothing_deferred, &server->lock);
	pthread_mutex_unlock(&server->lock);
	for (unsigned i = 0; i < server->n_daemons; i++)
		MHD_stop_daemon(server->daemon[i]); /* closes the listening socket too */
	server->n_daemons = 0;
	spr_agent_stop(&server->limiter);
}

void
spr_http_server_free(spr_http_server *server)
{
	if (server == NULL)
		return;
	spr_agent_stop(&server->limiter);
	pthread_cond_destroy(&server->nothing_deferred);
	pthread_mutex_destroy(&server->lock);
	spr_mem_free(server);
}
