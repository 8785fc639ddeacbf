/* SPDX-License-Identifier: Apache-2.0
 * dot.cl: dot4 of int8.h by itself, to see whether what is chosen for DOT is there and computes rightly. */
#include "int8.h"

/* to [i] = to [i] + the product of the words a [i] and b [i] */
__kernel void dot_words(__global int *to, __global const uint *a, __global const uint *b)
{
    size_t i = get_global_id(0);
    to[i] = dot4(a[i], b[i], to[i]);
}
