/*
 * spr_made - messages made at random for the scanner's model test: one to three documents, most of
 * them notifications, often damaged.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "path/scan.h"

#define SPR_MADE_MAX 32768

/* What does not fit is left out, which only damages the message. */
typedef struct spr_made_text {
	uint64_t random; /* set by the caller, from spr_test_seed() */
	size_t len;
	char at[SPR_MADE_MAX + 1]; /* ends with a NUL that len does not count */
} spr_made_text;

/* Replaces the text by the next message. */
void spr_made_message(spr_made_text *t, spr_format format);
