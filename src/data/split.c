/* SPDX-License-Identifier: Apache-2.0 */
#include "data/split.h"

#include "core/mem.h"
#include "core/rng.h"

#include <math.h>

enum fdit_status fdit_split(fdit_context *ctx, const char *name, const size_t *first, size_t classes,
                            double fraction, uint64_t seed, uint32_t **train, size_t *n_train,
                            uint32_t **validation, size_t *n_validation)
{
    enum fdit_status status = FDIT_OK;
    uint32_t *order = NULL, *a = NULL, *b = NULL;
    bool *held_out = NULL;
    size_t all = first[classes], taken = 0, na = 0, nb = 0;
    *train = *validation = NULL;
    *n_train = *n_validation = 0;
    if (!(fraction > 0 && fraction < 1))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "a share of %g of the pictures for validation: between 0 and 1",
             fraction);
    TRY(fdit_alloc(ctx, all, sizeof *order, &order));
    TRY(fdit_alloc(ctx, all, sizeof *held_out, &held_out));
    for (size_t c = 0; c < classes; c++) {
        size_t from = first[c], n = first[c + 1] - from;
        size_t want =
            (size_t)floor(fraction * (double)(from + n) + 0.5) - (size_t)floor(fraction * (double)from + 0.5);
        if (want >= n)
            want = n ? n - 1 : 0;
        if (!want)
            continue;
        struct fdit_rng rng = { .seed = seed, .stream = (uint32_t)c, .domain = FDIT_RNG_SPLIT };
        fdit_rng_permutation(&rng, (uint32_t)n, order);
        for (size_t i = 0; i < want; i++)
            held_out[from + order[i]] = true;
        taken += want;
    }
    if (!taken)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s: %g of %zu pictures leaves none for validation; give a larger share or other data", name,
             fraction, all);
    TRY(fdit_alloc(ctx, all - taken, sizeof *a, &a));
    TRY(fdit_alloc(ctx, taken, sizeof *b, &b));
    for (size_t i = 0; i < all; i++) {
        if (held_out[i])
            b[nb++] = (uint32_t)i;
        else
            a[na++] = (uint32_t)i;
    }
    *train = a;
    *n_train = na;
    *validation = b;
    *n_validation = nb;
    a = b = NULL;
out:
    fdit_free(a);
    fdit_free(b);
    fdit_free(order);
    fdit_free(held_out);
    return status;
}
