/*
 * intake - receives messages and hands each to a dispatcher's ring; stops receiving when there is no room.
 *
 *   pull socket --on_receive--> receiver --try_push--> ring (receiver, dispatcher) --spr_intake_pop--> dispatcher
 *                                  |  no room: parked                                                     |
 *                                  +<------- un-parked by whoever makes room: pop, spr_intake_finish -----+
 *
 * Writer      receivers (completions of the pull socket, serial per receiver)
 * Reader      dispatchers: each pops its own rings
 * Ownership   a buffer moves receiver -> ring -> dispatcher; spr_intake_finish() gives one reference back
 * Ordering    E1 (ring); E13: a receiver's state (preferred ring, parked buffer) passes with the parked mark: set with
 *             release by the receiver, taken with acquire by the compare-and-swap of whoever un-parks it; making room,
 *             then reading the mark, against setting the mark, then looking again: sequentially consistent
 * Progress    a receiver never waits; un-parking is lock-free
 * Limits      byte budget for received messages; ring slots; a message over max_message costs its sender the connection
 * Teardown    stop (no callback runs any more), dispatchers drain, then free
 */
#pragma once

#include "net/net.h"
#include "path/waiters.h"

typedef struct spr_intake spr_intake;

typedef struct spr_intake_config {
	const spr_transport *transport;
	unsigned receivers;
	unsigned ring_slots;
	size_t max_message;
	size_t max_bytes;               /* of received messages not yet finished */
	uint64_t spin_ns;               /* see net.h */
	const spr_waiters *dispatchers; /* complete before start */
	unsigned n_dispatchers;
} spr_intake_config;

/* [main] */
spr_err spr_intake_new(spr_intake **out, const spr_intake_config *config);
spr_err spr_intake_listen(spr_intake *intake, const char *url, char *bound);
spr_err spr_intake_dial(spr_intake *intake, const char *url);
void spr_intake_start(spr_intake *intake);
/* [main] Nothing is received any more; what was received stays to be popped. */
void spr_intake_stop(spr_intake *intake);
/* [main] NULL is fine. Frees what nobody popped. */
void spr_intake_free(spr_intake *intake);

/* [dispatcher number d] The next message, one reference to finish; NULL when there is none. */
spr_buf *spr_intake_pop(spr_intake *intake, unsigned d);
/* [any] Gives back one reference; the last one returns the bytes to the budget. */
void spr_intake_finish(spr_intake *intake, spr_buf *buf);

/* [any] Snapshots: messages waiting in rings or held, bytes of the budget in use, receivers
 * parked. */
unsigned spr_intake_waiting(const spr_intake *intake);
/* [any] A snapshot: messages in the rings of dispatcher d. */
unsigned spr_intake_waiting_for(const spr_intake *intake, unsigned d);
size_t spr_intake_bytes(const spr_intake *intake);
unsigned spr_intake_parked(const spr_intake *intake);
