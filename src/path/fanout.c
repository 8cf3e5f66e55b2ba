/*
 * fanout - posts the jobs of one notification, in slices.
 *
 * The pending count is set once, to all jobs and one more, before the first is posted: so it can
 * reach zero only when the last job has ended and the dispatcher has let go, and posting a job
 * costs no counting of its own.
 */
#include "path/fanout.h"

#include "base/assert.h"
#include "base/counters.h"
#include "base/crash_point.h"

static spr_err
encode_as_string(spr_fanout *fanout, spr_range text, size_t max)
{
	size_t len = spr_json_quoted_len(text.at, text.len);
	uint8_t *grown;

	if (len > max)
		return (SPR_E_TOO_LARGE);
	if (len > fanout->encoded_capacity) {
		if ((grown = spr_mem_realloc(fanout->encoded, len)) == NULL)
			return (SPR_E_NOMEM);
		fanout->encoded = grown;
		fanout->encoded_capacity = len;
	}
	spr_json_quote(fanout->encoded, text.at, text.len);
	fanout->payload = (spr_range){fanout->encoded, len};
	return (SPR_OK);
}

spr_err
spr_fanout_set_payload(spr_fanout *fanout, const spr_document *document, bool as_string, size_t max)
{
	if (document->payload_is_message && as_string)
		return (encode_as_string(fanout, document->payload, max));
	fanout->payload = document->payload;
	return (SPR_OK);
}

size_t
spr_fanout_longest_job(const spr_fanout *fanout)
{
	return (fanout->matches.longest_prefix + fanout->payload.len + 1);
}

void
spr_fanout_open(spr_fanout *fanout)
{
	spr_notification *notification = fanout->notification;

	notification->n_jobs = (uint32_t)fanout->matches.n;
	fanout->next = 0;
	fanout->slice_left = 0;
	spr_notification_open(notification, notification->n_jobs + 1, 0);
}

/* The dispatcher lets go: of the message, and of `left` pending counts. */
static void
close_fanout(spr_fanout *fanout, const spr_fanout_env *env, unsigned left)
{
	spr_notification *notification = fanout->notification;

	fanout->matches.n = 0;
	spr_intake_finish(env->intake, fanout->message);
	fanout->message = NULL;
	fanout->notification = NULL;
	if (spr_notification_release(notification, left, 0)) /* E12 */
		spr_ledger_complete(env->ledger, notification);
}

spr_slice
spr_fanout_post(spr_fanout *fanout, const spr_fanout_env *env, spr_outbox_lane *lane, unsigned max)
{
	spr_slice slice = SPR_SLICE_DONE;
	unsigned failed = 0;

	if (fanout->slice_left == 0)
		fanout->slice_left = max;
	for (; fanout->next < fanout->matches.n; fanout->next++, fanout->slice_left--) {
		spr_callback *callback = fanout->matches.callback[fanout->next];
		spr_job job = {
		    .prefix = spr_callback_prefix(callback),
		    .prefix_len = callback->prefix_len,
		    .payload = fanout->payload.at,
		    .payload_len = fanout->payload.len,
		};
		spr_post posted = SPR_POST_BLOCKED;

		if (fanout->slice_left > 0)
			posted = spr_outbox_post(lane, &job, fanout->notification);
		if (posted == SPR_POST_BLOCKED) {
			slice = fanout->slice_left > 0 ? SPR_SLICE_BLOCKED : SPR_SLICE_MORE;
			break;
		}
		if (fanout->next > 0)
			SPR_CRASH_POINT("between-pushes");
		failed += posted == SPR_POST_FAILED;
		spr_callback_drop(env->subscriptions, callback);
	}
	if (slice == SPR_SLICE_DONE) {
		SPR_CRASH_POINT("last-push");
		close_fanout(fanout, env, failed + 1);
	} else if (failed > 0) /* never the last count: the dispatcher's own is still out */
		(void)spr_notification_release(fanout->notification, failed, 0);
	return (slice);
}

void
spr_fanout_fail_rest(spr_fanout *fanout, const spr_fanout_env *env, spreader_reason reason)
{
	size_t left = fanout->matches.n - fanout->next;

	SPR_ASSERT(left > 0); /* or it would be closed */
	spr_notification_fail(fanout->notification, reason);
	spr_count_add(SPR_C_JOBS_FAILED, left);
	spr_matches_drop_from(env->subscriptions, &fanout->matches, fanout->next);
	close_fanout(fanout, env, (unsigned)left + 1);
}

void
spr_fanout_fini(spr_fanout *fanout)
{
	spr_matches_fini(&fanout->matches);
	spr_mem_free(fanout->encoded);
	fanout->encoded = NULL;
}
