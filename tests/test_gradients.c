/* SPDX-License-Identifier: Apache-2.0
 * test_gradients.c: the backward formulas of the reference against finite differences of its forward
 * formulas, in double, and <A x, y> = <x, A' y> for the linear ones. The other devices are compared to
 * the reference in test_ops.c. */
#include "core/mem.h"
#include "device/host_math.h"
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

/* Compares a gradient to the central differences of f by the n entries of x. */
typedef double (*value_fn)(const void *problem);
static void check_gradient(const char *what, value_fn f, const void *problem, double *x,
                           const double *gradient, size_t n)
{
    const double step = 1e-4;
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(gradient[i]));
    ck_assert_msg(largest > 0, "%s: the gradient is all zero", what);
    for (size_t i = 0; i < n; i++) {
        double at = x[i], values[4];
        static const double steps[] = { 1, -1, 2, -2 };
        for (int k = 0; k < 4; k++) {
            x[i] = at + steps[k] * step;
            values[k] = f(problem);
        }
        x[i] = at;
        /* Error of order step^4. */
        double wanted = (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * step);
        ck_assert_msg(fabs(gradient[i] - wanted) <= 1e-8 * largest + 1e-9,
                      "%s, element %zu: %.12g, differences say %.12g", what, i, gradient[i], wanted);
    }
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
                (8 * (ref_act((enum fdit_act)act, x + h) - ref_act((enum fdit_act)act, x - h)) -
                 (ref_act((enum fdit_act)act, x + 2 * h) - ref_act((enum fdit_act)act, x - 2 * h))) /
                (12 * h);
            double got = ref_act_slope((enum fdit_act)act, x);
            if (act == FDIT_ACT_RELU && x == 0)
                wanted = 0; /* by device.h; the difference sees half of both sides */
            ck_assert_msg(fabs(got - wanted) < 1e-10, "act %d at %g: %.14g, not %.14g", act, x, got, wanted);
        }
    }
    double x[5] = { -3, -0.5, 0, 0.7, 2 }, dy[5] = { 1, 2, 3, 4, 5 }, y[5], dx[5];
    ref_activation_f64(5, FDIT_ACT_SILU, y, x);
    ref_activation_backward_f64(5, FDIT_ACT_SILU, dx, dy, x);
    for (int i = 0; i < 5; i++) {
        ck_assert(y[i] == ref_act(FDIT_ACT_SILU, x[i]));
        ck_assert(dx[i] == dy[i] * ref_act_slope(FDIT_ACT_SILU, x[i]));
    }
}
END_TEST

static json_t *tables(void)
{
    char *path = test_fixture("tables.json");
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    ck_assert_msg(root != NULL, "%s: %s", path, error.text);
    free(path);
    return root;
}

static double item(const json_t *array, size_t i)
{
    return json_number_value(json_array_get(array, i));
}

START_TEST(activation_values)
{
    static const char *const names[] = { "gelu_tanh", "silu" };
    json_t *root = tables();
    for (int k = 0; k < 2; k++) {
        const json_t *x = json_object_get(json_object_get(root, names[k]), "x");
        const json_t *y = json_object_get(json_object_get(root, names[k]), "y");
        ck_assert_uint_gt(json_array_size(x), 0);
        for (size_t i = 0; i < json_array_size(x); i++) {
            double got = ref_act(k ? FDIT_ACT_SILU : FDIT_ACT_GELU_TANH, item(x, i));
            ck_assert_msg(fabs(got - item(y, i)) <= 1e-14 * (1 + fabs(got)), "%s(%g) = %.16g, not %.16g",
                          names[k], item(x, i), got, item(y, i));
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
    ref_activation_f64(M * D, p->before, x, p->x);
    ref_linear_f64(B, N, D, K, p->y, x, p->w, p->bias, p->add, NULL, NULL, 0, p->act, NULL, p->gate, K,
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
        ref_linear_dx_f64(M, D, K, dx, p.c, p.w, NULL, p.before, p.x, 0);
        check_gradient("linear_dx", linear_value, &p, p.x, dx, M * D);
        double *x = copy_of(&pool, p.x, M * D);
        ref_activation_f64(M * D, p.before, x, p.x);
        ref_linear_dw_f64(M, D, K, dw, p.c, x, 0);
        check_gradient("linear_dw", linear_value, &p, p.w, dw, K * D);
        ref_column_sum_f64(M, K, db, p.c, 0);
        check_gradient("column_sum", linear_value, &p, p.bias, db, K);

        double *start = randoms(&pool, M * D), *sum = copy_of(&pool, start, M * D);
        ref_linear_dw_f64(M, D, K, sum, p.c, x, 1);
        check_added("linear_dw", sum, start, dw, K * D);
        memcpy(sum, start, M * D * sizeof *sum);
        ref_column_sum_f64(M, K, sum, p.c, 1);
        check_added("column_sum", sum, start, db, K);
        /* add is the gradient that another use of x gave: dx is then that of both */
        double *other = randoms(&pool, M * D), *with = zeros(&pool, M * D), *slope = zeros(&pool, M * D);
        ref_linear_dx_f64(M, D, K, with, p.c, p.w, other, p.before, p.x, 0);
        ref_activation_backward_f64(M * D, p.before, slope, other, p.x);
        check_added("linear_dx add", with, slope, dx, M * D);
        if (act == FDIT_ACT_NONE) {
            memcpy(sum, start, M * D * sizeof *sum);
            ref_linear_dx_f64(M, D, K, sum, p.c, p.w, NULL, FDIT_ACT_NONE, NULL, 1);
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
    ref_linear_f64(B, N, D, K, p.y, p.x, p.w, p.bias, p.add, NULL, NULL, 0, p.act, pre, p.gate, K, p.residual,
                   false, 0);
    ref_activation_f64(M * K, p.act, branch, pre);
    ref_gate_backward_f64(B, N, K, branch, dgate, K, p.c, branch, p.gate, K); /* in place */
    ref_activation_backward_f64(M * K, p.act, dz, branch, pre);
    ref_linear_dx_f64(M, D, K, dx, dz, p.w, NULL, FDIT_ACT_NONE, NULL, 0);
    check_gradient("gate", linear_value, &p, p.gate, dgate, B * K);
    check_gradient("residual", linear_value, &p, p.residual, p.c, M * K);
    check_gradient("add", linear_value, &p, p.add, dz, M * K);
    check_gradient("x through the gate", linear_value, &p, p.x, dx, M * D);

    /* The pieces: pre is the plain product, the gate entry the same mix, a shared residual repeats. */
    double *plain = zeros(&pool, M * K), *mixed = zeros(&pool, M * K), *both = zeros(&pool, M * K);
    ref_linear_f64(B, N, D, K, plain, p.x, p.w, p.bias, p.add, NULL, NULL, 0, FDIT_ACT_NONE, NULL, NULL, 0,
                   NULL, false, 0);
    check_close("pre", pre, plain, M * K);
    ref_activation_f64(M * K, p.act, branch, pre);
    ref_linear_f64(B, N, D, K, p.y, p.x, p.w, p.bias, p.add, NULL, NULL, 0, p.act, NULL, p.gate, K,
                   p.residual, false, 0);
    ref_gate_f64(B, N, K, mixed, p.residual, branch, p.gate, K);
    check_close("gate", mixed, p.y, M * K);
    ref_linear_f64(B, N, D, K, p.y, p.x, p.w, p.bias, p.add, NULL, NULL, 0, p.act, NULL, NULL, 0, p.residual,
                   true, 0);
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
    ref_linear_f64(B, N, D, K, ax, x, w, NULL, NULL, NULL, NULL, 0, FDIT_ACT_NONE, NULL, NULL, 0, NULL, false,
                   0);
    ref_linear_dx_f64(M, D, K, dx, y, w, NULL, FDIT_ACT_NONE, NULL, 0);
    ref_linear_dw_f64(M, D, K, dw, y, x, 0);
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
    ref_norm_f64(B, N, D, p->y, p->x, p->weight, p->bias, p->modulated ? p->mod : NULL,
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
    ref_norm_f64(B, N, D, NULL, p.x, NULL, NULL, NULL, NULL, 0, xhat, rstd);
    ref_norm_backward_dx_f64(B, N, D, dx, false, p.c, xhat, rstd, p.weight, scale, STRIDE);
    ref_norm_backward_sums_f64(B, N, D, dmod, dmod + D, STRIDE, dweight, dbias, 0, p.c, xhat, p.weight,
                               p.bias, scale, STRIDE);
    check_gradient("norm, dx", norm_value, &p, p.x, dx, M * D);
    if (modulated)
        for (int b = 0; b < B; b++)
            check_gradient("norm, dshift and dscale", norm_value, &p, p.mod + b * STRIDE, dmod + b * STRIDE,
                           2 * D);
    if (affine) {
        check_gradient("norm, dweight", norm_value, &p, p.weight, dweight, D);
        check_gradient("norm, dbias", norm_value, &p, p.bias, dbias, D);
    }
    ck_assert(dmod[2 * D] == 0); /* between the rows nothing is written */

    double *start = randoms(&pool, M * D), *sum = copy_of(&pool, start, M * D);
    ref_norm_backward_dx_f64(B, N, D, sum, true, p.c, xhat, rstd, p.weight, scale, STRIDE);
    check_added("norm, accumulate", sum, start, dx, M * D);
    double *more = copy_of(&pool, start, 2 * D);
    ref_norm_backward_sums_f64(B, N, D, NULL, NULL, 0, more, more + D, 1, p.c, xhat, p.weight, p.bias, scale,
                               STRIDE);
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
    json_t *root = tables();
    const json_t *given = json_object_get(root, "layer_norm_small_variance");
    const json_t *x_given = json_object_get(given, "x"), *y_given = json_object_get(given, "y");
    double x[64], y[64];
    int n = (int)json_array_size(x_given);
    ck_assert(n > 0 && n <= 64);
    for (int i = 0; i < n; i++)
        x[i] = (float)item(x_given, (size_t)i);
    ref_norm_f64(1, 1, n, y, x, NULL, NULL, NULL, NULL, 0, NULL, NULL);
    for (int i = 0; i < n; i++)
        ck_assert_double_eq_tol(y[i], item(y_given, (size_t)i), 1e-12);
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
    ref_attention_f64(B, p->rows, p->heads, p->size, p->out, NULL, p->qkv);
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
    ref_attention_f64(B, p.rows, p.heads, p.size, out, lse, p.qkv);
    ref_attention_backward_f64(B, p.rows, p.heads, p.size, dqkv, p.c, p.qkv, out, lse);
    check_gradient("attention", attention_value, &p, p.qkv, dqkv, 3 * n);

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
    ref_qk_norm_f64(QK_B, QK_N, QK_H, QK_D, p->y, p->x, vectors, NULL, NULL);
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
    ref_qk_norm_f64(QK_B, QK_N, QK_H, QK_D, p.y, p.x, vectors, xhat, rstd);
    ref_qk_norm_backward_f64(QK_B, QK_N, QK_H, QK_D, dx, p.dy, sums, xhat, rstd, weights);
    check_gradient("qk_norm, x", qk_value, &p, p.x, dx, QK_ALL);
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < TOKENS * QK_D; k++)
            grads[i][k % QK_D] += sums[i][k];
        check_gradient("qk_norm, vectors", qk_value, &p, p.vectors[i], grads[i], QK_D);
    }
    /* 1, 3: mean 2, variance 1; the eps is 1e-5 */
    double two[6] = { 1, 3, 1, 3, 7, 8 }, out[6];
    const double one[2] = { 1, 1 }, none[2] = { 0, 0 };
    const double *const plain[4] = { one, none, one, none };
    ref_qk_norm_f64(1, 1, 1, 2, out, two, plain, NULL, NULL);
    ck_assert_double_eq_tol(out[1], 1 / sqrt(1 + 1e-5), 1e-12);
    ck_assert(out[4] == 7 && out[5] == 8);
    pool_free(&pool);
}
END_TEST

START_TEST(attention_extremes)
{
    double qkv[2 * 3 * 2] = { 1000, 1000, 1000, 1000, 1, 2, -1000, -1000, 500, 500, 3, 4 };
    double out[4], lse[2];
    ref_attention_f64(1, 2, 1, 2, out, lse, qkv);
    ck_assert(out[0] == 1 && out[1] == 2); /* all weight on the first token */
    ck_assert(out[2] == 3 && out[3] == 4); /* and on the second */
    ck_assert(isfinite(lse[0]) && isfinite(lse[1]));
    memset(qkv, 0, sizeof qkv);
    qkv[4] = 1;
    qkv[10] = 3;
    ref_attention_f64(1, 2, 1, 2, out, lse, qkv);
    ck_assert_double_eq_tol(out[0], 2, 1e-15);
    ck_assert_double_eq_tol(lse[1], log(2), 1e-15);
    qkv[0] = NAN;
    ref_attention_f64(1, 2, 1, 2, out, lse, qkv);
    ck_assert(isnan(out[0]) && isnan(lse[0]) && !isnan(out[2]));
}
END_TEST

/* --------------------------------------------------------------------- adjoints of the rest */

START_TEST(token_mean_adjoint)
{
    struct pool pool = { .rng = test_rng_new("mean") };
    double *x = randoms(&pool, M * D), *y = randoms(&pool, B * D);
    double *ax = zeros(&pool, B * D), *dx = zeros(&pool, M * D);
    ref_token_mean_f64(B, N, D, ax, x);
    ref_token_mean_backward_f64(B, N, D, dx, y);
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
    ref_gate_f64(B, N, D, ax, NULL, branch, gate, D);
    ref_gate_backward_f64(B, N, D, dbranch, dgate, D, y, branch, gate, D);
    double value = inner(ax, y, M * D);
    check_adjoint("gate, branch", value, inner(branch, dbranch, M * D));
    check_adjoint("gate, gate", value, inner(gate, dgate, B * D));
    double *alone = zeros(&pool, B * D), *first = copy_of(&pool, dbranch, M * D);
    ref_gate_backward_f64(B, N, D, NULL, alone, D, y, branch, NULL, 0);
    check_close("dgate alone", alone, dgate, B * D);
    ref_gate_backward_f64(B, N, D, dbranch, NULL, 0, y, NULL, gate, D);
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
    ck_assert_int_eq(ref_gather_f64(SAMPLES, ROWS, D, ax, table, rows, 0), SAMPLES);
    ck_assert_int_eq(ref_scatter_add_f64(SAMPLES, ROWS, D, dtable, y, rows, 0), SAMPLES);
    check_adjoint("gather", inner(ax, y, SAMPLES * D), inner(table, dtable, ROWS * D));
    check_close("row 3", dtable + 3 * D, y + 3 * D, D);
    for (int d = 0; d < D; d++)
        ck_assert(dtable[D + d] == 0);
    double *start = randoms(&pool, SAMPLES * D), *sum = copy_of(&pool, start, SAMPLES * D);
    ref_gather_f64(SAMPLES, ROWS, D, sum, table, rows, 1);
    check_added("gather, beta", sum, start, ax, SAMPLES * D);
    memcpy(sum, start, SAMPLES * D * sizeof *sum);
    ref_scatter_add_f64(SAMPLES, ROWS, D, sum, y, rows, 1);
    check_added("scatter_add, beta", sum, start, dtable, ROWS * D);

    /* Rows outside the table: the first is named, the others' work is done, nothing else touched. */
    static const int32_t wrong[SAMPLES] = { 2, 0, -1, 3, ROWS, 0 };
    memcpy(sum, start, SAMPLES * D * sizeof *sum);
    ck_assert_int_eq(ref_gather_f64(SAMPLES, ROWS, D, sum, table, wrong, 0), 2);
    check_close("bad row", sum + 2 * D, start + 2 * D, D);
    check_close("good row", sum + 3 * D, table + 3 * D, D);
    ck_assert_int_eq(ref_scatter_add_f64(SAMPLES, ROWS, D, dtable, y, wrong, 0), 2);
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
        ref_patchify_f64(B, C, S, P, (enum fdit_patch_order)order, ax, image);
        ref_unpatchify_f64(B, C, S, P, (enum fdit_patch_order)order, tokens, dimage);
        check_adjoint("patchify", inner(ax, tokens, ALL), inner(image, dimage, ALL));
        ref_unpatchify_f64(B, C, S, P, (enum fdit_patch_order)order, ax, back);
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

/* ------------------------------------------------------------------------------------ loss */

struct loss_problem {
    struct fdit_loss_coef coef;
    double eps, v, x0, noise;
};

static double mse_value(const void *problem)
{
    const struct loss_problem *p = problem;
    double mse;
    fdit_host_loss_element(&p->coef, p->eps, p->v, p->x0, p->noise, &mse, NULL, NULL, NULL);
    return mse;
}

static double vb_value(const void *problem)
{
    const struct loss_problem *p = problem;
    double vb;
    fdit_host_loss_element(&p->coef, p->eps, p->v, p->x0, p->noise, NULL, &vb, NULL, NULL);
    return vb;
}

static const struct fdit_loss_coef loss_coefs[] = {
    /* chain of 1000 steps: t = 0, t = 1, t = 500 */
    { .is_first = 1, .log_beta = -9.21034037f, .log_var = -9.81672514f, .mean_eps = 0.01f },
    { .log_beta = -9.02868637f, .log_var = -9.81672514f, .mean_eps = 0.0081f },
    { .log_beta = -4.59919209f, .log_var = -4.60004974f, .mean_eps = 0.0105f },
};

START_TEST(loss_gradients)
{
    struct test_rng rng = test_rng_new("loss");
    struct loss_problem p = { .coef = loss_coefs[_i] };
    for (int k = 0; k < 200; k++) {
        static const double ends[] = { -1.2, -0.9995, 0.9995, 1.3, 0 };
        double dmse, dvb;
        p.noise = test_normal(&rng);
        p.eps = p.noise + 0.3 * test_normal(&rng);
        p.v = test_normal(&rng);
        p.x0 = k % 6 < 5 ? ends[k % 6] : test_normal(&rng);
        fdit_host_loss_element(&p.coef, p.eps, p.v, p.x0, p.noise, NULL, NULL, &dmse, &dvb);
        check_gradient("mse by eps", mse_value, &p, &p.eps, &dmse, 1);
        check_gradient("vb by v", vb_value, &p, &p.v, &dvb, 1);
    }
}
END_TEST

/* Under the floor of 1e-12 the likelihood is constant, and NaN is not taken for small. */
START_TEST(loss_floor)
{
    struct loss_problem p = { .coef = loss_coefs[0], .eps = 50, .v = 0.1, .x0 = 0.2 };
    double vb, dvb;
    fdit_host_loss_element(&p.coef, p.eps, p.v, p.x0, p.noise, NULL, &vb, NULL, &dvb);
    ck_assert_double_eq_tol(vb, log2(1e12), 1e-9);
    ck_assert(dvb == 0);
    for (int k = 0; k < 4; k++) {
        double *number[] = { &p.eps, &p.v, &p.x0, &p.noise };
        double mse, right = *number[k];
        *number[k] = NAN;
        fdit_host_loss_element(&p.coef, p.eps, p.v, p.x0, p.noise, &mse, &vb, NULL, NULL);
        ck_assert(isnan(vb) || isnan(mse) || k == 2);
        *number[k] = right;
    }
}
END_TEST

START_TEST(likelihood_table)
{
    static const char *const lists[] = { "cases", "tail" };
    json_t *root = tables();
    for (int l = 0; l < 2; l++) {
        const json_t *cases = json_object_get(json_object_get(root, "discretised_nll"), lists[l]);
        ck_assert_uint_gt(json_array_size(cases), 0);
        for (size_t i = 0; i < json_array_size(cases); i++) {
            const json_t *row = json_array_get(cases, i);
            double x = (float)item(row, 0), mean = (float)item(row, 1), vb;
            /* v = 1: the log-variance is log_beta, twice the log-scale. */
            struct fdit_loss_coef coef = { .is_first = 1,
                                           .log_beta = 2 * (float)item(row, 2),
                                           .mean_eps = 1 };
            fdit_host_loss_element(&coef, x - mean, 1, x, 0, NULL, &vb, NULL, NULL);
            double nats = vb * log(2), wanted = item(row, 3);
            ck_assert_msg(fabs(nats - wanted) <= 1e-9 * (1 + wanted), "%s %zu: %.12g, not %.12g", lists[l], i,
                          nats, wanted);
        }
    }
    json_decref(root);
}
END_TEST

/* The arrays: means over all elements, the gradient scaled, no matter how they are cut. */
START_TEST(loss_arrays)
{
    enum { COUNT = 37 };
    struct test_rng rng = test_rng_new("loss arrays");
    struct fdit_loss_coef coef = loss_coefs[_i];
    float eps[COUNT], v[COUNT], x0[COUNT], noise[COUNT], deps[COUNT], dv[COUNT], parts[2][COUNT];
    double mse = 0, vb = 0, mse_parts = 0, vb_parts = 0, mse_sum = 0, vb_sum = 0;
    coef.scale = 0.25f;
    coef.scale_vb = 0.5f;
    test_fill_normal(&rng, eps, COUNT, 0, 1);
    test_fill_normal(&rng, v, COUNT, 0, 1);
    test_fill_normal(&rng, x0, COUNT, 0, 1);
    test_fill_normal(&rng, noise, COUNT, 0, 1);
    fdit_host_diffusion_loss(COUNT, COUNT, &coef, eps, v, x0, noise, deps, dv, &mse, &vb);
    for (size_t at = 0; at < COUNT; at += 10) {
        size_t n = COUNT - at < 10 ? COUNT - at : 10;
        fdit_host_diffusion_loss(n, COUNT, &coef, eps + at, v + at, x0 + at, noise + at, parts[0] + at,
                                 parts[1] + at, &mse_parts, &vb_parts);
    }
    ck_assert(mse == mse_parts && vb == vb_parts);
    ck_assert(memcmp(deps, parts[0], sizeof deps) == 0 && memcmp(dv, parts[1], sizeof dv) == 0);
    for (int i = 0; i < COUNT; i++) {
        double e2, bound, de, dbound;
        fdit_host_loss_element(&coef, eps[i], v[i], x0[i], noise[i], &e2, &bound, &de, &dbound);
        mse_sum += e2 / COUNT;
        vb_sum += bound / COUNT;
        ck_assert_double_eq_tol(deps[i], 0.25 * de / COUNT, 1e-7 * (1 + fabs(de)));
        ck_assert_double_eq_tol(dv[i], 0.5 * dbound / COUNT, 1e-7 * (1 + fabs(dbound)));
    }
    ck_assert_double_eq_tol(mse, mse_sum, 1e-12);
    ck_assert_double_eq_tol(vb, vb_sum, 1e-12 * (1 + fabs(vb)));
}
END_TEST

/* By differences, and by hand: x0 = 2, noise = -1, so that the velocity is 3 or -3. */
START_TEST(velocity_loss_gradient)
{
    const float step = 0x1p-10f, x0 = 2, noise = -1;
    for (int sign = -1; sign < 2; sign += 2) {
        const struct fdit_velocity_coef coef = { (float)sign, (float)-sign, 0.25f, { 0 } };
        double mse = 0, up = 0, down = 0;
        float out = 1.5f, above = out + step, below = out - step, dout = 0;
        fdit_host_velocity_loss(1, 4, &coef, &out, &x0, &noise, &dout, &mse);
        fdit_host_velocity_loss(1, 4, &coef, &above, &x0, &noise, NULL, &up);
        fdit_host_velocity_loss(1, 4, &coef, &below, &x0, &noise, NULL, &down);
        ck_assert_double_eq_tol(mse, sign > 0 ? 2.25 / 4 : 20.25 / 4, 1e-15);
        ck_assert_double_eq_tol(dout, 0.25 * (up - down) / (2 * (double)step), 1e-7);
    }
}
END_TEST

/* Logits are multiples of the step, so that f32 holds them exactly. */
START_TEST(cross_entropy_gradient)
{
    enum { CLASSES = 7 };
    const float step = 0x1p-10f;
    struct test_rng rng = test_rng_new("cross entropy");
    float logits[CLASSES], dlogits[CLASSES];
    for (int k = 0; k < CLASSES; k++)
        logits[k] = rintf(test_normal(&rng) / step) * step;
    double loss = fdit_host_cross_entropy(CLASSES, logits, 3, 0.5, dlogits), sum = 0, total = 0;
    for (int k = 0; k < CLASSES; k++)
        sum += exp(logits[k]);
    ck_assert_double_eq_tol(loss, log(sum) - logits[3], 1e-12);
    for (int k = 0; k < CLASSES; k++) {
        float at = logits[k];
        logits[k] = at + step;
        double up = fdit_host_cross_entropy(CLASSES, logits, 3, 1, NULL);
        logits[k] = at - step;
        double down = fdit_host_cross_entropy(CLASSES, logits, 3, 1, NULL);
        logits[k] = at;
        ck_assert_double_eq_tol(dlogits[k], 0.5 * (up - down) / (2 * (double)step), 2e-7);
        total += dlogits[k];
    }
    ck_assert_double_eq_tol(total, 0, 1e-6);
    logits[0] = 1e30f; /* no overflow, and NaN goes on */
    ck_assert(fdit_host_cross_entropy(CLASSES, logits, 0, 1, dlogits) == 0);
    logits[5] = NAN;
    ck_assert(isnan(fdit_host_cross_entropy(CLASSES, logits, 0, 1, dlogits)) && isnan(dlogits[2]));
}
END_TEST

/* ------------------------------------------------------------- optimiser and sampler, by hand */

START_TEST(adamw_by_hand)
{
    double p[2] = { 1, -2 }, g[2] = { 0.5, -0.25 }, m[2] = { 0 }, v[2] = { 0 }, ema[2] = { 3, 3 };
    double scale[1] = { 0.5 };
    double b1 = 0.875, b2 = 0.9375; /* exact in f32 */
    struct fdit_adamw_args a = {
        .n = 2, .decay = 0.125f, .beta1 = (float)b1, .beta2 = (float)b2, .eps = 0.25f, .ema_decay = 0.75f
    };
    double lr = 0.5;
    for (int t = 1; t <= 3; t++) {
        double before[2] = { p[0], p[1] }, old_m[2] = { m[0], m[1] }, old_v[2] = { v[0], v[1] };
        double old_ema[2] = { ema[0], ema[1] };
        a.lr_bias1 = (float)(lr / (1 - pow(b1, t)));
        a.inv_sqrt_bias2 = (float)(1 / sqrt(1 - pow(b2, t)));
        ref_adamw_f64(&a, p, g, m, v, ema, scale);
        for (int i = 0; i < 2; i++) {
            double grad = 0.5 * g[i];
            ck_assert_double_eq_tol(m[i], b1 * old_m[i] + (1 - b1) * grad, 1e-15);
            ck_assert_double_eq_tol(v[i], b2 * old_v[i] + (1 - b2) * grad * grad, 1e-15);
            double mhat = m[i] / (1 - pow(b1, t)), vhat = v[i] / (1 - pow(b2, t));
            double wanted = before[i] * (1 - 0.125) - lr * mhat / (sqrt(vhat) + 0.25);
            ck_assert_double_eq_tol(p[i], wanted, 1e-6);
            ck_assert_double_eq_tol(ema[i], 0.75 * old_ema[i] + 0.25 * p[i], 1e-15);
        }
    }
    /* A gradient that never changes: mhat = g', vhat = g'^2, whatever t. */
    ck_assert_double_eq_tol(m[0] / (1 - pow(b1, 3)), 0.25, 1e-15);
    double kept[2] = { p[0], m[1] };
    static const double not_finite[] = { NAN, INFINITY, -INFINITY };
    for (int k = 0; k < 3; k++) {
        scale[0] = not_finite[k];
        ref_adamw_f64(&a, p, g, m, v, ema, scale);
        ck_assert(p[0] == kept[0] && m[1] == kept[1]);
    }
}
END_TEST

START_TEST(lion_by_hand)
{
    float p[3] = { 1, -2, 4 }, g[3] = { 0.5f, -0.25f, 0 }, m[3] = { -0.125f, 0.25f, 0 }, ema[3] = { 3, 3, 3 };
    const struct fdit_lion_args a = {
        .n = 3, .lr = 0.25f, .decay = 0.125f, .beta1 = 0.75, .beta2 = 0.5, .ema_decay = 0.75
    };
    /* g' = 0.25, -0.125, 0; b1 m + (1 - b1) g' = -0.03125, 0.15625, 0: the moment outweighs the gradient */
    fdit_host_lion(3, &a, 0.5, p, g, m, ema);
    const float want_p[3] = { 0.875f + 0.25f, -1.75f - 0.25f, 3.5f };
    const float want_m[3] = { 0.0625f, 0.0625f, 0 };
    for (int i = 0; i < 3; i++) {
        ck_assert_float_eq(p[i], want_p[i]);
        ck_assert_float_eq(m[i], want_m[i]);
        ck_assert_float_eq(ema[i], 0.75f * 3 + 0.25f * want_p[i]);
    }
    fdit_host_lion(1, &a, 0.5, p, g, m, NULL); /* 0.046875 + 0.0625: now up */
    ck_assert_float_eq(p[0], 1.125f * 0.875f - 0.25f);
    ck_assert_float_eq(m[0], 0.15625f);
}
END_TEST

START_TEST(clip_scale)
{
    const float partial[3] = { 4, 5, 16 };
    float scale, norm;
    fdit_host_clip_scale(3, partial, 2.5, &scale, &norm);
    ck_assert_float_eq(norm, 5);
    ck_assert_float_eq_tol(scale, 0.5f, 1e-6f);
    fdit_host_clip_scale(3, partial, 6, &scale, NULL);
    ck_assert_float_eq(scale, 1);
    fdit_host_clip_scale(3, partial, 0, &scale, &norm);
    ck_assert_float_eq(scale, 1);
    static const float bad[] = { NAN, INFINITY };
    for (int k = 0; k < 2; k++) {
        const float with_bad[2] = { 1, bad[k] };
        for (int clip = 0; clip < 2; clip++) {
            fdit_host_clip_scale(2, with_bad, clip, &scale, &norm);
            ck_assert(isnan(scale) && !isfinite(norm));
        }
    }
    ck_assert(ref_sum_squares_f64(3, (double[3]){ 1, 2, 3 }) == 14);
}
END_TEST

START_TEST(sampler_by_hand)
{
    struct fdit_sampler_step_args a = { .guidance = 4,
                                        .x0_x = 2,
                                        .x0_eps = -1,
                                        .to_x = 0.5f,
                                        .to_x0 = 0.25f,
                                        .to_eps = 3,
                                        .to_old = 5,
                                        .to_z = 7,
                                        .learned = true,
                                        .log_beta = -2,
                                        .log_var = -4 };
    float x = 1, eps = 0.5f, v = 0.5f, eps_u = 0.25f, z = 2, old = 10, next;
    fdit_host_sampler_step(1, &a, &next, &x, &eps, &v, &eps_u, &z, &old);
    double e = 0.25 + 4 * 0.25, x0 = 2 - e, sd = exp(0.5 * (0.75 * -2 + 0.25 * -4));
    ck_assert_float_eq_tol(next, (float)(0.5 + 0.25 * x0 + 3 * e + 50 + 14 * sd), 1e-4f);
    ck_assert_float_eq(old, (float)x0);
    a.clip_x0 = true;
    a.learned = false;
    a.to_old = 0;
    eps = -3;
    fdit_host_sampler_step(1, &a, &x, &x, &eps, NULL, NULL, NULL, &old); /* in place, no guide, no noise */
    ck_assert_float_eq(old, 1);                                          /* 2 + 3, clipped */
    ck_assert_float_eq_tol(x, 0.5f + 0.25f + 3 * 1, 1e-5f);              /* eps = (1 - 2) / -1 */
    float xt[2];
    const float x0s[2] = { 1, 2 }, noise[2] = { 10, 20 };
    fdit_host_diffuse(2, xt, x0s, noise, 0.5, 0.25);
    ck_assert(xt[0] == 3 && xt[1] == 6);
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
    tcase_add_loop_test(tc, loss_gradients, 0, 3);
    tcase_add_test(tc, loss_floor);
    tcase_add_test(tc, likelihood_table);
    tcase_add_loop_test(tc, loss_arrays, 0, 3);
    tcase_add_test(tc, cross_entropy_gradient);
    suite_add_tcase(suite, tc);
    tc = tcase_create("adjoints");
    tcase_add_test(tc, linear_adjoints);
    tcase_add_test(tc, qk_norm_gradients);
    tcase_add_test(tc, token_mean_adjoint);
    tcase_add_test(tc, gate_adjoints);
    tcase_add_test(tc, gather_adjoint);
    tcase_add_test(tc, patches);
    suite_add_tcase(suite, tc);
    tc = tcase_create("by hand");
    tcase_add_test(tc, adamw_by_hand);
    tcase_add_test(tc, velocity_loss_gradient);
    tcase_add_test(tc, lion_by_hand);
    tcase_add_test(tc, clip_scale);
    tcase_add_test(tc, sampler_by_hand);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
