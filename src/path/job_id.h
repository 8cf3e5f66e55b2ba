/*
 * job_id - what a job is called on the wire, and the key it has in the table of jobs; spreader/wire.h has the recipe.
 *
 * The part of the notification is hashed once, the part of the callback when it is interned; a job costs one hash of 32 bytes.
 * Pure functions, [any].
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "path/jobs.h"
#include "path/scan.h"
#include "route/subscriptions.h"

/* The notification's part: N in the recipe. */
typedef struct spr_job_source {
	uint64_t low;
	uint64_t high;
} spr_job_source;

/* from and id as decoded; both of at most SPREADER_ID_MAX bytes. */
spr_job_source spr_job_source_of(spr_range from, spr_range id);
spr_job_key spr_job_key_of(const spr_job_source *source, const spr_callback *callback);
/* Writes SPREADER_JOB_HEX digits. */
void spr_job_key_write(uint8_t *out, spr_job_key key);
/* Reads so many lower-case digits; false when they are none. */
bool spr_job_key_read(const uint8_t *hex, spr_job_key *key);
