/*
 * http_form - decoded in place in one copy of the body. A name that comes twice is refused: two readers would take two
 * different ones of them.
 */
#include "control/http_form.h"

#include <string.h>

#include "base/mem.h"

static int
hex(char c)
{
	return (c >= '0' && c <= '9'   ? c - '0'
		: c >= 'a' && c <= 'f' ? c - 'a' + 10
		: c >= 'A' && c <= 'F' ? c - 'A' + 10
				       : -1);
}

/* In place; false for a broken escape or a NUL. */
static bool
decode(char *text)
{
	char *out = text;

	for (const char *in = text; *in != '\0'; in++) {
		char c = *in == '+' ? ' ' : *in;

		if (c == '%') {
			int high = hex(in[1]), low = high < 0 ? -1 : hex(in[2]);

			if (low < 0 || high + low == 0)
				return (false);
			c = (char)(high * 16 + low);
			in += 2;
		}
		*out++ = c;
	}
	*out = '\0';
	return (true);
}

static spr_err
add_field(spr_form *form, char *text)
{
	char *equals = strchr(text, '=');
	char *value = equals != NULL ? equals + 1 : text + strlen(text);

	if (equals != NULL)
		*equals = '\0';
	if (!decode(text) || !decode(value))
		return (spr_fail(SPR_E_INVALID, "%.40s: a broken %% escape", text));
	if (spr_form_get(form, text) != NULL)
		return (spr_fail(SPR_E_INVALID, "%.40s: comes twice", text));
	if (form->n == SPR_FORM_FIELDS_MAX)
		return (spr_fail(SPR_E_TOO_MANY, "more than %d fields", SPR_FORM_FIELDS_MAX));
	form->name[form->n] = text;
	form->value[form->n++] = value;
	return (SPR_OK);
}

spr_err
spr_form_parse(spr_form *out, const char *body, size_t len)
{
	spr_form form = {.n = 0};
	spr_err rv = SPR_OK;
	char *at, *rest = NULL;

	if (memchr(body, '\0', len) != NULL)
		return (spr_fail(SPR_E_INVALID, "a NUL in the body"));
	if ((form.memory = spr_mem_alloc(len + 1)) == NULL)
		return (spr_fail(SPR_E_NOMEM, "out of memory"));
	memcpy(form.memory, body, len);
	form.memory[len] = '\0';
	for (at = strtok_r(form.memory, "&", &rest); at != NULL && rv == SPR_OK;
	     at = strtok_r(NULL, "&", &rest))
		rv = add_field(&form, at);
	if (rv != SPR_OK) {
		spr_form_fini(&form);
		return (rv);
	}
	*out = form;
	return (SPR_OK);
}

const char *
spr_form_get(const spr_form *form, const char *name)
{
	for (unsigned i = 0; i < form->n; i++) {
		if (strcmp(form->name[i], name) == 0)
			return (form->value[i]);
	}
	return (NULL);
}

void
spr_form_fini(spr_form *form)
{
	spr_mem_free(form->memory);
	*form = (spr_form){.n = 0};
}
