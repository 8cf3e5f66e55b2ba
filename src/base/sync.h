/*
 * sync - the marks that let ThreadSanitizer see the edges that Concurrency Kit makes in inline
 * assembly.
 *
 * SPR_TSAN_RELEASE(p) before the CK call that publishes, SPR_TSAN_ACQUIRE(p) after the one that
 * observes, p being the shared object. SPR_TSAN_IGNORE_BEGIN/END go around a CK call whose inlined
 * plain accesses (a slot copy, a link) are ordered by its own atomics: a mark outside the call
 * cannot stand between the access and the atomic. Nothing but that call may stand between the two.
 * No code in other builds. SPR_YIELD() may give up the processor at an edge in checked builds, so
 * that race tests see more interleavings.
 *
 * Threads     any; the marks name the edge of whoever uses them
 */
#pragma once

#if defined(__SANITIZE_THREAD__)
#define SPR_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SPR_TSAN 1
#endif
#endif

#if defined(SPR_TSAN)
#include <stdint.h>

void __tsan_acquire(void *address);
void __tsan_release(void *address);
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
#define SPR_TSAN_ACQUIRE(p) __tsan_acquire((void *)(uintptr_t)(p))
#define SPR_TSAN_RELEASE(p) __tsan_release((void *)(uintptr_t)(p))
#define SPR_TSAN_IGNORE_BEGIN()                                \
	do {                                                   \
		AnnotateIgnoreReadsBegin(__FILE__, __LINE__);  \
		AnnotateIgnoreWritesBegin(__FILE__, __LINE__); \
	} while (0)
#define SPR_TSAN_IGNORE_END()                                \
	do {                                                 \
		AnnotateIgnoreWritesEnd(__FILE__, __LINE__); \
		AnnotateIgnoreReadsEnd(__FILE__, __LINE__);  \
	} while (0)
#else
#define SPR_TSAN_ACQUIRE(p)     ((void)(p))
#define SPR_TSAN_RELEASE(p)     ((void)(p))
#define SPR_TSAN_IGNORE_BEGIN() ((void)0)
#define SPR_TSAN_IGNORE_END()   ((void)0)
#endif

#if defined(SPR_CHECKED)
/* [any] Yields with the probability set by spr_sync_yield_percent(); thread-local generator. */
void spr_sync_yield(void);
/* [test] 0 (default) to 100. */
void spr_sync_yield_percent(unsigned percent);
#define SPR_YIELD() spr_sync_yield()
#else
#define SPR_YIELD() ((void)0)
#endif

/*
 * Orders every earlier access before every later one. atomic_thread_fence() would do, but
 * ThreadSanitizer refuses to compile it; a locked instruction is what it becomes on x86-64, the
 * only processor this builds on.
 */
#define SPR_FULL_FENCE() __asm__ volatile("lock; orq $0, (%%rsp)" ::: "memory", "cc")
