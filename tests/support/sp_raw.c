/*
 * sp_raw - the SP wire protocol over a plain socket. Descriptors are non-blocking; every wait is a
 * poll() to a deadline.
 */
#include "sp_raw.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proc.h"

#define HANDSHAKE_MS 10000

/* Waits for events until the deadline (on the clock of spr_test_now_ms); false when it passed. */
static bool
wait_for(int fd, short events, long deadline)
{
	struct pollfd waiter = {.fd = fd, .events = events};
	long left = deadline - spr_test_now_ms();

	return (poll(&waiter, 1, left > 0 ? (int)left : 0) == 1);
}

static bool
parse_tcp(const char *url, struct sockaddr_in *address)
{
	char host[32];
	int port = -1;

	if (sscanf(url, "tcp://%31[0-9.]:%d", host, &port) != 2)
		return (false);
	*address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	return (inet_pton(AF_INET, host, &address->sin_addr) == 1);
}

static int
connect_url(const char *url, bool *is_ipc)
{
	struct sockaddr_in inet;
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	int fd = -1;
	int result;

	*is_ipc = strncmp(url, "ipc://", 6) == 0;
	if (*is_ipc) {
		snprintf(local.sun_path, sizeof(local.sun_path), "%s", url + 6);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		result = connect(fd, (struct sockaddr *)&local, sizeof(local));
	} else {
		if (!parse_tcp(url, &inet))
			return (-1);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		result = connect(fd, (struct sockaddr *)&inet, sizeof(inet));
	}
	if (result != 0) {
		close(fd);
		return (-1);
	}
	return (fd);
}

static spr_sp_result
recv_exact(int fd, uint8_t *out, size_t len, int ms)
{
	long deadline = spr_test_now_ms() + ms;

	while (len > 0) {
		ssize_t n = recv(fd, out, len, 0);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return (SPR_SP_GONE);
		if (n < 0) {
			if (!wait_for(fd, POLLIN, deadline))
				return (SPR_SP_TIMEOUT);
			continue;
		}
		out += n;
		len -= (size_t)n;
	}
	return (SPR_SP_OK);
}

static bool
shake_hands(spr_sp *sp, spr_sp_protocol mine)
{
	uint8_t greeting[8] = {0, 'S', 'P', 0, 0, (uint8_t)mine, 0, 0};
	uint8_t theirs[8];
	uint8_t peer = (uint8_t)(mine ^ 1); /* protocols come in pairs */

	if (spr_sp_send_bytes(sp, greeting, sizeof(greeting), HANDSHAKE_MS) != SPR_SP_OK ||
	    recv_exact(sp->fd, theirs, sizeof(theirs), HANDSHAKE_MS) != SPR_SP_OK)
		return (false);
	greeting[5] = peer;
	return (memcmp(theirs, greeting, sizeof(theirs)) == 0);
}

static bool
begin(spr_sp *sp, int fd, bool is_ipc, spr_sp_protocol mine)
{
	int on = 1;

	*sp = (spr_sp){.fd = fd, .is_ipc = is_ipc};
	if (!is_ipc)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (shake_hands(sp, mine))
		return (true);
	spr_sp_close(sp);
	return (false);
}

bool
spr_sp_dial(spr_sp *sp, const char *url, spr_sp_protocol mine)
{
	bool is_ipc;
	int fd = connect_url(url, &is_ipc);

	*sp = SPR_SP_CLOSED;
	return (fd >= 0 && begin(sp, fd, is_ipc, mine));
}

bool
spr_sp_adopt(spr_sp *sp, int fd, spr_sp_protocol mine)
{
	return (begin(sp, fd, false, mine));
}

/* Bound with SO_REUSEADDR: the kernel lets one listen where others of that kind are only bound. */
static int
bind_url(const char *url, char *bound)
{
	struct sockaddr_in address;
	socklen_t len = sizeof(address);
	int fd = -1;
	int on = 1;

	if (!parse_tcp(url, &address))
		return (-1);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
		close(fd);
		return (-1);
	}
	sprintf(bound, "tcp://127.0.0.1:%u", ntohs(address.sin_port));
	return (fd);
}

int
spr_sp_reserve(char *bound)
{
	return (bind_url("tcp://127.0.0.1:0", bound));
}

int
spr_sp_listen(const char *url, char *bound)
{
	int fd = bind_url(url, bound);

	if (fd >= 0 && listen(fd, 64) != 0) {
		close(fd);
		return (-1);
	}
	return (fd);
}

void
spr_sp_close(spr_sp *sp)
{
	if (sp->fd >= 0)
		close(sp->fd);
	free(sp->buffer);
	*sp = SPR_SP_CLOSED;
}

spr_sp_result
spr_sp_send_bytes(spr_sp *sp, const void *bytes, size_t len, int ms)
{
	const uint8_t *at = bytes;
	long deadline = spr_test_now_ms() + ms;

	while (len > 0) {
		ssize_t n = send(sp->fd, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return (SPR_SP_GONE);
		if (n < 0) {
			if (!wait_for(sp->fd, POLLOUT, deadline))
				return (SPR_SP_TIMEOUT);
			continue;
		}
		at += n;
		len -= (size_t)n;
	}
	return (SPR_SP_OK);
}

spr_sp_result
spr_sp_send(spr_sp *sp, const void *head, size_t head_len, const void *body, size_t body_len,
	    int ms)
{
	size_t frame = sp->is_ipc ? 9 : 8;
	uint64_t len = htobe64(head_len + body_len);
	uint8_t *bytes = malloc(frame + head_len + body_len);
	spr_sp_result result;

	if (bytes == NULL)
		abort();
	bytes[0] = 1;
	memcpy(bytes + frame - 8, &len, 8);
	if (head_len > 0)
		memcpy(bytes + frame, head, head_len);
	if (body_len > 0)
		memcpy(bytes + frame + head_len, body, body_len);
	result = spr_sp_send_bytes(sp, bytes, frame + head_len + body_len, ms);
	free(bytes);
	return (result);
}

/* Makes room behind the buffered bytes for a message of `need` bytes in all. */
static void
make_room(spr_sp *sp, size_t need)
{
	if (sp->start > 0) {
		memmove(sp->buffer, sp->buffer + sp->start, sp->end - sp->start);
		sp->end -= sp->start;
		sp->start = 0;
	}
	if (need < 65536)
		need = 65536;
	if (sp->size < need) {
		sp->buffer = realloc(sp->buffer, need);
		if (sp->buffer == NULL)
			abort();
		sp->size = need;
	}
}

spr_sp_result
spr_sp_recv(spr_sp *sp, const uint8_t **data, size_t *len, int ms)
{
	size_t frame = sp->is_ipc ? 9 : 8;
	size_t need = frame;
	uint64_t body = 0;
	long deadline = spr_test_now_ms() + ms;

	for (;;) {
		size_t have = sp->end - sp->start;
		ssize_t n;

		if (have >= frame) {
			memcpy(&body, sp->buffer + sp->start + frame - 8, 8);
			body = be64toh(body);
			need = frame + body;
		}
		if (have >= need) {
			*data = sp->buffer + sp->start + frame;
			*len = body;
			sp->start += need;
			return (SPR_SP_OK);
		}
		if (sp->size - sp->start < need || sp->end == sp->size)
			make_room(sp, need);
		n = recv(sp->fd, sp->buffer + sp->end, sp->size - sp->end, 0);
		if (n > 0)
			sp->end += (size_t)n;
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return (SPR_SP_GONE);
		else if (!wait_for(sp->fd, POLLIN, deadline))
			return (SPR_SP_TIMEOUT);
	}
}

bool
spr_sp_wait_gone(spr_sp *sp, int ms)
{
	const uint8_t *data;
	size_t len;

	return (spr_sp_recv(sp, &data, &len, ms) == SPR_SP_GONE);
}

char *
spr_sp_ask(spr_sp *sp, const char *request, size_t len, int ms)
{
	static _Thread_local uint32_t next_id;
	uint32_t id = htobe32(0x80000000u | ++next_id);
	const uint8_t *data;
	size_t n;

	if (spr_sp_send(sp, &id, sizeof(id), request, len, ms) != SPR_SP_OK)
		return (NULL);
	do {
		if (spr_sp_recv(sp, &data, &n, ms) != SPR_SP_OK || n < sizeof(id))
			return (NULL);
	} while (memcmp(data, &id, sizeof(id)) != 0); /* an old reply */
	return (strndup((const char *)data + sizeof(id), n - sizeof(id)));
}
