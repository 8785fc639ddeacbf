/* SPDX-License-Identifier: Apache-2.0
 * amx_emulated.h: the registers of amx.h in memory and its instructions as loops of AVX-512, so that the
 * kernels for AMX can be tested on a processor without it (configure --enable-emulated-amx; for amx.h alone).
 * Rows and bytes that the configuration leaves out are 0 after a load and are not stored, as in the manual
 * (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2: TDPBF16PS, TDPBSSD, TILELOADD). */
#ifndef FDIT_CPU_AMX_EMULATED_H
#define FDIT_CPU_AMX_EMULATED_H

static _Thread_local struct {
    struct amx_config config;
    _Alignas(64) uint32_t words[8][16][16];
} fdit_amx;

FDIT_KERNEL void amx_configure(const struct amx_config *c)
{
    memset(&fdit_amx, 0, sizeof fdit_amx);
    fdit_amx.config = *c;
}
FDIT_KERNEL void amx_end(void)
{
    memset(&fdit_amx, 0xff, sizeof fdit_amx); /* not numbers: nobody reads them */
}

FDIT_KERNEL void amx_load(int t, const void *p, size_t stride)
{
    memset(fdit_amx.words[t], 0, sizeof fdit_amx.words[t]);
    for (int r = 0; r < fdit_amx.config.rows[t]; r++)
        memcpy(fdit_amx.words[t][r], (const char *)p + (size_t)r * stride, fdit_amx.config.row_bytes[t]);
}
FDIT_KERNEL void amx_store(int t, void *p, size_t stride)
{
    for (int r = 0; r < fdit_amx.config.rows[t]; r++)
        memcpy((char *)p + (size_t)r * stride, fdit_amx.words[t][r], fdit_amx.config.row_bytes[t]);
}
FDIT_KERNEL void amx_zero(int t)
{
    memset(fdit_amx.words[t], 0, sizeof fdit_amx.words[t]);
}

/* The even and the odd numbers of pairs are two chains of multiply-adds, each from 0, whose sum is added. No
 * number below 2^-126 comes in or goes out; the sign of a 0 that is put in its place is not kept here. */
FDIT_KERNEL __m512 amx_flushed(__m512 v)
{
    const __mmask16 normal = _mm512_cmp_ps_mask(_mm512_abs_ps(v), _mm512_set1_ps(0x1p-126f), _CMP_NLT_UQ);
    return _mm512_maskz_mov_ps(normal, v);
}
FDIT_KERNEL __m512 amx_even(__m512i pairs)
{
    return amx_flushed(_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)));
}
FDIT_KERNEL __m512 amx_odd(__m512i pairs)
{
    return amx_flushed(_mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u))));
}
FDIT_KERNEL void amx_dot(int c, int a, int b)
{
    const int pairs = fdit_amx.config.row_bytes[a] / 4;
    for (int r = 0; r < fdit_amx.config.rows[c]; r++) {
        __m512 even = _mm512_setzero_ps(), odd = even,
               sum = amx_flushed(_mm512_load_ps(fdit_amx.words[c][r]));
        for (int k = 0; k < pairs; k++) {
            const __m512i of_a = _mm512_set1_epi32((int)fdit_amx.words[a][r][k]);
            const __m512i of_b = _mm512_load_si512(fdit_amx.words[b][k]);
            even = amx_flushed(_mm512_fmadd_ps(amx_even(of_a), amx_even(of_b), even));
            odd = amx_flushed(_mm512_fmadd_ps(amx_odd(of_a), amx_odd(of_b), odd));
        }
        _mm512_store_ps(fdit_amx.words[c][r], amx_flushed(sum + amx_flushed(even + odd)));
    }
}
FDIT_KERNEL void amx_dot_int8(int c, int a, int b)
{
    const int fours = fdit_amx.config.row_bytes[a] / 4;
    for (int r = 0; r < fdit_amx.config.rows[c]; r++) {
        __m512i sum = _mm512_load_si512(fdit_amx.words[c][r]);
        for (int k = 0; k < fours; k++) {
            __m512i of_a = _mm512_set1_epi32((int)fdit_amx.words[a][r][k]);
            __m512i of_b = _mm512_load_si512(fdit_amx.words[b][k]);
            for (int i = 0; i < 4; i++) {
                sum = _mm512_add_epi32(
                    sum, _mm512_mullo_epi32(_mm512_srai_epi32(_mm512_slli_epi32(of_a, 24), 24),
                                            _mm512_srai_epi32(_mm512_slli_epi32(of_b, 24), 24)));
                of_a = _mm512_srli_epi32(of_a, 8);
                of_b = _mm512_srli_epi32(of_b, 8);
            }
        }
        _mm512_store_si512(fdit_amx.words[c][r], sum);
    }
}

#define AMX_LOAD(t, p, stride) amx_load(t, p, (size_t)(stride))
#define AMX_STORE(t, p, stride) amx_store(t, p, (size_t)(stride))
#define AMX_ZERO(t) amx_zero(t)
#define AMX_DOT(c, a, b) amx_dot(c, a, b)
#define AMX_DOT_INT8(c, a, b) amx_dot_int8(c, a, b)

#endif
