/*
 * cgroup: both versions, limits of parents, groups that are not where /proc says, and files that say nothing useful;
 * under a made root.
 */
#include "spr_test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cgroup.h"

static char *root;

static int
make_root(void **state)
{
	(void)state;
	return ((root = spr_test_tmpdir()) == NULL);
}

static int
remove_root(void **state)
{
	(void)state;
	spr_test_cleanup(root);
	return (0);
}

/* Writes <root><path>, and the folders on the way. */
static void
put(const char *path, const char *text)
{
	char whole[4096];
	FILE *file;

	snprintf(whole, sizeof(whole), "%s%s", root, path);
	for (char *at = whole + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
		*at = '\0';
		assert_true(mkdir(whole, 0700) == 0 || errno == EEXIST);
		*at = '/';
	}
	assert_non_null(file = fopen(whole, "w"));
	fputs(text, file);
	fclose(file);
}

static void
expect(uint64_t milli_cpus, uint64_t memory_bytes)
{
	spr_cgroup_limits limits = {77, 77};

	spr_cgroup_read(&limits, root);
	assert_int_equal(limits.milli_cpus, milli_cpus);
	assert_int_equal(limits.memory_bytes, memory_bytes);
}

static void
test_nothing_there(void **state)
{
	(void)state;
	expect(0, 0);
	put("/proc/self/cgroup", "");
	expect(0, 0);
	put("/proc/self/cgroup", "0::/a\n");
	expect(0, 0);
	put("/proc/self/cgroup", "nonsense\n:\n::\n0:\n5:cpu:\n0::a\n");
	expect(0, 0);
}

static void
test_unified(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "0::/a/b\n");
	put("/sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
	put("/sys/fs/cgroup/a/b/memory.max", "536870912\n");
	expect(1500, 536870912);
	put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
	put("/sys/fs/cgroup/a/b/memory.max", "max\n");
	expect(0, 0);
}

/* The tightest on the way up binds, whoever's it is. */
static void
test_parents(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "0::/a/b\n");
	put("/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
	put("/sys/fs/cgroup/a/cpu.max", "50000 100000\n");
	put("/sys/fs/cgroup/a/memory.max", "1000\n");
	put("/sys/fs/cgroup/a/b/memory.max", "2000\n");
	expect(500, 1000);
	put("/sys/fs/cgroup/a/b/memory.max", "999\n");
	expect(500, 999);
}

/* A container: its own group is the root of what it sees, whatever the path. */
static void
test_the_root_of_the_mount(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "0::/kubepods/pod1\n");
	put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
	put("/sys/fs/cgroup/memory.max", "4096\n");
	expect(3000, 4096);
	put("/proc/self/cgroup", "0::/../../outside\n");
	put("/outside/cpu.max", "1000 100000\n");
	put("/sys/outside/cpu.max", "1000 100000\n");
	expect(3000, 4096);
	put("/proc/self/cgroup", "0::/\n");
	expect(3000, 4096);
}

static void
test_version_one(void **state)
{
	(void)state;
	put("/proc/self/cgroup",
	    "9:name=systemd:/\n4:memory:/m/x\n3:cpuset:/m\n1:cpuacct,cpu:/c\n");
	put("/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "-1\n");
	put("/sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
	put("/sys/fs/cgroup/memory/m/x/memory.limit_in_bytes", "9223372036854771712\n");
	expect(0, 0);
	put("/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "250000\n");
	put("/sys/fs/cgroup/memory/m/x/memory.limit_in_bytes", "268435456\n");
	put("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "134217728\n");
	expect(2500, 134217728);
	/* a controller whose name only begins so */
	put("/proc/self/cgroup", "3:cpuset:/c\n1:cpuacct:/c\n2:memoryx:/m\n");
	expect(0, 0);
}

static void
test_hybrid(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "4:memory:/\n0::/a\n");
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "5000\n");
	put("/sys/fs/cgroup/unified/a/cpu.max", "100000 50000\n");
	expect(2000, 5000);
}

static void
test_senseless_numbers(void **state)
{
	static const char *const quotas[] = {
	    "0 100000", "-5 100000", "100000 0", "100000", "x y", "9223372036854775807 100000", ""};

	(void)state;
	put("/proc/self/cgroup", "0::/\n");
	put("/sys/fs/cgroup/memory.max", "");
	for (size_t i = 0; i < sizeof(quotas) / sizeof(quotas[0]); i++) {
		put("/sys/fs/cgroup/cpu.max", quotas[i]);
		expect(0, 0);
	}
}

/* Longer than any buffer: passed over, not cut and misread. */
static void
test_long_paths(void **state)
{
	char text[8000];

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "0::/", 4);
	text[sizeof(text) - 1] = '\0';
	put("/proc/self/cgroup", text);
	put("/sys/fs/cgroup/memory.max", "4096\n");
	expect(0, 4096);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_nothing_there, make_root, remove_root),
	    cmocka_unit_test_setup_teardown(test_unified, make_root, remove_root),
	    cmocka_unit_test_setup_teardown(test_parents, make_root, remove_root),
	    cmocka_unit_test_setup_teardown(test_the_root_of_the_mount, make_root, remove_root),
	    cmocka_unit_test_setup_teardown(test_version_one, make_root, remove_root),
	    cmocka_unit_test_setup_teardown(test_hybrid, make_root, remove_root),
	    cmocka_unit_test_setup_teardown(test_senseless_numbers, make_root, remove_root),
	    cmocka_unit_test_setup_teardown(test_long_paths, make_root, remove_root),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
