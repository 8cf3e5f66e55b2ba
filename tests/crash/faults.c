/*
 * faults - what the crash tests do to a process from inside: stop it, or one thread, at a named point, fail its allocations, fill its
 * disk, and make its wall clock jump.
 *
 * The harness and the process share one page, a file named by SPR_FAULTS, so that a fault begins and ends while the
 * process runs. This file is linked into the program itself, and a program's functions come before those of its
 * libraries: so SQLite's writes and everybody's clock pass through here, without LD_PRELOAD (which sanitizers dislike).
 * Only the wall clock jumps; the monotonic one is passed through.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/crash_point.h"

/* As tests/crash/world.py writes it. */
typedef struct fault_page {
	_Atomic int64_t wall_offset_s;
	_Atomic int64_t disk_is_full;
	_Atomic int64_t failing_allocations_ppm;
	_Atomic int64_t stop_at_pass; /* 0: never; the name is written first */
	char point[64];
	_Atomic int64_t
	    is_held; /* not the process stops but the thread waits, for as long as this is set */
} fault_page;

#define SLICE_NS INT64_C(50000000)

static fault_page none, *page = &none;
static struct {
	int (*clock_gettime)(clockid_t, struct timespec *);
	ssize_t (*write)(int, const void *, size_t);
	ssize_t (*pwrite)(int, const void *, size_t, off_t);
	int (*fsync)(int);
	int (*fdatasync)(int);
	int (*cond_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
} real;

static void __attribute__((constructor)) find(void)
{
	const char *path = getenv("SPR_FAULTS");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at;

	*(void **)&real.clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	*(void **)&real.write = dlsym(RTLD_NEXT, "write");
	*(void **)&real.pwrite = dlsym(RTLD_NEXT, "pwrite");
	*(void **)&real.fsync = dlsym(RTLD_NEXT, "fsync");
	*(void **)&real.fdatasync = dlsym(RTLD_NEXT, "fdatasync");
	/* by version: an older function of that name knows other condition variables */
	*(void **)&real.cond_timedwait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
	if (fd < 0)
		return;
	at = mmap(NULL, sizeof(fault_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at != MAP_FAILED)
		page = at;
	close(fd);
}

void
spr_crash_point(const char *name)
{
	if (atomic_load(&page->stop_at_pass) == 0 || strcmp(page->point, name) != 0)
		return;
	if (atomic_fetch_sub(&page->stop_at_pass, 1) != 1)
		return;
	if (atomic_load(&page->is_held) == 0)
		raise(SIGSTOP);
	while (atomic_load(&page->is_held) != 0)
		(void)poll(NULL, 0, 10); /* the page has no way to wake */
}

_Bool
spr_crash_allocation_fails(void)
{
	static _Thread_local uint32_t state;
	int64_t ppm = atomic_load_explicit(&page->failing_allocations_ppm, memory_order_relaxed);

	if (ppm == 0)
		return (0);
	if (state == 0)
		state = (uint32_t)getpid() * 2654435761U ^ (uint32_t)(uintptr_t)&state;
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return (state % 1000000 < (uint64_t)ppm);
}

/* ------------------------------------------------------------------------------------------------
 * clock */

int
clock_gettime(clockid_t which, struct timespec *now)
{
	/* before the constructor ran, another library's may ask */
	int rv = real.clock_gettime != NULL ? real.clock_gettime(which, now)
					    : (int)syscall(SYS_clock_gettime, which, now);

	if (rv == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
		now->tv_sec += atomic_load_explicit(&page->wall_offset_s, memory_order_relaxed);
	return (rv);
}

time_t
time(time_t *out)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (out != NULL)
		*out = now.tv_sec;
	return (now.tv_sec);
}

int
gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	*out = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
	return (0);
}

static int64_t
ns_of(const struct timespec *t)
{
	return (t->tv_sec * INT64_C(1000000000) + t->tv_nsec);
}

/*
 * All that wait here wait for the wall clock (nng's timers do), and the kernel's does not jump: so it waits a little at a time
 * and looks at ours. Coming back early is what a condition variable may do.
 */
int
pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
		       const struct timespec *restrict until)
{
	struct timespec now;
	int64_t left, part;
	int rv;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if ((left = ns_of(until) - ns_of(&now)) <= 0)
		return (ETIMEDOUT);
	part = left < SLICE_NS ? left : SLICE_NS;
	(void)syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	part += ns_of(&now);
	now = (struct timespec){part / 1000000000, part % 1000000000};
	rv = real.cond_timedwait(cond, mutex, &now);
	return (rv == ETIMEDOUT && left > SLICE_NS ? 0 : rv);
}

/* ------------------------------------------------------------------------------------------------
 * disk */

static _Bool
is_full(int fd)
{
	struct stat st;

	return (atomic_load_explicit(&page->disk_is_full, memory_order_relaxed) != 0 &&
		fstat(fd, &st) == 0 && S_ISREG(st.st_mode));
}

ssize_t
write(int fd, const void *data, size_t len)
{
	if (is_full(fd)) {
		errno = ENOSPC;
		return (-1);
	}
	return (real.write != NULL ? real.write(fd, data, len) : syscall(SYS_write, fd, data, len));
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
	if (is_full(fd)) {
		errno = ENOSPC;
		return (-1);
	}
	return (real.pwrite(fd, data, len, at));
}

ssize_t
pwrite64(int fd, const void *data, size_t len, off_t at)
{
	return (pwrite(fd, data, len, at));
}

/* The middle of a commit: the log is written, and not yet on disk. */
int
fsync(int fd)
{
	spr_crash_point("in-commit");
	return (real.fsync(fd));
}

int
fdatasync(int fd)
{
	spr_crash_point("in-commit");
	return (real.fdatasync(fd));
}
