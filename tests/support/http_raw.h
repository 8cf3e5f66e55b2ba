/*
 * http_raw - an HTTP client of a few lines that shares no code with the daemon: it writes the bytes it is given and reads
 * what comes. For [any] thread; -1 and NULL tell of a failure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct spr_http_got {
	int status;
	char *head; /* status line and headers; owns the memory of both */
	char *body;
	size_t len; /* of the body */
} spr_http_got;

/* url is http://HOST:PORT. The descriptor of a connection, or -1. */
int spr_http_connect(const char *url);
/* The same from an address of our own, "127.0.0.2"; NULL: any. */
int spr_http_connect_from(const char *url, const char *source);
/* Everything is written; false: the peer hung up. */
bool spr_http_write(int fd, const char *bytes, size_t len);
/* Until the peer closes, at most ms; false: it did not, or no status came. */
bool spr_http_read(int fd, spr_http_got *got, int ms);
void spr_http_forget(spr_http_got *got);

/* One request over a connection of its own. headers: "" or whole lines with their ends; body may be NULL. */
bool spr_http_ask(const char *url, const char *method, const char *target, const char *headers,
		  const char *body, spr_http_got *got);
