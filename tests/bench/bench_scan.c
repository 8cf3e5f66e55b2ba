/*
 * bench_scan - what reading a document and quoting a payload cost, by kind of content.
 *
 * One line a series: name, bytes, ns a document (best and median of the rounds), MB/s at the
 * median. Expected shape: `typical` well under 250 ns; plain long strings are bound by 16-byte
 * compares, so several GB/s; cost then rises with the number of tokens (dense), of line breaks
 * (pretty) and of characters beyond ASCII (wide).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "path/scan.h"

#define N_ROUNDS    31
#define ROUND_BYTES 2000000

static uint8_t text[1 << 18], quoted[6 * sizeof(text) + 2];
static volatile uint64_t sink;

static double
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return ((double)t.tv_sec * 1e9 + (double)t.tv_nsec);
}

/* An envelope whose body carries `filler` as often as needed to make it `size` bytes or a little
 * more. */
static size_t
make_envelope(size_t size, const char *filler)
{
	char *p = (char *)text;

	p += sprintf(p, "{\"id\":\"abc123\",\"body\":{\"predicate\":\"UN.CEFACT.TRADE.CO.created\","
			"\"sender\":\"AU\",\"obj\":");
	p += sprintf(p, *filler == ',' ? "0" : "\"");
	do
		p += sprintf(p, "%s", filler);
	while ((size_t)(p - (char *)text) + 3 < size);
	p += sprintf(p, *filler == ',' ? "}}" : "\"}}");
	return ((size_t)(p - (char *)text));
}

static void
scan(size_t len)
{
	spr_document document;

	if (spr_scan_document(text, len, SPR_FORMAT_ENVELOPE, &document) != len ||
	    document.reason != SPREADER_REASON_NONE)
		abort();
	sink += document.predicate.len;
}

static void
quote(size_t len)
{
	if (spr_json_quoted_len(text, len) != spr_json_quote(quoted, text, len))
		abort();
	sink += quoted[1];
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return ((x > y) - (x < y));
}

static void
measure(const char *name, size_t len, void (*run)(size_t))
{
	size_t n = ROUND_BYTES / len;
	double rounds[N_ROUNDS];

	for (int round = 0; round < N_ROUNDS; round++) {
		double start = now_ns();
		for (size_t i = 0; i < n; i++)
			run(len);
		rounds[round] = (now_ns() - start) / (double)n;
	}
	qsort(rounds, N_ROUNDS, sizeof(*rounds), by_size);
	printf("%s\t%zu\t%.0f\t%.0f\t%.0f\n", name, len, rounds[0], rounds[N_ROUNDS / 2],
	       (double)len * 1e3 / rounds[N_ROUNDS / 2]);
}

int
main(void)
{
	static const struct {
		const char *name;
		size_t size;
		const char *filler;
	} series[] = {
	    {"typical", 0, "x"},
	    {"plain-256", 256, "x"},
	    {"plain-64k", 65536, "x"},
	    {"members-256", 256, ",\"consignment\":\"AU-2024-000123\""},
	    {"members-4k", 4096, ",\"consignment\":\"AU-2024-000123\""},
	    {"dense-4k", 4096, ",\"a\":[1,2,{\"b\":null}]"},
	    {"pretty-4k", 4096, ",\n        \"consignment\": \"AU-2024-000123\""},
	    {"wide2-4k", 4096, "\xD0\x96"},
	    {"wide3-4k", 4096, "\xE6\x97\xA5"},
	    {"escaped-4k", 4096, "abcdefg\\n"},
	};

	printf("series\tbytes\tns_best\tns_median\tMB_s\n");
	for (size_t i = 0; i < sizeof(series) / sizeof(*series); i++) {
		char name[64];
		size_t len = make_envelope(series[i].size, series[i].filler);

		snprintf(name, sizeof(name), "scan-%s", series[i].name);
		measure(name, len, scan);
		snprintf(name, sizeof(name), "quote-%s", series[i].name);
		measure(name, len, quote);
	}
	return (0);
}
