/* SPDX-License-Identifier: Apache-2.0
 * Encoding a data set, and training from what came out: a cached epoch is the uncached one, sample
 * by sample, up to the rounding of f16; runs from caches resume to the same bits. */
#include "core/file.h"
#include "core/mem.h"
#include "data_fixture.h"
#include "encode/encode.h"
#include "core/half.h"
#include "picture/picture.h"
#include "model_fixture.h"
#include "sample/job.h"
#include "train/source.h"
#include "train/run.h"
#include "vae/vae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SIZE = 32,
    CELLS = SIZE / 8 * SIZE / 8,
    X = 4 * CELLS,
    PICTURE = 3 * SIZE * SIZE,
    CLASSES = 3,
    EACH = 4
};

static fdit_context *ctx;
static fdit_device *dev;
static char *folder, *vae_path;

static void setup(void)
{
    ctx = fdit_context_new();
    dev = test_open_device(ctx, "cpu", 1);
    folder = test_folder();
    vae_path = test_fixture("vae");
    for (int c = 0; c < CLASSES; c++)
        for (int i = 0; i < EACH; i++) {
            char name[64];
            snprintf(name, sizeof name, "data/%c/c%d/p%d.png", c < 2 ? 'A' : 'B', c, i);
            test_picture(ctx, folder, name, 40, (unsigned)(1000 * c + i));
        }
}

static void teardown(void)
{
    fdit_device_close(dev);
    test_folder_remove(folder);
    free(vae_path);
    fdit_context_free(ctx);
}

static char paths[6][4096];
static const char *keep(int i, const char *name)
{
    snprintf(paths[i], sizeof paths[i], "%s", test_path(folder, "%s", name));
    return paths[i];
}

static struct fdit_encode_options job(const char *out)
{
    struct fdit_encode_options o = fdit_encode_defaults();
    o.data = keep(0, "data");
    o.out = keep(1, out);
    o.vae = vae_path;
    o.size = SIZE;
    o.workers = 1;
    o.shard_pictures = 5;
    return o;
}

static struct fdit_encode_summary must(const struct fdit_encode_options *o)
{
    struct fdit_encode_summary s;
    ck_assert_ok(ctx, fdit_encode_run(ctx, dev, o, NULL, false, &s));
    return s;
}

static void must_fail(const struct fdit_encode_options *o, enum fdit_status status, const char *words)
{
    enum fdit_status got = fdit_encode_run(ctx, dev, o, NULL, false, NULL);
    ck_assert_msg(got == status, "%s: %s", fdit_status_text(got), fdit_context_message(ctx));
    ck_assert_msg(strstr(fdit_context_message(ctx), words), "'%s' lacks '%s'", fdit_context_message(ctx),
                  words);
}

static struct fdit_vae *open_vae(void)
{
    struct fdit_vae *v;
    struct fdit_vae_options vo = { .height = SIZE, .encode = true };
    ck_assert_ok(ctx, fdit_vae_open(ctx, vae_path, &v));
    ck_assert_ok(ctx, fdit_vae_plan(ctx, v, dev, &vo));
    ck_assert_ok(ctx, fdit_vae_allocate(ctx, v));
    return v;
}

/* The cache holds what the autoencoder gives for each picture and its mirror image, rounded to f16.
 */
START_TEST(what_is_kept)
{
    struct fdit_encode_options o = job("cache");
    struct fdit_encode_summary s = must(&o);
    ck_assert(s.pictures == CLASSES * EACH && s.encoded == s.pictures && !s.bad && s.classes == CLASSES);
    struct fdit_cache *c;
    struct fdit_dataset *ds;
    struct fdit_vae *v = open_vae();
    ck_assert_ok(ctx, fdit_cache_open(ctx, o.out, &c));
    ck_assert_ok(ctx, fdit_dataset_open(ctx, o.data,
                                        &(struct fdit_dataset_options){ .size = SIZE, .channels = 3 }, &ds));
    const struct fdit_cache_info *info = fdit_cache_info_of(c);
    ck_assert(info->n == CLASSES * EACH && info->channels == 4 && info->size == SIZE / 8 && info->flip);
    ck_assert(info->scale == 0.18215 && info->picture_size == SIZE);
    char *taxonomy;
    ck_assert_ok(ctx, fdit_taxonomy_to_json(ctx, fdit_dataset_taxonomy(ds), &taxonomy));
    ck_assert_str_eq(info->taxonomy, taxonomy);
    for (size_t i = 0; i < info->n; i++) {
        uint8_t pixels[PICTURE];
        float x[PICTURE], moments[2 * X];
        uint16_t wanted[2 * X];
        ck_assert_int_eq(fdit_cache_label(c, i), fdit_dataset_label(ds, i));
        ck_assert_ok(ctx, fdit_dataset_decode(ctx, ds, i, pixels));
        for (int half = 0; half < 2; half++) {
            const uint8_t *got;
            for (size_t k = 0; k < PICTURE; k++) {
                size_t from = half ? k / SIZE * SIZE + SIZE - 1 - k % SIZE : k;
                x[k] = ((float)pixels[from] / 255 - 0.5f) / 0.5f;
            }
            ck_assert_ok(ctx, fdit_vae_encode(ctx, v, x, moments));
            fdit_f32_to_f16(2 * X, moments, wanted);
            ck_assert_ok(ctx, fdit_cache_item(ctx, c, i, half, &got));
            ck_assert_msg(!memcmp(got, wanted, sizeof wanted), "picture %zu, half %d", i, half);
        }
    }
    fdit_free(taxonomy);
    fdit_dataset_close(ds);
    fdit_cache_close(c);
    fdit_vae_free(v);
}
END_TEST

static struct fdit_train_source *open_data(const char *path, bool flip)
{
    bool cache = fdit_cache_is(path);
    struct fdit_train_source_options o = { .path = path,
                                           .size = cache ? SIZE / 8 : SIZE,
                                           .channels = cache ? 4 : 3,
                                           .latent_size = SIZE / 8,
                                           .latent_channels = 4,
                                           .flip = flip };
    struct fdit_train_source *d;
    ck_assert_ok(ctx, fdit_train_source_open(ctx, &o, &d));
    return d;
}

/* Three epochs from the cache and from the pictures: order, labels and mirror images are the same,
 * and so are the sampled latents. That implies their statistics; the noise must be fresh in each
 * epoch besides. */
START_TEST(a_cached_epoch_is_an_uncached_one)
{
    struct fdit_encode_options o = job("cache");
    must(&o);
    struct fdit_train_source *a = open_data(o.out, true), *b = open_data(o.data, true);
    struct fdit_vae *v = open_vae();
    struct fdit_loader_options l = { .batch = 4, .seed = 5, .flip = true, .workers = 2 };
    struct fdit_loader *from_cache, *from_pictures;
    enum { EPOCHS = 3, ALL = CLASSES * EACH };
    double off = 0, size = 0;
    float seen[EPOCHS][ALL][X];
    ck_assert(fdit_train_source_is_cache(a) && !fdit_train_source_is_cache(b) && fdit_train_source_flip(a));
    ck_assert_uint_eq(fdit_train_source_item(a), X);
    ck_assert_ok(ctx, fdit_train_source_loader(ctx, a, NULL, 0, &l, &from_cache));
    ck_assert_ok(ctx, fdit_train_source_loader(ctx, b, NULL, 0, &l, &from_pictures));
    for (int step = 0; step < EPOCHS * ALL / 4; step++) {
        struct fdit_batch x, y;
        ck_assert_ok(ctx, fdit_loader_next(ctx, from_cache, &x));
        ck_assert_ok(ctx, fdit_loader_next(ctx, from_pictures, &y));
        ck_assert(x.position == y.position && x.epoch == y.epoch && x.next == y.next);
        for (size_t i = 0; i < 4; i++) {
            float moments[2 * X], noise[X], wanted[X];
            const float *got = x.x + i * X;
            ck_assert(x.labels[i] == y.labels[i] && x.index[i] == y.index[i]);
            ck_assert_ok(ctx, fdit_vae_encode(ctx, v, y.x + i * PICTURE, moments));
            fdit_vae_noise(5, y.position + i, X, noise);
            fdit_vae_sample(fdit_vae_config_of(v), X, moments, moments + X, noise, wanted);
            for (size_t k = 0; k < X; k++) {
                off += pow((double)got[k] - (double)wanted[k], 2);
                size += pow((double)wanted[k], 2);
            }
            memcpy(seen[x.epoch][x.index[i]], got, sizeof wanted);
        }
    }
    ck_assert_msg(off < 1e-6 * size, "relative error %g", sqrt(off / size));
    for (size_t i = 0; i < ALL; i++)
        ck_assert_uint_lt(test_first_difference(seen[0][i], seen[1][i], X, sizeof(float)), 3);
    fdit_loader_close(from_cache);
    fdit_loader_close(from_pictures);
    fdit_train_source_close(a);
    fdit_train_source_close(b);
    fdit_vae_free(v);
}
END_TEST

/* Many samples of one picture have the mean and the variance that its moments say. */
START_TEST(statistics)
{
    struct fdit_encode_options o = job("cache");
    o.flip = false;
    must(&o);
    struct fdit_train_source *d = open_data(o.out, true);
    struct fdit_loader_options l = { .batch = 1, .seed = 3, .flip = true };
    const uint32_t one = 7;
    enum { DRAWS = 2000 };
    struct fdit_loader *loader;
    struct fdit_cache *c;
    const uint8_t *data;
    float moments[2 * X];
    double sum[X] = { 0 }, square[X] = { 0 }, z = 0, ratio = 0;
    ck_assert(!fdit_train_source_flip(d)); /* the cache has no mirror images */
    l.flip = fdit_train_source_flip(d);
    ck_assert_ok(ctx, fdit_train_source_loader(ctx, d, &one, 1, &l, &loader));
    for (int i = 0; i < DRAWS; i++) {
        struct fdit_batch b;
        ck_assert_ok(ctx, fdit_loader_next(ctx, loader, &b));
        ck_assert_uint_eq(b.index[0], one);
        for (size_t k = 0; k < X; k++) {
            sum[k] += (double)b.x[k];
            square[k] += (double)b.x[k] * (double)b.x[k];
        }
    }
    ck_assert_ok(ctx, fdit_cache_open(ctx, o.out, &c));
    ck_assert_ok(ctx, fdit_cache_item(ctx, c, one, false, &data));
    fdit_f16_to_f32(2 * X, (const uint16_t *)(const void *)data, moments);
    for (size_t k = 0; k < X; k++) {
        double mean = sum[k] / DRAWS, var = square[k] / DRAWS - mean * mean;
        double deviation = 0.18215 * exp(0.5 * (double)moments[X + k]);
        z += pow((mean - 0.18215 * (double)moments[k]) / deviation, 2) * DRAWS / X;
        ratio += var / (deviation * deviation) / X;
    }
    ck_assert_msg(z > 0.5 && z < 1.7, "the means are off by %g of their deviations", sqrt(z));
    ck_assert_msg(ratio > 0.95 && ratio < 1.05, "the variances are off by a factor of %g", ratio);
    fdit_cache_close(c);
    fdit_loader_close(loader);
    fdit_train_source_close(d);
}
END_TEST

START_TEST(pixels)
{
    struct fdit_encode_options o = job("pixels");
    struct fdit_encode_summary s;
    o.vae = NULL;
    o.channels = 1;
    o.size = 12;
    ck_assert_ok(ctx, fdit_encode_run(ctx, NULL, &o, NULL, false, &s));
    ck_assert(s.size == 12 && s.channels == 1);
    struct fdit_train_source_options t = {
        .path = o.out, .size = 12, .channels = 1, .latent_size = 12, .latent_channels = 1, .flip = true
    };
    struct fdit_train_source *a, *b;
    struct fdit_loader *la, *lb;
    struct fdit_loader_options l = { .batch = 3, .seed = 9, .flip = true };
    ck_assert_ok(ctx, fdit_train_source_open(ctx, &t, &a));
    t.path = o.data;
    ck_assert_ok(ctx, fdit_train_source_open(ctx, &t, &b));
    ck_assert(fdit_train_source_flip(a));
    ck_assert_ok(ctx, fdit_train_source_loader(ctx, a, NULL, 0, &l, &la));
    ck_assert_ok(ctx, fdit_train_source_loader(ctx, b, NULL, 0, &l, &lb));
    for (int i = 0; i < 6; i++) {
        struct fdit_batch x, y;
        ck_assert_ok(ctx, fdit_loader_next(ctx, la, &x));
        ck_assert_ok(ctx, fdit_loader_next(ctx, lb, &y));
        ck_assert_uint_eq(test_first_difference(x.x, y.x, 3 * 144, sizeof *x.x), 3 * 144);
        ck_assert_int_eq(memcmp(x.labels, y.labels, 3 * sizeof *x.labels), 0);
    }
    fdit_loader_close(la);
    fdit_loader_close(lb);
    fdit_train_source_close(a);
    fdit_train_source_close(b);
}
END_TEST

/* Interruption, other options, broken pictures, classes of a taxonomy. */
static void stop_soon(void *user, size_t done, size_t total)
{
    (void)user;
    (void)total;
    if (done == 7)
        fdit_context_stop(ctx);
}

START_TEST(going_on)
{
    struct fdit_encode_options o = job("cache");
    struct fdit_encode_hooks hooks = { .on_picture = stop_soon };
    struct fdit_encode_summary s;
    ck_assert_int_eq(fdit_encode_run(ctx, dev, &o, &hooks, false, &s), FDIT_INTERRUPTED);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "7 of 12"));
    fdit_context_free(ctx);
    ctx = fdit_context_new();
    o.flip = false;
    must_fail(&o, FDIT_ERROR_ARGUMENT, "begun with flip \"horizontal\"");
    o.flip = true;
    o.vae_scale = 0.5;
    must_fail(&o, FDIT_ERROR_ARGUMENT, "begun with vae");
    o.vae_scale = 0;
    s = must(&o);
    ck_assert(s.kept == 7 && s.encoded == 5);
    s = must(&o);
    ck_assert(s.kept == 12 && s.encoded == 0);
    ck_assert_int_eq(unlink(test_path(folder, "cache/shard-00001.fdc")), 0);
    s = must(&o); /* only what was lost */
    ck_assert(s.kept == 7 && s.encoded == 5);
    o.data = o.out;
    must_fail(&o, FDIT_ERROR_ARGUMENT, "is a cache already");
    o = job("broken");
    test_file(ctx, folder, "data/A/c1/p1.png", "no picture", 10);
    must_fail(&o, FDIT_ERROR_UNSUPPORTED, "--skip-bad");
    o.skip_bad = true;
    s = must(&o);
    ck_assert(s.bad == 1 && s.encoded + s.kept == 11 && s.kept == 5);
    struct fdit_train_source *d = open_data(o.out, true);
    ck_assert_uint_eq(fdit_train_source_size(d), 11);
    ck_assert_int_eq(fdit_train_source_label(d, 5), 1);
    uint32_t *train, *val;
    size_t n_train, n_val;
    ck_assert_ok(ctx, fdit_train_source_split(ctx, d, 0.3, 1, &train, &n_train, &val, &n_val));
    ck_assert_uint_eq(n_train + n_val, 11);
    ck_assert_uint_eq(n_val, 3);
    fdit_free(train);
    fdit_free(val);
    fdit_train_source_close(d);
    o = job("odd");
    o.size = 30;
    must_fail(&o, FDIT_ERROR_ARGUMENT, "multiples of 8");
    o.size = SIZE;
    o.memory = 100000;
    must_fail(&o, FDIT_ERROR_DEVICE, "--size");
    ck_assert(!fdit_file_exists(o.out));
}
END_TEST

static struct fdit_train_options run_options(const char *data, const char *out)
{
    struct fdit_train_options o = fdit_train_defaults();
    o.from_scratch = true;
    o.model = "16,2,2,2";
    o.size = SIZE / 8;
    o.channels = 4;
    o.tune = "full";
    o.data = data;
    o.out = keep(4, out);
    o.steps = 6;
    o.batch = 3;
    o.accumulate = 1;
    o.lr = 1e-3;
    o.workers = 1;
    o.checkpoint_every = 2;
    o.validation = "0.25";
    o.taxonomy = NULL;
    return o;
}

static void same_delta(const char *a, const char *b)
{
    uint8_t *x, *y;
    size_t n, m;
    ck_assert_ok(ctx, fdit_file_read_all(ctx, test_path(folder, "%s/delta.safetensors", a), 1 << 24, &x, &n));
    ck_assert_ok(ctx, fdit_file_read_all(ctx, test_path(folder, "%s/delta.safetensors", b), 1 << 24, &y, &m));
    ck_assert_msg(n == m && !memcmp(x, y, n), "%s and %s differ", a, b);
    fdit_free(x);
    fdit_free(y);
}

START_TEST(training)
{
    struct fdit_encode_options e = job("cache");
    struct fdit_train_summary cached, live, again;
    must(&e);
    struct fdit_train_options o = run_options(e.out, "run");
    ck_assert_ok(ctx, fdit_train_run(ctx, FDIT_ONE_DEVICE(dev), &o, NULL, false, &cached));
    ck_assert(cached.n_classes == CLASSES && cached.n_pictures == 9 && isfinite(cached.val_mse));
    /* the same with pictures that are encoded on the way */
    o = run_options(e.data, "live");
    o.vae = vae_path;
    ck_assert_ok(ctx, fdit_train_run(ctx, FDIT_ONE_DEVICE(dev), &o, NULL, false, &live));
    ck_assert_msg(fabs(live.val_mse - cached.val_mse) < 1e-3 * cached.val_mse, "%g and %g", live.val_mse,
                  cached.val_mse);
    ck_assert_double_lt(fabs(live.first_val_vb - cached.first_val_vb), 1e-3 * fabs(cached.first_val_vb));
    ck_assert_uint_gt(live.plan_bytes, cached.plan_bytes);
    /* resumed from a checkpoint: the same bits */
    o = run_options(e.out, "resumed");
    o.steps = 2;
    ck_assert_ok(ctx, fdit_train_run(ctx, FDIT_ONE_DEVICE(dev), &o, NULL, false, &again));
    o.steps = 6;
    o.resume = true;
    ck_assert_ok(ctx, fdit_train_run(ctx, FDIT_ONE_DEVICE(dev), &o, NULL, false, &again));
    same_delta("run", "resumed");
    /* validation on a cache of its own */
    o = run_options(e.out, "val");
    o.validation = e.out;
    ck_assert_ok(ctx, fdit_train_run(ctx, FDIT_ONE_DEVICE(dev), &o, NULL, false, &again));
    ck_assert_uint_eq(again.n_pictures, CLASSES * EACH);
}
END_TEST

/* Whether `part`, each of its pixels a square of `up`, stands somewhere in `whole`. */
static bool shows(const struct fdit_picture *whole, const struct fdit_picture *part, int up)
{
    for (int top = 0; top + part->height * up <= whole->height; top++)
        for (int left = 0; left + part->width * up <= whole->width; left++) {
            bool same = true;
            for (int y = 0; same && y < part->height * up; y++)
                for (int x = 0; same && x < part->width * up; x++)
                    same = !memcmp(whole->pixels + 3 * ((top + y) * whole->width + left + x),
                                   part->pixels + 3 * (y / up * part->width + x / up), 3);
            if (same)
                return true;
        }
    return false;
}

/* A run on a cache decodes its previews by --vae: they are the pictures that `sample` draws with the same
 * weights, and the run's files are those of a run without. */
START_TEST(previews)
{
    struct fdit_encode_options e = job("cache");
    struct fdit_train_summary with, without;
    struct fdit_picture sheet, picture;
    must(&e);
    struct fdit_train_options o = run_options(e.out, "plain");
    o.batch = 2;
    o.steps = 4;
    ck_assert_ok(ctx, fdit_train_run(ctx, FDIT_ONE_DEVICE(dev), &o, NULL, false, &without));
    ck_assert(!fdit_file_exists(test_path(folder, "plain/previews/step-2.png")));
    o.out = keep(4, "run");
    o.preview_every = 2;
    o.preview_guidance = 3;
    ck_assert_ok(ctx, fdit_train_run(ctx, FDIT_ONE_DEVICE(dev), &o, NULL, false, &with));
    ck_assert_msg(!fdit_file_exists(test_path(folder, "run/previews/step-2.png")),
                  "latents drawn as they are");
    o.vae = vae_path;
    o.steps = 6; /* the autoencoder is nothing that --resume minds here */
    o.resume = true;
    ck_assert_ok(ctx, fdit_train_run(ctx, FDIT_ONE_DEVICE(dev), &o, NULL, false, &with));
    ck_assert_uint_gt(with.plan_bytes, without.plan_bytes);
    o = run_options(e.out, "long");
    o.batch = 2;
    ck_assert_ok(ctx, fdit_train_run(ctx, FDIT_ONE_DEVICE(dev), &o, NULL, false, &without));
    same_delta("run", "long");
    ck_assert_ok(ctx, fdit_picture_read(ctx, test_path(folder, "run/previews/step-6.png"), &sheet));
    struct fdit_sample_options s = fdit_sample_defaults();
    s.base = keep(2, "run/delta.safetensors");
    s.vae = vae_path;
    s.out = keep(3, "pictures");
    s.per_class = 2;
    s.sampler.kind = FDIT_SAMPLER_DDIM;
    s.steps = 25;
    s.guidance.w = 3;
    s.seed = 0;
    ck_assert_ok(ctx, fdit_sample_run(ctx, FDIT_ONE_DEVICE(dev), &s, NULL, false, NULL));
    for (int k = 0; k < 2 * CLASSES; k++) {
        int c = k / 2;
        char path[256];
        snprintf(path, sizeof path, "%s",
                 test_path(folder, "pictures/%c%%2Fc%d/%c%%2Fc%d-%d.png", "AAB"[c], c, "AAB"[c], c, k % 2));
        ck_assert_ok(ctx, fdit_picture_read(ctx, path, &picture));
        ck_assert_int_eq(picture.width, SIZE);
        ck_assert_msg(shows(&sheet, &picture, 2), "%s is not in the sheet", path);
        fdit_picture_fini(&picture);
    }
    fdit_picture_fini(&sheet);
}
END_TEST

static void train_fails(const struct fdit_train_options *o, enum fdit_status status, const char *words)
{
    enum fdit_status got = fdit_train_run(ctx, FDIT_ONE_DEVICE(dev), o, NULL, false, NULL);
    ck_assert_msg(got == status, "%s: %s", fdit_status_text(got), fdit_context_message(ctx));
    ck_assert_msg(strstr(fdit_context_message(ctx), words), "'%s' lacks '%s'", fdit_context_message(ctx),
                  words);
}

START_TEST(training_refused)
{
    struct fdit_encode_options e = job("cache");
    must(&e);
    struct fdit_train_options o = run_options(e.data, "run");
    train_fails(&o, FDIT_ERROR_ARGUMENT, "finediffusion encode");
    o.vae = vae_path;
    o.preview_every = 2;
    o.data = e.data;
    o.channels = 3;
    train_fails(&o, FDIT_ERROR_ARGUMENT, "latents of 4 channels");
    o = run_options(e.out, "run");
    o.size = 8;
    train_fails(&o, FDIT_ERROR_ARGUMENT, "holds latents of 4 x 4 x 4");
    o = run_options(e.out, "run");
    test_file(ctx, folder, "few.tsv", "class\tgroup\nA/c0\tx\nA/c1\tx\n", 26);
    o.taxonomy = keep(5, "few.tsv");
    train_fails(&o, FDIT_ERROR_ARGUMENT, "B/c2");
    /* classes in another order: by name */
    test_file(ctx, folder, "order.tsv", "class\tgroup\nB/c2\ty\nA/c1\tx\nA/c0\tx\n", 33);
    struct fdit_taxonomy *tax;
    ck_assert_ok(ctx, fdit_taxonomy_load(ctx, test_path(folder, "order.tsv"), NULL, &tax));
    struct fdit_train_source_options t = {
        .path = e.out, .taxonomy = tax, .latent_size = SIZE / 8, .latent_channels = 4
    };
    struct fdit_train_source *d;
    ck_assert_ok(ctx, fdit_train_source_open(ctx, &t, &d));
    ck_assert_int_eq(fdit_train_source_label(d, 0), 2);
    ck_assert_int_eq(fdit_train_source_label(d, EACH), 1);
    ck_assert_int_eq(fdit_train_source_label(d, 2 * EACH), 0);
    fdit_train_source_close(d);
    fdit_taxonomy_free(tax);
    /* an unfinished cache, and a damaged sample */
    ck_assert_int_eq(unlink(test_path(folder, "cache/cache.fdc")), 0);
    o.taxonomy = NULL;
    train_fails(&o, FDIT_ERROR_FORMAT, "not finished");
    must(&e);
    uint8_t *bytes;
    size_t n;
    const char *shard = keep(5, "cache/shard-00001.fdc");
    ck_assert_ok(ctx, fdit_file_read_all(ctx, shard, 1 << 24, &bytes, &n));
    bytes[n / 2] ^= 4;
    ck_assert_ok(ctx, fdit_file_write(ctx, shard, false, bytes, n));
    fdit_free(bytes);
    o.out = keep(4, "damaged");
    o.steps = 20;
    train_fails(&o, FDIT_ERROR_FORMAT, "damaged");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("encode");
    TCase *tcase = tcase_create("encode");
    tcase_add_checked_fixture(tcase, setup, teardown);
    const TTest *tests[] = { what_is_kept, a_cached_epoch_is_an_uncached_one,
                             statistics,   pixels,
                             going_on,     training,
                             previews,     training_refused };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
