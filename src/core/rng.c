/* SPDX-License-Identifier: Apache-2.0
 * rng.c: counter-based random numbers. */
#include "core/rng.h"

#include <math.h>

#define TWO_PI 6.283185307179586476925286766559

void fdit_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static void normal_pair(uint32_t a, uint32_t b, double out[2])
{
    double radius = sqrt(-2.0 * log((a + 0.5) / 4294967296.0));
    double angle = TWO_PI * (b + 0.5) / 4294967296.0;
    out[0] = radius * sin(angle);
    out[1] = radius * cos(angle);
}

void fdit_philox_normals(const uint32_t words[4], double out[4])
{
    normal_pair(words[0], words[1], out);
    normal_pair(words[2], words[3], out + 2);
}

static void block_words(const struct fdit_rng *rng, uint64_t block, uint32_t out[4])
{
    const uint32_t counter[4] = { (uint32_t)block, rng->stream, rng->id, rng->domain };
    const uint32_t key[2] = { (uint32_t)rng->seed, (uint32_t)(rng->seed >> 32) };
    fdit_philox(counter, key, out);
}

void fdit_rng_fill_normals(const struct fdit_rng *rng, uint64_t first, size_t n, float *out)
{
    size_t done = 0;
    while (done < n) {
        uint32_t words[4];
        double normals[4];
        uint64_t at = first + done;
        block_words(rng, at / 4, words);
        fdit_philox_normals(words, normals);
        for (unsigned q = at % 4; q < 4 && done < n; q++)
            out[done++] = (float)normals[q];
    }
}

void fdit_rng_normals(uint64_t seed, uint32_t stream, uint32_t class_id, uint64_t first, size_t n, float *out)
{
    const struct fdit_rng rng = { seed, stream, class_id, FDIT_RNG_PICTURE };
    fdit_rng_fill_normals(&rng, first, n, out);
}

void fdit_rng_fill_words(const struct fdit_rng *rng, uint64_t first, size_t n, uint32_t *out)
{
    size_t done = 0;
    while (done < n) {
        uint32_t words[4];
        uint64_t at = first + done;
        block_words(rng, at / 4, words);
        for (unsigned q = at % 4; q < 4 && done < n; q++)
            out[done++] = words[q];
    }
}

void fdit_rng_fill_uniforms(const struct fdit_rng *rng, uint64_t first, size_t n, float *out)
{
    size_t done = 0;
    while (done < n) {
        uint32_t words[4];
        uint64_t at = first + done;
        block_words(rng, at / 4, words);
        for (unsigned q = at % 4; q < 4 && done < n; q++)
            out[done++] = (float)(words[q] >> 8) * 0x1p-24f;
    }
}

double fdit_rng_uniform(const struct fdit_rng *rng, uint64_t i)
{
    uint32_t words[4];
    block_words(rng, i / 4, words);
    return (words[i % 4] >> 8) * 0x1p-24;
}

/* (high * 2^32 + low) * bound / 2^64, rounded down. */
static uint32_t scale_down(uint32_t high, uint32_t low, uint32_t bound)
{
    uint64_t carry = ((uint64_t)low * bound) >> 32;
    return (uint32_t)(((uint64_t)high * bound + carry) >> 32);
}

uint32_t fdit_rng_below(const struct fdit_rng *rng, uint64_t i, uint32_t bound)
{
    uint32_t words[4];
    unsigned at = i % 2 * 2;
    block_words(rng, i / 2, words);
    return scale_down(words[at], words[at + 1], bound);
}

void fdit_rng_fill_below(const struct fdit_rng *rng, uint64_t first, size_t n, uint32_t bound, int32_t *out)
{
    for (size_t k = 0; k < n; k++)
        out[k] = (int32_t)fdit_rng_below(rng, first + k, bound);
}

void fdit_rng_permutation(const struct fdit_rng *rng, uint32_t n, uint32_t *out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = i;
    for (uint32_t i = n; i-- > 1;) {
        uint32_t j = fdit_rng_below(rng, i, i + 1);
        uint32_t swap = out[i];
        out[i] = out[j];
        out[j] = swap;
    }
}
