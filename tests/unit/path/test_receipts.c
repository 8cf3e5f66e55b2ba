/*
 * test_receipts - receipts of every shape against open jobs; what each means and costs. The whole path without threads: the
 * ledger does not run, so a complete notification shows as an outcome that was counted.
 */
#include "path_scene.h"

#define ID_OFFSET 7
#define HEX_AT    (ID_OFFSET + sizeof(SCENE_INSTANCE))

/* The ids of n jobs of one notification, pushed. */
typedef struct pushed {
	char id[8][64];
} pushed;

static scene *
open_scene(unsigned max_jobs)
{
	return (scene_open(
	    (scene_wants){.has_upstream = true, .max_jobs = max_jobs, .resume_window = 8}));
}

static pushed
push(scene *s, const char *id, unsigned n)
{
	pushed p = {0};

	deliver_envelope(id, "{\"predicate\":\"UN\"}");
	(void)turns(s);
	assert_int_equal(spr_fake_busy(0), n);
	for (unsigned i = 0; i < n; i++) {
		char *text = spr_fake_end(0, SPR_OK);

		memcpy(p.id[i], text + ID_OFFSET, HEX_AT - ID_OFFSET + SPREADER_JOB_HEX);
		free(text);
	}
	return (p);
}

/* Takes in a message: the shape, its "%s" being the id. */
static void
take(scene *s, const char *shape, const char *id)
{
	const char *hole = strstr(shape, "%s");
	size_t before = hole != NULL ? (size_t)(hole - shape) : strlen(shape);
	size_t middle = hole != NULL ? strlen(id) : 0;
	size_t behind = hole != NULL ? strlen(hole + 2) : 0;
	uint8_t *exact = malloc(before + middle + behind + 1);

	memcpy(exact, shape, before);
	memcpy(exact + before, id, middle);
	if (hole != NULL)
		memcpy(exact + before + middle, hole + 2, behind);
	/* no byte more, so that a checker sees a read behind the end */
	exact = realloc(exact, before + middle + behind + (before + middle + behind == 0));
	spr_receipts_take(s->receipts, exact, before + middle + behind);
	free(exact);
}

static uint64_t
n_done(const scene *s)
{
	return (counted(s, SPR_C_ACKED_DISPATCHED));
}

/* Each is a receipt of the one job. */
static void
test_shapes(void **state)
{
	static const char *const shapes[] = {
	    "{\"id\":\"%s\"}",
	    " \t\n{ \"id\" : \"%s\" } \n",
	    "{\"x\":[{\"id\":1}],\"id\":\"%s\",\"y\":null}",
	    "{\"id\":5,\"id\":\"%s\"}",
	    "{\"\\u0069d\":\"%s\"}",
	    "{\"id\":\"%s\",\"error\":null}",
	    "{\"error\":\"x\",\"error\":null,\"id\":\"%s\"}",
	    "nonsense\n{\"id\":\"%s\"}",
	    "{\"id\":\"a\nb\"}\n{\"id\":\"%s\"}",
	    "7 [] \"\" {}{\"id\":\"%s\"}",
	};
	scene *s = open_scene(100);

	(void)state;
	subscribe(s, "UN", "http://a");
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		char id[16], escaped[80];
		pushed p;

		snprintf(id, sizeof(id), "n%zu", i);
		p = push(s, id, 1);
		assert_int_equal(n_done(s), i);
		snprintf(escaped, sizeof(escaped), "\\u0063%.*s",
			 (int)(HEX_AT - ID_OFFSET + SPREADER_JOB_HEX - 1), p.id[0] + 1);
		take(s, shapes[i], i % 2 == 0 ? p.id[0] : escaped);
		assert_int_equal(n_done(s), i + 1);
	}
	assert_int_equal(counted(s, SPR_C_RECEIPTS_ERROR), 0);
	scene_close(s);
}

typedef struct strange {
	const char *format;
	unsigned stale, misrouted, bad;
} strange;

/* None is a receipt of the job, and each costs itself only. */
static void
test_strange(void **state)
{
	static const strange rows[] = {
	    {"", 0, 0, 0},
	    {" \r\n\t ", 0, 0, 0},
	    {"{}", 0, 0, 1},
	    {"{", 0, 0, 1},
	    {"{\"id\"", 0, 0, 1},
	    {"{\"id\":", 0, 0, 1},
	    {"{\"id\":\"", 0, 0, 1},
	    {"{\"id\":\"%s", 0, 0, 1},
	    {"{\"id\":\"%s\"", 0, 0, 1},
	    {"{\"id\":\"%s\",", 0, 0, 1},
	    {"{\"id\":\"%s\",}", 0, 0, 1},
	    {"{\"id\":\"%s\" \"x\":1}", 0, 0, 1},
	    {"{,\"id\":\"%s\"}", 0, 0, 1},
	    {"{id:\"%s\"}", 0, 0, 1},
	    {"[\"%s\"]", 0, 0, 1},
	    {"\"%s\"", 0, 0, 1},
	    {"{\"id\":[\"%s\"]}", 0, 0, 1},
	    {"{\"id\":\"%s\",\"id\":null}", 0, 0, 1},
	    {"{\"id\":\"%s\",\"error\":5}", 0, 0, 1},
	    {"{\"id\":\"%s\",\"error\":{}}", 0, 0, 1},
	    {"{\"id\":\"%s\",\"x\":01}", 0, 0, 1},
	    {"{\"id\":\"%s0\"}", 0, 0, 1},
	    {"{\"id\":\"\"}", 0, 0, 1},
	    {"{\"ID\":\"%s\"}", 0, 0, 1},
	    {"{\"id\":\"cafe-\"}", 0, 0, 1},
	    {"{\"id\":\"cafe-0123456789abcdef0123456789abcdeF\"}", 0, 0, 1},
	    {"{\"id\":\"cafe-0123456789abcdef0123456789abcde\"}", 0, 0, 1},
	    {"{\"id\":\"cafe-0123456789abcdef0123456789abcdef\"}", 1, 0, 0},
	    {"{\"id\":\"cafe-0123456789abcdef0123456789abcdef\",\"error\":\"x\"}", 1, 0, 0},
	    {"{\"id\":\"cafe\"}", 0, 1, 0},
	    {"{\"id\":\"cafe_0123456789abcdef0123456789abcdef\"}", 0, 1, 0},
	    {"{\"id\":\"x%s\"}", 0, 1, 0},
	    {"{\"id\":\"another\"}{\"id\":\"another\"}", 0, 2, 0},
	    {"{\"id\":\"0123456789012345678901234567890123456789012345678901234567890123\"}", 0, 1,
	     0},
	    {"{\"id\":\"01234567890123456789012345678901234567890123456789012345678901234\"}", 0, 0,
	     1},
	    {"{\"id\":\"\\u0030123456789012345678901234567890123456789012345678901234567890123\"}",
	     0, 1, 0},
	    {"{\"id\":\"\\u00301234567890123456789012345678901234567890123456789012345678901234\"}",
	     0, 0, 1},
	    {"{\"id\":\"\xff\"}", 0, 0, 1},
	    {"x\ny\nz", 0, 0, 3},
	};
	scene *s = open_scene(100);
	pushed p;

	(void)state;
	subscribe(s, "UN", "http://a");
	p = push(s, "1", 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t stale = counted(s, SPR_C_RECEIPTS_STALE);
		uint64_t misrouted = counted(s, SPR_C_RECEIPTS_MISROUTED);
		uint64_t bad = counted(s, SPR_C_RECEIPTS_BAD);

		take(s, rows[i].format, p.id[0]);
		if (counted(s, SPR_C_RECEIPTS_STALE) - stale != rows[i].stale ||
		    counted(s, SPR_C_RECEIPTS_MISROUTED) - misrouted != rows[i].misrouted ||
		    counted(s, SPR_C_RECEIPTS_BAD) - bad != rows[i].bad)
			fail_msg("row %zu: %s", i, rows[i].format);
	}
	assert_int_equal(n_done(s), 0);
	assert_int_equal(counted(s, SPR_C_RECEIPTS_TAKEN), 0);
	take(s, "{\"id\":\"%s\"}", p.id[0]);
	assert_int_equal(n_done(s), 1);
	scene_close(s);
}

/* Several notifications in one message; an error is the reason whatever else comes. */
static void
test_many(void **state)
{
	scene *s = open_scene(100);
	char text[1024];
	pushed a, b;

	(void)state;
	subscribe_many(s, "UN", 3);
	a = push(s, "a", 3);
	b = push(s, "b", 3);
	snprintf(
	    text, sizeof(text),
	    "{\"id\":\"%s\"}{\"id\":\"%s\"}\n{\"id\":\"%s\",\"error\":\"full\"}{\"id\":\"%s\"}",
	    a.id[2], b.id[0], b.id[1], a.id[0]);
	take(s, "%s", text);
	assert_int_equal(counted(s, SPR_C_RECEIPTS_TAKEN), 3);
	assert_int_equal(counted(s, SPR_C_RECEIPTS_ERROR), 1);
	assert_int_equal(counted(s, SPR_C_JOBS_CONFIRMED), 3);
	assert_int_equal(n_done(s), 0);
	take(s, "{\"id\":\"%s\"}", a.id[1]);
	assert_int_equal(n_done(s), 1);
	take(s, "{\"id\":\"%s\"}", a.id[1]);
	assert_int_equal(counted(s, SPR_C_RECEIPTS_AGAIN), 1);
	assert_int_equal(counted(s, SPR_C_NACKED_RECEIPT_ERROR), 0);
	take(s, "{\"id\":\"%s\"}", b.id[2]);
	assert_int_equal(counted(s, SPR_C_NACKED_RECEIPT_ERROR), 1);
	/* its receipt comes late, and counts */
	take(s, "{\"id\":\"%s\"}", b.id[1]);
	assert_int_equal(counted(s, SPR_C_RECEIPTS_LATE), 1);
	assert_int_equal(counted(s, SPR_C_JOBS_CONFIRMED), 6);
	scene_close(s);
}

/* A receipt that overtakes the completion of its push: the record is not done before both. */
static void
test_receipt_before_the_push_has_ended(void **state)
{
	scene *s = open_scene(100);
	pushed p = {0};
	char *text;

	(void)state;
	subscribe_many(s, "UN", 2);
	(void)push(s, "0", 2);
	deliver_envelope("1", "{\"predicate\":\"UN\"}");
	(void)turns(s);
	text = spr_fake_end(0, SPR_OK);
	memcpy(p.id[0], text + ID_OFFSET, HEX_AT - ID_OFFSET + SPREADER_JOB_HEX);
	free(text);
	take(s, "{\"id\":\"%s\"}", p.id[0]);
	assert_int_equal(n_done(s), 0);
	/* the other push fails, without a receipt: nacked with the reason of the push */
	free(spr_fake_end(0, SPR_E_CANCELLED));
	assert_int_equal(counted(s, SPR_C_NACKED_PUSH_FAILED), 1);
	scene_close(s);
}

/* Fan-outs wait for credits, and those that have some go on. */
static void
test_credits(void **state)
{
	scene *s = open_scene(5);
	pushed p;

	(void)state;
	subscribe_many(s, "UN", 3);
	p = push(s, "1", 3);
	deliver_envelope("2", "{\"predicate\":\"UN\"}");
	(void)turns(s);
	assert_int_equal(spr_fake_busy(0), 0);
	assert_true(counted(s, SPR_C_DISPATCHER_WAITS_JOBS) > 0);
	assert_int_equal(atomic_load(&s->waiters.waiter[0].wants), SPR_WANT_JOBS);
	/* nothing is read meanwhile */
	deliver_envelope("3", "{\"predicate\":\"nobody\"}");
	(void)turns(s);
	assert_int_equal(counted(s, SPR_C_NOTIFICATIONS), 2);
	/* receipts alone give no credits back: the answer has to be accepted first */
	for (unsigned i = 0; i < 3; i++)
		take(s, "{\"id\":\"%s\"}", p.id[i]);
	assert_int_equal(n_done(s), 1);
	(void)turns(s);
	assert_int_equal(spr_fake_busy(0), 0);
	assert_int_equal(spr_jobs_forget(s->jobs, s->notifications.slab[0].jobs), 3);
	spr_credits_give_back(spr_jobs_credits(s->jobs), 3);
	(void)turns(s);
	assert_int_equal(spr_fake_busy(0), 3);
	assert_int_equal(counted(s, SPR_C_NOTIFICATIONS), 3);
	assert_int_equal(spr_credits_reserved(spr_jobs_credits(s->jobs)), 3);
	assert_int_equal(spr_fake_end_all(0, SPR_OK), 3);
	/* one that waits is failed when the dispatcher gives up */
	deliver_envelope("4", "{\"predicate\":\"UN\"}");
	(void)turns(s);
	assert_false(are_idle(s));
	spr_dispatchers_give_up(s->dispatchers);
	(void)turns(s);
	assert_true(are_idle(s));
	assert_int_equal(counted(s, SPR_C_NACKED_SHUTTING_DOWN), 1);
	scene_close(s);
}

/* Jobs from the i-th on get no memory: those before are pushed, and it is answered when they have their receipts. */
static void
test_jobs_without_memory(void **state)
{
	scene *s = open_scene(100);
	char id[16], *job;
	unsigned n_failed = 0;

	(void)state;
	subscribe_many(s, "UN", 3);
	/* what is allocated once */
	deliver_envelope("m0", "{\"predicate\":\"UN\"}");
	(void)turns(s);
	assert_int_equal(spr_fake_end_all(0, SPR_OK), 3);
	for (unsigned i = 1; i <= 3; i++) {
		snprintf(id, sizeof(id), "m%u", i);
		deliver_envelope(id, "{\"predicate\":\"UN\"}");
		spr_mem_fail_at(i);
		(void)turns(s);
		spr_mem_fail_at(0);
		assert_int_equal(spr_fake_busy(0), i - 1);
		n_failed += 4 - i;
		while ((job = spr_fake_end(0, SPR_OK)) != NULL) {
			assert_int_equal(counted(s, SPR_C_NACKED_OVERLOAD), i - 1);
			job[strcspn(job, ",")] = '\0';
			take(s, "%s}", job);
			free(job);
		}
		assert_int_equal(counted(s, SPR_C_NACKED_OVERLOAD), i);
		assert_int_equal(counted(s, SPR_C_JOBS_FAILED), n_failed);
	}
	scene_close(s);
}

static void
test_no_memory(void **state)
{
	static const spr_transport no_socket = {.pull_open = scene_no_pull};
	const spr_receipts_config config = {.transport = &no_socket, .instance = "x"};
	spr_receipts *receipts = NULL;

	(void)state;
	spr_mem_fail_at(1);
	assert_fails(spr_receipts_new(&receipts, &config), SPR_E_NOMEM);
	assert_int_equal(spr_mem_count(), 1);
	spr_mem_fail_at(0);
	spr_receipts_free(receipts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_shapes),
	    cmocka_unit_test(test_strange),
	    cmocka_unit_test(test_many),
	    cmocka_unit_test(test_receipt_before_the_push_has_ended),
	    cmocka_unit_test(test_credits),
	    cmocka_unit_test(test_jobs_without_memory),
	    cmocka_unit_test(test_no_memory),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
