/* SPDX-License-Identifier: Apache-2.0 */
#include "train/batch.h"

#include "core/rng.h"

/* One stream a sample: the position is 64 bits wide and takes stream and id. */
static struct fdit_rng stream(uint64_t seed, uint64_t position, enum fdit_rng_domain domain)
{
    return (struct fdit_rng){
        .seed = seed, .stream = (uint32_t)position, .id = (uint32_t)(position >> 32), .domain = domain
    };
}

int32_t fdit_row_of(const struct fdit_row_rule *rule, int32_t label, uint64_t seed, uint64_t position)
{
    struct fdit_rng rng = stream(seed, position, FDIT_RNG_DROP);
    if (!(rule->drop_prob > 0) || fdit_rng_uniform(&rng, 0) >= rule->drop_prob)
        return label;
    if (rule->drop == FDIT_DROP_EMPTY)
        return rule->empty_row;
    uint32_t which = rule->n_ranks > 1 ? fdit_rng_below(&rng, 1, (uint32_t)rule->n_ranks) : 0;
    return fdit_taxonomy_superclass_row(rule->taxonomy, rule->ranks[which], label);
}

void fdit_draw_batch(const struct fdit_row_rule *rule, const struct fdit_objective *objective,
                     const struct fdit_time_density *density, uint64_t seed, uint64_t position,
                     const int32_t *labels, size_t n, size_t item, double *t, int32_t *rows, float *noise)
{
    for (size_t i = 0; i < n; i++) {
        struct fdit_rng times = stream(seed, position + i, FDIT_RNG_TIME);
        struct fdit_rng normals = stream(seed, position + i, FDIT_RNG_NOISE);
        if (objective)
            t[i] = objective->draw(objective, density, &times);
        rows[i] = fdit_row_of(rule, labels[i], seed, position + i);
        fdit_rng_fill_normals(&normals, 0, item, noise + i * item);
    }
}

static int clamp(int v, int most)
{
    return v < 0 ? 0 : v > most ? most : v;
}

void fdit_shift_batch(uint64_t seed, uint64_t position, const float *x, size_t n, int channels, int size,
                      int most, float *out)
{
    size_t pixels = (size_t)size * (size_t)size;
    for (size_t i = 0; i < n; i++) {
        struct fdit_rng rng = stream(seed, position + i, FDIT_RNG_NOISE);
        int dx = (int)fdit_rng_below(&rng, 0, (uint32_t)(2 * most + 1)) - most;
        int dy = (int)fdit_rng_below(&rng, 1, (uint32_t)(2 * most + 1)) - most;
        float strength = 1 - 0.2f * (float)fdit_rng_uniform(&rng, 8);
        for (int c = 0; c < channels; c++) {
            const float *from = x + (i * (size_t)channels + (size_t)c) * pixels;
            float *to = out + (i * (size_t)channels + (size_t)c) * pixels;
            for (int row = 0; row < size; row++)
                for (int column = 0; column < size; column++) {
                    float v = from[clamp(row + dy, size - 1) * size + clamp(column + dx, size - 1)];
                    to[row * size + column] = from[0] + strength * (v - from[0]);
                }
        }
    }
}

void fdit_draw_validation(const struct fdit_objective *objective, uint64_t index, size_t item, double *t,
                          float *noise)
{
    struct fdit_rng normals = stream(0, index, FDIT_RNG_VALID);
    if (objective)
        *t = objective->spread(objective, index);
    fdit_rng_fill_normals(&normals, 0, item, noise);
}
