/*
 * ep_frame - a job in the frame it is sent in, queues of frames, and the lane they are made for. Private to net/ep_*.
 *
 *   tcp: length (8 bytes, big-endian), data        unix sockets: a byte 1 before that
 *
 * The bytes of successive frames stand side by side in a chunk, so that a run of them is one part of one system call; the
 * frame itself is a record beside it. Both are used again and again: a lane that runs asks for no memory.
 *
 *   spr_ep_frame_new --> [lane owner] fills --> spr_ep_frame_seal --> connections --> spr_ep_frames_end --+
 *          ^                                                                                              |
 *          +------------------- records, chunks: mailboxes of the lane <----------------------------------+
 *
 * Writer      the lane's owner: new, seal. Whoever holds a frame: its links
 * Reader      whoever holds a frame: its bytes
 * Ownership   one holder at a time: the owner, a mailbox, a turn, a connection's writer
 * Ordering    E2 (records and chunks come back); E10 (lane_busy); E21: what was done with the bytes of a chunk happens
 *             before the chunk is filled again
 * Progress    lock-free
 * Limits      records: slots and those being ended; a chunk stays while any frame in it does: at most one a slot
 * Teardown    spr_ep_lane_free() when no frame is out
 */
#pragma once

#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/stack.h"
#include "net/net.h"

#define SPR_EP_LENGTH_BYTES 8

typedef struct spr_ep_frame spr_ep_frame;
typedef struct spr_ep_chunk spr_ep_chunk;

struct spr_ep_frame {
	spr_stack_entry entry; /* of the first in a chain: posted, given, or on its way back */
	spr_ep_frame *next;
	spr_ep_frame *last; /* of the first in a chain */
	spr_push_lane *lane;
	spr_ep_chunk *chunk;
	void *cookie;
	uint8_t
	    *data; /* behind its length, and behind a byte 1 before that if the chunk has them */
	size_t len;
	uint64_t end;    /* in its connection's stream, while it waits for TCP */
	uint32_t aborts; /* of the lane when it was sent */
};

typedef struct spr_ep_queue {
	spr_ep_frame *head, *tail;
	unsigned n;
} spr_ep_queue;

struct spr_push_lane {
	/* constant after open */
	spr_push *push;
	spr_push_lane *next;
	void *arg;
	unsigned slots;
	_Atomic uint32_t n_aborts; /* seldom written, both */
	atomic_bool has_lead;      /* frames are made with a byte 1: they go to unix sockets */

	/* the owner's */
	_Alignas(SPR_CACHELINE) atomic_uint n_sent; /* others read it */
	spr_ep_queue open;                          /* sent, not flushed */
	size_t open_bytes;
	spr_ep_frame *free;
	spr_ep_chunk *chunk, *spare;
	size_t chunk_bytes; /* of a new one */

	/* written by whoever ends frames */
	_Alignas(SPR_CACHELINE) atomic_uint n_freed; /* slots given back */
	atomic_uint n_done;                          /* on_done has returned */
	spr_stack frames_back, chunks_back;
};

/* [main] NULL without memory. */
spr_push_lane *spr_ep_lane_new(spr_push *push, unsigned slots, void *arg);
/* [main] No frame is out. NULL is fine. */
void spr_ep_lane_free(spr_push_lane *lane);
/* [lane owner] Room for len bytes; NULL without memory. */
spr_ep_frame *spr_ep_frame_new(spr_push_lane *lane, size_t len);
/* [lane owner] It is complete, and of at most the length that it was made for. */
void spr_ep_frame_seal(spr_ep_frame *frame, size_t len);
/* [any] One that was not sent. */
void spr_ep_frame_free(spr_ep_frame *frame);
/* [any] Ends them all: on_done is told of each, and their memory goes back. Nothing may be held; the queue is empty then. */
void spr_ep_frames_end(spr_ep_queue *queue, spr_on_done on_done, spr_err result);
/* [holder] A byte 1 stands before its length. */
bool spr_ep_frame_has_lead(const spr_ep_frame *frame);

static inline void
spr_ep_queue_append(spr_ep_queue *queue, spr_ep_frame *frame)
{
	frame->next = NULL;
	if (queue->tail != NULL)
		queue->tail->next = frame;
	else
		queue->head = frame;
	queue->tail = frame;
	queue->n++;
}

static inline spr_ep_frame *
spr_ep_queue_take(spr_ep_queue *queue)
{
	spr_ep_frame *frame = queue->head;

	if (frame != NULL && (queue->head = frame->next) == NULL)
		queue->tail = NULL;
	queue->n -= frame != NULL;
	return (frame);
}

/* All of it in one step; it is empty then, and must not have been before. */
static inline void
spr_ep_queue_push(spr_ep_queue *queue, spr_stack *mailbox)
{
	queue->head->last = queue->tail;
	queue->head->end = queue->n;
	spr_mailbox_push(mailbox, &queue->head->entry); /* E2 */
	*queue = (spr_ep_queue){0};
}

/* Whatever was pushed comes behind what is there. */
static inline void
spr_ep_queue_pop(spr_ep_queue *queue, spr_stack *mailbox)
{
	spr_stack_entry *entry, *next;

	for (entry = spr_mailbox_pop_all(mailbox); entry != NULL; entry = next) {
		spr_ep_frame *first = SPR_STACK_CONTAINER(entry, spr_ep_frame, entry);

		next = spr_stack_next(entry);
		if (queue->tail != NULL)
			queue->tail->next = first;
		else
			queue->head = first;
		queue->tail = first->last;
		queue->n += (unsigned)first->end;
	}
}

static inline bool
spr_ep_frame_is_aborted(const spr_ep_frame *frame)
{
	/* relaxed: looked at again in the turn that the abort asks for */
	return (atomic_load_explicit(&frame->lane->n_aborts, memory_order_relaxed) !=
		frame->aborts);
}
