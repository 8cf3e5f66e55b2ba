/*
 * clock - the two clocks: monotonic nanoseconds for durations, wall-clock seconds for leases and answers.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SPR_NS_PER_MS UINT64_C(1000000)
#define SPR_NS_PER_S  UINT64_C(1000000000)

/* [any] Monotonic, never 0. */
uint64_t spr_clock_now_ns(void);
/* [any] The same clock, at most some milliseconds late, for a fraction of the price. */
uint64_t spr_clock_coarse_ns(void);
/* [any] Seconds since 1970, UTC. */
int64_t spr_clock_wall_s(void);
/* [any] "2026-11-24T13:35:13Z"; out needs SPR_CLOCK_TEXT_MAX bytes. Years 0000 to 9999. */
#define SPR_CLOCK_TEXT_MAX 32
void spr_clock_format(int64_t wall_s, char *out);
/* [any] Reads an RFC 3339 time with any offset; fractions are dropped. False if it is none. */
_Bool spr_clock_parse(const char *text, int64_t *wall_s);
