/*
 * word - a pointer and 16 bits more in one word, so that readers load both at once.
 *
 * 48 bits are enough for a pointer into user space on x86-64; larger ones exist only for programs
 * that ask mmap() for them. Pure functions, [any].
 */
#pragma once

#include <stdint.h>

#define SPR_WORD_SHIFT 48

static inline uint64_t
spr_word(const void *pointer, uint64_t top)
{
	return ((uint64_t)(uintptr_t)pointer | top << SPR_WORD_SHIFT);
}

static inline void *
spr_word_pointer(uint64_t word)
{
	return ((void *)(uintptr_t)(word & ((UINT64_C(1) << SPR_WORD_SHIFT) - 1)));
}

static inline unsigned
spr_word_top(uint64_t word)
{
	return ((unsigned)(word >> SPR_WORD_SHIFT));
}
