/* SPDX-License-Identifier: Apache-2.0 */
#include "format/tensor.h"

#include "core/finite.h"
#include "core/half.h"

#include <inttypes.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define CHUNK 4096 /* elements converted at a time */
#define GATHER 512 /* the same with strides */

static const struct {
    const char *name;
    uint8_t bytes;
} types[FDIT_ST_TYPES] = {
    [FDIT_ST_BOOL] = { "BOOL", 1 },       [FDIT_ST_U8] = { "U8", 1 },
    [FDIT_ST_I8] = { "I8", 1 },           [FDIT_ST_F8_E5M2] = { "F8_E5M2", 1 },
    [FDIT_ST_F8_E4M3] = { "F8_E4M3", 1 }, [FDIT_ST_F8_E8M0] = { "F8_E8M0", 1 },
    [FDIT_ST_I16] = { "I16", 2 },         [FDIT_ST_U16] = { "U16", 2 },
    [FDIT_ST_F16] = { "F16", 2 },         [FDIT_ST_BF16] = { "BF16", 2 },
    [FDIT_ST_I32] = { "I32", 4 },         [FDIT_ST_U32] = { "U32", 4 },
    [FDIT_ST_F32] = { "F32", 4 },         [FDIT_ST_C64] = { "C64", 8 },
    [FDIT_ST_F64] = { "F64", 8 },         [FDIT_ST_I64] = { "I64", 8 },
    [FDIT_ST_U64] = { "U64", 8 },
};

size_t fdit_st_type_bytes(enum fdit_st_type type)
{
    return types[type].bytes;
}

const char *fdit_st_type_name(enum fdit_st_type type)
{
    return types[type].name;
}

bool fdit_st_type_find(const char *name, enum fdit_st_type *out)
{
    for (int i = 0; i < FDIT_ST_TYPES; i++)
        if (strcmp(name, types[i].name) == 0) {
            *out = (enum fdit_st_type)i;
            return true;
        }
    return false;
}

bool fdit_st_is_float(enum fdit_st_type type)
{
    return type == FDIT_ST_F32 || type == FDIT_ST_F16 || type == FDIT_ST_BF16 || type == FDIT_ST_F64;
}

const char *fdit_st_shape_text(int rank, const int64_t *shape, char *text, size_t size)
{
    size_t used = 0;
    if (size < 8)
        return "";
    text[used++] = '[';
    for (int i = 0; i < rank; i++) {
        char number[24];
        int n = shape[i] < 0 ? snprintf(number, sizeof number, "any")
                             : snprintf(number, sizeof number, "%lld", (long long)shape[i]);
        if (used + (size_t)n + 7 > size) {
            memcpy(text + used, "...", 3);
            used += 3;
            break;
        }
        if (i) {
            memcpy(text + used, ", ", 2);
            used += 2;
        }
        memcpy(text + used, number, (size_t)n);
        used += (size_t)n;
    }
    text[used++] = ']';
    text[used] = 0;
    return text;
}

enum fdit_status fdit_st_check_shape(fdit_context *ctx, const char *file, const struct fdit_st_tensor *t,
                                     int rank, const int64_t *shape)
{
    bool same = rank < 0 || rank == t->rank;
    for (int i = 0; same && i < rank; i++)
        same = shape[i] < 0 || shape[i] == t->shape[i];
    if (same)
        return FDIT_OK;
    char got[128], want[128];
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: tensor %.200s has the shape %s, this model needs "
                     "%s; is it the file of another model size?",
                     file, t->name, fdit_st_shape_text(t->rank, t->shape, got, sizeof got),
                     fdit_st_shape_text(rank, shape, want, sizeof want));
}

/* ------------------------------------------------------------------ numbers */

static enum fdit_status check_range(fdit_context *ctx, const char *file, const struct fdit_st_tensor *t,
                                    size_t first, size_t n)
{
    if (first > t->n || n > t->n - first)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s: tensor %.200s has %zu numbers, %zu from %zu "
                         "were asked for",
                         file, t->name, t->n, n, first);
    return FDIT_OK;
}

static uint64_t load_le(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static void load_u16(const uint8_t *p, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint16_t)(p[2 * i] | p[2 * i + 1] << 8);
}

static bool little_endian(void)
{
    const union {
        uint32_t word;
        uint8_t bytes[4];
    } order = { .word = 1 };
    return order.bytes[0];
}

static void load_f32(const uint8_t *p, size_t n, float *out)
{
    if (little_endian()) {
        if (n)
            memcpy(out, p, n * sizeof *out);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t v = (uint32_t)load_le(p + 4 * i, 4);
        memcpy(out + i, &v, sizeof v);
    }
}

static void load_f64(const uint8_t *p, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v = load_le(p + 8 * i, 8);
        double d;
        memcpy(&d, &v, sizeof d);
        out[i] = (float)d;
    }
}

static void load(enum fdit_st_type type, const uint8_t *p, size_t n, float *out)
{
    if (type == FDIT_ST_F32) {
        load_f32(p, n, out);
    } else if (type == FDIT_ST_F64) {
        load_f64(p, n, out);
    } else {
        for (size_t i = 0; i < n; i += CHUNK) {
            uint16_t raw[CHUNK];
            size_t m = n - i < CHUNK ? n - i : CHUNK;
            load_u16(p + 2 * i, m, raw);
            (type == FDIT_ST_F16 ? fdit_f16_to_f32 : fdit_bf16_to_f32)(m, raw, out + i);
        }
    }
}

/* Elements first..first+n of a tensor with strides, one behind the other. n is at least 1. */
static void gather(const struct fdit_st_tensor *t, size_t first, size_t n, uint8_t *out)
{
    int64_t index[FDIT_ST_MAX_RANK], at = 0;
    size_t size = types[t->type].bytes, rest = first;
    for (int i = t->rank - 1; i >= 0; i--) {
        index[i] = (int64_t)(rest % (size_t)t->shape[i]);
        rest /= (size_t)t->shape[i];
        at += index[i] * t->stride[i];
    }
    for (size_t k = 0; k < n; k++) {
        memcpy(out + k * size, t->data + (size_t)at * size, size);
        for (int i = t->rank - 1; i >= 0; i--) {
            at += t->stride[i];
            if (++index[i] < t->shape[i])
                break;
            at -= index[i] * t->stride[i];
            index[i] = 0;
        }
    }
}

enum fdit_status fdit_st_check_sum(fdit_context *ctx, const char *file, const struct fdit_st_tensor *t)
{
    struct fdit_st_sum *sum = t->sum;
    if (!sum || atomic_load(&sum->right))
        return FDIT_OK;
    uint32_t crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), sum->data, sum->bytes);
    if (crc != sum->crc)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: tensor %.200s: its bytes have the checksum %08x, the file says %08x; it is "
                         "damaged, get it again",
                         file, t->name, (unsigned)crc, (unsigned)sum->crc);
    atomic_store(&sum->right, true);
    return FDIT_OK;
}

enum fdit_status fdit_st_f32(fdit_context *ctx, const char *file, const struct fdit_st_tensor *t,
                             size_t first, size_t n, float *out)
{
    enum fdit_status status = FDIT_OK;
    TRY(check_range(ctx, file, t, first, n));
    TRY(fdit_st_check_sum(ctx, file, t));
    if (!fdit_st_is_float(t->type))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: tensor %.200s is of type %s, weights must be F32, F16, "
             "BF16 or F64; convert it",
             file, t->name, types[t->type].name);
    if (!t->stride) {
        load(t->type, t->data + first * types[t->type].bytes, n, out);
        return FDIT_OK;
    }
    for (size_t i = 0; i < n; i += GATHER) {
        uint8_t raw[GATHER * 8];
        size_t m = n - i < GATHER ? n - i : GATHER;
        gather(t, first + i, m, raw);
        load(t->type, raw, m, out + i);
    }
out:
    return status;
}

static enum fdit_status refuse_nonfinite(fdit_context *ctx, const char *file, const struct fdit_st_tensor *t,
                                         size_t first, const float *x, size_t n)
{
    if (fdit_all_finite(x, n))
        return FDIT_OK;
    size_t i = 0, bad = 0;
    while (isfinite(x[i]))
        i++;
    for (size_t j = i; j < n; j++)
        bad += !isfinite(x[j]);
    return fdit_fail(ctx, FDIT_ERROR_NUMERIC,
                     "%s: tensor %.200s is not finite: element %zu of %zu "
                     "is %s (%zu such here); the training that wrote it diverged or the file is "
                     "damaged, take an earlier checkpoint",
                     file, t->name, first + i, t->n, isnan(x[i]) ? "NaN" : "infinity", bad);
}

enum fdit_status fdit_st_weights(fdit_context *ctx, const char *file, const struct fdit_st_tensor *t,
                                 size_t first, size_t n, float *out)
{
    enum fdit_status status = FDIT_OK;
    for (size_t i = 0; i < n || i == 0; i += CHUNK) { /* checked while it is in the cache */
        size_t m = n - i < CHUNK ? n - i : CHUNK;
        TRY(fdit_st_f32(ctx, file, t, first + i, m, out + i));
        TRY(refuse_nonfinite(ctx, file, t, first + i, out + i, m));
    }
out:
    return status;
}

const float *fdit_st_floats(const struct fdit_st_tensor *t)
{
    const void *data = t->data;
    bool plain =
        t->type == FDIT_ST_F32 && !t->stride && little_endian() && (uintptr_t)data % sizeof(float) == 0;
    return plain ? data : NULL;
}

enum fdit_status fdit_st_check_finite(fdit_context *ctx, const char *file, const struct fdit_st_tensor *t)
{
    enum fdit_status status = FDIT_OK;
    const float *floats = fdit_st_floats(t);
    float x[CHUNK];
    TRY(fdit_st_check_sum(ctx, file, t));
    if (floats)
        return t->n ? refuse_nonfinite(ctx, file, t, 0, floats, t->n) : FDIT_OK;
    for (size_t i = 0; i < t->n || i == 0; i += CHUNK)
        TRY(fdit_st_weights(ctx, file, t, i, t->n - i < CHUNK ? t->n - i : CHUNK, x));
out:
    return status;
}

enum fdit_status fdit_st_i64(fdit_context *ctx, const char *file, const struct fdit_st_tensor *t,
                             size_t first, size_t n, int64_t *out)
{
    enum fdit_status status = FDIT_OK;
    int bytes = types[t->type].bytes;
    bool is_signed =
        t->type == FDIT_ST_I8 || t->type == FDIT_ST_I16 || t->type == FDIT_ST_I32 || t->type == FDIT_ST_I64;
    bool is_unsigned = t->type == FDIT_ST_BOOL || t->type == FDIT_ST_U8 || t->type == FDIT_ST_U16 ||
                       t->type == FDIT_ST_U32 || t->type == FDIT_ST_U64;
    TRY(check_range(ctx, file, t, first, n));
    TRY(fdit_st_check_sum(ctx, file, t));
    if (!is_signed && !is_unsigned)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s is of type %s where integers are needed", file,
             t->name, types[t->type].name);
    for (size_t i = 0; i < n; i++) {
        uint8_t raw[8];
        if (t->stride)
            gather(t, first + i, 1, raw);
        else
            memcpy(raw, t->data + (first + i) * (size_t)bytes, (size_t)bytes);
        uint64_t v = load_le(raw, bytes);
        if (is_signed && v >> (8 * bytes - 1))
            v |= bytes == 8 ? 0 : ~UINT64_C(0) << (8 * bytes);
        else if (v > INT64_MAX)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s: element %zu is %ju, beyond 2^63 - 1", file,
                 t->name, first + i, (uintmax_t)v);
        memcpy(out + i, &v, sizeof v);
    }
out:
    return status;
}

/* ------------------------------------------------------------------ storing */

void fdit_st_swap(enum fdit_st_type type, size_t n, uint8_t *bytes)
{
    size_t size = type == FDIT_ST_C64 ? 4 : types[type].bytes;
    if (little_endian())
        return;
    n *= types[type].bytes / size;
    for (size_t i = 0; i < n; i++, bytes += size)
        for (size_t a = 0, b = size - 1; a < b; a++, b--) {
            uint8_t t = bytes[a];
            bytes[a] = bytes[b];
            bytes[b] = t;
        }
}

float fdit_st_largest(enum fdit_st_type type)
{
    return type == FDIT_ST_F16 ? 65504.0f : type == FDIT_ST_BF16 ? 0x1.fep127f : FLT_MAX;
}

/* The least magnitude that rounds to infinity: half a step above the largest. */
static float least_infinite(enum fdit_st_type type)
{
    return type == FDIT_ST_F16 ? 65520.0f : 0x1.ffp127f;
}

enum fdit_status fdit_st_check_fits(fdit_context *ctx, const char *name, enum fdit_st_type type, size_t first,
                                    const float *x, size_t n)
{
    if (type != FDIT_ST_F16 && type != FDIT_ST_BF16)
        return FDIT_OK;
    float least = least_infinite(type), most = 0;
    for (size_t i = 0; i < n; i++)
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    if (!(most >= least) || isinf(most))
        return FDIT_OK;
    size_t i = 0;
    while (!(fabsf(x[i]) >= least))
        i++;
    return fdit_fail(
        ctx, FDIT_ERROR_NUMERIC,
        "tensor %.200s: element %zu is %g, and the largest number of %s is %g; store it in a wider "
        "type (%sF32), or cut what is too large (convert --saturate)",
        name, first + i, (double)x[i], fdit_st_type_name(type), (double)fdit_st_largest(type),
        type == FDIT_ST_F16 ? "BF16 or " : "");
}

void fdit_st_store(enum fdit_st_type type, const float *x, size_t n, uint8_t *out)
{
    if (type == FDIT_ST_F16) {
        fdit_f32_to_f16(n, x, (uint16_t *)(void *)out);
    } else if (type == FDIT_ST_BF16) {
        fdit_f32_to_bf16(n, x, (uint16_t *)(void *)out);
    } else if (type == FDIT_ST_F64) {
        for (size_t i = 0; i < n; i++) {
            double d = x[i];
            memcpy(out + 8 * i, &d, sizeof d);
        }
    } else {
        memcpy(out, x, n * sizeof *x);
    }
    fdit_st_swap(type, n, out);
}
