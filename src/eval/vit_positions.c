/* SPDX-License-Identifier: Apache-2.0
 * vit_positions.c: a table of positions for another number of patches than it was trained with. */
#include "eval/vit.h"

#include "core/mem.h"
#include "picture/taps.h"

#include <string.h>

/* [n_in, inner] to [taps->n, inner] for each of `outer`. */
static void along(const struct fdit_taps *t, size_t outer, size_t n_in, size_t inner, const double *from,
                  double *to)
{
    for (size_t a = 0; a < outer; a++, from += n_in * inner)
        for (int o = 0; o < t->n; o++, to += inner)
            for (size_t i = 0; i < inner; i++) {
                double sum = 0;
                for (int k = 0; k < t->count[o]; k++) {
                    size_t at = (size_t)o * (size_t)t->most + (size_t)k;
                    sum += t->weight[at] * from[(size_t)t->index[at] * inner + i];
                }
                to[i] = sum;
            }
}

enum fdit_status fdit_vit_positions_for(fdit_context *ctx, const struct fdit_vit_config *c,
                                        const float *table, int n, enum fdit_vit_positions positions,
                                        float *out)
{
    enum fdit_status status = FDIT_OK;
    size_t d = (size_t)c->width, grid = (size_t)c->grid, to = (size_t)n;
    struct fdit_taps taps = { 0 };
    double *whole = NULL, *rows = NULL, *both = NULL;
    memcpy(out, table, d * sizeof *out);
    if (n == c->grid) {
        memcpy(out + d, table + d, grid * grid * d * sizeof *out);
        return FDIT_OK;
    }
    if (c->registers)
        TRY(fdit_taps_antialias(ctx, c->grid, n, &taps));
    else
        TRY(fdit_taps_cubic(ctx, c->grid, n, c->grid / (n + (positions == FDIT_VIT_AUTHORS ? 0.1 : 0)),
                            &taps));
    TRY(fdit_alloc(ctx, grid * grid, d * sizeof *whole, &whole));
    TRY(fdit_alloc(ctx, to * grid, d * sizeof *rows, &rows));
    TRY(fdit_alloc(ctx, to * to, d * sizeof *both, &both));
    for (size_t i = 0; i < grid * grid * d; i++)
        whole[i] = table[d + i];
    along(&taps, 1, grid, grid * d, whole, rows);
    along(&taps, to, grid, d, rows, both);
    for (size_t i = 0; i < to * to * d; i++)
        out[d + i] = (float)both[i];
out:
    fdit_taps_fini(&taps);
    fdit_free(whole);
    fdit_free(rows);
    fdit_free(both);
    return status;
}
