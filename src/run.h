/*
 * run - the running daemon as main sees it: signals, reload, drain. Part of the composition root.
 *
 * Threads     main alone
 */
#pragma once

#include "report.h"

/* [main] Waits for TERM or INT, then drains: SPR_EXIT_OK, or SPR_EXIT_LEFT_WORK. A second one of them ends the process. */
int spr_run(spr_daemon *daemon);
