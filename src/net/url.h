/*
 * url - what an SP socket can be given: one set of rules for every program and every option.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "net/net.h"

/* Whose URL it is. */
typedef struct spr_url_rules {
	bool is_listening;
	bool is_control; /* lets whoever reaches it change things */
	bool has_certificate, has_authority;
} spr_url_rules;

typedef struct spr_url_address {
	char host[SPR_URL_MAX];
	long port; /* -1: none given */
} spr_url_address;

/* [any] SPR_E_CONFIG, with a trail that names the URL and what it lacks. */
spr_err spr_url_check(const char *url, const spr_url_rules *rules);
/* [any] Splits SCHEME://HOST:PORT, where HOST may be [v6]; what follows a '/' is not looked at. url is shorter than SPR_URL_MAX. */
bool spr_url_split(const char *url, spr_url_address *out);
/* [any] */
bool spr_url_is_loopback(const char *host);
