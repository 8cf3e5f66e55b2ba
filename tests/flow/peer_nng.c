/*
 * peer_nng - a peer that is nng's own sockets, as anybody would write it.
 *
 *   peer_nng push connect|bind URL DATA    sends DATA twice and stays
 *   peer_nng pull connect|bind URL         prints what comes, one message a line
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>

static void
must(int rv, const char *what)
{
	if (rv == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, nng_strerror(rv));
	exit(1);
}

int
main(int argc, char **argv)
{
	bool pushes = argc == 5 && strcmp(argv[1], "push") == 0;
	nng_socket socket;
	char *data;
	size_t len;

	if (argc < 4)
		return (2);
	must(pushes ? nng_push0_open(&socket) : nng_pull0_open(&socket), "open");
	if (strcmp(argv[2], "bind") == 0)
		must(nng_listen(socket, argv[3], NULL, 0), "bind");
	else
		must(nng_dial(socket, argv[3], NULL, NNG_FLAG_NONBLOCK), "connect");
	for (unsigned n = 0; pushes && n < 2; n++)
		must(nng_send(socket, argv[4], strlen(argv[4]), 0), "send");
	while (pushes)
		pause();
	while (nng_recv(socket, &data, &len, NNG_FLAG_ALLOC) == 0) {
		printf("%.*s\n", (int)len, data);
		fflush(stdout);
		nng_free(data, len);
	}
	return (0);
}
