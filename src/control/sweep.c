/*
 * sweep - why it does not simply trust the wall clock: a clock that jumps a year ahead and back
 * would delete every subscription in between. So it asks a second clock, which is never ahead of
 * the wall clock: monotonic time plus the least offset between the two that was seen in the last
 * one to two hours. Backward jumps count at once, forward jumps only after they have lasted; and
 * the daemon must have been up for an hour at all, for a clock that was wrong at boot.
 */
#include "control/sweep.h"

#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"

typedef struct due_row {
	char *pattern;
	char *callback;
} due_row;

typedef struct due_rows {
	due_row row[SPR_SWEEP_BATCH];
	unsigned n;
} due_rows;

static int64_t
offset_s(const spr_control_env *env, uint64_t now_ns)
{
	return (spr_control_wall_s(env) - (int64_t)(now_ns / SPR_NS_PER_S));
}

void
spr_sweep_init(spr_sweep *sweep, const spr_control_env *env)
{
	uint64_t now_ns = spr_control_now_ns(env);
	int64_t offset = offset_s(env, now_ns);

	*sweep = (spr_sweep){.start_ns = now_ns,
			     .next_ns = now_ns + SPR_SWEEP_EVERY_NS,
			     .hour_ns = now_ns,
			     .least_now_s = offset,
			     .least_before_s = offset};
}

/* The second clock. */
static int64_t
patient_wall_s(spr_sweep *sweep, const spr_control_env *env, uint64_t now_ns)
{
	int64_t offset = offset_s(env, now_ns);

	if (now_ns - sweep->hour_ns >= SPR_SWEEP_PATIENCE_S * SPR_NS_PER_S) {
		sweep->hour_ns = now_ns;
		sweep->least_before_s = sweep->least_now_s;
		sweep->least_now_s = offset;
	}
	if (offset < sweep->least_now_s) {
		sweep->least_now_s = offset;
	}
	return ((int64_t)(now_ns / SPR_NS_PER_S) + (sweep->least_now_s < sweep->least_before_s
							? sweep->least_now_s
							: sweep->least_before_s));
}

static spr_err
collect_row(void *arg, const spr_store_row *row)
{
	due_rows *due = arg;
	due_row *entry = &due->row[due->n];

	entry->pattern = spr_mem_strdup(row->pattern);
	entry->callback = spr_mem_strdup(row->callback);
	due->n++; /* before the check: free_rows() takes half a row too */
	if (entry->pattern == NULL || entry->callback == NULL) {
		return (spr_fail(SPR_E_NOMEM, "out of memory"));
	}
	return (SPR_OK);
}

static void
free_rows(due_rows *due)
{
	for (unsigned i = 0; i < due->n; i++) {
		spr_mem_free(due->row[i].pattern);
		spr_mem_free(due->row[i].callback);
	}
	spr_mem_free(due);
}

static spr_err
remove_stored(const spr_control_env *env, const due_rows *due)
{
	spr_err rv = spr_store_begin(env->store);

	if (rv != SPR_OK) {
		return (rv);
	}
	for (unsigned i = 0; i < due->n; i++) {
		rv = spr_store_remove(env->store, due->row[i].pattern, due->row[i].callback);
		if (rv != SPR_OK && rv != SPR_E_NOT_FOUND) {
			spr_store_rollback(env->store);
			return (rv);
		}
	}
	return (spr_store_commit(env->store));
}

/* Only a broken record is not there; it was never published. */
static void
remove_published(const spr_control_env *env, const due_rows *due)
{
	for (unsigned i = 0; i < due->n; i++) {
		const due_row *row = &due->row[i];
		spr_predicate pattern;

		if (spr_pattern_normalise(&pattern, row->pattern, strlen(row->pattern), true) ==
		    SPR_OK) {
			(void)spr_subscriptions_unsubscribe(env->subscriptions, &pattern,
							    row->callback, strlen(row->callback));
		}
	}
}

static unsigned
sweep_before(const spr_control_env *env, int64_t before_s)
{
	due_rows *due = spr_mem_alloc(sizeof(*due));
	spr_err rv = SPR_OK;
	unsigned n = 0;

	if (due == NULL) {
		return (0);
	}
	due->n = 0;
	if ((rv = spr_store_expired(env->store, before_s, SPR_SWEEP_BATCH, collect_row, due)) ==
		SPR_OK &&
	    due->n > 0) {
		rv = remove_stored(env, due);
	}
	if (rv != SPR_OK) {
		spr_error("CONTROL-SWEEP", "why=\"%s\"", spr_error_text(rv));
	} else if (due->n > 0) {
		n = due->n;
		remove_published(env, due);
		spr_count_add(SPR_C_CHANGES_EXPIRE, n);
		spr_info("CONTROL-SWEPT", "n=%u", n);
	}
	free_rows(due);
	return (n);
}

unsigned
spr_sweep_run(spr_sweep *sweep, const spr_control_env *env)
{
	uint64_t now_ns = spr_control_now_ns(env);
	int64_t wall_s = 0;
	unsigned n = 0;

	SPR_ASSERT_ROLE(SPR_ROLE_CONTROL);
	if (now_ns < sweep->next_ns) {
		return (0);
	}
	wall_s = patient_wall_s(sweep, env, now_ns);
	if (now_ns - sweep->start_ns >= SPR_SWEEP_PATIENCE_S * SPR_NS_PER_S) {
		/* relaxed: a single value of a reload */
		n = sweep_before(
		    env, wall_s - atomic_load_explicit(&env->lease_grace_s, memory_order_relaxed));
	}
	/* a full batch says there may be more: on with it after whatever waits */
	sweep->next_ns = n == SPR_SWEEP_BATCH ? now_ns : now_ns + SPR_SWEEP_EVERY_NS;
	return (n);
}
