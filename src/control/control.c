/*
 * control - two agents, two mailboxes. The split in two is what keeps reads from ever waiting for a
 * commit; the group in one transaction is what makes many small changes cost one disk write.
 *
 * Small changes do not stand in line behind imports: a group is of small ones, or of an import and
 * the small ones that are there, and no import waits for more than one group of small ones.
 */
#include "control/control.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stack.h"
#include "control/sweep.h"

#define SMALL_CHANGES 100
#define READ_BATCH    64
#define REST_AFTER_NS SPR_NS_PER_S

typedef struct task {
	spr_stack_entry link;
	spr_request request;
	const uint8_t *data; /* the submitter's, until the reply */
	size_t len;
	spr_control_reply reply;
	void *arg;
	struct task *behind; /* in a line */
} task;

typedef struct line {
	task *first, *last;
} line;

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
	line small, large;   /* what was taken out of it, by the number of changes */
	bool has_waited;     /* a large one: the last group had none of them */
	uint64_t changed_ns; /* when the last transaction ended */
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
stand_in(line *self, task *t)
{
	t->behind = NULL;
	if (self->first == NULL) {
		self->first = t;
	} else {
		self->last->behind = t;
	}
	self->last = t;
}

static task *
leave(line *self)
{
	task *t = self->first;

	if (t != NULL) {
		self->first = t->behind;
	}
	return (t);
}

static void
line_up(spr_control *control)
{
	task *t = NULL;

	while ((t = next_task(&control->writes)) != NULL) {
		stand_in(t->request.n_changes <= SMALL_CHANGES ? &control->small : &control->large,
			 t);
	}
}

static void
take_from(line *self, group *g)
{
	size_t n_changes = 0;
	task *t = NULL;

	while (g->n < SPR_CONTROL_GROUP && n_changes < SPR_IMPORT_MAX &&
	       (t = leave(self)) != NULL) {
		n_changes += t->request.n_changes;
		g->task[g->n++] = t;
	}
}

static void
take_group(spr_control *control, group *g)
{
	bool is_of_large = false;

	line_up(control);
	is_of_large = control->has_waited || control->small.first == NULL;
	if (is_of_large) {
		take_from(&control->large, g);
	}
	take_from(&control->small, g);
	control->has_waited = !is_of_large && control->large.first != NULL;
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
	if (rv != SPR_OK) {
		spr_store_rest(control->env->store,
			       true); /* on a full disk the log has room then */
	}
	return (g.n);
}

/* Behind the replies, which wait for none of it. */
static void
tidy(spr_control *control, bool has_changed)
{
	spr_control_env *env = control->env;
	uint64_t now_ns = spr_control_now_ns(env);

	if (has_changed) {
		control->changed_ns = now_ns;
	}
	spr_epoch_collect(env->epoch);
	spr_store_rest(env->store, now_ns - control->changed_ns >= REST_AFTER_NS);

	/* what is left is seen to a second after the last change at the latest */
	control->writer.wake_at_ns = control->sweep.next_ns;
	if ((spr_epoch_retired_bytes(env->epoch) > 0 || !spr_store_is_at_rest(env->store)) &&
	    now_ns + REST_AFTER_NS < control->writer.wake_at_ns) {
		control->writer.wake_at_ns = now_ns + REST_AFTER_NS;
	}
}

unsigned
spr_control_write_turn(spr_control *control)
{
	unsigned n = 0;

	SPR_ASSERT_ROLE(SPR_ROLE_CONTROL);
	n = write_group(control) + spr_sweep_run(&control->sweep, control->env);
	tidy(control, n > 0);
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

/* Both threads are gone, or never were: their ends of the queues are ours. */
static void
refuse_all(spr_control *control)
{
	task *t = NULL;

	line_up(control);
	while ((t = next_task(&control->reads)) != NULL || (t = leave(&control->small)) != NULL ||
	       (t = leave(&control->large)) != NULL) {
		refuse(t, spr_fail(SPR_E_CLOSED, "the daemon is stopping"));
	}
}

void
spr_control_stop(spr_control *control)
{
	spr_control_drain(control);
	spr_agent_stop(&control->reader);
	spr_agent_stop(&control->writer);
	refuse_all(control);
}

void
spr_control_free(spr_control *control)
{
	if (control == NULL) {
		return;
	}
	refuse_all(control);
	spr_epoch_unregister(control->record);
	spr_mem_free(control);
}

const spr_agent *
spr_control_agent(const spr_control *control, spr_verb_kind kind)
{
	return (kind == SPR_VERB_READ ? &control->reader : &control->writer);
}
