/*
 * mem - allocation through one door, so that tests can make each one fail in turn.
 *
 * Memory is plain malloc memory: spr_mem_free() may free what malloc gave and the other way round.
 */
#pragma once

#include <stddef.h>

#define SPR_CACHELINE 64

/*
 * [main, before threads] Tells malloc to keep what comes and goes: by default it gives blocks of a batch's size back to the
 * kernel each time, and each page of the next one is a fault.
 */
void spr_mem_tune(void);
/* [any] NULL when out of memory (or when a checked build was told to fail). A size of 0 gives a unique pointer. */
void *spr_mem_alloc(size_t size) __attribute__((malloc, warn_unused_result));
void *spr_mem_zalloc(size_t size) __attribute__((malloc, warn_unused_result));
void *spr_mem_realloc(void *p, size_t size) __attribute__((warn_unused_result));
/* [any] Zeroed, aligned to SPR_CACHELINE. */
void *spr_mem_zalloc_aligned(size_t size) __attribute__((malloc, warn_unused_result));
char *spr_mem_strdup(const char *text) __attribute__((warn_unused_result));
/* [any] NULL is fine. */
void spr_mem_free(void *p);

#if defined(SPR_CHECKED) && !defined(SPR_CRASH_POINTS)
/* [test] The n-th allocation from now (1 = next) by the calling thread fails, and all after it; 0: never. */
void spr_mem_fail_at(unsigned long n);
/* [test] Allocations made by the calling thread since the last spr_mem_fail_at(). */
unsigned long spr_mem_count(void);
#endif
