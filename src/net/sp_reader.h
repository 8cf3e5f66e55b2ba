/*
 * sp_reader - the messages of one stream on which the SP handshake is done. Private to net/.
 *
 *   spr_sp_reader_read() --> [nng] --> on_read --> spr_sp_reader_next() while it has messages --> spr_sp_reader_read() ...
 *                                                    | END: whatever the owner does to the stream, then spr_sp_reader_free()
 *
 * Nothing is read while nobody asks: not calling read is how a reader is paused, calling it, from any thread, how it goes
 * on. Between on_read and the next read the reader has one driver, whoever the owner lets be it; while a read is out it has
 * none, and only cut may be called.
 *
 * Writer      the driver; nng's thread while a read is out
 * Reader      the driver
 * Ownership   the stream stays the owner's: it may be closed and freed once next said END, not before (nng never ends an
 *             operation that begins on a closed stream); one that speaks TLS is closed by a cut, and when its connection is
 *             lost. A message found is the caller's, with one reference
 * Ordering    what the driver did before read is visible in on_read: nng's locks, and the reader's mutex
 * Progress    no call waits for the peer; the mutex is held while a read is begun, so that a cut reaches it or stops it
 * Limits      4 KiB a connection, up to 64 KiB once reads come back full; a message that is longer is read into its own
 *             memory, which grows with what has arrived and not with what was announced; max_message ends the stream
 * Teardown    after END; a cut makes it come. Over TLS a connection that is lost is found within some two seconds, while
 *             timers run (net/timer.h)
 */
#pragma once

#include "net/nng_common.h"

typedef struct spr_sp_reader spr_sp_reader;

typedef enum spr_sp_found {
	SPR_SP_FOUND_MESSAGE,
	SPR_SP_FOUND_NOTHING, /* a read is needed */
	SPR_SP_FOUND_END,     /* there will be no more */
} spr_sp_found;

typedef struct spr_sp_reader_config {
	nng_stream *stream;
	bool is_ipc; /* frames begin with a byte 1 */
	bool is_tls;
	size_t max_message;
	const char *limit_name; /* of max_message, for the log: "--max-message" */
	/* [nng-cb] The read that was asked for has ended; the reader may be freed here. */
	void (*on_read)(void *arg);
	void *arg;
} spr_sp_reader_config;

/* [any] SPR_E_NOMEM. Nothing is read yet. */
spr_err spr_sp_reader_new(spr_sp_reader **out, const spr_sp_reader_config *config);
/*
 * [driver] Reads what there is, once; on_read will be called once, from another thread and perhaps before this returns.
 * False: it was cut, on_read is not called, and the next look says END.
 */
bool spr_sp_reader_read(spr_sp_reader *self);
/*
 * [driver] The next message that was read whole. Out of memory is NOTHING too: the read that follows waits a moment and
 * then ends, and what was read is looked at again. An end that the peer is to blame for is counted and logged.
 */
spr_sp_found spr_sp_reader_next(spr_sp_reader *self, uint64_t now_ns, spr_buf **out);
/* [any, while the reader exists] Nothing more is read. True: a read was out, and on_read comes; false: the driver meets it. */
bool spr_sp_reader_cut(spr_sp_reader *self);
/* [driver] Messages found so far. */
uint64_t spr_sp_reader_count(const spr_sp_reader *self);
/* [any] Constant. */
const spr_peer *spr_sp_reader_peer(const spr_sp_reader *self);
/* [driver, no read out; in on_read too] NULL is fine. */
void spr_sp_reader_free(spr_sp_reader *self);
