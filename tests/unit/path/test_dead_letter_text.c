/*
 * What a dead letter's line says: it is JSON whatever the bytes were, and they can be had back.
 */
#include "dead_letter_scene.h"

static bool
is_marked(const cJSON *line, const char *name)
{
	return (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(line, name)));
}

/* What "bytes" of the first line stands for, by the header's rules; the caller frees it. */
static uint8_t *
bytes_of(const char *path, bool *is_binary, size_t *len)
{
	static const char name[] = ",\"bytes\":\"";
	size_t file_len, n = 0;
	char *text = read_file(path, &file_len), *begin = strstr(text, name), *end;
	uint8_t *out = malloc(file_len + 1);
	bool has_lone_surrogate;

	assert_non_null(out);
	assert_non_null(begin);
	begin += strlen(name);
	for (end = begin; *end != '"'; end++)
		end += *end == '\\';
	*is_binary = strstr(end, ",\"binary\":true") != NULL;
	*len = spr_scan_decode((spr_range){.at = (uint8_t *)begin, .len = (size_t)(end - begin)},
			       out, file_len, &has_lone_surrogate);
	assert_false(has_lone_surrogate);
	free(text);
	if (!*is_binary)
		return (out);
	for (size_t i = 0; i < *len; i++) {
		uint8_t lead = out[i];

		assert_true(lead < 0xC4); /* no character above U+00FF */
		out[n++] = lead < 0x80 ? lead : (uint8_t)(lead << 6 | (out[++i] & 0x3F));
	}
	*len = n;
	return (out);
}

/* Writes one document and reads it back. */
static void
assert_comes_back(const uint8_t *bytes, size_t len, bool is_text)
{
	scene s = scene_open(NULL);
	size_t got_len;
	uint8_t *got;
	bool is_binary;

	spr_dead_letter_write(s.dl, SPREADER_REASON_NOT_JSON, NULL, NOTHING, NOTHING,
			      (spr_range){.at = bytes, .len = len});
	assert_int_equal(spr_dead_letter_flush(s.dl), 1);
	cJSON_Delete(line_of(s.path, 0));
	got = bytes_of(s.path, &is_binary, &got_len);
	assert_int_equal(is_binary, !is_text);
	assert_int_equal(got_len, len);
	assert_memory_equal(got, bytes, len);
	free(got);
	scene_close(&s);
}

static void
a_peer_has_a_name(void **state)
{
	const spr_peer peer = {.kind = SPR_PEER_TCP4, .address = {1, 2, 3, 4}, .port = 567};
	const spr_peer unknown = {.kind = SPR_PEER_UNKNOWN};
	scene s = scene_open(NULL);
	cJSON *line;

	(void)state;
	spr_dead_letter_write(s.dl, SPREADER_REASON_NO_ID, &peer, NOTHING, NOTHING, range_of("{}"));
	spr_dead_letter_write(s.dl, SPREADER_REASON_NO_ID, &unknown, NOTHING, NOTHING,
			      range_of("{}"));
	assert_int_equal(spr_dead_letter_flush(s.dl), 2);
	line = line_of(s.path, 0);
	assert_string_equal(spr_json_text(line, "peer"), "tcp://1.2.3.4:567");
	cJSON_Delete(line);
	line = line_of(s.path, 1);
	assert_null(cJSON_GetObjectItemCaseSensitive(line, "peer"));
	cJSON_Delete(line);
	scene_close(&s);
}

static void
what_is_empty_is_left_out(void **state)
{
	scene s = scene_open(NULL);
	cJSON *line;
	(void)state;

	spr_dead_letter_write(s.dl, SPREADER_REASON_REFUSED, NULL, NOTHING, NOTHING, NOTHING);
	spr_dead_letter_write(s.dl, SPREADER_REASON_REFUSED, NULL, NOTHING, range_of("x"), NOTHING);
	assert_int_equal(spr_dead_letter_flush(s.dl), 2);
	line = line_of(s.path, 0);
	assert_int_equal(cJSON_GetArraySize(line), 2);
	cJSON_Delete(line);
	line = line_of(s.path, 1);
	assert_int_equal(cJSON_GetArraySize(line), 3);
	assert_string_equal(spr_json_text(line, "id"), "x");
	cJSON_Delete(line);
	scene_close(&s);
}

/* An id may hold half a surrogate pair; on the line it looks as it did on the wire. */
static void
id_with_a_lone_surrogate(void **state)
{
	scene s = scene_open(NULL);
	size_t len;
	char *text;
	(void)state;

	spr_dead_letter_write(s.dl, SPREADER_REASON_BAD_PREDICATE, NULL, NOTHING,
			      range_of("a\xED\xA0\x80"), range_of("{}"));
	spr_dead_letter_flush(s.dl);
	text = read_file(s.path, &len);
	assert_non_null(strstr(text, ",\"id\":\"a\\ud800\",\"bytes\":\"{}\"}\n"));
	free(text);
	scene_close(&s);
}

static void
text_comes_back(void **state)
{
	static const char *const texts[] = {
	    "[1,",
	    "\x01\x02\x1f\x7f\t\r\n\b\f\"\\/",
	    "\xC2\x80 \xDF\xBF \xE0\xA0\x80 \xED\x9F\xBF \xEE\x80\x80 \xEF\xBF\xBF",
	    "\xF0\x90\x80\x80 \xF4\x8F\xBF\xBF",
	};
	(void)state;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_comes_back((const uint8_t *)texts[i], strlen(texts[i]), true);
	assert_comes_back((const uint8_t *)"a\0b", 3, true);
}

/* Each is no UTF-8: stray, overlong, surrogate, too high, cut off, a bad middle. */
static void
binary_comes_back(void **state)
{
	static const char *const texts[] = {
	    "\x80",
	    "\xBF",
	    "\xC0\x80",
	    "\xC1\xBF",
	    "\xE0\x9F\xBF",
	    "\xED\xA0\x80",
	    "\xF0\x8F\xBF\xBF",
	    "\xF4\x90\x80\x80",
	    "\xF5\x80\x80\x80",
	    "\xFF",
	    "{\xC3",
	    "\xE2\x82",
	    "\xF0\x9F\x98",
	    "\xE2\x28\xA1",
	    "\xE2\x82\xC3",
	    "\xC3\xA9\xFF",
	    "\xF0\x9F\x98\x41",
	};
	uint8_t all[256];
	(void)state;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_comes_back((const uint8_t *)texts[i], strlen(texts[i]), false);
	for (unsigned i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	assert_comes_back(all, sizeof(all), false);
}

static void
random_bytes_come_back(void **state)
{
	uint64_t random = spr_test_seed();
	uint8_t bytes[64];
	(void)state;

	for (unsigned i = 0; i < 100; i++) {
		size_t len = 1 + spr_test_below(&random, sizeof(bytes) - 1);

		for (size_t k = 0; k < len; k++)
			bytes[k] = (uint8_t)spr_test_random(&random);
		bytes[spr_test_below(&random, len)] = 0xFF;
		assert_comes_back(bytes, len, false);
	}
}

/* shift moves a four-byte character over the limit. */
static void
long_document_is_cut_between_characters(void **state)
{
	size_t len = SPR_DEAD_LETTER_BYTES_MAX + 100;
	uint8_t *bytes = malloc(len), *got;
	(void)state;

	assert_non_null(bytes);
	for (size_t shift = 0; shift < 4; shift++) {
		scene s = scene_open(NULL);
		size_t got_len, kept = SPR_DEAD_LETTER_BYTES_MAX - (shift == 0 ? 0 : 4 - shift);
		bool is_binary;
		cJSON *line;

		for (size_t i = 0; i < len; i++)
			bytes[i] = i < shift ? 'x' : (uint8_t) "\xF0\x9F\x98\x80"[(i - shift) % 4];
		spr_dead_letter_write(s.dl, SPREADER_REASON_NOT_JSON, NULL, NOTHING, NOTHING,
				      (spr_range){.at = bytes, .len = len});
		spr_dead_letter_flush(s.dl);
		line = line_of(s.path, 0);
		assert_true(is_marked(line, "truncated"));
		cJSON_Delete(line);
		got = bytes_of(s.path, &is_binary, &got_len);
		assert_false(is_binary);
		assert_int_equal(got_len, kept);
		assert_memory_equal(got, bytes, got_len);
		free(got);
		scene_close(&s);
	}
	free(bytes);
}

static void
document_of_the_limit_is_whole(void **state)
{
	uint8_t *bytes = malloc(SPR_DEAD_LETTER_BYTES_MAX);
	scene s = scene_open(NULL);
	cJSON *line;
	(void)state;

	assert_non_null(bytes);
	memset(bytes, 0x80, SPR_DEAD_LETTER_BYTES_MAX); /* six characters each: the longest line */
	spr_dead_letter_write(s.dl, SPREADER_REASON_NOT_JSON, NULL, NOTHING, NOTHING,
			      (spr_range){.at = bytes, .len = SPR_DEAD_LETTER_BYTES_MAX});
	spr_dead_letter_flush(s.dl);
	line = line_of(s.path, 0);
	assert_true(is_marked(line, "binary"));
	assert_false(is_marked(line, "truncated"));
	cJSON_Delete(line);
	free(bytes);
	scene_close(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_peer_has_a_name),
	    cmocka_unit_test(what_is_empty_is_left_out),
	    cmocka_unit_test(id_with_a_lone_surrogate),
	    cmocka_unit_test(text_comes_back),
	    cmocka_unit_test(binary_comes_back),
	    cmocka_unit_test(random_bytes_come_back),
	    cmocka_unit_test(long_document_is_cut_between_characters),
	    cmocka_unit_test(document_of_the_limit_is_whole),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
