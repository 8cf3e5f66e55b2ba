/*
 * dead_letter - what was given up for good, one JSON object a line: `--dead-letter FILE`.
 *
 *   {"time":"2026-11-24T13:35:13Z","reason":"not_json","peer":"tcp://10.0.0.7:40112","from":"eu","id":"7","bytes":"[1,"}
 *
 * peer, from, id and bytes are left out when there are none. bytes is the document as text; when it is no
 * UTF-8 each character stands for the byte of its number, and "binary":true follows. Of a document
 * over SPR_DEAD_LETTER_BYTES_MAX only the begin is kept, and "truncated":true follows.
 *
 * Writer      any thread: spr_dead_letter_write()
 * Reader      the thread "dead-letter" writes what is queued to the file
 * Ownership   what is passed to write is copied
 * Ordering    E2: a letter's bytes, from write to the thread
 * Progress    write never waits for the disk: it copies, pushes (lock-free) and wakes the thread
 * Limits      SPR_DEAD_LETTER_QUEUE_MAX bytes are queued; a letter over it, one without memory and
 *             one that the disk does not take are lost, counted (DEAD_LETTER_ERRORS) and logged.
 *             Letters are handed to the system, not synced
 * Teardown    after all writers have stopped; stop writes what is queued
 */
#pragma once

#include "base/error.h"
#include "net/peer.h"
#include "path/scan.h"
#include "spreader/wire.h"

#define SPR_DEAD_LETTER_BYTES_MAX ((size_t)64 << 10)
#define SPR_DEAD_LETTER_QUEUE_MAX ((size_t)8 << 20)

typedef struct spr_dead_letter spr_dead_letter;

/*
 * [main] Opens the file (made with mode 0600) for appending. SPR_E_IO names it, SPR_E_NOMEM. Without
 * a path letters are counted (DEAD_LETTERS) and nothing else.
 */
spr_err spr_dead_letter_new(spr_dead_letter **out, const char *path);
/* [main] Starts the thread. */
spr_err spr_dead_letter_start(spr_dead_letter *dl);
/* [any] peer may be NULL. from and id are decoded (not escaped) text; an empty range is none. */
void spr_dead_letter_write(spr_dead_letter *dl, spreader_reason reason, const spr_peer *peer,
			   spr_range from, spr_range id, spr_range bytes);
/* [any] The thread opens the path again; if that fails it logs it and keeps the file it has. */
void spr_dead_letter_reopen(spr_dead_letter *dl);
/* [the thread; main while there is none] Writes all that is queued; how many letters it was. */
unsigned spr_dead_letter_flush(spr_dead_letter *dl);
/* [main] Ends the thread and writes what is left. Fine without a start. */
void spr_dead_letter_stop(spr_dead_letter *dl);
/* [main] Stops first. NULL is fine. */
void spr_dead_letter_free(spr_dead_letter *dl);
