/*
 * eventcount - ck_ec32 with many producers, sleeping on a futex.
 *
 * ck's built-in spin is cut to a few rounds: how long to spin is the caller's choice (spin_ns), and a spin on a machine
 * with two processors takes the time from whoever would do the waking.
 *
 * ck sleeps in steps that grow to a second, and these steps overshoot a deadline that falls within one. They exist for
 * its single-producer mode, where the waiter's flag can be overwritten; with many producers every increment is a locked
 * one and sees the flag. So wait32 below ignores the step and sleeps to the caller's own deadline, which it finds in the
 * wait state: an idle thread stays asleep, and a deadline is kept.
 */
#include "base/eventcount.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sync.h"

#define SPINS_BEFORE_SLEEP 8
#define SPINS_PER_CLOCK    32

static int
read_clock(const struct ck_ec_ops *ops, struct timespec *out)
{
	(void)ops;
	return (clock_gettime(CLOCK_MONOTONIC, out));
}

static void
wait32(const struct ck_ec_wait_state *state, const uint32_t *address, uint32_t expected,
       const struct timespec *step)
{
	const struct timespec *deadline = state->data;

	(void)step;
	/* BITSET is the form whose deadline is absolute and monotonic; early returns are ck's to sort out */
	syscall(SYS_futex, address, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, deadline,
		NULL, FUTEX_BITSET_MATCH_ANY);
}

static void
wake32(const struct ck_ec_ops *ops, const uint32_t *address)
{
	(void)ops;
	syscall(SYS_futex, address, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, NULL, NULL, 0);
}

static const struct ck_ec_ops ops = {
    .gettime = read_clock,
    .wait32 = wait32,
    .wake32 = wake32,
    .busy_loop_iter = SPINS_BEFORE_SLEEP,
};
static const struct ck_ec_mode mode = {.ops = &ops, .single_producer = false};

void
spr_ec_init(spr_ec *ec)
{
	ck_ec32_init(&ec->count, 0);
}

uint32_t
spr_ec_value(const spr_ec *ec)
{
	uint32_t value = ck_ec32_value(&ec->count);

	SPR_TSAN_ACQUIRE(ec); /* E3 acquire: pairs with the release in spr_ec_wake */
	SPR_YIELD();
	return (value);
}

void
spr_ec_wake(spr_ec *ec)
{
	SPR_YIELD();
	/* E3 release: pairs with the acquire in spr_ec_wait and spr_ec_value */
	SPR_TSAN_RELEASE(ec);
	ck_ec32_inc(&ec->count, &mode);
}

/* True once the value has changed; gives up at until_ns. */
static bool
spin(const spr_ec *ec, uint32_t value, uint64_t until_ns)
{
	do {
		for (int i = 0; i < SPINS_PER_CLOCK; i++) {
			if (ck_ec32_value(&ec->count) != value)
				return (true);
			ck_pr_stall();
		}
	} while (spr_clock_now_ns() < until_ns);
	return (false);
}

/* ck also returns when the last wake clears the waiter flag late, after its own increment was seen: that is no change. */
static bool
sleep_until_change(spr_ec *ec, uint32_t value, struct timespec *deadline)
{
	do {
		if (ck_ec32_wait_pred(&ec->count, &mode, value, NULL, deadline, deadline) != 0)
			return (false);
	} while (ck_ec32_value(&ec->count) == value);
	return (true);
}

static bool
wait_for_change(spr_ec *ec, uint32_t value, uint64_t deadline_ns, uint64_t spin_ns)
{
	struct timespec deadline;

	if (spin_ns != 0) {
		uint64_t until_ns = spr_clock_now_ns() + spin_ns;

		if (deadline_ns != 0 && deadline_ns < until_ns)
			until_ns = deadline_ns;
		if (spin(ec, value, until_ns))
			return (true);
	}
	if (deadline_ns == 0)
		return (sleep_until_change(ec, value, NULL));
	deadline.tv_sec = (time_t)(deadline_ns / SPR_NS_PER_S);
	deadline.tv_nsec = (long)(deadline_ns % SPR_NS_PER_S);
	return (sleep_until_change(ec, value, &deadline));
}

_Bool
spr_ec_wait(spr_ec *ec, uint32_t value, uint64_t deadline_ns, uint64_t spin_ns)
{
	bool is_woken;

	SPR_YIELD();
	is_woken = wait_for_change(ec, value, deadline_ns, spin_ns);
	SPR_TSAN_ACQUIRE(ec); /* E3 acquire: pairs with the release in spr_ec_wake */
	return (is_woken);
}
