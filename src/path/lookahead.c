/*
 * lookahead - documents in turn, scanned before it.
 *
 * Three documents are under way at once: when the first is worked on, the bucket of the second's id has come into the cache, so
 * that the entries which its claim looks at can be asked for, and the bucket of the third is asked for. Each of the two takes as long as a
 * document does, and nobody waits for it.
 */
#include "path/lookahead.h"

#include "path/dispatch.h"

static spr_ahead *
ahead_at(spr_lookahead *self, unsigned i)
{
	return (&self->ahead[(self->first + i) % (SPR_LOOKAHEAD + 1)]);
}

/* A message to scan; false when there is none. */
static bool
has_message(spr_lookahead *self, const spr_document_env *env)
{
	if (self->message != NULL)
		return (true);
	self->message = spr_intake_pop(env->config->intake, env->fanouts->number);
	self->at = 0;
	return (self->message != NULL);
}

/* The next document of the message behind the others. */
static void
scan(spr_lookahead *self, const spr_document_env *env)
{
	const uint8_t *at = self->message->data + self->at;
	spr_ahead *ahead = ahead_at(self, self->n++);
	spr_document *document = &ahead->document;
	size_t used =
	    spr_scan_document(at, self->message->len - self->at, env->config->format, document);

	ahead->message = self->message;
	ahead->has_key = false;
	ahead->is_nothing = used == 0;
	ahead->is_first = self->at == 0;
	self->at += used;
	ahead->is_last = used == 0 || self->at >= self->message->len;
	if (ahead->is_last)
		self->message = NULL;
	if (ahead->is_nothing)
		return;
	if (document->reason == SPREADER_REASON_NOT_JSON) /* what was passed over is what is kept */
		*document = (spr_document){.reason = document->reason, .whole = {at, used}};
	ahead->has_key = spr_document_foresee(env, document, &ahead->key);
}

spr_ahead *
spr_lookahead_first(spr_lookahead *self, const spr_document_env *env)
{
	const spr_ahead *second;

	if (self->n >= 2 && (second = ahead_at(self, 1))->has_key)
		spr_answers_foresee_claim(env->config->answers, &env->answers, second->key);
	while (self->n <= SPR_LOOKAHEAD && has_message(self, env))
		scan(self, env);
	return (self->n > 0 ? ahead_at(self, 0) : NULL);
}

void
spr_lookahead_pass(spr_lookahead *self, spr_intake *intake)
{
	const spr_ahead *passed = ahead_at(self, 0);

	self->first = (self->first + 1) % (SPR_LOOKAHEAD + 1);
	self->n--;
	if (passed->is_last)
		spr_intake_finish(intake, passed->message);
}

void
spr_lookahead_fini(spr_lookahead *self)
{
	for (; self->n > 0; self->n--) {
		if (ahead_at(self, self->n - 1)->is_last)
			spr_buf_drop(ahead_at(self, self->n - 1)->message);
	}
	if (self->message != NULL)
		spr_buf_drop(self->message);
	self->message = NULL;
}
