/*
 * Dead letters on their way to the file: each call, each thing that can go wrong with a disk, the
 * bound of the queue. Most tests have no thread and flush by hand; the last ones run the real one.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/mem.h"
#include "dead_letter_scene.h"

static void
assert_counts(const scene *s, uint64_t n_letters, uint64_t n_errors)
{
	assert_int_equal(spr_counter_sum(SPR_C_DEAD_LETTERS) - s->n_letters, n_letters);
	assert_int_equal(spr_counter_sum(SPR_C_DEAD_LETTER_ERRORS) - s->n_errors, n_errors);
}

static unsigned
count_lines(const char *path)
{
	size_t len;
	char *text = read_file(path, &len);
	unsigned n = 0;

	for (size_t i = 0; i < len; i++)
		n += text[i] == '\n';
	free(text);
	return (n);
}

static void
without_a_file_it_counts(void **state)
{
	spr_dead_letter *dl = NULL;
	uint64_t n = spr_counter_sum(SPR_C_DEAD_LETTERS);
	(void)state;

	assert_ok(spr_dead_letter_new(&dl, NULL));
	assert_ok(spr_dead_letter_start(dl));
	spr_dead_letter_write(dl, SPREADER_REASON_REFUSED, NULL, NOTHING, range_of("1"), NOTHING);
	spr_dead_letter_reopen(dl);
	assert_int_equal(spr_dead_letter_flush(dl), 0);
	assert_int_equal(spr_counter_sum(SPR_C_DEAD_LETTERS), n + 1);
	spr_dead_letter_stop(dl);
	spr_dead_letter_free(dl);
	spr_dead_letter_free(NULL);
}

static void
new_names_the_file(void **state)
{
	spr_dead_letter *dl = NULL;
	(void)state;

	assert_fails(spr_dead_letter_new(&dl, "/nowhere/dead.ndjson"), SPR_E_IO);
	assert_string_equal(
	    spr_error_text(SPR_E_IO),
	    "open dead-letter file /nowhere/dead.ndjson: No such file or directory");
	assert_null(dl);
}

static void
new_fails_without_memory(void **state)
{
	char *dir = spr_test_tmpdir(), path[256];
	spr_dead_letter *dl = NULL;
	unsigned long n;
	(void)state;

	snprintf(path, sizeof(path), "%s/dead.ndjson", dir);
	spr_mem_fail_at(0);
	assert_ok(spr_dead_letter_new(&dl, path));
	n = spr_mem_count();
	spr_dead_letter_free(dl);
	dl = NULL;
	assert_true(n >= 2);
	for (unsigned long i = 1; i <= n; i++) {
		spr_mem_fail_at(i);
		assert_fails(spr_dead_letter_new(&dl, path), SPR_E_NOMEM);
		assert_null(dl);
	}
	spr_mem_fail_at(0);
	spr_test_cleanup(dir);
}

static void
file_is_private(void **state)
{
	scene s = scene_open(NULL);
	struct stat st;
	(void)state;

	assert_int_equal(stat(s.path, &st), 0);
	assert_int_equal(st.st_mode & 0077, 0);
	scene_close(&s);
}

static void
every_reason_has_its_line(void **state)
{
	static const char *const names[] = {
#define X(name, code, retry, detail) code,
	    SPREADER_REASONS(X)
#undef X
	};
	scene s = scene_open(NULL);
	unsigned n = SPREADER_N_REASONS - 1;
	(void)state;

	for (unsigned i = 0; i < n; i++)
		spr_dead_letter_write(s.dl, (spreader_reason)(i + 1), NULL, range_of("eu"),
				      range_of("7\"\n"), range_of("{\"a\":\"\\u00e9\"}"));
	assert_int_equal(spr_dead_letter_flush(s.dl), n);
	assert_int_equal(spr_dead_letter_flush(s.dl), 0);
	assert_int_equal(count_lines(s.path), n);
	for (unsigned i = 0; i < n; i++) {
		cJSON *line = line_of(s.path, i);
		int64_t wall_s;

		assert_int_equal(cJSON_GetArraySize(line), 5);
		assert_true(spr_clock_parse(spr_json_text(line, "time"), &wall_s));
		assert_true(wall_s <= spr_clock_wall_s() && wall_s > spr_clock_wall_s() - 3600);
		assert_string_equal(spr_json_text(line, "reason"), names[i]);
		assert_string_equal(spr_json_text(line, "from"), "eu");
		assert_string_equal(spr_json_text(line, "id"), "7\"\n");
		assert_string_equal(spr_json_text(line, "bytes"), "{\"a\":\"\\u00e9\"}");
		cJSON_Delete(line);
	}
	assert_counts(&s, n, 0);
	scene_close(&s);
}

static void
write_id(scene *s, const char *id)
{
	spr_dead_letter_write(s->dl, SPREADER_REASON_REFUSED, NULL, NOTHING, range_of(id), NOTHING);
}

static void
assert_id(const char *path, unsigned n, const char *id)
{
	cJSON *line = line_of(path, n);

	assert_string_equal(spr_json_text(line, "id"), id);
	cJSON_Delete(line);
}

static void
old_lines_stay(void **state)
{
	scene s = scene_open("{\"id\":\"old\"}\n");
	(void)state;

	write_id(&s, "new");
	spr_dead_letter_flush(s.dl);
	assert_int_equal(count_lines(s.path), 2);
	assert_id(s.path, 0, "old");
	assert_id(s.path, 1, "new");
	scene_close(&s);
}

static void
torn_line_costs_only_itself(void **state)
{
	scene s = scene_open("{\"id\":\"old\"}\n{\"id\":\"tor");
	(void)state;

	write_id(&s, "1");
	write_id(&s, "2");
	spr_dead_letter_flush(s.dl);
	assert_int_equal(count_lines(s.path), 4);
	assert_id(s.path, 2, "1");
	assert_id(s.path, 3, "2");
	scene_close(&s);
}

static void
reopen_after_a_rename(void **state)
{
	scene s = scene_open(NULL);
	char moved[300];
	(void)state;

	snprintf(moved, sizeof(moved), "%s.1", s.path);
	write_id(&s, "1");
	spr_dead_letter_flush(s.dl);
	assert_int_equal(rename(s.path, moved), 0);
	write_id(&s, "2");
	spr_dead_letter_flush(s.dl);
	spr_dead_letter_reopen(s.dl);
	write_id(&s, "3");
	spr_dead_letter_flush(s.dl);
	assert_int_equal(count_lines(moved), 2);
	assert_id(moved, 1, "2");
	assert_int_equal(count_lines(s.path), 1);
	assert_id(s.path, 0, "3");
	scene_close(&s);
}

static void
failed_reopen_keeps_the_file(void **state)
{
	scene s = scene_open(NULL);
	char moved[300];
	(void)state;

	snprintf(moved, sizeof(moved), "%s.1", s.path);
	assert_int_equal(rename(s.path, moved), 0);
	assert_int_equal(mkdir(s.path, 0700), 0); /* a directory in its place */
	spr_dead_letter_reopen(s.dl);
	write_id(&s, "1");
	spr_dead_letter_flush(s.dl);
	assert_id(moved, 0, "1");
	assert_counts(&s, 1, 0);
	scene_close(&s);
}

/* The limit falls into the middle of a line; what was written of it is taken back. */
static void
full_disk_is_counted_and_survived(void **state)
{
	struct rlimit old, low;
	scene s = scene_open(NULL);
	struct stat st;
	(void)state;

	write_id(&s, "1");
	spr_dead_letter_flush(s.dl);
	assert_int_equal(stat(s.path, &st), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)st.st_size + 20;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	write_id(&s, "2");
	write_id(&s, "3");
	assert_int_equal(spr_dead_letter_flush(s.dl), 2);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_counts(&s, 3, 2);

	write_id(&s, "4");
	spr_dead_letter_flush(s.dl);
	assert_int_equal(count_lines(s.path), 2);
	assert_id(s.path, 0, "1");
	assert_id(s.path, 1, "4");
	assert_counts(&s, 4, 2);
	scene_close(&s);
}

static void
device_without_room(void **state)
{
	scene s = scene_open(NULL);
	spr_dead_letter *full = NULL;
	(void)state;

	assert_ok(spr_dead_letter_new(&full, "/dev/full"));
	spr_dead_letter_write(full, SPREADER_REASON_NO_ID, NULL, NOTHING, NOTHING, range_of("{}"));
	assert_int_equal(spr_dead_letter_flush(full), 1);
	assert_counts(&s, 1, 1);
	spr_dead_letter_free(full);
	scene_close(&s);
}

/* A pipe that nobody reads must not stop the thread. */
static void
pipe_that_is_full(void **state)
{
	scene s = scene_open(NULL);
	char path[300];
	uint8_t *bytes = calloc(1, SPR_DEAD_LETTER_BYTES_MAX);
	spr_dead_letter *dl = NULL;
	(void)state;

	assert_non_null(bytes);
	snprintf(path, sizeof(path), "%s/pipe", s.dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_ok(spr_dead_letter_new(&dl, path));
	for (unsigned i = 0; i < 3; i++)
		spr_dead_letter_write(dl, SPREADER_REASON_NO_ID, NULL, NOTHING, NOTHING,
				      (spr_range){bytes, SPR_DEAD_LETTER_BYTES_MAX});
	assert_int_equal(spr_dead_letter_flush(dl), 3);
	assert_counts(&s, 3, 3);
	spr_dead_letter_free(dl);
	free(bytes);
	scene_close(&s);
}

static void
queue_has_a_bound(void **state)
{
	size_t most = SPR_DEAD_LETTER_QUEUE_MAX / SPR_DEAD_LETTER_BYTES_MAX;
	uint8_t *bytes = calloc(1, SPR_DEAD_LETTER_BYTES_MAX);
	scene s = scene_open(NULL);
	(void)state;

	assert_non_null(bytes);
	memset(bytes, ' ', SPR_DEAD_LETTER_BYTES_MAX);
	for (unsigned round = 1; round <= 2; round++) {
		for (size_t i = 0; i < most + 9; i++)
			spr_dead_letter_write(s.dl, SPREADER_REASON_NOT_JSON, NULL, NOTHING,
					      NOTHING,
					      (spr_range){bytes, SPR_DEAD_LETTER_BYTES_MAX});
		/* one less fits, for what a letter needs beside its bytes */
		assert_counts(&s, round * (most + 9), round * 10);
		assert_int_equal(spr_dead_letter_flush(s.dl), most - 1);
	}
	assert_int_equal(count_lines(s.path), 2 * (most - 1));
	free(bytes);
	scene_close(&s);
}

static void
letter_without_memory_is_counted(void **state)
{
	scene s = scene_open(NULL);
	(void)state;

	spr_mem_fail_at(1); /* when it is queued */
	write_id(&s, "1");
	spr_mem_fail_at(0);
	assert_counts(&s, 1, 1);
	write_id(&s, "2");
	spr_mem_fail_at(1); /* when it is written */
	assert_int_equal(spr_dead_letter_flush(s.dl), 1);
	spr_mem_fail_at(0);
	assert_counts(&s, 2, 2);
	write_id(&s, "3");
	spr_dead_letter_flush(s.dl);
	assert_int_equal(count_lines(s.path), 1);
	assert_id(s.path, 0, "3");
	scene_close(&s);
}

#define N_WRITERS 4
#define N_EACH    500

typedef struct writer {
	scene *scene;
	unsigned number;
	pthread_t thread;
} writer;

static void *
write_many(void *arg)
{
	writer *w = arg;
	char id[32];

	for (unsigned i = 0; i < N_EACH; i++) {
		snprintf(id, sizeof(id), "%u-%u", w->number, i);
		write_id(w->scene, id);
		if (i % 100 == 99)
			spr_dead_letter_reopen(w->scene->dl);
	}
	return (NULL);
}

/* Each writer's letters are there once, in its order. */
static void
several_writers_one_thread(void **state)
{
	scene s = scene_open(NULL);
	writer writers[N_WRITERS];
	unsigned next[N_WRITERS] = {0}, number, i;
	size_t len;
	char *text, *at;
	(void)state;

	assert_ok(spr_dead_letter_start(s.dl));
	for (unsigned k = 0; k < N_WRITERS; k++) {
		writers[k] = (writer){.scene = &s, .number = k};
		assert_int_equal(pthread_create(&writers[k].thread, NULL, write_many, &writers[k]),
				 0);
	}
	for (unsigned k = 0; k < N_WRITERS; k++)
		pthread_join(writers[k].thread, NULL);
	spr_dead_letter_stop(s.dl);
	text = read_file(s.path, &len);
	for (at = text; (at = strstr(at, "\"id\":\"")) != NULL;) {
		at += strlen("\"id\":\"");
		assert_int_equal(sscanf(at, "%u-%u", &number, &i), 2);
		assert_true(number < N_WRITERS);
		assert_int_equal(i, next[number]++);
	}
	for (unsigned k = 0; k < N_WRITERS; k++)
		assert_int_equal(next[k], N_EACH);
	free(text);
	assert_int_equal(count_lines(s.path), N_WRITERS * N_EACH);
	assert_counts(&s, N_WRITERS * N_EACH, 0);
	scene_close(&s);
}

static void
thread_writes_without_a_stop(void **state)
{
	scene s = scene_open(NULL);
	(void)state;

	assert_ok(spr_dead_letter_start(s.dl));
	write_id(&s, "1");
	assert_true(wait_until(count_lines(s.path) == 1, 20000));
	scene_close(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_a_file_it_counts),
	    cmocka_unit_test(new_names_the_file),
	    cmocka_unit_test(new_fails_without_memory),
	    cmocka_unit_test(file_is_private),
	    cmocka_unit_test(every_reason_has_its_line),
	    cmocka_unit_test(old_lines_stay),
	    cmocka_unit_test(torn_line_costs_only_itself),
	    cmocka_unit_test(reopen_after_a_rename),
	    cmocka_unit_test(failed_reopen_keeps_the_file),
	    cmocka_unit_test(full_disk_is_counted_and_survived),
	    cmocka_unit_test(device_without_room),
	    cmocka_unit_test(pipe_that_is_full),
	    cmocka_unit_test(queue_has_a_bound),
	    cmocka_unit_test(letter_without_memory_is_counted),
	    cmocka_unit_test(several_writers_one_thread),
	    cmocka_unit_test(thread_writes_without_a_stop),
	};

	signal(SIGXFSZ, SIG_IGN); /* the full disk is made by RLIMIT_FSIZE */
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
