/*
 * mem - the one door to malloc.
 *
 * Checked builds count each thread's allocations and fail them on request. The count is
 * thread-local on purpose: a test that walks "the n-th allocation fails" must not depend on what
 * other threads happen to allocate meanwhile.
 */
#include "base/mem.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash_point.h"

#define MMAP_BYTES (8 << 20)  /* from here on a block is mapped by itself */
#define TRIM_BYTES (32 << 20) /* so much that is free at the end of an arena stays there */

void
spr_mem_tune(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
	(void)mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
}

#if defined(SPR_CRASH_POINTS)
#define must_fail() spr_crash_allocation_fails()
#elif defined(SPR_CHECKED)
static _Thread_local unsigned long n_allocations;
static _Thread_local unsigned long fail_from; /* 0: never */

void
spr_mem_fail_at(unsigned long n)
{
	n_allocations = 0;
	fail_from = n;
}

unsigned long
spr_mem_count(void)
{
	return (n_allocations);
}

static int
must_fail(void)
{
	n_allocations++;
	return (fail_from != 0 && n_allocations >= fail_from);
}
#else
#define must_fail() 0
#endif

/* The C library may answer a size of 0 with NULL, which callers would take for "out of memory". */
static size_t
at_least_one(size_t size)
{
	return (size == 0 ? 1 : size);
}

void *
spr_mem_alloc(size_t size)
{
	return (must_fail() ? NULL : malloc(at_least_one(size)));
}

void *
spr_mem_zalloc(size_t size)
{
	return (must_fail() ? NULL : calloc(1, at_least_one(size)));
}

void *
spr_mem_realloc(void *p, size_t size)
{
	return (must_fail() ? NULL : realloc(p, at_least_one(size)));
}

void *
spr_mem_zalloc_aligned(size_t size)
{
	size_t rounded;
	void *p;

	if (must_fail() || size > SIZE_MAX - SPR_CACHELINE + 1)
		return (NULL);
	/* aligned_alloc() wants a multiple of the alignment */
	rounded = (at_least_one(size) + SPR_CACHELINE - 1) / SPR_CACHELINE * SPR_CACHELINE;
	if ((p = aligned_alloc(SPR_CACHELINE, rounded)) != NULL)
		memset(p, 0, rounded);
	return (p);
}

char *
spr_mem_strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = spr_mem_alloc(size);

	if (copy != NULL)
		memcpy(copy, text, size);
	return (copy);
}

void
spr_mem_free(void *p)
{
	free(p);
}
