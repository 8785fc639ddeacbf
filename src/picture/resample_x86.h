/* SPDX-License-Identifier: Apache-2.0
 * resample_x86.h: the loops of resample.c for AVX2, included there; used when the processor has it.
 *
 * Multiply-add takes 16-bit numbers, so a weight w of 23 bits and a sign is split: w = 4096 hi +
 * lo, 0 <= lo < 4096, and sum w p = 4096 sum hi p + sum lo p. Integers wrap, so the result is the
 * plain loop's. struct fdit_axis has, per output and four taps, the eight numbers hi0 hi1 hi2 hi3
 * lo0 lo1 lo2 lo3 with zeros behind the last tap. */
#ifndef FDIT_PICTURE_RESAMPLE_X86_H
#define FDIT_PICTURE_RESAMPLE_X86_H

#include <immintrin.h>

#define FDIT_AVX2 __attribute__((target("avx2")))

enum { SLACK = FDIT_RESAMPLE_SLACK }; /* bytes behind a row that along_x may load */

static bool have_vectors(void)
{
    return __builtin_cpu_supports("avx2");
}

static size_t groups_of(const struct fdit_axis *a)
{
    return ((size_t)a->max_taps + 3) / 4;
}

static enum fdit_status split_weights(fdit_context *ctx, struct fdit_axis *a)
{
    size_t groups = groups_of(a);
    enum fdit_status status = fdit_alloc(ctx, (size_t)a->n, groups * 16, &a->split);
    if (status != FDIT_OK)
        return status;
    for (size_t o = 0; o < (size_t)a->n; o++)
        for (size_t k = 0; k < (size_t)a->taps[o]; k++) {
            int32_t w = a->weights[o * (size_t)a->max_taps + k];
            int16_t *group = a->split + (o * groups + k / 4) * 8;
            group[k % 4] = (int16_t)(w >> 12);
            group[4 + k % 4] = (int16_t)(w & 4095);
        }
    return FDIT_OK;
}

/* One row of RGB along x; 16 bytes behind the row can be read. Four pixels at a time: the channels
 * of pixels 0 and 1 side by side in the lower half, those of 2 and 3 in the upper. */
FDIT_AVX2 static void along_x_vectors(const struct fdit_axis *a, const uint8_t *in, int x0, uint8_t *out)
{
    const __m256i pairs =
        _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, /* pixels 0, 1 */
                         6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m256i high = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    const __m256i low = _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3);
    const __m128i half = _mm_set1_epi32(1 << (FDIT_WEIGHT_BITS - 1));
    size_t groups = groups_of(a);
    const int16_t *split = a->split;
    for (int o = 0; o < a->n; o++, out += 3, split += groups * 8) {
        const uint8_t *p = in + 3 * (ptrdiff_t)(a->first[o] - x0);
        __m256i hi = _mm256_setzero_si256(), lo = hi;
        for (int k = 0; k < a->taps[o]; k += 4, p += 12) {
            __m256i w =
                _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(split + 2 * k)));
            __m256i v = _mm256_shuffle_epi8(
                _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)p)), pairs);
            hi = _mm256_add_epi32(hi, _mm256_madd_epi16(v, _mm256_permutevar8x32_epi32(w, high)));
            lo = _mm256_add_epi32(lo, _mm256_madd_epi16(v, _mm256_permutevar8x32_epi32(w, low)));
        }
        __m256i both = _mm256_add_epi32(_mm256_slli_epi32(hi, 12), lo);
        __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
        sum = _mm_srai_epi32(_mm_add_epi32(sum, half), FDIT_WEIGHT_BITS);
        sum = _mm_packs_epi32(sum, sum);
        int32_t rgb = _mm_cvtsi128_si32(_mm_packus_epi16(sum, sum));
        if (o + 1 < a->n)
            memcpy(out, &rgb, 4); /* the fourth byte is written again by the next pixel */
        else
            memcpy(out, &rgb, 3);
    }
}

/* Adds two taps of 8 values to hi and lo: `rows` holds the bytes of one row and of the other, in
 * turn. */
#define FDIT_ADD_PAIR(i, rows)                                            \
    do {                                                                  \
        hi[i] = _mm256_add_epi32(hi[i], _mm256_madd_epi16((rows), w_hi)); \
        lo[i] = _mm256_add_epi32(lo[i], _mm256_madd_epi16((rows), w_lo)); \
    } while (0)

/* One output row along y; split: the groups of this output. */
FDIT_AVX2 static void along_y_split(const int16_t *split, int taps, const uint8_t *const *rows, size_t n,
                                    uint8_t *out)
{
    const __m256i half = _mm256_set1_epi32(1 << (FDIT_WEIGHT_BITS - 1)), zero = _mm256_setzero_si256();
    for (size_t i = 0; i + 32 <= n; i += 32) {
        __m256i hi[4] = { zero, zero, zero, zero }, lo[4] = { zero, zero, zero, zero };
        for (int k = 0; k < taps; k += 2) {
            const int16_t *group = split + (k / 4) * 8 + k % 4;
            int32_t pair;
            memcpy(&pair, group, 4);
            __m256i w_hi = _mm256_set1_epi32(pair);
            memcpy(&pair, group + 4, 4);
            __m256i w_lo = _mm256_set1_epi32(pair);
            __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(rows[k] + i));
            __m256i b =
                k + 1 < taps ? _mm256_loadu_si256((const __m256i *)(const void *)(rows[k + 1] + i)) : zero;
            __m256i left = _mm256_unpacklo_epi8(a, b), right = _mm256_unpackhi_epi8(a, b);
            FDIT_ADD_PAIR(0, _mm256_unpacklo_epi8(left, zero));
            FDIT_ADD_PAIR(1, _mm256_unpackhi_epi8(left, zero));
            FDIT_ADD_PAIR(2, _mm256_unpacklo_epi8(right, zero));
            FDIT_ADD_PAIR(3, _mm256_unpackhi_epi8(right, zero));
        }
        for (int j = 0; j < 4; j++) {
            __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(hi[j], 12), lo[j]);
            hi[j] = _mm256_srai_epi32(_mm256_add_epi32(sum, half), FDIT_WEIGHT_BITS);
        }
        /* unpack and pack both work within halves of 16 bytes, so the order comes out right */
        __m256i bytes =
            _mm256_packus_epi16(_mm256_packs_epi32(hi[0], hi[1]), _mm256_packs_epi32(hi[2], hi[3]));
        _mm256_storeu_si256((__m256i *)(void *)(out + i), bytes);
    }
}
#undef FDIT_ADD_PAIR

/* Output row o of the axis. */
static void along_y_vectors(const struct fdit_axis *y, int o, const uint8_t *const *rows, size_t n,
                            uint8_t *out)
{
    along_y_split(y->split + (size_t)o * groups_of(y) * 8, y->taps[o], rows, n, out);
    along_y(y->weights + (size_t)o * (size_t)y->max_taps, y->taps[o], rows, n - n % 32, n, out);
}

#endif
