/*
 * scan - the strict single-pass JSON scanner of the hot path: byte ranges, no copies, no
 * allocation.
 *
 * RFC 8259, UTF-8 checked, nested at most SPR_SCAN_DEPTH, the last duplicate member wins, any
 * number accepted as text. A document ends where its value ends; no separator is needed before the
 * next. Pure functions, [any].
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spreader/wire.h"

#define SPR_SCAN_DEPTH 512

typedef enum spr_format { SPR_FORMAT_ENVELOPE, SPR_FORMAT_BARE } spr_format;

typedef struct spr_range {
	const uint8_t *at;
	size_t len;
} spr_range;

/*
 * What one document said. Ranges point into the message. kind tells what can be trusted:
 *   NONE           id (envelope only), body, predicate, payload are set
 *   NO_PREDICATE, BAD_PREDICATE: id set
 *   NO_ID          nothing but whole is set; also when from is present and no string
 *   NOT_JSON       nothing is set
 */
typedef struct spr_document {
	spreader_reason reason;
	spr_range whole;   /* the document, without surrounding white space */
	spr_range body;    /* the body's text */
	spr_range payload; /* the text to post: the message's when it is truthy, else the body */
	bool payload_is_message;
	bool predicate_is_escaped; /* the text between the quotes has backslashes */
	bool has_from;
	spr_range predicate; /* between the quotes, not decoded */
	spr_range id;        /* between the quotes, not decoded */
	spr_range from;      /* between the quotes, not decoded */
	size_t id_decoded_len;
} spr_document;

/*
 * Scans the next document of a message. data[0..len) is what is left of it. Returns how many bytes
 * were used, at least 1, the white space behind it included; 0 when only white space was left
 * (document untouched). After NOT_JSON the used bytes end behind the first newline that follows the
 * document's first byte, or at the end.
 */
size_t spr_scan_document(const uint8_t *data, size_t len, spr_format format, spr_document *out);

/*
 * Decodes the text between the quotes of a valid string into out (at most max bytes; NULL: only
 * counts). A lone surrogate becomes its three WTF-8 bytes; *has_lone_surrogate says whether there
 * was one. Returns the decoded length, never more than text.len, or SIZE_MAX when it is over max:
 * then out and *has_lone_surrogate are not to be used.
 */
size_t spr_scan_decode(spr_range text, uint8_t *out, size_t max, bool *has_lone_surrogate);

/* The decoded length of the same. */
size_t spr_scan_decoded_len(spr_range text);

/* Does a well-formed value have line breaks between its tokens? Its strings cannot. */
bool spr_json_has_line_break(const uint8_t *text, size_t len);
/* Copies it, len bytes, with a space for each of them. */
void spr_json_copy_on_one_line(uint8_t *out, const uint8_t *text, size_t len);

/* Bytes of `text` as a JSON string, quotes included: between len + 2 and 6 * len + 2. */
size_t spr_json_quoted_len(const uint8_t *text, size_t len);
/*
 * Writes it, exactly spr_json_quoted_len() bytes, and returns how many. Text that is not UTF-8 is
 * copied as it is, except that WTF-8 surrogates become \uXXXX, so what decode made comes out equal.
 */
size_t spr_json_quote(uint8_t *out, const uint8_t *text, size_t len);
