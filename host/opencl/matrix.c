/* SPDX-License-Identifier: Apache-2.0 */
#include "matrix.h"

#include <stdio.h>
#include <string.h>

/* Tiles of which registers hold the results (tools/isa-check.sh): 64 numbers a work-item, 32 with dpas; two
 * work-items a row of the tile, so that each moves a pair of quads. */
static const struct matrix_unit units[] = {
    { "mma", 1, 16, 8, 32, 128, 128, 2, 2, 4, 2, 4, 4, 2 },
    { "wmma", 2, 16, 16, 32, 128, 128, 2, 2, 4, 2, 2, 8, 8 },
    { "wmma64", 2, 16, 16, 64, 128, 128, 2, 1, 4, 1, 2, 8, 8 },
    { "wmma12", 3, 16, 16, 32, 128, 128, 2, 2, 4, 2, 2, 4, 4 },
    { "mfma", 4, 16, 16, 64, 128, 128, 2, 1, 4, 1, 2, 2, 2 },
    { "dpas8", 5, 8, 8, 8, 64, 64, 4, 4, 8, 4, 4, 8, 8 },
    { "dpas16", 6, 8, 16, 16, 64, 64, 4, 2, 8, 2, 2, 4, 8 },
};
enum { UNITS = sizeof units / sizeof *units };

const struct matrix_unit *fdit_matrix_unit_at(int i)
{
    return i >= 0 && i < UNITS ? &units[i] : NULL;
}

const struct matrix_unit *fdit_matrix_unit_find(const char *name)
{
    for (int i = 0; i < UNITS; i++)
        if (strcmp(units[i].name, name) == 0)
            return &units[i];
    return NULL;
}

int fdit_matrix_parts(enum fdit_dtype operands)
{
    return operands == FDIT_F32 ? 3 : operands == FDIT_BF16X3 ? 2 : 1;
}

struct gemm_config fdit_matrix_config(const struct matrix_unit *unit, bool emulated)
{
    return (struct gemm_config){ .engine = GEMM_MATRIX,
                                 .unit = unit,
                                 .emulated = emulated,
                                 .tm = emulated ? 32 : unit->tm,
                                 .tn = emulated ? 32 : unit->tn,
                                 .waves = emulated ? unit->small_waves_m : unit->waves_m,
                                 .group = emulated ? 64 : unit->tm * 2,
                                 .step = 16 };
}

bool fdit_matrix_valid(const struct gemm_config *c)
{
    const struct matrix_unit *u = c->unit;
    if (!u || c->group < u->lanes || c->group > GROUP || c->group % u->lanes || c->waves < 1 ||
        c->group / u->lanes % c->waves)
        return false;
    int waves_n = c->group / u->lanes / c->waves;
    bool step = c->step == 16 || c->step == 32;
    bool tile = c->tm >= 32 && c->tn >= 32 && c->tm <= 256 && c->tn <= 256 &&
                c->tm % (c->waves * u->m) == 0 && c->tn % (waves_n * u->n) == 0;
    /* items move pairs of quads, eight neighbours a row */
    return step && tile && c->tm * c->step / 8 % c->group == 0 && c->tn * c->step / 8 % c->group == 0 &&
           c->tm % 32 == 0 && c->tn % 32 == 0 && c->parts >= 0 && c->parts <= 3;
}

size_t fdit_matrix_local_bytes(const struct gemm_config *c)
{
    size_t parts = c->parts > 1 ? (size_t)c->parts : 1, row = (size_t)c->step / 2 + 4;
    size_t tiles = 2 * parts * (size_t)(c->tm + c->tn) * row;
    size_t slab = (size_t)(c->waves * c->unit->m) * (size_t)(c->tn + 4);
    return (tiles > slab ? tiles : slab) * sizeof(float);
}

void fdit_matrix_fit(struct gemm_config *c, size_t local_bytes)
{
    while (fdit_matrix_local_bytes(c) > local_bytes) {
        struct gemm_config half = *c;
        half.tm /= 2;
        half.tn /= 2;
        half.group /= 2;
        if (!fdit_matrix_valid(&half))
            return;
        *c = half;
    }
}

static const char *lanes_option(const struct gemm_config *c)
{
    return !c->emulated                                   ? ""
           : c->unit->lanes == 64 && c->unit->number == 2 ? " -DEMULATED -DLANES=64"
                                                          : " -DEMULATED";
}

void fdit_matrix_options(const struct gemm_config *c, char out[120])
{
    snprintf(out, 120, "-DUNIT=%d%s -DITEMS=%d -DTM=%d -DTN=%d -DTK=%d -DWAVES_M=%d", c->unit->number,
             lanes_option(c), c->group, c->tm, c->tn, c->step, c->waves);
}

/* Of the larger of the backward kernels: two tiles of its rows, and one that holds two of 32 rows of the
 * other side, or weights and a tile that is turned. */
static size_t heads_bytes(const struct gemm_config *c, const struct matrix_heads *h, int head_size)
{
    const struct matrix_unit *u = c->unit;
    int waves = h->items / u->lanes, across = u->n * (waves / h->waves_m);
    int words = (head_size + 15) / 16 * 8 + 4, turned = (head_size + across - 1) / across * across;
    int rows = 2 * 32 * words, weigh = (h->rows + turned) * (32 / 2 + 4), fm = h->rows / h->waves_m / u->m;
    int floats = 2 * h->rows * words + (rows > weigh ? rows : weigh) + 4 * h->rows;
    if (c->emulated)
        floats += h->items * (fm * (u->a_words + u->m * u->n / u->lanes) + u->b_words);
    return (size_t)floats * sizeof(float);
}

bool fdit_matrix_heads(const struct gemm_config *c, int head_size, size_t local_bytes,
                       struct matrix_heads *out)
{
    const struct matrix_unit *u = c->unit;
    bool wide = head_size > 80;
    if (c->emulated)
        *out = (struct matrix_heads){ 32, 64, u->small_waves_m };
    else if (wide)
        *out = (struct matrix_heads){ 32, u->lanes * u->heads_m / 2 * u->wide_n, u->heads_m / 2 };
    else
        *out = (struct matrix_heads){ 64, u->lanes * u->heads_m * u->heads_n, u->heads_m };
    return head_size >= 1 && head_size <= MATRIX_HEAD_MOST && heads_bytes(c, out, head_size) <= local_bytes;
}

void fdit_matrix_heads_options(const struct gemm_config *c, const struct matrix_heads *h, int head_size,
                               char out[120])
{
    snprintf(out, 120, "-DUNIT=%d%s -DITEMS=%d -DTM=%d -DWAVES_M=%d -DHEAD=%d", c->unit->number,
             lanes_option(c), h->items, h->rows, h->waves_m, head_size);
}
