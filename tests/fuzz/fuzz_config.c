/*
 * fuzz_config - any bytes as a config file, and the same lines as flags and as environment: no
 * crash, no leak, and what was accepted prints and is accepted again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct sample {
	bool on;
	unsigned count, power, choice;
	uint64_t size, ns;
	char *text;
	spr_config_list list;
	spr_config_origin origins[8];
} sample;

enum { N_ROWS = 8, N_LINES = 64 };

static const spr_config_row rows[N_ROWS] = {
    {"on", SPR_CONFIG_BOOL, SPR_CONFIG_PLAIN, "false", "", offsetof(sample, on), "h"},
    {"count", SPR_CONFIG_COUNT, SPR_CONFIG_LATER, "5", "1..64", offsetof(sample, count), "h"},
    {"a-power", SPR_CONFIG_POWER, SPR_CONFIG_PLAIN, "8", "4..4096", offsetof(sample, power), "h"},
    {"choice", SPR_CONFIG_CHOICE, SPR_CONFIG_PLAIN, "b", "a b c", offsetof(sample, choice), "h"},
    {"size", SPR_CONFIG_SIZE, SPR_CONFIG_PLAIN, "1KiB", "0..16777215TiB", offsetof(sample, size),
     "h"},
    {"ns", SPR_CONFIG_DURATION, SPR_CONFIG_PLAIN, "0", "0..213503d", offsetof(sample, ns), "h"},
    {"text", SPR_CONFIG_TEXT, SPR_CONFIG_NOT_IN_FILE, "none", "", offsetof(sample, text), "h"},
    {"list", SPR_CONFIG_LIST, SPR_CONFIG_PLAIN, "x", "", offsetof(sample, list), "h"},
};

static spr_config
config_of(sample *values)
{
	static const char *const actions[] = {"help", NULL};

	return ((spr_config){.rows = rows,
			     .n_rows = N_ROWS,
			     .prefix = "P_",
			     .actions = actions,
			     .is_foreign = NULL,
			     .values = values,
			     .origins = values->origins,
			     .path = "f"});
}

static void
check_printed(const spr_config *config)
{
	for (unsigned i = 0; i < N_ROWS; i++) {
		sample again = {0};
		spr_config other = config_of(&again);
		char *text = NULL;
		size_t len = 0;
		FILE *out = open_memstream(&text, &len);

		spr_config_print_value(config, i, out);
		fclose(out);
		if (i < 6 && (spr_config_set(&other, i, text, SPR_CONFIG_FLAG) != SPR_OK ||
			      !spr_config_is_equal(config, &other, i)))
			abort();
		free(text);
		spr_config_free_values(&other);
	}
}

static void
finish(spr_config *config, spr_err rv)
{
	if (rv == SPR_OK && spr_config_fill_defaults(config) == SPR_OK)
		check_printed(config);
	spr_config_free_values(config);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	sample values = {0};
	spr_config config = config_of(&values);
	char *lines[N_LINES + 2] = {NULL};
	char *copy = strndup((const char *)data, size);
	char *rest = copy;
	int n = 0, action = 0;

	finish(&config, spr_config_read_text(&config, (const char *)data, size));
	lines[n++] = copy; /* in the place of the program's name */
	while (rest != NULL && n <= N_LINES)
		lines[n++] = strsep(&rest, "\n");
	finish(&config, spr_config_read_arguments(&config, n, lines, &action));
	finish(&config, spr_config_read_environment(&config, lines));
	free(copy);
	return (0);
}
