/* SPDX-License-Identifier: Apache-2.0
 * gemm_problem.c: sets of kernels, problems and guards for the tests of products. */
#include "gemm_problem.h"

#include "core/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 64 };
static void add(struct table *list, int *n, struct table t)
{
    for (int i = 0; i < *n; i++)
        if (list[i].kernels == t.kernels && list[i].parts == t.parts) /* of a lesser set */
            return;
    ck_assert_int_lt(*n, MAX_TABLES);
    list[(*n)++] = t;
}

int tables(struct table *out)
{
    struct fdit_cpu_isa_entry entry;
    int n = 0;
    bool avx2 = false;
    for (int i = 0; fdit_cpu_isa_get(i, &entry); i++) {
        avx2 = avx2 || (strcmp(entry.name, "avx2") == 0 && entry.supported);
        if (entry.supported)
            add(out, &n, (struct table){ entry.name, entry.gemm_bf16 ? entry.gemm_bf16 : entry.gemm, NULL });
        if (entry.supported && entry.gemm_f32_parts)
            add(out, &n, (struct table){ "f32 in parts", entry.gemm, entry.gemm_f32_parts });
        if (entry.supported && entry.gemm_bf16x3)
            add(out, &n, (struct table){ "bf16x3", entry.gemm, entry.gemm_bf16x3 });
    }
#ifdef HAVE_AVX2
    if (avx2)
        add(out, &n, (struct table){ "wide", &fdit_cpu_gemm_kernels_wide, NULL });
#endif
    (void)avx2;
    return n;
}

float *floats(size_t n)
{
    void *p = NULL;
    ck_assert_int_eq(posix_memalign(&p, 4096, (n ? n : 1) * sizeof(float)), 0);
    return p;
}

void round_to_bf16(float *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = fdit_bf16_value(fdit_bf16_of(p[i]));
}

float *guarded(size_t n)
{
    float *p = floats(n + 2 * GUARD);
    for (size_t i = 0; i < n + 2 * GUARD; i++)
        p[i] = GUARD_VALUE;
    return p + GUARD;
}
float *guarded_scratch(size_t n)
{
    float *p = floats(n + 2 * GUARD);
    memset(p, 0xff, (n + 2 * GUARD) * sizeof *p);
    for (int i = 0; i < GUARD; i++)
        p[i] = p[n + GUARD + (size_t)i] = GUARD_VALUE;
    return p + GUARD;
}
void guarded_free(float *p, size_t n, const char *what)
{
    for (int i = 0; i < GUARD; i++) {
        ck_assert_msg(p[-1 - i] == GUARD_VALUE, "%s: written %d before its start", what, i + 1);
        ck_assert_msg(p[n + (size_t)i] == GUARD_VALUE, "%s: written %d behind its end", what, i);
    }
    free(p - GUARD);
}

/* ------------------------------------------------------------------------------ one problem */

const char *const form_names[N_FORMS] = { "linear", "linear, plain", "linear_dx", "linear_dx, plain",
                                          "linear_dw" };

void problem_pack(struct problem *p, const struct fdit_cpu_gemm_kernels *kernels, enum fdit_dtype type)
{
    /* W is [n_out, n_in]; panels run along n_out */
    int n_out = p->form == FORWARD ? p->n : p->k, n_in = p->form == FORWARD ? p->k : p->n;
    int nr = kernels->nr, panels = (n_out + nr - 1) / nr;
    size_t bytes = kernels->panel_bytes(type, n_in), rows = (size_t)panels * (size_t)nr;
    ck_assert_uint_eq(bytes % sizeof(float), 0);
    free(p->packed);
    p->packed = floats((size_t)panels * bytes / sizeof(float) + rows);
    float *scale = p->packed + (size_t)panels * bytes / sizeof(float);
    for (int i = 0; i < n_out; i += nr)
        kernels->pack_as(type, (char *)p->packed + (size_t)(i / nr) * bytes, scale + i,
                         p->b + (size_t)i * (size_t)n_in, (size_t)n_in, n_out - i < nr ? n_out - i : nr,
                         n_in);
    p->g.b = p->packed;
    p->g.b_type = type;
    p->g.b_scale = scale;
}

void problem_init(struct problem *p, const struct fdit_cpu_gemm_kernels *kernels, enum form form, int samples,
                  int rows, int n, int k, struct test_rng *rng)
{
    memset(p, 0, sizeof *p);
    p->form = form;
    p->m = samples * rows;
    p->n = n;
    p->k = k;
    p->rows = rows;
    size_t a_size = (size_t)p->m * (size_t)k, b_size = (size_t)n * (size_t)k;
    p->a = floats(a_size);
    p->b = floats(b_size);
    test_fill_normal(rng, p->a, a_size, 0.1f, 1.0f);
    test_fill_normal(rng, p->b, b_size, 0.0f, 1.0f);
    if (kernels->precision == FDIT_BF16) {
        /* Then the products are exact, and only the sums are rounded, as in f32. */
        round_to_bf16(p->a, a_size);
        round_to_bf16(p->b, b_size);
    }
    p->g = (struct fdit_gemm){ .m = p->m, .n = n, .k = k, .a = p->a, .lda = (size_t)k, .b = p->b };
    p->g.to.rows = rows;
    p->g.to.ldc = (size_t)n;
    p->g.ldb = (size_t)n;
    if (form == FORWARD_PLAIN) {
        p->g.form = FDIT_B_COLUMNS;
        p->g.ldb = (size_t)k;
    } else if (form == DX_PLAIN || form == DW) {
        p->g.form = FDIT_B_ROWS;
        if (form == DW) {
            p->g.a_turned = true;
            p->g.lda = (size_t)p->m;
        }
    } else {
        p->g.form = form == FORWARD ? FDIT_B_PANELS : FDIT_B_PACKED_T;
        problem_pack(p, kernels, kernels->precision);
    }
}

void problem_free(struct problem *p)
{
    free(p->a);
    free(p->b);
    free(p->packed);
}

double a_at(const struct problem *p, int m, int k)
{
    return p->form == DW ? p->a[(size_t)k * (size_t)p->m + (size_t)m]
                         : p->a[(size_t)m * (size_t)p->k + (size_t)k];
}
double b_at(const struct problem *p, int k, int n)
{
    return p->form == FORWARD || p->form == FORWARD_PLAIN ? p->b[(size_t)n * (size_t)p->k + (size_t)k]
                                                          : p->b[(size_t)k * (size_t)p->n + (size_t)n];
}

void run_on(struct fdit_cpu cpu, const struct fdit_gemm *g, float *c)
{
    size_t bytes = fdit_cpu_gemm_workspace(&cpu, g->m, g->n, g->k, g->form, g->a_turned) / sizeof(float);
    float *workspace = guarded_scratch(bytes);
    cpu.workspace = workspace;
    struct fdit_gemm copy = *g;
    copy.to.c = c;
    fdit_context *ctx = fdit_context_new();
    ck_assert_ok(ctx, fdit_cpu_threads_start(ctx, &cpu, cpu.threads));
    fdit_cpu_gemm(&cpu, &copy);
    fdit_cpu_threads_stop(&cpu);
    fdit_context_free(ctx);
    guarded_free(workspace, bytes, "workspace");
}
void run(const struct table *t, int threads, const struct fdit_gemm *g, float *c)
{
    struct fdit_gemm copy = *g;
    run_on((struct fdit_cpu){ .threads = threads, .gemm = t->kernels, .gemm_parts = t->parts }, &copy, c);
}

double left_out(const struct table *t)
{
    return t->parts && t->parts->parts == 2 ? 3 * ldexp(1, -17) : 0;
}

void check_product(const struct problem *p, const float *c, const char *table, double more)
{
    for (int m = 0; m < p->m; m++)
        for (int n = 0; n < p->n; n++) {
            double sum = 0, size = 0;
            for (int k = 0; k < p->k; k++) {
                double product = a_at(p, m, k) * b_at(p, k, n);
                sum += product;
                size += fabs(product);
            }
            double got = c[(size_t)m * (size_t)p->n + (size_t)n];
            double allowed = size * (6e-8 * (2 + sqrt(p->k)) + more);
            ck_assert_msg(fabs(got - sum) <= allowed, "%s, %s %d x %d x %d: element %d, %d is %.9g, not %.9g",
                          table, form_names[p->form], p->m, p->n, p->k, m, n, got, sum);
        }
}
