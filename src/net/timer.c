/*
 * timer - a sorted list and a thread that sleeps until its first is due.
 *
 * There are a few timers for an address and one for a connection that writes, and no timer is taken out when what it
 * watches goes well: its owner looks when it fires. So a list does, and arming costs little more than a mutex.
 */
#include "net/timer.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "base/clock.h"

#define GRID_NS (SPR_NS_PER_S / 4) /* of what need not be exact */

static pthread_mutex_t hold_mutex = PTHREAD_MUTEX_INITIALIZER; /* n_holds, thread; taken first */
static unsigned n_holds;
static pthread_t thread;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* what follows, and every timer */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER; /* the first timer, or is_ending */
static pthread_cond_t fired = PTHREAD_COND_INITIALIZER;
static spr_timer *first, *last;
static const spr_timer *running; /* compared only: it may be freed */
static bool is_ending;

static _Thread_local bool is_timer_thread;

/* The mutex is held, as in all that end in _locked. */
static void
unlink_locked(spr_timer *timer)
{
	if (timer->earlier != NULL)
		timer->earlier->later = timer->later;
	else
		first = timer->later;
	if (timer->later != NULL)
		timer->later->earlier = timer->earlier;
	else
		last = timer->earlier;
	timer->is_armed = false;
}

static void
link_locked(spr_timer *timer)
{
	spr_timer *before = last;

	while (before != NULL && before->due_ns > timer->due_ns)
		before = before->earlier;
	timer->earlier = before;
	timer->later = before != NULL ? before->later : first;
	if (before != NULL)
		before->later = timer;
	else
		first = timer;
	if (timer->later != NULL)
		timer->later->earlier = timer;
	else
		last = timer;
	timer->is_armed = true;
}

static void
fire_locked(spr_timer *timer)
{
	unlink_locked(timer);
	running = timer;
	pthread_mutex_unlock(&mutex);
	timer->fire(timer->arg); /* the timer may be gone behind it */
	pthread_mutex_lock(&mutex);
	running = NULL;
	pthread_cond_broadcast(&fired);
}

static void *
run(void *arg)
{
	is_timer_thread = true;
	pthread_mutex_lock(&mutex);
	while (!is_ending) {
		if (first == NULL) {
			pthread_cond_wait(&changed, &mutex);
		} else if (first->due_ns <= spr_clock_now_ns()) {
			fire_locked(first);
		} else {
			const struct timespec due = {
			    .tv_sec = (time_t)(first->due_ns / SPR_NS_PER_S),
			    .tv_nsec = (long)(first->due_ns % SPR_NS_PER_S)};

			(void)pthread_cond_clockwait(&changed, &mutex, CLOCK_MONOTONIC, &due);
		}
	}
	pthread_mutex_unlock(&mutex);
	return (arg);
}

/* Signals are for other threads. */
static bool
start_thread(void)
{
	sigset_t all, before;
	bool is_started;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	is_started = pthread_create(&thread, NULL, run, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (is_started)
		pthread_setname_np(thread, "timer");
	return (is_started);
}

static void
end_thread(void)
{
	pthread_mutex_lock(&mutex);
	is_ending = true;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&mutex);
	pthread_join(thread, NULL);
	is_ending = false; /* nobody else is there */
}

spr_err
spr_timers_hold(void)
{
	bool is_there;

	pthread_mutex_lock(&hold_mutex);
	if ((is_there = n_holds > 0 || start_thread()))
		n_holds++;
	pthread_mutex_unlock(&hold_mutex);
	return (is_there ? SPR_OK : SPR_E_NOMEM);
}

void
spr_timers_drop(void)
{
	pthread_mutex_lock(&hold_mutex);
	if (--n_holds == 0)
		end_thread();
	pthread_mutex_unlock(&hold_mutex);
}

void
spr_timer_init(spr_timer *timer, void (*fire)(void *arg), void *arg)
{
	*timer = (spr_timer){.fire = fire, .arg = arg};
}

static void
arm(spr_timer *timer, uint64_t due_ns)
{
	pthread_mutex_lock(&mutex);
	if (!timer->is_stopped) {
		if (timer->is_armed)
			unlink_locked(timer);
		timer->due_ns = due_ns;
		link_locked(timer);
		if (first == timer)
			pthread_cond_signal(&changed);
	}
	pthread_mutex_unlock(&mutex);
}

void
spr_timer_arm(spr_timer *timer, unsigned ms)
{
	arm(timer, spr_clock_now_ns() + ms * SPR_NS_PER_MS);
}

void
spr_timer_arm_about(spr_timer *timer, unsigned ms)
{
	uint64_t due_ns = spr_clock_now_ns() + ms * SPR_NS_PER_MS;

	arm(timer, (due_ns + GRID_NS - 1) / GRID_NS * GRID_NS);
}

void
spr_timer_stop(spr_timer *timer)
{
	pthread_mutex_lock(&mutex);
	timer->is_stopped = true;
	if (timer->is_armed)
		unlink_locked(timer);
	while (running == timer && !is_timer_thread)
		pthread_cond_wait(&fired, &mutex);
	pthread_mutex_unlock(&mutex);
}
