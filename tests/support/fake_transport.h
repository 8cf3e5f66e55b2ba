/*
 * fake_transport - a transport without sockets: the test delivers messages and ends sends by hand, so that what stands on
 * net.h is tested without sleeps. One pull and one push at a time; the calls below mean the one that is open.
 *
 * Misuse that a real transport would punish (a message for a receive that is not armed, a re-arm of one that is) ends the
 * program with a message.
 */
#pragma once

#include "net/net.h"

#define SPR_FAKE_RECEIVES 16
#define SPR_FAKE_LANES    16

extern const spr_transport spr_transport_fake;

/* [any] A message with a copy of these bytes, one reference. Made of plain malloc: never fails, is not counted. */
spr_buf *spr_fake_buf(const void *data, size_t len);
/* [any] Messages that are not released yet: a test ends with 0. */
unsigned spr_fake_bufs(void);

/* [one thread a receive] Plays the completion of an armed receive; true when it is armed again. Takes buf over. */
bool spr_fake_deliver(unsigned receive, spr_buf *buf);
/* [any] Acquire: who sees true may deliver. */
bool spr_fake_is_armed(unsigned receive);
/* [any] How often a parked receive was re-armed. */
unsigned spr_fake_rearms(unsigned receive);

/*
 * [any] Ends the oldest send of a lane (numbered as they were opened) as its completion would; one that was aborted ends
 * with SPR_E_CANCELLED whatever the result. Returns the job as text that the caller frees with free(), NULL when none is
 * out.
 */
char *spr_fake_end(unsigned lane, spr_err result);
/* [any] The same for up to max jobs, at most SPR_DONE_MAX, which end in one call; their texts, one a line. */
char *spr_fake_end_run(unsigned lane, unsigned max, spr_err result);
/* [any] The same for all that are out now, texts thrown away; returns how many. */
unsigned spr_fake_end_all(unsigned lane, spr_err result);
/* [any] What the oldest send would return, without ending it: a worker may have read it before its completion runs. */
char *spr_fake_peek(unsigned lane);
/* [any] Sends that have not ended. */
unsigned spr_fake_busy(unsigned lane);
/* [any] Jobs that are built or sent and not yet gone: a test ends with 0. */
unsigned spr_fake_outs(void);
/* [any] Bytes that they were made with. */
size_t spr_fake_out_bytes(void);
/* [test] While true, no job gets memory. Jobs use spr_mem_alloc(), so spr_mem_fail_at() works too. */
void spr_fake_refuse_outs(bool refuse);
/* [test] What push_flush answers; true after push_open. */
void spr_fake_set_flushed(bool is_flushed);

/* [test] A peer comes (+1) or goes (-1). */
void spr_fake_pull_pipe(int change);
void spr_fake_push_pipe(int change);
