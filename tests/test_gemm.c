/* SPDX-License-Identifier: Apache-2.0
 * test_gemm.c: the CPU device's products: every instruction set this processor can run (and the
 * 16-wide body on vectors of 8), every form of the operands, every epilogue, against sums in
 * double; the same bits for any batch, blocking and number of threads; no write outside the result
 * and the workspace. */
#include "gemm_problem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int shapes[][3] = {
    /* m, n, k */
    { 1, 1, 1 },    { 1, 7, 3 },     { 2, 16, 5 },   { 3, 33, 17 },  { 5, 31, 64 },   { 6, 16, 72 },
    { 7, 17, 1 },   { 13, 1, 40 },   { 14, 32, 33 }, { 15, 65, 16 }, { 29, 47, 83 },  { 64, 96, 72 },
    { 145, 23, 9 }, { 169, 40, 13 }, { 9, 520, 31 }, { 4, 72, 600 }, { 31, 19, 401 }, { 17, 9, 1153 },
};

START_TEST(test_products)
{
    struct table t[MAX_TABLES];
    int n_tables = tables(t);
    struct test_rng rng = test_rng_new("products");
    for (int i = 0; i < n_tables; i++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int form = 0; form < N_FORMS; form++) {
                struct problem p;
                problem_init(&p, t[i].kernels, (enum form)form, 1, shapes[s][0], shapes[s][1], shapes[s][2],
                             &rng);
                size_t size = (size_t)p.m * (size_t)p.n;
                float *c = guarded(size);
                run(&t[i], 2, &p.g, c);
                check_product(&p, c, t[i].name, left_out(&t[i]));
                guarded_free(c, size, form_names[form]);
                problem_free(&p);
            }
}
END_TEST

/* The same problem in every way in which the work can be cut. */
START_TEST(test_same_bits)
{
    static const int thread_counts[] = { 1, 2, 3, 5 };
    struct table t[MAX_TABLES];
    int n_tables = tables(t);
    struct test_rng rng = test_rng_new("same bits");
    for (int i = 0; i < n_tables; i++)
        for (int form = 0; form < N_FORMS; form++) {
            const struct fdit_cpu_gemm_kernels *kernels = t[i].parts ? t[i].parts : t[i].kernels;
            struct problem p;
            problem_init(&p, t[i].kernels, (enum form)form, 3, 61, 157, 803, &rng);
            size_t size = (size_t)p.m * (size_t)p.n, n = (size_t)p.n;
            float *wanted = floats(size), *c = floats(size);
            run(&t[i], 1, &p.g, wanted);
            for (size_t j = 1; j < sizeof thread_counts / sizeof *thread_counts; j++) {
                run(&t[i], thread_counts[j], &p.g, c);
                ck_assert_msg(memcmp(c, wanted, size * sizeof *c) == 0, "%s, %s: %d threads differ",
                              t[i].name, form_names[form], thread_counts[j]);
            }
            /* other blocks */
            struct fdit_cpu_gemm_kernels other = *kernels;
            other.kc = 2 * kernels->nr;
            other.mc = 3 * kernels->mr;
            const struct table in_blocks = { t[i].name, t[i].parts ? t[i].kernels : &other,
                                             t[i].parts ? &other : NULL };
            run(&in_blocks, 2, &p.g, c);
            ck_assert_msg(memcmp(c, wanted, size * sizeof *c) == 0, "%s, %s: other blocks differ", t[i].name,
                          form_names[form]);
            /* rows alone, and a few at a time, from different starts */
            for (int rows = 1; form != DW && rows <= p.m; rows += rows < 8 ? 1 : 37) {
                struct fdit_gemm part = p.g;
                int m0 = rows > 8 ? p.m - rows : (17 * rows) % (p.m - rows);
                part.m = rows;
                part.a = p.a + (size_t)m0 * (size_t)p.k;
                run(&t[i], 2, &part, c);
                ck_assert_msg(memcmp(c, wanted + (size_t)m0 * n, (size_t)rows * n * sizeof *c) == 0,
                              "%s, %s: %d rows from %d on differ from the same rows of %d", t[i].name,
                              form_names[form], rows, m0, p.m);
            }
            free(wanted);
            free(c);
            problem_free(&p);
        }
}
END_TEST

/* Packed and plain matrices: the same chain, the same bits. */
START_TEST(test_packed_is_plain)
{
    struct table t[MAX_TABLES];
    int n_tables = tables(t);
    for (int i = 0; i < n_tables; i++)
        for (int form = FORWARD; form <= DX; form += DX - FORWARD) {
            struct problem p, q;
            struct test_rng one = test_rng_new("packed"), two = test_rng_new("packed");
            problem_init(&p, t[i].kernels, (enum form)form, 1, 37, 75, 411, &one);
            problem_init(&q, t[i].kernels, (enum form)(form + 1), 1, 37, 75, 411, &two);
            size_t size = (size_t)p.m * (size_t)p.n;
            float *c = floats(size), *d = floats(size);
            run(&t[i], 2, &p.g, c);
            run(&t[i], 2, &q.g, d);
            ck_assert_msg(memcmp(c, d, size * sizeof *c) == 0, "%s, %s: packed and plain differ", t[i].name,
                          form_names[form]);
            free(c);
            free(d);
            problem_free(&p);
            problem_free(&q);
        }
}
END_TEST

/* A weight kept in fewer bits gives the bits of the same numbers in f32. */
START_TEST(test_storage)
{
    static const enum fdit_dtype types[] = { FDIT_BF16, FDIT_I8 };
    static const int sizes[][3] = { { 37, 75, 411 }, { 1, 40, 33 }, { 9, 96, 64 }, { 181, 19, 1300 } };
    struct table t[MAX_TABLES];
    int n_tables = tables(t);
    struct test_rng rng = test_rng_new("storage");
    for (int c = 0; c < n_tables * 4 * 2 * 2; c++) {
        const struct table *table = &t[c / 16];
        const int *size = sizes[c / 4 % 4];
        enum fdit_dtype type = types[c / 2 % 2];
        enum form form = c % 2 ? DX : FORWARD;
        struct problem p;
        problem_init(&p, table->kernels, form, 1, size[0], size[1], size[2], &rng);
        int n_out = form == FORWARD ? p.n : p.k, n_in = form == FORWARD ? p.k : p.n;
        size_t all = (size_t)p.m * (size_t)p.n;
        float *got = guarded(all), *wanted = floats(all);
        problem_pack(&p, table->kernels, type);
        run(table, 2, &p.g, got);
        double error = 0, sum = 0;
        for (int o = 0; o < n_out; o++)
            for (int i = 0; i < n_in; i++) {
                float *w = &p.b[(size_t)o * (size_t)n_in + (size_t)i], old = *w;
                if (type == FDIT_BF16)
                    round_to_bf16(w, 1);
                else
                    *w = (float)fdit_gemm_to_int8(old, p.g.b_scale[o]) * p.g.b_scale[o];
                error += ((double)*w - old) * ((double)*w - old);
                sum += (double)old * old;
            }
        ck_assert_msg(error <= (type == FDIT_BF16 ? 4e-6 : 1.2e-4) * sum,
                      "%s, %s as %s: the stored numbers are off by %g of their norm", table->name,
                      form_names[form], fdit_dtype_name(type), sqrt(error / sum));
        struct fdit_gemm plain = p.g;
        plain.b = p.b;
        plain.b_type = FDIT_F32;
        plain.ldb = (size_t)n_in;
        plain.form = form == FORWARD ? FDIT_B_COLUMNS : FDIT_B_ROWS;
        run(table, 1, &plain, wanted);
        ck_assert_msg(memcmp(got, wanted, all * sizeof *got) == 0,
                      "%s, %s as %s, %d x %d x %d: not the bits of the same numbers in f32", table->name,
                      form_names[form], fdit_dtype_name(type), p.m, p.n, p.k);
        guarded_free(got, all, form_names[form]);
        free(wanted);
        problem_free(&p);
    }
}
END_TEST

/* --------------------------------------------------------------------------- int8 by int8 */

/* What a row of A becomes; returns its factor. */
static float quantised(const float *row, int k, int8_t *q)
{
    float most = 0;
    for (int i = 0; i < k; i++)
        most = fmaxf(most, fabsf(row[i]));
    float inverse = most > 1e-36f ? 127 / most : 0;
    for (int i = 0; i < k; i++)
        q[i] = (int8_t)lrintf(row[i] * inverse);
    return most / 127;
}

/* Element (m, n) as the head of gemm_int8.h has it: the sum is exact. */
static double int8_element(const struct problem *p, const int8_t *row, float factor, int n)
{
    long sum = 0;
    for (int k = 0; k < p->k; k++)
        sum += row[k] * fdit_gemm_to_int8((float)b_at(p, k, n), p->g.b_scale[n]);
    return (double)sum * factor * p->g.b_scale[n];
}

/* The i-th set of this processor that has such products. */
static bool int8_kernels(int i, struct fdit_cpu *cpu)
{
    struct fdit_cpu_isa_entry entry;
    for (int k = 0; fdit_cpu_isa_get(k, &entry); k++)
        if (entry.supported && entry.gemm_int8 && i-- == 0) {
            *cpu = (struct fdit_cpu){ .gemm = entry.gemm_bf16 ? entry.gemm_bf16 : entry.gemm,
                                      .gemm_int8 = entry.gemm_int8 };
            return true;
        }
    return false;
}

/* One product against whole numbers; c gets it. */
static void int8_product(struct fdit_cpu cpu, struct problem *p, float *c)
{
    int8_t *row = malloc((size_t)p->k);
    run_on(cpu, &p->g, c);
    for (int m = 0; m < p->m; m++) {
        float factor = quantised(p->a + (size_t)m * (size_t)p->k, p->k, row);
        for (int n = 0; n < p->n; n++) {
            double want = int8_element(p, row, factor, n), got = c[(size_t)m * (size_t)p->n + (size_t)n];
            ck_assert_msg(fabs(got - want) <= 4e-7 * fabs(want),
                          "int8 %d x %d x %d: element %d, %d is %.9g, not %.9g", p->m, p->n, p->k, m, n, got,
                          want);
        }
    }
    free(row);
}

/* All sets give the same bits. */
START_TEST(test_int8)
{
    struct fdit_cpu cpu;
    struct test_rng rng = test_rng_new("int8");
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        uint64_t seed = test_bits(&rng);
        float *first = NULL;
        for (int i = 0; int8_kernels(i, &cpu); i++) {
            struct test_rng same = { seed };
            struct problem p;
            /* of numbers as they are, whatever the set's other kernels would round them to */
            problem_init(&p, &fdit_cpu_gemm_kernels_generic, FORWARD, 1, shapes[s][0], shapes[s][1],
                         shapes[s][2], &same);
            problem_pack(&p, cpu.gemm, FDIT_I8);
            memset(p.a, 0, (size_t)p.k * sizeof *p.a); /* a row of zeros */
            size_t size = (size_t)p.m * (size_t)p.n;
            float *c = guarded(size);
            cpu.threads = 2;
            int8_product(cpu, &p, c);
            if (!first)
                memcpy(first = floats(size), c, size * sizeof *c);
            ck_assert_msg(!memcmp(c, first, size * sizeof *c), "int8 %d x %d x %d: set %d differs", p.m, p.n,
                          p.k, i);
            guarded_free(c, size, "int8");
            problem_free(&p);
        }
        free(first);
    }
}
END_TEST

/* In any blocks, by any number of threads, among any other rows; and what is not finite stays in its row. */
static void int8_same_bits(struct fdit_cpu cpu)
{
    struct test_rng rng = test_rng_new("int8, same bits");
    struct problem p;
    problem_init(&p, cpu.gemm, FORWARD, 3, 61, 157, 803, &rng);
    problem_pack(&p, cpu.gemm, FDIT_I8);
    size_t n = (size_t)p.n, k = (size_t)p.k, size = (size_t)p.m * n;
    float *wanted = floats(size), *c = floats(size);
    cpu.threads = 1;
    run_on(cpu, &p.g, wanted);
    cpu.threads = 3;
    run_on(cpu, &p.g, c);
    ck_assert_msg(!memcmp(c, wanted, size * sizeof *c), "int8: 3 threads differ");
    struct fdit_cpu_gemm_kernels other = *cpu.gemm_int8;
    other.kc = other.k_unit;
    other.mc = 3 * other.mr;
    struct fdit_cpu blocks = cpu;
    blocks.gemm_int8 = &other;
    run_on(blocks, &p.g, c);
    ck_assert_msg(!memcmp(c, wanted, size * sizeof *c), "int8: other blocks differ");
    for (int rows = 1; rows <= p.m; rows += rows < 8 ? 1 : 37) {
        struct fdit_gemm part = p.g;
        int m0 = p.m - rows;
        part.m = rows;
        part.a = p.a + (size_t)m0 * k;
        run_on(cpu, &part, c);
        ck_assert_msg(!memcmp(c, wanted + (size_t)m0 * n, (size_t)rows * n * sizeof *c),
                      "int8: %d rows from %d on differ from the same rows of %d", rows, m0, p.m);
    }
    p.a[5 * k + 700] = NAN;
    p.a[40 * k + 2] = -INFINITY;
    run_on(cpu, &p.g, c);
    for (size_t i = 0; i < size; i++) {
        bool broken = i / n == 5 || i / n == 40;
        ck_assert_msg(broken ? isnan(c[i]) : c[i] == wanted[i],
                      "int8: row %zu beside rows that are not finite", i / n);
    }
    free(wanted);
    free(c);
    problem_free(&p);
}

/* More rows than are prepared at a time. */
static void rows_in_parts(struct fdit_cpu cpu, struct problem *p, enum fdit_dtype type)
{
    enum { ROWS = 100 };
    problem_pack(p, cpu.gemm, type);
    const size_t n = (size_t)p->n, size = (size_t)p->m * n;
    float *all = floats(size), c[ROWS * 40];
    cpu.threads = 2;
    run_on(cpu, &p->g, all);
    for (int m0 = 0; m0 + ROWS <= p->m; m0 += (p->m - ROWS) / 9) {
        struct fdit_gemm part = p->g;
        part.m = ROWS;
        part.a = p->a + (size_t)m0 * (size_t)p->k;
        run_on(cpu, &part, c);
        ck_assert_msg(!memcmp(c, all + (size_t)m0 * n, ROWS * n * sizeof *c),
                      "%s: rows from %d on of %d differ from the same alone", fdit_dtype_name(type), m0,
                      p->m);
    }
    free(all);
}

START_TEST(test_parts)
{
    struct test_rng rng = test_rng_new("parts");
    struct problem p;
    struct fdit_cpu cpu;
    struct table t[MAX_TABLES];
    int n = tables(t);
    problem_init(&p, &fdit_cpu_gemm_kernels_generic, FORWARD, 1, 13500, 40, 1200, &rng);
    for (int i = 0; i < n; i++)
        if (t[i].kernels->prepare_a || t[i].parts)
            rows_in_parts((struct fdit_cpu){ .gemm = t[i].kernels, .gemm_parts = t[i].parts }, &p, FDIT_BF16);
    for (int i = 0; int8_kernels(i, &cpu); i++)
        rows_in_parts(cpu, &p, FDIT_I8);
    problem_free(&p);
}
END_TEST

START_TEST(test_int8_same_bits)
{
    struct fdit_cpu cpu;
    for (int i = 0; int8_kernels(i, &cpu); i++)
        int8_same_bits(cpu);
}
END_TEST

/* ----------------------------------------------------------------------------------- epilogue */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}
static double gelu_arg(double x)
{
    return 2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
}
static double act(enum fdit_gemm_act a, double x)
{
    return a == FDIT_GEMM_GELU ? x * sigmoid(gelu_arg(x)) : a == FDIT_GEMM_SILU ? x * sigmoid(x) : x;
}
static double slope(enum fdit_gemm_act a, double x)
{
    double h = 1e-4;
    return (act(a, x + h) - act(a, x - h)) / (2 * h);
}

/* All 2^7 choices of bias, pre, gate, residual, shared residual, beta, slope, with each activation.
 */
static void check_epilogue(const struct table *t, enum form form, unsigned choice, enum fdit_gemm_act a,
                           struct test_rng *rng)
{
    enum { SAMPLES = 3, ROWS = 17, N = 43, K = 18, M = SAMPLES * ROWS, STRIDE = N + 7 };
    struct problem p;
    problem_init(&p, t->kernels, form, SAMPLES, ROWS, N, K, rng);
    float bias[N], gate[SAMPLES * STRIDE], residual[M * N], slope_pre[M * N], old[M * N];
    test_fill_normal(rng, bias, N, 0, 1);
    test_fill_normal(rng, gate, SAMPLES * STRIDE, 0, 1);
    test_fill_normal(rng, residual, M * N, 0, 1);
    test_fill_normal(rng, slope_pre, M * N, 0, 2);
    test_fill_normal(rng, old, M * N, 0, 1);
    float *c = guarded(M * N), *pre = guarded(M * N);
    memcpy(c, old, sizeof old);
    struct fdit_gemm_epilogue *to = &p.g.to;
    to->bias = choice & 1 ? bias : NULL;
    to->pre = choice & 2 ? pre : NULL;
    to->gate = choice & 4 ? gate : NULL;
    to->gate_stride = STRIDE;
    to->residual = choice & 8 ? residual : NULL;
    to->residual_shared = choice & 16;
    to->beta = choice & 32 ? 1 : 0;
    to->slope_pre = choice & 64 ? slope_pre : NULL;
    to->act = a;
    const double more = left_out(t);
    run(t, 2, &p.g, c);
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) {
            int i = m * N + n;
            double v = to->bias ? bias[n] : 0;
            for (int k = 0; k < K; k++)
                v += a_at(&p, m, k) * b_at(&p, k, n);
            if (to->pre)
                ck_assert_msg(fabs(pre[i] - v) <= 1e-5 + 30 * more, "%s: pre of element %d is %g, not %g",
                              t->name, i, pre[i], v);
            v = to->slope_pre ? v * slope(a, slope_pre[i]) : act(a, v);
            if (to->gate)
                v *= gate[m / ROWS * STRIDE + n];
            if (to->residual)
                v += residual[to->residual_shared ? m % ROWS * N + n : i];
            if (to->beta)
                v += old[i];
            ck_assert_msg(fabs(c[i] - v) <= (2e-5 + 200 * more) * (1 + fabs(v)),
                          "%s, %s, choice %u, activation %d: element %d is %.9g, not %.9g", t->name,
                          form_names[form], choice, a, i, c[i], v);
        }
    guarded_free(c, M * N, "result");
    if (!to->pre)
        ck_assert_msg(pre[0] == GUARD_VALUE, "pre was written unasked");
    guarded_free(pre, M * N, "pre");
    problem_free(&p);
}

START_TEST(test_epilogues)
{
    struct table t[MAX_TABLES];
    int n_tables = tables(t);
    struct test_rng rng = test_rng_new("epilogues");
    for (int i = 0; i < n_tables; i++)
        for (unsigned choice = 0; choice < 128; choice++)
            for (int a = FDIT_GEMM_NO_ACT; a <= FDIT_GEMM_SILU; a++)
                if (!(choice & 64) || a != FDIT_GEMM_NO_ACT)
                    check_epilogue(&t[i], choice % 3 ? FORWARD : DX, choice, (enum fdit_gemm_act)a, &rng);
}
END_TEST

/* y may be the residual itself, as in x = x + gate (h W^T + b). */
START_TEST(test_residual_in_place)
{
    struct table t[MAX_TABLES];
    int n_tables = tables(t);
    struct test_rng rng = test_rng_new("in place");
    for (int i = 0; i < n_tables; i++) {
        struct problem p;
        problem_init(&p, t[i].kernels, FORWARD, 2, 40, 130, 900, &rng);
        size_t size = (size_t)p.m * (size_t)p.n;
        float *x = floats(size), *y = floats(size), *gate = floats(2 * (size_t)p.n);
        test_fill_normal(&rng, x, size, 0, 1);
        test_fill_normal(&rng, gate, 2 * (size_t)p.n, 0, 1);
        p.g.to.gate = gate;
        p.g.to.gate_stride = (size_t)p.n;
        p.g.to.residual = x;
        run(&t[i], 2, &p.g, y);
        run(&t[i], 2, &p.g, x);
        ck_assert_msg(memcmp(x, y, size * sizeof *x) == 0, "%s: in place differs", t[i].name);
        free(x);
        free(y);
        free(gate);
        problem_free(&p);
    }
}
END_TEST

/* Activations alone, over their whole range, at every place in a vector. */
START_TEST(test_activations)
{
    struct table t[MAX_TABLES];
    int n_tables = tables(t);
    enum { N = 40001 };
    float *x = floats(N), *y = floats(N), *v = floats(N);
    for (int i = 0; i < N; i++)
        x[i] = (float)(i - N / 2) * (30.0f / N);
    for (int i = 0; i < n_tables; i++)
        for (int a = FDIT_GEMM_GELU; a <= FDIT_GEMM_SILU; a++) {
            struct fdit_gemm_epilogue to = { .c = y, .ldc = N, .rows = 1, .act = (enum fdit_gemm_act)a };
            memcpy(v, x, N * sizeof *v);
            t[i].kernels->finish(&to, v, N, 0, 1, 0, N);
            for (int j = 0; j < N; j++) {
                double wanted = act(to.act, x[j]);
                /* the argument of exp is rounded: the error of a small result is relative to it */
                double allowed = fabs(wanted) * (3e-7 + 2.5e-7 * fabs(gelu_arg(fmin(x[j], 0)))) + 3e-37;
                ck_assert_msg(fabs(y[j] - wanted) <= allowed, "%s: activation %d of %.9g is %.9g, not %.9g",
                              t[i].name, a, x[j], y[j], wanted);
            }
            to.slope_pre = x;
            for (int j = 0; j < N; j++)
                v[j] = 1;
            t[i].kernels->finish(&to, v, N, 0, 1, 0, N);
            for (int j = 0; j < N; j++) {
                double wanted = slope(to.act, x[j]);
                ck_assert_msg(fabs(y[j] - wanted) <= 2e-6, "%s: slope %d at %.9g is %.9g, not %.9g",
                              t[i].name, a, x[j], y[j], wanted);
            }
        }
    free(x);
    free(y);
    free(v);
}
END_TEST

START_TEST(test_not_finite)
{
    static const float in[] = { INFINITY, -INFINITY, NAN, 1e30f, -1e30f, 0.0f, 3e38f, -3e38f };
    static const float out[] = { INFINITY, 0.0f, NAN, 1e30f, 0.0f, 0.0f, 3e38f, 0.0f };
    static const float slopes[] = { 1, 0, NAN, 1, 0, 0.5f, 1, 0 };
    struct table t[MAX_TABLES];
    int n_tables = tables(t);
    enum { N = 8 };
    float y[N], v[N];
    for (int i = 0; i < n_tables; i++)
        for (int a = FDIT_GEMM_GELU; a <= FDIT_GEMM_SILU; a++) {
            struct fdit_gemm_epilogue to = { .c = y, .ldc = N, .rows = 1, .act = (enum fdit_gemm_act)a };
            memcpy(v, in, sizeof v);
            t[i].kernels->finish(&to, v, N, 0, 1, 0, N);
            for (int j = 0; j < N; j++)
                ck_assert_msg(isnan(out[j]) ? isnan(y[j]) : y[j] == out[j], "%s: activation %d of %g is %g",
                              t[i].name, a, in[j], y[j]);
            to.slope_pre = in;
            for (int j = 0; j < N; j++)
                v[j] = 1;
            t[i].kernels->finish(&to, v, N, 0, 1, 0, N);
            for (int j = 0; j < N; j++)
                ck_assert_msg(isnan(slopes[j]) ? isnan(y[j]) : y[j] == slopes[j], "%s: slope %d at %g is %g",
                              t[i].name, a, in[j], y[j]);
        }
    /* one NaN in a row of A spoils that row of the result, one in B its column, nothing else */
    struct test_rng rng = test_rng_new("not finite");
    for (int i = 0; i < n_tables; i++)
        for (int form = 0; form < N_FORMS; form++) {
            struct problem p;
            problem_init(&p, t[i].kernels, (enum form)form, 1, 11, 35, 20, &rng);
            p.a[form == DW ? 7 * 11 + 4 : 4 * 20 + 7] = NAN;
            float *c = floats((size_t)p.m * (size_t)p.n);
            run(&t[i], 1, &p.g, c);
            for (int m = 0; m < p.m; m++)
                for (int n = 0; n < p.n; n++)
                    ck_assert_msg(isnan(c[m * p.n + n]) == (m == 4), "%s, %s: element %d, %d is %g",
                                  t[i].name, form_names[form], m, n, c[m * p.n + n]);
            free(c);
            problem_free(&p);
        }
}
END_TEST

/* ----------------------------------------------------------------------------------- providers */

static void check_provider(fdit_context *ctx, const struct fdit_cpu_gemm_provider *provider)
{
    struct table t[MAX_TABLES];
    tables(t);
    struct test_rng rng = test_rng_new("provider");
    provider->open();
    for (int form = 0; form < N_FORMS; form++) {
        if (form == FORWARD || form == DX)
            continue;
        struct problem p;
        problem_init(&p, t[0].kernels, (enum form)form, 3, 70, 90, 130, &rng);
        size_t size = (size_t)p.m * (size_t)p.n, n = (size_t)p.n;
        float *wanted = guarded(size), *c = guarded(size), *bias = floats(n);
        test_fill_normal(&rng, bias, n, 0, 1);
        for (int threads = 1; threads <= 4; threads++) {
            struct fdit_cpu cpu = { .threads = threads, .gemm = t[0].kernels };
            size_t bytes = fdit_cpu_gemm_provided_workspace(&cpu) / sizeof(float);
            float *workspace = guarded_scratch(bytes);
            cpu.workspace = workspace;
            ck_assert_ok(ctx, fdit_cpu_threads_start(ctx, &cpu, threads));
            p.g.to.c = threads == 1 ? wanted : c;
            ck_assert(fdit_cpu_gemm_provided(&cpu, provider, &p.g));
            if (threads == 1)
                check_product(&p, wanted, provider->name, 0);
            else
                ck_assert_msg(memcmp(c, wanted, size * sizeof *c) == 0, "%s, %s: %d threads differ",
                              provider->name, form_names[form], threads);
            for (int b = 0; form != DW && b < 3; b++) {
                struct fdit_gemm part = p.g;
                part.m = 70;
                part.a = p.a + (size_t)b * 70 * (size_t)p.k;
                part.to.c = c;
                ck_assert(fdit_cpu_gemm_provided(&cpu, provider, &part));
                ck_assert_msg(memcmp(c, wanted + (size_t)b * 70 * n, 70 * n * sizeof *c) == 0,
                              "%s, %s: sample %d alone differs", provider->name, form_names[form], b);
            }
            fdit_cpu_threads_stop(&cpu);
            guarded_free(workspace, bytes, "workspace");
        }
        guarded_free(wanted, size, "result");
        guarded_free(c, size, "result");
        free(bias);
        problem_free(&p);
    }
}

START_TEST(test_providers)
{
    fdit_context *ctx = fdit_context_new();
    const struct fdit_cpu_gemm_provider *provider = NULL;
    bool multiply_adds;
    ck_assert_ok(ctx, fdit_cpu_provider_choose(ctx, "multiply-adds", &provider, &multiply_adds));
    ck_assert(!provider && multiply_adds);
    ck_assert_ok(ctx, fdit_cpu_provider_choose(ctx, "own", &provider, &multiply_adds));
    ck_assert(!provider && !multiply_adds);
    static const char *const names[] = { "onednn", "cblas" };
    for (int i = 0; i < 2; i++) {
        enum fdit_status status = fdit_cpu_provider_choose(ctx, names[i], &provider, &multiply_adds);
        if (status == FDIT_OK) {
            ck_assert_str_eq(provider->name, names[i]);
            char version[64] = "";
            provider->version(version, sizeof version);
            ck_assert_msg(strlen(version) > 4, "%s: version \"%s\"", names[i], version);
            check_provider(ctx, provider);
        } else {
            ck_assert_int_eq(status, FDIT_ERROR_ARGUMENT);
            ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), names[i]));
        }
    }
    ck_assert_int_eq(fdit_cpu_provider_choose(ctx, "mkk", &provider, &multiply_adds), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "mkk"));
    fdit_context_free(ctx);
}
END_TEST

START_TEST(test_instruction_sets)
{
    fdit_context *ctx = fdit_context_new();
    struct fdit_cpu_isa_entry best, entry;
    ck_assert_ok(ctx, fdit_cpu_isa_choose(ctx, NULL, &best));
    ck_assert(best.supported);
    ck_assert_ok(ctx, fdit_cpu_isa_choose(ctx, "generic", &entry));
    ck_assert_str_eq(entry.name, "generic");
    for (int i = 0; fdit_cpu_isa_get(i, &entry); i++) {
        struct fdit_cpu_isa_entry chosen;
        enum fdit_status status = fdit_cpu_isa_choose(ctx, entry.name, &chosen);
        ck_assert_int_eq(status, entry.supported ? FDIT_OK : FDIT_ERROR_UNSUPPORTED);
        if (status != FDIT_OK)
            ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), entry.name));
        else
            ck_assert_str_eq(chosen.name, entry.name);
        ck_assert_int_eq(entry.vlen, entry.gemm->vlen);
    }
    ck_assert_int_eq(fdit_cpu_isa_choose(ctx, "wide", &entry), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_cpu_isa_choose(ctx, "sse9", &entry), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "sse9"));
    fdit_context_free(ctx);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gemm");
    TCase *c = tcase_create("gemm");
    tcase_add_test(c, test_products);
    tcase_add_test(c, test_same_bits);
    tcase_add_test(c, test_packed_is_plain);
    tcase_add_test(c, test_storage);
    tcase_add_test(c, test_parts);
    tcase_add_test(c, test_int8);
    tcase_add_test(c, test_int8_same_bits);
    tcase_add_test(c, test_epilogues);
    tcase_add_test(c, test_residual_in_place);
    tcase_add_test(c, test_activations);
    tcase_add_test(c, test_not_finite);
    tcase_add_test(c, test_providers);
    tcase_add_test(c, test_instruction_sets);
    suite_add_tcase(suite, c);
    return test_run(suite);
}
