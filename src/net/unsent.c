/*
 * unsent - TCP_NOTSENT_LOWAT.
 */
#include "net/unsent.h"

#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void
spr_unsent_limit(int fd)
{
	const int bytes = SPR_UNSENT_BYTES;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

static bool
is_at(int fd, const struct sockaddr *address, socklen_t len)
{
	struct sockaddr_storage its = {0};
	socklen_t its_len = sizeof(its);

	return (getsockname(fd, (struct sockaddr *)&its, &its_len) == 0 && its_len == len &&
		memcmp(&its, address, len) == 0);
}

void
spr_unsent_limit_at(const struct sockaddr *address, socklen_t len)
{
	DIR *folder = opendir("/proc/self/fd");
	struct dirent *entry;

	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		int fd = (int)strtol(entry->d_name, NULL, 10);

		/* "." and ".." are 0, which is no socket of ours */
		if (fd > 0 && is_at(fd, address, len))
			spr_unsent_limit(fd);
	}
	if (folder != NULL)
		closedir(folder);
}
