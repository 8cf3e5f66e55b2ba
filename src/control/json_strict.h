/*
 * json_strict - what requests from outside need beyond base/json.h: text that is strictly RFC 8259,
 * and members by exact name, the last one winning.
 *
 * cJSON takes control characters in strings, bad UTF-8, "01" and "1.", and finds the first of
 * duplicate members. Pure functions, [any].
 */
#pragma once

#include <cjson/cJSON.h>
#include <stdint.h>

#include "base/error.h"

#define SPR_JSON_DEPTH 512

/* Exactly one document in UTF-8, without \u0000, nested at most SPR_JSON_DEPTH.
 * SPR_E_NOT_JSON with a trail. */
spr_err spr_json_strict_parse(cJSON **out, const uint8_t *data, size_t len);

/* The last member of that name; NULL when there is none. */
const cJSON *spr_json_last(const cJSON *object, const char *name);

/* Adds a number that a double may not hold. */
bool spr_json_add_u64(cJSON *object, const char *name, uint64_t value);

/* Puts '?' for every byte that is no UTF-8 (a message cut in the middle of a character). */
void spr_json_clean(char *text);
