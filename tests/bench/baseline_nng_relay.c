/*
 * The bare relay: what PULL -> PUSH costs with the installed nng and no work at all. The yardstick
 * for the daemon's unbatched figures; nothing of the project is in it.
 *
 * usage: baseline_nng_relay INTAKE-PORT OUTBOX-PORT [LANES]
 *
 * A lane is one message on its way: received, sent, received, sent. It listens on loopback until it
 * is killed; spreader-bench --no-control drives it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>

#define DEFAULT_LANES 4

static nng_socket intake, outbox;

typedef struct lane {
	nng_aio *receive, *send;
} lane;

/* A lane whose socket was closed ends. */
static void
on_received(void *arg)
{
	lane *l = arg;

	if (nng_aio_result(l->receive) != 0)
		return;
	nng_aio_set_msg(l->send, nng_aio_get_msg(l->receive));
	nng_send_aio(outbox, l->send);
}

static void
on_sent(void *arg)
{
	lane *l = arg;

	if (nng_aio_result(l->send) != 0) {
		nng_msg_free(nng_aio_get_msg(l->send));
		return;
	}
	nng_recv_aio(intake, l->receive);
}

static void
expect(int result, const char *what)
{
	if (result == 0)
		return;
	fprintf(stderr, "baseline_nng_relay: %s: %s\n", what, nng_strerror(result));
	exit(1);
}

static void
listen_on(nng_socket socket, const char *port)
{
	char url[64];

	snprintf(url, sizeof(url), "tcp://127.0.0.1:%s", port);
	expect(nng_listen(socket, url, NULL, 0), url);
}

static void
start_lane(lane *l)
{
	expect(nng_aio_alloc(&l->receive, on_received, l), "aio");
	expect(nng_aio_alloc(&l->send, on_sent, l), "aio");
	nng_recv_aio(intake, l->receive);
}

int
main(int argc, char **argv)
{
	int n_lanes = argc > 3 ? atoi(argv[3]) : DEFAULT_LANES;
	lane *lanes;

	if (argc < 3 || argc > 4 || n_lanes < 1) {
		fprintf(stderr, "usage: %s INTAKE-PORT OUTBOX-PORT [LANES]\n", argv[0]);
		return (2);
	}
	if ((lanes = calloc((size_t)n_lanes, sizeof(*lanes))) == NULL)
		return (1);
	expect(nng_pull0_open(&intake), "open");
	expect(nng_push0_open(&outbox), "open");
	listen_on(intake, argv[1]);
	listen_on(outbox, argv[2]);
	for (int i = 0; i < n_lanes; i++)
		start_lane(&lanes[i]);
	for (;;)
		pause();
}
