/*
 * process - /proc/self read with plain calls: a scrape must not allocate much or depend on a library for this.
 */
#include "base/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Fields of /proc/self/stat behind the name, which may hold anything; the state is field 0. */
#define F_UTIME   11
#define F_STIME   12
#define F_THREADS 17
#define F_START   19
#define F_VSIZE   20
#define F_RSS     21
#define N_FIELDS  22

static void
read_stat(double *fields)
{
	char text[1024];
	FILE *file = fopen("/proc/self/stat", "re");
	size_t n = file != NULL ? fread(text, 1, sizeof(text) - 1, file) : 0;
	char *at, *rest = NULL;

	if (file != NULL)
		fclose(file);
	text[n] = '\0';
	if ((at = strrchr(text, ')')) == NULL)
		return;
	at = strtok_r(at + 1, " ", &rest);
	for (unsigned i = 0; i < N_FIELDS && at != NULL; i++, at = strtok_r(NULL, " ", &rest))
		fields[i] = strtod(at, NULL);
}

static double
count_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	double n = 0;

	if (folder == NULL)
		return (0);
	while (readdir(folder) != NULL)
		n++;
	closedir(folder);
	return (n - 3); /* itself and the two dots */
}

/* The start is told in ticks since the machine's. */
static double
start_time(double start_ticks, double ticks)
{
	struct timespec wall, boot;

	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	return ((double)(wall.tv_sec - boot.tv_sec) + (double)(wall.tv_nsec - boot.tv_nsec) / 1e9 +
		start_ticks / ticks);
}

void
spr_process_read(double *gauges)
{
	double fields[N_FIELDS] = {0};
	double ticks = (double)sysconf(_SC_CLK_TCK);
	struct rlimit files = {.rlim_cur = 0};

	read_stat(fields);
	(void)getrlimit(RLIMIT_NOFILE, &files);
	gauges[SPR_G_PROCESS_CPU] = (fields[F_UTIME] + fields[F_STIME]) / ticks;
	gauges[SPR_G_PROCESS_START] = start_time(fields[F_START], ticks);
	gauges[SPR_G_PROCESS_VIRTUAL] = fields[F_VSIZE];
	gauges[SPR_G_PROCESS_RESIDENT] = fields[F_RSS] * (double)sysconf(_SC_PAGESIZE);
	gauges[SPR_G_PROCESS_FDS] = count_fds();
	gauges[SPR_G_PROCESS_FDS_LIMIT] = (double)files.rlim_cur;
	gauges[SPR_G_PROCESS_THREADS] = fields[F_THREADS];
}
