/*
 * The bare relay without nng: the SP wire protocol over epoll, many messages a read and a write, one thread. What the
 * kernel and the wire allow, and the yardstick of a transport of our own: nothing is parsed but lengths, nothing answered.
 *
 * usage: baseline_epoll_relay INTAKE-PORT OUTBOX-PORT [FAN-OUT, default 1]
 *
 * Every message goes out FAN-OUT times, as it came. What one read brought goes to one worker, the next read's to the next.
 * Writes block: workers read, or everything waits. It listens on loopback until killed.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define N_PEERS     64
#define IN_BYTES    ((size_t)1 << 20) /* the largest message too */
#define OUT_BYTES   ((size_t)1 << 20)
#define FRAME_BYTES sizeof(uint64_t)

enum { PUSH = 0x50, PULL = 0x51 };

typedef struct peer {
	int fd; /* 0: none */
	uint8_t mine;
	size_t len; /* of what was read and is not whole yet */
	uint8_t *in;
} peer;

static peer peers[N_PEERS];
static uint8_t out[OUT_BYTES + IN_BYTES + FRAME_BYTES];
static size_t out_len;
static unsigned long fan_out = 1;
static int epoll_fd;

static void
expect(bool is_fine, const char *what)
{
	if (is_fine)
		return;
	perror(what);
	exit(1);
}

static void
watch(int fd, void *what)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};

	expect(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
}

static void
hang_up(peer *p)
{
	close(p->fd);
	p->fd = 0;
}

static peer *
next_worker(void)
{
	static size_t last;

	for (size_t i = 0; i < N_PEERS; i++) {
		last = (last + 1) % N_PEERS;
		if (peers[last].fd != 0 && peers[last].mine == PUSH)
			return (&peers[last]);
	}
	return (NULL);
}

/* Without a worker it is lost: this is a yardstick. */
static void
flush(void)
{
	peer *worker = out_len > 0 ? next_worker() : NULL;
	size_t done = 0;
	ssize_t n;

	while (worker != NULL && done < out_len) {
		if ((n = send(worker->fd, out + done, out_len - done, MSG_NOSIGNAL)) <= 0)
			break; /* its read end will tell */
		done += (size_t)n;
	}
	out_len = 0;
}

/* Relays what is whole and keeps the rest. */
static void
relay(peer *p)
{
	size_t at = 0, frame_len;
	uint64_t len;

	while (p->len - at >= FRAME_BYTES) {
		memcpy(&len, p->in + at, FRAME_BYTES);
		if (be64toh(len) > IN_BYTES - FRAME_BYTES) {
			hang_up(p);
			return;
		}
		frame_len = FRAME_BYTES + (size_t)be64toh(len);
		if (p->len - at < frame_len)
			break;
		for (unsigned long i = 0; i < fan_out; i++) {
			memcpy(out + out_len, p->in + at, frame_len);
			if ((out_len += frame_len) > OUT_BYTES)
				flush();
		}
		at += frame_len;
	}
	flush();
	memmove(p->in, p->in + at, p->len - at);
	p->len -= at;
}

static void
on_readable(peer *p)
{
	ssize_t n = recv(p->fd, p->in + p->len, IN_BYTES - p->len, 0);

	if (n <= 0 || p->mine == PUSH) { /* a worker has nothing to say */
		hang_up(p);
		return;
	}
	p->len += (size_t)n;
	relay(p);
}

static void
on_newcomer(int listener, uint8_t mine)
{
	uint8_t hello[8] = {0, 'S', 'P', 0, 0, mine, 0, 0}, theirs[8];
	int fd = accept(listener, NULL, NULL), on = 1;
	peer *p = peers;

	while (p < peers + N_PEERS && p->fd != 0)
		p++;
	if (fd < 0 || p == peers + N_PEERS || send(fd, hello, 8, MSG_NOSIGNAL) != 8 ||
	    recv(fd, theirs, 8, MSG_WAITALL) != 8) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (p->in == NULL)
		expect((p->in = malloc(IN_BYTES)) != NULL, "memory");
	*p = (peer){.fd = fd, .mine = mine, .in = p->in};
	watch(fd, p);
}

static int
listen_on(const char *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)atoi(port)),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	expect(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		   listen(fd, N_PEERS) == 0,
	       port);
	return (fd);
}

int
main(int argc, char **argv)
{
	struct epoll_event events[N_PEERS];
	int listeners[2], n;

	if (argc > 3)
		fan_out = strtoul(argv[3], NULL, 10);
	if (argc < 3 || argc > 4 || fan_out < 1) {
		fprintf(stderr, "usage: %s INTAKE-PORT OUTBOX-PORT [FAN-OUT]\n", argv[0]);
		return (2);
	}
	expect((epoll_fd = epoll_create1(0)) >= 0, "epoll");
	for (int i = 0; i < 2; i++) {
		listeners[i] = listen_on(argv[1 + i]);
		watch(listeners[i], &listeners[i]);
	}
	for (;;) {
		n = epoll_wait(epoll_fd, events, N_PEERS, -1);
		for (int i = 0; i < n; i++) {
			void *what = events[i].data.ptr;

			if (what == &listeners[0] || what == &listeners[1])
				on_newcomer(*(int *)what, what == &listeners[0] ? PULL : PUSH);
			else
				on_readable(what);
		}
	}
}
