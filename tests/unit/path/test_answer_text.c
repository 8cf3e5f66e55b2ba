/*
 * The text of answer requests, byte by byte, and which replies accept them.
 */
#include "spr_test.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "path/answer_text.h"

#define INSTANCE "0123456789abcdef"

static spr_notification *
made(const void *id, size_t len, spreader_reason reason, spr_notification *next)
{
	spr_notification *notification = calloc(1, sizeof(*notification));

	assert_non_null(notification);
	assert_true(len <= SPREADER_ID_MAX);
	memcpy(notification->id, id, len);
	notification->id_len = (uint16_t)len;
	notification->next = next;
	spr_notification_fail(notification, reason);
	return (notification);
}

static spr_notification *
ack(const char *id, spr_notification *next)
{
	return (made(id, strlen(id), SPREADER_REASON_NONE, next));
}

static spr_notification *
nack(const char *id, spreader_reason reason, spr_notification *next)
{
	return (made(id, strlen(id), reason, next));
}

static void
free_chain(spr_notification *chain)
{
	spr_notification *next;

	for (; chain != NULL; chain = next) {
		next = chain->next;
		free(chain);
	}
}

/* Frees the chain. */
static void
assert_text(spr_notification *chain, const char *expected)
{
	spr_text text = {0};

	assert_ok(spr_answer_write(&text, INSTANCE, chain));
	assert_int_equal(text.len, strlen(expected));
	assert_memory_equal(text.data, expected, text.len);
	spr_text_fini(&text);
	assert_null(text.data);
	free_chain(chain);
}

static void
acks_only(void **state)
{
	(void)state;
	assert_text(ack("1", NULL), "{\"instance\":\"" INSTANCE "\",\"ack\":[\"1\"]}");
	assert_text(ack("1", ack("b c", ack("3", NULL))),
		    "{\"instance\":\"" INSTANCE "\",\"ack\":[\"1\",\"b c\",\"3\"]}");
}

#define TOO_LARGE(id)                                                  \
	"{\"id\":\"" id "\",\"reason\":\"too_large\",\"retry\":false," \
	"\"detail\":\"the document or one of its jobs is over its limit\"}"
#define OVERLOAD(id)                                                 \
	"{\"id\":\"" id "\",\"reason\":\"overload\",\"retry\":true," \
	"\"detail\":\"out of memory or too many callbacks\"}"

static void
nacks_only(void **state)
{
	(void)state;
	assert_text(nack("x", SPREADER_REASON_TOO_LARGE, NULL),
		    "{\"instance\":\"" INSTANCE "\",\"nack\":[" TOO_LARGE("x") "]}");
	assert_text(nack("x", SPREADER_REASON_TOO_LARGE, nack("y", SPREADER_REASON_OVERLOAD, NULL)),
		    "{\"instance\":\"" INSTANCE
		    "\",\"nack\":[" TOO_LARGE("x") "," OVERLOAD("y") "]}");
}

static void
both_in_one_request(void **state)
{
	(void)state;
	assert_text(nack("n", SPREADER_REASON_OVERLOAD,
			 ack("a", nack("m", SPREADER_REASON_TOO_LARGE, ack("b", NULL)))),
		    "{\"instance\":\"" INSTANCE
		    "\",\"ack\":[\"a\",\"b\"],\"nack\":[" OVERLOAD("n") "," TOO_LARGE("m") "]}");
}

static void
ids_come_back_as_they_were(void **state)
{
	/* quote, backslash, slash, controls, NUL, a lone surrogate (WTF-8), a wide character */
	static const char id[] = "\"\\/\b\f\n\r\t\x01\x1f\0-\xed\xa0\x80\xf0\x9f\x98\x80\x7f";
	(void)state;

	assert_text(made(id, sizeof(id) - 1, SPREADER_REASON_NONE, NULL),
		    "{\"instance\":\"" INSTANCE
		    "\",\"ack\":[\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u0000-\\ud800"
		    "\xf0\x9f\x98\x80\x7f\"]}");
}

/* Longer than the first buffer several times over, and the buffer is used again. */
static void
the_longest_batch(void **state)
{
	uint8_t id[SPREADER_ID_MAX] = {0};
	spr_notification *chain = NULL;
	spr_text text = {0};
	size_t first;
	(void)state;

	for (unsigned i = 0; i < 256; i++)
		chain = made(id, sizeof(id), SPREADER_REASON_NONE, chain);
	assert_ok(spr_answer_write(&text, INSTANCE, chain));
	first = text.len;
	assert_int_equal(first, strlen("{\"instance\":\"" INSTANCE "\",\"ack\":[]}") +
				    256 * (2 + 6 * SPREADER_ID_MAX) + 255);
	assert_ok(spr_answer_write(&text, INSTANCE, chain));
	assert_int_equal(text.len, first);
	spr_text_fini(&text);
	free_chain(chain);
}

/* DESIGN section 4, the table: what upstream is told of each, and whether it should try again. */
static void
every_reason(void **state)
{
	static const struct {
		spreader_reason reason;
		const char *code;
		bool is_retry;
	} rows[] = {
	    {SPREADER_REASON_NOT_JSON, "not_json", false},
	    {SPREADER_REASON_NO_ID, "no_id", false},
	    {SPREADER_REASON_NO_PREDICATE, "no_predicate", false},
	    {SPREADER_REASON_BAD_PREDICATE, "bad_predicate", false},
	    {SPREADER_REASON_TOO_LARGE, "too_large", false},
	    {SPREADER_REASON_OVERLOAD, "overload", true},
	    {SPREADER_REASON_PUSH_FAILED, "push_failed", true},
	    {SPREADER_REASON_RECEIPT_TIMEOUT, "receipt_timeout", true},
	    {SPREADER_REASON_RECEIPT_ERROR, "receipt_error", true},
	    {SPREADER_REASON_SHUTTING_DOWN, "shutting_down", true},
	    {SPREADER_REASON_NO_SUBSCRIBERS, "no_subscribers", false},
	    {SPREADER_REASON_REFUSED, "refused", false},
	};
	(void)state;

	assert_int_equal(sizeof(rows) / sizeof(rows[0]), SPREADER_N_REASONS - 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		spreader_reason reason = rows[i].reason;

		assert_string_equal(spr_reason_code(reason), rows[i].code);
		assert_int_equal(spr_reason_is_retry(reason), rows[i].is_retry);
		assert_true(strlen(spr_reason_detail(reason)) > 0);
		/* details are written as they are */
		assert_null(strpbrk(spr_reason_detail(reason), "\"\\\n"));
	}
}

static bool
accepts(const char *reply)
{
	size_t len = strlen(reply);
	uint8_t *exact = malloc(len > 0 ? len : 1); /* so that a sanitizer sees a read behind it */
	bool accepted;

	assert_non_null(exact);
	memcpy(exact, reply, len);
	accepted = spr_answer_is_accepted(exact, len);
	free(exact);
	return (accepted);
}

static void
accepted_replies(void **state)
{
	static const char *const replies[] = {
	    "{\"ok\":true}",
	    "{}",
	    " \t\r\n{ } \n",
	    "{\"x\":1}",
	    "{\"ok\":null}",
	    "{\"ok\":0}",
	    "{\"ok\":\"false\"}",
	    "{\"ok\":[false]}",
	    "{\"ok\":{\"ok\":false}}",
	    "{\"x\":{\"ok\":false},\"y\":[{\"ok\":false}]}",
	    "{\"OK\":false,\"Ok\":false,\"okk\":false,\"o\":false,\"\":false}",
	    "{\"ok\\u0000\":false}",
	    "{\"ok\":false,\"ok\":true}",
	    "{\"ok\":false , \"ok\" : 1}",
	    "{\"lone\":\"\\ud800\"}",
	    "{\"n\":123456789012345678901234567890123456789012345678901234567890123456789012345}",
	};
	(void)state;

	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		if (!accepts(replies[i]))
			fail_msg("refused: %s", replies[i]);
	}
}

static void
refused_replies(void **state)
{
	static const char *const replies[] = {
	    "{\"ok\":false}",
	    " { \"x\" : [1, 2] , \"ok\" : false , \"y\" : 2 } ",
	    "{\"ok\":true,\"ok\":false}",
	    "{\"\\u006fk\":false}",
	    "",
	    " ",
	    "ok",
	    "\x01garbage",
	    "true",
	    "null",
	    "\"{}\"",
	    "[]",
	    "[{\"ok\":true}]",
	    "{\"ok\":true",
	    "{\"ok\":true}}",
	    "{\"ok\":true} x",
	    "{\"ok\":true}{\"ok\":true}",
	    "{\"ok\":true}\n{}",
	    "{\"ok\":true,}",
	    "{'ok':true}",
	    "{\"ok\":True}",
	    "{\"x\":\"\xff\"}",
	    "\xef\xbb\xbf{}",
	};
	(void)state;

	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		if (accepts(replies[i]))
			fail_msg("accepted: %s", replies[i]);
	}
	assert_false(spr_answer_is_accepted((const uint8_t *)"{}\0", 3));
}

static void
writing_without_memory(void **state)
{
	spr_notification *chain = NULL;
	spr_text text = {0};
	uint8_t id[SPREADER_ID_MAX];
	unsigned long n;
	(void)state;

	memset(id, 'x', sizeof(id));
	for (unsigned i = 0; i < 40; i++)
		chain = made(id, sizeof(id),
			     i % 2 != 0 ? SPREADER_REASON_OVERLOAD : SPREADER_REASON_NONE, chain);
	spr_mem_fail_at(0);
	assert_ok(spr_answer_write(&text, INSTANCE, chain));
	n = spr_mem_count();
	assert_true(n >= 3);
	spr_text_fini(&text);
	for (unsigned long i = 1; i <= n; i++) {
		spr_mem_fail_at(i);
		assert_fails(spr_answer_write(&text, INSTANCE, chain), SPR_E_NOMEM);
		spr_mem_fail_at(0);
		assert_ok(spr_answer_write(&text, INSTANCE, chain)); /* what is there is used */
		spr_text_fini(&text);
	}
	free_chain(chain);
}

/* Short memory must not turn an accepted answer into a refused one. */
static void
reading_needs_no_memory(void **state)
{
	(void)state;
	spr_mem_fail_at(1);
	assert_true(accepts("{\"ok\":true,\"more\":[{},\"text\"]}"));
	assert_false(accepts("{\"more\":[{},\"text\"],\"ok\":false}"));
	assert_int_equal(spr_mem_count(), 0);
	spr_mem_fail_at(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(acks_only),
	    cmocka_unit_test(nacks_only),
	    cmocka_unit_test(both_in_one_request),
	    cmocka_unit_test(ids_come_back_as_they_were),
	    cmocka_unit_test(the_longest_batch),
	    cmocka_unit_test(every_reason),
	    cmocka_unit_test(accepted_replies),
	    cmocka_unit_test(refused_replies),
	    cmocka_unit_test(writing_without_memory),
	    cmocka_unit_test(reading_needs_no_memory),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
