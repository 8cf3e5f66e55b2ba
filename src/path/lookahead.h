/*
 * lookahead - what a dispatcher reads: the documents of its messages in turn, each scanned SPR_LOOKAHEAD documents before its
 * own turn, in its message or the next, so that what its claim looks at is in the cache by then.
 *
 *   ring --spr_intake_pop--> message --scan--> documents ahead --spr_lookahead_first, _pass--> dispatcher
 *
 * Writer      one dispatcher
 * Reader      as the writer
 * Ownership   a popped message is the lookahead's, and is finished when its last document is passed; who keeps a document longer
 *             holds its message
 * Ordering    E1 (ring)
 * Progress    never waits
 * Limits      SPR_LOOKAHEAD + 1 messages: of the document whose turn it is, and of those ahead
 * Teardown    fini gives back what was popped
 */
#pragma once

#include "path/document.h"
#include "path/intake.h"

#define SPR_LOOKAHEAD 2 /* documents */

/* A document whose turn will come. */
typedef struct spr_ahead {
	spr_document document;
	spr_buf *message; /* it is of */
	bool is_nothing;  /* only white space was left of the message: there is no document */
	bool is_first;    /* of its message */
	bool is_last;
	bool has_key; /* see spr_document_foresee() */
	spr_answer_key key;
} spr_ahead;

/* {0} is empty. */
typedef struct spr_lookahead {
	spr_ahead ahead[SPR_LOOKAHEAD + 1]; /* in turn, from first on */
	unsigned first, n;
	spr_buf *message; /* being scanned; NULL: the next one is to be popped */
	size_t at;        /* bytes of it that are scanned */
} spr_lookahead;

/* [dispatcher, whose env it is] The document whose turn it is, NULL when there is none; it stays until it is passed. */
spr_ahead *spr_lookahead_first(spr_lookahead *lookahead, const spr_document_env *env);
/* [dispatcher] That one has been worked on: behind its last document the message is finished. */
void spr_lookahead_pass(spr_lookahead *lookahead, spr_intake *intake);
/* [dispatcher] Nothing was popped that is not passed. */
static inline bool
spr_lookahead_is_empty(const spr_lookahead *lookahead)
{
	return (lookahead->n == 0 && lookahead->message == NULL);
}
/* [main, when nobody reads any more] */
void spr_lookahead_fini(spr_lookahead *lookahead);
