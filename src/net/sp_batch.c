/*
 * sp_batch - frames as parts of one system call, or as one copy.
 */
#include "net/sp_batch.h"

#include <string.h>

bool
spr_sp_batch_has_room(const spr_sp_batch *batch, unsigned max_frames, size_t len, size_t head_bytes)
{
	if (batch->frames.n == 0)
		return (true);
	return (batch->frames.n < max_frames &&
		batch->bytes + len + head_bytes <= SPR_SP_BATCH_BYTES);
}

void
spr_sp_batch_give(spr_sp_batch *batch, frame *f, size_t head_bytes)
{
	append(&batch->frames, f);
	batch->bytes += f->len + head_bytes;
}

/* Without memory there is none. */
static void
make_copy(spr_sp_batch *batch, size_t head_bytes)
{
	size_t skip = batch->sent;
	uint8_t *at;

	batch->copy_sent = 0;
	batch->copy_len = batch->bytes - batch->sent;
	if ((batch->copy = at = spr_mem_alloc(batch->copy_len)) == NULL)
		return;
	for (const frame *f = batch->frames.head; f != NULL; f = f->next) {
		memcpy(at, f->data - head_bytes + skip, f->len + head_bytes - skip);
		at += f->len + head_bytes - skip;
		skip = 0;
	}
}

static void
drop_copy(spr_sp_batch *batch)
{
	spr_mem_free(batch->copy);
	batch->copy = NULL;
}

unsigned
spr_sp_batch_parts(spr_sp_batch *batch, size_t head_bytes, nng_iov parts[SPR_SP_PARTS])
{
	size_t skip = batch->sent;
	unsigned n = 0;

	if (batch->copy == NULL && batch->frames.n > SPR_SP_PARTS)
		make_copy(batch, head_bytes);
	if (batch->copy != NULL) {
		parts[0] = (nng_iov){.iov_buf = batch->copy + batch->copy_sent,
				     .iov_len = batch->copy_len - batch->copy_sent};
		return (1);
	}
	for (frame *f = batch->frames.head; f != NULL && n < SPR_SP_PARTS; f = f->next) {
		parts[n++] = (nng_iov){.iov_buf = f->data - head_bytes + skip,
				       .iov_len = f->len + head_bytes - skip};
		skip = 0;
	}
	return (n);
}

void
spr_sp_batch_written(spr_sp_batch *batch, size_t head_bytes, size_t bytes, frame_queue *written)
{
	batch->sent += bytes;
	batch->copy_sent += bytes;
	while (batch->frames.head != NULL && batch->sent >= batch->frames.head->len + head_bytes) {
		frame *f = take_first(&batch->frames);

		batch->sent -= f->len + head_bytes;
		batch->bytes -= f->len + head_bytes;
		f->result = SPR_OK;
		append(written, f);
	}
	if (batch->frames.n <= SPR_SP_PARTS) /* what is left can do without */
		drop_copy(batch);
}

frame *
spr_sp_batch_take(spr_sp_batch *batch)
{
	drop_copy(batch);
	batch->bytes = 0;
	batch->sent = 0;
	return (take_first(&batch->frames));
}
