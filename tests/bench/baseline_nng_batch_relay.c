/*
 * The bare batch relay: PULL batches, one copy a job, PUSH batches; no parsing, no answers, no subscriptions. The
 * yardstick for the daemon's batched figures: what a program that leaves everything else out gets from the installed nng.
 *
 * usage: baseline_nng_batch_relay INTAKE-PORT OUTBOX-PORT [FAN-OUT, default 1] [BATCH-BYTES, default 262144]
 *
 * A document is a line. Each becomes FAN-OUT jobs of the daemon's form, one a line; a batch goes when it is full and when a
 * received message is done. One thread; eight receives and sixteen sends in flight. It listens on loopback until killed.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>

#define N_RECEIVES 8
#define N_SENDS    16

static const char head[] = "{\"s\":\"http://worker.example/callback\",\"payload\":";
static const char tail[] = "}\n";

static nng_socket intake, outbox;
static nng_aio *receives[N_RECEIVES], *sends[N_SENDS];
static size_t fan_out = 1, batch_bytes = 256 * 1024;

/* the batch being filled */
static nng_msg *batch;
static size_t batch_len;

static void
expect(int result, const char *what)
{
	if (result == 0)
		return;
	fprintf(stderr, "baseline_nng_batch_relay: %s: %s\n", what, nng_strerror(result));
	exit(1);
}

static void
flush(void)
{
	static unsigned next;
	nng_aio *send = sends[next];

	if (batch == NULL)
		return;
	nng_msg_chop(batch, nng_msg_len(batch) - batch_len);
	nng_aio_wait(send);
	expect(nng_aio_result(send), "send");
	nng_aio_set_msg(send, batch);
	nng_send_aio(outbox, send);
	next = (next + 1) % N_SENDS;
	batch = NULL;
}

static char *
put(char *to, const char *from, size_t len)
{
	memcpy(to, from, len);
	return (to + len);
}

static void
post_job(const char *document, size_t len)
{
	size_t job_len = sizeof(head) - 1 + len + sizeof(tail) - 1;
	char *to;

	if (batch != NULL && batch_len + job_len > nng_msg_len(batch))
		flush();
	if (batch == NULL) {
		expect(nng_msg_alloc(&batch, job_len > batch_bytes ? job_len : batch_bytes),
		       "memory");
		batch_len = 0;
	}
	to = put((char *)nng_msg_body(batch) + batch_len, head, sizeof(head) - 1);
	to = put(to, document, len);
	put(to, tail, sizeof(tail) - 1);
	batch_len += job_len;
}

static void
relay(const char *line, const char *end)
{
	const char *next;

	for (; line < end; line = next + 1) {
		if ((next = memchr(line, '\n', (size_t)(end - line))) == NULL)
			next = end;
		for (size_t i = 0; i < fan_out; i++)
			post_job(line, (size_t)(next - line));
	}
	flush();
}

static void
listen_on(nng_socket socket, const char *port)
{
	char url[64];

	snprintf(url, sizeof(url), "tcp://127.0.0.1:%s", port);
	expect(nng_setopt_size(socket, NNG_OPT_RECVMAXSZ, 0), url);
	expect(nng_listen(socket, url, NULL, 0), url);
}

static void
start(char **ports)
{
	expect(nng_pull0_open(&intake), "open");
	expect(nng_push0_open(&outbox), "open");
	listen_on(intake, ports[0]);
	listen_on(outbox, ports[1]);
	for (int i = 0; i < N_SENDS; i++)
		expect(nng_aio_alloc(&sends[i], NULL, NULL), "aio");
	for (int i = 0; i < N_RECEIVES; i++) {
		expect(nng_aio_alloc(&receives[i], NULL, NULL), "aio");
		nng_recv_aio(intake, receives[i]);
	}
}

int
main(int argc, char **argv)
{
	if (argc > 3)
		fan_out = strtoul(argv[3], NULL, 10);
	if (argc > 4)
		batch_bytes = strtoul(argv[4], NULL, 10);
	if (argc < 3 || argc > 5 || fan_out < 1 || batch_bytes < 1) {
		fprintf(stderr, "usage: %s INTAKE-PORT OUTBOX-PORT [FAN-OUT] [BATCH-BYTES]\n",
			argv[0]);
		return (2);
	}
	start(argv + 1);
	for (unsigned i = 0;; i = (i + 1) % N_RECEIVES) {
		nng_msg *message;
		const char *body;

		nng_aio_wait(receives[i]);
		expect(nng_aio_result(receives[i]), "receive");
		message = nng_aio_get_msg(receives[i]);
		body = nng_msg_body(message);
		relay(body, body + nng_msg_len(message));
		nng_msg_free(message);
		nng_recv_aio(intake, receives[i]);
	}
}
