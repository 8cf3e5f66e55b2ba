/*
 * test_log - what a line looks like in both formats, what untrusted bytes become, what is held back, and that a
 * collector which does not read stops nobody. Lines are read back from a file or a pipe of the test's own.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "spr_test.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"

static int log_file;

/* Everything written since the last call. */
static const char *
take_log(void)
{
	static char text[65536];
	off_t size = lseek(log_file, 0, SEEK_END);

	assert_true(size >= 0 && (size_t)size < sizeof(text));
	assert_int_equal(pread(log_file, text, (size_t)size, 0), size);
	text[size] = '\0';
	assert_int_equal(ftruncate(log_file, 0), 0);
	assert_int_equal(lseek(log_file, 0, SEEK_SET), 0);
	return (text);
}

static int
make_file(void **state)
{
	char *dir = spr_test_tmpdir();
	char path[600];

	*state = dir;
	snprintf(path, sizeof(path), "%s/log", dir);
	log_file = open(path, O_RDWR | O_CREAT, 0600);
	return (log_file < 0);
}

static int
remove_file(void **state)
{
	close(log_file);
	spr_test_cleanup(*state);
	return (0);
}

/* Compares what follows the time. Each test uses ids of its own: the rate is limited by id. */
static void
expect_text(const char *wanted)
{
	const char *got = take_log();
	int64_t wall_s;
	char second[SPR_CLOCK_TEXT_MAX];

	assert_true(strlen(got) > 25);
	memcpy(second, got, 19);
	memcpy(second + 19, "Z", 2);
	assert_true(spr_clock_parse(second, &wall_s));
	assert_true(got[19] == '.' && strspn(got + 20, "0123456789") == 3 && got[23] == 'Z' &&
		    got[24] == ' ');
	assert_string_equal(got + 25, wanted);
}

static void
test_text_line(void **state)
{
	(void)state;
	spr_log_init(SPR_LOG_INFO, SPR_LOG_TEXT, log_file);
	spr_info("T-PLAIN", "peer=%s len=%zu", "tcp://x:1", (size_t)5);
	expect_text("info T-PLAIN role=none peer=tcp://x:1 len=5\n");
	spr_error("T-QUOTED", "why=\"%s in %s\" n=%d", "bad thing", "line 1", -3);
	expect_text("error T-QUOTED role=none why=\"bad thing in line 1\" n=-3\n");
	spr_warn("T-NONE", " ");
	expect_text("warn T-NONE role=none\n");
	spr_warn("T-SPACES", "  a=1   b=2  ");
	expect_text("warn T-SPACES role=none a=1 b=2\n");
	spr_warn("T-NOVALUE", "a= b=\"\" c");
	expect_text("warn T-NOVALUE role=none a=\"\" b=\"\" c=\"\"\n");
}

static void *
log_as_ledger(void *arg)
{
	(void)arg;
	spr_role_set(SPR_ROLE_LEDGER);
	spr_info("T-ROLE", "a=1");
	return (NULL);
}

static void
test_role_is_added(void **state)
{
	pthread_t thread;

	(void)state;
	spr_log_init(SPR_LOG_INFO, SPR_LOG_TEXT, log_file);
	assert_int_equal(pthread_create(&thread, NULL, log_as_ledger, NULL), 0);
	pthread_join(thread, NULL);
	expect_text("info T-ROLE role=ledger a=1\n");
}

static void
test_conversions(void **state)
{
	const char *volatile nothing =
	    NULL; /* volatile: the compiler would refuse a NULL that it sees */

	(void)state;
	spr_log_init(SPR_LOG_INFO, SPR_LOG_TEXT, log_file);
	spr_info("T-INT", "a=%d b=%i c=%u d=%x e=%ld f=%lu g=%lld h=%llu", -1, 2, 4000000000U, 255U,
		 -5L, 6UL, -7LL, ~0ULL);
	expect_text("info T-INT role=none a=-1 b=2 c=4000000000 d=ff e=-5 f=6 g=-7 "
		    "h=18446744073709551615\n");
	spr_info("T-WIDE", "a=%zu b=%jd c=%td d=%hd e=%hhu f=%05d g=%lx", (size_t)1, (intmax_t)-2,
		 (ptrdiff_t)3, (short)-4, (unsigned char)5, 6, 255UL);
	expect_text("info T-WIDE role=none a=1 b=-2 c=3 d=-4 e=5 f=6 g=ff\n");
	spr_info("T-STR", "a=%.*s b=%.3s c=%s d=%c e=100%%", 2, "xyz", "xyzzy", nothing, 'q');
	expect_text("info T-STR role=none a=xy b=xyz c=(null) d=q e=100%\n");
	spr_info("T-REAL", "a=%.3f b=%g p=%p", 1.5, 0.25, NULL);
	expect_text("info T-REAL role=none a=1.500 b=0.25 p=(nil)\n");
}

static void
test_an_argument_cannot_leave_its_value(void **state)
{
	(void)state;
	spr_log_init(SPR_LOG_INFO, SPR_LOG_TEXT, log_file);
	spr_info("T-INJECT", "peer=%s why=\"%s\"", "a b=c", "\" admin=1 x=\"");
	expect_text("info T-INJECT role=none peer=\"a b=c\" why=\"\\\" admin=1 x=\\\"\"\n");
	spr_info("T-LINES", "a=%s", "x\n2026-01-01T00:00:00Z error FAKE\r\t\x1b[2J\x7f");
	expect_text("info T-LINES role=none a=\"x\\n2026-01-01T00:00:00Z error "
		    "FAKE\\r\\t\\x1b[2J\\x7f\"\n");
	spr_info("T-UTF8", "a=%s b=%s c=%s", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
		 "\xc3(\xff\xc0\x80",
		 "\xc2\x9b"
		 "31m\xed\xa0\x80");
	expect_text("info T-UTF8 role=none a=\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\" "
		    "b=\"\\xc3(\\xff\\xc0\\x80\" c=\"\\xc2\\x9b31m\\xed\\xa0\\x80\"\n");
	spr_info("T-BACK", "a=%s", "C:\\x");
	expect_text("info T-BACK role=none a=\"C:\\\\x\"\n");
}

static const char *
string_of(const cJSON *object, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));

	return (text == NULL ? "(absent)" : text);
}

static cJSON *
take_json(void)
{
	const char *text = take_log();
	const char *end = NULL;
	cJSON *object = cJSON_ParseWithOpts(text, &end, false);

	assert_non_null(object);
	assert_string_equal(end, "\n");
	assert_int_equal(strchr(text, '\n') - text + 1, strlen(text));
	return (object);
}

static void
test_json_line(void **state)
{
	int64_t wall_s;
	cJSON *object;

	(void)state;
	spr_log_init(SPR_LOG_DEBUG, SPR_LOG_AUTO, log_file); /* a file is no terminal */
	spr_debug("J-PLAIN", "peer=%s len=%d why=\"%s\"", "tcp://x", 7,
		  "two \"words\"\n\x01\xff\\");
	object = take_json();
	assert_true(spr_clock_parse(string_of(object, "time"), &wall_s));
	assert_string_equal(string_of(object, "level"), "debug");
	assert_string_equal(string_of(object, "event"), "J-PLAIN");
	assert_string_equal(string_of(object, "role"), "none");
	assert_string_equal(string_of(object, "peer"), "tcp://x");
	assert_string_equal(string_of(object, "len"), "7");
	assert_string_equal(string_of(object, "why"), "two \"words\"\n\x01\\xff\\");
	cJSON_Delete(object);
}

/* ^S, and somebody who never comes back. */
static void
test_a_held_terminal_does_not_stall(void **state)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	int terminal;
	uint64_t before;

	(void)state;
	if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0)
		skip(); /* no terminals here */
	assert_true((terminal = open(ptsname(master), O_RDWR | O_NOCTTY)) >= 0);
	spr_log_init(SPR_LOG_INFO, SPR_LOG_AUTO, terminal);
	assert_int_equal(tcflow(terminal, TCOOFF), 0);
	before = spr_counter_sum(SPR_C_LOG_SUPPRESSED);
	spr_info("T-HELD", "a=1"); /* hangs the test if it blocks */
	assert_int_equal(spr_counter_sum(SPR_C_LOG_SUPPRESSED), before + 1);
	spr_log_init(SPR_LOG_INFO, SPR_LOG_TEXT, log_file);
	assert_int_equal(tcflow(terminal, TCOON), 0);
	close(terminal);
	close(master);
}

static void
test_any_bytes_make_valid_json(void **state)
{
	static char id[32][16]; /* the limiter keeps ids: they must last */
	uint64_t rng = spr_test_seed();

	(void)state;
	spr_log_init(SPR_LOG_INFO, SPR_LOG_JSON, log_file);
	for (int i = 0; i < 32; i++) {
		unsigned char bytes[1500];
		size_t n = 1 + spr_test_below(&rng, sizeof(bytes) - 1);

		for (size_t j = 0; j < n; j++)
			bytes[j] = (unsigned char)(1 + spr_test_below(&rng, 255));
		snprintf(id[i], sizeof(id[i]), "R-%d", i);
		spr_info(id[i], "a=%.*s b=\"%.*s\" c=1 d=%.*s e=%d", (int)n, bytes, (int)n, bytes,
			 (int)n, bytes, i);
		cJSON_Delete(take_json());
	}
}

static void
test_a_long_line_is_cut_and_stays_a_line(void **state)
{
	char big[8000];
	cJSON *object;

	(void)state;
	memset(big, '\n', sizeof(big) - 1); /* each takes two bytes */
	big[sizeof(big) - 1] = '\0';
	spr_log_init(SPR_LOG_INFO, SPR_LOG_JSON, log_file);
	spr_info("J-LONG", "a=%s b=%s c=%s d=%s e=1", big, big, big, big);
	object = take_json();
	assert_int_equal(strlen(string_of(object, "a")), 1024);
	assert_string_equal(string_of(object, "e"), "(absent)");
	cJSON_Delete(object);
	spr_log_init(SPR_LOG_INFO, SPR_LOG_TEXT, log_file);
	spr_info("T-LONG", "a=%s b=%s c=%s d=%s e=1", big, big, big, big);
	assert_in_range(strlen(take_log()), 3900, 4096);
}

static int
must_not_run(void)
{
	fail_msg("an argument below the level was evaluated");
	return (0);
}

static void
test_levels(void **state)
{
	(void)state;
	spr_log_init(SPR_LOG_WARN, SPR_LOG_TEXT, log_file);
	assert_true(spr_log_is_on(SPR_LOG_ERROR));
	assert_true(spr_log_is_on(SPR_LOG_WARN));
	assert_false(spr_log_is_on(SPR_LOG_INFO));
	spr_info("L-INFO", "a=%d", must_not_run());
	spr_debug("L-DEBUG", "a=%d", must_not_run());
	assert_string_equal(take_log(), "");
	spr_log_set_level(SPR_LOG_DEBUG);
	spr_debug("L-DEBUG", "a=%d", 1);
	expect_text("debug L-DEBUG role=none a=1\n");
}

static unsigned
lines_in(const char *text)
{
	unsigned n = 0;

	for (; (text = strchr(text, '\n')) != NULL; text++)
		n++;
	return (n);
}

/* The sum of all suppressed=N in the text. */
static uint64_t
suppressed_in(const char *text)
{
	uint64_t sum = 0;

	for (; (text = strstr(text, " suppressed=")) != NULL; text++)
		sum += strtoull(text + 12, NULL, 10);
	return (sum);
}

/* Logs once more; true when every event held back has been told of. */
static bool
has_told_all(const char *id, uint64_t before, uint64_t *n_told)
{
	spr_info(id, "last=1");
	*n_told += suppressed_in(take_log());
	return (*n_told == spr_counter_sum(SPR_C_LOG_SUPPRESSED) - before);
}

static void
test_one_id_is_limited_and_its_count_reported(void **state)
{
	uint64_t before = spr_counter_sum(SPR_C_LOG_SUPPRESSED);
	uint64_t n_held_back, n_told;
	const char *text;

	(void)state;
	spr_log_init(SPR_LOG_INFO, SPR_LOG_TEXT, log_file);
	for (int i = 0; i < 1000; i++)
		spr_info("RATE-A", "i=%d", i);
	text = take_log();
	n_told = suppressed_in(text);
	n_held_back = spr_counter_sum(SPR_C_LOG_SUPPRESSED) - before;
	assert_true(lines_in(text) >= 10 && n_held_back > 0);
	assert_int_equal(lines_in(text) + n_held_back, 1000);
	spr_info("RATE-B", "a=1"); /* another id is not held back for it */
	expect_text("info RATE-B role=none a=1\n");
	assert_true(wait_until(has_told_all("RATE-A", before, &n_told), 30000));
	assert_true(n_told >= n_held_back);
}

static void
test_more_ids_than_the_limiter_knows(void **state)
{
	static char ids[300][16];

	(void)state;
	spr_log_init(SPR_LOG_INFO, SPR_LOG_TEXT, log_file);
	for (int i = 0; i < 300; i++) {
		snprintf(ids[i], sizeof(ids[i]), "MANY-%d", i);
		spr_info(ids[i], "a=1");
		assert_int_equal(lines_in(take_log()), 1);
	}
}

#define N_LOGGERS 4
#define N_EVENTS  200

static void *
log_often(void *arg)
{
	(void)arg;
	for (int i = 0; i < N_EVENTS; i++)
		spr_info("RATE-MANY", "text=\"%s\" i=%d", "some words", i);
	return (NULL);
}

static void
test_threads_do_not_mix_lines_nor_lose_counts(void **state)
{
	static const char wanted[] = " info RATE-MANY role=none text=\"some words\" i=";
	uint64_t before = spr_counter_sum(SPR_C_LOG_SUPPRESSED);
	pthread_t threads[N_LOGGERS];
	const char *text;
	unsigned n_lines;

	(void)state;
	spr_log_init(SPR_LOG_INFO, SPR_LOG_TEXT, log_file);
	for (int i = 0; i < N_LOGGERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, log_often, NULL), 0);
	for (int i = 0; i < N_LOGGERS; i++)
		pthread_join(threads[i], NULL);
	text = take_log();
	n_lines = lines_in(text);
	assert_int_equal(n_lines + spr_counter_sum(SPR_C_LOG_SUPPRESSED) - before,
			 N_LOGGERS * N_EVENTS);
	for (; *text != '\0'; text = strchr(text, '\n') + 1)
		assert_memory_equal(text + 24, wanted, sizeof(wanted) - 1);
}

static void
test_auto_is_text_on_a_terminal(void **state)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	int terminal;
	char line[512];
	ssize_t n;

	(void)state;
	if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0)
		skip(); /* no terminals here */
	terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
	assert_true(terminal >= 0);
	spr_log_init(SPR_LOG_INFO, SPR_LOG_AUTO, terminal);
	spr_info("T-TERMINAL", "a=1");
	n = read(master, line, sizeof(line) - 1);
	assert_true(n > 0);
	line[n] = '\0';
	assert_non_null(strstr(line, "Z info T-TERMINAL role=none a=1"));
	spr_log_init(SPR_LOG_INFO, SPR_LOG_TEXT, log_file);
	close(terminal);
	close(master);
}

static void
fill(int fd)
{
	static char zeros[4096];
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		continue;
	while (write(fd, zeros, 1) > 0)
		continue;
	fcntl(fd, F_SETFL, flags);
}

static void
expect_no_stall(const char *id, int reader, int writer)
{
	uint64_t before;
	char drained[4096];
	ssize_t n;

	spr_log_init(SPR_LOG_INFO, SPR_LOG_TEXT, writer);
	spr_info(id, "a=1");
	n = read(reader, drained, sizeof(drained));
	assert_true(n > 0 && memmem(drained, (size_t)n, " a=1\n", 5) != NULL);
	fill(writer);
	before = spr_counter_sum(SPR_C_LOG_SUPPRESSED);
	errno = 1234;
	spr_info(id, "a=1"); /* hangs the test if it blocks */
	assert_int_equal(errno, 1234);
	assert_int_equal(spr_counter_sum(SPR_C_LOG_SUPPRESSED), before + 1);
	fcntl(reader, F_SETFL, O_NONBLOCK);
	while (read(reader, drained, sizeof(drained)) > 0)
		continue;
	spr_info(id, "a=2");
	n = read(reader, drained, sizeof(drained));
	assert_true(n > 0 && memmem(drained, (size_t)n, " a=2 suppressed=1\n", 18) != NULL);
}

static void
test_a_full_pipe_does_not_stall(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	expect_no_stall("PIPE", fds[0], fds[1]);
	close(fds[0]);
	close(fds[1]);
	spr_log_init(SPR_LOG_INFO, SPR_LOG_TEXT, log_file);
}

static void
test_a_full_socket_does_not_stall(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	expect_no_stall("SOCK", fds[0], fds[1]);
	close(fds[0]);
	close(fds[1]);
	spr_log_init(SPR_LOG_INFO, SPR_LOG_TEXT, log_file);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_text_line),
	    cmocka_unit_test(test_role_is_added),
	    cmocka_unit_test(test_conversions),
	    cmocka_unit_test(test_an_argument_cannot_leave_its_value),
	    cmocka_unit_test(test_json_line),
	    cmocka_unit_test(test_a_long_line_is_cut_and_stays_a_line),
	    cmocka_unit_test(test_levels),
	    cmocka_unit_test(test_one_id_is_limited_and_its_count_reported),
	    cmocka_unit_test(test_threads_do_not_mix_lines_nor_lose_counts),
	    cmocka_unit_test(test_auto_is_text_on_a_terminal),
	    cmocka_unit_test(test_a_full_pipe_does_not_stall),
	    cmocka_unit_test(test_a_full_socket_does_not_stall),
	    cmocka_unit_test(test_a_held_terminal_does_not_stall),
	    cmocka_unit_test(test_any_bytes_make_valid_json),
	    cmocka_unit_test(test_more_ids_than_the_limiter_knows),
	};
	return (cmocka_run_group_tests(tests, make_file, remove_file));
}
