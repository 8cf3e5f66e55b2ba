/*
 * file - a file is made under another name and takes its own only when it is complete.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool
write_whole(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return (false);
		text += n;
		len -= (size_t)n;
	}
	return (true);
}

spr_err
spr_file_replace(const char *path, const char *text)
{
	char beside[4096];
	spr_err rv = SPR_OK;
	int fd = -1;

	if (snprintf(beside, sizeof(beside), "%s.%d", path, (int)getpid()) >= (int)sizeof(beside))
		return (spr_fail(SPR_E_IO, "%s: the path is too long", path));
	if ((fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) < 0 ||
	    !write_whole(fd, text, strlen(text)) || !write_whole(fd, "\n", 1) ||
	    rename(beside, path) != 0) {
		rv = spr_fail(SPR_E_IO, "%s: %s", path, strerror(errno));
		(void)unlink(beside);
	}
	if (fd >= 0)
		close(fd);
	return (rv);
}
