/*
 * spreaderctl: import and export, their files, batches and errors.
 */
#include "ctl_run.h"

static void
write_file(const char *path, const char *text, unsigned times)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	for (; times > 0; times--)
		fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void
append_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "a");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

/* Imports the file that was written to <dir>/in; the name in messages is as given here. */
static void
import_file(run *r, const char *const replies[], const char *text, unsigned times, const char *tail)
{
	char path[256];

	memset(r, 0, sizeof(*r));
	start_server(r, replies);
	snprintf(path, sizeof(path), "%s/in", r->dir);
	write_file(path, text, times);
	append_file(path, tail);
	snprintf(path, sizeof(path), "cd %s && exec " PROGRAM " " PATIENCE " import in", r->dir);
	finish(r, ARGS("sh", "-c", path), r->server.url);
}

static void
test_import(void **state)
{
	run r;
	char command[256];

	(void)state;
	import_file(
	    &r, ARGS("{\"ok\":true,\"created\":1,\"renewed\":1}"),
	    "{\"pattern\":\"A\",\"callback\":\"http://a\",\"expires_at\":\"e\",\"expired\":true}\n",
	    1,
	    "\n \t\r\n{\"lease_seconds\":60,\"x\":{},\"callback\":\"http://b\",\"pattern\":\"B\"}");
	expect(&r, 0, "imported 2: 1 created, 1 renewed\n", "");
	assert_int_equal(r.server.n, 1);
	assert_string_equal(
	    r.server.requests[0],
	    "{\"op\":\"import\",\"subscriptions\":[{\"pattern\":\"A\",\"callback\":\"http://a\","
	    "\"expires_at\":\"e\"},{\"pattern\":\"B\",\"callback\":\"http://"
	    "b\",\"lease_seconds\":60}]}");
	end(&r);

	import_file(&r, ARGS(NULL), "", 1, "\n\n");
	expect(&r, 0, "imported 0: 0 created, 0 renewed\n", "");
	assert_int_equal(r.server.n, 0);
	end(&r);

	memset(&r, 0, sizeof(r));
	start_server(&r, ARGS("{\"ok\":true,\"created\":1,\"renewed\":0}"));
	snprintf(command, sizeof(command),
		 "echo '{\"pattern\":\"A\",\"callback\":\"c\"}' | " PROGRAM " " PATIENCE
		 " import - --json");
	finish(&r, ARGS("sh", "-c", command), r.server.url);
	expect(&r, 0, "{\"ok\":true,\"created\":1,\"renewed\":0}\n", "");
	end(&r);
}

static void
test_import_batches(void **state)
{
	run r;
	size_t n = 0;

	(void)state;
	import_file(&r,
		    ARGS("{\"ok\":true,\"created\":10000,\"renewed\":0}",
			 "{\"ok\":true,\"created\":0,\"renewed\":1}"),
		    "{\"pattern\":\"A\",\"callback\":\"c\"}\n", 10001, "");
	expect(&r, 0, "imported 10001: 10000 created, 1 renewed\n", "");
	assert_int_equal(r.server.n, 2);
	for (const char *at = r.server.requests[0]; (at = strstr(at, "\"pattern\"")) != NULL; at++)
		n++;
	assert_int_equal(n, 10000);
	assert_string_equal(
	    r.server.requests[1],
	    "{\"op\":\"import\",\"subscriptions\":[{\"pattern\":\"A\",\"callback\":\"c\"}]}");
	end(&r);

	/* the second batch is bad: what of the file was taken is told */
	import_file(
	    &r,
	    ARGS("{\"ok\":true,\"created\":10000,\"renewed\":0}",
		 "{\"ok\":false,\"error\":{\"code\":\"bad_lease\",\"detail\":\"no\",\"index\":1}}"),
	    "{\"pattern\":\"A\",\"callback\":\"c\"}\n", 10003, "");
	expect(
	    &r, 1, "",
	    "spreaderctl: import in: line 10002: bad_lease: no; lines 1 to 10000 are imported\n");
	end(&r);

	import_file(&r, ARGS("{\"ok\":true,\"created\":10000,\"renewed\":0}"),
		    "{\"pattern\":\"A\",\"callback\":\"c\"}\n", 10000, "\n[]\n");
	expect(
	    &r, 1, "",
	    "spreaderctl: import in: line 10002: no JSON object; lines 1 to 10001 are imported\n");
	assert_int_equal(r.server.n, 1);
	end(&r);
}

static void
test_import_errors(void **state)
{
	static const char entry[] = "{\"pattern\":\"A\",\"callback\":\"c\"}\n\n";
	run r;

	(void)state;
	import_file(&r, ARGS(NULL), entry, 1, "{\"pattern\":}\n");
	expect(&r, 1, "",
	       "spreaderctl: import in: line 3: column 12: not JSON; nothing was imported\n");
	assert_int_equal(r.server.n, 0);
	end(&r);
	import_file(
	    &r,
	    ARGS(
		"{\"ok\":false,\"error\":{\"code\":\"bad_pattern\",\"detail\":\"d\",\"index\":1}}"),
	    entry, 2, "");
	expect(&r, 1, "", "spreaderctl: import in: line 3: bad_pattern: d; nothing was imported\n");
	end(&r);
	/* an index that cannot be is not believed */
	import_file(&r, ARGS("{\"ok\":false,\"error\":{\"index\":2}}"), entry, 2, "");
	expect(&r, 1, "",
	       "spreaderctl: import in: line 1: refused: no reason given; nothing was imported\n");
	end(&r);
	call(&r, ARGS("import", "/nonexistent/x"), ARGS(NULL));
	expect(&r, 1, "",
	       "spreaderctl: import /nonexistent/x: cannot read: No such file or directory\n");
	end(&r);
	call(&r, ARGS("import", "/tmp"), ARGS(NULL));
	expect(&r, 1, "",
	       "spreaderctl: import /tmp: line 1: Is a directory; nothing was imported\n");
	end(&r);
}

static void
test_export_to_file(void **state)
{
	static const char row[] =
	    "{\"ok\":true,\"subscriptions\":[{\"pattern\":\"p\",\"callback\":\"c\","
	    "\"expires_at\":\"e\",\"expired\":false}],\"next\":\"n\"}";
	static const char last[] = "{\"ok\":true,\"subscriptions\":[]}";
	run r = {.code = 0};
	char command[256], path[256], part[256];
	char *text = NULL;

	(void)state;
	start_server(&r, ARGS(row, last));
	snprintf(command, sizeof(command), "cd %s && exec " PROGRAM " " PATIENCE " export x",
		 r.dir);
	snprintf(path, sizeof(path), "%s/x", r.dir);
	snprintf(part, sizeof(part), "%s/x.part", r.dir);
	finish(&r, ARGS("sh", "-c", command), r.server.url);
	expect(&r, 0, "exported 1 subscription to x\n", "");
	assert_non_null(text = spr_read_file(path));
	assert_string_equal(text, "{\"pattern\":\"p\",\"callback\":\"c\",\"expires_at\":\"e\"}\n");
	free(text);
	assert_int_equal(access(part, F_OK), -1);
	end(&r);

	/* one that fails half-way leaves the copy of yesterday alone */
	memset(&r, 0, sizeof(r));
	start_server(
	    &r, ARGS(row, "{\"ok\":false,\"error\":{\"code\":\"store\",\"detail\":\"disk\"}}"));
	snprintf(command, sizeof(command), "cd %s && exec " PROGRAM " " PATIENCE " export x",
		 r.dir);
	snprintf(path, sizeof(path), "%s/x", r.dir);
	snprintf(part, sizeof(part), "%s/x.part", r.dir);
	write_file(path, "old", 1);
	finish(&r, ARGS("sh", "-c", command), r.server.url);
	expect(&r, 1, "", "spreaderctl: export x: store: disk\n");
	assert_non_null(text = spr_read_file(path));
	assert_string_equal(text, "old");
	free(text);
	assert_int_equal(access(part, F_OK), -1);
	end(&r);

	call(&r, ARGS("export", "/nonexistent/x"), ARGS(NULL));
	expect(
	    &r, 1, "",
	    "spreaderctl: export /nonexistent/x.part: cannot create: No such file or directory\n");
	end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_import),
	    cmocka_unit_test(test_import_batches),
	    cmocka_unit_test(test_import_errors),
	    cmocka_unit_test(test_export_to_file),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
