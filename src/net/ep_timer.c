/*
 * ep_timer - a timer whose fire posts a task.
 */
#include "net/ep_timer.h"

static void
on_timer(void *arg)
{
	spr_ep_timer_fire(arg);
}

static void
run(spr_ep_task *task)
{
	spr_ep_timer *self = SPR_STACK_CONTAINER(task, spr_ep_timer, task);

	self->fire(self);
}

void
spr_ep_timer_init(spr_ep_timer *self, spr_ep_loop *loop, void (*fire)(spr_ep_timer *timer))
{
	*self = (spr_ep_timer){.loop = loop, .fire = fire, .task.run = run};
	spr_timer_init(&self->timer, on_timer, self);
}

void
spr_ep_timer_arm(spr_ep_timer *self, unsigned ms)
{
	spr_timer_arm(&self->timer, ms);
}

void
spr_ep_timer_fire(spr_ep_timer *self)
{
	spr_ep_loop_post(self->loop, &self->task);
}

void
spr_ep_timer_stop(spr_ep_timer *self)
{
	spr_timer_stop(&self->timer);
}
