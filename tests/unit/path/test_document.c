/*
 * What becomes of one document: every row of the table of inputs, in both formats, and what is looked at first where two
 * rows fit. The ledger does not run, so an answered notification can be looked at.
 */
#include "path_scene.h"

#include "base/mem.h"
#include "route/callbacks.h"

#define BODY "{\"predicate\":\"UN.A.b\"}"

/* A document, resolved by hand. */
typedef struct resolved {
	spr_document_env env;
	spr_fanout fanout;
	spr_document document;
	spr_notification *notification;
	spr_buf *buf;
	bool is_open; /* there is a fan-out */
} resolved;

static resolved *
resolved_open(scene *s)
{
	resolved *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->env.config = &s->config;
	r->env.fanouts = &s->fanouts;
	r->env.now_s = spr_clock_wall_s();
	assert_ok(spr_epoch_register(s->epoch, &r->env.record));
	return (r);
}

/* Takes the text to its end; a fan-out must have been closed before. */
static void
resolve(scene *s, resolved *r, const char *text)
{
	if (r->buf != NULL)
		spr_buf_drop(r->buf);
	r->buf = spr_fake_buf(text, strlen(text));
	r->notification = spr_notification_take(&s->notifications, 0);
	assert_non_null(r->notification);
	memset(&r->document, 0xAA, sizeof(r->document));
	assert_true(spr_scan_document(r->buf->data, r->buf->len, s->config.format, &r->document) >
		    0);
	if (r->document.reason == SPREADER_REASON_NOT_JSON)
		r->document = (spr_document){.reason = SPREADER_REASON_NOT_JSON,
					     .whole = {r->buf->data, r->buf->len}};
	spr_epoch_enter(r->env.record);
	r->is_open = spr_document_resolve(&r->env, &r->document, r->notification, &r->fanout);
	if (r->is_open) /* as behind its first slice */
		spr_matches_hold(&r->fanout.matches, 0);
	spr_epoch_leave(r->env.record);
}

/* Ends an open fan-out as the dispatcher does when it gives up. */
static void
end_fanout(scene *s, resolved *r)
{
	assert_true(r->is_open);
	spr_buf_hold(r->buf);
	r->fanout.message = r->buf;
	spr_fanout_fail_rest(&r->fanout, &s->fanouts, SPREADER_REASON_SHUTTING_DOWN);
	r->is_open = false;
}

static void
resolved_close(scene *s, resolved *r)
{
	if (r->is_open)
		end_fanout(s, r);
	spr_buf_drop(r->buf);
	spr_fanout_fini(&r->fanout);
	spr_document_env_fini(&r->env);
	spr_epoch_unregister(r->env.record);
	free(r);
}

/* One document in a scene of its own. */
typedef struct row {
	const char *text;
	spreader_reason reason; /* NONE: an ack */
	spr_counter counter;    /* the one that tells */
} row;

static void
play_row(const row *it, scene_wants wants)
{
	scene *s = scene_open(wants);
	resolved *r = resolved_open(s);

	resolve(s, r, it->text);
	if (r->is_open || counted(s, it->counter) != 1 ||
	    (wants.has_upstream && spr_notification_failure(r->notification) != it->reason))
		fail_msg("%s: not %s", it->text, spr_counter_table[it->counter].name);
	assert_int_equal(counted(s, SPR_C_NOTIFICATIONS), 1);
	resolved_close(s, r);
	scene_close(s);
}

/* Who has no id gets no answer: the record is free again, the document is kept. */
static void
play_rejected(const char *text, spr_counter counter, const char *reason, bool is_bare)
{
	scene *s = scene_open((scene_wants){.has_upstream = !is_bare, .is_bare = is_bare});
	resolved *r = resolved_open(s);
	char part[64];

	resolve(s, r, text);
	assert_false(r->is_open);
	if (counted(s, counter) != 1)
		fail_msg("%s: not %s", text, reason);
	assert_int_equal(spr_notifications_in_flight(&s->notifications), 0);
	snprintf(part, sizeof(part), "\"reason\":\"%s\"", reason);
	assert_one_letter(s, LETTER(part, "\"bytes\":\""));
	resolved_close(s, r);
	scene_close(s);
}

static void
not_json(void **state)
{
	static const char *const texts[] = {
	    "x",
	    "{\"id\":\"1\",\"body\":{}",
	    "{\"id\":\"1\" \"body\":{}}",
	    "{\"id\":\"\xff\"}",
	    "nul",
	    "{\"id\":\"1\",\"body\":{\"predicate\":01}}",
	};
	char deep[2 * 513 + 1];
	(void)state;

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		play_rejected(texts[i], SPR_C_REJECTED_NOT_JSON, "not_json", false);
		play_rejected(texts[i], SPR_C_REJECTED_NOT_JSON, "not_json", true);
	}
	memset(deep, '[', 513);
	memset(deep + 513, ']', 513);
	deep[2 * 513] = '\0';
	play_rejected(deep, SPR_C_REJECTED_NOT_JSON, "not_json", true);
}

static void
no_id(void **state)
{
	static const char *const texts[] = {
	    "[]",
	    "1",
	    "\"text\"",
	    "null",
	    "{}",
	    "{\"body\":" BODY "}",
	    "{\"id\":1,\"body\":" BODY "}",
	    "{\"id\":null,\"body\":" BODY "}",
	    "{\"id\":[\"1\"],\"body\":" BODY "}",
	    "{\"id\":\"\",\"body\":" BODY "}",
	    "{\"id\":\"1\",\"id\":2,\"body\":" BODY "}",
	    "{\"id\":\"1\",\"from\":5,\"body\":" BODY "}",
	    "{\"id\":\"1\",\"from\":null,\"body\":" BODY "}",
	    "{\"id\":\"1\",\"from\":\"us\",\"body\":" BODY "}",
	    "{\"id\":\"1\",\"from\":\"EU\",\"body\":" BODY "}",
	    "{\"id\":\"1\",\"from\":\"eu\\u0000\",\"body\":" BODY "}",
	};
	char text[1024];
	(void)state;

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		play_rejected(texts[i], SPR_C_REJECTED_NO_ID, "no_id", false);
	snprintf(text, sizeof(text), "{\"id\":\"%0257d\",\"body\":" BODY "}", 0);
	play_rejected(text, SPR_C_REJECTED_NO_ID, "no_id", false);
	snprintf(text, sizeof(text), "{\"id\":\"1\",\"from\":\"%0300d\",\"body\":" BODY "}", 0);
	play_rejected(text, SPR_C_REJECTED_NO_ID, "no_id", false);
}

/* What is known of who sent it goes with the letter. */
static void
letter_of_an_unknown_from(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true});
	resolved *r = resolved_open(s);
	(void)state;

	resolve(s, r, " {\"id\":\"a\\u0062\",\"from\":\"\\u0075s\",\"body\":{}} ");
	assert_one_letter(s, LETTER("\"reason\":\"no_id\"", "\"from\":\"us\"", "\"id\":\"ab\"",
				    "\"bytes\":\"{\\\"id\\\":\\\"a\\\\u0062\\\",\\\"from\\\":"
				    "\\\"\\\\u0075s\\\",\\\"body\\\":{}}\""));
	resolved_close(s, r);
	scene_close(s);
}

#define NO_PREDICATE SPREADER_REASON_NO_PREDICATE, SPR_C_NACKED_NO_PREDICATE
#define BAD          SPREADER_REASON_BAD_PREDICATE, SPR_C_NACKED_BAD_PREDICATE
#define NOBODY       SPREADER_REASON_NONE, SPR_C_ACKED_NO_SUBSCRIBERS

/* Rule 1, what there is of it beyond the scanner: the reason that becomes the answer. Bodies. */
static const row body_rows[] = {
    {"null", NO_PREDICATE},
    {"[]", NO_PREDICATE},
    {"\"UN.A\"", NO_PREDICATE},
    {"{}", NO_PREDICATE},
    {"{\"predicate\":5}", NO_PREDICATE},
    {"{\"predicate\":true}", NO_PREDICATE},
    {"{\"predicate\":[\"UN.A\"]}", NO_PREDICATE},
    {"{\"predicate\":{\"a\":1}}", NO_PREDICATE},
    {"{\"predicate\":\"\"}", NO_PREDICATE},
    {"{\"predicate\":null,\"message\":\"UN.A\"}", NO_PREDICATE},
    {"{\"predicate\":null,\"message\":{\"predicate\":7}}", NO_PREDICATE},
    {"{\"predicate\":\"UN.A\",\"predicate\":5}", NO_PREDICATE},
    {"{\"predicate\":5,\"message\":{\"predicate\":\"UN.A\"}}", NO_PREDICATE},
    {"{\"predicate\":\"/\"}", BAD},
    {"{\"predicate\":\"*\"}", BAD},
    {"{\"predicate\":\"UN.A*\"}", BAD},
    {"{\"predicate\":\"UN.\\ud800\"}", BAD},
    {"{\"predicate\":\"UN.A\"}", NOBODY},
    {"{\"predicate\":\"UN.A.*\"}", NOBODY},
    {"{\"predicate\":0,\"message\":{\"predicate\":\"UN.A\"}}", NOBODY},
    {"{\"predicate\":false,\"message\":{\"predicate\":\"\\u0055N\"}}", NOBODY},
};

static void
bodies(void **state)
{
	char text[4096], predicate[1200];
	row long_row = {text, BAD};
	(void)state;

	for (unsigned i = 0; i < sizeof(body_rows) / sizeof(body_rows[0]); i++) {
		row envelope = body_rows[i];

		snprintf(text, sizeof(text), "{\"id\":\"1\",\"body\":%s}", body_rows[i].text);
		envelope.text = text;
		play_row(&envelope, (scene_wants){.has_upstream = true});
		play_row(&body_rows[i], (scene_wants){.is_bare = true});
	}
	memset(predicate, 'x', 1025);
	predicate[1025] = '\0';
	snprintf(text, sizeof(text), "{\"id\":\"1\",\"body\":{\"predicate\":\"%s\"}}", predicate);
	play_row(&long_row, (scene_wants){.has_upstream = true});
	for (unsigned i = 0; i < 65; i++)
		memcpy(predicate + 2 * i, "x.", 3);
	snprintf(text, sizeof(text), "{\"id\":\"1\",\"body\":{\"predicate\":\"%s\"}}", predicate);
	play_row(&long_row, (scene_wants){.has_upstream = true});
}

static void
body_absent(void **state)
{
	(void)state;
	play_row(&(row){"{\"id\":\"1\"}", NO_PREDICATE}, (scene_wants){.has_upstream = true});
}

/* In the bare format nobody can be told: the document is kept, with its reason. */
static void
bare_failures_are_kept(void **state)
{
	scene *s = scene_open((scene_wants){.is_bare = true});
	resolved *r = resolved_open(s);
	(void)state;

	resolve(s, r, "{\"predicate\":\"*\"}");
	assert_int_equal(spr_notifications_in_flight(&s->notifications), 0);
	assert_one_letter(s, LETTER("\"reason\":\"bad_predicate\"",
				    "\"bytes\":\"{\\\"predicate\\\":\\\"*\\\"}\""));
	resolved_close(s, r);
	scene_close(s);
}

/* Envelopes without an ack socket: ids are there, answers are not, and any name is unknown. */
static void
envelopes_without_upstreams(void **state)
{
	scene *s = scene_open((scene_wants){0});
	resolved *r = resolved_open(s);
	(void)state;

	resolve(s, r, "{\"id\":\"1\",\"body\":" BODY "}");
	assert_int_equal(counted(s, SPR_C_ACKED_NO_SUBSCRIBERS), 1);
	resolve(s, r, "{\"id\":\"1\",\"body\":" BODY "}");
	assert_int_equal(counted(s, SPR_C_ACKED_NO_SUBSCRIBERS), 2);
	resolve(s, r, "{\"id\":\"1\",\"body\":" BODY ",\"from\":\"\"}");
	assert_int_equal(counted(s, SPR_C_ACKED_NO_SUBSCRIBERS), 3);
	resolve(s, r, "{\"id\":\"1\",\"body\":" BODY ",\"from\":\"eu\"}");
	assert_int_equal(counted(s, SPR_C_REJECTED_NO_ID), 1);
	assert_int_equal(spr_notifications_in_flight(&s->notifications), 0);
	resolved_close(s, r);
	scene_close(s);
}

/* (from, id) is one id: equal ids of two upstreams are two, and both copies of each are seen. */
static void
from_belongs_to_the_id(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true});
	resolved *r = resolved_open(s);
	(void)state;

	resolve(s, r, "{\"id\":\"1\",\"body\":" BODY "}");
	assert_int_equal(r->notification->upstream, 0);
	assert_int_equal(r->notification->id_len, 1);
	resolve(s, r, "{\"id\":\"1\",\"from\":\"eu\",\"body\":" BODY "}");
	assert_int_equal(r->notification->upstream, 1);
	assert_int_equal(counted(s, SPR_C_ACKED_NO_SUBSCRIBERS), 2);
	resolve(s, r, "{\"id\":\"\\u0031\",\"from\":\"\\u0065u\",\"body\":" BODY "}");
	resolve(s, r, "{\"id\":\"1\",\"from\":\"\",\"body\":" BODY "}");
	assert_int_equal(counted(s, SPR_C_DUPLICATES_IN_FLIGHT), 2);
	resolved_close(s, r);
	scene_close(s);
}

/* A copy shares the answer of the first; one of an acked id gets an ack of its own, whatever it holds. */
static void
copies(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true});
	resolved *r = resolved_open(s);
	uint32_t entry;
	(void)state;

	subscribe(s, "UN.A", "http://a");
	resolve(s, r, "{\"id\":\"1\",\"body\":" BODY "}");
	assert_true(r->is_open);
	entry = r->notification->entry;
	end_fanout(s, r);
	assert_int_equal(spr_notifications_in_flight(&s->notifications), 1);
	resolve(s, r, "{\"id\":\"1\",\"body\":{}}");
	assert_false(r->is_open);
	assert_int_equal(counted(s, SPR_C_DUPLICATES_IN_FLIGHT), 1);
	assert_int_equal(spr_notifications_in_flight(&s->notifications), 1);

	spr_answers_acked(s->answers, entry);
	resolve(s, r, "{\"id\":\"1\",\"body\":{}}");
	assert_false(r->is_open);
	assert_int_equal(counted(s, SPR_C_DUPLICATES_ACKED), 1);
	assert_int_equal(spr_notification_failure(r->notification), SPREADER_REASON_NONE);
	assert_int_equal(r->notification->entry, SPR_ANSWER_NONE);
	assert_int_equal(spr_notifications_in_flight(&s->notifications), 2); /* one is the ack */
	/* counted once, when it was done */
	assert_int_equal(counted(s, SPR_C_NACKED_NO_PREDICATE), 0);
	assert_int_equal(counted(s, SPR_C_ACKED_NO_SUBSCRIBERS), 0);
	resolved_close(s, r);
	scene_close(s);
}

static void
a_forgotten_id_is_new(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true});
	resolved *r = resolved_open(s);
	(void)state;

	resolve(s, r, "{\"id\":\"1\",\"body\":{}}");
	assert_int_equal(spr_notification_failure(r->notification), SPREADER_REASON_NO_PREDICATE);
	spr_answers_forget(s->answers, r->notification->entry);
	resolve(s, r, "{\"id\":\"1\",\"body\":" BODY "}");
	assert_int_equal(spr_notification_failure(r->notification), SPREADER_REASON_NONE);
	assert_int_equal(counted(s, SPR_C_ACKED_NO_SUBSCRIBERS), 1);
	resolved_close(s, r);
	scene_close(s);
}

static void
nobody_subscribed(void **state)
{
	static const row rows[] = {
	    {"{\"id\":\"1\",\"body\":" BODY "}", SPREADER_REASON_NONE, SPR_C_ACKED_NO_SUBSCRIBERS},
	    {"{\"id\":\"1\",\"body\":" BODY "}", SPREADER_REASON_NO_SUBSCRIBERS,
	     SPR_C_NACKED_NO_SUBSCRIBERS},
	};
	scene *s;
	resolved *r;
	(void)state;

	play_row(&rows[0], (scene_wants){.has_upstream = true});
	play_row(&rows[1],
		 (scene_wants){.has_upstream = true, .no_subscribers = SPR_IF_NOBODY_NACK});
	s = scene_open(
	    (scene_wants){.has_upstream = true, .no_subscribers = SPR_IF_NOBODY_DEAD_LETTER});
	r = resolved_open(s);
	resolve(s, r, "{\"id\":\"7\",\"from\":\"eu\",\"body\":" BODY "}");
	assert_int_equal(spr_notification_failure(r->notification), SPREADER_REASON_NONE);
	assert_int_equal(counted(s, SPR_C_ACKED_NO_SUBSCRIBERS), 1);
	assert_one_letter(
	    s, LETTER("\"reason\":\"no_subscribers\"", "\"from\":\"eu\"", "\"id\":\"7\""));
	resolved_close(s, r);
	scene_close(s);
}

static void
expired_subscribers_are_nobody(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true});
	resolved *r = resolved_open(s);
	(void)state;

	subscribe(s, "UN.A", "http://a");
	r->env.now_s += 3601;
	resolve(s, r, "{\"id\":\"1\",\"body\":" BODY "}");
	assert_false(r->is_open);
	assert_int_equal(counted(s, SPR_C_ACKED_NO_SUBSCRIBERS), 1);
	assert_int_equal(counted(s, SPR_C_SUPPRESSED_EXPIRED), 1);
	resolved_close(s, r);
	scene_close(s);
}

static void
assert_payload(const resolved *r, const char *expected)
{
	assert_true(r->is_open);
	assert_int_equal(r->fanout.payload.len, strlen(expected));
	assert_memory_equal(r->fanout.payload.at, expected, strlen(expected));
}

static void
play_payload(bool is_bare, bool as_value, const char *body, const char *expected)
{
	scene *s = scene_open(
	    (scene_wants){.is_bare = is_bare, .has_upstream = !is_bare, .as_value = as_value});
	resolved *r = resolved_open(s);
	char text[1024];

	subscribe(s, "UN", "http://a");
	snprintf(text, sizeof(text), is_bare ? "%s" : " {\"id\":\"1\", \"body\": %s }", body);
	resolve(s, r, text);
	assert_payload(r, expected);
	resolved_close(s, r);
	scene_close(s);
}

/* Rule 6: the message's source text as a string, or as the value it is; else the body, byte for byte. */
static void
payloads(void **state)
{
	static const struct {
		const char *body, *as_string, *as_value;
	} rows[] = {
	    {"{\"predicate\":\"UN\",  \"x\":1.50}", "{\"predicate\":\"UN\",  \"x\":1.50}",
	     "{\"predicate\":\"UN\",  \"x\":1.50}"},
	    {"{\"predicate\":\"UN\",\"message\":{\"a\": [1,\t9007199254740993]}}",
	     "\"{\\\"a\\\": [1,\\t9007199254740993]}\"", "{\"a\": [1,\t9007199254740993]}"},
	    {"{\"predicate\":\"UN\",\"message\":\"t\\\"x\"}", "\"\\\"t\\\\\\\"x\\\"\"",
	     "\"t\\\"x\""},
	    {"{\"predicate\":\"UN\",\"message\":12}", "\"12\"", "12"},
	    {"{\"predicate\":\"UN\",\"message\":0.0}", "{\"predicate\":\"UN\",\"message\":0.0}",
	     "{\"predicate\":\"UN\",\"message\":0.0}"},
	    {"{\"predicate\":\"UN\",\"message\":{}}", "{\"predicate\":\"UN\",\"message\":{}}",
	     "{\"predicate\":\"UN\",\"message\":{}}"},
	    {"{\"message\":{\"predicate\":\"UN\"}}", "\"{\\\"predicate\\\":\\\"UN\\\"}\"",
	     "{\"predicate\":\"UN\"}"},
	};
	(void)state;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (unsigned bare = 0; bare < 2; bare++) {
			play_payload(bare, false, rows[i].body, rows[i].as_string);
			play_payload(bare, true, rows[i].body, rows[i].as_value);
		}
	}
}

/* A smaller payload after a larger one, in the same fan-out. */
static void
fanouts_are_used_again(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true});
	resolved *r = resolved_open(s);
	(void)state;

	subscribe(s, "UN", "http://a");
	subscribe(s, "UN.A", "http://b");
	resolve(s, r, "{\"id\":\"1\",\"body\":{\"predicate\":\"UN.A\",\"message\":\"long text\"}}");
	assert_int_equal(r->fanout.matches.n, 2);
	assert_int_equal(atomic_load(&r->notification->pending), 3);
	assert_int_equal(r->notification->n_jobs, 2);
	end_fanout(s, r);
	resolve(s, r, "{\"id\":\"2\",\"body\":{\"predicate\":\"UN\",\"message\":\"x\"}}");
	assert_payload(r, "\"\\\"x\\\"\"");
	assert_int_equal(r->fanout.matches.n, 1);
	assert_int_equal(atomic_load(&r->notification->pending), 2);
	resolved_close(s, r);
	scene_close(s);
}

/* How many the callback is held: a fan-out that comes to nothing must hold nothing. */
static uint32_t
references(scene *s, resolved *r)
{
	spr_matches matches = {0};
	spr_predicate predicate;
	uint32_t n;

	assert_ok(spr_predicate_normalise(&predicate, "UN.A.b", 6));
	assert_ok(spr_subscriptions_resolve(s->subscriptions, r->env.record, &predicate,
					    r->env.now_s, 100, &matches));
	assert_int_equal(matches.n, 1);
	n = atomic_load(&matches.callback[0]->refs) - 1;
	spr_matches_drop_from(s->subscriptions, &matches, 0);
	spr_matches_fini(&matches);
	return (n);
}

static void
play_limit(scene_wants wants, const char *text, spreader_reason reason)
{
	scene *s = scene_open(wants);
	resolved *r = resolved_open(s);

	subscribe(s, "UN.A", "http://a");
	resolve(s, r, text);
	if (reason != SPREADER_REASON_NONE)
		assert_false(r->is_open);
	assert_int_equal(spr_notification_failure(r->notification), reason);
	assert_int_equal(references(s, r), r->is_open ? 2 : 1);
	resolved_close(s, r);
	scene_close(s);
}

static void
too_large(void **state)
{
	const char *text = "{\"id\":\"1\",\"body\":" BODY "}";
	const char *padded = "  {\"id\":\"1\",\"body\":" BODY "}\n";
	/* each newline becomes two characters, and there are two quotes */
	const char *message =
	    "{\"id\":\"1\",\"body\":{\"predicate\":\"UN.A.b\",\"message\":[1,\n\n\n2]}}";
	size_t job = strlen("{\"s\":\"http://a\",\"payload\":" BODY "}");
	size_t string_job = strlen("{\"s\":\"http://a\",\"payload\":\"[1,\\n\\n\\n2]\"}");
	scene_wants wants = {.has_upstream = true};
	(void)state;

	wants.max_notification = strlen(text);
	play_limit(wants, text, SPREADER_REASON_NONE);
	play_limit(wants, padded, SPREADER_REASON_NONE);
	wants.max_notification--;
	play_limit(wants, text, SPREADER_REASON_TOO_LARGE);
	wants.max_notification = 0;
	wants.max_job = job;
	play_limit(wants, text, SPREADER_REASON_NONE);
	wants.max_job--;
	play_limit(wants, text, SPREADER_REASON_TOO_LARGE);
	wants.max_job = string_job;
	play_limit(wants, message, SPREADER_REASON_NONE);
	wants.max_job--;
	play_limit(wants, message, SPREADER_REASON_TOO_LARGE);
	wants.max_job = 3; /* less than the payload itself */
	play_limit(wants, message, SPREADER_REASON_TOO_LARGE);
}

static void
too_many_callbacks(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true, .max_fanout = 3});
	resolved *r = resolved_open(s);
	(void)state;

	subscribe_many(s, "UN.A", 3);
	resolve(s, r, "{\"id\":\"1\",\"body\":" BODY "}");
	assert_true(r->is_open);
	end_fanout(s, r);
	subscribe(s, "UN", "http://fourth");
	resolve(s, r, "{\"id\":\"2\",\"body\":" BODY "}");
	assert_false(r->is_open);
	assert_int_equal(spr_notification_failure(r->notification), SPREADER_REASON_OVERLOAD);
	assert_int_equal(counted(s, SPR_C_NACKED_OVERLOAD), 1);
	resolved_close(s, r);
	scene_close(s);
}

/* Each allocation on the way fails in turn; then the same document goes through. */
static void
no_memory(void **state)
{
	/* escapes, so that the predicate needs memory; a message, so that the payload does */
	static const char format[] =
	    "{\"id\":\"%u\",\"body\":{\"predicate\":\"UN.A\\u002eb\",\"message\":\"text\"}}";
	unsigned long n = 1;
	(void)state;

	for (bool failed = true; failed; n++) {
		scene *s = scene_open((scene_wants){.has_upstream = true});
		resolved *r = resolved_open(s);
		char text[256];

		subscribe(s, "UN.A", "http://a");
		snprintf(text, sizeof(text), format, 1u);
		spr_mem_fail_at(n);
		resolve(s, r, text);
		spr_mem_fail_at(0);
		if ((failed = !r->is_open)) {
			assert_int_equal(spr_notification_failure(r->notification),
					 SPREADER_REASON_OVERLOAD);
			assert_int_equal(references(s, r), 1);
			snprintf(text, sizeof(text), format, 2u);
			resolve(s, r, text);
		}
		assert_payload(r, "\"\\\"text\\\"\"");
		resolved_close(s, r);
		scene_close(s);
	}
	assert_true(n > 3); /* predicate, matches, payload */
}

/* What is new is not begun, what is wrong is wrong all the same, and copies are copies. */
static void
giving_up(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true});
	resolved *r = resolved_open(s);
	(void)state;

	subscribe(s, "UN.A", "http://a");
	r->env.gives_up = true;
	resolve(s, r, "{\"id\":\"1\",\"body\":" BODY "}");
	assert_false(r->is_open);
	assert_int_equal(spr_notification_failure(r->notification), SPREADER_REASON_SHUTTING_DOWN);
	resolve(s, r, "{\"id\":\"1\",\"body\":" BODY "}");
	assert_int_equal(counted(s, SPR_C_DUPLICATES_IN_FLIGHT), 1);
	resolve(s, r, "{\"id\":\"2\",\"body\":{}}");
	assert_int_equal(spr_notification_failure(r->notification), SPREADER_REASON_NO_PREDICATE);
	resolved_close(s, r);
	scene_close(s);
}

/* A record that is used again brings nothing along. */
static void
records_start_clean(void **state)
{
	scene *s = scene_open((scene_wants){.has_upstream = true, .max_inflight = 1});
	resolved *r = resolved_open(s);
	spr_notification *notification;
	(void)state;

	subscribe(s, "UN.A", "http://a");
	resolve(s, r, "{\"id\":\"old\",\"from\":\"eu\",\"body\":" BODY "}");
	end_fanout(s, r);
	notification = r->notification;
	notification->message = r->buf; /* as if this life had kept one */
	spr_answers_forget(s->answers, notification->entry);
	spr_notification_give_back(&s->notifications, notification);

	resolve(s, r, "{\"id\":\"n\",\"body\":" BODY "}");
	assert_true(r->is_open);
	assert_ptr_equal(r->notification, notification);
	assert_int_equal(spr_notification_failure(notification), SPREADER_REASON_NONE);
	assert_int_equal(notification->upstream, 0);
	assert_int_equal(notification->id_len, 1);
	assert_null(notification->message);
	end_fanout(s, r);
	spr_answers_forget(s->answers, notification->entry);
	spr_notification_give_back(&s->notifications, notification);

	resolve(s, r, "{\"id\":\"o\",\"body\":{\"predicate\":\"ZZ\"}}");
	assert_ptr_equal(r->notification, notification);
	assert_int_equal(counted(s, SPR_C_ACKED_NO_SUBSCRIBERS), 1); /* no jobs of its last life */
	resolved_close(s, r);
	scene_close(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(not_json),
	    cmocka_unit_test(no_id),
	    cmocka_unit_test(letter_of_an_unknown_from),
	    cmocka_unit_test(bodies),
	    cmocka_unit_test(body_absent),
	    cmocka_unit_test(bare_failures_are_kept),
	    cmocka_unit_test(envelopes_without_upstreams),
	    cmocka_unit_test(from_belongs_to_the_id),
	    cmocka_unit_test(copies),
	    cmocka_unit_test(a_forgotten_id_is_new),
	    cmocka_unit_test(nobody_subscribed),
	    cmocka_unit_test(expired_subscribers_are_nobody),
	    cmocka_unit_test(payloads),
	    cmocka_unit_test(fanouts_are_used_again),
	    cmocka_unit_test(too_large),
	    cmocka_unit_test(too_many_callbacks),
	    cmocka_unit_test(no_memory),
	    cmocka_unit_test(giving_up),
	    cmocka_unit_test(records_start_clean),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
