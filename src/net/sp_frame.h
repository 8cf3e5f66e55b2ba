/*
 * sp_frame - a job in the frame it is sent in, queues of them, and the lane they come from. Private to sp_push.
 *
 *   tcp: length (8 bytes, big-endian), data        unix sockets: a byte 1 before that
 *
 * Threads     one at a time, whoever holds it: its lane's owner, a mailbox, the turn, a connection's writer
 */
#pragma once

#include <endian.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/stack.h"
#include "net/net.h"

#define HEAD_BYTES   16
#define LENGTH_BYTES 8 /* big-endian, before the data; on unix sockets a byte 1 before it */

/* A job in its frame. */
typedef struct frame frame;
struct frame {
	spr_stack_entry posted;
	frame *next; /* in pending, in a batch, among the ended */
	spr_push_lane *lane;
	void *cookie;
	size_t len;      /* of data */
	uint32_t aborts; /* of the lane when it was sent */
	spr_err result;
	uint8_t head[HEAD_BYTES]; /* the frame's head ends where data begins */
	uint8_t data[];
};

typedef struct frame_queue {
	frame *head, *tail;
	unsigned n;
} frame_queue;

struct spr_push_lane {
	/* constant after open */
	spr_push *push;
	spr_push_lane *next;
	spr_on_done on_done;
	void *arg;
	unsigned slots;

	/* by the owner and by completions */
	_Alignas(SPR_CACHELINE) atomic_uint n_out; /* sent and not ended */
	atomic_uint n_busy;                        /* n_out, until on_done has returned */
	_Atomic uint32_t n_aborts;
};

/* The head's last bytes stand just before data, for either kind of socket. */
static inline void
set_head(frame *f, size_t len)
{
	uint64_t length = htobe64(len);

	f->len = len;
	f->head[HEAD_BYTES - LENGTH_BYTES - 1] = 1;
	memcpy(f->head + HEAD_BYTES - LENGTH_BYTES, &length, LENGTH_BYTES);
}

static inline void
append(frame_queue *queue, frame *f)
{
	f->next = NULL;
	if (queue->tail != NULL)
		queue->tail->next = f;
	else
		queue->head = f;
	queue->tail = f;
	queue->n++;
}

static inline frame *
take_first(frame_queue *queue)
{
	frame *f = queue->head;

	if (f != NULL && (queue->head = f->next) == NULL)
		queue->tail = NULL;
	queue->n -= f != NULL;
	return (f);
}

static inline bool
is_aborted(const frame *f)
{
	/* relaxed: looked at again in the turn that the abort asks for */
	return (atomic_load_explicit(&f->lane->n_aborts, memory_order_relaxed) != f->aborts);
}

static inline bool
has_aborted(const frame_queue *batch)
{
	for (const frame *f = batch->head; f != NULL; f = f->next) {
		if (is_aborted(f))
			return (true);
	}
	return (false);
}

/* [with the turn] What was posted goes behind the queue. */
void spr_sp_frames_take(spr_stack *posted, frame_queue *queue);
/* [who has them] Their lanes are told of their end, with the result they carry; nothing may be held. */
void spr_sp_frames_end(frame_queue *ended);
/* [main, at the end] Nobody is told. */
void spr_sp_frames_free(frame_queue *queue);
