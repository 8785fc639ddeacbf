/* SPDX-License-Identifier: Apache-2.0 */
#include "format_fixture.h"

#include "core/mem.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

fdit_context *ctx;
static size_t live_before;
static char folder[] = "test_formats.XXXXXX";

void format_setup(void)
{
    live_before = fdit_mem_stats().count;
    ctx = fdit_context_new();
    strcpy(folder, "test_formats.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

void format_teardown(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    ck_assert_int_eq(system(command), 0);
    fdit_context_free(ctx);
    ck_assert_uint_eq(fdit_mem_stats().count, live_before);
}

const char *in_folder(const char *name)
{
    static char path[4][160];
    static int at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", folder, name);
    return path[at];
}

void check_message(const char *word)
{
    const char *text = fdit_context_message(ctx);
    ck_assert_msg(strstr(text, word) != NULL, "no \"%s\" in: %s", word, text);
    ck_assert_msg(strchr(text, '\n') == NULL, "more than one line: %s", text);
}
