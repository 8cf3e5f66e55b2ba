/*
 * predicate - from the text of a predicate or pattern to its segments, and the rules for callbacks.
 *
 * Every notification passes here once, and nearly all of them are ASCII without empty segments. So
 * there are two ways: normalise_ascii() takes eight bytes at a time and answers "done" or "not my
 * case"; normalise_any() takes one code point at a time, knows every rule, and is the only one that
 * names an error. What the first accepts, the second gives alike.
 *
 * Measured on 8,192 different predicates of about 30 bytes (the branch predictor cannot learn them
 * by heart): a byte at a time through a table 47 ns, these words 17 ns, SSE2 11 ns. The last six
 * are not worth the intrinsics.
 */
#include "route/predicate.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define EACH_BYTE(x) (UINT64_C(0x0101010101010101) * (x))
#define HIGH_BITS    EACH_BYTE(0x80)
#define QUOTE_BYTES  64 /* of an offending text, in a trail */

_Static_assert(SPR_PREDICATE_BYTES == 1024 && SPR_PREDICATE_SEGMENTS == 64 &&
		   SPR_CALLBACK_MAX == 4096,
	       "texts of errors below name these limits");

/* One line: the rule, and the text it refused, escaped to plain ASCII and cut. */
static spr_err
refuse(spr_err err, const char *rule, const char *text, size_t len)
{
	char quoted[QUOTE_BYTES * 4 + 1];
	size_t n = 0;

	for (size_t i = 0; i < len && i < QUOTE_BYTES; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
			quoted[n++] = (char)c;
		else
			n += (size_t)snprintf(quoted + n, sizeof(quoted) - n, "\\x%02x", c);
	}
	quoted[n] = '\0';
	return (spr_fail(err, "%s: \"%s\"%s", rule, quoted, len > QUOTE_BYTES ? "..." : ""));
}

/* Decodes one code point; how many bytes it took, 0 if they are no UTF-8 (overlong, surrogate,
 * beyond U+10FFFF, cut). */
static unsigned
decode(const char *text, size_t len, uint32_t *code_point)
{
	const unsigned char *p = (const unsigned char *)text;
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned n = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	uint32_t value = n == 1 ? p[0] : p[0] & (0x7fu >> n);

	if (n == 0 || n > len || p[0] > 0xf4)
		return (0);
	for (unsigned i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return (0);
		value = value << 6 | (p[i] & 0x3fu);
	}
	if (value < least[n] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return (0);
	*code_point = value;
	return (n);
}

static unsigned
encode(uint32_t code_point, char out[4])
{
	unsigned n = code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;

	if (n == 1) {
		out[0] = (char)code_point;
		return (1);
	}
	for (unsigned i = n - 1; i > 0; i--) {
		out[i] = (char)(0x80 | (code_point & 0x3f));
		code_point >>= 6;
	}
	out[0] = (char)(0xf00u >> n | code_point);
	return (n);
}

static uint64_t
load8(const char *p)
{
	uint64_t chunk;

	memcpy(&chunk, p, sizeof(chunk));
	return (chunk);
}

/* The high bit of every byte that equals c; all bytes must be ASCII. */
static uint64_t
find_byte(uint64_t chunk, unsigned char c)
{
	return (~((chunk ^ EACH_BYTE(c)) + EACH_BYTE(0x7f)) & HIGH_BITS);
}

static uint64_t
upper8(uint64_t chunk)
{
	uint64_t letters = (chunk + EACH_BYTE(0x80 - 'a')) & ~(chunk + EACH_BYTE(0x7f - 'z'));

	return (chunk ^ (letters & HIGH_BITS) >> 2);
}

/*
 * The common case: ASCII, short enough, no '/', no empty segment. False: not that, nothing is
 * known; *out is scratch. The text is copied first, so that whole words can be read and written
 * without leaving either buffer.
 */
static bool
normalise_ascii(spr_predicate *out, const char *text, size_t len)
{
	size_t start = 0;
	unsigned n = 0;

	if (len == 0 || len > SPR_PREDICATE_BYTES)
		return (false);
	memset(out->text + ((len - 1) & ~(size_t)7), 0, 8);
	memcpy(out->text, text, len);
	for (size_t i = 0; i < len; i += 8) {
		uint64_t chunk = load8(out->text + i);

		if ((chunk & HIGH_BITS) != 0 || find_byte(chunk, '/') != 0)
			return (false);
		for (uint64_t dots = find_byte(chunk, '.'); dots != 0; dots &= dots - 1) {
			size_t at = i + (size_t)__builtin_ctzll(dots) / 8;

			if (at == start || n == SPR_PREDICATE_SEGMENTS - 1)
				return (false);
			out->end[n++] = (uint16_t)at;
			start = at + 1;
		}
		chunk = upper8(chunk);
		memcpy(out->text + i, &chunk, sizeof(chunk));
	}
	if (start == len)
		return (false);
	out->end[n++] = (uint16_t)len;
	out->n_segments = (uint16_t)n;
	out->len = (uint16_t)len;
	out->text[len] = '\0';
	return (true);
}

/* Appends one upper-cased code point to the last segment; false when there is no room. */
static bool
append_upper(spr_predicate *out, uint32_t code_point)
{
	uint32_t upper[3];
	unsigned n_upper = spr_upper(code_point, upper);
	char bytes[4];

	for (unsigned i = 0; i < n_upper; i++) {
		unsigned n = encode(upper[i], bytes);

		if (out->len + n > SPR_PREDICATE_BYTES)
			return (false);
		memcpy(out->text + out->len, bytes, n);
		out->len = (uint16_t)(out->len + n);
	}
	return (true);
}

/* Opens the next segment, with a dot unless it is the first; false when there are too many. */
static bool
open_segment(spr_predicate *out)
{
	if (out->n_segments == SPR_PREDICATE_SEGMENTS)
		return (false);
	if (out->n_segments++ > 0)
		out->text[out->len++] =
		    '.'; /* at the limit the NUL's byte takes it; the character that follows is refused */
	return (true);
}

/* Every case; NULL, or the rule that was broken. */
static const char *
normalise_any(spr_predicate *out, const char *text, size_t len)
{
	bool is_open = false;
	uint32_t code_point;
	unsigned n;

	out->len = 0;
	out->n_segments = 0;
	for (size_t i = 0; i < len; i += n) {
		if ((n = decode(text + i, len - i, &code_point)) == 0)
			return ("not UTF-8");
		if (code_point == '/')
			return ("holds '/'");
		if (code_point == '.') {
			is_open = false;
			continue;
		}
		if (!is_open && !open_segment(out))
			return ("over 64 segments");
		is_open = true;
		if (!append_upper(out, code_point))
			return ("over 1024 bytes");
		out->end[out->n_segments - 1] = out->len;
	}
	out->text[out->len] = '\0';
	return (NULL);
}

/* Rule 2 in its order: the star is judged on the text as given, then one dot goes, then one star.
 */
static spr_err
normalise(spr_predicate *out, const char *text, size_t len, spr_err err)
{
	size_t kept = len;
	const char *rule;

	if (len == 0)
		return (refuse(err, "empty", text, len));
	if (text[len - 1] == '*' && (len == 1 || text[len - 2] != '.'))
		return (refuse(err, "trailing '*' not preceded by '.'", text, len));
	if (text[kept - 1] == '.')
		kept--;
	if (kept > 0 && text[kept - 1] == '*')
		kept--;
	if (normalise_ascii(out, text, kept))
		return (SPR_OK);
	if ((rule = normalise_any(out, text, kept)) != NULL)
		return (refuse(err, rule, text, len));
	return (SPR_OK);
}

spr_err
spr_predicate_normalise(spr_predicate *out, const char *text, size_t len)
{
	return (normalise(out, text, len, SPR_E_BAD_PREDICATE));
}

/* Rule 8: NULL, or what is wrong with the text as given. */
static const char *
check_pattern(const char *text, size_t len)
{
	if (len == 0)
		return ("empty");
	for (size_t i = 0; i < len; i++) {
		bool is_first = i == 0 || text[i - 1] == '.';
		bool is_last = i + 1 == len;

		if (text[i] == '\0')
			return ("holds a NUL");
		if (text[i] == '.' && (is_first || is_last))
			return ("empty segment");
		if (text[i] == '*' && !(is_first && is_last))
			return ("'*' is allowed once, as the last segment");
	}
	return (NULL);
}

spr_err
spr_pattern_normalise(spr_predicate *out, const char *text, size_t len, bool allow_catch_all)
{
	const char *rule = check_pattern(text, len);

	if (rule != NULL)
		return (refuse(SPR_E_BAD_PATTERN, rule, text, len));
	if (len > 1 || text[0] != '*')
		return (normalise(out, text, len, SPR_E_BAD_PATTERN));
	if (!allow_catch_all)
		return (
		    refuse(SPR_E_BAD_PATTERN, "the catch-all needs --allow-catch-all", text, len));
	out->len = 0;
	out->n_segments = 0;
	out->text[0] = '\0';
	return (SPR_OK);
}

const char *
spr_pattern_text(const spr_predicate *pattern)
{
	return (pattern->n_segments > 0 ? pattern->text : "*");
}

/* Control characters (C0, DEL, C1) and every code point that Unicode calls white space. */
static bool
is_control_or_blank(uint32_t c)
{
	return (c <= ' ' || (c >= 0x7f && c <= 0xa0) || c == 0x1680 ||
		(c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
		c == 0x205f || c == 0x3000);
}

static bool
is_port(const char *text, size_t len)
{
	unsigned long port = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return (false);
		port = port * 10 + (unsigned long)(text[i] - '0');
		if (port > 65535)
			return (false);
	}
	return (true);
}

/* What stands between brackets: an IPv6 address, perhaps with a zone. */
static bool
is_ipv6(const char *text, size_t len)
{
	const char *zone = memchr(text, '%', len);
	size_t address_len = zone != NULL ? (size_t)(zone - text) : len;
	char address[INET6_ADDRSTRLEN];
	struct in6_addr binary;

	if (address_len >= sizeof(address) || (zone != NULL && address_len + 1 == len))
		return (false);
	memcpy(address, text, address_len);
	address[address_len] = '\0';
	return (inet_pton(AF_INET6, address, &binary) == 1);
}

/* authority = [userinfo '@'] host [':' [port]]; NULL, or what is wrong with it. */
static const char *
check_authority(const char *text, size_t len)
{
	const char *at = memrchr(text, '@', len);
	const char *host = at != NULL ? at + 1 : text;
	const char *end = text + len;
	const char *host_end = NULL;

	if (host < end && *host == '[') {
		host_end = memchr(host, ']', (size_t)(end - host));
		if (host_end == NULL || !is_ipv6(host + 1, (size_t)(host_end - host - 1)))
			return ("not an IPv6 address in the brackets");
		host_end++;
	} else {
		host_end = memchr(host, ':', (size_t)(end - host));
		if (host_end == NULL)
			host_end = end;
		if (host_end == host)
			return ("no host");
	}
	if (host_end < end &&
	    (*host_end != ':' || !is_port(host_end + 1, (size_t)(end - host_end - 1))))
		return ("port is not 0 to 65535");
	return (NULL);
}

static const char *
check_characters(const char *text, size_t len)
{
	uint32_t code_point;
	unsigned n;

	for (size_t i = 0; i < len; i += n) {
		if ((n = decode(text + i, len - i, &code_point)) == 0)
			return ("not UTF-8");
		if (is_control_or_blank(code_point))
			return ("holds a control character or a blank");
	}
	return (NULL);
}

spr_err
spr_callback_check(const char *text, size_t len)
{
	const char *rule = NULL;
	size_t scheme = 0;
	size_t end = 0;

	if (len >= 7 && strncasecmp(text, "http://", 7) == 0)
		scheme = 7;
	else if (len >= 8 && strncasecmp(text, "https://", 8) == 0)
		scheme = 8;
	end = scheme;
	while (end < len && memchr("/?#", text[end], 3) == NULL)
		end++;
	if (len > SPR_CALLBACK_MAX)
		rule = "over 4096 bytes";
	else if (scheme == 0)
		rule = "not http:// or https://";
	else if ((rule = check_characters(text, len)) == NULL)
		rule = check_authority(text + scheme, end - scheme);
	return (rule != NULL ? refuse(SPR_E_BAD_CALLBACK, rule, text, len) : SPR_OK);
}
