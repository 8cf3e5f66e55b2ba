/*
 * bench_target - starts the daemon and subscribes through control, as anybody would.
 */
#include "bench_target.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "bench_mark.h"
#include "bench_talk.h"

#define READY_NS       (60 * SPR_NS_PER_S)
#define END_NS         (60 * SPR_NS_PER_S)
#define LOOK_NS        (5 * SPR_NS_PER_MS)
#define FLAGS_MAX      64
#define AN_IMPORT      1000 /* subscriptions */
#define LEASE_S        86400
#define A_PATTERN      10     /* callbacks of a background pattern */
#define BACKGROUND_URL 100000 /* different callbacks of the background, 60 bytes each */

/* --- the daemon ----------------------------------------------------------------------------------- */

static void
rest(void)
{
	nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
}

static _Noreturn void
run_daemon(const char *const argv[], pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0); /* an interrupt from the terminal is ours */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		execv(argv[0], (char *const *)(uintptr_t)argv); /* it changes none of them */
	fprintf(stderr, "spreader-bench: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

#define ANY "tcp://127.0.0.1:0"

/* More words of a command line, as far as there is room. */
static unsigned
append(const char **argv, unsigned n, const char *const *words, unsigned n_words)
{
	for (unsigned i = 0; i < n_words && n < FLAGS_MAX - 1; i++)
		argv[n++] = words[i];
	return (n);
}

static spr_err
spawn(bench_target *target, const bench_options *options, const char *ack_url)
{
	static const char *const always[] = {"--store=:memory:",     "--log-level=error",
					     "--http-listen=none",   "--intake-listen=" ANY,
					     "--outbox-listen=" ANY, "--control-listen=" ANY};
	static const char *const receipts[] = {"--confirm=receipt", "--receipts-listen=" ANY};
	char ready[sizeof(target->folder) + 32], ack[BENCH_URL_MAX + 16];
	const char *argv[FLAGS_MAX] = {options->daemon, ready}, *answers[] = {ack};
	pid_t parent = getpid();
	unsigned n = append(argv, 2, always, sizeof(always) / sizeof(always[0]));

	snprintf(ready, sizeof(ready), "--ready-file=%s/ready", target->folder);
	snprintf(ack, sizeof(ack), "--ack-dial=%s", ack_url != NULL ? ack_url : "");
	n = append(argv, n, answers, ack_url != NULL ? 1 : 0);
	n = append(argv, n, receipts, options->confirm == BENCH_CONFIRM_RECEIPT ? 2 : 0);
	if (options->daemon_flag.n > FLAGS_MAX - 1 - n)
		return (spr_fail(SPR_E_USAGE, "--daemon-flag: more than %u", FLAGS_MAX - 1 - n));
	append(argv, n, (const char *const *)options->daemon_flag.item, options->daemon_flag.n);
	target->pid = fork();
	if (target->pid == 0)
		run_daemon(argv, parent);
	if (target->pid < 0)
		return (spr_fail(SPR_E_SYSTEM, "cannot start %s: %s", options->daemon,
				 strerror(errno)));
	target->is_ours = true;
	return (SPR_OK);
}

/* The first address of that kind in the ready file; left alone when there is none. */
static void
take_url(char *out, const cJSON *listening, const char *kind)
{
	const cJSON *first =
	    cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(listening, kind), 0);

	if (cJSON_IsString(first))
		snprintf(out, BENCH_URL_MAX, "%s", first->valuestring);
}

static spr_err
read_ready_file(bench_target *target, const char *path)
{
	char text[16384];
	cJSON *root = NULL;
	const cJSON *listening;
	FILE *file = fopen(path, "re");
	size_t len;
	spr_err rv;

	if (file == NULL)
		return (SPR_E_NOT_FOUND);
	len = fread(text, 1, sizeof(text), file);
	fclose(file);
	if ((rv = spr_json_parse(&root, text, len)) != SPR_OK)
		return (rv);
	listening = cJSON_GetObjectItemCaseSensitive(root, "listening");
	take_url(target->in, listening, "intake");
	take_url(target->out, listening, "outbox");
	take_url(target->receipts, listening, "receipts");
	take_url(target->control, listening, "control");
	cJSON_Delete(root);
	return (SPR_OK);
}

/* It has ended when it should not have. */
static bool
has_ended(bench_target *target, int *status)
{
	if (waitpid(target->pid, status, WNOHANG) != target->pid)
		return (false);
	target->is_ours = false;
	return (true);
}

static spr_err
wait_until_ready(bench_target *target, const char *program)
{
	char path[sizeof(target->folder) + 8];
	uint64_t end_ns = spr_clock_now_ns() + READY_NS;
	int status = 0;
	spr_err rv;

	snprintf(path, sizeof(path), "%s/ready", target->folder);
	while ((rv = read_ready_file(target, path)) == SPR_E_NOT_FOUND) {
		if (has_ended(target, &status))
			return (spr_fail(SPR_E_PEER, "%s ended at once, status %d", program,
					 WIFEXITED(status) ? WEXITSTATUS(status)
							   : 128 + WTERMSIG(status)));
		if (spr_clock_now_ns() >= end_ns)
			return (spr_fail(SPR_E_TIMEOUT, "%s does not become ready", program));
		rest();
	}
	return (rv);
}

static void
remove_folder(bench_target *target)
{
	char path[sizeof(target->folder) + 8];

	if (target->folder[0] == '\0')
		return;
	snprintf(path, sizeof(path), "%s/ready", target->folder);
	unlink(path);
	rmdir(target->folder);
	target->folder[0] = '\0';
}

spr_err
bench_target_start(bench_target *target, const bench_options *options, const char *ack_url)
{
	spr_err rv;

	*target = (bench_target){.pid = (pid_t)options->pid};
	snprintf(target->in, BENCH_URL_MAX, "%s", options->in);
	snprintf(target->out, BENCH_URL_MAX, "%s", options->out);
	snprintf(target->receipts, BENCH_URL_MAX, "%s", options->receipts);
	snprintf(target->control, BENCH_URL_MAX, "%s", options->control_url);
	if (options->daemon == NULL)
		return (SPR_OK);
	strcpy(target->folder, "/tmp/spreader-bench-XXXXXX");
	if (mkdtemp(target->folder) == NULL) {
		target->folder[0] = '\0';
		return (
		    spr_fail(SPR_E_SYSTEM, "cannot make a folder in /tmp: %s", strerror(errno)));
	}
	if ((rv = spawn(target, options, ack_url)) == SPR_OK)
		rv = wait_until_ready(target, options->daemon);
	if (rv != SPR_OK)
		(void)bench_target_stop(target);
	return (rv);
}

spr_err
bench_target_stop(bench_target *target)
{
	uint64_t end_ns = spr_clock_now_ns() + END_NS;
	int status = 0;
	bool is_ours = target->is_ours, is_killed = false;

	if (is_ours)
		kill(target->pid, SIGTERM);
	while (target->is_ours && !has_ended(target, &status)) {
		if (spr_clock_now_ns() >= end_ns && !is_killed) {
			kill(target->pid, SIGKILL);
			is_killed = true;
		}
		rest();
	}
	remove_folder(target);
	if (is_ours && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
		return (spr_fail(SPR_E_PEER, "the daemon ended with status %d",
				 WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)));
	return (SPR_OK);
}

/* --- subscriptions -------------------------------------------------------------------------------- */

typedef struct batch {
	bench_talk *talk;
	char *text;
	size_t len;
	unsigned n;
} batch;

#define AN_ENTRY (BENCH_PATTERN_MAX + 160)

static spr_err
send_import(batch *i)
{
	spr_err rv;

	if (i->n == 0)
		return (SPR_OK);
	i->len += (size_t)sprintf(i->text + i->len, "]}");
	rv = bench_talk_ask(i->talk, i->text, i->len);
	i->n = 0;
	return (rv);
}

static spr_err
add(batch *i, const char *pattern, const char *callback)
{
	if (i->n == 0)
		i->len = (size_t)sprintf(i->text, "{\"op\":\"import\",\"subscriptions\":[");
	i->len += (size_t)sprintf(i->text + i->len,
				  "%s{\"pattern\":\"%s\",\"callback\":\"%s\",\"lease_seconds\":%d}",
				  i->n > 0 ? "," : "", pattern, callback, LEASE_S);
	return (++i->n < AN_IMPORT ? SPR_OK : send_import(i));
}

static spr_err
add_wanted(batch *i, const bench_options *options)
{
	char pattern[BENCH_PATTERN_MAX], callback[128];
	spr_err rv = SPR_OK;

	for (unsigned p = 0; p < options->predicates; p++) {
		bench_pattern(pattern, options->depth, options->fan_out, p);
		for (unsigned c = 0; rv == SPR_OK && c < options->fan_out; c++) {
			snprintf(callback, sizeof(callback), BENCH_CALLBACK "%08x", c);
			rv = add(i, pattern, callback);
		}
	}
	return (rv);
}

static spr_err
add_background(batch *i, const bench_options *options)
{
	char pattern[BENCH_PATTERN_MAX], callback[128];
	spr_err rv = SPR_OK;

	for (unsigned b = 0; rv == SPR_OK && b < options->background; b++) {
		bench_background_pattern(pattern, options->depth, b / A_PATTERN);
		snprintf(callback, sizeof(callback),
			 "http://background.bench.example/callback/%019u", b % BACKGROUND_URL);
		rv = add(i, pattern, callback);
	}
	return (rv);
}

spr_err
bench_target_subscribe(const bench_target *target, const bench_options *options)
{
	bench_talk talk = {0};
	batch i = {.talk = &talk, .text = spr_mem_alloc(AN_IMPORT * AN_ENTRY + 64)};
	spr_err rv = i.text == NULL ? SPR_E_NOMEM : bench_talk_open(&talk, target->control);

	if (rv == SPR_OK && (rv = add_wanted(&i, options)) == SPR_OK &&
	    (rv = add_background(&i, options)) == SPR_OK)
		rv = send_import(&i);
	if (rv != SPR_OK)
		spr_wrap("subscribe");
	bench_talk_close(&talk);
	spr_mem_free(i.text);
	return (rv);
}
