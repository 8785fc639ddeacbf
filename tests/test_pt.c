/* SPDX-License-Identifier: Apache-2.0
 * Torch files: both layouts, every type, views, everything that must be refused, and writing. */
#include "harness.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/half.h"
#include "format/pt.h"
#include "format/pt_pickle.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static fdit_context *ctx;

static void setup(void)
{
    ctx = fdit_context_new();
}

static void teardown(void)
{
    fdit_context_free(ctx);
}

static char *corpus(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/corpus/pt/%s", TESTS_DIR, name);
    return path;
}

/* ------------------------------------------------------------------ reading */

static const float numbers[6] = { 0, 1, -2, 3.5f, -0.25f, 100 };

static void check_numbers(const struct fdit_pt *pt, const char *name, const double *want, size_t n,
                          bool integers)
{
    const struct fdit_st_tensor *t = fdit_pt_find(pt, name);
    float x[32];
    int64_t k[32];
    ck_assert_msg(t != NULL, "%s: no %s", fdit_pt_path(pt), name);
    ck_assert_uint_eq(t->n, n);
    if (integers)
        ck_assert_ok(ctx, fdit_st_i64(ctx, name, t, 0, n, k));
    else
        ck_assert_ok(ctx, fdit_st_weights(ctx, name, t, 0, n, x));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg((integers ? (double)k[i] : (double)x[i]) == want[i], "%s[%zu] is %g, not %g", name, i,
                      integers ? (double)k[i] : (double)x[i], want[i]);
    for (size_t i = 0; !integers && i < n; i++) { /* the same one at a time */
        ck_assert_ok(ctx, fdit_st_f32(ctx, name, t, i, 1, x));
        ck_assert(x[0] == (float)want[i]);
    }
}

START_TEST(test_types)
{
    static const struct {
        const char *name;
        enum fdit_st_type type;
    } types[] = { { "float32", FDIT_ST_F32 }, { "float16", FDIT_ST_F16 }, { "bfloat16", FDIT_ST_BF16 },
                  { "float64", FDIT_ST_F64 }, { "int64", FDIT_ST_I64 },   { "int32", FDIT_ST_I32 },
                  { "int16", FDIT_ST_I16 },   { "int8", FDIT_ST_I8 },     { "uint8", FDIT_ST_U8 },
                  { "bool", FDIT_ST_BOOL } };
    for (int old = 0; old < 2; old++) {
        struct fdit_pt *pt;
        ck_assert_ok(ctx, fdit_pt_open(ctx, corpus(old ? "types_old.pt" : "types.pt"), &pt));
        ck_assert_uint_eq(fdit_pt_count(pt), 10);
        for (size_t i = 0; i < 10; i++) {
            const struct fdit_st_tensor *t = fdit_pt_at(pt, i);
            bool is_float = fdit_st_is_float(types[i].type);
            double want[6];
            ck_assert_str_eq(t->name, types[i].name);
            ck_assert_int_eq(t->type, types[i].type);
            ck_assert(t->rank == 2 && t->shape[0] == 2 && t->shape[1] == 3 && !t->stride);
            for (int k = 0; k < 6; k++)
                want[k] = is_float                        ? numbers[k]
                          : types[i].type == FDIT_ST_BOOL ? numbers[k] != 0
                          : types[i].type == FDIT_ST_U8   ? trunc(fabs(numbers[k]))
                                                          : trunc(numbers[k]);
            check_numbers(pt, types[i].name, want, 6, !is_float);
        }
        fdit_pt_close(pt);
    }
}
END_TEST

START_TEST(test_views)
{
    for (int old = 0; old < 2; old++) {
        struct fdit_pt *pt;
        double want[24];
        ck_assert_ok(ctx, fdit_pt_open(ctx, corpus(old ? "views_old.pt" : "views.pt"), &pt));
        for (int i = 0; i < 24; i++)
            want[i] = i;
        check_numbers(pt, "whole", want, 24, false);
        check_numbers(pt, "tail", want + 20, 4, false);
        check_numbers(pt, "one", want + 7, 1, false);
        check_numbers(pt, "empty", want, 0, false);
        check_numbers(pt, "parameter", want, 4, false);
        check_numbers(pt, "steps", (double[]){ 1, 6, 11, 16, 21 }, 5, false);
        for (int i = 0; i < 24; i++) /* [4, 6] turned around */
            want[i] = i % 4 * 6 + i / 4;
        check_numbers(pt, "swapped", want, 24, false);
        ck_assert_ptr_nonnull(fdit_pt_find(pt, "swapped")->stride);
        fdit_pt_drop(pt, fdit_pt_find(pt, "swapped"));
        fdit_pt_close(pt);
    }
}
END_TEST

START_TEST(test_nested)
{
    for (int old = 0; old < 2; old++) {
        struct fdit_pt *pt;
        char text[16], tiny[4];
        ck_assert_ok(ctx, fdit_pt_open(ctx, corpus(old ? "nested_old.pt" : "nested.pt"), &pt));
        ck_assert_uint_eq(fdit_pt_count(pt), 3);
        check_numbers(pt, "model/x", (double[]){ 1, 1 }, 2, false);
        check_numbers(pt, "opt/state/0/step", (double[]){ 3 }, 1, false);
        check_numbers(pt, "opt/state/0/exp_avg", (double[]){ 0, 0 }, 2, false);
        ck_assert(fdit_pt_text(pt, "args/model", text, sizeof text) && !strcmp(text, "DiT-S/2"));
        ck_assert(!fdit_pt_text(pt, "args/model", tiny, sizeof tiny));
        ck_assert(!fdit_pt_text(pt, "args/lr", text, sizeof text));
        ck_assert(!fdit_pt_text(pt, "args/none", text, sizeof text));
        ck_assert(!fdit_pt_text(pt, "epoch", text, sizeof text)); /* 2^40, a number */
        ck_assert(!fdit_pt_text(pt, "big", text, sizeof text));   /* 2^80 */
        fdit_pt_close(pt);
    }
}
END_TEST

START_TEST(test_types_as_arguments)
{
    struct fdit_pt *pt;
    ck_assert_ok(ctx, fdit_pt_open(ctx, corpus("v3.pt"), &pt));
    check_numbers(pt, "u", (double[]){ 1, 1, 1 }, 3, true);
    ck_assert_int_eq(fdit_pt_find(pt, "w")->type, FDIT_ST_F8_E4M3);
    fdit_pt_close(pt);
}
END_TEST

/* ------------------------------------------------------------------ pickles */

START_TEST(test_protocols)
{
    for (int protocol = 0; protocol < 6; protocol++) {
        struct fdit_pt_pickle *p;
        const struct fdit_pt_value *v, *a;
        uint8_t *bytes;
        size_t n, used;
        char name[32];
        snprintf(name, sizeof name, "protocol%d.pkl", protocol);
        ck_assert_ok(ctx, fdit_file_read_all(ctx, corpus(name), 1 << 20, &bytes, &n));
        ck_assert_ok(ctx, fdit_pt_pickle_new(ctx, name, &p));
        ck_assert_ok(ctx, fdit_pt_pickle_run(ctx, p, bytes, n, &used, &v));
        ck_assert_uint_eq(used, n);
        a = fdit_pt_get(v, "a");
        ck_assert(a && a->kind == FDIT_PT_LIST && a->n == 12);
        ck_assert(a->items[0]->kind == FDIT_PT_INT && a->items[0]->i == 1);
        ck_assert(a->items[1]->kind == FDIT_PT_INT && a->items[1]->i == -2);
        ck_assert(a->items[2]->kind == FDIT_PT_FLOAT && a->items[2]->f == 3.5);
        ck_assert(a->items[3]->kind == FDIT_PT_BOOL && a->items[3]->i == 1);
        ck_assert(a->items[4]->kind == FDIT_PT_NONE);
        ck_assert(a->items[5]->i == INT64_C(1) << 40);
        ck_assert(fdit_pt_is_text(a->items[7], "text"));
        ck_assert(a->items[9]->kind == FDIT_PT_TUPLE && a->items[9]->n == 0);
        ck_assert(a->items[11]->kind == FDIT_PT_TUPLE && a->items[11]->n == 4);
        ck_assert(fdit_pt_get(fdit_pt_get(v, "b"), "d")->kind == FDIT_PT_DICT);
        fdit_pt_pickle_free(p);
        fdit_free(bytes);
    }
}
END_TEST

/* Instructions that must fail, and a word of why. */
static const struct {
    const char *bytes;
    size_t n;
    const char *word;
} bad_pickles[] = {
#define CASE(text, word)            \
    {                               \
        text, sizeof text - 1, word \
    }
    CASE("", "ends without"),
    CASE("N", "ends without"),
    CASE(".", "more from the stack"),
    CASE("0.", "more from the stack"),
    CASE("t.", "a mark"),
    CASE("(1.", "more from the stack"),
    CASE("N(.", "more from the stack"), /* nothing may be taken from below a mark */
    CASE("K", "middle of an instruction"),
    CASE("X\xff\xff\xff\xffxx.", "longer than the pickle"),
    CASE("\x8d\xff\xff\xff\xff\xff\xff\xff\xffx.", "longer than the pickle"),
    CASE("\x8b\xff\xff\xff\xff.", "longer than the pickle"),
    CASE("h\x00.", "memo"),
    CASE("Nr\xff\xff\xff\x7f.", "memo"),
    CASE("Np12x\n.", "not a number"),
    CASE("I12x\n.", "a number"),
    CASE("S'x\n.", "without quotes"),
    CASE("}(Nu.", "key without a value"),
    CASE("(Nd.", "key without a value"),
    CASE("N(Nu.", "not a dictionary"),
    CASE("NNa.", "not a list"),
    CASE("]h", "middle"),
    CASE("]q\x00h\x00"
         "a.",
         "holds itself"),
    CASE("NNR.", "not a name"),
    CASE("ccollections\nOrderedDict\nNR.", "than a tuple"),
    CASE("ccollections\nOrderedDict\n(K\x01tR.", "than pairs"),
    CASE("ctorch\nFloatStorage\n)R.", "torch.FloatStorage"),
    CASE("cos\nsystem\n(S'x'\ntR.", "os.system"),
    CASE("c__builtin__\ngetattr\n.", "__builtin__.getattr"),
    CASE("S'os'\nS'system'\n\x93.", "os.system"),
    CASE("(ios\nsystem\n.", "os.system"),
    CASE("\x82\x01.", "extension"),
    CASE("Pabc\n.", "outside reference"),
    CASE("NQ.", "not a tuple"),
    CASE("(S'module'\ntQ.", "module"),
    CASE("(S'storage'\nNS'0'\nS'cpu'\nK\x01tQ.", "not a storage"),
    CASE("N}b.", "attributes"),
    CASE("\x80\x09N.", "protocol 9"),
    CASE("ctorch._utils\n_rebuild_tensor_v2\n)R.", "without storage"),
    CASE("ctorch._utils\n_rebuild_parameter\n(NtR.", "not a tensor"),
#undef CASE
};

START_TEST(test_bad_pickles)
{
    for (size_t i = 0; i < sizeof bad_pickles / sizeof *bad_pickles; i++) {
        struct fdit_pt_pickle *p;
        const struct fdit_pt_value *v;
        ck_assert_ok(ctx, fdit_pt_pickle_new(ctx, "file", &p));
        enum fdit_status status =
            fdit_pt_pickle_run(ctx, p, (const uint8_t *)bad_pickles[i].bytes, bad_pickles[i].n, NULL, &v);
        ck_assert_msg((status == FDIT_ERROR_FORMAT || status == FDIT_ERROR_UNSUPPORTED) && !v &&
                          strstr(fdit_context_message(ctx), bad_pickles[i].word) &&
                          !strncmp(fdit_context_message(ctx), "file: ", 6),
                      "case %zu: %s: %s", i, fdit_status_text(status), fdit_context_message(ctx));
        fdit_pt_pickle_free(p);
    }
}
END_TEST

/* A pickle of a few hundred bytes whose lists hold each list twice: 2^60 ways to the innermost. */
START_TEST(test_many_ways)
{
    uint8_t bytes[2000];
    size_t n = 0;
    struct fdit_pt_pickle *p;
    const struct fdit_pt_value *v;
    bytes[n++] = ']';
    for (uint8_t i = 0; i < 60; i++) {
        const uint8_t twice[] = { 'q', i, ']', 'h', i, 'a', 'h', i, 'a' };
        memcpy(bytes + n, twice, sizeof twice);
        n += sizeof twice;
    }
    bytes[n++] = '.';
    ck_assert_ok(ctx, fdit_pt_pickle_new(ctx, "file", &p));
    ck_assert_ok(ctx, fdit_pt_pickle_run(ctx, p, bytes, n, NULL, &v));
    fdit_pt_pickle_free(p);
    /* as a file of the older layout it is refused before the ways are walked */
    uint8_t file[3000];
    static const uint8_t head[] = "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";
    memcpy(file, head, sizeof head - 1);
    memcpy(file + sizeof head - 1, bytes, n);
    memcpy(file + sizeof head - 1 + n, "].", 2);
    struct fdit_pt *pt;
    ck_assert_int_eq(fdit_pt_open_memory(ctx, "file", file, sizeof head + 1 + n, &pt), FDIT_ERROR_FORMAT);
    ck_assert_msg(strstr(fdit_context_message(ctx), "hold each other"), "%s", fdit_context_message(ctx));
}
END_TEST

/* ------------------------------------------------------------------ files that must be refused */

START_TEST(test_bad_files)
{
    static const struct {
        const char *name;
        const char *words[2];
    } files[] = {
        { "runs_system.pt", { "posix.system", "nothing was executed" } },
        { "runs_system_legacy.pt", { "posix.system", "nothing was executed" } },
        { "runs_system_bare.pkl", { "posix.system", "nothing was executed" } },
        { "runs_eval.pt", { "__builtin__.eval", "nothing was executed" } },
        { "runs_inst.pt", { "posix.system", "nothing was executed" } },
        { "runs_stack_global.pt", { "posix.system", "nothing was executed" } },
        { "truncated.pt", { "directory", "cut off" } },
        { "truncated_tail.pt", { "directory", "cut off" } },
        { "missing_record.pt", { "archive/data/3", "missing" } },
        { "storage_too_big.pt", { "pos_embed", "1099511627776" } },
        { "offset_beyond_storage.pt", { "pos_embed", "outside its storage" } },
        { "stride_beyond_storage.pt", { "pos_embed", "outside its storage" } },
        { "negative_offset.pt", { "offset", "negative" } },
        { "stride_zero_huge.pt", { "pos_embed", "1099511627776" } },
        { "deep_nesting.pt", { "nested deeper", "64" } },
        { "memo_loop.pt", { "holds itself", "pickle" } },
        { "unknown_opcode.pt", { "0xff", "not an instruction" } },
        { "stack_underflow.pt", { "more from the stack", "pickle" } },
        { "no_stop.pt", { "without its last instruction", "pickle" } },
        { "empty.safetensors", { "not a torch file", "" } },
        { "ok.safetensors", { "not a torch file", "" } },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct fdit_pt *pt;
        char *path = test_fixture("bad/%s", files[i].name);
        size_t live = fdit_mem_stats().count;
        fdit_mem_reset_peak();
        size_t before = fdit_mem_stats().bytes;
        enum fdit_status status = fdit_pt_open(ctx, path, &pt);
        const char *message = fdit_context_message(ctx);
        ck_assert_msg(status == FDIT_ERROR_FORMAT || status == FDIT_ERROR_UNSUPPORTED, "%s: %s",
                      files[i].name, fdit_status_text(status));
        ck_assert_ptr_null(pt);
        ck_assert_msg(strstr(message, files[i].name) != NULL, "%s", message);
        ck_assert_msg(fdit_mem_stats().peak_bytes - before < (size_t)8 << 20, "%s: %zu bytes", files[i].name,
                      fdit_mem_stats().peak_bytes - before);
        for (int k = 0; k < 2; k++)
            ck_assert_msg(strstr(message, files[i].words[k]) != NULL, "no \"%s\" in: %s", files[i].words[k],
                          message);
        ck_assert_int_le((int)fdit_mem_stats().count, (int)live + 1); /* the message */
        free(path);
    }
}
END_TEST

/* ------------------------------------------------------------------ writing */

struct source {
    float x[4][7];
    size_t fail_at;
};

static enum fdit_status fill(fdit_context *c, void *user, size_t i, float *out)
{
    static const size_t n[4] = { 6, 1, 7, 0 };
    const struct source *s = user;
    if (i == s->fail_at)
        return fdit_fail(c, FDIT_ERROR_NUMERIC, "no numbers for %zu", i);
    memcpy(out, s->x[i], n[i] * sizeof *out);
    return FDIT_OK;
}

static const struct {
    const char *name;
    enum fdit_st_type type;
    int rank;
    int64_t shape[2];
} written[4] = { { "blocks.0.weight", FDIT_ST_F32, 2, { 2, 3 } },
                 { "one", FDIT_ST_F16, 0, { 0 } },
                 { "seven", FDIT_ST_BF16, 1, { 7 } },
                 { "none", FDIT_ST_F64, 2, { 0, 5 } } };

static enum fdit_status write_file(const char *path, struct source *s, uint64_t *bytes)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_writer *w = NULL;
    TRY(fdit_pt_writer_new(ctx, &w));
    for (int i = 0; i < 4; i++)
        TRY(fdit_pt_writer_add(ctx, w, written[i].name, written[i].type, written[i].rank, written[i].shape));
    TRY(fdit_pt_writer_save(ctx, w, path, fill, s, bytes));
out:
    fdit_pt_writer_free(w);
    return status;
}

static void make_source(struct source *s)
{
    *s = (struct source){ .fail_at = SIZE_MAX };
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 7; k++)
            s->x[i][k] = (float)(i * 8 + k) / 4 - 3;
}

START_TEST(test_write)
{
    struct source s;
    struct fdit_pt *pt;
    uint64_t bytes = 0, size = 0;
    char path[] = "/tmp/fdit-test-pt-XXXXXX";
    double want[7];
    close(mkstemp(path));
    make_source(&s);
    ck_assert_ok(ctx, write_file(path, &s, &bytes));
    ck_assert_ok(ctx, fdit_file_size(ctx, path, &size));
    ck_assert_uint_eq(size, bytes);
    ck_assert_ok(ctx, fdit_pt_open(ctx, path, &pt));
    ck_assert_uint_eq(fdit_pt_count(pt), 4);
    for (size_t i = 0; i < 4; i++) {
        const struct fdit_st_tensor *t = fdit_pt_at(pt, i);
        ck_assert_str_eq(t->name, written[i].name);
        ck_assert_int_eq(t->type, written[i].type);
        ck_assert_int_eq(t->rank, written[i].rank);
        ck_assert(!memcmp(t->shape, written[i].shape, (size_t)t->rank * sizeof *t->shape));
        for (int k = 0; k < 7; k++)
            want[k] = s.x[i][k];
        check_numbers(pt, t->name, want, t->n, false);
    }
    fdit_pt_close(pt);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(test_write_fails)
{
    char folder[] = "/tmp/fdit-test-pt-XXXXXX", path[64];
    struct source s;
    bool done = false;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.pt", folder);
    make_source(&s);
    for (uint64_t k = 1; !done; k++) {
        ck_assert(k < 100);
        fdit_file_fail_at(k);
        enum fdit_status status = write_file(path, &s, NULL);
        done = status == FDIT_OK;
        fdit_file_fail_at(0);
        if (!done) { /* nothing is left of it: the folder can go */
            ck_assert_int_eq(status, FDIT_ERROR_IO);
            if (strstr(fdit_context_message(ctx), "is complete")) /* only the folder's sync failed */
                ck_assert_int_eq(unlink(path), 0);
            ck_assert_int_eq(rmdir(folder), 0);
            ck_assert_ok(ctx, fdit_mkdirs(ctx, folder));
        }
    }
    ck_assert_int_eq(unlink(path), 0);
    s.fail_at = 2;
    ck_assert_int_eq(write_file(path, &s, NULL), FDIT_ERROR_NUMERIC);
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(test_write_arguments)
{
    struct fdit_pt_writer *w;
    ck_assert_ok(ctx, fdit_pt_writer_new(ctx, &w));
    ck_assert_int_eq(fdit_pt_writer_add(ctx, w, "x", FDIT_ST_I32, 1, (int64_t[]){ 1 }), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_pt_writer_add(ctx, w, "x", FDIT_ST_F32, 2, (int64_t[]){ 1, -1 }),
                     FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(
        fdit_pt_writer_add(ctx, w, "x", FDIT_ST_F32, 2, (int64_t[]){ INT64_C(1) << 40, INT64_C(1) << 40 }),
        FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_pt_writer_add(ctx, w, "x", FDIT_ST_F32, 1, (int64_t[]){ INT64_C(1) << 30 }),
                     FDIT_ERROR_UNSUPPORTED);
    fdit_pt_writer_free(w);
    fdit_pt_writer_free(NULL);
}
END_TEST

/* ------------------------------------------------------------------ memory */

START_TEST(test_no_memory)
{
    static const char *const files[] = { "nested_old.pt", "views_old.pt", "types.pt", "nested.pt" };
    for (size_t f = 0; f < 4; f++) {
        bool done = false;
        for (uint64_t k = 1; !done; k++) {
            struct fdit_pt *pt;
            size_t live = fdit_mem_stats().count;
            ck_assert(k < 10000);
            fdit_mem_fail_at(k);
            enum fdit_status status = fdit_pt_open(ctx, corpus(files[f]), &pt);
            fdit_mem_fail_at(0);
            done = status == FDIT_OK;
            ck_assert(done || status == FDIT_ERROR_MEMORY);
            fdit_pt_close(pt);
            ck_assert_int_le((int)fdit_mem_stats().count, (int)live + 1);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pt");
    TCase *tc = tcase_create("pt");
    tcase_add_unchecked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_types);
    tcase_add_test(tc, test_views);
    tcase_add_test(tc, test_nested);
    tcase_add_test(tc, test_types_as_arguments);
    tcase_add_test(tc, test_protocols);
    tcase_add_test(tc, test_bad_pickles);
    tcase_add_test(tc, test_many_ways);
    tcase_add_test(tc, test_bad_files);
    tcase_add_test(tc, test_write);
    tcase_add_test(tc, test_write_fails);
    tcase_add_test(tc, test_write_arguments);
    tcase_add_test(tc, test_no_memory);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
