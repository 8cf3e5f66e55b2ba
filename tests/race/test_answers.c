/*
 * Several dispatchers claim the same few keys while a ledger acks, nacks, forgets and so evicts
 * them, on a table so small that every entry is re-used all the time, with yields at the edges.
 *
 *   - NEW and RESUMED make an owner; there is never a second one
 *   - what a nack leaves comes out once: with the claim that resumes this very key, or evicted
 *   - a key acked within the last `window` acks is never NEW or IN_FLIGHT, and ACKED is never told
 *     of a key that was evicted before the claim began
 *   - every owner reaches the ledger, and when all is quiet the table holds the last acks, no more
 *   - a copy that is dropped as in flight gets an answer that is sent after it came
 *   - E9: a plain variable per key, written by its owner and by the ledger before it lets the key
 *     go, is what ThreadSanitizer watches
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "spr_test.h"

#include "base/mem.h"
#include "base/stack.h"
#include "base/sync.h"
#include "path/answers.h"

#define N_DISPATCHERS 3
#define N_KEYS        24
#define N_CLAIMS      40000
#define MAX_ENTRIES   128

/* What a dispatcher hands to the ledger; one per entry, as no entry has two owners. */
typedef struct owned {
	spr_stack_entry link;
	unsigned key;
	uint32_t entry;
} owned;

typedef struct scene {
	/* constant while threads run */
	spr_answers *answers;
	unsigned window, resume_window;
	unsigned percent_acked, percent_nacked; /* the rest is forgotten */
	pthread_barrier_t gate;

	atomic_int units; /* what is left of max_inflight */
	atomic_int n_running;
	atomic_uint failures;
	atomic_ulong n_new;
	spr_stack mailbox;
	owned owned[MAX_ENTRIES];

	atomic_uint owners[N_KEYS];
	unsigned long guarded[N_KEYS]; /* plain: the owner's, then the ledger's, then the next */

	/* written by the ledger; acks are numbered from 1 */
	atomic_ulong acks_begun, acks_done;
	atomic_ulong ack_begun[N_KEYS], ack_done[N_KEYS]; /* each key's last one */
	unsigned long n_answered;
	unsigned acked[N_CLAIMS * N_DISPATCHERS + 1]; /* keys, by number */
	/* nacks are numbered from 1 too, and leave their number */
	unsigned long n_nacked;
	atomic_ulong n_resumed;
	unsigned nacked[N_CLAIMS * N_DISPATCHERS + 1];
	atomic_uint times_out[N_CLAIMS * N_DISPATCHERS + 1];
} scene;

static spr_answer_key
key_of(unsigned k)
{
	return ((spr_answer_key){.low = k % 3, .high = k});
}

static void
check(scene *s, bool holds, const char *what, unsigned key)
{
	if (holds)
		return;
	if (atomic_fetch_add(&s->failures, 1) < 10)
		print_error("key %u: %s\n", key, what);
}

/* Few chains have as many jobs as this one's number says. */
static unsigned
size_of(unsigned long number)
{
	return ((unsigned)(number % 1000) + 1);
}

/* A chain came out of the table. */
static void
take_out(scene *s, spr_resume resume)
{
	unsigned key = s->nacked[resume.jobs];

	check(s, resume.n == size_of(resume.jobs), "not the size that was left", key);
	check(s, atomic_fetch_add(&s->times_out[resume.jobs], 1) == 0, "out twice", key);
}

/* An ack numbered n is evicted by the one numbered n + window. */
static void
claim_once(scene *s, spr_answer_stock *stock, unsigned key)
{
	unsigned long known = atomic_load(&s->ack_done[key]), done = atomic_load(&s->acks_done);
	uint32_t entry = SPR_ANSWER_NONE;
	spr_claim claim = spr_answers_claim(s->answers, stock, key_of(key), &entry);

	if (claim == SPR_CLAIM_ACKED) {
		check(s, atomic_load(&s->ack_begun[key]) + s->window > done,
		      "ACKED, but it was evicted before", key);
	} else {
		check(s, known == 0 || atomic_load(&s->acks_begun) >= known + s->window,
		      "not ACKED, though within the window", key);
	}
	if (claim != SPR_CLAIM_NEW && claim != SPR_CLAIM_RESUMED) {
		atomic_fetch_add(&s->units, 1);
		return;
	}
	check(s, atomic_exchange(&s->owners[key], 1) == 0, "two owners", key);
	s->guarded[key]++;
	if (claim == SPR_CLAIM_RESUMED) {
		spr_resume resume = spr_answers_take_resume(s->answers, entry);

		check(s, s->nacked[resume.jobs] == key, "another key's chain", key);
		take_out(s, resume);
		atomic_fetch_add(&s->n_resumed, 1);
	}
	atomic_fetch_add(&s->n_new, 1);
	s->owned[entry].key = key;
	s->owned[entry].entry = entry;
	spr_mailbox_push(&s->mailbox, &s->owned[entry].link);
}

static bool
take_unit(scene *s)
{
	int left = atomic_load(&s->units);

	return (left > 0 && atomic_compare_exchange_strong(&s->units, &left, left - 1));
}

typedef struct dispatcher {
	scene *scene;
	uint64_t random;
	pthread_t thread;
	spr_answer_stock stock;
} dispatcher;

static void *
dispatch(void *arg)
{
	dispatcher *d = arg;

	pthread_barrier_wait(&d->scene->gate);
	for (unsigned i = 0; i < N_CLAIMS; i++) {
		while (!take_unit(d->scene))
			sched_yield();
		claim_once(d->scene, &d->stock, (unsigned)spr_test_below(&d->random, N_KEYS));
	}
	atomic_fetch_sub(&d->scene->n_running, 1);
	return (NULL);
}

static void
nack(scene *s, unsigned key, uint32_t entry)
{
	unsigned long number = ++s->n_nacked;
	spr_resume evicted, left = {.jobs = (uint32_t)number, .n = size_of(number)};

	s->nacked[number] = key;
	(void)spr_answers_nacked(s->answers, entry, left, &evicted);
	if (evicted.n > 0)
		take_out(s, evicted);
	check(s, spr_answers_resumable(s->answers) <= s->resume_window + N_DISPATCHERS,
	      "more than the window are resumable", key);
}

static void
evict(scene *s)
{
	spr_resume evicted;

	if (spr_answers_evict_resumable(s->answers, &evicted))
		take_out(s, evicted);
}

static void
answer(scene *s, owned *o, unsigned percent)
{
	unsigned key = o->key;
	uint32_t entry = o->entry;

	s->guarded[key]++;
	s->n_answered++;
	check(s, atomic_exchange(&s->owners[key], 0) == 1, "no owner", key);
	if (percent < s->percent_acked) {
		unsigned long number = atomic_load(&s->acks_begun) + 1;

		s->acked[number] = key;
		atomic_store(&s->acks_begun, number);
		atomic_store(&s->ack_begun[key], number);
		spr_answers_acked(s->answers, entry);
		atomic_store(&s->ack_done[key], number);
		atomic_store(&s->acks_done, number);
	} else if (percent < s->percent_acked + s->percent_nacked) {
		nack(s, key, entry);
	} else {
		spr_answers_forget(s->answers, entry);
	}
	if (percent == 0)
		evict(s);
	atomic_fetch_add(&s->units, 1);
}

/* The calling thread is the ledger. */
static void
run_ledger(scene *s)
{
	uint64_t random = spr_test_seed() + N_DISPATCHERS;

	for (;;) {
		bool is_last = atomic_load(&s->n_running) == 0;
		spr_stack_entry *at = spr_mailbox_pop_all(&s->mailbox);

		if (at == NULL && is_last)
			return;
		if (at == NULL)
			sched_yield();
		while (at != NULL) {
			spr_stack_entry *next = spr_stack_next(at);

			answer(s, SPR_STACK_CONTAINER(at, owned, link),
			       (unsigned)spr_test_below(&random, 100));
			at = next;
		}
	}
}

static void
check_rest(scene *s)
{
	unsigned long n_acks = atomic_load(&s->acks_done);
	bool is_acked[N_KEYS] = {false};
	spr_answer_stock stock = {0};
	uint32_t entry;

	for (unsigned long n = n_acks > s->window ? n_acks - s->window + 1 : 1; n <= n_acks; n++)
		is_acked[s->acked[n]] = true;
	assert_int_equal(atomic_load(&s->n_new), s->n_answered);
	assert_int_equal(spr_answers_in_flight(s->answers), 0);
	assert_true(spr_answers_resumable(s->answers) <= s->resume_window);
	assert_int_equal(atomic_load(&s->n_resumed) > 0, s->resume_window > 0);
	while (spr_answers_resumable(s->answers) > 0)
		evict(s);
	for (unsigned long n = 1; n <= s->n_nacked; n++)
		assert_int_equal(atomic_load(&s->times_out[n]), 1);
	assert_int_equal(atomic_load(&s->failures), 0);
	assert_int_equal(spr_answers_remembered(s->answers),
			 n_acks < s->window ? n_acks : s->window);
	for (unsigned key = 0; key < N_KEYS; key++) {
		assert_int_equal(spr_answers_claim(s->answers, &stock, key_of(key), &entry),
				 is_acked[key] ? SPR_CLAIM_ACKED : SPR_CLAIM_NEW);
		if (!is_acked[key])
			spr_answers_forget(s->answers, entry);
		assert_int_equal(s->guarded[key] % 2, 0);
	}
}

static void
play(unsigned max_inflight, unsigned window, unsigned percent_acked, unsigned resume_window,
     unsigned percent_nacked)
{
	scene *s = spr_mem_zalloc_aligned(sizeof(*s)); /* a stack has its cache line */
	dispatcher dispatchers[N_DISPATCHERS];

	assert_non_null(s);
	/* chains of max_inflight / 16 entries, or of one: for each who takes them and for the ledger */
	assert_true(max_inflight + window + resume_window +
			(max_inflight / 16 + 1) * (N_DISPATCHERS + 2) <
		    MAX_ENTRIES);
	assert_ok(
	    spr_answers_new(&s->answers, N_DISPATCHERS + 1, max_inflight, window, resume_window));
	s->window = window;
	s->percent_acked = percent_acked;
	s->resume_window = resume_window;
	s->percent_nacked = percent_nacked;
	atomic_store(&s->units, (int)max_inflight);
	atomic_store(&s->n_running, N_DISPATCHERS);
	spr_stack_init(&s->mailbox);
	assert_int_equal(pthread_barrier_init(&s->gate, NULL, N_DISPATCHERS + 1), 0);
	for (unsigned i = 0; i < N_DISPATCHERS; i++) {
		dispatchers[i] = (dispatcher){.scene = s, .random = spr_test_seed() + i};
		assert_int_equal(
		    pthread_create(&dispatchers[i].thread, NULL, dispatch, &dispatchers[i]), 0);
	}
	pthread_barrier_wait(&s->gate);
	run_ledger(s);
	for (unsigned i = 0; i < N_DISPATCHERS; i++)
		pthread_join(dispatchers[i].thread, NULL);
	assert_int_equal(atomic_load(&s->failures), 0);
	check_rest(s);
	pthread_barrier_destroy(&s->gate);
	spr_answers_free(s->answers);
	spr_mem_free(s);
}

/* Half of the keys fit: claims meet all states. */
static void
acks_and_forgets(void **state)
{
	(void)state;
	play(6, 8, 60, 0, 0);
}

/* A window of one: an ack evicts the ack before it, often in the same chain. */
static void
window_of_one(void **state)
{
	(void)state;
	play(6, 1, 90, 0, 0);
}

static void
window_of_none(void **state)
{
	(void)state;
	play(4, 0, 100, 0, 0);
}

/* Entries are short: two in flight for three dispatchers. */
static void
few_entries(void **state)
{
	(void)state;
	play(2, 3, 80, 0, 0);
}

static void
acks_and_nacks(void **state)
{
	(void)state;
	play(6, 4, 30, 5, 60);
}

/* Every nack gives up the one before it, which is being claimed at that moment. */
static void
resume_window_of_one(void **state)
{
	(void)state;
	play(6, 1, 5, 1, 90);
}

/* Nothing is evicted for lack of room: slots of what was claimed again pile up. */
static void
all_keys_resumable(void **state)
{
	(void)state;
	play(4, 0, 0, N_KEYS, 95);
}

/* Entries come and go three at a time. */
static void
in_chains(void **state)
{
	(void)state;
	play(48, 8, 40, 4, 30);
}

/* One key, an answer and a copy of it at the same time, round after round. */
typedef struct duel {
	spr_answers *answers;
	atomic_uint n_answers; /* sent */
	atomic_bool over;
	pthread_barrier_t gate, end;
	uint32_t rest; /* of a copy that was claimed anew */
	bool was_dropped, was_resumed;
	unsigned seen_before;
} duel;

/* In one bucket. */
static const spr_answer_key duel_key = {1, 1}, other_key = {1, 2};

static void *
copy(void *arg)
{
	duel *d = arg;
	spr_answer_stock stock = {0};
	spr_claim claim;

	spr_sync_yield_percent(5);
	for (;;) {
		pthread_barrier_wait(&d->gate);
		if (atomic_load(&d->over))
			return (NULL);
		d->rest = SPR_ANSWER_NONE;
		d->seen_before = atomic_load(&d->n_answers);
		claim = spr_answers_claim(d->answers, &stock, duel_key, &d->rest);
		d->was_dropped = claim == SPR_CLAIM_IN_FLIGHT;
		d->was_resumed = claim == SPR_CLAIM_RESUMED;
		pthread_barrier_wait(&d->end);
	}
}

/* A copy that was dropped as in flight gets an answer that was sent after it had come. */
static void
a_dropped_copy_is_answered(void **state)
{
	enum { ROUNDS = 20000 };
	duel d = {.rest = SPR_ANSWER_NONE};
	spr_answer_stock stock = {0};
	pthread_t thread;
	spr_resume left = {.jobs = 1, .n = 1}, evicted;
	uint32_t entry, other;
	unsigned dropped = 0, resumed = 0, n_out = 0;
	bool is_owed;

	(void)state;
	assert_ok(spr_answers_new(&d.answers, 2, 4, 0, 1));
	assert_int_equal(pthread_barrier_init(&d.gate, NULL, 2), 0);
	assert_int_equal(pthread_barrier_init(&d.end, NULL, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, copy, &d), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		assert_int_equal(spr_answers_claim(d.answers, &stock, duel_key, &entry),
				 SPR_CLAIM_NEW);
		pthread_barrier_wait(&d.gate);
		spr_answers_answering(d.answers, entry);
		atomic_fetch_add(&d.n_answers, 1);
		/* every other round the id stays, and may be evicted under the copy */
		is_owed = round % 2 == 0 ? spr_answers_forget(d.answers, entry)
					 : spr_answers_nacked(d.answers, entry, left, &evicted);
		if (is_owed)
			atomic_fetch_add(&d.n_answers, 1);
		/* takes the entry that was forgotten: a mark that lands on it now is no answer */
		assert_int_equal(spr_answers_claim(d.answers, &stock, other_key, &other),
				 SPR_CLAIM_NEW);
		if (round % 4 == 1)
			n_out = spr_answers_evict_resumable(d.answers, &evicted);
		pthread_barrier_wait(&d.end);
		assert_false(spr_answers_forget(d.answers, other));
		if (d.was_dropped)
			assert_true(atomic_load(&d.n_answers) > d.seen_before);
		dropped += d.was_dropped;
		if (round % 2 == 1) {
			/* still there, evicted, or with the copy */
			n_out += d.was_resumed;
			n_out += spr_answers_evict_resumable(d.answers, &evicted);
			assert_int_equal(n_out, 1);
			resumed += d.was_resumed;
		}
		n_out = 0;
		if (d.rest != SPR_ANSWER_NONE)
			spr_answers_forget(d.answers, d.rest);
	}
	atomic_store(&d.over, true);
	pthread_barrier_wait(&d.gate);
	pthread_join(thread, NULL);
	assert_true(dropped > 0);
	assert_true(resumed > 0);
	pthread_barrier_destroy(&d.gate);
	pthread_barrier_destroy(&d.end);
	spr_answers_free(d.answers);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(acks_and_forgets),
	    cmocka_unit_test(window_of_one),
	    cmocka_unit_test(window_of_none),
	    cmocka_unit_test(few_entries),
	    cmocka_unit_test(acks_and_nacks),
	    cmocka_unit_test(resume_window_of_one),
	    cmocka_unit_test(all_keys_resumable),
	    cmocka_unit_test(in_chains),
	    cmocka_unit_test(a_dropped_copy_is_answered),
	};

	spr_sync_yield_percent(5);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
