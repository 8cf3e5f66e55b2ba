/*
 * http_page - the page's own script and style carry a nonce, and the policy lets nothing else run: whatever a pattern or
 * a callback holds, and even if the page forgot to treat it as text, it is no script. The nonce is one for the life of
 * the process, because the page holds nothing that comes from outside.
 */
#include "control/http_page.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/counters.h"
#include "base/log_recent.h"
#include "base/mem.h"
#include "control/http_routes.h"
#include "control/json_strict.h"

__asm__(".section .rodata\n"
	"spr_page_html: .incbin \"" SPR_PAGE_FILE "\"\n"
	".byte 0\n"
	".previous\n");
extern const char page_html[] __asm__("spr_page_html");

#define PLACE "@NONCE-GOES-HERE" /* as long as what it stands for */

spr_err
spr_http_page_init(spr_http_page *page)
{
	unsigned char random[8];
	char nonce[sizeof(PLACE)] = "";

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return (spr_fail(SPR_E_SYSTEM, "http page: no random numbers"));
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(nonce + 2 * i, 3, "%02x", random[i]);
	if ((page->text = spr_mem_strdup(page_html)) == NULL)
		return (spr_fail(SPR_E_NOMEM, "out of memory"));
	for (char *at = page->text; (at = strstr(at, PLACE)) != NULL;)
		memcpy(at, nonce, strlen(nonce));
	snprintf(
	    page->policy, sizeof(page->policy),
	    "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; connect-src 'self'; "
	    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	    nonce, nonce);
	page->headers[0] = (spr_http_header){"Content-Security-Policy", page->policy};
	page->headers[1] = (spr_http_header){"Referrer-Policy", "no-referrer"};
	page->headers[2] = (spr_http_header){NULL, NULL};
	return (SPR_OK);
}

void
spr_http_page_fini(spr_http_page *page)
{
	spr_mem_free(page->text);
	page->text = NULL;
}

void
spr_http_get_page(spr_http_adapter *adapter, spr_http_exchange *exchange)
{
	const spr_http_page *page = &adapter->page;

	spr_http_answer(exchange, &(spr_http_reply){.status = 200,
						    .type = "text/html; charset=utf-8",
						    .headers = page->headers,
						    .body = page->text,
						    .len = strlen(page->text),
						    .is_constant = true});
}

/* ---- the numbers ---- */

static bool
add_numbers(const spr_http_adapter *adapter, cJSON *answer)
{
	cJSON *numbers = cJSON_AddObjectToObject(answer, "numbers");
	double gauges[SPR_N_GAUGES];
	bool is_fine = numbers != NULL;

	for (int i = 0; is_fine && i < SPR_N_COUNTERS; i++)
		is_fine = cJSON_AddNumberToObject(numbers, spr_counter_table[i].name,
						  (double)spr_counter_sum((spr_counter)i)) != NULL;
	spr_control_read_gauges(adapter->env, gauges);
	for (int i = 0; is_fine && i < SPR_N_GAUGES; i++)
		is_fine =
		    cJSON_AddNumberToObject(numbers, spr_gauge_table[i].name, gauges[i]) != NULL;
	return (is_fine);
}

/* [[largest value, count], ...] of the buckets that hold anything. */
static bool
add_buckets(cJSON *parent, const char *name, spr_histogram which)
{
	cJSON *buckets = cJSON_AddArrayToObject(parent, name);
	spr_histogram_sum sum;
	bool is_fine = buckets != NULL;

	spr_histogram_read(which, &sum);
	for (unsigned i = 0; is_fine && i < SPR_HISTOGRAM_BUCKETS; i++) {
		const double pair[2] = {(double)spr_histogram_bound(i), (double)sum.bucket[i]};
		cJSON *item;

		if (sum.bucket[i] == 0)
			continue;
		item = cJSON_CreateDoubleArray(pair, 2);
		is_fine = item != NULL && cJSON_AddItemToArray(buckets, item);
	}
	return (is_fine);
}

/* The stage's name is what stands between the quotes of its label. */
static bool
add_stages(cJSON *answer)
{
	cJSON *stages = cJSON_AddObjectToObject(answer, "stages");
	bool is_fine = stages != NULL;

	for (int i = 0; is_fine && i < SPR_N_HISTOGRAMS; i++) {
		const char *labels = spr_histogram_table[i].labels;
		char name[16] = "whole";

		if (spr_histogram_table[i].unit != SPR_UNIT_NS)
			continue;
		if (labels[0] != '\0')
			(void)sscanf(labels, "stage=\"%15[a-z]", name);
		is_fine = add_buckets(stages, name, (spr_histogram)i);
	}
	return (is_fine);
}

static bool
add_top(const spr_http_adapter *adapter, cJSON *answer)
{
	spr_top_entry *top = spr_mem_alloc(SPR_TOP_SHOWN * sizeof(*top));
	cJSON *list = cJSON_AddArrayToObject(answer, "top");
	bool is_fine = top != NULL && list != NULL;
	unsigned n = is_fine ? spr_subscriptions_top(adapter->env->subscriptions, top) : 0;

	for (unsigned i = 0; is_fine && i < n; i++) {
		cJSON *item = cJSON_CreateObject();

		is_fine = item != NULL && cJSON_AddItemToArray(list, item) &&
			  cJSON_AddStringToObject(item, "pattern", top[i].pattern) != NULL &&
			  cJSON_AddNumberToObject(item, "n", (double)top[i].n) != NULL;
	}
	spr_mem_free(top);
	return (is_fine);
}

static bool
add_errors(cJSON *answer)
{
	char(*lines)[SPR_RECENT_TEXT] = spr_mem_alloc(SPR_RECENT_MAX * SPR_RECENT_TEXT);
	cJSON *list = cJSON_AddArrayToObject(answer, "errors");
	bool is_fine = lines != NULL && list != NULL;
	unsigned n = is_fine ? spr_log_recent_read(lines) : 0;

	for (unsigned i = 0; is_fine && i < n; i++) {
		cJSON *item = cJSON_CreateString(lines[i]);

		is_fine = item != NULL && cJSON_AddItemToArray(list, item);
	}
	spr_mem_free(lines);
	return (is_fine);
}

void
spr_http_overview(spr_http_adapter *adapter, spr_http_exchange *exchange)
{
	cJSON *answer = cJSON_CreateObject();
	char *text = NULL;

	if (cJSON_AddStringToObject(answer, "version", SPR_VERSION) != NULL &&
	    cJSON_AddStringToObject(answer, "instance", adapter->env->instance) != NULL &&
	    add_numbers(adapter, answer) && add_stages(answer) && add_top(adapter, answer) &&
	    add_errors(answer))
		text = cJSON_PrintUnformatted(answer);
	cJSON_Delete(answer);
	if (text != NULL)
		spr_http_say(exchange, 200, "application/json", text);
	else
		spr_http_refuse(exchange, 503, "store", NULL, "out of memory");
	cJSON_free(text);
}
