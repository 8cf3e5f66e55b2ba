/*
 * config: every type, source and message on a small table of its own; no option of the daemon
 * appears here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/json.h"
#include "base/mem.h"

/* clang-format off */
#define ROWS(X) \
	X(BOOL,     switched, "switch",    "false", "",               PLAIN,       "h") \
	X(COUNT,    count,    "count",     "3",     "1..64",          RELOAD,      "h") \
	X(POWER,    power,    "two-power", "8",     "4..4096",        PLAIN,       "h") \
	X(SIZE,     size,     "size",      "1KiB",  "256..1MiB",      PLAIN,       "h") \
	X(DURATION, ns,       "duration",  "5s",    "10ms..1d",       PLAIN,       "h") \
	X(CHOICE,   choice,   "choice",    "red",   "red green blue", PLAIN,       "h") \
	X(TEXT,     path,     "path",      "none",  "FILE",               PLAIN,       "h") \
	X(TEXT,     name,     "name",      "bob",   "",               PLAIN,       "h") \
	X(LIST,     list,     "list",      "a:1",   "URL",               PLAIN,       "h") \
	X(COUNT,    derived,  "derived",   NULL,    "1..9",           PLAIN,       "h") \
	X(COUNT,    later,    "later",     "5",     "0..9",           LATER,       "h") \
	X(LIST,     lists,    "lists",     "none",  "",               LATER,       "h") \
	X(TEXT,     file,     "file",      "none",  "",               NOT_IN_FILE, "h")
/* clang-format on */

typedef struct sample {
#define X(type, field, name, standard, range, flag, help) spr_config_field_##type field;
	ROWS(X)
#undef X
	spr_config_origin origins[16];
} sample;

enum {
#define X(type, field, name, standard, range, flag, help) ROW_##field,
	ROWS(X)
#undef X
	    N_ROWS
};

static const spr_config_row rows[] = {
#define X(type, field, name, standard, range, flag, help)                                      \
	{name, SPR_CONFIG_##type, SPR_CONFIG_##flag, standard, range, offsetof(sample, field), \
	 help},
    ROWS(X)
#undef X
};

static const char *const actions[] = {"help", "run-away", NULL};

static bool
is_foreign(const char *variable)
{
	return (strncmp(variable, "T_ALIEN=", 8) == 0);
}

static spr_config
config_of(sample *values)
{
	return ((spr_config){.rows = rows,
			     .n_rows = N_ROWS,
			     .prefix = "T_",
			     .actions = actions,
			     .is_foreign = is_foreign,
			     .values = values,
			     .origins = values->origins,
			     .path = "x.json"});
}

static spr_err
read_flags(spr_config *config, const char *a, const char *b, const char *c)
{
	char *argv[] = {strdup("program"), a != NULL ? strdup(a) : NULL,
			b != NULL ? strdup(b) : NULL, c != NULL ? strdup(c) : NULL, NULL};
	int action = -1;
	int argc = 1 + (a != NULL) + (b != NULL) + (c != NULL);
	spr_err rv = spr_config_read_arguments(config, argc, argv, &action);

	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return (rv);
}

static spr_err
read_variable(spr_config *config, const char *variable)
{
	char *envp[] = {strdup(variable), NULL};
	spr_err rv = spr_config_read_environment(config, envp);

	free(envp[0]);
	return (rv);
}

static spr_err
read_text(spr_config *config, const char *text)
{
	return (spr_config_read_text(config, text, strlen(text)));
}

/* What one row prints; valid until the next call. */
static const char *
printed(const spr_config *config, unsigned row)
{
	static char text[256];
	FILE *out = fmemopen(text, sizeof(text), "w");

	assert_non_null(out);
	spr_config_print_value(config, row, out);
	fclose(out);
	return (text);
}

static void
test_defaults(void **state)
{
	static const char *const expected[N_ROWS] = {
	    "false", "3", "8", "1KiB", "5s", "red", "none", "bob", "a:1", "7", "5", "none", "none"};
	sample values = {0};
	spr_config config = config_of(&values);

	(void)state;
	assert_int_equal(spr_config_set(&config, ROW_derived, "7", SPR_CONFIG_DERIVED), SPR_OK);
	assert_int_equal(spr_config_fill_defaults(&config), SPR_OK);
	for (unsigned i = 0; i < N_ROWS; i++) {
		assert_string_equal(printed(&config, i), expected[i]);
		assert_int_equal(values.origins[i],
				 i == ROW_derived ? SPR_CONFIG_DERIVED : SPR_CONFIG_DEFAULT);
	}
	assert_null(values.path);
	assert_int_equal(values.ns, 5000000000);
	spr_config_free_values(&config);
	assert_null(values.name);
	assert_int_equal(values.list.n, 0);
	spr_config_free_values(&config); /* fine on empty ones */
}

static void
test_good_values(void **state)
{
	static const struct {
		const char *flag;
		unsigned row;
		const char *printed;
	} good[] = {
	    {"--switch", ROW_switched, "true"},
	    {"--switch=true", ROW_switched, "true"},
	    {"--switch=false", ROW_switched, "false"},
	    {"--no-switch", ROW_switched, "false"},
	    {"--count=1", ROW_count, "1"},
	    {"--count=64", ROW_count, "64"},
	    {"--two-power=4", ROW_power, "4"},
	    {"--two-power=4096", ROW_power, "4096"},
	    {"--size=256", ROW_size, "256"},
	    {"--size=1024KiB", ROW_size, "1MiB"},
	    {"--duration=10ms", ROW_ns, "10ms"},
	    {"--duration=24h", ROW_ns, "1d"},
	    {"--choice=blue", ROW_choice, "blue"},
	    {"--path=none", ROW_path, "none"},
	    {"--path=a=b", ROW_path, "a=b"},
	    {"--name=none", ROW_name, "none"}, /* a name, as its default is not none */
	    {"--list=x", ROW_list, "x"},
	    {"--list=none", ROW_list, "none"},
	    {"--later=5", ROW_later, "5"},
	    {"--lists=none", ROW_lists, "none"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		sample values = {0};
		spr_config config = config_of(&values);

		assert_int_equal(read_flags(&config, good[i].flag, NULL, NULL), SPR_OK);
		assert_int_equal(values.origins[good[i].row], SPR_CONFIG_FLAG);
		assert_string_equal(printed(&config, good[i].row), good[i].printed);
		assert_int_equal(spr_config_fill_defaults(&config), SPR_OK);
		assert_string_equal(printed(&config, good[i].row), good[i].printed);
		spr_config_free_values(&config);
	}
}

static void
test_bad_flags(void **state)
{
	static const struct {
		const char *a, *b;
		spr_err code;
		const char *error;
	} bad[] = {
	    {"--switch=yes", NULL, SPR_E_USAGE, "--switch: yes is not true or false"},
	    {"--count=0", NULL, SPR_E_USAGE, "--count: 0 is not a whole number from 1 to 64"},
	    {"--count=65", NULL, SPR_E_USAGE, "--count: 65 is not a whole number from 1 to 64"},
	    {"--count", "-1", SPR_E_USAGE, "--count: -1 is not a whole number from 1 to 64"},
	    {"--count=4294967297", NULL, SPR_E_USAGE,
	     "--count: 4294967297 is not a whole number from 1 to 64"},
	    {"--two-power=1000", NULL, SPR_E_USAGE,
	     "--two-power: 1000 is not a power of two from 4 to 4096"},
	    {"--two-power=2", NULL, SPR_E_USAGE,
	     "--two-power: 2 is not a power of two from 4 to 4096"},
	    {"--two-power=8192", NULL, SPR_E_USAGE,
	     "--two-power: 8192 is not a power of two from 4 to 4096"},
	    {"--size=1MB", NULL, SPR_E_USAGE, "--size: 1MB is not a size from 256 to 1MiB"},
	    {"--size=2MiB", NULL, SPR_E_USAGE, "--size: 2MiB is not a size from 256 to 1MiB"},
	    {"--duration=5", NULL, SPR_E_USAGE, "--duration: 5 is not a duration from 10ms to 1d"},
	    {"--duration=0", NULL, SPR_E_USAGE, "--duration: 0 is not a duration from 10ms to 1d"},
	    {"--choice=re", NULL, SPR_E_USAGE, "--choice: re is not one of: red green blue"},
	    {"--choice=red green", NULL, SPR_E_USAGE,
	     "--choice: red green is not one of: red green blue"},
	    {"--path=", NULL, SPR_E_USAGE, "--path: the value is empty"},
	    {"--path", NULL, SPR_E_USAGE, "--path: a value is missing"},
	    {"--path", "--switch", SPR_E_USAGE, "--path: a value is missing"},
	    {"--list=none", "--list=x", SPR_E_USAGE,
	     "--list: none cannot stand beside another value"},
	    {"--list=x", "--list=none", SPR_E_USAGE,
	     "--list: none cannot stand beside another value"},
	    {"--later=6", NULL, SPR_E_CONFIG, "--later: 6 is not in this version; only 5 is"},
	    {"--later=66", NULL, SPR_E_USAGE, "--later: 66 is not a whole number from 0 to 9"},
	    {"--lists=x", NULL, SPR_E_CONFIG, "--lists: x is not in this version; only none is"},
	    {"--no-switch=true", NULL, SPR_E_USAGE, "--no-switch: no such flag; --help lists them"},
	    {"--no-count", NULL, SPR_E_USAGE, "--no-count: no such flag; --help lists them"},
	    {"--two_power=8", NULL, SPR_E_USAGE, "--two_power: no such flag; --help lists them"},
	    {"--coun=8", NULL, SPR_E_USAGE, "--coun: no such flag; --help lists them"},
	    {"--help=x", NULL, SPR_E_USAGE, "--help: no such flag; --help lists them"},
	    {"--", NULL, SPR_E_USAGE, "--: no such flag; --help lists them"},
	    {"--switch", "true", SPR_E_USAGE, "true: unexpected argument; flags start with --"},
	    {"-h", NULL, SPR_E_USAGE, "-h: unexpected argument; flags start with --"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		sample values = {0};
		spr_config config = config_of(&values);

		assert_int_equal(read_flags(&config, bad[i].a, bad[i].b, NULL), bad[i].code);
		assert_string_equal(spr_error_text(bad[i].code), bad[i].error);
		spr_config_free_values(&config);
	}
}

static void
test_long_value_is_cut_in_messages(void **state)
{
	sample values = {0};
	spr_config config = config_of(&values);
	char flag[2000] = "--choice=";

	(void)state;
	memset(flag + 9, 'x', sizeof(flag) - 10);
	assert_int_equal(read_flags(&config, flag, NULL, NULL), SPR_E_USAGE);
	assert_non_null(strstr(spr_error_text(SPR_E_USAGE), "xxx is not one of: red green blue"));
	assert_true(strlen(spr_error_text(SPR_E_USAGE)) < 300);
}

static void
test_words(void **state)
{
	sample values = {0};
	spr_config config = config_of(&values);
	char program[] = "p", one[] = "one", flag[] = "--count", five[] = "5", dash[] = "-",
	     three[] = "three";
	char *argv[] = {program, one, flag, five, dash, three, NULL};
	char *words[2] = {NULL};
	int action = -1;

	(void)state;
	config.words = words;
	config.max_words = 2;
	assert_int_equal(spr_config_read_arguments(&config, 5, argv, &action), SPR_OK);
	assert_int_equal(config.n_words, 2);
	assert_ptr_equal(words[0], one);
	assert_ptr_equal(words[1], dash);
	assert_int_equal(values.count, 5);
	config.n_words = 0;
	assert_int_equal(spr_config_read_arguments(&config, 6, argv, &action), SPR_E_USAGE);
	assert_string_equal(spr_error_text(SPR_E_USAGE), "three: one argument too many");
}

static void
test_actions(void **state)
{
	sample values = {0};
	spr_config config = config_of(&values);
	char program[] = "p", help[] = "--help", away[] = "--run-away";
	char *argv[] = {program, help, away, NULL};
	int action = -1;

	(void)state;
	assert_int_equal(spr_config_read_arguments(&config, 1, argv, &action), SPR_OK);
	assert_int_equal(action, -1);
	assert_int_equal(spr_config_read_arguments(&config, 2, argv, &action), SPR_OK);
	assert_int_equal(action, 0);
	assert_int_equal(spr_config_read_arguments(&config, 3, argv, &action), SPR_OK);
	assert_int_equal(action, 1);
}

/* Each source wins over the lower ones, in whatever order they are read. */
static void
test_precedence(void **state)
{
	static const char *const expected[] = {"3", "10", "20",
					       "30"}; /* default, file, environment, flag */
	static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
					{1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

	(void)state;
	for (unsigned sources = 0; sources < 8; sources++) {
		for (unsigned k = 0; k < 6; k++) {
			sample values = {0};
			spr_config config = config_of(&values);
			unsigned top = (sources & 4) != 0   ? 3
				       : (sources & 2) != 0 ? 2
							    : sources & 1;

			for (unsigned j = 0; j < 3; j++) {
				int source = orders[k][j];

				if ((sources & (1u << source)) == 0)
					continue;
				if (source == 0)
					assert_int_equal(read_text(&config, "{\"count\":10}"),
							 SPR_OK);
				else if (source == 1)
					assert_int_equal(read_variable(&config, "T_COUNT=20"),
							 SPR_OK);
				else
					assert_int_equal(read_flags(&config, "--count", "30", NULL),
							 SPR_OK);
			}
			assert_int_equal(spr_config_fill_defaults(&config), SPR_OK);
			assert_string_equal(printed(&config, ROW_count), expected[top]);
			spr_config_free_values(&config);
		}
	}
}

static void
test_last_flag_wins(void **state)
{
	sample values = {0};
	spr_config config = config_of(&values);

	(void)state;
	assert_int_equal(read_flags(&config, "--name=a", "--name=b", "--no-switch"), SPR_OK);
	assert_string_equal(values.name, "b");
	spr_config_free_values(&config);
}

/* A value that is overruled is checked all the same: a bad file does not wait for the flag to go.
 */
static void
test_overruled_values_are_checked(void **state)
{
	sample values = {0};
	spr_config config = config_of(&values);

	(void)state;
	assert_int_equal(read_flags(&config, "--count=9", NULL, NULL), SPR_OK);
	assert_int_equal(read_text(&config, "{\"count\":0}"), SPR_E_CONFIG);
	assert_int_equal(values.count, 9);
}

static void
test_lists(void **state)
{
	sample values = {0};
	spr_config config = config_of(&values);

	(void)state;
	assert_int_equal(read_text(&config, "{\"list\":[\"f1\",\"f2\"]}"), SPR_OK);
	assert_string_equal(printed(&config, ROW_list), "f1, f2");
	assert_int_equal(read_variable(&config, "T_LIST=e1,e2,e3"), SPR_OK);
	assert_string_equal(printed(&config, ROW_list), "e1, e2, e3");
	assert_int_equal(read_flags(&config, "--list=a", "--list", "b,c"), SPR_OK);
	assert_string_equal(printed(&config, ROW_list),
			    "a, b,c"); /* a flag's comma is the value's own */
	assert_int_equal(values.list.n, 2);
	assert_int_equal(read_text(&config, "{\"list\":\"f3\"}"), SPR_OK);
	assert_int_equal(values.list.n, 2);
	spr_config_free_values(&config);
	assert_int_equal(read_variable(&config, "T_LIST=none"), SPR_OK);
	assert_int_equal(spr_config_fill_defaults(&config), SPR_OK);
	assert_int_equal(values.list.n, 0);
	spr_config_free_values(&config);
}

static void
test_environment(void **state)
{
	static const struct {
		const char *variable;
		spr_err code;
		const char *error;
	} cases[] = {
	    {"OTHER=1", SPR_OK, NULL},
	    {"T_NO_EQUALS_SIGN", SPR_OK, NULL},
	    {"T_ALIEN=1", SPR_OK, NULL},
	    {"T_SWITCH=true", SPR_OK, NULL},
	    {"T_TWO_POWER=16", SPR_OK, NULL},
	    {"T_SWITCH=1", SPR_E_CONFIG, "T_SWITCH: 1 is not true or false"},
	    {"T_TWO_POWER=15", SPR_E_CONFIG,
	     "T_TWO_POWER: 15 is not a power of two from 4 to 4096"},
	    {"T_TWO-POWER=16", SPR_E_CONFIG, "T_TWO-POWER: no such option; --help lists them"},
	    {"T_count=16", SPR_E_CONFIG, "T_count: no such option; --help lists them"},
	    {"T_COUN=16", SPR_E_CONFIG, "T_COUN: no such option; --help lists them"},
	    {"T_=16", SPR_E_CONFIG, "T_: no such option; --help lists them"},
	    {"T_COUNT=", SPR_E_CONFIG, "T_COUNT: the value is empty"},
	    {"T_LIST=a,,b", SPR_E_CONFIG, "T_LIST: the value is empty"},
	    {"T_LIST=a,none", SPR_E_CONFIG, "T_LIST: none cannot stand beside another value"},
	    {"T_LATER=6", SPR_E_CONFIG, "T_LATER: 6 is not in this version; only 5 is"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		sample values = {0};
		spr_config config = config_of(&values);

		assert_int_equal(read_variable(&config, cases[i].variable), cases[i].code);
		if (cases[i].error != NULL)
			assert_string_equal(spr_error_text(cases[i].code), cases[i].error);
		spr_config_free_values(&config);
	}
}

static void
test_file_values(void **state)
{
	sample values = {0};
	spr_config config = config_of(&values);

	(void)state;
	assert_int_equal(
	    read_text(
		&config,
		"{\"switch\":true,\"count\":6e1,\"two_power\":\"16\",\"size\":\"64KiB\","
		"\"duration\":\"1m\","
		"\"choice\":\"green\",\"path\":\"p\",\"name\":\"n\",\"list\":\"l\",\"derived\":9}"),
	    SPR_OK);
	assert_true(values.switched);
	assert_int_equal(values.count, 60);
	assert_int_equal(values.power, 16);
	assert_int_equal(values.size, 65536);
	assert_string_equal(printed(&config, ROW_ns), "1m");
	assert_int_equal(values.choice, 1);
	assert_string_equal(values.path, "p");
	assert_string_equal(values.name, "n");
	assert_int_equal(values.list.n, 1);
	assert_int_equal(values.derived, 9);
	spr_config_free_values(&config);
	assert_int_equal(read_text(&config, "{\"two-power\":32,\"size\":1000}"), SPR_OK);
	assert_int_equal(values.power, 32);
	assert_int_equal(values.size, 1000);
}

static void
test_bad_files(void **state)
{
	static const char *const bad[][2] = {
	    {"", "x.json: empty"},
	    {"{\n\"count\":}", "x.json: line 2, column 9: not JSON"},
	    {"{} x", "x.json: line 1, column 4: something follows the JSON document"},
	    {"[]", "x.json: the file is not a JSON object"},
	    {"5", "x.json: the file is not a JSON object"},
	    {"{\"cuont\":5}", "x.json: cuont: no such option for a file; --help lists them"},
	    {"{\"Count\":5}", "x.json: Count: no such option for a file; --help lists them"},
	    {"{\"\":5}", "x.json: : no such option for a file; --help lists them"},
	    {"{\"file\":\"y.json\"}", "x.json: file: no such option for a file; --help lists them"},
	    {"{\"count\":5,\"count\":6}", "x.json: count: given twice"},
	    {"{\"two-power\":8,\"two_power\":8}", "x.json: two-power: given twice"},
	    {"{\"count\":65}", "x.json: count: 65 is not a whole number from 1 to 64"},
	    {"{\"count\":2.5}", "x.json: count: 2.5 is not a whole number from 1 to 64"},
	    {"{\"count\":-1}", "x.json: count: -1 is not a whole number from 1 to 64"},
	    {"{\"count\":1e300}", "x.json: count: 1e+300 is not a whole number from 1 to 64"},
	    {"{\"count\":null}", "x.json: count: null is not a whole number from 1 to 64"},
	    {"{\"count\":[5]}", "x.json: count: a list is not a whole number from 1 to 64"},
	    {"{\"count\":{}}", "x.json: count: an object is not a whole number from 1 to 64"},
	    {"{\"count\":true}", "x.json: count: true is not a whole number from 1 to 64"},
	    {"{\"switch\":1}", "x.json: switch: 1 is not true or false"},
	    {"{\"duration\":5}", "x.json: duration: 5 is not a duration from 10ms to 1d"},
	    {"{\"path\":5}", "x.json: path: 5 is not a string"},
	    {"{\"path\":null}", "x.json: path: null is not a string"},
	    {"{\"list\":true}", "x.json: list: true is not a string"},
	    {"{\"list\":[\"a\",5]}", "x.json: list: 5 is not a string"},
	    {"{\"list\":[\"a\",[]]}", "x.json: list: a list is not a string"},
	    {"{\"list\":[]}", "x.json: list: the list is empty; write \"none\""},
	    {"{\"list\":[\"a\",\"none\"]}", "x.json: list: none cannot stand beside another value"},
	    {"{\"later\":4}", "x.json: later: 4 is not in this version; only 5 is"},
	    {"{\"path\":\"a\\u0000b\"}",
	     "x.json: line 1, column 11: a NUL character is not allowed"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		sample values = {0};
		spr_config config = config_of(&values);

		assert_int_equal(read_text(&config, bad[i][0]), SPR_E_CONFIG);
		assert_string_equal(spr_error_text(SPR_E_CONFIG), bad[i][1]);
		spr_config_free_values(&config);
	}
}

static void
write_file(const char *path, const char *text, size_t n_blanks)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	for (size_t i = 0; i < n_blanks; i++)
		fputc(' ', file);
	assert_int_equal(fclose(file), 0);
}

static void
test_file_system(void **state)
{
	char folder[] = "/tmp/spr-config-XXXXXX";
	char path[64], expected[256];
	sample values = {0};
	spr_config config = config_of(&values);

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/c.json", folder);
	snprintf(expected, sizeof(expected), "%s: cannot read: No such file or directory", path);
	assert_int_equal(spr_config_read_file(&config, path), SPR_E_CONFIG);
	assert_string_equal(spr_error_text(SPR_E_CONFIG), expected);
	snprintf(expected, sizeof(expected), "%s: cannot read: Is a directory", folder);
	assert_int_equal(spr_config_read_file(&config, folder), SPR_E_CONFIG);
	assert_string_equal(spr_error_text(SPR_E_CONFIG), expected);
	write_file(path, "{\"count\":0}", 0);
	snprintf(expected, sizeof(expected), "%s: count: 0 is not a whole number from 1 to 64",
		 path);
	assert_int_equal(spr_config_read_file(&config, path), SPR_E_CONFIG);
	assert_string_equal(spr_error_text(SPR_E_CONFIG), expected);
	write_file(path, "{\"count\":9}", SPR_CONFIG_FILE_MAX - 11);
	assert_int_equal(spr_config_read_file(&config, path), SPR_OK);
	assert_int_equal(values.count, 9);
	write_file(path, "{\"count\":9}", SPR_CONFIG_FILE_MAX - 10);
	snprintf(expected, sizeof(expected), "%s: larger than 1048576 bytes", path);
	assert_int_equal(spr_config_read_file(&config, path), SPR_E_CONFIG);
	assert_string_equal(spr_error_text(SPR_E_CONFIG), expected);
	unlink(path);
	rmdir(folder);
}

static void
test_equal_and_swap(void **state)
{
	sample a = {0}, b = {0};
	spr_config x = config_of(&a), y = config_of(&b);

	(void)state;
	assert_int_equal(spr_config_fill_defaults(&x), SPR_OK);
	assert_int_equal(spr_config_fill_defaults(&y), SPR_OK);
	for (unsigned i = 0; i < N_ROWS; i++)
		assert_true(spr_config_is_equal(&x, &y, i));
	assert_int_equal(read_flags(&y, "--path=p", "--list=a:2", "--count=5"), SPR_OK);
	assert_int_equal(read_flags(&y, "--name=eve", "--switch", "--duration=6s"), SPR_OK);
	for (unsigned i = 0; i < N_ROWS; i++)
		assert_int_equal(spr_config_is_equal(&x, &y, i),
				 i != ROW_path && i != ROW_list && i != ROW_count &&
				     i != ROW_name && i != ROW_switched && i != ROW_ns);
	for (unsigned i = 0; i < N_ROWS; i++)
		spr_config_swap(&x, &y, i);
	assert_string_equal(a.path, "p");
	assert_string_equal(a.name, "eve");
	assert_string_equal(a.list.item[0], "a:2");
	assert_int_equal(a.count, 5);
	assert_int_equal(a.origins[ROW_count], SPR_CONFIG_FLAG);
	assert_int_equal(b.count, 3);
	assert_int_equal(b.origins[ROW_count], SPR_CONFIG_DEFAULT);
	assert_null(b.path);
	assert_int_equal(read_flags(&y, "--list=a:2", "--list=a:3", NULL), SPR_OK);
	assert_false(spr_config_is_equal(&x, &y, ROW_list)); /* one is the start of the other */
	spr_config_free_values(&x);
	spr_config_free_values(&y);
}

static void
test_help(void **state)
{
	static const char *const wanted[] = {
	    "  --switch  [off]\n        h\n",
	    "  --count N  [3; 1..64] (reloaded on HUP)\n        h\n",
	    "  --two-power N  [8; 4..4096]\n",
	    "  --size SIZE  [1KiB; 256..1MiB]\n",
	    "  --duration TIME  [5s; 10ms..1d]\n",
	    "  --choice WORD  [red; red green blue]\n",
	    "  --path FILE  [none]\n",
	    "  --list URL  [a:1]\n",
	    "  --derived N  [derived; 1..9]\n",
	    "  --later N  [5; 0..9] (not in this version)\n",
	};
	char text[4096];
	sample values = {0};
	spr_config config = config_of(&values);
	FILE *out = fmemopen(text, sizeof(text), "w");

	(void)state;
	spr_config_print_help(&config, out);
	fclose(out);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		assert_non_null(strstr(text, wanted[i]));
	out = fmemopen(text, sizeof(text), "w");
	spr_config_print_markdown(&config, out);
	fclose(out);
	assert_non_null(strstr(text, "| `--count N` | 3 | 1..64 | h (reloaded on HUP) |\n"));
	assert_non_null(strstr(text, "| `--switch` | off |  | h |\n"));
}

/* Every allocation of a full read fails in turn: an error each time, nothing leaked, and the next
 * read works. */
static void
test_no_memory(void **state)
{
	cJSON_Hooks hooks = {spr_mem_alloc, spr_mem_free};
	spr_err rv = SPR_E_NOMEM;

	(void)state;
	cJSON_InitHooks(&hooks);
	for (unsigned long n = 1; rv != SPR_OK; n++) {
		sample values = {0};
		spr_config config = config_of(&values);

		assert_true(n < 200);
		spr_mem_fail_at(n);
		if ((rv = read_text(&config,
				    "{\"list\":[\"a\",\"b\"],\"name\":\"x\",\"count\":5}")) ==
			SPR_OK &&
		    (rv = read_variable(&config, "T_LIST=a,b")) == SPR_OK)
			rv = spr_config_fill_defaults(&config);
		spr_mem_fail_at(0);
		if (rv != SPR_OK) /* cJSON does not tell the two apart */
			assert_true(rv == SPR_E_NOMEM ||
				    (rv == SPR_E_CONFIG && strstr(spr_error_text(rv), "not JSON")));
		spr_config_free_values(&config);
	}
	cJSON_InitHooks(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_good_values),
	    cmocka_unit_test(test_bad_flags),
	    cmocka_unit_test(test_long_value_is_cut_in_messages),
	    cmocka_unit_test(test_words),
	    cmocka_unit_test(test_actions),
	    cmocka_unit_test(test_precedence),
	    cmocka_unit_test(test_last_flag_wins),
	    cmocka_unit_test(test_overruled_values_are_checked),
	    cmocka_unit_test(test_lists),
	    cmocka_unit_test(test_environment),
	    cmocka_unit_test(test_file_values),
	    cmocka_unit_test(test_bad_files),
	    cmocka_unit_test(test_file_system),
	    cmocka_unit_test(test_equal_and_swap),
	    cmocka_unit_test(test_help),
	    cmocka_unit_test(test_no_memory),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
