/* SPDX-License-Identifier: Apache-2.0
 * How the rows of a new class table start: by name from a base, spread like the base's, or normal. */
#include "core/mem.h"
#include "devices.h"
#include "harness.h"
#include "model/delta.h"
#include "train/class_table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { D = 16 };

static fdit_context *ctx;
static fdit_device *dev;
static char path[] = "/tmp/fdit-table-XXXXXX";

static const struct fdit_model_config sizes = {
    .input_size = 4, .channels = 1, .patch = 2, .width = D, .depth = 1, .heads = 2, .mlp_ratio = 4
};

static struct fdit_taxonomy *parse(const char *tsv)
{
    struct fdit_taxonomy *tax = NULL;
    ck_assert_ok(ctx, fdit_taxonomy_parse(ctx, tsv, strlen(tsv), "test", NULL, &tax));
    return tax;
}

static struct fdit_model *new_model(int rows)
{
    struct fdit_model_config c = sizes;
    struct fdit_model *m = NULL;
    struct fdit_model_options o = {
        .mask = fdit_mask_find("full"), .training = true, .ema = true, .batch = 1, .storage = FDIT_F32
    };
    c.table_rows = rows;
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &c, &o, &m));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    ck_assert_ok(ctx, fdit_model_init(ctx, m, 3));
    return m;
}

static void read_table(struct fdit_model *m, float *table)
{
    struct fdit_param *p = fdit_params_find(&m->params, "y_embedder.embedding_table.weight");
    ck_assert_ok(ctx, fdit_model_get(ctx, m, p, FDIT_VALUES_RAW, table));
}

/* A base with the classes B, A, C and an empty row; row r holds 10 r + column / 100. */
static void write_base(bool with_names)
{
    struct fdit_taxonomy *tax = parse("class\nB\nA\nC\n");
    struct fdit_model *m = new_model(4);
    struct fdit_param *p = fdit_params_find(&m->params, "y_embedder.embedding_table.weight");
    float table[4 * D];
    char *json = NULL;
    for (int i = 0; i < 4 * D; i++)
        table[i] = (float)(10 * (i / D)) + (float)(i % D) / 100;
    ck_assert_ok(ctx, fdit_model_set(ctx, m, p, table));
    ck_assert_ok(ctx, fdit_taxonomy_to_json(ctx, tax, &json));
    struct fdit_delta_meta meta = { .taxonomy = with_names ? json : NULL, .guide = "empty" };
    ck_assert_ok(ctx, fdit_delta_save(ctx, m, FDIT_VALUES_RAW, FDIT_ST_F32, &meta, path));
    fdit_free(json);
    fdit_taxonomy_free(tax);
    fdit_model_free(m);
}

static struct fdit_checkpoint *open_base(void)
{
    struct fdit_checkpoint *cp = NULL;
    ck_assert_ok(ctx, fdit_checkpoint_open(ctx, path, FDIT_VALUES_EMA, &cp));
    return cp;
}

START_TEST(test_names)
{
    write_base(true);
    struct fdit_checkpoint *base = open_base();
    /* A by its own name, "A/x" and "C/y" by their groups, "D/z" by none; then groups A, C, D */
    struct fdit_taxonomy *tax = parse("class\tletter\nA\tC\nA/x\tA\nC/y\tC\nD/z\tD\n");
    static const int from[] = { 1, 1, 2, -1, 1, 2, -1, 3 };
    struct fdit_model *m = new_model(8), *spread = new_model(8);
    float table[8 * D], other[8 * D];
    ck_assert_ok(ctx, fdit_class_table_start(ctx, m, FDIT_TABLE_NAMES, base, tax, 5, NULL));
    ck_assert_ok(ctx, fdit_class_table_start(ctx, spread, FDIT_TABLE_BASE, base, tax, 5, NULL));
    read_table(m, table);
    read_table(spread, other);
    for (int i = 0; i < 8 * D; i++) {
        int row = from[i / D];
        float wanted = row < 0 ? other[i] : (float)(10 * row) + (float)(i % D) / 100;
        ck_assert_msg(table[i] == wanted, "row %d, column %d: %g, wanted %g", i / D, i % D, (double)table[i],
                      (double)wanted);
    }
    fdit_model_free(m);
    fdit_model_free(spread);
    fdit_taxonomy_free(tax);
    fdit_checkpoint_close(base);
}
END_TEST

START_TEST(test_spread)
{
    write_base(true);
    struct fdit_checkpoint *base = open_base();
    enum { CLASSES = 400 };
    struct fdit_taxonomy *tax = NULL;
    ck_assert_ok(ctx, fdit_taxonomy_from_count(ctx, CLASSES, &tax));
    struct fdit_model *m = new_model(CLASSES);
    static float table[CLASSES * D];
    double mean = 0, squares = 0;
    ck_assert_ok(ctx, fdit_class_table_start(ctx, m, FDIT_TABLE_BASE, base, tax, 1, NULL));
    read_table(m, table);
    for (int i = 0; i < CLASSES; i++) {
        mean += (double)table[i * D] / CLASSES;
        squares += (double)table[i * D] * (double)table[i * D] / CLASSES;
    }
    /* column 0 of the base: 0, 10, 20, 30 */
    ck_assert_double_eq_tol(mean, 15, 2.5);
    ck_assert_double_eq_tol(sqrt(squares - mean * mean), sqrt(125), 2);
    ck_assert_ok(ctx, fdit_class_table_start(ctx, m, FDIT_TABLE_NORMAL, NULL, tax, 1, NULL));
    read_table(m, table);
    for (int i = 0; i < CLASSES * D; i++)
        ck_assert_msg(fabsf(table[i]) < 0.02f * 6, "N(0, 0.02) gave %g", (double)table[i]);
    fdit_model_free(m);
    fdit_taxonomy_free(tax);
    fdit_checkpoint_close(base);
}
END_TEST

START_TEST(test_refusals)
{
    write_base(false);
    struct fdit_checkpoint *base = open_base();
    struct fdit_taxonomy *tax = parse("class\tletter\nA/x\tA\nC/y\tC\n");
    struct fdit_model *m = new_model(4), *small = new_model(3);
    ck_assert_int_eq(fdit_class_table_start(ctx, m, FDIT_TABLE_NAMES, base, tax, 0, NULL), FDIT_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "--table-init base"));
    ck_assert_int_eq(fdit_class_table_start(ctx, small, FDIT_TABLE_NAMES, base, tax, 0, NULL),
                     FDIT_ERROR_ARGUMENT);
    fdit_model_free(m);
    fdit_model_free(small);
    fdit_taxonomy_free(tax);
    fdit_checkpoint_close(base);
}
END_TEST

int main(void)
{
    struct fdit_device_options options = { .spec = "cpu", .threads = 1 };
    Suite *s = suite_create("table");
    TCase *tc = tcase_create("start");
    int fd = mkstemp(path);
    ctx = fdit_context_new();
    if (fd < 0 || fdit_devices_open_one(ctx, &options, &dev) != FDIT_OK)
        return EXIT_FAILURE;
    close(fd);
    tcase_add_test(tc, test_names);
    tcase_add_test(tc, test_spread);
    tcase_add_test(tc, test_refusals);
    suite_add_tcase(s, tc);
    int failed = test_run(s);
    if (!failed)
        fdit_device_close(dev);
    unlink(path);
    fdit_context_free(ctx);
    return failed;
}
