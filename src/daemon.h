/*
 * daemon - the composition root: builds the daemon from its parts, runs it, drains it. The only file that knows all.
 *
 * Threads     main alone
 */
#pragma once

#include "options.h"

typedef enum spr_exit {
	SPR_EXIT_OK = 0,
	SPR_EXIT_FAILURE = 1,
	SPR_EXIT_USAGE = 2,
	SPR_EXIT_BIND = 71,
	SPR_EXIT_FILE = 73,
	SPR_EXIT_LEFT_WORK = 75,
	SPR_EXIT_CONFIG = 78,
} spr_exit;

/* [main] The exit code that tells a start failure. */
int spr_exit_code(spr_err err);
/* [main] Runs until a signal ends it; all signals are blocked. The arguments are read again on HUP. */
int spr_daemon_run(spr_options *options, int argc, char **argv, char **envp);
