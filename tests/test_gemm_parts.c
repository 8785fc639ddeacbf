/* SPDX-License-Identifier: Apache-2.0
 * test_gemm_parts.c: products of f32 by numbers of bf16 beside those by multiply-adds: their error, gradients
 * of many rows, the rank of an adapter, and what is not finite. */
#include "gemm_problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The rank of an adapter beside its matrix, in one product. */
START_TEST(test_low)
{
    enum { M = 45, N = 70, K = 160, LOW = 5 };
    struct table t[MAX_TABLES];
    int n_tables = tables(t);
    struct test_rng rng = test_rng_new("low");
    for (int i = 0; i < n_tables; i++) {
        const struct fdit_cpu_gemm_kernels *kernels = t[i].kernels;
        if (kernels->precision != FDIT_F32)
            continue;
        struct problem p;
        problem_init(&p, kernels, FORWARD, 1, M, N, K, &rng);
        const int nr = kernels->nr;
        float *low = floats(M * LOW), *factor = floats(N * LOW), *c = guarded(M * N);
        float *panels = floats((size_t)(N + nr) * LOW);
        test_fill_normal(&rng, low, M * LOW, 0, 1);
        test_fill_normal(&rng, factor, N * LOW, 0, 1);
        for (int n = 0; n < N; n += nr)
            kernels->pack_as(FDIT_F32, panels + (size_t)n * LOW, NULL, factor + (size_t)n * LOW, LOW,
                             N - n < nr ? N - n : nr, LOW);
        p.g.low = low;
        p.g.low_panels = panels;
        p.g.low_k = LOW;
        run(&t[i], 2, &p.g, c);
        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++) {
                double sum = 0;
                for (int k = 0; k < K; k++)
                    sum += a_at(&p, m, k) * b_at(&p, k, n);
                for (int k = 0; k < LOW; k++)
                    sum += (double)low[m * LOW + k] * (double)factor[n * LOW + k];
                ck_assert_msg(fabs(c[m * N + n] - sum) <= 1e-4 + 400 * left_out(&t[i]),
                              "%s: element %d, %d is %.9g, not %.9g", t[i].name, m, n, c[m * N + n], sum);
            }
        guarded_free(c, M * N, "low");
        free(low);
        free(factor);
        free(panels);
        problem_free(&p);
    }
}
END_TEST

/* A gradient of more rows than are taken apart at a time: added to what is there, the same bits by any number
 * of threads. */
START_TEST(test_long_gradient)
{
    enum { M = 40, N = 70, K = 9000 };
    struct table t[MAX_TABLES];
    int n_tables = tables(t);
    struct test_rng rng = test_rng_new("long gradient");
    for (int i = 0; i < n_tables; i++) {
        struct problem p;
        problem_init(&p, t[i].kernels, DW, 1, M, N, K, &rng);
        float *c = guarded(M * N), *d = floats(M * N), *more = guarded(M * N);
        run(&t[i], 1, &p.g, c);
        check_product(&p, c, t[i].name, left_out(&t[i]));
        run(&t[i], 3, &p.g, d);
        ck_assert_msg(!memcmp(c, d, M * N * sizeof *c), "%s: 3 threads differ", t[i].name);
        for (int j = 0; j < M * N; j++)
            more[j] = 1000;
        p.g.to.beta = 1;
        run(&t[i], 2, &p.g, more);
        for (int j = 0; j < M * N; j++)
            ck_assert_msg(fabsf(more[j] - 1000 - c[j]) < 2e-2f, "%s: element %d: %g and 1000 are %g",
                          t[i].name, j, c[j], more[j]);
        guarded_free(c, M * N, "gradient");
        guarded_free(more, M * N, "gradient");
        free(d);
        problem_free(&p);
    }
}
END_TEST

/* With six products of parts the error is that of float32 or less, which two parts do not reach; for columns
 * of numbers from 1e-6 to 1e6 too. */
START_TEST(test_parts_error)
{
    enum { M = 40, N = 64, K = 1152 };
    struct table t[MAX_TABLES];
    int n_tables = tables(t);
    for (int i = 0; i < n_tables; i++) {
        double error[2];
        if (!t[i].parts)
            continue;
        for (int side = 0; side < 2; side++) {
            struct test_rng rng = test_rng_new("error of parts");
            struct table table = t[i];
            struct problem p;
            problem_init(&p, table.kernels, FORWARD_PLAIN, 1, M, N, K, &rng);
            for (int j = 0; j < M * K; j++)
                p.a[j] *= powf(10, (float)(j % 13 - 6));
            float *c = guarded(M * N);
            table.parts = side ? table.parts : NULL;
            run(&table, 1, &p.g, c);
            error[side] = 0;
            for (int m = 0; m < M; m++)
                for (int n = 0; n < N; n++) {
                    double sum = 0;
                    for (int k = 0; k < K; k++)
                        sum += a_at(&p, m, k) * b_at(&p, k, n);
                    error[side] += (c[m * N + n] - sum) * (c[m * N + n] - sum);
                }
            guarded_free(c, M * N, "error");
            problem_free(&p);
        }
        ck_assert_msg((error[1] <= error[0]) == (t[i].parts->parts == 3),
                      "%s: squared error %g, of multiply-adds %g", t[i].name, error[1], error[0]);
    }
}
END_TEST

/* Infinity stays what it is where multiply-adds keep it, in every form of the operands, and spoils no other
 * row. */
START_TEST(test_infinity)
{
    enum { M = 37, N = 45, K = 83 };
    struct table t[MAX_TABLES];
    int n_tables = tables(t);
    struct test_rng rng = test_rng_new("infinity");
    for (int i = 0; i < n_tables; i++)
        for (int form = 0; t[i].parts && form < N_FORMS; form++) {
            struct table plain = { t[i].name, t[i].kernels, NULL };
            struct problem p;
            problem_init(&p, t[i].kernels, (enum form)form, 1, M, N, K, &rng);
            p.a[form == DW ? 7 * M + 4 : 4 * K + 7] = INFINITY;
            p.a[form == DW ? 9 * M + 30 : 30 * K + 9] = 3.4e38f;
            float *c = guarded(M * N), *wanted = guarded(M * N);
            run(&t[i], 2, &p.g, c);
            run(&plain, 2, &p.g, wanted);
            for (int j = 0; j < M * N; j++)
                ck_assert_msg(isfinite(wanted[j]) ? fabsf(c[j] - wanted[j]) <= 1e-3f * (1 + fabsf(wanted[j]))
                              : isnan(wanted[j])  ? isnan(c[j])
                                                  : c[j] == wanted[j],
                              "%s, %s: element %d is %g, by multiply-adds %g", t[i].name, form_names[form], j,
                              c[j], wanted[j]);
            guarded_free(c, M * N, "result");
            guarded_free(wanted, M * N, "result");
            problem_free(&p);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gemm_parts");
    TCase *c = tcase_create("gemm_parts");
    tcase_add_test(c, test_low);
    tcase_add_test(c, test_long_gradient);
    tcase_add_test(c, test_parts_error);
    tcase_add_test(c, test_infinity);
    suite_add_tcase(suite, c);
    return test_run(suite);
}
