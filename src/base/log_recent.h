/*
 * log_recent - the last warnings and errors, for whoever looks at the daemon without its log.
 *
 * Writer      any thread, from the log
 * Reader      any thread
 * Ownership   lines are copied in and out
 * Ordering    a mutex; innermost: nothing is called under it
 * Progress    takes a lock for a moment
 * Limits      SPR_RECENT_MAX lines of SPR_RECENT_TEXT bytes; longer ones are cut
 * Teardown    none
 */
#pragma once

#include <stddef.h>

#define SPR_RECENT_MAX  16
#define SPR_RECENT_TEXT 512

/* [any] A whole line of the log, with its end. */
void spr_log_recent_add(const char *line, size_t len);
/* [any] The newest first; how many. */
unsigned spr_log_recent_read(char out[SPR_RECENT_MAX][SPR_RECENT_TEXT]);
