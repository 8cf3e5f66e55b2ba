/*
 * ledger - the thread that answers.
 *
 * A turn: take what was completed, take what was replied, send what is due, sleep until something
 * of the three happens. While it holds fresh answers back for the pace, completions do not wake it:
 * it is "napping" and will look by itself within a millisecond, so a busy daemon pays no wake-up a
 * notification.
 */
#include "path/ledger.h"

#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/crash_point.h"
#include "base/log.h"
#include "path/upstream.h"

#define MAX_UPSTREAMS 64

struct spr_ledger {
	/* constant after start */
	spr_ledger_config config;
	spr_agent agent;
	spr_intake *intake;
	spr_upstream upstreams[MAX_UPSTREAMS];
	unsigned n_upstreams;

	/* written by whoever completes */
	spr_stack completed;
	spr_stack replies;

	/* written by the ledger */
	_Alignas(SPR_CACHELINE) atomic_bool is_napping;
	spr_text text;
};

static const spr_counter nack_counters[SPREADER_N_REASONS] = {
    [SPREADER_REASON_NO_PREDICATE] = SPR_C_NACKED_NO_PREDICATE,
    [SPREADER_REASON_BAD_PREDICATE] = SPR_C_NACKED_BAD_PREDICATE,
    [SPREADER_REASON_TOO_LARGE] = SPR_C_NACKED_TOO_LARGE,
    [SPREADER_REASON_OVERLOAD] = SPR_C_NACKED_OVERLOAD,
    [SPREADER_REASON_PUSH_FAILED] = SPR_C_NACKED_PUSH_FAILED,
    [SPREADER_REASON_SHUTTING_DOWN] = SPR_C_NACKED_SHUTTING_DOWN,
    [SPREADER_REASON_NO_SUBSCRIBERS] = SPR_C_NACKED_NO_SUBSCRIBERS,
};

static void
count_outcome(const spr_notification *notification)
{
	spreader_reason reason = spr_notification_failure(notification);

	if (reason != SPREADER_REASON_NONE)
		spr_count(nack_counters[reason]);
	else
		spr_count(notification->n_jobs > 0 ? SPR_C_ACKED_DISPATCHED
						   : SPR_C_ACKED_NO_SUBSCRIBERS);
}

static void
wake_ledger(void *arg)
{
	spr_ledger *ledger = arg;

	spr_agent_wake(&ledger->agent);
}

/* Nobody can be told: what was not done is kept. */
static void
end_unanswered(spr_ledger *ledger, spr_notification *notification)
{
	spreader_reason reason = spr_notification_failure(notification);
	spr_range id = {notification->id, notification->id_len};

	if (notification->message != NULL) {
		if (reason != SPREADER_REASON_NONE)
			spr_dead_letter_write(ledger->config.dead_letter, reason,
					      &notification->message->peer, (spr_range){NULL, 0},
					      id, notification->document);
		spr_intake_finish(ledger->intake, notification->message);
	}
	spr_notification_give_back(ledger->config.notifications, notification);
}

void
spr_ledger_connect(spr_ledger *ledger, spr_intake *intake)
{
	ledger->intake = intake;
}

/* One clock read a notification. */
static void
note_times(spr_notification *notification)
{
	uint64_t now_ns = spr_clock_now_ns();

	if (notification->n_jobs > 0)
		spr_histogram_add(SPR_H_STAGE_PUSH, now_ns - notification->stage_ns);
	notification->stage_ns = now_ns;
	if (notification->upstream == SPR_UPSTREAM_NONE)
		spr_histogram_add(SPR_H_NOTIFICATION,
				  now_ns - spr_notification_received_ns(notification));
}

void
spr_ledger_complete(spr_ledger *ledger, spr_notification *notification)
{
	/* a copy that is acked again was counted the first time */
	if (notification->entry != SPR_ANSWER_NONE || notification->upstream == SPR_UPSTREAM_NONE) {
		count_outcome(notification);
		note_times(notification);
	}
	if (notification->upstream == SPR_UPSTREAM_NONE) {
		end_unanswered(ledger, notification);
		return;
	}
	spr_mailbox_push(&ledger->completed,
			 &notification->link); /* E2; a locked instruction: before the read below */
	/* E14 acquire: pairs with the ledger clearing the mark before it looks into the mailbox */
	if (!atomic_load_explicit(&ledger->is_napping, memory_order_seq_cst))
		spr_agent_wake(&ledger->agent);
}

static unsigned
take_completed(spr_ledger *ledger)
{
	spr_stack_entry *entry = spr_mailbox_pop_all(&ledger->completed);
	spr_stack_entry *next;
	unsigned n = 0;

	for (; entry != NULL; entry = next, n++) {
		spr_notification *notification = SPR_STACK_CONTAINER(entry, spr_notification, link);

		next = spr_stack_next(entry);
		SPR_CRASH_POINT("before-ack");
		spr_upstream_add(&ledger->upstreams[notification->upstream], notification);
	}
	return (n);
}

/* The id leaves the answer table, or stays there as acked. True: a copy came meanwhile. */
static bool
settle(spr_ledger *ledger, spr_notification *notification)
{
	uint32_t entry = notification->entry;

	notification->entry = SPR_ANSWER_NONE;
	if (entry == SPR_ANSWER_NONE)
		return (false);
	if (spr_notification_failure(notification) == SPREADER_REASON_NONE)
		return (spr_answers_acked(ledger->config.answers, entry));
	return (spr_answers_forget(ledger->config.answers, entry));
}

/* Copies have no entry. now_ns is the turn's, so it may be a little before the completion. */
static void
note_accepted(const spr_notification *notification, uint64_t now_ns)
{
	if (notification->entry == SPR_ANSWER_NONE || now_ns < notification->stage_ns)
		return;
	spr_histogram_add(SPR_H_STAGE_ACK, now_ns - notification->stage_ns);
	spr_histogram_add(SPR_H_NOTIFICATION, now_ns - spr_notification_received_ns(notification));
}

/*
 * The upstream has accepted: the records go back. A copy that came after the answer had been sent may
 * have been sent after upstream had seen it; so that it is not left without one, the answer goes out
 * once more.
 */
static void
free_accepted(spr_ledger *ledger, spr_notification *chain, uint64_t now_ns)
{
	spr_notification *next;

	for (; chain != NULL; chain = next) {
		next = chain->next;
		spr_count(SPR_C_ANSWERS_ACCEPTED);
		note_accepted(chain, now_ns);
		if (settle(ledger, chain))
			spr_upstream_add(&ledger->upstreams[chain->upstream], chain);
		else
			spr_notification_give_back(ledger->config.notifications, chain);
	}
}

static void
give_up(spr_ledger *ledger, const spr_upstream *upstream, spr_notification *notification)
{
	spr_range id = {notification->id, notification->id_len};
	spr_range from = {(const uint8_t *)upstream->name, strlen(upstream->name)};

	spr_warn("LEDGER-GIVEUP",
		 "upstream=\"%s\" refusals=%d why=\"upstream refused the answer to one id; see "
		 "dead letters\"",
		 upstream->name, SPR_REFUSALS_MAX);
	spr_dead_letter_write(ledger->config.dead_letter, SPREADER_REASON_REFUSED, NULL, from, id,
			      (spr_range){NULL, 0});
	if (notification->entry != SPR_ANSWER_NONE)
		(void)spr_answers_forget(ledger->config.answers, notification->entry);
	spr_notification_give_back(ledger->config.notifications, notification);
}

static unsigned
take_replies(spr_ledger *ledger, uint64_t now_ns)
{
	spr_stack_entry *entry = spr_mailbox_pop_all(&ledger->replies);
	spr_stack_entry *next;
	unsigned n = 0;

	for (; entry != NULL; entry = next, n++) {
		spr_answer_slot *slot = SPR_STACK_CONTAINER(entry, spr_answer_slot, replied);
		spr_notification *given_up = NULL;

		next = spr_stack_next(entry);
		free_accepted(ledger, spr_upstream_replied(slot, now_ns, &given_up), now_ns);
		if (given_up != NULL)
			give_up(ledger, slot->upstream, given_up);
	}
	return (n);
}

static unsigned
do_work(void *state)
{
	spr_ledger *ledger = state;
	uint64_t now_ns = spr_clock_now_ns();
	unsigned n;

	/* E14: cleared before the mailbox is looked into, so that what is pushed behind the look
	 * finds it clear */
	atomic_store_explicit(&ledger->is_napping, false, memory_order_seq_cst);
	n = take_completed(ledger) + take_replies(ledger, now_ns);
	for (unsigned i = 0; i < ledger->n_upstreams; i++) {
		uint64_t at = 0;

		n += spr_upstream_send(&ledger->upstreams[i], ledger->config.instance,
				       &ledger->text, now_ns, &at);
		if (at != 0 && (ledger->agent.wake_at_ns == 0 || at < ledger->agent.wake_at_ns))
			ledger->agent.wake_at_ns = at;
	}
	if (ledger->agent.wake_at_ns != 0 && ledger->agent.wake_at_ns <= now_ns + SPR_ACK_PACE_NS) {
		/* what completes from here on is seen when the pace is over; a reply still wakes */
		atomic_store_explicit(&ledger->is_napping, true, memory_order_seq_cst);
		return (0);
	}
	return (n);
}

spr_err
spr_ledger_new(spr_ledger **out, const spr_ledger_config *config)
{
	spr_ledger *ledger = spr_mem_zalloc_aligned(sizeof(*ledger));

	if (ledger == NULL)
		return (SPR_E_NOMEM);
	ledger->config = *config;
	spr_stack_init(&ledger->completed);
	spr_stack_init(&ledger->replies);
	ledger->agent = (spr_agent){
	    .name = "ledger", .role = SPR_ROLE_LEDGER, .do_work = do_work, .state = ledger};
	spr_agent_init(&ledger->agent);
	*out = ledger;
	return (SPR_OK);
}

static spr_err
get_upstream(spr_ledger *ledger, const char *name, const char *url, spr_upstream **out)
{
	const spr_ledger_config *config = &ledger->config;
	spr_upstream *self;
	spr_err rv;
	uint16_t number = spr_ledger_upstream(ledger, name, strlen(name));

	if (number != SPR_UPSTREAM_NONE) {
		*out = &ledger->upstreams[number];
		return (SPR_OK);
	}
	if (ledger->n_upstreams == MAX_UPSTREAMS)
		return (spr_fail(SPR_E_TOO_MANY, "ack upstream %s: at most %d names", name,
				 MAX_UPSTREAMS));
	self = &ledger->upstreams[ledger->n_upstreams++]; /* counted first: free must see a
							     half-made one */
	self->transport = spr_transport_for(url);         /* and for all its other URLs */
	self->answers = config->answers;
	self->replies = &ledger->replies;
	self->wake = wake_ledger;
	self->wake_arg = ledger;
	self->retry_min_ms = config->retry_min_ms != 0 ? config->retry_min_ms : SPR_RETRY_MIN_MS;
	if ((rv = spr_upstream_init(self, name, config->window, config->batch,
				    config->timeout_ms)) != SPR_OK)
		return (rv);
	*out = self;
	return (SPR_OK);
}

spr_err
spr_ledger_listen(spr_ledger *ledger, const char *name, const char *url, char *bound)
{
	spr_upstream *self;
	spr_err rv = get_upstream(ledger, name, url, &self);

	return (rv != SPR_OK ? rv : self->transport->req_listen(self->req, url, bound));
}

spr_err
spr_ledger_dial(spr_ledger *ledger, const char *name, const char *url)
{
	spr_upstream *self;
	spr_err rv = get_upstream(ledger, name, url, &self);

	return (rv != SPR_OK ? rv : self->transport->req_dial(self->req, url));
}

uint16_t
spr_ledger_upstream(const spr_ledger *ledger, const char *name, size_t len)
{
	for (unsigned i = 0; i < ledger->n_upstreams; i++) {
		const char *known = ledger->upstreams[i].name;

		if (known != NULL && strlen(known) == len && memcmp(known, name, len) == 0)
			return ((uint16_t)i);
	}
	return (SPR_UPSTREAM_NONE);
}

bool
spr_ledger_has_upstreams(const spr_ledger *ledger)
{
	return (ledger->n_upstreams > 0);
}

spr_err
spr_ledger_start(spr_ledger *ledger)
{
	return (ledger->n_upstreams > 0 ? spr_agent_start(&ledger->agent) : SPR_OK);
}

void
spr_ledger_stop(spr_ledger *ledger)
{
	spr_agent_stop(&ledger->agent);
	for (unsigned i = 0; i < ledger->n_upstreams; i++) {
		const spr_upstream *self = &ledger->upstreams[i];

		if (self->req != NULL)
			self->transport->req_stop(self->req);
	}
}

void
spr_ledger_free(spr_ledger *ledger)
{
	if (ledger == NULL)
		return;
	for (unsigned i = 0; i < ledger->n_upstreams; i++)
		spr_upstream_fini(&ledger->upstreams[i]);
	spr_text_fini(&ledger->text);
	spr_mem_free(ledger);
}

bool
spr_ledger_is_alive(const spr_ledger *ledger, uint64_t now_ns, uint64_t limit_ns)
{
	return (spr_agent_is_alive(&ledger->agent, now_ns, limit_ns));
}

unsigned
spr_ledger_peers(const spr_ledger *ledger)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ledger->n_upstreams; i++)
		n += ledger->upstreams[i].transport->req_peers(ledger->upstreams[i].req);
	return (n);
}
