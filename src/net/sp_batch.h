/*
 * sp_batch - the frames that a connection has been given to write together. Private to sp_push.
 *
 *   pending --give--> frames --parts--> nng_stream_send --written--> whole ones, to be ended
 *                       |                                    |
 *                       +------- take, when it breaks        +--> parts again, when the kernel took a part
 *
 * nng passes SPR_SP_PARTS parts to one system call and hands each call from thread to thread. So what has more frames is copied into one part,
 * which costs less than a second call; frames stay as they are meanwhile, for another connection when this one breaks.
 *
 * Threads     one at a time, the connection's writer; while a write is under way nobody
 * Ownership   frames are the batch's from give to written or take; so is the copy
 * Limits      as many frames as the caller says; SPR_SP_BATCH_BYTES with their heads, or one frame: so a copy is no longer than that, and it
 *             is there only as long as more than SPR_SP_PARTS frames are
 * Teardown    nothing is held when there are no frames
 */
#pragma once

#include <nng/nng.h>

#include "net/sp_frame.h"

#define SPR_SP_PARTS        8
#define SPR_SP_BATCH_FRAMES 64 /* at most */
#define SPR_SP_BATCH_BYTES  ((size_t)64 << 10)

typedef struct spr_sp_batch {
	frame_queue frames; /* not yet in the kernel whole */
	size_t bytes;       /* of them, with heads */
	size_t sent;        /* of those, in the kernel: less than the first frame */
	uint8_t *copy;      /* of what was not sent when it was made; NULL: none */
	size_t copy_len, copy_sent;
} spr_sp_batch;

/* True: one more frame of so many bytes, without its head, may be given, of max_frames. Into an empty one always. */
bool spr_sp_batch_has_room(const spr_sp_batch *batch, unsigned max_frames, size_t len,
			   size_t head_bytes);
void spr_sp_batch_give(spr_sp_batch *batch, frame *f, size_t head_bytes);
/* What is to be written next, at least one part; how many. Without memory for a copy it is not all that is left. */
unsigned spr_sp_batch_parts(spr_sp_batch *batch, size_t head_bytes, nng_iov parts[SPR_SP_PARTS]);
/* So many more bytes, of those parts, are in the kernel: whole frames go behind `written`, with SPR_OK. */
void
spr_sp_batch_written(spr_sp_batch *batch, size_t head_bytes, size_t bytes, frame_queue *written);
/* The first frame, which is not to be written here any more; NULL when there is none. */
frame *spr_sp_batch_take(spr_sp_batch *batch);
