/*
 * queue_server - the queue as a process: sockets, standard input, ready file, signals, exit code.
 *
 * Threads     main alone
 */
#pragma once

#include "queue_options.h"

/*
 * Runs until a TERM; all signals are blocked. What envp says of a service manager is kept to. Returns the exit code; the process
 * ends with _exit(): see there.
 */
int queue_serve(const queue_options *options, char **envp);
