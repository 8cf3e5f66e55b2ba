/*
 * sp_path - a path, the file that is ours there, and the lock beside it.
 */
#include "net/sp_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *
path_of(const char *url)
{
	static const char *const schemes[] = {"ipc://", "unix://"};

	for (unsigned i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strncmp(url, schemes[i], strlen(schemes[i])) == 0)
			return (url + strlen(schemes[i]));
	}
	return ("");
}

spr_err
spr_sp_path_init(spr_sp_path *self, const char *url)
{
	*self = (spr_sp_path){.lock_fd = -1};
	if (strlen(url) >= sizeof(self->url))
		return (spr_fail(SPR_E_ADDRESS, "listen on %s: longer than %d bytes", url,
				 SPR_URL_MAX - 1));
	strcpy(self->url, url);
	strcpy(self->path, path_of(url));
	snprintf(self->lock_path, sizeof(self->lock_path), "%s.lock", self->path);
	return (SPR_OK);
}

static bool
is_still_there(int fd, const char *path)
{
	struct stat mine, there;

	return (fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_dev == there.st_dev &&
		mine.st_ino == there.st_ino);
}

spr_err
spr_sp_path_lock(spr_sp_path *self)
{
	while (self->path[0] != '\0') {
		if ((self->lock_fd = open(self->lock_path,
					  O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0)
			return (spr_fail(SPR_E_ADDRESS, "listen on %s: lock %s: %s; check the URL",
					 self->url, self->lock_path, strerror(errno)));
		if (flock(self->lock_fd, LOCK_EX | LOCK_NB) != 0) {
			int cause = errno;

			close(self->lock_fd);
			self->lock_fd = -1;
			if (cause == EINTR)
				continue;
			if (cause != EWOULDBLOCK)
				return (spr_fail(SPR_E_ADDRESS, "listen on %s: lock %s: %s",
						 self->url, self->lock_path, strerror(cause)));
			return (spr_fail(
			    SPR_E_ADDRESS,
			    "listen on %s: %s is locked by another process; stop that one or use "
			    "another path",
			    self->url, self->lock_path));
		}
		if (is_still_there(self->lock_fd, self->lock_path))
			break;
		close(self->lock_fd); /* its owner removed it between our open and our lock */
	}
	return (SPR_OK);
}

void
spr_sp_path_unlock(spr_sp_path *self)
{
	if (self->lock_fd < 0)
		return;
	(void)unlink(self->lock_path);
	close(self->lock_fd);
	self->lock_fd = -1;
}

spr_err
spr_sp_path_check(const spr_sp_path *self)
{
	struct stat there;

	if (self->path[0] != '\0' && lstat(self->path, &there) == 0 && !S_ISSOCK(there.st_mode))
		return (spr_fail(SPR_E_ADDRESS,
				 "listen on %s: there is a file that is no socket; remove it or "
				 "use another path",
				 self->url));
	return (SPR_OK);
}

void
spr_sp_path_note(spr_sp_path *self)
{
	struct stat there;

	if (self->path[0] != '\0' && stat(self->path, &there) == 0) {
		self->device = there.st_dev;
		self->inode = there.st_ino;
	}
}

bool
spr_sp_path_is_there(const spr_sp_path *self)
{
	struct stat there;

	return (self->path[0] == '\0' ||
		(stat(self->path, &there) == 0 && there.st_dev == self->device &&
		 there.st_ino == self->inode));
}
