/*
 * bench_store - one store on disk: how long a start takes to read it, and what joining changes in
 * one transaction is worth. Expected shape: loading is linear; changes a second grow with the group
 * until the tree's pages, no longer the disk's sync, set the pace.
 *
 *	bench_store [rows, default 1000000] [folder, default $TMPDIR or /tmp]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/store.h"

static void
must(spr_err rv)
{
	if (rv != SPR_OK) {
		fprintf(stderr, "%s\n", spr_error_text(rv));
		exit(1);
	}
}

static double
seconds_since(uint64_t start_ns)
{
	return ((double)(spr_clock_now_ns() - start_ns) / 1e9);
}

/* i scattered over the tree, as subscriptions come. */
static void
put(spr_store *store, uint64_t i)
{
	char pattern[64], callback[64];
	uint64_t scattered = (i * UINT64_C(0x9e3779b97f4a7c15)) >> 20;
	spr_store_row row = {
	    .pattern = pattern, .callback = callback, .expires_s = 1800000000 + (int64_t)i};
	bool created = false;

	row.pattern_len = (size_t)snprintf(pattern, sizeof(pattern), "UN.CEFACT.TRADE.%llu.CREATED",
					   (unsigned long long)scattered % 100000);
	row.callback_len =
	    (size_t)snprintf(callback, sizeof(callback), "https://subscriber-%llu.example/hook",
			     (unsigned long long)i);
	must(spr_store_put(store, &row, &created));
}

static void
fill(spr_store *store, uint64_t from, uint64_t n, uint64_t group)
{
	for (uint64_t i = from; i < from + n; i += group) {
		must(spr_store_begin(store));
		for (uint64_t j = i; j < i + group && j < from + n; j++) {
			put(store, j);
		}
		must(spr_store_commit(store));
		spr_store_rest(store, false);
	}
}

static spr_err
count_row(void *arg, const spr_store_row *row)
{
	uint64_t *sum = arg;

	sum[0]++;
	sum[1] += row->pattern_len + row->callback_len +
		  (unsigned char)row->pattern[row->pattern_len - 1];
	return (SPR_OK);
}

static void
load(const char *path, uint64_t rows)
{
	spr_store *store = NULL;
	uint64_t start_ns = spr_clock_now_ns(), sum[2] = {0, 0};
	bool was_created = false;

	must(spr_store_open(&store, path, true, &was_created));
	must(spr_store_load(store, count_row, sum));
	printf("load\t%llu\t%.2f s\t%.0f rows/s\n", (unsigned long long)sum[0],
	       seconds_since(start_ns), (double)sum[0] / seconds_since(start_ns));
	spr_store_close(store);
	if (sum[0] != rows) {
		fprintf(stderr, "%llu rows were stored\n", (unsigned long long)rows);
		exit(1);
	}
}

static void
groups(const char *path, uint64_t from)
{
	static const uint64_t sizes[] = {1, 4, 16, 64, 256, 1024, 10000};
	spr_store *store = NULL;
	bool was_created = false;

	must(spr_store_open(&store, path, true, &was_created));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t n = sizes[i] < 64 ? sizes[i] * 200 : 20000, start_ns = spr_clock_now_ns();

		fill(store, from, n, sizes[i]);
		printf("group\t%llu\t%.0f changes/s\t%.0f commits/s\n",
		       (unsigned long long)sizes[i], (double)n / seconds_since(start_ns),
		       (double)n / (double)sizes[i] / seconds_since(start_ns));
		from += n;
	}
	spr_store_close(store);
}

int
main(int argc, char **argv)
{
	uint64_t rows = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000, start_ns = 0;
	const char *tmp = getenv("TMPDIR");
	char dir[256], path[300], lock[320];
	spr_store *store = NULL;
	bool was_created = false;

	snprintf(dir, sizeof(dir), "%s/bench_store.XXXXXX",
		 argc > 2      ? argv[2]
		 : tmp != NULL ? tmp
			       : "/tmp");
	if (mkdtemp(dir) == NULL) {
		perror(dir);
		return (1);
	}
	snprintf(path, sizeof(path), "%s/s.db", dir);
	must(spr_store_open(&store, path, false, &was_created));
	start_ns = spr_clock_now_ns();
	fill(store, 0, rows, 10000);
	printf("fill\t%llu\t%.2f s\t%.0f rows/s\n", (unsigned long long)rows,
	       seconds_since(start_ns), (double)rows / seconds_since(start_ns));
	spr_store_close(store);
	load(path, rows);
	groups(path, rows);
	snprintf(lock, sizeof(lock), "%s.lock", path);
	(void)unlink(lock);
	(void)unlink(path);
	return (rmdir(dir) == 0 ? 0 : 1);
}
