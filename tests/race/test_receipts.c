/*
 * The whole path with receipts, every part a thread of its own: producers send each id until it is acked; dispatchers open and
 * push its jobs; workers take pushes or break them off, and say of each job that they have it, that they cannot do it, both,
 * twice, late, before its push has ended, or nothing; some leave. The ledger times out, nacks, remembers and forgets, while
 * an upstream accepts, refuses and hangs up.
 *
 *   - no ack is heard before a worker has said of every single job that it has it, in this attempt or an earlier one
 *   - every delivery is answered exactly once, while no reply is lost and no copy is on its way
 *   - every id is acked in the end: nobody waits for ever, no count is lost or given back twice (the table of pending counts
 *     asserts the latter in this build)
 *   - every receipt is counted once; every message, record, job, byte and credit comes back
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>

#include <cjson/cJSON.h>

#include "base/log.h"
#include "base/sync.h"
#include "path_scene.h"
#include "rep_peer.h"

#define PRODUCERS 2
#define WORKERS   3
#define N         600
#define JOBS      4
#define AHEAD     16 /* ids a producer has under way at most */
#define LATE      16 /* receipts that a worker keeps back */
#define LIMIT_MS  90000

typedef enum id_state { UNSENT, SENT, NACKED, ACKED } id_state;

typedef struct play {
	scene *s;
	rep_peer peer;
	bool is_strict; /* no reply is lost, no copies are sent */
	bool
	    keeps_all; /* nothing that is remembered is given up for others before it comes again */
	uint64_t deadline_ns;
	atomic_bool workers_may_leave, is_over;
	atomic_uint n_bad, n_acks, n_receipts;
	atomic_int state[N];          /* id_state: the producer's word, then the upstream's */
	atomic_bool has_job[N][JOBS]; /* a worker said so, or is about to */
} play;

typedef struct player {
	play *play;
	unsigned number;
	uint64_t random;
	pthread_t thread;
	/* a worker's */
	char *late[LATE];
	char message[1024]; /* receipts to be sent */
	size_t len;
} player;

static void
check(play *p, bool holds, const char *what, unsigned number)
{
	if (!holds && atomic_fetch_add(&p->n_bad, 1) < 10)
		print_error("notification %u: %s\n", number, what);
}

static bool
has_time(const play *p)
{
	return (spr_clock_now_ns() < p->deadline_ns);
}

static bool
happens(player *self, unsigned percent)
{
	return (spr_test_below(&self->random, 100) < percent);
}

/*
 * Producers
 */

static void
send_id(player *self, unsigned n)
{
	char text[128];
	int len = snprintf(text, sizeof(text),
			   "{\"id\":\"%u\",\"body\":{\"predicate\":\"UN\",\"n\":%u}}", n, n);

	while (!spr_fake_is_armed(self->number) && has_time(self->play))
		sched_yield();
	if (has_time(self->play))
		(void)spr_fake_deliver(self->number, spr_fake_buf(text, (size_t)len));
}

/* False: it is acked. */
static bool
bring_on(player *self, unsigned n)
{
	play *p = self->play;
	int state = atomic_load(&p->state[n]);

	if (state == ACKED)
		return (false);
	if (state != SENT) {
		/* an answer that is repeated may come between */
		if (atomic_compare_exchange_strong(&p->state[n], &state, SENT))
			send_id(self, n);
	} else if (!p->is_strict && happens(self, 1)) {
		send_id(self, n);
	}
	return (true);
}

/* Each has every second id. */
static void *
produce(void *arg)
{
	player *self = arg;
	unsigned first = self->number;

	while (first < N && has_time(self->play)) {
		unsigned under_way = 0;

		for (unsigned n = first; n < N && under_way < AHEAD; n += PRODUCERS) {
			bool is_under_way = bring_on(self, n);

			under_way += is_under_way;
			if (!is_under_way && n == first)
				first += PRODUCERS;
		}
		sched_yield();
	}
	return (NULL);
}

/*
 * Workers
 */

static void
flush(player *self)
{
	play *p = self->play;

	if (self->len > 0)
		spr_receipts_take(p->s->receipts, (const uint8_t *)self->message, self->len);
	self->len = 0;
}

/* Of a job as it was pushed. */
static void
say(player *self, const char *job, bool is_error)
{
	play *p = self->play;
	const char *callback = strstr(job, "http://many/"), *number = strstr(job, "\"n\":");
	unsigned k = JOBS, n = N;

	if (callback != NULL && number != NULL) {
		(void)sscanf(callback, "http://many/%u", &k);
		(void)sscanf(number, "\"n\":%u", &n);
	}
	if (k >= JOBS || n >= N) {
		check(p, false, job, n);
		return;
	}
	if (!is_error)
		atomic_store(&p->has_job[n][k], true);
	atomic_fetch_add(&p->n_receipts, 1);
	self->len += (size_t)snprintf(self->message + self->len, sizeof(self->message) - self->len,
				      "%.*s%s}\n", (int)strcspn(job, ","), job,
				      is_error ? ",\"error\":\"no\"" : "");
	if (self->len > sizeof(self->message) / 2 || happens(self, 60))
		flush(self);
}

/* Takes over the job; one that was kept before is said now. */
static void
say_later(player *self, char *job)
{
	unsigned i = (unsigned)spr_test_below(&self->random, LATE);

	if (self->late[i] != NULL)
		say(self, self->late[i], happens(self, 20));
	free(self->late[i]);
	self->late[i] = job;
}

/* Takes over the job. */
static void
treat(player *self, char *job, bool was_pushed)
{
	unsigned dice = (unsigned)spr_test_below(&self->random, 100);

	if (!was_pushed && dice < 60) {
		free(job);
		return;
	}
	if (dice >= 3 && dice < 6) {
		say_later(self, job);
		return;
	}
	if (dice >= 6) /* else nothing is ever said of it */
		say(self, job, dice < 9);
	if (dice >= 90)
		say(self, job, dice < 94);
	free(job);
}

static void *
work(void *arg)
{
	player *self = arg;
	play *p = self->play;

	while (!atomic_load(&p->workers_may_leave)) {
		unsigned lane = (unsigned)spr_test_below(&self->random, p->s->waiters.n);
		bool ends = !happens(self, 10);
		bool fails = ends && happens(self, 3);
		char *job =
		    ends ? spr_fake_end(lane, fails ? SPR_E_CLOSED : SPR_OK) : spr_fake_peek(lane);

		if (spr_test_below(&self->random, 1000) == 0) {
			spr_fake_push_pipe(-1);
			spr_fake_push_pipe(+1);
		}
		if (job != NULL) {
			treat(self, job, ends && !fails);
			continue;
		}
		if (happens(self, 5))
			say_later(self, NULL);
		flush(self);
		sched_yield();
	}
	flush(self);
	for (unsigned i = 0; i < LATE; i++)
		free(self->late[i]);
	return (NULL);
}

/*
 * The upstream
 */

static bool
is_expected_reason(const char *reason)
{
	return (reason != NULL &&
		(strcmp(reason, "receipt_error") == 0 || strcmp(reason, "push_failed") == 0 ||
		 strcmp(reason, "receipt_timeout") == 0 || strcmp(reason, "overload") == 0));
}

static void
note_answer(play *p, const cJSON *id, bool is_ack)
{
	unsigned n = cJSON_IsString(id) ? (unsigned)strtoul(id->valuestring, NULL, 10) : N;
	int before;

	if (n >= N) {
		check(p, false, "no such id", n);
		return;
	}
	for (unsigned k = 0; is_ack && k < JOBS; k++)
		check(p, atomic_load(&p->has_job[n][k]), "acked, but nobody has a job of it", n);
	before = atomic_load(&p->state[n]);
	check(p, before == SENT || !p->is_strict, "answered twice", n);
	/* an ack is the end, whatever becomes of copies behind it */
	while (before != ACKED &&
	       !atomic_compare_exchange_weak(&p->state[n], &before, is_ack ? ACKED : NACKED))
		continue;
	if (before != ACKED && is_ack)
		atomic_fetch_add(&p->n_acks, 1);
}

static void
note_request(play *p, const cJSON *request)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(request, "ack"))
	    note_answer(p, item, true);
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(request, "nack"))
	{
		check(p,
		      is_expected_reason(
			  cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "reason"))),
		      "another reason", 0);
		note_answer(p, cJSON_GetObjectItemCaseSensitive(item, "id"), false);
	}
}

/* False: hang up. */
static bool
serve(player *self)
{
	play *p = self->play;
	const uint8_t *data;
	size_t len;
	spr_sp_result result = spr_sp_recv(&p->peer.sp, &data, &len, 20);
	const char *reply = "{\"ok\":true}";
	uint8_t id[4];
	cJSON *request;

	if (result != SPR_SP_OK || len < 4)
		return (result == SPR_SP_TIMEOUT);
	memcpy(id, data, 4);
	request = cJSON_ParseWithLength((const char *)data + 4, len - 4);
	check(p, cJSON_IsObject(request), "no request", 0);
	if (!p->is_strict && happens(self, 3)) {
		cJSON_Delete(request);
		return (false);
	}
	if (happens(self, 10))
		reply = "{\"ok\":false}";
	else
		note_request(p, request);
	cJSON_Delete(request);
	if (!p->is_strict && happens(self, 3))
		return (false);
	return (spr_sp_send(&p->peer.sp, id, 4, reply, strlen(reply), LIMIT_MS) == SPR_SP_OK);
}

static void *
listen_upstream(void *arg)
{
	player *self = arg;
	play *p = self->play;

	while (!atomic_load(&p->is_over)) {
		struct pollfd waiter = {.fd = p->peer.listener, .events = POLLIN};

		if (p->peer.sp.fd >= 0) {
			if (!serve(self))
				rep_hang_up(&p->peer);
		} else if (poll(&waiter, 1, 20) == 1) {
			(void)spr_sp_adopt(&p->peer.sp, accept(p->peer.listener, NULL, NULL),
					   SPR_SP_REP);
		}
	}
	return (NULL);
}

/*
 * The play
 */

static void
start(play *p, player *players, unsigned n, unsigned salt, void *(*run)(void *))
{
	for (unsigned i = 0; i < n; i++) {
		players[i] =
		    (player){.play = p, .number = i, .random = spr_test_seed() + salt * 100 + i};
		assert_int_equal(pthread_create(&players[i].thread, NULL, run, &players[i]), 0);
	}
}

static void
join(player *players, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pthread_join(players[i].thread, NULL);
}

static bool
is_all_back(const scene *s)
{
	return (spr_intake_bytes(s->intake) == 0 && in_flight(s) == 0 && are_idle(s) &&
		spr_outbox_is_idle(s->outbox));
}

/* The ledger has stopped: what is remembered of nacked ids is the test's now. */
static void
assert_credits_are_back(scene *s)
{
	spr_resume evicted;

	assert_int_equal(spr_credits_reserved(spr_jobs_credits(s->jobs)), spr_jobs_known(s->jobs));
	while (spr_answers_evict_resumable(s->answers, &evicted)) {
		assert_int_equal(spr_jobs_forget(s->jobs, evicted.jobs), evicted.n);
		spr_credits_give_back(spr_jobs_credits(s->jobs), evicted.n);
	}
	assert_int_equal(spr_jobs_known(s->jobs), 0);
	assert_int_equal(spr_credits_reserved(spr_jobs_credits(s->jobs)), 0);
	assert_int_equal(spr_answers_in_flight(s->answers), 0);
}

static void
assert_outcome(play *p)
{
	const scene *s = p->s;
	uint64_t n_results = 0;

	for (unsigned i = SPR_C_RECEIPTS_TAKEN; i <= SPR_C_RECEIPTS_STALE; i++)
		n_results += counted(s, (spr_counter)i);
	assert_int_equal(n_results, atomic_load(&p->n_receipts));
	assert_int_equal(counted(s, SPR_C_RECEIPTS_MISROUTED) + counted(s, SPR_C_RECEIPTS_BAD), 0);
	assert_int_equal(atomic_load(&p->n_acks), N);
	if (p->is_strict)
		assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), N);
	assert_true(counted(s, SPR_C_JOBS_UNCONFIRMED) > 0);
	assert_true(!p->keeps_all || counted(s, SPR_C_JOBS_RESUMED) > 0);
	assert_int_equal(counted(s, SPR_C_DEAD_LETTERS), 0);
}

static void
run_play(scene_wants wants, bool is_strict)
{
	play *p = calloc(1, sizeof(*p));
	player producers[PRODUCERS], workers[WORKERS], upstream[1];

	assert_non_null(p);
	p->is_strict = is_strict;
	p->keeps_all = wants.resume_window >= wants.max_inflight &&
		       wants.max_jobs >= (wants.max_inflight + wants.resume_window) * JOBS;
	p->deadline_ns = spr_test_deadline_ns(LIMIT_MS);
	p->peer = rep_listen();
	wants.has_upstream = true;
	wants.upstream_url = p->peer.url;
	wants.has_threads = true;
	wants.receivers = PRODUCERS;
	wants.as_value = true;
	wants.receipt_timeout_ns = 100 * SPR_NS_PER_MS;
	wants.receipt_grace_ns = 30 * SPR_NS_PER_MS;
	p->s = scene_open(wants);
	subscribe_many(p->s, "UN", JOBS);
	start(p, upstream, 1, 1, listen_upstream);
	start(p, workers, WORKERS, 2, work);
	start(p, producers, PRODUCERS, 3, produce);
	join(producers, PRODUCERS);
	assert_int_equal(atomic_load(&p->n_bad), 0);
	assert_true(has_time(p)); /* else an id is never acked */
	assert_true(wait_until(is_all_back(p->s), LIMIT_MS));
	atomic_store(&p->workers_may_leave, true);
	join(workers, WORKERS);
	spr_ledger_stop(p->s->ledger);
	atomic_store(&p->is_over, true);
	join(upstream, 1);
	assert_int_equal(atomic_load(&p->n_bad), 0);
	assert_outcome(p);
	assert_credits_are_back(p->s);
	rep_close(&p->peer);
	scene_close(p->s);
	free(p);
}

static void
plenty_of_everything(void **state)
{
	(void)state;
	run_play(
	    (scene_wants){
		.n_dispatchers = 2, .max_jobs = 4096, .resume_window = 64, .max_inflight = 32},
	    true);
}

/* Fan-outs wait for credits, and what is remembered is evicted for them. */
static void
credits_are_short(void **state)
{
	(void)state;
	run_play(
	    (scene_wants){
		.n_dispatchers = 3, .max_jobs = 3 * JOBS, .resume_window = 8, .max_inflight = 16},
	    true);
}

/* Every nack evicts the one before it. */
static void
hardly_any_is_remembered(void **state)
{
	(void)state;
	run_play(
	    (scene_wants){
		.n_dispatchers = 2, .max_jobs = 256, .resume_window = 1, .max_inflight = 8},
	    true);
}

static void
copies_and_lost_replies(void **state)
{
	(void)state;
	run_play(
	    (scene_wants){
		.n_dispatchers = 2, .max_jobs = 8 * JOBS, .resume_window = 16, .max_inflight = 16},
	    false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plenty_of_everything),
	    cmocka_unit_test(credits_are_short),
	    cmocka_unit_test(hardly_any_is_remembered),
	    cmocka_unit_test(copies_and_lost_replies),
	};

	spr_log_set_level(SPR_LOG_ERROR);
	spr_sync_yield_percent(2);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
