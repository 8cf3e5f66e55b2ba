/*
 * cgroup - limits of the groups, read once.
 *
 * A group is bound by its own limit and by those of all its parents, so the way up is walked. The same walk does for a
 * container that sees its own group as the root of the mount while /proc/self/cgroup tells the path outside: what
 * is not there is passed over, and the root of the mount is looked at last.
 */
#include "base/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_LENGTH 4096
/* Version 1 writes "no limit" as the largest number of whole pages. */
#define NO_MEMORY_LIMIT (INT64_C(1) << 62)

static bool
read_text(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = 0;

	if (fd < 0)
		return (false);
	while (len < size - 1 &&
	       ((n = read(fd, out + len, size - 1 - len)) > 0 || (n < 0 && errno == EINTR)))
		len += n > 0 ? (size_t)n : 0;
	close(fd);
	out[len] = '\0';
	return (n >= 0);
}

static bool
read_file(const char *group, const char *name, char out[64])
{
	char path[PATH_LENGTH + 64];

	snprintf(path, sizeof(path), "%s/%s", group, name);
	return (read_text(path, out, 64));
}

/* Takes a number and the blanks before it; false when there is none ("max"). */
static bool
take_number(const char **text, int64_t *out)
{
	char *end = NULL;
	long long n;

	errno = 0;
	n = strtoll(*text, &end, 10);
	if (end == *text || errno != 0)
		return (false);
	*text = end;
	*out = n;
	return (true);
}

static void
keep_least(uint64_t *least, uint64_t value)
{
	if (value != 0 && (*least == 0 || value < *least))
		*least = value;
}

static void
keep_quota(spr_cgroup_limits *out, int64_t quota_us, int64_t period_us)
{
	/* the kernel's own bounds; they also keep the product small */
	if (quota_us >= 1000 && quota_us < INT64_MAX / 1000 && period_us >= 1000)
		keep_least(&out->milli_cpus, (uint64_t)(quota_us * 1000 / period_us));
}

static void
keep_memory(spr_cgroup_limits *out, const char *text)
{
	int64_t bytes;

	if (take_number(&text, &bytes) && bytes > 0 && bytes < NO_MEMORY_LIMIT)
		keep_least(&out->memory_bytes, (uint64_t)bytes);
}

static void
look_at_unified(const char *group, spr_cgroup_limits *out)
{
	char text[64];
	const char *at = text;
	int64_t quota, period;

	if (read_file(group, "cpu.max", text) && take_number(&at, &quota) &&
	    take_number(&at, &period))
		keep_quota(out, quota, period);
	if (read_file(group, "memory.max", text))
		keep_memory(out, text);
}

static void
look_at_cpu(const char *group, spr_cgroup_limits *out)
{
	char quota_text[64], period_text[64];
	const char *quota_at = quota_text, *period_at = period_text;
	int64_t quota, period;

	if (read_file(group, "cpu.cfs_quota_us", quota_text) &&
	    read_file(group, "cpu.cfs_period_us", period_text) && take_number(&quota_at, &quota) &&
	    take_number(&period_at, &period))
		keep_quota(out, quota, period);
}

static void
look_at_memory(const char *group, spr_cgroup_limits *out)
{
	char text[64];

	if (read_file(group, "memory.limit_in_bytes", text))
		keep_memory(out, text);
}

/* From <root>/sys/fs/cgroup<mount><group> up to <root>/sys/fs/cgroup<mount>. */
static void
walk_up(const char *root, const char *mount, const char *group,
	void (*look_at)(const char *, spr_cgroup_limits *), spr_cgroup_limits *out)
{
	char path[PATH_LENGTH];
	int top = snprintf(path, sizeof(path), "%s/sys/fs/cgroup%s", root, mount);

	if (top >= (int)sizeof(path))
		return;
	/* a group outside of our namespace is shown as a way up and down again */
	if (strstr(group, "/..") == NULL && strlen(group) < sizeof(path) - (size_t)top)
		strcpy(path + top, group);
	for (;;) {
		char *slash = strrchr(path + top, '/');

		look_at(path, out);
		if (slash == NULL)
			return;
		*slash = '\0';
	}
}

static bool
has_controller(const char *controllers, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = controllers; at != NULL; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, name, len) == 0 && (at[len] == ',' || at[len] == '\0'))
			return (true);
	}
	return (false);
}

/* "4:memory:/a/b"; version 2: "0::/a/b". */
static void
take_line(const char *root, char *line, spr_cgroup_limits *out)
{
	char *controllers = strchr(line, ':');
	char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

	if (group == NULL || group[1] != '/')
		return;
	*group++ = '\0';
	controllers++;
	if (controllers[0] == '\0') {
		walk_up(root, "", group, look_at_unified, out);
		walk_up(root, "/unified", group, look_at_unified, out);
	}
	if (has_controller(controllers, "cpu"))
		walk_up(root, "/cpu", group, look_at_cpu, out);
	if (has_controller(controllers, "memory"))
		walk_up(root, "/memory", group, look_at_memory, out);
}

void
spr_cgroup_read(spr_cgroup_limits *out, const char *root)
{
	char path[PATH_LENGTH];
	char text[16384];
	char *rest = text, *line = NULL;

	*out = (spr_cgroup_limits){0};
	if (snprintf(path, sizeof(path), "%s/proc/self/cgroup", root) >= (int)sizeof(path) ||
	    !read_text(path, text, sizeof(text)))
		return;
	while ((line = strsep(&rest, "\n")) != NULL)
		take_line(root, line, out);
}
