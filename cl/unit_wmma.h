/* SPDX-License-Identifier: Apache-2.0
 * unit_wmma.h: v_wmma_f32_16x16x16 of RDNA3 (gfx11) and RDNA4 (gfx12), by clang's built-ins, which are build
 * errors on other chips and for another number of lanes. Layouts: AMD's RDNA3 and RDNA4 instruction set
 * guides, "Wave Matrix Multiply Accumulate". unit.h says what each macro is.
 *
 * RDNA3: every 16 lanes hold all of A and B once more; a driver may compile for 32 or 64 lanes. */
#if UNIT == UNIT_WMMA || UNIT == UNIT_WMMA12
#define UM 16
#define UN 16
#define UK 16
#ifndef EMULATED
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#endif

#if UNIT == UNIT_WMMA
#ifndef LANES
#if defined(__AMDGCN_WAVEFRONT_SIZE__)
#define LANES __AMDGCN_WAVEFRONT_SIZE__
#elif defined(__AMDGCN_WAVEFRONT_SIZE)
#define LANES __AMDGCN_WAVEFRONT_SIZE
#else
#define LANES 32
#endif
#endif
#define A_WORDS 8
#define B_WORDS 8
#define C_FLOATS (256 / LANES)
/* Of the copies, an emulation reads each in turn: all must be there. */
#define A_LANE(row, k) ((row) + (k) % (LANES / 16) * 16)
#define A_HALF(row, k) (k)
#define B_LANE(k, column) A_LANE(column, k)
#define B_HALF(k, column) (k)
#define C_LANE(row, column) ((column) + (row) % (LANES / 16) * 16)
#define C_AT(row, column) ((row) / (LANES / 16))
#define LOAD_A(a, tile, row, word)                                                      \
    {                                                                                   \
        int r_ = (row) + lane % 16;                                                     \
        *(uint4 *)(a) = *(__local const uint4 *)((tile) + PLACE(r_, word));             \
        *(uint4 *)((a) + 4) = *(__local const uint4 *)((tile) + PLACE(r_, (word) + 4)); \
    }
#define C_ROW(e) (lane / 16 + (e) * (LANES / 16))
#else
#define LANES 32
#define A_WORDS 4
#define B_WORDS 4
#define C_FLOATS 8
#define A_LANE(row, k) ((row) + (k) / 4 % 2 * 16)
#define A_HALF(row, k) ((k) % 4 + (k) / 8 * 4)
#define B_LANE(k, column) A_LANE(column, k)
#define B_HALF(k, column) A_HALF(column, k)
#define C_LANE(row, column) ((column) + (row) / 8 * 16)
#define C_AT(row, column) ((row) % 8)
#define LOAD_A(a, tile, row, word)                                                  \
    {                                                                               \
        int r_ = (row) + lane % 16, w_ = (word) + lane / 16 * 2;                    \
        *(uint2 *)(a) = *(__local const uint2 *)((tile) + PLACE(r_, w_));           \
        *(uint2 *)((a) + 2) = *(__local const uint2 *)((tile) + PLACE(r_, w_ + 4)); \
    }
#define C_ROW(e) (lane / 16 * 8 + (e))
#endif
#define LOAD_B LOAD_A
#define C_COLUMN(e) (lane % 16)
#if C_FLOATS == 8
typedef NUMBER8 c_fragment;
#else
typedef NUMBER4 c_fragment;
#endif
#define C_ELEMENT(c, e) ((NUMBER *)&(c))[e]

#ifndef EMULATED
typedef half half_a_ __attribute__((ext_vector_type(2 * A_WORDS)));
typedef short short_a_ __attribute__((ext_vector_type(2 * A_WORDS)));
#ifdef F16
#define OPERAND_(a) (*(const half_a_ *)(a))
#else
#define OPERAND_(a) (*(const short_a_ *)(a))
#endif
#if defined(INT8)
typedef int words_ __attribute__((ext_vector_type(A_WORDS / 2)));
#define WORDS_(a, i) (*(const words_ *)((a) + (i)*A_WORDS / 2))
#if UNIT == UNIT_WMMA12
#define IU8_(c, a, b) c = __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32_gfx12(true, a, true, b, c, false)
#elif LANES == 32
#define IU8_(c, a, b) c = __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32(true, a, true, b, c, false)
#else
#define IU8_(c, a, b) c = __builtin_amdgcn_wmma_i32_16x16x16_iu8_w64(true, a, true, b, c, false)
#endif
#define MMA(c, a, b)                         \
    {                                        \
        IU8_(c, WORDS_(a, 0), WORDS_(b, 0)); \
        IU8_(c, WORDS_(a, 1), WORDS_(b, 1)); \
    }
#elif UNIT == UNIT_WMMA12 && defined(F16)
#define MMA(c, a, b) c = __builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12(OPERAND_(a), OPERAND_(b), c)
#elif UNIT == UNIT_WMMA12
#define MMA(c, a, b) c = __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32_gfx12(OPERAND_(a), OPERAND_(b), c)
#elif LANES == 32 && defined(F16)
#define MMA(c, a, b) c = __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(OPERAND_(a), OPERAND_(b), c)
#elif LANES == 32
#define MMA(c, a, b) c = __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32(OPERAND_(a), OPERAND_(b), c)
#elif defined(F16)
#define MMA(c, a, b) c = __builtin_amdgcn_wmma_f32_16x16x16_f16_w64(OPERAND_(a), OPERAND_(b), c)
#else
#define MMA(c, a, b) c = __builtin_amdgcn_wmma_f32_16x16x16_bf16_w64(OPERAND_(a), OPERAND_(b), c)
#endif
#endif
#endif
