/*
 * host_rules - which hosts of http URLs are allowed and which are not, by name, by pattern of names, or by address range.
 * Names are not resolved: who must keep a name from leading to an inner address does so where the request is made.
 *
 * A rule is example.org, *.example.org (everything below it), 10.0.0.0/8, fd00::/8, or the word private: every range
 * that is not of the public internet, and localhost. A denied host is refused; with any allow rule, so is every host
 * that matches none.
 *
 * Threads     made by main; constant afterwards, checked by any
 * Ownership   rules copy what they are given
 */
#pragma once

#include "base/error.h"

typedef struct spr_host_rules spr_host_rules;

/* [any] SPR_E_INVALID with a trail when the text is no rule. */
spr_err spr_host_rule_check(const char *text);

/* [main] SPR_E_NOMEM, SPR_E_INVALID with a trail. */
spr_err spr_host_rules_new(spr_host_rules **out, char *const *allow, unsigned n_allow,
			   char *const *deny, unsigned n_deny);
/* [main] NULL is fine. */
void spr_host_rules_free(spr_host_rules *rules);
/* [any] SPR_E_BAD_CALLBACK with a trail. NULL rules allow everything. */
spr_err spr_host_rules_admit(const spr_host_rules *rules, const char *url);
