/*
 * stack - intrusive lock-free stacks (wrap ck_stack): a mailbox for many writers and one reader, and a free list for many.
 *
 * Writer      any thread
 * Reader      mailbox: one thread (pop_all); free list: any thread (pop). One stack is used one way for all its life:
 *             mixing batch pop and single pop is not safe
 * Ownership   push moves the entry in; pop moves it out; the memory behind a free list stays mapped while it exists
 * Ordering    E2: what was written before push is visible after the pop that returns the entry
 * Progress    push lock-free; pop_all wait-free; pop lock-free (16-byte compare-and-swap)
 * Limits      none; whoever owns the entries bounds them
 * Teardown    after its users stopped
 */
#pragma once

#include <ck_stack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct spr_stack_entry {
	struct ck_stack_entry link;
} spr_stack_entry;

typedef struct spr_stack {
	struct ck_stack head __attribute__((aligned(64)));
} spr_stack;

/* Entries that one thread has put together, to be pushed in one step. {0} is empty. */
typedef struct spr_stack_chain {
	spr_stack_entry *newest, *oldest;
	uint32_t n;
} spr_stack_chain;

#define SPR_STACK_CONTAINER(entry, type, member) \
	((type *)(void *)((char *)(entry)-offsetof(type, member)))

/* [any] */
void spr_stack_init(spr_stack *stack);

/* [owner of the chain and of the entry] */
static inline void
spr_stack_chain_add(spr_stack_chain *chain, spr_stack_entry *entry)
{
	entry->link.next = chain->newest != NULL ? &chain->newest->link : NULL;
	chain->newest = entry;
	if (chain->oldest == NULL)
		chain->oldest = entry;
	chain->n++;
}

/* mailbox: many writers, one reader */
/* [any] */
void spr_mailbox_push(spr_stack *stack, spr_stack_entry *entry);
/* [any] All of a chain, which is not empty, as if one by one. */
void spr_mailbox_push_chain(spr_stack *stack, const spr_stack_chain *chain);
/* [reader] Everything, oldest first, linked by spr_stack_next(); NULL when empty. */
spr_stack_entry *spr_mailbox_pop_all(spr_stack *stack);
/* [reader] The same, newest first: nothing of an entry is read. */
spr_stack_entry *spr_mailbox_pop_newest_first(spr_stack *stack);
/* [any] A snapshot. */
bool spr_mailbox_is_empty(const spr_stack *stack);
/* [reader] The entry after this one of a popped chain; read it before re-using the entry. */
spr_stack_entry *spr_stack_next(const spr_stack_entry *entry);

/* free list: many writers, many readers */
/* [any] */
void spr_freelist_push(spr_stack *stack, spr_stack_entry *entry);
/* [any] All of a chain, which is not empty. */
void spr_freelist_push_chain(spr_stack *stack, const spr_stack_chain *chain);
/* [any] NULL when empty. */
spr_stack_entry *spr_freelist_pop(spr_stack *stack);
