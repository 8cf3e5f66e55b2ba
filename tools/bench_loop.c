/*
 * bench_loop - a thread of the load tool: waits for its sockets, hands each what it has, pumps its producers, and wakes those of
 * other threads.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sync.h"
#include "bench_load.h"

#define EVENTS 64

bool
bench_loop_watch(bench_loop *loop, int fd, uint32_t events, bench_source *source)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void
on_wake(bench_source *source)
{
	uint64_t n;

	(void)!read(((bench_loop *)source)->wake, &n, sizeof(n));
}

/* Pumps the producers; how long the loop may sleep. */
static uint64_t
pump(bench_loop *loop)
{
	uint64_t next_ns = UINT64_MAX, now_ns = bench_load_now_ns(loop->load);

	if (now_ns == 0)
		return (UINT64_MAX);
	for (unsigned i = 0; i < loop->n_producers; i++) {
		uint64_t at_ns = bench_producer_pump(loop->producers[i]);

		next_ns = at_ns < next_ns ? at_ns : next_ns;
	}
	if (next_ns == UINT64_MAX || next_ns == 0)
		return (next_ns);
	now_ns = bench_load_now_ns(loop->load);
	return (next_ns > now_ns ? next_ns - now_ns : 0);
}

static void
wait_and_serve(bench_loop *loop, uint64_t ns)
{
	struct epoll_event events[EVENTS];
	struct timespec timeout = {.tv_sec = (time_t)(ns / SPR_NS_PER_S),
				   .tv_nsec = (long)(ns % SPR_NS_PER_S)};
	int n = epoll_pwait2(loop->epoll, events, EVENTS, ns == UINT64_MAX ? NULL : &timeout, NULL);

	for (int i = 0; i < n; i++) {
		bench_source *source = events[i].data.ptr;

		source->on_ready(source);
	}
}

/* Producers of other threads that wait for what has just come; our own are pumped anyway. */
static void
wake_producers(bench_load *load, const bench_loop *self)
{
	SPR_FULL_FENCE(); /* as bench_load.h says */
	for (unsigned i = 0; i < load->n_producers; i++) {
		bench_producer *p = &load->producers[i];
		uint64_t wanted =
		    atomic_load_explicit(&p->wanted, memory_order_relaxed); /* behind the fence */

		if (wanted == 0 || p->loop == self ||
		    bench_load_allowed(load, atomic_load(&load->n_taken)) < wanted)
			continue;
		if (atomic_exchange(&p->wanted, 0) != 0)
			bench_loop_poke(p->loop);
	}
}

static void *
run(void *arg)
{
	bench_loop *loop = arg;

	pthread_setname_np(pthread_self(), loop->name);
	prctl(PR_SET_TIMERSLACK, 1); /* nanosecond: an open loop is on time */
	while (!atomic_load(&loop->load->is_stopping)) {
		wait_and_serve(loop, pump(loop));
		wake_producers(loop->load, loop);
	}
	return (NULL);
}

spr_err
bench_loop_open(bench_loop *loop, bench_load *load)
{
	loop->load = load;
	loop->wake_source.on_ready = on_wake;
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->epoll < 0 || loop->wake < 0 ||
	    !bench_loop_watch(loop, loop->wake, EPOLLIN, &loop->wake_source))
		return (spr_fail(SPR_E_SYSTEM, "cannot open a descriptor: %s", strerror(errno)));
	snprintf(loop->name, sizeof(loop->name), "bench-");
	return (SPR_OK);
}

spr_err
bench_loop_start(bench_loop *loop)
{
	if (pthread_create(&loop->thread, NULL, run, loop) != 0)
		return (spr_fail(SPR_E_SYSTEM, "cannot start a thread"));
	loop->is_running = true;
	return (SPR_OK);
}

void
bench_loop_poke(bench_loop *loop)
{
	static const uint64_t one = 1;

	(void)!write(loop->wake, &one, sizeof(one));
}

void
bench_loop_stop(bench_loop *loop)
{
	if (!loop->is_running)
		return;
	bench_loop_poke(loop);
	pthread_join(loop->thread, NULL);
	loop->is_running = false;
}

void
bench_loop_close(bench_loop *loop)
{
	if (loop->epoll > 0)
		close(loop->epoll);
	if (loop->wake > 0)
		close(loop->wake);
}
