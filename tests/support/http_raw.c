/*
 * http_raw - sockets and strings; "Connection: close" on every request makes the end of an answer the end of the stream.
 */
#include "http_raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proc.h"

int
spr_http_connect_from(const char *url, const char *source)
{
	struct sockaddr_in to = {.sin_family = AF_INET}, from = {.sin_family = AF_INET};
	unsigned port = 0;
	char host[64];
	int fd;

	if (sscanf(url, "http://%63[^:]:%u", host, &port) != 2 ||
	    inet_pton(AF_INET, host, &to.sin_addr) != 1 ||
	    (source != NULL && inet_pton(AF_INET, source, &from.sin_addr) != 1))
		return (-1);
	to.sin_port = htons((unsigned short)port);
	if ((fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
		return (-1);
	if ((source == NULL || bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0) &&
	    connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return (fd);
	close(fd);
	return (-1);
}

int
spr_http_connect(const char *url)
{
	return (spr_http_connect_from(url, NULL));
}

bool
spr_http_write(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return (false);
		bytes += n;
		len -= (size_t)n;
	}
	return (true);
}

static bool
parse(spr_http_got *got, char *text, size_t len)
{
	char *end = len > 0 ? strstr(text, "\r\n\r\n") : NULL;

	if (end == NULL || sscanf(text, "HTTP/1.%*d %d", &got->status) != 1) {
		free(text);
		return (false);
	}
	*end = '\0';
	got->head = text;
	got->body = end + 4;
	got->len = len - (size_t)(got->body - text);
	return (true);
}

bool
spr_http_read(int fd, spr_http_got *got, int ms)
{
	long deadline = spr_test_now_ms() + ms;
	size_t len = 0, capacity = 4096;
	char *text = malloc(capacity);
	ssize_t n = 1;

	*got = (spr_http_got){.status = 0};
	while (n > 0) {
		struct pollfd wait = {.fd = fd, .events = POLLIN};
		long left = deadline - spr_test_now_ms();

		if (left <= 0 || poll(&wait, 1, (int)left) <= 0)
			break;
		if (len + 2 > capacity)
			text = realloc(text, capacity *= 2);
		if ((n = recv(fd, text + len, capacity - len - 1, 0)) > 0)
			len += (size_t)n;
	}
	text[len] = '\0';
	if (n > 0) { /* it is still open */
		free(text);
		return (false);
	}
	return (parse(got, text, len));
}

void
spr_http_forget(spr_http_got *got)
{
	free(got->head);
	*got = (spr_http_got){.status = 0};
}

bool
spr_http_ask(const char *url, const char *method, const char *target, const char *headers,
	     const char *body, spr_http_got *got)
{
	char *text = NULL, length[48] = "";
	int fd = spr_http_connect(url);
	bool is_fine = false;
	int len;

	*got = (spr_http_got){.status = 0};
	if (fd < 0)
		return (false);
	if (body != NULL)
		snprintf(length, sizeof(length), "Content-Length: %zu\r\n", strlen(body));
	len = asprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s%s\r\n%s",
		       method, target, url + 7, headers, length, body != NULL ? body : "");
	if (len > 0) {
		is_fine = spr_http_write(fd, text, (size_t)len);
		is_fine = spr_http_read(fd, got, spr_test_deadline_ms()) && is_fine;
		free(text);
	}
	close(fd);
	return (is_fine);
}
