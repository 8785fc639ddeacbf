/* SPDX-License-Identifier: Apache-2.0
 * gemm_int8.h: products of int8 weights with rows that are turned into int8 on the way ("dynamic
 * activations"), for the kernel files that multiply int8 (gemm_int8_kernels.c, gemm_amx_int8_kernels.c).
 *
 *     C(m, n) = a_scale(m) b_scale(n) sum over k of Aq(m, k) Bq(k, n)
 *     a_scale(m) = the largest magnitude of row m / 127,  Aq = A / a_scale to the nearest whole number
 *
 * The sum is of whole numbers in 32 bits, exact: a row's bits depend on the row and the weight alone, and
 * are the same whatever instructions multiply. The largest k is 2^31 / 127^2 = 133,000. A row with a number
 * that is not finite gives NaN throughout.
 *
 * Only frozen weights that are kept as int8, as they lie, for forward: gemm.c leaves all else to the set's
 * other kernels. A file that includes this defines MR and NR as for gemm_epilogue.h before. */
#ifndef FDIT_CPU_GEMM_INT8_H
#define FDIT_CPU_GEMM_INT8_H

#include "cpu/gemm_kernels.h"
#include "cpu/gemm_quantise.h"

#include "cpu/gemm_epilogue.h"

/* a_scale of a row of k numbers; *inverse turns it into whole numbers, and is 0 where there is nothing to
 * turn. */
FDIT_KERNEL float row_scale(const float *row, int k, float *inverse)
{
    float most = largest_magnitude(row, k);
    *inverse = most > 1e-36f ? 127 / most : 0;
    return most / 127;
}

typedef int8_t vb __attribute__((vector_size(FDIT_VLEN)));
/* Between -127 and 127 where x is finite; else anything, and the row's factor is NaN. */
FDIT_KERNEL vb to_int8(vf x, float inverse)
{
    const vf magic = vset(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    return __builtin_convertvector((vu)(x * inverse + magic) - (vu)magic, vb);
}

/* c [rows][NR] = the sums in it, as 32-bit whole numbers less `excess` [NR] (NULL: 0), times the factors of
 * their rows and columns. */
FDIT_KERNEL void scale_sums(float *c, int rows, const int32_t *excess, const float *a_scale,
                            const float *b_scale)
{
    FDIT_UNROLL
    for (int h = 0; h < NR; h += FDIT_VLEN) {
        const vu less = excess ? (vu)viload(excess + h) : (vu)viset(0);
        const vf columns = vload(b_scale + h);
        for (int r = 0; r < rows; r++) {
            float *at = c + (size_t)r * NR + h;
            vi sum = (vi)((vu)vload(at) - less);
            vstore(at, __builtin_convertvector(sum, vf) * (columns * a_scale[r]));
        }
    }
}

#endif
