/* SPDX-License-Identifier: Apache-2.0
 * sampler.c: coefficients of the sampling steps; guidance settings. */
#include "diffusion/sampler.h"

#include "core/mem.h"
#include "core/option_table.h"
#include "diffusion/schedule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T FDIT_TRAIN_STEPS

/* The whole of text as a finite decimal number. */
static bool read_number(const char *text, double *out)
{
    char *end = NULL;
    if (text[0] == '\0' || text[strspn(text, "+-.0123456789eE")] != '\0')
        return false;
    double value = strtod(text, &end);
    if (*end != '\0' || !isfinite(value))
        return false;
    *out = value;
    return true;
}

/* x_{i-1} ~ N(c_x0 x0 + c_xt x, exp(logvar)); no noise at i = 0. */
static void ddpm_step(const struct fdit_schedule *s, int i, bool learned, struct fdit_sampler_coef *c)
{
    c->to_x = s->c_xt[i];
    c->to_x0 = s->c_x0[i];
    c->to_z = i == 0 ? 0 : learned ? 1 : exp(0.5 * s->log_var[i]);
    c->learned = learned;
    c->log_beta = s->log_beta[i];
    c->log_var = s->log_var[i];
}

/* x_{i-1} = sqrt(b) x0 + sqrt(1 - b - sigma^2) eps + sigma z, a = abar_i, b = abar_{i-1},
 * sigma = eta sqrt((1 - b)/(1 - a)) sqrt(1 - a/b). */
static void ddim_step(const struct fdit_schedule *s, int i, double eta, struct fdit_sampler_coef *c)
{
    double a = s->abar[i], b = s->abar_prev[i];
    double sigma = eta * sqrt((1 - b) / (1 - a)) * sqrt(1 - a / b);
    c->to_x0 = sqrt(b);
    c->to_eps = sqrt(fmax(0, 1 - b - sigma * sigma));
    c->to_z = i > 0 ? sigma : 0;
}

/* What the network's first output p says of x = alpha x0 + sigma noise, whatever its target is:
 * x0 = x0_x x + x0_p p, noise = noise_x x + noise_p p. */
struct reading {
    double x0_x, x0_p, noise_x, noise_p;
};

static const struct fdit_objective *objective_of(const struct fdit_sampler_spec *spec)
{
    return fdit_objective_at(spec->objective);
}

static bool on_chain(enum fdit_objective_id objective)
{
    return fdit_objective_at(objective)->process == FDIT_PROCESS_CHAIN;
}

static struct reading read_output(const struct fdit_sampler *s, double alpha, double sigma)
{
    const struct fdit_objective *o = objective_of(&s->spec);
    double target[2];
    o->target(o, alpha, sigma, target);
    const double all = alpha * target[1] - sigma * target[0];
    return (struct reading){
        .x0_x = target[1] / all, .x0_p = -sigma / all, .noise_x = -target[0] / all, .noise_p = alpha / all
    };
}

static enum fdit_status fill_chain(fdit_context *ctx, struct fdit_sampler *sampler, int steps)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_schedule *s = NULL;
    (void)steps;

    TRY(fdit_schedule_new(ctx, sampler->steps, &s));
    for (int k = 0; k < s->steps; k++) {
        struct fdit_sampler_coef *c = &sampler->coef[k];
        const int i = s->steps - 1 - k;
        c->t = c->at = s->t[i];
        const struct reading r = read_output(sampler, sqrt(s->abar[i]), sqrt(1 - s->abar[i]));
        c->x0_x = r.x0_x;
        c->x0_eps = r.x0_p;
        if (sampler->spec.kind == FDIT_SAMPLER_DDPM)
            ddpm_step(s, i, objective_of(&sampler->spec)->variance, c);
        else
            ddim_step(s, i, sampler->spec.eta, c);
        c->to_x += c->to_eps * r.noise_x;
        c->to_eps *= r.noise_p;
    }
    if (sampler->spec.kind == FDIT_SAMPLER_DDPM || sampler->spec.eta > 0)
        sampler->noise_steps = sampler->steps - 1;
out:
    fdit_schedule_free(s);
    return status;
}

/* With alpha = sqrt(abar), sigma = sqrt(1 - abar), lambda = ln(alpha / sigma), h = lambda' -
 * lambda: x' = sigma'/sigma x - alpha' expm1(-h) (x0 + slope (x0 - old)), slope = h / (2 (lambda -
 * lambda_before)) in the inner steps, 0 in the first and the last. */
static enum fdit_status fill_dpmpp(fdit_context *ctx, struct fdit_sampler *sampler, int steps)
{
    const double part = (double)(T - 1) / steps;
    double abar[T], lambda_before = 0;
    (void)ctx;

    fdit_schedule_abar(abar);
    for (int k = 0; k < steps; k++) {
        struct fdit_sampler_coef *c = &sampler->coef[k];
        int t = k == 0 ? T - 1 : (int)nearbyint((steps - k) * part);
        c->t = c->at = t;
        double alpha = sqrt(abar[t]), sigma = sqrt(1 - abar[t]);
        double lambda = log(alpha) - log(sigma);
        double alpha_next = 1, sigma_next = 0, decay = -1, slope = 0;
        if (k < steps - 1) {
            int next = (int)nearbyint((steps - k - 1) * part);
            alpha_next = sqrt(abar[next]);
            sigma_next = sqrt(1 - abar[next]);
            double h = log(alpha_next) - log(sigma_next) - lambda;
            decay = expm1(-h);
            slope = k > 0 ? 0.5 * (h / (lambda - lambda_before)) : 0;
        }
        const struct reading r = read_output(sampler, alpha, sigma);
        c->x0_x = r.x0_x;
        c->x0_eps = r.x0_p;
        c->to_x = sigma_next / sigma;
        c->to_x0 = -alpha_next * decay * (1 + slope);
        c->to_old = alpha_next * decay * slope;
        lambda_before = lambda;
    }
    sampler->needs_old = true;
    return FDIT_OK;
}

/* ------------------------------------------------------------------ flow matching */

/* Of the velocity V = dx/du = noise - x0, in x and the network's output. */
struct velocity {
    double x, p;
};

/* A pass at noise time u of a step that began at `at`. */
static struct fdit_sampler_coef *flow_pass(struct fdit_sampler *s, int k, double u, double at,
                                           struct velocity *v)
{
    struct fdit_sampler_coef *c = &s->coef[k];
    const struct reading r = read_output(s, 1 - u, u);
    c->t = objective_of(&s->spec)->reversed ? 1 - u : u;
    c->at = at;
    c->x0_x = r.x0_x;
    c->x0_eps = r.x0_p;
    c->to_x = 1;
    *v = (struct velocity){ .x = r.noise_x - r.x0_x, .p = r.noise_p - r.x0_p };
    return c;
}

static int parts_of(const struct fdit_sampler_spec *spec, int steps)
{
    return objective_of(spec)->counts_points ? steps - 1 : steps;
}

static int heun_passes(const struct fdit_sampler_spec *spec, int steps)
{
    return 2 * parts_of(spec, steps) - (objective_of(spec)->counts_points ? 0 : 1);
}

/* Times as (n - k) / n in double, so that an interval's end of 0.7 is equal to the grid's. */
static enum fdit_status fill_euler(fdit_context *ctx, struct fdit_sampler *s, int steps)
{
    const bool points = objective_of(&s->spec)->counts_points, heun = s->spec.kind == FDIT_SAMPLER_HEUN;
    const int n = parts_of(&s->spec, steps);
    int pass = 0;
    (void)ctx;
    for (int k = 0; k < n; k++) {
        const double u = (double)(n - k) / n, next = (double)(n - k - 1) / n, step = next - u;
        struct velocity v;
        struct fdit_sampler_coef *c = flow_pass(s, pass++, u, u, &v);
        c->to_x += step * v.x;
        c->to_eps = step * v.p;
        if (!heun || (k == n - 1 && !points))
            continue;
        c->x0_x = 1 + 0.5 * step * v.x; /* half of the step is kept in place of x0 */
        c->x0_eps = 0.5 * step * v.p;
        c = flow_pass(s, pass++, next, u, &v);
        c->x0_x = 1;
        c->x0_eps = 0;
        c->to_x = 0;
        c->to_x += 0.5 * step * v.x;
        c->to_old = 1;
        c->to_eps = 0.5 * step * v.p;
    }
    s->needs_old = heun;
    return FDIT_OK;
}

/* With the score -(x + (1-u) V)/u the drift V - u score is x + (2-u) V. */
static enum fdit_status fill_sde(fdit_context *ctx, struct fdit_sampler *s, int steps)
{
    const double end = 0.04;
    const int n = steps - 1;
    (void)ctx;
    for (int k = 0; k <= n; k++) {
        const double u = (n - k + end * k) / n, next = k < n ? (n - k - 1 + end * (k + 1)) / n : 0;
        const double step = next - u;
        struct velocity v;
        struct fdit_sampler_coef *c = flow_pass(s, k, u, u, &v);
        const bool plain = k == n && s->spec.last != FDIT_SDE_MEAN;
        if (!plain) {
            c->to_x = 1 + step + step * (2 - u) * v.x;
            c->to_eps = step * (2 - u) * v.p;
        } else if (s->spec.last != FDIT_SDE_NONE) {
            c->to_x += step * v.x;
            c->to_eps = step * v.p;
        }
        if (k < n)
            c->to_z = sqrt(-2 * u * step);
    }
    s->noise_steps = n;
    return FDIT_OK;
}

/* ------------------------------------------------------------------ unipc */

/* alpha, sigma and what the network is told at each point of the grid; point `steps` is the picture. */
struct grid_point {
    double alpha, sigma, lambda;
};

static void unipc_grid(struct fdit_sampler *s, struct grid_point *grid)
{
    const int n = s->steps;
    const double part = (double)(T - 1) / n, shift = s->spec.shift > 0 ? s->spec.shift : 1;
    double abar[T];
    fdit_schedule_abar(abar);
    for (int k = 0; k < n; k++) {
        struct fdit_sampler_coef *c = &s->coef[k];
        if (on_chain(s->spec.objective)) {
            const int t = k == 0 ? T - 1 : (int)nearbyint((n - k) * part);
            grid[k] = (struct grid_point){ .alpha = sqrt(abar[t]), .sigma = sqrt(1 - abar[t]) };
            c->t = c->at = t;
            const struct reading r = read_output(s, grid[k].alpha, grid[k].sigma);
            c->x0_x = r.x0_x;
            c->x0_eps = r.x0_p;
        } else {
            struct velocity v;
            const double plain = k ? 1 - k * (1 - 1.0 / T) / n : 1;
            double u = shift * plain / (1 + (shift - 1) * plain);
            u = (double)(float)fmin(u, 1 - 1e-6); /* lambda is not finite at 1 */
            grid[k] = (struct grid_point){ .alpha = 1 - u, .sigma = u };
            flow_pass(s, k, u, u, &v);
        }
        grid[k].lambda = log(grid[k].alpha) - log(grid[k].sigma);
    }
    grid[n] = (struct grid_point){ .alpha = 1 };
}

/* In the letters of DPM-Solver++ above, with m_k the x0 of the predicted x_k and e = expm1(-h), h leading
 * to point k: the corrected x_k is x_k - alpha_k e (add - slope (m_(k-1) - m_(k-2))), since the predictor
 * left from the same place. add = (m_k - m_(k-1)) / 2 where the predictor had order 1; else, with r =
 * (lambda_(k-2) - lambda_(k-1)) / h, c1 + c2 = b1 and r c1 + c2 = b2: add = c1 (m_(k-2) - m_(k-1)) / r +
 * c2 (m_k - m_(k-1)). The next predictor leaves from there: one linear rule in x_k, m_k, m_(k-1), m_(k-2). */
static void unipc_correction(const struct grid_point *grid, int k, double to[3])
{
    const double h = grid[k].lambda - grid[k - 1].lambda, e = expm1(-h), all = -grid[k].alpha * e;
    to[0] = 0.5 * all;
    to[1] = -0.5 * all;
    to[2] = 0;
    if (k == 1)
        return;
    const double r = (grid[k - 2].lambda - grid[k - 1].lambda) / h, slope = -0.5 / r;
    const double b1 = (e / -h - 1) / e, b2 = 2 * ((e / -h - 1) / -h - 0.5) / e;
    const double c1 = (b2 - b1) / (r - 1), c2 = b1 - c1;
    to[0] = all * c2;
    to[1] = -all * (c1 / r + c2 + slope);
    to[2] = all * (c1 / r + slope);
}

static enum fdit_status fill_unipc(fdit_context *ctx, struct fdit_sampler *s, int n)
{
    enum fdit_status status = FDIT_OK;
    struct grid_point *grid = NULL;
    TRY(fdit_alloc(ctx, (size_t)n + 1, sizeof *grid, &grid));
    unipc_grid(s, grid);
    for (int k = 0; k < n; k++) {
        struct fdit_sampler_coef *c = &s->coef[k];
        const bool last = k == n - 1;
        const double h = last ? 0 : grid[k + 1].lambda - grid[k].lambda;
        const double gain = last ? 1 : -grid[k + 1].alpha * expm1(-h);
        double correction[3] = { 0 }, slope = 0;
        if (k > 0)
            unipc_correction(grid, k, correction);
        if (k > 0 && !last)
            slope = 0.5 * h / (grid[k].lambda - grid[k - 1].lambda);
        c->to_x = grid[k + 1].sigma / grid[k].sigma;
        c->to_x0 = c->to_x * correction[0] + gain * (1 + slope);
        c->to_old = c->to_x * correction[1] - gain * slope;
        c->to_older = c->to_x * correction[2];
    }
    s->needs_old = s->needs_older = true;
out:
    fdit_free(grid);
    return status;
}

/* ------------------------------------------------------------------ the table */

static bool read_eta(const char *text, struct fdit_sampler_spec *out)
{
    return read_number(text, &out->eta) && out->eta >= 0 && out->eta <= 1;
}

static bool write_eta(const struct fdit_sampler_spec *spec, char out[32])
{
    snprintf(out, 32, "%.17g", spec->eta);
    return spec->eta > 0;
}

static bool read_shift(const char *text, struct fdit_sampler_spec *out)
{
    return read_number(text, &out->shift) && out->shift >= 0.01 && out->shift <= 100;
}

static bool write_shift(const struct fdit_sampler_spec *spec, char out[32])
{
    snprintf(out, 32, "%.17g", spec->shift);
    return spec->shift > 0;
}

static const char *const lasts[] = { "mean", "euler", "tweedie", "none" };
enum { N_LASTS = sizeof lasts / sizeof *lasts };

static bool read_last(const char *text, struct fdit_sampler_spec *out)
{
    for (int i = 0; i < N_LASTS; i++)
        if (strcmp(text, lasts[i]) == 0) {
            out->last = (enum fdit_sde_last)i;
            return true;
        }
    return false;
}

static bool write_last(const struct fdit_sampler_spec *spec, char out[32])
{
    snprintf(out, 32, "%s", lasts[spec->last]);
    return spec->last != FDIT_SDE_MEAN;
}

/* What a sampler computes: the numbers of s->coef, s->needs_old and the like, for so many steps. */
struct rule {
    enum fdit_status (*fill)(fdit_context *ctx, struct fdit_sampler *s, int steps);
    int (*passes)(const struct fdit_sampler_spec *spec, int steps); /* of the network; NULL: one a step */
    int fewest;                                                     /* steps */
    bool solver;   /* whole times end at the picture, so there are T - 1 of them at most */
    bool grid;     /* `steps` counts the parts of a grid, or its points where the objective does, one more */
    bool averages; /* a step takes the mean of two predictions */
    bool draws;    /* each step but the last adds noise */
    /* What may follow the name and a colon; `wants` says what it has to be. `write` is false where it is as
     * if it were left out. */
    bool (*read)(const char *text, struct fdit_sampler_spec *out);
    bool (*write)(const struct fdit_sampler_spec *spec, char out[32]);
    const char *wants;
};
static const struct rule ddpm_rule = { .fill = fill_chain, .fewest = 2 };
static const struct rule ddim_rule = { .fill = fill_chain,
                                       .fewest = 2,
                                       .read = read_eta,
                                       .write = write_eta,
                                       .wants = "eta must be a number from 0 to 1" };
static const struct rule dpmpp_rule = { .fill = fill_dpmpp, .fewest = 1, .solver = true };
static const struct rule unipc_rule = { .fill = fill_unipc,
                                        .fewest = 1,
                                        .solver = true,
                                        .read = read_shift,
                                        .write = write_shift,
                                        .wants = "the shift must be a number from 0.01 to 100" };
static const struct rule euler_rule = { .fill = fill_euler, .passes = parts_of, .fewest = 1, .grid = true };
static const struct rule heun_rule = {
    .fill = fill_euler, .passes = heun_passes, .fewest = 1, .grid = true, .averages = true
};
static const struct rule sde_rule = { .fill = fill_sde,
                                      .fewest = 2,
                                      .draws = true,
                                      .read = read_last,
                                      .write = write_last,
                                      .wants = "the last step must be one of mean, euler, tweedie or none" };

enum { OF_DDPM = 1, OF_FLOW = 2, OF_BOTH = 3 };
static const struct row {
    const char *name;
    int steps, of;
    const struct rule *rule;
} rows[] = {
#define ROW(ENUM, rule, name, setting, steps, of) { name, steps, OF_##of, &rule##_rule },
    FDIT_SAMPLERS(ROW, )
};
#undef ROW
enum { N_ROWS = sizeof rows / sizeof *rows };

enum fdit_status fdit_sampler_parse(fdit_context *ctx, const char *text, struct fdit_sampler_spec *out)
{
    enum fdit_status status = FDIT_OK;
    const size_t n = strcspn(text, ":");
    int kind = 0;
    while (kind < N_ROWS && (strlen(rows[kind].name) != n || memcmp(rows[kind].name, text, n) != 0))
        kind++;
    if (kind == N_ROWS || (text[n] != '\0' && rows[kind].rule->read == NULL))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "unknown sampler \"%s\"; choose one of " FDIT_SAMPLER_NAMES, text);
    struct fdit_sampler_spec spec = { .kind = (enum fdit_sampler_kind)kind };
    if (text[n] != '\0' && !rows[kind].rule->read(text + n + 1, &spec))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "sampler \"%s\": %s", text, rows[kind].rule->wants);
    *out = spec;
out:
    return status;
}

void fdit_sampler_format(const struct fdit_sampler_spec *spec, char out[40])
{
    const struct row *row = &rows[spec->kind];
    char setting[32];
    if (row->rule->write != NULL && row->rule->write(spec, setting))
        snprintf(out, 40, "%.7s:%s", row->name, setting);
    else
        snprintf(out, 40, "%s", row->name);
}

enum fdit_sampler_kind fdit_sampler_usual(enum fdit_objective_id objective, enum fdit_sampler_kind of_ddpm)
{
    return on_chain(objective) ? of_ddpm : FDIT_SAMPLER_EULER;
}

int fdit_sampler_default_steps(enum fdit_sampler_kind kind)
{
    return rows[kind].steps;
}

bool fdit_sampler_clamps(enum fdit_sampler_kind kind)
{
    return !rows[kind].rule->averages;
}

/* "ddpm, ddim, dpm++ or unipc": the samplers of an objective; `still`: without those that draw noise in every
 * step. */
static const char *list_of(enum fdit_objective_id objective, bool still, char out[160])
{
    const int of = on_chain(objective) ? OF_DDPM : OF_FLOW;
    const char *last = NULL;
    size_t n = 0;
    out[0] = '\0';
    for (int i = 0; i < N_ROWS; i++) {
        if (!(rows[i].of & of) || (still && rows[i].rule->draws))
            continue;
        if (last != NULL)
            n += (size_t)snprintf(out + n, 160 - n, "%s%s", n > 0 ? ", " : "", last);
        last = rows[i].name;
    }
    if (last != NULL)
        snprintf(out + n, 160 - n, "%s%s", n > 0 ? " or " : "", last);
    return out;
}

static enum fdit_status check_spec(fdit_context *ctx, const struct fdit_sampler_spec *spec, int steps)
{
    const struct row *row = &rows[spec->kind];
    const bool ddpm = on_chain(spec->objective);
    const bool points = row->rule->grid && objective_of(spec)->counts_points;
    const int fewest = row->rule->fewest + (points ? 1 : 0), most = row->rule->solver && ddpm ? T - 1 : T;
    char name[40], list[160];
    fdit_sampler_format(spec, name);
    if (!(row->of & (ddpm ? OF_DDPM : OF_FLOW)))
        return fdit_fail(
            ctx, FDIT_ERROR_ARGUMENT,
            "the sampler %s is of %s models, this one was trained with the objective %s; choose %s", name,
            ddpm ? "flow" : "ddpm", fdit_objective_at(spec->objective)->name,
            list_of(spec->objective, false, list));
    if (ddpm && spec->shift > 0)
        return fdit_fail(
            ctx, FDIT_ERROR_ARGUMENT,
            "the sampler %s: times are shifted in flow models, this one is of the objective %s; choose %s",
            name, fdit_objective_at(spec->objective)->name, row->name);
    if (steps < fewest || steps > most)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%d steps with sampler %s; choose %d to %d", steps, name,
                         fewest, most);
    return FDIT_OK;
}

enum fdit_status fdit_sampler_new(fdit_context *ctx, const struct fdit_sampler_spec *spec, int steps,
                                  struct fdit_sampler **out)
{
    enum fdit_status status = FDIT_OK;
    const struct rule *rule = rows[spec->kind].rule;
    struct fdit_sampler *s = NULL;

    *out = NULL;
    TRY(check_spec(ctx, spec, steps));
    TRY(fdit_alloc(ctx, 1, sizeof *s, &s));
    s->spec = *spec;
    s->steps = rule->passes != NULL ? rule->passes(spec, steps) : steps;
    TRY(fdit_alloc(ctx, (size_t)s->steps, sizeof *s->coef, &s->coef));
    TRY(rule->fill(ctx, s, steps));
    *out = s;
    return FDIT_OK;
out:
    fdit_sampler_free(s);
    return status;
}

void fdit_sampler_free(struct fdit_sampler *sampler)
{
    if (sampler == NULL)
        return;
    fdit_free(sampler->coef);
    fdit_free(sampler);
}

void fdit_sampler_set_args(const struct fdit_sampler *sampler, int k, struct fdit_sampler_step_args *args)
{
    const struct fdit_sampler_coef *c = &sampler->coef[k];
    args->x0_x = (float)c->x0_x;
    args->x0_eps = (float)c->x0_eps;
    args->to_x = (float)c->to_x;
    args->to_x0 = (float)c->to_x0;
    args->to_eps = (float)c->to_eps;
    args->to_old = (float)c->to_old;
    args->to_z = (float)(sampler->needs_older ? c->to_older : c->to_z);
    args->learned = c->learned;
    args->log_beta = (float)c->log_beta;
    args->log_var = (float)c->log_var;
}

enum fdit_status fdit_guidance_parse_scale(fdit_context *ctx, const char *text, struct fdit_guidance *g)
{
    double w = 0;
    if (!read_number(text, &w) || fabs(w) > 1e6)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "guidance \"%s\" is not a number; try 4, or 1 for none",
                         text);
    g->w = w;
    return FDIT_OK;
}

enum fdit_status fdit_guidance_parse_channels(fdit_context *ctx, const char *text, struct fdit_guidance *g)
{
    if (strcmp(text, "3") == 0)
        g->channels = 3;
    else if (strcmp(text, "all") == 0)
        g->channels = -1;
    else
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "guidance channels \"%s\"; choose 3 or all", text);
    return FDIT_OK;
}

/* A number of 0 .. T-1 up to `stop`; NULL when there is none or something else follows. */
static const char *read_time(const char *text, char stop, double *out)
{
    char word[40];
    size_t n = strspn(text, "0123456789.");
    if (n == 0 || n >= sizeof word || text[n] != stop)
        return NULL;
    memcpy(word, text, n);
    word[n] = '\0';
    return read_number(word, out) && *out <= T - 1 ? text + n + 1 : NULL;
}

enum fdit_status fdit_guidance_parse_interval(fdit_context *ctx, const char *text, struct fdit_guidance *g)
{
    double low = 0, high = 0;
    const char *rest = read_time(text, ':', &low);
    if (rest == NULL || read_time(rest, '\0', &high) == NULL || low > high)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "guidance interval \"%s\"; write LO:HI with 0 <= LO <= HI <= %d", text, T - 1);
    g->t_low = low;
    g->t_high = high;
    return FDIT_OK;
}

void fdit_guidance_format_interval(const struct fdit_guidance *g, char out[40])
{
    char low[32], high[32];
    snprintf(out, 40, "%.19s:%.19s", fdit_format_number(g->t_low, low), fdit_format_number(g->t_high, high));
}

enum fdit_status fdit_guidance_settle(fdit_context *ctx, struct fdit_guidance *g,
                                      enum fdit_objective_id objective)
{
    const bool ddpm = on_chain(objective), all = g->t_low == 0 && g->t_high == T - 1;
    char text[40];
    fdit_guidance_format_interval(g, text);
    if (ddpm && (g->t_low != floor(g->t_low) || g->t_high != floor(g->t_high)))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "guidance interval \"%s\": times of a ddpm model are whole numbers from 0 to %d",
                         text, T - 1);
    if (!ddpm && !all && g->t_high > 1)
        return fdit_fail(
            ctx, FDIT_ERROR_ARGUMENT,
            "guidance interval \"%s\": times of a flow model go from 0, the picture, to 1, noise", text);
    if (g->channels == 0 && fdit_objective_at(objective)->guides_all)
        g->channels = -1;
    return FDIT_OK;
}

int fdit_guidance_channels(const struct fdit_guidance *g, int channels)
{
    int guided = g->channels > 0 ? g->channels : channels;
    if (g->channels == 0 && channels == 4)
        guided = 3;
    return guided < channels ? guided : channels;
}

bool fdit_guidance_active(const struct fdit_guidance *g, double t)
{
    return g->w != 1 && g->t_low <= t && t <= g->t_high;
}

void fdit_zero_star(const float *cond, float *guide, size_t n)
{
    double both = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        both += (double)cond[i] * (double)guide[i];
        square += (double)guide[i] * (double)guide[i];
    }
    const double s = both / (square + 1e-8);
    for (size_t i = 0; i < n; i++)
        guide[i] = (float)(s * (double)guide[i]);
}

enum fdit_status fdit_guidance_check_rule(fdit_context *ctx, const struct fdit_guidance *g,
                                          const struct fdit_sampler_spec *spec)
{
    char list[160];
    if (g->rule == FDIT_GUIDANCE_PLAIN)
        return FDIT_OK;
    if (on_chain(spec->objective))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "guidance rule zero-star is of flow models, this one was trained with the objective "
                         "ddpm; leave it out");
    if (rows[spec->kind].rule->draws)
        return fdit_fail(
            ctx, FDIT_ERROR_ARGUMENT,
            "guidance rule zero-star stands still in the first step, which the sampler %s cannot; choose %s",
            rows[spec->kind].name, list_of(spec->objective, true, list));
    return FDIT_OK;
}
