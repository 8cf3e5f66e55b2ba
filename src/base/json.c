/*
 * json - one door to cJSON's parser: checks before and after it what it lets pass.
 */
#include "base/json.h"

#include <string.h>

/* Where a NUL would come in: the byte itself, or the escape \u0000 (its backslash not itself
 * escaped). */
static const char *
find_nul(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\0')
			return (text + i);
		if (text[i] != '\\')
			continue;
		if (len - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0)
			return (text + i);
		i++; /* the escaped byte */
	}
	return (NULL);
}

static spr_err
fail_at(const char *text, const char *at, const char *why)
{
	size_t line = 1, column = 1;

	for (const char *p = text; p < at; p++) {
		column++;
		if (*p == '\n') {
			line++;
			column = 1;
		}
	}
	return (spr_fail(SPR_E_NOT_JSON, "line %zu, column %zu: %s", line, column, why));
}

spr_err
spr_json_parse(cJSON **out, const char *text, size_t len)
{
	const char *end = text;
	const char *nul = NULL;
	cJSON *root = NULL;

	if (len == 0)
		return (spr_fail(SPR_E_NOT_JSON, "empty"));
	if ((nul = find_nul(text, len)) != NULL)
		return (fail_at(text, nul, "a NUL character is not allowed"));
	if ((root = cJSON_ParseWithLengthOpts(text, len, &end, 0)) == NULL)
		return (fail_at(text, end, "not JSON"));
	while (end < text + len && strchr(" \t\r\n", *end) != NULL)
		end++;
	if (end < text + len) {
		cJSON_Delete(root);
		return (fail_at(text, end, "something follows the JSON document"));
	}
	*out = root;
	return (SPR_OK);
}

const char *
spr_json_text(const cJSON *object, const char *name)
{
	return (cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name)));
}
