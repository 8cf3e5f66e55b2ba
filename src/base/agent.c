/*
 * agent - the one thread loop of the program.
 *
 * The eventcount is read before do_work looks for work, so a wake-up that comes at any later moment
 * ends the wait. A stop asks the same way: the flag is set, then the eventcount moved; the loop
 * leaves only when it was asked to and do_work found nothing, so what was handed over before the
 * stop is done.
 */
#include "base/agent.h"

#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"

/* Small turns a guest does in a row before it leaves the rest to the agent's thread. */
#define GUEST_ROUNDS 8

/* What spr_agent_start and the new thread tell each other; on the starter's stack. */
struct handshake {
	spr_agent *agent;
	sem_t is_up;
	char error[1024]; /* the trail of a failed on_start: trails are thread-local */
};

void
spr_agent_init(spr_agent *agent)
{
	SPR_ASSERT(agent->name != NULL && strlen(agent->name) <= 15);
	SPR_ASSERT(agent->do_work != NULL);
	spr_ec_init(&agent->ec);
	atomic_init(&agent->turn, SPR_TURN_TAKEN); /* by nobody, until the thread runs */
	atomic_init(&agent->stopping, false);
	atomic_init(&agent->last_turn_ns, 0);
	atomic_init(&agent->longest_turn_ns, 0);
	atomic_init(&agent->is_parked, false);
	agent->wake_at_ns = 0;
	agent->has_thread = false;
	agent->start_result = SPR_OK;
}

/* The agent's own turn; units of work done, or something to look at again. *deadline_ns: when to look at the latest. */
static unsigned
own_turn(spr_agent *agent, uint64_t *deadline_ns)
{
	bool is_lent = agent->do_guest_work != NULL;
	unsigned n;

	*deadline_ns = 0;
	if (is_lent && !spr_turn_take(&agent->turn))
		return (0); /* a guest has it, and will wake us if it leaves anything */
	agent->wake_at_ns = 0;
	n = agent->do_work(agent->state);
	*deadline_ns = agent->wake_at_ns;
	return (is_lent && spr_turn_give_back(&agent->turn) ? n + 1 : n);
}

/* relaxed throughout: the watchdog's view, no data goes with it; single writer, so load and store
 * need be no one step */
static void
note_turn(spr_agent *agent, uint64_t began_ns, uint64_t ended_ns)
{
	uint64_t took_ns = ended_ns - began_ns;

	atomic_store_explicit(&agent->last_turn_ns, ended_ns, memory_order_relaxed);
	if (took_ns > atomic_load_explicit(&agent->longest_turn_ns,
					   memory_order_relaxed)) /* relaxed: as above */
		atomic_store_explicit(&agent->longest_turn_ns, took_ns, memory_order_relaxed);
}

static void
run(spr_agent *agent)
{
	uint64_t began_ns = spr_clock_now_ns();

	for (;;) {
		uint32_t value = spr_ec_value(&agent->ec); /* before the flag and the work: E3 */
		bool was_asked = spr_agent_is_stopping(agent);
		uint64_t ended_ns, deadline_ns;
		unsigned n;

		n = own_turn(agent, &deadline_ns);
		ended_ns = spr_clock_now_ns();
		note_turn(agent, began_ns, ended_ns);
		began_ns = ended_ns;
		if (n != 0)
			continue;
		if (was_asked)
			return;
		/* relaxed: the watchdog's view */
		atomic_store_explicit(&agent->is_parked, true, memory_order_relaxed);
		spr_ec_wait(&agent->ec, value, deadline_ns, agent->spin_ns);
		began_ns = spr_clock_now_ns();
		atomic_store_explicit(&agent->last_turn_ns, began_ns,
				      memory_order_relaxed); /* relaxed: as above */
		atomic_store_explicit(&agent->is_parked, false, memory_order_relaxed);
	}
}

static void *
thread_main(void *arg)
{
	struct handshake *start = arg;
	spr_agent *agent = start->agent;
	spr_err rv;

	spr_role_set(agent->role);
	pthread_setname_np(pthread_self(), agent->name);
	rv = agent->on_start == NULL ? SPR_OK : agent->on_start(agent->state);
	agent->start_result = rv;
	if (rv != SPR_OK) {
		strncpy(start->error, spr_error_text(rv), sizeof(start->error) - 1);
		sem_post(&start->is_up);
		return (NULL);
	}
	sem_post(&start->is_up);                /* the handshake is gone from here on */
	(void)spr_turn_give_back(&agent->turn); /* lent from now on */
	run(agent);
	while (
	    !spr_turn_take(&agent->turn)) /* not lent any more; the last guest is about to leave */
		sched_yield();
	if (agent->on_stop != NULL)
		agent->on_stop(agent->state);
	return (NULL);
}

/* Signals are for the main thread: the new one inherits a mask that blocks them all. */
static int
create_thread(spr_agent *agent, struct handshake *start)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&agent->thread, NULL, thread_main, start);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return (error);
}

spr_err
spr_agent_start(spr_agent *agent)
{
	struct handshake start = {.agent = agent};
	spr_err rv;
	int error;

	SPR_ASSERT(!agent->has_thread);
	sem_init(&start.is_up, 0, 0);
	if ((error = create_thread(agent, &start)) != 0) {
		sem_destroy(&start.is_up);
		return (
		    spr_fail(SPR_E_SYSTEM, "start thread %s: %s", agent->name, strerror(error)));
	}
	while (sem_wait(&start.is_up) != 0)
		continue; /* a signal */
	sem_destroy(&start.is_up);
	if ((rv = agent->start_result) != SPR_OK) {
		pthread_join(agent->thread, NULL);
		return (spr_fail(rv, "start thread %s: %s", agent->name, start.error));
	}
	agent->has_thread = true;
	return (SPR_OK);
}

void
spr_agent_wake(spr_agent *agent)
{
	spr_ec_wake(&agent->ec);
}

/* The turn is the caller's. Small turns until nothing is left; true: something is left for the thread. */
static bool
be_guest(spr_agent *agent)
{
	for (unsigned round = 0; round < GUEST_ROUNDS; round++) {
		bool is_more, has_deadline;

		agent->wake_at_ns = 0;
		is_more = agent->do_guest_work(agent->state);
		has_deadline = agent->wake_at_ns != 0; /* the thread's to keep */
		if (is_more)
			continue;
		if (!spr_turn_give_back(&agent->turn))
			return (has_deadline);
		if (!spr_turn_take(
			&agent->turn)) /* wanted meanwhile, and somebody has it already */
			return (has_deadline);
	}
	(void)spr_turn_give_back(&agent->turn);
	return (true);
}

/* A guest has the agent's role for the time of its turns. */
static bool
take_turns(spr_agent *agent)
{
	spr_role before = spr_role_get();
	bool is_more;

	spr_role_set(agent->role);
	is_more = be_guest(agent);
	spr_role_set(before);
	return (is_more);
}

void
spr_agent_offer(spr_agent *agent)
{
	if (agent->do_guest_work == NULL)
		spr_agent_wake(agent);
	else if (spr_turn_take(&agent->turn) && take_turns(agent))
		spr_agent_wake(agent);
}

void
spr_agent_stop(spr_agent *agent)
{
	if (!agent->has_thread)
		return;
	/* release: what the asker did before is visible to the thread that sees the flag; pairs
	 * with is_stopping */
	atomic_store_explicit(&agent->stopping, true, memory_order_release);
	spr_ec_wake(&agent->ec);
	pthread_join(agent->thread, NULL);
	agent->has_thread = false;
}

bool
spr_agent_is_stopping(const spr_agent *agent)
{
	/* acquire: pairs with the release in spr_agent_stop */
	return (atomic_load_explicit(&agent->stopping, memory_order_acquire));
}

bool
spr_agent_is_alive(const spr_agent *agent, uint64_t now_ns, uint64_t limit_ns)
{
	/* relaxed: the watchdog's view */
	uint64_t last_ns = atomic_load_explicit(&agent->last_turn_ns, memory_order_relaxed);

	return (last_ns == 0 || now_ns < last_ns + limit_ns ||
		atomic_load_explicit(&agent->is_parked, memory_order_relaxed /* as above */));
}
