/* SPDX-License-Identifier: Apache-2.0
 * rng.h: random numbers that are a pure function of (seed, stream, id, domain, index). There is no
 * state: any element of any stream can be had at once, from any thread, in any order.
 *
 * Generator: Philox-4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2,
 * 3", SC'11). key = the 64-bit seed, low word first; counter = (block j, stream, id, domain). Block
 * j gives the four words of elements 4j .. 4j+3. 2^32 blocks a stream: indices below 2^34.
 *
 * A picture's noise is domain 0: stream 0 = x_T, stream 1 + n = the noise of sampler step n, id =
 * class, elements in C, H, W order. Training uses the other domains, so no training stream can ever
 * repeat a picture's, whatever the seeds. */
#ifndef FDIT_CORE_RNG_H
#define FDIT_CORE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* The fourth counter word. Runs depend on the numbers: append, never renumber. */
enum fdit_rng_domain {
    FDIT_RNG_PICTURE = 0, /* stream, class */
    FDIT_RNG_SHUFFLE = 1, /* order of an epoch: stream = epoch */
    FDIT_RNG_FLIP = 2,    /* mirror choice */
    FDIT_RNG_LATENT = 3,  /* sample of the VAE's moments */
    FDIT_RNG_TIME = 4,    /* t of a training sample */
    FDIT_RNG_NOISE = 5,   /* its noise */
    FDIT_RNG_DROP = 6,    /* whether its label becomes a group's row, and of which rank */
    FDIT_RNG_INIT = 7,    /* initial parameters: stream = number of the tensor */
    FDIT_RNG_SPLIT = 8,   /* training and validation pictures */
    FDIT_RNG_VALID = 9,   /* fixed t and noise of validation */
    FDIT_RNG_GUIDE = 10,  /* random class as a guide */
    FDIT_RNG_EVAL = 11,   /* random projections and subsets of metrics */
    FDIT_RNG_DATA = 12,   /* built-in data sets */
    FDIT_RNG_BENCH = 13,
    FDIT_RNG_TEST = 14,
    FDIT_RNG_BALANCE = 15,        /* order of a balanced epoch: stream = epoch */
    FDIT_RNG_BALANCE_WITHIN = 16, /* of the pictures of a class in it: id = class */
    FDIT_RNG_STRENGTH = 17,       /* guidance scale that a training sample is told */
};

/* Names one stream. */
struct fdit_rng {
    uint64_t seed;
    uint32_t stream, id;
    uint32_t domain; /* enum fdit_rng_domain */
};

/* Ten rounds of Philox-4x32. out may be counter. */
void fdit_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Four words to four standard normals (Box and Muller 1958), sine before cosine, with uniforms
 * (w + 1/2) / 2^32: out[0], out[1] from words 0 and 1, the others from words 2 and 3. float64. */
void fdit_philox_normals(const uint32_t words[4], double out[4]);

/* Elements first .. first+n-1 of the picture stream (see above): float64, rounded to f32 once. */
void fdit_rng_normals(uint64_t seed, uint32_t stream, uint32_t class_id, uint64_t first, size_t n,
                      float *out);

/* The same for any stream. */
void fdit_rng_fill_normals(const struct fdit_rng *rng, uint64_t first, size_t n, float *out);
/* Uniform in [0, 1): the 24 high bits of word i. */
void fdit_rng_fill_uniforms(const struct fdit_rng *rng, uint64_t first, size_t n, float *out);
/* The words themselves. */
void fdit_rng_fill_words(const struct fdit_rng *rng, uint64_t first, size_t n, uint32_t *out);

/* Element i alone. uniform: as above, exact in double. below: in 0 .. bound-1 (bound >= 1) from 64
 * bits, words 2i and 2i+1, so that no bound shows a bias that could be measured. */
double fdit_rng_uniform(const struct fdit_rng *rng, uint64_t i);
uint32_t fdit_rng_below(const struct fdit_rng *rng, uint64_t i, uint32_t bound);
void fdit_rng_fill_below(const struct fdit_rng *rng, uint64_t first, size_t n, uint32_t bound, int32_t *out);

/* A permutation of 0 .. n-1 (Fisher and Yates, Durstenfeld's order: position i from n-1 down to 1
 * is swapped with below(i, i+1)). */
void fdit_rng_permutation(const struct fdit_rng *rng, uint32_t n, uint32_t *out);

#endif
