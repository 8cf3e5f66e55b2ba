/*
 * fuzz_scan - any bytes as a message, in both formats: the scanner ends, its ranges lie inside each
 * other, a document scanned alone says the same again, and quoted text decodes to itself.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "path/json_value.h"
#include "path/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stays on in every build, unlike an assert. */
static void
check(bool is_so)
{
	if (!is_so)
		abort();
}

static void
check_inside(spr_range inner, spr_range outer)
{
	check(inner.at >= outer.at && inner.at + inner.len <= outer.at + outer.len);
}

static void
check_same(spr_range a, spr_range b)
{
	check(a.at == b.at && a.len == b.len);
}

/* Quoted, any bytes of UTF-8 are a string that decodes to them. */
static void
check_quoting(spr_range text)
{
	size_t len = spr_json_quoted_len(text.at, text.len), n;
	uint8_t *quoted = malloc(len), *decoded = malloc(text.len + 1);
	bool has_lone_surrogate;

	check(quoted != NULL && decoded != NULL);
	check(spr_json_quote(quoted, text.at, text.len) == len);
	check(spr_json_value(quoted, quoted + len, 0) == quoted + len);
	n = spr_scan_decode((spr_range){quoted + 1, len - 2}, decoded, text.len,
			    &has_lone_surrogate);
	check(n == text.len && memcmp(decoded, text.at, n) == 0 && !has_lone_surrogate);
	free(quoted);
	free(decoded);
}

/* Decoded and quoted again, a string's text may change, but not what it decodes to. */
static void
check_decoding(spr_range text)
{
	size_t len = spr_scan_decoded_len(text), n;
	uint8_t *decoded = malloc(len + 1), *quoted = malloc(6 * len + 2), *again = malloc(len + 1);
	bool has_lone, has_lone_again;

	check(decoded != NULL && quoted != NULL && again != NULL && len <= text.len);
	check(spr_scan_decode(text, decoded, len, &has_lone) == len);
	check(len == 0 || spr_scan_decode(text, decoded, len - 1, &has_lone_again) == SIZE_MAX);
	check(spr_scan_decode(text, decoded, len, &has_lone) == len);
	n = spr_json_quote(quoted, decoded, len);
	check(n == spr_json_quoted_len(decoded, len));
	check(spr_scan_decode((spr_range){quoted + 1, n - 2}, again, len, &has_lone_again) == len);
	check(memcmp(decoded, again, len) == 0 && has_lone == has_lone_again);
	free(decoded);
	free(quoted);
	free(again);
}

static void
check_accepted(const spr_document *d, spr_format format)
{
	check_inside(d->body, d->whole);
	check_inside(d->payload, d->body);
	check_inside(d->predicate, d->body);
	check(d->predicate.len > 0 && d->payload.len > 0 && *d->body.at == '{');
	check(d->payload_is_message != (d->payload.at == d->body.at));
	check(d->predicate_is_escaped == (memchr(d->predicate.at, '\\', d->predicate.len) != NULL));
	check(format == SPR_FORMAT_ENVELOPE || (d->whole.at == d->body.at && d->id.at == NULL));
	check_quoting(d->payload);
	check_decoding(d->predicate);
}

static void
check_document(const spr_document *d, spr_format format)
{
	spr_document again;

	check(spr_scan_document(d->whole.at, d->whole.len, format, &again) == d->whole.len);
	check(again.reason == d->reason);
	check_same(again.whole, d->whole);
	check_same(again.body, d->body);
	check_same(again.payload, d->payload);
	check_same(again.predicate, d->predicate);
	check_same(again.id, d->id);
	if (format == SPR_FORMAT_ENVELOPE && d->reason != SPREADER_REASON_NO_ID) {
		check_inside(d->id, d->whole);
		check(d->id_decoded_len == spr_scan_decoded_len(d->id));
		check(d->id_decoded_len >= 1 && d->id_decoded_len <= SPREADER_ID_MAX);
		check_decoding(d->id);
	}
	if (d->reason == SPREADER_REASON_NONE)
		check_accepted(d, format);
}

static void
check_message(const uint8_t *p, const uint8_t *end, spr_format format)
{
	spr_document d;
	size_t used;

	while ((used = spr_scan_document(p, (size_t)(end - p), format, &d)) > 0) {
		const uint8_t *first = spr_json_space(p, end);
		check(used <= (size_t)(end - p) && first < p + used);
		if (d.reason == SPREADER_REASON_NOT_JSON) {
			const uint8_t *newline = memchr(first, '\n', (size_t)(end - first));
			check(p + used == (newline != NULL ? newline + 1 : end));
		} else {
			check(d.whole.at == first);
			check(spr_json_space(first + d.whole.len, end) == p + used);
			check_document(&d, format);
		}
		p += used;
	}
	check(spr_json_space(p, end) == end);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_message(data, data + size, SPR_FORMAT_ENVELOPE);
	check_message(data, data + size, SPR_FORMAT_BARE);
	return (0);
}
