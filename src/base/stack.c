/*
 * stack - ck_stack, as a mailbox and as a free list.
 *
 * A mailbox is emptied by one exchange, which is immune to ABA; a free list pops one entry by a
 * compare-and-swap of head and generation together, and may look at the link of an entry that
 * another thread has just taken: hence "the memory stays mapped". Popping all and popping one must
 * not meet on one stack: the exchange leaves the generation alone.
 */
#include "base/stack.h"

#include <stdalign.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/sync.h"

#if !defined(CK_F_STACK_POP_MPMC)
#error "this build of Concurrency Kit has no double-width compare-and-swap; free lists need it"
#endif
_Static_assert(alignof(spr_stack) >= 16, "cmpxchg16b faults on a head that is not 16-byte aligned");
_Static_assert(offsetof(spr_stack, head) == 0, "the aligned head comes first");

void
spr_stack_init(spr_stack *stack)
{
	/* the type says 64, but the memory may come from a plain malloc */
	SPR_ASSERT((uintptr_t)stack % alignof(spr_stack) == 0);
	ck_stack_init(&stack->head);
	/* any start will do but NULL: ck counts by pointer arithmetic, which clang's checks do not allow on that */
	stack->head.generation = (char *)stack;
}

/* As ck_stack_push_mpmc(), which knows no chains. Popping one compares the generation too, so a push need not change it. */
static void
push(spr_stack *stack, spr_stack_entry *newest, spr_stack_entry *oldest)
{
	struct ck_stack_entry *top;

	SPR_YIELD();
	SPR_TSAN_RELEASE(stack); /* E2 release: pairs with the acquire in pop and pop_all */
	SPR_TSAN_IGNORE_BEGIN();
	top = ck_pr_load_ptr(&stack->head.head);
	do
		oldest->link.next = top;
	while (!ck_pr_cas_ptr_value(&stack->head.head, top, &newest->link, &top));
	SPR_TSAN_IGNORE_END();
	SPR_YIELD();
}

void
spr_mailbox_push(spr_stack *stack, spr_stack_entry *entry)
{
	push(stack, entry, entry);
}

void
spr_mailbox_push_chain(spr_stack *stack, const spr_stack_chain *chain)
{
	push(stack, chain->newest, chain->oldest);
}

spr_stack_entry *
spr_mailbox_pop_newest_first(spr_stack *stack)
{
	struct ck_stack_entry *newest;

	if (spr_mailbox_is_empty(stack))
		return (NULL); /* spares an idle reader the locked exchange */
	SPR_YIELD();
	newest = ck_stack_batch_pop_upmc(&stack->head);
	SPR_TSAN_ACQUIRE(stack); /* E2 acquire: pairs with the release in push */
	SPR_YIELD();
	return ((spr_stack_entry *)(void *)newest);
}

spr_stack_entry *
spr_mailbox_pop_all(spr_stack *stack)
{
	spr_stack_entry *entry = spr_mailbox_pop_newest_first(stack);
	struct ck_stack_entry *newest = entry != NULL ? &entry->link : NULL;
	struct ck_stack_entry *oldest = NULL;

	while (newest != NULL) {
		struct ck_stack_entry *older = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = older;
	}
	return ((spr_stack_entry *)(void *)oldest);
}

bool
spr_mailbox_is_empty(const spr_stack *stack)
{
	return (ck_pr_load_ptr(&stack->head.head) == NULL);
}

spr_stack_entry *
spr_stack_next(const spr_stack_entry *entry)
{
	return ((spr_stack_entry *)(void *)entry->link.next);
}

void
spr_freelist_push(spr_stack *stack, spr_stack_entry *entry)
{
	push(stack, entry, entry);
}

void
spr_freelist_push_chain(spr_stack *stack, const spr_stack_chain *chain)
{
	push(stack, chain->newest, chain->oldest);
}

spr_stack_entry *
spr_freelist_pop(spr_stack *stack)
{
	struct ck_stack_entry *entry;

	SPR_YIELD();
	SPR_TSAN_IGNORE_BEGIN();
	entry = ck_stack_pop_mpmc(&stack->head);
	SPR_TSAN_IGNORE_END();
	if (entry == NULL)
		return (NULL);
	SPR_TSAN_ACQUIRE(stack); /* E2 acquire: pairs with the release in push */
	SPR_YIELD();
	return ((spr_stack_entry *)(void *)entry);
}
