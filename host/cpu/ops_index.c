/* SPDX-License-Identifier: Apache-2.0
 * ops_index.c: ops that move elements to other places. */
#include "cpu/op_kernels.h"
#include "cpu/ops.h"

#include <string.h>

/* Columns of the table that one piece of scatter_add works on: no two pieces touch the same element. */
#define COLUMN_BLOCK 128

/* Whether all row indices are in range; else a device error that names the first bad one. */
static bool rows_fit(fdit_device *dev, enum fdit_op op, const int32_t *rows, int n, int n_rows)
{
    for (int i = 0; i < n; i++)
        if (rows[i] < 0 || rows[i] >= n_rows) {
            fdit_device_fail(dev, FDIT_ERROR_DEVICE, "%s: row %d of sample %d is not in 0..%d",
                             fdit_op_name(op), (int)rows[i], i, n_rows - 1);
            return false;
        }
    return true;
}

static void gather_rows(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_gather_args *a = job;
    const size_t width = (size_t)a->width;
    const int32_t *rows = fdit_cpu_i32(a->index);
    const float *table = fdit_cpu_f32(a->table);
    float *y = fdit_cpu_f32(a->y);
    (void)thread;
    for (size_t b = begin; b < end; b++) {
        const float *from = table + (size_t)rows[b] * width;
        if (a->beta)
            cpu->op->axpy(y + b * width, from, width, 1.0f, 1);
        else
            memcpy(y + b * width, from, width * sizeof *y);
    }
}

void fdit_cpu_gather(fdit_device *dev, const struct fdit_gather_args *a)
{
    const size_t samples = (size_t)a->samples;
    if (rows_fit(dev, FDIT_OP_GATHER, fdit_cpu_i32(a->index), a->samples, a->table_rows))
        fdit_cpu_range(fdit_cpu_of(dev), samples, samples * (size_t)a->width, gather_rows, a);
}

static void copy_rows(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_copy_columns_args *a = job;
    const size_t n = (size_t)a->n, width = (size_t)a->width;
    float *y = fdit_cpu_f32(a->y) + a->first;
    const float *x = fdit_cpu_f32(a->x);
    (void)cpu;
    (void)thread;
    for (size_t r = begin; r < end; r++)
        memcpy(y + r * width, x + r * n, n * sizeof *y);
}

void fdit_cpu_copy_columns(fdit_device *dev, const struct fdit_copy_columns_args *a)
{
    const size_t rows = (size_t)a->m;
    fdit_cpu_range(fdit_cpu_of(dev), rows, rows * (size_t)a->n, copy_rows, a);
}

static void scatter_columns(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_scatter_add_args *a = job;
    const size_t width = (size_t)a->width, samples = (size_t)a->samples;
    const int32_t *rows = fdit_cpu_i32(a->index);
    const float *dy = fdit_cpu_f32(a->dy);
    float *dtable = fdit_cpu_f32(a->dtable);
    (void)thread;
    for (size_t c = begin * COLUMN_BLOCK; c < end * COLUMN_BLOCK; c += COLUMN_BLOCK) {
        const size_t columns = width - c < COLUMN_BLOCK ? width - c : COLUMN_BLOCK;
        for (size_t b = 0; b < samples; b++)
            cpu->op->axpy(dtable + (size_t)rows[b] * width + c, dy + b * width + c, columns, 1.0f, 1);
    }
}

void fdit_cpu_scatter_add(fdit_device *dev, const struct fdit_scatter_add_args *a)
{
    const size_t width = (size_t)a->width;
    if (!rows_fit(dev, FDIT_OP_SCATTER_ADD, fdit_cpu_i32(a->index), a->samples, a->table_rows))
        return;
    if (!a->beta)
        fdit_cpu_fill(dev, a->dtable, (size_t)a->table_rows * width, 0.0f);
    fdit_cpu_range(fdit_cpu_of(dev), (width + COLUMN_BLOCK - 1) / COLUMN_BLOCK, (size_t)a->samples * width,
                   scatter_columns, a);
}

/* One token: p rows of p pixels for each channel, at `image` in planes of size * size. */
static void token_copy(const struct fdit_patchify_args *a, float *token, float *image, bool to_token)
{
    const size_t p = (size_t)a->patch, size = (size_t)a->size, channels = (size_t)a->channels;
    for (size_t c = 0; c < channels; c++)
        for (size_t y = 0; y < p; y++) {
            float *line = image + (c * size + y) * size;
            if (a->order == FDIT_PATCH_CHANNEL_FIRST) {
                float *t = token + (c * p + y) * p;
                for (size_t x = 0; x < p; x++)
                    if (to_token)
                        t[x] = line[x];
                    else
                        line[x] = t[x];
            } else {
                float *t = token + y * p * channels + c;
                for (size_t x = 0; x < p; x++)
                    if (to_token)
                        t[x * channels] = line[x];
                    else
                        line[x] = t[x * channels];
            }
        }
}

struct patched {
    const struct fdit_patchify_args *a;
    bool to_token;
};

/* Rows of patches. */
static void patch_rows(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct patched *all = job;
    const struct fdit_patchify_args *a = all->a;
    const size_t p = (size_t)a->patch, size = (size_t)a->size, channels = (size_t)a->channels;
    const size_t side = size / p, plane = channels * size * size, token = channels * p * p;
    float *tokens = fdit_cpu_f32(a->tokens), *image = fdit_cpu_f32(a->image);
    (void)cpu;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t b = i / side, row = i % side;
        for (size_t column = 0; column < side; column++)
            token_copy(a, tokens + (i * side + column) * token,
                       image + b * plane + row * p * size + column * p, all->to_token);
    }
}

static void patch_all(fdit_device *dev, const struct fdit_patchify_args *a, bool to_token)
{
    const struct patched all = { .a = a, .to_token = to_token };
    const size_t size = (size_t)a->size, samples = (size_t)a->samples;
    fdit_cpu_range(fdit_cpu_of(dev), samples * (size / (size_t)a->patch),
                   samples * (size_t)a->channels * size * size, patch_rows, &all);
}

void fdit_cpu_patchify(fdit_device *dev, const struct fdit_patchify_args *a)
{
    patch_all(dev, a, true);
}

void fdit_cpu_unpatchify(fdit_device *dev, const struct fdit_patchify_args *a)
{
    patch_all(dev, a, false);
}
