/*
 * log - the running daemon's log: a USR1 dumps the state as JSON, and a collector that does not read stops nothing.
 */
#include "flow.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spr_test.h"

/* The last whole line of that event, as JSON, or NULL. */
static cJSON *
last_event(flow *f, const char *id)
{
	char *log = daemon_log(f);
	cJSON *found = NULL;
	char *rest = log, *line, *end;

	while ((line = rest) != NULL && (end = strchr(line, '\n')) != NULL) {
		cJSON *event = cJSON_ParseWithLength(line, (size_t)(end - line));

		rest = end + 1;
		assert_non_null(event); /* not to a terminal: every line is JSON */
		if (strcmp(cJSON_GetObjectItemCaseSensitive(event, "event")->valuestring, id) ==
		    0) {
			cJSON_Delete(found);
			found = event;
		} else {
			cJSON_Delete(event);
		}
	}
	free(log);
	return (found);
}

static const char *
field(const cJSON *event, const char *name)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(event, name);

	assert_true(cJSON_IsString(value));
	return (value->valuestring);
}

static void
test_usr1_dumps_the_state(void **state)
{
	flow *f = *state;
	cJSON *event = NULL;

	start_daemon(f, NULL);
	start_worker(f);
	expect_stat(f, "spreader_peers{socket=\"outbox\"}", 1);
	subscribe(f, "UN.A", "http://a");
	spr_proc_signal(f->daemon, SIGUSR1);
	assert_true(
	    wait_until((event = last_event(f, "STATE")) != NULL, (unsigned)spr_test_deadline_ms()));
	assert_string_equal(field(event, "level"), "info");
	assert_string_equal(field(event, "role"), "main");
	assert_string_equal(field(event, "in_flight"), "0");
	assert_string_equal(field(event, "outbox_peers"), "1");
	assert_string_equal(field(event, "subscriptions"), "1");
	cJSON_Delete(event);
	finish(f);
}

/* A pipe that takes no more from the start, and a program that hands it to the daemon as its stderr. */
static int
make_stuck_collector(flow *f)
{
	char path[96], program[96], junk[4096] = {0};
	FILE *file;
	int fd;

	snprintf(path, sizeof(path), "%s/collector", f->dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_true((fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)) >= 0);
	while (write(fd, junk, sizeof(junk)) > 0)
		continue;
	snprintf(program, sizeof(program), "%s/under", f->dir);
	assert_non_null(file = fopen(program, "w"));
	fprintf(file, "#!/bin/sh\nexec \"$@\" 2>%s\n", path);
	fclose(file);
	assert_int_equal(chmod(program, 0700), 0);
	setenv("SPR_TEST_DAEMON_UNDER", program, 1);
	return (fd);
}

static void
test_a_stuck_collector_stops_nothing(void **state)
{
	flow *f = *state;
	int collector;

	if (getenv("SPR_TEST_DAEMON_UNDER") != NULL)
		skip();
	collector = make_stuck_collector(f);
	start_upstream(f);
	start_daemon(f, NULL);
	unsetenv("SPR_TEST_DAEMON_UNDER");
	start_worker(f);
	subscribe(f, "UN.A", "http://a");
	expect_stat(f, "spreader_log_suppressed_total", 1); /* READY was lost */
	spr_proc_signal(f->daemon, SIGUSR1);
	expect_stat(f, "spreader_log_suppressed_total", 2);
	push_envelope(f, "1", "{\"predicate\":\"UN.A\"}");
	expect_job(f, "http://a", "{\"predicate\":\"UN.A\"}");
	expect_ack(f, "1");
	finish(f);
	close(collector);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_usr1_dumps_the_state),
	    flow_test(test_a_stuck_collector_stops_nothing),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
