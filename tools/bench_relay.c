/*
 * bench_relay - one thread that reads and writes; what it cannot write it waits for, which holds the producer back.
 */
#include "bench_relay.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

struct bench_relay {
	pthread_t thread;
	int in_listener, out_listener, stop; /* stop: an eventfd */
	unsigned copies;
	bench_link in, out;
};

/* False when it is to stop. */
static bool
wait_for(bench_relay *relay, int fd, short events)
{
	struct pollfd waiters[2] = {{.fd = fd, .events = events},
				    {.fd = relay->stop, .events = POLLIN}};

	return (poll(waiters, 2, -1) > 0 && waiters[1].revents == 0);
}

static bool
accept_one(bench_relay *relay, bench_link *link, int listener, bench_protocol mine)
{
	return (wait_for(relay, listener, POLLIN) &&
		bench_link_accept(link, listener, mine) == SPR_OK);
}

static bool
write_all(bench_relay *relay, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(relay->out.fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			if (!wait_for(relay, relay->out.fd, POLLOUT))
				return (false);
			continue;
		}
		if (n < 0)
			return (false);
		bytes += n;
		len -= (size_t)n;
	}
	return (true);
}

/* The whole frames that were read, in one piece. */
static bool
hand_on(bench_relay *relay)
{
	const char *begin = relay->in.in.bytes + relay->in.in.start;
	char *data;
	size_t len;

	while (bench_link_next(&relay->in, &data, &len))
		;
	len = (size_t)(relay->in.in.bytes + relay->in.in.start - begin);
	for (unsigned i = 0; i < relay->copies; i++) {
		if (!write_all(relay, begin, len))
			return (false);
	}
	return (true);
}

static void *
run(void *arg)
{
	bench_relay *relay = arg;
	bench_io io = BENCH_IO_AGAIN;

	pthread_setname_np(pthread_self(), "relay");
	if (!accept_one(relay, &relay->out, relay->out_listener, BENCH_PUSH) ||
	    !accept_one(relay, &relay->in, relay->in_listener, BENCH_PULL))
		return (NULL);
	while (io != BENCH_IO_GONE) {
		if (io == BENCH_IO_AGAIN && !wait_for(relay, relay->in.fd, POLLIN))
			break;
		io = bench_link_read(&relay->in);
		if (io == BENCH_IO_DONE && !hand_on(relay))
			break;
	}
	return (NULL);
}

spr_err
bench_relay_start(bench_relay **out, unsigned copies, char *in_url, char *out_url)
{
	bench_relay *relay = spr_mem_zalloc(sizeof(*relay));
	spr_err rv;

	if (relay == NULL)
		return (SPR_E_NOMEM);
	relay->copies = copies;
	relay->in = relay->out = BENCH_LINK_CLOSED;
	relay->in_listener = relay->out_listener = relay->stop = -1;
	if ((rv = bench_listen(&relay->in_listener, "tcp://127.0.0.1:0", in_url)) == SPR_OK &&
	    (rv = bench_listen(&relay->out_listener, "tcp://127.0.0.1:0", out_url)) == SPR_OK &&
	    ((relay->stop = eventfd(0, EFD_CLOEXEC)) < 0 ||
	     pthread_create(&relay->thread, NULL, run, relay) != 0))
		rv = spr_fail(SPR_E_SYSTEM, "cannot start the relay");
	if (rv != SPR_OK) {
		close(relay->in_listener);
		close(relay->out_listener);
		close(relay->stop);
		spr_mem_free(relay);
		return (rv);
	}
	*out = relay;
	return (SPR_OK);
}

void
bench_relay_stop(bench_relay *relay)
{
	static const uint64_t one = 1;

	if (relay == NULL)
		return;
	(void)!write(relay->stop, &one, sizeof(one));
	pthread_join(relay->thread, NULL);
	bench_link_close(&relay->in);
	bench_link_close(&relay->out);
	close(relay->in_listener);
	close(relay->out_listener);
	close(relay->stop);
	spr_mem_free(relay);
}
