/*
 * test_switch - who dispatches what the native transport has received: an idle dispatcher's message that comes alone is the
 * receiver's own to do, everything else goes through the rings to the dispatcher's thread. The dispatcher is the test's:
 * it pops, notes which thread it is on, and can be made slow at a gate.
 *
 *   - alone: on the receiver's thread, and nobody is woken
 *   - what comes together, on one connection or on several: on the dispatcher's thread alone
 *   - a dispatcher that is at work: the receiver leaves everything to it
 *   - however much there is to do, and however long it takes, the receiver goes back to its sockets
 */
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

#include "spr_test.h"

#include "base/clock.h"
#include "base/counters.h"
#include "path/intake.h"
#include "sp_raw.h"

#define LIMIT_MS    20000
#define MAX_MESSAGE 1000
#define PEERS       3

typedef struct scene {
	char *dir;
	spr_intake *intake;
	spr_waiter waiter;
	spr_waiters waiters;
	spr_agent agent;
	spr_sp peer[PEERS];
	uint64_t before[2]; /* messages received, connections: the counters when it began */

	atomic_uint n_by_guest, n_by_thread, n_guest_turns, n_wrong;
	/* the next turn of its kind waits there, once */
	atomic_bool stops_guest, stops_thread;
	atomic_bool is_stopped;
	sem_t gate;
	atomic_bool is_endless; /* a guest is told that more is left */
} scene;

static void
stop_at_gate(scene *s, atomic_bool *stops)
{
	if (!atomic_exchange(stops, false))
		return;
	atomic_store(&s->is_stopped, true);
	while (sem_wait(&s->gate) != 0)
		continue; /* a signal */
}

static bool
take_one(scene *s)
{
	spr_buf *buf = spr_intake_pop(s->intake, 0);

	if (buf != NULL)
		spr_intake_finish(s->intake, buf);
	return (buf != NULL);
}

static bool
is_on(const char *name)
{
	char mine[16] = "";

	(void)pthread_getname_np(pthread_self(), mine, sizeof(mine));
	return (strcmp(mine, name) == 0);
}

static unsigned
do_work(void *state)
{
	scene *s = state;
	unsigned n = 0;

	if (!is_on("dispatcher-0"))
		atomic_fetch_add(&s->n_wrong, 1);
	stop_at_gate(s, &s->stops_thread);
	while (take_one(s))
		n++;
	atomic_fetch_add(&s->n_by_thread, n);
	return (n);
}

static bool
do_guest_work(void *state)
{
	scene *s = state;

	if (!is_on("receiver-0"))
		atomic_fetch_add(&s->n_wrong, 1);
	atomic_fetch_add(&s->n_guest_turns, 1);
	if (take_one(s))
		atomic_fetch_add(&s->n_by_guest, 1);
	stop_at_gate(s, &s->stops_guest);
	return (atomic_load(&s->is_endless));
}

/* ---- the scene ---- */

static uint64_t
n_received(const scene *s)
{
	return (spr_counter_sum(SPR_C_MESSAGES_RECEIVED) - s->before[0]);
}

static void
open_agent(scene *s)
{
	s->agent = (spr_agent){.name = "dispatcher-0",
			       .role = SPR_ROLE_DISPATCHER,
			       .do_work = do_work,
			       .do_guest_work = do_guest_work,
			       .state = s};
	spr_agent_init(&s->agent);
	s->waiter.agent = &s->agent;
	s->waiters = (spr_waiters){.waiter = &s->waiter, .n = 1};
	assert_int_equal(sem_init(&s->gate, 0, 0), 0);
}

/* The pace must not look like a stream. */
static void
pause_a_while(void)
{
	const uint64_t until_ns = spr_clock_now_ns() + SPR_NS_PER_MS;

	assert_true(wait_until(spr_clock_now_ns() > until_ns, LIMIT_MS));
}

static void
wait_idle(scene *s)
{
	assert_true(wait_until(atomic_load(&s->agent.is_parked) &&
				   atomic_load(&s->agent.turn) == SPR_TURN_FREE,
			       LIMIT_MS));
}

static void
open_scene(scene *s)
{
	const spr_intake_config config = {.transport = &spr_transport_native,
					  .receivers = 1,
					  .ring_slots = 256,
					  .max_message = MAX_MESSAGE,
					  .max_bytes = 1 << 20,
					  .dispatchers = &s->waiters,
					  .n_dispatchers = 1};
	char url[SPR_URL_MAX], bound[SPR_URL_MAX];

	memset(s, 0, sizeof(*s));
	s->dir = spr_test_tmpdir();
	s->before[0] = spr_counter_sum(SPR_C_MESSAGES_RECEIVED);
	s->before[1] = spr_counter_sum(SPR_C_PIPES_ADDED_INTAKE);
	open_agent(s);
	assert_ok(spr_intake_new(&s->intake, &config));
	snprintf(url, sizeof(url), "ipc://%s/s", s->dir);
	assert_ok(spr_intake_listen(s->intake, url, bound));
	assert_ok(spr_agent_start(&s->agent));
	spr_intake_start(s->intake);
	for (unsigned i = 0; i < PEERS; i++)
		assert_true(spr_sp_dial(&s->peer[i], bound, SPR_SP_PUSH));
	assert_true(wait_until(spr_counter_sum(SPR_C_PIPES_ADDED_INTAKE) - s->before[1] == PEERS,
			       LIMIT_MS));
	pause_a_while();
	wait_idle(s);
}

static void
close_scene(scene *s)
{
	spr_intake_stop(s->intake);
	spr_agent_stop(&s->agent);
	spr_intake_free(s->intake);
	for (unsigned i = 0; i < PEERS; i++)
		spr_sp_close(&s->peer[i]);
	sem_destroy(&s->gate);
	spr_test_cleanup(s->dir);
	assert_int_equal(s->n_wrong, 0);
}

/* n messages in one call. */
static void
send_together(scene *s, unsigned peer, unsigned n)
{
	const uint8_t frame[] = {1, 0, 0, 0, 0, 0, 0, 0, 3, 'o', 'n', 'e'};
	uint8_t bytes[64 * sizeof(frame)];

	assert_true(n <= 64);
	for (unsigned i = 0; i < n; i++)
		memcpy(bytes + i * sizeof(frame), frame, sizeof(frame));
	assert_int_equal(spr_sp_send_bytes(&s->peer[peer], bytes, n * sizeof(frame), LIMIT_MS),
			 SPR_SP_OK);
}

static void
wait_stopped(scene *s)
{
	assert_true(wait_until(atomic_load(&s->is_stopped), LIMIT_MS));
}

/* ---- the tests ---- */

static void
test_alone(void **state)
{
	scene s;

	(void)state;
	open_scene(&s);
	for (unsigned i = 1; i <= 20; i++) {
		pause_a_while();
		send_together(&s, i % PEERS, 1);
		assert_true(wait_until(atomic_load(&s.n_by_guest) == i, LIMIT_MS));
		wait_idle(&s);
	}
	assert_int_equal(s.n_by_thread, 0);
	close_scene(&s);
}

static void
test_together(void **state)
{
	scene s;

	(void)state;
	open_scene(&s);
	for (unsigned i = 1; i <= 20; i++) {
		pause_a_while();
		send_together(&s, 0, 1 + i);
		assert_true(
		    wait_until(spr_intake_bytes(s.intake) == 0 && n_received(&s) == i * (i + 3) / 2,
			       LIMIT_MS));
		wait_idle(&s);
	}
	assert_int_equal(s.n_guest_turns, 0);
	assert_int_equal(s.n_by_thread, 20 * 23 / 2);
	close_scene(&s);
}

/* They are all there when the receiver comes back from a turn that it did itself. */
static void
test_several_connections(void **state)
{
	scene s;

	(void)state;
	open_scene(&s);
	atomic_store(&s.stops_guest, true);
	send_together(&s, 0, 1);
	wait_stopped(&s);
	for (unsigned i = 0; i < PEERS; i++)
		send_together(&s, i, 1);
	pause_a_while();
	sem_post(&s.gate);
	assert_true(wait_until(atomic_load(&s.n_by_thread) == PEERS, LIMIT_MS));
	assert_int_equal(s.n_by_guest, 1);
	close_scene(&s);
}

static void
test_a_dispatcher_at_work(void **state)
{
	scene s;

	(void)state;
	open_scene(&s);
	atomic_store(&s.stops_thread, true);
	send_together(&s, 0, 2);
	wait_stopped(&s);
	for (unsigned i = 1; i <= 20; i++) {
		pause_a_while();
		send_together(&s, i % PEERS, 1);
		assert_true(wait_until(n_received(&s) == 2 + i, LIMIT_MS));
	}
	assert_int_equal(spr_intake_waiting(s.intake), 22);
	sem_post(&s.gate);
	assert_true(wait_until(atomic_load(&s.n_by_thread) == 22, LIMIT_MS));
	assert_int_equal(s.n_guest_turns, 0);
	close_scene(&s);
}

/* More is left after every turn: the thread gets it, and even when that is slow the receiver goes on receiving. */
static void
test_more_than_a_guest_does(void **state)
{
	scene s;
	unsigned n_turns;

	(void)state;
	open_scene(&s);
	atomic_store(&s.is_endless, true);
	atomic_store(&s.stops_thread, true);
	send_together(&s, 0, 1);
	wait_stopped(&s);
	n_turns = atomic_load(&s.n_guest_turns);
	assert_in_range(n_turns, 1, 8);
	for (unsigned i = 0; i < 20; i++)
		send_together(&s, i % PEERS, 3);
	assert_true(wait_until(n_received(&s) == 61, LIMIT_MS));
	assert_int_equal(s.n_guest_turns, n_turns);
	sem_post(&s.gate);
	assert_true(wait_until(spr_intake_bytes(s.intake) == 0, LIMIT_MS));
	close_scene(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_alone),
	    cmocka_unit_test(test_together),
	    cmocka_unit_test(test_several_connections),
	    cmocka_unit_test(test_a_dispatcher_at_work),
	    cmocka_unit_test(test_more_than_a_guest_does),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
