/*
 * error - codes to texts, and the thread's trail.
 *
 * The trail is one fixed line per thread: an error path must not allocate, and a line that does not
 * fit says less instead of failing. It remembers the code it was left for, so that a stale trail is
 * never printed for another error.
 */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

#define TRAIL_MAX 1024

typedef struct trail {
	spr_err code; /* SPR_OK: a prefix was put before a bare code, which only spr_error_text()
			 learns */
	char text[TRAIL_MAX];
} trail;

static _Thread_local trail mine;

static const char *const texts[SPR_N_ERRORS] = {
#define X(name, text) [SPR_##name] = text,
    SPR_ERRORS(X)
#undef X
};

static const char *const names[SPR_N_ERRORS] = {
#define X(name, text) [SPR_##name] = "SPR_" #name,
    SPR_ERRORS(X)
#undef X
};

const char *
spr_err_text(spr_err err)
{
	return ((unsigned)err < SPR_N_ERRORS ? texts[err] : "unknown error");
}

const char *
spr_err_name(spr_err err)
{
	return ((unsigned)err < SPR_N_ERRORS ? names[err] : "SPR_E_?");
}

/* Adds what fits. */
static void
append(char *text, const char *more)
{
	size_t len = strlen(text);
	size_t n = strnlen(more, TRAIL_MAX - 1 - len);

	memcpy(text + len, more, n);
	text[len + n] = '\0';
}

spr_err
spr_fail(spr_err err, const char *format, ...)
{
	char text[TRAIL_MAX]; /* the arguments may point into the trail itself */
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	memcpy(mine.text, text, strlen(text) + 1);
	mine.code = err;
	return (err);
}

void
spr_wrap(const char *format, ...)
{
	char text[TRAIL_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (mine.text[0] == '\0') {
		mine.code = SPR_OK;
	} else {
		append(text, ": ");
		append(text, mine.text);
	}
	memcpy(mine.text, text, strlen(text) + 1);
}

const char *
spr_error_text(spr_err err)
{
	if (mine.text[0] == '\0' || err == SPR_OK)
		return (spr_err_text(err));
	if (mine.code == SPR_OK) {
		append(mine.text, ": ");
		append(mine.text, spr_err_text(err));
		mine.code = err;
	}
	return (mine.code == err ? mine.text : spr_err_text(err));
}

void
spr_error_clear(void)
{
	mine.text[0] = '\0';
	mine.code = SPR_OK;
}
