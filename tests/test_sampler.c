/* SPDX-License-Identifier: Apache-2.0
 * test_sampler.c: sampler coefficients, applied in double to networks that are formulas: against
 * the samplers written out, and against what a sampler must do with a perfect network. */
#include "core/mem.h"
#include "core/rng.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"
#include "harness.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 12 }; /* elements of the picture */

static fdit_context *ctx;

static void setup(void)
{
    ctx = fdit_context_new();
    ck_assert_ptr_nonnull(ctx);
}

static void teardown(void)
{
    fdit_context_free(ctx);
}

/* A network: eps and v of an element from x and t. */
typedef void (*network_fn)(double x, int t, double *eps, double *v);

/* Bends enough that every term of a rule shows. */
static void bent_network(double x, int t, double *eps, double *v)
{
    *eps = tanh(0.7 * x + 0.001 * t) + 0.2 * sin(3 * x);
    *v = 0.8 * cos(x + 0.01 * t);
}

static double noise_of(int step, int element)
{
    float z;
    fdit_rng_normals(77, (uint32_t)step + 1, 3, (uint64_t)element, 1, &z);
    return (double)z;
}

static void start(double x[N])
{
    float z[N];
    fdit_rng_normals(77, 0, 3, 0, N, z);
    for (int i = 0; i < N; i++)
        x[i] = (double)z[i];
}

/* The rule of fdit_sampler_step_args in double. */
static void run_rule(const struct fdit_sampler *s, network_fn network, bool clip, double x[N])
{
    double old[N] = { 0 }, older[N] = { 0 };
    for (int k = 0; k < s->steps; k++) {
        const struct fdit_sampler_coef *c = &s->coef[k];
        for (int i = 0; i < N; i++) {
            double eps, v;
            network(x[i], c->t, &eps, &v);
            double x0 = c->x0_x * x[i] + c->x0_eps * eps;
            if (clip) {
                x0 = fmin(1, fmax(-1, x0));
                eps = (x0 - c->x0_x * x[i]) / c->x0_eps;
            }
            double f = (v + 1) / 2;
            double sd = c->learned ? exp(0.5 * (f * c->log_beta + (1 - f) * c->log_var)) : 1;
            double z = k < s->noise_steps ? noise_of(k, i) : 0;
            x[i] = c->to_x * x[i] + c->to_x0 * x0 + c->to_eps * eps + c->to_old * old[i] +
                   c->to_older * older[i] + c->to_z * sd * z;
            older[i] = old[i];
            old[i] = x0;
        }
    }
}

/* ----------------------------------------------------------------- the samplers written out */

static void written_ddpm(int steps, double x[N])
{
    struct fdit_schedule *d;
    ck_assert_ok(ctx, fdit_schedule_new(ctx, steps, &d));
    for (int k = 0; k < steps; k++) {
        int n = steps - 1 - k;
        for (int i = 0; i < N; i++) {
            double eps, v;
            bent_network(x[i], d->t[n], &eps, &v);
            double part = (v + 1) / 2;
            double logvar = part * d->log_beta[n] + (1 - part) * d->log_var[n];
            double x0 = sqrt(1 / d->abar[n]) * x[i] - sqrt(1 / d->abar[n] - 1) * eps;
            x[i] = d->c_x0[n] * x0 + d->c_xt[n] * x[i];
            if (n > 0)
                x[i] += exp(0.5 * logvar) * noise_of(k, i);
        }
    }
    fdit_schedule_free(d);
}

static void written_ddim(int steps, double eta, double x[N])
{
    struct fdit_schedule *d;
    ck_assert_ok(ctx, fdit_schedule_new(ctx, steps, &d));
    for (int k = 0; k < steps; k++) {
        int n = steps - 1 - k;
        double a = d->abar[n], b = n > 0 ? d->abar[n - 1] : 1;
        double sigma = eta * sqrt((1 - b) / (1 - a)) * sqrt(1 - a / b);
        for (int i = 0; i < N; i++) {
            double eps, v;
            bent_network(x[i], d->t[n], &eps, &v);
            double x0 = (x[i] - sqrt(1 - a) * eps) / sqrt(a);
            x[i] = sqrt(b) * x0 + sqrt(1 - b - sigma * sigma) * eps;
            if (n > 0 && eta > 0)
                x[i] += sigma * noise_of(k, i);
        }
    }
    fdit_schedule_free(d);
}

static void written_dpmpp(int steps, double x[N])
{
    double abar[FDIT_TRAIN_STEPS], alpha[FDIT_TRAIN_STEPS], sigma[FDIT_TRAIN_STEPS];
    double lambda[FDIT_TRAIN_STEPS], old[N];
    int t[FDIT_TRAIN_STEPS];
    fdit_schedule_abar(abar);
    for (int k = 0; k <= steps; k++) {
        t[k] = k < steps ? (int)nearbyint(999.0 * (steps - k) / steps) : -1;
        alpha[k] = k < steps ? sqrt(abar[t[k]]) : 1;
        sigma[k] = k < steps ? sqrt(1 - abar[t[k]]) : 0;
        lambda[k] = log(alpha[k]) - log(sigma[k]);
    }
    for (int k = 0; k < steps; k++) {
        double h = lambda[k + 1] - lambda[k];
        for (int i = 0; i < N; i++) {
            double eps, v, slope = 0;
            bent_network(x[i], t[k], &eps, &v);
            double x0 = (x[i] - sigma[k] * eps) / alpha[k];
            if (k > 0 && k < steps - 1)
                slope = 0.5 * (h / (lambda[k] - lambda[k - 1])) * (x0 - old[i]);
            x[i] = sigma[k + 1] / sigma[k] * x[i] - alpha[k + 1] * expm1(-h) * (x0 + slope);
            old[i] = x0;
        }
    }
}

static void compare(const char *what, int steps, const double *got, const double *want)
{
    for (int i = 0; i < N; i++)
        ck_assert_msg(fabs(got[i] - want[i]) <= 1e-9 * (1 + fabs(want[i])),
                      "%s, %d steps, [%d]: %.15g, wanted %.15g", what, steps, i, got[i], want[i]);
}

static struct fdit_sampler *make(const char *text, int steps)
{
    struct fdit_sampler_spec spec;
    struct fdit_sampler *s;
    ck_assert_ok(ctx, fdit_sampler_parse(ctx, text, &spec));
    ck_assert_ok(ctx, fdit_sampler_new(ctx, &spec, steps, &s));
    ck_assert_int_eq(s->steps, steps);
    return s;
}

START_TEST(test_against_the_formulas)
{
    static const struct {
        const char *text;
        double eta;
    } cases[] = { { "ddpm", 0 }, { "ddim", 0 }, { "ddim:0.5", 0.5 }, { "ddim:1", 1 }, { "dpm++", 0 } };
    static const int lengths[] = { 2, 3, 7, 20, 50, 250 };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            double got[N], want[N];
            struct fdit_sampler *s = make(cases[c].text, lengths[l]);
            start(got);
            start(want);
            run_rule(s, bent_network, false, got);
            if (s->spec.kind == FDIT_SAMPLER_DDPM)
                written_ddpm(lengths[l], want);
            else if (s->spec.kind == FDIT_SAMPLER_DDIM)
                written_ddim(lengths[l], cases[c].eta, want);
            else
                written_dpmpp(lengths[l], want);
            compare(cases[c].text, lengths[l], got, want);
            fdit_sampler_free(s);
        }
    }
}
END_TEST

/* ------------------------------------------------------------------------ perfect networks */

static double abar_table[FDIT_TRAIN_STEPS];

/* All data are the number 0.3. */
static void point_network(double x, int t, double *eps, double *v)
{
    *eps = (x - sqrt(abar_table[t]) * 0.3) / sqrt(1 - abar_table[t]);
    *v = 0;
}

/* Data are normal with deviation 0.5. */
static void gauss_network(double x, int t, double *eps, double *v)
{
    double a = abar_table[t];
    *eps = sqrt(1 - a) * x / (0.25 * a + 1 - a);
    *v = 1;
}

START_TEST(test_one_point_is_hit)
{
    static const char *const texts[] = { "ddpm", "ddim", "ddim:0.7", "dpm++" };
    fdit_schedule_abar(abar_table);
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        for (int steps = 2; steps <= 50; steps += 16) {
            struct fdit_sampler *s = make(texts[k], steps);
            double x[N], clipped[N];
            start(x);
            start(clipped);
            run_rule(s, point_network, false, x);
            run_rule(s, point_network, true, clipped);
            for (int i = 0; i < N; i++) {
                ck_assert_msg(fabs(x[i] - 0.3) < 1e-9, "%s %d: %.15g", texts[k], steps, x[i]);
                ck_assert(fabs(clipped[i] - 0.3) < 1e-9);
            }
            fdit_sampler_free(s);
        }
    }
}
END_TEST

/* The exact flow takes x_T to 0.5 x_T / sqrt(0.25 abar + 1 - abar). */
static double flow_error(const char *text, int steps)
{
    struct fdit_sampler *s = make(text, steps);
    double x[N], from[N], worst = 0, a = abar_table[FDIT_TRAIN_STEPS - 1];
    start(from);
    start(x);
    run_rule(s, gauss_network, false, x);
    for (int i = 0; i < N; i++)
        worst = fmax(worst, fabs(x[i] - 0.5 * from[i] / sqrt(0.25 * a + 1 - a)));
    fdit_sampler_free(s);
    return worst;
}

START_TEST(test_deterministic_samplers_follow_the_flow)
{
    fdit_schedule_abar(abar_table);
    double ddim20 = flow_error("ddim", 20), ddim100 = flow_error("ddim", 100);
    double ddim500 = flow_error("ddim", 500);
    double dpm20 = flow_error("dpm++", 20), dpm100 = flow_error("dpm++", 100);
    double unipc20 = flow_error("unipc", 20), unipc100 = flow_error("unipc", 100);
    ck_assert_msg(ddim500 < 0.02, "%g", ddim500);
    ck_assert_msg(ddim100 < 0.3 * ddim20 && ddim500 < 0.3 * ddim100, "%g %g %g", ddim20, ddim100, ddim500);
    ck_assert_msg(dpm20 < 0.5 * ddim20 && dpm100 < 0.5 * ddim100, "%g %g", dpm20, dpm100);
    ck_assert_msg(dpm100 < 0.02, "%g", dpm100);
    ck_assert_msg(unipc20 < dpm20 && unipc100 < 0.1 * unipc20, "%g %g", unipc20, unipc100);
}
END_TEST

/* With normal data every rule is linear in x and z, so its variance can be followed. */
static double result_variance(const char *text, int steps)
{
    struct fdit_sampler *s = make(text, steps);
    double variance = 1;
    ck_assert(!s->needs_old);
    for (int k = 0; k < steps; k++) {
        const struct fdit_sampler_coef *c = &s->coef[k];
        double eps, v;
        gauss_network(1, c->t, &eps, &v);
        double x0 = c->x0_x + c->x0_eps * eps;
        double factor = c->to_x + c->to_x0 * x0 + c->to_eps * eps;
        double sd = c->learned ? exp(0.5 * c->log_beta) : 1;
        variance = factor * factor * variance + c->to_z * sd * c->to_z * sd;
    }
    fdit_sampler_free(s);
    return variance;
}

START_TEST(test_stochastic_samplers_keep_the_variance)
{
    fdit_schedule_abar(abar_table);
    double ddpm250 = result_variance("ddpm", 250), ddpm1000 = result_variance("ddpm", 1000);
    double eta1 = result_variance("ddim:1", 1000);
    ck_assert_msg(fabs(ddpm1000 - 0.25) < 0.01, "%g", ddpm1000);
    ck_assert_msg(fabs(ddpm250 - 0.25) < 0.03, "%g", ddpm250);
    ck_assert_msg(fabs(eta1 - 0.25) < 0.01, "%g", eta1);
}
END_TEST

/* -------------------------------------------------------------------------------- details */

START_TEST(test_noise_steps_and_old)
{
    static const struct {
        const char *text;
        int steps, noise_steps;
        bool needs_old, learned;
    } cases[] = {
        { "ddpm", 10, 9, false, true },  { "ddim", 10, 0, false, false }, { "ddim:0.3", 10, 9, false, false },
        { "dpm++", 10, 0, true, false }, { "dpm++", 1, 0, true, false },  { "dpm++", 2, 0, true, false },
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct fdit_sampler *s = make(cases[c].text, cases[c].steps);
        ck_assert_int_eq(s->noise_steps, cases[c].noise_steps);
        ck_assert_int_eq(s->needs_old, cases[c].needs_old);
        ck_assert_int_eq(s->coef[0].t, FDIT_TRAIN_STEPS - 1);
        ck_assert(s->coef[0].to_old == 0 && s->coef[s->steps - 1].to_old == 0);
        for (int k = 0; k < s->steps; k++) {
            ck_assert_int_eq(s->coef[k].learned, cases[c].learned);
            ck_assert((s->coef[k].to_z != 0) == (k < s->noise_steps));
            ck_assert(k == 0 || s->coef[k].t < s->coef[k - 1].t);
        }
        /* the last step of dpm++ and ddim gives x0 itself */
        const struct fdit_sampler_coef *last = &s->coef[s->steps - 1];
        if (!cases[c].learned)
            ck_assert(last->to_x == 0 && last->to_x0 == 1 && last->to_eps == 0);
        fdit_sampler_free(s);
    }
}
END_TEST

START_TEST(test_every_length)
{
    const struct fdit_sampler_spec dpmpp = { .kind = FDIT_SAMPLER_DPMPP };
    for (int steps = 1; steps < FDIT_TRAIN_STEPS; steps += steps < 40 ? 1 : 37) {
        struct fdit_sampler *s;
        ck_assert_ok(ctx, fdit_sampler_new(ctx, &dpmpp, steps, &s));
        for (int k = 0; k < steps; k++) {
            const struct fdit_sampler_coef *c = &s->coef[k];
            ck_assert(c->t >= 0 && c->t < FDIT_TRAIN_STEPS);
            ck_assert(isfinite(c->x0_x) && isfinite(c->x0_eps) && isfinite(c->to_x));
            ck_assert(isfinite(c->to_x0) && isfinite(c->to_old));
        }
        fdit_sampler_free(s);
    }
    struct fdit_sampler *s = make("dpm++", FDIT_TRAIN_STEPS - 1);
    ck_assert_int_eq(s->coef[s->steps - 1].t, 1);
    fdit_sampler_free(s);
}
END_TEST

START_TEST(test_refused_lengths)
{
    static const struct {
        enum fdit_sampler_kind kind;
        int steps;
    } cases[] = { { FDIT_SAMPLER_DDPM, 1 },     { FDIT_SAMPLER_DDPM, 1001 },    { FDIT_SAMPLER_DDIM, 0 },
                  { FDIT_SAMPLER_DPMPP, 1000 }, { .kind = FDIT_SAMPLER_DPMPP }, { FDIT_SAMPLER_DDIM, -5 } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const struct fdit_sampler_spec spec = { .kind = cases[c].kind };
        struct fdit_sampler *s = NULL;
        ck_assert_int_eq(fdit_sampler_new(ctx, &spec, cases[c].steps, &s), FDIT_ERROR_ARGUMENT);
        ck_assert_ptr_null(s);
    }
    fdit_sampler_free(NULL);
}
END_TEST

START_TEST(test_short_memory)
{
    const size_t before = fdit_mem_stats().count;
    struct fdit_sampler_spec spec = { .kind = FDIT_SAMPLER_DDPM };
    struct fdit_sampler *s = NULL;
    int failures = 0;
    for (uint64_t n = 1; n < 20; n++) {
        fdit_mem_fail_at(n);
        enum fdit_status status = fdit_sampler_new(ctx, &spec, 50, &s);
        fdit_mem_fail_at(0);
        if (status == FDIT_OK)
            break;
        ck_assert_int_eq(status, FDIT_ERROR_MEMORY);
        ck_assert_ptr_null(s);
        failures++;
    }
    ck_assert_int_ge(failures, 4);
    fdit_sampler_free(s);
    ck_assert_uint_eq(fdit_mem_stats().count, before);
}
END_TEST

START_TEST(test_set_args)
{
    struct fdit_sampler *s = make("ddpm", 20);
    struct fdit_sampler_step_args args = { .samples = 3, .channels = 4, .n = 5, .guidance = 7 };
    const struct fdit_sampler_coef *c = &s->coef[4];
    fdit_sampler_set_args(s, 4, &args);
    ck_assert(args.samples == 3 && args.channels == 4 && args.n == 5 && args.guidance == 7);
    ck_assert(args.x0_x == (float)c->x0_x && args.x0_eps == (float)c->x0_eps);
    ck_assert(args.to_x == (float)c->to_x && args.to_x0 == (float)c->to_x0);
    ck_assert(args.to_eps == 0 && args.to_old == 0 && args.to_z == 1 && args.learned);
    ck_assert(args.log_beta == (float)c->log_beta && args.log_var == (float)c->log_var);
    fdit_sampler_free(s);
    s = make("dpm++", 20);
    fdit_sampler_set_args(s, 4, &args);
    ck_assert(args.to_old == (float)s->coef[4].to_old && args.to_old != 0 && args.to_z == 0);
    ck_assert(!args.learned);
    fdit_sampler_free(s);
    s = make("ddim:0.5", 20);
    fdit_sampler_set_args(s, 4, &args);
    ck_assert(args.to_eps == (float)s->coef[4].to_eps && args.to_eps > 0);
    ck_assert(args.to_z == (float)s->coef[4].to_z && args.to_z > 0);
    fdit_sampler_free(s);
}
END_TEST

START_TEST(test_parse)
{
    static const char *const good[] = { "ddpm", "ddim", "ddim:0.25", "ddim:1", "dpm++", "unipc", "unipc:3" };
    static const char *const bad[] = { "",          "DDPM",      "ddpm ",    "ddim:",    "ddim:x",
                                       "ddim:-0.1", "ddim:1.1",  "ddim:nan", "ddim:inf", "ddim:0.5x",
                                       "ddim:0x1",  "dpm",       "dpm++2m",  "ddim: 1",  "unipc:0",
                                       "unipc:",    "unipc:nan", "unipc:101" };
    for (size_t k = 0; k < sizeof good / sizeof *good; k++) {
        struct fdit_sampler_spec spec;
        char text[40];
        ck_assert_ok(ctx, fdit_sampler_parse(ctx, good[k], &spec));
        fdit_sampler_format(&spec, text);
        ck_assert_str_eq(text, good[k]);
        ck_assert_int_gt(fdit_sampler_default_steps(spec.kind), 0);
    }
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        struct fdit_sampler_spec spec = { .kind = FDIT_SAMPLER_DPMPP, .eta = 0.125 };
        ck_assert_msg(fdit_sampler_parse(ctx, bad[k], &spec) == FDIT_ERROR_ARGUMENT, "\"%s\"", bad[k]);
        ck_assert(spec.kind == FDIT_SAMPLER_DPMPP && spec.eta == 0.125);
    }
    ck_assert_int_eq(fdit_sampler_default_steps(FDIT_SAMPLER_DDPM), 250);
    ck_assert_int_eq(fdit_sampler_default_steps(FDIT_SAMPLER_DDIM), 50);
    ck_assert_int_eq(fdit_sampler_default_steps(FDIT_SAMPLER_DPMPP), 20);
}
END_TEST

/* Every row of the list: its name is read, it draws from the models that the list says, with its usual steps,
 * and the messages offer those that do. */
START_TEST(test_list)
{
#define ROW(ENUM, rule, name, setting, steps, of) { name, setting, steps, #of },
    static const struct {
        const char *name, *setting;
        int steps;
        const char *of;
    } rows[] = { FDIT_SAMPLERS(ROW, ) };
#undef ROW
    static const enum fdit_objective_id objectives[] = { FDIT_OBJECTIVE_DDPM, FDIT_OBJECTIVE_FLOW_SIT,
                                                         FDIT_OBJECTIVE_FLOW_REPA };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        struct fdit_sampler_spec spec, with;
        char word[40];
        snprintf(word, sizeof word, "%s%s", rows[k].name, rows[k].setting);
        ck_assert_ptr_nonnull(strstr(FDIT_SAMPLER_NAMES, word));
        snprintf(word, sizeof word, "%s %d", rows[k].name, rows[k].steps);
        ck_assert_ptr_nonnull(strstr(FDIT_SAMPLER_STEPS, word));
        ck_assert_ok(ctx, fdit_sampler_parse(ctx, rows[k].name, &spec));
        ck_assert_int_eq((int)spec.kind, (int)k);
        ck_assert_int_eq(fdit_sampler_default_steps(spec.kind), rows[k].steps);
        snprintf(word, sizeof word, "%s:1x", rows[k].name);
        ck_assert_int_eq(fdit_sampler_parse(ctx, word, &with), FDIT_ERROR_ARGUMENT);
        /* a name that takes nothing else is unknown with it; the others say what they take */
        ck_assert((strstr(fdit_context_message(ctx), "unknown") != NULL) == (rows[k].setting[0] == '\0'));
        for (size_t i = 0; i < sizeof objectives / sizeof *objectives; i++) {
            struct fdit_sampler *s = NULL;
            spec.objective = objectives[i];
            const bool own = strcmp(rows[k].of, "BOTH") == 0 || (strcmp(rows[k].of, "DDPM") == 0) == (i == 0);
            const enum fdit_status status = fdit_sampler_new(ctx, &spec, rows[k].steps, &s);
            ck_assert_int_eq(status, own ? FDIT_OK : FDIT_ERROR_ARGUMENT);
            if (!own)
                ck_assert_ptr_nonnull(
                    strstr(fdit_context_message(ctx), i == 0 ? "choose ddpm, ddim, dpm++ or unipc"
                                                             : "choose euler, heun, sde or unipc"));
            fdit_sampler_free(s);
        }
    }
    ck_assert_int_eq(fdit_sampler_parse(ctx, "plms", &(struct fdit_sampler_spec){ 0 }), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "choose one of " FDIT_SAMPLER_NAMES));
}
END_TEST

START_TEST(test_guidance)
{
    struct fdit_guidance g = FDIT_GUIDANCE_DEFAULT;
    ck_assert(g.w == 4 && fdit_guidance_active(&g, 0) && fdit_guidance_active(&g, 999));
    ck_assert_int_eq(fdit_guidance_channels(&g, 4), 3);
    ck_assert_int_eq(fdit_guidance_channels(&g, 1), 1);
    ck_assert_int_eq(fdit_guidance_channels(&g, 3), 3);
    ck_assert_int_eq(fdit_guidance_channels(&g, 16), 16);
    ck_assert_ok(ctx, fdit_guidance_parse_channels(ctx, "all", &g));
    ck_assert_int_eq(fdit_guidance_channels(&g, 4), 4);
    ck_assert_ok(ctx, fdit_guidance_parse_channels(ctx, "3", &g));
    ck_assert_int_eq(fdit_guidance_channels(&g, 16), 3);
    ck_assert_int_eq(fdit_guidance_channels(&g, 1), 1);
    ck_assert_int_eq(fdit_guidance_parse_channels(ctx, "2", &g), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_guidance_parse_channels(ctx, "", &g), FDIT_ERROR_ARGUMENT);

    ck_assert_ok(ctx, fdit_guidance_parse_interval(ctx, "100:700", &g));
    ck_assert(!fdit_guidance_active(&g, 99) && fdit_guidance_active(&g, 100));
    ck_assert(fdit_guidance_active(&g, 700) && !fdit_guidance_active(&g, 701));
    ck_assert_ok(ctx, fdit_guidance_parse_interval(ctx, "5:5", &g));
    static const char *const bad[] = { "",       ":",   "5",     "5:",   ":5",   "7:6",
                                       "0:1000", "a:b", "1:2:3", "-1:5", "1: 2", "99999999999:5" };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        ck_assert_msg(fdit_guidance_parse_interval(ctx, bad[k], &g) == FDIT_ERROR_ARGUMENT, "\"%s\"", bad[k]);
    ck_assert(g.t_low == 5 && g.t_high == 5);

    ck_assert_ok(ctx, fdit_guidance_parse_scale(ctx, "1.5", &g));
    ck_assert(g.w == 1.5 && fdit_guidance_active(&g, 5));
    ck_assert_ok(ctx, fdit_guidance_parse_scale(ctx, "1", &g));
    ck_assert(!fdit_guidance_active(&g, 5));
    ck_assert_ok(ctx, fdit_guidance_parse_scale(ctx, "0", &g));
    ck_assert(fdit_guidance_active(&g, 5));
    static const char *const no_number[] = { "", "x", "nan", "inf", "1e999", "4,5", "1e7" };
    for (size_t k = 0; k < sizeof no_number / sizeof *no_number; k++)
        ck_assert_int_eq(fdit_guidance_parse_scale(ctx, no_number[k], &g), FDIT_ERROR_ARGUMENT);
}
END_TEST

/* The times that the reference's DPM-Solver++ was run with: 64-bit integers. */
START_TEST(test_fixture_times)
{
    char *path = test_fixture("sample.safetensors");
    FILE *file = fopen(path, "rb");
    unsigned char length[8];
    uint64_t header_bytes = 0;
    const char *name;
    json_t *entry;
    int n = 0;

    ck_assert_msg(file != NULL, "%s", path);
    ck_assert_uint_eq(fread(length, 1, 8, file), 8);
    for (int i = 7; i >= 0; i--)
        header_bytes = header_bytes << 8 | length[i];
    char *header = malloc(header_bytes);
    ck_assert_ptr_nonnull(header);
    ck_assert_uint_eq(fread(header, 1, header_bytes, file), header_bytes);
    json_t *root = json_loadb(header, header_bytes, 0, NULL);
    ck_assert_ptr_nonnull(root);
    json_object_foreach(root, name, entry)
    {
        int steps;
        if (sscanf(name, "dpmpp2m_%d.times", &steps) != 1 || strstr(name, ".times") == NULL)
            continue;
        json_int_t at = json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 0));
        struct fdit_sampler *s = make("dpm++", steps);
        ck_assert_int_eq(fseek(file, (long)(8 + header_bytes) + (long)at, SEEK_SET), 0);
        for (int k = 0; k < steps; k++) {
            int64_t t = -1;
            ck_assert_uint_eq(fread(&t, sizeof t, 1, file), 1);
            ck_assert_msg(s->coef[k].t == t, "%s [%d]: %d, wanted %d", name, k, (int)s->coef[k].t, (int)t);
        }
        fdit_sampler_free(s);
        n++;
    }
    ck_assert_int_ge(n, 1);
    json_decref(root);
    free(header);
    fclose(file);
    free(path);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sampler");
    TCase *rules = tcase_create("rules");
    tcase_add_checked_fixture(rules, setup, teardown);
    tcase_add_test(rules, test_against_the_formulas);
    tcase_add_test(rules, test_one_point_is_hit);
    tcase_add_test(rules, test_deterministic_samplers_follow_the_flow);
    tcase_add_test(rules, test_stochastic_samplers_keep_the_variance);
    suite_add_tcase(suite, rules);
    TCase *details = tcase_create("details");
    tcase_add_checked_fixture(details, setup, teardown);
    tcase_add_test(details, test_noise_steps_and_old);
    tcase_add_test(details, test_every_length);
    tcase_add_test(details, test_refused_lengths);
    tcase_add_test(details, test_short_memory);
    tcase_add_test(details, test_set_args);
    tcase_add_test(details, test_parse);
    tcase_add_test(details, test_list);
    tcase_add_test(details, test_guidance);
    tcase_add_test(details, test_fixture_times);
    suite_add_tcase(suite, details);
    return test_run(suite);
}
