/*
 * host_rules - the host is taken out of the URL in the strictest way: what two readers of URLs could understand
 * differently (an escape, a backslash, two @, letters beyond ASCII) is refused as soon as there are rules, because the
 * one who makes the request may be the other reader. Addresses count in every spelling that inet_aton knows: 127.1 and
 * 0x7f000001 are 127.0.0.1.
 */
#include "base/host_rules.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

#define HOST_MAX 256

/* An address, IPv4 as ::ffff:a.b.c.d. */
typedef struct address {
	unsigned char bytes[16];
} address;

typedef enum rule_kind { RULE_NAME, RULE_BELOW, RULE_RANGE, RULE_PRIVATE } rule_kind;

typedef struct rule {
	rule_kind kind;
	unsigned bits; /* RANGE */
	address range;
	char name[HOST_MAX]; /* NAME; BELOW, with its dot */
} rule;

struct spr_host_rules {
	unsigned n_allow;
	unsigned n_deny;
	rule rule[]; /* first those that allow */
};

static const char *const private_ranges[] = {
    "0.0.0.0/8",     "10.0.0.0/8",   "100.64.0.0/10",  "127.0.0.0/8",   "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3",
    "::/127",        "fc00::/7",     "fe80::/9",       "ff00::/8",
};

static void
map_v4(struct in_addr v4, address *out)
{
	memset(out->bytes, 0, 10);
	out->bytes[10] = out->bytes[11] = 0xff;
	memcpy(out->bytes + 12, &v4, 4);
}

/* The IPv4 address inside of 64:ff9b::/96 and ::/96 is where it leads. */
static void
unwrap(address *a)
{
	static const unsigned char nat64[12] = {0, 0x64, 0xff, 0x9b};
	static const unsigned char none[12] = {0};
	struct in_addr v4;

	memcpy(&v4, a->bytes + 12, 4);
	if (memcmp(a->bytes, nat64, 12) == 0 ||
	    (memcmp(a->bytes, none, 12) == 0 && ntohl(v4.s_addr) > 1))
		map_v4(v4, a);
}

static bool
read_address(const char *host, address *out)
{
	struct in_addr v4;

	if (strchr(host, ':') == NULL) {
		if (inet_aton(host, &v4) == 0)
			return (false);
		map_v4(v4, out);
		return (true);
	}
	if (inet_pton(AF_INET6, host, out->bytes) != 1)
		return (false);
	unwrap(out);
	return (true);
}

static bool
is_inside(const address *a, const address *range, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a->bytes, range->bytes, whole) != 0)
		return (false);
	return (rest == 0 || ((a->bytes[whole] ^ range->bytes[whole]) >> (8 - rest)) == 0);
}

/* "10.0.0.0/8", "fd00::/8", or one address. */
static bool
read_range(const char *text, rule *out)
{
	const char *slash = strchr(text, '/');
	size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
	char host[HOST_MAX];
	char *end = NULL;
	unsigned long bits, most;
	struct in_addr v4;

	if (len >= sizeof(host))
		return (false);
	memcpy(host, text, len);
	host[len] = '\0';
	if (inet_pton(AF_INET, host, &v4) == 1) {
		map_v4(v4, &out->range);
		most = 32;
	} else if (inet_pton(AF_INET6, host, out->range.bytes) == 1) {
		most = 128;
	} else {
		return (false);
	}
	bits = slash != NULL ? strtoul(slash + 1, &end, 10) : most;
	if (slash != NULL && (!isdigit((unsigned char)slash[1]) || *end != '\0' || bits > most))
		return (false);
	out->bits = (unsigned)(bits + (128 - most));
	out->kind = RULE_RANGE;
	return (true);
}

static bool
is_name(const char *text)
{
	size_t len = strlen(text);

	if (len == 0 || len >= HOST_MAX || text[0] == '.' || text[len - 1] == '.' ||
	    strstr(text, "..") != NULL)
		return (false);
	for (const char *p = text; *p != '\0'; p++) {
		if (!isascii(*p) || (!isalnum((unsigned char)*p) && strchr("-_.", *p) == NULL))
			return (false);
	}
	return (true);
}

static bool
read_rule(const char *text, rule *out)
{
	bool is_below = strncmp(text, "*.", 2) == 0;
	struct in_addr v4;

	memset(out, 0, sizeof(*out));
	if (strcmp(text, "private") == 0) {
		out->kind = RULE_PRIVATE;
		return (true);
	}
	if (read_range(text, out))
		return (true);
	/* 10.1 as a name would never match: it is an address in URLs */
	if (!is_name(is_below ? text + 2 : text) || inet_aton(text, &v4) != 0)
		return (false);
	out->kind = is_below ? RULE_BELOW : RULE_NAME;
	memcpy(out->name, is_below ? text + 1 : text, strlen(text) + (is_below ? 0 : 1));
	return (true);
}

spr_err
spr_host_rule_check(const char *text)
{
	rule ignored;

	if (read_rule(text, &ignored))
		return (SPR_OK);
	return (spr_fail(SPR_E_INVALID,
			 "%.100s is no host, *.host, address, address/bits or the word private",
			 text));
}

spr_err
spr_host_rules_new(spr_host_rules **out, char *const *allow, unsigned n_allow, char *const *deny,
		   unsigned n_deny)
{
	spr_host_rules *rules = spr_mem_zalloc(sizeof(*rules) + (n_allow + n_deny) * sizeof(rule));
	spr_err rv = SPR_OK;

	if (rules == NULL)
		return (spr_fail(SPR_E_NOMEM, "out of memory"));
	rules->n_allow = n_allow;
	rules->n_deny = n_deny;
	for (unsigned i = 0; rv == SPR_OK && i < n_allow + n_deny; i++) {
		const char *text = i < n_allow ? allow[i] : deny[i - n_allow];

		if (!read_rule(text, &rules->rule[i]))
			rv = spr_host_rule_check(text);
	}
	if (rv != SPR_OK) {
		spr_host_rules_free(rules);
		return (rv);
	}
	*out = rules;
	return (SPR_OK);
}

void
spr_host_rules_free(spr_host_rules *rules)
{
	spr_mem_free(rules);
}

/* The host of the URL without brackets, port and a last dot; false when it is not plain. */
static bool
take_host(const char *url, char *host)
{
	const char *at = strstr(url, "://");
	size_t len, skip = 0;
	const char *user;

	if (at == NULL)
		return (false);
	at += 3;
	len = strcspn(at, "/?#");
	if (memchr(at, '\\', len) != NULL || memchr(at, '%', len) != NULL)
		return (false);
	if ((user = memchr(at, '@', len)) != NULL) {
		len -= (size_t)(user + 1 - at);
		at = user + 1;
		if (memchr(at, '@', len) != NULL)
			return (false);
	}
	if (at[0] == '[') {
		skip = 1;
		at++;
		len = strcspn(at, "]");
	} else {
		len = strcspn(at, ":/?#") < len ? strcspn(at, ":/?#") : len;
		if (len > 0 && at[len - 1] == '.')
			len--;
	}
	if (len == 0 || len >= HOST_MAX)
		return (false);
	memcpy(host, at, len);
	host[len] = '\0';
	return (skip != 0 ? strchr(host, ':') != NULL : is_name(host));
}

static bool
ends_with(const char *host, const char *end)
{
	size_t host_len = strlen(host), end_len = strlen(end);

	return (host_len > end_len && strcasecmp(host + host_len - end_len, end) == 0);
}

static bool
is_private(const char *host, const address *a)
{
	rule range;

	if (a == NULL)
		return (strcasecmp(host, "localhost") == 0 || ends_with(host, ".localhost"));
	for (size_t i = 0; i < sizeof(private_ranges) / sizeof(private_ranges[0]); i++) {
		if (read_range(private_ranges[i], &range) && is_inside(a, &range.range, range.bits))
			return (true);
	}
	return (false);
}

static bool
matches(const rule *r, const char *host, const address *a)
{
	switch (r->kind) {
	case RULE_NAME:
		return (a == NULL && strcasecmp(host, r->name) == 0);
	case RULE_BELOW:
		return (a == NULL && ends_with(host, r->name));
	case RULE_RANGE:
		return (a != NULL && is_inside(a, &r->range, r->bits));
	case RULE_PRIVATE:
		return (is_private(host, a));
	}
	return (false);
}

static bool
matches_any(const rule *rules, unsigned n, const char *host, const address *a)
{
	for (unsigned i = 0; i < n; i++) {
		if (matches(&rules[i], host, a))
			return (true);
	}
	return (false);
}

spr_err
spr_host_rules_admit(const spr_host_rules *rules, const char *url)
{
	char host[HOST_MAX];
	address a;
	const address *numeric;

	if (rules == NULL || rules->n_allow + rules->n_deny == 0)
		return (SPR_OK);
	if (!take_host(url, host))
		return (
		    spr_fail(SPR_E_BAD_CALLBACK, "its host is not plainly a name or an address"));
	numeric = read_address(host, &a) ? &a : NULL;
	if (numeric == NULL && strchr(host, ':') != NULL)
		return (spr_fail(SPR_E_BAD_CALLBACK, "its host is no address"));
	if (matches_any(rules->rule + rules->n_allow, rules->n_deny, host, numeric))
		return (spr_fail(SPR_E_BAD_CALLBACK, "its host is denied by --callback-deny"));
	if (rules->n_allow > 0 && !matches_any(rules->rule, rules->n_allow, host, numeric))
		return (spr_fail(SPR_E_BAD_CALLBACK, "its host is not among --callback-allow"));
	return (SPR_OK);
}
