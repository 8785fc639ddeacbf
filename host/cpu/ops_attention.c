/* SPDX-License-Identifier: Apache-2.0
 * ops_attention.c: attention over samples, heads and tiles. */
#include "cpu/op_kernels.h"
#include "cpu/ops.h"

#ifdef _OPENMP
#include <omp.h>
#endif

static size_t this_thread(void)
{
#ifdef _OPENMP
    return (size_t)omp_get_thread_num();
#else
    return 0;
#endif
}

/* Head i % H of sample i / H of qkv [B, N, 3, H, dh]: offset of its first query. */
static size_t qkv_offset(size_t i, size_t rows, size_t heads, size_t head_size)
{
    return (i / heads * rows * 3 * heads + i % heads) * head_size;
}
static size_t out_offset(size_t i, size_t rows, size_t heads, size_t head_size)
{
    return (i / heads * rows * heads + i % heads) * head_size;
}

void fdit_cpu_attention(fdit_device *dev, const struct fdit_attention_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    const struct fdit_cpu_attention_kernels *kernels = cpu->attention;
    const size_t rows = (size_t)a->rows, heads = (size_t)a->heads, dh = (size_t)a->head_size;
    const size_t tile = (size_t)kernels->forward_query_tile, tiles = (rows + tile - 1) / tile;
    const size_t each = fdit_cpu_page_floats(kernels->forward_floats(a->rows, a->head_size));
    const size_t all = (size_t)a->samples * heads * tiles;
    const float *qkv = fdit_cpu_f32(a->qkv);
    float *out = fdit_cpu_f32(a->out), *lse = fdit_cpu_f32(a->lse);
    float *scratch = fdit_cpu_scratch(dev, FDIT_OP_ATTENTION,
                                      (size_t)cpu->threads * each * sizeof(float));
    if (!scratch)
        return;
#pragma omp parallel num_threads(cpu->threads)
    {
        float *own = scratch + this_thread() * each;
        size_t packed = SIZE_MAX; /* the head that `own` holds */
        /* A thread gets neighbouring tiles, so it packs few heads. */
#pragma omp for schedule(static)
        for (size_t i = 0; i < all; i++) {
            const size_t head = i / tiles;
            const float *q = qkv + qkv_offset(head, rows, heads, dh);
            const struct fdit_cpu_attention_head h = {
                .rows = a->rows,
                .head_size = a->head_size,
                .stride = 3 * heads * dh,
                .out_stride = heads * dh,
                .q = q,
                .k = q + heads * dh,
                .v = q + 2 * heads * dh,
                .out = out + out_offset(head, rows, heads, dh),
                .lse = lse ? lse + head * rows : NULL,
            };
            if (packed != head)
                kernels->forward_pack(&h, own);
            packed = head;
            kernels->forward_tile(&h, (int)(i % tiles), own);
        }
    }
}

void fdit_cpu_attention_backward(fdit_device *dev, const struct fdit_attention_backward_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    const struct fdit_cpu_attention_kernels *kernels = cpu->attention;
    const size_t rows = (size_t)a->rows, heads = (size_t)a->heads, dh = (size_t)a->head_size;
    const size_t q_tile = (size_t)kernels->backward_query_tile, q_tiles = (rows + q_tile - 1) / q_tile;
    const size_t k_tile = (size_t)kernels->backward_key_tile, k_tiles = (rows + k_tile - 1) / k_tile;
    const size_t each = fdit_cpu_page_floats(kernels->backward_floats(a->rows, a->head_size));
    const size_t all = (size_t)a->samples * heads;
    const float *qkv = fdit_cpu_f32(a->qkv), *dout = fdit_cpu_f32(a->dout);
    const float *out = fdit_cpu_f32(a->out), *lse = fdit_cpu_f32(a->lse);
    float *dqkv = fdit_cpu_f32(a->dqkv);
    /* Sharing a head among threads costs 7 products in place of 5, and gives the same bits. */
    const bool whole = all >= (size_t)cpu->threads;
    const size_t pieces = whole ? 1 : k_tiles + q_tiles;
    float *scratch = fdit_cpu_scratch(dev, FDIT_OP_ATTENTION_BACKWARD,
                                      (size_t)cpu->threads * each * sizeof(float));
    if (!scratch)
        return;
#pragma omp parallel num_threads(cpu->threads)
    {
        float *own = scratch + this_thread() * each;
#pragma omp for schedule(static)
        for (size_t i = 0; i < all * pieces; i++) {
            const size_t head = i / pieces, piece = i % pieces;
            const size_t at = qkv_offset(head, rows, heads, dh), third = heads * dh;
            const size_t o = out_offset(head, rows, heads, dh);
            const struct fdit_cpu_attention_head h = {
                .rows = a->rows,
                .head_size = a->head_size,
                .stride = 3 * heads * dh,
                .out_stride = heads * dh,
                .q = qkv + at,
                .k = qkv + at + third,
                .v = qkv + at + 2 * third,
                .dout = dout + o,
                .o_in = out + o,
                .lse_in = lse + head * rows,
                .dq = dqkv + at,
                .dk = dqkv + at + third,
                .dv = dqkv + at + 2 * third,
            };
            if (whole)
                kernels->backward_head(&h, own);
            else if (piece < k_tiles)
                kernels->backward_keys(&h, (int)piece, own);
            else
                kernels->backward_queries(&h, (int)(piece - k_tiles), own);
        }
    }
}
