/*
 * queue_input - notifications from a descriptor, one document a line: good lines go on in batches, bad ones are reported and
 * cost only themselves.
 *
 * Threads     one at a time
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

typedef struct queue_input {
	int fd;
	int stop_fd; /* readable: end; -1: none */
	size_t max_body;
	/* Waits until the documents are on disk. On an error none of them is, and the trail says why. */
	spr_err (*take)(void *arg, const uint8_t *documents, size_t len);
	void *arg;
	FILE *complaints; /* "line 3: not JSON" */
	/* results */
	uint64_t n_taken, n_refused;
} queue_input;

/* Until the end of the input. SPR_E_IO when it cannot be read; SPR_E_CANCELLED when stopped; SPR_E_NOMEM. */
spr_err queue_input_run(queue_input *input);
