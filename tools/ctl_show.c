/*
 * ctl_show - how text from outside gets onto a terminal: safe, and in columns.
 */
#include "ctl.h"

#include <string.h>

/* Bytes of the control character at text, 0 if it is none: C0, DEL, and C1 as UTF-8. */
static unsigned
control_at(const unsigned char *text)
{
	if (text[0] < 0x20 || text[0] == 0x7f)
		return (1);
	return (text[0] == 0xc2 && text[1] >= 0x80 && text[1] < 0xa0 ? 2 : 0);
}

static bool
is_continuation(unsigned char byte)
{
	return ((byte & 0xc0) == 0x80);
}

void
ctl_put(FILE *out, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	while (*at != '\0') {
		unsigned n = control_at(at);

		if (n == 0)
			fputc(*at++, out);
		for (; n > 0; n--)
			fprintf(out, "\\x%02x", *at++);
	}
}

size_t
ctl_width(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t width = 0;

	while (*at != '\0') {
		unsigned n = control_at(at);

		width += n > 0 ? 4 * n : !is_continuation(*at);
		at += n > 0 ? n : 1;
	}
	return (width);
}

void
ctl_put_padded(FILE *out, const char *text, size_t width)
{
	ctl_put(out, text);
	for (size_t n = ctl_width(text); n < width; n++)
		fputc(' ', out);
}

static void
put_scalar(FILE *out, const cJSON *item)
{
	if (cJSON_IsString(item))
		ctl_put(out, item->valuestring);
	else if (cJSON_IsNumber(item))
		fprintf(out, "%.15g", item->valuedouble);
	else
		fputs(cJSON_IsTrue(item) ? "yes" : cJSON_IsFalse(item) ? "no" : "none", out);
}

static void
put_indent(FILE *out, unsigned indent)
{
	for (; indent > 0; indent--)
		fputs("  ", out);
}

static bool
is_nested(const cJSON *item)
{
	return (cJSON_IsObject(item) || cJSON_IsArray(item));
}

void
ctl_put_object(FILE *out, const cJSON *object, unsigned indent)
{
	const cJSON *member = NULL;
	size_t widest = 0;

	cJSON_ArrayForEach(member, object)
	{
		if (!is_nested(member) && member->string != NULL &&
		    ctl_width(member->string) > widest)
			widest = ctl_width(member->string);
	}
	cJSON_ArrayForEach(member, object)
	{
		put_indent(out, indent);
		if (is_nested(member)) {
			ctl_put(out, member->string != NULL ? member->string : "-");
			fputs(member->child == NULL ? ": none\n" : ":\n", out);
			ctl_put_object(out, member, indent + 1);
			continue;
		}
		if (member->string != NULL)
			ctl_put_padded(out, member->string, widest + 2);
		put_scalar(out, member);
		fputc('\n', out);
	}
}
