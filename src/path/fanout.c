/*
 * fanout - posts the jobs of one notification, in slices.
 *
 * The pending counts are set once, to all jobs and one more, before the first is posted: so they can
 * reach zero only when the last job has ended and the dispatcher has let go, and posting a job
 * costs no counting of its own.
 *
 * When receipts are awaited a job is opened right before it is pushed, so that a receipt finds it however soon it comes.
 * A spare credit above those for its jobs is what a notification that comes again opens with: only the table knows
 * whether a job is new.
 */
#include "path/fanout.h"

#include "base/assert.h"
#include "base/counters.h"
#include "base/crash_point.h"
#include "base/sync.h"

#define AHEAD     8  /* jobs */
#define FAR_AHEAD 16 /* callbacks */

static bool
make_room(spr_fanout *fanout, size_t len)
{
	uint8_t *grown;

	if (len <= fanout->encoded_capacity)
		return (true);
	if ((grown = spr_mem_realloc(fanout->encoded, len)) == NULL)
		return (false);
	fanout->encoded = grown;
	fanout->encoded_capacity = len;
	return (true);
}

static spr_err
encode_as_string(spr_fanout *fanout, spr_range text, size_t max)
{
	size_t len = spr_json_quoted_len(text.at, text.len);

	if (len > max)
		return (SPR_E_TOO_LARGE);
	if (!make_room(fanout, len))
		return (SPR_E_NOMEM);
	spr_json_quote(fanout->encoded, text.at, text.len);
	fanout->payload = (spr_range){fanout->encoded, len};
	return (SPR_OK);
}

/* Seldom: most producers write a document on one line. */
static spr_err
join_lines(spr_fanout *fanout, spr_range text)
{
	if (!make_room(fanout, text.len))
		return (SPR_E_NOMEM);
	spr_json_copy_on_one_line(fanout->encoded, text.at, text.len);
	fanout->payload = (spr_range){fanout->encoded, text.len};
	return (SPR_OK);
}

spr_err
spr_fanout_set_payload(spr_fanout *fanout, const spr_document *document, bool as_string,
		       bool on_one_line, size_t max)
{
	spr_range text = document->payload;

	if (document->payload_is_message && as_string)
		return (encode_as_string(fanout, text, max));
	if (on_one_line && spr_json_has_line_break(text.at, text.len))
		return (join_lines(fanout, text));
	fanout->payload = text;
	return (SPR_OK);
}

size_t
spr_fanout_longest_job(const spr_fanout *fanout)
{
	return (fanout->matches.longest_prefix + fanout->payload.len + 1);
}

static bool
reserve(spr_notification *notification, const spr_fanout_env *env, uint32_t n)
{
	if (!spr_credits_reserve(spr_jobs_credits(env->jobs), n))
		return (false);
	notification->credits += n;
	return (true);
}

bool
spr_fanout_open(spr_fanout *fanout, const spr_fanout_env *env)
{
	spr_notification *notification = fanout->notification;
	uint32_t n = (uint32_t)fanout->matches.n;
	bool is_resumed = notification->n_known > 0;

	notification->n_jobs = n;
	fanout->next = 0;
	fanout->slice_left = 0;
	fanout->opened = SPR_JOB_NONE;
	fanout->needs_credits = env->jobs != NULL && !is_resumed;
	fanout->is_in_line = false;
	if (is_resumed && !reserve(notification, env,
				   (n > notification->n_known ? n - notification->n_known : 0) + 1))
		return (false);
	spr_notification_open(notification, n + 1, env->jobs != NULL ? n : 0);
	spr_ledger_opened(env->ledger, notification);
	return (true);
}

static bool
reserve_in_turn(spr_fanout *fanout, const spr_fanout_env *env)
{
	spr_notification *notification = fanout->notification;
	spr_credits *credits = spr_jobs_credits(env->jobs);

	if (!spr_credits_reserve_in_turn(credits, env->number, notification->n_jobs))
		return (false);
	notification->credits += notification->n_jobs;
	return (true);
}

/* Nobody knows yet who is the first in line now: the ledger wakes it. */
static void
leave_line(spr_fanout *fanout, const spr_fanout_env *env)
{
	spr_credits *credits;

	fanout->needs_credits = false;
	if (!fanout->is_in_line)
		return;
	fanout->is_in_line = false;
	credits = spr_jobs_credits(env->jobs);
	spr_credits_leave(credits, env->number);
	if (spr_credits_wanted(credits) > 0)
		spr_ledger_look_at_line(env->ledger);
}

/* Credits for a fresh one's jobs; false: it is in line for them, and the dispatcher will be woken. */
static bool
get_credits(spr_fanout *fanout, const spr_fanout_env *env)
{
	bool is_new = !fanout->is_in_line;

	if (!fanout->needs_credits)
		return (true);
	if (!reserve_in_turn(fanout, env)) {
		fanout->is_in_line = true;
		spr_waiter_want(env->waiter, SPR_WANT_JOBS); /* E11: declare, then look again */
		SPR_YIELD();
		if (!reserve_in_turn(fanout, env)) {
			spr_count(SPR_C_DISPATCHER_WAITS_JOBS);
			if (is_new)
				spr_ledger_look_at_line(env->ledger);
			return (false);
		}
	}
	leave_line(fanout, env);
	return (true);
}

/* Pending counts to be given back. */
typedef struct counts {
	uint32_t pushes;
	uint32_t receipts;
} counts;

/* The dispatcher lets go: of the message, and of what is left of the counts. */
static void
close_fanout(spr_fanout *fanout, const spr_fanout_env *env, counts left)
{
	spr_notification *notification = fanout->notification;

	fanout->matches.n = 0;
	if (fanout->matches.is_held)
		spr_intake_finish(env->intake, fanout->message);
	fanout->message = NULL;
	fanout->notification = NULL;
	if (spr_notification_release(notification, left.pushes + 1, left.receipts)) /* E12 */
		spr_ledger_complete(env->ledger, notification);
}

/* The next job is in the table and *number is what it is called there, if it is to be pushed. */
static spr_job_opened
open_next(spr_fanout *fanout, const spr_fanout_env *env, spr_job_key key, uint32_t *number)
{
	spr_notification *notification = fanout->notification;
	uint32_t owner = (uint32_t)(notification - env->notifications->slab);
	spr_job_opened opened;

	if (fanout->opened != SPR_JOB_NONE) {
		*number = fanout->opened;
		return (SPR_JOB_OPENED);
	}
	if (notification->credits == notification->n_known && !reserve(notification, env, 1)) {
		/* subscribers came since the last attempt, and there is no room for them: again later */
		spr_count(SPR_C_JOBS_FAILED);
		spr_notification_fail(notification, SPREADER_REASON_OVERLOAD);
		return (SPR_JOB_RECEIPTED);
	}
	opened = spr_jobs_open(env->jobs, key, owner, &notification->jobs, &notification->n_known,
			       number);
	if (opened == SPR_JOB_RECEIPTED)
		spr_count(SPR_C_JOBS_RESUMED);
	return (opened);
}

/* A large fan-out's callbacks, and the places of their jobs, come from memory: they are asked for some jobs ahead. */
static void
foresee(const spr_fanout *fanout, const spr_fanout_env *env)
{
	size_t at = fanout->next + FAR_AHEAD;

	if (at < fanout->matches.n)
		__builtin_prefetch(fanout->matches.callback[at]);
	at = fanout->next + AHEAD;
	if (env->jobs != NULL && at < fanout->matches.n)
		spr_jobs_foresee(env->jobs,
				 spr_job_key_of(&fanout->source, fanout->matches.callback[at]));
}

/* False: blocked, nothing happened but that the job may be open now. */
static bool
post_next(spr_fanout *fanout, const spr_fanout_env *env, spr_outbox_lane *lane, counts *back)
{
	spr_callback *callback = fanout->matches.callback[fanout->next];
	spr_job_key key = {0};
	spr_job job = {
	    .prefix = spr_callback_prefix(callback),
	    .prefix_len = callback->prefix_len,
	    .payload = fanout->payload.at,
	    .payload_len = fanout->payload.len,
	};
	spr_job_opened opened = SPR_JOB_OPENED;
	spr_post posted = SPR_POST_FAILED;

	foresee(fanout, env);
	if (env->has_ids) {
		key = spr_job_key_of(&fanout->source, callback);
		job.key = &key;
	}
	if (env->jobs != NULL)
		opened = open_next(fanout, env, key, &job.number);
	if (opened != SPR_JOB_RECEIPTED)
		posted = spr_outbox_post(lane, &job, fanout->notification);
	if (posted == SPR_POST_BLOCKED) {
		/* what is open twice has one receipt count, which is not this one's */
		fanout->opened = opened == SPR_JOB_OPENED ? job.number : SPR_JOB_NONE;
		return (false);
	}
	fanout->opened = SPR_JOB_NONE;
	back->pushes += posted == SPR_POST_FAILED;
	back->receipts += opened != SPR_JOB_OPENED;
	if (posted == SPR_POST_FAILED && env->jobs != NULL && opened != SPR_JOB_RECEIPTED)
		back->receipts += spr_jobs_fail(env->jobs, job.number);
	return (true);
}

/* It outlives the section that its callbacks were found in, and the reading of its message. */
static void
keep(spr_fanout *fanout)
{
	if (fanout->matches.is_held)
		return;
	spr_matches_hold(&fanout->matches, fanout->next);
	spr_buf_hold(fanout->message);
}

spr_slice
spr_fanout_post(spr_fanout *fanout, const spr_fanout_env *env, spr_outbox_lane *lane, unsigned max)
{
	spr_slice slice = SPR_SLICE_DONE;
	counts back = {0};

	if (!get_credits(fanout, env)) {
		keep(fanout);
		return (SPR_SLICE_WAITS);
	}
	if (fanout->slice_left == 0)
		fanout->slice_left = max;
	for (; fanout->next < fanout->matches.n; fanout->next++, fanout->slice_left--) {
		spr_callback *callback = fanout->matches.callback[fanout->next];

		if (fanout->slice_left == 0 || !post_next(fanout, env, lane, &back)) {
			slice = fanout->slice_left > 0 ? SPR_SLICE_BLOCKED : SPR_SLICE_MORE;
			break;
		}
		if (fanout->next > 0)
			SPR_CRASH_POINT("between-pushes");
		if (fanout->matches.is_held)
			spr_callback_drop(env->subscriptions, callback);
	}
	if (slice == SPR_SLICE_DONE) {
		SPR_CRASH_POINT("last-push");
		close_fanout(fanout, env, back);
		return (slice);
	}
	keep(fanout);
	/* never the last count: the dispatcher's own is still out */
	if (back.pushes + back.receipts > 0)
		(void)spr_notification_release(fanout->notification, back.pushes, back.receipts);
	return (slice);
}

void
spr_fanout_fail_rest(spr_fanout *fanout, const spr_fanout_env *env, spreader_reason reason)
{
	size_t left = fanout->matches.n - fanout->next;
	counts back = {.pushes = (uint32_t)left,
		       .receipts = env->jobs != NULL ? (uint32_t)left : 0};

	SPR_ASSERT(left > 0); /* or it would be closed */
	leave_line(fanout, env);
	/* the open one may have got a receipt, of an earlier attempt, whose taker has given its count back */
	if (fanout->opened != SPR_JOB_NONE && !spr_jobs_fail(env->jobs, fanout->opened))
		back.receipts--;
	spr_notification_fail(fanout->notification, reason);
	spr_count_add(SPR_C_JOBS_FAILED, left);
	spr_matches_drop_from(env->subscriptions, &fanout->matches, fanout->next);
	close_fanout(fanout, env, back);
}

void
spr_fanout_fini(spr_fanout *fanout)
{
	spr_matches_fini(&fanout->matches);
	spr_mem_free(fanout->encoded);
	fanout->encoded = NULL;
}
