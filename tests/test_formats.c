/* SPDX-License-Identifier: Apache-2.0
 * test_formats.c: 16-bit floats and safetensors, what they accept, refuse and write. */
#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "format_fixture.h"
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

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

int main(void)
{
    Suite *suite = suite_create("formats");
    TCase *t = tcase_create("safetensors");
    tcase_add_checked_fixture(t, format_setup, format_teardown);
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
    return test_run(suite);
}
