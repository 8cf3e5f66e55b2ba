/*
 * top - the patterns with the most subscribers, kept while subscriptions change, so that showing them costs nothing.
 *
 * Of SPR_TOP_KEPT patterns the count is followed; one that has more than the least of them takes its place. After
 * removals a pattern that was not followed may have more than the last ones shown: it comes in with its next change.
 *
 * Writer      one control thread: note
 * Reader      any thread: read
 * Ownership   the struct is its owner's; reading copies
 * Ordering    a mutex around all of it; innermost
 * Progress    takes a lock for a moment; a note that changes nothing takes none
 * Limits      SPR_TOP_KEPT patterns
 * Teardown    nobody reads any more; fini
 */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "route/predicate.h"

#define SPR_TOP_KEPT  64
#define SPR_TOP_SHOWN 10

typedef struct spr_top_entry {
	const void *key; /* the pattern's node, while it has subscribers */
	uint64_t n;
	char pattern[SPR_PREDICATE_BYTES + 1];
} spr_top_entry;

typedef struct spr_top {
	/* guards all below */
	pthread_mutex_t lock;
	unsigned n;
	spr_top_entry entry[SPR_TOP_KEPT];
} spr_top;

/* [main] */
void spr_top_init(spr_top *top);
void spr_top_fini(spr_top *top);
/* [control] The pattern has n subscribers now; 0: its node goes. */
void spr_top_note(spr_top *top, const void *key, const char *pattern, size_t len, uint64_t n);
/* [any] The largest first; how many. */
unsigned spr_top_read(spr_top *top, spr_top_entry out[SPR_TOP_SHOWN]);
