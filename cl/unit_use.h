/* SPDX-License-Identifier: Apache-2.0
 * unit_use.h: after the units: the instruction over all fragments of a hardware thread, FM of A and FN of B,
 * or its emulation. */
#ifndef UNIT_ATTRIBUTE
#define UNIT_ATTRIBUTE
#endif
#ifndef HAS_PACK
uint pack(float low, float high)
{
    return half_of(low) | half_of(high) << 16;
}
#endif

#ifdef EMULATED
#define UNROLLED \
    _Pragma("unroll 1") /* compilers for processors take minutes for barriers that are written out */
#define EXCHANGE_A (FM * LANES * A_WORDS)
#define EXCHANGE_B (FN * LANES * B_WORDS)
#define EXCHANGE_WORDS (EXCHANGE_A + EXCHANGE_B + FM * FN * LANES * C_FLOATS)

uint half_at(__local const uint *fragments, int lane, int words, int at)
{
    uint word = fragments[lane * words + at / 2];
    return at % 2 ? word >> 16 : word & 0xffffu;
}
#ifdef INT8
int times_half(uint a, uint b, int sum)
{
    char2 x = as_char2((ushort)a), y = as_char2((ushort)b);
    return sum + (int)x.x * (int)y.x + (int)x.y * (int)y.y;
}
#else
float times_half(uint a, uint b, float sum)
{
    return mad(of_half(a), of_half(b), sum);
}
#endif

/* c [FM][FN] += a b, through local memory of this hardware thread. Every work-item of the group arrives. */
void multiply(c_fragment c[FM][FN], uint a[FM][A_WORDS], uint b[FN][B_WORDS], __local uint *exchange,
              int lane)
{
    __local uint *as = exchange, *bs = as + EXCHANGE_A;
    __local NUMBER *cs = (__local NUMBER *)(bs + EXCHANGE_B);
    for (int i = 0; i < FM; i++)
        for (int w = 0; w < A_WORDS; w++)
            as[(i * LANES + lane) * A_WORDS + w] = a[i][w];
    for (int j = 0; j < FN; j++)
        for (int w = 0; w < B_WORDS; w++)
            bs[(j * LANES + lane) * B_WORDS + w] = b[j][w];
    for (int i = 0; i < FM; i++)
        for (int j = 0; j < FN; j++)
            for (int e = 0; e < C_FLOATS; e++)
                cs[((i * FN + j) * LANES + lane) * C_FLOATS + e] = C_ELEMENT(c[i][j], e);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int at = lane; at < FM * FN * UM * UN; at += LANES) {
        int i = at / (UM * UN) / FN, j = at / (UM * UN) % FN, row = at / UN % UM, column = at % UN;
        int place = ((i * FN + j) * LANES + C_LANE(row, column)) * C_FLOATS + C_AT(row, column);
        NUMBER sum = 0; /* a unit adds up its own products first */
        for (int k = 0; k < UK; k++)
            sum = times_half(half_at(as + i * LANES * A_WORDS, A_LANE(row, k), A_WORDS, A_HALF(row, k)),
                             half_at(bs + j * LANES * B_WORDS, B_LANE(k, column), B_WORDS, B_HALF(k, column)),
                             sum);
        cs[place] += sum;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = 0; i < FM; i++)
        for (int j = 0; j < FN; j++)
            for (int e = 0; e < C_FLOATS; e++)
                C_ELEMENT(c[i][j], e) = cs[((i * FN + j) * LANES + lane) * C_FLOATS + e];
}
#define MULTIPLY(c, a, b) multiply(c, a, b, exchange, lane)
#else
#define UNROLLED _Pragma("unroll")
#define EXCHANGE_WORDS 0
#define MULTIPLY(c, a, b)                                 \
    _Pragma("unroll") for (int i_ = 0; i_ < FM; i_++)     \
    {                                                     \
        _Pragma("unroll") for (int j_ = 0; j_ < FN; j_++) \
        {                                                 \
            MMA(c[i_][j_], a[i_], b[j_]);                 \
        }                                                 \
    }
#endif
