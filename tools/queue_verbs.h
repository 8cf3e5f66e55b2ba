/*
 * queue_verbs - spreader-queue as a command: one verb a call, asked of a running queue.
 *
 * Threads     main alone
 */
#pragma once

/* argv[1] is the verb. Returns the exit code; the process must end with _exit(). */
int queue_verb(int argc, char **argv);
/* [main] For --help-table: a line for each verb, and its options. */
void queue_verbs_print_table(void);
