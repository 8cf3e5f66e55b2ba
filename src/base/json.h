/*
 * json - cJSON made strict enough for what comes from outside. Not for the per-message path.
 *
 * cJSON itself takes trailing garbage, takes a NUL byte for a blank and cuts a string at \u0000.
 */
#pragma once

#include <cjson/cJSON.h>

#include "base/error.h"

/*
 * [any] Exactly one document, blanks around it allowed; text need not end in NUL. SPR_E_NOT_JSON
 * with a trail such as "line 3, column 14: not JSON". The caller deletes *out. Out of memory cannot
 * be told from bad text here: cJSON does not.
 */
spr_err spr_json_parse(cJSON **out, const char *text, size_t len);

/* [any] The member's text, or NULL when it is absent or no string. */
const char *spr_json_text(const cJSON *object, const char *name);
