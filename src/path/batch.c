/*
 * batch - what a batch notes of its jobs grows by doubling, and stays: a lane's few batches soon fit their load, and from then on
 * a job costs no allocation.
 */
#include "path/batch.h"

#include "base/mem.h"

#define FIRST_CAPACITY 32

bool
spr_batch_grow(spr_batch *batch)
{
	uint32_t capacity = batch->capacity == 0 ? FIRST_CAPACITY : batch->capacity * 2;
	spr_batch_share *shares = spr_mem_realloc(batch->shares, capacity * sizeof(*shares));
	uint32_t *numbers;

	if (shares == NULL)
		return (false);
	batch->shares = shares; /* longer than it says, should numbers find no memory */
	if (batch->has_numbers) {
		if ((numbers = spr_mem_realloc(batch->numbers, capacity * sizeof(*numbers))) ==
		    NULL)
			return (false);
		batch->numbers = numbers;
	}
	batch->capacity = capacity;
	return (true);
}

void
spr_batch_fini(spr_batch *batch)
{
	spr_mem_free(batch->shares);
	spr_mem_free(batch->numbers);
	batch->shares = NULL;
	batch->numbers = NULL;
	batch->capacity = 0;
}
