/*
 * spr_test - the words that all tests use, over cmocka.
 *
 * cmocka's own assertions end a test by a long jump: they belong to the test's main thread only.
 * Other threads keep what they found in atomics, which the main thread asserts after joining them.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/error.h"

/* The expression gives SPR_OK; otherwise both names and the trail are printed. */
#define assert_ok(expr) spr_test_expect((expr), SPR_OK, #expr, __FILE__, __LINE__)
/* The expression gives this very error. */
#define assert_fails(expr, err) spr_test_expect((expr), (err), #expr, __FILE__, __LINE__)
void spr_test_expect(spr_err got, spr_err wanted, const char *text, const char *file, int line);

/* True as soon as the condition holds, false when it still does not after ms milliseconds. The
 * limit is for hangs, not for speed: give it seconds. */
#define wait_until(condition, ms)                                              \
	({                                                                     \
		uint64_t wait_end_ = spr_test_deadline_ns(ms);                 \
		bool wait_ok_;                                                 \
		while (!(wait_ok_ = (condition)) && spr_test_pause(wait_end_)) \
			continue;                                              \
		wait_ok_;                                                      \
	})
uint64_t spr_test_deadline_ns(unsigned ms);
/* Gives up the processor for a moment; false once the deadline has passed. */
bool spr_test_pause(uint64_t deadline_ns);

/* The program's seed: SPR_TEST_SEED, or a fresh one. Printed on first use, so that a failure can be
 * repeated. */
uint64_t spr_test_seed(void);
/* A generator of the caller's own: start the state with spr_test_seed() plus something, each thread
 * another. */
uint64_t spr_test_random(uint64_t *state);
/* The same, below n. */
uint64_t spr_test_below(uint64_t *state, uint64_t n);

/* A new, private directory; spr_test_cleanup() removes it with all that is in it, and frees the
 * name. */
char *spr_test_tmpdir(void);
void spr_test_cleanup(char *dir);
