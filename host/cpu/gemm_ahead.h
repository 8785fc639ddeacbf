/* SPDX-License-Identifier: Apache-2.0
 * gemm_ahead.h: what a register tile fetches for those that come after it. A file that includes this defines
 * NR before. */
#ifndef FDIT_CPU_GEMM_AHEAD_H
#define FDIT_CPU_GEMM_AHEAD_H

#include "cpu/gemm_kernels.h"
#include "cpu/simd.h"

/* Where a step is NR words of 4 bytes of a panel: something is fetched after so many steps, of so many cache
 * lines together. */
enum { AHEAD_STEPS = 4, AHEAD_LINES = AHEAD_STEPS * NR / 16 };

/* What will be needed soon, fetched a little with each step: a burst would wait for itself. */
struct ahead {
    const char *panel;         /* of the columns that come next, a piece of it */
    int lines;                 /* of it with each step */
    const float *write, *read; /* rows that the epilogue writes and reads, NR floats of each */
    size_t ld;
    int rows, rows_each; /* rows_each: with each step */
};

FDIT_KERNEL void fetch_ahead(struct ahead *f)
{
    for (int i = 0; i < f->lines; i++, f->panel += 64)
        __builtin_prefetch(f->panel, 0, 2);
    for (int i = 0; i < f->rows_each && f->rows; i++, f->rows--) {
        __builtin_prefetch(f->write, 1, 3);
        __builtin_prefetch(f->write + NR / 2, 1, 3);
        f->write += f->ld;
        if (f->read) {
            __builtin_prefetch(f->read, 0, 3);
            __builtin_prefetch(f->read + NR / 2, 0, 3);
            f->read += f->ld;
        }
    }
}

/* For the register tile i of `pieces` on a panel: its share of the next panel (NULL: none), of so many cache
 * lines for each of `steps` steps, and its rows of the epilogue. */
FDIT_KERNEL struct ahead ahead_of(const struct fdit_gemm_epilogue *to, const void *next, int lines, int steps,
                                  int i, int pieces, int m, int rows, int n)
{
    struct ahead f = { 0 };
    if (next) {
        f.lines = (lines + pieces - 1) / pieces;
        int from = i * f.lines;
        if (from + f.lines > lines)
            f.lines = lines - from;
        f.panel = (const char *)next + (size_t)steps * (size_t)from * 64;
    }
    if (rows && steps) {
        const size_t at = (size_t)m * to->ldc + (size_t)n;
        const float *read = to->slope_pre ? to->slope_pre : to->residual_shared ? NULL : to->residual;
        f.write = to->c + at;
        f.read = read ? read + at : NULL;
        f.ld = to->ldc;
        f.rows = rows;
        f.rows_each = (rows + steps - 1) / steps;
    }
    return f;
}

#endif
