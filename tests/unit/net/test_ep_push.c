/*
 * test_ep_push - the sending half on loops of our own.
 */
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#define TRANSPORT spr_transport_native
#include "push_tests.h"

#define PEER_BYTES 100000
#define JOB_BYTES  10000

static void
open_native(scene *s, size_t peer_bytes, bool awaits_tcp, unsigned slots)
{
	spr_push_config config = {.pipes = {.on_pipe = on_pipe, .arg = s},
				  .on_done = on_done,
				  .peer_bytes = peer_bytes,
				  .awaits_tcp = awaits_tcp};

	*s = (scene){.dir = spr_test_tmpdir()};
	assert_ok(transport->push_open(&s->push, &config));
	for (unsigned i = 0; i < N_LANES; i++)
		assert_ok(transport->lane_open(&s->lane[i], s->push, slots, &s->tally[i]));
	assert_ok(transport->push_listen(s->push, "tcp://127.0.0.1:0", s->url));
}

/* Holds the loop where a test wants it to stand still. */
static sem_t is_held, may_go_on;

static void
hold(void)
{
	sem_post(&is_held);
	while (sem_wait(&may_go_on) != 0)
		continue;
}

static void
wait_until_held(void)
{
	while (sem_wait(&is_held) != 0)
		continue;
}

static atomic_bool holds_pipe;

static void
on_pipe_held(void *arg, int change)
{
	if (atomic_exchange(&holds_pipe, false))
		hold();
	on_pipe(arg, change);
}

static unsigned
take_all(spr_sp *worker, int ms)
{
	const uint8_t *data;
	size_t len;
	unsigned n = 0;

	while (spr_sp_recv(worker, &data, &len, ms) == SPR_SP_OK)
		n++;
	return (n);
}

/* Sends until nothing more is taken. How many were sent. */
static unsigned
send_until_full(scene *s)
{
	unsigned n = 0;

	while (transport->lane_room(s->lane[0]) > 0 ||
	       wait_until(transport->lane_room(s->lane[0]) > 0, 300)) {
		assert_ok(send_job(s->lane[0], JOB_BYTES));
		n++;
	}
	return (n);
}

/* What a worker that stands still was given and its system did not take is no more than the limit: the rest is there for others. */
static void
test_a_stalled_worker_holds_no_more_than_the_limit(void **state)
{
	scene s;
	spr_sp stalled, worker;
	unsigned n_sent, n_late;

	(void)state;
	open_native(&s, PEER_BYTES, false, 64);
	assert_true(spr_sp_dial(&stalled, s.url, SPR_SP_PULL));
	n_sent = send_until_full(&s);
	assert_int_equal(n_sent, s.tally[0].n_sent + 64);
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	n_late = take_all(&worker, 300);
	/* all but what the limit allows; its system may have taken some more since it was full, but while that is less than half
	 * it is given no others */
	assert_in_range(64 - n_late, PEER_BYTES / (JOB_BYTES + 8) / 2,
			PEER_BYTES / (JOB_BYTES + 8));
	assert_int_equal(transport->lane_busy(s.lane[0]), 64 - n_late);
	spr_sp_close(&stalled); /* and what it held comes too */
	n_late += take_all(&worker, 300);
	assert_int_equal(n_late, 64);
	assert_true(wait_until(transport->lane_busy(s.lane[0]) == 0, LIMIT_MS));
	assert_int_equal(s.tally[0].n_sent, n_sent);
	leave(&s, &worker);
	close_scene(&s);
}

/* One frame that is longer than the limit goes when the connection holds nothing else. */
static void
test_a_job_longer_than_the_limit(void **state)
{
	scene s;
	spr_sp worker;

	(void)state;
	open_native(&s, 1000, false, SLOTS);
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	assert_ok(send_job(s.lane[0], LARGE_JOB));
	assert_ok(send_job(s.lane[0], 10));
	expect_job(&worker, LARGE_JOB);
	expect_job(&worker, 10);
	leave(&s, &worker);
	close_scene(&s);
}

/* Two stand still, the third reads: it gets all that comes later. */
static void
test_the_least_burdened_gets_the_next(void **state)
{
	scene s;
	spr_sp stalled[2], worker;

	(void)state;
	open_native(&s, 1u << 30, false, 1024);
	for (unsigned i = 0; i < 2; i++)
		assert_true(spr_sp_dial(&stalled[i], s.url, SPR_SP_PULL));
	assert_true(wait_until(s.n_added == 2, LIMIT_MS));
	for (unsigned i = 0; i < 2; i++) /* more than its system takes: it holds the rest */
		assert_ok(send_job(s.lane[0], LARGE_JOB));
	assert_int_equal(transport->lane_busy(s.lane[0]), 2);
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	assert_true(wait_until(s.n_added == 3, LIMIT_MS));
	for (unsigned n = 0; n < 200; n++) {
		assert_ok(send_job(s.lane[1], 100 + n));
		expect_job(&worker, 100 + n);
	}
	transport->lane_abort(s.lane[0]);
	for (unsigned i = 0; i < 2; i++)
		spr_sp_close(&stalled[i]);
	assert_true(wait_until(s.n_removed == 2, LIMIT_MS));
	leave(&s, &worker);
	close_scene(&s);
}

/* Equals take turns, and what comes together is dealt alike. */
static void
test_jobs_are_dealt_alike(void **state)
{
	enum { N_WORKERS = 5, EACH = 20 };
	scene s;
	spr_sp worker[N_WORKERS];
	spr_out out;

	(void)state;
	open_native(&s, 0, false, N_WORKERS * EACH + 1);
	for (unsigned i = 0; i < N_WORKERS; i++)
		assert_true(spr_sp_dial(&worker[i], s.url, SPR_SP_PULL));
	assert_true(wait_until(s.n_added == N_WORKERS, LIMIT_MS));
	for (unsigned n = 0; n < N_WORKERS; n++)
		assert_ok(send_job(s.lane[0], 10));
	for (unsigned i = 0; i < N_WORKERS; i++)
		expect_job(&worker[i], 10);
	for (unsigned n = 0; n < N_WORKERS * EACH; n++) {
		assert_ok(transport->out_alloc(s.lane[0], &out, 10));
		memset(out.data, 'j', 10);
		assert_ok(transport->lane_send(s.lane[0], &out, (void *)(uintptr_t)11));
	}
	assert_int_equal(transport->lane_busy(s.lane[0]),
			 N_WORKERS * EACH); /* nothing leaves before */
	flush_lane(s.lane[0]);
	assert_int_equal(transport->lane_busy(s.lane[0]), 0); /* and then at once, on this thread */
	for (unsigned i = 0; i < N_WORKERS; i++) {
		assert_int_equal(take_all(&worker[i], 100), EACH);
		leave(&s, &worker[i]);
	}
	close_scene(&s);
}

/* The kernel has it all, but the worker's has not: nothing is taken until it has, and a reset takes it elsewhere. */
static void
test_with_tcp_what_is_not_acknowledged_is_not_taken(void **state)
{
	const struct linger reset = {.l_onoff = 1};
	scene s;
	spr_sp stalled, worker;
	unsigned n_taken, n_sent;
	int unread = 0;

	(void)state;
	open_native(&s, 1u << 30, true, 2000);
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	assert_ok(send_job(s.lane[0], 10));
	assert_true(
	    wait_until(s.tally[0].n_sent == 1, LIMIT_MS)); /* acknowledged, though not read */
	expect_job(&worker, 10);
	leave(&s, &worker);
	assert_true(spr_sp_dial(&stalled, s.url, SPR_SP_PULL));
	n_sent = send_until_full(&s);
	n_taken = s.tally[0].n_sent;
	assert_int_equal(n_sent, n_taken - 1 + 2000);
	assert_false(wait_until(s.tally[0].n_sent != n_taken, 200));
	/* what was taken is in the worker's system, not only in ours */
	assert_int_equal(ioctl(stalled.fd, FIONREAD, &unread), 0);
	assert_in_range((n_taken - 1) * (JOB_BYTES + 8), 1, (unsigned)unread);
	setsockopt(stalled.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	spr_sp_close(&stalled);
	assert_true(wait_until(s.n_removed == 2, LIMIT_MS));
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	/* what the stalled one's system had acknowledged is lost with it, which is what this mode says */
	assert_int_equal(take_all(&worker, 1000), 2000);
	assert_true(wait_until(transport->lane_busy(s.lane[0]) == 0, LIMIT_MS));
	assert_int_equal(s.tally[0].n_sent, n_sent + 1);
	leave(&s, &worker);
	close_scene(&s);
}

/* A worker that reads all and leaves in order had it all: nothing is sent twice. */
static void
test_with_tcp_an_orderly_end_is_no_reset(void **state)
{
	scene s;
	spr_sp worker;

	(void)state;
	open_native(&s, 0, true, SLOTS);
	for (unsigned n = 1; n <= 50; n++) {
		assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
		assert_true(wait_until(s.n_added == n, LIMIT_MS));
		assert_ok(send_job(s.lane[0], n));
		expect_job(&worker, n);
		spr_sp_close(&worker);
		assert_true(wait_until(s.n_removed == n, LIMIT_MS));
		assert_true(wait_until(transport->lane_busy(s.lane[0]) == 0, LIMIT_MS));
		assert_int_equal(s.tally[0].n_sent, n);
	}
	close_scene(&s);
}

/* It can be filled as soon as it is known, before the loop goes on: then it must not wait for room that nobody looks for. */
#if !defined(__SANITIZE_THREAD__) /* whose own epoll_ctl tells it what is ordered */
static atomic_bool holds_watch;

int
epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event)
{
	if (op == EPOLL_CTL_ADD && (event->events & EPOLLRDHUP) != 0 &&
	    atomic_exchange(&holds_watch, false))
		hold();
	return ((int)syscall(SYS_epoll_ctl, epoll_fd, op, fd, event));
}

static void
test_a_new_connection_is_filled_at_once(void **state)
{
	scene s;
	spr_sp worker;

	(void)state;
	open_native(&s, 0, false, SLOTS);
	assert_ok(send_job(s.lane[0], LARGE_JOB));
	atomic_store(&holds_watch, true);
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	wait_until_held();
	assert_ok(send_job(s.lane[1], 10));
	sem_post(&may_go_on);
	expect_job(&worker, LARGE_JOB);
	expect_job(&worker, 10);
	leave(&s, &worker);
	close_scene(&s);
}
#endif

/* There is room in the kernel for one that has hung up: it gets nothing more, what it has not got goes to the other. */
static void
test_one_that_has_hung_up_gets_no_more(void **state)
{
	enum { N_JOBS_OUT = 64, BYTES = 300000 };
	spr_push_config config = {.pipes = {.on_pipe = on_pipe_held}, .on_done = on_done};
	unsigned n_first, n_sent;
	scene s = {.dir = spr_test_tmpdir()};
	spr_sp first, other;

	(void)state;
	config.pipes.arg = &s;
	config.peer_bytes = 1u << 30;
	assert_ok(transport->push_open(&s.push, &config));
	for (unsigned i = 0; i < N_LANES; i++)
		assert_ok(transport->lane_open(&s.lane[i], s.push, N_JOBS_OUT, &s.tally[i]));
	assert_ok(transport->push_listen(s.push, "tcp://127.0.0.1:0", s.url));
	assert_true(spr_sp_dial(&first, s.url, SPR_SP_PULL));
	assert_true(wait_until(s.n_added == 1, LIMIT_MS));
	for (n_sent = 0; transport->lane_room(s.lane[0]) > 0; n_sent++)
		assert_ok(send_job(s.lane[0], BYTES));
	atomic_store(&holds_pipe, true);
	assert_true(spr_sp_dial(&other, s.url, SPR_SP_PULL));
	wait_until_held();
	n_first = take_all(&first, 300); /* all that the kernel has */
	shutdown(first.fd, SHUT_WR);
	sem_post(&may_go_on);
	assert_int_equal(take_all(&first, LIMIT_MS), 0); /* until it is cut */
	assert_true(wait_until(s.n_removed == 1, LIMIT_MS));
	assert_int_equal(n_first + take_all(&other, 1000), n_sent);
	spr_sp_close(&first);
	leave(&s, &other);
	close_scene(&s);
}

/* Nobody is there to take it, and it comes behind the abort's look. */
static void
test_a_job_that_is_flushed_behind_its_abort(void **state)
{
	scene s;
	spr_out out;

	(void)state;
	open_native(&s, 0, false, SLOTS);
	assert_ok(transport->out_alloc(s.lane[0], &out, 10));
	assert_ok(transport->lane_send(s.lane[0], &out, (void *)(uintptr_t)11));
	transport->lane_abort(s.lane[0]);
	assert_int_equal(transport->lane_busy(s.lane[0]), 1);
	flush_lane(s.lane[0]);
	assert_int_equal(transport->lane_busy(s.lane[0]), 0);
	assert_int_equal(s.tally[0].n_cancelled, 1);
	assert_ok(send_job(s.lane[0], 10)); /* this one is not aborted */
	assert_int_equal(transport->lane_busy(s.lane[0]), 1);
	transport->lane_abort(s.lane[0]);
	close_scene(&s);
}

static void
test_bad_urls_and_no_memory(void **state)
{
	spr_push_config config = {.on_done = on_done};
	spr_push *push = NULL;
	spr_push_lane *lane = NULL;
	spr_out out;
	char bound[SPR_URL_MAX];
	unsigned long n;
	spr_err rv;

	(void)state;
	for (n = 1;; n++) {
		spr_mem_fail_at(n);
		rv = transport->push_open(&push, &config);
		spr_mem_fail_at(0);
		if (rv == SPR_OK)
			break;
		assert_int_equal(rv, SPR_E_NOMEM);
		assert_null(push);
	}
	assert_true(n > 2); /* itself, the loop */
	spr_mem_fail_at(1);
	assert_fails(transport->lane_open(&lane, push, SLOTS, NULL), SPR_E_NOMEM);
	assert_null(lane);
	spr_mem_fail_at(0);
	assert_ok(transport->lane_open(&lane, push, SLOTS, NULL));
	for (n = 1;; n++) {
		spr_mem_fail_at(n);
		rv = transport->push_listen(push, "tcp://127.0.0.1:0", bound);
		spr_mem_fail_at(0);
		if (rv == SPR_OK)
			break;
		assert_int_equal(rv, SPR_E_NOMEM);
	}
	for (n = 1; n <= 2; n++) { /* the record, the chunk */
		spr_mem_fail_at(n);
		assert_fails(transport->out_alloc(lane, &out, 10), SPR_E_NOMEM);
	}
	spr_mem_fail_at(0);
	assert_ok(transport->out_alloc(lane, &out, 10));
	transport->out_free(&out);
	assert_fails(transport->push_listen(push, "ws://127.0.0.1:0", bound), SPR_E_ADDRESS);
	assert_fails(transport->push_dial(push, "ws://127.0.0.1:1"), SPR_E_ADDRESS);
	transport->push_close(push);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PUSH_TESTS,
		cmocka_unit_test(test_a_stalled_worker_holds_no_more_than_the_limit),
		cmocka_unit_test(test_a_job_longer_than_the_limit),
		cmocka_unit_test(test_the_least_burdened_gets_the_next),
		cmocka_unit_test(test_jobs_are_dealt_alike),
		cmocka_unit_test(test_with_tcp_what_is_not_acknowledged_is_not_taken),
		cmocka_unit_test(test_with_tcp_an_orderly_end_is_no_reset),
#if !defined(__SANITIZE_THREAD__)
		cmocka_unit_test(test_a_new_connection_is_filled_at_once),
#endif
		cmocka_unit_test(test_one_that_has_hung_up_gets_no_more),
		cmocka_unit_test(test_a_job_that_is_flushed_behind_its_abort),
		cmocka_unit_test(test_bad_urls_and_no_memory),
	};
	sem_init(&is_held, 0, 0);
	sem_init(&may_go_on, 0, 0);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
