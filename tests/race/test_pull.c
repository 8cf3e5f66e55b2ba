/*
 * test_pull - producers that come and go while receives are parked and rearmed by another thread, perhaps before the callback
 * that parked has returned; then all of it at a stop.
 *
 * What belongs to a receive, and to a connection, is written by its callbacks without any protection: they are serial, also
 * over a rearm, or ThreadSanitizer complains.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#include "base/log.h"
#include "base/sync.h"
#include "net/net.h"
#include "sp_raw.h"

#define N_RECEIVES  3
#define N_PRODUCERS 4
#define N_VISITS    60 /* connections of each producer */
#define N_PASSES    1000
#define MOST        40 /* messages of one connection */
#define LARGE       70000
#define N_STOPS     25
#define LIMIT_MS    60000

typedef struct stamp {
	uint32_t producer, visit, n;
} stamp;

typedef struct scene {
	const spr_transport *transport;
	spr_pull *pull;
	char *dir, url[SPR_URL_MAX];
	atomic_bool is_over; /* producers leave soon */
	atomic_bool is_done; /* so does whoever rearms */
	atomic_uint n_bad, n_sent, n_added, n_removed, n_finished;
	/* each receive's own */
	struct {
		uint64_t n_received, random;
		atomic_bool is_inside;
	} receive[N_RECEIVES];
	/* each connection's own: the number that comes next */
	uint32_t next[N_PRODUCERS][N_VISITS];
	atomic_bool is_parked[N_RECEIVES]; /* given to whoever rearms */
	bool has_stopped;                  /* main's; a callback after the stop is a race with it */
} scene;

typedef struct producer {
	scene *s;
	uint32_t number;
	bool is_idler; /* sends nothing */
	pthread_t thread;
} producer;

static void
check_message(scene *s, const spr_buf *buf)
{
	stamp got = {0};
	uint32_t *next;

	memcpy(&got, buf->data, buf->len < sizeof(got) ? buf->len : sizeof(got));
	if (buf->len < sizeof(got) || got.producer >= N_PRODUCERS || got.visit >= N_VISITS) {
		atomic_fetch_add(&s->n_bad, 1);
		return;
	}
	next = &s->next[got.producer][got.visit];
	if (got.n != (*next)++)
		atomic_fetch_add(&s->n_bad, 1);
}

static bool
on_receive(void *arg, unsigned index, spr_buf *buf)
{
	scene *s = arg;

	if (s->has_stopped || atomic_exchange(&s->receive[index].is_inside, true))
		atomic_fetch_add(&s->n_bad, 1);
	check_message(s, buf);
	spr_buf_drop(buf);
	s->receive[index].n_received++;
	if (spr_test_below(&s->receive[index].random, 4) != 0) {
		atomic_store(&s->receive[index].is_inside, false);
		return (true);
	}
	atomic_store(&s->receive[index].is_inside, false);
	if (atomic_exchange(&s->is_parked[index], true))
		atomic_fetch_add(&s->n_bad, 1); /* called while parked */
	return (false);
}

static void
on_pipe(void *arg, int change)
{
	scene *s = arg;

	atomic_fetch_add(change > 0 ? &s->n_added : &s->n_removed, 1);
}

static void *
play_rearmer(void *arg)
{
	scene *s = arg;

	while (!atomic_load(&s->is_done)) {
		for (unsigned i = 0; i < N_RECEIVES; i++) {
			if (atomic_exchange(&s->is_parked[i], false))
				s->transport->pull_rearm(s->pull, i);
		}
		sched_yield();
	}
	return (NULL);
}

/* Some messages, one of which may be longer than any buffer; false when the connection is gone. */
static bool
visit(producer *self, uint32_t number, uint64_t *random)
{
	static const char padding[LARGE];
	stamp mine = {self->number, number, 0};
	uint32_t n = self->is_idler ? 0 : (uint32_t)spr_test_below(random, MOST);
	spr_sp sp;

	if (!spr_sp_dial(&sp, self->s->url, SPR_SP_PUSH))
		return (false);
	for (; mine.n < n; mine.n++) {
		size_t len = spr_test_below(random, 64) == 0 ? LARGE : spr_test_below(random, 300);

		if (spr_sp_send(&sp, &mine, sizeof(mine), padding, len, LIMIT_MS) != SPR_SP_OK)
			break;
		atomic_fetch_add(&self->s->n_sent, 1);
	}
	if (self->is_idler)
		(void)wait_until(atomic_load(&self->s->is_over), 1);
	spr_sp_close(&sp);
	return (mine.n == n);
}

static void *
play_producer(void *arg)
{
	producer *self = arg;
	uint64_t random = spr_test_seed() + self->number;

	for (uint32_t i = 0; i < N_VISITS && !atomic_load(&self->s->is_over); i++) {
		if (!visit(self, i, &random) && !atomic_load(&self->s->is_over) &&
		    spr_net_max_peers() > N_PRODUCERS)
			atomic_fetch_add(&self->s->n_bad, 1);
	}
	atomic_fetch_add(&self->s->n_finished, 1);
	return (NULL);
}

/* Comes and says nothing. */
static void *
play_passer_by(void *arg)
{
	producer *self = arg;
	spr_sp sp;

	for (unsigned i = 0; i < N_PASSES; i++) {
		if (spr_sp_dial(&sp, self->s->url, SPR_SP_PUSH))
			spr_sp_close(&sp);
	}
	return (NULL);
}

static void
open_scene(scene *s, const spr_transport *transport, bool is_ipc)
{
	const spr_pull_config config = {.socket = "intake",
					.thread = "receiver",
					.receives = N_RECEIVES,
					.max_message = 2 * LARGE,
					.max_bytes = 64 << 20,
					.pipes = {.on_pipe = on_pipe, .arg = s},
					.on_receive = on_receive,
					.arg = s};
	char url[SPR_URL_MAX] = "tcp://127.0.0.1:0";

	*s = (scene){.transport = transport, .dir = spr_test_tmpdir()};
	for (unsigned i = 0; i < N_RECEIVES; i++)
		s->receive[i].random = spr_test_seed() + 100 + i;
	if (is_ipc)
		snprintf(url, sizeof(url), "ipc://%s/s", s->dir);
	assert_ok(transport->pull_open(&s->pull, &config));
	assert_ok(transport->pull_listen(s->pull, url, s->url));
	transport->pull_start(s->pull);
}

static uint64_t
received(const scene *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < N_RECEIVES; i++)
		n += s->receive[i].n_received;
	return (n);
}

static void
stop_scene(scene *s)
{
	s->transport->pull_stop(s->pull);
	s->has_stopped = true;
}

/* After the stop, with or without a rearm under way. */
static void
close_scene(scene *s, pthread_t rearmer)
{
	atomic_store(&s->is_done, true);
	pthread_join(rearmer, NULL);
	s->transport->pull_close(s->pull);
	assert_int_equal(atomic_load(&s->n_bad), 0);
	assert_int_equal(atomic_load(&s->n_added), atomic_load(&s->n_removed));
	spr_test_cleanup(s->dir);
}

/* Every message comes once and in its connection's order, whoever comes, goes and is parked. */
static void
lose_nothing(const spr_transport *transport)
{
	scene *s = malloc(sizeof(*s));
	producer producers[N_PRODUCERS];
	pthread_t rearmer;

	assert_non_null(s);
	open_scene(s, transport, false);
	assert_int_equal(pthread_create(&rearmer, NULL, play_rearmer, s), 0);
	for (uint32_t i = 0; i < N_PRODUCERS; i++) {
		producers[i] = (producer){.s = s, .number = i};
		assert_int_equal(
		    pthread_create(&producers[i].thread, NULL, play_producer, &producers[i]), 0);
	}
	for (unsigned i = 0; i < N_PRODUCERS; i++)
		pthread_join(producers[i].thread, NULL);
	/* an end is met behind the last message */
	assert_true(wait_until(atomic_load(&s->n_added) == N_PRODUCERS * N_VISITS &&
				   atomic_load(&s->n_removed) == N_PRODUCERS * N_VISITS,
			       LIMIT_MS));
	stop_scene(s);
	assert_int_equal(received(s), atomic_load(&s->n_sent));
	close_scene(s, rearmer);
	free(s);
}

/* A stop in the middle, again and again: nothing is called behind it, and what was received is whole. */
static void
stop_anywhere(const spr_transport *transport)
{
	scene *s = malloc(sizeof(*s));
	uint64_t random = spr_test_seed() + 1000;
	producer producers[N_PRODUCERS];
	pthread_t rearmer;

	assert_non_null(s);
	for (unsigned n = 0; n < N_STOPS; n++) {
		unsigned enough = (unsigned)spr_test_below(&random, 300);

		open_scene(s, transport, n % 2 == 1);
		assert_int_equal(pthread_create(&rearmer, NULL, play_rearmer, s), 0);
		for (uint32_t i = 0; i < N_PRODUCERS; i++) {
			producers[i] = (producer){.s = s, .number = i, .is_idler = i == 0};
			assert_int_equal(pthread_create(&producers[i].thread, NULL, play_producer,
							&producers[i]),
					 0);
		}
		assert_true(wait_until(atomic_load(&s->n_sent) >= enough ||
					   atomic_load(&s->n_finished) == N_PRODUCERS,
				       LIMIT_MS));
		atomic_store(&s->is_over, true);
		stop_scene(s);
		assert_true(received(s) <= atomic_load(&s->n_sent) + N_PRODUCERS);
		close_scene(s, rearmer);
		for (unsigned i = 0; i < N_PRODUCERS; i++)
			pthread_join(producers[i].thread, NULL);
	}
	free(s);
}

static void
test_nothing_is_lost(void **state)
{
	(void)state;
	lose_nothing(&spr_transport_nng);
	lose_nothing(&spr_transport_native);
}

static void
test_a_stop_anywhere(void **state)
{
	(void)state;
	stop_anywhere(&spr_transport_nng);
	stop_anywhere(&spr_transport_native);
}

/* So few places that newcomers cut the silent, who are just being read, served or about to leave. */
static void
cut_the_silent(const spr_transport *transport)
{
	scene *s = malloc(sizeof(*s));
	producer producers[N_PRODUCERS];
	pthread_t rearmer;

	assert_non_null(s);
	open_scene(s, transport, true);
	assert_int_equal(pthread_create(&rearmer, NULL, play_rearmer, s), 0);
	for (uint32_t i = 0; i < N_PRODUCERS; i++) {
		producers[i] = (producer){.s = s, .number = i};
		assert_int_equal(
		    pthread_create(&producers[i].thread, NULL, play_passer_by, &producers[i]), 0);
	}
	for (unsigned i = 0; i < N_PRODUCERS; i++)
		pthread_join(producers[i].thread, NULL);
	stop_scene(s);
	close_scene(s, rearmer);
	free(s);
}

static void
test_cut_anywhere(void **state)
{
	(void)state;
	spr_net_set_max_peers(2);
	cut_the_silent(&spr_transport_nng);
	cut_the_silent(&spr_transport_native);
	stop_anywhere(&spr_transport_nng);
	stop_anywhere(&spr_transport_native);
	spr_net_set_max_peers(SPR_MAX_PEERS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nothing_is_lost),
	    cmocka_unit_test(test_a_stop_anywhere),
	    cmocka_unit_test(test_cut_anywhere),
	};

	spr_log_init(SPR_LOG_ERROR, SPR_LOG_TEXT, 2); /* each cut is a warning */
	spr_sync_yield_percent(5);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
