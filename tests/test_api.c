/* SPDX-License-Identifier: Apache-2.0
 * The public interface as an installed program sees it: linked with libfinediffusion alone, so a function
 * that the header declares and the library does not export fails here. */
#include <finediffusion.h>

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static fdit_context *ctx;
static char folder[] = "/tmp/fdit-api-XXXXXX", base[64], run[64], delta[96];

#define OK(expr)                                                                       \
    do {                                                                               \
        enum fdit_status status_ = (expr);                                             \
        ck_assert_msg(status_ == FDIT_OK, "%s: %s", #expr, fdit_context_message(ctx)); \
    } while (0)

static void shell(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    ck_assert_msg(system(command) == 0, "failed: %s", command);
}

static const char *fixture(const char *name)
{
    static char path[1024];
    const char *fixtures = getenv("FDIT_FIXTURES");
    snprintf(path, sizeof path, "%s/%s", fixtures ? fixtures : TESTS_DIR "/fixtures", name);
    return path;
}

static const char *program(void)
{
    const char *path = getenv("FDIT_PROGRAM");
    ck_assert_msg(path != NULL, "FDIT_PROGRAM is not set; run make check");
    return path;
}

static unsigned char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s cannot be read", path);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = malloc(*n + 1);
    ck_assert_uint_eq(fread(bytes, 1, *n, f), *n);
    fclose(f);
    return bytes;
}

/* The pixels of a PNG as they are packed: what comes before, its text, says how it was made. */
static void same_pixels(const char *a, const char *b)
{
    size_t n[2];
    unsigned char *bytes[2] = { read_file(a, &n[0]), read_file(b, &n[1]) }, *at[2];
    for (int i = 0; i < 2; i++) {
        at[i] = memmem(bytes[i], n[i], "IDAT", 4);
        ck_assert_ptr_nonnull(at[i]);
        n[i] -= (size_t)(at[i] - bytes[i]);
    }
    ck_assert_uint_eq(n[0], n[1]);
    ck_assert_mem_eq(at[0], at[1], n[0]);
    free(bytes[0]);
    free(bytes[1]);
}

/* The last tensor of the file is x. */
static void same_latents(const char *path, const float *x, size_t n)
{
    size_t bytes;
    unsigned char *all = read_file(path, &bytes);
    ck_assert_uint_ge(bytes, n * sizeof *x);
    ck_assert_mem_eq(all + bytes - n * sizeof *x, x, n * sizeof *x);
    free(all);
}

struct counted {
    int steps, of, stop_at; /* seen; of; stop after this one's report, 0: never */
};

static bool count_steps(void *user, const struct fdit_training_progress *p)
{
    struct counted *c = user;
    ck_assert_int_eq(p->step, ++c->steps);
    ck_assert_int_eq(p->steps, c->of);
    ck_assert(isfinite(p->loss) && p->loss == p->mse + p->vb);
    ck_assert_double_gt(p->lr, 0);
    return c->steps != c->stop_at;
}

static void set(fdit_training *t, const char *const (*options)[2])
{
    for (; (*options)[0]; options++)
        OK(fdit_training_set(ctx, t, (*options)[0], (*options)[1]));
}

static char data[512];

static fdit_training *training(const char *out)
{
    const char *const options[][2] = { { "device", "cpu" },      { "threads", "1" }, { "base", base },
                                       { "data", data },         { "out", out },     { "steps", "3" },
                                       { "batch", "8" },         { "lr", "1e-3" },   { "seed", "5" },
                                       { "clip", "1" },          { "workers", "0" }, { "preview-every", "0" },
                                       { "flip", "horizontal" }, { NULL, NULL } };
    fdit_training *t = NULL;
    OK(fdit_training_new(ctx, &t));
    set(t, options);
    return t;
}

/* Makes a tiny base with the program, tunes it through the library: to what the program makes of it. */
START_TEST(test_training)
{
    struct counted c = { 0, 3, 0 };
    char same[96];
    size_t n[2];
    shell("'%s' train --quiet --from-scratch --tune full --model 32,2,2,6 --size 24 --channels 1 --data '%s' "
          "--flip none --batch 8 --steps 2 --workers 1 --preview-every 0 --device cpu --out %s/base",
          program(), data, folder);
    fdit_training *t = training(run);
    OK(fdit_training_run(ctx, t, count_steps, &c));
    ck_assert_int_eq(c.steps, 3);
    shell("'%s' train --quiet --base %s --data '%s' --batch 8 --steps 3 --lr 1e-3 --seed 5 --clip 1 "
          "--preview-every 0 --device cpu --out %s/same",
          program(), base, data, folder);
    snprintf(same, sizeof same, "%s/same/delta.safetensors", folder);
    unsigned char *ours = read_file(delta, &n[0]), *theirs = read_file(same, &n[1]);
    ck_assert_uint_eq(n[0], n[1]);
    ck_assert_mem_eq(ours, theirs, n[0]);
    free(ours);
    free(theirs);
    fdit_training_free(t);
    fdit_training_free(NULL);
}
END_TEST

/* Options by name: what is wrong is said, and leaves the training as it was. */
START_TEST(test_training_options)
{
    const char *text = NULL;
    char out[96];
    snprintf(out, sizeof out, "%s/refused", folder);
    fdit_training *t = training(out);
    ck_assert_int_eq(fdit_training_set(ctx, t, "clp", "1"), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "clip"));
    ck_assert_int_eq(fdit_training_set(ctx, t, "steps", "many"), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_training_set(ctx, t, "lr-schedule", "square"), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "cosine"));
    OK(fdit_training_set(ctx, t, "lr-schedule", "cosine"));
    OK(fdit_training_set(ctx, t, "recompute", "block"));
    OK(fdit_training_set(ctx, t, "tune", "bitfit"));
    OK(fdit_training_plan(ctx, t, &text));
    ck_assert_ptr_nonnull(strstr(text, "activations"));
    ck_assert_int_ne(access(out, F_OK), 0);
    OK(fdit_training_set(ctx, t, "memory", "100K"));
    ck_assert_int_eq(fdit_training_plan(ctx, t, &text), FDIT_ERROR_DEVICE);
    ck_assert_ptr_nonnull(strstr(text, "activations"));
    ck_assert_int_eq(fdit_training_set(ctx, t, "tune", "nothing"), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "nothing"));
    OK(fdit_training_set(ctx, t, "objective", "nothing"));
    ck_assert_int_eq(fdit_training_run(ctx, t, NULL, NULL), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "nothing"));
    fdit_training_free(t);
}
END_TEST

/* A run that its callback stops goes on to the bits of the unbroken one. */
START_TEST(test_training_stops)
{
    struct counted c = { 0, 6, 2 };
    char out[96], path[128], whole[96];
    size_t n[2];
    snprintf(out, sizeof out, "%s/stopped", folder);
    snprintf(whole, sizeof whole, "%s/whole", folder);
    fdit_training *t = training(out), *again = NULL;
    OK(fdit_training_set(ctx, t, "steps", "6"));
    ck_assert_int_eq(fdit_training_run(ctx, t, count_steps, &c), FDIT_INTERRUPTED);
    ck_assert_int_ge(c.steps, 2);
    ck_assert_int_le(c.steps, 4); /* those that were under way are told as well */
    OK(fdit_training_set(ctx, t, "out", whole));
    OK(fdit_training_run(ctx, t, NULL, NULL));
    fdit_training_free(t);
    OK(fdit_training_new(ctx, &again));
    ck_assert_int_eq(fdit_training_resume(ctx, again, folder), FDIT_ERROR_ARGUMENT);
    OK(fdit_training_resume(ctx, again, out));
    c.stop_at = 0;
    OK(fdit_training_run(ctx, again, count_steps, &c));
    ck_assert_int_eq(c.steps, 6);
    snprintf(path, sizeof path, "%s/delta.safetensors", out);
    unsigned char *ours = read_file(path, &n[0]);
    snprintf(path, sizeof path, "%s/delta.safetensors", whole);
    unsigned char *theirs = read_file(path, &n[1]);
    ck_assert_uint_eq(n[0], n[1]);
    ck_assert_mem_eq(ours, theirs, n[0]);
    free(ours);
    free(theirs);
    /* the same options for another run */
    snprintf(path, sizeof path, "%s/config.json", out);
    OK(fdit_training_read_config(ctx, again, path));
    snprintf(path, sizeof path, "%s/second", folder);
    OK(fdit_training_set(ctx, again, "out", path));
    fdit_context_stop(ctx); /* of the context: until it is taken back */
    ck_assert_int_eq(fdit_training_run(ctx, again, NULL, NULL), FDIT_INTERRUPTED);
    fdit_context_go_on(ctx);
    fdit_training_free(again);
}
END_TEST

static struct fdit_session_options session_options(void)
{
    struct fdit_session_options o;
    fdit_session_options_init(&o);
    o.device = "cpu";
    o.threads = 1;
    o.base = base;
    o.delta = delta;
    o.batch = 2;
    return o;
}

START_TEST(test_drawing)
{
    struct fdit_session_options o = session_options();
    struct fdit_draw_options how;
    fdit_session *s = NULL;
    OK(fdit_session_open(ctx, &o, &s));
    ck_assert_int_eq(fdit_session_size(s), 24);
    ck_assert_int_eq(fdit_session_channels(s), 1);
    ck_assert_uint_eq(fdit_session_elements(s), 576);
    ck_assert_int_eq(fdit_session_picture_size(s), 24);
    ck_assert_int_eq(fdit_session_picture_channels(s), 1);
    ck_assert_uint_eq(fdit_session_picture_bytes(s), 576);
    fdit_draw_options_init(&how);
    how.sampler = "ddim";
    how.steps = 3;
    const int32_t classes[3] = { 4, 4, 70 };
    const uint64_t seeds[3] = { 1, 2, 1 };
    float x[3 * 576], again[576];
    OK(fdit_session_draw(ctx, s, &how, classes, seeds, 3, x));
    for (int i = 0; i < 3 * 576; i++)
        ck_assert(isfinite(x[i]));
    ck_assert_mem_ne(x, x + 576, 576 * sizeof *x);
    /* the same picture whatever stood beside it, and whatever was drawn in another way before */
    how.sampler = "dpm++";
    how.guidance = 1;
    OK(fdit_session_draw(ctx, s, &how, classes + 2, seeds + 2, 1, again));
    ck_assert_mem_ne(again, x + 2 * 576, sizeof again);
    how.sampler = "ddim";
    how.guidance = NAN;
    OK(fdit_session_draw(ctx, s, &how, classes + 2, seeds + 2, 1, again));
    ck_assert_mem_eq(again, x + 2 * 576, sizeof again);
    const int32_t bad[3] = { 4, 110, -1 };
    ck_assert_int_eq(fdit_session_draw(ctx, s, &how, bad + 1, seeds, 1, again), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_session_draw(ctx, s, &how, bad + 2, seeds, 1, again), FDIT_ERROR_ARGUMENT);
    how.sampler = "euler";
    ck_assert_int_eq(fdit_session_draw(ctx, s, &how, classes, seeds, 1, again), FDIT_ERROR_ARGUMENT);
    how.sampler = NULL;
    how.steps = 5000;
    ck_assert_int_eq(fdit_session_draw(ctx, s, &how, classes, seeds, 1, again), FDIT_ERROR_ARGUMENT);
    fdit_session_close(s);
    fdit_session_close(NULL);
    o.base = "absent.safetensors";
    ck_assert_int_eq(fdit_session_open(ctx, &o, &s), FDIT_ERROR_IO);
    ck_assert_ptr_null(s);
}
END_TEST

/* What `finediffusion devices` knows; the last one that is wanted is the last one that is told. */
struct listed {
    int n, at_most;
    bool cpu;
};

static bool take_device(void *user, const struct fdit_device_description *d)
{
    struct listed *l = user;
    ck_assert(d->device && *d->device && d->name && *d->name && d->driver && d->note);
    if (!strcmp(d->device, "cpu")) {
        l->cpu = d->usable && !d->is_gpu && d->threads > 0 && d->memory > 0;
        ck_assert_str_ne(d->driver, "");
    }
    return ++l->n < l->at_most;
}

START_TEST(test_devices)
{
    struct listed all = { .at_most = 1000 }, first = { .at_most = 1 };
    OK(fdit_list_devices(ctx, take_device, &all));
    ck_assert_int_ge(all.n, 2);
    ck_assert(all.cpu);
    OK(fdit_list_devices(ctx, take_device, &first));
    ck_assert_int_eq(first.n, 1);
}
END_TEST

/* A SiT whose file does not say that it is one. */
START_TEST(test_flow_session)
{
    struct fdit_session_options o = session_options();
    struct fdit_draw_options how;
    fdit_session *s = NULL;
    const int32_t class = 1;
    const uint64_t seed = 3;
    float x[256];
    char file[1024], path[160];
    snprintf(file, sizeof file, "%s/flow/sit_flat.pt", getenv("FDIT_FIXTURES"));
    o.base = file;
    o.delta = NULL;
    o.model = "32,2,2,2";
    o.guide = "none";
    o.objective = "flow";
    ck_assert_int_eq(fdit_session_open(ctx, &o, &s), FDIT_ERROR_FORMAT);
    o.objective = "flow-sit";
    OK(fdit_session_open(ctx, &o, &s));
    ck_assert_uint_eq(fdit_session_elements(s), 256);
    fdit_draw_options_init(&how);
    how.steps = 5;
    OK(fdit_session_draw(ctx, s, &how, &class, &seed, 1, x));
    how.sampler = "ddim";
    ck_assert_int_eq(fdit_session_draw(ctx, s, &how, &class, &seed, 1, x), FDIT_ERROR_ARGUMENT);
    shell("'%s' sample --quiet --device cpu --base %s --objective flow-sit --model 32,2,2,2 --guide none "
          "--classes '#1' --seed 3 --steps 5 --latents %s/flow.safetensors",
          program(), file, folder);
    snprintf(path, sizeof path, "%s/flow.safetensors", folder);
    same_latents(path, x, 256);
    fdit_session_close(s);
}
END_TEST

/* Bytes on the device of a session that is not loaded. */
static size_t planned(const struct fdit_session_options *of)
{
    struct fdit_session_options o = *of;
    fdit_session *s = NULL;
    o.plan_only = true;
    OK(fdit_session_open(ctx, &o, &s));
    const size_t bytes = fdit_session_device_bytes(s);
    fdit_session_close(s);
    return bytes;
}

/* CFG-Zero*, blocks computed in some steps only, and an adapter that is merged, as the program does them. */
START_TEST(test_ways)
{
    struct fdit_session_options o = session_options();
    struct fdit_draw_options how;
    fdit_session *s = NULL;
    const int32_t class = 1;
    const uint64_t seed = 3;
    float x[576];
    char file[1024], path[160];
    fdit_draw_options_init(&how);
    how.steps = 6;
    how.guidance_rule = "zero-star";
    snprintf(file, sizeof file, "%s", fixture("flow/sit_flat.pt"));
    o.base = file;
    o.delta = NULL;
    o.model = "32,2,2,2";
    o.guide = "random";
    o.objective = "flow-sit";
    const size_t in_all_steps = planned(&o);
    o.cache_interval = "3";
    o.cache_order = "3";
    ck_assert_int_eq(fdit_session_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    o.cache_order = "0";
    OK(fdit_session_open(ctx, &o, &s));
    OK(fdit_session_draw(ctx, s, &how, &class, &seed, 1, x));
    ck_assert_uint_gt(fdit_session_device_bytes(s), in_all_steps);
    shell("'%s' sample --quiet --device cpu --base %s --objective flow-sit --model 32,2,2,2 --guide random "
          "--guidance-rule zero-star --cache-interval 3 --cache-order 0 --classes '#1' --seed 3 --steps 6 "
          "--latents %s/ways.safetensors",
          program(), file, folder);
    snprintf(path, sizeof path, "%s/ways.safetensors", folder);
    same_latents(path, x, 256);
    fdit_session_close(s);

    shell("'%s' train --quiet --base %s --data '%s' --tune lora:2 --batch 8 --steps 2 --lr 1e-2 "
          "--preview-every 0 --device cpu --out %s/lora",
          program(), base, data, folder);
    snprintf(file, sizeof file, "%s/lora/delta.safetensors", folder);
    o = session_options();
    o.delta = file;
    const size_t beside = planned(&o);
    o.merge = true;
    how.guidance_rule = NULL;
    OK(fdit_session_open(ctx, &o, &s));
    OK(fdit_session_draw(ctx, s, &how, &class, &seed, 1, x));
    ck_assert_uint_lt(fdit_session_device_bytes(s), beside);
    shell("'%s' sample --quiet --device cpu --base %s --delta %s --merge --classes '#1' --seed 3 --steps 6 "
          "--latents %s/merged.safetensors",
          program(), base, file, folder);
    snprintf(path, sizeof path, "%s/merged.safetensors", folder);
    same_latents(path, x, 576);
    fdit_session_close(s);
}
END_TEST

/* Defaults are the program's: the same elements and the same pixels, without and with options. */
START_TEST(test_as_the_program)
{
    struct fdit_session_options o = session_options();
    struct fdit_draw_options how;
    fdit_session *s = NULL;
    const int32_t classes[2] = { 4, 4 };
    const uint64_t seeds[2] = { 0, 1 };
    float x[2 * 576];
    char path[128], png[128];
    unsigned char pixels[2 * 576];
    shell("'%s' sample --quiet --device cpu --base %s --delta %s --classes '#4' --per-class 2 --steps 5 "
          "--out %s/usual --latents %s/usual.safetensors",
          program(), base, delta, folder, folder);
    shell("'%s' sample --quiet --device cpu --base %s --delta %s --classes '#4' --per-class 2 --steps 4 "
          "--sampler ddim:0.5 --guidance 3 --guidance-interval 100:900 --no-clip-x0 --rng torch-cpu "
          "--weights int8 --latents %s/special.safetensors",
          program(), base, delta, folder);
    OK(fdit_session_open(ctx, &o, &s));
    fdit_draw_options_init(&how);
    how.steps = 5;
    OK(fdit_session_draw(ctx, s, &how, classes, seeds, 2, x));
    snprintf(path, sizeof path, "%s/usual.safetensors", folder);
    same_latents(path, x, 2 * 576);
    snprintf(png, sizeof png, "%s/ours.png", folder);
    shell("cp \"$(find %s/usual -name '*-1.png')\" %s/theirs.png", folder, folder);
    snprintf(path, sizeof path, "%s/theirs.png", folder);
    OK(fdit_session_save_png(ctx, s, x + 576, png));
    same_pixels(path, png);
    OK(fdit_session_save_picture(ctx, s, &how, 4, 1, x + 576, png)); /* with its texts, the same file */
    shell("cmp %s %s", path, png);
    OK(fdit_session_save_picture(ctx, s, &how, 4, 2, x + 576, png));
    shell("! cmp -s %s %s", path, png);
    ck_assert_int_eq(fdit_session_save_picture(ctx, s, &how, 110, 1, x, png), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_session_save_picture(ctx, s, &how, 4, 1, x, "/absent/x.png"), FDIT_ERROR_IO);
    OK(fdit_session_pixels(ctx, s, x, 2, pixels));
    OK(fdit_save_png(ctx, png, pixels + 576, 24, 24, 1));
    same_pixels(path, png);
    ck_assert_int_eq(fdit_save_png(ctx, png, pixels, 24, 12, 2), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_save_png(ctx, "/absent/x.png", pixels, 24, 24, 1), FDIT_ERROR_IO);
    fdit_session_close(s);
    o.weights = "int8";
    OK(fdit_session_open(ctx, &o, &s));
    how.steps = 4;
    how.sampler = "ddim:0.5";
    how.guidance = 3;
    how.guidance_interval = "100:900";
    how.clip_x0 = 0;
    how.rng = "torch-cpu";
    OK(fdit_session_draw(ctx, s, &how, classes, seeds, 2, x));
    snprintf(path, sizeof path, "%s/special.safetensors", folder);
    same_latents(path, x, 2 * 576);
    fdit_session_close(s);
}
END_TEST

/* A model on latents: refused without an autoencoder, the program's pictures with one. */
START_TEST(test_latents)
{
    struct fdit_session_options o;
    fdit_session *s = NULL;
    char dit[1024], vae[1024], path[128], png[128];
    unsigned char pixels[64] = { 7 };
    const int32_t id = 1;
    const uint64_t seed = 0;
    struct fdit_draw_options how;
    snprintf(dit, sizeof dit, "%s", fixture("dit.safetensors"));
    snprintf(vae, sizeof vae, "%s", fixture("vae"));
    fdit_session_options_init(&o);
    o.device = "cpu";
    o.base = dit;
    o.guide = "none";
    OK(fdit_session_open(ctx, &o, &s));
    ck_assert_int_eq(fdit_session_channels(s), 4);
    ck_assert_int_eq(fdit_session_picture_size(s), 0);
    ck_assert_uint_eq(fdit_session_picture_bytes(s), 0);
    size_t n = fdit_session_elements(s);
    float *x = malloc(n * sizeof *x);
    fdit_draw_options_init(&how);
    how.steps = 4;
    OK(fdit_session_draw(ctx, s, &how, &id, &seed, 1, x));
    ck_assert_int_eq(fdit_session_pixels(ctx, s, x, 1, pixels), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "autoencoder"));
    ck_assert_int_eq(pixels[0], 7);
    snprintf(png, sizeof png, "%s/latent.png", folder);
    ck_assert_int_eq(fdit_session_save_png(ctx, s, x, png), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_session_save_picture(ctx, s, &how, id, seed, x, png), FDIT_ERROR_ARGUMENT);
    ck_assert_int_ne(access(png, F_OK), 0);
    fdit_session_close(s);
    o.vae = vae;
    OK(fdit_session_open(ctx, &o, &s));
    ck_assert_int_eq(fdit_session_picture_channels(s), 3);
    ck_assert_int_gt(fdit_session_picture_size(s), fdit_session_size(s));
    OK(fdit_session_draw(ctx, s, &how, &id, &seed, 1, x));
    OK(fdit_session_save_png(ctx, s, x, png));
    shell("'%s' sample --quiet --device cpu --base '%s' --vae '%s' --guide none --steps 4 --classes '#1' "
          "--out %s/latent && cp \"$(find %s/latent -name '*.png')\" %s/latent-theirs.png",
          program(), dit, vae, folder, folder, folder);
    snprintf(path, sizeof path, "%s/latent-theirs.png", folder);
    same_pixels(path, png);
    OK(fdit_session_save_picture(ctx, s, &how, id, seed, x, png));
    shell("cmp %s %s", path, png);
    fdit_session_close(s);
    o.base = base; /* on pixels */
    ck_assert_int_eq(fdit_session_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    free(x);
}
END_TEST

static void draw_two(fdit_session *s, float x[2 * 576])
{
    const int32_t classes[2] = { 4, 70 };
    const uint64_t seeds[2] = { 1, 9 };
    struct fdit_draw_options how;
    fdit_draw_options_init(&how);
    how.sampler = "ddim";
    how.steps = 3;
    OK(fdit_session_draw(ctx, s, &how, classes, seeds, 2, x));
}

/* Sessions over one base: pictures of sessions of their own, matrices once, closed in any order. */
START_TEST(test_beside)
{
    struct fdit_session_options o = session_options();
    fdit_session *alone, *first, *second, *third;
    float wanted[2][2 * 576], x[2 * 576];
    OK(fdit_session_open(ctx, &o, &alone));
    draw_two(alone, wanted[1]);
    const size_t bytes = fdit_session_device_bytes(alone);
    fdit_session_close(alone);
    o.delta = NULL;
    OK(fdit_session_open(ctx, &o, &first));
    draw_two(first, wanted[0]);
    o = session_options();
    o.base = o.device = NULL;
    o.beside = first;
    OK(fdit_session_open(ctx, &o, &second));
    /* the matrices of two blocks */
    ck_assert_uint_lt(fdit_session_device_bytes(second) + 4 * 2 * (12 + 6) * 32 * 32, bytes);
    draw_two(second, x);
    ck_assert_mem_eq(x, wanted[1], sizeof x);
    o.delta = NULL;
    o.beside = second; /* whose matrices are the first one's */
    OK(fdit_session_open(ctx, &o, &third));
    fdit_session_close(first); /* in use, so it stays until the others are closed */
    draw_two(third, x);
    ck_assert_mem_eq(x, wanted[0], sizeof x);
    fdit_session_close(second);
    fdit_session_close(third);
}
END_TEST

START_TEST(test_beside_refused)
{
    struct fdit_session_options o = session_options();
    fdit_session *first, *s, *empty;
    OK(fdit_session_open(ctx, &o, &first));
    const struct {
        const char *base, *device, *precision, *weights, *says;
    } bad[] = { { "other.safetensors", NULL, NULL, NULL, "base is other.safetensors" },
                { NULL, "ref", NULL, NULL, "device is ref" },
                { NULL, NULL, "bf16", NULL, "precision is bf16 here and f32" },
                { NULL, NULL, NULL, "int8", "weights is int8 here and f32" } };
    o.beside = first;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o.base = bad[i].base;
        o.device = bad[i].device;
        o.precision = bad[i].precision;
        o.weights = bad[i].weights;
        ck_assert_int_eq(fdit_session_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
        ck_assert_ptr_null(s);
        ck_assert_msg(strstr(fdit_context_message(ctx), bad[i].says) != NULL, "%s",
                      fdit_context_message(ctx));
    }
    o = session_options();
    o.plan_only = true;
    OK(fdit_session_open(ctx, &o, &empty));
    o.beside = empty;
    ck_assert_int_eq(fdit_session_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    fdit_session_close(empty);
    o.beside = first;
    o.plan_only = false;
    o.delta = "absent.safetensors";
    ck_assert_int_eq(fdit_session_open(ctx, &o, &s), FDIT_ERROR_IO);
    fdit_session_close(first);
}
END_TEST

/* Memory is listed before it is taken, and kept to. */
START_TEST(test_plan)
{
    struct fdit_session_options o = session_options();
    fdit_session *s = NULL;
    float x[576];
    const int32_t id = 0;
    const uint64_t seed = 0;
    o.plan_only = true;
    o.batch = 0;
    OK(fdit_session_open(ctx, &o, &s));
    ck_assert_ptr_nonnull(strstr(fdit_session_plan(s), "weights"));
    size_t free_bytes = fdit_session_device_bytes(s);
    int batch = fdit_session_batch(s);
    ck_assert_uint_gt(free_bytes, 0);
    ck_assert_uint_ge(fdit_session_process_bytes(s), free_bytes);
    ck_assert_int_eq(fdit_session_draw(ctx, s, NULL, &id, &seed, 1, x), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_session_pixels(ctx, s, x, 1, (unsigned char *)x), FDIT_ERROR_ARGUMENT);
    fdit_session_close(s);
    o.memory = free_bytes / 2; /* a smaller batch */
    OK(fdit_session_open(ctx, &o, &s));
    ck_assert_int_lt(fdit_session_batch(s), batch);
    ck_assert_uint_le(fdit_session_device_bytes(s), o.memory);
    fdit_session_close(s);
    o.memory = 1000;
    OK(fdit_session_open(ctx, &o, &s)); /* listed, not refused */
    fdit_session_close(s);
    o.plan_only = false;
    ck_assert_int_eq(fdit_session_open(ctx, &o, &s), FDIT_ERROR_DEVICE);
    o = session_options();
    o.weights = "f64";
    ck_assert_int_eq(fdit_session_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    o = session_options();
    o.precision = "f64";
    ck_assert_int_eq(fdit_session_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    o = session_options();
    o.weights_from = "both";
    ck_assert_int_eq(fdit_session_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    o.weights_from = NULL;
    o.base = NULL;
    ck_assert_int_eq(fdit_session_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
}
END_TEST

START_TEST(test_classes)
{
    struct fdit_session_options o = session_options();
    fdit_session *s = NULL;
    int32_t ids[200];
    size_t n = 0;
    o.plan_only = true;
    OK(fdit_session_open(ctx, &o, &s));
    ck_assert_str_eq(fdit_session_guide(s), "superclass:level1");
    ck_assert_ptr_nonnull(fdit_session_model(s));
    ck_assert_int_eq(fdit_session_n_classes(s), 110);
    ck_assert_str_eq(fdit_session_class_name(s, fdit_session_find_class(s, "K/mono")), "K/mono");
    ck_assert_int_eq(fdit_session_find_class(s, "no such letter"), -1);
    ck_assert_ptr_null(fdit_session_class_name(s, 110));
    ck_assert_ptr_null(fdit_session_class_name(s, -1));
    ck_assert_int_eq(fdit_session_n_ranks(s), 1);
    const char *rank = fdit_session_rank_name(s, 0);
    ck_assert_int_eq(fdit_session_find_rank(s, rank), 0);
    ck_assert_int_eq(fdit_session_find_rank(s, "no such rank"), -1);
    ck_assert_ptr_null(fdit_session_rank_name(s, 1));
    int32_t group = fdit_session_find_group(s, 0, "K");
    ck_assert_int_eq(fdit_session_class_group(s, 0, fdit_session_find_class(s, "K/mono")), group);
    ck_assert_str_eq(fdit_session_group_name(s, 0, group), "K");
    ck_assert_int_eq(fdit_session_find_group(s, 0, "no such group"), -1);
    ck_assert_ptr_null(fdit_session_group_name(s, 0, fdit_session_n_groups(s, 0)));
    ck_assert_ptr_null(fdit_session_group_name(s, 1, 0));
    ck_assert_int_eq(fdit_session_n_groups(s, 1), 0);
    ck_assert_int_eq(fdit_session_class_group(s, 1, 0), -1);
    ck_assert_int_eq(fdit_session_class_group(s, 0, 110), -1);
    char what[64];
    snprintf(what, sizeof what, "%s=K,#7", rank);
    OK(fdit_session_select(ctx, s, what, ids, 200, &n));
    ck_assert_uint_gt(n, 1);
    ck_assert_int_eq(ids[n - 1], 7);
    for (size_t i = 0; i + 1 < n; i++)
        ck_assert_int_eq(fdit_session_class_group(s, 0, ids[i]), group);
    size_t all = n;
    ids[1] = -5;
    OK(fdit_session_select(ctx, s, what, ids, 1, &n));
    ck_assert_uint_eq(n, all);
    ck_assert_int_eq(ids[1], -5);
    OK(fdit_session_select(ctx, s, "all", NULL, 0, &n));
    ck_assert_uint_eq(n, 110);
    ck_assert_int_eq(fdit_session_select(ctx, s, "K/mno", ids, 200, &n), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "K/mono"));
    fdit_session_close(s);
}
END_TEST

struct seen {
    int calls, stop_at;
    size_t done;
};

static bool watch(void *user, const struct fdit_draw_progress *p)
{
    struct seen *seen = user;
    seen->calls++;
    ck_assert_uint_eq(p->total, 3);
    ck_assert_int_eq(p->steps, 3);
    ck_assert_int_eq(p->step, (seen->calls - 1) % 3 + 1);
    seen->done = p->done;
    return seen->calls != seen->stop_at;
}

/* Every step is told; a callback stops its own drawing, a request to the context every one. */
START_TEST(test_progress)
{
    struct fdit_session_options o = session_options();
    struct fdit_draw_options how;
    struct seen seen = { 0, 0, 9 };
    fdit_session *s = NULL;
    const int32_t classes[3] = { 0, 1, 2 };
    const uint64_t seeds[3] = { 0, 0, 0 };
    float x[3 * 576];
    OK(fdit_session_open(ctx, &o, &s));
    fdit_draw_options_init(&how);
    how.sampler = "ddim";
    how.steps = 3;
    how.progress = watch;
    how.user = &seen;
    OK(fdit_session_draw(ctx, s, &how, classes, seeds, 3, x));
    ck_assert_int_eq(seen.calls, 6); /* two batches */
    ck_assert_uint_eq(seen.done, 2);
    seen = (struct seen){ 0, 4, 9 };
    ck_assert_int_eq(fdit_session_draw(ctx, s, &how, classes, seeds, 3, x), FDIT_INTERRUPTED);
    ck_assert_int_eq(seen.calls, 4);
    how.progress = NULL;
    OK(fdit_session_draw(ctx, s, &how, classes, seeds, 3, x));
    fdit_context_stop(ctx);
    ck_assert_int_eq(fdit_session_draw(ctx, s, &how, classes, seeds, 3, x), FDIT_INTERRUPTED);
    fdit_context_go_on(ctx);
    OK(fdit_session_draw(ctx, s, &how, classes, seeds, 3, x));
    fdit_session_close(s);
}
END_TEST

/* ------------------------------------------------------------------ programs of other versions */

/* Fields stay where they are; new ones come at the end, and these numbers with them. */
#define AT(type, field, offset) #type "." #field, offsetof(struct type, field), offset
static const struct {
    const char *what;
    size_t is, was;
} places[] = {
    { AT(fdit_session_options, size, 0) },
    { AT(fdit_session_options, base, 8) },
    { AT(fdit_session_options, delta, 16) },
    { AT(fdit_session_options, weights_from, 24) },
    { AT(fdit_session_options, model, 32) },
    { AT(fdit_session_options, taxonomy, 40) },
    { AT(fdit_session_options, ranks, 48) },
    { AT(fdit_session_options, guide, 56) },
    { AT(fdit_session_options, force, 64) },
    { AT(fdit_session_options, vae, 72) },
    { AT(fdit_session_options, vae_scale, 80) },
    { AT(fdit_session_options, device, 88) },
    { AT(fdit_session_options, threads, 96) },
    { AT(fdit_session_options, precision, 104) },
    { AT(fdit_session_options, weights, 112) },
    { AT(fdit_session_options, memory, 120) },
    { AT(fdit_session_options, batch, 128) },
    { AT(fdit_session_options, plan_only, 132) },
    { AT(fdit_session_options, objective, 136) },
    { AT(fdit_session_options, merge, 144) },
    { AT(fdit_session_options, cache_interval, 152) },
    { AT(fdit_session_options, cache_order, 160) },
    { AT(fdit_session_options, cache_full, 168) },
    { AT(fdit_draw_options, size, 0) },
    { AT(fdit_draw_options, sampler, 8) },
    { AT(fdit_draw_options, steps, 16) },
    { AT(fdit_draw_options, guidance, 24) },
    { AT(fdit_draw_options, guidance_channels, 32) },
    { AT(fdit_draw_options, guidance_interval, 40) },
    { AT(fdit_draw_options, clip_x0, 48) },
    { AT(fdit_draw_options, rng, 56) },
    { AT(fdit_draw_options, progress, 64) },
    { AT(fdit_draw_options, user, 72) },
    { AT(fdit_draw_options, guidance_rule, 80) },
    { AT(fdit_draw_progress, done, 0) },
    { AT(fdit_draw_progress, total, 8) },
    { AT(fdit_draw_progress, step, 16) },
    { AT(fdit_draw_progress, steps, 20) },
    { AT(fdit_training_progress, step, 0) },
    { AT(fdit_training_progress, steps, 8) },
    { AT(fdit_training_progress, loss, 16) },
    { AT(fdit_training_progress, mse, 24) },
    { AT(fdit_training_progress, vb, 32) },
    { AT(fdit_training_progress, lr, 40) },
    { AT(fdit_training_progress, images_per_second, 48) },
    { AT(fdit_training_progress, seconds, 56) },
    { AT(fdit_device_description, device, 0) },
    { AT(fdit_device_description, name, 8) },
    { AT(fdit_device_description, driver, 16) },
    { AT(fdit_device_description, note, 24) },
    { AT(fdit_device_description, memory, 32) },
    { AT(fdit_device_description, threads, 40) },
    { AT(fdit_device_description, is_gpu, 44) },
    { AT(fdit_device_description, usable, 45) },
    { "sizeof fdit_session_options", sizeof(struct fdit_session_options), 184 },
    { "sizeof fdit_draw_options", sizeof(struct fdit_draw_options), 88 },
};

START_TEST(test_layout)
{
    if (sizeof(void *) != 8 || sizeof(size_t) != 8)
        return;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        ck_assert_msg(places[i].is == places[i].was, "%s: %zu, it was %zu", places[i].what, places[i].is,
                      places[i].was);
    ck_assert_int_eq(FDIT_OK, 0);
    ck_assert_int_eq(FDIT_ERROR_ARGUMENT, 4);
    ck_assert_int_eq(FDIT_INTERRUPTED, 8);
}
END_TEST

/* Structs of an older program end earlier, those of a newer one later. */
START_TEST(test_other_versions)
{
    struct older {
        size_t size;
        const char *base, *delta;
    } older = { sizeof older, base, delta };
    struct newer {
        struct fdit_draw_options now;
        const char *then;
    } newer;
    fdit_session *s = NULL;
    const int32_t id = 0;
    const uint64_t seed = 0;
    float x[576], y[576];
    unsigned char bytes[sizeof(struct fdit_session_options) + 1];
    /* an initialiser writes what the caller has room for, and no more */
    memset(bytes, 0xa5, sizeof bytes);
    fdit_session_options_init_size((struct fdit_session_options *)(void *)bytes, sizeof older);
    for (size_t i = sizeof(size_t); i < sizeof bytes; i++)
        ck_assert_uint_eq(bytes[i], i < sizeof older ? 0 : 0xa5);
    setenv("FINEDIFFUSION_DEVICE", "cpu", 1);
    OK(fdit_session_open(ctx, (const struct fdit_session_options *)(const void *)&older, &s));
    unsetenv("FINEDIFFUSION_DEVICE");
    fdit_draw_options_init_size(&newer.now, sizeof newer);
    ck_assert_ptr_null(newer.then);
    newer.now.steps = 3;
    OK(fdit_session_draw(ctx, s, &newer.now, &id, &seed, 1, x));
    newer.then = "a field that this version does not know";
    ck_assert_int_eq(fdit_session_draw(ctx, s, &newer.now, &id, &seed, 1, x), FDIT_ERROR_UNSUPPORTED);
    /* only size, sampler and steps: guidance and clip_x0 keep the defaults */
    newer.now.size = offsetof(struct fdit_draw_options, guidance);
    newer.now.guidance = 77;
    newer.now.clip_x0 = 0;
    OK(fdit_session_draw(ctx, s, &newer.now, &id, &seed, 1, y));
    ck_assert_mem_eq(x, y, sizeof x);
    newer.now.size = 0;
    ck_assert_int_eq(fdit_session_draw(ctx, s, &newer.now, &id, &seed, 1, x), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "fdit_draw_options_init"));
    fdit_session_close(s);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder))
        return EXIT_FAILURE;
    snprintf(base, sizeof base, "%s/base/delta.safetensors", folder);
    snprintf(data, sizeof data, TESTS_DIR "/../data/letters-test.tar.gz");
    snprintf(run, sizeof run, "%s/run", folder);
    snprintf(delta, sizeof delta, "%s/delta.safetensors", run);
    ctx = fdit_context_new();
    Suite *suite = suite_create("api");
    TCase *tc = tcase_create("library");
    tcase_add_test(tc, test_training);
    tcase_add_test(tc, test_training_options);
    tcase_add_test(tc, test_training_stops);
    tcase_add_test(tc, test_drawing);
    tcase_add_test(tc, test_devices);
    tcase_add_test(tc, test_flow_session);
    tcase_add_test(tc, test_ways);
    tcase_add_test(tc, test_as_the_program);
    tcase_add_test(tc, test_latents);
    tcase_add_test(tc, test_plan);
    tcase_add_test(tc, test_beside);
    tcase_add_test(tc, test_beside_refused);
    tcase_add_test(tc, test_classes);
    tcase_add_test(tc, test_progress);
    tcase_add_test(tc, test_layout);
    tcase_add_test(tc, test_other_versions);
    tcase_set_timeout(tc, 0);
    suite_add_tcase(suite, tc);
    SRunner *sr = srunner_create(suite);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    fdit_context_free(ctx);
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command) != 0)
        fprintf(stderr, "%s stays\n", folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
