/* SPDX-License-Identifier: Apache-2.0
 * tune.c: measuring products and keeping what is fastest.
 *
 * 1. Every product with what it uses now.
 * 2. Our engines: all configurations of the device's kind, and of the unit that passed its trial, on the
 * largest product of each kind (forward, dX, dW), then other groups for the best one; the FINALISTS best on
 * the other products.
 * 3. CLBlast: sets of parameters on all products; the set with the least sum. It has one set for
 * all.
 * 4. Each product takes the fastest. A configuration of ours has to give the bits of the default's,
 * CLBlast its numbers to rounding: compilers have been wrong.
 *
 * A time is the least of ROUNDS, each of as many runs as take ROUND_SECONDS, after one run that is
 * not counted. */
#include "tune.h"

#include "clblast.h"
#include "core/clock.h"
#include "core/mem.h"
#include "core/half.h"
#include "gemm.h"
#include "matrix.h"
#include "tuned.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 3, FINALISTS = 4, CANDIDATES = 96, MOST_RUNS = 1000, FAMILIES = 6 };
static const double round_seconds = 0.02;
/* Less is noise. */
static const double worth_a_change = 0.98;

struct subject {
    struct gemm_shape shape;
    char text[64];
    struct gemm_config before, best;
    double seconds_before, seconds;
};

/* Products that share candidates: in int8 some of a kind are of whole numbers, which have a unit's verdict of
 * their own, and some of bf16. */
struct family {
    enum gemm_kind kind;
    enum fdit_dtype operands;
    int products, n;
    struct gemm_config all[CANDIDATES];
};

struct tune {
    fdit_context *ctx;
    fdit_device *dev;
    const struct fdit_tune_options *options;
    struct subject subjects[TUNED];
    int n;
    struct family families[FAMILIES];
    int n_families;
    fdit_buffer *w, *a, *y;
    float *numbers;       /* of the matrices */
    float *host, *wanted; /* of a result */
    size_t y_floats;      /* the largest result */
    char why[256];        /* of what was refused last */
    int done, all;
};

/* ------------------------------------------------------------------------------------- subjects */

static double flops(const struct gemm_shape *s)
{
    return 2.0 * s->M * s->N * s->K;
}

/* Plain matrices only where the op says so: of frozen ones weight objects are made. */
static void take_shapes(struct tune *t, const struct fdit_op_shape *ops, size_t n)
{
    static const char *const names[] = { "forward", "dX", "dW" };
    for (size_t i = 0; i < n; i++) {
        struct gemm_shape of[2];
        if (fdit_gemm_shapes_of(&ops[i], of) == 0 || ops[i].tokens == 1)
            continue;
        of[0].storage = fdit_opencl_weight_storage(
            t->dev, &(struct fdit_weight_desc){ .n_out = ops[i].n_out, .n_in = ops[i].n_in });
        if (of[0].plain)
            of[0].storage = FDIT_F32;
        of[0].operands = fdit_gemm_operands(t->dev, &of[0]);
        struct subject s = { .shape = of[0] };
        bool known = of[0].M < 32 || of[0].N < 32;
        for (int k = 0; k < t->n; k++)
            known |= fdit_gemm_same_product(&t->subjects[k].shape, &of[0]);
        if (known || t->n == TUNED)
            continue;
        snprintf(s.text, sizeof s.text, "%s %dx%dx%d%s", names[of[0].kind], of[0].M, of[0].N, of[0].K,
                 of[0].plain && of[0].kind != GEMM_DW ? " trained" : "");
        t->subjects[t->n++] = s;
    }
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static enum fdit_status make_buffers(struct tune *t)
{
    enum fdit_status status = FDIT_OK;
    struct opencl *cl = opencl_of(t->dev);
    size_t w = 0, a = 0, scratch = 0;
    for (int i = 0; i < t->n; i++) {
        const struct gemm_shape *s = &t->subjects[i].shape;
        size_t M = (size_t)s->M, N = (size_t)s->N, K = (size_t)s->K;
        w = max_size(w, fdit_gemm_matrix_floats(cl, s));
        a = max_size(a, M * K);
        t->y_floats = max_size(t->y_floats, M * N);
        scratch = max_size(scratch, max_size(M, K) * (max_size(N, K) + 64) * 2 * sizeof(float));
    }
    size_t most = max_size(max_size(w, a), t->y_floats);
    TRY(fdit_buffer_new(t->ctx, t->dev, w * sizeof(float), "matrices to tune with", &t->w));
    TRY(fdit_buffer_new(t->ctx, t->dev, a * sizeof(float), "rows to tune with", &t->a));
    TRY(fdit_buffer_new(t->ctx, t->dev, t->y_floats * sizeof(float), "results to tune with", &t->y));
    TRY(fdit_device_reserve(t->ctx, t->dev, scratch));
    TRY(fdit_alloc(t->ctx, most, sizeof(float), &t->host));
    TRY(fdit_alloc(t->ctx, t->y_floats, sizeof(float), &t->wanted));
    TRY(fdit_alloc(t->ctx, w, sizeof(float), &t->numbers));
    uint32_t x = 1;
    for (size_t i = 0; i < most; i++) {
        x = x * 1664525u + 1013904223u;
        t->host[i] = (float)(x >> 8) / 8388608.0f - 1.0f;
    }
    memcpy(t->numbers, t->host, w * sizeof(float));
    fdit_write(t->dev, fdit_tensor_of(t->a, FDIT_F32), t->host, a);
out:
    return status;
}

/* The matrices in the type that the product's are kept in; int8: with scales of 1. */
static void give_matrix(struct tune *t, const struct gemm_shape *s)
{
    const struct fdit_weight_desc desc = fdit_gemm_weight_desc(s);
    size_t n = fdit_gemm_matrix_floats(opencl_of(t->dev), s);
    char *to = (char *)t->host; /* between two results nothing else is in it */
    if (s->storage == FDIT_F32) {
        fdit_write(t->dev, fdit_tensor_of(t->w, FDIT_F32), t->numbers, n);
        return;
    }
    for (size_t i = 0; s->storage == FDIT_I8 && i < n; i++)
        to[i] = (char)(signed char)(127 * t->numbers[i]);
    if (s->storage == FDIT_BF16)
        fdit_f32_to_bf16(n, t->numbers, (uint16_t *)(void *)to);
    else if (s->storage == FDIT_F16)
        fdit_f32_to_f16(n, t->numbers, (uint16_t *)(void *)to);
    fdit_opencl_write(t->dev, t->w, 0, to, n * fdit_dtype_bytes(s->storage));
    if (s->storage == FDIT_I8)
        fdit_fill(t->dev,
                  (struct fdit_tensor){ t->w, fdit_opencl_weight_scales(opencl_of(t->dev), &desc), FDIT_F32 },
                  (size_t)desc.n_out, 1.0f);
}

/* ------------------------------------------------------------------------------------ measuring */

static void run(struct tune *t, const struct subject *s, const struct gemm_config *c)
{
    fdit_gemm_run(t->dev, &s->shape, t->w->handle, t->a, t->y, c);
}

/* Whether the device still works; a configuration that it refuses is not an error of the tuner. */
static bool fine(struct tune *t)
{
    if (t->dev->status == FDIT_OK)
        return true;
    snprintf(t->why, sizeof t->why, "%s",
             t->dev->message ? t->dev->message : fdit_status_text(t->dev->status));
    fdit_device_clear_error(t->dev);
    return false;
}

static double seconds_of(struct tune *t, const struct subject *s, const struct gemm_config *c, int runs)
{
    double begin = fdit_clock_seconds();
    for (int i = 0; i < runs; i++)
        run(t, s, c);
    fdit_opencl_sync(t->dev);
    return (fdit_clock_seconds() - begin) / runs;
}

/* Infinite: refused. Gives up early when the first run takes three times `hopeless`. */
static double measure(struct tune *t, const struct subject *s, const struct gemm_config *c, double hopeless)
{
    give_matrix(t, &s->shape);
    run(t, s, c); /* builds it */
    fdit_opencl_sync(t->dev);
    if (!fine(t))
        return INFINITY;
    double best = seconds_of(t, s, c, 1);
    int runs = best < round_seconds / MOST_RUNS ? MOST_RUNS
               : best < round_seconds           ? (int)(round_seconds / best)
                                                : 1;
    for (int r = 0; r < ROUNDS && best < 3 * hopeless; r++) {
        double seconds = seconds_of(t, s, c, runs);
        best = seconds < best ? seconds : best;
    }
    return fine(t) ? best : INFINITY;
}

/* The usual tile of the unit that passed its trial; engine GEMM_DEFAULT: none did. */
static struct gemm_config unit_of(const struct tune *t, enum fdit_dtype operands)
{
    const struct gemm_config *unit = fdit_gemm_unit(opencl_of(t->dev), operands);
    struct gemm_config c = unit ? *unit : (struct gemm_config){ .engine = GEMM_DEFAULT };
    if (unit && !c.parts)
        c.parts = fdit_matrix_parts(operands);
    if (unit)
        fdit_matrix_fit(&c, opencl_of(t->dev)->local_bytes);
    return c;
}

/* The result is that of our default, in every bit, or to rounding; a unit's that of its usual tile. */
static bool agrees(struct tune *t, const struct subject *s, const struct gemm_config *c, bool bits)
{
    size_t n = (size_t)s->shape.M * (size_t)s->shape.N;
    struct fdit_tensor y = fdit_tensor_of(t->y, FDIT_F32);
    struct gemm_config ours = fdit_gemm_default(opencl_of(t->dev), &s->shape);
    if (c->engine == GEMM_MATRIX)
        ours = unit_of(t, s->shape.operands);
    run(t, s, &ours);
    bool read = fdit_read(t->ctx, t->dev, y, t->wanted, n) == FDIT_OK;
    fdit_fill(t->dev, y, n, NAN);
    run(t, s, c);
    read = read && fdit_read(t->ctx, t->dev, y, t->host, n) == FDIT_OK;
    if (!fine(t) || !read)
        return false;
    if (bits)
        return memcmp(t->host, t->wanted, n * sizeof(float)) == 0;
    double error = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)t->host[i] - t->wanted[i];
        error += d * d;
        size += (double)t->wanted[i] * t->wanted[i];
    }
    return error <= 1e-10 * size; /* false for NaN */
}

static enum fdit_status tell(struct tune *t, const char *what)
{
    if (fdit_stopped(t->ctx))
        return fdit_fail(t->ctx, FDIT_INTERRUPTED, "stopped while tuning; nothing was kept");
    if (t->options->on_progress)
        t->options->on_progress(t->options->user, t->done++, t->all, what);
    return FDIT_OK;
}

/* ---------------------------------------------------------------------------------- our engines */

static int add(struct gemm_config *out, int n, struct gemm_config c)
{
    char text[GEMM_TEXT];
    struct gemm_config checked;
    fdit_gemm_config_text(&c, text);
    if (n < CANDIDATES && fdit_gemm_config_parse(text, &checked))
        out[n++] = c;
    return n;
}

static int candidates(const struct opencl *cl, struct gemm_config *out)
{
    int n = 0;
    if (cl->is_cpu) { /* what 32 registers hold: more take minutes to compile, and lose */
        for (int im = 2; im <= 8; im += 2)
            for (int nv = 1; nv <= 4; nv++)
                if (im * nv >= 6 && im * nv <= 28)
                    n = add(out, n,
                            (struct gemm_config){ .engine = GEMM_REGISTERS,
                                                  .im = im,
                                                  .nv = nv,
                                                  .group = 8,
                                                  .vw = cl->vector_floats < 4 ? 4 : cl->vector_floats });
        return n;
    }
    static const int sides[][2] = { { 16, 16 }, { 16, 8 }, { 8, 16 }, { 8, 8 }, { 32, 8 } };
    for (int im = 4; im <= 8; im += 4)
        for (int nv = 4; nv <= 8; nv += 4)
            for (size_t i = 0; i < 5; i++)
                for (int step = 8; step <= 32; step *= 2) {
                    struct gemm_config c = { .engine = GEMM_BLOCK,
                                             .im = im,
                                             .nv = nv,
                                             .bx = sides[i][0],
                                             .by = sides[i][1],
                                             .step = step };
                    size_t local = (size_t)(2 * step * (c.by * im + c.bx * nv + 8)) * sizeof(float);
                    if ((size_t)(c.bx * c.by) <= cl->group_items && local <= cl->local_bytes)
                        n = add(out, n, c);
                }
    return n;
}

/* Tiles of a unit, of up to 64 numbers a work-item; an emulation's are small, as a compiler takes minutes. */
static int unit_candidates(const struct tune *t, enum fdit_dtype operands, struct gemm_config *out)
{
    int n = 0;
    static const int sides[] = { 32, 64, 128, 256 };
    const struct opencl *cl = opencl_of(t->dev);
    const struct gemm_config usual = unit_of(t, operands);
    for (int i = 0; usual.engine == GEMM_MATRIX && i < 64; i++)
        for (int waves = 1; waves <= 8; waves *= 2) {
            struct gemm_config c = usual;
            c.tm = sides[i % 4];
            c.tn = sides[i / 4 % 4];
            c.step = i / 16 % 2 ? 32 : 16;
            c.group = i / 32 ? 128 : 256;
            if (usual.emulated)
                c.group = i / 32 ? 32 : 64;
            c.waves = waves;
            int each = c.tm * c.tn / c.group;
            bool fits =
                fdit_matrix_valid(&c) && each >= 16 && each <= 64 && (size_t)c.group <= cl->group_items &&
                fdit_matrix_local_bytes(&c) <= cl->local_bytes && (!usual.emulated || c.tm * c.tn <= 4096);
            if (fits && n < CANDIDATES)
                out[n++] = c;
        }
    return n;
}

/* n becomes at most `most` (0: any number), spread evenly over the list. */
static int thin_out(struct gemm_config *list, int n, int most)
{
    if (most == 0 || most >= n)
        return n;
    for (int i = 0; i < most; i++)
        list[i] = list[(2 * i + 1) * n / (2 * most)];
    return most;
}

/* Tiles of the unit, and those of the other engines where the unit need not be the faster one. */
static void find_candidates(const struct tune *t, struct family *f)
{
    const int most = t->options->candidates;
    f->n = thin_out(f->all, unit_candidates(t, f->operands, f->all), most);
    if (f->n && f->operands != FDIT_F32)
        return;
    struct gemm_config others[CANDIDATES];
    const int n = thin_out(others, candidates(opencl_of(t->dev), others), most);
    for (int i = 0; i < n && f->n < CANDIDATES; i++)
        f->all[f->n++] = others[i];
}

static bool is_of(const struct family *f, const struct gemm_shape *s)
{
    return s->kind == f->kind && s->operands == f->operands;
}

static void find_families(struct tune *t)
{
    for (int i = 0; i < t->n; i++) {
        const struct gemm_shape *s = &t->subjects[i].shape;
        int k = 0;
        while (k < t->n_families && !is_of(&t->families[k], s))
            k++;
        struct family *f = &t->families[k];
        if (k == t->n_families) {
            *f = (struct family){ .kind = s->kind, .operands = s->operands };
            find_candidates(t, f);
            t->n_families++;
        }
        f->products++;
    }
    for (int k = 0; k < t->n_families; k++) {
        const struct family *f = &t->families[k];
        t->all += f->n + (opencl_of(t->dev)->is_cpu ? 2 : 0) +
                  (f->products - 1) * (f->n < FINALISTS ? f->n : FINALISTS);
    }
}

/* Tries one configuration on one product. */
static double try_config(struct tune *t, struct subject *s, const struct gemm_config *c)
{
    int kept = opencl_of(t->dev)->n_variants;
    double seconds = measure(t, s, c, s->seconds);
    if (seconds < s->seconds * worth_a_change && agrees(t, s, c, true)) {
        s->seconds = seconds;
        s->best = *c;
    }
    fdit_opencl_sync(t->dev);
    fdit_opencl_variants_trim(opencl_of(t->dev), kept);
    return seconds;
}

static enum fdit_status tune_family(struct tune *t, const struct family *f)
{
    enum fdit_status status = FDIT_OK;
    const struct gemm_config *all = f->all;
    const int n = f->n;
    struct subject *largest = NULL;
    double seconds[CANDIDATES];
    char what[256], config[GEMM_TEXT];
    for (int i = 0; i < t->n; i++)
        if (is_of(f, &t->subjects[i].shape) &&
            (!largest || flops(&t->subjects[i].shape) > flops(&largest->shape)))
            largest = &t->subjects[i];
    if (!largest)
        return FDIT_OK;
    for (int i = 0; i < n; i++) {
        fdit_gemm_config_text(&all[i], config);
        snprintf(what, sizeof what, "%s: %s", largest->text, config);
        TRY(tell(t, what));
        seconds[i] = try_config(t, largest, &all[i]);
    }
    for (int group = 4; largest->best.engine == GEMM_REGISTERS && group <= 16; group *= 4) {
        struct gemm_config c = largest->best;
        c.group = group;
        TRY(tell(t, largest->text));
        try_config(t, largest, &c);
    }
    for (int k = 0; k < FINALISTS && k < n; k++) {
        int best = 0;
        for (int i = 1; i < n; i++)
            if (seconds[i] < seconds[best])
                best = i;
        if (!(seconds[best] < INFINITY))
            break;
        seconds[best] = INFINITY;
        for (int i = 0; i < t->n; i++) {
            struct subject *s = &t->subjects[i];
            if (s == largest || !is_of(f, &s->shape))
                continue;
            fdit_gemm_config_text(&all[best], config);
            snprintf(what, sizeof what, "%s: %s", s->text, config);
            TRY(tell(t, what));
            try_config(t, s, &all[best]);
        }
    }
out:
    return status;
}

/* -------------------------------------------------------------------------------------- CLBlast */

struct trial {
    const char *parameters;
    bool direct;
};

static bool is_kernel(const char *row, bool direct)
{
    return strncmp(row, direct ? "XgemmDirect\t" : "Xgemm\t", direct ? 12 : 6) == 0;
}

/* The device's rows, then those of all devices, each set once, spread evenly over the table. */
static int choose_trials(const struct opencl *cl, struct trial *out, int most)
{
    int n = 0, rows = 0;
    for (int direct = 0; direct < 2 && n < most; direct++) {
        const char *row = fdit_clblast_row(cl, direct);
        if (row)
            out[n++] = (struct trial){ strrchr(row, '\t') + 1, direct };
    }
    while (fdit_clblast_rows[rows])
        rows++;
    const int step = 61; /* has no factor in common with the number of rows: each has its turn */
    for (int i = 0; i < rows && n < most; i++) {
        const char *row = fdit_clblast_rows[(int)((long)i * step % rows)],
                   *parameters = strrchr(row, '\t') + 1;
        bool direct = is_kernel(row, true), known = !fdit_clblast_row_fits(cl, parameters, direct);
        for (int k = 0; k < n; k++)
            known |= out[k].direct == direct && strcmp(out[k].parameters, parameters) == 0;
        if (!known)
            out[n++] = (struct trial){ parameters, direct };
    }
    return n;
}

static enum fdit_status tune_clblast(struct tune *t)
{
    enum fdit_status status = FDIT_OK;
    static const struct gemm_config clblast = { .engine = GEMM_CLBLAST };
    struct opencl *cl = opencl_of(t->dev);
    struct trial *trials = NULL, *best = NULL;
    char why[CLBLAST_TEXT], what[160];
    double least = INFINITY;
    int n = t->options->library_trials;
    if (!fdit_clblast_built_in() || n < 1 || t->dev->precision != FDIT_F32)
        return FDIT_OK;
    TRY(fdit_alloc(t->ctx, (size_t)n + 2, sizeof *trials, &trials));
    n = choose_trials(cl, trials, n);
    for (int i = 0; i < n; i++) {
        double sum = 0, limit = 0;
        snprintf(what, sizeof what, "CLBlast %s %.120s", trials[i].direct ? "direct" : "indirect",
                 trials[i].parameters);
        TRY(tell(t, what));
        if (!fdit_clblast_set(t->dev, trials[i].parameters, trials[i].direct, why))
            continue;
        for (int k = 0; k < t->n; k++)
            limit += t->subjects[k].seconds;
        for (int k = 0; k < t->n && sum < least && sum < 3 * limit; k++)
            sum += measure(t, &t->subjects[k], &clblast, t->subjects[k].seconds);
        if (sum < least && sum < 3 * limit) {
            least = sum;
            best = &trials[i];
        }
    }
    if (!best || !fdit_clblast_set(t->dev, best->parameters, best->direct, why)) {
        cl->clblast.on = false;
        goto out;
    }
    for (int k = 0; k < t->n; k++) {
        struct subject *s = &t->subjects[k];
        double seconds = measure(t, s, &clblast, s->seconds);
        if (seconds < s->seconds * worth_a_change && agrees(t, s, &clblast, false)) {
            s->seconds = seconds;
            s->best = clblast;
        }
    }
out:
    fdit_free(trials);
    return status;
}

/* ------------------------------------------------------------------------------------ the whole */

/* Puts the subjects' best into the table, in place of what was there for them, or of the oldest. */
static void keep(struct tune *t)
{
    struct opencl *cl = opencl_of(t->dev);
    for (int i = 0; i < t->n; i++) {
        const struct gemm_shape *s = &t->subjects[i].shape;
        int at = fdit_gemm_tuned_index(cl, s);
        if (at == TUNED)
            memmove(cl->tuned, cl->tuned + 1, (size_t)--at * sizeof *cl->tuned);
        cl->tuned[at] = (struct gemm_tuned){ .kind = s->kind,
                                             .plain = s->plain,
                                             .storage = s->storage,
                                             .operands = s->operands,
                                             .N = s->N,
                                             .K = s->kind == GEMM_DW ? 0 : s->K,
                                             .config = t->subjects[i].best };
        cl->n_tuned += at == cl->n_tuned; /* not where the oldest left */
    }
}

static void report(struct tune *t)
{
    for (int i = 0; i < t->n && t->options->on_result; i++) {
        const struct subject *s = &t->subjects[i];
        char before[GEMM_TEXT], after[GEMM_TEXT];
        fdit_gemm_config_text(&s->before, before);
        fdit_gemm_config_text(&s->best, after);
        struct fdit_tune_result r = { .what = s->text,
                                      .before = before,
                                      .after = after,
                                      .flops = flops(&s->shape),
                                      .seconds_before = s->seconds_before,
                                      .seconds_after = s->seconds };
        t->options->on_result(t->options->user, &r);
    }
}

enum fdit_status fdit_opencl_tune(fdit_context *ctx, fdit_device *dev, const struct fdit_op_shape *shapes,
                                  size_t n, const struct fdit_tune_options *options, char **where)
{
    enum fdit_status status = FDIT_OK;
    struct opencl *cl = opencl_of(dev);
    struct tune *t = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *t, &t));
    *t = (struct tune){ .ctx = ctx, .dev = dev, .options = options };
    TRY(fdit_opencl_tuned_path(ctx, dev, where)); /* before the minutes that it takes */
    take_shapes(t, shapes, n);
    if (t->n == 0)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "none of the products has 32 rows and columns");
    TRY(make_buffers(t));
    find_families(t);
    t->all += fdit_clblast_built_in() && dev->precision == FDIT_F32 ? options->library_trials : 0;
    for (int i = 0; i < t->n; i++) {
        struct subject *s = &t->subjects[i];
        s->best = s->before = fdit_gemm_choose(cl, &s->shape);
        s->seconds = s->seconds_before = measure(t, s, &s->before, INFINITY);
        TRY(fdit_device_status(ctx, dev));
        if (!(s->seconds < INFINITY))
            FAIL(ctx, FDIT_ERROR_DEVICE, "%s does not run on %s: %s", s->text, cl->label, t->why);
        /* CLBlast may get another set of parameters: it starts anew. */
        if (s->before.engine == GEMM_CLBLAST) {
            s->best = fdit_gemm_default(cl, &s->shape);
            s->seconds = measure(t, s, &s->best, INFINITY);
        }
    }
    for (int k = 0; k < t->n_families; k++)
        TRY(tune_family(t, &t->families[k]));
    TRY(tune_clblast(t));
    keep(t);
    report(t);
    TRY(fdit_opencl_tuned_save(ctx, dev, *where));
out:
    if (t) {
        fdit_free(t->wanted);
        fdit_free(t->numbers);
        fdit_free(t->host);
        fdit_buffer_free(t->y);
        fdit_buffer_free(t->a);
        fdit_buffer_free(t->w);
    }
    fdit_free(t);
    return status;
}
