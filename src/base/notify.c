/*
 * notify - one datagram a message to the socket that the service manager named. A manager that does not read is
 * waited for shortly and then left: the daemon works without being watched.
 */
#include "base/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define MESSAGE_MAX 1024

static const char *
value_of(char **envp, const char *name)
{
	size_t len = strlen(name);

	for (; *envp != NULL; envp++) {
		if (strncmp(*envp, name, len) == 0 && (*envp)[len] == '=')
			return (*envp + len + 1);
	}
	return (NULL);
}

static uint64_t
number_of(const char *text)
{
	char *end = NULL;
	unsigned long long n;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return (0);
	n = strtoull(text, &end, 10);
	return (*end == '\0' && n < UINT64_MAX / 1000 ? n : 0);
}

/* A path, or "@name" in the abstract space. The descriptor, or 0. */
static int
connect_to(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timeval limit = {.tv_sec = 1};
	size_t len = name != NULL ? strlen(name) : 0;
	int fd;

	if (len < 2 || len >= sizeof(address.sun_path) || (name[0] != '/' && name[0] != '@'))
		return (0);
	memcpy(address.sun_path, name, len);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	if ((fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) <= 0)
		return (0);
	if (connect(fd, (const struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) != 0) {
		close(fd);
		return (0);
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return (fd);
}

void
spr_notify_open(spr_notify *out, char **envp)
{
	const char *pid = value_of(envp, "WATCHDOG_PID");

	*out = (spr_notify){.socket = connect_to(value_of(envp, "NOTIFY_SOCKET"))};
	/* the pid guards against a variable that a parent was meant to get */
	if (out->socket != 0 && (pid == NULL || number_of(pid) == (uint64_t)getpid()))
		out->watchdog_ns = number_of(value_of(envp, "WATCHDOG_USEC")) * 1000;
}

bool
spr_notify_is_heard(const spr_notify *notify)
{
	return (notify->socket != 0);
}

void
spr_notify_say(const spr_notify *notify, const char *format, ...)
{
	char message[MESSAGE_MAX];
	va_list args;
	int n;

	if (notify->socket == 0)
		return;
	va_start(args, format);
	n = vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (n < 0)
		return;
	n = n < (int)sizeof(message) ? n : (int)sizeof(message) - 1;
	while (send(notify->socket, message, (size_t)n, MSG_NOSIGNAL) < 0 && errno == EINTR)
		continue;
}

void
spr_notify_close(spr_notify *notify)
{
	if (notify->socket != 0)
		close(notify->socket);
	*notify = (spr_notify){0};
}
