/*
 * fuzz_greeting - any bytes, in two pieces, as the first that a peer says to a listener of the native transport: it is
 * given out if they begin as a greeting must, with what follows still to be read, and cut off otherwise.
 *
 * The first byte of the input is the length of the first piece; with the second the rest begins with a right greeting of
 * which one byte is changed, so that most of the inputs are near one.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "net/ep_endpoint.h"
#include "net/sp_wire.h"

#define MAX_BYTES 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static spr_ep_loop *loop;
static spr_ep_endpoint *endpoints;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

/* Stays on in every build, unlike an assert. */
static void
check(bool is_so)
{
	if (!is_so)
		abort();
}

/* [loop] Says a byte 'y' for its being given out, and hands back what is still to be read. */
static void
on_stream(void *arg, spr_ep_endpoint *endpoint, spr_ep_loop *on, int fd, const spr_peer *peer)
{
	uint8_t bytes[1 + MAX_BYTES] = {'y'};
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	size_t n_rest = 0;
	ssize_t n;

	(void)arg, (void)endpoint;
	check(spr_ep_loop_is_mine(on) && peer->kind == SPR_PEER_IPC);
	do { /* the peer says all it has to say, and then that this is all */
		while (poll(&readable, 1, -1) < 0)
			check(errno == EINTR);
		n = recv(fd, bytes + 1 + n_rest, MAX_BYTES - n_rest, 0);
		check(n >= 0);
		n_rest += (size_t)n;
	} while (n > 0);
	check(send(fd, bytes, 1 + n_rest, MSG_NOSIGNAL) == (ssize_t)(1 + n_rest));
	close(fd);
}

static void
close_all(void)
{
	spr_ep_loop_stop(loop);
	spr_ep_endpoints_stop(endpoints);
	spr_ep_endpoints_free(endpoints);
	spr_ep_loop_free(loop);
}

static void
listen_once(void)
{
	const spr_ep_loop_config name = {.name = "fuzz"};
	const spr_ep_endpoint_config config = {.protocol = SPR_SP_PULL,
					       .peer = SPR_SP_PUSH,
					       .loops = &loop,
					       .n_loops = 1,
					       .on_stream = on_stream};
	char url[SPR_URL_MAX], bound[SPR_URL_MAX];

	if (loop != NULL)
		return;
	spr_log_init(SPR_LOG_ERROR, SPR_LOG_TEXT, 2);
	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/spr-fuzz-greeting-%d",
		 (int)getpid());
	snprintf(url, sizeof(url), "ipc://%s", address.sun_path);
	check(spr_ep_loop_start(&loop, &name) == SPR_OK);
	check(spr_ep_endpoints_add(&endpoints, &config, url, bound) == SPR_OK);
	(void)atexit(close_all);
}

/* Everything that the listener says until it hangs up. */
static size_t
hear(int fd, uint8_t *heard, size_t max)
{
	size_t n_heard = 0;
	ssize_t n;

	/* the fuzzer's own timer interrupts system calls */
	while ((n = recv(fd, heard + n_heard, max - n_heard, 0)) > 0 || (n < 0 && errno == EINTR))
		n_heard += n > 0 ? (size_t)n : 0;
	check(n == 0 || errno == ECONNRESET);
	return (n_heard);
}

static void
say(const uint8_t *bytes, size_t len, size_t first)
{
	uint8_t ours[SPR_SP_GREETING_BYTES], wanted[SPR_SP_GREETING_BYTES];
	uint8_t heard[2 * MAX_BYTES];
	size_t n, rest;
	bool is_right;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	spr_sp_write_greeting(ours, SPR_SP_PULL);
	spr_sp_write_greeting(wanted, SPR_SP_PUSH);
	is_right = len >= sizeof(wanted) && memcmp(bytes, wanted, sizeof(wanted)) == 0;
	check(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	(void)send(fd, bytes, first, MSG_NOSIGNAL);
	(void)send(fd, bytes + first, len - first, MSG_NOSIGNAL); /* it may be cut off already */
	(void)shutdown(fd, SHUT_WR);
	n = hear(fd, heard, sizeof(heard));
	close(fd);
	check(n <= sizeof(ours) || memcmp(heard, ours, sizeof(ours)) == 0);
	if (!is_right) {
		check(n <= sizeof(ours));
		return;
	}
	rest = len - sizeof(wanted);
	check(n == sizeof(ours) + 1 + rest && heard[sizeof(ours)] == 'y');
	check(memcmp(heard + sizeof(ours) + 1, bytes + sizeof(wanted), rest) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t bytes[MAX_BYTES];
	size_t len = 0;

	if (size < 4 || size > MAX_BYTES - SPR_SP_GREETING_BYTES)
		return (0);
	listen_once();
	if (data[1] & 1) {
		spr_sp_write_greeting(bytes, SPR_SP_PUSH);
		len = SPR_SP_GREETING_BYTES;
		bytes[data[2] % len] ^= data[3];
	}
	memcpy(bytes + len, data + 4, size - 4);
	len += size - 4;
	say(bytes, len, len > 0 ? data[0] % (len + 1) : 0);
	return (0);
}
