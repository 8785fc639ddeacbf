/* SPDX-License-Identifier: Apache-2.0
 * Flow matching against the PyTorch fixtures: files of SiT and REPA, outputs, losses, gradients, and every
 * sampler after each stored step. */
#include "core/mem.h"
#include "format/json.h"
#include "model_fixture.h"
#include "sample/generate.h"
#include "train/step.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL "32,2,2,2"

static fdit_context *ctx;
static fdit_device *dev;
static struct fdit_safetensors *st;
static json_t *tolerances;

static void agree(const char *key, const char *what, const float *got, const float *wanted, size_t n)
{
    const json_t *row = json_object_get(tolerances, key);
    double largest = test_largest(wanted, n);
    ck_assert_msg(row != NULL, "no tolerance \"%s\"", key);
    double absolute = json_number_value(json_object_get(row, "absolute"));
    const json_t *of_largest = json_object_get(row, "relative"); /* null: nothing was off in one of f32 */
    double relative = json_is_null(of_largest) ? absolute : json_number_value(of_largest);
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - (double)wanted[i]);
        ck_assert_msg(d <= absolute && (largest < 1e-12 || d <= relative * largest),
                      "%s: element %zu is %.9g, wanted %.9g", what, i, (double)got[i], (double)wanted[i]);
    }
}

static struct fdit_checkpoint *open_file(const char *file)
{
    struct fdit_checkpoint *cp = NULL;
    char *path = test_fixture("flow/%s", file);
    ck_assert_ok(ctx, fdit_checkpoint_open(ctx, path, FDIT_VALUES_EMA, &cp));
    free(path);
    return cp;
}

static struct fdit_model_config config_of(struct fdit_checkpoint *cp)
{
    struct fdit_model_config config;
    ck_assert_ok(ctx, fdit_checkpoint_config(ctx, cp, MODEL, &config));
    return config;
}

/* What the tensors and arguments tell, and what they cannot. */
START_TEST(test_files)
{
    struct fdit_model_config config;
    struct fdit_checkpoint *cp = open_file("sit.pt");
    ck_assert_int_eq(config_of(cp).objective, FDIT_OBJECTIVE_FLOW_SIT);
    fdit_checkpoint_ask_objective(cp, fdit_objective_find("ddpm"), true);
    ck_assert_int_eq(fdit_checkpoint_config(ctx, cp, MODEL, &config), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "is of the objective flow-sit, not of ddpm"));
    fdit_checkpoint_close(cp);
    cp = open_file("sit_flat.pt");
    ck_assert_int_eq(config_of(cp).objective, FDIT_OBJECTIVE_DDPM);
    fdit_checkpoint_ask_objective(cp, fdit_objective_find("flow-sit"), true);
    ck_assert_int_eq(config_of(cp).objective, FDIT_OBJECTIVE_FLOW_SIT);
    fdit_checkpoint_ask_objective(cp, fdit_objective_find("flow"), true); /* half of its outputs */
    ck_assert_int_eq(fdit_checkpoint_config(ctx, cp, MODEL, &config), FDIT_ERROR_FORMAT);
    fdit_checkpoint_close(cp);
    cp = open_file("repa.pt");
    config = config_of(cp);
    ck_assert_int_eq(config.objective, FDIT_OBJECTIVE_FLOW_REPA);
    ck_assert_int_eq(fdit_config_out_channels(&config), 4);
    fdit_checkpoint_close(cp);
    ck_assert(!config.qk_norm);
    cp = open_file("repa_qknorm.pt");
    ck_assert(config_of(cp).qk_norm);
    fdit_checkpoint_close(cp);
}
END_TEST

static struct fdit_model *new_model(const char *net, struct fdit_checkpoint **cp,
                                    const struct fdit_model_options *options)
{
    struct fdit_model *m = NULL;
    char file[32];
    snprintf(file, sizeof file, "%s.pt", net);
    *cp = open_file(file);
    struct fdit_model_config config = config_of(*cp);
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &config, options, &m));
    return m;
}

/* The network's time of noise time u. */
static double time_of(const struct fdit_model *m, double u)
{
    return fdit_objective_at(m->config.objective)->reversed ? 1 - u : u;
}

static size_t compare_gradients(struct fdit_model *m, const char *net)
{
    size_t compared = 0;
    for (int i = 0; i < m->params.n; i++) {
        const struct fdit_param *p = &m->params.list[i];
        char name[160], key[64];
        size_t n;
        snprintf(name, sizeof name, "%s.grad.%s", net, p->name);
        if (!fdit_safetensors_find(st, name))
            continue;
        float *wanted = test_floats(ctx, st, name, &n), *got = calloc(n, sizeof *got);
        ck_assert_uint_eq(n, p->count);
        ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_param_grad(m, p), got, n));
        snprintf(key, sizeof key, "%s: gradients", net);
        agree(key, name, got, wanted, n);
        fdit_free(wanted);
        free(got);
        compared++;
    }
    return compared;
}

/* Outputs at given times, then losses and gradients. */
static void check_net_by(const char *net, enum fdit_recompute recompute)
{
    const struct fdit_model_options options = {
        .batch = 5, .training = true, .mask = fdit_mask_find("full"), .recompute = recompute
    };
    struct fdit_checkpoint *cp;
    struct fdit_step *step = NULL;
    struct fdit_model *m = new_model(net, &cp, &options);
    char name[64];
    size_t n, b;
    ck_assert_ok(ctx, fdit_step_new(ctx, m, fdit_objective_at(m->config.objective), 1, &step));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    fdit_step_bind(step);
    ck_assert_ok(ctx, fdit_model_load(ctx, m, &cp, 1, false, NULL));
    float *t = test_floats(ctx, st, "t", &b), *x = test_floats(ctx, st, "x", &n);
    int32_t *rows = test_ints(ctx, st, "rows", NULL);
    double times[5];
    for (size_t i = 0; i < b; i++)
        times[i] = (double)t[i];
    fdit_write(dev, m->input, x, n);
    fdit_write(dev, m->index, rows, b);
    fdit_model_write_times(m, (int)b, times);
    fdit_forward(m, (int)b);
    snprintf(name, sizeof name, "%s.out", net);
    float *wanted = test_floats(ctx, st, name, &n), *got = calloc(n, sizeof *got);
    ck_assert_ok(ctx, fdit_read(ctx, dev, m->output, got, n));
    snprintf(name, sizeof name, "%s: out", net);
    agree(name, name, got, wanted, n);
    fdit_free(wanted);
    free(got);

    float *x0 = test_floats(ctx, st, "loss.x0", NULL), *noise = test_floats(ctx, st, "loss.noise", NULL);
    float *u = test_floats(ctx, st, "loss.u", NULL), mse[5], vb[5];
    for (size_t i = 0; i < b; i++)
        times[i] = time_of(m, (double)u[i]);
    fdit_step_micro(step, &(struct fdit_micro){ .samples = (int)b,
                                                .x0 = x0,
                                                .noise = noise,
                                                .t = times,
                                                .rows = rows,
                                                .first = true,
                                                .loss_scale = 1.0 / (double)b });
    ck_assert_ok(ctx, fdit_step_sample_losses(ctx, step, 0, (int)b, mse, vb));
    snprintf(name, sizeof name, "%s.loss", net);
    wanted = test_floats(ctx, st, name, &n);
    snprintf(name, sizeof name, "%s: loss", net);
    agree(name, name, mse, wanted, n);
    for (size_t i = 0; i < b; i++)
        ck_assert(vb[i] == 0);
    ck_assert_uint_ge(compare_gradients(m, net), 20);
    void *blocks[] = { t, x, rows, wanted, x0, noise, u };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        fdit_free(blocks[i]);
    fdit_step_free(step);
    fdit_model_free(m);
    fdit_checkpoint_close(cp);
}

static void check_net(const char *net)
{
    for (int r = FDIT_RECOMPUTE_NONE; r <= FDIT_RECOMPUTE_BLOCK; r++)
        check_net_by(net, (enum fdit_recompute)r);
}

/* f32 devices only: the fixtures' tolerances are those of f32. */
static void on_devices(void (*check)(void))
{
    const char *devices[8];
    int n = test_devices(devices), used = 0;
    for (int d = 0; d < n; d++) {
        if (strchr(devices[d], '+'))
            continue;
        dev = test_open_device(ctx, devices[d], 2);
        check();
        fdit_device_close(dev);
        used++;
    }
    ck_assert_int_gt(used, 0);
}

static void check_nets(void)
{
    check_net("sit");
    check_net("repa");
    check_net("repa_qknorm");
}

START_TEST(test_networks)
{
    on_devices(check_nets);
}
END_TEST

/* ------------------------------------------------------------------ samplers */

struct comparing {
    struct fdit_generator *g;
    const char *name;
    int n, compared;
    bool heun;
};

/* heun makes two passes of a step, but for REPA's last one. */
static void compare_step(void *user, int done, int steps)
{
    struct comparing *c = user;
    char tensor[96], key[128];
    size_t n;
    if (c->heun && done % 2 && done < steps)
        return;
    int step = c->heun ? (done + 1) / 2 : done;
    snprintf(tensor, sizeof tensor, "sample.%s.x%d", c->name, step);
    if (!fdit_safetensors_find(st, tensor))
        return;
    float *wanted = test_floats(ctx, st, tensor, &n), *got = calloc(n, sizeof *got);
    ck_assert_ok(ctx, fdit_generator_read(ctx, c->g, c->n, got));
    snprintf(key, sizeof key, "%s, after %d steps", c->name, step);
    agree(key, tensor, got, wanted, n);
    fdit_free(wanted);
    free(got);
    c->compared++;
}

static const struct {
    const char *name, *net, *sampler;
    int steps, channels, compared;
    double w, low, high;
} runs[] = {
    { "sit_euler11_w3_ch3", "sit", "euler", 11, 3, 3, 3, 0, 999 },
    { "sit_euler11_w1", "sit", "euler", 11, 0, 2, 1, 0, 999 },
    { "sit_heun6_w3_ch3", "sit", "heun", 6, 0, 3, 3, 0, 1 },
    { "sit_sde12_mean_w3_ch3", "sit", "sde", 12, 3, 4, 3, 0, 999 },
    { "sit_sde12_euler_w3_ch3", "sit", "sde:euler", 12, 3, 1, 3, 0, 999 },
    { "sit_sde12_tweedie_w3_ch3", "sit", "sde:tweedie", 12, 3, 1, 3, 0, 999 },
    { "sit_sde12_none_w3_ch3", "sit", "sde:none", 12, 3, 1, 3, 0, 999 },
    { "repa_euler10_w1.8_ch4_0.2-0.7", "repa", "euler", 10, 0, 4, 1.8, 0.2, 0.7 },
    { "repa_heun10_w1.8_ch4_0.2-0.7", "repa", "heun", 10, -1, 4, 1.8, 0.2, 0.7 },
    { "repa_sde12_w1.8_ch4_0.2-0.7", "repa", "sde", 12, 0, 3, 1.8, 0.2, 0.7 },
    { "repa_unipc8_shift1_w1.8_ch4", "repa", "unipc", 8, -1, 4, 1.8, 0, 999 },
    { "repa_unipc8_shift3_w1.8_ch4", "repa", "unipc:3", 8, -1, 4, 1.8, 0, 1 },
    { "repa_euler10_cfgzero_w3", "repa", "euler", 10, 0, 3, 3, 0, 999 },
};
enum { N_RUNS = sizeof runs / sizeof *runs };

/* What is not of flow models is refused, and the generator stays as it is. */
static void refuse_others(struct fdit_generator *g, struct fdit_generator_options o, int steps)
{
    o.sampler.kind = FDIT_SAMPLER_DDIM;
    ck_assert_int_eq(fdit_generator_set(ctx, g, &o), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "choose euler, heun, sde or unipc"));
    o.sampler.kind = FDIT_SAMPLER_HEUN;
    o.clip_x0 = true;
    ck_assert_int_eq(fdit_generator_set(ctx, g, &o), FDIT_ERROR_ARGUMENT);
    o.clip_x0 = false;
    o.guidance.t_high = 500;
    ck_assert_int_eq(fdit_generator_set(ctx, g, &o), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_generator_steps(g), steps);
}

static void check_run(int k)
{
    struct comparing c = { .name = runs[k].name, .heun = !strcmp(runs[k].sampler, "heun") };
    struct fdit_generator_options o = {
        .steps = runs[k].steps,
        .guided = true,
        .guidance = { .w = runs[k].w,
                      .channels = runs[k].channels,
                      .t_low = runs[k].low,
                      .t_high = runs[k].high,
                      .rule =
                          strstr(runs[k].name, "cfgzero") ? FDIT_GUIDANCE_ZERO_STAR : FDIT_GUIDANCE_PLAIN },
        .on_step = compare_step,
        .user = &c,
    };
    struct test_noise s = { .pictures = 0 };
    struct fdit_noise noise = { &s, test_fill_noise };
    struct fdit_picture_spec specs[2];
    struct fdit_checkpoint *cp;
    size_t n;
    int32_t *y = test_ints(ctx, st, "sample.y", &s.pictures);
    int32_t *super = test_ints(ctx, st, "sample.guide_rows", NULL);
    float *start = test_floats(ctx, st, "sample.x_start", &n),
          *z = test_floats(ctx, st, "sample.noise", NULL);
    float *x = calloc(n, sizeof *x);
    s.start = start;
    s.noise = z;
    ck_assert_uint_eq(s.pictures, 2);
    for (size_t i = 0; i < s.pictures; i++)
        specs[i] = (struct fdit_picture_spec){ .class_id = y[i], .row = y[i], .guide_row = super[i] };
    c.n = o.batch = (int)s.pictures;
    ck_assert_ok(ctx, fdit_sampler_parse(ctx, runs[k].sampler, &o.sampler));
    const struct fdit_model_options options = { .batch = fdit_generator_model_batch(&o, true),
                                                .conditions = fdit_generator_conditions(&o, true) };
    struct fdit_model *m = new_model(runs[k].net, &cp, &options);
    ck_assert_ok(ctx, fdit_generator_new(ctx, m, NULL, &o, &c.g));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    fdit_generator_bind(c.g);
    ck_assert_ok(ctx, fdit_model_load(ctx, m, &cp, 1, false, NULL));
    ck_assert_ok(ctx, fdit_generator_run_with(ctx, c.g, specs, c.n, &noise, x));
    ck_assert_msg(c.compared == runs[k].compared, "%s: %d steps compared", c.name, c.compared);

    refuse_others(c.g, o, runs[k].steps);
    fdit_generator_free(c.g);
    fdit_model_free(m);
    fdit_checkpoint_close(cp);
    fdit_free(y);
    fdit_free(super);
    fdit_free(start);
    fdit_free(z);
    free(x);
}

static void check_runs(void)
{
    for (int k = 0; k < N_RUNS; k++)
        check_run(k);
}

START_TEST(test_samplers)
{
    on_devices(check_runs);
}
END_TEST

/* V = x/2 without noise, N = 4: by hand; and the times of each grid. */
START_TEST(test_by_hand)
{
    static const double wanted[] = { 0.52, 0.2438, 0.1018, 0.0937 };
    const struct fdit_sampler_spec sde = { .kind = FDIT_SAMPLER_SDE, .objective = FDIT_OBJECTIVE_FLOW_SIT };
    struct fdit_sampler_spec spec = { .kind = FDIT_SAMPLER_EULER, .objective = FDIT_OBJECTIVE_FLOW_SIT };
    struct fdit_sampler *s = NULL;
    double x = 1;
    ck_assert_ok(ctx, fdit_sampler_new(ctx, &sde, 4, &s));
    ck_assert_int_eq(s->noise_steps, 3);
    for (int k = 0; k < 4; k++) {
        const struct fdit_sampler_coef *c = &s->coef[k];
        x = c->to_x * x + c->to_eps * (-0.5 * x); /* the network says -V */
        ck_assert_double_eq_tol(x, wanted[k], 6e-5);
        ck_assert_double_eq_tol(c->t, 1 - c->at, 1e-15);
    }
    fdit_sampler_free(s);
    ck_assert_ok(ctx, fdit_sampler_new(ctx, &spec, 250, &s));
    ck_assert_int_eq(s->steps, 249);
    fdit_sampler_free(s);
    spec.objective = FDIT_OBJECTIVE_FLOW_REPA;
    ck_assert_ok(ctx, fdit_sampler_new(ctx, &spec, 10, &s));
    ck_assert_int_eq(s->steps, 10);
    ck_assert(s->coef[3].t == 0.7); /* equal to an interval's end */
    fdit_sampler_free(s);
    spec.objective = FDIT_OBJECTIVE_DDPM;
    ck_assert_int_eq(fdit_sampler_new(ctx, &spec, 10, &s), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "choose ddpm, ddim, dpm++ or unipc"));
}
END_TEST

/* Of every row: its target of a noised x is what its loss asks for, a sampler reads x0 from that, and its
 * time is one of noise. */
START_TEST(test_rows)
{
    const enum fdit_objective_id ids[] = { FDIT_OBJECTIVE_DDPM, FDIT_OBJECTIVE_FLOW_SIT,
                                           FDIT_OBJECTIVE_FLOW_REPA };
    const double x0 = 0.7, noise = -1.3, velocity[] = { 0, 1, -1 }; /* of x0 */
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        const struct fdit_objective *o = fdit_objective_at(ids[i]);
        const struct fdit_sampler_spec spec = { .kind = FDIT_SAMPLER_UNIPC, .objective = o->id };
        struct fdit_schedule *schedule = NULL;
        struct fdit_sampler *s = NULL;
        float noising[2];
        double target[2];
        ck_assert(o->id == ids[i] && fdit_objective_find(o->name) == o);
        ck_assert_int_eq(o->process == FDIT_PROCESS_CHAIN, i == 0);
        ck_assert(o->noise_time(o, i == 0 ? 999 : i == 1 ? 0 : 1) == 1);
        const double told[] = { 333, 0.75, 0.25 }, u = i == 0 ? 333 / 999.0 : 0.25;
        ck_assert_double_eq_tol(o->noise_time(o, told[i]), u, 1e-15);
        ck_assert_ok(ctx, fdit_schedule_new(ctx, FDIT_TRAIN_STEPS, &schedule));
        ck_assert_ok(ctx, fdit_sampler_new(ctx, &spec, 5, &s));
        for (int k = 0; k < s->steps; k++) {
            const struct fdit_sampler_coef *c = &s->coef[k];
            o->diffuse(o, schedule, c->t, noising);
            o->target(o, (double)noising[0], (double)noising[1], target);
            ck_assert(target[0] == velocity[i] && target[1] == (i == 0 ? 1 : -velocity[i]));
            if (o->process == FDIT_PROCESS_STRAIGHT) {
                static const struct fdit_loss_weight uniform;
                float out[FDIT_LOSS_COEFS];
                struct fdit_velocity_coef asked;
                o->coefficients(o, schedule, c->t, 1, &uniform, out);
                memcpy(&asked, out, sizeof asked);
                ck_assert((double)asked.of_x0 == target[0] && (double)asked.of_noise == target[1]);
            }
            const double x = (double)noising[0] * x0 + (double)noising[1] * noise;
            const double said = target[0] * x0 + target[1] * noise;
            ck_assert_double_eq_tol(c->x0_x * x + c->x0_eps * said, x0, k == 0 ? 1e-4 : 1e-5);
        }
        fdit_sampler_free(s);
        fdit_schedule_free(schedule);
    }
}
END_TEST

static void open_fixtures(void)
{
    st = test_open(ctx, "flow/flow.safetensors");
    tolerances = test_json(ctx, "flow/tolerances.json");
}

static void close_fixtures(void)
{
    json_decref(tolerances);
    fdit_safetensors_close(st);
}

int main(void)
{
    Suite *suite = suite_create("flow");
    TCase *tc = tcase_create("flow");
    ctx = fdit_context_new();
    tcase_add_unchecked_fixture(tc, open_fixtures, close_fixtures);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_files);
    tcase_add_test(tc, test_networks);
    tcase_add_test(tc, test_samplers);
    tcase_add_test(tc, test_by_hand);
    tcase_add_test(tc, test_rows);
    suite_add_tcase(suite, tc);
    int code = test_run(suite);
    fdit_context_free(ctx);
    return code;
}
