/*
 * notification - the record of one notification in flight, and the fixed pool of them.
 *
 *        take                open                  complete (both 0)               accepted, given up
 *   free -----> received ------------> pending(p,r) ----------------------> answering -------> free
 *     ^       (dispatcher)  |        (dispatcher)     (whoever is last)         ^   (ledger)
 *     |                     |                                                   |
 *     |                     +----- a nack, or an ack of a copy: at once --------+
 *     +---------------------+
 *       give back: a copy of an id in flight, a document without an id
 *
 * Writer      the dispatcher that took it, until it drops its hold; then whoever brings pending to zero; then the ledger
 * Reader      as the writer
 * Ownership   every arrow above moves it; completions of its jobs hold one pending count each and touch nothing else
 *             than pending and failure
 * Ordering    E12: what was done before a pending count was given back is visible to whoever brings it to zero;
 *             E2 (free list, mailbox) for the other arrows
 * Progress    take and give back are lock-free; a dispatcher that finds none of its own takes one of another's
 * Limits      max_inflight records, made at start; none free: the dispatcher waits
 * Teardown    spr_notifications_fini(), when all are back
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/stack.h"
#include "net/buf.h"
#include "path/scan.h"
#include "path/waiters.h"
#include "spreader/wire.h"

#define SPR_UPSTREAM_NONE UINT16_MAX

typedef struct spr_notification spr_notification;
struct spr_notification {
	/* The first cache line is all that a completion touches, in a stream for each notification. */
	/* free list or ledger mailbox */
	_Alignas(SPR_CACHELINE) spr_stack_entry link;

	/* written by whoever completes a job */
	_Atomic uint64_t pending; /* two counts, see spr_notification_open() */
	atomic_uint failure;      /* spreader_reason: see spr_notification_fail(); NONE: done */

	/* written by the dispatcher before the first job is posted */
	uint32_t entry; /* in the answer table, or SPR_ANSWER_NONE */
	/* read by whoever wants the oldest; 0: not in flight */
	_Atomic uint64_t received_ns;
	/* when its stage began: at the start of the turn that resolved it, then when its last job had ended; written by
	 * the owner */
	uint64_t stage_ns;
	uint32_t n_jobs;   /* distinct callbacks */
	uint16_t upstream; /* who gets the answer; SPR_UPSTREAM_NONE: nobody */
	uint16_t id_len;
	/* its jobs in the table of jobs (path/jobs.h), with those of earlier attempts; all 0 when no receipts are awaited */
	uint32_t
	    jobs; /* their chain's head; the dispatcher's until its hold is given back, then the ledger's */
	uint32_t n_known; /* how many are in the chain */
	uint32_t credits; /* held for them, and for those that are to be opened */

	/* written by whoever completes it: another record that the ledger meets some records later, as its number in the slab
	 * and one; 0: none */
	uint32_t ahead;

	/* written by the ledger: an answer batch is a chain of records, its head carries the batch */
	spr_notification *next;
	spr_notification
	    *later; /* one that is met some records behind it, to be fetched; or NULL */
	spr_notification *next_batch;
	uint32_t batch_n;
	uint16_t shard; /* where it goes back to; constant after init */
	uint64_t due_ns;
	uint16_t attempts;
	uint16_t refusals;
	bool is_refused; /* the last reply refused it; false: there was none */

	/* written by the dispatcher too; here, so that a short id is in the ledger's cache line */
	uint8_t id[SPREADER_ID_MAX];
	spr_buf *message;   /* kept while jobs are out that nobody can be told about; else NULL */
	spr_range document; /* in it */
};
_Static_assert(offsetof(spr_notification, next) == SPR_CACHELINE, "what completions touch");

/* Records that are fetched before they are met: each was written last by another thread. */
#define SPR_RECORDS_AHEAD 8

/* Dispatchers beyond as many share with others. */
#define SPR_SHARDS_MAX 8

/* The records that one dispatcher takes, and others when theirs are all in flight: what it writes for each is not written by
 * other dispatchers too. */
typedef struct spr_notification_shard {
	spr_stack free;
	_Alignas(SPR_CACHELINE) _Atomic uint32_t in_flight;
	_Atomic uint32_t n_touched; /* of its records, [0..n) were taken at some time */
} spr_notification_shard;

typedef struct spr_notifications {
	/* constant after init */
	spr_notification *slab;
	spr_notification_shard *shards;
	unsigned capacity;
	unsigned n_shards;
	unsigned a_shard; /* records; the last one has the rest */
	const spr_waiters *waiters;
} spr_notifications;

/* Records that one thread gives back together. {0} is empty. */
typedef struct spr_notification_chains {
	spr_stack_chain of[SPR_SHARDS_MAX]; /* shards */
} spr_notification_chains;

/* [main] waiters may be filled later, before the first give-back. */
spr_err spr_notifications_init(spr_notifications *pool, unsigned capacity, unsigned n_dispatchers,
			       const spr_waiters *waiters);
/* [main] */
void spr_notifications_fini(spr_notifications *pool);
/* [dispatcher, by its number] NULL when all are in flight. The caller sets received_ns by spr_notification_begin(). */
spr_notification *spr_notification_take(spr_notifications *pool, unsigned dispatcher);
/* [dispatcher] When its message was received. */
void spr_notification_begin(spr_notification *notification, uint64_t received_ns);
/* [dispatcher, ledger] Wakes a dispatcher that waits for one. */
void spr_notification_give_back(spr_notifications *pool, spr_notification *notification);
/* [ledger] The same for many: adds one to those that are given back together. */
static inline void
spr_notification_add_free(spr_notification_chains *chains, spr_notification *notification)
{
	/* relaxed: a gauge */
	atomic_store_explicit(&notification->received_ns, 0, memory_order_relaxed);
	spr_stack_chain_add(&chains->of[notification->shard], &notification->link);
}
void spr_notifications_give_back(spr_notifications *pool, const spr_notification_chains *chains);
/* [any] What the ledger reads and writes of it is on its way into the cache. */
static inline void
spr_notification_prefetch(const spr_notification *notification)
{
	__builtin_prefetch(notification, 1);
	__builtin_prefetch(&notification->next, 1);
}
/* [owner] */
uint64_t spr_notification_received_ns(const spr_notification *notification);
/* [any] A snapshot. 0, once nothing is taken any more: there is none. */
uint32_t spr_notifications_in_flight(const spr_notifications *pool);
/* [any] The records of a shard that were taken at some time are slab[*begin] to slab[*end - 1]; a snapshot. */
static inline void
spr_notifications_touched(const spr_notifications *pool, unsigned shard, unsigned *begin,
			  unsigned *end)
{
	*begin = shard * pool->a_shard;
	/* relaxed: a record that is missed is seen the next time */
	*end = *begin + atomic_load_explicit(&pool->shards[shard].n_touched, memory_order_relaxed);
}
/* [any] A snapshot: when the oldest one in flight was received; 0: there is none. Reads as many records as are in
 * flight, or a little more: the free list gives out the same few again. */
uint64_t spr_notifications_oldest_ns(const spr_notifications *pool);

/*
 * [dispatcher, before it is shared] The pending counts: pushes that have not ended, plus one while the dispatcher holds the
 * record, and receipts that neither came nor failed to. One word: giving something back is one atomic operation.
 */
static inline void
spr_notification_open(spr_notification *notification, uint32_t pushes, uint32_t receipts)
{
	/* E17 release: the ledger's look at what is in flight; for all others the first post publishes it */
	atomic_store_explicit(&notification->pending, (uint64_t)receipts << 32 | pushes,
			      memory_order_release);
}
/* [any holder of a pending count] The first reason wins, but receipt_error wins over all. Call before giving the count back. */
void spr_notification_fail(spr_notification *notification, spreader_reason reason);
/* [any holder] Gives pending counts back; true for the one who brought both to zero and now owns the record. */
bool spr_notification_release(spr_notification *notification, uint32_t pushes, uint32_t receipts);
/* [owner after release] */
spreader_reason spr_notification_failure(const spr_notification *notification);
