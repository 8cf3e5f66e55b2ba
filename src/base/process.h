/*
 * process - what the kernel knows about this process, as the standard process_ gauges. Pure reads of /proc, [any].
 */
#pragma once

#include "base/counters.h"

/* [any] Fills in the process_ gauges; one that cannot be read is 0. */
void spr_process_read(double *gauges);
