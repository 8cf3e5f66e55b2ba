/*
 * ctl_list - list and export: the daemon's pages one after the other, never more than one in memory.
 */
#include "ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

#define PAGE_MAX 1000

/* --- pages --------------------------------------------------------------------------------------- */

/* rows: objects that each have the texts pattern, callback and expires_at. */
typedef int (*on_page)(ctl *c, cJSON *rows, void *arg);

static bool
is_row(const cJSON *row)
{
	return (spr_json_text(row, "pattern") != NULL && spr_json_text(row, "callback") != NULL &&
		spr_json_text(row, "expires_at") != NULL);
}

/* Asks for one page, behind *cursor if there is one; *cursor becomes that of the next, or NULL. */
static int
ask_page(ctl *c, unsigned n, char **cursor, cJSON **reply)
{
	cJSON *request = ctl_request("list");
	const cJSON *row = NULL, *rows = NULL;
	const char *next = NULL;
	int code = CTL_OK;

	ctl_add_number(request, "limit", n);
	if (*cursor != NULL)
		ctl_add_text(request, "after", *cursor);
	if (c->options.prefix != NULL)
		ctl_add_text(request, "prefix", c->options.prefix);
	if (c->options.callback != NULL)
		ctl_add_text(request, "callback", c->options.callback);
	free(*cursor);
	*cursor = NULL;
	if ((code = ctl_ask(c, request, reply)) != CTL_OK)
		return (code);
	rows = cJSON_GetObjectItemCaseSensitive(*reply, "subscriptions");
	next = spr_json_text(*reply, "next");
	cJSON_ArrayForEach(row, rows)
	{
		if (!is_row(row))
			break;
	}
	/* an empty page that promises another would be asked for ever; one of a callback may have found none of it yet */
	if (!cJSON_IsArray(rows) || row != NULL ||
	    (next != NULL && rows->child == NULL && c->options.callback == NULL)) {
		cJSON_Delete(*reply);
		return (ctl_bad_reply(c, "no \"subscriptions\" as they should be"));
	}
	if (next != NULL && (*cursor = strdup(next)) == NULL)
		abort();
	return (CTL_OK);
}

/* Every page, or as many rows as --limit says; *more tells that there were further ones. */
static int
for_each_page(ctl *c, on_page call, void *arg, bool *more)
{
	unsigned left = c->options.limit;
	char *cursor = NULL;
	int code = CTL_OK;

	do {
		cJSON *reply = NULL, *rows = NULL;
		unsigned n = left > 0 && left < PAGE_MAX ? left : PAGE_MAX;

		if ((code = ask_page(c, n, &cursor, &reply)) != CTL_OK)
			break;
		rows = cJSON_GetObjectItemCaseSensitive(reply, "subscriptions");
		n = (unsigned)cJSON_GetArraySize(rows); /* a page of one callback may be short */
		code = call(c, rows, arg);
		cJSON_Delete(reply);
		left = left > n ? left - n : 0;
	} while (code == CTL_OK && cursor != NULL && (c->options.limit == 0 || left > 0));
	*more = cursor != NULL;
	free(cursor);
	return (code);
}

/* --- list ---------------------------------------------------------------------------------------- */

typedef struct listing {
	size_t width; /* of the pattern column; grows from page to page */
	unsigned long n, n_expired;
} listing;

static int
put_json_rows(const cJSON *rows, FILE *out)
{
	const cJSON *row = NULL;

	cJSON_ArrayForEach(row, rows)
	{
		char *text = cJSON_PrintUnformatted(row);

		if (text == NULL)
			return (ctl_fail(CTL_NO, "out of memory"));
		fputs(text, out);
		fputc('\n', out);
		cJSON_free(text);
	}
	return (CTL_OK);
}

static void
put_row(const listing *list, const char *expires, const char *state, const char *pattern,
	const char *callback)
{
	ctl_put_padded(stdout, expires, strlen("2026-11-24T13:35:13Z") + 2);
	ctl_put_padded(stdout, state, strlen("expired") + 2);
	ctl_put_padded(stdout, pattern, list->width + 2);
	ctl_put(stdout, callback);
	fputc('\n', stdout);
}

static int
on_list_page(ctl *c, cJSON *rows, void *arg)
{
	listing *list = arg;
	const cJSON *row = NULL;

	if (c->options.json)
		return (put_json_rows(rows, stdout));
	cJSON_ArrayForEach(row, rows)
	{
		size_t width = ctl_width(spr_json_text(row, "pattern"));

		list->width = width > list->width ? width : list->width;
	}
	if (list->n == 0 && rows->child != NULL)
		put_row(list, "EXPIRES", "STATE", "PATTERN", "CALLBACK");
	cJSON_ArrayForEach(row, rows)
	{
		bool expired = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(row, "expired"));

		put_row(list, spr_json_text(row, "expires_at"), expired ? "expired" : "live",
			spr_json_text(row, "pattern"), spr_json_text(row, "callback"));
		list->n++;
		list->n_expired += expired;
	}
	return (CTL_OK);
}

int
ctl_list(ctl *c)
{
	listing list = {.width = strlen("PATTERN")};
	bool more = false;
	int code = for_each_page(c, on_list_page, &list, &more);

	if (code != CTL_OK || c->options.json)
		return (code);
	printf("%lu subscription%s", list.n, list.n == 1 ? "" : "s");
	if (list.n_expired > 0)
		printf(", %lu of them expired", list.n_expired);
	puts(more ? "; there are more" : "");
	return (CTL_OK);
}

/* --- export -------------------------------------------------------------------------------------- */

typedef struct export
{
	FILE *out;
	unsigned long n;
}
export;

static int
on_export_page(ctl *c, cJSON *rows, void *arg)
{
	export *e = arg;
	cJSON *row = NULL;

	(void)c;
	cJSON_ArrayForEach(row, rows)
	{
		cJSON_DeleteItemFromObjectCaseSensitive(row, "expired");
		e->n++;
	}
	return (put_json_rows(rows, e->out));
}

/* Puts the finished copy in the place of what was there: a failed export leaves the old one alone. */
static int
finish_file(FILE *out, const char *part, const char *path)
{
	bool ok = fflush(out) == 0 && !ferror(out) && fsync(fileno(out)) == 0;

	ok = fclose(out) == 0 && ok;
	if (!ok || rename(part, path) != 0) {
		int code = ctl_fail(CTL_NO, "export %s: cannot write: %s", path, strerror(errno));

		unlink(part);
		return (code);
	}
	return (CTL_OK);
}

static int
export_to_file(ctl *c, const char *path)
{
	char part[4096];
	export e = {.n = 0};
	bool more = false;
	int code = CTL_OK;

	if (snprintf(part, sizeof(part), "%s.part", path) >= (int)sizeof(part))
		return (ctl_fail(CTL_NO, "export %s: the name is too long", path));
	if ((e.out = fopen(part, "we")) == NULL)
		return (ctl_fail(CTL_NO, "export %s: cannot create: %s", part, strerror(errno)));
	if ((code = for_each_page(c, on_export_page, &e, &more)) != CTL_OK) {
		fclose(e.out);
		unlink(part);
		return (code);
	}
	if ((code = finish_file(e.out, part, path)) == CTL_OK && !c->options.json)
		printf("exported %lu subscription%s to %s\n", e.n, e.n == 1 ? "" : "s", path);
	return (code);
}

int
ctl_export(ctl *c)
{
	export e = {.out = stdout};
	bool more = false;

	if (c->words[0] != NULL && strcmp(c->words[0], "-") != 0)
		return (export_to_file(c, c->words[0]));
	return (for_each_page(c, on_export_page, &e, &more));
}
