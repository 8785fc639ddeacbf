/* SPDX-License-Identifier: Apache-2.0
 * test_formats.c: safetensors and tar, what they accept, refuse and write. */
#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "format/tar.h"
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static fdit_context *ctx;
static size_t live_before;
static char folder[] = "test_formats.XXXXXX";

static void setup(void)
{
    live_before = fdit_mem_stats().count;
    ctx = fdit_context_new();
    strcpy(folder, "test_formats.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    ck_assert_int_eq(system(command), 0);
    fdit_context_free(ctx);
    ck_assert_uint_eq(fdit_mem_stats().count, live_before);
}

static const char *in_folder(const char *name)
{
    static char path[4][160];
    static int at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", folder, name);
    return path[at];
}

static void check_message(const char *word)
{
    const char *text = fdit_context_message(ctx);
    ck_assert_msg(strstr(text, word) != NULL, "no \"%s\" in: %s", word, text);
    ck_assert_msg(strchr(text, '\n') == NULL, "more than one line: %s", text);
}

/* ------------------------------------------------------------------ 16-bit floats */

START_TEST(test_half_both_ways)
{
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i, back;
        float f;
        fdit_f16_to_f32(1, &h, &f);
        int exponent = h >> 10 & 31, fraction = h & 1023;
        double want = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
        if (exponent == 31)
            want = fraction ? NAN : INFINITY;
        if (h >> 15)
            want = -want;
        ck_assert_msg(isnan(want) ? isnan(f) : f == want, "f16 %04x is %a, wanted %a", i, f, want);
        ck_assert(isnan(want) || !signbit(f) == !signbit(want));
        fdit_f32_to_f16(1, &f, &back);
        ck_assert_msg(isnan(want) ? (back & 0x7e00) == 0x7e00 : back == h, "f16 %04x -> %04x", i, back);
        fdit_bf16_to_f32(1, &h, &f);
        fdit_f32_to_bf16(1, &f, &back);
        ck_assert(isnan(f) ? (back & 0x7fc0) == 0x7fc0 : back == h);
    }
}
END_TEST

/* Between two neighbours: the nearer, in the middle the even one. */
START_TEST(test_half_rounding)
{
    for (uint32_t i = 0; i < 0x7c00; i++) {
        uint16_t pair[2] = { (uint16_t)i, (uint16_t)(i + 1) }, got[3];
        float ends[2];
        fdit_f16_to_f32(2, pair, ends);
        if (i == 0x7bff)
            ends[1] = 65536; /* where the next would be */
        float middle = (ends[0] + ends[1]) / 2;
        float x[3] = { nextafterf(middle, 0), middle, nextafterf(middle, 1e9f) };
        fdit_f32_to_f16(3, x, got);
        ck_assert_msg(got[0] == pair[0] && got[1] == pair[i % 2] && got[2] == pair[1],
                      "f16 around %a: %04x %04x %04x", middle, got[0], got[1], got[2]);
        x[1] = -middle;
        fdit_f32_to_f16(1, x + 1, got);
        ck_assert_uint_eq(got[0], pair[i % 2] | 0x8000);
    }
    const float x[] = { 1.00390625f, 1.01171875f, 1.0039064f, 3.4e38f, -INFINITY };
    const uint16_t want[] = { 0x3f80, 0x3f82, 0x3f81, 0x7f80, 0xff80 };
    uint16_t got[5];
    fdit_f32_to_bf16(5, x, got);
    ck_assert_mem_eq(got, want, sizeof want);
}
END_TEST

/* ------------------------------------------------------------------ safetensors: reading */

static enum fdit_status open_bad(const char *name, struct fdit_safetensors **st)
{
    char *path = test_fixture("bad/%s.safetensors", name);
    enum fdit_status status = fdit_safetensors_open(ctx, path, st);
    free(path);
    return status;
}

/* What a model's loader does: every tensor of the good file, by name and shape. */
static enum fdit_status load_as_model(const struct fdit_safetensors *st)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_safetensors *good = NULL;
    float *x = NULL;
    ck_assert_ok(ctx, open_bad("ok", &good));
    ck_assert_uint_gt(fdit_safetensors_count(good), 10);
    for (size_t i = 0; i < fdit_safetensors_count(good); i++) {
        const struct fdit_st_tensor *want = fdit_safetensors_at(good, i), *got;
        TRY(fdit_safetensors_need(ctx, st, want->name, want->rank, want->shape, &got));
        TRY(fdit_alloc(ctx, got->n, sizeof *x, &x));
        TRY(fdit_safetensors_weights(ctx, st, got, 0, got->n, x));
        TRY(fdit_safetensors_check_finite(ctx, st, got));
        fdit_safetensors_drop(st, got);
        fdit_free(x);
        x = NULL;
    }
out:
    fdit_free(x);
    fdit_safetensors_close(good);
    return status;
}

#define QKV "blocks.0.attn.qkv.weight"

START_TEST(test_bad_safetensors)
{
    const struct {
        const char *name;
        enum fdit_status status;
        const char *words[3];
    } files[] = {
        { "ok", FDIT_OK, { 0 } },
        { "empty", FDIT_ERROR_FORMAT, { "0 bytes" } },
        { "seven_bytes", FDIT_ERROR_FORMAT, { "7 bytes" } },
        { "truncated", FDIT_ERROR_FORMAT, { "cut off", "tensor " } },
        { "truncated_header", FDIT_ERROR_FORMAT, { "header", "192" } },
        { "header_beyond_file", FDIT_ERROR_FORMAT, { "header" } },
        { "header_length_max", FDIT_ERROR_FORMAT, { "18446744073709551615" } },
        { "header_no_json", FDIT_ERROR_FORMAT, { "JSON" } },
        { "header_deep_json", FDIT_ERROR_FORMAT, { "nested", "damaged" } },
        { "overlap", FDIT_ERROR_FORMAT, { QKV, "blocks.0.attn.proj.weight" } },
        { "out_of_range", FDIT_ERROR_FORMAT, { QKV, "beyond" } },
        { "offsets_reversed", FDIT_ERROR_FORMAT, { QKV, "range" } },
        { "offsets_negative", FDIT_ERROR_FORMAT, { QKV, "-" } },
        { "size_mismatch", FDIT_ERROR_FORMAT, { QKV, "needs" } },
        { "shape_overflow", FDIT_ERROR_FORMAT, { QKV, "too large" } },
        { "shape_negative", FDIT_ERROR_FORMAT, { QKV, "negative" } },
        { "wrong_dtype", FDIT_ERROR_FORMAT, { QKV, "F33" } },
        { "integer_dtype", FDIT_ERROR_FORMAT, { QKV, "I32" } },
        { "wrong_shape", FDIT_ERROR_FORMAT, { QKV, "[4, 12]", "[12, 4]" } },
        { "missing_tensor", FDIT_ERROR_FORMAT, { QKV, "missing" } },
        { "nan", FDIT_ERROR_NUMERIC, { QKV, "NaN" } },
        { "inf", FDIT_ERROR_NUMERIC, { "final_layer.linear.bias", "infinity" } },
        { "duplicate_key", FDIT_ERROR_FORMAT, { QKV, "twice" } },
        { "duplicate_key_same", FDIT_ERROR_FORMAT, { QKV, "twice" } },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct fdit_safetensors *st = NULL;
        enum fdit_status status = open_bad(files[i].name, &st);
        ck_assert((status == FDIT_OK) == (st != NULL));
        if (status == FDIT_OK)
            status = load_as_model(st);
        ck_assert_msg(status == files[i].status, "%s: %s: %s", files[i].name, fdit_status_text(status),
                      fdit_context_message(ctx));
        if (status != FDIT_OK) {
            char file[64];
            snprintf(file, sizeof file, "/%s.safetensors: ", files[i].name);
            check_message(file);
            for (int k = 0; k < 3 && files[i].words[k]; k++)
                check_message(files[i].words[k]);
        }
        fdit_safetensors_close(st);
    }
}
END_TEST

/* Header text and numbers into a file image. */
static uint8_t *image(const char *header, size_t data_bytes, size_t *n)
{
    size_t length = strlen(header);
    *n = 8 + length + data_bytes;
    uint8_t *bytes = malloc(*n); /* exact, so that a sanitizer sees a read behind it */
    ck_assert_ptr_nonnull(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)length >> 8 * i);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++)
        bytes[8 + length + i] = (uint8_t)(i + 1);
    return bytes;
}

static void check_header(const char *header, size_t data_bytes, const char *word)
{
    size_t n;
    uint8_t *bytes = image(header, data_bytes, &n);
    struct fdit_safetensors *st = NULL;
    enum fdit_status status = fdit_safetensors_open_memory(ctx, "mem", bytes, n, &st);
    if (word) {
        ck_assert_msg(status == FDIT_ERROR_FORMAT, "accepted: %s", header);
        check_message(word);
        check_message("mem: ");
    } else {
        ck_assert_msg(status == FDIT_OK, "%s: %s", header, fdit_context_message(ctx));
    }
    fdit_safetensors_close(st);
    free(bytes);
}

START_TEST(test_headers)
{
    check_header("{}", 0, NULL);
    check_header("{}   ", 0, NULL);
    check_header("{}", 1, "1 byte more than its tensors");
    check_header(" {}", 0, "JSON object");
    check_header("[]", 0, "JSON object");
    check_header("{} x", 0, "JSON");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3, NULL);
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3],\"more\":{}}}", 3, NULL);
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1, NULL);
    check_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[4,0,9],\"data_offsets\":[0,0]}}", 0, NULL);
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[1,4]}}", 4, "begins at 1");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
                 "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[3,4]}}",
                 4, "begins at 3");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", 4,
                 "1 byte more than its tensors");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", 2, "beyond");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[3.0],\"data_offsets\":[0,3]}}", 3, "integers");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":3,\"data_offsets\":[0,3]}}", 3, "no shape");
    check_header("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,3]}}", 3, "no shape");
    check_header("{\"a\":{\"shape\":[3],\"data_offsets\":[0,3]}}", 3, "no dtype");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[3]}}", 3, "data_offsets");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3,3]}}", 3, "data_offsets");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,99999999999999999999]}}", 3,
                 "JSON");
    check_header("{\"a\":[]}", 0, "not a JSON object");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"
                 "\"data_offsets\":[0,1]}}",
                 1, "17 dimensions");
    check_header("{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0,
                 "too large");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296,0],"
                 "\"data_offsets\":[0,0]}}",
                 0, "too large");
    check_header("{\"__metadata__\":{\"k\":1}}", 0, "not text");
    check_header("{\"__metadata__\":[]}", 0, "__metadata__");
    check_header("{\"__metadata__\":{\"k\":\"v\"}}", 0, NULL);
    check_header("{\"a\\u001b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3, "control");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
                 "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
                 "\"c\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]},"
                 "\"d\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
                 4, NULL);
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                 "\"c\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]}}",
                 4, "lie on");
}
END_TEST

START_TEST(test_json_limits)
{
    json_t *value;
    const char quoted[] = "{\"a\": \"[[[[\\\"[[[[\"}";
    ck_assert_ok(ctx, fdit_json_parse(ctx, "j", quoted, sizeof quoted - 1, 1, &value));
    json_decref(value);
    ck_assert_int_eq(fdit_json_parse(ctx, "j", "[[]]", 4, 1, &value), FDIT_ERROR_FORMAT);
    ck_assert_int_eq(fdit_json_parse(ctx, "j", "{\"a\":1,\"a\":1}", 13, 4, &value), FDIT_ERROR_FORMAT);
    check_message("\"a\" twice");
    ck_assert_int_eq(fdit_json_parse(ctx, "j", "\"\x1b[2J", 5, 4, &value), FDIT_ERROR_FORMAT);
    ck_assert_ptr_null(strchr(fdit_context_message(ctx), 0x1b));
    char *path = test_fixture("config.json");
    ck_assert_ok(ctx, fdit_json_read(ctx, path, 1 << 16, 4, &value));
    ck_assert(json_is_integer(json_object_get(value, "depth")));
    json_decref(value);
    free(path);
}
END_TEST

START_TEST(test_types_to_f32)
{
    const float x[] = { 0, -1.5f, 65504, 0x1p-24f, 3.25f };
    const double wide[] = { 1.0 + 0x1p-25, -3e38, 1e300, 0.1, 0 };
    const int64_t shape[] = { 5 };
    const enum fdit_st_type exact[] = { FDIT_ST_F32, FDIT_ST_F16, FDIT_ST_F64 };
    struct fdit_st_writer *w;
    struct fdit_safetensors *st;
    const struct fdit_st_tensor *t;
    float got[5];
    ck_assert_ok(ctx, fdit_st_writer_new(ctx, &w));
    for (int i = 0; i < 3; i++)
        ck_assert_ok(ctx, fdit_st_writer_f32(ctx, w, fdit_st_type_name(exact[i]), exact[i], 1, shape, x));
    ck_assert_ok(ctx, fdit_st_writer_f32(ctx, w, "BF16", FDIT_ST_BF16, 1, shape, x));
    ck_assert_ok(ctx, fdit_st_writer_raw(ctx, w, "wide", FDIT_ST_F64, 1, shape, wide));
    ck_assert_ok(ctx, fdit_st_writer_raw(ctx, w, "bytes", FDIT_ST_F8_E4M3, 1, shape, x));
    ck_assert_ok(ctx, fdit_st_writer_save(ctx, w, in_folder("x")));
    fdit_st_writer_free(w);
    ck_assert_ok(ctx, fdit_safetensors_open(ctx, in_folder("x"), &st));
    for (int i = 0; i < 3; i++) {
        t = fdit_safetensors_find(st, fdit_st_type_name(exact[i]));
        ck_assert_ok(ctx, fdit_safetensors_weights(ctx, st, t, 0, 5, got));
        ck_assert_mem_eq(got, x, sizeof x);
        ck_assert_ok(ctx, fdit_safetensors_f32(ctx, st, t, 4, 1, got));
        ck_assert(got[0] == 3.25f);
        ck_assert_int_eq(fdit_safetensors_f32(ctx, st, t, 4, 2, got), FDIT_ERROR_ARGUMENT);
        ck_assert_int_eq(fdit_safetensors_f32(ctx, st, t, SIZE_MAX, 2, got), FDIT_ERROR_ARGUMENT);
    }
    t = fdit_safetensors_find(st, "BF16");
    ck_assert_ok(ctx, fdit_safetensors_f32(ctx, st, t, 0, 5, got));
    ck_assert(got[1] == -1.5f && got[2] == 65536 && got[4] == 3.25f);
    t = fdit_safetensors_find(st, "wide");
    ck_assert_ok(ctx, fdit_safetensors_f32(ctx, st, t, 0, 5, got));
    ck_assert(got[0] == 1 && got[1] == -3e38f && isinf(got[2]) && got[3] == 0.1f);
    ck_assert_int_eq(fdit_safetensors_weights(ctx, st, t, 0, 5, got), FDIT_ERROR_NUMERIC);
    check_message("element 2");
    t = fdit_safetensors_find(st, "bytes");
    ck_assert_int_eq(fdit_safetensors_f32(ctx, st, t, 0, 5, got), FDIT_ERROR_FORMAT);
    check_message("F8_E4M3");
    fdit_safetensors_close(st);
}
END_TEST

START_TEST(test_nonfinite_is_found_anywhere)
{
    enum { N = 10000 };
    static float x[N], y[N];
    const float bad[] = { NAN, -NAN, INFINITY, -INFINITY };
    struct test_rng rng = test_rng_new("finite");
    for (int k = 0; k < 8; k++) {
        struct fdit_st_writer *w;
        struct fdit_safetensors *st;
        int at = k == 0 ? 0 : k == 1 ? N - 1 : test_int(&rng, N);
        char word[32];
        for (int i = 0; i < N; i++)
            x[i] = k % 2 ? 3.4e38f : -1e-45f;
        x[at] = bad[k % 4];
        ck_assert_ok(ctx, fdit_st_writer_new(ctx, &w));
        ck_assert_ok(ctx, fdit_st_writer_f32(ctx, w, "t", FDIT_ST_F32, 1, (int64_t[]){ N }, x));
        ck_assert_ok(ctx, fdit_st_writer_save(ctx, w, in_folder("x")));
        fdit_st_writer_free(w);
        ck_assert_ok(ctx, fdit_safetensors_open(ctx, in_folder("x"), &st));
        const struct fdit_st_tensor *t = fdit_safetensors_find(st, "t");
        ck_assert_int_eq(fdit_safetensors_check_finite(ctx, st, t), FDIT_ERROR_NUMERIC);
        snprintf(word, sizeof word, "element %d of", at);
        check_message(word);
        ck_assert_int_eq(fdit_safetensors_weights(ctx, st, t, 0, N, y), FDIT_ERROR_NUMERIC);
        check_message(word);
        ck_assert_ok(ctx, fdit_safetensors_weights(ctx, st, t, 0, (size_t)at, y));
        ck_assert_ok(ctx, fdit_safetensors_f32(ctx, st, t, 0, N, y));
        fdit_safetensors_close(st);
    }
}
END_TEST

START_TEST(test_integers)
{
    const int64_t i64[] = { INT64_MIN, -1, INT64_MAX }, shape[] = { 3 };
    const int32_t i32[] = { INT32_MIN, -1, 7 };
    const int8_t i8[] = { -128, -1, 127 };
    const uint8_t u8[] = { 0, 255, 1 };
    const uint64_t u64[] = { 0, INT64_MAX, UINT64_MAX };
    int64_t got[3];
    struct fdit_st_writer *w;
    struct fdit_safetensors *st;
    ck_assert_ok(ctx, fdit_st_writer_new(ctx, &w));
    ck_assert_ok(ctx, fdit_st_writer_raw(ctx, w, "i64", FDIT_ST_I64, 1, shape, i64));
    ck_assert_ok(ctx, fdit_st_writer_raw(ctx, w, "u64", FDIT_ST_U64, 1, shape, u64));
    ck_assert_ok(ctx, fdit_st_writer_raw(ctx, w, "i32", FDIT_ST_I32, 1, shape, i32));
    ck_assert_ok(ctx, fdit_st_writer_raw(ctx, w, "i8", FDIT_ST_I8, 1, shape, i8));
    ck_assert_ok(ctx, fdit_st_writer_raw(ctx, w, "u8", FDIT_ST_U8, 1, shape, u8));
    ck_assert_int_eq(fdit_st_writer_f32(ctx, w, "no", FDIT_ST_I32, 0, NULL, NULL), FDIT_ERROR_ARGUMENT);
    ck_assert_ok(ctx, fdit_st_writer_save(ctx, w, in_folder("x")));
    fdit_st_writer_free(w);
    ck_assert_ok(ctx, fdit_safetensors_open(ctx, in_folder("x"), &st));
    ck_assert_ok(ctx, fdit_safetensors_i64(ctx, st, fdit_safetensors_find(st, "i64"), 0, 3, got));
    ck_assert_mem_eq(got, i64, sizeof got);
    ck_assert_ok(ctx, fdit_safetensors_i64(ctx, st, fdit_safetensors_find(st, "i32"), 0, 3, got));
    ck_assert(got[0] == INT32_MIN && got[1] == -1 && got[2] == 7);
    ck_assert_ok(ctx, fdit_safetensors_i64(ctx, st, fdit_safetensors_find(st, "i8"), 0, 3, got));
    ck_assert(got[0] == -128 && got[1] == -1 && got[2] == 127);
    ck_assert_ok(ctx, fdit_safetensors_i64(ctx, st, fdit_safetensors_find(st, "u8"), 1, 2, got));
    ck_assert(got[0] == 255 && got[1] == 1);
    ck_assert_ok(ctx, fdit_safetensors_i64(ctx, st, fdit_safetensors_find(st, "u64"), 0, 2, got));
    ck_assert(got[1] == INT64_MAX);
    ck_assert_int_eq(fdit_safetensors_i64(ctx, st, fdit_safetensors_find(st, "u64"), 0, 3, got),
                     FDIT_ERROR_FORMAT);
    fdit_safetensors_close(st);
    char *path = test_fixture("dit.safetensors");
    ck_assert_ok(ctx, fdit_safetensors_open(ctx, path, &st));
    ck_assert_int_eq(fdit_safetensors_i64(ctx, st, fdit_safetensors_at(st, 0), 0, 1, got), FDIT_ERROR_FORMAT);
    fdit_safetensors_close(st);
    free(path);
}
END_TEST

/* f16 and bf16 files of one model against the f32 file: what rounding leaves. */
START_TEST(test_stored_halves)
{
    struct fdit_safetensors *full, *half;
    for (int k = 0; k < 2; k++) {
        char *path = test_fixture("formats/dit.safetensors");
        ck_assert_ok(ctx, fdit_safetensors_open(ctx, path, &full));
        free(path);
        path = test_fixture(k ? "formats/dit_bf16.safetensors" : "formats/dit_f16.safetensors");
        ck_assert_ok(ctx, fdit_safetensors_open(ctx, path, &half));
        free(path);
        ck_assert_uint_eq(fdit_safetensors_count(full), fdit_safetensors_count(half));
        for (size_t i = 0; i < fdit_safetensors_count(full); i++) {
            const struct fdit_st_tensor *a = fdit_safetensors_at(full, i), *b;
            ck_assert_ok(ctx, fdit_safetensors_need(ctx, half, a->name, a->rank, a->shape, &b));
            float *x, *y;
            uint16_t *h, *want;
            ck_assert_ok(ctx, fdit_alloc(ctx, a->n, 4, &x));
            ck_assert_ok(ctx, fdit_alloc(ctx, a->n, 4, &y));
            ck_assert_ok(ctx, fdit_alloc(ctx, a->n, 2, &h));
            ck_assert_ok(ctx, fdit_alloc(ctx, a->n, 2, &want));
            ck_assert_ok(ctx, fdit_safetensors_weights(ctx, full, a, 0, a->n, x));
            ck_assert_ok(ctx, fdit_safetensors_weights(ctx, half, b, 0, b->n, y));
            if (b->type != FDIT_ST_F32) {
                ck_assert_int_eq(b->type, k ? FDIT_ST_BF16 : FDIT_ST_F16);
                (k ? fdit_f32_to_bf16 : fdit_f32_to_f16)(a->n, x, h);
                (k ? fdit_f32_to_bf16 : fdit_f32_to_f16)(a->n, y, want);
                ck_assert_mem_eq(h, want, 2 * a->n);
            }
            fdit_free(x);
            fdit_free(y);
            fdit_free(h);
            fdit_free(want);
        }
        fdit_safetensors_close(full);
        fdit_safetensors_close(half);
    }
}
END_TEST

/* ------------------------------------------------------------------ safetensors: writing */

static enum fdit_status count_up(fdit_context *c, void *user, size_t first, size_t n, void *out)
{
    size_t *next = user;
    if (first != *next)
        return fdit_fail(c, FDIT_ERROR_ARGUMENT, "chunk at %zu, wanted %zu", first, *next);
    *next += n;
    if (first >= 200000)
        return fdit_fail(c, FDIT_INTERRUPTED, "stopped");
    for (size_t i = 0; i < n; i++)
        ((float *)out)[i] = (float)(first + i);
    return FDIT_OK;
}

START_TEST(test_writer_pins_the_bytes)
{
    const char want[] = "\xa0\0\0\0\0\0\0\0"
                        "{\"__metadata__\":{\"format\":\"pt\",\"note\":\"a \\\"b\\\"\"},"
                        "\"z\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                        "\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[8,9]}}"
                        "       \0\0\x80\x3f\0\0\0\xc0\x07";
    const float z[] = { 1, -2 };
    struct fdit_st_writer *w;
    uint8_t *got;
    size_t n;
    ck_assert_ok(ctx, fdit_st_writer_new(ctx, &w));
    ck_assert_ok(ctx, fdit_st_writer_f32(ctx, w, "z", FDIT_ST_F32, 1, (int64_t[]){ 2 }, z));
    ck_assert_ok(ctx, fdit_st_writer_meta(ctx, w, "format", "pt"));
    ck_assert_ok(ctx, fdit_st_writer_raw(ctx, w, "a", FDIT_ST_U8, 0, NULL, "\x07"));
    ck_assert_ok(ctx, fdit_st_writer_meta(ctx, w, "note", "a \"b\""));
    ck_assert_ok(ctx, fdit_st_writer_save(ctx, w, in_folder("x")));
    ck_assert_ok(ctx, fdit_file_read_all(ctx, in_folder("x"), 1 << 20, &got, &n));
    ck_assert_uint_eq(n, sizeof want - 1);
    ck_assert_uint_eq(n, fdit_st_writer_bytes(w));
    ck_assert_mem_eq(got, want, n);
    fdit_free(got);
    fdit_st_writer_free(w);
}
END_TEST

START_TEST(test_writer_round_trip)
{
    struct fdit_st_writer *w;
    struct fdit_safetensors *st;
    const struct fdit_st_tensor *t;
    const char *key, *value;
    size_t next = 0;
    float *x;
    ck_assert_ok(ctx, fdit_st_writer_new(ctx, &w));
    ck_assert_ok(
        ctx, fdit_st_writer_fill(ctx, w, "big", FDIT_ST_F32, 2, (int64_t[]){ 1000, 150 }, count_up, &next));
    ck_assert_ok(ctx, fdit_st_writer_f32(ctx, w, "none", FDIT_ST_F32, 2, (int64_t[]){ 0, 3 }, NULL));
    ck_assert_ok(ctx, fdit_st_writer_meta(ctx, w, "k2", "v2"));
    ck_assert_ok(ctx, fdit_st_writer_meta(ctx, w, "k1", "\xc3\xa4\n"));
    ck_assert_int_eq(fdit_st_writer_meta(ctx, w, "k1", "again"), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_st_writer_meta(ctx, w, "k3", "\xff"), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_st_writer_raw(ctx, w, "big", FDIT_ST_U8, 0, NULL, ""), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_st_writer_raw(ctx, w, "__metadata__", FDIT_ST_U8, 0, NULL, ""),
                     FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_st_writer_raw(ctx, w, "n", FDIT_ST_U8, 1, (int64_t[]){ -1 }, ""),
                     FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_st_writer_raw(ctx, w, "n", FDIT_ST_F64, 2, (int64_t[]){ INT64_MAX, INT64_MAX }, ""),
                     FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_st_writer_raw(ctx, w, "n", FDIT_ST_F64, 17, NULL, ""), FDIT_ERROR_ARGUMENT);
    ck_assert_ok(ctx, fdit_st_writer_save(ctx, w, in_folder("x")));
    fdit_st_writer_free(w);
    ck_assert_ok(ctx, fdit_safetensors_open(ctx, in_folder("x"), &st));
    ck_assert_uint_eq(fdit_safetensors_count(st), 2);
    ck_assert_str_eq(fdit_safetensors_meta(st, "k1"), "\xc3\xa4\n");
    ck_assert_ptr_null(fdit_safetensors_meta(st, "k3"));
    ck_assert_uint_eq(fdit_safetensors_meta_count(st), 2);
    fdit_safetensors_meta_at(st, 1, &key, &value);
    ck_assert_str_eq(key, "k1");
    ck_assert_ok(ctx, fdit_safetensors_need(ctx, st, "big", 2, (int64_t[]){ -1, 150 }, &t));
    ck_assert_int_eq(fdit_safetensors_need(ctx, st, "big", 2, (int64_t[]){ -1, 151 }, &t), FDIT_ERROR_FORMAT);
    check_message("[any, 151]");
    ck_assert_int_eq(fdit_safetensors_need(ctx, st, "big", 1, (int64_t[]){ 150000 }, &t), FDIT_ERROR_FORMAT);
    t = fdit_safetensors_at(st, 0);
    ck_assert_str_eq(t->name, "big");
    ck_assert_uint_eq((uintptr_t)t->data % 8, 0);
    ck_assert_ok(ctx, fdit_alloc(ctx, t->n, sizeof *x, &x));
    ck_assert_ok(ctx, fdit_safetensors_weights(ctx, st, t, 0, t->n, x));
    for (size_t i = 0; i < t->n; i++)
        ck_assert(x[i] == (float)i);
    fdit_free(x);
    ck_assert_ok(ctx, fdit_safetensors_check_finite(ctx, st, fdit_safetensors_at(st, 1)));
    fdit_safetensors_close(st);
}
END_TEST

/* A callback that fails, a full disk, short memory: the old file stays. */
START_TEST(test_writer_failures)
{
    struct fdit_st_writer *w;
    size_t next = 0, n;
    uint8_t *bytes;
    ck_assert_ok(ctx, fdit_file_write(ctx, in_folder("x"), false, "old", 3));
    ck_assert_ok(ctx, fdit_st_writer_new(ctx, &w));
    ck_assert_ok(ctx,
                 fdit_st_writer_fill(ctx, w, "big", FDIT_ST_F32, 1, (int64_t[]){ 300000 }, count_up, &next));
    ck_assert_int_eq(fdit_st_writer_save(ctx, w, in_folder("x")), FDIT_INTERRUPTED);
    fdit_st_writer_free(w);
    static float x[100000];
    ck_assert_ok(ctx, fdit_st_writer_new(ctx, &w));
    ck_assert_ok(ctx, fdit_st_writer_f32(ctx, w, "big", FDIT_ST_F32, 1, (int64_t[]){ 100000 }, x));
    int failures = 0;
    for (uint64_t k = 1;; k++) {
        ck_assert_ok(ctx, fdit_file_read_all(ctx, in_folder("x"), 1 << 20, &bytes, &n));
        bool old = n == 3;
        fdit_free(bytes);
        fdit_file_fail_at(k);
        enum fdit_status status = fdit_st_writer_save(ctx, w, in_folder("x"));
        fdit_file_fail_at(0);
        if (status == FDIT_OK)
            break;
        ck_assert(old);
        failures++;
        ck_assert_int_eq(status, FDIT_ERROR_IO);
        if (strstr(fdit_context_message(ctx), "is complete"))
            ck_assert_ok(ctx, fdit_file_write(ctx, in_folder("x"), false, "old", 3));
    }
    ck_assert_int_ge(failures, 5);
    fdit_st_writer_free(w);
    for (uint64_t k = 1;; k++) {
        struct fdit_safetensors *st = NULL;
        w = NULL;
        fdit_mem_fail_at(k);
        enum fdit_status status = fdit_st_writer_new(ctx, &w);
        if (status == FDIT_OK)
            status = fdit_st_writer_f32(ctx, w, "a", FDIT_ST_F32, 1, (int64_t[]){ 9 }, x);
        if (status == FDIT_OK)
            status = fdit_st_writer_meta(ctx, w, "a", "b");
        if (status == FDIT_OK)
            status = fdit_st_writer_save(ctx, w, in_folder("y"));
        if (status == FDIT_OK)
            status = fdit_safetensors_open(ctx, in_folder("y"), &st);
        fdit_mem_fail_at(0);
        fdit_st_writer_free(w);
        fdit_safetensors_close(st);
        if (status == FDIT_OK)
            break;
        ck_assert_int_eq(status, FDIT_ERROR_MEMORY);
        ck_assert_uint_lt(k, 200);
    }
}
END_TEST

static void write_one(const char *path, const char *name, float value)
{
    struct fdit_st_writer *w;
    ck_assert_ok(ctx, fdit_st_writer_new(ctx, &w));
    ck_assert_ok(ctx, fdit_st_writer_meta(ctx, w, "from", path));
    ck_assert_ok(ctx, fdit_st_writer_f32(ctx, w, name, FDIT_ST_F32, 0, NULL, &value));
    ck_assert_ok(ctx, fdit_st_writer_save(ctx, w, path));
    fdit_st_writer_free(w);
}

static enum fdit_status open_index(const char *text, struct fdit_safetensors **st)
{
    const char *path = in_folder("model.safetensors.index.json");
    ck_assert_ok(ctx, fdit_file_write(ctx, path, false, text, strlen(text)));
    return fdit_safetensors_open(ctx, path, st);
}

START_TEST(test_shards)
{
    struct fdit_safetensors *st;
    float x;
    write_one(in_folder("m-1.safetensors"), "b", 1);
    write_one(in_folder("m-2.safetensors"), "a", 2);
    ck_assert_ok(ctx, open_index("{\"metadata\":{\"total_size\":8},\"weight_map\":{"
                                 "\"a\":\"m-2.safetensors\",\"b\":\"m-1.safetensors\"}}",
                                 &st));
    ck_assert_uint_eq(fdit_safetensors_count(st), 2);
    const struct fdit_st_tensor *t = fdit_safetensors_find(st, "a");
    ck_assert_int_eq(t->file, 1);
    ck_assert_ok(ctx, fdit_safetensors_weights(ctx, st, t, 0, 1, &x));
    ck_assert(x == 2);
    fdit_safetensors_drop(st, t);
    ck_assert_ok(ctx, fdit_safetensors_weights(ctx, st, fdit_safetensors_find(st, "b"), 0, 1, &x));
    ck_assert(x == 1);
    fdit_safetensors_close(st);
    ck_assert_int_eq(open_index("{\"weight_map\":{\"a\":\"m-1.safetensors\"}}", &st), FDIT_ERROR_FORMAT);
    check_message("a is not in");
    ck_assert_int_eq(open_index("{\"weight_map\":{\"a\":\"../m-1.safetensors\"}}", &st), FDIT_ERROR_FORMAT);
    check_message("same folder");
    ck_assert_int_eq(open_index("{\"weight_map\":{\"a\":7}}", &st), FDIT_ERROR_FORMAT);
    ck_assert_int_eq(open_index("{\"weight_map\":{}}", &st), FDIT_ERROR_FORMAT);
    ck_assert_int_eq(open_index("[]", &st), FDIT_ERROR_FORMAT);
    ck_assert_int_eq(open_index("{\"weight_map\":{\"a\":\"m-9.safetensors\"}}", &st), FDIT_ERROR_IO);
    check_message("m-9");
    write_one(in_folder("m-2.safetensors"), "b", 2);
    ck_assert_int_eq(
        open_index("{\"weight_map\":{\"a\":\"m-2.safetensors\",\"b\":\"m-1.safetensors\"}}", &st),
        FDIT_ERROR_FORMAT);
    check_message("two of its files");
}
END_TEST

/* ------------------------------------------------------------------ tar */

struct archive {
    uint8_t *bytes;
    size_t n;
};

static void put(struct archive *a, const void *bytes, size_t n)
{
    a->bytes = realloc(a->bytes, a->n + n + 1024);
    ck_assert_ptr_nonnull(a->bytes);
    memset(a->bytes + a->n, 0, n + 1024);
    if (n)
        memcpy(a->bytes + a->n, bytes, n);
    a->n += n;
}

static void put_checksum(char *h)
{
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
}

static void put_member(struct archive *a, const char *name, char type, const char *text, const char *magic)
{
    char h[513] = { 0 };
    size_t n = strlen(text);
    memcpy(h, name, strlen(name) < 100 ? strlen(name) : 100);
    snprintf(h + 124, 12, "%011o", (unsigned)n);
    memcpy(h + 257, magic, 8);
    h[156] = type;
    put_checksum(h);
    put(a, h, 512);
    put(a, text, n);
    a->n = (a->n + 511) / 512 * 512; /* put left zeros there */
}

static void put_end(struct archive *a)
{
    static const char zeros[1024];
    put(a, zeros, 1024);
}

static void zip_archive(struct archive *a)
{
    size_t room = a->n + 1000;
    uint8_t *out = malloc(room);
    z_stream z = { 0 };
    ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = a->bytes;
    z.avail_in = (uInt)a->n;
    z.next_out = out;
    z.avail_out = (uInt)room;
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    a->n = room - z.avail_out;
    deflateEnd(&z);
    free(a->bytes);
    a->bytes = out;
}

static void check_member(const struct fdit_tar *t, size_t i, const char *name, const char *text)
{
    const struct fdit_tar_member *m = fdit_tar_at(t, i);
    ck_assert_str_eq(m->name, name);
    ck_assert_uint_eq(m->size, strlen(text));
    ck_assert_mem_eq(fdit_tar_data(t, i), text, strlen(text));
}

#define USTAR "ustar\0000"
#define GNU "ustar  "

START_TEST(test_tar_dialects)
{
    for (int zipped = 0; zipped < 2; zipped++) {
        struct archive a = { 0 };
        struct fdit_tar *t;
        char name[301];
        size_t i;
        memset(name, 'n', 300);
        name[300] = 0;
        put_member(&a, "pax_global", 'g', "19 comment=nothing\n", USTAR);
        put_member(&a, "./", '5', "", USTAR);
        put_member(&a, "./birds//Ara macao/", '5', "", USTAR);
        put_member(&a, "./birds//Ara macao/./1.png", '0', "one", USTAR);
        put_member(&a, "old", 0, "", "\0\0\0\0\0\0\0");
        put_member(&a, "link", '2', "", USTAR);
        put_member(&a, "hard", '1', "", USTAR);
        put_member(&a, "device", '3', "", USTAR);
        put_member(&a, "././@LongLink", 'L', name, GNU);
        put_member(&a, "cut", '0', "long", GNU);
        put_member(&a, "x", 'x', "18 path=pax/n\xc3\xa4me\n9 size=3\n16 SCHILY.dev=1\n", USTAR);
        put_member(&a, "cut", '0', "abc", USTAR);
        put_member(&a, "old", '7', "the later one", USTAR);
        put_end(&a);
        if (zipped)
            zip_archive(&a);
        ck_assert_ok(ctx, fdit_tar_open_memory(ctx, "a.tar", a.bytes, a.n, 1 << 20, &t));
        ck_assert_uint_eq(fdit_tar_count(t), 5);
        check_member(t, 0, "birds/Ara macao/1.png", "one");
        check_member(t, 1, "old", "");
        check_member(t, 2, name, "long");
        check_member(t, 3, "pax/n\xc3\xa4me", "abc");
        check_member(t, 4, "old", "the later one");
        ck_assert_uint_eq(fdit_tar_skipped(t), 3);
        ck_assert_uint_eq(fdit_tar_memory(t), zipped ? 23 : 0);
        ck_assert(fdit_tar_find(t, "old", &i) && i == 4);
        ck_assert(fdit_tar_find(t, name, &i) && i == 2);
        ck_assert(!fdit_tar_find(t, "link", &i) && !fdit_tar_find(t, "zzz", &i) && !fdit_tar_find(t, "", &i));
        fdit_tar_close(t);
        free(a.bytes);
    }
}
END_TEST

/* ustar's prefix, and numbers in GNU's binary form and between spaces */
START_TEST(test_tar_fields)
{
    struct archive a = { 0 };
    struct fdit_tar *t;
    char *h;
    put_member(&a, "name", '0', "1234567", USTAR);
    h = (char *)a.bytes;
    memcpy(h + 345, "some/prefix", 11);
    memset(h + 124, 0, 12);
    h[124] = (char)0x80;
    h[135] = 7;
    put_checksum(h);
    put_member(&a, "two", '0', "12", GNU);
    h = (char *)a.bytes + 1024;
    memcpy(h + 345, "not a prefix", 12);
    memcpy(h + 124, "      2 \0\0\0\0", 12);
    put_checksum(h);
    put_end(&a);
    a.n -= 512; /* one block of zeros is enough */
    ck_assert_ok(ctx, fdit_tar_open_memory(ctx, "a.tar", a.bytes, a.n, 0, &t));
    check_member(t, 0, "some/prefix/name", "1234567");
    check_member(t, 1, "two", "12");
    fdit_tar_close(t);
    free(a.bytes);
}
END_TEST

static void check_tar_refused(struct archive *a, const char *word)
{
    for (int zipped = 0; zipped < 2; zipped++) {
        struct fdit_tar *t = NULL;
        if (zipped)
            zip_archive(a);
        uint8_t *exact = malloc(a->n);
        ck_assert_ptr_nonnull(exact);
        memcpy(exact, a->bytes, a->n);
        enum fdit_status status = fdit_tar_open_memory(ctx, "a.tar", exact, a->n, 1 << 20, &t);
        ck_assert_msg(status == FDIT_ERROR_FORMAT, "%s for \"%s\"", fdit_status_text(status), word);
        ck_assert_ptr_null(t);
        check_message("a.tar: ");
        check_message(word);
        free(exact);
    }
    free(a->bytes);
    *a = (struct archive){ 0 };
}

START_TEST(test_tar_refused)
{
    const char *outside[] = { "/etc/passwd", "../x", "a/../../x", "a/..", "", "./." };
    const char *pax[] = { "99 path=x\n",
                          "path=x\n",
                          "10 pathxxx\n",
                          "9 path=x ",
                          "0 path=x\n",
                          "8 path=\n",
                          "11 size=1x\n",
                          "30 size=99999999999999999999999\n",
                          "99999999999999999999 path=x\n" };
    struct archive a = { 0 };
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        put_member(&a, outside[i], '0', "x", USTAR);
        put_end(&a);
        check_tar_refused(&a, "outside");
    }
    for (size_t i = 0; i < sizeof pax / sizeof *pax; i++) {
        put_member(&a, "x", 'x', pax[i], USTAR);
        put_member(&a, "y", '0', "y", USTAR);
        put_end(&a);
        check_tar_refused(&a, "pax");
    }
    put_member(&a, "x", 'x', "22 GNU.sparse.major=1\n", USTAR);
    put_end(&a);
    check_tar_refused(&a, "sparse");
    put_member(&a, "x", 'S', "data", GNU);
    put_end(&a);
    check_tar_refused(&a, "sparse");
    put_member(&a, "x", 'x', "18 path=some/name\n", USTAR);
    check_tar_refused(&a, "cut off");
    put_member(&a, "x", '0', "data", USTAR);
    a.n = 515;
    check_tar_refused(&a, "cut off");
    put_member(&a, "x", '0', "data", USTAR);
    a.n = 100;
    check_tar_refused(&a, "cut off");
    put_member(&a, "x", '0', "data", USTAR);
    a.bytes[3] ^= 1;
    put_end(&a);
    check_tar_refused(&a, "checksum");
    put_member(&a, "x", '0', "data", USTAR);
    memcpy(a.bytes + 124, "77777777777", 12); /* 8 GB that are not there */
    put_checksum((char *)a.bytes);
    put_end(&a);
    check_tar_refused(&a, "cut off");
    put_member(&a, "x", '0', "data", USTAR);
    memcpy(a.bytes + 124, "12x", 4);
    put_checksum((char *)a.bytes);
    put_end(&a);
    check_tar_refused(&a, "size");
    put_member(&a, "x", 'L', "data", GNU);
    memcpy(a.bytes + 124, "00077777777", 12);
    put_checksum((char *)a.bytes);
    put_end(&a);
    check_tar_refused(&a, "too long");
}
END_TEST

/* Cut anywhere: refused, except behind a whole member or the first block of the end mark. */
START_TEST(test_tar_cut_anywhere)
{
    for (int zipped = 0; zipped < 2; zipped++) {
        struct archive a = { 0 };
        put_member(&a, "x", 'x', "18 path=some/name\n", USTAR);
        put_member(&a, "x", '0', "contents of x", USTAR);
        put_member(&a, "y", '0', "contents of y", USTAR);
        put_end(&a);
        size_t enough = a.n - 512, x = a.n - 4 * 512, y = a.n - 2 * 512;
        if (zipped)
            zip_archive(&a);
        for (size_t n = 0; n < a.n; n++) {
            struct fdit_tar *t = NULL;
            enum fdit_status status = fdit_tar_open_memory(ctx, "a.tar", a.bytes, n, 1 << 20, &t);
            if (!zipped)
                ck_assert_msg((status == FDIT_OK) == (n >= enough || n == x || n == y), "%zu bytes: %s", n,
                              fdit_context_message(ctx));
            else /* without its checksum it is not whole */
                ck_assert_msg(status == FDIT_ERROR_FORMAT, "%zu bytes of %zu", n, a.n);
            ck_assert(status == FDIT_OK || status == FDIT_ERROR_FORMAT);
            fdit_tar_close(t);
        }
        if (zipped) {
            struct fdit_tar *t = NULL;
            a.bytes[a.n / 2] ^= 0x10;
            ck_assert_int_eq(fdit_tar_open_memory(ctx, "a.tar", a.bytes, a.n, 1 << 20, &t),
                             FDIT_ERROR_FORMAT);
        }
        free(a.bytes);
    }
}
END_TEST

/* Archives joined by cat are one; a missing end mark is not a loss; the checksum of gzip counts. */
START_TEST(test_tar_ends)
{
    for (int zipped = 0; zipped < 2; zipped++) {
        struct archive a = { 0 };
        struct fdit_tar *t = NULL;
        for (int i = 0; i < 3; i++) {
            char name[2] = { (char)('a' + i), 0 };
            put_member(&a, name, '0', "data", USTAR);
            if (i < 2)
                put_end(&a);
        }
        if (zipped)
            zip_archive(&a);
        ck_assert_ok(ctx, fdit_tar_open_memory(ctx, "a.tar", a.bytes, a.n, 1 << 20, &t));
        ck_assert_uint_eq(fdit_tar_count(t), 3);
        fdit_tar_close(t);
        if (zipped) {
            a.bytes[a.n - 5] ^= 1; /* of the checksum, then of the length */
            ck_assert_int_eq(fdit_tar_open_memory(ctx, "a.tar", a.bytes, a.n, 1 << 20, &t),
                             FDIT_ERROR_FORMAT);
            a.bytes[a.n - 5] ^= 1;
            a.bytes[a.n - 1] ^= 1;
            ck_assert_int_eq(fdit_tar_open_memory(ctx, "a.tar", a.bytes, a.n, 1 << 20, &t),
                             FDIT_ERROR_FORMAT);
        }
        free(a.bytes);
    }
}
END_TEST

START_TEST(test_tar_limit)
{
    struct archive a = { 0 };
    struct fdit_tar *t;
    put_member(&a, "x", '0', "twelve bytes", USTAR);
    put_member(&a, "y", '0', "twelve bytes", USTAR);
    put_end(&a);
    zip_archive(&a);
    ck_assert_ok(ctx, fdit_tar_open_memory(ctx, "a.tar.gz", a.bytes, a.n, 24, &t));
    fdit_tar_close(t);
    ck_assert_int_eq(fdit_tar_open_memory(ctx, "a.tar.gz", a.bytes, a.n, 23, &t), FDIT_ERROR_MEMORY);
    check_message("23 bytes");
    /* two gzip members in a row, zeros behind, are one archive */
    struct archive b = { 0 }, c = { 0 };
    put_member(&b, "x", '0', "first", USTAR);
    zip_archive(&b);
    put_member(&c, "y", '0', "second", USTAR);
    put_end(&c);
    zip_archive(&c);
    struct archive both = { 0 };
    put(&both, b.bytes, b.n);
    put(&both, c.bytes, c.n);
    put(&both, "\0\0\0\0", 4);
    ck_assert_ok(ctx, fdit_tar_open_memory(ctx, "a.tar.gz", both.bytes, both.n, 24, &t));
    ck_assert_uint_eq(fdit_tar_count(t), 2);
    check_member(t, 1, "y", "second");
    fdit_tar_close(t);
    free(a.bytes);
    free(b.bytes);
    free(c.bytes);
    free(both.bytes);
}
END_TEST

START_TEST(test_tar_stream)
{
    for (int zipped = 0; zipped < 2; zipped++) {
        struct archive a = { 0 };
        struct fdit_tar_stream *s;
        struct fdit_tar_member m;
        char text[2001], got[2001];
        bool found;
        size_t n;
        for (int i = 0; i < 2000; i++)
            text[i] = (char)('a' + i % 26);
        text[2000] = 0;
        put_member(&a, "first", '0', text, USTAR);
        put_member(&a, "second", '0', text, USTAR);
        put_member(&a, "third", '0', "", USTAR);
        put_end(&a);
        if (zipped)
            zip_archive(&a);
        ck_assert_ok(ctx, fdit_file_write(ctx, in_folder("a"), false, a.bytes, a.n));
        free(a.bytes);
        ck_assert_ok(ctx, fdit_tar_stream_open(ctx, in_folder("a"), &s));
        ck_assert_ok(ctx, fdit_tar_stream_next(ctx, s, &m, &found));
        ck_assert(found && m.size == 2000 && m.offset == 512);
        ck_assert_ok(ctx, fdit_tar_stream_read(ctx, s, got, 700, &n)); /* a part; next skips the rest */
        ck_assert_uint_eq(n, 700);
        ck_assert_mem_eq(got, text, 700);
        ck_assert_ok(ctx, fdit_tar_stream_next(ctx, s, &m, &found));
        ck_assert_str_eq(m.name, "second");
        size_t at = 0;
        do {
            ck_assert_ok(ctx, fdit_tar_stream_read(ctx, s, got + at, 333, &n));
            at += n;
        } while (n);
        ck_assert_uint_eq(at, 2000);
        ck_assert_mem_eq(got, text, 2000);
        ck_assert_ok(ctx, fdit_tar_stream_next(ctx, s, &m, &found));
        ck_assert(found && m.size == 0);
        for (int i = 0; i < 2; i++) {
            ck_assert_ok(ctx, fdit_tar_stream_next(ctx, s, &m, &found));
            ck_assert(!found);
        }
        fdit_tar_stream_close(s);
    }
}
END_TEST

START_TEST(test_tar_writer)
{
    const size_t lengths[] = { 1, 99, 100, 101, 150, 155, 156, 200, 256, 257, 300, 990, 1000, 5000 };
    const char *wrong[] = { "", "/a", "a//b", "a/", "./a", "..", "a/../b" };
    enum { N = sizeof lengths / sizeof *lengths };
    struct fdit_tar_writer *w;
    struct fdit_tar *t;
    static char names[2 * N][5001];
    char text[1100];
    ck_assert_ok(ctx, fdit_tar_writer_open(ctx, in_folder("a.tar"), true, &w));
    for (int i = 0; i < 2 * N; i++) {
        size_t n = lengths[i / 2];
        memset(names[i], 'a' + i, n);
        for (size_t k = 37; i % 2 && k + 1 < n; k += 38)
            names[i][k] = '/';
        memset(text, 'a' + i, sizeof text);
        ck_assert_ok(ctx, fdit_tar_writer_add(ctx, w, names[i], text, (size_t)i * 40));
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_int_eq(fdit_tar_writer_add(ctx, w, wrong[i], "x", 1), FDIT_ERROR_ARGUMENT);
    ck_assert_ok(ctx, fdit_tar_writer_commit(ctx, &w));
    ck_assert_ptr_null(w);
    ck_assert_ok(ctx, fdit_tar_open(ctx, in_folder("a.tar"), 0, &t));
    ck_assert_uint_eq(fdit_tar_count(t), 2 * N);
    for (size_t i = 0; i < 2 * N; i++) {
        ck_assert_str_eq(fdit_tar_at(t, i)->name, names[i]);
        ck_assert_uint_eq(fdit_tar_at(t, i)->size, i * 40);
        for (size_t k = 0; k < i * 40; k++)
            ck_assert_int_eq(fdit_tar_data(t, i)[k], 'a' + (int)i);
    }
    fdit_tar_close(t);
    /* other programs agree, where there is one */
    char command[400];
    snprintf(command, sizeof command, "tar tf '%s' > '%s' 2> /dev/null", in_folder("a.tar"),
             in_folder("list"));
    if (system("tar --version > /dev/null 2>&1") == 0) {
        uint8_t *list;
        size_t n, at = 0;
        ck_assert_int_eq(system(command), 0);
        ck_assert_ok(ctx, fdit_file_read_all(ctx, in_folder("list"), 1 << 20, &list, &n));
        for (int i = 0; i < 2 * N; i++) {
            size_t length = strlen(names[i]);
            ck_assert_uint_le(at + length + 1, n);
            ck_assert_mem_eq(list + at, names[i], length);
            at += length + 1;
        }
        ck_assert_uint_eq(at, n);
        fdit_free(list);
    }
    ck_assert_ok(ctx, fdit_tar_writer_open(ctx, in_folder("b.tar"), true, &w));
    fdit_tar_writer_abort(w);
    fdit_tar_writer_abort(NULL);
    ck_assert(!fdit_file_exists(in_folder("b.tar")));
}
END_TEST

START_TEST(test_tar_memory_short_at_every_point)
{
    for (int zipped = 0; zipped < 2; zipped++) {
        struct archive a = { 0 };
        put_member(&a, "x", 'x', "18 path=some/name\n", USTAR);
        put_member(&a, "x", '0', "contents", USTAR);
        put_end(&a);
        if (zipped)
            zip_archive(&a);
        for (uint64_t k = 1;; k++) {
            struct fdit_tar *t = NULL;
            fdit_mem_fail_at(k);
            enum fdit_status status = fdit_tar_open_memory(ctx, "a", a.bytes, a.n, 99, &t);
            fdit_mem_fail_at(0);
            fdit_tar_close(t);
            if (status == FDIT_OK)
                break;
            ck_assert_int_eq(status, FDIT_ERROR_MEMORY);
            ck_assert_uint_lt(k, 100);
        }
        free(a.bytes);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("formats");
    TCase *t = tcase_create("safetensors");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, test_half_both_ways);
    tcase_add_test(t, test_half_rounding);
    tcase_add_test(t, test_bad_safetensors);
    tcase_add_test(t, test_headers);
    tcase_add_test(t, test_json_limits);
    tcase_add_test(t, test_types_to_f32);
    tcase_add_test(t, test_nonfinite_is_found_anywhere);
    tcase_add_test(t, test_integers);
    tcase_add_test(t, test_stored_halves);
    tcase_add_test(t, test_writer_pins_the_bytes);
    tcase_add_test(t, test_writer_round_trip);
    tcase_add_test(t, test_writer_failures);
    tcase_add_test(t, test_shards);
    suite_add_tcase(suite, t);
    t = tcase_create("tar");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, test_tar_dialects);
    tcase_add_test(t, test_tar_fields);
    tcase_add_test(t, test_tar_refused);
    tcase_add_test(t, test_tar_cut_anywhere);
    tcase_add_test(t, test_tar_limit);
    tcase_add_test(t, test_tar_ends);
    tcase_add_test(t, test_tar_stream);
    tcase_add_test(t, test_tar_writer);
    tcase_add_test(t, test_tar_memory_short_at_every_point);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
