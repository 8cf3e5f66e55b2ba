/*
 * worker - the delivery worker of the crash tests: notes each job in a file, then sends its receipt.
 *
 *   crash_worker LOG receipt|push|mute HOLD_MS OUTBOX-URL[,RECEIPTS-URL]...
 *
 * One thread a dispatcher. A note is in the file (written, so it outlives a kill) before the receipts that follow from it are
 * sent; they go up to 64 a message, when nothing more comes at once. HOLD_MS passes between the two: what an ack that came
 * too early would be caught by. "push": notes, no receipts. "mute": reads, and neither notes nor sends.
 */
#include <fcntl.h>
#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH         64
#define ID_MAX        64
#define IDLE_MS       2
#define SEND_LIMIT_MS 1000

/* As tests/crash/check.py reads it. */
typedef struct note {
	uint64_t noted_ns; /* CLOCK_MONOTONIC */
	uint64_t number;   /* of the notification */
	uint64_t job;      /* the first half of the job id's hash; 0: it has no id */
	uint32_t callback;
	uint32_t payload_bytes;
} note;

typedef struct link_to {
	char *outbox, *receipts;
	nng_socket pull, push;
	note notes[BATCH];
	char text[BATCH * (ID_MAX + 16)];
	size_t text_len;
	unsigned n;
} link_to;

static int log_fd;
static const char *mode;
static int hold_ms;

static void
check(int rv, const char *what)
{
	if (rv != 0) {
		fprintf(stderr, "worker: %s: %s\n", what, nng_strerror(rv));
		exit(2);
	}
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
		/* with nobody there they are lost: the job will come again */
		(void)nng_send(self->push, self->text, self->text_len, 0);
	}
	self->n = 0;
	self->text_len = 0;
}

static void
take_message(link_to *self, nng_msg *msg)
{
	const char *at = nng_msg_body(msg), *end = at + nng_msg_len(msg), *next;

	for (; at < end; at = next + 1) {
		if ((next = memchr(at, '\n', (size_t)(end - at))) == NULL)
			next = end;
		if (next > at)
			take(self, at, (size_t)(next - at));
		if (self->n == BATCH)
			flush(self);
	}
	nng_msg_free(msg);
}

static void *
serve(void *arg)
{
	link_to *self = arg;
	nng_msg *msg;
	int rv;

	for (;;) {
		check(nng_socket_set_ms(self->pull, NNG_OPT_RECVTIMEO,
					self->n > 0 ? IDLE_MS : NNG_DURATION_INFINITE),
		      "timeout");
		if ((rv = nng_recvmsg(self->pull, &msg, 0)) == 0)
			take_message(self, msg);
		else if (rv == NNG_ETIMEDOUT)
			flush(self);
		else
			check(rv, "receive");
	}
	return (NULL);
}

static void
start(char *urls)
{
	link_to *self = calloc(1, sizeof(*self));
	pthread_t thread;

	self->outbox = strtok(urls, ",");
	self->receipts = strtok(NULL, ",");
	check(nng_pull0_open(&self->pull), "pull");
	check(nng_push0_open(&self->push), "push");
	check(nng_socket_set_ms(self->push, NNG_OPT_SENDTIMEO, SEND_LIMIT_MS), "timeout");
	if (self->receipts != NULL)
		check(nng_dial(self->push, self->receipts, NULL, NNG_FLAG_NONBLOCK),
		      self->receipts);
	check(nng_dial(self->pull, self->outbox, NULL, NNG_FLAG_NONBLOCK), self->outbox);
	check(pthread_create(&thread, NULL, serve, self), "thread");
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
	hold_ms = atoi(argv[3]);
	if ((log_fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0600)) < 0) {
		perror(argv[1]);
		return (2);
	}
	for (int i = 4; i < argc; i++)
		start(argv[i]);
	pthread_exit(NULL);
}
