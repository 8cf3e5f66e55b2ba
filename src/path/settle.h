/*
 * settle - what becomes of an id, of its jobs and of their credits once its answer was accepted. Private to the ledger.
 *
 *   acked, given up, a nack without retry, overload      the jobs are forgotten, all credits given back
 *   another nack                                         the jobs stay with the id, for its next attempt, and so do their credits
 *
 * An overload remembers nothing, so that it makes the room that it lacked.
 *
 * Threads     the ledger alone; credits are given back to dispatchers (E11)
 */
#pragma once

#include "path/answers.h"
#include "path/jobs.h"
#include "path/notification.h"

/* What it works on; constant. */
typedef struct spr_settle_env {
	spr_answers *answers;
	spr_jobs *jobs; /* NULL unless receipts are awaited */
	unsigned max_jobs;
	const spr_waiters *dispatchers;
} spr_settle_env;

/* The answer was accepted: the entry moves on. True: a copy came since it was sent, so it is owed once more, without an entry. */
bool spr_settle_accepted(const spr_settle_env *env, spr_notification *notification);
/* Upstream never accepted it. */
void spr_settle_given_up(const spr_settle_env *env, spr_notification *notification);
/* Forgets the jobs of nacked ids, oldest first, until there are credits for n jobs; dispatchers that wait know when there are. */
void spr_settle_make_room(const spr_settle_env *env, uint32_t n);
