/*
 * json_string - the text between quotes: escapes to bytes, and bytes to escapes.
 *
 * Decoded text is WTF-8: UTF-8 in which a \uD800..\uDFFF without its other half is encoded like any
 * other character, so that decoding never fails and different strings stay different. Both ways
 * spend their time on runs without escapes: decoding copies them whole, quoting goes 16 bytes at a
 * time.
 */
#include <emmintrin.h>
#include <string.h>

#include "path/scan.h"

static uint32_t
hex_digit(uint8_t c)
{
	return (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* p is at the backslash of a \uXXXX. */
static uint32_t
code_unit(const uint8_t *p)
{
	return (hex_digit(p[2]) << 12 | hex_digit(p[3]) << 8 | hex_digit(p[4]) << 4 |
		hex_digit(p[5]));
}

static bool
is_surrogate(uint32_t code)
{
	return (code >= 0xD800 && code <= 0xDFFF);
}

static uint8_t
short_escape(uint8_t letter)
{
	switch (letter) {
	case 'b':
		return ('\b');
	case 'f':
		return ('\f');
	case 'n':
		return ('\n');
	case 'r':
		return ('\r');
	case 't':
		return ('\t');
	default: /* itself: quote, backslash, slash */
		return (letter);
	}
}

/* Behind the escape at p, which is well formed; two \u that make up one character count as one. */
static const uint8_t *
read_escape(const uint8_t *p, const uint8_t *end, uint32_t *code)
{
	uint32_t low;

	if (p[1] != 'u') {
		*code = short_escape(p[1]);
		return (p + 2);
	}
	*code = code_unit(p);
	p += 6;
	if (*code < 0xD800 || *code > 0xDBFF || end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return (p);
	low = code_unit(p);
	if (low < 0xDC00 || low > 0xDFFF)
		return (p);
	*code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
	return (p + 6);
}

static size_t
encode(uint32_t code, uint8_t bytes[4])
{
	size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};

	for (size_t i = n - 1; i > 0; i--) {
		bytes[i] = (uint8_t)(0x80 | (code & 0x3F));
		code >>= 6;
	}
	bytes[0] = (uint8_t)(lead[n] | code);
	return (n);
}

size_t
spr_scan_decode(spr_range text, uint8_t *out, size_t max, bool *has_lone_surrogate)
{
	const uint8_t *p = text.at, *end = p + text.len, *run;
	uint8_t bytes[4];
	uint32_t code;
	size_t used = 0, n;

	*has_lone_surrogate = false;
	while (p < end) {
		run = p;
		if (*p == '\\') {
			p = read_escape(p, end, &code);
			*has_lone_surrogate = *has_lone_surrogate || is_surrogate(code);
			n = encode(code, bytes);
			run = bytes;
		} else {
			p = memchr(p, '\\', (size_t)(end - p));
			p = p != NULL ? p : end;
			n = (size_t)(p - run);
		}
		if (n > max - used)
			return (SIZE_MAX);
		if (out != NULL)
			memcpy(out + used, run, n);
		used += n;
	}
	return (used);
}

size_t
spr_scan_decoded_len(spr_range text)
{
	bool has_lone_surrogate;

	return (spr_scan_decode(text, NULL, SIZE_MAX, &has_lone_surrogate));
}

/* The letter of a short escape of c; 'u' when it needs the long one; 0 when it stands for itself.
 */
static uint8_t
escape_letter(uint8_t c)
{
	switch (c) {
	case '"':
	case '\\':
		return (c);
	case '\b':
		return ('b');
	case '\f':
		return ('f');
	case '\n':
		return ('n');
	case '\r':
		return ('r');
	case '\t':
		return ('t');
	default:
		return (c < 0x20 ? 'u' : 0);
	}
}

/* Is a WTF-8 surrogate, ED A0..BF 80..BF, at p? */
static bool
is_surrogate_at(const uint8_t *p, const uint8_t *end)
{
	return (*p == 0xED && end - p >= 3 && p[1] >= 0xA0 && p[1] <= 0xBF && p[2] >= 0x80 &&
		p[2] <= 0xBF);
}

static inline __m128i
load(const uint8_t *p)
{
	return (_mm_loadu_si128((const __m128i *)(const void *)p));
}

/* The characters that most often need an escape, and grow by one byte: 0xFF there, 0 elsewhere. */
static inline __m128i
common(__m128i v)
{
	__m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
	__m128i backslash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
	__m128i newline = _mm_cmpeq_epi8(v, _mm_set1_epi8('\n'));

	return (_mm_or_si128(_mm_or_si128(quote, backslash), newline));
}

/* Whatever may need an escape, the common ones too: controls, and 0xED, which begins a WTF-8
 * surrogate. */
static inline __m128i
special(__m128i v)
{
	__m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1F)), v);
	__m128i wide = _mm_cmpeq_epi8(v, _mm_set1_epi8((char)0xED));

	return (_mm_or_si128(common(v), _mm_or_si128(control, wide)));
}

/* How many bytes the character at p becomes, beyond those it has; *p moves behind it. */
static size_t
growth(const uint8_t **p, const uint8_t *end)
{
	uint8_t letter = escape_letter(**p);
	size_t more = letter == 0 ? 0 : letter == 'u' ? 5 : 1;

	if (is_surrogate_at(*p, end)) {
		*p += 3;
		return (3);
	}
	*p += 1;
	return (more);
}

size_t
spr_json_quoted_len(const uint8_t *text, size_t len)
{
	const uint8_t *p = text, *end = text + len, *block_end;
	size_t total = len + 2;
	__m128i grown, sums;

	while (end - p >= 16) {
		grown = common(load(p));
		if (_mm_movemask_epi8(_mm_xor_si128(grown, special(load(p)))) == 0) {
			sums = _mm_sad_epu8(_mm_sub_epi8(_mm_setzero_si128(), grown),
					    _mm_setzero_si128());
			total += (size_t)_mm_cvtsi128_si64(sums);
			total += (size_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(sums, sums));
			p += 16;
			continue;
		}
		for (block_end = p + 16; p < block_end;)
			total += growth(&p, end);
	}
	while (p < end)
		total += growth(&p, end);
	return (total);
}

static uint8_t *
write_long_escape(uint8_t *out, uint32_t code)
{
	static const char digits[] = "0123456789abcdef";

	*out++ = '\\';
	*out++ = 'u';
	for (int shift = 12; shift >= 0; shift -= 4)
		*out++ = (uint8_t)digits[code >> shift & 0xF];
	return (out);
}

/* Writes the character at *p, which may need no escape, and moves *p behind it. */
static uint8_t *
write_character(uint8_t *out, const uint8_t **p, const uint8_t *end)
{
	const uint8_t *c = *p;
	uint8_t letter = escape_letter(*c);

	*p += 1;
	if (letter == 'u')
		return (write_long_escape(out, *c));
	if (letter != 0) {
		*out++ = '\\';
		*out++ = letter;
		return (out);
	}
	if (is_surrogate_at(c, end)) {
		*p += 2;
		return (write_long_escape(out, 0xD000u | (c[1] & 0x3Fu) << 6 | (c[2] & 0x3Fu)));
	}
	*out++ = *c;
	return (out);
}

/*
 * Writes text from *p up to the next character that needs more than a short escape, or to less than
 * 16 bytes before end, and moves *p there. Whole vectors are stored, each over the surplus of the
 * last: every byte of text makes one or more, so while 16 of them are unwritten the store stays
 * inside the quoted length.
 */
static uint8_t *
write_blocks(uint8_t *out, const uint8_t **p, const uint8_t *end)
{
	const uint8_t *from = *p;
	unsigned stops, i;
	uint8_t letter;

	for (; end - from >= 16; from += 16, out += 16) {
		_mm_storeu_si128((__m128i *)(void *)out, load(from));
		stops = (unsigned)_mm_movemask_epi8(special(load(from)));
		for (; stops != 0; stops &= stops - 1) {
			i = (unsigned)__builtin_ctz(stops);
			letter = escape_letter(from[i]);
			if (letter == 0 || letter == 'u' || end - from - i < 16) {
				*p = from + i;
				return (out + i);
			}
			out[i] = '\\';
			out++; /* what follows in this block comes one later */
			_mm_storeu_si128((__m128i *)(void *)(out + i), load(from + i));
			out[i] = letter;
		}
	}
	*p = from;
	return (out);
}

size_t
spr_json_quote(uint8_t *out, const uint8_t *text, size_t len)
{
	const uint8_t *p = text, *end = text + len;
	uint8_t *start = out;

	*out++ = '"';
	while (p < end) {
		if (end - p >= 16)
			out = write_blocks(out, &p, end);
		if (p < end)
			out = write_character(out, &p, end);
	}
	*out++ = '"';
	return ((size_t)(out - start));
}

/* Line feeds and carriage returns: for some readers either ends a line. */
static unsigned
line_breaks(const uint8_t *p)
{
	__m128i v = load(p);

	return ((unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\n')),
							 _mm_cmpeq_epi8(v, _mm_set1_epi8('\r')))));
}

static bool
is_line_break(uint8_t c)
{
	return (c == '\n' || c == '\r');
}

bool
spr_json_has_line_break(const uint8_t *text, size_t len)
{
	const uint8_t *end = text + len;

	for (; end - text >= 16; text += 16) {
		if (line_breaks(text) != 0)
			return (true);
	}
	while (text < end && !is_line_break(*text))
		text++;
	return (text < end);
}

void
spr_json_copy_on_one_line(uint8_t *out, const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = is_line_break(text[i]) ? ' ' : text[i];
}
