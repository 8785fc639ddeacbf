/* SPDX-License-Identifier: Apache-2.0
 * attention_sizes.h: sizes that attention's kernels in f32 and in bf16 share. */
#ifndef FDIT_HOST_CPU_ATTENTION_SIZES_H
#define FDIT_HOST_CPU_ATTENTION_SIZES_H

#include "cpu/rounding.h"
#include "cpu/simd.h"

/* Vectors that hold a row of a head, and its padded length. */
static int vectors_of(int head_size)
{
    return (head_size + FDIT_VLEN - 1) / FDIT_VLEN;
}
static int padded(int head_size)
{
    return vectors_of(head_size) * FDIT_VLEN;
}

/* 1 / sqrt(dh) */
static float score_scale(int head_size)
{
    return 1.0f / __builtin_sqrtf((float)head_size);
}

#endif
