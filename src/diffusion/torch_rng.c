/* SPDX-License-Identifier: Apache-2.0
 * torch_rng.c: PyTorch's CPU and CUDA streams of normals. */
#include "diffusion/torch_rng.h"

#include "core/rng.h"

#include <math.h>

#define TWO_PI 6.283185307179586476925286766559
#define WORDS 624
#define SHIFT 397
#define GROUP 16

void fdit_torch_cpu_seed(struct fdit_torch_cpu *rng, uint64_t seed)
{
    rng->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < WORDS; i++) {
        uint32_t last = rng->state[i - 1];
        rng->state[i] = 1812433253u * (last ^ (last >> 30)) + i;
    }
    rng->at = WORDS;
    rng->has_saved = false;
    rng->saved = 0;
}

static void next_state(uint32_t mt[WORDS])
{
    for (int i = 0; i < WORDS; i++) {
        uint32_t y = (mt[i] & 0x80000000u) | (mt[(i + 1) % WORDS] & 0x7FFFFFFFu);
        mt[i] = mt[(i + SHIFT) % WORDS] ^ (y >> 1) ^ (y & 1 ? 0x9908B0DFu : 0);
    }
}

uint32_t fdit_torch_cpu_bits(struct fdit_torch_cpu *rng)
{
    if (rng->at == WORDS) {
        next_state(rng->state);
        rng->at = 0;
    }
    uint32_t y = rng->state[rng->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9D2C5680u;
    y ^= (y << 15) & 0xEFC60000u;
    return y ^ (y >> 18);
}

/* In [0, 1) with 53 bits; the first draw is the high half. */
static double uniform53(struct fdit_torch_cpu *rng)
{
    uint64_t high = fdit_torch_cpu_bits(rng);
    uint64_t low = fdit_torch_cpu_bits(rng);
    return (double)((high << 32 | low) & ((1ull << 53) - 1)) * 0x1p-53;
}

static float uniform24(struct fdit_torch_cpu *rng)
{
    return (float)(fdit_torch_cpu_bits(rng) & 0xFFFFFF) * 0x1p-24f;
}

static float short_normal(struct fdit_torch_cpu *rng)
{
    if (rng->has_saved) {
        rng->has_saved = false;
        return (float)rng->saved;
    }
    double u1 = uniform53(rng);
    double u2 = uniform53(rng);
    double radius = sqrt(-2.0 * log1p(-u2)), angle = TWO_PI * u1;
    rng->saved = radius * sin(angle);
    rng->has_saved = true;
    return (float)(radius * cos(angle));
}

/* 16 uniforms to 16 normals in place, entry j together with entry j + 8. */
static void group_normals(float u[GROUP])
{
    for (int j = 0; j < GROUP / 2; j++) {
        double radius = sqrt(-2.0 * log(1.0 - u[j]));
        double angle = TWO_PI * u[j + GROUP / 2];
        u[j] = (float)(radius * cos(angle));
        u[j + GROUP / 2] = (float)(radius * sin(angle));
    }
}

void fdit_torch_cpu_randn(struct fdit_torch_cpu *rng, size_t n, float *out)
{
    if (n < GROUP) {
        for (size_t i = 0; i < n; i++)
            out[i] = short_normal(rng);
        return;
    }
    fdit_torch_cpu_rand(rng, n, out);
    for (size_t i = 0; i + GROUP <= n; i += GROUP)
        group_normals(out + i);
    if (n % GROUP != 0) {
        /* the last 16 entries are drawn anew, over normals that were already done */
        fdit_torch_cpu_rand(rng, GROUP, out + n - GROUP);
        group_normals(out + n - GROUP);
    }
}

void fdit_torch_cpu_rand(struct fdit_torch_cpu *rng, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = uniform24(rng);
}

void fdit_torch_cpu_randint(struct fdit_torch_cpu *rng, uint32_t bound, size_t n, int64_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = fdit_torch_cpu_bits(rng) % bound;
}

void fdit_torch_cpu_randperm(struct fdit_torch_cpu *rng, size_t n, int64_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (int64_t)i;
    for (size_t i = 0; i + 1 < n; i++) {
        size_t j = i + fdit_torch_cpu_bits(rng) % (n - i);
        int64_t swap = out[i];
        out[i] = out[j];
        out[j] = swap;
    }
}

/* 0 .. most: as many bits as `most` has, and again where they are more. */
static uint32_t bits_up_to(struct fdit_torch_cpu *rng, uint32_t most)
{
    uint32_t mask = most, value;
    for (int shift = 1; shift < 32; shift *= 2)
        mask |= mask >> shift;
    do
        value = fdit_torch_cpu_bits(rng) & mask;
    while (value > most);
    return value;
}

void fdit_numpy_permutation(struct fdit_torch_cpu *rng, uint32_t n, uint32_t *out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = i;
    for (uint32_t i = n; i-- > 1;) {
        uint32_t j = bits_up_to(rng, i), swap = out[i];
        out[i] = out[j];
        out[j] = swap;
    }
}

void fdit_torch_cuda_seed(struct fdit_torch_cuda *rng, uint64_t seed, uint64_t threads)
{
    rng->seed = seed;
    rng->blocks = 0;
    rng->threads = threads == 0 ? 108 * 2048 : threads;
}

/* Thread i of `grid` makes four normals from block b of its counter (b, i); the q-th of round r
 * goes to entry (4 r + q) grid + i, and is unused beyond n. */
void fdit_torch_cuda_randn(struct fdit_torch_cuda *rng, size_t n, float *out)
{
    const uint32_t key[2] = { (uint32_t)rng->seed, (uint32_t)(rng->seed >> 32) };
    uint64_t most = rng->threads / 256, groups = n / 256 + (n % 256 != 0);
    uint64_t grid = (groups < most ? groups : most) * 256;
    uint64_t at = 0;

    while (at < n) {
        for (uint64_t i = 0; i < grid && at + i < n; i++) {
            const uint32_t counter[4] = { (uint32_t)rng->blocks, (uint32_t)(rng->blocks >> 32), (uint32_t)i,
                                          (uint32_t)(i >> 32) };
            uint32_t words[4];
            double normals[4];
            fdit_philox(counter, key, words);
            fdit_philox_normals(words, normals);
            for (uint64_t q = 0; q < 4 && at + q * grid + i < n; q++)
                out[at + q * grid + i] = (float)normals[q];
        }
        at += 4 * grid;
        rng->blocks++;
    }
}
