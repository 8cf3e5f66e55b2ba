/*
 * ep_loop - a thread that sleeps in epoll: descriptors become ready, tasks come from other threads. Private to net/.
 *
 *   [any] spr_ep_loop_post(task) --> mailbox --\
 *   [any] spr_ep_loop_watch(fd)  --> epoll  ----> [loop] task->run, watch->on_ready
 *
 * Readiness is by level: on_ready comes again until what made the descriptor ready is gone, so it may do a bounded piece
 * of work and return. EPOLLHUP and EPOLLERR come whether they are asked for or not.
 *
 * Writer      any thread: post, watch
 * Reader      the loop's thread: on_ready, run
 * Ownership   watches and tasks are the caller's memory: a watch from watch to unwatch, a task from post until its run is
 *             called, which may free it. Descriptors stay the caller's: unwatch, then close
 * Ordering    E2 (tasks); E18: a task is pushed, then the loop's sleep is looked at; the sleep is marked, then the mailbox is
 *             looked at: one sees the other. E19: what was written before watch is visible in on_ready (the kernel's lock)
 * Progress    post is lock-free, and a system call only while the loop sleeps; neither on_ready nor run may wait
 * Limits      none; descriptors in one set are as many as the process may have
 * Teardown    stop: tasks posted before it are run, later ones never; then whoever owns watches and descriptors ends them
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/stack.h"

typedef struct spr_ep_loop spr_ep_loop;

typedef struct spr_ep_watch spr_ep_watch;
struct spr_ep_watch {
	int fd;
	/* [loop] events as epoll gives them. May unwatch, this watch too, and then free it. */
	void (*on_ready)(spr_ep_watch *watch, uint32_t events);
};

typedef struct spr_ep_task spr_ep_task;
struct spr_ep_task {
	spr_stack_entry entry;
	/* [loop] May free the task, and post it again. */
	void (*run)(spr_ep_task *task);
};

typedef struct spr_ep_loop_config {
	const char *name; /* of the thread, at most 15 characters: "receiver-0" */
	spr_role role;    /* SPR_ROLE_NONE: not declared, as nng's threads */
	uint64_t spin_ns; /* how long it polls before it sleeps */
} spr_ep_loop_config;

/* [main] Starts the thread, with all signals blocked. SPR_E_NOMEM, SPR_E_SYSTEM with a trail. */
spr_err spr_ep_loop_start(spr_ep_loop **out, const spr_ep_loop_config *config);
/* [main] When it returns, nothing runs on the loop and nothing will. Twice is fine, NULL too. */
void spr_ep_loop_stop(spr_ep_loop *loop);
/* [main] After stop; no watch is looked at. NULL is fine. */
void spr_ep_loop_free(spr_ep_loop *loop);

/*
 * [any] The loop calls on_ready, perhaps before this returns. A descriptor is watched by one watch on one loop.
 * SPR_E_NOMEM: it is not watched.
 */
spr_err spr_ep_loop_watch(spr_ep_loop *loop, spr_ep_watch *watch, uint32_t events);
/* [any who knows that the watch is watched] Other events from now on. One that is being handed out may be of the old ones. */
void spr_ep_loop_change(spr_ep_loop *loop, spr_ep_watch *watch, uint32_t events);
/* [loop, main after stop] From here on the watch is not looked at. */
void spr_ep_loop_unwatch(spr_ep_loop *loop, spr_ep_watch *watch);
/* [any] Runs the task on the loop, soon, in the order of posting. A task that is out must not be posted again. */
void spr_ep_loop_post(spr_ep_loop *loop, spr_ep_task *task);
/* [any] How many descriptors it watches: a guess at its load. */
unsigned spr_ep_loop_watches(const spr_ep_loop *loop);
/* [loop, in on_ready] Other descriptors are ready too. */
bool spr_ep_loop_has_more(const spr_ep_loop *loop);
/* [any] The caller is this loop's thread. */
bool spr_ep_loop_is_mine(const spr_ep_loop *loop);
