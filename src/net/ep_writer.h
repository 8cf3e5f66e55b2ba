/*
 * ep_writer - the outgoing queue of one connection, and the writing of it. Private to net/ep_push.
 *
 *   give --> given (mailbox) --> queue --> [one system call, as many frames as there are] --> the kernel
 *                                                            |                                   |
 *                 spr_ep_written.taken  <---------------------+---- awaits_tcp: unacked <---------+
 *
 * A frame has been taken when its last byte is in the kernel, or, with awaits_tcp, when the peer's TCP has acknowledged it.
 *
 * Writer      any thread: give. Whoever has the connection's turn: all else
 * Reader      the turn
 * Ownership   give moves frames in; they come out taken, cancelled, or left, which go elsewhere
 * Ordering    E2 (given), E15 (the turn)
 * Progress    nothing waits: a full kernel is SPR_EP_WRITE_BLOCKED
 * Limits      none of its own; whoever gives counts the bytes
 * Teardown    spr_ep_writer_leave()
 */
#pragma once

#include "net/ep_frame.h"

typedef struct spr_ep_writer {
	/* constant after init */
	int fd;
	bool is_ipc, awaits_tcp;

	spr_stack given;

	/* with the turn */
	spr_ep_queue queue;   /* not in the kernel whole */
	size_t sent;          /* bytes of the first that are */
	spr_ep_queue unacked; /* in the kernel, not yet with the peer */
	uint64_t written;     /* bytes in the stream */
} spr_ep_writer;

typedef enum spr_ep_write {
	SPR_EP_WRITE_IDLE,    /* nothing is left */
	SPR_EP_WRITE_MORE,    /* enough for one turn */
	SPR_EP_WRITE_BLOCKED, /* the kernel takes no more for now */
	SPR_EP_WRITE_BROKEN,
} spr_ep_write;

/* What comes out; the caller's, appended to. */
typedef struct spr_ep_written {
	spr_ep_queue taken, cancelled, left;
	size_t bytes; /* of all of them, as they stand in the stream */
} spr_ep_written;

/* [main, loop] */
void spr_ep_writer_init(spr_ep_writer *writer, int fd, bool is_ipc, bool awaits_tcp);
/* [any] Moves all of a queue that is not empty; then ask for the turn. */
void spr_ep_writer_give(spr_ep_writer *writer, spr_ep_queue *frames);
/* [turn] */
spr_ep_write spr_ep_writer_write(spr_ep_writer *writer, spr_ep_written *out);
/* [turn] Looks what TCP has acknowledged; false: nothing is waited for. */
bool spr_ep_writer_poll(spr_ep_writer *writer, spr_ep_written *out);
/* [turn] Takes out what was aborted; false: a frame was cut in its middle, nothing may follow. */
bool spr_ep_writer_abort(spr_ep_writer *writer, spr_ep_written *out);
/* [turn] The connection is over: whatever it has comes out. */
void spr_ep_writer_leave(spr_ep_writer *writer, spr_ep_written *out);
/* [any holder] Bytes of a frame in this connection's stream. */
static inline size_t
spr_ep_writer_size(const spr_ep_writer *writer, const spr_ep_frame *frame)
{
	return (frame->len + SPR_EP_LENGTH_BYTES + (writer->is_ipc ? 1 : 0));
}
