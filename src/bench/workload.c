/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/workload.h"

#include "core/rng.h"

#include <math.h>
#include <stdio.h>

enum { PIECE = 8192 };

void fdit_bench_numbers(uint32_t stream, size_t first, size_t n, double mean, double deviation, float *out)
{
    const struct fdit_rng rng = { .seed = 1, .stream = stream, .domain = FDIT_RNG_BENCH };
    const float half = (float)(deviation * sqrt(3.0)), centre = (float)mean;
    uint32_t words[PIECE];
    for (size_t i = 0; i < n; i += PIECE) {
        size_t count = n - i < PIECE ? n - i : PIECE;
        fdit_rng_fill_words(&rng, first + i, count, words);
        for (size_t j = 0; j < count; j++) /* (k + 1/2) / 2^22 - 1 for k < 2^23: exact, never 0 */
            out[i + j] = centre + half * (((float)(words[j] >> 9) + 0.5f) * 0x1p-22f - 1.0f);
    }
}

void fdit_bench_write(fdit_device *dev, struct fdit_tensor t, uint32_t stream, size_t n, double deviation)
{
    float piece[PIECE];
    for (size_t i = 0; i < n; i += PIECE) {
        size_t count = n - i < PIECE ? n - i : PIECE;
        fdit_bench_numbers(stream, i, count, 0, deviation, piece);
        fdit_write(dev, fdit_at(t, i), piece, count);
    }
}

double fdit_bench_allowed(enum fdit_dtype storage)
{
    switch (storage) {
    case FDIT_BF16: return 2e-2;
    case FDIT_F16: return 5e-3;
    case FDIT_I8: return 6e-2;
    case FDIT_F32:
    case FDIT_BF16X3:
    case FDIT_I32: break;
    }
    return 2e-4;
}

void fdit_bench_note_error(struct fdit_bench_check *check, const char *name, double error)
{
    if (!isfinite(error))
        error = INFINITY;
    if (check->worst[0] && error <= check->max_error)
        return;
    check->max_error = error;
    snprintf(check->worst, sizeof check->worst, "%s", name);
}

void fdit_bench_compare(struct fdit_bench_check *check, const char *name, const float *got, const float *want,
                        size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - (double)want[i];
        difference += d * d;
        size += (double)want[i] * (double)want[i];
    }
    fdit_bench_note_error(check, name, size > 0 ? sqrt(difference / size) : sqrt(difference));
}
