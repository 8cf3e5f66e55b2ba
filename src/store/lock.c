/*
 * lock - flock() on a file of its own: SQLite's locks are per access, and end when any descriptor of the database is closed.
 *
 * The file is removed while its lock is held. Who had it open already locks a file without a name then: so whoever has
 * locked looks whether the file is still the one of that name, and begins anew when it is not.
 */
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static bool
is_still_there(int fd, const char *path)
{
	struct stat mine, there;

	return (fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_dev == there.st_dev &&
		mine.st_ino == there.st_ino);
}

static spr_err
refuse(const spr_lock *lock, const char *holder, const char *flag)
{
	char pid[24] = "";

	(void)!read(lock->fd, pid, sizeof(pid) - 1);
	pid[strcspn(pid, "\n")] = '\0';
	return (spr_fail(SPR_E_LOCKED,
			 "lock %s: another %s (pid %s) has this store; stop it or give "
			 "this one its own %s",
			 lock->path, holder, pid[0] != '\0' ? pid : "unknown", flag));
}

static void
close_file(spr_lock *lock)
{
	if (lock->fd >= 0) {
		(void)close(lock->fd);
	}
	lock->fd = -1;
}

static spr_err
open_and_lock(spr_lock *lock, const char *holder, const char *flag)
{
	for (;;) {
		if ((lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644)) < 0) {
			return (spr_fail(SPR_E_IO,
					 "create %s: %s; its folder must be there and writable, or "
					 "give another %s",
					 lock->path, strerror(errno), flag));
		}
		if (flock(lock->fd, LOCK_EX | LOCK_NB) != 0) {
			return (errno == EWOULDBLOCK ? refuse(lock, holder, flag)
						     : spr_fail(SPR_E_IO, "lock %s: %s", lock->path,
								strerror(errno)));
		}
		if (is_still_there(lock->fd, lock->path)) {
			return (SPR_OK);
		}
		close_file(lock);
	}
}

/* A link to a file that is not there yet: it is made, so that it has the one name. */
static void
find_real(const char *path, char *real)
{
	struct stat st;

	if (realpath(path, real) != NULL) {
		return;
	}
	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
		(void)close(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644));
		if (realpath(path, real) != NULL) {
			return;
		}
	}
	snprintf(real, PATH_MAX, "%s", path);
}

spr_err
spr_lock_take(spr_lock *lock, const char *path, const char *holder, const char *flag, char *real)
{
	size_t size;
	spr_err rv;

	find_real(path, real);
	size = strlen(real) + sizeof(".lock");
	if ((lock->path = spr_mem_alloc(size)) == NULL) {
		return (spr_fail(SPR_E_NOMEM, "lock %s: out of memory", real));
	}
	snprintf(lock->path, size, "%s.lock", real);
	if ((rv = open_and_lock(lock, holder, flag)) != SPR_OK) {
		close_file(lock);
		spr_lock_drop(lock);
		return (rv);
	}
	/* who has it, for the message above; the lock holds without */
	if (ftruncate(lock->fd, 0) == 0) {
		(void)dprintf(lock->fd, "%ld\n", (long)getpid());
	}
	return (SPR_OK);
}

void
spr_lock_drop(spr_lock *lock)
{
	if (lock->fd >= 0) {
		(void)unlink(lock->path);
	}
	close_file(lock);
	spr_mem_free(lock->path);
	lock->path = NULL;
}
