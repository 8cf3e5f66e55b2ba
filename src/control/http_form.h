/*
 * http_form - the fields of an application/x-www-form-urlencoded body. Pure functions, [any].
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

#define SPR_FORM_FIELDS_MAX 32

typedef struct spr_form {
	const char *name[SPR_FORM_FIELDS_MAX];
	const char *value[SPR_FORM_FIELDS_MAX];
	unsigned n;
	char *memory; /* of all of them */
} spr_form;

/* [any] SPR_E_INVALID for a broken escape, a NUL or a name that comes twice, SPR_E_TOO_MANY, SPR_E_NOMEM, with a trail. */
spr_err spr_form_parse(spr_form *out, const char *body, size_t len);
/* [any] NULL when there is none. */
const char *spr_form_get(const spr_form *form, const char *name);
/* [any] A zeroed one is fine. */
void spr_form_fini(spr_form *form);
