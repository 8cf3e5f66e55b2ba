/*
 * batch - jobs that go as one message, one a line: their bytes, and whose they are.
 *
 *   free ----> being filled (dispatcher) ----> sent ----> ended (completion) ----> free
 *
 * Writer      the dispatcher that fills it, then its completion
 * Reader      as the writer
 * Ownership   a batch holds one push count of its notification for every job in it; what it was told of a job is given back
 *             with the message, as a whole. The message's memory is the transport's from the send on
 * Ordering    E2: its lane's free list, and the transport's way from the send to the completion
 * Progress    wait-free but for the allocator
 * Limits      jobs by the bytes of the message; what is noted of them, 16 bytes a notification and 4 a job, grows with the
 *             largest batch so far and is kept
 * Teardown    spr_batch_fini(), when it is free
 */
#pragma once

#include <stdbool.h>

#include "base/stack.h"
#include "net/net.h"
#include "path/notification.h"

/* So many jobs in a row are this notification's. */
typedef struct spr_batch_share {
	spr_notification *notification;
	uint32_t n;
} spr_batch_share;

typedef struct spr_batch {
	spr_stack_entry link; /* at an aligned start: the free list needs it */
	spr_out out;
	size_t size; /* bytes that out was made with */
	size_t used;
	uint32_t n_jobs;
	uint32_t n_shares;
	uint32_t capacity; /* jobs that can be noted */
	bool has_numbers;  /* receipts are awaited */
	spr_batch_share *shares;
	uint32_t *numbers; /* in the table of jobs, in the order of the shares */
} spr_batch;

/* Out of line: what spr_batch_can_note() leaves over. */
bool spr_batch_grow(spr_batch *batch);

/* [dispatcher] One more job can be noted. False: no memory. */
static inline bool
spr_batch_can_note(spr_batch *batch)
{
	return (batch->n_jobs < batch->capacity || spr_batch_grow(batch));
}

/* [dispatcher] A job is in it; spr_batch_can_note() was true. */
static inline void
spr_batch_note(spr_batch *batch, spr_notification *notification, uint32_t number)
{
	if (batch->has_numbers)
		batch->numbers[batch->n_jobs] = number;
	batch->n_jobs++;
	if (batch->n_shares > 0 && batch->shares[batch->n_shares - 1].notification == notification)
		batch->shares[batch->n_shares - 1].n++;
	else
		batch->shares[batch->n_shares++] = (spr_batch_share){notification, 1};
}

/* [its completion] Empty again. */
static inline void
spr_batch_clear(spr_batch *batch)
{
	batch->used = 0;
	batch->n_jobs = batch->n_shares = 0;
}

/* [main] */
void spr_batch_fini(spr_batch *batch);
