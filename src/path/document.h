/*
 * document - from one scanned document to what becomes of it: a fan-out, an answer, or a rejection.
 *
 * Writer      one dispatcher
 * Reader      as the writer
 * Ownership   the notification is taken in: it is in the fan-out, with the ledger, or given back when the call returns
 * Ordering    E4 (the caller's epoch section), E9 (claim), E12
 * Progress    never waits
 * Limits      as in the dispatch config
 * Teardown    spr_document_env_fini()
 */
#pragma once

#include "path/answers.h"
#include "path/fanout.h"

typedef struct spr_dispatch_config spr_dispatch_config;

/* A dispatcher's working space for documents. */
typedef struct spr_document_env {
	const spr_dispatch_config *config;
	const spr_fanout_env *fanouts;
	spr_epoch_record *record;
	int64_t now_s;        /* wall clock of this turn */
	const spr_peer *peer; /* who sent the message */
	bool gives_up;        /* nothing new is posted: nack shutting_down */
	const spr_answer_key *
	    key; /* of the document that is resolved next, from spr_document_foresee(); NULL: not known */
	spr_answer_stock answers;
	spr_predicate predicate;
	uint8_t *text; /* for predicates written with escapes */
	size_t text_capacity;
} spr_document_env;

/*
 * [dispatcher] The document will be resolved soon, after another one: what that will wait for is on its way into the cache. True: *key
 * is that of its id.
 */
bool spr_document_foresee(const spr_document_env *env, const spr_document *document,
			  spr_answer_key *key);
/*
 * [dispatcher, inside a section of its record] True: fanout holds the notification, and has its callbacks, not held, opened, to be
 * posted; its message is the caller's to fill in. False: the notification was answered, rejected, or is
 * a copy; the fanout is untouched but for scratch.
 */
bool spr_document_resolve(spr_document_env *env, const spr_document *document,
			  spr_notification *notification, spr_fanout *fanout);
/* [dispatcher] */
void spr_document_env_fini(spr_document_env *env);
