/*
 * json - what control needs around cJSON: a strict look at the text first, and members by exact
 * name, the last one wins.
 *
 * cJSON alone takes control characters, bad UTF-8, "01" and \u0000 (which cuts a string short),
 * finds names whatever their case, and the first of duplicates. Pure functions, [any].
 */
#pragma once

#include <cjson/cJSON.h>
#include <stdint.h>

#include "base/error.h"

#define SPR_JSON_DEPTH 512

/* Exactly one RFC 8259 document in UTF-8 without \u0000. SPR_E_NOT_JSON with a trail, SPR_E_NOMEM.
 */
spr_err spr_json_parse(cJSON **out, const uint8_t *data, size_t len);

/* The last member of that name; NULL when there is none. */
const cJSON *spr_json_get(const cJSON *object, const char *name);

/* Adds a number that a double may not hold. */
bool spr_json_add_u64(cJSON *object, const char *name, uint64_t value);

/* Puts '?' for every byte that is no UTF-8 (a message cut in the middle of a character). */
void spr_json_clean(char *text);
