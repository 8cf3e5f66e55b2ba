/*
 * epoch - grace periods from ck_epoch, with a pending list of our own.
 *
 * ck_epoch is asked for one thing only: "every section open now has ended" (synchronize). Its
 * deferred calls are not used: they belong to a record and are dropped when that is unregistered,
 * and a call deferred by a running destructor can be run in the same sweep, without a grace period
 * of its own. Here the writer takes the whole list, waits once, and destroys what it took; what
 * destructors retire meanwhile starts the next list. Nor is ck_epoch_poll used: it is right only by
 * the ordering of x86.
 */
#include "base/epoch.h"

#include <ck_epoch.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/sync.h"

#define COLLECT_ENTRIES 256
#define COLLECT_BYTES   ((size_t)1 << 20)
#define COLLECT_NS      SPR_NS_PER_S
#define YIELDS          16
#define SLEEP_NS        50000L

struct spr_epoch_record {
	ck_epoch_record_t record; /* first: ck hands recycled ones back */
	spr_epoch *epoch;         /* constant after init */
};

struct spr_epoch {
	ck_epoch_t epoch;

	/* written by the writer */
	spr_epoch_entry *pending __attribute__((aligned(SPR_CACHELINE)));
	unsigned n_pending;
	uint64_t waiting_since_ns; /* 0: nothing left over from an earlier collect */
	_Atomic size_t retired_bytes;
};

CK_STACK_CONTAINER(ck_epoch_record_t, record_next, record_of_link)

spr_err
spr_epoch_new(spr_epoch **out)
{
	spr_epoch *epoch = spr_mem_zalloc_aligned(sizeof(*epoch));

	if (epoch == NULL)
		return (SPR_E_NOMEM);
	ck_epoch_init(&epoch->epoch);
	*out = epoch;
	return (SPR_OK);
}

void
spr_epoch_free(spr_epoch *epoch)
{
	ck_stack_entry_t *link, *next;

	if (epoch == NULL)
		return;
	spr_epoch_barrier(epoch);
	CK_STACK_FOREACH_SAFE(&epoch->epoch.records, link, next)
	{
		spr_mem_free(record_of_link(link));
	}
	spr_mem_free(epoch);
}

spr_err
spr_epoch_register(spr_epoch *epoch, spr_epoch_record **out)
{
	ck_epoch_record_t *recycled = ck_epoch_recycle(&epoch->epoch, NULL);
	spr_epoch_record *record = (spr_epoch_record *)(void *)recycled;

	if (record == NULL) {
		if ((record = spr_mem_zalloc_aligned(sizeof(*record))) == NULL)
			return (SPR_E_NOMEM);
		record->epoch = epoch;
		ck_epoch_register(&epoch->epoch, &record->record, NULL);
	}
	SPR_TSAN_ACQUIRE(record); /* pairs with the release in unregister: the record's fields */
	*out = record;
	return (SPR_OK);
}

void
spr_epoch_unregister(spr_epoch_record *record)
{
	if (record == NULL)
		return;
	SPR_ASSERT(record->record.active == 0);
	SPR_TSAN_RELEASE(record); /* pairs with the acquire in register: the record's fields */
	ck_epoch_unregister(&record->record);
}

void
spr_epoch_enter(spr_epoch_record *record)
{
	ck_epoch_begin(&record->record, NULL);
	SPR_YIELD();
}

void
spr_epoch_leave(spr_epoch_record *record)
{
	SPR_ASSERT(record->record.active != 0);
	SPR_YIELD();
	/* E4 release: pairs with the acquire in wait_for_readers */
	SPR_TSAN_RELEASE(record->epoch);
	ck_epoch_end(&record->record, NULL);
}

void
spr_epoch_retire(spr_epoch *epoch, spr_epoch_entry *entry, void (*destroy)(spr_epoch_entry *),
		 size_t bytes)
{
	entry->destroy = destroy;
	entry->next = epoch->pending;
	epoch->pending = entry;
	epoch->n_pending++;
	/* relaxed: a statistic */
	atomic_fetch_add_explicit(&epoch->retired_bytes, bytes, memory_order_relaxed);
}

/* Called while a reader is still inside. A section lasts microseconds unless its thread lost the
 * processor, so give it the processor first and only then the time. */
static void
give_way(ck_epoch_t *global, ck_epoch_record_t *record, void *arg)
{
	unsigned *n_calls = arg;
	const struct timespec pause = {.tv_nsec = SLEEP_NS};

	(void)global;
	(void)record;
	if ((*n_calls)++ < YIELDS)
		sched_yield();
	else
		nanosleep(&pause, NULL);
}

static void
wait_for_readers(spr_epoch *epoch)
{
	unsigned n_calls = 0;

	SPR_YIELD();
	ck_epoch_synchronize_wait(&epoch->epoch, give_way, &n_calls);
	SPR_TSAN_ACQUIRE(epoch); /* E4 acquire: pairs with the release in spr_epoch_leave */
}

void
spr_epoch_barrier(spr_epoch *epoch)
{
	do {
		spr_epoch_entry *entry = epoch->pending;
		/* relaxed: only this thread adds */
		size_t bytes = atomic_load_explicit(&epoch->retired_bytes, memory_order_relaxed);

		epoch->pending = NULL;
		epoch->n_pending = 0;
		wait_for_readers(epoch);
		while (entry != NULL) {
			spr_epoch_entry *next = entry->next;

			entry->destroy(entry);
			entry = next;
		}
		/* relaxed: a statistic */
		atomic_fetch_sub_explicit(&epoch->retired_bytes, bytes, memory_order_relaxed);
	} while (epoch->pending != NULL); /* destructors may retire */
	epoch->waiting_since_ns = 0;
}

void
spr_epoch_collect(spr_epoch *epoch)
{
	uint64_t now_ns;

	if (epoch->n_pending == 0)
		return;
	if (epoch->n_pending >= COLLECT_ENTRIES ||
	    spr_epoch_retired_bytes(epoch) >= COLLECT_BYTES) {
		spr_epoch_barrier(epoch);
		return;
	}
	now_ns = spr_clock_now_ns();
	if (epoch->waiting_since_ns == 0)
		epoch->waiting_since_ns = now_ns;
	else if (now_ns - epoch->waiting_since_ns >= COLLECT_NS)
		spr_epoch_barrier(epoch);
}

size_t
spr_epoch_retired_bytes(const spr_epoch *epoch)
{
	/* relaxed: a statistic */
	return (atomic_load_explicit(&epoch->retired_bytes, memory_order_relaxed));
}
