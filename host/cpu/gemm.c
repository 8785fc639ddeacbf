/* SPDX-License-Identifier: Apache-2.0
 * gemm.c: blocking and the loop over tiles. */
#include "cpu/gemm.h"

#include "core/mem.h"

#include <stdatomic.h>
#include <string.h>

/* Ours is the default: for most sizes it is faster than the libraries under the same loop, and at
 * worst 4 % slower (linear_dx, 4096 x 128 x 128: 1.88, 1.80, 2.15). One thread of an EPYC with AVX2
 * (peak 103 GFLOP/s), ms of processor time, the least of several alternated runs on a busy machine
 * (other processes took cache and bandwidth from all three), for ours, oneDNN 2.6.3 and OpenBLAS
 * 0.3.21:
 *     linear     1024 x 384 x 384      3.33   3.79   3.95
 *     linear     1024 x 1152 x 1152   35.4   38.1   39.3
 *     linear_dx  1024 x 384 x 384      3.47   3.70   4.32
 *     linear_dx  1024 x 1152 x 1152   34.7   37.4   39.2
 *       plain    1024 x 1152 x 1152   37.9   37.3   42.0
 *     linear_dw  1152 x 1152 x 1024   39.1   47.9   46.2 */
#ifndef FDIT_DEFAULT_GEMM
#define FDIT_DEFAULT_GEMM "own"
#endif

enum {
    MAX_NC = 512,             /* columns in a tile of the normal form */
    MAX_MC_TRANSPOSED = 128,  /* rows in a tile of the transposed form */
    MAX_NC_TRANSPOSED = 1536, /* each tile packs its rows of A again */
    MAX_NC_FEW = 2048,        /* few rows: long stretches of the matrix */
    TILES_PER_THREAD = 3,     /* enough to even out a slow thread */
    PROVIDED_ROWS = 256,      /* a provider's tile */
    PROVIDED_COLUMNS = 512,
    PREPARED_BYTES = 16 << 20, /* of an operand at a time; more only for one row of tiles */
    PARTS_LEAST = 16,
    PARTS_MOST = 4096, /* k of a gradient at a time: whose operands in parts are 16 MB or less */
};

/* n in equal parts of at most `max`, a multiple of `unit`. */
static int equal_parts(int n, int max, int unit)
{
    return round_up(divide_up(n, divide_up(n, max)), unit);
}

static bool is_normal(const struct fdit_cpu_gemm_kernels *kernels, enum fdit_gemm_b form,
                      enum fdit_dtype b_type)
{
    return form == FDIT_B_PANELS || form == FDIT_B_ROWS || b_type != FDIT_F32 ||
           kernels->precision != FDIT_F32 || kernels->parts;
}

static void choose_blocks(const struct fdit_cpu *cpu, const struct fdit_cpu_gemm_kernels *kernels,
                          struct fdit_gemm *g)
{
    const int k_unit = kernels->k_unit ? kernels->k_unit : kernels->nr;
    bool normal = is_normal(kernels, g->form, g->b_type);
    int nc_unit = normal ? kernels->nr : kernels->mr;
    g->kc = equal_parts(g->k, kernels->kc, k_unit);
    /* A few rows: one pass over each panel of the weight, at the speed of the memory. */
    if (g->m <= kernels->mr && g->form == FDIT_B_PANELS)
        g->kc = round_up(g->k, k_unit);
    bool few = g->m <= kernels->few && g->form != FDIT_B_PANELS && !g->a_turned && g->b_type == FDIT_F32;
    if (few)
        g->mc = kernels->few;
    else if (normal)
        g->mc = equal_parts(g->m, kernels->mc, kernels->mr);
    else
        g->mc = equal_parts(g->m, MAX_MC_TRANSPOSED, kernels->nr);
    int parts = divide_up(g->n, few ? MAX_NC_FEW : normal ? MAX_NC : MAX_NC_TRANSPOSED);
    int rows = divide_up(g->m, g->mc);
    if (rows * parts < TILES_PER_THREAD * cpu->threads && cpu->threads > 1) {
        int most = divide_up(g->n, 4 * kernels->nr);
        int wanted = divide_up(TILES_PER_THREAD * cpu->threads, rows);
        if (wanted > most)
            wanted = most;
        if (wanted > parts)
            parts = wanted;
    }
    g->nc = round_up(divide_up(g->n, parts), nc_unit);
}

/* How many of n rows (or columns) are prepared at a time: whole tiles of `block`, a multiple of the
 * kernels' `unit`. */
static int prepared_part(const struct fdit_cpu_gemm_kernels *kernels, int n, int k, int block, int unit)
{
    size_t tile = (size_t)(block / unit) * kernels->prepared_bytes(k);
    size_t tiles = tile < PREPARED_BYTES ? PREPARED_BYTES / tile : 1;
    return (size_t)divide_up(n, block) <= tiles ? round_up(n, unit) : (int)tiles * block;
}

/* B must be prepared, and is not a weight that lies ready. */
static bool prepares_b(const struct fdit_cpu_gemm_kernels *kernels, const struct fdit_gemm *g)
{
    return kernels->prepare_b &&
           (g->form != FDIT_B_PANELS || g->b_type != kernels->precision || kernels->parts);
}

/* Room for one operand, for sizes up to these: at most PREPARED_BYTES, or one row of tiles. */
static size_t prepared_floats(const struct fdit_cpu_gemm_kernels *kernels, int n, int k, int most, int unit)
{
    size_t strip = kernels->prepared_bytes(k), all = (size_t)divide_up(n, unit) * strip;
    size_t part = (size_t)divide_up(most, unit) * strip;
    part = part > PREPARED_BYTES ? part : PREPARED_BYTES;
    return fdit_page_floats((all < part ? all : part) / sizeof(float));
}

static size_t workspace_of(const struct fdit_cpu *cpu, const struct fdit_cpu_gemm_kernels *kernels, int m,
                           int n, int k, enum fdit_gemm_b form, enum fdit_dtype b_type)
{
    bool normal = is_normal(kernels, form, b_type);
    /* The largest blocks that choose_blocks can give for these or smaller sizes. */
    struct fdit_gemm g = { .form = form, .b_type = b_type, .k = k };
    g.kc = round_up(min_int(k, kernels->kc), kernels->nr);
    g.mc = min_int(round_up(m, kernels->mr * kernels->nr),
                   round_up(normal ? kernels->mc : MAX_MC_TRANSPOSED, kernels->mr));
    g.nc = min_int(n, normal ? MAX_NC : MAX_NC_TRANSPOSED) + kernels->nr;
    size_t floats = kernels->scratch(&g);
    g.mc = form == FDIT_B_PANELS ? kernels->mr : kernels->few;
    g.nc = min_int(n, MAX_NC_FEW) + kernels->nr;
    g.kc = round_up(k, kernels->nr);
    size_t few = kernels->scratch(&g);
    floats = floats > few ? floats : few;
    floats = (size_t)cpu->threads * fdit_page_floats(floats);
    if (kernels->prepare_a) {
        floats += prepared_floats(kernels, m, k, round_up(kernels->mc, kernels->mr), kernels->mr);
        /* A weight may be int8, which is not known here. */
        if (kernels->prepare_b)
            floats += prepared_floats(kernels, n, k, MAX_NC + kernels->nr, kernels->nr);
    }
    return floats * sizeof(float);
}

size_t fdit_cpu_gemm_workspace(const struct fdit_cpu *cpu, int m, int n, int k, enum fdit_gemm_b form,
                               bool a_turned)
{
    /* A weight for the other direction takes the transposed form, or, not kept as f32, the normal
     * one. */
    size_t bytes = workspace_of(cpu, cpu->gemm, m, n, k, form, FDIT_F32), other = 0;
    if (form == FDIT_B_PACKED_T)
        other = workspace_of(cpu, cpu->gemm, m, n, k, form, FDIT_BF16);
    if (form == FDIT_B_PANELS && cpu->gemm_int8)
        other = workspace_of(cpu, cpu->gemm_int8, m, n, k, form, FDIT_I8);
    bytes = other > bytes ? other : bytes;
    if (cpu->gemm_parts)
        other =
            workspace_of(cpu, cpu->gemm_parts, m, n, a_turned ? min_int(k, PARTS_MOST) : k, form, FDIT_F32);
    bytes = other > bytes ? other : bytes;
    return bytes;
}

struct tiles {
    const struct fdit_cpu_gemm_kernels *kernels;
    const struct fdit_gemm *g;
    size_t stride; /* floats of workspace a thread */
    int m0, m1, n0, n1, rows;
};

static void tile_pieces(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct tiles *t = job;
    const struct fdit_gemm *g = t->g;
    float *own = (float *)cpu->workspace + (size_t)thread * t->stride;
    for (int i = (int)begin; i < (int)end; i++) {
        int m = t->m0 + i % t->rows * g->mc, n = t->n0 + i / t->rows * g->nc;
        t->kernels->tile(g, m, min_int(t->m1, m + g->mc), n, min_int(t->n1, n + g->nc), own);
    }
}

/* The tiles of rows m0 .. m1 - 1 and columns n0 .. n1 - 1, both multiples of a tile from 0 on. */
static void run_tiles(const struct fdit_cpu *cpu, const struct fdit_cpu_gemm_kernels *kernels,
                      const struct fdit_gemm *g, int m0, int m1, int n0, int n1)
{
    const struct tiles t = {
        .kernels = kernels,
        .g = g,
        .stride = fdit_page_floats(kernels->scratch(g)),
        .m0 = m0,
        .m1 = m1,
        .n0 = n0,
        .n1 = n1,
        .rows = divide_up(m1 - m0, g->mc),
    };
    fdit_cpu_each(cpu, (size_t)t.rows * (size_t)divide_up(n1 - n0, g->nc), tile_pieces, &t);
}

/* Strips of A or panels of B that are prepared, from row (or column) `first` on. */
struct prepared {
    const struct fdit_cpu_gemm_kernels *kernels;
    const struct fdit_gemm *g;
    size_t stride, each; /* floats of workspace a thread; bytes of a strip or panel */
    char *to;
    int first;
};

static void prepare_panels(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct prepared *p = job;
    (void)cpu;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        p->kernels->prepare_b(p->g, p->first + (int)i * p->kernels->nr, p->to + i * p->each);
}

static void prepare_strips(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct prepared *p = job;
    float *own = (float *)cpu->workspace + (size_t)thread * p->stride;
    for (size_t i = begin; i < end; i++)
        p->kernels->prepare_a(p->g, p->first + (int)i * p->kernels->mr, p->to + i * p->each, own);
}

/* Prepares the operands, a part of each at a time, and runs the tiles of the parts. */
static void run_prepared(const struct fdit_cpu *cpu, const struct fdit_cpu_gemm_kernels *kernels,
                         struct fdit_gemm *g)
{
    const size_t stride = fdit_page_floats(kernels->scratch(g));
    const size_t each = kernels->prepared_bytes(g->k);
    const bool b_too = prepares_b(kernels, g);
    const int m_part = prepared_part(kernels, g->m, g->k, g->mc, kernels->mr);
    const int n_part = b_too ? prepared_part(kernels, g->n, g->k, g->nc, kernels->nr) : g->n;
    float *workspace = cpu->workspace, *a = workspace + (size_t)cpu->threads * stride;
    char *strips = (char *)a, *panels = strips + (size_t)divide_up(m_part, kernels->mr) * each;
    for (int n0 = 0; n0 < g->n; n0 += n_part) {
        const int n1 = min_int(g->n, n0 + n_part), n_panels = divide_up(n1 - n0, kernels->nr);
        if (b_too) {
            const struct prepared p = { kernels, g, stride, each, panels, n0 };
            fdit_cpu_range(cpu, (size_t)n_panels, SIZE_MAX, prepare_panels, &p);
        }
        g->panels = b_too ? (const void *)panels : g->b;
        g->panel_column = b_too ? n0 : 0;
        for (int m0 = 0; m0 < g->m; m0 += m_part) {
            const int m1 = min_int(g->m, m0 + m_part), n_strips = divide_up(m1 - m0, kernels->mr);
            /* One part of A serves all parts of B. */
            if (n0 == 0 || m_part < g->m) {
                const struct prepared s = { kernels, g, stride, each, strips, m0 };
                fdit_cpu_range(cpu, (size_t)n_strips, SIZE_MAX, prepare_strips, &s);
            }
            g->strips = strips;
            g->strip_row = m0;
            run_tiles(cpu, kernels, g, m0, m1, n0, n1);
        }
    }
}

/* Conditioning vectors stay out of int8 and of parts: they are few, and scale whole channels; and a weight
 * would be taken apart for them alone. The caller says which they are; rows are not counted, since a picture
 * has the same bits in bands, down to one pixel. With fewer k than PARTS_LEAST operands in parts would be
 * mostly zeros; the gradient of a weight has as many k as there are rows. */
static const struct fdit_cpu_gemm_kernels *kernels_for(const struct fdit_cpu *cpu, const struct fdit_gemm *g)
{
    if (cpu->gemm_parts && !g->vectors && (g->a_turned || g->k >= PARTS_LEAST))
        return cpu->gemm_parts;
    bool int8 =
        cpu->gemm_int8 && g->form == FDIT_B_PANELS && g->b_type == FDIT_I8 && !g->gather && !g->vectors;
    return int8 ? cpu->gemm_int8 : cpu->gemm;
}

bool fdit_cpu_gemm_low_by_rows(const struct fdit_cpu *cpu, const struct fdit_gemm *g)
{
    return !is_normal(kernels_for(cpu, g), g->form, g->b_type);
}

/* The gradient of a weight in parts: the sums of PARTS_MOST k each, one after the other. */
static void add_gradients(const struct fdit_cpu *cpu, const struct fdit_gemm *g)
{
    for (int k = 0; k < g->k; k += PARTS_MOST) {
        struct fdit_gemm part = *g;
        part.k = min_int(PARTS_MOST, g->k - k);
        part.a = g->a + (size_t)k * g->lda;
        part.b = (const float *)g->b + (size_t)k * g->ldb;
        part.to.beta = k || g->to.beta;
        fdit_cpu_gemm(cpu, &part);
    }
}

void fdit_cpu_gemm(const struct fdit_cpu *cpu, const struct fdit_gemm *wanted)
{
    struct fdit_gemm product = *wanted;
    const struct fdit_cpu_gemm_kernels *kernels = kernels_for(cpu, wanted);
    if (kernels->parts && wanted->a_turned && wanted->k > PARTS_MOST) {
        add_gradients(cpu, wanted);
        return;
    }
    choose_blocks(cpu, kernels, &product);
    if (kernels->prepare_a)
        run_prepared(cpu, kernels, &product);
    else
        run_tiles(cpu, kernels, &product, 0, product.m, 0, product.n);
}

/* ------------------------------------------------------------------ providers */

enum fdit_status fdit_cpu_provider_choose(fdit_context *ctx, const char *name,
                                          const struct fdit_cpu_gemm_provider **out, bool *multiply_adds)
{
    static const struct fdit_cpu_gemm_provider *const providers[] = {
#ifdef HAVE_ONEDNN
        &fdit_cpu_onednn,
#endif
#ifdef HAVE_CBLAS
        &fdit_cpu_cblas,
#endif
        NULL
    };
    *out = NULL;
    if (!name || !*name)
        name = FDIT_DEFAULT_GEMM;
    *multiply_adds = strcmp(name, "multiply-adds") == 0;
    if (*multiply_adds || strcmp(name, "own") == 0)
        return FDIT_OK;
    for (int i = 0; providers[i]; i++)
        if (strcmp(providers[i]->name, name) == 0) {
            *out = providers[i];
            return FDIT_OK;
        }
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "FINEDIFFUSION_GEMM=%s: this build has no such GEMM; it knows own, multiply-adds"
#ifdef HAVE_ONEDNN
                     ", onednn"
#endif
#ifdef HAVE_CBLAS
                     ", cblas"
#endif
                     ,
                     name);
}

size_t fdit_cpu_gemm_provided_workspace(const struct fdit_cpu *cpu)
{
    return (size_t)cpu->threads * PROVIDED_ROWS * PROVIDED_COLUMNS * sizeof(float);
}

/* A provider's tiles: `parts` of `mc` rows in each group of `rows` (a sample), by `columns` of nc.
 */
struct provided_tiles {
    int rows, parts, columns, mc, nc;
    const struct fdit_cpu_gemm_provider *provider;
    const struct fdit_gemm *g;
    atomic_bool *failed;
};

static bool provided_tile(const struct fdit_cpu *cpu, const struct provided_tiles *tiles, int t, float *c)
{
    const struct fdit_gemm *g = tiles->g;
    int row_tile = t / tiles->columns, n0 = t % tiles->columns * tiles->nc;
    int sample = row_tile / tiles->parts, in_sample = row_tile % tiles->parts * tiles->mc;
    int m0 = sample * tiles->rows + in_sample;
    int m = min_int(tiles->mc, tiles->rows - in_sample), n = min_int(tiles->nc, g->n - n0);
    if (m <= 0 || n <= 0)
        return true;
    bool b_turned = g->form == FDIT_B_COLUMNS;
    const float *a = g->a + (g->a_turned ? (size_t)m0 : (size_t)m0 * g->lda);
    const float *b = (const float *)g->b + (b_turned ? (size_t)n0 * g->ldb : (size_t)n0);
    size_t ldc = (size_t)tiles->nc;
    if (!tiles->provider->sgemm(g->a_turned, b_turned, m, n, g->k, a, g->lda, b, g->ldb, c, ldc))
        return false;
    cpu->gemm->finish(&g->to, c, ldc, m0, m, n0, n);
    return true;
}

static void provided_pieces(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct provided_tiles *tiles = job;
    float *c = (float *)cpu->workspace + (size_t)thread * PROVIDED_ROWS * PROVIDED_COLUMNS;
    for (size_t t = begin; t < end; t++)
        if (!provided_tile(cpu, tiles, (int)t, c))
            atomic_store(tiles->failed, true);
}

bool fdit_cpu_gemm_provided(const struct fdit_cpu *cpu, const struct fdit_cpu_gemm_provider *provider,
                            const struct fdit_gemm *g)
{
    atomic_bool failed = false;
    struct provided_tiles tiles = { .provider = provider, .g = g, .failed = &failed };
    /* A turned A is the sum over all samples: its rows are outputs, not samples. */
    tiles.rows = g->a_turned ? g->m : g->to.rows;
    tiles.parts = divide_up(tiles.rows, PROVIDED_ROWS);
    tiles.columns = divide_up(g->n, PROVIDED_COLUMNS);
    tiles.mc = divide_up(tiles.rows, tiles.parts);
    tiles.nc = round_up(divide_up(g->n, tiles.columns), 16);
    int count = g->m / tiles.rows * tiles.parts * tiles.columns;
    int before = fdit_cpu_openmp_threads(1);
    fdit_cpu_each(cpu, (size_t)count, provided_pieces, &tiles);
    fdit_cpu_openmp_threads(before);
    return !failed;
}
