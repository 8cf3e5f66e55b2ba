/*
 * bench_mark - the documents that are sent, and what can be read off a job: which notification of which run it is of, when that
 * was to be sent, and which callback it is for. All at fixed places in fixed widths, so that neither side parses JSON.
 *
 *   mark       RRRRRRRR-SSSSSSSS-TTTTTTTTTTTTTTTT     run, number, nanoseconds since the run's begin; hexadecimal
 *   bare       {"bench":"<mark>","predicate":"...","pad":"..."}
 *   envelope   {"id":"<mark>","body":<bare>}
 *   callback   http://worker.bench.example/callback/CCCCCCCC
 *
 * A job's layout is found by searching once; after that it is only compared, and searched again when it differs.
 *
 * Threads     documents: constant after bench_documents_init(); a layout belongs to one reader
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BENCH_MARK_LEN     34
#define BENCH_CALLBACK     "http://worker.bench.example/callback/"
#define BENCH_DEPTH_MAX    60
#define BENCH_DOCUMENT_MAX (1u << 20)

typedef struct bench_mark {
	uint32_t run, number;
	uint64_t at_ns;
} bench_mark;

typedef struct bench_documents {
	char *text;                          /* of one document, with a line break behind it */
	size_t len;                          /* without the line break */
	size_t id_at, mark_at, predicate_at; /* id_at 0: bare; predicate_at: of its last segment */
	uint32_t run;
	unsigned predicates, hit_percent;
} bench_documents;

/* out holds 8 bytes. */
void bench_hex_put(char *out, uint32_t value);
/* Anything else than hexadecimal digits gives some number. */
static inline uint32_t
bench_hex_get(const char *text)
{
	uint64_t v;

	memcpy(&v, text, 8);
	v = __builtin_bswap64(v);
	v = (v & UINT64_C(0x0f0f0f0f0f0f0f0f)) + 9 * (v >> 6 & UINT64_C(0x0101010101010101));
	v = (v | v >> 4) & UINT64_C(0x00ff00ff00ff00ff);
	v = (v | v >> 8) & UINT64_C(0x0000ffff0000ffff);
	return ((uint32_t)(v | v >> 16));
}

void bench_mark_put(char *out, const bench_mark *mark);

static inline bench_mark
bench_mark_get(const char *text)
{
	return ((bench_mark){
	    .run = bench_hex_get(text),
	    .number = bench_hex_get(text + 9),
	    .at_ns = (uint64_t)bench_hex_get(text + 18) << 32 | bench_hex_get(text + 26),
	});
}

/* size is the least: a document is as long as its fields need. False without memory. */
bool
bench_documents_init(bench_documents *d, bool is_envelope, size_t size, unsigned depth,
		     unsigned predicates, unsigned hit_percent, unsigned fan_out, uint32_t run);
void bench_documents_fini(bench_documents *d);

/* Is anybody subscribed to what notification `number` is about? */
static inline bool
bench_documents_is_hit(const bench_documents *d, uint32_t number)
{
	return (((uint64_t)number + 1) * d->hit_percent / 100 !=
		(uint64_t)number * d->hit_percent / 100);
}

/* How many of the first n have somebody. */
static inline uint64_t
bench_documents_hits(const bench_documents *d, uint64_t n)
{
	return (n * d->hit_percent / 100);
}

/* Writes d->len bytes and a line break. */
void bench_documents_put(const bench_documents *d, char *at, uint32_t number, uint64_t at_ns);

/* The pattern that the documents about predicate i match. out: BENCH_PATTERN_MAX bytes. */
#define BENCH_PATTERN_MAX 512
void bench_pattern(char *out, unsigned depth, unsigned fan_out, unsigned i);
/* Patterns beside it, that no document matches: as deep, the last two segments vary. */
void bench_background_pattern(char *out, unsigned depth, unsigned i);

/* --- reading jobs --------------------------------------------------------------------------------- */

typedef struct bench_layout {
	size_t len; /* of a job; 0: none was seen */
	size_t mark_at;
	size_t callback_at; /* of its number; 0: a relay's copy, which has none */
	size_t id_len;      /* of the job's id, which is the first member; 0: none */
} bench_layout;

/* What a job's id begins behind. */
#define BENCH_ID_AT 7

/* A job at `job`, of which `left` bytes are there; false if that is none of ours. layout then is its. */
bool bench_layout_find(bench_layout *layout, const char *job, size_t left);

/* Is the job laid out as the one before? A batch has one a line. */
static inline bool
bench_layout_holds(const bench_layout *layout, const char *job, size_t left)
{
	static const char name[] = "\"bench\":\"";
	const size_t name_len = sizeof(name) - 1;

	return (layout->len > 0 && layout->len <= left &&
		(layout->len == left || job[layout->len] == '\n') && job[layout->len - 1] == '}' &&
		memcmp(job + layout->mark_at - name_len, name, name_len) == 0 &&
		(layout->callback_at == 0 ||
		 memcmp(job + layout->callback_at - 10, "/callback/", 10) == 0));
}
