/*
 * test_ep_connection - workers whose host is gone without a word, and one that merely does not read.
 */

#include <sys/ioctl.h>

#include "base/counters.h"

#define TRANSPORT spr_transport_native
#include "push_scene.h"
#include "vanish.h"

#define GONE_MS 60000 /* it is found within 15 s; a limit for hangs */

typedef struct lonely {
	const char *name;
	bool is_dialled, is_shut, is_idle, is_alive;
	scene s;
	spr_sp worker;
	int listener;
} lonely;

static void
begin(lonely *l)
{
	spr_push_config config = {
	    .pipes = {.on_pipe = on_pipe, .arg = &l->s}, .on_done = on_done, .awaits_tcp = true};
	char url[SPR_URL_MAX];

	l->s = (scene){.dir = spr_test_tmpdir()};
	l->listener = -1;
	assert_ok(transport->push_open(&l->s.push, &config));
	for (unsigned i = 0; i < N_LANES; i++)
		assert_ok(transport->lane_open(&l->s.lane[i], l->s.push, SLOTS, &l->s.tally[i]));
	if (l->is_dialled) {
		assert_true((l->listener = spr_sp_listen("tcp://127.0.0.1:0", url)) >= 0);
		assert_ok(transport->push_dial(l->s.push, url));
	} else {
		assert_ok(transport->push_listen(l->s.push, "tcp://127.0.0.1:0", l->s.url));
	}
}

static void
connect_worker(lonely *l)
{
	if (l->is_dialled)
		assert_true(spr_sp_adopt(&l->worker, accept(l->listener, NULL, NULL), SPR_SP_PULL));
	else
		assert_true(spr_sp_dial(&l->worker, l->s.url, SPR_SP_PULL));
}

/* Nothing more comes: its window is shut. */
static void
wait_until_shut(const spr_sp *worker)
{
	int n = 0, before = -1;
	uint64_t since_ns = spr_clock_now_ns();

	while (spr_clock_now_ns() - since_ns < SPR_NS_PER_S) {
		assert_int_equal(ioctl(worker->fd, FIONREAD, &n), 0);
		if (n != before)
			since_ns = spr_clock_now_ns();
		before = n;
		sched_yield();
	}
	assert_true(n > 0);
}

/* The worker gets something, or is about to, and then hears nothing more. */
static void
play(lonely *l)
{
	connect_worker(l);
	assert_ok(send_job(l->s.lane[0], 10));
	expect_job(&l->worker, 10);
	assert_true(wait_until(l->s.tally[0].n_sent == 1, LIMIT_MS));
	if (l->is_shut) {
		assert_ok(send_job(l->s.lane[0], LARGE_JOB));
		wait_until_shut(&l->worker);
	}
	if (!l->is_alive)
		vanish(l->worker.fd);
	if (!l->is_shut && !l->is_idle)
		assert_ok(send_job(l->s.lane[0], 12));
}

/* What the one that is gone did not get goes to the next one, whole. */
static void
expect_the_rest(lonely *l)
{
	if (!l->is_alive) {
		spr_sp_close(&l->worker);
		connect_worker(l);
	}
	if (l->is_idle)
		assert_ok(send_job(l->s.lane[0], 12));
	expect_job(&l->worker, l->is_shut ? LARGE_JOB : 12);
	leave(&l->s, &l->worker);
	if (l->listener >= 0)
		close(l->listener);
	close_scene(&l->s);
}

static void
test_workers_vanish(void **state)
{
	static lonely all[] = {
	    {.name = "accepted, idle", .is_idle = true},
	    {.name = "dialled, idle", .is_dialled = true, .is_idle = true},
	    {.name = "accepted, in flight"},
	    {.name = "dialled, in flight", .is_dialled = true},
	    {.name = "accepted, window shut", .is_shut = true},
	    {.name = "dialled, window shut", .is_dialled = true, .is_shut = true},
	    {.name = "alive, window shut", .is_shut = true, .is_alive = true},
	};
	enum { N = sizeof(all) / sizeof(all[0]) };
	uint64_t n_cut = spr_counter_sum(SPR_C_PEERS_CUT_VANISHED), since_ns[N];

	(void)state;
	for (unsigned i = 0; i < N; i++)
		begin(&all[i]);
	for (unsigned i = N; i-- > 0;) { /* the one that is alive waits longest */
		play(&all[i]);
		since_ns[i] = spr_clock_now_ns();
	}
	for (unsigned i = 0; i + 1 < N; i++) {
		if (!wait_until(all[i].s.n_removed == 1, GONE_MS))
			fail_msg("%s: not found", all[i].name);
		print_message("%s: found after at most %.1f s\n", all[i].name,
			      (double)(spr_clock_now_ns() - since_ns[i]) / SPR_NS_PER_S);
	}
	assert_int_equal(all[N - 1].s.n_removed, 0);
	assert_int_equal(spr_counter_sum(SPR_C_PEERS_CUT_VANISHED), n_cut + 4);
	for (unsigned i = 0; i < N; i++)
		expect_the_rest(&all[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_workers_vanish),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
