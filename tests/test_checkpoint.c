/* SPDX-License-Identifier: Apache-2.0
 * Every layout in which weights come, as one list of parameters; converting between them. */
#include "harness.h"

#include "core/file.h"
#include "core/mem.h"
#include "model/checkpoint.h"
#include "model/convert.h"
#include "model/delta.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static fdit_context *ctx;
static char folder[64];

static void setup(void)
{
    ctx = fdit_context_new();
    snprintf(folder, sizeof folder, "/tmp/fdit-test-checkpoint-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
    fdit_context_free(ctx);
}

static const char *in_folder(const char *name)
{
    static char paths[64][128];
    static int turn;
    char *path = paths[turn++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static struct fdit_checkpoint *open_weights(const char *path, enum fdit_values values)
{
    struct fdit_checkpoint *cp;
    ck_assert_ok(ctx, fdit_checkpoint_open(ctx, path, values, &cp));
    return cp;
}

static struct fdit_checkpoint *open_fixture(const char *name, enum fdit_values values)
{
    char *path = test_fixture("formats/%s", name);
    struct fdit_checkpoint *cp = open_weights(path, values);
    free(path);
    return cp;
}

/* The parameters of `a` are those of `b`, within `most` of the largest of each; norms that only one
 * has are left out. Returns how many were compared. */
static int check_same(struct fdit_checkpoint *a, struct fdit_checkpoint *b, double most)
{
    struct fdit_model_config c;
    struct fdit_params params;
    int n = 0;
    ck_assert_ok(ctx, fdit_checkpoint_config(ctx, a, "24,2,3,2", &c));
    ck_assert_ok(ctx, fdit_params_init(ctx, &c, NULL, &params));
    for (int i = 0; i < params.n; i++) {
        const struct fdit_param *p = &params.list[i];
        float *x, *y;
        if (!fdit_checkpoint_has(a, p->name) || !fdit_checkpoint_has(b, p->name)) {
            ck_assert_msg(p->kind == FDIT_PARAM_NORM, "%s is missing", p->name);
            continue;
        }
        ck_assert_ok(ctx, fdit_alloc(ctx, p->count, sizeof *x, &x));
        ck_assert_ok(ctx, fdit_alloc(ctx, p->count, sizeof *y, &y));
        ck_assert_ok(ctx, fdit_checkpoint_read(ctx, a, p, x));
        ck_assert_ok(ctx, fdit_checkpoint_read(ctx, b, p, y));
        double largest = test_largest(y, p->count), off = 0;
        for (size_t k = 0; k < p->count; k++) {
            double d = fabs((double)x[k] - y[k]);
            off = d > off ? d : off;
        }
        ck_assert_msg(off <= most * largest, "%s: %s is off by %g of %g", fdit_checkpoint_path(a), p->name,
                      off, largest);
        /* in pieces that do not fall on the borders of its parts */
        for (size_t k = 0, m; k < p->count; k += m) {
            m = p->count - k < 1000 ? p->count - k : 1000;
            ck_assert_ok(ctx, fdit_checkpoint_read_part(ctx, a, p, k, m, y + k));
        }
        ck_assert(!memcmp(x, y, p->count * sizeof *x));
        fdit_free(x);
        fdit_free(y);
        n++;
    }
    fdit_params_fini(&params);
    return n;
}

/* ------------------------------------------------------------------ layouts */

START_TEST(test_layouts)
{
    static const struct {
        const char *name, *layout, *prefix;
        enum fdit_values values;
        bool zip;
    } files[] = {
        { "legacy.pt", "torch state_dict", "", FDIT_VALUES_EMA, false },
        { "dit.pt", "torch state_dict", "", FDIT_VALUES_EMA, true },
        { "views.pt", "torch state_dict", "", FDIT_VALUES_EMA, true },
        { "finediffusion.pt", "torch checkpoint", "ema/", FDIT_VALUES_EMA, true },
    };
    struct fdit_checkpoint *want = open_fixture("dit.safetensors", FDIT_VALUES_EMA);
    for (size_t i = 0; i < 4; i++) {
        struct fdit_checkpoint *cp = open_fixture(files[i].name, files[i].values);
        struct fdit_model_config c;
        ck_assert_str_eq(fdit_checkpoint_layout(cp), files[i].layout);
        ck_assert_str_eq(fdit_checkpoint_prefix(cp), files[i].prefix);
        ck_assert_ok(ctx, fdit_checkpoint_config(ctx, cp, NULL, &c)); /* by config.json */
        ck_assert(c.heads == 3 && c.table_rows == 13 && c.depth == 2 && c.input_size == 8);
        /* the dictionary's weights are some steps of training away */
        ck_assert_int_eq(check_same(cp, want, *files[i].prefix ? 0.3 : 0), 42);
        fdit_checkpoint_close(cp);
    }
    fdit_checkpoint_close(want);
}
END_TEST

/* The dictionary's two sets differ, and the wanted one is read. */
START_TEST(test_ema_and_raw)
{
    struct fdit_checkpoint *ema = open_fixture("finediffusion.pt", FDIT_VALUES_EMA),
                           *raw = open_fixture("finediffusion.pt", FDIT_VALUES_RAW);
    struct fdit_model_config c;
    struct fdit_params params;
    ck_assert_str_eq(fdit_checkpoint_prefix(raw), "model/");
    ck_assert_ok(ctx, fdit_checkpoint_config(ctx, raw, NULL, &c));
    ck_assert_ok(ctx, fdit_params_init(ctx, &c, NULL, &params));
    const struct fdit_param *p = fdit_params_find(&params, "y_embedder.embedding_table.weight");
    float a[13 * 24], b[13 * 24];
    ck_assert_ok(ctx, fdit_checkpoint_read(ctx, ema, p, a));
    ck_assert_ok(ctx, fdit_checkpoint_read(ctx, raw, p, b));
    ck_assert(memcmp(a, b, sizeof a) != 0);
    fdit_params_fini(&params);
    fdit_checkpoint_close(ema);
    fdit_checkpoint_close(raw);
}
END_TEST

START_TEST(test_diffusers)
{
    static const char *const paths[] = { "formats/transformer", "formats",
                                         "formats/transformer/diffusion_pytorch_model.safetensors" };
    if (!test_fixture_exists("formats/transformer/config.json"))
        return;
    struct fdit_checkpoint *stock = open_fixture("stock.pt", FDIT_VALUES_EMA);
    for (size_t i = 0; i < 3; i++) {
        char *path = test_fixture("%s", paths[i]);
        struct fdit_checkpoint *cp = open_weights(path, FDIT_VALUES_EMA);
        struct fdit_model_config c;
        struct fdit_params params;
        int extra;
        ck_assert_str_eq(fdit_checkpoint_layout(cp), "diffusers DiT");
        ck_assert_ok(ctx, fdit_checkpoint_config(ctx, cp, NULL, &c));
        ck_assert(c.width == 24 && c.heads == 3 && c.table_rows == 14 && c.depth == 2 && c.patch == 2 &&
                  c.input_size == 8 && c.channels == 4 && c.mlp_ratio == 4);
        ck_assert_ok(ctx, fdit_params_init(ctx, &c, NULL, &params));
        ck_assert_ok(ctx, fdit_checkpoint_check(ctx, cp, &params, c.depth, &extra));
        ck_assert_int_eq(extra, 0);
        fdit_params_fini(&params);
        ck_assert_int_eq(check_same(cp, stock, 1e-6), 32); /* the position table is computed */
        fdit_checkpoint_close(cp);
        free(path);
    }
    fdit_checkpoint_close(stock);
}
END_TEST

/* ------------------------------------------------------------------ converting */

static struct fdit_convert_options to(const char *in, const char *out)
{
    return (struct fdit_convert_options){
        .in = in, .out = out, .model = "24,2,3,2", .type = FDIT_ST_F32, .shard_bytes = 40000
    };
}

START_TEST(test_convert_and_back)
{
    static const char *const outs[] = { "x.safetensors", "x.safetensors.index.json", "x.pt" };
    char *in = test_fixture("formats/dit.safetensors");
    struct fdit_checkpoint *want = open_weights(in, FDIT_VALUES_EMA);
    for (size_t i = 0; i < 3; i++) {
        struct fdit_convert_options o = to(in, in_folder(outs[i]));
        struct fdit_convert_report r;
        ck_assert_ok(ctx, fdit_convert(ctx, &o, &r));
        ck_assert(r.tensors == 42 && !r.delta && !r.left_out && !r.norms_added);
        ck_assert_uint_eq(r.files, i == 1 ? 4 : 1);
        struct fdit_checkpoint *got = open_weights(o.out, FDIT_VALUES_EMA);
        ck_assert_int_eq(check_same(got, want, 0), 42);
        fdit_checkpoint_close(got);
    }
    fdit_checkpoint_close(want);
    free(in);
}
END_TEST

/* --names torch leaves the norms of a stock DiT out, else they are written. */
START_TEST(test_stock_names)
{
    char *in = test_fixture("formats/stock.pt");
    for (int torch = 0; torch < 2; torch++) {
        struct fdit_convert_options o = to(in, in_folder(torch ? "s" : "s.pt"));
        struct fdit_convert_report r;
        o.torch_names = torch;
        o.type = FDIT_ST_BF16;
        ck_assert_ok(ctx, fdit_convert(ctx, &o, &r));
        ck_assert_int_eq((int)r.tensors, torch ? 32 : 42);
        ck_assert_int_eq(r.norms_added, torch ? 0 : 10);
        struct fdit_checkpoint *got = open_weights(o.out, FDIT_VALUES_EMA),
                               *want = open_weights(in, FDIT_VALUES_EMA);
        ck_assert_str_eq(fdit_checkpoint_layout(got), "torch state_dict");
        ck_assert_int_eq(check_same(got, want, 0.004), 32);
        fdit_checkpoint_close(got);
        fdit_checkpoint_close(want);
    }
    free(in);
}
END_TEST

/* A fine-tuned file: the base with other values where the mask trains, and frozen weights times
 * 1 + drift. */
static void make_fine(const char *base, const char *out, double drift)
{
    struct fdit_checkpoint *cp = open_weights(base, FDIT_VALUES_EMA);
    struct fdit_model_config c;
    struct fdit_params params;
    struct fdit_st_writer *w;
    struct test_rng rng = test_rng_new("fine");
    float *data[64];
    ck_assert_ok(ctx, fdit_checkpoint_config(ctx, cp, "24,2,3,2", &c));
    c.table_rows = 21;
    ck_assert_ok(ctx, fdit_params_init(ctx, &c, fdit_mask_find("finediffusion"), &params));
    ck_assert_ok(ctx, fdit_st_writer_new(ctx, &w));
    ck_assert_int_le(params.n, 64);
    for (int i = 0; i < params.n; i++) {
        const struct fdit_param *p = &params.list[i];
        int64_t shape[4];
        ck_assert_ok(ctx, fdit_alloc(ctx, p->count, sizeof **data, &data[i]));
        if (p->trained)
            test_fill_normal(&rng, data[i], p->count, 0, 0.5f);
        else
            ck_assert_ok(ctx, fdit_checkpoint_read(ctx, cp, p, data[i]));
        for (size_t k = 0; !p->trained && p->kind != FDIT_PARAM_POS && k < p->count; k++)
            data[i][k] *= (float)(1 + drift);
        for (int k = 0; k < p->rank; k++)
            shape[k] = p->shape[k];
        ck_assert_ok(ctx, fdit_st_writer_f32(ctx, w, p->name, FDIT_ST_F32, p->rank, shape, data[i]));
    }
    ck_assert_ok(ctx, fdit_st_writer_save(ctx, w, out));
    fdit_st_writer_free(w);
    for (int i = 0; i < params.n; i++)
        fdit_free(data[i]);
    fdit_params_fini(&params);
    fdit_checkpoint_close(cp);
}

START_TEST(test_extract_and_merge)
{
    static const double drifts[] = { 0, 2e-4 };
    static const enum fdit_st_type types[] = { FDIT_ST_F32, FDIT_ST_F16, FDIT_ST_BF16 };
    static const double errors[] = { 0, 6e-4, 4e-3 };
    char *base = test_fixture("formats/dit.safetensors");
    const char *fine = in_folder("fine.safetensors");
    for (size_t d = 0; d < 2; d++)
        for (size_t t = 0; t < 3; t++) {
            struct fdit_convert_report r;
            make_fine(base, fine, drifts[d]);
            struct fdit_convert_options o = to(fine, in_folder("delta.safetensors"));
            o.base = base;
            o.type = types[t];
            ck_assert_ok(ctx, fdit_convert(ctx, &o, &r));
            ck_assert(r.delta);
            ck_assert_int_eq((int)r.tensors, 26);            /* table, 15 biases, 10 norms */
            ck_assert_int_eq((int)(r.same + r.rounded), 16); /* 15 matrices, positions */
            ck_assert_int_eq((int)r.rounded, drifts[d] > 0 ? 15 : 0);
            ck_assert(fabs(r.worst - drifts[d]) < 1e-6);
            /* merged into the base it is the fine-tuned model, and a delta of another type */
            struct fdit_convert_options m = to(base, in_folder("merged.safetensors"));
            m.merge = o.out;
            ck_assert_ok(ctx, fdit_convert(ctx, &m, &r));
            ck_assert_int_eq((int)r.from_delta, 26);
            struct fdit_checkpoint *got = open_weights(m.out, FDIT_VALUES_EMA),
                                   *want = open_weights(fine, FDIT_VALUES_EMA);
            ck_assert_int_eq(check_same(got, want, errors[t] + 1.01 * drifts[d]), 42);
            fdit_checkpoint_close(got);
            fdit_checkpoint_close(want);
            struct fdit_convert_options again = to(o.out, in_folder("again.safetensors"));
            again.type = FDIT_ST_F16;
            ck_assert_ok(ctx, fdit_convert(ctx, &again, &r));
            ck_assert(r.delta && r.tensors == 26);
            struct fdit_checkpoint *cp = open_weights(again.out, FDIT_VALUES_EMA);
            ck_assert_ok(ctx, fdit_delta_check(ctx, cp));
            ck_assert_ptr_nonnull(fdit_checkpoint_meta(cp, "base"));
            ck_assert_ptr_nonnull(fdit_checkpoint_meta(cp, "train"));
            fdit_checkpoint_close(cp);
        }
    free(base);
}
END_TEST

START_TEST(test_extract_refuses)
{
    char *base = test_fixture("formats/dit.safetensors");
    const char *fine = in_folder("fine.safetensors");
    struct fdit_convert_report r;
    make_fine(base, fine, 0.01);
    struct fdit_convert_options o = to(fine, in_folder("delta.safetensors"));
    o.base = base;
    ck_assert_int_eq(fdit_convert(ctx, &o, &r), FDIT_ERROR_FORMAT);
    ck_assert_msg(strstr(fdit_context_message(ctx), "was trained, too"), "%s", fdit_context_message(ctx));
    ck_assert(!fdit_file_exists(o.out));
    o.force = true;
    ck_assert_ok(ctx, fdit_convert(ctx, &o, &r));
    o.force = false;
    o.out = in_folder("delta.pt");
    make_fine(base, fine, 0);
    ck_assert_int_eq(fdit_convert(ctx, &o, &r), FDIT_ERROR_ARGUMENT); /* a delta is not a torch file */
    o.out = base;
    ck_assert_int_eq(fdit_convert(ctx, &o, &r), FDIT_ERROR_ARGUMENT); /* an input */
    o.out = in_folder("delta.safetensors");
    o.taxonomy = "{}";
    o.taxonomy_rows = 19;
    ck_assert_int_eq(fdit_convert(ctx, &o, &r), FDIT_ERROR_FORMAT); /* 21 rows */
    o.taxonomy = NULL;
    /* a delta of another base is not merged */
    ck_assert_ok(ctx, fdit_convert(ctx, &o, &r));
    const char *other = in_folder("other.safetensors");
    make_fine(base, other, 0.05);
    struct fdit_convert_options m = to(other, in_folder("merged.safetensors"));
    m.merge = o.out;
    ck_assert_int_eq(fdit_convert(ctx, &m, &r), FDIT_ERROR_FORMAT);
    m.force = true;
    ck_assert_ok(ctx, fdit_convert(ctx, &m, &r));
    /* nor is a delta merged into a delta */
    m.in = o.out;
    ck_assert_int_eq(fdit_convert(ctx, &m, &r), FDIT_ERROR_ARGUMENT);
    free(base);
}
END_TEST

/* A tensor that no DiT has, and a newer version, are refused by name. */
START_TEST(test_refused)
{
    struct fdit_st_writer *w;
    struct fdit_checkpoint *cp;
    const float x[4] = { 1, 2, 3, 4 };
    const char *path = in_folder("new.safetensors");
    ck_assert_ok(ctx, fdit_st_writer_new(ctx, &w));
    ck_assert_ok(ctx, fdit_st_writer_meta(ctx, w, "format", FDIT_DELTA_FORMAT));
    ck_assert_ok(ctx, fdit_st_writer_meta(ctx, w, "version", "7"));
    ck_assert_ok(ctx, fdit_st_writer_f32(ctx, w, "t", FDIT_ST_F32, 1, (int64_t[]){ 4 }, x));
    ck_assert_ok(ctx, fdit_st_writer_save(ctx, w, path));
    fdit_st_writer_free(w);
    ck_assert_int_eq(fdit_checkpoint_open(ctx, path, FDIT_VALUES_EMA, &cp), FDIT_ERROR_UNSUPPORTED);
    ck_assert_msg(strstr(fdit_context_message(ctx), "version 7"), "%s", fdit_context_message(ctx));
    char *empty = NULL;
    ck_assert_ok(ctx, fdit_path_join(ctx, folder, "empty", &empty));
    ck_assert_ok(ctx, fdit_mkdirs(ctx, empty));
    ck_assert_int_eq(fdit_checkpoint_open(ctx, empty, FDIT_VALUES_EMA, &cp), FDIT_ERROR_FORMAT);
    fdit_free(empty);
    ck_assert_msg(strstr(fdit_context_message(ctx), "is a folder"), "%s", fdit_context_message(ctx));
    ck_assert_int_eq(fdit_checkpoint_open(ctx, in_folder("none.pt"), FDIT_VALUES_EMA, &cp), FDIT_ERROR_IO);
}
END_TEST

START_TEST(test_no_memory)
{
    char *in = test_fixture("formats/finediffusion.pt");
    bool done = false;
    for (uint64_t k = 1; !done; k += k < 60 ? 1 : 37) {
        struct fdit_convert_report r;
        struct fdit_convert_options o = to(in, in_folder("x.safetensors.index.json"));
        fdit_mem_fail_at(k);
        enum fdit_status status = fdit_convert(ctx, &o, &r);
        fdit_mem_fail_at(0);
        done = status == FDIT_OK;
        ck_assert_msg(done || status == FDIT_ERROR_MEMORY, "%d: %s", status, fdit_context_message(ctx));
        ck_assert(done || !fdit_file_exists(o.out));
    }
    free(in);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checkpoint");
    TCase *tc = tcase_create("checkpoint");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_layouts);
    tcase_add_test(tc, test_ema_and_raw);
    tcase_add_test(tc, test_diffusers);
    tcase_add_test(tc, test_convert_and_back);
    tcase_add_test(tc, test_stock_names);
    tcase_add_test(tc, test_extract_and_merge);
    tcase_add_test(tc, test_extract_refuses);
    tcase_add_test(tc, test_refused);
    tcase_add_test(tc, test_no_memory);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
