/*
 * start - exit statuses and what is said with them, --check-config, and the reload of lease flags on HUP.
 */
#include "flow.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spr_test.h"

/* Ends with this status, and its log names what is wrong. */
static void
expect_failure(flow *f, const char *const flags[], int status, const char *named)
{
	char *log;

	assert_int_equal(run_daemon(f, flags), status);
	log = daemon_log(f);
	if (strstr(log, named) == NULL)
		fail_msg("the log does not say '%s' but: %s", named, log);
	free(log);
}

static void
test_bad_command_line(void **state)
{
	flow *f = *state;

	expect_failure(f, FLAGS("--no-such-flag"), 2, "no-such-flag");
	expect_failure(f, FLAGS("--ring-slots"), 2, "ring-slots");
	expect_failure(f, FLAGS("--ring-slots", "3"), 2, "ring-slots");
	expect_failure(f, FLAGS("--drain-timeout", "5 weeks"), 2, "5 weeks");
}

static void
test_bad_configuration(void **state)
{
	flow *f = *state;
	char path[96];
	FILE *file;

	expect_failure(f, FLAGS("--intake-format", "bare", "--ack-dial", "tcp://127.0.0.1:1"), 78,
		       "intake-format");
	expect_failure(f, FLAGS("--control-listen", "tcp://0.0.0.0:0"), 78, "loopback");
	expect_failure(f, FLAGS("--http-listen", "0.0.0.0:0"), 78, "--admin-token-file");
	expect_failure(f, FLAGS("--max-inflight-bytes", "1MiB"), 78, "max-inflight-bytes");
	expect_failure(f, FLAGS("--config", "/no/such/file"), 78, "/no/such/file");
	snprintf(path, sizeof(path), "%s/c.json", f->dir);
	file = fopen(path, "w");
	fputs("{\"dispatchers\": 0}", file);
	fclose(file);
	expect_failure(f, FLAGS("--config", path), 78, "dispatchers");
}

static void
test_check_config(void **state)
{
	flow *f = *state;
	char path[96];

	assert_int_equal(run_daemon(f, FLAGS("--check-config")), 0);
	expect_failure(f, FLAGS("--check-config", "--ring-slots", "3"), 78, "ring-slots");
	assert_int_equal(run_daemon(f, FLAGS("--help")), 0);
	assert_int_equal(run_daemon(f, FLAGS("--version")), 0);
	assert_int_equal(run_daemon(f, FLAGS("--print-config")), 0);
	snprintf(path, sizeof(path), "%s/s.db", f->dir);
	assert_int_equal(access(path, F_OK), -1); /* none of them started anything */
}

static void
test_cannot_bind(void **state)
{
	flow *f = *state;
	char url[64];
	int taken = spr_sp_listen("tcp://127.0.0.1:0", url);

	assert_true(taken >= 0);
	expect_failure(f, FLAGS("--intake-listen", url), 71, url);
	expect_failure(f, FLAGS("--outbox-listen", url), 71, url);
	expect_failure(f, FLAGS("--control-listen", url), 71, url);
	expect_failure(f, FLAGS("--http-listen", url + strlen("tcp://")), 71, "in use");
	close(taken);
}

/* The run before said what is wrong, and not that it is ready; nothing that it made stands in the way of the next one. */
static void
expect_never_ready(flow *f)
{
	char path[96];
	char *log = daemon_log(f);

	assert_non_null(strstr(log, "START-FAILED"));
	if (strstr(log, "READY") != NULL)
		fail_msg("it was ready and then failed: %s", log);
	free(log);
	snprintf(path, sizeof(path), "%s/s.db.lock", f->dir);
	assert_int_equal(access(path, F_OK), -1);
}

static void
test_cannot_create(void **state)
{
	flow *f = *state;

	expect_failure(f, FLAGS("--store", "/no/such/dir/s.db"), 73, "/no/such/dir/s.db");
	expect_failure(f, FLAGS("--store", "/no/such/dir/s.db"), 73, "or give another --store");
	expect_failure(f, FLAGS("--ready-file", "/no/such/dir/ready"), 73, "/no/such/dir/ready");
	expect_never_ready(f);
	expect_failure(f, FLAGS("--dead-letter", "/no/such/dir/dead"), 73, "/no/such/dir/dead");
}

static void
test_broken_store(void **state)
{
	flow *f = *state;
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/s.db", f->dir);
	file = fopen(path, "w");
	for (int i = 0; i < 1000; i++)
		fputs("this is no database, ", file);
	fclose(file);
	expect_failure(f, NULL, 1, path);
	expect_failure(f, NULL, 1, "file is not a database; restore it from a backup, or move it");
	expect_never_ready(f);
	unlink(path);
	assert_int_not_equal(run_daemon(f, FLAGS("--store-must-exist")), 0);
	assert_int_equal(access(path, F_OK), -1);
}

static void
test_none_switches_off(void **state)
{
	flow *f = *state;
	char store[96], ready[96];
	char *text = NULL;
	const char *argv[] = {SPR_TEST_BUILD_DIR "/spreaderd",
			      "--intake-listen",
			      "tcp://127.0.0.1:0",
			      "--outbox-listen",
			      "none",
			      "--control-listen",
			      "none",
			      "--http-listen",
			      "none",
			      "--store",
			      store,
			      "--ready-file",
			      ready,
			      NULL};

	snprintf(store, sizeof(store), "%s/s.db", f->dir);
	snprintf(ready, sizeof(ready), "%s/ready", f->dir);
	f->daemon = spr_proc_start(f->dir, "none", argv, NULL);
	assert_true(
	    wait_until((text = spr_read_file(ready)) != NULL, (unsigned)spr_test_deadline_ms()));
	f->ready = cJSON_Parse(text);
	free(text);
	assert_non_null(listening(f, "intake", 0));
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(
			     cJSON_GetObjectItemCaseSensitive(f->ready, "listening"), "outbox")),
			 0);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(
			     cJSON_GetObjectItemCaseSensitive(f->ready, "listening"), "http")),
			 0);
	stop_daemon(f, 0);
}

static void
write_config(const char *path, const char *lease_max)
{
	FILE *file = fopen(path, "w");

	fprintf(file, "{\"lease-default\": \"1h\", \"lease-max\": \"%s\"}", lease_max);
	fclose(file);
}

static bool
is_granted(flow *f, const char *lease_seconds)
{
	char request[128];
	cJSON *reply;
	bool is_ok;

	snprintf(request, sizeof(request),
		 "{\"op\":\"subscribe\",\"pattern\":\"UN\",\"callback\":\"http://"
		 "a\",\"lease_seconds\":%s}",
		 lease_seconds);
	reply = ask(f, request);
	is_ok = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "ok"));
	cJSON_Delete(reply);
	return (is_ok);
}

static bool
has_logged(flow *f, const char *text)
{
	char *log = daemon_log(f);
	bool has = strstr(log, text) != NULL;

	free(log);
	return (has);
}

static void
test_reload(void **state)
{
	flow *f = *state;
	char path[96];

	snprintf(path, sizeof(path), "%s/c.json", f->dir);
	write_config(path, "2h");
	start_daemon(f, FLAGS("--config", path));
	assert_true(is_granted(f, "7200"));
	expect_refused(f,
		       "{\"op\":\"subscribe\",\"pattern\":\"UN\",\"callback\":\"http://"
		       "a\",\"lease_seconds\":7201}",
		       "bad_lease");
	write_config(path, "3h");
	spr_proc_signal(f->daemon, SIGHUP);
	assert_true(wait_until(is_granted(f, "10800"), (unsigned)spr_test_deadline_ms()));
	expect_refused(f,
		       "{\"op\":\"subscribe\",\"pattern\":\"UN\",\"callback\":\"http://"
		       "a\",\"lease_seconds\":10801}",
		       "bad_lease");
	write_config(path, "a long time"); /* a broken file changes nothing, and is said */
	spr_proc_signal(f->daemon, SIGHUP);
	assert_true(wait_until(has_logged(f, "a long time"), (unsigned)spr_test_deadline_ms()));
	assert_true(is_granted(f, "10800"));
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_bad_command_line),  flow_test(test_bad_configuration),
	    flow_test(test_check_config),      flow_test(test_cannot_bind),
	    flow_test(test_cannot_create),     flow_test(test_broken_store),
	    flow_test(test_none_switches_off), flow_test(test_reload),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
