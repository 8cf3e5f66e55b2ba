/*
 * bench_usage - /proc/PID/task: schedstat has nanoseconds where stat has hundredths of a second.
 */
#include "bench_usage.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

/* The number behind a label such as "VmHWM:" in a file of such lines. */
static bool
read_number(const char *path, const char *label, uint64_t *number)
{
	FILE *file = fopen(path, "re");
	char line[256];
	bool is_found = false;

	if (file == NULL)
		return (false);
	while (!is_found && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, label, strlen(label)) == 0) {
			*number = strtoull(line + strlen(label), NULL, 10);
			is_found = true;
		}
	}
	fclose(file);
	return (is_found);
}

static bool
read_thread(bench_thread_usage *t, pid_t pid, int tid)
{
	char path[64];
	FILE *file;

	*t = (bench_thread_usage){.tid = tid};
	snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", (int)pid, tid);
	if ((file = fopen(path, "re")) == NULL)
		return (false);
	if (fgets(t->name, sizeof(t->name), file) != NULL)
		t->name[strcspn(t->name, "\n")] = '\0';
	fclose(file);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", (int)pid, tid);
	if (!read_number(path, "", &t->cpu_ns))
		return (false);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)pid, tid);
	return (read_number(path, "voluntary_ctxt_switches:", &t->waits) &&
		read_number(path, "nonvoluntary_ctxt_switches:", &t->preempted));
}

uint64_t
bench_usage_cpu_ns(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
		return (0);
	return ((uint64_t)used.tv_sec * SPR_NS_PER_S + (uint64_t)used.tv_nsec);
}

bool
bench_usage_read(bench_usage *usage, pid_t pid)
{
	char path[64];
	uint64_t kib = 0;
	struct dirent *entry;
	DIR *folder;

	memset(usage, 0, sizeof(*usage));
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (!read_number(path, "VmHWM:", &kib))
		return (false);
	usage->peak_bytes = kib << 10;
	usage->cpu_ns = bench_usage_cpu_ns(pid);
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	if ((folder = opendir(path)) == NULL)
		return (false);
	while (usage->n < BENCH_THREADS_MAX && (entry = readdir(folder)) != NULL) {
		int tid = (int)strtol(entry->d_name, NULL, 10);

		if (tid > 0 && read_thread(&usage->thread[usage->n], pid, tid))
			usage->n++;
	}
	closedir(folder);
	return (true);
}

void
bench_usage_subtract(bench_usage *after, const bench_usage *before)
{
	after->cpu_ns -= before->cpu_ns;
	for (unsigned i = 0; i < after->n; i++) {
		for (unsigned j = 0; j < before->n; j++) {
			if (after->thread[i].tid != before->thread[j].tid)
				continue;
			after->thread[i].cpu_ns -= before->thread[j].cpu_ns;
			after->thread[i].waits -= before->thread[j].waits;
			after->thread[i].preempted -= before->thread[j].preempted;
		}
	}
}

bench_thread_usage
bench_usage_sum(const bench_usage *usage)
{
	bench_thread_usage sum = {.cpu_ns = usage->cpu_ns};

	for (unsigned i = 0; i < usage->n; i++) {
		sum.waits += usage->thread[i].waits;
		sum.preempted += usage->thread[i].preempted;
	}
	return (sum);
}
