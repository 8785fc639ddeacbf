/* SPDX-License-Identifier: Apache-2.0
 * test_gradients.c: the backward formulas of the reference against finite differences of its forward
 * formulas, in double, and <A x, y> = <x, A' y> for the linear ones. The other devices are compared to
 * the reference in test_ops.c. */
#include "core/mem.h"
#include "device/host_math.h"
#include "differences.h"
#include "harness.h"
#include "ref/ref_math.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Arrays of one test, freed together. */
struct pool {
    struct test_rng rng;
    double *arrays[48];
    size_t n;
};

static double *zeros(struct pool *p, size_t n)
{
    ck_assert_uint_lt(p->n, sizeof p->arrays / sizeof *p->arrays);
    double *x = calloc(n, sizeof *x);
    ck_assert_ptr_nonnull(x);
    p->arrays[p->n++] = x;
    return x;
}

static double *randoms(struct pool *p, size_t n)
{
    double *x = zeros(p, n);
    for (size_t i = 0; i < n; i++)
        x[i] = test_normal(&p->rng);
    return x;
}

static double *copy_of(struct pool *p, const double *from, size_t n)
{
    double *x = zeros(p, n);
    memcpy(x, from, n * sizeof *x);
    return x;
}

static void pool_free(struct pool *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->arrays[i]);
    p->n = 0;
}

static double inner(const double *x, const double *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

static void check_adjoint(const char *what, double forward, double backward)
{
    ck_assert_msg(fabs(forward - backward) <= 1e-12 * (fabs(forward) + fabs(backward) + 1),
                  "%s: <Ax, y> = %.15g, <x, A'y> = %.15g", what, forward, backward);
}

static void check_close(const char *what, const double *got, const double *wanted, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(got[i] - wanted[i]) <= 1e-12 * (1 + fabs(wanted[i])),
                      "%s, element %zu: %.15g, wanted %.15g", what, i, got[i], wanted[i]);
}

/* got = start + plain: what beta 1 and accumulate must do. */
static void check_added(const char *what, const double *got, const double *start, const double *plain,
                        size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(got[i] - start[i] - plain[i]) <= 1e-12 * (1 + fabs(got[i])),
                      "%s, element %zu: %.15g is not %.15g + %.15g", what, i, got[i], start[i], plain[i]);
}

/* ------------------------------------------------------------------------------- activation */

START_TEST(activation_slopes)
{
    for (int act = FDIT_ACT_NONE; act <= FDIT_ACT_LAST; act++) {
        for (double x = -12; x <= 12; x += 0.0625) {
            const double h = 1e-3;
            double wanted =
                (8 * (fdit_ref_act((enum fdit_act)act, x + h) - fdit_ref_act((enum fdit_act)act, x - h)) -
                 (fdit_ref_act((enum fdit_act)act, x + 2 * h) -
                  fdit_ref_act((enum fdit_act)act, x - 2 * h))) /
                (12 * h);
            double got = fdit_ref_act_slope((enum fdit_act)act, x);
            if (act == FDIT_ACT_RELU && x == 0)
                wanted = 0; /* by device.h; the difference sees half of both sides */
            ck_assert_msg(fabs(got - wanted) < 1e-10, "act %d at %g: %.14g, not %.14g", act, x, got, wanted);
        }
    }
    double x[5] = { -3, -0.5, 0, 0.7, 2 }, dy[5] = { 1, 2, 3, 4, 5 }, y[5], dx[5];
    fdit_ref_activation_f64(5, FDIT_ACT_SILU, y, x);
    fdit_ref_activation_backward_f64(5, FDIT_ACT_SILU, dx, dy, x);
    for (int i = 0; i < 5; i++) {
        ck_assert(y[i] == fdit_ref_act(FDIT_ACT_SILU, x[i]));
        ck_assert(dx[i] == dy[i] * fdit_ref_act_slope(FDIT_ACT_SILU, x[i]));
    }
}
END_TEST

START_TEST(activation_values)
{
    static const char *const names[] = { "gelu_tanh", "silu" };
    json_t *root = test_tables();
    for (int k = 0; k < 2; k++) {
        const json_t *x = json_object_get(json_object_get(root, names[k]), "x");
        const json_t *y = json_object_get(json_object_get(root, names[k]), "y");
        ck_assert_uint_gt(json_array_size(x), 0);
        for (size_t i = 0; i < json_array_size(x); i++) {
            double got = fdit_ref_act(k ? FDIT_ACT_SILU : FDIT_ACT_GELU_TANH, test_item(x, i));
            ck_assert_msg(fabs(got - test_item(y, i)) <= 1e-14 * (1 + fabs(got)), "%s(%g) = %.16g, not %.16g",
                          names[k], test_item(x, i), got, test_item(y, i));
        }
    }
    json_decref(root);
}
END_TEST

/* ---------------------------------------------------------------------------------- linear */

enum { B = 2, N = 3, D = 5, K = 4, M = B * N };

struct linear_problem {
    double *x, *w, *bias, *add, *gate, *residual, *c, *y;
    enum fdit_act act, before; /* before: x is the argument of this activation */
};

static double linear_value(const void *problem)
{
    const struct linear_problem *p = problem;
    double x[M * D];
    fdit_ref_activation_f64(M * D, p->before, x, p->x);
    fdit_ref_linear_f64(B, N, D, K, p->y, x, p->w, p->bias, p->add, NULL, NULL, 0, p->act, NULL, p->gate, K,
                        p->residual, false, 0);
    return inner(p->y, p->c, M * K);
}

START_TEST(linear_gradients)
{
    struct pool pool = { .rng = test_rng_new("linear") };
    for (int act = FDIT_ACT_NONE; act <= FDIT_ACT_LAST; act++) {
        struct linear_problem p = {
            .x = randoms(&pool, M * D),
            .w = randoms(&pool, K * D),
            .bias = randoms(&pool, K),
            .c = randoms(&pool, M * K),
            .y = zeros(&pool, M * K),
            .before = (enum fdit_act)act,
        };
        double *dx = zeros(&pool, M * D), *dw = zeros(&pool, K * D), *db = zeros(&pool, K);
        fdit_ref_linear_dx_f64(M, D, K, dx, p.c, p.w, NULL, NULL, NULL, 0, p.before, p.x, 0);
        test_check_gradient("linear_dx", linear_value, &p, p.x, dx, M * D);
        double *x = copy_of(&pool, p.x, M * D);
        fdit_ref_activation_f64(M * D, p.before, x, p.x);
        fdit_ref_linear_dw_f64(M, D, K, dw, p.c, x, 0);
        test_check_gradient("linear_dw", linear_value, &p, p.w, dw, K * D);
        fdit_ref_column_sum_f64(M, K, db, p.c, 0);
        test_check_gradient("column_sum", linear_value, &p, p.bias, db, K);

        double *start = randoms(&pool, M * D), *sum = copy_of(&pool, start, M * D);
        fdit_ref_linear_dw_f64(M, D, K, sum, p.c, x, 1);
        check_added("linear_dw", sum, start, dw, K * D);
        memcpy(sum, start, M * D * sizeof *sum);
        fdit_ref_column_sum_f64(M, K, sum, p.c, 1);
        check_added("column_sum", sum, start, db, K);
        /* add is the gradient that another use of x gave: dx is then that of both */
        double *other = randoms(&pool, M * D), *with = zeros(&pool, M * D), *slope = zeros(&pool, M * D);
        fdit_ref_linear_dx_f64(M, D, K, with, p.c, p.w, other, NULL, NULL, 0, p.before, p.x, 0);
        fdit_ref_activation_backward_f64(M * D, p.before, slope, other, p.x);
        check_added("linear_dx add", with, slope, dx, M * D);
        if (act == FDIT_ACT_NONE) {
            memcpy(sum, start, M * D * sizeof *sum);
            fdit_ref_linear_dx_f64(M, D, K, sum, p.c, p.w, NULL, NULL, NULL, 0, FDIT_ACT_NONE, NULL, 1);
            check_added("linear_dx", sum, start, dx, M * D);
        }
        pool_free(&pool);
    }
}
END_TEST

/* y = residual + gate * act(z): the chain of gate_backward, activation_backward and linear_dx. */
START_TEST(gated_linear_gradients)
{
    struct pool pool = { .rng = test_rng_new("gated") };
    struct linear_problem p = {
        .x = randoms(&pool, M * D),
        .w = randoms(&pool, K * D),
        .bias = randoms(&pool, K),
        .add = randoms(&pool, M * K),
        .gate = randoms(&pool, B * K),
        .residual = randoms(&pool, M * K),
        .c = randoms(&pool, M * K),
        .y = zeros(&pool, M * K),
        .act = FDIT_ACT_GELU_TANH,
    };
    double *pre = zeros(&pool, M * K), *branch = zeros(&pool, M * K), *dz = zeros(&pool, M * K);
    double *dgate = zeros(&pool, B * K), *dx = zeros(&pool, M * D);
    fdit_ref_linear_f64(B, N, D, K, p.y, p.x, p.w, p.bias, p.add, NULL, NULL, 0, p.act, pre, p.gate, K,
                        p.residual, false, 0);
    fdit_ref_activation_f64(M * K, p.act, branch, pre);
    fdit_ref_gate_backward_f64(B, N, K, branch, dgate, K, p.c, branch, p.gate, K); /* in place */
    fdit_ref_activation_backward_f64(M * K, p.act, dz, branch, pre);
    fdit_ref_linear_dx_f64(M, D, K, dx, dz, p.w, NULL, NULL, NULL, 0, FDIT_ACT_NONE, NULL, 0);
    test_check_gradient("gate", linear_value, &p, p.gate, dgate, B * K);
    test_check_gradient("residual", linear_value, &p, p.residual, p.c, M * K);
    test_check_gradient("add", linear_value, &p, p.add, dz, M * K);
    test_check_gradient("x through the gate", linear_value, &p, p.x, dx, M * D);

    /* The pieces: pre is the plain product, the gate entry the same mix, a shared residual repeats. */
    double *plain = zeros(&pool, M * K), *mixed = zeros(&pool, M * K), *both = zeros(&pool, M * K);
    fdit_ref_linear_f64(B, N, D, K, plain, p.x, p.w, p.bias, p.add, NULL, NULL, 0, FDIT_ACT_NONE, NULL, NULL,
                        0, NULL, false, 0);
    check_close("pre", pre, plain, M * K);
    fdit_ref_activation_f64(M * K, p.act, branch, pre);
    fdit_ref_linear_f64(B, N, D, K, p.y, p.x, p.w, p.bias, p.add, NULL, NULL, 0, p.act, NULL, p.gate, K,
                        p.residual, false, 0);
    fdit_ref_gate_f64(B, N, K, mixed, p.residual, branch, p.gate, K);
    check_close("gate", mixed, p.y, M * K);
    fdit_ref_linear_f64(B, N, D, K, p.y, p.x, p.w, p.bias, p.add, NULL, NULL, 0, p.act, NULL, NULL, 0,
                        p.residual, true, 0);
    for (int r = 0; r < M; r++)
        for (int o = 0; o < K; o++)
            both[r * K + o] = branch[r * K + o] + p.residual[r % N * K + o];
    check_close("shared residual", p.y, both, M * K);
    pool_free(&pool);
}
END_TEST

START_TEST(linear_adjoints)
{
    struct pool pool = { .rng = test_rng_new("linear adjoint") };
    double *x = randoms(&pool, M * D), *w = randoms(&pool, K * D), *y = randoms(&pool, M * K);
    double *ax = zeros(&pool, M * K), *dx = zeros(&pool, M * D), *dw = zeros(&pool, K * D);
    fdit_ref_linear_f64(B, N, D, K, ax, x, w, NULL, NULL, NULL, NULL, 0, FDIT_ACT_NONE, NULL, NULL, 0, NULL,
                        false, 0);
    fdit_ref_linear_dx_f64(M, D, K, dx, y, w, NULL, NULL, NULL, 0, FDIT_ACT_NONE, NULL, 0);
    fdit_ref_linear_dw_f64(M, D, K, dw, y, x, 0);
    double value = inner(ax, y, M * K);
    check_adjoint("linear_dx", value, inner(x, dx, M * D));
    check_adjoint("linear_dw", value, inner(w, dw, K * D));
    pool_free(&pool);
}
END_TEST

/* ------------------------------------------------------------------------------------ norm */

enum { STRIDE = 2 * D + 1 }; /* rows of shift and scale lie in a wider tensor */

struct norm_problem {
    double *x, *weight, *bias, *mod, *c, *y; /* mod [B, STRIDE]: shift, scale, one unused */
    bool modulated;
};

static double norm_value(const void *problem)
{
    const struct norm_problem *p = problem;
    fdit_ref_norm_f64(B, N, D, p->y, p->x, p->weight, p->bias, p->modulated ? p->mod : NULL,
                      p->modulated ? p->mod + D : NULL, STRIDE, NULL, NULL);
    return inner(p->y, p->c, M * D);
}

START_TEST(norm_gradients)
{
    struct pool pool = { .rng = test_rng_new("norm") };
    bool affine = _i & 1, modulated = _i & 2;
    struct norm_problem p = {
        .x = randoms(&pool, M * D),
        .mod = randoms(&pool, B * STRIDE),
        .c = randoms(&pool, M * D),
        .y = zeros(&pool, M * D),
        .modulated = modulated,
    };
    if (affine) {
        p.weight = randoms(&pool, D);
        p.bias = randoms(&pool, D);
    }
    const double *scale = modulated ? p.mod + D : NULL;
    double *xhat = zeros(&pool, M * D), *rstd = zeros(&pool, M), *dx = zeros(&pool, M * D);
    double *dmod = zeros(&pool, B * STRIDE), *dweight = zeros(&pool, D), *dbias = zeros(&pool, D);
    fdit_ref_norm_f64(B, N, D, NULL, p.x, NULL, NULL, NULL, NULL, 0, xhat, rstd);
    fdit_ref_norm_backward_dx_f64(B, N, D, dx, false, p.c, xhat, rstd, p.weight, scale, STRIDE);
    fdit_ref_norm_backward_sums_f64(B, N, D, dmod, dmod + D, STRIDE, dweight, dbias, 0, p.c, xhat, p.weight,
                                    p.bias, scale, STRIDE);
    test_check_gradient("norm, dx", norm_value, &p, p.x, dx, M * D);
    if (modulated)
        for (int b = 0; b < B; b++)
            test_check_gradient("norm, dshift and dscale", norm_value, &p, p.mod + b * STRIDE,
                                dmod + b * STRIDE, 2 * D);
    if (affine) {
        test_check_gradient("norm, dweight", norm_value, &p, p.weight, dweight, D);
        test_check_gradient("norm, dbias", norm_value, &p, p.bias, dbias, D);
    }
    ck_assert(dmod[2 * D] == 0); /* between the rows nothing is written */

    double *start = randoms(&pool, M * D), *sum = copy_of(&pool, start, M * D);
    fdit_ref_norm_backward_dx_f64(B, N, D, sum, true, p.c, xhat, rstd, p.weight, scale, STRIDE);
    check_added("norm, accumulate", sum, start, dx, M * D);
    double *more = copy_of(&pool, start, 2 * D);
    fdit_ref_norm_backward_sums_f64(B, N, D, NULL, NULL, 0, more, more + D, 1, p.c, xhat, p.weight, p.bias,
                                    scale, STRIDE);
    check_added("norm, beta, dweight", more, start, dweight, D);
    check_added("norm, beta, dbias", more + D, start + D, dbias, D);

    /* modulate rebuilds the output from xhat. */
    for (int r = 0; r < M; r++) {
        float hat[D], w[D], b[D], shift[D], s[D], y[D];
        for (int d = 0; d < D; d++) {
            hat[d] = (float)xhat[r * D + d];
            w[d] = affine ? (float)p.weight[d] : 0;
            b[d] = affine ? (float)p.bias[d] : 0;
            shift[d] = (float)p.mod[r / N * STRIDE + d];
            s[d] = (float)p.mod[r / N * STRIDE + D + d];
        }
        fdit_host_modulate(D, y, hat, affine ? w : NULL, affine ? b : NULL, modulated ? shift : NULL,
                           modulated ? s : NULL);
        norm_value(&p);
        for (int d = 0; d < D; d++)
            ck_assert_double_eq_tol(y[d], p.y[r * D + d], 1e-5);
    }
    pool_free(&pool);
}
END_TEST

START_TEST(norm_of_small_variance)
{
    json_t *root = test_tables();
    const json_t *given = json_object_get(root, "layer_norm_small_variance");
    const json_t *x_given = json_object_get(given, "x"), *y_given = json_object_get(given, "y");
    double x[64], y[64];
    int n = (int)json_array_size(x_given);
    ck_assert(n > 0 && n <= 64);
    for (int i = 0; i < n; i++)
        x[i] = (float)test_item(x_given, (size_t)i);
    fdit_ref_norm_f64(1, 1, n, y, x, NULL, NULL, NULL, NULL, 0, NULL, NULL);
    for (int i = 0; i < n; i++)
        ck_assert_double_eq_tol(y[i], test_item(y_given, (size_t)i), 1e-12);
    json_decref(root);
}
END_TEST

/* ------------------------------------------------------------------------------- attention */

struct attention_problem {
    int rows, heads, size;
    double *qkv, *c, *out;
};

static double attention_value(const void *problem)
{
    const struct attention_problem *p = problem;
    fdit_ref_attention_f64(B, p->rows, p->heads, p->size, p->out, NULL, p->qkv);
    return inner(p->out, p->c, (size_t)(B * p->rows * p->heads * p->size));
}

START_TEST(attention_gradients)
{
    static const int shapes[][3] = { { 5, 2, 3 }, { 1, 1, 1 }, { 4, 1, 8 } };
    struct pool pool = { .rng = test_rng_new("attention") };
    struct attention_problem p = { shapes[_i][0], shapes[_i][1], shapes[_i][2], 0, 0, 0 };
    size_t n = (size_t)(B * p.rows * p.heads * p.size);
    p.qkv = randoms(&pool, 3 * n);
    p.c = randoms(&pool, n);
    p.out = zeros(&pool, n);
    double *lse = zeros(&pool, (size_t)(B * p.heads * p.rows)), *dqkv = zeros(&pool, 3 * n);
    double *out = zeros(&pool, n);
    fdit_ref_attention_f64(B, p.rows, p.heads, p.size, out, lse, p.qkv);
    fdit_ref_attention_backward_f64(B, p.rows, p.heads, p.size, dqkv, p.c, p.qkv, out, lse);
    test_check_gradient("attention", attention_value, &p, p.qkv, dqkv, 3 * n);

    /* lse and layout, by hand: sample 1, last head, first token. */
    size_t token = (size_t)(3 * p.heads * p.size), h = (size_t)((p.heads - 1) * p.size);
    const double *q = p.qkv + (size_t)p.rows * token + h;
    double sum = 0;
    for (int j = 0; j < p.rows; j++)
        sum +=
            exp(inner(q, q + (size_t)j * token + (size_t)(p.heads * p.size), (size_t)p.size) / sqrt(p.size));
    double got = lse[(size_t)((p.heads + p.heads - 1) * p.rows)];
    ck_assert_double_eq_tol(got, log(sum), 1e-12);
    pool_free(&pool);
}
END_TEST

/* Scores far beyond exp's range, and equal ones. */
struct qk_problem {
    double *x, *vectors[4], *dy, *y;
};

enum { QK_B = 2, QK_N = 3, QK_H = 2, QK_D = 5, QK_ALL = QK_B * QK_N * 3 * QK_H * QK_D };

static double qk_value(const void *problem)
{
    const struct qk_problem *p = problem;
    const double *const vectors[4] = { p->vectors[0], p->vectors[1], p->vectors[2], p->vectors[3] };
    fdit_ref_qk_norm_f64(QK_B, QK_N, QK_H, QK_D, p->y, p->x, vectors, NULL, NULL);
    return inner(p->y, p->dy, QK_ALL);
}

START_TEST(qk_norm_gradients)
{
    struct pool pool = { .rng = test_rng_new("qk_norm") };
    struct qk_problem p = { .x = randoms(&pool, QK_ALL),
                            .dy = randoms(&pool, QK_ALL),
                            .y = zeros(&pool, QK_ALL) };
    enum { TOKENS = QK_B * QK_N };
    double *sums[4], *grads[4], *xhat = zeros(&pool, QK_ALL), *rstd = zeros(&pool, QK_ALL),
                                *dx = zeros(&pool, QK_ALL);
    for (int i = 0; i < 4; i++) {
        p.vectors[i] = randoms(&pool, QK_D);
        sums[i] = zeros(&pool, TOKENS * QK_D);
        grads[i] = zeros(&pool, QK_D);
    }
    const double *const vectors[4] = { p.vectors[0], p.vectors[1], p.vectors[2], p.vectors[3] };
    const double *const weights[2] = { p.vectors[0], p.vectors[2] };
    fdit_ref_qk_norm_f64(QK_B, QK_N, QK_H, QK_D, p.y, p.x, vectors, xhat, rstd);
    fdit_ref_qk_norm_backward_f64(QK_B, QK_N, QK_H, QK_D, dx, p.dy, sums, xhat, rstd, weights);
    test_check_gradient("qk_norm, x", qk_value, &p, p.x, dx, QK_ALL);
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < TOKENS * QK_D; k++)
            grads[i][k % QK_D] += sums[i][k];
        test_check_gradient("qk_norm, vectors", qk_value, &p, p.vectors[i], grads[i], QK_D);
    }
    /* 1, 3: mean 2, variance 1; the eps is 1e-5 */
    double two[6] = { 1, 3, 1, 3, 7, 8 }, out[6];
    const double one[2] = { 1, 1 }, none[2] = { 0, 0 };
    const double *const plain[4] = { one, none, one, none };
    fdit_ref_qk_norm_f64(1, 1, 1, 2, out, two, plain, NULL, NULL);
    ck_assert_double_eq_tol(out[1], 1 / sqrt(1 + 1e-5), 1e-12);
    ck_assert(out[4] == 7 && out[5] == 8);
    pool_free(&pool);
}
END_TEST

START_TEST(attention_extremes)
{
    double qkv[2 * 3 * 2] = { 1000, 1000, 1000, 1000, 1, 2, -1000, -1000, 500, 500, 3, 4 };
    double out[4], lse[2];
    fdit_ref_attention_f64(1, 2, 1, 2, out, lse, qkv);
    ck_assert(out[0] == 1 && out[1] == 2); /* all weight on the first token */
    ck_assert(out[2] == 3 && out[3] == 4); /* and on the second */
    ck_assert(isfinite(lse[0]) && isfinite(lse[1]));
    memset(qkv, 0, sizeof qkv);
    qkv[4] = 1;
    qkv[10] = 3;
    fdit_ref_attention_f64(1, 2, 1, 2, out, lse, qkv);
    ck_assert_double_eq_tol(out[0], 2, 1e-15);
    ck_assert_double_eq_tol(lse[1], log(2), 1e-15);
    qkv[0] = NAN;
    fdit_ref_attention_f64(1, 2, 1, 2, out, lse, qkv);
    ck_assert(isnan(out[0]) && isnan(lse[0]) && !isnan(out[2]));
}
END_TEST

/* --------------------------------------------------------------------- adjoints of the rest */

START_TEST(token_mean_adjoint)
{
    struct pool pool = { .rng = test_rng_new("mean") };
    double *x = randoms(&pool, M * D), *y = randoms(&pool, B * D);
    double *ax = zeros(&pool, B * D), *dx = zeros(&pool, M * D);
    fdit_ref_token_mean_f64(B, N, D, ax, x);
    fdit_ref_token_mean_backward_f64(B, N, D, dx, y);
    check_adjoint("token_mean", inner(ax, y, B * D), inner(x, dx, M * D));
    double sum = 0;
    for (int n = 0; n < N; n++)
        sum += x[(N + n) * D + 2] / N;
    ck_assert_double_eq_tol(ax[D + 2], sum, 1e-14);
    pool_free(&pool);
}
END_TEST

START_TEST(gate_adjoints)
{
    struct pool pool = { .rng = test_rng_new("gate") };
    double *branch = randoms(&pool, M * D), *gate = randoms(&pool, B * D), *y = randoms(&pool, M * D);
    double *ax = zeros(&pool, M * D), *dbranch = zeros(&pool, M * D), *dgate = zeros(&pool, B * D);
    fdit_ref_gate_f64(B, N, D, ax, NULL, branch, gate, D);
    fdit_ref_gate_backward_f64(B, N, D, dbranch, dgate, D, y, branch, gate, D);
    double value = inner(ax, y, M * D);
    check_adjoint("gate, branch", value, inner(branch, dbranch, M * D));
    check_adjoint("gate, gate", value, inner(gate, dgate, B * D));
    double *alone = zeros(&pool, B * D), *first = copy_of(&pool, dbranch, M * D);
    fdit_ref_gate_backward_f64(B, N, D, NULL, alone, D, y, branch, NULL, 0);
    check_close("dgate alone", alone, dgate, B * D);
    fdit_ref_gate_backward_f64(B, N, D, dbranch, NULL, 0, y, NULL, gate, D);
    check_close("dbranch alone", dbranch, first, M * D);
    pool_free(&pool);
}
END_TEST

START_TEST(gather_adjoint)
{
    enum { SAMPLES = 6, ROWS = 4 };
    static const int32_t rows[SAMPLES] = { 2, 0, 2, 3, 2, 0 }; /* row 1 is absent */
    struct pool pool = { .rng = test_rng_new("gather") };
    double *table = randoms(&pool, ROWS * D), *y = randoms(&pool, SAMPLES * D);
    double *ax = zeros(&pool, SAMPLES * D), *dtable = zeros(&pool, ROWS * D);
    ck_assert_int_eq(fdit_ref_gather_f64(SAMPLES, ROWS, D, ax, table, rows, 0), SAMPLES);
    ck_assert_int_eq(fdit_ref_scatter_add_f64(SAMPLES, ROWS, D, dtable, y, rows, 0), SAMPLES);
    check_adjoint("gather", inner(ax, y, SAMPLES * D), inner(table, dtable, ROWS * D));
    check_close("row 3", dtable + 3 * D, y + 3 * D, D);
    for (int d = 0; d < D; d++)
        ck_assert(dtable[D + d] == 0);
    double *start = randoms(&pool, SAMPLES * D), *sum = copy_of(&pool, start, SAMPLES * D);
    fdit_ref_gather_f64(SAMPLES, ROWS, D, sum, table, rows, 1);
    check_added("gather, beta", sum, start, ax, SAMPLES * D);
    memcpy(sum, start, SAMPLES * D * sizeof *sum);
    fdit_ref_scatter_add_f64(SAMPLES, ROWS, D, sum, y, rows, 1);
    check_added("scatter_add, beta", sum, start, dtable, ROWS * D);

    /* Rows outside the table: the first is named, the others' work is done, nothing else touched. */
    static const int32_t wrong[SAMPLES] = { 2, 0, -1, 3, ROWS, 0 };
    memcpy(sum, start, SAMPLES * D * sizeof *sum);
    ck_assert_int_eq(fdit_ref_gather_f64(SAMPLES, ROWS, D, sum, table, wrong, 0), 2);
    check_close("bad row", sum + 2 * D, start + 2 * D, D);
    check_close("good row", sum + 3 * D, table + 3 * D, D);
    ck_assert_int_eq(fdit_ref_scatter_add_f64(SAMPLES, ROWS, D, dtable, y, wrong, 0), 2);
    check_close("row 2", dtable + 2 * D, y, D);
    pool_free(&pool);
}
END_TEST

START_TEST(patches)
{
    enum { C = 3, S = 6, P = 2, ALL = B * C * S * S };
    struct pool pool = { .rng = test_rng_new("patches") };
    for (int order = 0; order < 2; order++) {
        double *image = randoms(&pool, ALL), *tokens = randoms(&pool, ALL);
        double *ax = zeros(&pool, ALL), *back = zeros(&pool, ALL), *dimage = zeros(&pool, ALL);
        fdit_ref_patchify_f64(B, C, S, P, (enum fdit_patch_order)order, ax, image);
        fdit_ref_unpatchify_f64(B, C, S, P, (enum fdit_patch_order)order, tokens, dimage);
        check_adjoint("patchify", inner(ax, tokens, ALL), inner(image, dimage, ALL));
        fdit_ref_unpatchify_f64(B, C, S, P, (enum fdit_patch_order)order, ax, back);
        check_close("there and back", back, image, ALL);
        /* sample 1, channel 2, pixel (3, 4): token row 1, column 2; inside py 1, px 0 */
        double pixel = image[((1 * C + 2) * S + 3) * S + 4];
        int token = (1 * 3 + 1) * 3 + 2;
        int inside = order == FDIT_PATCH_CHANNEL_FIRST ? (2 * P + 1) * P + 0 : (1 * P + 0) * C + 2;
        ck_assert(ax[token * C * P * P + inside] == pixel);
    }
    pool_free(&pool);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gradients");
    TCase *tc = tcase_create("differences");
    tcase_add_test(tc, activation_slopes);
    tcase_add_test(tc, activation_values);
    tcase_add_test(tc, linear_gradients);
    tcase_add_test(tc, gated_linear_gradients);
    tcase_add_loop_test(tc, norm_gradients, 0, 4);
    tcase_add_test(tc, norm_of_small_variance);
    tcase_add_loop_test(tc, attention_gradients, 0, 3);
    tcase_add_test(tc, attention_extremes);
    suite_add_tcase(suite, tc);
    tc = tcase_create("adjoints");
    tcase_add_test(tc, linear_adjoints);
    tcase_add_test(tc, qk_norm_gradients);
    tcase_add_test(tc, token_mean_adjoint);
    tcase_add_test(tc, gate_adjoints);
    tcase_add_test(tc, gather_adjoint);
    tcase_add_test(tc, patches);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
