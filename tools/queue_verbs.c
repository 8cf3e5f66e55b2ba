/*
 * queue_verbs - the verbs in one table, on the conversation that spreaderctl has too (ctl_link.c).
 */
#include "queue_verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "ctl.h"
#include "queue_input.h"
#include "queue_options.h"

#define PAGE     1000
#define BODY_MAX ((size_t)64 << 20) /* the queue knows its own limit */

/* X(TYPE, field of ctl_options, name, default, range or placeholder, help) */
/* clang-format off */
#define VERB_OPTIONS(X) \
	X(TEXT,     url,        "url",     NULL, "URL", "Address of the queue: its submit address for submit, else its control address; SPREADER_QUEUE_SUBMIT_URL and SPREADER_QUEUE_CONTROL_URL in the environment") \
	X(DURATION, timeout_ns, "timeout", "5s", "1ms..1h", "How long to wait for a connection, and for each answer") \
	X(TEXT,     tls_ca,     "tls-ca",  "none", "FILE", "Take the queue only with a certificate of this authority, PEM, which tls+tcp:// and wss:// need; SPREADER_QUEUE_TLS_CA in the environment, and so on") \
	X(TEXT,     tls_cert,   "tls-cert", "none", "FILE", "Certificate to show it, PEM, which it wants when it has a --tls-ca") \
	X(TEXT,     tls_key,    "tls-key", "none", "FILE", "Key of that certificate, PEM, without a password") \
	X(BOOL,     json,       "json",    "false", "", "Print the queue's JSON, one object a line, instead of text") \
	X(COUNT,    limit,      "limit",   "0", "0..4294967295", "dead list: at most so many; 0: all")
/* clang-format on */

enum {
#define X(type, field, name, standard, range, help) VERB_OPTION_##field,
	VERB_OPTIONS(X)
#undef X
	    N_VERB_OPTIONS
};

static const spr_config_row rows[] = {
#define X(type, field, name, standard, range, help)                                                \
	{name, SPR_CONFIG_##type, SPR_CONFIG_PLAIN, standard, range, offsetof(ctl_options, field), \
	 help},
    VERB_OPTIONS(X)
#undef X
};

static const char *const actions[] = {"help", NULL};

int
ctl_fail(int code, const char *format, ...)
{
	char text[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fflush(stdout);
	fputs("spreader-queue: ", stderr);
	ctl_put(stderr, text);
	fputc('\n', stderr);
	return (code);
}

/* --- submit --- */

typedef struct submitting {
	ctl *c;
	int code; /* of the last failure that is no refusal */
} submitting;

static spr_err
submit_batch(void *arg, const uint8_t *documents, size_t len)
{
	submitting *s = arg;
	cJSON *reply = NULL;
	int code = ctl_exchange_text(s->c, documents, len, &reply);

	if (code == CTL_OK && !cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "ok")))
		code = ctl_refused(s->c, reply);
	else if (code == CTL_OK)
		cJSON_Delete(reply);
	if (code == CTL_OK)
		return (SPR_OK);
	s->code = code;
	return (spr_fail(SPR_E_PEER, "not taken"));
}

static int
verb_submit(ctl *c)
{
	submitting s = {.c = c, .code = CTL_OK};
	queue_input input = {.stop_fd = -1,
			     .max_body = BODY_MAX,
			     .take = submit_batch,
			     .arg = &s,
			     .complaints = stderr};
	const char *path = c->words[0] != NULL ? c->words[0] : "-";
	spr_err rv = SPR_OK;

	if (strcmp(path, "-") != 0 && (input.fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return (ctl_fail(CTL_NO, "submit: %s: %s", path, strerror(errno)));
	rv = queue_input_run(&input);
	if (c->options.json)
		printf("{\"taken\":%llu,\"refused\":%llu}\n", (unsigned long long)input.n_taken,
		       (unsigned long long)input.n_refused);
	else
		printf("taken %llu, refused %llu\n", (unsigned long long)input.n_taken,
		       (unsigned long long)input.n_refused);
	if (rv != SPR_OK)
		return (ctl_fail(CTL_NO, "submit: %s: %s", path, spr_error_text(rv)));
	return (s.code != CTL_OK ? s.code : input.n_refused > 0 ? CTL_NO : CTL_OK);
}

/* --- what the queue tells --- */

static int
tell(ctl *c)
{
	cJSON *reply = NULL;
	int code = ctl_ask(c, ctl_request(c->verb), &reply);

	if (code != CTL_OK)
		return (code);
	if (c->options.json) {
		ctl_print_reply(c);
	} else {
		cJSON_DeleteItemFromObjectCaseSensitive(reply, "ok");
		ctl_put_object(stdout, reply, 0);
	}
	cJSON_Delete(reply);
	return (CTL_OK);
}

/* --- the dead --- */

static bool
put_dead(const cJSON *item)
{
	const char *id = spr_json_text(item, "id"), *reason = spr_json_text(item, "reason");
	const char *died = spr_json_text(item, "died_at");
	const cJSON *attempts = cJSON_GetObjectItemCaseSensitive(item, "attempts");

	if (id == NULL || reason == NULL || died == NULL || !cJSON_IsNumber(attempts))
		return (false);
	ctl_put(stdout, died);
	printf("  attempts %.0f  ", attempts->valuedouble);
	ctl_put_padded(stdout, id, 40);
	fputs("  ", stdout);
	ctl_put(stdout, reason);
	fputc('\n', stdout);
	return (true);
}

/* One page; *after becomes where the next one begins, -1: there is none. *n_left goes down. */
static int
list_page(ctl *c, double *after, unsigned long *n_left)
{
	cJSON *request = ctl_request("dead_list"), *reply = NULL;
	const cJSON *dead = NULL, *item = NULL, *next = NULL;
	int code = CTL_OK;

	ctl_add_number(request, "limit", (double)(*n_left < PAGE ? *n_left : PAGE));
	ctl_add_number(request, "after", *after);
	if ((code = ctl_ask(c, request, &reply)) != CTL_OK)
		return (code);
	dead = cJSON_GetObjectItemCaseSensitive(reply, "dead");
	next = cJSON_GetObjectItemCaseSensitive(reply, "next");
	if (!cJSON_IsArray(dead))
		code = ctl_bad_reply(c, "no \"dead\" in it");
	if (code == CTL_OK && c->options.json)
		ctl_print_reply(c);
	cJSON_ArrayForEach(item, dead)
	{
		if (code == CTL_OK && !c->options.json && !put_dead(item))
			code = ctl_bad_reply(c, "a member of \"dead\" is not as it should be");
		(*n_left)--;
	}
	*after = cJSON_IsNumber(next) ? next->valuedouble : -1;
	cJSON_Delete(reply);
	return (code);
}

static int
list_dead(ctl *c)
{
	unsigned long n_left = c->options.limit > 0 ? c->options.limit : UINT32_MAX;
	double after = 0;
	int code = CTL_OK;

	while (code == CTL_OK && after >= 0 && n_left > 0)
		code = list_page(c, &after, &n_left);
	return (code);
}

/* The queue changes so many at once; repeats until none is left. */
static int
change_dead(ctl *c, const char *op, const char *done, const char *id)
{
	bool all = strcmp(id, "all") == 0;
	double n = 0, left = 1;
	int code = CTL_OK;

	while (code == CTL_OK && left > 0) {
		cJSON *request = ctl_request(op), *reply = NULL;

		if (all)
			cJSON_AddTrueToObject(request, "all");
		else
			ctl_add_text(request, "id", id);
		if ((code = ctl_ask(c, request, &reply)) != CTL_OK)
			return (code);
		n += cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(reply, done));
		left = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(reply, "left"));
		if (n != n || left != left)
			code = ctl_bad_reply(c, "no counts in it");
		cJSON_Delete(reply);
	}
	if (code == CTL_OK)
		printf("%s %.0f\n", done, n);
	return (code);
}

static int
verb_dead(ctl *c)
{
	const char *what = c->words[0], *id = c->words[1];

	if (strcmp(what, "list") == 0 && id == NULL)
		return (list_dead(c));
	if (strcmp(what, "requeue") == 0 && id != NULL)
		return (change_dead(c, "dead_requeue", "requeued", id));
	if (strcmp(what, "purge") == 0 && id != NULL)
		return (change_dead(c, "dead_purge", "purged", id));
	return (ctl_fail(CTL_USAGE, "dead takes list, requeue ID|all or purge ID|all"));
}

/* --- the table --- */

static const struct verb {
	const char *name;
	const char *arguments;
	unsigned n_least, n_most;
	const char *help;
	int (*run)(ctl *c);
} verbs[] = {
    {"submit", "[FILE|-]", 0, 1,
     "Submit lines of {\"body\":{...},\"id\":\"...\"}; ends when all of them are on the queue's "
     "disk",
     verb_submit},
    {"stats", "", 0, 0, "Print depth, age of the oldest, what is in flight, what is dead", tell},
    {"version", "", 0, 0, "Print the queue's version", tell},
    {"dead", "list | requeue ID|all | purge ID|all", 1, 2,
     "List what was given up, give it another chance, or delete it", verb_dead},
};
#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

void
queue_verbs_print_table(void)
{
	const spr_config config = {.rows = rows, .n_rows = N_VERB_OPTIONS, .actions = actions};

	spr_config_print_table(&config, "verb-option", stdout);
	for (size_t i = 0; i < N_VERBS; i++)
		printf("verb\t%s\t%s\turl,timeout,tls-ca,tls-cert,tls-key,json,limit,\t%s\n",
		       verbs[i].name, verbs[i].arguments, verbs[i].help);
}

static int
print_help(const spr_config *config)
{
	fputs("Usage: spreader-queue VERB ... [--url URL] [--timeout TIME] [--json]\n"
	      "Asks a running spreader-queue.\n\nVerbs:\n",
	      stdout);
	for (size_t i = 0; i < N_VERBS; i++) {
		printf("  %s%s%s\n", verbs[i].name, verbs[i].arguments[0] != '\0' ? " " : "",
		       verbs[i].arguments);
		spr_config_print_text(verbs[i].help, stdout);
	}
	fputs("\nOptions [default; range]:\n", stdout);
	spr_config_print_help(config, stdout);
	fputs("\nTIME is 250ms, 10s, 2m, 5h or 5d. spreader-queue --help tells how to run one.\n"
	      "Exit: 0 done, 1 the queue said no or refused a line, 2 bad command line,\n"
	      "69 the queue cannot be reached.\n",
	      stdout);
	return (CTL_OK);
}

/* Flags, the verb's variables, defaults. */
static spr_err
read_options(spr_config *config, int argc, char **argv, int *action, bool is_submit)
{
	const ctl_variable variables[] = {
	    {is_submit ? "SPREADER_QUEUE_SUBMIT_URL" : "SPREADER_QUEUE_CONTROL_URL",
	     VERB_OPTION_url},
	    {"SPREADER_QUEUE_TLS_CA", VERB_OPTION_tls_ca},
	    {"SPREADER_QUEUE_TLS_CERT", VERB_OPTION_tls_cert},
	    {"SPREADER_QUEUE_TLS_KEY", VERB_OPTION_tls_key},
	};
	spr_err rv = ctl_read_options(config, argc, argv, action, variables,
				      sizeof(variables) / sizeof(variables[0]));

	if (rv == SPR_OK)
		rv = spr_config_set(config, VERB_OPTION_url,
				    is_submit ? QUEUE_SUBMIT_URL : QUEUE_CONTROL_URL,
				    SPR_CONFIG_DEFAULT);
	if (rv == SPR_OK)
		rv = spr_config_fill_defaults(config);
	return (rv);
}

static int
run(ctl *c, spr_config *config, int argc, char **argv)
{
	const struct verb *verb = verbs;
	int action = -1;
	spr_err rv = read_options(config, argc, argv, &action, strcmp(argv[1], "submit") == 0);

	if (rv != SPR_OK)
		return (ctl_fail(CTL_USAGE, "%s", spr_error_text(rv)));
	if (action == 0 || strcmp(argv[1], "help") == 0)
		return (print_help(config));
	while (verb < verbs + N_VERBS && strcmp(verb->name, argv[1]) != 0)
		verb++;
	if (verb == verbs + N_VERBS)
		return (ctl_fail(CTL_USAGE, "%s: no such verb; spreader-queue help lists them",
				 argv[1]));
	if (config->n_words - 1 < verb->n_least || config->n_words - 1 > verb->n_most)
		return (ctl_fail(CTL_USAGE, "%s takes %s", verb->name,
				 verb->arguments[0] != '\0' ? verb->arguments : "no argument"));
	c->verb = verb->name;
	memcpy(c->words, config->words + 1, (config->n_words - 1) * sizeof(c->words[0]));
	return (verb->run(c));
}

int
queue_verb(int argc, char **argv)
{
	ctl c = {.peer = "spreader-queue", .remedy = "or name its address with --url"};
	spr_config_origin origins[N_VERB_OPTIONS] = {SPR_CONFIG_UNSET};
	char *words[CTL_WORDS_MAX + 1] = {NULL};
	spr_config config = {.rows = rows,
			     .n_rows = N_VERB_OPTIONS,
			     .prefix = "SPREADER_QUEUE_",
			     .actions = actions,
			     .values = &c.options,
			     .origins = origins,
			     .words = words,
			     .max_words = CTL_WORDS_MAX};
	int code = run(&c, &config, argc, argv);

	ctl_fini(&c);
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == CTL_OK)
		code = ctl_fail(CTL_NO, "cannot write to standard output");
	spr_config_free_values(&config);
	return (code);
}
