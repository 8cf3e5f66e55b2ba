/*
 * test_log_recent - warnings and errors stay, the newest first; nothing else, and never half a character.
 */
#include "base/log_recent.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "spr_test.h"

static char lines[SPR_RECENT_MAX][SPR_RECENT_TEXT];

static void
test_ring(void **state)
{
	char line[32];

	(void)state;
	assert_int_equal(spr_log_recent_read(lines), 0);
	for (unsigned i = 0; i < SPR_RECENT_MAX + 5; i++) {
		snprintf(line, sizeof(line), "line %u\n", i);
		spr_log_recent_add(line, strlen(line));
		assert_int_equal(spr_log_recent_read(lines),
				 i + 1 < SPR_RECENT_MAX ? i + 1 : SPR_RECENT_MAX);
		line[strlen(line) - 1] = '\0';
		assert_string_equal(lines[0], line);
	}
	snprintf(line, sizeof(line), "line %u", 5);
	assert_string_equal(lines[SPR_RECENT_MAX - 1], line);
}

static void
test_cut(void **state)
{
	char line[SPR_RECENT_TEXT + 100];

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line + SPR_RECENT_TEXT - 3, "\xe2\x82\xac",
	       3); /* its last byte would be the one too many */
	spr_log_recent_add(line, sizeof(line));
	assert_int_equal(spr_log_recent_read(lines), SPR_RECENT_MAX);
	assert_int_equal(strlen(lines[0]), SPR_RECENT_TEXT - 3);
	spr_log_recent_add("", 0);
	(void)spr_log_recent_read(lines);
	assert_string_equal(lines[0], "");
}

static void
test_what_the_log_says(void **state)
{
	(void)state;
	spr_log_init(SPR_LOG_DEBUG, SPR_LOG_TEXT, open("/dev/null", O_WRONLY | O_CLOEXEC));
	spr_warn("T-WARN", "a=%d", 1);
	spr_error("T-ERROR", "b=%d", 2);
	spr_info("T-INFO", "c=%d", 3);
	(void)spr_log_recent_read(lines);
	assert_non_null(strstr(lines[0], "error T-ERROR role=none b=2"));
	assert_non_null(strstr(lines[1], "warn T-WARN role=none a=1"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ring),
	    cmocka_unit_test(test_cut),
	    cmocka_unit_test(test_what_the_log_says),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
