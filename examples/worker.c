/*
 * worker - takes jobs from the outbox and makes the calls; here it only prints them.
 *
 *   spreaderd
 *   example_worker tcp://127.0.0.1:7711          (for ever)
 *   example_worker tcp://127.0.0.1:7711 100      (a hundred jobs)
 *
 * A message holds one job a line: {"s": callback, "payload": ...}. Start as many workers as you like: each job goes to one
 * of them. A job may come twice, and what a worker has not worked off when it dies is lost with it.
 */
#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
check(int rv, const char *what)
{
	if (rv != 0) {
		fprintf(stderr, "%s: %s\n", what, nng_strerror(rv));
		exit(2);
	}
}

/* Here a real worker would POST the payload to the callback. */
static void
work(const char *job, size_t len)
{
	printf("%.*s\n", (int)len, job);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	long left = argc > 2 ? atol(argv[2]) : -1;
	nng_socket pull;
	nng_msg *msg;

	if (argc < 2) {
		fprintf(stderr, "usage: %s OUTBOX-URL [COUNT]\n", argv[0]);
		return (2);
	}
	check(nng_pull0_open(&pull), "pull");
	/* once it was there, nng dials again by itself */
	check(nng_dial(pull, argv[1], NULL, 0), argv[1]);
	while (left != 0) {
		check(nng_recvmsg(pull, &msg, 0), "receive");
		const char *job = nng_msg_body(msg), *end = job + nng_msg_len(msg), *next;

		for (; job < end && left != 0; job = next + 1, left--) {
			if ((next = memchr(job, '\n', (size_t)(end - job))) == NULL)
				next = end;
			work(job, (size_t)(next - job));
		}
		nng_msg_free(msg);
	}
	return (0);
}
