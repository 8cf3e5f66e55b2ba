/*
 * spreader-queue - a durable upstream on SQLite: takes notifications, feeds dispatchers, and keeps each until it is acked.
 * With a verb it asks a running one instead.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "daemon.h"
#include "net/net.h"
#include "queue_options.h"
#include "queue_server.h"
#include "queue_verbs.h"

extern char **environ;

/* Before the first thread: only the wait for the end takes one. */
static void
block_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGABRT);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int
run(int argc, char **argv)
{
	queue_options options = {0};
	spr_err rv = queue_options_parse(&options, argc, argv, environ);
	const spr_config config = queue_options_config(&options);
	int code = SPR_EXIT_OK;

	if (rv != SPR_OK) {
		fprintf(stderr, "spreader-queue: %s\n", spr_error_text(rv));
		return (spr_exit_code(rv));
	}
	switch (options.action) {
	case QUEUE_ACTION_HELP:
		queue_options_print_help(stdout);
		break;
	case QUEUE_ACTION_HELP_MARKDOWN:
		spr_config_print_markdown(&config, stdout);
		break;
	case QUEUE_ACTION_HELP_TABLE:
		spr_config_print_table(&config, "option", stdout);
		queue_verbs_print_table();
		break;
	case QUEUE_ACTION_VERSION:
		printf("spreader-queue %s (nng %s)\n", SPR_VERSION, spr_net_version());
		break;
	case QUEUE_ACTION_RUN:
		block_signals();
		spr_role_set(SPR_ROLE_MAIN);
		spr_log_init((spr_log_level)options.log_level, (spr_log_format)options.log_format,
			     2);
		code = queue_serve(&options, environ);
		break;
	}
	queue_options_free(&options);
	return (code);
}

int
main(int argc, char **argv)
{
	int code = argc > 1 && argv[1][0] != '-' ? queue_verb(argc, argv) : run(argc, argv);

	if (fflush(stdout) != 0 && code == 0)
		code = SPR_EXIT_FAILURE;
	/* not exit(): the library's threads still run, and closing its sockets can hang */
	_exit(code);
}
