/*
 * connect_and_close - peers that leave before they have said a word, by the kernel's plainest means.
 */
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "spr_test.h"

static inline int
connect_plain(const char *url)
{
	struct sockaddr_un path = {.sun_family = AF_UNIX};
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	bool is_ipc = strncmp(url, "ipc://", 6) == 0;
	int fd = socket(is_ipc ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (is_ipc)
		memcpy(path.sun_path, url + 6, strnlen(url + 6, sizeof(path.sun_path) - 1));
	else
		address.sin_port = htons((uint16_t)strtoul(strrchr(url, ':') + 1, NULL, 10));
	assert_int_equal(is_ipc ? connect(fd, (struct sockaddr *)&path, sizeof(path))
				: connect(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	return (fd);
}

static inline void
connect_and_close(const char *url)
{
	close(connect_plain(url));
}

/* The end of what it says, then a reset. */
static inline void
hang_up_with_reset(int fd)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};

	(void)shutdown(fd, SHUT_WR);
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

static inline void
connect_and_reset(const char *url)
{
	hang_up_with_reset(connect_plain(url));
}
