/* SPDX-License-Identifier: Apache-2.0
 * noise.h: the random numbers of a picture: x_T, then the noise of each sampler step, drawn in order. */
#ifndef FDIT_SAMPLE_NOISE_H
#define FDIT_SAMPLE_NOISE_H

#include "core/status.h"

enum fdit_noise_kind {
    FDIT_NOISE_PHILOX,     /* counter-based, by (seed, class): the program's own */
    FDIT_NOISE_TORCH_CPU,  /* torch.manual_seed(seed); torch.randn on the CPU */
    FDIT_NOISE_TORCH_CUDA, /* the same on an NVIDIA GPU */
};

/* One source for the pictures of one run. */
struct fdit_noise {
    void *self;
    /* step -1 is x_T, 0, 1, ... the steps; called in this order for each picture. n floats. */
    void (*fill)(void *self, int picture, int step, float *out, size_t n);
};

struct fdit_noise_pictures; /* the state of the sources below */

/* For up to `pictures` pictures of n numbers. Parity with the published procedure: each step draws for
 * both halves of the doubled batch when `guided`, and the second half is thrown away. */
enum fdit_status fdit_noise_new(fdit_context *ctx, enum fdit_noise_kind kind, int pictures, size_t n,
                                bool guided, struct fdit_noise_pictures **out);
void fdit_noise_free(struct fdit_noise_pictures *np);
/* Starts picture i over with this seed and class. */
void fdit_noise_seed(struct fdit_noise_pictures *np, int i, uint64_t seed, int32_t class_id);
struct fdit_noise fdit_noise_of(struct fdit_noise_pictures *np);
/* Whether steps that add no noise must be drawn as well, to keep the stream of PyTorch. */
bool fdit_noise_every_step(const struct fdit_noise_pictures *np);

#endif
