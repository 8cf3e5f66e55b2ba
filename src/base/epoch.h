/*
 * epoch - grace periods for what readers look at without locks (wraps ck_epoch; one writer).
 *
 * The rule: pointers read inside enter/leave die at leave; to keep one, hold a reference. Publish with a release store,
 * retire through here, and nobody else frees. Never wait inside a section.
 *
 * Writer      one thread: retire, collect, barrier
 * Reader      any registered thread: enter, leave
 * Ownership   retire moves the object to the epoch; its destructor runs on the writer, after every section that could
 *             have seen it has left
 * Ordering    E4: a destructor runs after the last access of any section that was open when its object was retired
 * Progress    enter and leave wait-free; retire wait-free; barrier waits for readers, yielding
 * Limits      records are never freed while the epoch lives; unregistered ones are recycled
 * Teardown    readers unregistered, then spr_epoch_free() runs what is pending
 */
#pragma once

#include "base/error.h"

typedef struct spr_epoch spr_epoch;
typedef struct spr_epoch_record spr_epoch_record;

/* Embedded in every object that can be retired. */
typedef struct spr_epoch_entry {
	struct spr_epoch_entry *next;
	void (*destroy)(struct spr_epoch_entry *entry);
} spr_epoch_entry;

/* [any] */
spr_err spr_epoch_new(spr_epoch **out);
/* [writer] Runs everything pending; no reader may be registered any more. NULL is fine. */
void spr_epoch_free(spr_epoch *epoch);

/* [any] Makes (or recycles) the calling thread's record. */
spr_err spr_epoch_register(spr_epoch *epoch, spr_epoch_record **out);
/* [the record's thread, outside a section] NULL is fine. */
void spr_epoch_unregister(spr_epoch_record *record);
/* [the record's thread] Nestable. */
void spr_epoch_enter(spr_epoch_record *record);
void spr_epoch_leave(spr_epoch_record *record);

/* [writer] destroy(entry) after a grace period. bytes is what it stands for in retired_bytes. A destructor may retire. */
void spr_epoch_retire(spr_epoch *epoch, spr_epoch_entry *entry, void (*destroy)(spr_epoch_entry *),
		      size_t bytes);
/* [writer] Runs destructors if enough is waiting (count or bytes) or for a second; cheap otherwise. Call once per round
 * of work. */
void spr_epoch_collect(spr_epoch *epoch);
/* [writer] Waits one grace period and runs every destructor. */
void spr_epoch_barrier(spr_epoch *epoch);
/* [any] Bytes retired and not destroyed yet; a snapshot. */
size_t spr_epoch_retired_bytes(const spr_epoch *epoch);
