/*
 * ep_loop - epoll_wait, then tasks, then what was ready.
 *
 * A watch that is taken away while events are being handed out may stand among those that are not handed out yet, and its
 * memory may be gone: it is looked for there. They are at most BATCH, and few at a time are taken away.
 */
#include "net/ep_loop.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sync.h"

#define BATCH 64

struct spr_ep_loop {
	spr_stack tasks; /* first: it is aligned */

	/* constant after start */
	spr_ep_loop_config config;
	char name
	    [16]; /* config.name points here: the caller's may be gone before the thread reads it */
	int epoll_fd;
	spr_ep_watch wake; /* an eventfd */
	pthread_t thread;
	bool has_thread; /* main's */
	spr_ep_task stop;

	/* shared */
	_Alignas(SPR_CACHELINE) atomic_bool is_asleep; /* and wants the eventfd to be written */
	atomic_uint n_watches;

	/* the loop's, main's when it has stopped */
	_Alignas(SPR_CACHELINE) bool is_stopping;
	int n_ready, at;
	uint64_t idle_since_ns;
	struct epoll_event ready[BATCH];
};

static _Thread_local const spr_ep_loop *mine;

static void
on_wake(spr_ep_watch *watch, uint32_t events)
{
	uint64_t count;

	(void)events;
	while (read(watch->fd, &count, sizeof(count)) < 0 && errno == EINTR)
		continue;
}

static void
on_stop(spr_ep_task *task)
{
	SPR_STACK_CONTAINER(task, spr_ep_loop, stop)->is_stopping = true;
}

static bool
run_tasks(spr_ep_loop *self)
{
	spr_stack_entry *entry = spr_mailbox_pop_all(&self->tasks), *next;
	bool had_any = entry != NULL;

	for (; entry != NULL; entry = next) {
		spr_ep_task *task = SPR_STACK_CONTAINER(entry, spr_ep_task, entry);

		next = spr_stack_next(entry);
		task->run(task);
	}
	return (had_any);
}

/* It polls until it has found nothing to do for spin_ns. */
static bool
is_spinning(spr_ep_loop *self, bool was_idle)
{
	uint64_t now_ns;

	if (self->config.spin_ns == 0)
		return (false);
	now_ns = spr_clock_now_ns();
	if (!was_idle)
		self->idle_since_ns = now_ns;
	else
		sched_yield(); /* to whoever would have something to do, where threads are more than processors */
	return (now_ns - self->idle_since_ns < self->config.spin_ns);
}

static void
wait_ready(spr_ep_loop *self, bool was_idle)
{
	bool sleeps = !is_spinning(self, was_idle);

	if (sleeps) {
		/* E18: marked, then looked */
		atomic_store_explicit(&self->is_asleep, true, memory_order_seq_cst);
		SPR_YIELD();
		SPR_FULL_FENCE(); /* E18: the look does not go before the mark */
		sleeps = spr_mailbox_is_empty(&self->tasks);
	}
	self->n_ready = epoll_wait(self->epoll_fd, self->ready, BATCH, sleeps ? -1 : 0);
	/* relaxed: a late poster writes the eventfd for nothing */
	atomic_store_explicit(&self->is_asleep, false, memory_order_relaxed);
}

static void
hand_out(spr_ep_loop *self)
{
	for (self->at = 0; self->at < self->n_ready; self->at++) {
		spr_ep_watch *watch = self->ready[self->at].data.ptr;

		if (watch != NULL)
			watch->on_ready(watch, self->ready[self->at].events);
	}
	self->n_ready = 0;
}

static void *
run(void *arg)
{
	spr_ep_loop *self = arg;
	bool was_idle = false;

	mine = self;
	if (self->config.role != SPR_ROLE_NONE)
		spr_role_set(self->config.role);
	pthread_setname_np(pthread_self(), self->config.name);
	while (!self->is_stopping) {
		wait_ready(self, was_idle);
		was_idle = self->n_ready <= 0;
		hand_out(self);
		was_idle &= !run_tasks(self);
	}
	return (NULL);
}

/* Signals are for the main thread. */
static int
create_thread(spr_ep_loop *self)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&self->thread, NULL, run, self);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return (error);
}

static spr_err
open_descriptors(spr_ep_loop *self)
{
	if ((self->epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0 ||
	    (self->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
		return (spr_fail(SPR_E_SYSTEM, "open epoll for %s: %s", self->config.name,
				 strerror(errno)));
	self->wake.on_ready = on_wake;
	return (spr_ep_loop_watch(self, &self->wake, EPOLLIN));
}

spr_err
spr_ep_loop_start(spr_ep_loop **out, const spr_ep_loop_config *config)
{
	spr_ep_loop *self = spr_mem_zalloc_aligned(sizeof(*self));
	spr_err rv;
	int error;

	SPR_ASSERT(strlen(config->name) <= 15);
	if (self == NULL)
		return (SPR_E_NOMEM);
	self->config = *config;
	self->config.name = strcpy(self->name, config->name); /* it fits, as said above */
	self->epoll_fd = self->wake.fd = -1;
	self->stop.run = on_stop;
	spr_stack_init(&self->tasks);
	if ((rv = open_descriptors(self)) != SPR_OK)
		goto fail;
	if ((error = create_thread(self)) != 0) {
		rv = spr_fail(SPR_E_SYSTEM, "start thread %s: %s", config->name, strerror(error));
		goto fail;
	}
	self->has_thread = true;
	*out = self;
	return (SPR_OK);
fail:
	spr_ep_loop_free(self);
	return (rv);
}

void
spr_ep_loop_stop(spr_ep_loop *self)
{
	if (self == NULL || !self->has_thread)
		return;
	spr_ep_loop_post(self, &self->stop);
	pthread_join(self->thread, NULL);
	self->has_thread = false;
}

void
spr_ep_loop_free(spr_ep_loop *self)
{
	if (self == NULL)
		return;
	SPR_ASSERT(!self->has_thread);
	if (self->wake.fd >= 0)
		close(self->wake.fd);
	if (self->epoll_fd >= 0)
		close(self->epoll_fd);
	spr_mem_free(self);
}

spr_err
spr_ep_loop_watch(spr_ep_loop *self, spr_ep_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	/* relaxed, here and below: a guess at the load. Before the loop may take it away again */
	atomic_fetch_add_explicit(&self->n_watches, 1, memory_order_relaxed);
	if (epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) == 0) /* E19 */
		return (SPR_OK);
	SPR_ASSERT(errno == ENOMEM || errno == ENOSPC);
	atomic_fetch_sub_explicit(&self->n_watches, 1, memory_order_relaxed /* as above */);
	return (SPR_E_NOMEM);
}

void
spr_ep_loop_change(spr_ep_loop *self, spr_ep_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	(void)epoll_ctl(self->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void
spr_ep_loop_unwatch(spr_ep_loop *self, spr_ep_watch *watch)
{
	(void)epoll_ctl(self->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	for (int i = self->at + 1; i < self->n_ready; i++) {
		if (self->ready[i].data.ptr == watch)
			self->ready[i].data.ptr = NULL;
	}
	/* relaxed: as in watch */
	atomic_fetch_sub_explicit(&self->n_watches, 1, memory_order_relaxed);
}

void
spr_ep_loop_post(spr_ep_loop *self, spr_ep_task *task)
{
	const uint64_t one = 1;

	spr_mailbox_push(&self->tasks, &task->entry); /* E2 */
	SPR_FULL_FENCE();                             /* E18: pushed, then looked */
	/* seq_cst, both: E18; whoever takes the mark wakes the loop */
	if (atomic_load_explicit(&self->is_asleep, memory_order_seq_cst) &&
	    atomic_exchange_explicit(&self->is_asleep, false, memory_order_seq_cst))
		(void)!write(self->wake.fd, &one, sizeof(one));
}

unsigned
spr_ep_loop_watches(const spr_ep_loop *self)
{
	return (atomic_load_explicit(&self->n_watches, memory_order_relaxed /* a guess */));
}

bool
spr_ep_loop_has_more(const spr_ep_loop *self)
{
	return (self->n_ready > 1);
}

bool
spr_ep_loop_is_mine(const spr_ep_loop *self)
{
	return (mine == self);
}
