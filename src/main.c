/*
 * main - flags in, daemon up, exit code out.
 *
 * Signals are blocked before the first library call, so that every thread inherits the mask and only the wait in
 * daemon.c ever takes one.
 */
#include <signal.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon.h"
#include "net/net.h"

extern char **environ;

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
run(spr_options *options, int argc, char **argv)
{
	switch (options->action) {
	case SPR_ACTION_HELP:
		spr_options_print_help(stdout);
		return (SPR_EXIT_OK);
	case SPR_ACTION_HELP_MARKDOWN:
		spr_options_print_markdown(stdout);
		return (SPR_EXIT_OK);
	case SPR_ACTION_HELP_TABLE:
		spr_options_print_table(stdout);
		return (SPR_EXIT_OK);
	case SPR_ACTION_VERSION:
		printf("spreaderd %s (nng %s)\n", SPR_VERSION, spr_net_version());
		return (SPR_EXIT_OK);
	case SPR_ACTION_CHECK_CONFIG:
		return (SPR_EXIT_OK);
	case SPR_ACTION_PRINT_CONFIG:
		spr_options_print(options, spr_net_threads(), stdout);
		return (SPR_EXIT_OK);
	case SPR_ACTION_RUN:
		break;
	}
	block_signals();
	spr_mem_tune();
	spr_role_set(SPR_ROLE_MAIN);
	spr_log_init((spr_log_level)options->log_level, (spr_log_format)options->log_format, 2);
	return (spr_daemon_run(options, argc, argv, environ));
}

int
main(int argc, char **argv)
{
	spr_options options = {0};
	spr_err rv = spr_options_parse(&options, argc, argv, environ);
	int code;

	if (rv != SPR_OK) {
		fprintf(stderr, "spreaderd: %s\n", spr_error_text(rv));
		return (spr_exit_code(rv));
	}
	code = run(&options, argc, argv);
	spr_options_free(&options);
	return (code);
}
