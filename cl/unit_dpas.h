/* SPDX-License-Identifier: Apache-2.0
 * unit_dpas.h: dpas by cl_intel_subgroup_matrix_multiply_accumulate, whose text has the layouts: M = 8, N =
 * the lanes, which are 8 (Arc A) or 16 (from PVC on). A compiler may take it for a chip without the unit:
 * only numbers show it. unit.h says what each macro is. */
#if UNIT == UNIT_DPAS8 || UNIT == UNIT_DPAS16
#define UM 8
#define UK 16
#define B_WORDS 8
#define C_FLOATS 8
typedef NUMBER8 c_fragment;

#if UNIT == UNIT_DPAS16 /* A: lane k has column k, a half a row */
#define LANES 16
#define A_WORDS 4
#define A_LANE(row, k) (k)
#define A_HALF(row, k) (row)
#define LOAD_A(a, tile, row, word)                                             \
    _Pragma("unroll") for (int m_ = 0; m_ < 8; m_ += 2)                        \
    {                                                                          \
        __local const ushort *t_ = (__local const ushort *)(tile);             \
        uint w_ = (uint)((word) + lane / 2), h_ = (uint)(lane % 2);            \
        (a)[m_ / 2] = (uint)t_[2 * PLACE((row) + m_, (int)w_) + h_] |          \
                      (uint)t_[2 * PLACE((row) + m_ + 1, (int)w_) + h_] << 16; \
    }
#else /* lane l has the columns 2 l and 2 l + 1, a word a row */
#define LANES 8
#define A_WORDS 8
#define A_LANE(row, k) ((k) / 2)
#define A_HALF(row, k) ((row)*2 + (k) % 2)
#define LOAD_A(a, tile, row, word) \
    _Pragma("unroll") for (int m_ = 0; m_ < 8; m_++)(a)[m_] = (tile)[PLACE((row) + m_, (word) + lane)];
#endif
#define UN LANES
#define B_LANE(k, column) (column)
#define B_HALF(k, column) (k)
#define C_LANE(row, column) (column)
#define C_AT(row, column) (row)
#define LOAD_B(b, tile, column, word)                                                   \
    {                                                                                   \
        int c_ = (column) + lane;                                                       \
        *(uint4 *)(b) = *(__local const uint4 *)((tile) + PLACE(c_, word));             \
        *(uint4 *)((b) + 4) = *(__local const uint4 *)((tile) + PLACE(c_, (word) + 4)); \
    }
#define C_ELEMENT(c, e) ((NUMBER *)&(c))[e]
#define C_ROW(e) (e)
#define C_COLUMN(e) (lane)

#ifndef EMULATED
#ifndef cl_intel_subgroup_matrix_multiply_accumulate
#error this compiler has no cl_intel_subgroup_matrix_multiply_accumulate
#endif
#define UNIT_ATTRIBUTE __attribute__((intel_reqd_sub_group_size(LANES)))
#if UNIT == UNIT_DPAS16
#define OPERAND_(a) (*(const short8 *)(a))
#else
#define OPERAND_(a) (*(const int8 *)(a))
#endif
#if defined(INT8)
#define MMA(c, a, b) c = intel_sub_group_i8_i8_matrix_mad_k32(OPERAND_(a), *(const int8 *)(b), c)
#elif defined(F16)
#define MMA(c, a, b) c = intel_sub_group_f16_f16_matrix_mad_k16(OPERAND_(a), *(const int8 *)(b), c)
#else
#define MMA(c, a, b) c = intel_sub_group_bf16_bf16_matrix_mad_k16(OPERAND_(a), *(const int8 *)(b), c)
#endif
#endif
#endif
