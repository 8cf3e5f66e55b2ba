/*
 * The README's tables of options are the programs' own output.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_options.h"
#include "options.h"
#include "queue_options.h"
#include "spr_test.h"

static void
expect_table(const char *begin_mark, const char *end_mark, void (*print)(FILE *out))
{
	char *readme = NULL, *markdown = NULL, *begin, *end;
	size_t len = 0;
	FILE *file = fopen(SPR_TEST_SOURCE_DIR "/README.md", "r");
	FILE *out = open_memstream(&markdown, &len);

	assert_non_null(file);
	assert_true(getdelim(&readme, &(size_t){0}, '\0', file) > 0);
	fclose(file);
	print(out);
	fclose(out);
	assert_non_null(begin = strstr(readme, begin_mark));
	begin += strlen(begin_mark);
	assert_non_null(end = strstr(begin, end_mark));
	*end = '\0';
	assert_string_equal(begin, markdown);
	free(readme);
	free(markdown);
}

static void
print_queue(FILE *out)
{
	queue_options options = {0};
	spr_config config = queue_options_config(&options);

	spr_config_print_markdown(&config, out);
}

static void
print_bench(FILE *out)
{
	bench_options options = {0};
	spr_config config = bench_options_config(&options);

	spr_config_print_markdown(&config, out);
}

/* The README's tables are the programs' own. */
static void
test_readme_has_the_tables(void **state)
{
	(void)state;
	expect_table(
	    "<!-- options: the output of spreaderd --help-markdown; unit.readme compares -->\n",
	    "<!-- /options -->", spr_options_print_markdown);
	expect_table("<!-- queue options: the output of spreader-queue --help-markdown; "
		     "unit.readme compares -->\n",
		     "<!-- /queue options -->", print_queue);
	expect_table("<!-- bench options: the output of spreader-bench --help-markdown; "
		     "unit.readme compares -->\n",
		     "<!-- /bench options -->", print_bench);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_readme_has_the_tables),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
