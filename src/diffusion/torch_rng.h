/* SPDX-License-Identifier: Apache-2.0
 * torch_rng.h: PyTorch's two random number streams, for pictures that can be compared with its own, and the
 * permutations of numpy's RandomState, which has the same generator as PyTorch on the CPU.
 *
 * CPU: torch.manual_seed(s); torch.randn(...): Mersenne Twister MT19937 (Matsumoto and Nishimura,
 * ACM TOMACS 8, 1998; the 2002 seeding), 24-bit uniforms, and Box-Muller in two ways: below 16
 * numbers one at a time in double precision with the second one kept, from 16 on in groups of 16.
 * CUDA: Philox-4x32-10 with one counter for each thread (torch_cuda below).
 *
 * Normals are computed in float64 and rounded once. PyTorch itself works in float32 for long calls:
 * agreement is 3e-6 there, 2e-7 for short ones; integers, permutations and uniforms are exact. */
#ifndef FDIT_DIFFUSION_TORCH_RNG_H
#define FDIT_DIFFUSION_TORCH_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fdit_torch_cpu {
    uint32_t state[624];
    int at;
    bool has_saved; /* of short calls; survives calls of any other kind */
    double saved;
};

/* Only the low 32 bits of the seed count. Drops a saved normal. */
void fdit_torch_cpu_seed(struct fdit_torch_cpu *rng, uint64_t seed);
uint32_t fdit_torch_cpu_bits(struct fdit_torch_cpu *rng);
/* torch.randn(n) as float32. n is the product of a shape's sizes: one call draws all. */
void fdit_torch_cpu_randn(struct fdit_torch_cpu *rng, size_t n, float *out);
/* torch.rand(n) */
void fdit_torch_cpu_rand(struct fdit_torch_cpu *rng, size_t n, float *out);
/* torch.randint(0, bound, (n,)) for 1 <= bound < 2^28: one draw each. */
void fdit_torch_cpu_randint(struct fdit_torch_cpu *rng, uint32_t bound, size_t n, int64_t *out);
/* torch.randperm(n) for n < 2^32/20. */
void fdit_torch_cpu_randperm(struct fdit_torch_cpu *rng, size_t n, int64_t *out);

/* numpy.random.RandomState(seed).permutation(n) of a generator seeded with it (below 2^32); the first `size`
 * of its entries are what .choice(n, size, replace=False) gives. Calls go on where the one before ended. */
void fdit_numpy_permutation(struct fdit_torch_cpu *rng, uint32_t n, uint32_t *out);

/* torch.randn on an NVIDIA GPU that can hold `threads` threads at once (multiprocessors times
 * threads of each). Calls of up to that many numbers do not depend on it. `blocks` counts the
 * 128-bit blocks that each thread has used. */
struct fdit_torch_cuda {
    uint64_t seed, blocks, threads;
};

/* All 64 bits count. threads: 0 = 108 * 2048; otherwise at least 256. */
void fdit_torch_cuda_seed(struct fdit_torch_cuda *rng, uint64_t seed, uint64_t threads);
void fdit_torch_cuda_randn(struct fdit_torch_cuda *rng, size_t n, float *out);

#endif
