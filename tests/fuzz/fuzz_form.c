/*
 * fuzz_form - bodies of POST /subscriptions, beside a naive reading of them.
 *
 * What is taken has the fields that the naive reading finds, in their order, each name once; and written with every byte
 * escaped it is taken again, as the same fields. What is refused has a reason that the naive reading knows.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/http_form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

typedef struct naive {
	char *name[SPR_FORM_FIELDS_MAX + 1];
	char *value[SPR_FORM_FIELDS_MAX + 1];
	unsigned n;
	bool is_bad;
} naive;

/* A new text; NULL when it has a broken escape or a NUL, which the C library's reading of two digits decides. */
static char *
decoded(const char *text, size_t len)
{
	char *out = calloc(len + 1, 1);
	size_t n = 0;

	MUST(out != NULL);
	for (size_t i = 0; i < len; i++) {
		char digits[3] = "", *end = digits;

		out[n] = text[i] == '+' ? ' ' : text[i];
		if (text[i] == '%') {
			memcpy(digits, text + i + 1, len - i - 1 < 2 ? len - i - 1 : 2);
			out[n] = (char)strtol(digits, &end, 16);
			/* signs and blanks are digits to strtol() */
			if (end != digits + 2 || strchr("+- \t\n\v\f\r", digits[0]) != NULL ||
			    strchr("xX", digits[1]) != NULL) {
				free(out);
				return (NULL);
			}
			i += 2;
		}
		if (out[n++] == '\0') {
			free(out);
			return (NULL);
		}
	}
	return (out);
}

static void
add(naive *out, const char *piece, size_t len)
{
	const char *equals = memchr(piece, '=', len);
	size_t name_len = equals != NULL ? (size_t)(equals - piece) : len;
	char *name = decoded(piece, name_len);
	char *value = equals != NULL ? decoded(equals + 1, len - name_len - 1) : decoded("", 0);

	out->is_bad |= name == NULL || value == NULL;
	for (unsigned i = 0; name != NULL && i < out->n; i++)
		out->is_bad |= strcmp(out->name[i], name) == 0;
	if (out->is_bad) {
		free(name);
		free(value);
		return;
	}
	out->name[out->n] = name;
	out->value[out->n++] = value;
}

/* Stops at the first fault, and at one field too many. */
static void
read_naively(naive *out, const char *body, size_t len)
{
	for (size_t at = 0; at < len && !out->is_bad && out->n <= SPR_FORM_FIELDS_MAX;) {
		const char *end = memchr(body + at, '&', len - at);
		size_t piece = end != NULL ? (size_t)(end - body) - at : len - at;

		if (piece > 0)
			add(out, body + at, piece);
		at += piece + 1;
	}
}

static char *
escape(char *at, const char *text)
{
	for (; *text != '\0'; text++)
		at += sprintf(at, "%%%02x", (unsigned char)*text);
	return (at);
}

/* The same fields come out of it. */
static void
check_again(const spr_form *form, size_t size)
{
	char *body = malloc(3 * size + 2 * SPR_FORM_FIELDS_MAX + 1), *at = body;
	spr_form again = {.n = 0};

	MUST(body != NULL);
	for (unsigned i = 0; i < form->n; i++) {
		at = escape(at, form->name[i]);
		*at++ = '=';
		at = escape(at, form->value[i]);
		*at++ = '&';
	}
	MUST(spr_form_parse(&again, body, (size_t)(at - body)) == SPR_OK);
	MUST(again.n == form->n);
	for (unsigned i = 0; i < form->n; i++) {
		MUST(strcmp(again.name[i], form->name[i]) == 0);
		MUST(strcmp(again.value[i], form->value[i]) == 0);
	}
	spr_form_fini(&again);
	free(body);
}

static void
check_fields(const spr_form *form, const naive *expected)
{
	MUST(!expected->is_bad && form->n == expected->n);
	for (unsigned i = 0; i < form->n; i++) {
		MUST(strcmp(form->name[i], expected->name[i]) == 0);
		MUST(strcmp(form->value[i], expected->value[i]) == 0);
		MUST(spr_form_get(form, form->name[i]) == form->value[i]);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* of its exact size, so that the sanitizers see a read past the end */
	char *body = malloc(size > 0 ? size : 1);
	spr_form form = {.n = 0};
	naive expected = {.n = 0};
	spr_err rv;

	MUST(body != NULL);
	memcpy(body, data, size);
	read_naively(&expected, body, size);
	rv = spr_form_parse(&form, body, size);
	if (rv == SPR_OK) {
		check_fields(&form, &expected);
		check_again(&form, size);
	} else if (rv == SPR_E_TOO_MANY)
		MUST(expected.n == SPR_FORM_FIELDS_MAX + 1);
	else
		MUST(rv == SPR_E_INVALID && (expected.is_bad || memchr(body, '\0', size) != NULL));
	spr_form_fini(&form);
	for (unsigned i = 0; i < expected.n; i++) {
		free(expected.name[i]);
		free(expected.value[i]);
	}
	free(body);
	return (0);
}
