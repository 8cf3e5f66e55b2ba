/*
 * lock - flock() on a file of its own: SQLite's locks are per access, and end when any descriptor of the database is closed.
 */
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

spr_err
spr_lock_take(int *fd, const char *path, const char *holder, const char *flag)
{
	char lock[PATH_MAX + 8], pid[24] = "";
	int error = 0;

	snprintf(lock, sizeof(lock), "%s.lock", path);
	if ((*fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644)) < 0) {
		return (spr_fail(SPR_E_IO, "create %s: %s", lock, strerror(errno)));
	}
	if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
		error = errno;
		(void)!read(*fd, pid, sizeof(pid) - 1);
		spr_lock_drop(*fd);
		*fd = -1;
		if (error != EWOULDBLOCK) {
			return (spr_fail(SPR_E_IO, "lock %s: %s", lock, strerror(error)));
		}
		pid[strcspn(pid, "\n")] = '\0';
		return (spr_fail(SPR_E_LOCKED,
				 "lock %s: another %s (pid %s) has this store; stop it or give "
				 "this one its own %s",
				 lock, holder, pid[0] != '\0' ? pid : "unknown", flag));
	}
	/* who has it, for the message above; the lock holds without */
	if (ftruncate(*fd, 0) == 0) {
		(void)dprintf(*fd, "%ld\n", (long)getpid());
	}
	return (SPR_OK);
}

void
spr_lock_drop(int fd)
{
	if (fd >= 0) {
		(void)close(fd);
	}
}
