/*
 * metrics_text - every counter, gauge and histogram as a Prometheus page. Built from the table of base/counters.h alone;
 * a reader of snapshots, [any].
 */
#pragma once

#include "control/verbs.h"

typedef enum spr_metrics_format {
	SPR_METRICS_PLAIN, /* Prometheus text 0.0.4 */
	SPR_METRICS_OPEN,  /* OpenMetrics 1.0 */
} spr_metrics_format;

/* [any] What an Accept header asks for; NULL: plain. */
spr_metrics_format spr_metrics_accepted(const char *accept);
/* [any] The Content-Type of a format. */
const char *spr_metrics_type(spr_metrics_format format);
/* [any] The page, malloc memory; NULL: out of memory. */
char *spr_metrics_write(const spr_control_env *env, spr_metrics_format format, size_t *len);
