/*
 * The table of jobs that want a receipt: a key table (path/key_table.c has its proof) whose entries
 * are also linked into chains, one a notification.
 *
 *      chain of one notification            note: the next one            note: the owner
 *      head ----> | key | state | note | ----> | key | state | note | ----> | key | state | note |
 *                           |                           |          the root   ^      |
 *                           +---------------------------+---------------------+------+
 *
 *      state      {re-uses : 34, root : 28, kind : 2}
 *
 * The root is the first job of a chain. It stays until the whole chain is forgotten, and is the last
 * to go, so its number stands for the chain: a job of another chain is told from one's own by its
 * root alone. It needs no link, so its note has the owner; the next attempt's owner takes a chain
 * over by one store, whatever its length.
 *
 * What it promises
 *   1. A job leaves open once for every time that it was opened: of a receipt, an error, a failed
 *      push and a time-out that come together one gives the receipt count back.
 *   2. No call ever changes the job of another key, however long it was suspended. A job that says
 *      receipted had its receipt: a wrong one would be a lost job.
 *   3. The owner that a receipt returns is the one whose count it took.
 *   4. A receipt for a job that is in the table during the whole call finds it.
 *   5. Nobody waits: a call starts again only because another one in the same bucket or for the
 *      same job has been completed.
 *
 * Why they hold
 *   1. A state changes by compare-and-swap only. The ways out of open start from one and the same
 *      value of one word, so one of them succeeds; the others read what it left.
 *   2. The value swapped out is one that a find returned, hence one of the job's own (promise 3 of
 *      the key table), or that of a job whose owner's count is held. Whoever takes an entry for
 *      another key moves the re-uses on, before the entry can be found: the swap fails then. On an
 *      entry that was forgotten and not taken again it may succeed. The job was failed then (none is
 *      open when it is forgotten, and only receipts change a failed one without holding its chain),
 *      so that is a late receipt that came just before it was forgotten, and nothing reads it.
 *      Without the count, "failed -> receipted" of a forgotten job would land on whatever job is
 *      failed in its entry by now, and that one would never be posted again.
 *   3. The owner is read behind the swap. The count that was taken keeps its record in flight, so
 *      the chain belongs to it, the root is there and its note is not changed. It was written before
 *      any job was opened in this attempt (E16).
 *   4. Promise 2 of the key table. Two jobs of one key can be there at once: a chain that the answer
 *      table has given up, until the ledger has forgotten it, beside that of the same id claimed
 *      anew. The old jobs must not be opened again: the ledger is about to forget them, open or not.
 *      They are not: their root is another one. The new one goes in front, where finds see it first,
 *      and gets the receipts of both attempts, which is as well: they say that a worker has the job.
 *      Equal keys of different jobs would end the same way: the younger one gets the receipts, the
 *      other one times out and comes again.
 *   5. Of a failed swap of a bucket or a state somebody else's is the cause. A job's state changes
 *      at most three times an attempt.
 *
 * An error or a receipt that was sent in an earlier attempt may end the job that is open again.
 * Nothing tells them apart on the wire either: a receipt says that a worker has the job, an error
 * that one cannot, which is what a nack and another attempt are for.
 *
 * Re-uses wrap after 2^34 jobs in one entry: with a million a second that all take the same one,
 * four hours and a half, during which a call would have to be suspended between a load and a swap,
 * and be resumed at the very job.
 *
 * Enough entries. As many as credits: whoever takes an entry holds a credit for it, until the job is
 * forgotten, which is before its credit is given back.
 *
 * Memory orders. A find acquires the state that it returns, a swap releases the next one: E16. A new
 * job's state is published with its bucket's word. Chain links and the owner are read only by whoever
 * holds the chain (E12, E9, E2 brought it) or a count (E16).
 *
 * Rejected: the owner in every state (the next attempt would write to all of them before it can
 * start), a hash of jobs a notification (a receipt names no notification, and 100,000 tables of one
 * job), chains linked both ways (only whole chains go).
 */
#include "path/jobs.h"

#include "base/assert.h"
#include "path/key_table.h"

#define KIND_BITS     2
#define KIND_MASK     UINT64_C(3)
#define RE_USES_SHIFT (KIND_BITS + SPR_KEY_INDEX_BITS)

enum { KIND_OPEN = 1, KIND_FAILED, KIND_RECEIPTED };

_Static_assert(SPR_JOBS_MAX - 1 <= SPR_KEY_INDEX_MASK, "job numbers are entry numbers");

struct spr_jobs {
	spr_key_table table;

	/* written by dispatchers and ledger, once a job: beside the table's free list, which moves with it */
	_Atomic uint32_t n_known;

	spr_credits credits;
};

static inline _Atomic uint64_t *
state_of(const spr_jobs *jobs, uint32_t job)
{
	return (&jobs->table.entries[job].state);
}

static inline _Atomic uint32_t *
note_of(const spr_jobs *jobs, uint32_t job)
{
	return (&jobs->table.entries[job].note);
}

static inline unsigned
kind_in(uint64_t state)
{
	return ((unsigned)(state & KIND_MASK));
}

static inline uint32_t
root_in(uint64_t state)
{
	return (spr_key_index_of(state >> KIND_BITS));
}

/* Of a job that the caller holds a count of, or the chain: its root does not change. */
static inline uint32_t
root_of(const spr_jobs *jobs, uint32_t job)
{
	/* relaxed: the number came to the caller by an edge behind the job's opening */
	return (root_in(atomic_load_explicit(state_of(jobs, job), memory_order_relaxed)));
}

/* From the very value that was read: fails when the job is another one by now. */
static bool
change(spr_jobs *jobs, uint32_t job, uint64_t *state, unsigned kind)
{
	SPR_YIELD();
	/* E16, both ways */
	return (atomic_compare_exchange_strong_explicit(
	    state_of(jobs, job), state, (*state & ~KIND_MASK) | kind, memory_order_acq_rel,
	    memory_order_acquire));
}

/* An open job for the front of a chain; the first one of a chain is its root. */
static uint32_t
take_job(spr_jobs *jobs, spr_job_key key, uint32_t root, uint32_t owner, uint32_t head)
{
	spr_key_stock none = {0}; /* chains of one */
	uint32_t job = spr_key_take(&jobs->table, &none, key.low, key.high);
	/* relaxed: re-uses are changed by takers only, who got it by the free list (recycling) */
	uint64_t re_uses =
	    (atomic_load_explicit(state_of(jobs, job), memory_order_relaxed) >> RE_USES_SHIFT) + 1;
	uint64_t own_root = root == SPR_JOB_NONE ? job : root;
	uint64_t state = re_uses << RE_USES_SHIFT | own_root << KIND_BITS | KIND_OPEN;
	uint32_t note = root == SPR_JOB_NONE ? owner : head;

	/* E16 release (recycling), both: see spr_key_take() */
	atomic_store_explicit(note_of(jobs, job), note, memory_order_release);
	atomic_store_explicit(state_of(jobs, job), state, memory_order_release);
	return (job);
}

/* The chain is the owner's, before anything in it is open. */
static void
take_over(spr_jobs *jobs, uint32_t root, uint32_t owner)
{
	/* relaxed, both: published by the state of the job that is opened next (E16) */
	if (atomic_load_explicit(note_of(jobs, root), memory_order_relaxed) != owner)
		atomic_store_explicit(note_of(jobs, root), owner, memory_order_relaxed);
}

/* A job of the chain that is there from before. False: it has changed meanwhile. */
static bool
open_again(spr_jobs *jobs, spr_key_spot *spot, spr_job_opened *opened, uint32_t *job)
{
	switch (kind_in(spot->state)) {
	case KIND_RECEIPTED:
		*opened = SPR_JOB_RECEIPTED;
		return (true);
	case KIND_OPEN:
		*opened = SPR_JOB_TWICE;
		*job = spot->index;
		return (true);
	default:
		*opened = SPR_JOB_OPENED;
		*job = spot->index;
		return (change(jobs, spot->index, &spot->state, KIND_OPEN));
	}
}

void
spr_jobs_foresee(spr_jobs *jobs, spr_job_key key)
{
	__builtin_prefetch(spr_key_bucket_of(&jobs->table, key.low), 1);
}

spr_job_opened
spr_jobs_open(spr_jobs *jobs, spr_job_key key, uint32_t owner, uint32_t *head, uint32_t *n_chain,
	      uint32_t *job)
{
	uint32_t root = *head == SPR_JOB_NONE ? SPR_JOB_NONE : root_of(jobs, *head);
	uint32_t mine = SPR_JOB_NONE;
	spr_job_opened opened;
	spr_key_spot spot;

	SPR_ASSERT_ROLE(SPR_ROLE_DISPATCHER);
	if (root != SPR_JOB_NONE)
		take_over(jobs, root, owner);
	for (;;) {
		spr_key_find(&jobs->table, key.low, key.high, &spot);
		if (spot.index != SPR_KEY_NONE && root_in(spot.state) == root) {
			if (open_again(jobs, &spot, &opened, job))
				break;
			continue;
		}
		if (mine == SPR_JOB_NONE)
			mine = take_job(jobs, key, root, owner, *head);
		if (spr_key_try_insert(&jobs->table, &spot, mine)) {
			/* relaxed: a snapshot for metrics */
			atomic_fetch_add_explicit(&jobs->n_known, 1, memory_order_relaxed);
			*head = *job = mine;
			++*n_chain;
			return (SPR_JOB_OPENED);
		}
	}
	/* only behind a younger job of an equal key that was forgotten just now */
	if (mine != SPR_JOB_NONE)
		spr_key_give_back(&jobs->table, mine);
	return (opened);
}

uint32_t
spr_jobs_owner(const spr_jobs *jobs, uint32_t job)
{
	/* relaxed: the caller holds a count of the owner's, behind take_over() (E16) */
	return (atomic_load_explicit(note_of(jobs, root_of(jobs, job)), memory_order_relaxed));
}

spr_receipt_taken
spr_jobs_receipt(spr_jobs *jobs, spr_job_key key, bool is_error, uint32_t *owner)
{
	spr_key_spot spot;
	unsigned kind;

	do {
		spr_key_find(&jobs->table, key.low, key.high, &spot);
		if (spot.index == SPR_KEY_NONE)
			return (SPR_RECEIPT_UNKNOWN);
		kind = kind_in(spot.state);
		if (kind == KIND_RECEIPTED || (kind == KIND_FAILED && is_error))
			return (SPR_RECEIPT_AGAIN);
	} while (!change(jobs, spot.index, &spot.state, is_error ? KIND_FAILED : KIND_RECEIPTED));
	if (kind == KIND_FAILED)
		return (SPR_RECEIPT_LATE);
	*owner = spr_jobs_owner(jobs, spot.index);
	return (SPR_RECEIPT_TAKEN);
}

bool
spr_jobs_fail(spr_jobs *jobs, uint32_t job)
{
	/* E16 acquire: whoever took it out of open */
	uint64_t state = atomic_load_explicit(state_of(jobs, job), memory_order_acquire);

	while (kind_in(state) == KIND_OPEN) {
		if (change(jobs, job, &state, KIND_FAILED))
			return (true);
	}
	return (false);
}

/* [holder of the chain] */
static uint32_t
next_of(const spr_jobs *jobs, uint32_t job)
{
	if (root_of(jobs, job) == job)
		return (SPR_JOB_NONE);
	/* relaxed: links do not change, and the chain came to the caller with its jobs */
	return (atomic_load_explicit(note_of(jobs, job), memory_order_relaxed));
}

uint32_t
spr_jobs_fail_chain(spr_jobs *jobs, uint32_t head)
{
	uint32_t n = 0;

	SPR_ASSERT_ROLE(SPR_ROLE_LEDGER);
	for (uint32_t at = head; at != SPR_JOB_NONE; at = next_of(jobs, at))
		n += spr_jobs_fail(jobs, at);
	return (n);
}

uint32_t
spr_jobs_forget(spr_jobs *jobs, uint32_t head)
{
	uint32_t n = 0, next;

	SPR_ASSERT_ROLE(SPR_ROLE_LEDGER);
	for (uint32_t at = head; at != SPR_JOB_NONE; at = next, n++) {
		next = next_of(jobs, at);
		/* relaxed: a receipt may still make it receipted, nobody makes it open */
		SPR_ASSERT(kind_in(atomic_load_explicit(state_of(jobs, at),
							memory_order_relaxed)) != KIND_OPEN);
		spr_key_unlink(&jobs->table, at);
		spr_key_give_back(&jobs->table, at);
	}
	/* relaxed: a snapshot for metrics */
	atomic_fetch_sub_explicit(&jobs->n_known, n, memory_order_relaxed);
	return (n);
}

spr_credits *
spr_jobs_credits(spr_jobs *jobs)
{
	return (&jobs->credits);
}

uint32_t
spr_jobs_known(const spr_jobs *jobs)
{
	/* relaxed: a snapshot */
	return (atomic_load_explicit(&jobs->n_known, memory_order_relaxed));
}

spr_err
spr_jobs_new(spr_jobs **out, unsigned capacity)
{
	spr_jobs *jobs;

	if (capacity == 0 || capacity >= SPR_JOBS_MAX)
		return (spr_fail(SPR_E_INVALID,
				 "table of jobs: %u: at least 1, and fewer than 2^28", capacity));
	if ((jobs = spr_mem_zalloc_aligned(sizeof(*jobs))) == NULL)
		return (SPR_E_NOMEM);
	if (spr_key_table_init(&jobs->table, capacity, 1) != SPR_OK) {
		spr_jobs_free(jobs);
		return (SPR_E_NOMEM);
	}
	spr_credits_init(&jobs->credits, capacity);
	*out = jobs;
	return (SPR_OK);
}

void
spr_jobs_free(spr_jobs *jobs)
{
	if (jobs == NULL)
		return;
	spr_key_table_fini(&jobs->table);
	spr_mem_free(jobs);
}
