/*
 * test_job_id - ids of jobs by the recipe in spreader/wire.h, carried out here with the library's plain calls.
 */
#include <string.h>
#include <xxhash.h>

#include "spr_test.h"

#include "path/job_id.h"

static XXH128_hash_t
hash(const void *data, size_t len)
{
	return (XXH3_128bits(data, len));
}

static spr_range
range(const char *text)
{
	return ((spr_range){(const uint8_t *)text, strlen(text)});
}

static void
by_recipe(const char *from, const char *id, const char *callback, char hex[33])
{
	uint8_t text[600] = {(uint8_t)strlen(from), (uint8_t)(strlen(from) >> 8)};
	size_t len = 2;
	XXH128_hash_t parts[2], all;

	len += (size_t)sprintf((char *)text + len, "%s%s", from, id);
	parts[0] = hash(text, len);
	parts[1] = hash(callback, strlen(callback));
	all = hash(parts, sizeof(parts));
	sprintf(hex, "%016llx%016llx", (unsigned long long)all.high64,
		(unsigned long long)all.low64);
}

static void
test_recipe(void **state)
{
	static const char *const rows[][3] = {
	    {"", "1", "http://a"},
	    {"eu", "1", "http://a"},
	    {"e", "u1", "http://a"}, /* not the same as the one before */
	    {"", "1", "http://b"},
	};
	char seen[4][33], hex[33];
	spr_epoch *epoch;
	spr_epoch_record *record;
	spr_subscriptions *subscriptions;
	spr_predicate predicate;
	spr_matches matches = {0};
	bool created;

	(void)state;
	assert_ok(spr_epoch_new(&epoch));
	assert_ok(spr_subscriptions_new(&subscriptions, epoch));
	assert_ok(spr_epoch_register(epoch, &record));
	assert_ok(spr_predicate_normalise(&predicate, "UN", 2));
	for (size_t i = 0; i < 4; i++) {
		spr_job_source source = spr_job_source_of(range(rows[i][0]), range(rows[i][1]));
		spr_job_key key, back;

		assert_ok(spr_subscriptions_subscribe(subscriptions, &predicate, rows[i][2],
						      strlen(rows[i][2]), INT64_MAX, &created));
		assert_ok(
		    spr_subscriptions_resolve(subscriptions, record, &predicate, 0, 10, &matches));
		assert_int_equal(matches.n, 1);
		key = spr_job_key_of(&source, matches.callback[0]);
		spr_job_key_write((uint8_t *)seen[i], key);
		seen[i][32] = '\0';
		by_recipe(rows[i][0], rows[i][1], rows[i][2], hex);
		assert_string_equal(seen[i], hex);
		assert_true(spr_job_key_read((const uint8_t *)hex, &back));
		assert_true(back.low == key.low && back.high == key.high);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(seen[i], seen[k]);
		spr_matches_drop_from(subscriptions, &matches, 0);
		assert_ok(spr_subscriptions_unsubscribe(subscriptions, &predicate, rows[i][2],
							strlen(rows[i][2])));
	}
	spr_matches_fini(&matches);
	spr_epoch_unregister(record);
	spr_subscriptions_free(subscriptions);
	spr_epoch_free(epoch);
}

/* Every digit in every place, and nothing that is none. */
static void
test_hex(void **state)
{
	uint64_t random = spr_test_seed();
	char hex[33], wanted[33];
	spr_job_key key, back;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		key.low = spr_test_below(&random, UINT64_MAX);
		key.high = spr_test_below(&random, UINT64_MAX);
		spr_job_key_write((uint8_t *)hex, key);
		hex[32] = '\0';
		sprintf(wanted, "%016llx%016llx", (unsigned long long)key.high,
			(unsigned long long)key.low);
		assert_string_equal(hex, wanted);
		assert_true(spr_job_key_read((const uint8_t *)hex, &back));
		assert_true(back.low == key.low && back.high == key.high);
		for (unsigned c = 1; c < 256; c++) {
			bool is_digit = strchr("0123456789abcdef", (int)c) != NULL;
			unsigned place = i % 32;
			char was = hex[place];

			hex[place] = (char)c;
			assert_int_equal(spr_job_key_read((const uint8_t *)hex, &back), is_digit);
			hex[place] = was;
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_recipe),
	    cmocka_unit_test(test_hex),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
