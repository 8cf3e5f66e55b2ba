/*
 * document - the decisions about one document, in the order of the contract: who is asking (id,
 * upstream), have we had it (claim), what is it about (predicate), who is told (resolve), what are
 * they told (payload).
 */
#include "path/document.h"

#include <string.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/counters.h"
#include "path/dispatch.h"

/* The document is kept. What names it is known only once it was identified. */
static void
dead_letter(spr_document_env *env, spreader_reason reason, const spr_document *document,
	    const spr_notification *notification)
{
	spr_range id = {notification->id, notification->id_len};
	uint8_t text[SPREADER_ID_MAX];
	spr_range from = {text, 0};
	bool ignored;

	if (document->has_from)
		from.len = spr_scan_decode(document->from, text, sizeof(text), &ignored);
	if (from.len > sizeof(text))
		from.len = 0;
	spr_dead_letter_write(env->config->dead_letter, reason, env->peer, from, id,
			      document->whole);
}

/* There is no id to answer: counted and kept. */
static void
reject(spr_document_env *env, spreader_reason reason, const spr_document *document,
       spr_notification *notification)
{
	spr_count(reason == SPREADER_REASON_NOT_JSON ? SPR_C_REJECTED_NOT_JSON
						     : SPR_C_REJECTED_NO_ID);
	dead_letter(env, reason, document, notification);
	spr_notification_give_back(env->config->notifications, notification);
}

/* The notification is done, or not; either way it is the ledger's now. */
static void
answer(spr_document_env *env, spreader_reason reason, const spr_document *document,
       spr_notification *notification)
{
	notification->n_jobs = 0;
	/* relaxed: the mailbox publishes it (E2) */
	atomic_store_explicit(&notification->failure, reason, memory_order_relaxed);
	if (reason != SPREADER_REASON_NONE && notification->upstream == SPR_UPSTREAM_NONE)
		dead_letter(env, reason, document,
			    notification); /* nobody can be told: keep the document */
	spr_ledger_complete(env->config->ledger, notification);
}

/* Fills in id, upstream and, when jobs have ids, their source; false when there is no such upstream. */
static bool
identify(spr_document_env *env, const spr_document *document, spr_notification *notification,
	 spr_job_source *source)
{
	const spr_dispatch_config *config = env->config;
	uint8_t from[SPREADER_ID_MAX];
	size_t from_len = 0;
	bool ignored;

	notification->entry = SPR_ANSWER_NONE;
	notification->upstream = SPR_UPSTREAM_NONE;
	notification->id_len = 0;
	notification->message = NULL;
	notification->jobs = SPR_JOB_NONE;
	notification->n_known = 0;
	notification->credits = 0;
	atomic_store_explicit(&notification->failure, SPREADER_REASON_NONE,
			      memory_order_relaxed /* not shared yet */);
	if (config->format == SPR_FORMAT_BARE)
		return (true);
	notification->id_len =
	    (uint16_t)spr_scan_decode(document->id, notification->id, SPREADER_ID_MAX, &ignored);
	if (document->has_from)
		from_len = spr_scan_decode(document->from, from, sizeof(from), &ignored);
	if (env->config->has_job_ids && from_len != SIZE_MAX)
		*source = spr_job_source_of((spr_range){from, from_len},
					    (spr_range){notification->id, notification->id_len});
	if (!spr_ledger_has_upstreams(config->ledger))
		return (!document->has_from || from_len == 0); /* envelopes, but nobody to answer */
	/* SIZE_MAX is no name's length either */
	notification->upstream = spr_ledger_upstream(config->ledger, (const char *)from, from_len);
	return (notification->upstream != SPR_UPSTREAM_NONE);
}

/* The jobs of earlier attempts, and the credits that were kept for them, are this one's. */
static void
resume(spr_document_env *env, spr_notification *notification)
{
	spr_resume jobs = spr_answers_take_resume(env->config->answers, notification->entry);

	notification->jobs = jobs.jobs;
	notification->n_known = jobs.n;
	notification->credits = jobs.n;
}

static spr_answer_key
key_of(const spr_document_env *env, const uint8_t *id, size_t len, uint16_t upstream)
{
	XXH128_hash_t hash = XXH3_128bits_withSeed(id, len, env->config->key_seed + upstream);

	return ((spr_answer_key){.low = hash.low64, .high = hash.high64});
}

/* Of what is usual: an id without escapes, of the unnamed upstream. */
bool
spr_document_foresee(const spr_document_env *env, const spr_document *document, spr_answer_key *key)
{
	uint16_t upstream;

	if (env->config->answers == NULL || document->reason == SPREADER_REASON_NOT_JSON ||
	    document->reason == SPREADER_REASON_NO_ID || document->has_from ||
	    document->id_decoded_len != document->id.len)
		return (false);
	upstream = spr_ledger_upstream(env->config->ledger, "", 0);
	if (upstream == SPR_UPSTREAM_NONE)
		return (false);
	*key = key_of(env, document->id.at, document->id.len, upstream);
	spr_answers_foresee(env->config->answers, *key);
	return (true);
}

/* False when it is a copy, which is dealt with here. */
static bool
claim(spr_document_env *env, const spr_document *document, spr_notification *notification)
{
	spr_answer_key key;

	if (notification->upstream == SPR_UPSTREAM_NONE)
		return (true);
	key = env->key != NULL
		  ? *env->key
		  : key_of(env, notification->id, notification->id_len, notification->upstream);
	switch (spr_answers_claim(env->config->answers, &env->answers, key, &notification->entry)) {
	case SPR_CLAIM_NEW:
		return (true);
	case SPR_CLAIM_RESUMED:
		resume(env, notification);
		return (true);
	case SPR_CLAIM_IN_FLIGHT:
		spr_count(SPR_C_DUPLICATES_IN_FLIGHT);
		spr_notification_give_back(env->config->notifications, notification);
		return (false);
	case SPR_CLAIM_ACKED:
		spr_count(SPR_C_DUPLICATES_ACKED);
		answer(env, SPREADER_REASON_NONE, document, notification);
		return (false);
	}
	return (false);
}

static spr_err
normalise(spr_document_env *env, const spr_document *document)
{
	spr_range text = document->predicate;
	uint8_t *grown;
	bool has_lone_surrogate = false;

	if (document->predicate_is_escaped) {
		if (text.len > env->text_capacity) {
			if ((grown = spr_mem_realloc(env->text, text.len)) == NULL)
				return (SPR_E_NOMEM);
			env->text = grown;
			env->text_capacity = text.len;
		}
		/* never longer than its source */
		text.len =
		    spr_scan_decode(text, env->text, env->text_capacity, &has_lone_surrogate);
		text.at = env->text;
	}
	return (spr_predicate_normalise(&env->predicate, (const char *)text.at, text.len));
}

/* Who is told; NONE when fanout->matches has them. */
static spreader_reason
resolve(spr_document_env *env, const spr_document *document, spr_fanout *fanout)
{
	const spr_dispatch_config *config = env->config;
	spr_matches *matches = &fanout->matches;
	spr_err rv;

	if (document->reason != SPREADER_REASON_NONE)
		return (document->reason);
	if (env->gives_up)
		return (SPREADER_REASON_SHUTTING_DOWN);
	if (document->whole.len > config->max_notification)
		return (SPREADER_REASON_TOO_LARGE);
	if ((rv = normalise(env, document)) != SPR_OK)
		return (rv == SPR_E_NOMEM ? SPREADER_REASON_OVERLOAD
					  : SPREADER_REASON_BAD_PREDICATE);
	rv = spr_subscriptions_look_up(config->subscriptions, &env->predicate, env->now_s,
				       config->max_fanout, matches);
	if (rv != SPR_OK)
		return (SPREADER_REASON_OVERLOAD);
	spr_count_add(SPR_C_SUPPRESSED_EXPIRED, matches->suppressed_expired);
	spr_count_add(SPR_C_SUPPRESSED_DUPLICATE, matches->suppressed_duplicate);
	if (matches->n == 0)
		return (SPREADER_REASON_NONE);
	rv = spr_fanout_set_payload(fanout, document, config->message_as_string,
				    config->on_one_line, config->max_job);
	if (rv == SPR_OK && spr_fanout_longest_job(fanout) + config->job_id_len <= config->max_job)
		return (SPREADER_REASON_NONE);
	spr_matches_drop_from(config->subscriptions, matches, 0);
	return (rv == SPR_E_NOMEM ? SPREADER_REASON_OVERLOAD : SPREADER_REASON_TOO_LARGE);
}

static void
answer_no_subscribers(spr_document_env *env, const spr_document *document,
		      spr_notification *notification)
{
	spreader_reason reason = SPREADER_REASON_NONE;

	if (env->config->no_subscribers == SPR_IF_NOBODY_NACK)
		reason = SPREADER_REASON_NO_SUBSCRIBERS;
	else if (env->config->no_subscribers == SPR_IF_NOBODY_DEAD_LETTER)
		dead_letter(env, SPREADER_REASON_NO_SUBSCRIBERS, document, notification);
	answer(env, reason, document, notification);
}

bool
spr_document_resolve(spr_document_env *env, const spr_document *document,
		     spr_notification *notification, spr_fanout *fanout)
{
	spreader_reason reason = document->reason;

	spr_count(SPR_C_NOTIFICATIONS);
	notification->id_len = 0;
	if (reason == SPREADER_REASON_NOT_JSON || reason == SPREADER_REASON_NO_ID) {
		reject(env, reason, document, notification);
		return (false);
	}
	if (!identify(env, document, notification, &fanout->source)) {
		reject(env, SPREADER_REASON_NO_ID, document, notification);
		return (false);
	}
	if (!claim(env, document, notification))
		return (false);
	if ((reason = resolve(env, document, fanout)) != SPREADER_REASON_NONE) {
		answer(env, reason, document, notification);
		return (false);
	}
	if (fanout->matches.n == 0) {
		answer_no_subscribers(env, document, notification);
		return (false);
	}
	spr_histogram_add(SPR_H_MATCHED, fanout->matches.n);
	spr_histogram_add(SPR_H_PAYLOAD, fanout->payload.len);
	fanout->notification = notification;
	fanout->document = document->whole;
	if (!spr_fanout_open(fanout, env->fanouts)) {
		spr_matches_drop_from(env->config->subscriptions, &fanout->matches, 0);
		answer(env, SPREADER_REASON_OVERLOAD, document, notification);
		return (false);
	}
	return (true);
}

void
spr_document_env_fini(spr_document_env *env)
{
	spr_mem_free(env->text);
	env->text = NULL;
}
