/* SPDX-License-Identifier: Apache-2.0
 * The sampling loop: every sampler against the PyTorch fixtures after each stored step, and the
 * random numbers of a picture. */
#include "core/mem.h"
#include "core/rng.h"
#include "diffusion/torch_rng.h"
#include "model_fixture.h"
#include "sample/generate.h"
#include "sample/options.h"
#include "sample/pixels.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;

/* ------------------------------------------------------------------ fixtures */

/* What a name like "ddim50_eta0.5_w4_ch3" says. */
struct named {
    char name[64];
    struct fdit_generator_options o;
};

static bool read_name(const char *tensor, struct named *out)
{
    const char *dot = strstr(tensor, ".x");
    int steps = 0, used = 0, channels = 0;
    double eta = 0, w = 0;
    /* "eta0.5" holds a dot, too: the last ".x" followed by digits only ends the name */
    for (const char *p = dot; p; p = strstr(p + 1, ".x"))
        dot = p;
    if (!dot || strspn(dot + 2, "0123456789") != strlen(dot + 2) || !dot[2])
        return false;
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%.*s", (int)(dot - tensor), tensor);
    const char *rest = out->name;
    out->o.guidance = FDIT_GUIDANCE_DEFAULT;
    if (sscanf(rest, "ddpm%d%n", &steps, &used) == 1) {
        out->o.sampler.kind = FDIT_SAMPLER_DDPM;
    } else if (sscanf(rest, "ddim%d_eta%lf%n", &steps, &eta, &used) == 2) {
        out->o.sampler.kind = FDIT_SAMPLER_DDIM;
        out->o.sampler.eta = eta;
    } else if (sscanf(rest, "dpmpp2m_%d%n", &steps, &used) == 1) {
        out->o.sampler.kind = FDIT_SAMPLER_DPMPP;
    } else {
        ck_abort_msg("%s: what is this sampler?", tensor);
    }
    rest += used;
    out->o.steps = steps;
    if (!strcmp(rest, "_no_guidance"))
        return true;
    out->o.guided = true;
    ck_assert_msg(sscanf(rest, "_w%lf_ch%d", &w, &channels) == 2, "%s: which guidance?", tensor);
    out->o.guidance.w = w;
    out->o.guidance.channels = channels;
    return true;
}

struct comparing {
    fdit_context *ctx; /* of the run, which is stopped after `most` steps */
    struct fdit_safetensors *st;
    struct fdit_generator *g;
    const char *name;
    int n, most;
    size_t compared;
};

static void compare_step(void *user, int done, int steps)
{
    struct comparing *c = user;
    char tensor[80], key[128];
    size_t n;
    if (done == c->most && done < steps)
        fdit_context_stop(c->ctx);
    snprintf(tensor, sizeof tensor, "%s.x%d", c->name, done);
    if (!fdit_safetensors_find(c->st, tensor))
        return;
    float *wanted = test_floats(ctx, c->st, tensor, &n), *got = calloc(n, sizeof *got);
    ck_assert_ok(ctx, fdit_generator_read(ctx, c->g, c->n, got));
    snprintf(key, sizeof key, "sample.safetensors: %s, after %d steps", c->name, done);
    test_agree(key, tensor, got, wanted, n);
    fdit_free(wanted);
    free(got);
    c->compared++;
}

/* A model of the fixtures that keeps so many conditions. */
static struct fdit_model *new_model(fdit_device *dev, struct fdit_checkpoint **cp, int batch, int conditions)
{
    struct fdit_model_options options = { .batch = batch, .conditions = conditions };
    struct fdit_model_config config;
    struct fdit_model *m = NULL;
    char *path = test_fixture("dit.safetensors");
    ck_assert_ok(ctx, fdit_checkpoint_open(ctx, path, FDIT_VALUES_RAW, cp));
    ck_assert_ok(ctx, fdit_checkpoint_config(ctx, *cp, NULL, &config));
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &config, &options, &m));
    free(path);
    return m;
}

/* Up to `most` steps of one sampler; returns how many of them were compared. */
static size_t run_named(fdit_device *dev, struct fdit_safetensors *st, struct named *named, int most)
{
    struct fdit_checkpoint *cp = NULL;
    struct comparing c = { .st = st, .name = named->name, .most = most };
    struct test_noise s = { .pictures = 0 };
    struct fdit_noise noise = { &s, test_fill_noise };
    size_t n, all;
    int32_t *y = test_ints(ctx, st, "y", &n), *super = test_ints(ctx, st, "super_row", NULL);
    float *start = test_floats(ctx, st, "x_start", &all), *stored = test_floats(ctx, st, "noise", &s.steps);
    struct fdit_picture_spec *specs = calloc(n, sizeof *specs);
    float *x = calloc(all, sizeof *x);
    s.start = start;
    s.noise = stored;
    s.pictures = n;
    s.steps /= all;
    for (size_t i = 0; i < n; i++)
        specs[i] = (struct fdit_picture_spec){ .class_id = y[i], .row = y[i], .guide_row = super[i] };
    c.n = named->o.batch = (int)n;
    named->o.on_step = compare_step;
    named->o.user = &c;
    struct fdit_model *m = new_model(dev, &cp, fdit_generator_model_batch(&named->o, true),
                                     fdit_generator_conditions(&named->o, true));
    ck_assert_ok(ctx, fdit_generator_new(ctx, m, NULL, &named->o, &c.g));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    fdit_generator_bind(c.g);
    ck_assert_ok(ctx, fdit_model_load(ctx, m, &cp, 1, false, NULL));
    c.ctx = fdit_context_new();
    enum fdit_status status = fdit_generator_run_with(c.ctx, c.g, specs, (int)n, &noise, x);
    ck_assert_msg(status == (most < named->o.steps ? FDIT_INTERRUPTED : FDIT_OK), "%s: %s", named->name,
                  fdit_context_message(c.ctx));
    fdit_context_free(c.ctx);
    fdit_generator_free(c.g);
    fdit_model_free(m);
    fdit_checkpoint_close(cp);
    fdit_free(y);
    fdit_free(super);
    fdit_free(start);
    fdit_free(stored);
    free(specs);
    free(x);
    return c.compared;
}

START_TEST(test_samplers)
{
    const char *devices[8];
    struct fdit_safetensors *st = test_open(ctx, "sample.safetensors");
    int n_devices = test_devices(devices);
    for (int d = 0; d < n_devices; d++) {
        fdit_device *dev = test_open_device(ctx, devices[d], 1);
        char last[64] = "";
        size_t samplers = 0;
        for (size_t i = 0; i < fdit_safetensors_count(st); i++) {
            struct named named;
            if (!read_name(fdit_safetensors_at(st, i)->name, &named) || !strcmp(named.name, last))
                continue;
            snprintf(last, sizeof last, "%s", named.name);
            /* the plain device is slow: its beginnings */
            int most = strcmp(devices[d], "ref") ? named.o.steps : 10;
            size_t compared = run_named(dev, st, &named, most);
            ck_assert_msg(compared >= 2, "%s: only %zu steps compared", named.name, compared);
            samplers++;
        }
        ck_assert_uint_ge(samplers, 3);
        fdit_device_close(dev);
    }
    fdit_safetensors_close(st);
}
END_TEST

enum { CONDITIONED = 3 };

/* Two pictures by a generator that has room for three; returns how many numbers. */
static size_t draw_two(fdit_device *dev, bool other, int conditions, float **x)
{
    struct fdit_generator_options o = {
        .steps = 7, .guided = true, .batch = CONDITIONED, .guidance = { .w = 3, .t_low = 0, .t_high = 600 }
    };
    struct fdit_picture_spec specs[2] = { { .seed = 5, .class_id = 1, .row = 1, .guide_row = 2 },
                                          { .seed = 6, .class_id = 2, .row = 2, .guide_row = 0 } };
    struct fdit_checkpoint *cp[2] = { NULL, NULL };
    struct fdit_generator *g = NULL;
    struct fdit_model *m = new_model(dev, &cp[0], fdit_generator_model_batch(&o, !other), conditions),
                      *guide = other ? new_model(dev, &cp[1], o.batch, conditions) : NULL;
    size_t picture = (size_t)m->config.channels * (size_t)m->config.input_size * (size_t)m->config.input_size;
    *x = calloc(2 * picture, sizeof **x);
    ck_assert_ok(ctx, fdit_generator_new(ctx, m, guide, &o, &g));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    ck_assert_ok(ctx, fdit_model_load(ctx, m, &cp[0], 1, false, NULL));
    if (guide) {
        ck_assert_ok(ctx, fdit_model_allocate(ctx, guide));
        ck_assert_ok(ctx, fdit_model_load(ctx, guide, &cp[1], 1, false, NULL));
    }
    fdit_generator_bind(g);
    for (int i = 0; i < 2; i++) /* nothing of a run is left for the next */
        ck_assert_ok(ctx, fdit_generator_run(ctx, g, specs, 2, *x));
    fdit_generator_free(g);
    fdit_model_free(m);
    fdit_model_free(guide);
    fdit_checkpoint_close(cp[0]);
    if (cp[1])
        fdit_checkpoint_close(cp[1]);
    return 2 * picture;
}

/* Conditions of several steps at once change no bit: whole and ragged numbers of steps, an interval that
 * begins in the middle of them, a guide of its own. */
START_TEST(test_conditions)
{
    static const int conditions[] = { 6, 10, 13, 28, 100 };
    const char *devices[8];
    int n_devices = test_devices(devices);
    for (int d = 0; d < 2 * n_devices; d++) {
        fdit_device *dev = test_open_device(ctx, devices[d / 2], 1);
        bool other = d & 1;
        float *wanted, *got;
        size_t n = draw_two(dev, other, 0, &wanted);
        for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++) {
            ck_assert_uint_eq(draw_two(dev, other, conditions[i], &got), n);
            ck_assert_msg(!memcmp(got, wanted, n * sizeof *got), "%s, %d conditions, %s guide: other bits",
                          devices[d / 2], conditions[i], other ? "another" : "own");
            free(got);
        }
        free(wanted);
        fdit_device_close(dev);
    }
}
END_TEST

/* ------------------------------------------------------------------ random numbers */

START_TEST(test_philox)
{
    enum { N = 37 };
    struct fdit_noise_pictures *np = NULL;
    float got[N], wanted[N];
    ck_assert_ok(ctx, fdit_noise_new(ctx, FDIT_NOISE_PHILOX, 2, N, true, &np));
    struct fdit_noise noise = fdit_noise_of(np);
    fdit_noise_seed(np, 0, 11, 3);
    fdit_noise_seed(np, 1, UINT64_C(0x123456789abcdef), 9999);
    for (int step = 3; step >= -1; step--) /* any order: there is no state */
        for (int i = 0; i < 2; i++) {
            uint64_t seed = i ? UINT64_C(0x123456789abcdef) : 11;
            noise.fill(noise.self, i, step, got, N);
            /* from the definition: key = seed, counter = (block, stream, class, 0) */
            for (uint32_t j = 0; j < N; j += 4) {
                uint32_t counter[4] = { j / 4, (uint32_t)(step + 1), i ? 9999 : 3, 0 }, words[4];
                uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
                double normals[4];
                fdit_philox(counter, key, words);
                fdit_philox_normals(words, normals);
                for (uint32_t k = j; k < j + 4 && k < N; k++)
                    wanted[k] = (float)normals[k - j];
            }
            ck_assert_uint_eq(test_first_difference(got, wanted, N, sizeof *got), N);
        }
    ck_assert(!fdit_noise_every_step(np));
    fdit_noise_free(np);
}
END_TEST

/* torch.manual_seed(S + k); x = randn(1, C, S, S); then randn(2, C, S, S) in each step, the first
 * half of which counts; without a guide randn(1, C, S, S). Short calls keep a spare normal. */
START_TEST(test_torch)
{
    static const size_t sizes[] = { 7, 16, 192 };
    for (int kind = FDIT_NOISE_TORCH_CPU; kind <= FDIT_NOISE_TORCH_CUDA; kind++)
        for (size_t k = 0; k < 3; k++)
            for (int guided = 0; guided < 2; guided++) {
                size_t n = sizes[k];
                struct fdit_noise_pictures *np = NULL;
                struct fdit_torch_cpu cpu;
                struct fdit_torch_cuda cuda;
                float got[192], wanted[2 * 192];
                ck_assert_ok(ctx, fdit_noise_new(ctx, (enum fdit_noise_kind)kind, 2, n, guided, &np));
                ck_assert(fdit_noise_every_step(np));
                struct fdit_noise noise = fdit_noise_of(np);
                fdit_noise_seed(np, 0, 41, 5);
                fdit_noise_seed(np, 1, 42, 5);
                fdit_torch_cpu_seed(&cpu, 42);
                fdit_torch_cuda_seed(&cuda, 42, 0);
                for (int step = -1; step < 4; step++) {
                    size_t drawn = step >= 0 && guided ? 2 * n : n;
                    noise.fill(noise.self, 0, step, got, n); /* another picture draws in between */
                    noise.fill(noise.self, 1, step, got, n);
                    if (kind == FDIT_NOISE_TORCH_CPU)
                        fdit_torch_cpu_randn(&cpu, drawn, wanted);
                    else
                        fdit_torch_cuda_randn(&cuda, drawn, wanted);
                    ck_assert_msg(test_first_difference(got, wanted, n, sizeof *got) == n,
                                  "kind %d, %zu numbers, guided %d, step %d", kind, n, guided, step);
                }
                fdit_noise_free(np);
            }
}
END_TEST

/* The fixture's noise was drawn by PyTorch as the published program does, for its batch of two: one
 * picture of twice the size draws the same. */
START_TEST(test_torch_fixture)
{
    char *path = test_fixture("config.json");
    json_t *config = json_load_file(path, 0, NULL);
    const json_t *seed = json_object_get(config, "sample_seed");
    struct fdit_safetensors *st = test_open(ctx, "sample.safetensors");
    struct fdit_noise_pictures *np = NULL;
    size_t n, all;
    ck_assert_msg(json_is_integer(seed), "%s: no sample_seed", path);
    float *start = test_floats(ctx, st, "x_start", &n), *stored = test_floats(ctx, st, "noise", &all);
    float *got = calloc(n, sizeof *got);
    ck_assert_ok(ctx, fdit_noise_new(ctx, FDIT_NOISE_TORCH_CPU, 1, n, true, &np));
    fdit_noise_seed(np, 0, (uint64_t)json_integer_value(seed), 0);
    struct fdit_noise noise = fdit_noise_of(np);
    for (int step = -1; step < (int)(all / n); step++) {
        const float *wanted = step < 0 ? start : stored + (size_t)step * n;
        noise.fill(noise.self, 0, step, got, n);
        for (size_t i = 0; i < n; i++)
            ck_assert_msg(fabsf(got[i] - wanted[i]) < 4e-6f, "step %d, number %zu: %.9g, PyTorch has %.9g",
                          step, i, (double)got[i], (double)wanted[i]);
    }
    fdit_noise_free(np);
    fdit_free(start);
    fdit_free(stored);
    free(got);
    fdit_safetensors_close(st);
    json_decref(config);
    free(path);
}
END_TEST

START_TEST(test_parse)
{
    struct fdit_sample_options o = fdit_sample_defaults();
    ck_assert_ok(ctx, fdit_options_set(ctx, fdit_sample_option_table, &o, "rng", "torch-cuda"));
    ck_assert_int_eq(o.rng, FDIT_NOISE_TORCH_CUDA);
    ck_assert_int_eq(fdit_options_set(ctx, fdit_sample_option_table, &o, "rng", "torch"),
                     FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "torch-cpu"));
}
END_TEST

/* ------------------------------------------------------------------ pixels */

START_TEST(test_pixels)
{
    /* clamp, (x + 1) / 2 * 255 + 0.5, cut; planes become interleaved */
    const float x[] = { -1, -2, -INFINITY, NAN, 0, 1, 7, INFINITY, 0.5f, -0.996f, -0.9961f, 0.99608f };
    const uint8_t wanted[12] = { 0, 0, 0, 0, 128, 255, 255, 255, 191, 1, 0, 255 };
    uint8_t got[12];
    fdit_pixels(x, 1, 12, got);
    for (int i = 0; i < 12; i++)
        ck_assert_msg(got[i] == wanted[i], "%g gives %d, not %d", (double)x[i], got[i], wanted[i]);
    fdit_pixels(x, 3, 4, got);
    for (int i = 0; i < 12; i++)
        ck_assert_int_eq(got[i], wanted[i % 3 * 4 + i / 3]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sample");
    TCase *fixtures = tcase_create("fixtures"), *other = tcase_create("numbers");
    ctx = fdit_context_new();
    tcase_add_test(fixtures, test_samplers);
    tcase_add_test(fixtures, test_conditions);
    tcase_add_test(other, test_philox);
    tcase_add_test(other, test_torch);
    tcase_add_test(other, test_torch_fixture);
    tcase_add_test(other, test_parse);
    tcase_add_test(other, test_pixels);
    suite_add_tcase(suite, fixtures);
    suite_add_tcase(suite, other);
    int code = test_run(suite);
    fdit_context_free(ctx);
    return code;
}
