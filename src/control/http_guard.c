/*
 * http_guard - the token is compared in a time that depends on nothing but the longest token.
 *
 * Without a token a browser on this machine is the danger: any page can send a form here (hence Origin), and a page whose
 * name is made to lead to 127.0.0.1 may even read the answer (hence Host). With a token neither gets anywhere, since no
 * page can add the header.
 */
#include "control/http_guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The file's text without the white space at its end. */
static spr_err
read_token(const char *file, char *out)
{
	FILE *stream = fopen(file, "re");
	size_t n;

	memset(out, 0, SPR_TOKEN_MAX);
	if (stream == NULL)
		return (spr_fail(SPR_E_CONFIG, "admin-token-file %s: %s", file, strerror(errno)));
	n = fread(out, 1, SPR_TOKEN_MAX, stream);
	fclose(stream);
	if (n == SPR_TOKEN_MAX)
		return (spr_fail(SPR_E_CONFIG, "admin-token-file %s: at most %d bytes", file,
				 SPR_TOKEN_MAX - 1));
	while (n > 0 && strchr("\r\n\t ", out[n - 1]) != NULL)
		out[--n] = '\0';
	if (n == 0)
		return (spr_fail(SPR_E_CONFIG, "admin-token-file %s: it is empty", file));
	for (size_t i = 0; i < n; i++) {
		if (out[i] <= ' ' || out[i] > '~')
			return (spr_fail(
			    SPR_E_CONFIG,
			    "admin-token-file %s: one line of printable ASCII without blanks",
			    file));
	}
	return (SPR_OK);
}

spr_err
spr_http_guard_reload(spr_http_guard *guard)
{
	char token[SPR_TOKEN_MAX];
	spr_err rv;

	if (guard->file == NULL)
		return (SPR_OK);
	if ((rv = read_token(guard->file, token)) != SPR_OK)
		return (rv);
	pthread_mutex_lock(&guard->lock);
	memcpy(guard->token, token, sizeof(token));
	pthread_mutex_unlock(&guard->lock);
	return (SPR_OK);
}

spr_err
spr_http_guard_init(spr_http_guard *guard, const char *file)
{
	memset(guard, 0, sizeof(*guard));
	guard->file = file;
	pthread_mutex_init(&guard->lock, NULL);
	return (spr_http_guard_reload(guard));
}

void
spr_http_guard_fini(spr_http_guard *guard)
{
	pthread_mutex_destroy(&guard->lock);
}

static bool
is_token(spr_http_guard *guard, const char *authorization)
{
	char given[SPR_TOKEN_MAX] = {0};
	const char *text;
	unsigned difference;

	if (authorization == NULL || strncasecmp(authorization, "Bearer ", 7) != 0)
		return (false);
	text = authorization + 7;
	text += strspn(text, " ");
	difference = strlen(text) >= sizeof(given);
	strncpy(given, text, sizeof(given) - 1);
	pthread_mutex_lock(&guard->lock);
	for (size_t i = 0; i < sizeof(given); i++)
		difference |= (unsigned char)(given[i] ^ guard->token[i]);
	pthread_mutex_unlock(&guard->lock);
	return (difference == 0);
}

/* HOST[:PORT] of a loopback address, or localhost. */
static bool
is_here(const char *host)
{
	char name[64];
	struct in_addr v4;
	size_t len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");

	if (len >= sizeof(name))
		return (false);
	memcpy(name, host, len);
	name[len] = '\0';
	if (inet_pton(AF_INET, name, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24 == 127);
	return (strcmp(name, "[::1]") == 0 || strcasecmp(name, "localhost") == 0);
}

/* One port speaks http or https, never both. */
static bool
is_origin_of(const char *origin, const char *host)
{
	size_t len = strncmp(origin, "https", 5) == 0 ? 5 : 4;

	return (strncmp(origin, "http", 4) == 0 && strncmp(origin + len, "://", 3) == 0 &&
		strcasecmp(origin + len + 3, host) == 0);
}

spr_verdict_of_guard
spr_http_guard_judge(spr_http_guard *guard, const char *authorization, const char *host,
		     const char *origin)
{
	if (guard->file != NULL)
		return (is_token(guard, authorization) ? SPR_GUARD_OPEN : SPR_GUARD_NO_TOKEN);
	if (host == NULL || !is_here(host))
		return (SPR_GUARD_FOREIGN);
	if (origin != NULL && !is_origin_of(origin, host))
		return (SPR_GUARD_FOREIGN);
	return (SPR_GUARD_OPEN);
}

spr_verdict_of_guard
spr_http_guard_ask(spr_http_guard *guard, const spr_http_exchange *exchange)
{
	return (spr_http_guard_judge(guard, spr_http_header_of(exchange, "Authorization"),
				     spr_http_header_of(exchange, "Host"),
				     spr_http_header_of(exchange, "Origin")));
}
