/*
 * bench_link - plain sockets. Descriptors are non-blocking; a frame is written where it will be sent from and read where it
 * was received.
 */
#include "bench_link.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define READ_BYTES   (128u << 10) /* what a read may take: within the second-level cache */
#define HANDSHAKE_NS (10 * SPR_NS_PER_S)
#define RETRY_NS     (10 * SPR_NS_PER_MS)

/* --- addresses ------------------------------------------------------------------------------------ */

typedef struct address {
	struct sockaddr_storage at;
	socklen_t len;
} address;

static spr_err
parse_local(address *out, const char *path, const char *url)
{
	struct sockaddr_un *local = (struct sockaddr_un *)&out->at;

	local->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(local->sun_path))
		return (spr_fail(SPR_E_ADDRESS, "%s: the path is too long", url));
	strcpy(local->sun_path, path);
	out->len = sizeof(*local);
	return (SPR_OK);
}

static spr_err
parse_tcp(address *out, const char *text, const char *url)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
	char host[BENCH_URL_MAX];
	const char *port = strrchr(text, ':');
	size_t len = port != NULL ? (size_t)(port - text) : 0;
	int failed;

	if (port == NULL || len == 0 || len >= sizeof(host))
		return (spr_fail(SPR_E_ADDRESS, "%s: not tcp://HOST:PORT", url));
	if (text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	snprintf(host, sizeof(host), "%.*s", (int)len, text);
	if ((failed = getaddrinfo(host, port + 1, &hints, &found)) != 0)
		return (spr_fail(SPR_E_ADDRESS, "%s: %s", url, gai_strerror(failed)));
	memcpy(&out->at, found->ai_addr, found->ai_addrlen);
	out->len = found->ai_addrlen;
	freeaddrinfo(found);
	return (SPR_OK);
}

static spr_err
parse(address *out, const char *url)
{
	memset(out, 0, sizeof(*out));
	if (strncmp(url, "tcp://", 6) == 0)
		return (parse_tcp(out, url + 6, url));
	if (strncmp(url, "ipc://", 6) == 0)
		return (parse_local(out, url + 6, url));
	return (spr_fail(SPR_E_ADDRESS, "%s: not tcp:// and not ipc://", url));
}

/* --- connections ---------------------------------------------------------------------------------- */

bool
bench_link_wait(bench_link *link, bool is_write, uint64_t ns)
{
	struct pollfd waiter = {.fd = link->fd, .events = is_write ? POLLOUT : POLLIN};
	struct timespec left = {.tv_sec = (time_t)(ns / SPR_NS_PER_S),
				.tv_nsec = (long)(ns % SPR_NS_PER_S)};

	return (ppoll(&waiter, 1, &left, NULL) == 1);
}

static bool
shake_hands(bench_link *link, bench_protocol mine)
{
	char hello[8] = {0, 'S', 'P', 0, 0, (char)mine, 0, 0}, theirs[8];
	uint64_t end_ns = spr_clock_now_ns() + HANDSHAKE_NS;
	size_t have = 0;

	if (send(link->fd, hello, sizeof(hello), MSG_NOSIGNAL) != (ssize_t)sizeof(hello))
		return (false);
	while (have < sizeof(theirs)) {
		ssize_t n = recv(link->fd, theirs + have, sizeof(theirs) - have, 0);
		uint64_t now_ns = spr_clock_now_ns();

		if (n > 0)
			have += (size_t)n;
		else if (n == 0 || (errno != EAGAIN && errno != EINTR) || now_ns >= end_ns)
			return (false);
		else
			bench_link_wait(link, false, end_ns - now_ns);
	}
	hello[5] = (char)(mine ^ 1); /* protocols come in pairs */
	return (memcmp(theirs, hello, sizeof(theirs)) == 0);
}

static bool
begin(bench_link *link, int fd, bool is_local, bench_protocol mine)
{
	int on = 1;

	*link = (bench_link){.fd = fd, .is_local = is_local};
	if (!is_local)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (shake_hands(link, mine))
		return (true);
	bench_link_close(link);
	return (false);
}

static bool
dial_once(bench_link *link, const address *to, bench_protocol mine)
{
	int fd = socket(to->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return (false);
	if (connect(fd, (const struct sockaddr *)&to->at, to->len) != 0) {
		close(fd);
		return (false);
	}
	return (begin(link, fd, to->at.ss_family == AF_UNIX, mine));
}

spr_err
bench_link_dial(bench_link *link, const char *url, bench_protocol mine, uint64_t patience_ns)
{
	static const struct timespec retry = {.tv_nsec = RETRY_NS};
	uint64_t end_ns = spr_clock_now_ns() + patience_ns;
	address to;
	spr_err rv = parse(&to, url);

	*link = BENCH_LINK_CLOSED;
	if (rv != SPR_OK)
		return (rv);
	while (!dial_once(link, &to, mine)) {
		if (spr_clock_now_ns() >= end_ns)
			return (spr_fail(SPR_E_ADDRESS,
					 "%s: nobody is there who speaks its protocol; start one "
					 "there, give another address, or --daemon FILE",
					 url));
		nanosleep(&retry, NULL);
	}
	return (SPR_OK);
}

static void
write_url(char *bound, const char *url, int fd)
{
	struct sockaddr_in6 at = {0}; /* the port is at the same place in both kinds */
	socklen_t len = sizeof(at);

	snprintf(bound, BENCH_URL_MAX, "%s", url);
	if (getsockname(fd, (struct sockaddr *)&at, &len) != 0 || at.sin6_family == AF_UNIX)
		return;
	snprintf(bound, BENCH_URL_MAX, "%.*s:%u", (int)(strrchr(url, ':') - url), url,
		 ntohs(at.sin6_port));
}

spr_err
bench_listen(int *fd, const char *url, char *bound)
{
	address at;
	int on = 1;
	spr_err rv = parse(&at, url);

	if (rv != SPR_OK)
		return (rv);
	*fd = socket(at.at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (at.at.ss_family != AF_UNIX)
		setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (*fd < 0 || bind(*fd, (struct sockaddr *)&at.at, at.len) != 0 || listen(*fd, 64) != 0) {
		rv = spr_fail(SPR_E_ADDRESS, "%s: %s", url, strerror(errno));
		if (*fd >= 0)
			close(*fd);
		*fd = -1;
		return (rv);
	}
	write_url(bound, url, *fd);
	return (SPR_OK);
}

spr_err
bench_link_accept(bench_link *link, int listener, bench_protocol mine)
{
	struct sockaddr_storage from = {0};
	socklen_t len = sizeof(from);
	int fd = accept4(listener, (struct sockaddr *)&from, &len, SOCK_CLOEXEC);

	*link = BENCH_LINK_CLOSED;
	if (fd < 0)
		return (SPR_E_EMPTY);
	return (begin(link, fd, from.ss_family == AF_UNIX, mine) ? SPR_OK : SPR_E_PEER);
}

void
bench_link_close(bench_link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	spr_mem_free(link->in.bytes);
	spr_mem_free(link->out.bytes);
	*link = BENCH_LINK_CLOSED;
}

/* --- frames --------------------------------------------------------------------------------------- */

/* At least `need` free bytes behind the end: what is there moves to the front first. */
static bool
make_room(bench_buffer *b, size_t need)
{
	size_t have = b->end - b->start, size = b->size;
	char *bytes;

	if (have == 0)
		b->start = b->end = 0;
	if (b->size - b->end >= need)
		return (true);
	if (b->start > 0) {
		memmove(b->bytes, b->bytes + b->start, have);
		b->start = 0;
		b->end = have;
	}
	if (b->size - b->end >= need)
		return (true);
	while (size < have + need)
		size = size == 0 ? READ_BYTES : 2 * size;
	if ((bytes = spr_mem_realloc(b->bytes, size)) == NULL)
		return (false);
	b->bytes = bytes;
	b->size = size;
	return (true);
}

static size_t
head_bytes(const bench_link *link)
{
	return (link->is_local ? 9 : 8);
}

static uint64_t
body_len(const bench_link *link)
{
	uint64_t len;

	memcpy(&len, link->in.bytes + link->in.start + head_bytes(link) - 8, 8);
	return (be64toh(len));
}

/* How much room the next read wants: the rest of a long frame, or a fair piece. */
static size_t
wanted_bytes(const bench_link *link)
{
	size_t have = link->in.end - link->in.start, need = head_bytes(link);

	if (have >= need)
		need += body_len(link);
	return (need > have && need - have > READ_BYTES / 2 ? need - have : READ_BYTES / 2);
}

bench_io
bench_link_read(bench_link *link)
{
	bench_buffer *in = &link->in;
	size_t wanted = wanted_bytes(link);
	ssize_t n;

	if (wanted > BENCH_FRAME_MAX || !make_room(in, wanted))
		return (BENCH_IO_GONE);
	n = recv(link->fd, in->bytes + in->end, in->size - in->end, 0);
	if (n > 0) {
		in->end += (size_t)n;
		return (BENCH_IO_DONE);
	}
	return (n < 0 && (errno == EAGAIN || errno == EINTR) ? BENCH_IO_AGAIN : BENCH_IO_GONE);
}

bool
bench_link_next(bench_link *link, char **data, size_t *len)
{
	size_t have = link->in.end - link->in.start, head = head_bytes(link);

	if (have < head || have - head < body_len(link))
		return (false);
	*len = body_len(link);
	*data = link->in.bytes + link->in.start + head;
	link->in.start += head + *len;
	return (true);
}

char *
bench_link_room(bench_link *link, size_t max)
{
	size_t head = head_bytes(link);

	return (make_room(&link->out, head + max) ? link->out.bytes + link->out.end + head : NULL);
}

void
bench_link_put(bench_link *link, size_t len)
{
	size_t head = head_bytes(link);
	uint64_t length = htobe64(len);
	char *at = link->out.bytes + link->out.end;

	at[0] = 1;
	memcpy(at + head - 8, &length, 8);
	link->out.end += head + len;
}

bench_io
bench_link_flush(bench_link *link)
{
	bench_buffer *out = &link->out;

	while (out->start < out->end) {
		ssize_t n =
		    send(link->fd, out->bytes + out->start, out->end - out->start, MSG_NOSIGNAL);

		if (n >= 0)
			out->start += (size_t)n;
		else if (errno != EINTR)
			return (errno == EAGAIN ? BENCH_IO_AGAIN : BENCH_IO_GONE);
	}
	return (BENCH_IO_DONE);
}
