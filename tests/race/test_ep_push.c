/*
 * test_ep_push - dispatchers post on two lanes while workers come, hang up in the middle and come again, one lane is aborted
 * now and then, and yields are put between all steps.
 *
 *   - every send ends once
 *   - workers end their side first and read to the end, so whatever the kernel took reaches one: each job of the lane that is
 *     not aborted arrives exactly once, though connections are lost all the time; of the other no job more than once, and
 *     each that was called taken
 *   - nothing is left in the end, and everything that came has gone
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "spr_test.h"

#include "base/sync.h"
#include "net/net.h"
#include "sp_raw.h"

#define N_LANES   2
#define N_JOBS    20000 /* of each lane */
#define N_WORKERS 3
#define SLOTS     32
#define LIMIT_MS  60000

static const spr_transport *const transport = &spr_transport_native;

typedef struct scene scene;

typedef struct player {
	scene *scene;
	unsigned number;
	pthread_t thread;
	uint64_t random;
} player;

struct scene {
	spr_push *push;
	spr_push_lane *lane[N_LANES];
	char url[SPR_URL_MAX];
	atomic_uint arrived[N_LANES][N_JOBS], taken[N_LANES][N_JOBS], cancelled[N_LANES][N_JOBS];
	atomic_int n_pipes;
	atomic_uint n_lost; /* connections */
	atomic_bool is_over, is_posted, is_bad;
};

static void
on_done(void *lane_arg, void *const *cookies, unsigned n, size_t bytes, spr_err result)
{
	(void)lane_arg;
	(void)bytes;
	for (unsigned i = 0; i < n; i++) {
		atomic_uint *ended = cookies[i];

		if (result != SPR_OK) /* its twin, two arrays on */
			ended += (size_t)N_LANES * N_JOBS;
		atomic_fetch_add(ended, 1);
	}
}

static void
on_pipe(void *arg, int change)
{
	scene *s = arg;

	atomic_fetch_add(&s->n_pipes, change);
	atomic_fetch_add(&s->n_lost, change < 0);
}

static void *
play_dispatcher(void *arg)
{
	player *self = arg;
	scene *s = self->scene;
	spr_push_lane *lane = s->lane[self->number];
	unsigned until_flush = 1;

	for (unsigned n = 0; n < N_JOBS; n++) {
		size_t len = 8 + (size_t)spr_test_below(&self->random, n % 50 == 0 ? 20000 : 400);
		unsigned name[2] = {self->number, n};
		spr_out out;

		/* how many connections the rest of it meets is the scheduler's: so many have been lost for certain */
		while (n == N_JOBS / 2 && s->n_lost <= 20)
			sched_yield();
		if (--until_flush == 0 || transport->lane_room(lane) == 0) {
			transport->lane_flush(lane);
			until_flush = 1 + (unsigned)spr_test_below(&self->random, 40);
		}
		while (transport->lane_room(lane) == 0)
			sched_yield();
		if (transport->out_alloc(lane, &out, len) != SPR_OK) {
			s->is_bad = true;
			return (NULL);
		}
		memcpy(out.data, name, sizeof(name));
		if (transport->lane_send(lane, &out, &s->taken[self->number][n]) != SPR_OK)
			s->is_bad = true;
	}
	transport->lane_flush(lane);
	return (NULL);
}

static void *
play_aborter(void *arg)
{
	player *self = arg;

	while (!atomic_load(&self->scene->is_posted)) {
		for (unsigned n = (unsigned)spr_test_below(&self->random, 200); n > 0; n--)
			sched_yield();
		transport->lane_abort(self->scene->lane[1]);
	}
	return (NULL);
}

static void
note_arrival(scene *s, const uint8_t *data, size_t len)
{
	unsigned name[2];

	if (len < sizeof(name)) {
		s->is_bad = true;
		return;
	}
	memcpy(name, data, sizeof(name));
	if (name[0] >= N_LANES || name[1] >= N_JOBS)
		s->is_bad = true;
	else
		atomic_fetch_add(&s->arrived[name[0]][name[1]], 1);
}

/* Ends its side, and reads what the other has. */
static void
work_once(player *self, unsigned n_jobs)
{
	scene *s = self->scene;
	spr_sp_result result = SPR_SP_OK;
	spr_sp sp;
	const uint8_t *data;
	size_t len;

	if (!spr_sp_dial(&sp, s->url, SPR_SP_PULL))
		return;
	while (result != SPR_SP_GONE) {
		if (n_jobs == 0 || atomic_load(&s->is_over))
			shutdown(sp.fd, SHUT_WR);
		n_jobs -= n_jobs > 0;
		if ((result = spr_sp_recv(&sp, &data, &len, 5)) == SPR_SP_OK)
			note_arrival(s, data, len);
	}
	spr_sp_close(&sp);
}

static void *
play_worker(void *arg)
{
	player *self = arg;

	while (!atomic_load(&self->scene->is_over))
		work_once(self, (unsigned)spr_test_below(&self->random, 200));
	return (NULL);
}

static void
start(player *self, scene *s, unsigned number, void *(*play)(void *))
{
	*self = (player){.scene = s, .number = number, .random = spr_test_seed() + 1 + number};
	self->random += (uint64_t)(uintptr_t)play;
	assert_int_equal(pthread_create(&self->thread, NULL, play, self), 0);
}

static void
open_scene(scene *s, const char *url, size_t peer_bytes)
{
	spr_push_config config = {
	    .pipes = {.on_pipe = on_pipe, .arg = s}, .on_done = on_done, .peer_bytes = peer_bytes};

	memset(s, 0, sizeof(*s));
	assert_ok(transport->push_open(&s->push, &config));
	for (unsigned i = 0; i < N_LANES; i++)
		assert_ok(transport->lane_open(&s->lane[i], s->push, SLOTS, NULL));
	assert_ok(transport->push_listen(s->push, url, s->url));
}

static void
check(scene *s)
{
	for (unsigned lane = 0; lane < N_LANES; lane++) {
		for (unsigned n = 0; n < N_JOBS; n++) {
			assert_int_equal(s->taken[lane][n] + s->cancelled[lane][n], 1);
			assert_int_equal(s->arrived[lane][n], s->taken[lane][n]);
			assert_true(lane == 1 || s->taken[lane][n] == 1);
		}
	}
	assert_false(s->is_bad);
}

static void
run(const char *url, size_t peer_bytes)
{
	scene *s = malloc(sizeof(*s));
	player dispatchers[N_LANES], workers[N_WORKERS], aborter;

	open_scene(s, url, peer_bytes);
	spr_sync_yield_percent(5);
	for (unsigned i = 0; i < N_WORKERS; i++)
		start(&workers[i], s, i, play_worker);
	for (unsigned i = 0; i < N_LANES; i++)
		start(&dispatchers[i], s, i, play_dispatcher);
	start(&aborter, s, 0, play_aborter);
	for (unsigned i = 0; i < N_LANES; i++)
		pthread_join(dispatchers[i].thread, NULL);
	atomic_store(&s->is_posted, true);
	pthread_join(aborter.thread, NULL);
	for (unsigned i = 0; i < N_LANES; i++)
		assert_true(wait_until(transport->lane_busy(s->lane[i]) == 0, LIMIT_MS));
	atomic_store(&s->is_over, true);
	for (unsigned i = 0; i < N_WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	spr_sync_yield_percent(0);
	transport->push_close(s->push);
	assert_int_equal(s->n_pipes, 0);
	assert_true(s->n_lost > 20);
	check(s);
	free(s);
}

static void
test_tcp(void **state)
{
	(void)state;
	run("tcp://127.0.0.1:0", 0);
}

/* So little that connections are full all the time. */
static void
test_tcp_with_little_room(void **state)
{
	(void)state;
	run("tcp://127.0.0.1:0", 2000);
}

static void
test_ipc(void **state)
{
	char *dir = spr_test_tmpdir();
	char url[SPR_URL_MAX];

	(void)state;
	snprintf(url, sizeof(url), "ipc://%s/s", dir);
	run(url, 4000);
	spr_test_cleanup(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_tcp),
	    cmocka_unit_test(test_tcp_with_little_room),
	    cmocka_unit_test(test_ipc),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
