/* SPDX-License-Identifier: Apache-2.0
 * test_host_math.c: losses, optimisers and the sampler's rule in the host's arithmetic, which all devices
 * share: gradients against finite differences, and values worked out by hand. */
#include "device/host_math.h"
#include "differences.h"
#include "harness.h"
#include "ref/ref_math.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
        test_check_gradient("mse by eps", mse_value, &p, &p.eps, &dmse, 1);
        test_check_gradient("vb by v", vb_value, &p, &p.v, &dvb, 1);
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
    json_t *root = test_tables();
    for (int l = 0; l < 2; l++) {
        const json_t *cases = json_object_get(json_object_get(root, "discretised_nll"), lists[l]);
        ck_assert_uint_gt(json_array_size(cases), 0);
        for (size_t i = 0; i < json_array_size(cases); i++) {
            const json_t *row = json_array_get(cases, i);
            double x = (float)test_item(row, 0), mean = (float)test_item(row, 1), vb;
            /* v = 1: the log-variance is log_beta, twice the log-scale. */
            struct fdit_loss_coef coef = { .is_first = 1,
                                           .log_beta = 2 * (float)test_item(row, 2),
                                           .mean_eps = 1 };
            fdit_host_loss_element(&coef, x - mean, 1, x, 0, NULL, &vb, NULL, NULL);
            double nats = vb * log(2), wanted = test_item(row, 3);
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
        fdit_ref_adamw_f64(&a, p, g, m, v, ema, scale);
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
        fdit_ref_adamw_f64(&a, p, g, m, v, ema, scale);
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
    ck_assert(fdit_ref_sum_squares_f64(3, (double[3]){ 1, 2, 3 }) == 14);
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
    Suite *suite = suite_create("host arithmetic");
    TCase *tc = tcase_create("losses");
    tcase_add_loop_test(tc, loss_gradients, 0, 3);
    tcase_add_test(tc, loss_floor);
    tcase_add_test(tc, likelihood_table);
    tcase_add_loop_test(tc, loss_arrays, 0, 3);
    tcase_add_test(tc, cross_entropy_gradient);
    tcase_add_test(tc, velocity_loss_gradient);
    suite_add_tcase(suite, tc);
    tc = tcase_create("optimisers and sampler");
    tcase_add_test(tc, adamw_by_hand);
    tcase_add_test(tc, lion_by_hand);
    tcase_add_test(tc, clip_scale);
    tcase_add_test(tc, sampler_by_hand);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
