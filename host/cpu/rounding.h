/* SPDX-License-Identifier: Apache-2.0
 * rounding.h: what kernels and their callers compute sizes with. */
#ifndef FDIT_HOST_CPU_ROUNDING_H
#define FDIT_HOST_CPU_ROUNDING_H

static inline int min_int(int a, int b)
{
    return a < b ? a : b;
}
static inline int round_up(int n, int to)
{
    return (n + to - 1) / to * to;
}
static inline int divide_up(int n, int by)
{
    return (n + by - 1) / by;
}

#endif
