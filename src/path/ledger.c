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
#include "base/sync.h"
#include "path/deadlines.h"
#include "path/settle.h"
#include "path/upstream.h"

#define MAX_UPSTREAMS 64

/* Between two looks at the deadlines. */
#define LOOK_MIN_NS (10 * SPR_NS_PER_MS)
#define LOOK_MAX_NS (250 * SPR_NS_PER_MS)
#define WORKING_NS  (10 * SPR_NS_PER_S)

#define ENTRIES_AHEAD 4 /* of those that are settled */

struct spr_ledger {
	/* constant after start */
	spr_ledger_config config;
	spr_agent agent;
	spr_intake *intake;
	spr_upstream upstreams[MAX_UPSTREAMS];
	unsigned n_upstreams;
	spr_deadlines *deadlines; /* NULL without upstreams */
	spr_settle_env settle;

	/* written by whoever completes */
	spr_stack completed;
	spr_stack replies;
	/* written by main and by pipe events */
	atomic_bool gives_up;
	atomic_bool must_look;

	/* written by the ledger, read for each notification or batch of them */
	_Alignas(SPR_CACHELINE) atomic_bool is_napping;
	atomic_bool is_watching; /* it looks at the deadlines by itself */

	/* written by the ledger */
	_Alignas(SPR_CACHELINE) uint64_t looked_ns;
	uint64_t look_at_ns;
	spr_text text;
};

static const spr_counter nack_counters[SPREADER_N_REASONS] = {
    [SPREADER_REASON_NO_PREDICATE] = SPR_C_NACKED_NO_PREDICATE,
    [SPREADER_REASON_BAD_PREDICATE] = SPR_C_NACKED_BAD_PREDICATE,
    [SPREADER_REASON_TOO_LARGE] = SPR_C_NACKED_TOO_LARGE,
    [SPREADER_REASON_OVERLOAD] = SPR_C_NACKED_OVERLOAD,
    [SPREADER_REASON_PUSH_FAILED] = SPR_C_NACKED_PUSH_FAILED,
    [SPREADER_REASON_RECEIPT_TIMEOUT] = SPR_C_NACKED_RECEIPT_TIMEOUT,
    [SPREADER_REASON_RECEIPT_ERROR] = SPR_C_NACKED_RECEIPT_ERROR,
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

static void
note_times(const spr_ledger *ledger, spr_notification *notification, uint64_t now_ns)
{
	if (notification->n_jobs > 0)
		spr_histogram_add(ledger->config.jobs != NULL ? SPR_H_STAGE_CONFIRM
							      : SPR_H_STAGE_PUSH,
				  now_ns - notification->stage_ns);
	notification->stage_ns = now_ns;
	if (notification->upstream == SPR_UPSTREAM_NONE)
		spr_histogram_add(SPR_H_NOTIFICATION,
				  now_ns - spr_notification_received_ns(notification));
}

/* The ledger goes from the newest to the oldest. */
static void
add_completed(spr_ledger *ledger, spr_completed *completed, spr_notification *notification)
{
	uint32_t *last = &completed->last[completed->chain.n % SPR_RECORDS_AHEAD];

	notification->ahead = *last;
	*last = (uint32_t)(notification - ledger->config.notifications->slab) + 1;
	spr_stack_chain_add(&completed->chain, &notification->link);
}

void
spr_ledger_gather(spr_ledger *ledger, spr_completed *completed, spr_notification *notification)
{
	if (completed->now_ns == 0)
		completed->now_ns = spr_clock_now_ns();
	/* a copy that is acked again was counted the first time */
	if (notification->entry != SPR_ANSWER_NONE || notification->upstream == SPR_UPSTREAM_NONE) {
		count_outcome(notification);
		note_times(ledger, notification, completed->now_ns);
	}
	if (notification->upstream == SPR_UPSTREAM_NONE)
		end_unanswered(ledger, notification);
	else
		add_completed(ledger, completed, notification);
}

void
spr_ledger_hand_over(spr_ledger *ledger, const spr_completed *completed)
{
	if (completed->chain.n == 0)
		return;
	/* E2; a locked instruction: before the read below */
	spr_mailbox_push_chain(&ledger->completed, &completed->chain);
	/* E14 acquire: pairs with the ledger clearing the mark before it looks into the mailbox */
	if (!atomic_load_explicit(&ledger->is_napping, memory_order_seq_cst))
		spr_agent_wake(&ledger->agent);
}

void
spr_ledger_complete(spr_ledger *ledger, spr_notification *notification)
{
	spr_completed completed = {0};

	spr_ledger_gather(ledger, &completed, notification);
	spr_ledger_hand_over(ledger, &completed);
}

void
spr_ledger_opened(spr_ledger *ledger, const spr_notification *notification)
{
	if (ledger->deadlines == NULL)
		return;
	spr_deadlines_open(ledger->deadlines, notification);
	/* E11: the record was taken (a locked instruction), then this; see stop_watching() */
	if (!atomic_load_explicit(&ledger->is_watching, memory_order_seq_cst))
		spr_agent_wake(&ledger->agent);
}

void
spr_ledger_touch(spr_ledger *ledger, const spr_notification *notification, uint64_t now_ns)
{
	spr_deadlines_touch(ledger->deadlines, notification, now_ns);
}

/* Relaxed marks: the wake-up orders them (E3). */
static void
look_now(spr_ledger *ledger)
{
	atomic_store_explicit(&ledger->must_look, true, memory_order_relaxed /* as above */);
	spr_agent_wake(&ledger->agent);
}

void
spr_ledger_worker_left(spr_ledger *ledger)
{
	if (ledger->config.jobs == NULL || ledger->deadlines == NULL)
		return;
	spr_deadlines_worker_left(ledger->deadlines);
	look_now(ledger);
}

void
spr_ledger_look_at_line(spr_ledger *ledger)
{
	spr_agent_wake(&ledger->agent); /* E3: the line as it is now */
}

void
spr_ledger_give_up(spr_ledger *ledger)
{
	atomic_store_explicit(&ledger->gives_up, true, memory_order_relaxed /* see look_now() */);
	look_now(ledger);
}

static unsigned
take_completed(spr_ledger *ledger)
{
	spr_stack_entry *entry = spr_mailbox_pop_newest_first(&ledger->completed);
	spr_stack_entry *next;
	unsigned n = 0;

	for (; entry != NULL; entry = next, n++) {
		spr_notification *notification = SPR_STACK_CONTAINER(entry, spr_notification, link);

		next = spr_stack_next(entry);
		if (notification->ahead != 0)
			spr_notification_prefetch(
			    &ledger->config.notifications->slab[notification->ahead - 1]);
		SPR_CRASH_POINT("before-ack");
		spr_deadlines_close(ledger->deadlines, notification);
		spr_upstream_take_in(&ledger->upstreams[notification->upstream], notification);
	}
	for (unsigned i = 0; n > 0 && i < ledger->n_upstreams; i++)
		spr_upstream_end_taking(&ledger->upstreams[i]);
	return (n);
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

/* It is met ENTRIES_AHEAD records later, and the one that is fetched now SPR_RECORDS_AHEAD behind it. */
static spr_notification *
foresee(const spr_ledger *ledger, const spr_notification *near)
{
	if (near->later != NULL)
		spr_notification_prefetch(near->later);
	if (near->entry != SPR_ANSWER_NONE)
		spr_answers_prefetch(ledger->config.answers, near->entry);
	return (near->next);
}

/*
 * The upstream has accepted: the records go back. A copy that came after the answer had been sent may
 * have been sent after upstream had seen it; so that it is not left without one, the answer goes out
 * once more.
 */
static void
free_accepted(spr_ledger *ledger, spr_notification *chain, uint64_t now_ns)
{
	spr_notification *next, *near = chain;
	spr_notification_chains freed = {0};

	for (unsigned i = 0; i < ENTRIES_AHEAD && near != NULL; i++)
		near = foresee(ledger, near);
	for (; chain != NULL; chain = next) {
		next = chain->next;
		if (near != NULL)
			near = foresee(ledger, near);
		spr_count(SPR_C_ANSWERS_ACCEPTED);
		note_accepted(chain, now_ns);
		if (spr_settle_accepted(&ledger->settle, chain))
			spr_upstream_add(&ledger->upstreams[chain->upstream], chain);
		else
			spr_notification_add_free(&freed, chain);
	}
	spr_notifications_give_back(ledger->config.notifications, &freed);
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
	spr_settle_given_up(&ledger->settle, notification);
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

static void
on_complete(void *arg, spr_notification *notification)
{
	spr_ledger_complete(arg, notification);
}

static bool
on_working(void *arg, spr_notification *notification)
{
	spr_ledger *ledger = arg;

	return (spr_upstream_add_working(&ledger->upstreams[notification->upstream], notification,
					 ledger->config.instance, &ledger->text));
}

/*
 * Nothing is in flight: no more looks, until a dispatcher that opens something wakes us. A mark and a second look, against
 * its taking a record and looking at the mark (E11). True: it has stopped.
 */
static bool
stop_watching(spr_ledger *ledger)
{
	if (spr_notifications_in_flight(ledger->config.notifications) > 0)
		return (false);
	atomic_store_explicit(&ledger->is_watching, false, memory_order_seq_cst);
	SPR_FULL_FENCE(); /* E11: as above */
	return (spr_notifications_in_flight(ledger->config.notifications) == 0);
}

/* Looks at the deadlines if it is time. When the next look is to be; 0: not before something happens. */
static uint64_t
watch(spr_ledger *ledger, uint64_t now_ns)
{
	const spr_deadlines_found found = {on_complete, on_working, ledger};
	/* relaxed, both: the wake-up orders them (E3) */
	bool gives_up = atomic_load_explicit(&ledger->gives_up, memory_order_relaxed);
	uint64_t due_ns;

	if (atomic_exchange_explicit(&ledger->must_look, false,
				     memory_order_relaxed /* as above */))
		ledger->look_at_ns = ledger->looked_ns + LOOK_MIN_NS;
	if (now_ns < ledger->look_at_ns)
		return (ledger->look_at_ns);
	if (stop_watching(ledger))
		return (0);
	atomic_store_explicit(&ledger->is_watching, true,
			      memory_order_relaxed /* a late reader wakes in vain */);
	due_ns = spr_deadlines_look(ledger->deadlines, now_ns, gives_up, &found);
	for (unsigned i = 0; i < ledger->n_upstreams; i++)
		spr_upstream_send_working(&ledger->upstreams[i], ledger->config.instance,
					  &ledger->text);
	ledger->looked_ns = now_ns;
	ledger->look_at_ns = now_ns + LOOK_MAX_NS;
	if (gives_up || (due_ns != 0 && due_ns < now_ns + LOOK_MIN_NS))
		ledger->look_at_ns = now_ns + LOOK_MIN_NS;
	else if (due_ns != 0 && due_ns < ledger->look_at_ns)
		ledger->look_at_ns = due_ns;
	return (ledger->look_at_ns);
}

/* The first in line for credits: what is remembered makes room for what is to be done. */
static void
make_room(spr_ledger *ledger)
{
	uint32_t n = 0;

	if (ledger->config.jobs != NULL)
		n = spr_credits_wanted(spr_jobs_credits(ledger->config.jobs));
	if (n > 0)
		spr_settle_make_room(&ledger->settle, n);
}

static void
wake_by(spr_ledger *ledger, uint64_t at_ns)
{
	if (at_ns != 0 && (ledger->agent.wake_at_ns == 0 || at_ns < ledger->agent.wake_at_ns))
		ledger->agent.wake_at_ns = at_ns;
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
	make_room(ledger);
	wake_by(ledger, watch(ledger, now_ns));
	for (unsigned i = 0; i < ledger->n_upstreams; i++) {
		uint64_t at = 0;

		n += spr_upstream_send(&ledger->upstreams[i], ledger->config.instance,
				       &ledger->text, now_ns, &at);
		wake_by(ledger, at);
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
	spr_deadlines_config deadlines = {
	    .notifications = config->notifications,
	    .jobs = config->jobs,
	    .timeout_ns = config->receipt_timeout_ns,
	    .grace_ns = config->receipt_grace_ns,
	    .working_ns = config->working_ns != 0 ? config->working_ns : WORKING_NS,
	};
	spr_err rv;

	if (ledger == NULL)
		return (SPR_E_NOMEM);
	ledger->config = *config;
	ledger->settle = (spr_settle_env){config->answers, config->jobs, config->max_jobs,
					  config->notifications->waiters};
	if (config->answers != NULL &&
	    (rv = spr_deadlines_new(&ledger->deadlines, &deadlines)) != SPR_OK) {
		spr_mem_free(ledger);
		return (rv);
	}
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
	spr_deadlines_free(ledger->deadlines);
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
