/*
 * fuzz_queue - any bytes as a submit message and as an answer request: reading ends, ids and bodies lie inside the message, a
 * body is a JSON object, and what the envelope made of both says can be read as an envelope again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "path/json_value.h"
#include "queue_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stays on in every build, unlike an assert. */
static void
check(bool is_so)
{
	if (!is_so)
		abort();
}

/* The envelope of what was submitted, read as a submit, is the same. */
static void
check_envelope(spr_range id_text, queue_bytes body)
{
	uint8_t id[SPREADER_ID_MAX], again[SPREADER_ID_MAX];
	queue_text text = {.data = NULL};
	spr_range found = {NULL, 0};
	queue_bytes found_body = {NULL, 0};
	size_t len = 0, len_again = 0, used = 0;

	check(queue_decode(id_text, id, sizeof(id), &len));
	queue_text_envelope(&text, (queue_bytes){id, len}, body, "up");
	check(!text.has_failed);
	check(queue_read_submit(text.data, text.len, body.len, &used, &found, &found_body) ==
	      SPR_OK);
	check(used == text.len && found_body.len == body.len);
	check(memcmp(found_body.at, body.at, body.len) == 0);
	check(queue_decode(found, again, sizeof(again), &len_again));
	check(len == len_again && memcmp(id, again, len) == 0);
	queue_text_fini(&text);
}

static void
read_submits(const uint8_t *data, size_t size)
{
	const uint8_t *at = data, *end = data + size;
	spr_range id;
	queue_bytes body;
	size_t used = 0;

	while (queue_read_submit(at, (size_t)(end - at), 4096, &used, &id, &body) == SPR_OK) {
		check(used > 0 && used <= (size_t)(end - at));
		check(body.at > at && body.at + body.len < end && body.len <= 4096);
		check(body.at[0] == '{' &&
		      spr_json_value(body.at, body.at + body.len, 0) == body.at + body.len);
		check(id.at == NULL || (id.at > at && id.at + id.len < end));
		if (id.at != NULL)
			check_envelope(id, body);
		at += used;
	}
}

static spr_err
on_answer(void *arg, const queue_answer *answer)
{
	unsigned *n = arg;

	check(answer->id.len >= 1 && answer->id.len <= SPREADER_ID_MAX);
	return (++*n < 1000 ? SPR_OK : SPR_E_FULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* a copy of exactly this size: a byte read beyond it is seen */
	uint8_t *copy = malloc(size > 0 ? size : 1);
	unsigned n = 0;
	spr_err rv;

	check(copy != NULL);
	if (size > 0)
		memcpy(copy, data, size);
	read_submits(copy, size);
	rv = queue_read_answers(copy, size, on_answer, &n);
	check(rv == SPR_OK || rv == SPR_E_INVALID || (rv == SPR_E_FULL && n == 1000));
	free(copy);
	return (0);
}
