/* SPDX-License-Identifier: Apache-2.0
 * Taxonomies of any bytes: TSV, categories and our JSON. What is accepted must be consistent, and
 * must survive being written and read. */
#include "fuzz.h"

#include "core/mem.h"
#include "data/taxonomy.h"

#include <string.h>

const char *const fuzz_folders[] = { "corpus/taxonomy", NULL };

static void check_rows(const struct fdit_taxonomy *tax)
{
    int32_t classes = fdit_taxonomy_n_classes(tax), row = classes;
    for (int32_t r = 0; r < fdit_taxonomy_n_ranks(tax); r++) {
        int32_t groups = fdit_taxonomy_n_groups(tax, r);
        FUZZ_CHECK(fdit_taxonomy_find_rank(tax, fdit_taxonomy_rank_name(tax, r)) == r);
        for (int32_t g = 0; g < groups; g++, row++) {
            FUZZ_CHECK(fdit_taxonomy_group_row(tax, r, g) == row);
            FUZZ_CHECK(fdit_taxonomy_find_group(tax, r, fdit_taxonomy_group_name(tax, r, g)) == g);
        }
        for (int32_t c = 0; c < classes; c++) {
            int32_t g = fdit_taxonomy_group(tax, r, c);
            FUZZ_CHECK(g >= 0 && g < groups);
            FUZZ_CHECK(fdit_taxonomy_superclass_row(tax, r, c) == fdit_taxonomy_group_row(tax, r, g));
        }
    }
    FUZZ_CHECK(fdit_taxonomy_n_rows(tax) == row);
    for (int32_t c = 0; c < classes; c++)
        FUZZ_CHECK(fdit_taxonomy_find_class(tax, fdit_taxonomy_class_name(tax, c)) == c);
}

static void check_json(const struct fdit_taxonomy *tax)
{
    struct fdit_taxonomy *again = NULL;
    char *text = NULL, *text_again = NULL;
    FUZZ_CHECK(fdit_taxonomy_to_json(NULL, tax, &text) == FDIT_OK);
    FUZZ_CHECK(fdit_taxonomy_parse(NULL, text, strlen(text), "json", NULL, &again) == FDIT_OK);
    FUZZ_CHECK(fdit_taxonomy_equal(tax, again));
    FUZZ_CHECK(fdit_taxonomy_to_json(NULL, again, &text_again) == FDIT_OK);
    FUZZ_CHECK(!strcmp(text, text_again));
    fdit_free(text);
    fdit_free(text_again);
    fdit_taxonomy_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fdit_taxonomy *tax = NULL, *few = NULL;
    fdit_context *ctx = fdit_context_new();
    size_t live = fdit_mem_stats().count;
    if (!ctx)
        return 0;
    if (fdit_taxonomy_parse(ctx, (const char *)bytes, n, "input", NULL, &tax) == FDIT_OK) {
        int32_t *ids = NULL, last = fdit_taxonomy_n_classes(tax) - 1;
        size_t n_ids = 0;
        check_rows(tax);
        check_json(tax);
        FUZZ_CHECK(fdit_taxonomy_restrict(ctx, tax, &last, 1, &few) == FDIT_OK);
        check_rows(few);
        /* The end of the input as what a user types. */
        char *typed = NULL;
        size_t from = n > 32 ? n - 32 : 0;
        FUZZ_CHECK(fdit_strndup(ctx, (const char *)bytes + from, n - from, &typed) == FDIT_OK);
        if (typed[0] != '@' && fdit_taxonomy_select(ctx, tax, typed, &ids, &n_ids) == FDIT_OK)
            for (size_t i = 0; i < n_ids; i++)
                FUZZ_CHECK(ids[i] >= 0 && ids[i] <= last);
        fdit_free(ids);
        fdit_free(typed);
    } else {
        FUZZ_CHECK(!tax && *fdit_context_message(ctx));
    }
    fdit_taxonomy_free(few);
    fdit_taxonomy_free(tax);
    FUZZ_CHECK(fdit_mem_stats().count == live);
    fdit_context_free(ctx);
    return 0;
}
