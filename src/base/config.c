/*
 * config - puts values into a struct by a table of rows, so that an option is declared once and no
 * source, type or message has code of its own for it. The sources are in config_read.c, what is
 * printed about rows in config_print.c.
 */
#include "base/config.h"

#include <string.h>

#include "base/mem.h"
#include "base/units.h"

static void *
field_of(const spr_config *config, unsigned row)
{
	return ((char *)config->values + config->rows[row].offset);
}

static bool
is_number(spr_config_type type)
{
	return (type != SPR_CONFIG_TEXT && type != SPR_CONFIG_LIST);
}

/* --- one value
 * -------------------------------------------------------------------------------------------------
 */

static bool
parse_choice(const char *words, const char *text, uint64_t *index)
{
	size_t len = strlen(text);

	for (uint64_t i = 0; *words != '\0'; i++) {
		size_t n = strcspn(words, " ");

		if (n == len && memcmp(words, text, n) == 0) {
			*index = i;
			return (true);
		}
		words += n;
		words += strspn(words, " ");
	}
	return (false);
}

static bool
parse_unit(spr_config_type type, const char *text, uint64_t *number)
{
	switch (type) {
	case SPR_CONFIG_SIZE:
		return (spr_units_parse_size(text, number));
	case SPR_CONFIG_DURATION:
		return (spr_units_parse_duration(text, number));
	default:
		return (spr_units_parse_count(text, number));
	}
}

/* Splits "low..high" and holds number against it. A table that is wrong refuses everything; the
 * tests walk it. */
static bool
is_in_range(const spr_config_row *row, uint64_t number)
{
	const char *dots = strstr(row->range, "..");
	char low_text[SPR_UNITS_TEXT_MAX] = "";
	uint64_t low = 0, high = 0;

	if (dots == NULL || (size_t)(dots - row->range) >= sizeof(low_text))
		return (false);
	memcpy(low_text, row->range, (size_t)(dots - row->range));
	return (parse_unit(row->type, low_text, &low) && parse_unit(row->type, dots + 2, &high) &&
		number >= low && number <= high);
}

static bool
parse_number(const spr_config_row *row, const char *text, uint64_t *number)
{
	switch (row->type) {
	case SPR_CONFIG_BOOL:
		return (parse_choice("false true", text, number));
	case SPR_CONFIG_CHOICE:
		return (parse_choice(row->range, text, number));
	case SPR_CONFIG_POWER:
		return (parse_unit(row->type, text, number) && is_in_range(row, *number) &&
			(*number & (*number - 1)) == 0);
	default:
		return (parse_unit(row->type, text, number) && is_in_range(row, *number));
	}
}

static void
store_number(const spr_config_row *row, void *field, uint64_t number)
{
	switch (row->type) {
	case SPR_CONFIG_BOOL:
		*(spr_config_field_BOOL *)field = number != 0;
		break;
	case SPR_CONFIG_SIZE:
	case SPR_CONFIG_DURATION:
		*(uint64_t *)field = number;
		break;
	default: /* ranges of COUNT and POWER stay below 2^32 */
		*(unsigned *)field = (unsigned)number;
		break;
	}
}

static void
free_list(spr_config_list *list)
{
	for (unsigned i = 0; i < list->n; i++)
		spr_mem_free(list->item[i]);
	spr_mem_free(list->item);
	*list = (spr_config_list){0};
}

static spr_err
append(spr_config_list *list, const char *text)
{
	char **grown = spr_mem_realloc(list->item, (list->n + 1) * sizeof(*grown));

	if (grown == NULL)
		return (spr_fail(SPR_E_NOMEM, "out of memory"));
	list->item = grown;
	if ((list->item[list->n] = spr_mem_strdup(text)) == NULL)
		return (spr_fail(SPR_E_NOMEM, "out of memory"));
	list->n++;
	return (SPR_OK);
}

static spr_err
store_text(const spr_config_row *row, char **field, const char *text)
{
	char *copy = NULL;

	if (strcmp(text, "none") != 0 || strcmp(row->standard, "none") != 0) {
		if ((copy = spr_mem_strdup(text)) == NULL)
			return (spr_fail(SPR_E_NOMEM, "out of memory"));
	}
	spr_mem_free(*field);
	*field = copy;
	return (SPR_OK);
}

/* --- messages
 * --------------------------------------------------------------------------------------------------
 */

void
spr_config_label(const spr_config *config, unsigned row, spr_config_origin origin,
		 char out[SPR_CONFIG_LABEL_MAX])
{
	const char *name = config->rows[row].name;
	int n = 0;

	switch (origin) {
	case SPR_CONFIG_ENVIRONMENT:
		n = snprintf(out, SPR_CONFIG_LABEL_MAX, "%s", config->prefix);
		for (; *name != '\0' && n < SPR_CONFIG_LABEL_MAX - 1; name++)
			out[n++] =
			    *name == '-'
				? '_'
				: (char)(*name - (*name >= 'a' && *name <= 'z') * ('a' - 'A'));
		out[n] = '\0';
		break;
	case SPR_CONFIG_FILE:
		snprintf(out, SPR_CONFIG_LABEL_MAX, "%s: %s", config->path, name);
		break;
	default:
		snprintf(out, SPR_CONFIG_LABEL_MAX, "--%s", name);
		break;
	}
}

static spr_err
code_of(spr_config_origin origin)
{
	return (origin == SPR_CONFIG_FLAG ? SPR_E_USAGE : SPR_E_CONFIG);
}

spr_err
spr_config_refuse(const spr_config *config, unsigned row, spr_config_origin origin,
		  const char *format, ...)
{
	char label[SPR_CONFIG_LABEL_MAX];
	char why[SPR_CONFIG_LABEL_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	spr_config_label(config, row, origin, label);
	return (spr_fail(code_of(origin), "%s: %s", label, why));
}

static spr_err
refuse_number(const spr_config *config, unsigned row, const char *text, spr_config_origin origin)
{
	static const char *const kinds[] = {
	    [SPR_CONFIG_COUNT] = "a whole number",
	    [SPR_CONFIG_POWER] = "a power of two",
	    [SPR_CONFIG_SIZE] = "a size",
	    [SPR_CONFIG_DURATION] = "a duration",
	};
	const spr_config_row *r = &config->rows[row];
	const char *dots = strstr(r->range, "..");

	switch (r->type) {
	case SPR_CONFIG_BOOL:
		return (spr_config_refuse(config, row, origin, "%.*s is not true or false",
					  SPR_CONFIG_VALUE_SHOWN, text));
	case SPR_CONFIG_CHOICE:
		return (spr_config_refuse(config, row, origin, "%.*s is not one of: %s",
					  SPR_CONFIG_VALUE_SHOWN, text, r->range));
	default:
		return (spr_config_refuse(config, row, origin, "%.*s is not %s from %.*s to %s",
					  SPR_CONFIG_VALUE_SHOWN, text, kinds[r->type],
					  (int)(dots - r->range), r->range, dots + 2));
	}
}

/* --- set
 * -------------------------------------------------------------------------------------------------------
 */

/* A row that is not built takes its default and nothing else. */
static bool
is_built(const spr_config_row *row, const char *text, uint64_t number)
{
	uint64_t standard = 0;

	if ((row->flags & SPR_CONFIG_LATER) == 0)
		return (true);
	if (is_number(row->type))
		return (parse_number(row, row->standard, &standard) && number == standard);
	return (strcmp(text, row->standard) == 0);
}

static spr_err
set_list(spr_config *config, unsigned row, const char *text, spr_config_origin origin)
{
	spr_config_list *list = field_of(config, row);
	bool is_none = strcmp(text, "none") == 0;

	if (origin > config->origins[row])
		free_list(list);
	else if (is_none || list->n == 0)
		return (spr_config_refuse(config, row, origin,
					  "none cannot stand beside another value"));
	return (is_none ? SPR_OK : append(list, text));
}

spr_err
spr_config_set(spr_config *config, unsigned row, const char *text, spr_config_origin origin)
{
	const spr_config_row *r = &config->rows[row];
	uint64_t number = 0;
	spr_err rv = SPR_OK;

	if (text[0] == '\0')
		return (spr_config_refuse(config, row, origin, "the value is empty"));
	if (is_number(r->type) && !parse_number(r, text, &number))
		return (refuse_number(config, row, text, origin));
	if (!is_built(r, text, number)) {
		/* on the command line too: the flag is right, the configuration is for another
		 * version */
		rv = spr_config_refuse(config, row, origin,
				       "%.*s is not in this version; only %s is",
				       SPR_CONFIG_VALUE_SHOWN, text, r->standard);
		return (spr_fail(SPR_E_CONFIG, "%s", spr_error_text(rv)));
	}
	if (origin < config->origins[row])
		return (SPR_OK);
	if (is_number(r->type))
		store_number(r, field_of(config, row), number);
	else if (r->type == SPR_CONFIG_LIST)
		rv = set_list(config, row, text, origin);
	else
		rv = store_text(r, field_of(config, row), text);
	if (rv == SPR_OK)
		config->origins[row] = origin;
	return (rv);
}

spr_err
spr_config_fill_defaults(spr_config *config)
{
	spr_err rv = SPR_OK;

	for (unsigned i = 0; i < config->n_rows && rv == SPR_OK; i++) {
		if (config->origins[i] == SPR_CONFIG_UNSET && config->rows[i].standard != NULL)
			rv =
			    spr_config_set(config, i, config->rows[i].standard, SPR_CONFIG_DEFAULT);
	}
	return (rv);
}

/* --- values
 * ----------------------------------------------------------------------------------------------------
 */

void
spr_config_free_values(spr_config *config)
{
	for (unsigned i = 0; i < config->n_rows; i++) {
		if (config->rows[i].type == SPR_CONFIG_LIST) {
			free_list(field_of(config, i));
		} else if (config->rows[i].type == SPR_CONFIG_TEXT) {
			spr_mem_free(*(char **)field_of(config, i));
			*(char **)field_of(config, i) = NULL;
		}
		config->origins[i] = SPR_CONFIG_UNSET;
	}
}

static size_t
field_size(spr_config_type type)
{
	static const size_t sizes[] = {
#define X(name, field) sizeof(spr_config_field_##name),
	    SPR_CONFIG_TYPES(X)
#undef X
	};

	return (sizes[type]);
}

static bool
is_equal_text(const char *a, const char *b)
{
	return (a == NULL || b == NULL ? a == b : strcmp(a, b) == 0);
}

bool
spr_config_is_equal(const spr_config *a, const spr_config *b, unsigned row)
{
	spr_config_type type = a->rows[row].type;
	const void *x = field_of(a, row), *y = field_of(b, row);

	if (type == SPR_CONFIG_TEXT)
		return (is_equal_text(*(char *const *)x, *(char *const *)y));
	if (type == SPR_CONFIG_LIST) {
		const spr_config_list *p = x, *q = y;

		for (unsigned i = 0; p->n == q->n && i < p->n; i++) {
			if (strcmp(p->item[i], q->item[i]) != 0)
				return (false);
		}
		return (p->n == q->n);
	}
	return (memcmp(x, y, field_size(type)) == 0);
}

void
spr_config_swap(spr_config *a, spr_config *b, unsigned row)
{
	char value[sizeof(spr_config_list)];
	spr_config_origin origin = a->origins[row];
	size_t size = field_size(a->rows[row].type);

	memcpy(value, field_of(a, row), size);
	memcpy(field_of(a, row), field_of(b, row), size);
	memcpy(field_of(b, row), value, size);
	a->origins[row] = b->origins[row];
	b->origins[row] = origin;
}
