/*
 * control - two agents, two mailboxes. The split in two is what keeps reads from ever waiting for a
 * commit; the group in one transaction is what makes many small changes cost one disk write.
 */
#include "control/control.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stack.h"
#include "control/sweep.h"

#define READ_BATCH 64

typedef struct task {
	spr_stack_entry link;
	spr_request request;
	const uint8_t *data; /* the submitter's, until the reply */
	size_t len;
	spr_control_reply reply;
	void *arg;
} task;

/* A mailbox and what was taken out of it but not worked on yet. */
typedef struct queue {
	spr_stack mailbox;      /* written by whoever hands on */
	spr_stack_entry *taken; /* written by the agent it belongs to */
} queue;

struct spr_control {
	/* constant after new */
	spr_control_env *env;

	/* written by anyone, once */
	atomic_bool is_draining;

	/* written by control-read */
	queue reads;
	spr_epoch_record *record;
	spr_agent reader;

	/* written by control */
	queue writes;
	spr_sweep sweep;
	spr_agent writer;
};

static task *
next_task(queue *from)
{
	spr_stack_entry *entry = from->taken;

	if (entry == NULL && (entry = spr_mailbox_pop_all(&from->mailbox)) == NULL) {
		return (NULL);
	}
	from->taken = spr_stack_next(entry);
	return (SPR_STACK_CONTAINER(entry, task, link));
}

static void
answer(task *t)
{
	const char *text = spr_request_reply(&t->request);

	t->reply(t->arg, text, strlen(text));
	spr_request_fini(&t->request);
	spr_mem_free(t);
}

static void
refuse(task *t, spr_err err)
{
	spr_request_finish(&t->request, err);
	answer(t);
}

void
spr_control_submit(spr_control *control, const uint8_t *data, size_t len, spr_control_reply reply,
		   void *arg)
{
	task *t = spr_mem_alloc(sizeof(*t));

	if (t == NULL) {
		spr_request none = {.is_done = true};
		const char *text = spr_request_reply(&none);

		reply(arg, text, strlen(text));
		return;
	}
	*t = (task){.data = data, .len = len, .reply = reply, .arg = arg};
	spr_request_init(&t->request);
	spr_mailbox_push(&control->reads.mailbox, &t->link);
	spr_agent_wake(&control->reader);
}

/* ------------------------------------------------------------------------------------------
 * control-read */

static spr_err
refuse_draining(const spr_control *control)
{
	/* acquire: nothing hangs on it, but what the drainer did before is then seen too; no edge
	 * of ours */
	if (atomic_load_explicit(&control->is_draining, memory_order_acquire)) {
		return (spr_fail(SPR_E_CLOSED,
				 "the daemon is draining; changes are taken by the next one"));
	}
	return (SPR_OK);
}

/* True when the task went on to the writer. */
static bool
read_task(spr_control *control, task *t)
{
	spr_err rv = SPR_OK;

	if (spr_request_parse(&t->request, control->env, t->data, t->len) != SPR_OK) {
		answer(t);
		return (false);
	}
	if (t->request.verb->kind == SPR_VERB_READ) {
		spr_request_read(&t->request, control->env, control->record);
		answer(t);
		return (false);
	}
	if ((rv = refuse_draining(control)) != SPR_OK) {
		refuse(t, rv);
		return (false);
	}
	spr_mailbox_push(&control->writes.mailbox, &t->link);
	return (true);
}

unsigned
spr_control_read_turn(spr_control *control)
{
	unsigned n = 0, n_writes = 0;
	task *t = NULL;

	SPR_ASSERT_ROLE(SPR_ROLE_CONTROL);
	/* here and not at the start, so that a lack of memory costs the lookups of its moment only
	 */
	if (control->record == NULL &&
	    spr_epoch_register(control->env->epoch, &control->record) != SPR_OK) {
		control->record = NULL;
	}
	while (n < READ_BATCH && (t = next_task(&control->reads)) != NULL) {
		n_writes += read_task(control, t);
		n++;
	}
	if (n_writes > 0) {
		spr_agent_wake(&control->writer);
	}
	return (n);
}

/* -----------------------------------------------------------------------------------------------
 * control */

typedef struct group {
	task *task[SPR_CONTROL_GROUP];
	unsigned n;
} group;

static void
take_group(spr_control *control, group *g)
{
	size_t n_changes = 0;
	task *t = NULL;

	while (g->n < SPR_CONTROL_GROUP && n_changes < SPR_IMPORT_MAX &&
	       (t = next_task(&control->writes)) != NULL) {
		n_changes += t->request.n_changes;
		g->task[g->n++] = t;
	}
}

static spr_err
store_group(const spr_control_env *env, const group *g)
{
	spr_err rv = spr_store_begin(env->store);

	if (rv != SPR_OK) {
		return (rv);
	}
	for (unsigned i = 0; i < g->n; i++) {
		if ((rv = spr_request_store(&g->task[i]->request, env)) != SPR_OK) {
			spr_store_rollback(env->store);
			return (rv);
		}
	}
	return (spr_store_commit(env->store));
}

static unsigned
write_group(spr_control *control)
{
	group g = {.n = 0};
	spr_err rv = SPR_OK;

	take_group(control, &g);
	if (g.n == 0) {
		return (0);
	}
	if ((rv = store_group(control->env, &g)) != SPR_OK) {
		spr_error("CONTROL-STORE", "requests=%u why=\"%s\"", g.n, spr_error_text(rv));
	}
	for (unsigned i = 0; i < g.n; i++) {
		if (rv == SPR_OK) {
			spr_request_publish(&g.task[i]->request, control->env);
		} else {
			spr_request_finish(&g.task[i]->request, rv);
		}
	}
	for (unsigned i = 0; i < g.n; i++) {
		answer(g.task[i]);
	}
	return (g.n);
}

unsigned
spr_control_write_turn(spr_control *control)
{
	unsigned n = 0;

	SPR_ASSERT_ROLE(SPR_ROLE_CONTROL);
	n = write_group(control) + spr_sweep_run(&control->sweep, control->env);
	spr_epoch_collect(control->env->epoch);

	/* what is retired is collected a second after the last change at the latest */
	control->writer.wake_at_ns = control->sweep.next_ns;
	if (spr_epoch_retired_bytes(control->env->epoch) > 0) {
		uint64_t soon_ns = spr_control_now_ns(control->env) + SPR_NS_PER_S;

		if (soon_ns < control->writer.wake_at_ns) {
			control->writer.wake_at_ns = soon_ns;
		}
	}
	return (n);
}

/* -----------------------------------------------------------------------------------------------
 * threads */

static unsigned
read_work(void *state)
{
	return (spr_control_read_turn(state));
}

static unsigned
write_work(void *state)
{
	return (spr_control_write_turn(state));
}

spr_err
spr_control_new(spr_control **out, spr_control_env *env)
{
	spr_control *control = spr_mem_zalloc_aligned(sizeof(*control));

	if (control == NULL) {
		return (spr_fail(SPR_E_NOMEM, "make control: out of memory"));
	}
	control->env = env;
	spr_stack_init(&control->reads.mailbox);
	spr_stack_init(&control->writes.mailbox);
	spr_sweep_init(&control->sweep, env);
	control->reader.name = "control-read";
	control->reader.do_work = read_work;
	control->writer.name = "control";
	control->writer.do_work = write_work;
	control->reader.role = control->writer.role = SPR_ROLE_CONTROL;
	control->reader.state = control->writer.state = control;
	spr_agent_init(&control->reader);
	spr_agent_init(&control->writer);
	*out = control;
	return (SPR_OK);
}

spr_err
spr_control_start(spr_control *control)
{
	spr_err rv = spr_agent_start(&control->writer);

	if (rv == SPR_OK && (rv = spr_agent_start(&control->reader)) != SPR_OK) {
		spr_agent_stop(&control->writer);
	}
	return (rv);
}

void
spr_control_drain(spr_control *control)
{
	/* release: pairs with the acquire in refuse_draining(); no edge of ours */
	atomic_store_explicit(&control->is_draining, true, memory_order_release);
}

static void
refuse_all(queue *from)
{
	task *t = NULL;

	while ((t = next_task(from)) != NULL) {
		refuse(t, spr_fail(SPR_E_CLOSED, "the daemon is stopping"));
	}
}

void
spr_control_stop(spr_control *control)
{
	spr_control_drain(control);
	spr_agent_stop(&control->reader);
	spr_agent_stop(&control->writer);
	/* both threads are gone: their ends of the queues are ours */
	refuse_all(&control->reads);
	refuse_all(&control->writes);
}

void
spr_control_free(spr_control *control)
{
	if (control == NULL) {
		return;
	}
	refuse_all(&control->reads);
	refuse_all(&control->writes);
	spr_epoch_unregister(control->record);
	spr_mem_free(control);
}

const spr_agent *
spr_control_agent(const spr_control *control, spr_verb_kind kind)
{
	return (kind == SPR_VERB_READ ? &control->reader : &control->writer);
}
