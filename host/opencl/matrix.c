/* SPDX-License-Identifier: Apache-2.0 */
#include "matrix.h"

#include <stdio.h>
#include <string.h>

/* Tiles of which registers hold the results (tools/isa-check.sh): 64 numbers a work-item, 32 with dpas; two
 * work-items a row of the tile, so that each moves a pair of quads. */
static const struct matrix_unit units[] = {
    { "mma", 1, 16, 8, 32, 128, 128, 2, 2 },     { "wmma", 2, 16, 16, 32, 128, 128, 2, 2 },
    { "wmma64", 2, 16, 16, 64, 128, 128, 2, 1 }, { "wmma12", 3, 16, 16, 32, 128, 128, 2, 2 },
    { "mfma", 4, 16, 16, 64, 128, 128, 2, 1 },   { "dpas8", 5, 8, 8, 8, 64, 64, 4, 4 },
    { "dpas16", 6, 8, 16, 16, 64, 64, 4, 2 },
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

void fdit_matrix_options(const struct gemm_config *c, char out[120])
{
    char lanes[24] = "";
    if (c->emulated)
        snprintf(lanes, sizeof lanes, " -DEMULATED%s",
                 c->unit->lanes == 64 && c->unit->number == 2 ? " -DLANES=64" : "");
    snprintf(out, 120, "-DUNIT=%d%s -DITEMS=%d -DTM=%d -DTN=%d -DTK=%d -DWAVES_M=%d", c->unit->number, lanes,
             c->group, c->tm, c->tn, c->step, c->waves);
}
