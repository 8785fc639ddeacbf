/* SPDX-License-Identifier: Apache-2.0
 * unit_mfma.h: v_mfma_f32_16x16x16 of CDNA, by clang's built-ins: f16 from gfx908 on, bf16 from gfx90a on, a
 * build error elsewhere. Layouts: AMD's CDNA instruction set guides, "Matrix Arithmetic Instructions".
 * unit.h says what each macro is. */
#if UNIT == UNIT_MFMA
#define LANES 64
#define UM 16
#define UN 16
#define UK 16
#define A_WORDS 2
#define B_WORDS 2
#define C_FLOATS 4
typedef NUMBER4 c_fragment;

#define A_LANE(row, k) ((row) + (k) / 4 * 16)
#define A_HALF(row, k) ((k) % 4)
#define B_LANE(k, column) A_LANE(column, k)
#define B_HALF(k, column) ((k) % 4)
#define C_LANE(row, column) ((column) + (row) / 4 * 16)
#define C_AT(row, column) ((row) % 4)

#define LOAD_A(a, tile, row, word) \
    *(uint2 *)(a) = *(__local const uint2 *)((tile) + PLACE((row) + lane % 16, (word) + lane / 16 * 2));
#define LOAD_B LOAD_A
#define C_ELEMENT(c, e) ((NUMBER *)&(c))[e]
#define C_ROW(e) (lane / 16 * 4 + (e))
#define C_COLUMN(e) (lane % 16)

#ifndef EMULATED
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
typedef half half_a_ __attribute__((ext_vector_type(4)));
typedef short short_a_ __attribute__((ext_vector_type(4)));
#if defined(INT8) && (defined(__gfx940__) || defined(__gfx941__) || defined(__gfx942__))
#define MMA(c, a, b) \
    c = __builtin_amdgcn_mfma_i32_16x16x32_i8(*(const long *)(a), *(const long *)(b), c, 0, 0, 0)
#elif defined(INT8)
#define MMA(c, a, b)                                                                    \
    {                                                                                   \
        c = __builtin_amdgcn_mfma_i32_16x16x16i8((int)(a)[0], (int)(b)[0], c, 0, 0, 0); \
        c = __builtin_amdgcn_mfma_i32_16x16x16i8((int)(a)[1], (int)(b)[1], c, 0, 0, 0); \
    }
#elif defined(F16)
#define MMA(c, a, b) \
    c = __builtin_amdgcn_mfma_f32_16x16x16f16(*(const half_a_ *)(a), *(const half_a_ *)(b), c, 0, 0, 0)
#else
#define MMA(c, a, b) \
    c = __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(*(const short_a_ *)(a), *(const short_a_ *)(b), c, 0, 0, 0)
#endif
#endif
#endif
