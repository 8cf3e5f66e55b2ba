/*
 * ctl_verbs - the verbs that are one request and one answer. Those that page or batch are in ctl_list.c and ctl_import.c.
 */
#include "ctl.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"

static bool
is_true(const cJSON *object, const char *name)
{
	return (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, name)));
}

static int
put_subscribed(const ctl *c, const cJSON *reply)
{
	const char *expires = spr_json_text(reply, "expires_at");

	if (expires == NULL)
		return (ctl_bad_reply(c, "no \"expires_at\" in it"));
	printf("%s, expires ", is_true(reply, "created") ? "created" : "renewed");
	ctl_put(stdout, expires);
	fputc('\n', stdout);
	return (CTL_OK);
}

int
ctl_subscribe(ctl *c)
{
	uint64_t lease_s;
	cJSON *request = NULL, *reply = NULL;
	int code = CTL_OK;

	if (c->options.lease_ns % SPR_NS_PER_S != 0)
		return (ctl_fail(CTL_USAGE, "--lease: must be whole seconds"));
	request = ctl_request("subscribe");
	ctl_add_text(request, "pattern", c->words[0]);
	ctl_add_text(request, "callback", c->words[1]);
	lease_s = c->options.lease_ns / SPR_NS_PER_S;
	if (lease_s > 0)
		ctl_add_number(request, "lease_seconds", (double)lease_s);
	if ((code = ctl_ask(c, request, &reply)) != CTL_OK)
		return (code);
	if (c->options.json)
		ctl_print_reply(c);
	else
		code = put_subscribed(c, reply);
	cJSON_Delete(reply);
	return (code);
}

int
ctl_unsubscribe(ctl *c)
{
	cJSON *request = ctl_request("unsubscribe");
	cJSON *reply = NULL;
	int code = CTL_OK;

	ctl_add_text(request, "pattern", c->words[0]);
	ctl_add_text(request, "callback", c->words[1]);
	if ((code = ctl_ask(c, request, &reply)) != CTL_OK)
		return (code);
	if (c->options.json)
		ctl_print_reply(c);
	else
		puts("removed");
	cJSON_Delete(reply);
	return (CTL_OK);
}

/* --- lookup -------------------------------------------------------------------------------------- */

typedef struct layers {
	const cJSON *first; /* array of the reply */
	size_t widest;      /* pattern that has anything to show */
	unsigned n_told, n_suppressed;
} layers;

/* Counts, and holds the reply against the contract. */
static bool
survey(layers *all)
{
	const cJSON *layer = NULL, *item = NULL;

	cJSON_ArrayForEach(layer, all->first)
	{
		const char *pattern = spr_json_text(layer, "pattern");
		const cJSON *matched = cJSON_GetObjectItemCaseSensitive(layer, "matched");
		const cJSON *suppressed = cJSON_GetObjectItemCaseSensitive(layer, "suppressed");

		if (pattern == NULL || !cJSON_IsArray(matched) || !cJSON_IsArray(suppressed))
			return (false);
		cJSON_ArrayForEach(item, matched)
		{
			if (!cJSON_IsString(item))
				return (false);
			all->n_told++;
		}
		cJSON_ArrayForEach(item, suppressed)
		{
			if (spr_json_text(item, "callback") == NULL ||
			    spr_json_text(item, "why") == NULL)
				return (false);
			all->n_suppressed++;
		}
		if ((matched->child != NULL || suppressed->child != NULL) &&
		    ctl_width(pattern) > all->widest)
			all->widest = ctl_width(pattern);
	}
	return (true);
}

static void
put_row(const layers *all, const cJSON *layer, const char *callback, const char *why)
{
	fputs("  ", stdout);
	ctl_put_padded(stdout, spr_json_text(layer, "pattern"), all->widest + 2);
	if (why != NULL)
		ctl_put_padded(stdout, why, strlen("duplicate") + 2);
	ctl_put(stdout, callback);
	fputc('\n', stdout);
}

static void
put_told(const layers *all)
{
	const cJSON *layer = NULL, *item = NULL;

	printf("told: %u\n", all->n_told);
	cJSON_ArrayForEach(layer, all->first)
	{
		cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(layer, "matched"))
		{
			put_row(all, layer, item->valuestring, NULL);
		}
	}
}

static void
put_suppressed(const layers *all)
{
	const cJSON *layer = NULL, *item = NULL;

	if (all->n_suppressed == 0)
		return;
	printf("not told: %u\n", all->n_suppressed);
	cJSON_ArrayForEach(layer, all->first)
	{
		cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(layer, "suppressed"))
		{
			put_row(all, layer, spr_json_text(item, "callback"),
				spr_json_text(item, "why"));
		}
	}
}

int
ctl_lookup(ctl *c)
{
	cJSON *request = ctl_request("lookup");
	cJSON *reply = NULL;
	layers all = {.widest = 0};
	int code = CTL_OK;

	ctl_add_text(request, "predicate", c->words[0]);
	if ((code = ctl_ask(c, request, &reply)) != CTL_OK)
		return (code);
	all.first = cJSON_GetObjectItemCaseSensitive(reply, "layers");
	if (c->options.json) {
		ctl_print_reply(c);
	} else if (!cJSON_IsArray(all.first) || !survey(&all)) {
		code = ctl_bad_reply(c, "no \"layers\" as they should be");
	} else {
		put_told(&all);
		put_suppressed(&all);
	}
	cJSON_Delete(reply);
	return (code);
}

/* --- what the daemon tells about itself ---------------------------------------------------------- */

/* Asks op and prints the answer without its "ok"; the reply is the caller's. */
static int
tell(ctl *c, cJSON **reply)
{
	int code = ctl_ask(c, ctl_request(c->verb), reply);

	if (code != CTL_OK)
		return (code);
	if (c->options.json) {
		ctl_print_reply(c);
		return (CTL_OK);
	}
	cJSON_DeleteItemFromObjectCaseSensitive(*reply, "ok");
	ctl_put_object(stdout, *reply, 0);
	return (CTL_OK);
}

int
ctl_stats(ctl *c)
{
	cJSON *reply = NULL;
	int code = tell(c, &reply);

	cJSON_Delete(reply);
	return (code);
}

int
ctl_health(ctl *c)
{
	cJSON *reply = NULL;
	int code = tell(c, &reply);

	if (code == CTL_OK && !is_true(reply, "ready"))
		code = CTL_NO; /* the answer says it all: no line on stderr */
	cJSON_Delete(reply);
	return (code);
}

int
ctl_version(ctl *c)
{
	cJSON *reply = NULL;
	int code = tell(c, &reply);

	cJSON_Delete(reply);
	return (code);
}
