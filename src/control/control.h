/*
 * control - the two control threads and the way a request takes through them.
 *
 *   any thread --submit--> [mailbox] --> control-read --- READ verbs ---------------------> reply
 *                                              \--- WRITE verbs --> [mailbox] --> control --> reply
 *
 * control-read parses every request and runs what only reads. control is the only writer of the
 * store and of the subscriptions: it takes everything that waits into one transaction, commits,
 * publishes, replies; and it sweeps.
 *
 * Writer      any thread: spr_control_submit()
 * Reader      the two agents
 * Ownership   submit borrows the request's bytes until the reply; reply borrows its text
 * Ordering    E2: the request's bytes are visible to the agents; a reply comes after the commit and
 *             the publish of what it answers
 * Progress    submit is lock-free and never waits; a reply to a read never waits for a commit
 * Limits      SPR_CONTROL_GROUP requests, about SPR_IMPORT_MAX changes of imports and as many of small requests
 *             a transaction: none waits for more than what is under way, or an import for one group more; whoever
 *             submits bounds how many wait
 * Teardown    submitters stopped, spr_control_stop() (all is answered then), spr_control_free()
 */
#pragma once

#include <stdint.h>

#include "base/agent.h"
#include "control/verbs.h"

#define SPR_CONTROL_GROUP 256

typedef struct spr_control spr_control;

/* [control, or whoever stops] Exactly once per submitted request; must not wait. */
typedef void (*spr_control_reply)(void *arg, const char *text, size_t len);

/* [main] env must outlive it. */
spr_err spr_control_new(spr_control **out, spr_control_env *env);
/* [main] */
spr_err spr_control_start(spr_control *control);
/* [any] From now on changes are answered shutting_down; reads still work. */
void spr_control_drain(spr_control *control);
/* [main] Ends both threads; every request is answered when it returns. Fine when never started. */
void spr_control_stop(spr_control *control);
/* [main] NULL is fine. */
void spr_control_free(spr_control *control);

/* [any] Never waits, and may call reply before it returns (out of memory). data stays valid until
 * the reply. */
void spr_control_submit(spr_control *control, const uint8_t *data, size_t len,
			spr_control_reply reply, void *arg);

/* [the agents, or a test without threads] One bounded turn; what was done, 0 = idle. */
unsigned spr_control_read_turn(spr_control *control);
unsigned spr_control_write_turn(spr_control *control);
/* [any] When each agent last came round and its worst turn, for the watchdog. */
const spr_agent *spr_control_agent(const spr_control *control, spr_verb_kind kind);
