/*
 * test_scan - the scanner against two readers that were written by others: Python's json and cJSON.
 * Documents are made at random, most of them notifications, and four in ten messages are damaged.
 *
 * Python says what is accepted, what it means and where it ends (scan_oracle.py lists the
 * deviations). cJSON 1.7.15 is laxer, so it tells less: what we accept it accepts, with the same
 * meaning; what it accepts and we refuse must hold one of its known deviations:
 *  - numbers: 01, 1., -01; only their first 63 characters are read
 *  - strings: invalid UTF-8, raw control characters, \u without four hex digits; \u0000 ends them;
 *    a surrogate without its other half is refused
 *  - any byte up to 0x20 is white space, a byte order mark is skipped, nesting goes to 1000
 *  - duplicate members are all kept, and the first is found: this test takes the last
 */
#include "path/scan.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "spr_guard.h"
#include "spr_made.h"
#include "spr_test.h"

#define N_MESSAGES 20000
#define PYTHON     "/usr/bin/python3"

static uint8_t *guard;

/* The next document of the message [p, guard). */
static size_t
scan(const uint8_t *p, spr_format format, spr_document *d)
{
	size_t len = (size_t)(guard - p), used = spr_scan_document(p, len, format, d);

	assert_true(used <= len);
	return (used);
}

static void
write_hex(FILE *file, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		fprintf(file, "%02x", ((const uint8_t *)bytes)[i]);
}

static void
write_range(FILE *file, const uint8_t *message, spr_range range)
{
	if (range.at == NULL)
		fputs(",-", file);
	else
		fprintf(file, ",%zu:%zu", (size_t)(range.at - message), range.len);
}

static void
write_document(FILE *file, const uint8_t *message, size_t used, const spr_document *d)
{
	static const char *const reasons[] = {"none",
#define X(name, code, retry, detail) code,
					      SPREADER_REASONS(X)
#undef X
	};
	static uint8_t quoted[6 * SPR_MADE_MAX + 2];

	fprintf(file, " %zu,%s", used, reasons[d->reason]);
	write_range(file, message, d->whole);
	write_range(file, message, d->body);
	write_range(file, message, d->payload);
	fprintf(file, ",%d", d->payload_is_message);
	write_range(file, message, d->predicate);
	write_range(file, message, d->from);
	write_range(file, message, d->id);
	fprintf(file, ",%zu,", d->id_decoded_len);
	if (d->payload.at != NULL)
		write_hex(file, quoted, spr_json_quote(quoted, d->payload.at, d->payload.len));
}

static void
write_message(FILE *file, const spr_made_text *t, spr_format format)
{
	const uint8_t *message = memcpy(guard - t->len, t->at, t->len);
	spr_document d;
	size_t used;

	fputs(format == SPR_FORMAT_BARE ? "bare " : "envelope ", file);
	write_hex(file, message, t->len);
	for (const uint8_t *p = message; (used = scan(p, format, &d)) > 0; p += used)
		write_document(file, message, used, &d);
	fputs(" \n", file);
}

static void
test_python_agrees(void **state)
{
	static spr_made_text t;
	char path[512], command[2048], *dir;
	FILE *file;

	(void)state;
	if (access(PYTHON, X_OK) != 0)
		skip();
	dir = spr_test_tmpdir();
	snprintf(path, sizeof(path), "%s/messages", dir);
	assert_non_null(file = fopen(path, "w"));
	t.random = spr_test_seed();
	for (int i = 0; i < N_MESSAGES; i++) {
		spr_format format = i % 4 == 0 ? SPR_FORMAT_BARE : SPR_FORMAT_ENVELOPE;
		spr_made_message(&t, format);
		write_message(file, &t, format);
	}
	assert_int_equal(fclose(file), 0);
	snprintf(command, sizeof(command), PYTHON " '%s/tests/model/scan_oracle.py' '%s'",
		 SPR_TEST_SOURCE_DIR, path);
	assert_int_equal(system(command), 0);
	spr_test_cleanup(dir);
}

/* Does the text hold anything about which cJSON is known to differ? Coarse: Python is exact. */
static bool
has_cjson_deviation(const char *at, size_t len)
{
	static regex_t number;
	static bool is_compiled;
	bool in_string = false;
	char token[64];
	size_t n, depth = 0;

	if (!is_compiled)
		assert_int_equal(regcomp(&number,
					 "^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?$",
					 REG_EXTENDED | REG_NOSUB),
				 0);
	is_compiled = true;
	for (size_t i = 0; i < len; i += n) {
		n = 1;
		if ((uint8_t)at[i] >= 0x80 ||
		    ((uint8_t)at[i] < 0x20 &&
		     (at[i] == '\0' || in_string || !strchr("\t\r\n", at[i]))))
			return (true);
		if (at[i] == '"') {
			in_string = !in_string;
		} else if (in_string && at[i] == '\\') {
			n = 2;
			if (i + 5 < len && at[i + 1] == 'u' &&
			    (strspn(at + i + 2, "0123456789abcdefABCDEF") < 4 ||
			     strchr("dD", at[i + 2]) || memcmp(at + i + 2, "0000", 4) == 0))
				return (true);
		} else if (!in_string && (at[i] == '[' || at[i] == '{')) {
			if (++depth > SPR_SCAN_DEPTH)
				return (true);
		} else if (!in_string && (at[i] == ']' || at[i] == '}')) {
			depth--;
		} else if (!in_string && at[i] != '\0' && strchr("-0123456789", at[i])) {
			n = strspn(at + i, "-+.0123456789eE");
			if (n >= sizeof(token))
				return (true);
			memcpy(token, at + i, n);
			token[n] = '\0';
			if (regexec(&number, token, 0, NULL, 0) != 0)
				return (true);
		}
	}
	return (false);
}

static const cJSON *
last_member(const cJSON *object, const char *name)
{
	const cJSON *item, *last = NULL;

	if (cJSON_IsObject(object))
		cJSON_ArrayForEach(item, object) if (strcmp(item->string, name) == 0) last = item;
	return (last);
}

static bool
is_truthy(const cJSON *item)
{
	if (item == NULL || cJSON_IsNull(item) || cJSON_IsFalse(item))
		return (false);
	if (cJSON_IsNumber(item))
		return (item->valuedouble != 0);
	if (cJSON_IsString(item))
		return (*item->valuestring != '\0');
	return (cJSON_IsTrue(item) || item->child != NULL);
}

static void
assert_same_string(spr_range range, const cJSON *item)
{
	uint8_t decoded[SPR_MADE_MAX];
	bool has_lone_surrogate;
	size_t len = spr_scan_decode(range, decoded, sizeof(decoded), &has_lone_surrogate);

	assert_int_equal(len, strlen(item->valuestring));
	assert_memory_equal(decoded, item->valuestring, len);
}

static void
assert_same_value(spr_range range, const cJSON *item)
{
	cJSON *value = cJSON_ParseWithLength((const char *)range.at, range.len);
	char *ours = cJSON_PrintUnformatted(value), *theirs = cJSON_PrintUnformatted(item);

	assert_string_equal(ours, theirs);
	free(ours);
	free(theirs);
	cJSON_Delete(value);
}

static void
assert_same_meaning(const spr_document *d, const cJSON *envelope)
{
	const cJSON *id = last_member(envelope, "id"), *from = last_member(envelope, "from");
	const cJSON *body = last_member(envelope, "body");
	const cJSON *message = last_member(body, "message"),
		    *predicate = last_member(body, "predicate");

	if (!cJSON_IsString(id) || *id->valuestring == '\0' ||
	    strlen(id->valuestring) > SPREADER_ID_MAX || (from != NULL && !cJSON_IsString(from))) {
		assert_int_equal(d->reason, SPREADER_REASON_NO_ID);
		return;
	}
	assert_same_string(d->id, id);
	assert_int_equal(d->has_from, from != NULL);
	if (from != NULL)
		assert_same_string(d->from, from);
	if (!is_truthy(predicate))
		predicate = last_member(message, "predicate");
	if (!cJSON_IsObject(body) || !cJSON_IsString(predicate) || !is_truthy(predicate)) {
		assert_int_equal(d->reason, SPREADER_REASON_NO_PREDICATE);
		return;
	}
	assert_int_equal(d->reason, SPREADER_REASON_NONE);
	assert_same_string(d->predicate, predicate);
	assert_same_value(d->body, body);
	assert_int_equal(d->payload_is_message, is_truthy(message));
	assert_same_value(d->payload, is_truthy(message) ? message : body);
}

/* Returns whether the two could be compared. */
static bool
compare_with_cjson(const spr_made_text *t)
{
	const uint8_t *message = memcpy(guard - t->len, t->at, t->len);
	const char *end = NULL;
	spr_document d;
	cJSON *tree;
	bool is_compared;

	if (scan(message, SPR_FORMAT_ENVELOPE, &d) == 0)
		return (false);
	tree = cJSON_ParseWithLengthOpts((const char *)message, t->len, &end, false);
	if (tree == NULL) {
		/* not up to where it stopped: a lone surrogate may be told by what comes behind */
		is_compared = !has_cjson_deviation(t->at, t->len);
		assert_false(is_compared && d.reason != SPREADER_REASON_NOT_JSON);
	} else {
		is_compared = !has_cjson_deviation(t->at, (size_t)(end - (const char *)message));
		if (is_compared) {
			assert_int_not_equal(d.reason, SPREADER_REASON_NOT_JSON);
			assert_ptr_equal(d.whole.at + d.whole.len, end);
			assert_same_meaning(&d, tree);
		}
	}
	cJSON_Delete(tree);
	return (is_compared);
}

static void
test_cjson_agrees(void **state)
{
	static spr_made_text t;
	int n_compared = 0;

	(void)state;
	t.random = spr_test_seed() + 1;
	for (int i = 0; i < N_MESSAGES; i++) {
		spr_made_message(&t, SPR_FORMAT_ENVELOPE);
		n_compared += compare_with_cjson(&t);
	}
	print_message("%d of %d compared\n", n_compared, N_MESSAGES);
	assert_true(n_compared > N_MESSAGES / 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_python_agrees),
	    cmocka_unit_test(test_cjson_agrees),
	};

	guard = spr_guard_end(SPR_MADE_MAX);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
