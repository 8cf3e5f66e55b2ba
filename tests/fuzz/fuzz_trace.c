/*
 * fuzz_trace - the back-trace that a request begins with, against the plainest reading of its rule.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/sp_rep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Word by word: at most eight of devices, then the one whose top bit is set. */
static size_t
expected(const uint8_t *data, size_t size)
{
	for (size_t n = 0; n <= 8 && (n + 1) * 4 <= size; n++) {
		if (data[n * 4] >= 0x80)
			return ((n + 1) * 4);
	}
	return (0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* exact size, so that a read past the end is seen by the sanitizers */
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (copy == NULL)
		abort();
	if (size > 0)
		memcpy(copy, data, size);
	if (spr_sp_trace_len(copy, size) != expected(copy, size)) {
		fprintf(stderr, "a back-trace of %zu bytes, not %zu\n",
			spr_sp_trace_len(copy, size), expected(copy, size));
		abort();
	}
	free(copy);
	return (0);
}
