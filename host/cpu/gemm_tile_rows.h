/* SPDX-License-Identifier: Apache-2.0
 * gemm_tile_rows.h: lists over the rows of a register tile, for the kernel files that have one function for
 * each number of rows. A file that includes this defines MR as 6, 8 or 14 before. */
#ifndef FDIT_CPU_GEMM_TILE_ROWS_H
#define FDIT_CPU_GEMM_TILE_ROWS_H

/* f(1, of) to f(MR, of) */
#define FOR_6_ROWS(f, of) f(1, of) f(2, of) f(3, of) f(4, of) f(5, of) f(6, of)
#define FOR_8_ROWS(f, of) FOR_6_ROWS(f, of) f(7, of) f(8, of)
#if MR == 6
#define FOR_ROWS FOR_6_ROWS
#elif MR == 8
#define FOR_ROWS FOR_8_ROWS
#elif MR == 14
#define FOR_ROWS(f, of) FOR_8_ROWS(f, of) f(9, of) f(10, of) f(11, of) f(12, of) f(13, of) f(14, of)
#else
#error "register tiles have 6, 8 or 14 rows"
#endif

/* Of a table of functions called tile_KIND_ROWS. */
#define TILE_NAME(mr, kind) tile_##kind##_##mr,

#endif
