/*
 * upstream - one named upstream of the ledger: its REQ socket, what waits for it, what is out, what is to be retried.
 * Private to the ledger.
 *
 * Threads     the ledger alone; what replies and pipe events bring crosses by E2 and the ledger's wake-up (E3)
 *
 *            add                 send                     accepted
 *   (new) --------> fresh ---------------> out (a slot) ------------> done list, for the ledger to free
 *                                            ^      |
 *                                            |      | refused (halved from the second time), no reply
 *                                       due  |      v
 *                                          retry list of its delay ---- lone id refused too often ----> given up
 */
#pragma once

#include "base/stack.h"
#include "net/net.h"
#include "path/answer_text.h"
#include "path/answers.h"
#include "path/notification.h"

#define SPR_RETRY_LEVELS 8 /* 100 ms doubling to 10 s */
#define SPR_RETRY_MIN_MS 100
#define SPR_RETRY_MAX    100 /* times the first delay */
#define SPR_REFUSALS_MAX 10
#define SPR_ACK_PACE_NS  UINT64_C(1000000)

/* A queue of notifications linked by next. */
typedef struct spr_chain {
	spr_notification *head;
	spr_notification *tail;
	unsigned n;
} spr_chain;

typedef struct spr_upstream spr_upstream;

/* One request in flight. */
typedef struct spr_answer_slot {
	spr_stack_entry replied; /* in the mailbox of replies */
	spr_upstream *upstream;
	spr_notification *batch; /* NULL: free, unless is_working */
	bool is_working;         /* names ids that are worked on; nothing follows from its reply */
	spr_err result;          /* [nng-cb], read behind E2 */
	bool accepted;           /* [nng-cb], read behind E2 */
} spr_answer_slot;

struct spr_upstream {
	/* constant after init */
	char *name;
	const spr_transport *transport;
	spr_req *req;
	unsigned window;
	unsigned batch;
	unsigned retry_min_ms; /* the first delay; SPR_RETRY_MIN_MS but in tests */
	spr_answers *answers;
	spr_stack *replies;      /* the ledger's mailbox */
	void (*wake)(void *arg); /* [nng-cb] */
	void *wake_arg;

	/* written by nng's threads */
	atomic_bool reconnected; /* a peer came: what had no reply is due now */

	/* written by the ledger */
	spr_answer_slot *slots;
	unsigned n_out;
	spr_chain fresh;
	spr_chain taken_in; /* what spr_upstream_take_in() was given, newest last; not yet fresh */
	spr_notification *last[SPR_RECORDS_AHEAD]; /* of those, in turn */
	/* of batch heads, linked by next_batch, oldest first; behind the levels: due since a peer came */
	spr_chain retry[SPR_RETRY_LEVELS + 1];
	unsigned n_retry;
	uint64_t last_send_ns;
	spr_chain working; /* to be named; only within one look at the deadlines */
};

/* [main] The caller has set transport, answers, replies, wake, wake_arg and retry_min_ms, the rest is zero. fini accepts what it leaves. */
spr_err spr_upstream_init(spr_upstream *upstream, const char *name, unsigned window, unsigned batch,
			  unsigned timeout_ms);
void spr_upstream_fini(spr_upstream *upstream);

/* Queues one notification. */
void spr_upstream_add(spr_upstream *upstream, spr_notification *notification);
/* The same for many, the newest first; they are queued with spr_upstream_end_taking(). */
void spr_upstream_take_in(spr_upstream *upstream, spr_notification *notification);
void spr_upstream_end_taking(spr_upstream *upstream);
/* Sends what is due; returns the requests sent. *wake_at_ns becomes the earliest time something is
 * due (0: none). */
unsigned spr_upstream_send(spr_upstream *upstream, const char *instance, spr_text *text,
			   uint64_t now_ns, uint64_t *wake_at_ns);
/*
 * Another id that is worked on, in flight and not complete: full requests go at once, the last one by
 * spr_upstream_send_working(). Never sent again: an id that lasts is named again by and by. False: nobody is there, or no slot
 * is free but one for answers.
 */
bool spr_upstream_add_working(spr_upstream *upstream, spr_notification *notification,
			      const char *instance, spr_text *text);
void spr_upstream_send_working(spr_upstream *upstream, const char *instance, spr_text *text);
/*
 * Takes a reply in. Accepted: returns the batch, its notifications are the caller's to free. Else
 * the batch goes to a retry list and NULL is returned, or, when a lone id was refused for the last
 * time, that id is returned in *given_up.
 */
spr_notification *
spr_upstream_replied(spr_answer_slot *slot, uint64_t now_ns, spr_notification **given_up);
