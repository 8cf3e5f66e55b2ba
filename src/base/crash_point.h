/*
 * crash_point - where the crash tests may stop a process, and how they make allocations fail.
 *
 * Only the crash flavour of the library has them (tests/crash/faults.c implements the two calls); nothing is left of
 * them in other builds. A point is named for what has just happened, or what comes next is called "before-".
 *
 * Threads     any
 */
#pragma once

#if defined(SPR_CRASH_POINTS)
/* [any] Stops the whole process here if the test asks for it: it then looks at the process, and kills it. */
void spr_crash_point(const char *name);
/* [any] True when this allocation must fail. */
_Bool spr_crash_allocation_fails(void);
#define SPR_CRASH_POINT(name) spr_crash_point(name)
#else
#define SPR_CRASH_POINT(name) ((void)0)
#endif
