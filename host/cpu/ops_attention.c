/* SPDX-License-Identifier: Apache-2.0
 * ops_attention.c: attention over samples, heads and tiles. */
#include "cpu/op_kernels.h"
#include "cpu/ops.h"

#include "core/mem.h"
#include "core/pool.h"

/* Head i % H of sample i / H of qkv [B, N, 3, H, dh]: offset of its first query. */
static size_t qkv_offset(size_t i, size_t rows, size_t heads, size_t head_size)
{
    return (i / heads * rows * 3 * heads + i % heads) * head_size;
}
static size_t out_offset(size_t i, size_t rows, size_t heads, size_t head_size)
{
    return (i / heads * rows * heads + i % heads) * head_size;
}

struct attention {
    const struct fdit_attention_args *a;
    float *scratch;
    size_t each;    /* floats of it a thread */
    size_t tiles;   /* of a head's queries */
    size_t *packed; /* [threads]: the head whose keys and values a thread's scratch holds */
};

static void attention_tiles(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct attention *all = job;
    const struct fdit_attention_args *a = all->a;
    const struct fdit_cpu_attention_kernels *kernels = cpu->attention;
    const size_t rows = (size_t)a->tokens, heads = (size_t)a->heads, dh = (size_t)a->head_size;
    const float *qkv = fdit_cpu_f32(a->qkv);
    float *out = fdit_cpu_f32(a->out), *lse = fdit_cpu_f32(a->lse);
    float *own = all->scratch + (size_t)thread * all->each;
    for (size_t i = begin; i < end; i++) {
        const size_t head = i / all->tiles;
        const float *q = qkv + qkv_offset(head, rows, heads, dh);
        const struct fdit_cpu_attention_head h = {
            .rows = a->tokens,
            .head_size = a->head_size,
            .stride = 3 * heads * dh,
            .out_stride = heads * dh,
            .q = q,
            .k = q + heads * dh,
            .v = q + 2 * heads * dh,
            .out = out + out_offset(head, rows, heads, dh),
            .lse = lse ? lse + head * rows : NULL,
        };
        if (all->packed[thread] != head)
            kernels->forward_pack(&h, own);
        all->packed[thread] = head;
        kernels->forward_tile(&h, (int)(i % all->tiles), own);
    }
}

void fdit_cpu_attention(fdit_device *dev, const struct fdit_attention_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    const struct fdit_cpu_attention_kernels *kernels = cpu->attention;
    const size_t rows = (size_t)a->tokens, threads = (size_t)cpu->threads;
    const size_t tile = (size_t)kernels->forward_query_tile;
    size_t packed[FDIT_POOL_MOST_MEMBERS];
    struct attention all = {
        .a = a,
        .each = fdit_page_floats(kernels->forward_floats(a->tokens, a->head_size)),
        .tiles = (rows + tile - 1) / tile,
        .packed = packed,
    };
    all.scratch = fdit_cpu_scratch(dev, FDIT_OP_ATTENTION, threads * all.each * sizeof(float));
    if (!all.scratch)
        return;
    for (size_t i = 0; i < threads; i++)
        packed[i] = SIZE_MAX;
    fdit_cpu_range(cpu, (size_t)a->samples * (size_t)a->heads * all.tiles, SIZE_MAX, attention_tiles, &all);
}

struct attention_backward {
    const struct fdit_attention_backward_args *a;
    float *scratch;
    size_t each;            /* floats of it a thread */
    size_t pieces, k_tiles; /* of a head; 1: it is not shared */
};

static void attention_backward_pieces(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end,
                                      int thread)
{
    const struct attention_backward *all = job;
    const struct fdit_attention_backward_args *a = all->a;
    const struct fdit_cpu_attention_kernels *kernels = cpu->attention;
    const size_t rows = (size_t)a->tokens, heads = (size_t)a->heads, dh = (size_t)a->head_size;
    const float *qkv = fdit_cpu_f32(a->qkv), *dout = fdit_cpu_f32(a->dout);
    const float *out = fdit_cpu_f32(a->out), *lse = fdit_cpu_f32(a->lse);
    float *dqkv = fdit_cpu_f32(a->dqkv), *own = all->scratch + (size_t)thread * all->each;
    for (size_t i = begin; i < end; i++) {
        const size_t head = i / all->pieces, piece = i % all->pieces;
        const size_t at = qkv_offset(head, rows, heads, dh), third = heads * dh;
        const size_t o = out_offset(head, rows, heads, dh);
        const struct fdit_cpu_attention_head h = {
            .rows = a->tokens,
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
        if (all->pieces == 1)
            kernels->backward_head(&h, own);
        else if (piece < all->k_tiles)
            kernels->backward_keys(&h, (int)piece, own);
        else
            kernels->backward_queries(&h, (int)(piece - all->k_tiles), own);
    }
}

void fdit_cpu_attention_backward(fdit_device *dev, const struct fdit_attention_backward_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    const struct fdit_cpu_attention_kernels *kernels = cpu->attention;
    const size_t rows = (size_t)a->tokens, threads = (size_t)cpu->threads;
    const size_t q_tile = (size_t)kernels->backward_query_tile, q_tiles = (rows + q_tile - 1) / q_tile;
    const size_t k_tile = (size_t)kernels->backward_key_tile, k_tiles = (rows + k_tile - 1) / k_tile;
    const size_t heads = (size_t)a->samples * (size_t)a->heads;
    struct attention_backward all = {
        .a = a,
        .each = fdit_page_floats(kernels->backward_floats(a->tokens, a->head_size)),
        /* Sharing a head among threads costs 7 products in place of 5, and gives the same bits. */
        .pieces = heads >= threads ? 1 : k_tiles + q_tiles,
        .k_tiles = k_tiles,
    };
    all.scratch = fdit_cpu_scratch(dev, FDIT_OP_ATTENTION_BACKWARD, threads * all.each * sizeof(float));
    if (all.scratch)
        fdit_cpu_range(cpu, heads * all.pieces, SIZE_MAX, attention_backward_pieces, &all);
}
