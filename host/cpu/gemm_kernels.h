/* SPDX-License-Identifier: Apache-2.0
 * gemm_kernels.h: the kernels behind linear, linear_dx and linear_dw, one table per instruction
 * set.
 *
 * All products are C [m, n] = sum over k of A(m, k) B(k, n). Each element of C is one chain of
 * fused multiply-adds over k in rising order, starting at 0, whatever the tile, its place, the
 * batch and the number of threads: blocks of k only interrupt the chain (the partial sum is stored
 * and loaded again). Of parts (gemm_amx_parts.h) it is a chain of the sums of 32 k each. So the same row of
 * A gives the same bits in every call, and all forms of B below agree bitwise.
 *
 * A register tile is mr rows of one operand, read as scalars and broadcast, by nr = 2 vectors of
 * the other, read from a panel [k][nr]:
 *
 *     normal      broadcast A, panels of B         C tile [mr rows of m][nr of n]
 *     transposed  broadcast B, panels of A         C tile [mr of n][nr rows of m], turned later
 *
 * A frozen matrix W [n_out, n_in] is packed once as [n_out / nr][n_in][nr], the last panel padded
 * with zeros. linear (n = n_out, k = n_in) reads it as panels of B; linear_dx (n = n_in, k = n_out)
 * as the broadcast operand of the transposed form, where nr consecutive k of one n are adjacent. */
#ifndef FDIT_CPU_GEMM_KERNELS_H
#define FDIT_CPU_GEMM_KERNELS_H

#include "cpu/rounding.h"
#include "device/backend.h"

#include <math.h>
#include <string.h>

enum { FDIT_INT8_STEP = 64 }; /* k of an int8 panel is filled up with zeros to a multiple of it */

enum fdit_gemm_b {
    FDIT_B_PANELS,   /* normal: packed, [n / nr][k][nr] */
    FDIT_B_ROWS,     /* normal: plain, B(k, n) = b[k ldb + n] */
    FDIT_B_PACKED_T, /* transposed: packed for the other direction, [k / nr][n][nr] */
    FDIT_B_COLUMNS   /* transposed: plain, B(k, n) = b[n ldb + k] */
};

enum fdit_gemm_act { FDIT_GEMM_NO_ACT, FDIT_GEMM_GELU, FDIT_GEMM_SILU, FDIT_GEMM_RELU, FDIT_GEMM_GELU_ERF };

/* What happens to an element v = C(m, n) on its way to memory, in this order. Pointers may be NULL.
 *   v += bias[n];  pre[m ldc + n] = v;  v = act(v);
 *   v *= slope of act at slope_pre[m ldc + n]   (then act itself is not applied);
 *   v = residual + gate v;  v += c (beta 1);  c[m ldc + n] = v
 * Row m belongs to sample m / rows. gate is at gate[sample gate_stride + n]; residual at
 * [m ldc + n], or at [(m mod rows) ldc + n] when it is shared. */
struct fdit_gemm_epilogue {
    float *c;
    size_t ldc;
    const float *bias;
    const float *add; /* [m ldc + n] */
    float *pre;
    enum fdit_gemm_act act;
    const float *slope_pre;
    const float *gate;
    size_t gate_stride;
    const float *residual;
    bool residual_shared;
    int rows;
    int beta;
};

/* Up to so many pixels of a row are looked up at once. */
enum { FDIT_GEMM_TAPS = 25 };

struct fdit_gemm {
    int m, n, k;
    const float *a;
    size_t lda;
    /* NULL, or fills block [mc][kc] with A(m0 .., k0 ..), whose rows a convolution collects from a picture
     * (picture: its arguments); `a` is then not read. FDIT_B_PANELS only. */
    void (*gather)(const struct fdit_gemm *g, int m0, int mc, int k0, int kc, float *block);
    const void *picture;
    /* With gather: where the k / n_taps numbers of each of the n_taps pixels of row m lie, one behind the
     * other; NULL: they are 0. */
    void (*taps)(const struct fdit_gemm *g, int m, const float **at);
    int n_taps;
    bool a_turned;          /* A(m, k) = a[k lda + m] instead of a[m lda + k]; normal form only */
    bool vectors;           /* the rows of A are conditioning vectors, one a sample */
    const void *b;          /* plain: float */
    enum fdit_dtype b_type; /* of packed panels: FDIT_F32, FDIT_BF16, FDIT_I8 */
    const float *b_scale;   /* FDIT_I8: [n_out, rounded up to nr] */
    size_t ldb;
    enum fdit_gemm_b form;
    struct fdit_gemm_epilogue to;
    /* Another product, whose chain goes on where that of A and B ends: low [m, low_k] by panels of its own,
     * as pack_as makes them of the kernels' precision, or in the transposed form by rows [n][low_k]; low_k 0:
     * none. Packed weights only. */
    const float *low;
    const void *low_panels;
    int low_k;

    /* Blocking, which has no influence on the result: k in a block (a multiple of nr), rows of m
     * and columns of n in a tile. */
    int kc, mc, nc;
    /* Operands in the kernels' order (prepare_a, prepare_b): strips from row strip_row on, panels from
     * column panel_column on, each of prepared_bytes(k). */
    const void *strips, *panels;
    int strip_row, panel_column;
};

struct fdit_cpu_gemm_kernels {
    enum fdit_dtype precision; /* FDIT_F32, or FDIT_BF16, FDIT_I8: both operands are rounded to it */
    int parts;                 /* > 0: both are taken apart into so many numbers of bf16 (gemm_amx_parts.h) */
    int vlen, mr, nr;
    int few;    /* up to so many rows of A, B is read once and in order, whatever its form */
    int kc, mc; /* preferred blocks */
    int k_unit; /* blocks of k are multiples of it; 0: of nr */

    /* Panels of packed weights. Bytes of one of k steps, and its making from `lanes` <= nr rows
     * src[lane ld + i], i < k; missing lanes are 0. The order is [k][nr], for FDIT_I8 [k / 4][nr][4] with k
     * filled up to a multiple of FDIT_INT8_STEP, for FDIT_BF16 in bf16 precision [k / 2][nr][2]. Types:
     * FDIT_F32 (f32 precision only), FDIT_BF16, and FDIT_I8 with scale [nr], the factor of each lane. */
    size_t (*panel_bytes)(enum fdit_dtype type, int k);
    void (*pack_as)(enum fdit_dtype type, void *dst, float *scale, const float *src, size_t ld, int lanes,
                    int k);
    /* NULL, or: the tiles read A prepared, and with prepare_b B too. Bytes of mr rows of A, or nr columns
     * of B, with all their k (64-byte aligned); their making, from row m and column n on. FDIT_B_PANELS of
     * the kernels' precision are prepared as they lie, but not for parts. scratch: as for a tile. */
    size_t (*prepared_bytes)(int k);
    void (*prepare_a)(const struct fdit_gemm *g, int m, void *strip, float *scratch);
    void (*prepare_b)(const struct fdit_gemm *g, int n, void *panel);
    /* Floats of scratch for a tile of g->mc x g->nc. */
    size_t (*scratch)(const struct fdit_gemm *g);
    /* C's rows m0 .. m1-1, columns n0 .. n1-1; n0 and (transposed form) m0 are multiples of nr. */
    void (*tile)(const struct fdit_gemm *g, int m0, int m1, int n0, int n1, float *scratch);
    /* Only the epilogue: v [rows][ldv] is C from (m0, n0) on, and is overwritten. For other GEMM
     * providers. */
    void (*finish)(const struct fdit_gemm_epilogue *to, float *v, size_t ldv, int m0, int rows, int n0,
                   int n);
    /* As in struct fdit_cpu_probe_kernels, for multiply-adds of this precision; NULL: that one. */
    double (*multiply_add)(size_t rounds, float *sink);
};

extern const struct fdit_cpu_gemm_kernels fdit_cpu_gemm_kernels_generic;
extern const struct fdit_cpu_gemm_kernels fdit_cpu_gemm_kernels_avx2;
extern const struct fdit_cpu_gemm_kernels fdit_cpu_gemm_kernels_avx512;
extern const struct fdit_cpu_gemm_kernels fdit_cpu_gemm_kernels_wide;
extern const struct fdit_cpu_gemm_kernels fdit_cpu_gemm_kernels_avx512bf16;
extern const struct fdit_cpu_gemm_kernels fdit_cpu_gemm_kernels_amx;
/* For products with FDIT_B_PANELS of FDIT_I8 alone, and no `gather`. The set's other kernels, which have the
 * same nr, pack the weights. */
extern const struct fdit_cpu_gemm_kernels fdit_cpu_gemm_int8_kernels_neondot;
extern const struct fdit_cpu_gemm_kernels fdit_cpu_gemm_int8_kernels_avxvnni;
extern const struct fdit_cpu_gemm_kernels fdit_cpu_gemm_int8_kernels_avx512vnni;
extern const struct fdit_cpu_gemm_kernels fdit_cpu_gemm_int8_kernels_amx;
/* By numbers of bf16, 6 or 3 products for one. The set's kernels for f32, which have the same nr, pack the
 * weights. */
extern const struct fdit_cpu_gemm_kernels fdit_cpu_gemm_f32_kernels_amx;
extern const struct fdit_cpu_gemm_kernels fdit_cpu_gemm_bf16x3_kernels_amx;

/* Whether rows can be rounded straight from their pixels, whose numbers fill whole blocks of `unit`. */
static inline bool fdit_gemm_by_taps(const struct fdit_gemm *g, int unit)
{
    return g->gather && g->n_taps <= FDIT_GEMM_TAPS && g->k / g->n_taps % unit == 0;
}

static inline int8_t fdit_gemm_to_int8(float x, float scale)
{
    float q = x / scale;
    return (int8_t)(q >= 127 ? 127 : q <= -127 ? -127 : q == q ? lrintf(q) : 1);
}

#endif
