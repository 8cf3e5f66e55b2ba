/*
 * peer_nanomsg - a peer on libnanomsg, as anybody would write it in C; but the library is loaded at run time, because its
 * headers need not be installed. Arguments as of peer_nng.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* nanomsg/nn.h, nanomsg/pipeline.h */
#define AF_SP   1
#define NN_PUSH (5 * 16 + 0)
#define NN_PULL (5 * 16 + 1)
#define NN_MSG  ((size_t)-1)

static void *library;

static void
find(const char *name, void *function)
{
	if ((*(void **)function = dlsym(library, name)) != NULL)
		return;
	fprintf(stderr, "no %s\n", name);
	exit(1);
}

static int
must(int rv, const char *what)
{
	if (rv >= 0)
		return (rv);
	perror(what);
	exit(1);
}

int
main(int argc, char **argv)
{
	int (*nn_socket)(int domain, int protocol);
	int (*nn_bind)(int socket, const char *url);
	int (*nn_connect)(int socket, const char *url);
	int (*nn_send)(int socket, const void *data, size_t len, int flags);
	int (*nn_recv)(int socket, void *data, size_t len, int flags);
	int (*nn_freemsg)(void *message);
	bool pushes = argc == 5 && strcmp(argv[1], "push") == 0;
	int socket, n;
	char *data;

	if (argc < 4 || (library = dlopen("libnanomsg.so.5", RTLD_NOW)) == NULL)
		return (2);
	find("nn_socket", &nn_socket);
	find("nn_bind", &nn_bind);
	find("nn_connect", &nn_connect);
	find("nn_send", &nn_send);
	find("nn_recv", &nn_recv);
	find("nn_freemsg", &nn_freemsg);
	socket = must(nn_socket(AF_SP, pushes ? NN_PUSH : NN_PULL), "socket");
	must(strcmp(argv[2], "bind") == 0 ? nn_bind(socket, argv[3]) : nn_connect(socket, argv[3]),
	     argv[2]);
	for (unsigned i = 0; pushes && i < 2; i++)
		must(nn_send(socket, argv[4], strlen(argv[4]), 0), "send");
	while (pushes)
		pause(); /* libnanomsg does not linger */
	while ((n = nn_recv(socket, &data, NN_MSG, 0)) >= 0) {
		printf("%.*s\n", n, data);
		fflush(stdout);
		nn_freemsg(data);
	}
	return (0);
}
