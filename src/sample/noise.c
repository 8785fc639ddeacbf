/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/noise.h"

#include "core/mem.h"
#include "core/rng.h"
#include "diffusion/torch_rng.h"

#include <string.h>

struct picture_state {
    uint64_t seed;
    int32_t class_id;
    struct fdit_torch_cpu cpu;
    struct fdit_torch_cuda cuda;
};

struct fdit_noise_pictures {
    enum fdit_noise_kind kind;
    int pictures;
    size_t n;
    bool guided;
    struct picture_state *states;
    float *both; /* [2, n]: one torch call for both halves of the published program's batch */
};

enum fdit_status fdit_noise_new(fdit_context *ctx, enum fdit_noise_kind kind, int pictures, size_t n,
                                bool guided, struct fdit_noise_pictures **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_noise_pictures *np = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *np, &np));
    *np = (struct fdit_noise_pictures){ .kind = kind, .pictures = pictures, .n = n, .guided = guided };
    TRY(fdit_alloc(ctx, (size_t)pictures, sizeof *np->states, &np->states));
    TRY(fdit_alloc(ctx, 2 * n, sizeof(float), &np->both));
    *out = np;
    return FDIT_OK;
out:
    fdit_noise_free(np);
    return status;
}

void fdit_noise_free(struct fdit_noise_pictures *np)
{
    if (!np)
        return;
    fdit_free(np->states);
    fdit_free(np->both);
    fdit_free(np);
}

void fdit_noise_seed(struct fdit_noise_pictures *np, int i, uint64_t seed, int32_t class_id)
{
    np->states[i].seed = seed;
    np->states[i].class_id = class_id;
    fdit_torch_cpu_seed(&np->states[i].cpu, seed);
    fdit_torch_cuda_seed(&np->states[i].cuda, seed, 0);
}

static void fill(void *self, int picture, int step, float *out, size_t n)
{
    struct fdit_noise_pictures *np = self;
    struct picture_state *s = &np->states[picture];
    size_t drawn = step >= 0 && np->guided ? 2 * n : n;
    if (np->kind == FDIT_NOISE_PHILOX) {
        fdit_rng_normals(s->seed, (uint32_t)(step + 1), (uint32_t)s->class_id, 0, n, out);
        return;
    }
    if (np->kind == FDIT_NOISE_TORCH_CPU)
        fdit_torch_cpu_randn(&s->cpu, drawn, np->both);
    else
        fdit_torch_cuda_randn(&s->cuda, drawn, np->both);
    memcpy(out, np->both, n * sizeof *out);
}

struct fdit_noise fdit_noise_of(struct fdit_noise_pictures *np)
{
    return (struct fdit_noise){ np, fill };
}

bool fdit_noise_every_step(const struct fdit_noise_pictures *np)
{
    return np->kind != FDIT_NOISE_PHILOX;
}
