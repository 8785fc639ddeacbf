/* SPDX-License-Identifier: Apache-2.0
 * gemm.c: which engine computes a product, its programs, and its workspace. */
#include "clblast.h"
#include "gemm.h"
#include "int8.h"
#include "matrix.h"

#include "core/mem.h"
#include "core/status.h"

#include <stdio.h>
#include <string.h>

/* What a processor's registers hold: 32 vectors of 16 floats, or 16 of 8 or 4. Swapped results are
 * written across: more rows of them fill more of a cache line. */
static struct gemm_config default_config(const struct opencl *cl, bool swap)
{
    if (cl->is_cpu && cl->vector_floats >= 16 && swap)
        return (struct gemm_config){ .engine = GEMM_REGISTERS, .im = 8, .vw = 16, .nv = 2, .group = 8 };
    /* of the tiles that spill nowhere (tools/isa-check.sh) the fastest on an H100 */
    if (!cl->is_cpu || cl->gemm_forced.engine == GEMM_MATRIX)
        return (struct gemm_config){ .engine = GEMM_BLOCK, .im = 8, .nv = 4, .bx = 16, .by = 8, .step = 16 };
    if (cl->vector_floats >= 16)
        return (struct gemm_config){ .engine = GEMM_REGISTERS, .im = 4, .vw = 16, .nv = 4, .group = 8 };
    return (struct gemm_config){
        .engine = GEMM_REGISTERS, .im = 4, .vw = cl->vector_floats >= 8 ? 8 : 4, .nv = 2, .group = 8
    };
}

static const char *const engine_names[] = { "default", "tile", "registers", "clblast", "block", "matrix" };

void fdit_gemm_config_text(const struct gemm_config *c, char out[GEMM_TEXT])
{
    if (c->engine == GEMM_TILE)
        snprintf(out, GEMM_TEXT, "tile im=%d nv=%d step=%d", c->im, c->nv, c->step);
    else if (c->engine == GEMM_REGISTERS)
        snprintf(out, GEMM_TEXT, "registers im=%d vw=%d nv=%d group=%d", c->im, c->vw, c->nv, c->group);
    else if (c->engine == GEMM_BLOCK)
        snprintf(out, GEMM_TEXT, "block im=%d nv=%d bx=%d by=%d step=%d", c->im, c->nv, c->bx, c->by,
                 c->step);
    else if (c->engine == GEMM_MATRIX)
        snprintf(out, GEMM_TEXT, "matrix %s%s tm=%d tn=%d waves=%d group=%d step=%d",
                 c->emulated ? "emulated-" : "", c->unit->name, c->tm, c->tn, c->waves, c->group, c->step);
    else
        snprintf(out, GEMM_TEXT, "%s", engine_names[c->engine]);
}

/* Two tiles of each side: cl/linear_block.cl. */
static int block_local_bytes(const struct gemm_config *c)
{
    return 2 * c->step * (c->by * c->im + 4 + c->bx * c->nv + 4) * (int)sizeof(float);
}

static bool valid(const struct gemm_config *c)
{
    bool sizes = c->im >= 1 && c->im <= 16 && c->nv >= 1 && c->nv <= 16;
    if (c->engine == GEMM_TILE)
        return sizes && c->step >= 4 && c->step <= 64;
    if (c->engine == GEMM_REGISTERS)
        return sizes && (c->vw == 4 || c->vw == 8 || c->vw == 16) && c->group >= 1 && c->group <= 256;
    if (c->engine == GEMM_BLOCK) {
        int items = c->bx * c->by, quads_a = c->by * c->im * c->step / 4,
            quads_b = c->bx * c->nv * c->step / 4;
        bool whole = items > 0 && quads_a % items == 0 && quads_b % items == 0;
        bool step = c->step == 4 || c->step == 8 || c->step == 16 || c->step == 32;
        return sizes && c->im % 4 == 0 && c->nv % 4 == 0 && c->bx >= 1 && c->by >= 1 && items <= GROUP &&
               step && whole && block_local_bytes(c) <= 48 << 10;
    }
    if (c->engine == GEMM_MATRIX)
        return fdit_matrix_valid(c);
    return c->engine == GEMM_CLBLAST || c->engine == GEMM_DEFAULT;
}

/* The unit's name behind "matrix"; *text goes behind it. */
static bool parse_unit(const char **text, struct gemm_config *c)
{
    static const char emulated[] = "emulated-";
    char name[32];
    int used = 0;
    if (sscanf(*text, " %31[a-z0-9-]%n", name, &used) != 1)
        return false;
    bool is_emulated = strncmp(name, emulated, sizeof emulated - 1) == 0;
    const struct matrix_unit *unit = fdit_matrix_unit_find(is_emulated ? name + sizeof emulated - 1 : name);
    if (unit)
        *c = fdit_matrix_config(unit, is_emulated);
    *text += used;
    return unit != NULL;
}

/* The number that `key` names; NULL: there is none. */
static int *config_field(struct gemm_config *c, const char *key)
{
    const struct {
        const char *key;
        int *field;
    } fields[] = { { "im", &c->im }, { "nv", &c->nv },       { "step", &c->step },   { "bx", &c->bx },
                   { "by", &c->by }, { "vw", &c->vw },       { "group", &c->group }, { "tm", &c->tm },
                   { "tn", &c->tn }, { "waves", &c->waves }, { "parts", &c->parts } };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(key, fields[i].key) == 0)
            return fields[i].field;
    return NULL;
}

bool fdit_gemm_config_parse(const char *text, struct gemm_config *out)
{
    struct gemm_config c = { .im = 4, .nv = 4, .step = 16, .vw = 4, .group = 8, .bx = 16, .by = 16 };
    char name[16], key[8];
    int used = 0, value;
    if (sscanf(text, "%15s%n", name, &used) != 1)
        return false;
    bool known = false;
    for (int e = GEMM_DEFAULT; e <= GEMM_MATRIX; e++)
        if (strcmp(name, engine_names[e]) == 0) {
            c.engine = (enum gemm_engine)e;
            known = true;
        }
    if (!known)
        return false;
    text += used;
    if (c.engine == GEMM_MATRIX && !parse_unit(&text, &c))
        return false;
    for (; sscanf(text, " %7[a-z]=%d%n", key, &value, &used) == 2; text += used) {
        int *field = config_field(&c, key);
        if (!field)
            return false;
        *field = value;
    }
    if (text[strspn(text, " \n")] || !valid(&c))
        return false;
    *out = c;
    return true;
}

/* Whether B, the side that is read by vectors, has to be made by transposing x or dy. */
static bool swapped(const struct gemm_shape *s)
{
    return (s->kind == GEMM_FORWARD && s->plain) || (s->kind == GEMM_DX && !s->plain);
}

static int ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

/* Narrower items where the result has fewer rows or columns than a whole one. */
static void fit(struct gemm_config *c, int rows, int columns)
{
    while (c->vw > 4 && columns <= c->vw / 2)
        c->vw /= 2;
    if (c->nv > ceil_div(columns, c->vw))
        c->nv = ceil_div(columns, c->vw);
    while (c->im > 1 && rows < c->im)
        c->im = c->im > 4 ? 4 : c->im / 2;
}

/* A smaller tile where the default's would leave compute units without work. */
static void block_fit(const struct opencl *cl, const struct gemm_shape *s, struct gemm_config *c)
{
    long long tiles = (long long)ceil_div(s->M, c->by * c->im) * ceil_div(s->N, c->bx * c->nv);
    if (tiles < cl->compute_units)
        c->im = 4;
}

struct gemm_config fdit_gemm_default(const struct opencl *cl, const struct gemm_shape *s)
{
    return default_config(cl, swapped(s));
}

/* Whole numbers are multiplied by these alone; the bits are the same. */
static struct gemm_config fitted_int8(const struct opencl *cl, const struct gemm_shape *s,
                                      struct gemm_config c, bool wanted)
{
    if (c.engine == GEMM_MATRIX)
        return c;
    if (c.engine != GEMM_REGISTERS && c.engine != GEMM_BLOCK) {
        c = default_config(cl, false);
        wanted = false;
    }
    if (c.engine == GEMM_REGISTERS)
        fit(&c, s->M, s->N);
    else if (!wanted)
        block_fit(cl, s, &c);
    return c;
}

/* A configuration of ours, made to fit the shape. */
static struct gemm_config fitted(const struct opencl *cl, const struct gemm_shape *s, struct gemm_config c,
                                 bool wanted)
{
    static const struct gemm_config fallback = { .engine = GEMM_TILE, .im = 4, .nv = 4, .step = 16 };
    if (s->operands == FDIT_I8)
        return fitted_int8(cl, s, c, wanted);
    if (c.engine == GEMM_REGISTERS) {
        /* Rows of B that are not whole vectors can only be padded where they are made or kept by
         * us. */
        bool padded = swapped(s) || (s->kind == GEMM_FORWARD && !s->plain);
        if (!padded && s->N % c.vw)
            c = fallback;
        else
            fit(&c, swapped(s) ? s->N : s->M, swapped(s) ? s->M : s->N);
    }
    if (c.engine == GEMM_BLOCK && (s->M < 32 || s->N < 32))
        c = fallback;
    if (c.engine == GEMM_BLOCK && !wanted)
        block_fit(cl, s, &c);
    if (c.engine == GEMM_TILE && s->vectors && s->kind != GEMM_DW)
        c.im = 1;
    return c;
}

/* What was tuned for the shape, NULL: nothing. A tile for many rows is not good for one. */
bool fdit_gemm_same_product(const struct gemm_shape *a, const struct gemm_shape *b)
{
    return a->kind == b->kind && a->plain == b->plain && a->storage == b->storage &&
           a->operands == b->operands && a->N == b->N && (a->K == b->K || a->kind == GEMM_DW);
}

int fdit_gemm_tuned_index(const struct opencl *cl, const struct gemm_shape *s)
{
    int i = 0;
    for (; i < cl->n_tuned; i++) {
        const struct gemm_tuned *t = &cl->tuned[i];
        struct gemm_shape of = { .kind = t->kind,
                                 .plain = t->plain,
                                 .storage = t->storage,
                                 .N = t->N,
                                 .K = t->K,
                                 .operands = t->operands };
        if (fdit_gemm_same_product(&of, s))
            break;
    }
    return i;
}

/* A unit's tile counts where the unit has passed its trial, in this precision. */
static const struct gemm_config *tuned_for(const struct opencl *cl, const struct gemm_shape *s)
{
    int i = s->vectors ? cl->n_tuned : fdit_gemm_tuned_index(cl, s);
    const struct gemm_config *c = i < cl->n_tuned ? &cl->tuned[i].config : NULL,
                             *unit = fdit_gemm_unit(cl, s->operands);
    bool refused =
        c && c->engine == GEMM_MATRIX && !(unit && unit->unit == c->unit && unit->emulated == c->emulated);
    return refused ? NULL : c;
}

const struct gemm_config *fdit_gemm_unit(const struct opencl *cl, enum fdit_dtype operands)
{
    const int at = opencl_unit_place(operands);
    return at >= 0 && cl->units[at].config.engine == GEMM_MATRIX ? &cl->units[at].config : NULL;
}

struct gemm_config fdit_gemm_choose(const struct opencl *cl, const struct gemm_shape *s)
{
    const struct gemm_config *tuned = tuned_for(cl, s), *unit = fdit_gemm_unit(cl, s->operands);
    bool forced = cl->gemm_forced.engine != GEMM_DEFAULT;
    struct gemm_config c = forced  ? cl->gemm_forced
                           : tuned ? *tuned /* tune measured it beside the unit */
                           : unit  ? *unit
                                   : fdit_gemm_default(cl, s);
    if (c.engine == GEMM_MATRIX && !s->vectors) { /* rows of tokens */
        if (!c.parts)
            c.parts = fdit_matrix_parts(s->operands);
        fdit_matrix_fit(&c, cl->local_bytes);
        return c;
    }
    if (c.engine == GEMM_CLBLAST || c.engine == GEMM_MATRIX) {
        if (c.engine == GEMM_CLBLAST && cl->clblast.on && s->storage == FDIT_F32 && s->operands == FDIT_F32 &&
            !s->vectors)
            return c;
        c = fdit_gemm_default(cl, s);
        forced = false;
        tuned = NULL;
    }
    return fitted(cl, s, c, forced || tuned);
}

/* C [m = N][n = M] of clblast.h, but for the buffers. */
static struct clblast_product clblast_of(const struct gemm_shape *s, int ldw)
{
    return (struct clblast_product){
        .m = (size_t)s->N,
        .n = (size_t)s->M,
        .k = (size_t)s->K,
        .a_transposed = swapped(s),
        .b_transposed = s->kind == GEMM_DW,
        .lda = (size_t)ldw,
        .ldb = (size_t)(s->kind == GEMM_DW ? s->M : s->K),
        .ldc = (size_t)s->N,
    };
}

/* The length of a row of the matrix: [n_in][ld] as a weight object, else [n_out][n_in]. */
static int matrix_ld(const struct opencl *cl, const struct gemm_shape *s)
{
    int n_out = s->kind == GEMM_FORWARD ? s->N : s->K, n_in = s->kind == GEMM_FORWARD ? s->K : s->N;
    return s->plain ? n_in : gemm_ld(cl, n_out);
}

size_t fdit_gemm_matrix_floats(const struct opencl *cl, const struct gemm_shape *s)
{
    int rows = s->kind == GEMM_DW ? s->K
               : s->plain         ? (s->kind == GEMM_FORWARD ? s->N : s->K)
                                  : (s->kind == GEMM_FORWARD ? s->K : s->N);
    return (size_t)rows * (size_t)matrix_ld(cl, s);
}

size_t fdit_gemm_workspace(const struct opencl *cl, const struct gemm_shape *s)
{
    struct gemm_config c = fdit_gemm_choose(cl, s);
    size_t n, most = 0;
    if (s->operands == FDIT_I8)
        return fdit_int8_workspace(s->M, s->K);
    if (c.engine == GEMM_CLBLAST) { /* some calls of the shape are left to ours: run_product */
        struct clblast_product p = clblast_of(s, matrix_ld(cl, s));
        most = fdit_clblast_workspace(cl, &p);
        c = fitted(cl, s, fdit_gemm_default(cl, s), false);
    }
    if (c.engine != GEMM_REGISTERS || !swapped(s))
        return most;
    if (!fdit_mul((size_t)gemm_ld(cl, s->M), (size_t)s->K, &n) || !fdit_mul(n, sizeof(float), &n))
        return SIZE_MAX;
    return n > most ? n : most;
}

/* ------------------------------------------------------------------------------------- builds */

static int storage_number(enum fdit_dtype storage)
{
    return storage == FDIT_F16 ? 1 : storage == FDIT_BF16 ? 2 : storage == FDIT_I8 ? 3 : 0;
}

/* ROUND of cl/prelude.cl. */
static int round_number(enum fdit_dtype operands)
{
    return operands == FDIT_F16 ? 1 : operands == FDIT_BF16 ? 2 : 0;
}

/* What a build of linear_block.cl or linear_matrix.cl fixes beyond its tile: see the heads of those files. */
struct block_build {
    bool aligned, slope;
    int act;
};

static const struct program_state *block_for(fdit_device *dev, const struct gemm_shape *s,
                                             const struct gemm_config *c, const struct block_build *b)
{
    char options[VARIANT_OPTIONS], tile[120], int8[24] = "";
    if (s->operands == FDIT_I8)
        snprintf(int8, sizeof int8, " -DINT8 -DDOT=%d", opencl_of(dev)->dot);
    if (c->engine == GEMM_MATRIX) {
        fdit_matrix_options(c, tile);
        snprintf(options, sizeof options, "%s -DPARTS=%d -DW_TYPE=%d -DACT=%d%s%s%s%s%s", tile, c->parts,
                 storage_number(s->storage), b->act,
                 s->operands == FDIT_F16  ? " -DF16"
                 : s->operands == FDIT_I8 ? " -DINT8"
                                          : "",
                 b->slope ? " -DSLOPE" : "", b->aligned ? " -DALIGNED" : "",
                 s->kind == GEMM_DW ? " -DA_COLUMNS" : "", swapped(s) ? "" : " -DB_ROWS");
        return fdit_opencl_variant(dev, "linear_matrix.cl", "linear_matrix", options);
    }
    snprintf(options, sizeof options,
             "-DBX=%d -DBY=%d -DIM=%d -DIN=%d -DTK=%d -DUNROLL=%d -DROUND=%d -DW_TYPE=%d "
             "-DACT=%d%s%s%s%s%s",
             c->bx, c->by, c->im, c->nv, c->step, opencl_of(dev)->quirks.unroll, round_number(s->operands),
             storage_number(s->storage), b->act, b->slope ? " -DSLOPE" : "", b->aligned ? " -DALIGNED" : "",
             s->kind == GEMM_DW ? " -DA_COLUMNS" : "", swapped(s) ? "" : " -DB_ROWS", int8);
    return fdit_opencl_variant(dev, "linear_block.cl", "linear_block", options);
}

static const struct program_state *build_for(fdit_device *dev, const struct gemm_shape *s,
                                             const struct gemm_config *c)
{
    char options[VARIANT_OPTIONS];
    const char *a = s->kind == GEMM_DW ? " -DA_COLUMNS" : "";
    if (c->engine == GEMM_REGISTERS) {
        snprintf(options, sizeof options, "-DIM=%d -DVW=%d -DNV=%d -DGROUP_M=%d -DROUND=%d -DW_TYPE=%d%s%s%s",
                 c->im, c->vw, c->nv, c->group, round_number(s->operands), storage_number(s->storage), a,
                 swapped(s) ? " -DSWAPPED" : "", s->operands == FDIT_I8 ? " -DINT8" : "");
        return fdit_opencl_variant(dev, "linear_registers.cl", "linear_registers", options);
    }
    snprintf(options, sizeof options, "-DITEM_M=%d -DITEM_N=%d -DTK=%d -DROUND=%d -DW_TYPE=%d%s%s", c->im,
             c->nv, c->step, round_number(s->operands), storage_number(s->storage), a,
             swapped(s) ? "" : " -DB_ROWS");
    return fdit_opencl_variant(dev, "linear.cl", "linear", options);
}

void fdit_gemm_prepare(fdit_device *dev, const struct gemm_shape *s)
{
    struct gemm_config c = fdit_gemm_choose(opencl_of(dev), s);
    if (s->operands == FDIT_I8)
        fdit_opencl_program_need(dev, PROGRAM_QUANTISE);
    if (c.engine == GEMM_CLBLAST) {
        fdit_opencl_variant(dev, "epilogue.cl", "epilogue", "");
        c = fitted(opencl_of(dev), s, fdit_gemm_default(opencl_of(dev), s), false);
    }
    if (c.engine == GEMM_BLOCK || c.engine == GEMM_MATRIX) {
        /* a plan does not say which have an activation: GELU, if any */
        struct block_build b = { .aligned = s->N % 4 == 0 && s->K % 4 == 0 && s->M % 4 == 0 };
        block_for(dev, s, &c, &b);
        b.act = FDIT_ACT_GELU_TANH;
        b.slope = s->kind == GEMM_DX;
        if (s->kind != GEMM_DW)
            block_for(dev, s, &c, &b);
        return;
    }
    build_for(dev, s, &c);
    if (c.engine == GEMM_REGISTERS && swapped(s))
        fdit_opencl_program_need(dev, PROGRAM_TRANSPOSE);
}

/* A plan does not say which of its matrices are frozen: both ways are made ready. */
static struct gemm_shape shape_of(const struct fdit_op_shape *shape, bool plain)
{
    struct gemm_shape s = { .plain = plain,
                            .vectors = shape->tokens == 1 && !shape->band,
                            .M = shape->samples * shape->tokens };
    s.kind = shape->op == FDIT_OP_LINEAR ? GEMM_FORWARD : shape->op == FDIT_OP_LINEAR_DX ? GEMM_DX : GEMM_DW;
    s.N = s.kind == GEMM_FORWARD ? shape->n_out : shape->n_in;
    s.K = s.kind == GEMM_FORWARD ? shape->n_in : shape->n_out;
    if (s.kind == GEMM_DW) {
        s.K = s.M;
        s.M = shape->n_out;
    }
    return s;
}

/* What the device's precision rounds to. Gradients have bf16's range and not f16's: in f16 they would need a
 * scale that changes with the loss. In int8 rows of tokens by weights that are kept so are multiplied as
 * whole numbers, and all else is as in bf16: vectors scale whole channels. */
enum fdit_dtype fdit_gemm_operands(const fdit_device *dev, const struct gemm_shape *s)
{
    if (dev->precision == FDIT_F16)
        return s->kind == GEMM_FORWARD ? FDIT_F16 : FDIT_BF16;
    if (dev->precision == FDIT_I8)
        return s->kind == GEMM_FORWARD && !s->plain && s->storage == FDIT_I8 && !s->vectors ? FDIT_I8
                                                                                            : FDIT_BF16;
    return dev->precision == FDIT_BF16 || dev->precision == FDIT_BF16X3 ? dev->precision : FDIT_F32;
}

int fdit_gemm_shapes_of(const struct fdit_op_shape *op, struct gemm_shape out[2])
{
    bool dw = op->op == FDIT_OP_LINEAR_DW;
    if (op->op != FDIT_OP_LINEAR && op->op != FDIT_OP_LINEAR_DX && !dw)
        return 0;
    out[0] = shape_of(op, op->plain || dw);
    out[1] = shape_of(op, true);
    return out[0].plain ? 1 : 2;
}

bool fdit_gemm_unsaid(struct opencl *cl, const int what[4])
{
    for (int i = 0; i < cl->n_chosen; i++)
        if (memcmp(cl->chosen[i], what, sizeof cl->chosen[i]) == 0)
            return false;
    if (cl->n_chosen == TUNED)
        return false;
    memcpy(cl->chosen[cl->n_chosen++], what, sizeof cl->chosen[0]);
    return true;
}

/* What computes a product, for --verbose, once a shape. */
static void say_choice(struct opencl *cl, const struct gemm_shape *s)
{
    static const char *const names[] = { "forward", "dX", "dW" };
    const int said[] = { (int)s->kind, s->M, s->N, s->K };
    char text[GEMM_TEXT];
    if (!fdit_gemm_unsaid(cl, said))
        return;
    struct gemm_config c = fdit_gemm_choose(cl, s);
    fdit_gemm_config_text(&c, text);
    fdit_log(cl->ctx, FDIT_LOG_INFO, "%s: %s %dx%dx%d by %s%s", cl->label, names[s->kind], s->M, s->N, s->K,
             text, tuned_for(cl, s) ? " (tuned)" : "");
}

void fdit_opencl_linear_prepare(fdit_device *dev, const struct fdit_op_shape *shape)
{
    struct gemm_shape s = shape_of(shape, shape->plain || shape->op == FDIT_OP_LINEAR_DW);
    const struct fdit_weight_desc usual = { .n_out = shape->n_out, .n_in = shape->n_in };
    if (!s.plain)
        s.storage = fdit_opencl_weight_storage(dev, &usual);
    s.operands = fdit_gemm_operands(dev, &s);
    say_choice(opencl_of(dev), &s);
    fdit_gemm_prepare(dev, &s);
}

size_t fdit_opencl_linear_workspace(fdit_device *dev, const struct fdit_op_shape *shape)
{
    struct gemm_shape plain = shape_of(shape, true), frozen = shape_of(shape, false);
    plain.operands = frozen.operands = fdit_gemm_operands(dev, &plain);
    size_t a = fdit_gemm_workspace(opencl_of(dev), &plain), b = fdit_gemm_workspace(opencl_of(dev), &frozen);
    if (!shape->plain) { /* a weight may be kept as int8, which is not known here */
        frozen.storage = FDIT_I8;
        frozen.operands = fdit_gemm_operands(dev, &frozen);
        const size_t c = frozen.operands == FDIT_I8 ? fdit_gemm_workspace(opencl_of(dev), &frozen) : 0;
        a = c > a ? c : a;
    }
    if (shape->samples < 1 || shape->tokens < 1 || shape->op == FDIT_OP_LINEAR_DW)
        return 0;
    return a > b ? a : b;
}

/* -------------------------------------------------------------------------------------- calls */

struct product {
    struct gemm_shape shape;
    struct fdit_tensor y, a, bias, add, pre, gate, residual;
    cl_mem w; /* the matrix, or x for the gradient of one */
    size_t w_at, scales;
    int ldw;
    int rows, gate_stride;
    unsigned flags;
};

/* A: its tensor, or where quantise.cl has left it, in elements of so many bytes. */
static void launch_rows(struct launch *l, const struct product *p, size_t element)
{
    if (p->shape.operands == FDIT_I8)
        fdit_launch_memory(l, opencl_of(l->dev)->workspace, int8_rows_at(p->shape.M) / element);
    else
        fdit_launch_tensor(l, p->a);
}

/* K: as the kernel counts. */
static void launch_epilogue(struct launch *l, const struct product *p, int K, int lda, int ldb)
{
    fdit_launch_memory(l, p->w, p->scales);
    fdit_launch_tensor(l, p->bias);
    fdit_launch_tensor(l, p->pre);
    fdit_launch_tensor(l, p->gate);
    fdit_launch_tensor(l, p->residual);
    fdit_launch_tensor(l, p->add);
    fdit_launch_int(l, p->shape.M);
    fdit_launch_int(l, p->shape.N);
    fdit_launch_int(l, K);
    fdit_launch_int(l, lda);
    fdit_launch_int(l, ldb);
    fdit_launch_int(l, p->rows);
    fdit_launch_int(l, p->gate_stride);
    fdit_launch_uint(l, p->flags);
    if (p->shape.operands != FDIT_I8)
        return;
    fdit_launch_memory(l, opencl_of(l->dev)->workspace, 0);
    fdit_launch_int(l, p->shape.K);
}

static void run_tile(fdit_device *dev, const struct product *p, const struct gemm_config *c)
{
    const struct gemm_shape *s = &p->shape;
    struct launch l = fdit_launch_variant(dev, build_for(dev, s, c), "linear");
    size_t group = (size_t)opencl_of(dev)->group, side = group / 16;
    size_t tile_m = side * (size_t)c->im, tile_n = 16 * (size_t)c->nv;
    fdit_launch_tensor(&l, p->y);
    fdit_launch_tensor(&l, p->a);
    fdit_launch_memory(&l, p->w, p->w_at);
    launch_epilogue(&l, p, s->K, s->kind == GEMM_DW ? s->M : s->K, p->ldw);
    fdit_launch_run(
        &l, 2,
        (size_t[]){ ((size_t)s->N + tile_n - 1) / tile_n * 16, ((size_t)s->M + tile_m - 1) / tile_m * side },
        (size_t[]){ 16, side });
}

static bool fours(struct fdit_tensor t)
{
    return !fdit_has(t) || t.offset % 4 == 0;
}

static void run_block(fdit_device *dev, const struct product *p, const struct gemm_config *c)
{
    const struct gemm_shape *s = &p->shape;
    const bool int8 = s->operands == FDIT_I8;
    int lda = int8 ? (int)int8_ld(s->K) / 4 : s->kind == GEMM_DW ? s->M : s->K;
    int K = !int8 ? s->K : c->engine == GEMM_MATRIX ? 2 * lda : lda;
    unsigned act = p->flags >> LINEAR_ACT;
    struct block_build b = {
        .aligned = lda % 4 == 0 && p->ldw % 4 == 0 && s->N % 4 == 0 && (s->kind == GEMM_DW || K % 4 == 0) &&
                   p->gate_stride % 4 == 0 && p->w_at % 4 == 0 && p->scales % 4 == 0 && fours(p->y) &&
                   fours(p->a) && fours(p->bias) && fours(p->add) && fours(p->pre) && fours(p->gate) &&
                   fours(p->residual),
        .slope = p->flags >> LINEAR_SLOPE & 1u,
        .act = (int)act,
    };
    bool matrix = c->engine == GEMM_MATRIX;
    const char *kernel = matrix ? "linear_matrix" : "linear_block";
    struct launch l = fdit_launch_variant(dev, block_for(dev, s, c, &b), kernel);
    fdit_launch_tensor(&l, p->y);
    launch_rows(&l, p, sizeof(cl_uint));
    fdit_launch_memory(&l, p->w, p->w_at);
    launch_epilogue(&l, p, K, lda, p->ldw);
    if (matrix) {
        fdit_launch_run(
            &l, 2,
            (size_t[]){ (size_t)ceil_div(s->N, c->tn) * (size_t)c->group, (size_t)ceil_div(s->M, c->tm) },
            (size_t[]){ (size_t)c->group, 1 });
        return;
    }
    fdit_launch_run(&l, 2,
                    (size_t[]){ (size_t)ceil_div(s->N, c->bx * c->nv) * (size_t)c->bx,
                                (size_t)ceil_div(s->M, c->by * c->im) * (size_t)c->by },
                    (size_t[]){ (size_t)c->bx, (size_t)c->by });
}

/* from [M][K] to the workspace, [K][gemm_ld(M)]. */
static void run_transpose(fdit_device *dev, const struct product *p)
{
    struct opencl *cl = opencl_of(dev);
    int M = p->shape.M, K = p->shape.K, ld = gemm_ld(cl, M), side = cl->is_cpu ? 16 : 4;
    struct launch l = fdit_launch_begin(dev, PROGRAM_TRANSPOSE, KERNEL_TRANSPOSE);
    fdit_launch_memory(&l, cl->workspace, 0);
    fdit_launch_tensor(&l, p->a);
    fdit_launch_memory(&l, p->w, p->scales);
    fdit_launch_int(&l, M);
    fdit_launch_int(&l, K);
    fdit_launch_int(&l, ld);
    fdit_launch_int(&l, p->shape.storage == FDIT_I8);
    fdit_launch_run(&l, 2, (size_t[]){ (size_t)ceil_div(K, side), (size_t)ceil_div(ld, side) },
                    (size_t[]){ TRANSPOSE_ITEMS, TRANSPOSE_ITEMS });
}

static void run_registers(fdit_device *dev, const struct product *p, const struct gemm_config *c)
{
    struct opencl *cl = opencl_of(dev);
    const struct gemm_shape *s = &p->shape;
    bool swap = swapped(s);
    int rows = swap ? s->N : s->M, columns = swap ? s->M : s->N;
    if (swap)
        run_transpose(dev, p);
    struct launch l = fdit_launch_variant(dev, build_for(dev, s, c), "linear_registers");
    fdit_launch_tensor(&l, p->y);
    if (swap) {
        fdit_launch_memory(&l, p->w, p->w_at);
        fdit_launch_memory(&l, cl->workspace, 0);
        launch_epilogue(&l, p, s->K, p->ldw, gemm_ld(cl, s->M));
    } else {
        const bool int8 = s->operands == FDIT_I8;
        launch_rows(&l, p, 1);
        fdit_launch_memory(&l, p->w, p->w_at);
        launch_epilogue(&l, p, s->K, int8 ? (int)int8_ld(s->K) : s->kind == GEMM_DW ? s->M : s->K, p->ldw);
    }
    fdit_launch_run(&l, 2,
                    (size_t[]){ (size_t)ceil_div(rows, c->im), (size_t)ceil_div(columns, c->vw * c->nv) },
                    (size_t[]){ (size_t)c->group, 1 });
}

/* Whether the tensor has floats of the result. */
static bool overlaps(const struct product *p, struct fdit_tensor t)
{
    size_t n = (size_t)p->shape.M * (size_t)p->shape.N;
    return fdit_has(t) && t.buffer == p->y.buffer && t.offset < p->y.offset + n && p->y.offset < t.offset + n;
}

/* CLBlast writes the result before what is fused is read, and its scratch is the workspace, where a
 * convolution's patches lie. */
static bool fits_clblast(const struct opencl *cl, const struct product *p)
{
    bool more = (p->flags & ~1u) != 0, beta = (p->flags & 1u) != 0;
    return p->a.buffer->handle != cl->workspace && !(more && beta) && !overlaps(p, p->residual) &&
           !overlaps(p, p->pre);
}

static void run_clblast(fdit_device *dev, const struct product *p)
{
    struct clblast_product c = clblast_of(&p->shape, p->ldw);
    c.a = p->w;
    c.a_at = p->w_at;
    c.b = p->a.buffer->handle;
    c.b_at = p->a.offset;
    c.c = p->y.buffer->handle;
    c.c_at = p->y.offset;
    c.beta = (p->flags & 1u) != 0;
    fdit_clblast_run(dev, &c);
    if (!(p->flags & ~1u))
        return;
    struct launch l =
        fdit_launch_variant(dev, fdit_opencl_variant(dev, "epilogue.cl", "epilogue", ""), "epilogue");
    fdit_launch_tensor(&l, p->y);
    fdit_launch_tensor(&l, p->bias);
    fdit_launch_tensor(&l, p->pre);
    fdit_launch_tensor(&l, p->gate);
    fdit_launch_tensor(&l, p->residual);
    fdit_launch_tensor(&l, p->add);
    fdit_launch_int(&l, p->shape.M);
    fdit_launch_int(&l, p->shape.N);
    fdit_launch_int(&l, p->rows);
    fdit_launch_int(&l, p->gate_stride);
    fdit_launch_uint(&l, p->flags);
    fdit_launch_run(&l, 2, (size_t[]){ (size_t)p->shape.N, (size_t)p->shape.M }, (size_t[]){ 64, 1 });
}

static void run_config(fdit_device *dev, const struct product *p, struct gemm_config c)
{
    struct opencl *cl = opencl_of(dev);
    if (c.engine == GEMM_CLBLAST && !fits_clblast(cl, p))
        c = fitted(cl, &p->shape, fdit_gemm_default(cl, &p->shape), false);
    if (p->shape.operands == FDIT_I8)
        fdit_int8_quantise(dev, p->a, p->shape.M, p->shape.K);
    if (c.engine == GEMM_CLBLAST)
        run_clblast(dev, p);
    else if (c.engine == GEMM_REGISTERS)
        run_registers(dev, p, &c);
    else if (c.engine == GEMM_BLOCK || c.engine == GEMM_MATRIX)
        run_block(dev, p, &c);
    else
        run_tile(dev, p, &c);
}

static void run_product(fdit_device *dev, struct product *p)
{
    p->shape.operands = fdit_gemm_operands(dev, &p->shape);
    run_config(dev, p, fdit_gemm_choose(opencl_of(dev), &p->shape));
}

struct fdit_weight_desc fdit_gemm_weight_desc(const struct gemm_shape *s)
{
    const bool forward = s->kind == GEMM_FORWARD;
    return (struct fdit_weight_desc){ .storage = s->storage,
                                      .n_out = forward ? s->N : s->K,
                                      .n_in = forward ? s->K : s->N };
}

void fdit_gemm_run(fdit_device *dev, const struct gemm_shape *s, cl_mem w, fdit_buffer *a, fdit_buffer *y,
                   const struct gemm_config *config)
{
    struct opencl *cl = opencl_of(dev);
    struct product p = { .shape = *s,
                         .y = fdit_tensor_of(y, FDIT_F32),
                         .a = fdit_tensor_of(a, FDIT_F32),
                         .w = w,
                         .ldw = matrix_ld(cl, s),
                         .rows = 1 };
    const struct fdit_weight_desc desc = fdit_gemm_weight_desc(s);
    if (s->storage == FDIT_I8)
        p.scales = fdit_opencl_weight_scales(cl, &desc);
    bool clblast = config->engine == GEMM_CLBLAST && s->operands != FDIT_I8;
    run_config(dev, &p, clblast ? *config : fitted(cl, s, *config, true));
}

static void take_matrix(const fdit_device *dev, struct product *p, const fdit_weight *weight,
                        struct fdit_tensor matrix, int n_out, int n_in)
{
    const struct opencl *cl = opencl_of(dev);
    bool ours = weight && !opencl_weight_is_plain(cl, &weight->desc);
    p->shape.plain = !ours;
    p->w = weight ? weight->handle : matrix.buffer->handle;
    p->w_at = weight ? 0 : matrix.offset;
    p->ldw = ours ? gemm_ld(cl, n_out) : n_in;
    if (!ours)
        return;
    p->shape.storage = fdit_opencl_weight_storage(dev, &weight->desc);
    p->scales = p->shape.storage == FDIT_I8 ? fdit_opencl_weight_scales(cl, &weight->desc) : 0;
}

void fdit_opencl_linear(fdit_device *dev, const struct fdit_linear_args *a)
{
    struct product p = { .shape = { .kind = GEMM_FORWARD,
                                    .vectors = a->tokens == 1 && !a->band,
                                    .M = a->samples * a->tokens,
                                    .N = a->n_out,
                                    .K = a->n_in },
                         .rows = a->tokens,
                         .gate_stride = a->gate_stride,
                         .y = a->y,
                         .a = a->x,
                         .bias = a->bias,
                         .add = a->add,
                         .pre = a->pre,
                         .gate = a->gate,
                         .residual = a->residual };
    take_matrix(dev, &p, a->weight, a->matrix, a->n_out, a->n_in);
    p.flags = BIT(a->beta, LINEAR_BETA) | BIT(fdit_has(a->bias), LINEAR_BIAS) |
              BIT(fdit_has(a->add), LINEAR_ADD) | BIT(fdit_has(a->pre), LINEAR_PRE) |
              BIT(fdit_has(a->gate), LINEAR_GATE) | BIT(fdit_has(a->residual), LINEAR_RESIDUAL) |
              BIT(a->residual_shared, LINEAR_SHARED) | (unsigned)a->act << LINEAR_ACT;
    run_product(dev, &p);
}

void fdit_opencl_linear_dx(fdit_device *dev, const struct fdit_linear_dx_args *a)
{
    struct product p = { .shape = { .kind = GEMM_DX,
                                    .vectors = a->tokens == 1 && !a->band,
                                    .M = a->samples * a->tokens,
                                    .N = a->n_in,
                                    .K = a->n_out },
                         .rows = a->tokens,
                         .y = a->dx,
                         .a = a->dy,
                         .add = a->add,
                         .pre = a->pre };
    take_matrix(dev, &p, a->weight, a->matrix, a->n_out, a->n_in);
    p.flags = BIT(a->beta, LINEAR_BETA) | BIT(a->act != FDIT_ACT_NONE, LINEAR_SLOPE) |
              BIT(fdit_has(a->add), LINEAR_ADD) | (unsigned)a->act << LINEAR_ACT;
    run_product(dev, &p);
}

void fdit_opencl_linear_dw(fdit_device *dev, const struct fdit_linear_dw_args *a)
{
    struct product p = {
        .shape = { .kind = GEMM_DW, .plain = true, .M = a->n_out, .N = a->n_in, .K = a->samples * a->tokens },
        .rows = 1,
        .y = a->dw,
        .a = a->dy,
        .w = a->x.buffer->handle,
        .w_at = a->x.offset,
        .ldw = a->n_in,
        .flags = BIT(a->beta, LINEAR_BETA)
    };
    run_product(dev, &p);
}
