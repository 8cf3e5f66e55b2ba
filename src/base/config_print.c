/*
 * config_print - what people, and the makers of man pages and completions, read about the rows: values, --help,
 * the README's table, the bare table. All of it from the rows.
 */
#include "base/config.h"

#include <inttypes.h>
#include <string.h>

#include "base/units.h"

#define TEXT_COLUMNS 76 /* behind the blanks: 84 in all */

static const void *
field_of(const spr_config *config, unsigned row)
{
	return ((const char *)config->values + config->rows[row].offset);
}

const char *
spr_config_origin_name(spr_config_origin origin)
{
	static const char *const names[] = {
	    [SPR_CONFIG_UNSET] = "unset",
	    [SPR_CONFIG_DEFAULT] = "default",
	    [SPR_CONFIG_DERIVED] = "derived",
	    [SPR_CONFIG_FILE] = "file",
	    [SPR_CONFIG_ENVIRONMENT] = "environment",
	    [SPR_CONFIG_FLAG] = "flag",
	};

	return (names[origin]);
}

static void
print_choice(const char *words, unsigned index, FILE *out)
{
	for (; index > 0; index--) {
		words += strcspn(words, " ");
		words += strspn(words, " ");
	}
	fprintf(out, "%.*s", (int)strcspn(words, " "), words);
}

static void
print_list(const spr_config_list *list, FILE *out)
{
	if (list->n == 0)
		fputs("none", out);
	for (unsigned i = 0; i < list->n; i++)
		fprintf(out, "%s%s", i > 0 ? ", " : "", list->item[i]);
}

static void
print_unit(spr_config_type type, uint64_t value, FILE *out)
{
	char text[SPR_UNITS_TEXT_MAX];

	if (type == SPR_CONFIG_SIZE)
		spr_units_format_size(value, text);
	else
		spr_units_format_duration(value, text);
	fputs(text, out);
}

void
spr_config_print_value(const spr_config *config, unsigned row, FILE *out)
{
	const void *field = field_of(config, row);
	const char *text = NULL;

	switch (config->rows[row].type) {
	case SPR_CONFIG_BOOL:
		fputs(*(const spr_config_field_BOOL *)field ? "true" : "false", out);
		break;
	case SPR_CONFIG_COUNT:
	case SPR_CONFIG_POWER:
		fprintf(out, "%u", *(const unsigned *)field);
		break;
	case SPR_CONFIG_SIZE:
	case SPR_CONFIG_DURATION:
		print_unit(config->rows[row].type, *(const uint64_t *)field, out);
		break;
	case SPR_CONFIG_CHOICE:
		print_choice(config->rows[row].range, *(const unsigned *)field, out);
		break;
	case SPR_CONFIG_TEXT:
		text = *(char *const *)field;
		fputs(text != NULL ? text : "none", out);
		break;
	case SPR_CONFIG_LIST:
		print_list(field, out);
		break;
	}
}

static const char *
placeholder(const spr_config_row *row)
{
	switch (row->type) {
	case SPR_CONFIG_BOOL:
		return ("");
	case SPR_CONFIG_COUNT:
	case SPR_CONFIG_POWER:
		return ("N");
	case SPR_CONFIG_SIZE:
		return ("SIZE");
	case SPR_CONFIG_DURATION:
		return ("TIME");
	case SPR_CONFIG_CHOICE:
		return ("WORD");
	default:
		return (row->range);
	}
}

static const char *
gap(const spr_config_row *row)
{
	return (placeholder(row)[0] != '\0' ? " " : "");
}

static bool
has_range(const spr_config_row *row)
{
	return (row->range[0] != '\0' && row->type != SPR_CONFIG_TEXT &&
		row->type != SPR_CONFIG_LIST);
}

static const char *
standard_of(const spr_config_row *row)
{
	if (row->standard == NULL)
		return ("derived");
	if (row->type == SPR_CONFIG_BOOL)
		return (strcmp(row->standard, "true") == 0 ? "on" : "off");
	return (row->standard);
}

static const char *
note_of(const spr_config_row *row)
{
	if ((row->flags & SPR_CONFIG_LATER) != 0)
		return (" (not in this version)");
	return ((row->flags & SPR_CONFIG_RELOAD) != 0 ? " (reloaded on HUP)" : "");
}

void
spr_config_print_text(const char *text, FILE *out)
{
	size_t column = 0;

	for (text += strspn(text, " "); *text != '\0'; text += strspn(text, " ")) {
		size_t len = strcspn(text, " ");

		if (column > 0 && column + 1 + len <= TEXT_COLUMNS)
			column += (size_t)fprintf(out, " %.*s", (int)len, text);
		else {
			fprintf(out, "%s        %.*s", column > 0 ? "\n" : "", (int)len, text);
			column = len;
		}
		text += len;
	}
	fputc('\n', out);
}

void
spr_config_print_help(const spr_config *config, FILE *out)
{
	for (unsigned i = 0; i < config->n_rows; i++) {
		const spr_config_row *row = &config->rows[i];

		fprintf(out, "  --%s%s%s  [%s%s%s]%s\n", row->name, gap(row), placeholder(row),
			standard_of(row), has_range(row) ? "; " : "",
			has_range(row) ? row->range : "", note_of(row));
		spr_config_print_text(row->help, out);
	}
}

void
spr_config_print_markdown(const spr_config *config, FILE *out)
{
	fputs("| flag | default | range | meaning |\n| --- | --- | --- | --- |\n", out);
	for (unsigned i = 0; i < config->n_rows; i++) {
		const spr_config_row *row = &config->rows[i];

		fprintf(out, "| `--%s%s%s` | %s | %s | %s%s |\n", row->name, gap(row),
			placeholder(row), standard_of(row), has_range(row) ? row->range : "",
			row->help, note_of(row));
	}
}

static const char *
type_name(spr_config_type type)
{
	static const char *const names[] = {
#define X(name, field) [SPR_CONFIG_##name] = #name,
	    SPR_CONFIG_TYPES(X)
#undef X
	};

	return (names[type]);
}

void
spr_config_print_table(const spr_config *config, const char *kind, FILE *out)
{
	static const struct {
		unsigned flag;
		const char *name;
	} notes[] = {{SPR_CONFIG_RELOAD, "reload,"},
		     {SPR_CONFIG_LATER, "later,"},
		     {SPR_CONFIG_NOT_IN_FILE, "not-in-file,"}};

	for (const char *const *action = config->actions; *action != NULL; action++)
		fprintf(out, "action\t%s\n", *action);
	for (unsigned i = 0; i < config->n_rows; i++) {
		const spr_config_row *row = &config->rows[i];

		fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t", kind, row->name, type_name(row->type),
			placeholder(row), standard_of(row), row->range);
		for (unsigned k = 0; k < sizeof(notes) / sizeof(notes[0]); k++)
			fputs((row->flags & notes[k].flag) != 0 ? notes[k].name : "", out);
		fprintf(out, "\t%s\n", row->help);
	}
}
