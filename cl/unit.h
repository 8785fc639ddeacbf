/* SPDX-License-Identifier: Apache-2.0
 * unit.h: what kernels on matrix units are written over, one instruction C [UM][UN] += A [UM][UK] B [UK][UN]
 * of a hardware thread of LANES work-items, which are neighbours in the group. Operands are bf16, with F16
 * f16; the sum is f32. A part of an operand that one lane holds is a fragment: A_WORDS or B_WORDS words of
 * two halves, the low one first, C_FLOATS floats.
 *
 * With INT8 a half is two int8, the first one in the low byte, so that K is twice UK, and the sum is int:
 * words lie as they do in 16 bits, which int8's documented layouts allow (exchanging pieces of k of both
 * sides changes no sum). unit_wmma.h and, before gfx942, unit_mfma.h then take two instructions.
 *
 * UNIT       one of the numbers below: unit_mma.h, unit_wmma.h, unit_mfma.h or unit_dpas.h defines UM UN UK
 *            LANES A_WORDS B_WORDS C_FLOATS and the type c_fragment
 * LOAD_A(a, tile, row, word)
 *            the fragment of rows row .. row + UM - 1 and columns 2 word .. 2 word + UK - 1 of a tile in
 *            local memory, where columns (k) are neighbours; PLACE(row, word) says where a word is
 * LOAD_B(b, tile, column, word)
 *            the same for B, of which local memory has the transposed: a row for each column
 * MMA(c, a, b)
 *            the instruction; all lanes must arrive, so tails are zeroes and not branches
 * C_ELEMENT(c, e), C_ROW(e), C_COLUMN(e)
 *            element e of a lane's part of C, and where in C it belongs
 * A_LANE(row, k), A_HALF(row, k), B_..., C_LANE, C_AT
 *            the documented layout the other way round: the lane that holds an element, and which of its
 *            halves (C: floats) it is
 * EMULATED   MMA is replaced by arithmetic on any device: the lanes put their fragments into local memory,
 *            and each element is computed from where A_LANE and the others say that its operands are.
 *            LOAD_*, C_ROW and C_COLUMN are those of the unit, so what is wrong in them, or in the kernel,
 *            gives wrong numbers here as there. */
#define UNIT_MMA 1
#define UNIT_WMMA 2
#define UNIT_WMMA12 3
#define UNIT_MFMA 4
#define UNIT_DPAS8 5
#define UNIT_DPAS16 6

#ifdef INT8
#define NUMBER int
#define NUMBER4 int4
#define NUMBER8 int8
#else
#define NUMBER float
#define NUMBER4 float4
#define NUMBER8 float8
#endif

/* ushort bits of a float, to nearest, ties to even; NaN stays NaN. */
uint half_of(float x)
{
#ifdef F16
    ushort bits;
    vstore_half_rte(x, 0, (__private half *)&bits);
    return bits;
#else
    uint bits = as_uint(x), rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    return (bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 0x40u : rounded;
#endif
}

float of_half(uint half_bits)
{
#ifdef F16
    ushort bits = (ushort)half_bits;
    return vload_half(0, (__private const half *)&bits);
#else
    return as_float(half_bits << 16);
#endif
}
