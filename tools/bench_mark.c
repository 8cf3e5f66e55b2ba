/*
 * bench_mark - writing documents and finding out how jobs are laid out. A document is a copy of one text with a few digits
 * written over.
 */
#include "bench_mark.h"

#include <stdio.h>

#include "base/mem.h"

#define PREDICATE_DIGITS 6

void
bench_hex_put(char *out, uint32_t value)
{
	uint64_t v = value, is_letter;

	v = (v | v << 16) & UINT64_C(0x0000ffff0000ffff);
	v = (v | v << 8) & UINT64_C(0x00ff00ff00ff00ff);
	v = (v | v << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	is_letter = (v + UINT64_C(0x0606060606060606)) >> 4 & UINT64_C(0x0101010101010101);
	v += UINT64_C(0x3030303030303030) + is_letter * ('a' - '9' - 1);
	v = __builtin_bswap64(v);
	memcpy(out, &v, 8);
}

void
bench_mark_put(char *out, const bench_mark *mark)
{
	bench_hex_put(out, mark->run);
	out[8] = out[17] = '-';
	bench_hex_put(out + 9, mark->number);
	bench_hex_put(out + 18, (uint32_t)(mark->at_ns >> 32));
	bench_hex_put(out + 26, (uint32_t)mark->at_ns);
}

/* All segments but the varying ones, each with its dot. */
static size_t
put_stem(char *out, unsigned segments)
{
	size_t len = 0;

	for (unsigned i = 0; i < segments; i++)
		len += (size_t)sprintf(out + len, i == 0 ? "UN." : i == 1 ? "BENCH." : "S%u.", i);
	return (len);
}

/* A run with another fan-out asks about others: what an earlier run has subscribed does not disturb it. */
static size_t
put_pattern(char *out, unsigned depth, unsigned fan_out, char kind, unsigned i)
{
	size_t len = put_stem(out, depth - 1);

	return (len + (size_t)sprintf(out + len, "F%u%c%0*u", fan_out, kind, PREDICATE_DIGITS, i));
}

void
bench_pattern(char *out, unsigned depth, unsigned fan_out, unsigned i)
{
	put_pattern(out, depth, fan_out, 'P', i);
}

void
bench_background_pattern(char *out, unsigned depth, unsigned i)
{
	size_t len = depth < 2 ? 0 : put_stem(out, depth - 2);

	if (depth < 2)
		sprintf(out, "B%u", i);
	else
		sprintf(out + len, "B%u.B%u", i / 1000, i % 1000);
}

bool
bench_documents_init(bench_documents *d, bool is_envelope, size_t size, unsigned depth,
		     unsigned predicates, unsigned hit_percent, unsigned fan_out, uint32_t run)
{
	static const char pad[] = "\",\"pad\":\"";
	const char *tail = is_envelope ? "\"}}" : "\"}";
	size_t len = 0;

	memset(d, 0, sizeof(*d));
	if ((d->text = spr_mem_alloc(size + 1024)) == NULL)
		return (false);
	d->run = run;
	d->predicates = predicates;
	d->hit_percent = hit_percent;
	if (is_envelope) {
		d->id_at = BENCH_ID_AT;
		len = (size_t)sprintf(d->text, "{\"id\":\"%*s\",\"body\":", BENCH_MARK_LEN, "");
	}
	len += (size_t)sprintf(d->text + len, "{\"bench\":\"");
	d->mark_at = len;
	len += (size_t)sprintf(d->text + len, "%*s\",\"predicate\":\"", BENCH_MARK_LEN, "");
	len += put_pattern(d->text + len, depth, fan_out, 'P', 0);
	d->predicate_at = len - PREDICATE_DIGITS - 1;
	len += (size_t)sprintf(d->text + len, "%s", pad);
	if (len + strlen(tail) < size) {
		memset(d->text + len, 'x', size - len - strlen(tail));
		len = size - strlen(tail);
	}
	len += (size_t)sprintf(d->text + len, "%s\n", tail);
	d->len = len - 1;
	return (true);
}

void
bench_documents_fini(bench_documents *d)
{
	spr_mem_free(d->text);
	d->text = NULL;
}

static void
put_decimal(char *out, unsigned value)
{
	for (unsigned i = PREDICATE_DIGITS; i-- > 0; value /= 10)
		out[i] = (char)('0' + value % 10);
}

void
bench_documents_put(const bench_documents *d, char *at, uint32_t number, uint64_t at_ns)
{
	memcpy(at, d->text, d->len + 1);
	bench_mark_put(at + d->mark_at, &(bench_mark){d->run, number, at_ns});
	if (d->id_at > 0)
		memcpy(at + d->id_at, at + d->mark_at, BENCH_MARK_LEN);
	if (d->hit_percent < 100 && !bench_documents_is_hit(d, number))
		at[d->predicate_at] = 'M';
	if (d->predicates > 1)
		put_decimal(at + d->predicate_at + 1, number % d->predicates);
}

/* Just behind the text, 0 if it is not there. */
static size_t
behind(const char *job, size_t len, const char *text)
{
	const char *at = memmem(job, len, text, strlen(text));

	return (at == NULL ? 0 : (size_t)(at - job) + strlen(text));
}

bool
bench_layout_find(bench_layout *layout, const char *job, size_t left)
{
	const char *end = memchr(job, '\n', left);
	size_t len = end != NULL ? (size_t)(end - job) : left, to_s;
	bench_layout found = {.len = len};

	found.mark_at = behind(job, len, "\"bench\":\"");
	if (found.mark_at == 0 || found.mark_at + BENCH_MARK_LEN > len || job[len - 1] != '}')
		return (false);
	found.callback_at = behind(job, found.mark_at, "\"s\":\"" BENCH_CALLBACK);
	if (found.callback_at > 0) {
		to_s = found.callback_at - strlen("\"s\":\"" BENCH_CALLBACK);
		if (to_s > BENCH_ID_AT + 2)
			found.id_len = to_s - BENCH_ID_AT - 2;
	}
	*layout = found;
	return (true);
}
