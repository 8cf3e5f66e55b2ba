/*
 * options: what is derived from the machine's control groups, under a made root.
 */
#include <sys/stat.h>

#include "options_words.h"

static char machine[64];

static void
put_file(const char *path, const char *text)
{
	char whole[256];
	FILE *file;

	snprintf(whole, sizeof(whole), "%s%s", machine, path);
	assert_non_null(file = fopen(whole, "w"));
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static int
make_machine(void **state)
{
	static const char *const folders[] = {"",     "/proc",   "/proc/self",
					      "/sys", "/sys/fs", "/sys/fs/cgroup"};
	char path[128];

	(void)state;
	strcpy(machine, "/tmp/spr-machine-XXXXXX");
	if (mkdtemp(machine) == NULL)
		return (-1);
	for (size_t i = 1; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", machine, folders[i]);
		if (mkdir(path, 0700) != 0)
			return (-1);
	}
	put_file("/proc/self/cgroup", "0::/\n");
	spr_options_set_root(machine);
	return (0);
}

static int
remove_machine(void **state)
{
	static const char *const paths[] = {"/sys/fs/cgroup/cpu.max",
					    "/sys/fs/cgroup/memory.max",
					    "/sys/fs/cgroup",
					    "/sys/fs",
					    "/sys",
					    "/proc/self/cgroup",
					    "/proc/self",
					    "/proc",
					    ""};
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", machine, paths[i]);
		(void)remove(path);
	}
	return (0);
}

static void
test_quota_bounds_dispatchers(void **state)
{
	char wanted[128];
	spr_options o;
	unsigned cpus;

	(void)state;
	assert_int_equal(parse(&o, ""), SPR_OK);
	cpus = o.cpus;
	snprintf(wanted, sizeof(wanted), "dispatchers = %u  (derived: %u CPUs by affinity)", cpus,
		 cpus);
	assert_string_equal(print_line(&o, "dispatchers"), wanted);
	spr_options_free(&o);
	put_file("/sys/fs/cgroup/cpu.max", "25000 100000\n");
	assert_int_equal(parse(&o, ""), SPR_OK);
	assert_int_equal(o.dispatchers, 1);
	snprintf(
	    wanted, sizeof(wanted),
	    "dispatchers = 1  (derived: %u CPUs by affinity, 0.250 by the control group's quota)",
	    cpus);
	assert_string_equal(print_line(&o, "dispatchers"), wanted);
	spr_options_free(&o);
	put_file("/sys/fs/cgroup/cpu.max", "110000 100000\n");
	assert_int_equal(parse(&o, ""), SPR_OK);
	assert_int_equal(o.dispatchers, cpus < 2 ? 1 : 2);
	spr_options_free(&o);
	put_file("/sys/fs/cgroup/cpu.max", "99900000 100000\n");
	assert_int_equal(parse(&o, ""), SPR_OK);
	assert_int_equal(o.dispatchers, cpus > 256 ? 256 : cpus);
	spr_options_free(&o);
	assert_int_equal(parse(&o, "--dispatchers 7"), SPR_OK);
	assert_int_equal(o.dispatchers, 7);
	assert_string_equal(print_line(&o, "dispatchers"), "dispatchers = 7  (flag)");
	spr_options_free(&o);
}

static void
test_memory_bounds_inflight_bytes(void **state)
{
	spr_options o;

	(void)state;
	put_file("/sys/fs/cgroup/memory.max", "209715200\n");
	assert_int_equal(parse(&o, ""), SPR_OK);
	assert_string_equal(
	    print_line(&o, "max-inflight-bytes"),
	    "max-inflight-bytes = 50MiB  (derived: the control group's memory limit "
	    "is 200MiB)");
	spr_options_free(&o);
	/* given: kept; the check knows nothing of the machine */
	assert_int_equal(parse(&o, "--max-inflight-bytes 300MiB"), SPR_OK);
	assert_int_equal(o.max_inflight_bytes, 300 << 20);
	spr_options_free(&o);
	/* more than the default is never taken */
	put_file("/sys/fs/cgroup/memory.max", "109951162777600\n");
	assert_int_equal(parse(&o, ""), SPR_OK);
	assert_string_equal(print_line(&o, "max-inflight-bytes"),
			    "max-inflight-bytes = 256MiB  (default)");
	spr_options_free(&o);
	/* nor less than the other options ask for, which would only be refused */
	put_file("/sys/fs/cgroup/memory.max", "20000000\n");
	assert_int_equal(parse(&o, ""), SPR_OK);
	assert_int_equal(o.max_inflight_bytes, 16 << 20);
	spr_options_free(&o);
	assert_int_equal(parse(&o, "--max-job 32MiB"), SPR_OK);
	assert_int_equal(o.max_inflight_bytes, 128 << 20);
	spr_options_free(&o);
	assert_int_equal(parse(&o, "--max-job 65MiB"), SPR_E_CONFIG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_quota_bounds_dispatchers, make_machine,
					    remove_machine),
	    cmocka_unit_test_setup_teardown(test_memory_bounds_inflight_bytes, make_machine,
					    remove_machine),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
