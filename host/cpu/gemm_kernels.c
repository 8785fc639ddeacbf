/* SPDX-License-Identifier: Apache-2.0
 * gemm_kernels.c: packing, register tiles, cache tiles and the epilogue of gemm_kernels.h. Compiled
 * once per instruction set (see cpu.h).
 *
 * Tunables, per vector width: MR rows in a register tile (MR x 2 accumulators, 2 vectors of the
 * panel and a broadcast must fit the registers: 16, or 32 with AVX-512 and on AArch64); KC, so that
 * a panel [KC][NR] stays in the first-level cache; MC, so that MC x KC floats stay in the
 * second-level one. With AVX-512 panels come from the second-level cache, a megabyte and more: a
 * register tile reads 9 bytes of one a cycle, and C goes by less often. */
#include "cpu/gemm_kernels.h"

#include "core/half.h"
#include "cpu/simd.h"

#if FDIT_VLEN == 16
#define MR 14
/* On a Zen 5 products take 3 to 10 % less time than with 256 and 168 (512 x 4608 x 1152: 10.8 ms after 11.5),
 * linear_dw 4 % more. */
#define FDIT_KC 1536
#define FDIT_MC 84
#elif FDIT_VLEN == 8
#define MR 6
#define FDIT_KC 384
#define FDIT_MC 144
#elif defined(__aarch64__)
#define MR 8 /* the compilers load a register tile's scalars ahead: with more rows accumulators spill */
#define FDIT_KC 512
#define FDIT_MC 144
#else
#define MR 6
#define FDIT_KC 512
#define FDIT_MC 144
#endif
#define NR (2 * FDIT_VLEN)
#include "cpu/gemm_ahead.h"
#include "cpu/gemm_epilogue.h"
#include "cpu/gemm_quantise.h"
#include "cpu/gemm_widen.h"
#include "cpu/gemm_tile_rows.h"

#define FEW 8 /* rows of A up to which B is only streamed */

/* ------------------------------------------------------------------------------------- packing */

#if defined(__AVX__)
#define TB 8 /* edge of a block that is transposed in registers */
FDIT_KERNEL void transpose_block(float *dst, size_t ldd, const float *src, size_t lds)
{
    __m256 r[8], s[8];
    FDIT_UNROLL
    for (int i = 0; i < 8; i++)
        r[i] = _mm256_loadu_ps(src + (size_t)i * lds);
    FDIT_UNROLL
    for (int i = 0; i < 4; i++) {
        s[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        s[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    FDIT_UNROLL
    for (int i = 0; i < 2; i++) {
        r[4 * i] = _mm256_shuffle_ps(s[4 * i], s[4 * i + 2], 0x44);
        r[4 * i + 1] = _mm256_shuffle_ps(s[4 * i], s[4 * i + 2], 0xee);
        r[4 * i + 2] = _mm256_shuffle_ps(s[4 * i + 1], s[4 * i + 3], 0x44);
        r[4 * i + 3] = _mm256_shuffle_ps(s[4 * i + 1], s[4 * i + 3], 0xee);
    }
    FDIT_UNROLL
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(dst + (size_t)i * ldd, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(dst + (size_t)(i + 4) * ldd, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}
#else
#define TB 4
FDIT_KERNEL void transpose_block(float *dst, size_t ldd, const float *src, size_t lds)
{
    float t[TB][TB];
    FDIT_UNROLL
    for (int i = 0; i < TB; i++)
        FDIT_UNROLL
    for (int j = 0; j < TB; j++)
        t[j][i] = src[(size_t)i * lds + (size_t)j];
    FDIT_UNROLL
    for (int i = 0; i < TB; i++)
        memcpy(dst + (size_t)i * ldd, t[i], sizeof t[i]);
}
#endif

/* dst [cols][ldd] = transpose of src [rows][lds] */
static void transpose(float *dst, size_t ldd, const float *src, size_t lds, int rows, int cols)
{
    int full_rows = rows - rows % TB, full_cols = cols - cols % TB;
    for (int i = 0; i < full_rows; i += TB)
        for (int j = 0; j < full_cols; j += TB)
            transpose_block(dst + (size_t)j * ldd + i, ldd, src + (size_t)i * lds + j, lds);
    for (int i = 0; i < rows; i++)
        for (int j = i < full_rows ? full_cols : 0; j < cols; j++)
            dst[(size_t)j * ldd + i] = src[(size_t)i * lds + j];
}

static void pack(float *dst, const float *src, size_t ld, int lanes, int k)
{
    if (lanes < NR)
        memset(dst, 0, (size_t)k * NR * sizeof *dst);
    transpose(dst, NR, src, ld, lanes, k);
}

static void unpack(float *dst, size_t ld, const float *src, int lanes, int k)
{
    transpose(dst, ld, src, NR, k, lanes);
}

/* Packed weights. A type of its own only says how a number is kept: it is widened to f32, exactly, and
 * an int8 multiplied by its lane's factor. */
static size_t panel_bytes(enum fdit_dtype type, int k)
{
    return type == FDIT_I8 ? (size_t)round_up(k, FDIT_INT8_STEP) * NR
                           : (size_t)k * NR * (type == FDIT_BF16 ? 2 : 4);
}

static void pack_as(enum fdit_dtype type, void *dst, float *scale, const float *src, size_t ld, int lanes,
                    int k)
{
    if (type == FDIT_F32) {
        pack(dst, src, ld, lanes, k);
        return;
    }
    memset(dst, 0, panel_bytes(type, k));
    if (type == FDIT_I8)
        lane_scales(scale, NR, src, ld, lanes, k);
    for (int j = 0; j < lanes; j++)
        for (int i = 0; i < k; i++) {
            float x = src[(size_t)j * ld + (size_t)i];
            if (type == FDIT_I8)
                ((int8_t *)dst)[(size_t)(i / 4) * 4 * NR + (size_t)(4 * j + i % 4)] =
                    fdit_gemm_to_int8(x, scale[j]);
            else
                ((uint16_t *)dst)[(size_t)i * NR + (size_t)j] = fdit_bf16_of(x);
        }
}

/* dst [kc][NR]: a panel of B from weights that are not kept as f32, in their own direction or in the
 * other. */
static void widen_panel(const struct fdit_gemm *g, float *dst, int n, int nr, int k0, int kc)
{
    bool int8 = g->b_type == FDIT_I8;
    const int8_t *packed = g->b;
    if (g->form == FDIT_B_PANELS) {
        if (int8)
            widen_int8(dst, packed + (size_t)(n / NR) * panel_bytes(FDIT_I8, g->k) + (size_t)k0 * NR, kc,
                       g->b_scale + n);
        else
            widen_bf16(dst, g->b, (size_t)n * (size_t)g->k + (size_t)k0 * NR, kc);
        return;
    }
    float rows[NR * NR];
    if (nr < NR)
        memset(dst, 0, (size_t)kc * NR * sizeof *dst);
    for (int k = k0; k < k0 + kc; k += NR, dst += NR * NR) {
        if (int8)
            widen_int8(rows, packed + (size_t)(k / NR) * panel_bytes(FDIT_I8, g->n) + (size_t)n * NR, nr,
                       g->b_scale + k);
        else
            widen_bf16(rows, g->b, (size_t)k * (size_t)g->n + (size_t)n * NR, nr);
        int steps = k0 + kc - k < NR ? k0 + kc - k : NR;
        transpose(dst, NR, rows, NR, nr, steps);
    }
}

/* dst [k][NR] = src [k][ld], the first n <= NR columns; the others are 0. */
static void copy_panel(float *dst, const float *src, size_t ld, int n, int k)
{
    if (n == NR) {
        for (int i = 0; i < k; i++, dst += NR, src += ld) {
            vstore(dst, vload(src));
            vstore(dst + FDIT_VLEN, vload(src + FDIT_VLEN));
        }
        return;
    }
    for (int i = 0; i < k; i++, dst += NR, src += ld)
        for (int j = 0; j < NR; j++)
            dst[j] = j < n ? src[j] : 0;
}

/* dst [k][MR] of the first n <= MR columns of src [k][ld]: the turned A of linear_dw. */
static void copy_narrow(float *dst, const float *src, size_t ld, int n, int k)
{
    if (n == MR) {
        for (int i = 0; i < k; i++, dst += MR, src += ld)
            memcpy(dst, src, MR * sizeof *dst);
        return;
    }
    for (int i = 0; i < k; i++, dst += MR, src += ld)
        for (int j = 0; j < MR; j++)
            dst[j] = j < n ? src[j] : 0;
}

/* ------------------------------------------------------------------ register tiles */

FDIT_KERNEL void one_step(int mr, const float *s, size_t row_step, const float *panel, vf acc[MR][2])
{
    const vf b0 = vload(panel), b1 = vload(panel + FDIT_VLEN);
    FDIT_UNROLL
    for (int i = 0; i < mr; i++) {
        const vf x = vset(s[(size_t)i * row_step]);
        acc[i][0] = vfma(x, b0, acc[i][0]);
        acc[i][1] = vfma(x, b1, acc[i][1]);
    }
}

/* c [mr][NR] = (first ? 0 : c) + sum over i < k of scalar(row, i) * panel[i]. The scalars are at
 * s[row row_step + i step]; with chunks > 1 this is repeated for more chunks of k, whose scalars
 * are chunk_step apart. */
FDIT_KERNEL void register_tile(int mr, int chunks, size_t chunk_step, int k, const float *s, size_t row_step,
                               size_t step, const float *panel, float *c, bool first, struct ahead *f)
{
    vf acc[MR][2];
    FDIT_UNROLL
    for (int i = 0; i < mr; i++) {
        acc[i][0] = first ? vzero() : vload(c + i * NR);
        acc[i][1] = first ? vzero() : vload(c + i * NR + FDIT_VLEN);
    }
    for (int chunk = 0; chunk < chunks; chunk++) {
        const float *p = s;
        /* The next rows of this chunk lie behind these; no hardware follows so many streams. */
        if (chunk_step)
            for (int i = 0; i < mr * NR; i += 16)
                __builtin_prefetch(s + mr * NR + i);
        int l = 0;
        for (; l + AHEAD_STEPS <= k; l += AHEAD_STEPS, p += AHEAD_STEPS * step, panel += AHEAD_STEPS * NR) {
            FDIT_UNROLL
            for (int u = 0; u < AHEAD_STEPS; u++)
                one_step(mr, p + (size_t)u * step, row_step, panel + u * NR, acc);
            if (f)
                fetch_ahead(f);
        }
        for (; l < k; l++, p += step, panel += NR)
            one_step(mr, p, row_step, panel, acc);
        s += chunk_step;
    }
    FDIT_UNROLL
    for (int i = 0; i < mr; i++) {
        vstore(c + i * NR, acc[i][0]);
        vstore(c + i * NR + FDIT_VLEN, acc[i][1]);
    }
}

/* Three ways to read the scalars: rows in place, packed [k][MR], and a packed weight [k /
 * NR][n][NR]. */
typedef void register_tile_fn(int k, const float *s, size_t ld, const float *panel, float *c, bool first,
                              struct ahead *f);
#define REGISTER_TILES(mr, none)                                                                             \
    static void tile_rows_##mr(int k, const float *s, size_t ld, const float *panel, float *c, bool first,   \
                               struct ahead *f)                                                              \
    {                                                                                                        \
        register_tile(mr, 1, 0, k, s, ld, 1, panel, c, first, f);                                            \
    }                                                                                                        \
    static void tile_packed_##mr(int k, const float *s, size_t ld, const float *panel, float *c, bool first, \
                                 struct ahead *f)                                                            \
    {                                                                                                        \
        (void)ld;                                                                                            \
        register_tile(mr, 1, 0, k, s, 1, MR, panel, c, first, f);                                            \
    }                                                                                                        \
    static void tile_weight_##mr(int k, const float *s, size_t ld, const float *panel, float *c, bool first, \
                                 struct ahead *f)                                                            \
    {                                                                                                        \
        (void)f;                                                                                             \
        register_tile(mr, k / NR, ld, NR, s, NR, 1, panel, c, first, NULL);                                  \
    }
FOR_ROWS(REGISTER_TILES, )
static register_tile_fn *const tile_rows[MR] = { FOR_ROWS(TILE_NAME, rows) };
static register_tile_fn *const tile_packed[MR] = { FOR_ROWS(TILE_NAME, packed) };
static register_tile_fn *const tile_weight[MR] = { FOR_ROWS(TILE_NAME, weight) };

/* ------------------------------------------------------------------ cache tiles */

/* Decided by the block size, not by the rows of a tile: scratch must suit the last, smaller tile
 * too. */
static bool is_few(const struct fdit_gemm *g)
{
    return g->mc <= FEW && g->form != FDIT_B_PANELS && !g->a_turned && g->b_type == FDIT_F32;
}

static bool is_normal(const struct fdit_gemm *g)
{
    return g->form == FDIT_B_PANELS || g->form == FDIT_B_ROWS || g->b_type != FDIT_F32;
}

/* Scratch of the normal form: partial sums, as register tiles one behind the other; a block of A; a
 * panel of B when it is plain. Of the transposed form: partial sums [mc / NR][nc][NR]; a block of A
 * as panels; a piece of the result on its way to memory. */
static size_t scratch_floats(const struct fdit_gemm *g)
{
    size_t kc = (size_t)round_up(g->kc, NR), nc = (size_t)round_up(g->nc, NR);
    if (is_few(g))
        return FEW * nc + FEW * (size_t)round_up(g->k, NR);
    if (is_normal(g)) {
        size_t mc = (size_t)round_up(g->mc, MR);
        return mc * nc + mc * kc + kc * NR; /* kc is a multiple of NR here */
    }
    size_t mc = (size_t)round_up(g->mc, NR);
    return mc * nc + mc * kc + NR * NR;
}

FDIT_KERNEL void prefetch(const float *p, size_t floats)
{
    for (size_t i = 0; i < floats; i += 16)
        __builtin_prefetch(p + i, 0, 2);
}

/* Piece `i` of `pieces` of the rows of B that become the next panel: k0 .. k0 + kc-1 from column n on. */
static void prefetch_rows(const struct fdit_gemm *g, int n, int k0, int kc, int i, int pieces)
{
    int size = (kc + pieces - 1) / pieces, first = i * size, end = min_int(kc, first + size);
    for (int k = first; k < end; k++)
        prefetch((const float *)g->b + (size_t)(k0 + k) * g->ldb + n, NR);
}

/* A block of A in a tile of the normal form: where the rows of a register tile are. */
struct a_rows {
    const float *first;
    size_t tile_step; /* from one register tile to the next */
    size_t ld;        /* rows; unused when packed */
    bool packed;      /* [k][MR] */
};

/* Rows that are far apart are brought together: they would evict each other from the first-level
 * cache, all of them where the distance is a power of two. */
static struct a_rows gather_a(const struct fdit_gemm *g, int m0, int mc, int k0, int kc, float *block)
{
    size_t step = (size_t)MR * (size_t)kc;
    if (g->gather) {
        g->gather(g, m0, mc, k0, kc, block);
        return (struct a_rows){ block, step, (size_t)kc, false };
    }
    if (g->a_turned) {
        for (int i = 0; i < mc; i += MR)
            copy_narrow(block + (size_t)i * (size_t)kc, g->a + (size_t)k0 * g->lda + m0 + i, g->lda,
                        min_int(MR, mc - i), kc);
        return (struct a_rows){ block, step, 0, true };
    }
    const float *a = g->a + (size_t)m0 * g->lda + k0;
    if (mc <= MR || g->lda == (size_t)kc || g->n <= NR) /* with one panel of B each is read once */
        return (struct a_rows){ a, MR * g->lda, g->lda, false };
    for (int i = 0; i < mc; i++)
        memcpy(block + (size_t)i * (size_t)kc, a + (size_t)i * g->lda, (size_t)kc * sizeof *block);
    return (struct a_rows){ block, step, (size_t)kc, false };
}

static void tile_normal(const struct fdit_gemm *g, int m0, int m1, int n0, int n1, float *scratch)
{
    int mc = m1 - m0;
    size_t mc_up = (size_t)round_up(mc, MR);
    float *sums = scratch;
    float *a_block = sums + mc_up * (size_t)round_up(n1 - n0, NR);
    float *b_panel = a_block + mc_up * (size_t)round_up(g->kc, NR);
    bool one_block = g->k <= g->kc;
    for (int k0 = 0; k0 < g->k; k0 += g->kc) {
        int kc = min_int(g->kc, g->k - k0);
        bool last = k0 + kc == g->k;
        struct a_rows a = gather_a(g, m0, mc, k0, kc, a_block);
        for (int n = n0; n < n1; n += NR) {
            int nr = min_int(NR, n1 - n);
            const float *b = g->b, *panel = b + ((size_t)n * (size_t)g->k + (size_t)k0 * NR);
            if (g->b_type != FDIT_F32) {
                widen_panel(g, b_panel, n, nr, k0, kc);
                panel = b_panel;
            } else if (g->form == FDIT_B_ROWS) {
                copy_panel(b_panel, b + (size_t)k0 * g->ldb + n, g->ldb, nr, kc);
                panel = b_panel;
            }
            float *sum = sums + (size_t)(n - n0) * mc_up;
            const float *rows = a.first;
            for (int i = 0; i < mc; i += MR, rows += a.tile_step) {
                int mr = min_int(MR, mc - i);
                float *c = one_block ? sums : sum + (size_t)i * NR;
                /* the next panel, a piece for each register tile of this one */
                const bool more = mc > MR && n + NR < n1 && g->b_type == FDIT_F32;
                const bool packed = g->form == FDIT_B_PANELS;
                if (more && !packed)
                    prefetch_rows(g, n + NR, k0, kc, i / MR, (int)(mc_up / MR));
                if (k0 > 0)
                    prefetch(c + MR * NR, MR * NR);
                struct ahead f =
                    ahead_of(&g->to, more && packed ? panel + (size_t)NR * (size_t)g->k : NULL, AHEAD_LINES,
                             kc / AHEAD_STEPS, i / MR, (int)(mc_up / MR), m0 + i, last ? mr : 0, n);
                (a.packed ? tile_packed[mr - 1] : tile_rows[mr - 1])(kc, rows, a.ld, panel, c, k0 == 0, &f);
                if (last && g->low_k)
                    tile_rows[mr - 1](
                        g->low_k, g->low + (size_t)(m0 + i) * (size_t)g->low_k, (size_t)g->low_k,
                        (const float *)g->low_panels + (size_t)n * (size_t)g->low_k, c, false, NULL);
                if (last)
                    finish(&g->to, c, NR, m0 + i, mr, n, nr);
            }
        }
    }
}

/* Columns whose part of B is used for all rows of a tile while it is in the second-level cache. */
enum { N_BLOCK = 16 * MR };

FDIT_KERNEL void fetch_rows(const struct fdit_gemm_epilogue *to, int m, int rows, int n)
{
    struct ahead f = ahead_of(to, NULL, 0, 1, 0, 1, m, rows, n);
    fetch_ahead(&f);
}

/* `low` goes on with the sums of one strip of rows, from column n0 on; panel has room for kc k. */
static void strip_of_low(const struct fdit_gemm *g, int m, int rows, int n0, int nc, float *sum, float *panel)
{
    for (int k0 = 0; k0 < g->low_k; k0 += g->kc) {
        const int kc = min_int(g->kc, g->low_k - k0);
        const size_t ld = (size_t)g->low_k;
        pack(panel, g->low + (size_t)m * ld + k0, ld, rows, kc);
        for (int n = 0; n < nc; n += MR)
            tile_rows[min_int(MR, nc - n) - 1](kc, (const float *)g->low_panels + (size_t)(n0 + n) * ld + k0,
                                               ld, panel, sum + (size_t)n * NR, false, NULL);
    }
}

static void tile_transposed(const struct fdit_gemm *g, int m0, int m1, int n0, int n1, float *scratch)
{
    int mc = m1 - m0, nc = n1 - n0;
    size_t mc_up = (size_t)round_up(mc, NR);
    float *sums = scratch;
    float *a_block = sums + mc_up * (size_t)nc;
    float *piece = a_block + mc_up * (size_t)round_up(g->kc, NR);
    bool packed = g->form == FDIT_B_PACKED_T;
    size_t b_step = packed ? NR : g->ldb, b_ld = packed ? (size_t)g->n * NR : g->ldb;
    for (int k0 = 0; k0 < g->k; k0 += g->kc) {
        int kc = min_int(g->kc, g->k - k0);
        /* A packed weight has zeros behind its last k; the panels of A need them too. */
        int kc_up = packed ? round_up(kc, NR) : kc;
        for (int i = 0; i < mc; i += NR) {
            float *panel = a_block + (size_t)i * (size_t)kc_up;
            pack(panel, g->a + (size_t)(m0 + i) * g->lda + k0, g->lda, min_int(NR, mc - i), kc);
            if (kc_up > kc)
                memset(panel + (size_t)kc * NR, 0, (size_t)(kc_up - kc) * NR * sizeof *panel);
        }
        const float *b = (const float *)g->b + (packed ? (size_t)k0 * (size_t)g->n : (size_t)k0);
        for (int n_block = n0; n_block < n1; n_block += N_BLOCK) {
            int n_end = min_int(n1, n_block + N_BLOCK);
            for (int i = 0; i < mc; i += NR) {
                const float *panel = a_block + (size_t)i * (size_t)kc_up;
                float *sum = sums + (size_t)i * (size_t)nc;
                for (int n = n_block; n < n_end; n += MR) {
                    int mr = min_int(MR, n_end - n);
                    float *c = sum + (size_t)(n - n0) * NR;
                    if (k0 > 0)
                        prefetch(c + MR * NR, MR * NR);
                    (packed ? tile_weight[mr - 1] : tile_rows[mr - 1])(kc_up, b + (size_t)n * b_step, b_ld,
                                                                       panel, c, k0 == 0, NULL);
                }
            }
        }
    }
    for (int i = 0; i < mc; i += NR) {
        const int mr = min_int(NR, mc - i);
        if (g->low_k)
            strip_of_low(g, m0 + i, mr, n0, nc, sums + (size_t)i * (size_t)nc, a_block);
        for (int n = 0; n < nc; n += NR) {
            const int nr = min_int(NR, nc - n);
            if (n + NR < nc)
                fetch_rows(&g->to, m0 + i, mr, n0 + n + NR);
            unpack(piece, NR, sums + (size_t)i * (size_t)nc + (size_t)n * NR, mr, nr);
            finish(&g->to, piece, NR, m0 + i, mr, n0 + n, nr);
        }
    }
}

/* ------------------------------------------------------------------ a few rows */

/* Conditioning vectors: a matrix as large as any, for one row a sample. Here B is read once, in the
 * order in which it lies in memory, and turned in registers where k runs along its rows. */

/* c [m] += sum over l < k of a[m][l] * t[l], for one vector of columns */
FDIT_KERNEL void few_rows(int m, int k, const float *a, size_t lda, const float *t, size_t ldt, float *c,
                          size_t ldc)
{
    for (int i = 0; i < m; i++) {
        vf sum = vload(c + (size_t)i * ldc);
        FDIT_UNROLL
        for (int l = 0; l < k; l++)
            sum = vfma(vset(a[(size_t)i * lda + (size_t)l]), vload(t + (size_t)l * ldt), sum);
        vstore(c + (size_t)i * ldc, sum);
    }
}

/* k <= NR steps for n <= FDIT_VLEN columns of B from b on. */
static void few_turned(int m, int k, int n, const float *a, size_t lda, const float *b, size_t b_step,
                       float *c, size_t ldc)
{
    float t[NR * FDIT_VLEN];
    if (k == NR && n == FDIT_VLEN) {
        FDIT_UNROLL
        for (int i = 0; i < FDIT_VLEN; i += TB)
            FDIT_UNROLL
        for (int j = 0; j < NR; j += TB)
            transpose_block(t + j * FDIT_VLEN + i, FDIT_VLEN, b + (size_t)i * b_step + j, b_step);
        few_rows(m, NR, a, lda, t, FDIT_VLEN, c, ldc);
        return;
    }
    memset(t, 0, sizeof t);
    transpose(t, FDIT_VLEN, b, b_step, n, k);
    few_rows(m, k, a, lda, t, FDIT_VLEN, c, ldc);
}

static void few_plain(int m, int k, int n, const float *a, size_t lda, const float *b, size_t ldb, float *c,
                      size_t ldc)
{
    if (k == NR && n == FDIT_VLEN) {
        few_rows(m, NR, a, lda, b, ldb, c, ldc);
        return;
    }
    float t[NR * FDIT_VLEN] = { 0 };
    for (int l = 0; l < k; l++)
        memcpy(t + l * FDIT_VLEN, b + (size_t)l * ldb, (size_t)n * sizeof *t);
    few_rows(m, k, a, lda, t, FDIT_VLEN, c, ldc);
}

static void tile_few(const struct fdit_gemm *g, int m0, int m1, int n0, int n1, float *scratch)
{
    int m = m1 - m0, nc = n1 - n0;
    int k = g->form == FDIT_B_PACKED_T ? round_up(g->k, NR) : g->k;
    size_t ldc = (size_t)round_up(nc, FDIT_VLEN), lda = g->lda;
    float *sums = scratch;
    const float *a = g->a + (size_t)m0 * g->lda, *b = g->b;
    if (k > g->k) {
        float *padded = sums + (size_t)FEW * ldc;
        lda = (size_t)k;
        for (int i = 0; i < m; i++) {
            memcpy(padded + (size_t)i * lda, a + (size_t)i * g->lda, (size_t)g->k * sizeof *padded);
            memset(padded + (size_t)i * lda + g->k, 0, (size_t)(k - g->k) * sizeof *padded);
        }
        a = padded;
    }
    memset(sums, 0, (size_t)m * ldc * sizeof *sums);
    if (g->form == FDIT_B_COLUMNS) {
        for (int n = 0; n < nc; n += FDIT_VLEN)
            for (int l = 0; l < k; l += NR)
                few_turned(m, min_int(NR, k - l), min_int(FDIT_VLEN, nc - n), a + l, lda,
                           b + (size_t)(n0 + n) * g->ldb + l, g->ldb, sums + n, ldc);
    } else {
        for (int l = 0; l < k; l += NR)
            for (int n = 0; n < nc; n += FDIT_VLEN) {
                int columns = min_int(FDIT_VLEN, nc - n);
                if (g->form == FDIT_B_PACKED_T) {
                    const float *block = b + (size_t)l * (size_t)g->n + (size_t)(n0 + n) * NR;
                    if (l + NR < k)
                        prefetch(block + (size_t)NR * (size_t)g->n, NR * FDIT_VLEN);
                    few_turned(m, NR, columns, a + l, lda, block, NR, sums + n, ldc);
                } else
                    few_plain(m, min_int(NR, k - l), columns, a + l, lda, b + (size_t)l * g->ldb + n0 + n,
                              g->ldb, sums + n, ldc);
            }
    }
    for (int n = 0; n < nc; n += FDIT_VLEN)
        for (int l = 0; l < g->low_k; l += NR)
            few_turned(m, min_int(NR, g->low_k - l), min_int(FDIT_VLEN, nc - n),
                       g->low + (size_t)m0 * (size_t)g->low_k + l, (size_t)g->low_k,
                       (const float *)g->low_panels + (size_t)(n0 + n) * (size_t)g->low_k + l,
                       (size_t)g->low_k, sums + n, ldc);
    finish(&g->to, sums, ldc, m0, m, n0, nc);
}

static void tile(const struct fdit_gemm *g, int m0, int m1, int n0, int n1, float *scratch)
{
    if (is_few(g))
        tile_few(g, m0, m1, n0, n1, scratch);
    else if (is_normal(g))
        tile_normal(g, m0, m1, n0, n1, scratch);
    else
        tile_transposed(g, m0, m1, n0, n1, scratch);
    vstream_end();
}

const struct fdit_cpu_gemm_kernels FDIT_ISA_NAME(fdit_cpu_gemm_kernels) = {
    .precision = FDIT_F32,
    .vlen = FDIT_VLEN,
    .mr = MR,
    .nr = NR,
    .few = FEW,
    .kc = FDIT_KC,
    .mc = FDIT_MC,
    .panel_bytes = panel_bytes,
    .pack_as = pack_as,
    .scratch = scratch_floats,
    .tile = tile,
    .finish = finish_tile,
};
