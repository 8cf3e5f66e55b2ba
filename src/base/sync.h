/*
 * sync - the marks that let ThreadSanitizer see the edges that Concurrency Kit makes in inline assembly.
 *
 * SPR_TSAN_RELEASE(p) before the CK call that publishes, SPR_TSAN_ACQUIRE(p) after the one that observes, p being the
 * shared object. No code in other builds. SPR_YIELD() may give up the processor at an edge in checked builds, so that
 * race tests see more interleavings.
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
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define SPR_TSAN_ACQUIRE(p) __tsan_acquire((void *)(p))
#define SPR_TSAN_RELEASE(p) __tsan_release((void *)(p))
#else
#define SPR_TSAN_ACQUIRE(p) ((void)(p))
#define SPR_TSAN_RELEASE(p) ((void)(p))
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
