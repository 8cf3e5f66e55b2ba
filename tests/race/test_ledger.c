/*
 * Many threads complete notifications, copies of them come at any moment, and an upstream accepts, refuses, talks
 * nonsense, keeps silent or hangs up as it likes; some ids it never takes.
 *
 *   - every record comes back: answered, or given up as a dead letter
 *   - each id is answered by what it deserves, never by anything else, and only once if no reply was lost
 *   - a copy that is dropped because its id is in flight gets an answer that was sent behind it
 *   - E12: each holder of a record writes a plain mark before it lets go; who is last reads them all
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "spr_test.h"

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/sync.h"
#include "path/ledger.h"
#include "rep_peer.h"

#define COMPLETERS 3
#define N_EACH     1200
#define N          (COMPLETERS * N_EACH)
#define CAPACITY   64
#define WINDOW     32 /* acked ids remembered */
#define POISON     97 /* every so manieth id is never taken */
#define LIMIT_MS   60000

typedef struct scene scene;

typedef struct completer {
	scene *scene;
	unsigned number;
	uint64_t random;
	pthread_t thread;
	spr_stack mailbox; /* records it holds for its neighbour */
	spr_answer_stock stock;
} completer;

struct scene {
	spr_notifications notifications; /* first: it needs its alignment */
	completer completers[COMPLETERS];
	spr_waiters waiters;
	spr_answers *answers;
	spr_dead_letter *dead_letter;
	spr_ledger *ledger;
	rep_peer peer;
	pthread_t server;
	bool loses_replies; /* keeps silent, and hangs up */
	bool has_copies;
	uint64_t random; /* the server's */
	uint64_t deadline_ns;
	atomic_bool is_over;
	atomic_uint n_bad, n_running;
	atomic_ulong moment;         /* counts events */
	atomic_ulong answered_at[N]; /* when the last accepted answer was heard */
	atomic_ulong copied_at[N];   /* when the last copy was about to be dropped */
	atomic_uint n_answers[N];    /* accepted */
	unsigned marks[CAPACITY][2]; /* plain: of the two holders of a record */
	uint64_t counted_letters, counted_accepted;
};

static void
check(scene *s, bool holds, const char *what, unsigned id)
{
	if (!holds && atomic_fetch_add(&s->n_bad, 1) < 10)
		print_error("id %u: %s\n", id, what);
}

static bool
has_time(const scene *s)
{
	return (spr_clock_now_ns() < s->deadline_ns);
}

static bool
is_poison(unsigned id)
{
	return (id % POISON == 1);
}

static spreader_reason
deserves(unsigned id)
{
	return (id % 4 == 0 ? SPREADER_REASON_PUSH_FAILED : SPREADER_REASON_NONE);
}

/*
 * The upstream
 */

static unsigned
id_of(const cJSON *item)
{
	return (cJSON_IsString(item) ? (unsigned)strtoul(item->valuestring, NULL, 10) : N);
}

/* Calls each(id, reason) for what the request says; reason NULL: an ack. */
static void
walk_request(scene *s, const char *request, void (*each)(scene *, unsigned, const char *))
{
	cJSON *root = cJSON_Parse(request);
	const cJSON *item;

	check(s, cJSON_IsObject(root), request, 0);
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "ack"))
	    each(s, id_of(item), NULL);
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "nack"))
	    each(s, id_of(cJSON_GetObjectItemCaseSensitive(item, "id")),
		 cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "reason")));
	cJSON_Delete(root);
}

static void
note_answer(scene *s, unsigned id, const char *reason)
{
	bool is_ack = reason == NULL;

	if (id >= N) {
		check(s, false, "no such id", id);
		return;
	}
	check(s, is_ack == (deserves(id) == SPREADER_REASON_NONE), "not what it deserves", id);
	check(s, is_ack || strcmp(reason, "push_failed") == 0, "another reason", id);
	atomic_store(&s->answered_at[id], atomic_fetch_add(&s->moment, 1) + 1);
	atomic_fetch_add(&s->n_answers[id], 1);
}

static _Thread_local bool found_poison;

static void
look_for_poison(scene *s, unsigned id, const char *reason)
{
	(void)s;
	(void)reason;
	found_poison = found_poison || is_poison(id);
}

/* NULL: no reply. */
static const char *
choose_reply(scene *s, const char *request)
{
	uint64_t dice = spr_test_below(&s->random, 100);

	found_poison = false;
	walk_request(s, request, look_for_poison);
	if (found_poison || dice < 10)
		return ("{\"ok\":false}");
	if (dice < 15)
		return ("nonsense");
	if (dice < 17 && s->loses_replies)
		return (NULL);
	walk_request(s, request, note_answer);
	return (dice < 60 ? "{\"ok\":true}" : "{}");
}

/* False: the connection is at its end. */
static bool
serve(scene *s)
{
	const uint8_t *data;
	size_t len;
	spr_sp_result result = spr_sp_recv(&s->peer.sp, &data, &len, 20);
	const char *reply;
	uint8_t id[4];
	char *request;

	if (result != SPR_SP_OK || len < 4)
		return (result == SPR_SP_TIMEOUT);
	if (s->loses_replies && spr_test_below(&s->random, 100) < 3)
		return (false);
	memcpy(id, data, 4);
	request = strndup((const char *)data + 4, len - 4);
	reply = choose_reply(s, request);
	free(request);
	return (reply == NULL ||
		spr_sp_send(&s->peer.sp, id, 4, reply, strlen(reply), LIMIT_MS) == SPR_SP_OK);
}

static void *
run_server(void *arg)
{
	scene *s = arg;

	while (!atomic_load(&s->is_over)) {
		struct pollfd waiter = {.fd = s->peer.listener, .events = POLLIN};

		if (s->peer.sp.fd >= 0) {
			if (!serve(s))
				rep_hang_up(&s->peer);
		} else if (poll(&waiter, 1, 20) == 1) {
			(void)spr_sp_adopt(&s->peer.sp, accept(s->peer.listener, NULL, NULL),
					   SPR_SP_REP);
		}
	}
	return (NULL);
}

/*
 * The dispatchers' part
 */

static spr_answer_key
key_of(unsigned id)
{
	return ((spr_answer_key){.low = id % 16, .high = id});
}

static void
let_go(scene *s, spr_notification *notification, unsigned holder)
{
	unsigned *marks = s->marks[notification - s->notifications.slab];

	marks[holder]++;
	if (!spr_notification_release(notification, 1, 0))
		return;
	check(s, marks[0] == marks[1], "a holder's mark is missing", 0);
	spr_ledger_complete(s->ledger, notification);
}

/* What the neighbour has handed over: the second pending count. */
static void
help_neighbour(completer *self)
{
	spr_stack_entry *entry = spr_mailbox_pop_all(&self->mailbox);

	for (spr_stack_entry *next; entry != NULL; entry = next) {
		next = spr_stack_next(entry);
		let_go(self->scene, SPR_STACK_CONTAINER(entry, spr_notification, link), 1);
	}
}

static spr_notification *
take(completer *self, unsigned id)
{
	scene *s = self->scene;
	spr_notification *notification;

	while ((notification = spr_notification_take(&s->notifications, self->number)) == NULL &&
	       has_time(s)) {
		help_neighbour(self);
		sched_yield();
	}
	if (notification == NULL)
		return (NULL);
	notification->entry = SPR_ANSWER_NONE;
	notification->upstream = 0;
	notification->message = NULL;
	notification->n_jobs = 1;
	notification->id_len =
	    (uint16_t)snprintf((char *)notification->id, sizeof(notification->id), "%u", id);
	atomic_store_explicit(&notification->failure, SPREADER_REASON_NONE, memory_order_relaxed);
	spr_notification_open(notification, 2, 0);
	return (notification);
}

/* As a dispatcher does it: claim, then two jobs, one of which may fail; or a copy's way. */
static void
bring(completer *self, unsigned id)
{
	scene *s = self->scene;
	spr_notification *notification = take(self, id);
	unsigned long now = atomic_fetch_add(&s->moment, 1) + 1;

	if (notification == NULL)
		return;
	switch (spr_answers_claim(s->answers, &self->stock, key_of(id), &notification->entry)) {
	case SPR_CLAIM_IN_FLIGHT:
		atomic_store(&s->copied_at[id], now);
		spr_notification_give_back(&s->notifications, notification);
		return;
	case SPR_CLAIM_ACKED:
		check(s, deserves(id) == SPREADER_REASON_NONE, "acked, but it was nacked", id);
		spr_ledger_complete(s->ledger, notification);
		return;
	case SPR_CLAIM_RESUMED: /* nobody remembers jobs here */
		check(s, false, "resumed", id);
		return;
	case SPR_CLAIM_NEW:
		break;
	}
	spr_mailbox_push(&s->completers[(self->number + 1) % COMPLETERS].mailbox,
			 &notification->link);
	if (deserves(id) != SPREADER_REASON_NONE)
		spr_notification_fail(notification, deserves(id));
	let_go(s, notification, 0);
}

static void *
complete(void *arg)
{
	completer *self = arg;
	scene *s = self->scene;
	unsigned first = self->number * N_EACH;

	for (unsigned i = 0; i < N_EACH && has_time(s); i++) {
		bring(self, first + i);
		/* of its own latest ones: a copy has one writer of its moment */
		while (s->has_copies && spr_test_below(&self->random, 3) == 0)
			bring(self,
			      first + i -
				  (unsigned)spr_test_below(&self->random, i < 20 ? i + 1 : 20));
		help_neighbour(self);
	}
	atomic_fetch_sub(&s->n_running, 1);
	while (atomic_load(&s->n_running) > 0) {
		help_neighbour(self);
		sched_yield();
	}
	help_neighbour(self);
	return (NULL);
}

/*
 * The play
 */

static void
open_ledger(scene *s)
{
	spr_ledger_config config = {
	    .batch = 7,
	    .window = 3,
	    .timeout_ms = s->loses_replies ? 50 : LIMIT_MS,
	    .retry_min_ms = 1,
	    .instance = "cafe",
	    .notifications = &s->notifications,
	};

	s->peer = rep_listen();
	assert_ok(spr_notifications_init(&s->notifications, CAPACITY, COMPLETERS, &s->waiters));
	assert_ok(spr_answers_new(&s->answers, COMPLETERS, CAPACITY, WINDOW, 0));
	assert_ok(spr_dead_letter_new(&s->dead_letter, NULL));
	config.answers = s->answers;
	config.dead_letter = s->dead_letter;
	assert_ok(spr_ledger_new(&s->ledger, &config));
	assert_ok(spr_ledger_dial(s->ledger, "", s->peer.url));
	assert_ok(spr_ledger_start(s->ledger));
}

static void
assert_answers(scene *s)
{
	unsigned n_poison = 0;

	for (unsigned id = 0; id < N; id++) {
		unsigned n = atomic_load(&s->n_answers[id]);

		n_poison += is_poison(id);
		check(s, is_poison(id) == (n == 0), "answered?", id);
		check(s, n <= 1 || s->has_copies || s->loses_replies, "answered twice", id);
		check(s,
		      is_poison(id) ||
			  atomic_load(&s->answered_at[id]) > atomic_load(&s->copied_at[id]),
		      "a copy was left without an answer", id);
	}
	assert_int_equal(atomic_load(&s->n_bad), 0);
	if (!s->has_copies) {
		assert_int_equal(spr_counter_sum(SPR_C_DEAD_LETTERS) - s->counted_letters,
				 n_poison);
		assert_int_equal(spr_counter_sum(SPR_C_ANSWERS_ACCEPTED) - s->counted_accepted,
				 N - n_poison);
		assert_int_equal(spr_answers_remembered(s->answers), WINDOW);
	}
	assert_int_equal(spr_answers_in_flight(s->answers), 0);
}

static void
run_play(bool loses_replies, bool has_copies)
{
	scene *s = spr_mem_zalloc_aligned(sizeof(*s));

	assert_non_null(s);
	s->loses_replies = loses_replies;
	s->has_copies = has_copies;
	s->random = spr_test_seed();
	s->deadline_ns = spr_test_deadline_ns(LIMIT_MS);
	s->counted_letters = spr_counter_sum(SPR_C_DEAD_LETTERS);
	s->counted_accepted = spr_counter_sum(SPR_C_ANSWERS_ACCEPTED);
	open_ledger(s);
	assert_int_equal(pthread_create(&s->server, NULL, run_server, s), 0);
	atomic_store(&s->n_running, COMPLETERS);
	for (unsigned i = 0; i < COMPLETERS; i++) {
		s->completers[i].scene = s;
		s->completers[i].number = i;
		s->completers[i].random = spr_test_seed() + 1 + i;
		spr_stack_init(&s->completers[i].mailbox);
	}
	for (unsigned i = 0; i < COMPLETERS; i++)
		assert_int_equal(
		    pthread_create(&s->completers[i].thread, NULL, complete, &s->completers[i]), 0);
	for (unsigned i = 0; i < COMPLETERS; i++)
		pthread_join(s->completers[i].thread, NULL);
	assert_true(has_time(s)); /* else a record did not come back */
	assert_true(wait_until(spr_notifications_in_flight(&s->notifications) == 0, LIMIT_MS));
	atomic_store(&s->is_over, true);
	pthread_join(s->server, NULL);
	spr_ledger_stop(s->ledger);
	assert_answers(s);
	spr_ledger_free(s->ledger);
	rep_close(&s->peer);
	spr_answers_free(s->answers);
	spr_notifications_fini(&s->notifications);
	spr_dead_letter_free(s->dead_letter);
	spr_mem_free(s);
}

static void
moody_upstream(void **state)
{
	(void)state;
	run_play(false, false);
}

static void
upstream_that_loses_replies(void **state)
{
	(void)state;
	run_play(true, false);
}

static void
copies_at_any_moment(void **state)
{
	(void)state;
	run_play(false, true);
}

static void
copies_and_lost_replies(void **state)
{
	(void)state;
	run_play(true, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(moody_upstream),
	    cmocka_unit_test(upstream_that_loses_replies),
	    cmocka_unit_test(copies_at_any_moment),
	    cmocka_unit_test(copies_and_lost_replies),
	};

	spr_log_set_level(SPR_LOG_ERROR); /* ids given up are meant to be */
	spr_sync_yield_percent(2);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
