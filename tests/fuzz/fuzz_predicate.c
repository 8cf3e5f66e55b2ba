/*
 * fuzz_predicate - any bytes as predicate, pattern and callback: no step outside, and what is
 * accepted has its shape.
 */
#include "route/predicate.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool condition)
{
	if (!condition)
		abort();
}

static void
check_shape(const spr_predicate *p)
{
	size_t start = 0;

	require(p->len <= SPR_PREDICATE_BYTES && p->n_segments <= SPR_PREDICATE_SEGMENTS);
	require(p->text[p->len] == '\0');
	require((p->n_segments == 0) == (p->len == 0));
	for (unsigned i = 0; i < p->n_segments; i++) {
		require(p->end[i] > start && p->end[i] <= p->len);
		require(memchr(p->text + start, '.', p->end[i] - start) == NULL);
		require(p->text[p->end[i]] == (i + 1 < p->n_segments ? '.' : '\0'));
		start = (size_t)p->end[i] + 1;
	}
	require(p->n_segments == 0 || p->end[p->n_segments - 1] == p->len);
	require(memchr(p->text, '/', p->len) == NULL);
}

static void
require_same(const spr_predicate *a, const spr_predicate *b)
{
	require(a->len == b->len && a->n_segments == b->n_segments);
	require(memcmp(a->text, b->text, a->len) == 0);
	require(memcmp(a->end, b->end, a->n_segments * sizeof(a->end[0])) == 0);
}

static void
check_predicate(const char *text, size_t size)
{
	spr_predicate p, again;
	char wild[SPR_PREDICATE_BYTES + 2];

	if (spr_predicate_normalise(&p, text, size) != SPR_OK)
		return;
	check_shape(&p);
	/* normalising is stable; ".*" keeps a literal last '*' from being dropped */
	memcpy(wild, p.text, p.len);
	memcpy(wild + p.len, ".*", 2);
	require(spr_predicate_normalise(&again, wild, (size_t)p.len + 2) == SPR_OK);
	require_same(&p, &again);
}

static void
check_pattern(const char *text, size_t size)
{
	spr_predicate p, again;
	const char *printed;

	if (spr_pattern_normalise(&p, text, size, true) != SPR_OK) {
		require(spr_pattern_normalise(&p, text, size, false) != SPR_OK);
		return;
	}
	check_shape(&p);
	printed = spr_pattern_text(&p);
	require(spr_pattern_normalise(&again, printed, strlen(printed), true) == SPR_OK);
	require_same(&p, &again);
	/* every pattern but the catch-all is a predicate of the same segments */
	if (p.n_segments > 0) {
		require(spr_predicate_normalise(&again, text, size) == SPR_OK);
		require_same(&p, &again);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;

	if (size == 0)
		text = "";
	check_predicate(text, size);
	check_pattern(text, size);
	if (spr_callback_check(text, size) == SPR_OK)
		require(size > 7 && size <= SPR_CALLBACK_MAX && memchr(text, '\0', size) == NULL);
	return (0);
}
