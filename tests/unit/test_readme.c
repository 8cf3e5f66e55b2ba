/*
 * The README's table of options is the program's own output.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "spr_test.h"

/* The README's table is the program's own. */
static void
test_readme_has_the_table(void **state)
{
	static const char begin_mark[] = "unit.readme compares -->\n",
			  end_mark[] = "<!-- /options -->";
	char *readme = NULL, *markdown = NULL, *begin, *end;
	size_t len = 0;
	FILE *file = fopen(SPR_TEST_SOURCE_DIR "/README.md", "r");
	FILE *out = open_memstream(&markdown, &len);

	(void)state;
	assert_non_null(file);
	assert_true(getdelim(&readme, &(size_t){0}, '\0', file) > 0);
	fclose(file);
	spr_options_print_markdown(out);
	fclose(out);
	assert_non_null(begin = strstr(readme, begin_mark));
	begin += strlen(begin_mark);
	assert_non_null(end = strstr(begin, end_mark));
	*end = '\0';
	assert_string_equal(begin, markdown);
	free(readme);
	free(markdown);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_readme_has_the_table),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
