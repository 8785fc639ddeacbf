/* SPDX-License-Identifier: Apache-2.0
 * probe_kernels.c: the loop that shows how many multiply-adds a second a core can do. A kernel
 * file: see cpu.h. */
#include "cpu/op_kernels.h"
#include "cpu/simd.h"

/* Enough chains to hide the latency of two units (2 x 5 cycles), few enough that they and the two
 * constants fit into 16 registers. */
enum { CHAINS = 12 };

static double multiply_add(size_t rounds, float *sink)
{
    vf sum[CHAINS], factor = vset(0.999f), term = vset(0.001f), all = vzero();
    FDIT_UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = vset((float)i);
    for (size_t r = 0; r < rounds; r++) {
        FDIT_UNROLL
        for (int i = 0; i < CHAINS; i++)
            sum[i] = vfma(sum[i], factor, term);
    }
    FDIT_UNROLL
    for (int i = 0; i < CHAINS; i++)
        all += sum[i];
    *sink = vsum(all);
    return 2.0 * CHAINS * FDIT_VLEN;
}

const struct fdit_cpu_probe_kernels FDIT_ISA_NAME(fdit_cpu_probe_kernels) = {
    .multiply_add = multiply_add,
};
