/*
 * url - schemes, addresses, and what must not be bound so that everybody reaches it.
 */
#include "net/url.h"

#include <arpa/inet.h>
#include <string.h>

#include "net/tls.h"

typedef enum scheme_kind { WITH_PORT, PORT_OPTIONAL, PATH, REFUSED } scheme_kind;

static const struct scheme {
	const char *name;
	scheme_kind kind;
} schemes[] = {
    {"tcp", WITH_PORT},    {"ipc", PATH},          {"unix", PATH},         {"abstract", PATH},
    {"ws", PORT_OPTIONAL}, {"tls+tcp", WITH_PORT}, {"wss", PORT_OPTIONAL}, {"inproc", REFUSED},
};

static const struct scheme *
find_scheme(const char *url)
{
	const char *colon = strstr(url, "://");

	for (size_t i = 0; colon != NULL && i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t len = strlen(schemes[i].name);

		if (len == (size_t)(colon - url) && memcmp(schemes[i].name, url, len) == 0)
			return (&schemes[i]);
	}
	return (NULL);
}

bool
spr_url_split(const char *url, spr_url_address *out)
{
	const char *at = strstr(url, "://") + 3;
	size_t len = strcspn(at, "/");
	const char *host_end = at[0] == '[' ? memchr(at, ']', len) : NULL;
	size_t skip = host_end != NULL ? 1 : 0;

	*out = (spr_url_address){.port = -1};
	if (at[0] == '[' && host_end == NULL)
		return (false);
	if (host_end == NULL && (host_end = memchr(at, ':', len)) == NULL)
		host_end = at + len;
	memcpy(out->host, at + skip, (size_t)(host_end - at) - skip);
	host_end += skip;
	if (host_end == at + len)
		return (true);
	if (*host_end != ':' || host_end + 1 == at + len || at + len - host_end > 6)
		return (false);
	out->port = 0;
	for (const char *p = host_end + 1; p < at + len; p++) {
		if (*p < '0' || *p > '9')
			return (false);
		out->port = out->port * 10 + (*p - '0');
	}
	return (out->port <= 65535);
}

bool
spr_url_is_loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, host, &v4) == 1)
		return ((ntohl(v4.s_addr) >> 24) == 127);
	if (inet_pton(AF_INET6, host, &v6) == 1)
		return (IN6_IS_ADDR_LOOPBACK(&v6));
	return (strcmp(host, "localhost") == 0);
}

/* A listener shows a certificate; a dialler must be able to tell whose it is shown. */
static spr_err
check_certificates(const char *url, const spr_url_rules *rules)
{
	if (!spr_tls_is_url(url))
		return (SPR_OK);
	if (rules->is_listening && !rules->has_certificate)
		return (spr_fail(SPR_E_CONFIG, "%s needs --tls-cert and --tls-key", url));
	if (!rules->is_listening && !rules->has_authority)
		return (spr_fail(SPR_E_CONFIG, "%s needs --tls-ca, to know its server by", url));
	return (SPR_OK);
}

static spr_err
check_address(const char *url, scheme_kind kind, const spr_url_rules *rules)
{
	spr_url_address a;

	if (!spr_url_split(url, &a))
		return (spr_fail(SPR_E_CONFIG, "%s has no valid HOST:PORT", url));
	if (a.port < 0 && kind == WITH_PORT)
		return (spr_fail(SPR_E_CONFIG, "%s has no port", url));
	if (a.port == 0 && !rules->is_listening)
		return (spr_fail(SPR_E_CONFIG,
				 "%s has port 0, which can be listened on but not dialled", url));
	if (a.host[0] == '\0' && !rules->is_listening)
		return (spr_fail(SPR_E_CONFIG, "%s has no host to dial", url));
	if (rules->is_control && !spr_url_is_loopback(a.host) &&
	    (strncmp(url, "tls+tcp:", 8) != 0 || !rules->has_authority))
		return (
		    spr_fail(SPR_E_CONFIG,
			     "%s is not loopback, which needs tls+tcp:// with --tls-ca; or use a "
			     "loopback address, ipc:// or abstract://",
			     url));
	return (check_certificates(url, rules));
}

spr_err
spr_url_check(const char *url, const spr_url_rules *rules)
{
	const struct scheme *scheme = find_scheme(url);

	if (strlen(url) >= SPR_URL_MAX)
		return (spr_fail(SPR_E_CONFIG, "%.64s... is longer than %d bytes", url,
				 SPR_URL_MAX - 1));
	if (scheme == NULL)
		return (
		    spr_fail(SPR_E_CONFIG,
			     "%s is not a tcp://, tls+tcp://, ipc://, unix://, abstract://, ws:// "
			     "or wss:// URL",
			     url));
	switch (scheme->kind) {
	case REFUSED:
		return (spr_fail(SPR_E_CONFIG,
				 "%s: inproc:// is refused, as it reaches no other process and "
				 "aborts the daemon when it closes",
				 url));
	case PATH:
		if (strstr(url, "://")[3] == '\0')
			return (spr_fail(SPR_E_CONFIG, "%s has no path", url));
		return (SPR_OK);
	default:
		return (check_address(url, scheme->kind, rules));
	}
}
