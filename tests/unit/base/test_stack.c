/*
 * test_stack - mailbox order, free list, and an entry that is not the first member.
 */
#include "spr_test.h"

#include "base/stack.h"

typedef struct letter {
	int number;
	spr_stack_entry entry;
} letter;

static int
number_of(spr_stack_entry *entry)
{
	return (SPR_STACK_CONTAINER(entry, letter, entry)->number);
}

static void
test_mailbox_oldest_first(void **state)
{
	spr_stack stack;
	letter letters[5];
	spr_stack_entry *entry;

	(void)state;
	spr_stack_init(&stack);
	for (int round = 0; round < 3; round++) {
		assert_true(spr_mailbox_is_empty(&stack));
		assert_null(spr_mailbox_pop_all(&stack));
		for (int i = 0; i < 5; i++) {
			letters[i].number = i;
			spr_mailbox_push(&stack, &letters[i].entry);
			assert_false(spr_mailbox_is_empty(&stack));
		}
		entry = spr_mailbox_pop_all(&stack);
		for (int i = 0; i < 5; i++) {
			assert_non_null(entry);
			assert_int_equal(number_of(entry), i);
			entry = spr_stack_next(entry);
		}
		assert_null(entry);
	}
}

static void
test_mailbox_newest_first(void **state)
{
	spr_stack stack;
	letter letters[5];
	spr_stack_entry *entry;

	(void)state;
	spr_stack_init(&stack);
	assert_null(spr_mailbox_pop_newest_first(&stack));
	for (int i = 0; i < 5; i++) {
		letters[i].number = i;
		spr_mailbox_push(&stack, &letters[i].entry);
	}
	entry = spr_mailbox_pop_newest_first(&stack);
	assert_true(spr_mailbox_is_empty(&stack));
	for (int i = 4; i >= 0; i--) {
		assert_non_null(entry);
		assert_int_equal(number_of(entry), i);
		entry = spr_stack_next(entry);
	}
	assert_null(entry);
}

static void
test_mailbox_of_one(void **state)
{
	spr_stack stack;
	letter one = {.number = 1};

	(void)state;
	spr_stack_init(&stack);
	spr_mailbox_push(&stack, &one.entry);
	assert_ptr_equal(spr_mailbox_pop_all(&stack), &one.entry);
	assert_null(spr_stack_next(&one.entry));
}

static void
test_freelist_gives_each_entry_once(void **state)
{
	spr_stack stack;
	letter letters[4];
	unsigned seen = 0;

	(void)state;
	spr_stack_init(&stack);
	assert_null(spr_freelist_pop(&stack));
	for (int i = 0; i < 4; i++) {
		letters[i].number = i;
		spr_freelist_push(&stack, &letters[i].entry);
	}
	for (int i = 0; i < 4; i++) {
		spr_stack_entry *entry = spr_freelist_pop(&stack);

		assert_non_null(entry);
		seen |= 1U << number_of(entry);
	}
	assert_int_equal(seen, 0xf);
	assert_null(spr_freelist_pop(&stack));
	spr_freelist_push(&stack, &letters[2].entry);
	assert_ptr_equal(spr_freelist_pop(&stack), &letters[2].entry);
	assert_null(spr_freelist_pop(&stack));
}

/* As if one by one, between what is pushed before and behind it. */
static void
test_a_chain_is_pushed_in_its_order(void **state)
{
	spr_stack stack;
	letter letters[6];
	spr_stack_chain chain = {0}, one = {0};
	spr_stack_entry *entry;

	(void)state;
	for (int i = 0; i < 6; i++)
		letters[i].number = i;
	spr_stack_init(&stack);
	spr_mailbox_push(&stack, &letters[0].entry);
	for (int i = 1; i < 4; i++)
		spr_stack_chain_add(&chain, &letters[i].entry);
	assert_int_equal(chain.n, 3);
	spr_mailbox_push_chain(&stack, &chain);
	spr_stack_chain_add(&one, &letters[4].entry);
	spr_mailbox_push_chain(&stack, &one);
	spr_mailbox_push(&stack, &letters[5].entry);
	entry = spr_mailbox_pop_all(&stack);
	for (int i = 0; i < 6; i++) {
		assert_non_null(entry);
		assert_int_equal(number_of(entry), i);
		entry = spr_stack_next(entry);
	}
	assert_null(entry);

	spr_stack_init(&stack);
	spr_freelist_push_chain(&stack, &one);
	chain = (spr_stack_chain){0};
	for (int i = 1; i < 4; i++)
		spr_stack_chain_add(&chain, &letters[i].entry);
	spr_freelist_push_chain(&stack, &chain);
	for (int i = 3; i >= 1; i--) /* the last one added is the first to be given out */
		assert_int_equal(number_of(spr_freelist_pop(&stack)), i);
	assert_int_equal(number_of(spr_freelist_pop(&stack)), 4);
	assert_null(spr_freelist_pop(&stack));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_mailbox_oldest_first),
	    cmocka_unit_test(test_a_chain_is_pushed_in_its_order),
	    cmocka_unit_test(test_mailbox_newest_first),
	    cmocka_unit_test(test_mailbox_of_one),
	    cmocka_unit_test(test_freelist_gives_each_entry_once),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
