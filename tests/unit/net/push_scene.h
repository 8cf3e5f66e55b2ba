/*
 * push_scene - the sending half of a transport against workers on raw sockets, over tcp and ipc: what the tests of every
 * such half share. Define TRANSPORT first.
 */
#pragma once

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spr_test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/net.h"
#include "sp_raw.h"

#define SLOTS     4
#define N_LANES   2
#define LARGE_JOB (16u << 20) /* more than socket buffers hold */
#define LIMIT_MS  20000

static const spr_transport *const transport = &TRANSPORT;

typedef struct tally {
	atomic_uint n_sent, n_cancelled, n_wrong;
} tally;

typedef struct scene {
	spr_push *push;
	spr_push_lane *lane[N_LANES];
	tally tally[N_LANES]; /* written by callbacks: what a lane was opened with */
	atomic_uint n_added, n_removed;
	char *dir;
	char url[SPR_URL_MAX];
} scene;

/* The cookie is the job's length plus one. */
static inline void
on_done(void *lane_arg, void *const *cookies, unsigned n, size_t bytes, spr_err result)
{
	tally *t = lane_arg;
	size_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += (uintptr_t)cookies[i] - 1;
	if (n == 0 || n > SPR_DONE_MAX || sum != bytes)
		atomic_fetch_add(&t->n_wrong, 1);
	if (result == SPR_OK)
		atomic_fetch_add(&t->n_sent, n);
	else if (result == SPR_E_CANCELLED)
		atomic_fetch_add(&t->n_cancelled, n);
	else
		atomic_fetch_add(&t->n_wrong, n);
}

static inline void
on_pipe(void *arg, int change)
{
	scene *s = arg;

	atomic_fetch_add(change > 0 ? &s->n_added : &s->n_removed, 1);
}

static inline void
open_push(scene *s)
{
	spr_push_config config = {.pipes = {.on_pipe = on_pipe, .arg = s}, .on_done = on_done};

	*s = (scene){.dir = spr_test_tmpdir()};
	assert_ok(transport->push_open(&s->push, &config));
	for (unsigned i = 0; i < N_LANES; i++) {
		assert_ok(transport->lane_open(&s->lane[i], s->push, SLOTS, &s->tally[i]));
		assert_int_equal(transport->lane_room(s->lane[i]), SLOTS);
	}
}

static inline void
open_scene(scene *s, const char *scheme)
{
	char url[SPR_URL_MAX] = "tcp://127.0.0.1:0";

	open_push(s);
	if (strcmp(scheme, "ipc") == 0)
		snprintf(url, sizeof(url), "ipc://%s/s", s->dir);
	assert_ok(transport->push_listen(s->push, url, s->url));
}

static inline void
close_scene(scene *s)
{
	for (unsigned i = 0; i < N_LANES; i++) {
		assert_true(wait_until(transport->lane_busy(s->lane[i]) == 0, LIMIT_MS));
		assert_true(transport->lane_room(s->lane[i]) > 0);
		assert_int_equal(s->tally[i].n_wrong, 0);
	}
	transport->push_close(s->push);
	assert_int_equal(s->n_added, s->n_removed);
	spr_test_cleanup(s->dir);
}

static inline void
flush_lane(spr_push_lane *lane)
{
	if (transport->lane_flush != NULL)
		transport->lane_flush(lane);
}

/* Some are made longer than they are sent. */
static inline spr_err
send_job(spr_push_lane *lane, size_t len)
{
	size_t spare = len / 100 % 2 * 50;
	spr_out out;
	spr_err rv;

	assert_ok(transport->out_alloc(lane, &out, len + spare));
	assert_int_equal(out.len, len + spare);
	memset(out.data, 'j', len);
	out.len = len;
	if ((rv = transport->lane_send(lane, &out, (void *)(uintptr_t)(len + 1))) != SPR_OK)
		transport->out_free(&out); /* it is still ours */
	flush_lane(lane);
	return (rv);
}

/* The next job is of that many bytes. */
static inline void
expect_job(spr_sp *worker, size_t expected)
{
	const uint8_t *data;
	size_t len;

	assert_int_equal(spr_sp_recv(worker, &data, &len, LIMIT_MS), SPR_SP_OK);
	assert_int_equal(len, expected);
	for (size_t i = 0; i < len; i++) {
		if (data[i] != 'j')
			fail_msg("byte %zu of %zu", i, len);
	}
}

static inline uint64_t
in_ms(unsigned ms)
{
	return (spr_clock_now_ns() + ms * SPR_NS_PER_MS);
}

/*
 * The worker leaves, but not before the job that it got last is written off: nng 1.5 puts a connection back among the ready
 * ones when it is closed in between, and the next job is lost in it, or worse.
 */
static inline void
leave(scene *s, spr_sp *worker)
{
	unsigned n_removed = s->n_removed;

	for (unsigned i = 0; i < N_LANES; i++)
		assert_true(wait_until(transport->lane_busy(s->lane[i]) == 0, LIMIT_MS));
	assert_true(transport->push_flush(s->push, in_ms(LIMIT_MS)));
	spr_sp_close(worker);
	assert_true(wait_until(s->n_removed == n_removed + 1, LIMIT_MS));
}

static inline void
test_jobs_arrive(void **state)
{
	static const char *const schemes[] = {"tcp", "ipc"};
	scene s;
	spr_sp worker;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		open_scene(&s, schemes[k]);
		assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
		for (unsigned n = 0; n < 100; n++) {
			spr_push_lane *lane = s.lane[n % N_LANES];

			assert_true(wait_until(transport->lane_room(lane) > 0, LIMIT_MS));
			assert_ok(send_job(lane, n * 100));
			expect_job(&worker, n * 100);
		}
		for (unsigned i = 0; i < N_LANES; i++)
			assert_true(wait_until(s.tally[i].n_sent == 50, LIMIT_MS));
		leave(&s, &worker);
		close_scene(&s);
	}
}

static inline void
test_a_full_lane(void **state)
{
	scene s;
	spr_sp worker;

	(void)state;
	open_scene(&s, "tcp");
	for (unsigned i = 0; i < SLOTS; i++) {
		assert_in_range(transport->lane_room(s.lane[0]), 1, SLOTS - i);
		assert_int_equal(transport->lane_busy(s.lane[0]), i);
		assert_ok(send_job(s.lane[0], 10 + i));
	}
	assert_int_equal(transport->lane_room(s.lane[0]), 0);
	assert_fails(send_job(s.lane[0], 10), SPR_E_FULL);
	assert_int_equal(transport->lane_busy(s.lane[0]), SLOTS);
	assert_int_equal(transport->lane_room(s.lane[1]), SLOTS); /* each has its own */
	assert_ok(send_job(s.lane[1], 10 + SLOTS));
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	for (unsigned i = 0; i <= SLOTS; i++)
		expect_job(&worker, 10 + i);
	assert_true(wait_until(transport->lane_busy(s.lane[0]) == 0, LIMIT_MS));
	assert_int_equal(s.tally[0].n_sent, SLOTS);
	for (unsigned n = 0; n < 5 * SLOTS; n++) { /* slots come back again and again */
		assert_true(wait_until(transport->lane_room(s.lane[0]) > 0, LIMIT_MS));
		assert_ok(send_job(s.lane[0], 10));
		expect_job(&worker, 10);
	}
	leave(&s, &worker);
	for (unsigned i = 0; i < SLOTS; i++) /* all of them */
		assert_ok(send_job(s.lane[0], 10));
	assert_fails(send_job(s.lane[0], 10), SPR_E_FULL);
	transport->lane_abort(s.lane[0]);
	close_scene(&s);
}

static inline void
test_abort_cancels_what_waits(void **state)
{
	scene s;
	spr_sp worker;

	(void)state;
	open_scene(&s, "ipc");
	transport->lane_abort(s.lane[0]); /* nothing waits: nothing happens */
	for (unsigned i = 0; i < SLOTS; i++)
		assert_ok(send_job(s.lane[0], 10));
	assert_ok(send_job(s.lane[1], 11));
	transport->lane_abort(s.lane[0]);
	assert_true(wait_until(transport->lane_busy(s.lane[0]) == 0, LIMIT_MS));
	assert_int_equal(s.tally[0].n_cancelled, SLOTS);
	assert_int_equal(s.tally[0].n_sent, 0);
	assert_int_equal(transport->lane_busy(s.lane[1]), 1); /* the other lane still waits */
	assert_ok(send_job(s.lane[0], 12));
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	expect_job(&worker, 11);
	expect_job(&worker, 12);
	leave(&s, &worker);
	close_scene(&s);
}

static inline void
test_it_dials_and_dials_again(void **state)
{
	scene s;
	spr_sp worker;
	char url[64];
	int listener = spr_sp_listen("tcp://127.0.0.1:0", url);

	(void)state;
	assert_true(listener >= 0);
	open_push(&s);
	assert_ok(transport->push_dial(s.push, url));
	for (unsigned n = 1; n <= 2; n++) {
		assert_ok(send_job(s.lane[0], n));
		assert_true(spr_sp_adopt(&worker, accept(listener, NULL, NULL), SPR_SP_PULL));
		expect_job(&worker, n);
		leave(&s, &worker);
	}
	close(listener);
	close_scene(&s);
}

static inline void
test_bad_urls(void **state)
{
	scene s;
	char bound[SPR_URL_MAX];

	(void)state;
	open_push(&s);
	assert_fails(transport->push_listen(s.push, "gopher://here", bound), SPR_E_ADDRESS);
	assert_non_null(
	    strstr(spr_error_text(SPR_E_ADDRESS), "listen on gopher://here: Not supported"));
	assert_fails(transport->push_dial(s.push, "gopher://here"), SPR_E_ADDRESS);
	assert_non_null(strstr(spr_error_text(SPR_E_ADDRESS), "dial gopher://here: Not supported"));
	close_scene(&s);
}

/* Two lanes, each with its own thread, and two workers: slots are neither lost nor doubled. */
#define N_JOBS 5000

typedef struct player {
	scene *scene;
	unsigned number;
	pthread_t thread;
	atomic_bool is_over;
	atomic_uint n_jobs;
	bool is_good;
} player;

static inline void *
play_dispatcher(void *arg)
{
	player *self = arg;
	spr_push_lane *lane = self->scene->lane[self->number];
	spr_out out;

	self->is_good = true;
	for (unsigned n = 0; n < N_JOBS; n++) {
		while (transport->lane_room(lane) == 0)
			sched_yield();
		self->is_good &= transport->out_alloc(lane, &out, 10) == SPR_OK;
		memset(out.data, 'j', 10);
		self->is_good &= transport->lane_send(lane, &out, (void *)(uintptr_t)11) == SPR_OK;
		flush_lane(lane);
	}
	return (NULL);
}

static inline void *
play_worker(void *arg)
{
	player *self = arg;
	spr_sp sp;
	const uint8_t *data;
	size_t len;

	self->is_good = spr_sp_dial(&sp, self->scene->url, SPR_SP_PULL);
	while (self->is_good && !atomic_load(&self->is_over))
		self->n_jobs += spr_sp_recv(&sp, &data, &len, 1) == SPR_SP_OK;
	spr_sp_close(&sp);
	return (NULL);
}

static inline void
test_lanes_in_parallel(void **state)
{
	scene s;
	player dispatchers[N_LANES], workers[2] = {0};

	(void)state;
	open_scene(&s, "tcp");
	for (unsigned i = 0; i < N_LANES; i++) {
		dispatchers[i] = (player){.scene = &s, .number = i};
		assert_int_equal(
		    pthread_create(&dispatchers[i].thread, NULL, play_dispatcher, &dispatchers[i]),
		    0);
	}
	for (unsigned i = 0; i < 2; i++) {
		workers[i].scene = &s;
		assert_int_equal(pthread_create(&workers[i].thread, NULL, play_worker, &workers[i]),
				 0);
	}
	for (unsigned i = 0; i < N_LANES; i++) {
		pthread_join(dispatchers[i].thread, NULL);
		assert_true(dispatchers[i].is_good);
		assert_true(wait_until(transport->lane_busy(s.lane[i]) == 0, LIMIT_MS));
		assert_int_equal(s.tally[i].n_sent, N_JOBS);
	}
	assert_true(
	    wait_until(workers[0].n_jobs + workers[1].n_jobs == N_LANES * N_JOBS, LIMIT_MS));
	assert_true(transport->push_flush(s.push, in_ms(LIMIT_MS)));
	for (unsigned i = 0; i < 2; i++) {
		atomic_store(&workers[i].is_over, true);
		pthread_join(workers[i].thread, NULL);
	}
	close_scene(&s);
}
