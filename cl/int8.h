/* SPDX-License-Identifier: Apache-2.0
 * int8.h: products of int8, with INT8 of linear_block.cl and linear_matrix.cl. A word is four int8,
 * neighbours along k, the first one in the lowest byte. A is rows of words that quantise.cl has written,
 * filled up with zeroes to whole fours of words; B is a frozen weight, int8 [K][ldb]. Sums are whole
 * numbers in 32 bits, exact: their bits depend neither on what multiplies nor on the order.
 *
 * DOT: what multiplies two words: 0 arithmetic, 1 cl_khr_integer_dot_product, 2 dp4a of PTX (from sm_61
 * on), 3 and 4 clang's built-ins for AMD (gfx906 to gfx10, gfx11 on). The host finds which one the device
 * computes rightly. */
#ifndef DOT
#define DOT 0
#endif

/* sum + the product of two words */
int dot4(uint a, uint b, int sum)
{
#if DOT == 1
    return sum + dot_4x8packed_ss_int(a, b);
#elif DOT == 2
    int out;
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(sum));
    return out;
#elif DOT == 3
    return __builtin_amdgcn_sdot4((int)a, (int)b, sum, false);
#elif DOT == 4
    return __builtin_amdgcn_sudot4(true, (int)a, true, (int)b, sum, false);
#else
    int4 x = convert_int4(as_char4(a)), y = convert_int4(as_char4(b));
    return mad24(x.x, y.x, mad24(x.y, y.y, mad24(x.z, y.z, mad24(x.w, y.w, sum))));
#endif
}

/* Four rows of k, four columns each, to a word for each column. */
uint4 words_of(uint r0, uint r1, uint r2, uint r3)
{
    uint even01 = (r0 & 0x00ff00ffu) | (r1 & 0x00ff00ffu) << 8,
         odd01 = (r0 >> 8 & 0x00ff00ffu) | (r1 & 0xff00ff00u);
    uint even23 = (r2 & 0x00ff00ffu) | (r3 & 0x00ff00ffu) << 8,
         odd23 = (r2 >> 8 & 0x00ff00ffu) | (r3 & 0xff00ff00u);
    return (uint4)((even01 & 0xffffu) | even23 << 16, (odd01 & 0xffffu) | odd23 << 16,
                   even01 >> 16 | (even23 & 0xffff0000u), odd01 >> 16 | (odd23 & 0xffff0000u));
}

/* Columns n .. n + 3 of row k of B, whose rows are whole fours; past the last row anything, which A
 * multiplies by 0. */
uint four_of_b(__global const char *b, int k, int k_rows, int n, int ldb)
{
    return *(__global const uint *)(b + (size_t)min(k, k_rows - 1) * (size_t)ldb + (size_t)n);
}
