/*
 * test_stack - many writers: the mailbox loses nothing and keeps each writer's order; the free list never gives one
 * entry to two threads (E2). What happens between the two loads and the swap inside ck's pop cannot be widened from out
 * here: that it is the pop with a generation is checked by the compiler, not by this race.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "spr_test.h"

#include "base/stack.h"
#include "base/sync.h"

#define N_WRITERS 4
#define N_LETTERS 20000

typedef struct letter {
	spr_stack_entry entry;
	unsigned writer;
	unsigned number;
} letter;

struct post {
	spr_stack mailbox;
	pthread_barrier_t gate;
	letter *letters[N_WRITERS];
};

struct writer {
	struct post *post;
	unsigned self;
};

static void *
write_letters(void *arg)
{
	struct writer *w = arg;
	letter *letters = w->post->letters[w->self];
	spr_stack_chain chain = {0};

	pthread_barrier_wait(&w->post->gate);
	for (unsigned i = 0; i < N_LETTERS; i++) {
		letters[i].writer = w->self;
		letters[i].number = i;
		if (i % 8 < 3) { /* some by themselves, some in chains */
			spr_mailbox_push(&w->post->mailbox, &letters[i].entry);
			continue;
		}
		spr_stack_chain_add(&chain, &letters[i].entry);
		if (i % 8 == 7 || i == N_LETTERS - 1) {
			spr_mailbox_push_chain(&w->post->mailbox, &chain);
			chain = (spr_stack_chain){0};
		}
	}
	return (NULL);
}

/* Reads until all have come; returns how many came out of their writer's order. */
static unsigned
read_letters(struct post *post)
{
	unsigned next[N_WRITERS] = {0};
	unsigned n_bad = 0, n_read = 0;

	while (n_read < N_WRITERS * N_LETTERS) {
		spr_stack_entry *entry = spr_mailbox_pop_all(&post->mailbox);

		if (entry == NULL)
			sched_yield();
		while (entry != NULL) {
			letter *l = SPR_STACK_CONTAINER(entry, letter, entry);

			entry = spr_stack_next(entry);
			l->entry.link.next = NULL; /* the reader owns it */
			n_bad += l->number != next[l->writer];
			next[l->writer] = l->number + 1;
			n_read++;
		}
	}
	return (n_bad);
}

static void
race_mailbox(unsigned yield_percent)
{
	struct post post;
	struct writer writers[N_WRITERS];
	pthread_t threads[N_WRITERS];

	spr_stack_init(&post.mailbox);
	spr_sync_yield_percent(yield_percent);
	pthread_barrier_init(&post.gate, NULL, N_WRITERS + 1);
	for (unsigned i = 0; i < N_WRITERS; i++) {
		assert_non_null(post.letters[i] = calloc(N_LETTERS, sizeof(letter)));
		writers[i] = (struct writer){.post = &post, .self = i};
		assert_int_equal(pthread_create(&threads[i], NULL, write_letters, &writers[i]), 0);
	}
	pthread_barrier_wait(&post.gate);
	assert_int_equal(read_letters(&post), 0);
	for (unsigned i = 0; i < N_WRITERS; i++) {
		pthread_join(threads[i], NULL);
		free(post.letters[i]);
	}
	assert_true(spr_mailbox_is_empty(&post.mailbox));
	pthread_barrier_destroy(&post.gate);
	spr_sync_yield_percent(0);
}

static void
test_mailbox(void **state)
{
	(void)state;
	race_mailbox(0);
	race_mailbox(5);
}

#define N_SLOTS \
	5 /* about as many as threads: the list is often empty, and entries come back at once (ABA) */
#define N_TURNS 20000

typedef struct slot {
	spr_stack_entry entry;
	unsigned n_uses;   /* plain on purpose: only the free list orders it */
	atomic_uint owner; /* 0: free */
} slot;

struct pool {
	spr_stack freelist;
	pthread_barrier_t gate;
	slot slots[N_SLOTS];
	atomic_uint n_bad;
	atomic_uint n_names;
};

static void *
take_and_give_back(void *arg)
{
	struct pool *p = arg;
	unsigned self = atomic_fetch_add(&p->n_names, 1) + 1;

	pthread_barrier_wait(&p->gate);
	for (unsigned i = 0; i < N_TURNS;) {
		spr_stack_entry *entry = spr_freelist_pop(&p->freelist);
		slot *s = SPR_STACK_CONTAINER(entry, slot, entry);
		unsigned nobody = 0;

		if (entry == NULL) {
			sched_yield();
			continue;
		}
		/* relaxed: the claim must not add an order that the list does not give */
		if (!atomic_compare_exchange_strong_explicit(
			&s->owner, &nobody, self, memory_order_relaxed, memory_order_relaxed))
			atomic_fetch_add(&p->n_bad, 1);
		s->n_uses++;
		SPR_YIELD();
		atomic_store_explicit(&s->owner, 0, memory_order_relaxed); /* relaxed: as above */
		spr_freelist_push(&p->freelist, entry);
		i++;
	}
	return (NULL);
}

static void
race_freelist(unsigned yield_percent)
{
	static struct pool p;
	pthread_t threads[N_WRITERS];
	unsigned n_uses = 0, n_left = 0;

	p = (struct pool){0};
	spr_stack_init(&p.freelist);
	for (unsigned i = 0; i < N_SLOTS; i++)
		spr_freelist_push(&p.freelist, &p.slots[i].entry);
	spr_sync_yield_percent(yield_percent);
	pthread_barrier_init(&p.gate, NULL, N_WRITERS);
	for (unsigned i = 0; i < N_WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_give_back, &p), 0);
	for (unsigned i = 0; i < N_WRITERS; i++)
		pthread_join(threads[i], NULL);
	spr_sync_yield_percent(0);
	assert_int_equal(atomic_load(&p.n_bad), 0);
	while (spr_freelist_pop(&p.freelist) != NULL)
		n_left++;
	assert_int_equal(n_left, N_SLOTS);
	for (unsigned i = 0; i < N_SLOTS; i++)
		n_uses += p.slots[i].n_uses;
	assert_int_equal(n_uses, N_WRITERS * N_TURNS);
	pthread_barrier_destroy(&p.gate);
}

static void
test_freelist(void **state)
{
	(void)state;
	race_freelist(0);
	race_freelist(10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_mailbox),
	    cmocka_unit_test(test_freelist),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
