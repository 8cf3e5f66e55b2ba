/*
 * Dispatchers open jobs, workers' receipts and errors come for any of them, pushes fail, and a ledger times out, remembers, gives up and
 * forgets, on a table so small that every entry is re-used all the time, with yields at the edges.
 *
 *   - every receipt count is given back once: none is left over, none is given back twice
 *   - the owner that a receipt returns is the notification of that job, in flight
 *   - some callbacks never give a receipt: their jobs never have one, whatever the entry was before. One that had would be a lost job
 *   - a job that is open or failed in a chain that was given up is not taken for one's own
 *   - E16: the record's plain fields are what ThreadSanitizer watches
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "spr_test.h"

#include "base/sync.h"
#include "path/jobs.h"

#define N_DISPATCHERS 2
#define N_WORKERS     2
#define N_RECORDS     6
#define N_IDS         7
#define N_CALLBACKS   4
#define PUSH          (UINT64_C(1) << 32)

/* A notification: free, held by a dispatcher, in flight, complete; only the ledger frees it. */
typedef struct record {
	atomic_bool is_taken;
	_Atomic uint64_t pending; /* {pushes, receipts} */
	unsigned id;
	uint32_t head, n;
} record;

/* Whoever claimed it owns what is remembered. */
typedef struct id_state {
	atomic_bool is_claimed;
	uint32_t head, n;
} id_state;

typedef struct scene {
	spr_jobs *jobs;
	unsigned n_attempts; /* of each dispatcher */
	pthread_barrier_t gate;
	atomic_int n_dispatching;
	atomic_bool over; /* workers may go */
	atomic_uint failures, n_resumed, n_given_up, n_receipted;
	atomic_uint taken[SPR_RECEIPT_UNKNOWN + 1];
	record records[N_RECORDS];
	id_state ids[N_IDS];
} scene;

typedef struct role {
	scene *scene;
	uint64_t random;
	pthread_t thread;
} role;

static spr_job_key
key_of(unsigned id, unsigned callback)
{
	return ((spr_job_key){.low = (id + callback) % 3, .high = id * N_CALLBACKS + callback});
}

/* No worker ever takes it. */
static bool
is_dead(unsigned id, unsigned callback)
{
	return ((id + callback) % 3 == 0);
}

static void
check(scene *s, bool holds, const char *what, unsigned id)
{
	if (holds)
		return;
	if (atomic_fetch_add(&s->failures, 1) < 10)
		print_error("id %u: %s\n", id, what);
}

static bool
try_take(atomic_bool *flag)
{
	return (!atomic_exchange_explicit(flag, true, memory_order_acquire));
}

static void
let_go(atomic_bool *flag)
{
	atomic_store_explicit(flag, false, memory_order_release);
}

static void
give_back(scene *s, record *r, uint64_t counts)
{
	unsigned id = r->id; /* while the count is held */
	uint64_t before = atomic_fetch_sub_explicit(&r->pending, counts, memory_order_acq_rel);

	check(s, before >= counts && (uint32_t)before >= (uint32_t)counts, "a count too many", id);
}

/* One attempt's jobs; then their pushes end, one in four badly. */
static void
post(scene *s, record *r, uint32_t owner, uint64_t *random)
{
	for (unsigned callback = 0; callback < N_CALLBACKS; callback++) {
		uint32_t job;
		spr_job_opened opened =
		    spr_jobs_open(s->jobs, key_of(r->id, callback), owner, &r->head, &r->n, &job);

		if (opened == SPR_JOB_RECEIPTED) {
			atomic_fetch_add(&s->n_receipted, 1);
			check(s, !is_dead(r->id, callback), "a receipt that nobody sent", r->id);
			give_back(s, r, PUSH + 1);
			continue;
		}
		check(s, opened == SPR_JOB_OPENED, "open before it was opened", r->id);
		SPR_YIELD();
		check(s, spr_jobs_owner(s->jobs, job) == owner, "another owner", r->id);
		if (spr_test_below(random, 4) == 0 && spr_jobs_fail(s->jobs, job))
			give_back(s, r, PUSH + 1);
		else
			give_back(s, r, PUSH);
	}
	check(s, r->n <= N_CALLBACKS, "a job is in its chain twice", r->id);
}

/* False: nothing free. */
static bool
dispatch_one(scene *s, uint32_t owner, uint64_t *random)
{
	record *r = &s->records[owner];
	unsigned id = (unsigned)spr_test_below(random, N_IDS);
	id_state *state = &s->ids[id];

	if (!try_take(&state->is_claimed))
		return (false);
	if (!spr_credits_reserve(spr_jobs_credits(s->jobs), N_CALLBACKS - state->n)) {
		let_go(&state->is_claimed);
		return (false);
	}
	if (state->n > 0)
		atomic_fetch_add(&s->n_resumed, 1);
	r->id = id;
	r->head = state->head;
	r->n = state->n;
	state->head = SPR_JOB_NONE;
	state->n = 0;
	/* the counts of all jobs, and the dispatcher's hold */
	atomic_store_explicit(&r->pending, (N_CALLBACKS + 1) * PUSH + N_CALLBACKS,
			      memory_order_release);
	post(s, r, owner, random);
	give_back(s, r, PUSH);
	return (true);
}

static void *
dispatch(void *arg)
{
	role *self = arg;
	scene *s = self->scene;
	uint32_t owner;

	pthread_barrier_wait(&s->gate);
	for (unsigned i = 0; i < s->n_attempts;) {
		owner = (uint32_t)spr_test_below(&self->random, N_RECORDS);
		if (!try_take(&s->records[owner].is_taken)) {
			sched_yield();
			continue;
		}
		if (dispatch_one(s, owner, &self->random))
			i++;
		else
			let_go(&s->records[owner].is_taken);
	}
	atomic_fetch_sub(&s->n_dispatching, 1);
	return (NULL);
}

static void *
work(void *arg)
{
	role *self = arg;
	scene *s = self->scene;

	pthread_barrier_wait(&s->gate);
	while (!atomic_load(&s->over)) {
		unsigned id = (unsigned)spr_test_below(&self->random, N_IDS);
		unsigned callback = (unsigned)spr_test_below(&self->random, N_CALLBACKS);
		bool is_error = is_dead(id, callback) || spr_test_below(&self->random, 4) == 0;
		uint32_t owner = UINT32_MAX;
		spr_receipt_taken taken =
		    spr_jobs_receipt(s->jobs, key_of(id, callback), is_error, &owner);

		atomic_fetch_add(&s->taken[taken], 1);
		if (taken != SPR_RECEIPT_TAKEN)
			continue;
		check(s, owner < N_RECORDS && s->records[owner].id == id, "not its owner", id);
		if (owner < N_RECORDS)
			give_back(s, &s->records[owner], 1);
	}
	return (NULL);
}

static void
forget(scene *s, uint32_t head, uint32_t n)
{
	check(s, spr_jobs_forget(s->jobs, head) == n, "another number of jobs", N_IDS);
	spr_credits_give_back(spr_jobs_credits(s->jobs), n);
}

/* Remembered, forgotten as after an ack, or given up: the id may be claimed before its jobs are gone. */
static void
answer(scene *s, record *r, unsigned percent)
{
	id_state *state = &s->ids[r->id];
	uint32_t head = r->head, n = r->n;

	/* credits of jobs that were never opened do not exist here: every callback has one */
	check(s, n == N_CALLBACKS, "a job is missing", r->id);
	if (percent < 60) {
		state->head = head;
		state->n = n;
		let_go(&r->is_taken);
		let_go(&state->is_claimed);
		return;
	}
	if (percent < 70)
		forget(s, head, n);
	let_go(&r->is_taken);
	let_go(&state->is_claimed);
	if (percent >= 70) {
		atomic_fetch_add(&s->n_given_up, 1);
		sched_yield();
		forget(s, head, n);
	}
}

static void
evict(scene *s, unsigned id)
{
	id_state *state = &s->ids[id];
	uint32_t head, n;

	if (!try_take(&state->is_claimed))
		return;
	head = state->head;
	n = state->n;
	state->head = SPR_JOB_NONE;
	state->n = 0;
	let_go(&state->is_claimed);
	forget(s, head, n);
}

/* True: some are in flight. A time-out comes at once, or after workers had a while. */
static bool
look_once(scene *s, uint64_t *random)
{
	bool is_any = false;

	for (unsigned i = 0; i < N_RECORDS; i++) {
		record *r = &s->records[i];
		uint64_t pending = atomic_load_explicit(&r->pending, memory_order_acquire);
		unsigned percent = (unsigned)spr_test_below(random, 100);

		if (pending == UINT64_MAX)
			continue;
		is_any = true;
		if (pending == 0) {
			/* before it can be taken again */
			atomic_store_explicit(&r->pending, UINT64_MAX, memory_order_relaxed);
			answer(s, r, percent);
		} else if (pending < PUSH && percent < 30) {
			uint32_t n = spr_jobs_fail_chain(s->jobs, r->head);

			if (n > 0)
				give_back(s, r, n);
		}
	}
	return (is_any);
}

/* The calling thread is the ledger. */
static void
run_ledger(scene *s)
{
	uint64_t random = spr_test_seed();

	for (;;) {
		bool is_last = atomic_load(&s->n_dispatching) == 0;

		/* where a count is wrong, something waits for ever */
		if (atomic_load(&s->failures) > 0)
			abort();
		if (!look_once(s, &random) && is_last)
			return;
		evict(s, (unsigned)spr_test_below(&random, N_IDS));
		sched_yield();
	}
}

static void
check_rest(scene *s)
{
	uint32_t owner;

	for (unsigned id = 0; id < N_IDS; id++)
		evict(s, id);
	assert_int_equal(atomic_load(&s->failures), 0);
	assert_int_equal(spr_jobs_known(s->jobs), 0);
	assert_int_equal(spr_credits_reserved(spr_jobs_credits(s->jobs)), 0);
	for (unsigned id = 0; id < N_IDS; id++) {
		for (unsigned callback = 0; callback < N_CALLBACKS; callback++)
			assert_int_equal(
			    spr_jobs_receipt(s->jobs, key_of(id, callback), false, &owner),
			    SPR_RECEIPT_UNKNOWN);
	}
	for (unsigned i = 0; i <= SPR_RECEIPT_UNKNOWN; i++)
		assert_true(atomic_load(&s->taken[i]) > 0);
	assert_true(atomic_load(&s->n_resumed) > 0);
	assert_true(atomic_load(&s->n_given_up) > 0);
	assert_true(atomic_load(&s->n_receipted) > 0);
}

static void
play(uint32_t capacity, unsigned n_attempts)
{
	static scene s;
	role roles[N_DISPATCHERS + N_WORKERS];

	s = (scene){.n_attempts = n_attempts};
	assert_ok(spr_jobs_new(&s.jobs, capacity));
	for (unsigned i = 0; i < N_RECORDS; i++)
		atomic_store(&s.records[i].pending, UINT64_MAX);
	atomic_store(&s.n_dispatching, N_DISPATCHERS);
	assert_int_equal(pthread_barrier_init(&s.gate, NULL, N_DISPATCHERS + N_WORKERS + 1), 0);
	for (unsigned i = 0; i < N_DISPATCHERS + N_WORKERS; i++) {
		roles[i] = (role){.scene = &s, .random = spr_test_seed() + i + 1};
		assert_int_equal(pthread_create(&roles[i].thread, NULL,
						i < N_DISPATCHERS ? dispatch : work, &roles[i]),
				 0);
	}
	pthread_barrier_wait(&s.gate);
	run_ledger(&s);
	atomic_store(&s.over, true);
	for (unsigned i = 0; i < N_DISPATCHERS + N_WORKERS; i++)
		pthread_join(roles[i].thread, NULL);
	check_rest(&s);
	pthread_barrier_destroy(&s.gate);
	spr_jobs_free(s.jobs);
}

static void
room_for_all(void **state)
{
	(void)state;
	play(2 * N_IDS * N_CALLBACKS, 10000);
}

/* Three fan-outs fit: what is remembered must go before others are let in. */
static void
few_credits(void **state)
{
	(void)state;
	play(3 * N_CALLBACKS, 5000);
}

/* Every entry goes from one fan-out straight to the next. */
static void
one_fan_out(void **state)
{
	(void)state;
	play(N_CALLBACKS, 300);
}

/* A late receipt for a failed job that is being forgotten, while its entry goes to another one that fails too. */
typedef struct duel {
	spr_jobs *jobs;
	pthread_barrier_t gate, end;
	atomic_bool over;
	spr_receipt_taken taken;
} duel;

static void *
send_late_receipt(void *arg)
{
	duel *d = arg;
	uint32_t owner;

	for (;;) {
		pthread_barrier_wait(&d->gate);
		if (atomic_load(&d->over))
			return (NULL);
		d->taken = spr_jobs_receipt(d->jobs, key_of(0, 1), false, &owner);
		pthread_barrier_wait(&d->end);
	}
}

/* The only one of its chain. */
static uint32_t
open_and_fail(spr_jobs *jobs, spr_job_key key)
{
	uint32_t head = SPR_JOB_NONE, n = 0, job;

	assert_int_equal(spr_jobs_open(jobs, key, 1, &head, &n, &job), SPR_JOB_OPENED);
	assert_true(spr_jobs_fail(jobs, job));
	return (head);
}

static void
a_late_receipt_is_nobody_elses(void **state)
{
	enum { ROUNDS = 10000 };
	duel d = {.taken = SPR_RECEIPT_UNKNOWN};
	unsigned n_taken[SPR_RECEIPT_UNKNOWN + 1] = {0};
	uint32_t head, n, job;
	pthread_t thread;

	(void)state;
	spr_sync_yield_percent(50);
	assert_ok(spr_jobs_new(&d.jobs, 1));
	assert_int_equal(pthread_barrier_init(&d.gate, NULL, 2), 0);
	assert_int_equal(pthread_barrier_init(&d.end, NULL, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, send_late_receipt, &d), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		head = open_and_fail(d.jobs, key_of(0, 1));
		pthread_barrier_wait(&d.gate);
		assert_int_equal(spr_jobs_forget(d.jobs, head), 1);
		head = open_and_fail(d.jobs, key_of(0, 3));
		pthread_barrier_wait(&d.end);
		n_taken[d.taken]++;
		n = 1;
		assert_int_equal(spr_jobs_open(d.jobs, key_of(0, 3), 1, &head, &n, &job),
				 SPR_JOB_OPENED);
		assert_true(spr_jobs_fail(d.jobs, job));
		assert_int_equal(spr_jobs_forget(d.jobs, head), 1);
	}
	atomic_store(&d.over, true);
	pthread_barrier_wait(&d.gate);
	pthread_join(thread, NULL);
	assert_int_equal(n_taken[SPR_RECEIPT_LATE] + n_taken[SPR_RECEIPT_UNKNOWN], ROUNDS);
	assert_true(n_taken[SPR_RECEIPT_LATE] > 0);
	pthread_barrier_destroy(&d.gate);
	pthread_barrier_destroy(&d.end);
	spr_jobs_free(d.jobs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(room_for_all),
	    cmocka_unit_test(few_credits),
	    cmocka_unit_test(one_fan_out),
	    cmocka_unit_test(a_late_receipt_is_nobody_elses),
	};

	spr_sync_yield_percent(10);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
