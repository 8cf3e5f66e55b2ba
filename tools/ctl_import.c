/*
 * ctl_import - subscriptions from a file, a line each, in batches that the daemon takes whole or not at all. What an
 * error leaves behind is told, so that the rest can be imported again; doing all of it again only renews.
 */
#include "ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define BATCH_MAX       10000
#define BATCH_BYTES_MAX ((size_t)8 << 20) /* half of what the daemon takes in one request */

typedef struct import {
	const char *name; /* of the file, for messages */
	FILE *in;
	cJSON *entries; /* the batch being filled */
	size_t n, n_bytes;
	unsigned long line;      /* last read */
	unsigned long last_done; /* line up to which everything is imported */
	unsigned long created, renewed;
	unsigned long line_of[BATCH_MAX];
} import;

/* Where the trouble is, and what of the file has been taken, which is all that is needed to go on. */
static int
fail_at(const import *i, unsigned long line, const char *code, const char *detail)
{
	char taken[64] = "nothing was imported";

	if (i->last_done > 0)
		snprintf(taken, sizeof(taken), "lines 1 to %lu are imported", i->last_done);
	return (ctl_fail(CTL_NO, "import %s: line %lu: %s%s%s; %s", i->name, line,
			 code != NULL ? code : "", code != NULL ? ": " : "", detail, taken));
}

static int
fail_batch(const import *i, const cJSON *reply)
{
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(reply, "error");
	const cJSON *index = cJSON_GetObjectItemCaseSensitive(error, "index");
	const char *code = spr_json_text(error, "code");
	const char *detail = spr_json_text(error, "detail");
	unsigned long line = i->line_of[0];

	if (cJSON_IsNumber(index) && index->valuedouble >= 0 && index->valuedouble < (double)i->n)
		line = i->line_of[(size_t)index->valuedouble];
	return (fail_at(i, line, code != NULL ? code : "refused",
			detail != NULL ? detail : "no reason given"));
}

static unsigned long
count_of(const cJSON *reply, const char *name)
{
	double n = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(reply, name));

	return (n > 0 && n <= BATCH_MAX ? (unsigned long)n : 0);
}

/* Sends the batch, if there is one, and starts the next. */
static int
flush_batch(ctl *c, import *i)
{
	cJSON *request = NULL, *reply = NULL;
	int code = CTL_OK;

	if (i->n == 0)
		return (CTL_OK);
	request = ctl_request("import");
	cJSON_AddItemToObject(request, "subscriptions", i->entries);
	i->entries = NULL;
	if ((code = ctl_exchange(c, request, &reply)) != CTL_OK)
		return (code);
	if (c->options.json)
		ctl_print_reply(c);
	if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "ok"))) {
		code = fail_batch(i, reply);
	} else {
		i->created += count_of(reply, "created");
		i->renewed += count_of(reply, "renewed");
		i->last_done = i->line;
		i->n = i->n_bytes = 0;
	}
	cJSON_Delete(reply);
	return (code);
}

/* Takes over what the daemon knows; an export's or a list's line may hold more. */
static int
add_entry(import *i, cJSON *from)
{
	static const char *const names[] = {"pattern", "callback", "expires_at", "lease_seconds"};
	cJSON *entry = cJSON_CreateObject();

	if (entry == NULL || (i->entries == NULL && (i->entries = cJSON_CreateArray()) == NULL) ||
	    !cJSON_AddItemToArray(i->entries, entry))
		return (ctl_fail(CTL_NO, "out of memory"));
	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(from, names[k]);

		if (item != NULL)
			cJSON_AddItemToObject(entry, names[k], item);
	}
	i->line_of[i->n++] = i->line;
	return (CTL_OK);
}

static int
add_line(ctl *c, import *i, const char *text, size_t len)
{
	static const char where[] = "line 1, "; /* of this text, which is one line of the file */
	cJSON *root = NULL;
	const char *trail = NULL;
	int code = CTL_OK;
	spr_err rv = SPR_OK;

	if (strspn(text, " \t\r\n") == len)
		return (CTL_OK);
	if (i->n == BATCH_MAX || (i->n > 0 && i->n_bytes + len > BATCH_BYTES_MAX)) {
		/* this line is not part of what is sent */
		i->line--;
		code = flush_batch(c, i);
		i->line++;
		if (code != CTL_OK)
			return (code);
	}
	if ((rv = spr_json_parse(&root, text, len)) != SPR_OK) {
		trail = spr_error_text(rv);
		return (fail_at(i, i->line, NULL,
				strncmp(trail, where, strlen(where)) == 0 ? trail + strlen(where)
									  : trail));
	}
	if (cJSON_IsObject(root))
		code = add_entry(i, root);
	else
		code = fail_at(i, i->line, NULL, "no JSON object");
	cJSON_Delete(root);
	i->n_bytes += len;
	return (code);
}

static int
import_lines(ctl *c, import *i)
{
	char *text = NULL;
	size_t size = 0;
	ssize_t len = 0;
	int code = CTL_OK;

	while (code == CTL_OK && (errno = 0, len = getline(&text, &size, i->in)) >= 0) {
		i->line++;
		code = add_line(c, i, text, (size_t)len);
	}
	if (code == CTL_OK && ferror(i->in))
		code = fail_at(i, i->line + 1, NULL, strerror(errno));
	free(text);
	return (code == CTL_OK ? flush_batch(c, i) : code);
}

int
ctl_import(ctl *c)
{
	static import i; /* too large for a stack */
	bool is_stdin = strcmp(c->words[0], "-") == 0;
	int code = CTL_OK;

	i.name = is_stdin ? "standard input" : c->words[0];
	i.in = is_stdin ? stdin : fopen(c->words[0], "re");
	if (i.in == NULL)
		return (ctl_fail(CTL_NO, "import %s: cannot read: %s", i.name, strerror(errno)));
	code = import_lines(c, &i);
	cJSON_Delete(i.entries);
	if (!is_stdin)
		fclose(i.in);
	if (code == CTL_OK && !c->options.json)
		printf("imported %lu: %lu created, %lu renewed\n", i.created + i.renewed, i.created,
		       i.renewed);
	return (code);
}
