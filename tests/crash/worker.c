/*
 * worker - the delivery worker of the crash tests: notes each job in a file, then sends its receipt.
 *
 *   crash_worker LOG receipt|push|mute HOLD_MS OUTBOX-URL[,RECEIPTS-URL]...
 *
 * One thread a dispatcher. A note is in the file (written, so it outlives a kill) before the receipts that follow from it are
 * sent; they go up to 64 a message, when nothing more comes at once. HOLD_MS passes between the two: what an ack that came
 * too early would be caught by. "push": notes, no receipts. "mute": reads, and neither notes nor sends.
 *
 * It speaks SP by itself, on blocking sockets, and dials again for as long as it lives: a second implementation, so that what
 * is wrong with the daemon's cannot be wrong here in the same way, and a session that stands still tells about the daemon.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BATCH         64
#define ID_MAX        64
#define IDLE_MS       2
#define DIAL_PAUSE_MS 20
#define IO_LIMIT_S    1 /* a handshake, a send, and how long receipts wait for a connection */
#define MESSAGE_MAX   ((size_t)2 << 20)
#define HEADER        8 /* of a message: its length; of a connection: the greeting */
#define SP_PUSH       0x50
#define SP_PULL       0x51

/* As tests/crash/check.py reads it. */
typedef struct note {
	uint64_t noted_ns; /* CLOCK_MONOTONIC */
	uint64_t number;   /* of the notification */
	uint64_t job;      /* the first half of the job id's hash; 0: it has no id */
	uint32_t callback;
	uint32_t payload_bytes;
} note;

typedef struct peer {
	in_port_t port; /* 0: there is none */
	uint8_t protocol;
	int fd; /* -1: not connected */
} peer;

typedef struct link_to {
	peer jobs, receipts;
	char *in;
	size_t n_in;
	note notes[BATCH];
	char text[HEADER + BATCH * (ID_MAX + 16)];
	size_t text_len;
	unsigned n;
} link_to;

static int log_fd;
static const char *mode;
static int hold_ms;

static void
hang_up(peer *self)
{
	if (self->fd >= 0)
		close(self->fd);
	self->fd = -1;
}

static bool
dial(peer *self)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(self->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval limit = {IO_LIMIT_S, 0};
	uint8_t ours[HEADER] = {0, 'S', 'P', 0, 0, self->protocol, 0, 0};
	uint8_t wanted[HEADER] = {0, 'S', 'P', 0, 0, self->protocol ^ 1, 0, 0}, theirs[HEADER];
	int one = 1;

	if ((self->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0) {
		perror("worker: socket");
		exit(2);
	}
	(void)setsockopt(self->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(self->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	(void)setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(self->fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
	    send(self->fd, ours, HEADER, MSG_NOSIGNAL) == HEADER &&
	    recv(self->fd, theirs, HEADER, MSG_WAITALL) == HEADER &&
	    memcmp(theirs, wanted, HEADER) == 0)
		return (true);
	hang_up(self);
	return (false);
}

static const char *
find(const char *in, size_t len, const char *what)
{
	const char *at = memmem(in, len, what, strlen(what));

	return (at == NULL ? NULL : at + strlen(what));
}

/* {"id":"<instance>-<32 hex>","s":"http://w/<callback>","payload":{..."n":<number>...}}; the id only with receipts. */
static void
take(link_to *self, const char *job, size_t len)
{
	const char *id = strncmp(job, "{\"id\":\"", 7) == 0 ? job + 7 : NULL;
	const char *callback = find(job, len, "\"s\":\"http://w/");
	const char *payload = find(job, len, "\"payload\":");
	const char *number = find(job, len, "\"n\":");
	size_t id_len = id != NULL ? strcspn(id, "\"") : 0;
	struct timespec now;
	char half[17] = "";

	if (callback == NULL || payload == NULL || number == NULL || id_len > ID_MAX ||
	    (id == NULL && strcmp(mode, "receipt") == 0)) {
		fprintf(stderr, "worker: no job of ours: %.*s\n", (int)len, job);
		exit(3);
	}
	if (id_len >= 32)
		memcpy(half, id + id_len - 32, 16);
	clock_gettime(CLOCK_MONOTONIC, &now);
	self->notes[self->n++] = (note){
	    .noted_ns = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec,
	    .number = strtoull(number, NULL, 10),
	    .job = strtoull(half, NULL, 16),
	    .callback = (uint32_t)strtoul(callback, NULL, 10),
	    .payload_bytes = (uint32_t)(job + len - 1 - payload),
	};
	if (id != NULL)
		self->text_len += (size_t)sprintf(self->text + self->text_len,
						  "{\"id\":\"%.*s\"}\n", (int)id_len, id);
}

/* With nobody there they are lost: the jobs will come again. */
static void
send_receipts(link_to *self)
{
	uint64_t size = htobe64(self->text_len - HEADER);
	size_t done = 0;
	ssize_t n = 0;

	for (int i = 0; self->receipts.fd < 0 && i < IO_LIMIT_S * 1000 / DIAL_PAUSE_MS; i++) {
		if (!dial(&self->receipts))
			(void)poll(NULL, 0, DIAL_PAUSE_MS);
	}
	if (self->receipts.fd < 0)
		return;
	memcpy(self->text, &size, HEADER);
	for (; n >= 0 && done < self->text_len; done += (size_t)n)
		n = send(self->receipts.fd, self->text + done, self->text_len - done, MSG_NOSIGNAL);
	if (n < 0)
		hang_up(&self->receipts);
}

static void
flush(link_to *self)
{
	size_t len = self->n * sizeof(note);

	if (self->n == 0)
		return;
	if (strcmp(mode, "mute") != 0 && write(log_fd, self->notes, len) != (ssize_t)len) {
		perror("worker: log");
		exit(4);
	}
	if (strcmp(mode, "receipt") == 0) {
		if (hold_ms > 0)
			(void)poll(NULL, 0, hold_ms);
		send_receipts(self);
	}
	self->n = 0;
	self->text_len = HEADER;
}

static void
take_message(link_to *self, const char *at, size_t len)
{
	const char *end = at + len, *next;

	for (; at < end; at = next + 1) {
		if ((next = memchr(at, '\n', (size_t)(end - at))) == NULL)
			next = end;
		if (next > at)
			take(self, at, (size_t)(next - at));
		if (self->n == BATCH)
			flush(self);
	}
}

/* Takes the messages that are whole; what begins another one stays. */
static void
take_messages(link_to *self)
{
	size_t at = 0;
	uint64_t size;

	for (; self->n_in - at >= HEADER; at += HEADER + size) {
		memcpy(&size, self->in + at, HEADER);
		if ((size = be64toh(size)) > MESSAGE_MAX - HEADER) {
			fprintf(stderr, "worker: a message of %llu bytes\n",
				(unsigned long long)size);
			exit(3);
		}
		if (self->n_in - at - HEADER < size)
			break;
		take_message(self, self->in + at + HEADER, size);
	}
	self->n_in -= at;
	memmove(self->in, self->in + at, self->n_in);
}

static void
read_jobs(link_to *self)
{
	ssize_t n = recv(self->jobs.fd, self->in + self->n_in, MESSAGE_MAX - self->n_in, 0);

	if (n > 0) {
		self->n_in += (size_t)n;
		take_messages(self);
	} else {
		hang_up(&self->jobs);
	}
}

/* What is not connected is dialled; false: not all of it is. */
static bool
keep_connected(link_to *self)
{
	if (self->receipts.port != 0 && self->receipts.fd < 0)
		(void)dial(&self->receipts);
	if (self->jobs.fd < 0 && dial(&self->jobs))
		self->n_in = 0;
	return (self->jobs.fd >= 0 && (self->receipts.port == 0 || self->receipts.fd >= 0));
}

static void *
serve(void *arg)
{
	link_to *self = arg;

	for (;;) {
		bool is_whole = keep_connected(self);
		struct pollfd fds[] = {{self->jobs.fd, POLLIN, 0}, {self->receipts.fd, POLLIN, 0}};
		int pause_ms = self->n > 0 ? IDLE_MS : is_whole ? -1 : DIAL_PAUSE_MS;

		if (poll(fds, 2, pause_ms) == 0)
			flush(self);
		if (fds[0].revents != 0)
			read_jobs(self);
		/* nothing comes from there but its end */
		if (fds[1].revents != 0)
			hang_up(&self->receipts);
	}
	return (NULL);
}

static in_port_t
port_of(const char *url)
{
	return (url == NULL ? 0 : (in_port_t)strtoul(strrchr(url, ':') + 1, NULL, 10));
}

static void
start(char *urls)
{
	link_to *self = calloc(1, sizeof(*self));
	pthread_t thread;

	if (self == NULL || (self->in = malloc(MESSAGE_MAX)) == NULL) {
		fprintf(stderr, "worker: no memory\n");
		exit(2);
	}
	self->jobs = (peer){port_of(strtok(urls, ",")), SP_PULL, -1};
	self->receipts = (peer){port_of(strtok(NULL, ",")), SP_PUSH, -1};
	self->text_len = HEADER;
	if (pthread_create(&thread, NULL, serve, self) != 0) {
		fprintf(stderr, "worker: no thread\n");
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	if (argc < 5) {
		fprintf(stderr, "usage: %s LOG receipt|push|mute HOLD_MS OUTBOX[,RECEIPTS]...\n",
			argv[0]);
		return (2);
	}
	mode = argv[2];
	hold_ms = (int)strtol(argv[3], NULL, 10);
	if ((log_fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0600)) < 0) {
		perror(argv[1]);
		return (2);
	}
	for (int i = 4; i < argc; i++)
		start(argv[i]);
	pthread_exit(NULL);
}
