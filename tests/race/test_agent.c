/*
 * The lent turn: many threads make work and offer it; whoever has the turn, the agent's thread or a guest, takes all of
 * it. The state below is plain memory that only the turn protects, so ThreadSanitizer sees a turn that two threads have,
 * and a lost offer leaves work undone for ever.
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/agent.h"
#include "base/mem.h"
#include "base/stack.h"
#include "base/sync.h"
#include "spr_test.h"

#define OFFERERS 3
#define ITEMS    20000

typedef struct item {
	spr_stack_entry entry;
	unsigned offerer;
	unsigned number;
} item;

typedef struct fixture {
	spr_agent agent;
	spr_stack work;
	/* only with the turn */
	unsigned long done;
	unsigned next[OFFERERS];
	bool is_inside;
	unsigned long guest_turns;
	/* seen by the test */
	_Atomic unsigned long seen;
	atomic_uint taken[OFFERERS];
	atomic_uint is_open;
	bool guests_leave_more;
	item *items;
} fixture;

static unsigned
take_all(fixture *self)
{
	unsigned n = 0;
	spr_stack_entry *next;

	assert_false(self->is_inside);
	self->is_inside = true;
	for (spr_stack_entry *entry = spr_mailbox_pop_all(&self->work); entry != NULL;
	     entry = next) {
		item *one = SPR_STACK_CONTAINER(entry, item, entry);

		next = spr_stack_next(entry);
		assert_int_equal(one->number,
				 self->next[one->offerer]); /* in the order it was offered */
		self->next[one->offerer]++;
		atomic_store(&self->taken[one->offerer], self->next[one->offerer]);
		n++;
	}
	self->done += n;
	self->is_inside = false;
	atomic_store(&self->seen, self->done);
	return (n);
}

static unsigned
do_work(void *state)
{
	return (take_all(state));
}

static bool
do_guest_work(void *state)
{
	fixture *self = state;

	self->guest_turns++;
	if (self->guests_leave_more)
		return (true); /* the agent's thread must do it */
	take_all(self);
	return (false);
}

typedef struct offerer {
	fixture *fixture;
	unsigned number;
	pthread_t thread;
} offerer;

static void *
offer_all(void *arg)
{
	offerer *self = arg;

	spr_sync_yield_percent(20);
	while (atomic_load(&self->fixture->is_open) == 0)
		continue; /* all start together */
	for (unsigned i = 0; i < ITEMS; i++) {
		item *one = &self->fixture->items[self->number * ITEMS + i];

		one->offerer = self->number;
		one->number = i;
		spr_mailbox_push(&self->fixture->work, &one->entry);
		spr_agent_offer(&self->fixture->agent);
		/* now and then nothing more is offered before this one is taken: a lost offer shows */
		if (i % 8 == 7)
			if (!wait_until(atomic_load(&self->fixture->taken[self->number]) > i,
					20000))
				abort(); /* an assert works on the main thread only */
	}
	return (NULL);
}

static void
run(bool guests_leave_more)
{
	fixture *self = spr_mem_zalloc_aligned(sizeof(*self));
	offerer offerers[OFFERERS];

	assert_non_null(self);
	self->items = spr_mem_zalloc_aligned(OFFERERS * ITEMS * sizeof(item));
	assert_non_null(self->items);
	self->guests_leave_more = guests_leave_more;
	spr_stack_init(&self->work);
	self->agent = (spr_agent){
	    .name = "lender",
	    .do_work = do_work,
	    .do_guest_work = do_guest_work,
	    .state = self,
	};
	spr_agent_init(&self->agent);
	assert_ok(spr_agent_start(&self->agent));
	for (unsigned i = 0; i < OFFERERS; i++) {
		offerers[i] = (offerer){.fixture = self, .number = i};
		assert_int_equal(pthread_create(&offerers[i].thread, NULL, offer_all, &offerers[i]),
				 0);
	}
	atomic_store(&self->is_open, 1);
	for (unsigned i = 0; i < OFFERERS; i++)
		pthread_join(offerers[i].thread, NULL);
	assert_true(wait_until(atomic_load(&self->seen) == OFFERERS * ITEMS, 20000));
	spr_agent_stop(&self->agent);
	assert_int_equal(self->done, OFFERERS * ITEMS);
	assert_true(self->guest_turns > 0);
	spr_mem_free(self->items);
	spr_mem_free(self);
}

static void
every_offer_is_taken_once_and_in_order(void **state)
{
	(void)state;
	run(false);
}

static void
what_guests_leave_the_agent_does(void **state)
{
	(void)state;
	run(true);
}

/* Before the thread runs and after it has ended nobody is lent a turn. */
static void
no_guest_without_the_thread(void **state)
{
	fixture *self = spr_mem_zalloc_aligned(sizeof(*self));

	(void)state;
	assert_non_null(self);
	spr_stack_init(&self->work);
	self->agent = (spr_agent){
	    .name = "lender",
	    .do_work = do_work,
	    .do_guest_work = do_guest_work,
	    .state = self,
	};
	spr_agent_init(&self->agent);
	spr_agent_offer(&self->agent);
	assert_int_equal(self->guest_turns, 0);
	assert_ok(spr_agent_start(&self->agent));
	spr_agent_stop(&self->agent);
	self->guest_turns = 0;
	spr_agent_offer(&self->agent);
	assert_int_equal(self->guest_turns, 0);
	spr_mem_free(self);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_offer_is_taken_once_and_in_order),
	    cmocka_unit_test(what_guests_leave_the_agent_does),
	    cmocka_unit_test(no_guest_without_the_thread),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
