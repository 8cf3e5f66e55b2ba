/*
 * worker_with_receipts - takes jobs, makes them its own on disk, and only then says so.
 *
 *   spreaderd --confirm receipt --ack-dial tcp://127.0.0.1:7721 ...
 *   example_worker_with_receipts tcp://127.0.0.1:7711 tcp://127.0.0.1:7712 jobs.ndjson
 *
 * A job is {"id": "<instance>-<32 hex>", "s": callback, "payload": ...}, one a line. Here "its own" is a line in a file: another
 * program makes the calls from there. Up to 64 jobs share one fsync and one message of receipts. A job that was lost on the way
 * comes again under another instance but with the same hex; if it is in the file already, it is receipted and not written. A
 * worker of several daemons keeps such a pair of sockets for each.
 */
#include <fcntl.h>
#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH   64
#define ID_MAX  64
#define HEX     32
#define N_KNOWN (1u << 20)

/* The hex of jobs in the file, by its first digits. A newer one takes an older one's place: then that job may come twice. */
static char known[N_KNOWN][HEX];

static FILE *file;
static nng_socket push;

/* Of jobs that are written, but maybe not on disk yet. */
static char receipts[BATCH * (ID_MAX + 16)];
static size_t n_bytes;
static int n_receipts;

static void
check(bool is_good, const char *what, const char *why)
{
	if (!is_good) {
		fprintf(stderr, "%s: %s\n", what, why);
		exit(2);
	}
}

static void
check_nng(int rv, const char *what)
{
	check(rv == 0, what, nng_strerror(rv));
}

/* The id of the job, its length in *len; NULL: it has none. */
static const char *
id_of(const char *job, const char *end, size_t *len)
{
	static const char begin[] = "{\"id\":\"";
	const char *id = job + sizeof(begin) - 1, *quote;

	if (id >= end || memcmp(job, begin, sizeof(begin) - 1) != 0 ||
	    (quote = memchr(id, '"', (size_t)(end - id))) == NULL)
		return (NULL);
	*len = (size_t)(quote - id);
	return (*len > HEX && *len <= ID_MAX ? id : NULL);
}

/* True the first time. */
static bool
is_new(const char *hex)
{
	char digits[9] = "", *slot;

	memcpy(digits, hex, 8);
	slot = known[strtoul(digits, NULL, 16) % N_KNOWN];
	if (memcmp(slot, hex, HEX) == 0)
		return (false);
	memcpy(slot, hex, HEX);
	return (true);
}

/* Everything taken so far is on disk; then its receipts may go. */
static void
commit(void)
{
	check(fflush(file) == 0 && fsync(fileno(file)) == 0, "the file", "cannot be written");
	if (n_receipts > 0)
		check_nng(nng_send(push, receipts, n_bytes, 0), "send");
	n_receipts = 0;
	n_bytes = 0;
}

/* A message: one job a line. */
static void
take(const char *job, const char *end)
{
	const char *next, *id;
	size_t len;

	for (; job < end; job = next + 1) {
		if ((next = memchr(job, '\n', (size_t)(end - job))) == NULL)
			next = end;
		if ((id = id_of(job, next, &len)) == NULL)
			continue;
		if (is_new(id + len - HEX)) {
			fwrite(job, 1, (size_t)(next - job), file);
			fputc('\n', file);
		}
		n_bytes += (size_t)sprintf(receipts + n_bytes, "{\"id\":\"%.*s\"}\n", (int)len, id);
		if (++n_receipts == BATCH)
			commit();
	}
}

/* What an earlier run wrote; a last line without its end was never receipted. */
static void
open_file(const char *path)
{
	char *line = NULL;
	const char *id;
	size_t size = 0, id_len;
	ssize_t len;
	long good = 0;

	check((file = fopen(path, "a+")) != NULL, path, "cannot be opened");
	rewind(file);
	while ((len = getline(&line, &size, file)) > 0 && line[len - 1] == '\n') {
		good += len;
		if ((id = id_of(line, line + len, &id_len)) != NULL)
			(void)is_new(id + id_len - HEX);
	}
	check(ftruncate(fileno(file), good) == 0, path, "cannot be cut");
	free(line);
}

int
main(int argc, char **argv)
{
	nng_socket pull;
	nng_msg *msg;

	check(argc == 4, "usage", "worker_with_receipts OUTBOX-URL RECEIPTS-URL FILE");
	open_file(argv[3]);
	check_nng(nng_pull0_open(&pull), "pull");
	check_nng(nng_push0_open(&push), "push");
	/* receipts first: a job that comes can be receipted; once they were there, nng dials again by itself */
	check_nng(nng_dial(push, argv[2], NULL, 0), argv[2]);
	check_nng(nng_dial(pull, argv[1], NULL, 0), argv[1]);
	for (;;) {
		check_nng(nng_recvmsg(pull, &msg, 0), "receive");
		do {
			const char *body = nng_msg_body(msg);

			take(body, body + nng_msg_len(msg));
			nng_msg_free(msg);
		} while (n_receipts > 0 && nng_recvmsg(pull, &msg, NNG_FLAG_NONBLOCK) == 0);
		commit();
	}
}
