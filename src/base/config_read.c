/*
 * config_read - the three sources of values: flags, environment, JSON file. Each finds the row and
 * hands a text to spr_config_set(), which alone knows types.
 */
#include "base/config.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

/* --- flags
 * -----------------------------------------------------------------------------------------------------
 */

/* Same name, '_' for '-' when the source allows it. */
static bool
is_name(const char *name, const char *text, size_t len, bool underscores)
{
	if (strlen(name) != len)
		return (false);
	for (size_t i = 0; i < len; i++) {
		if (name[i] != text[i] && !(underscores && name[i] == '-' && text[i] == '_'))
			return (false);
	}
	return (true);
}

/* n_rows when there is none. */
static unsigned
find_row(const spr_config *config, const char *text, size_t len, bool underscores)
{
	unsigned i = 0;

	while (i < config->n_rows && !is_name(config->rows[i].name, text, len, underscores))
		i++;
	return (i);
}

static bool
find_action(const spr_config *config, const char *name, int *action)
{
	for (int i = 0; config->actions != NULL && config->actions[i] != NULL; i++) {
		if (strcmp(config->actions[i], name) == 0) {
			*action = i;
			return (true);
		}
	}
	return (false);
}

/* One flag at argv[*i]; moves *i on when the value is the next argument. argv ends in NULL. */
static spr_err
read_flag(spr_config *config, char **argv, int *i, int *action)
{
	const char *name = argv[*i] + 2;
	size_t len = strcspn(name, "=");
	const char *value = name[len] == '=' ? name + len + 1 : NULL;
	unsigned row = find_row(config, name, len, false);

	if (find_action(config, name, action))
		return (SPR_OK);
	if (row < config->n_rows && config->rows[row].type == SPR_CONFIG_BOOL)
		return (
		    spr_config_set(config, row, value != NULL ? value : "true", SPR_CONFIG_FLAG));
	if (row < config->n_rows) {
		if (value == NULL && argv[*i + 1] != NULL && strncmp(argv[*i + 1], "--", 2) != 0)
			value = argv[++*i];
		if (value == NULL)
			return (spr_fail(SPR_E_USAGE, "--%s: a value is missing",
					 config->rows[row].name));
		return (spr_config_set(config, row, value, SPR_CONFIG_FLAG));
	}
	if (value == NULL && strncmp(name, "no-", 3) == 0) {
		row = find_row(config, name + 3, len - 3, false);
		if (row < config->n_rows && config->rows[row].type == SPR_CONFIG_BOOL)
			return (spr_config_set(config, row, "false", SPR_CONFIG_FLAG));
	}
	return (spr_fail(SPR_E_USAGE, "--%.*s: no such flag; --help lists them", (int)len, name));
}

spr_err
spr_config_read_arguments(spr_config *config, int argc, char **argv, int *action)
{
	spr_err rv = SPR_OK;

	for (int i = 1; i < argc && rv == SPR_OK; i++) {
		if (strncmp(argv[i], "--", 2) == 0)
			rv = read_flag(config, argv, &i, action);
		else if (config->n_words < config->max_words)
			config->words[config->n_words++] = argv[i];
		else if (config->max_words > 0)
			rv = spr_fail(SPR_E_USAGE, "%s: one argument too many", argv[i]);
		else
			rv = spr_fail(SPR_E_USAGE, "%s: unexpected argument; flags start with --",
				      argv[i]);
	}
	return (rv);
}

/* --- environment
 * -----------------------------------------------------------------------------------------------
 */

static spr_err
set_from_variable(spr_config *config, unsigned row, const char *value)
{
	spr_err rv = SPR_OK;
	char *copy = NULL;
	char *rest = NULL;

	if (config->rows[row].type != SPR_CONFIG_LIST || strchr(value, ',') == NULL)
		return (spr_config_set(config, row, value, SPR_CONFIG_ENVIRONMENT));
	if ((copy = spr_mem_strdup(value)) == NULL)
		return (spr_fail(SPR_E_NOMEM, "out of memory"));
	rest = copy;
	while (rest != NULL && rv == SPR_OK)
		rv = spr_config_set(config, row, strsep(&rest, ","), SPR_CONFIG_ENVIRONMENT);
	spr_mem_free(copy);
	return (rv);
}

bool
spr_config_is_service_variable(const char *variable)
{
	static const char *const parts[] = {"_SERVICE_HOST=", "_SERVICE_PORT=", "_SERVICE_PORT_",
					    "_PORT=", "_PORT_"};
	size_t len = strcspn(variable, "=");

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const char *at = strstr(variable, parts[i]);

		if (at != NULL && at < variable + len)
			return (true);
	}
	return (false);
}

spr_err
spr_config_read_environment(spr_config *config, char **envp)
{
	size_t prefix_len = strlen(config->prefix);
	char label[SPR_CONFIG_LABEL_MAX];
	spr_err rv = SPR_OK;

	for (; *envp != NULL && rv == SPR_OK; envp++) {
		size_t len = strcspn(*envp, "=");
		unsigned row = 0;

		if (strncmp(*envp, config->prefix, prefix_len) != 0 || (*envp)[len] != '=')
			continue;
		for (row = 0; row < config->n_rows; row++) {
			spr_config_label(config, row, SPR_CONFIG_ENVIRONMENT, label);
			if (strlen(label) == len && memcmp(label, *envp, len) == 0)
				break;
		}
		if (row < config->n_rows)
			rv = set_from_variable(config, row, *envp + len + 1);
		else if (config->is_foreign == NULL || !config->is_foreign(*envp))
			rv = spr_fail(SPR_E_CONFIG, "%.*s: no such option; --help lists them",
				      (int)len, *envp);
	}
	return (rv);
}

/* --- file
 * ------------------------------------------------------------------------------------------------------
 */

/* What a JSON value would be as a flag; room holds a number. Values that never fit are named, and
 * then refused. */
static const char *
text_of(const cJSON *item, char *room, size_t size)
{
	if (cJSON_IsString(item))
		return (item->valuestring);
	if (cJSON_IsBool(item))
		return (cJSON_IsTrue(item) ? "true" : "false");
	if (cJSON_IsNumber(item)) {
		/* what needs more digits is printed with an exponent, and refused: the double may
		 * not be what was written */
		snprintf(room, size, "%.15g", item->valuedouble);
		return (room);
	}
	return (cJSON_IsNull(item) ? "null" : cJSON_IsArray(item) ? "a list" : "an object");
}

static spr_err
set_from_item(spr_config *config, unsigned row, const cJSON *item)
{
	char room[64];
	const char *text = text_of(item, room, sizeof(room));

	if ((config->rows[row].type == SPR_CONFIG_TEXT ||
	     config->rows[row].type == SPR_CONFIG_LIST) &&
	    !cJSON_IsString(item))
		return (
		    spr_config_refuse(config, row, SPR_CONFIG_FILE, "%s is not a string", text));
	return (spr_config_set(config, row, text, SPR_CONFIG_FILE));
}

static spr_err
set_from_member(spr_config *config, unsigned row, const cJSON *member)
{
	const cJSON *item = NULL;
	spr_err rv = SPR_OK;

	if (config->rows[row].type != SPR_CONFIG_LIST || !cJSON_IsArray(member))
		return (set_from_item(config, row, member));
	if (member->child == NULL)
		return (spr_config_refuse(config, row, SPR_CONFIG_FILE,
					  "the list is empty; write \"none\""));
	cJSON_ArrayForEach(item, member)
	{
		if ((rv = set_from_item(config, row, item)) != SPR_OK)
			break;
	}
	return (rv);
}

static bool
is_given_before(const spr_config *config, const cJSON *object, const cJSON *member, unsigned row)
{
	const cJSON *other = object->child;

	for (; other != member; other = other->next) {
		if (is_name(config->rows[row].name, other->string, strlen(other->string), true))
			return (true);
	}
	return (false);
}

spr_err
spr_config_read_text(spr_config *config, const char *text, size_t len)
{
	cJSON *root = NULL;
	const cJSON *member = NULL;
	spr_err rv = SPR_OK;
	unsigned row = 0;

	if ((rv = spr_json_parse(&root, text, len)) != SPR_OK)
		return (spr_fail(SPR_E_CONFIG, "%s: %s", config->path, spr_error_text(rv)));
	if (!cJSON_IsObject(root))
		rv = spr_fail(SPR_E_CONFIG, "%s: the file is not a JSON object", config->path);
	for (member = root->child; member != NULL && rv == SPR_OK; member = member->next) {
		row = find_row(config, member->string, strlen(member->string), true);
		if (row == config->n_rows ||
		    (config->rows[row].flags & SPR_CONFIG_NOT_IN_FILE) != 0)
			rv = spr_fail(SPR_E_CONFIG,
				      "%s: %.*s: no such option for a file; --help lists them",
				      config->path, SPR_CONFIG_VALUE_SHOWN, member->string);
		else if (is_given_before(config, root, member, row))
			rv = spr_config_refuse(config, row, SPR_CONFIG_FILE, "given twice");
		else
			rv = set_from_member(config, row, member);
	}
	cJSON_Delete(root);
	return (rv);
}

spr_err
spr_config_read_file(spr_config *config, const char *path)
{
	spr_err rv = SPR_OK;
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t len = 0;

	config->path = path;
	if (file == NULL)
		return (spr_fail(SPR_E_CONFIG, "%s: cannot read: %s", path, strerror(errno)));
	if ((text = spr_mem_alloc(SPR_CONFIG_FILE_MAX + 1)) == NULL) {
		rv = spr_fail(SPR_E_NOMEM, "%s: out of memory", path);
		goto out;
	}
	len = fread(text, 1, SPR_CONFIG_FILE_MAX + 1, file);
	if (ferror(file))
		rv = spr_fail(SPR_E_CONFIG, "%s: cannot read: %s", path, strerror(errno));
	else if (len > SPR_CONFIG_FILE_MAX)
		rv = spr_fail(SPR_E_CONFIG, "%s: larger than %u bytes", path, SPR_CONFIG_FILE_MAX);
	else
		rv = spr_config_read_text(config, text, len);
out:
	spr_mem_free(text);
	fclose(file);
	return (rv);
}
