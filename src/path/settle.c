/*
 * settle - the order matters: jobs are forgotten before the entry moves on. The claim that comes next may open the same jobs
 * anew, and must not find those of the attempt that is over.
 */
#include "path/settle.h"

#include "path/answer_text.h"

static void
give_back(const spr_settle_env *env, uint32_t credits)
{
	if (credits == 0)
		return;
	spr_credits_give_back(spr_jobs_credits(env->jobs), credits);
	spr_waiters_notify(env->dispatchers, SPR_WANT_JOBS);
}

static void
forget_jobs(const spr_settle_env *env, spr_notification *notification)
{
	uint32_t credits = notification->credits;

	if (notification->n_known > 0)
		(void)spr_jobs_forget(env->jobs, notification->jobs);
	notification->jobs = SPR_JOB_NONE;
	notification->n_known = 0;
	notification->credits = 0;
	give_back(env, credits);
}

static void
forget_resumable(const spr_settle_env *env, spr_resume resume)
{
	if (resume.n == 0)
		return;
	(void)spr_jobs_forget(env->jobs, resume.jobs);
	give_back(env, resume.n);
}

/* The jobs go into the answer table; credits above their number are given back. */
static bool
remember_jobs(const spr_settle_env *env, spr_notification *notification, uint32_t entry)
{
	spr_resume resume = {.jobs = notification->jobs, .n = notification->n_known};
	uint32_t surplus = notification->credits - notification->n_known;
	spr_resume evicted = {0};
	bool is_owed;

	notification->jobs = SPR_JOB_NONE;
	notification->n_known = 0;
	notification->credits = 0;
	give_back(env, surplus);
	is_owed = spr_answers_nacked(env->answers, entry, resume, &evicted);
	forget_resumable(env, evicted);
	return (is_owed);
}

bool
spr_settle_accepted(const spr_settle_env *env, spr_notification *notification)
{
	uint32_t entry = notification->entry;
	spreader_reason reason = spr_notification_failure(notification);

	notification->entry = SPR_ANSWER_NONE;
	if (entry == SPR_ANSWER_NONE)
		return (false);
	if (notification->n_known > 0 && spr_reason_is_retry(reason) &&
	    reason != SPREADER_REASON_OVERLOAD)
		return (remember_jobs(env, notification, entry));
	forget_jobs(env, notification);
	if (reason == SPREADER_REASON_NONE)
		return (spr_answers_acked(env->answers, entry));
	return (spr_answers_forget(env->answers, entry));
}

void
spr_settle_given_up(const spr_settle_env *env, spr_notification *notification)
{
	forget_jobs(env, notification);
	if (notification->entry != SPR_ANSWER_NONE)
		(void)spr_answers_forget(env->answers, notification->entry);
	notification->entry = SPR_ANSWER_NONE;
}

void
spr_settle_make_room(const spr_settle_env *env, uint32_t n)
{
	spr_resume evicted;

	while (env->max_jobs - spr_credits_reserved(spr_jobs_credits(env->jobs)) < n) {
		if (!spr_answers_evict_resumable(env->answers, &evicted))
			return;
		forget_resumable(env, evicted);
	}
	spr_waiters_notify(env->dispatchers, SPR_WANT_JOBS);
}
