/*
 * assert - the calling thread's role. It is a plain thread-local: a role is declared once and never
 * looked at by others.
 */
#include "base/assert.h"

static _Thread_local spr_role mine = SPR_ROLE_NONE;

void
spr_role_set(spr_role role)
{
	mine = role;
}

spr_role
spr_role_get(void)
{
	return (mine);
}

const char *
spr_role_name(spr_role role)
{
	switch (role) {
	case SPR_ROLE_NONE:
		return ("none");
	case SPR_ROLE_MAIN:
		return ("main");
	case SPR_ROLE_RECEIVER:
		return ("receiver");
	case SPR_ROLE_DISPATCHER:
		return ("dispatcher");
	case SPR_ROLE_LEDGER:
		return ("ledger");
	case SPR_ROLE_CONTROL:
		return ("control");
	case SPR_ROLE_HTTP:
		return ("http");
	case SPR_ROLE_WATCHDOG:
		return ("watchdog");
	case SPR_ROLE_NNG_CB:
		return ("nng-cb");
	}
	return ("unknown");
}
