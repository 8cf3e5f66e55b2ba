/*
 * What is read ahead by hand: which document comes when, how far ahead messages are popped, when each is finished, and that
 * keys come with their own document.
 */
#include "path/lookahead.h"
#include "path_scene.h"

#include "path/document.h"

/* A lookahead of dispatcher 0 beside its own, which does no turn here. */
typedef struct reading {
	spr_lookahead lookahead;
	spr_document_env env;
} reading;

static reading
reading_open(const scene *s)
{
	return ((reading){.env = {.config = &s->config, .fanouts = &s->fanouts}});
}

static spr_ahead *
first(reading *r)
{
	return (spr_lookahead_first(&r->lookahead, &r->env));
}

/* It is this text's turn; it is passed. */
static void
expect(const scene *s, reading *r, const char *text)
{
	const spr_ahead *ahead = first(r);

	assert_non_null(ahead);
	assert_ptr_equal(first(r), ahead); /* it stays */
	assert_false(ahead->is_nothing);
	assert_int_equal(ahead->document.whole.len, strlen(text));
	assert_memory_equal(ahead->document.whole.at, text, strlen(text));
	spr_lookahead_pass(&r->lookahead, s->intake);
}

static void
expect_end(reading *r)
{
	assert_null(first(r));
	assert_true(spr_lookahead_is_empty(&r->lookahead));
}

/* From one message to the next; each is finished with its last document, and no sooner. */
static void
documents_in_turn(void **state)
{
	scene *s = scene_bare();
	reading r = reading_open(s);
	(void)state;

	expect_end(&r);
	deliver("{\"a\":1} {\"a\":2}\n{\"a\":3}{\"a\":4}");
	deliver("{\"b\":1}");
	deliver("{\"c\":1}{\"c\":2} ");
	expect(s, &r, "{\"a\":1}");
	expect(s, &r, "{\"a\":2}");
	assert_int_equal(spr_fake_bufs(), 3);
	expect(s, &r, "{\"a\":3}");
	assert_int_equal(spr_fake_bufs(), 3);
	expect(s, &r, "{\"a\":4}");
	assert_int_equal(spr_fake_bufs(), 2);
	expect(s, &r, "{\"b\":1}");
	assert_int_equal(spr_fake_bufs(), 1);
	assert_false(spr_lookahead_is_empty(&r.lookahead));
	expect(s, &r, "{\"c\":1}");
	expect(s, &r, "{\"c\":2}");
	assert_int_equal(spr_fake_bufs(), 0);
	assert_int_equal(spr_intake_bytes(s->intake), 0);
	expect_end(&r);
	scene_close(s);
}

/* As far ahead as the header says, and no further. */
static void
messages_ahead(void **state)
{
	enum { N = 10 };
	scene *s = scene_bare();
	reading r = reading_open(s);
	(void)state;

	for (unsigned i = 0; i < N; i++)
		deliver("{}");
	for (unsigned left = N; left > 0; left--) {
		assert_non_null(first(&r));
		assert_int_equal(spr_intake_waiting(s->intake),
				 left > 1 + SPR_LOOKAHEAD ? left - 1 - SPR_LOOKAHEAD : 0);
		spr_lookahead_pass(&r.lookahead, s->intake);
		assert_int_equal(spr_fake_bufs(), left - 1);
	}
	expect_end(&r);
	scene_close(s);
}

/* What came while others were ahead comes behind them. */
static void
what_comes_later(void **state)
{
	scene *s = scene_bare();
	reading r = reading_open(s);
	(void)state;

	deliver("{\"a\":1}{\"a\":2}");
	expect(s, &r, "{\"a\":1}");
	deliver("{\"b\":1}");
	expect(s, &r, "{\"a\":2}");
	expect(s, &r, "{\"b\":1}");
	expect_end(&r);
	scene_close(s);
}

/* White space is a turn without a document; what is no JSON is passed over up to the end of its line, and is kept whole. */
static void
messages_without_documents(void **state)
{
	scene *s = scene_bare();
	reading r = reading_open(s);
	(void)state;

	deliver(" \n ");
	deliver("{\"a\":oops}\n{\"b\":1}");
	assert_true(first(&r)->is_nothing);
	assert_true(first(&r)->is_first && first(&r)->is_last);
	spr_lookahead_pass(&r.lookahead, s->intake);
	assert_int_equal(spr_fake_bufs(), 1);
	assert_int_equal(first(&r)->document.reason, SPREADER_REASON_NOT_JSON);
	assert_int_equal(first(&r)->document.whole.len, strlen("{\"a\":oops}\n"));
	assert_int_equal(first(&r)->document.body.len, 0);
	assert_true(first(&r)->is_first && !first(&r)->is_last);
	spr_lookahead_pass(&r.lookahead, s->intake);
	assert_int_equal(first(&r)->document.reason, SPREADER_REASON_NO_PREDICATE);
	assert_true(!first(&r)->is_first && first(&r)->is_last);
	spr_lookahead_pass(&r.lookahead, s->intake);
	expect_end(&r);
	scene_close(s);
}

/* A key is that of its document's id, also when the one before or behind has none. */
static void
keys(void **state)
{
	static const struct {
		const char *text;
		bool has_key;
	} rows[] = {
	    {"{\"id\":\"1\",\"body\":{}}", true},
	    {"{\"id\":\"\\u0032\",\"body\":{}}", false}, /* written with escapes */
	    {"{\"id\":\"3\",\"body\":{}}", true},
	    {"{\"body\":{}}", false},
	    {"{\"id\":\"4\",\"from\":\"eu\",\"body\":{}}", false},
	    {"{\"id\":\"1\",\"body\":{}}", true},
	};
	enum { N = sizeof(rows) / sizeof(rows[0]) };
	scene *s = scene_open((scene_wants){.has_upstream = true});
	reading r = reading_open(s);
	spr_answer_key key[N];
	(void)state;

	for (unsigned i = 0; i < N; i++)
		deliver(rows[i].text);
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(first(&r)->has_key, rows[i].has_key);
		key[i] = first(&r)->key;
		spr_lookahead_pass(&r.lookahead, s->intake);
	}
	assert_memory_equal(&key[0], &key[5], sizeof(key[0]));
	assert_memory_not_equal(&key[0], &key[2], sizeof(key[0]));
	expect_end(&r);
	scene_close(s);
}

/* What nobody has passed is given back: half a message, whole ones, and one that has only been begun. */
static void
ended_halfway(void **state)
{
	(void)state;
	for (unsigned passed = 0; passed < 6; passed++) {
		scene *s = scene_bare();
		reading r = reading_open(s);

		deliver("{}{}");
		deliver("{}");
		deliver("{}{}{}{}{}");
		for (unsigned i = 0; i < passed; i++) {
			assert_non_null(first(&r));
			spr_lookahead_pass(&r.lookahead, s->intake);
		}
		assert_non_null(first(&r));
		spr_lookahead_fini(&r.lookahead);
		assert_true(spr_lookahead_is_empty(&r.lookahead));
		scene_close(s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(documents_in_turn),
	    cmocka_unit_test(messages_ahead),
	    cmocka_unit_test(what_comes_later),
	    cmocka_unit_test(messages_without_documents),
	    cmocka_unit_test(keys),
	    cmocka_unit_test(ended_halfway),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
