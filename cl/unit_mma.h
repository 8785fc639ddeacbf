/* SPDX-License-Identifier: Apache-2.0
 * unit_mma.h: PTX mma.sync.m16n8k16 with f32 sums, and m16n8k32 of int8, from sm_80 on (unit.h says what
 * each macro is). Layouts: PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type". A warp is
 * 32 work-items in a row; all of them have to arrive. */
#if UNIT == UNIT_MMA
#define LANES 32
#define UM 16
#define UN 8
#define UK 16
#define A_WORDS 4
#define B_WORDS 2
#define C_FLOATS 4
typedef struct {
    NUMBER f[C_FLOATS];
} c_fragment;

#define A_LANE(row, k) ((k) / 2 % 4 + (row) % 8 * 4)
#define A_HALF(row, k) ((k) % 2 + (row) / 8 * 2 + (k) / 8 * 4)
#define B_LANE(k, column) ((k) / 2 % 4 + (column)*4)
#define B_HALF(k, column) ((k) % 2 + (k) / 8 * 2)
#define C_LANE(row, column) ((row) % 8 * 4 + (column) / 2)
#define C_AT(row, column) ((column) % 2 + (row) / 8 * 2)

#define LOAD_A(a, tile, row, word)                         \
    {                                                      \
        int r_ = (row) + lane / 4, w_ = (word) + lane % 4; \
        (a)[0] = (tile)[PLACE(r_, w_)];                    \
        (a)[1] = (tile)[PLACE(r_ + 8, w_)];                \
        (a)[2] = (tile)[PLACE(r_, w_ + 4)];                \
        (a)[3] = (tile)[PLACE(r_ + 8, w_ + 4)];            \
    }
#define LOAD_B(b, tile, column, word)                         \
    {                                                         \
        int c_ = (column) + lane / 4, w_ = (word) + lane % 4; \
        (b)[0] = (tile)[PLACE(c_, w_)];                       \
        (b)[1] = (tile)[PLACE(c_, w_ + 4)];                   \
    }
#define C_ELEMENT(c, e) (c).f[e]
#define C_ROW(e) (lane / 4 + (e) / 2 * 8)
#define C_COLUMN(e) (lane % 4 * 2 + (e) % 2)

#ifndef EMULATED
/* Volatile and with tied operands: a compiler moved others about. */
#ifdef F16
#define MMA_TYPES_ ".f32.f16.f16.f32"
#else
#define MMA_TYPES_ ".f32.bf16.bf16.f32"
#endif
#ifdef INT8
#define MMA(c, a, b)                                                              \
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32"                \
                 " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"         \
                 : "+r"((c).f[0]), "+r"((c).f[1]), "+r"((c).f[2]), "+r"((c).f[3]) \
                 : "r"((a)[0]), "r"((a)[1]), "r"((a)[2]), "r"((a)[3]), "r"((b)[0]), "r"((b)[1]))
#else
#define MMA(c, a, b)                                                              \
    asm volatile("mma.sync.aligned.m16n8k16.row.col" MMA_TYPES_                   \
                 " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"         \
                 : "+f"((c).f[0]), "+f"((c).f[1]), "+f"((c).f[2]), "+f"((c).f[3]) \
                 : "r"((a)[0]), "r"((a)[1]), "r"((a)[2]), "r"((a)[3]), "r"((b)[0]), "r"((b)[1]))
#endif
/* Two numbers in one instruction; the first operand becomes the upper half. */
#define HAS_PACK 1
uint pack(float low, float high)
{
    uint word;
#ifdef F16
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
#else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
#endif
    return word;
}
#endif
#endif
