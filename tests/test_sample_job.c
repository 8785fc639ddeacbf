/* SPDX-License-Identifier: Apache-2.0
 * Sampling jobs, on a tiny model of random weights: the same bits for any batch, order, shard and
 * thread count; pictures that are there; other options; interruption; archives; guides; failures
 * half-way. */
#include "core/file.h"
#include "core/mem.h"
#include "data_fixture.h"
#include "format/json.h"
#include "format/tar.h"
#include "model/delta.h"
#include "model/init.h"
#include "model_fixture.h"
#include "sample/contact_sheet.h"
#include "sample/job.h"
#include "sample/pixels.h"
#include "sample/request.h"
#include "sample/painter.h"
#include "vae/vae.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;
static fdit_device *dev;
static char *folder; /* base.safetensors, delta.safetensors, older.safetensors, latent.safetensors */

/* ------------------------------------------------------------------ the model */

enum { CLASSES = 5 };
static const char taxonomy_tsv[] = "#independent\n" /* y is one group */
                                   "species\tgenus\tfamily\n"
                                   "a/b\tx\tu\n"
                                   "two\tx\tu\n"
                                   "three\ty\tu\n"
                                   "four\ty\tv\n"
                                   "five\tz\tv\n";
static const char by_genus[] = "{\"label-drop\":\"superclass\",\"drop-prob\":0.1,\"superclass\":null,"
                               "\"superclass-train\":null}";

static struct fdit_model_config config_of(int channels, int rows)
{
    return (struct fdit_model_config){ .kind = FDIT_MODEL_DIT,
                                       .input_size = 8,
                                       .channels = channels,
                                       .patch = 4,
                                       .width = 16,
                                       .depth = 2,
                                       .heads = 2,
                                       .mlp_ratio = 4,
                                       .rows = rows };
}

/* Random numbers in every trained parameter: an untrained model would predict 0 for all classes. */
static void randomise(struct fdit_model *m, const char *name)
{
    struct test_rng rng = test_rng_new(name);
    for (int i = 0; i < m->params.n; i++) {
        struct fdit_param *p = &m->params.list[i];
        float *data = calloc(p->count, sizeof *data);
        float mean = p->kind == FDIT_PARAM_NORM && strstr(p->name, "weight") ? 1 : 0;
        test_fill_normal(&rng, data, p->count, mean, p->kind == FDIT_PARAM_TABLE ? 1.0f : 0.2f);
        if (p->trained)
            ck_assert_ok(ctx, fdit_model_set(ctx, m, p, data));
        free(data);
    }
}

/* base NULL: a whole model; else a delta over it. */
static void save_model(const char *name, const char *base, int channels, int rows, const char *train,
                       const char *guide)
{
    struct fdit_model_config config = config_of(channels, rows);
    struct fdit_model_options o = { .mask = fdit_mask_find(base ? "finediffusion" : "full"),
                                    .batch = 1,
                                    .storage = FDIT_F32 };
    struct fdit_model *m = NULL;
    struct fdit_checkpoint *cp = NULL;
    struct fdit_taxonomy *tax = NULL;
    char *json = NULL, *fingerprint = NULL;
    struct fdit_delta_meta meta = { .guide = guide, .flip = "none", .train = train };
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &config, &o, &m));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    if (base) {
        ck_assert_ok(ctx, fdit_taxonomy_parse(ctx, taxonomy_tsv, strlen(taxonomy_tsv), "test", NULL, &tax));
        ck_assert_ok(ctx, fdit_taxonomy_to_json(ctx, tax, &json));
        ck_assert_ok(ctx, fdit_checkpoint_open(ctx, test_path(folder, "%s", base), FDIT_VALUES_RAW, &cp));
        ck_assert_ok(ctx, fdit_checkpoint_fingerprint(ctx, cp, &config, o.mask, &fingerprint));
        ck_assert_ok(ctx, fdit_model_load(ctx, m, &cp, 1, true, NULL));
        meta.taxonomy = json;
        meta.fingerprint = fingerprint;
    } else {
        ck_assert_ok(ctx, fdit_model_init(ctx, m, 1));
    }
    randomise(m, name);
    ck_assert_ok(ctx,
                 fdit_delta_save(ctx, m, FDIT_VALUES_RAW, FDIT_ST_F32, &meta, test_path(folder, "%s", name)));
    fdit_model_free(m);
    fdit_checkpoint_close(cp);
    fdit_taxonomy_free(tax);
    fdit_free(json);
    fdit_free(fingerprint);
}

static void make_models(void)
{
    dev = test_open_device(ctx, "cpu", 1);
    folder = test_folder();
    save_model("base.safetensors", NULL, 1, 4, NULL, NULL);
    save_model("other.safetensors", NULL, 1, 4, NULL, NULL);
    save_model("latent.safetensors", NULL, 4, 4, NULL, NULL);
    save_model("delta.safetensors", "base.safetensors", 1, CLASSES + 5, by_genus, "genus");
    save_model("older.safetensors", "base.safetensors", 1, CLASSES + 5, by_genus, "genus");
    save_model("empty.safetensors", "base.safetensors", 1, CLASSES + 6,
               "{\"label-drop\":\"empty\",\"drop-prob\":0.1}", "empty");
    save_model("plain.safetensors", "base.safetensors", 1, CLASSES + 5,
               "{\"label-drop\":\"superclass\",\"drop-prob\":0.0}", "none");
    test_file(ctx, folder, "tax.tsv", taxonomy_tsv, strlen(taxonomy_tsv));
}

static void remove_models(void)
{
    test_folder_remove(folder);
    fdit_device_close(dev);
    dev = NULL;
}

/* ------------------------------------------------------------------ jobs */

static char paths[8][4096];

/* folder/name in a place of its own, so that options can point to it. */
static const char *keep(int i, const char *name)
{
    snprintf(paths[i], sizeof paths[i], "%s", test_path(folder, "%s", name));
    return paths[i];
}

static struct fdit_sample_options job(const char *out)
{
    struct fdit_sample_options o = fdit_sample_defaults();
    o.base = keep(0, "base.safetensors");
    o.delta = keep(1, "delta.safetensors");
    o.out = out ? keep(2, out) : NULL;
    o.steps = 3;
    o.per_class = 3;
    o.guidance.w = 4;
    o.clip_x0 = 0;
    return o;
}

struct seen {
    size_t steps, pictures, kept;
    size_t stop_at; /* steps; 0: never */
};

static void count_step(void *user, size_t done, size_t total, int step, int steps)
{
    struct seen *s = user;
    ck_assert_uint_le(done, total);
    ck_assert_int_le(step, steps);
    if (++s->steps == s->stop_at)
        fdit_context_stop(ctx);
}

static void count_picture(void *user, const struct fdit_sample_picture *p)
{
    struct seen *s = user;
    s->pictures++;
    s->kept += p->kept;
}

static enum fdit_status run(const struct fdit_sample_options *o, struct fdit_sample_summary *summary,
                            struct seen *seen)
{
    struct seen own = { 0 };
    struct fdit_sample_hooks hooks = { .user = seen ? seen : &own,
                                       .on_step = count_step,
                                       .on_picture = count_picture };
    return fdit_sample_run(ctx, FDIT_ONE_DEVICE(dev), o, &hooks, false, summary);
}

static struct fdit_sample_summary must(const struct fdit_sample_options *o)
{
    struct fdit_sample_summary summary;
    ck_assert_ok(ctx, run(o, &summary, NULL));
    return summary;
}

/* The job fails with this status, and its message holds these words. */
static void must_fail(const struct fdit_sample_options *o, enum fdit_status status, const char *words)
{
    enum fdit_status got = run(o, NULL, NULL);
    ck_assert_msg(got == status, "%s instead of %s: %s", fdit_status_text(got), fdit_status_text(status),
                  fdit_context_message(ctx));
    ck_assert_msg(strstr(fdit_context_message(ctx), words) != NULL, "\"%s\" is not in: %s", words,
                  fdit_context_message(ctx));
}

/* Bytes of folder/..., NULL when it is not there; free with fdit_free. */
static uint8_t *bytes_of(size_t *n, const char *format, ...)
{
    char name[2048];
    uint8_t *bytes = NULL;
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    *n = 0;
    if (fdit_is_file(test_path(folder, "%s", name)))
        ck_assert_ok(ctx, fdit_file_read_all(ctx, test_path(folder, "%s", name), 1 << 24, &bytes, n));
    return bytes;
}

static bool is_there(const char *format, ...)
{
    char name[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return fdit_file_exists(test_path(folder, "%s", name));
}

static void same_file(const char *a, const char *b)
{
    size_t n, m;
    uint8_t *x = bytes_of(&n, "%s", a), *y = bytes_of(&m, "%s", b);
    ck_assert_msg(x && y && n == m && !memcmp(x, y, n), "%s and %s differ", a, b);
    fdit_free(x);
    fdit_free(y);
}

static const char *const encoded[CLASSES] = { "a%2Fb", "two", "three", "four", "five" };
static const char *const names[CLASSES] = { "a/b", "two", "three", "four", "five" };

/* All pictures of two folders, bit for bit. */
static void same_pictures(const char *a, const char *b, int per_class)
{
    char x[256], y[256];
    for (int c = 0; c < CLASSES; c++)
        for (int k = 0; k < per_class; k++) {
            snprintf(x, sizeof x, "%s/%s/%s-%d.png", a, encoded[c], encoded[c], k);
            snprintf(y, sizeof y, "%s/%s/%s-%d.png", b, encoded[c], encoded[c], k);
            same_file(x, y);
        }
}

/* Lines of a manifest: pictures first, first + stride, ... of per_class of every class. */
static void check_manifest(const char *file, int per_class, size_t first, size_t stride, size_t seed)
{
    size_t n, index = first;
    char *text = (char *)bytes_of(&n, "%s", file), *rest = text;
    ck_assert_msg(text != NULL, "%s is missing", file);
    for (char *line; (line = strtok_r(rest, "\n", &rest)); index += stride) {
        json_t *j = json_loads(line, 0, NULL);
        size_t c = index / (size_t)per_class, k = index % (size_t)per_class;
        char path[128];
        ck_assert_msg(j && c < CLASSES, "%s: %s", file, line);
        snprintf(path, sizeof path, "%s/%s-%zu.png", encoded[c], encoded[c], seed + k);
        ck_assert_msg(json_integer_value(json_object_get(j, "index")) == (json_int_t)index, "%s: %s", file,
                      line);
        ck_assert_msg(json_integer_value(json_object_get(j, "id")) == (json_int_t)c, "%s: %s", file, line);
        ck_assert_int_eq(json_integer_value(json_object_get(j, "seed")), (json_int_t)(seed + k));
        ck_assert_str_eq(json_string_value(json_object_get(j, "class")), names[c]);
        ck_assert_str_eq(json_string_value(json_object_get(j, "file")), path);
        json_decref(j);
    }
    size_t total = CLASSES * (size_t)per_class;
    ck_assert_uint_eq(index, first + (total - first + stride - 1) / stride * stride);
    fdit_free(text);
}

/* x of a latents file by (class, seed). */
struct latents {
    float *x;
    int32_t *ids, *seeds;
    size_t n, item;
};

static struct latents read_latents(const char *path)
{
    struct latents l;
    struct fdit_safetensors *st = NULL;
    size_t all;
    ck_assert_ok(ctx, fdit_safetensors_open(ctx, path, &st));
    l.x = test_floats(ctx, st, "x", &all);
    l.ids = test_ints(ctx, st, "id", &l.n);
    l.seeds = test_ints(ctx, st, "seed", NULL);
    ck_assert_int_eq(fdit_safetensors_find(st, "x")->rank, 4);
    l.item = l.n ? all / l.n : 0;
    fdit_safetensors_close(st);
    return l;
}

static void free_latents(struct latents *l)
{
    fdit_free(l->x);
    fdit_free(l->ids);
    fdit_free(l->seeds);
}

/* Every row of b has the bits of the same picture in a; returns rows of b. */
static size_t same_rows(const struct latents *a, const struct latents *b, const char *what)
{
    for (size_t i = 0; i < b->n; i++) {
        size_t k = 0;
        while (k < a->n && (a->ids[k] != b->ids[i] || a->seeds[k] != b->seeds[i]))
            k++;
        ck_assert_msg(k < a->n, "%s: class %d, seed %d is new", what, b->ids[i], b->seeds[i]);
        size_t at = test_first_difference(a->x + k * a->item, b->x + i * b->item, a->item, sizeof *a->x);
        ck_assert_msg(at == a->item, "%s: class %d, seed %d differs in number %zu: %.9g and %.9g", what,
                      b->ids[i], b->seeds[i], at, (double)a->x[k * a->item + at],
                      (double)b->x[i * b->item + at]);
    }
    return b->n;
}

/* ------------------------------------------------------------------ the list */

START_TEST(test_request)
{
    struct fdit_taxonomy *tax = NULL;
    struct fdit_request r, shard;
    static const char counts[] = "three\t2\nfive\t0\na/b\t3\n";
    static const int32_t ids[] = { 2, 2, 0, 0, 0 }, ks[] = { 0, 1, 0, 1, 2 };
    ck_assert_ok(ctx, fdit_taxonomy_parse(ctx, taxonomy_tsv, strlen(taxonomy_tsv), "test", NULL, &tax));
    test_file(ctx, folder, "counts.txt", counts, strlen(counts));
    ck_assert_ok(ctx, fdit_request_init(ctx, tax, NULL, test_path(folder, "counts.txt"), 9, 100, 0, 1, &r));
    ck_assert_uint_eq(r.n, 5);
    size_t seen = 0;
    for (int s = 0; s < 3; s++) {
        ck_assert_ok(
            ctx, fdit_request_init(ctx, tax, NULL, test_path(folder, "counts.txt"), 9, 100, s, 3, &shard));
        for (size_t p = 0; p < shard.n; p++, seen++) {
            struct fdit_request_item item = fdit_request_at(&shard, p);
            ck_assert_uint_eq(item.index, p * 3 + (size_t)s);
            ck_assert_int_eq(item.id, ids[item.index]);
            ck_assert_int_eq(item.k, ks[item.index]);
            ck_assert_uint_eq(item.seed, 100 + (uint64_t)item.k);
            ck_assert_int_eq(shard.ids[item.place], item.id);
        }
        fdit_request_fini(&shard);
    }
    ck_assert_uint_eq(seen, r.n);
    fdit_request_fini(&r);
    ck_assert_ok(ctx, fdit_request_init(ctx, tax, "genus=y,two", NULL, 2, 0, 0, 1, &r));
    ck_assert_uint_eq(r.n, 6);
    ck_assert_int_eq(fdit_request_at(&r, 0).id, 2);
    ck_assert_int_eq(fdit_request_at(&r, 2).id, 3);
    ck_assert_int_eq(fdit_request_at(&r, 4).id, 1);
    fdit_request_fini(&r);
    test_file(ctx, folder, "none.txt", "two\t0\n", 6);
    ck_assert_int_eq(fdit_request_init(ctx, tax, NULL, test_path(folder, "none.txt"), 1, 0, 0, 1, &r),
                     FDIT_ERROR_ARGUMENT);
    test_file(ctx, folder, "many.txt", "two\t2147483647\nfive\t1\n", 22);
    ck_assert_int_eq(fdit_request_init(ctx, tax, NULL, test_path(folder, "many.txt"), 1, 0, 0, 1, &r),
                     FDIT_ERROR_ARGUMENT);
    fdit_taxonomy_free(tax);
}
END_TEST

/* ------------------------------------------------------------------ the same picture */

/* Latents of the job of 5 x 3 pictures in all ways of cutting it up. */
static void check_invariance(struct fdit_sample_options o, const char *what)
{
    struct latents whole, part;
    fdit_device *three = test_open_device(ctx, "cpu", 3), *one = dev;
    o.latents = keep(3, "whole.safetensors");
    o.batch = 15;
    must(&o);
    whole = read_latents(o.latents);
    for (size_t i = 0; i < whole.n; i++) /* in the order of the request */
        ck_assert_msg(whole.ids[i] == (int32_t)(i / 3) && whole.seeds[i] == (int32_t)(i % 3), "%s", what);
    ck_assert_msg(memcmp(whole.x, whole.x + 3 * whole.item, whole.item * sizeof *whole.x) != 0,
                  "%s: two classes give the same picture", what);
    o.latents = keep(4, "part.safetensors");
    for (int b = 1; b < 15; b += 3) {
        o.batch = b;
        dev = b == 4 || b == 7 ? three : one; /* other numbers of threads */
        must(&o);
        part = read_latents(o.latents);
        ck_assert_uint_eq(same_rows(&whole, &part, what), whole.n);
        free_latents(&part);
    }
    dev = one;
    o.batch = 2;
    o.classes = "#3,#1,#4,#0,#2"; /* another order */
    must(&o);
    part = read_latents(o.latents);
    ck_assert_int_eq(part.ids[0], 3);
    ck_assert_uint_eq(same_rows(&whole, &part, what), whole.n);
    free_latents(&part);
    o.classes = NULL;
    size_t rows = 0;
    for (int s = 0; s < 4; s++) {
        o.shard = s;
        o.shards = 4;
        o.batch = 0;
        must(&o);
        part = read_latents(o.latents);
        rows += same_rows(&whole, &part, what);
        free_latents(&part);
    }
    ck_assert_uint_eq(rows, whole.n);
    free_latents(&whole);
    fdit_device_close(three);
}

START_TEST(test_invariance)
{
    static const char *const guides[] = { "superclass", "random", "base", "superclass" };
    struct fdit_sample_options o = job(NULL);
    o.guide = guides[_i];
    if (_i == 1)
        o.sampler.kind = FDIT_SAMPLER_DPMPP;
    if (_i == 2)
        o.sampler = (struct fdit_sampler_spec){ .kind = FDIT_SAMPLER_DDIM, .eta = 0.5 };
    if (_i == 3)
        o.rng = FDIT_NOISE_TORCH_CPU;
    check_invariance(o, guides[_i]);
}
END_TEST

/* The fixtures' model has sizes that fill no vector; classes are numbers, the last row guides. */
START_TEST(test_invariance_fixture)
{
    char *path = test_fixture("dit.safetensors");
    struct fdit_sample_options o = job(NULL);
    o.base = path;
    o.delta = NULL;
    o.guide = "empty";
    o.classes = "#0,#1,#2,#3,#4";
    o.steps = 2;
    struct fdit_checkpoint *cp = NULL;
    ck_assert_ok(ctx, fdit_checkpoint_open(ctx, path, FDIT_VALUES_EMA, &cp));
    int64_t rows = fdit_checkpoint_dim(cp, "y_embedder.embedding_table.weight", 0);
    fdit_checkpoint_close(cp);
    if (rows > CLASSES) {
        struct latents whole, part;
        o.latents = keep(3, "whole.safetensors");
        o.batch = 15;
        must(&o);
        whole = read_latents(o.latents);
        o.latents = keep(4, "part.safetensors");
        for (int b = 1; b < 8; b += 3) {
            o.batch = b;
            must(&o);
            part = read_latents(o.latents);
            ck_assert_uint_eq(same_rows(&whole, &part, "dit.safetensors"), 15);
            free_latents(&part);
        }
        free_latents(&whole);
    }
    free(path);
}
END_TEST

/* ------------------------------------------------------------------ the folder */

START_TEST(test_folder_job)
{
    struct fdit_sample_options o = job("whole");
    o.grid = keep(3, "grid.png");
    o.grid_real = NULL;
    struct fdit_sample_summary s = must(&o);
    ck_assert_uint_eq(s.computed, 15);
    ck_assert_uint_eq(s.kept, 0);
    ck_assert_str_eq(s.guide, "superclass:genus");
    check_manifest("whole/manifest.jsonl", 3, 0, 1, 0);
    /* again: nothing is computed, all is reported, the sheet is drawn from the files */
    struct seen seen = { 0 };
    o.grid = keep(4, "grid2.png");
    ck_assert_ok(ctx, run(&o, &s, &seen));
    ck_assert_uint_eq(s.computed, 0);
    ck_assert_uint_eq(s.kept, 15);
    ck_assert_uint_eq(seen.kept, 15);
    ck_assert_uint_eq(seen.steps, 0);
    same_file("grid.png", "grid2.png");
    /* one is missing */
    ck_assert_ok(ctx, fdit_file_remove(ctx, test_path(folder, "whole/three/three-1.png")));
    ck_assert_ok(ctx, fdit_file_remove(ctx, test_path(folder, "whole/manifest.jsonl")));
    o.batch = 4;
    s = must(&o);
    ck_assert_uint_eq(s.computed, 1);
    check_manifest("whole/manifest.jsonl", 3, 0, 1, 0);
    struct fdit_sample_options fresh = job("fresh");
    fresh.batch = 5;
    must(&fresh);
    o.out = keep(2, "whole"); /* job() took its place */
    same_pictures("whole", "fresh", 3);
    same_file("whole/run.json", "fresh/run.json");
    /* a longer request takes over what is there */
    o.grid = NULL;
    o.per_class = 4;
    s = must(&o);
    ck_assert_uint_eq(s.computed, 5);
    ck_assert_uint_eq(s.kept, 15);
    check_manifest("whole/manifest.jsonl", 4, 0, 1, 0);
    /* latents: every row is computed, the files stay */
    o.latents = keep(5, "l.safetensors");
    s = must(&o);
    ck_assert_uint_eq(s.computed, 20);
    ck_assert_uint_eq(s.kept, 20);
    struct latents l = read_latents(o.latents);
    ck_assert_uint_eq(l.n, 20);
    free_latents(&l);
}
END_TEST

START_TEST(test_other_options)
{
    struct fdit_sample_options o = job("out");
    must(&o);
    struct fdit_sample_options p = o;
    p.guidance.w = 2;
    must_fail(&p, FDIT_ERROR_FORMAT, "--guidance 4.0, now it is 2.0");
    p = o;
    p.steps = 4;
    must_fail(&p, FDIT_ERROR_FORMAT, "--steps 3, now it is 4");
    p = o;
    p.clip_x0 = 1;
    must_fail(&p, FDIT_ERROR_FORMAT, "--clip-x0");
    p = o;
    p.guide = "none";
    must_fail(&p, FDIT_ERROR_FORMAT, "--guide");
    p = o;
    p.sampler.kind = FDIT_SAMPLER_DDIM;
    must_fail(&p, FDIT_ERROR_FORMAT, "--sampler");
    p = o;
    p.seed = 1;
    must_fail(&p, FDIT_ERROR_FORMAT, "--seed");
    p = o;
    p.tar = true;
    must_fail(&p, FDIT_ERROR_FORMAT, "--tar false, now it is true");
    p = o;
    p.delta = keep(3, "older.safetensors");
    must_fail(&p, FDIT_ERROR_FORMAT, "other weights");
    ck_assert(is_there("out/manifest.jsonl"));
    /* to overwrite removes what the former job made, and nothing else */
    test_file(ctx, folder, "out/two/mine.png", "x", 1);
    test_file(ctx, folder, "out/notes.txt", "x", 1);
    p.classes = "a/b,two";
    p.overwrite = true;
    struct fdit_sample_summary s = must(&p);
    ck_assert_uint_eq(s.computed, 6);
    ck_assert(!is_there("out/three"));
    ck_assert(is_there("out/two/mine.png"));
    ck_assert(is_there("out/notes.txt"));
    ck_assert(is_there("out/a%%2Fb/a%%2Fb-2.png"));
    p.overwrite = false;
    s = must(&p);
    ck_assert_uint_eq(s.kept, 6);
    /* the same options and --overwrite: all anew */
    p.overwrite = true;
    s = must(&p);
    ck_assert_uint_eq(s.computed, 6);
    /* pictures without run.json may be anyone's */
    p.overwrite = false;
    ck_assert_ok(ctx, fdit_file_remove(ctx, test_path(folder, "out/run.json")));
    must_fail(&p, FDIT_ERROR_FORMAT, "no run.json");
    test_file(ctx, folder, "out/run.json", "{}", 2);
    must_fail(&p, FDIT_ERROR_FORMAT, "was not written by this program");
}
END_TEST

/* A weight that differs in one number is another weight; merging base and delta is not. */
START_TEST(test_weights_hash)
{
    struct fdit_sample_options o = job(NULL);
    struct fdit_sample_source s, t;
    uint64_t a = 0, b = 0, c = 0;
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &s));
    ck_assert_ok(ctx, fdit_weight_files_hash(ctx, &s.files, &a));
    ck_assert_ok(ctx, fdit_weight_files_hash(ctx, &s.files, &b));
    ck_assert_uint_eq(a, b);
    struct fdit_model_options m = { .mask = fdit_mask_find("full"), .batch = 1, .storage = FDIT_F32 };
    struct fdit_model *model = NULL;
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &s.files.config, &m, &model));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, model));
    ck_assert_ok(ctx, fdit_model_load(ctx, model, s.files.list, 2, false, NULL));
    struct fdit_delta_meta meta = { .taxonomy = fdit_checkpoint_meta(s.delta, "taxonomy"),
                                    .train = by_genus,
                                    .guide = "genus" };
    ck_assert_ok(ctx, fdit_delta_save(ctx, model, FDIT_VALUES_RAW, FDIT_ST_F32, &meta,
                                      test_path(folder, "merged.safetensors")));
    struct fdit_param *p = fdit_params_find(&model->params, "blocks.1.mlp.fc2.weight");
    float *data = calloc(p->count, sizeof *data);
    ck_assert_ok(ctx, fdit_model_get(ctx, model, p, FDIT_VALUES_RAW, data));
    data[p->count - 1] = nextafterf(data[p->count - 1], 9);
    ck_assert_ok(ctx, fdit_model_set(ctx, model, p, data));
    ck_assert_ok(ctx, fdit_delta_save(ctx, model, FDIT_VALUES_RAW, FDIT_ST_F32, &meta,
                                      test_path(folder, "changed.safetensors")));
    free(data);
    fdit_model_free(model);
    o.delta = NULL;
    o.base = keep(3, "merged.safetensors");
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &t));
    ck_assert_ok(ctx, fdit_weight_files_hash(ctx, &t.files, &b));
    fdit_sample_source_close(&t);
    o.base = keep(3, "changed.safetensors");
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &t));
    ck_assert_ok(ctx, fdit_weight_files_hash(ctx, &t.files, &c));
    fdit_sample_source_close(&t);
    fdit_sample_source_close(&s);
    ck_assert_uint_eq(a, b);
    ck_assert_uint_ne(a, c);
}
END_TEST

START_TEST(test_shards)
{
    struct fdit_sample_options o = job("one");
    must(&o);
    o.out = keep(2, "three");
    o.shards = 3;
    for (int s = 2; s >= 0; s--) {
        o.shard = s;
        struct fdit_sample_summary summary = must(&o);
        ck_assert_uint_eq(summary.pictures, 5);
        ck_assert_uint_eq(summary.computed, 5);
        char name[64];
        snprintf(name, sizeof name, "three/manifest.%d-of-3.jsonl", s);
        check_manifest(name, 3, (size_t)s, 3, 0);
    }
    same_pictures("one", "three", 3);
    same_file("one/run.json", "three/run.json");
    /* more shards than pictures: an empty list is a list */
    o = job("many");
    o.classes = "two";
    o.per_class = 1;
    o.shard = 3;
    o.shards = 5;
    o.latents = keep(3, "empty-shard.safetensors");
    struct fdit_sample_summary summary = must(&o);
    ck_assert_uint_eq(summary.pictures, 0);
    size_t n;
    uint8_t *text = bytes_of(&n, "many/manifest.3-of-5.jsonl");
    ck_assert(text && n == 0);
    fdit_free(text);
    struct latents l = read_latents(o.latents);
    ck_assert_uint_eq(l.n, 0);
    free_latents(&l);
}
END_TEST

/* ------------------------------------------------------------------ interruption */

/* The context remembers that it was stopped: a new one, as in a new process. */
static void new_context(void)
{
    fdit_context_free(ctx);
    ctx = fdit_context_new();
}

START_TEST(test_interrupt)
{
    struct fdit_sample_options o = job("whole");
    must(&o);
    o = job("stopped");
    o.batch = 4;
    struct seen seen = { .stop_at = 9 }; /* 3 steps and one report a batch: in the third batch */
    struct fdit_sample_summary s;
    ck_assert_int_eq(run(&o, &s, &seen), FDIT_INTERRUPTED);
    ck_assert_msg(strstr(fdit_context_message(ctx), "8 of 15") != NULL, "%s", fdit_context_message(ctx));
    ck_assert_uint_eq(s.computed, 8);
    ck_assert(is_there("stopped/run.json"));
    ck_assert(is_there("stopped/three/three-1.png"));
    ck_assert(!is_there("stopped/three/three-2.png"));
    ck_assert(!is_there("stopped/manifest.jsonl"));
    new_context();
    s = must(&o);
    ck_assert_uint_eq(s.computed, 7);
    ck_assert_uint_eq(s.kept, 8);
    same_pictures("whole", "stopped", 3);
    same_file("whole/manifest.jsonl", "stopped/manifest.jsonl");
    /* latents appear whole or not at all */
    o = job(NULL);
    o.latents = keep(3, "never.safetensors");
    o.batch = 4;
    seen = (struct seen){ .stop_at = 6 };
    ck_assert_int_eq(run(&o, &s, &seen), FDIT_INTERRUPTED);
    ck_assert(!is_there("never.safetensors"));
    new_context();
}
END_TEST

/* ------------------------------------------------------------------ archives */

START_TEST(test_tar)
{
    struct fdit_sample_options o = job("files");
    struct fdit_tar *tar = NULL;
    o.grid = keep(3, "grid.png");
    must(&o);
    o = job("tar");
    o.tar = true;
    o.batch = 4;
    must(&o);
    ck_assert_ok(ctx, fdit_tar_open(ctx, test_path(folder, "tar/pictures-00000.tar"), 0, &tar));
    ck_assert_uint_eq(fdit_tar_count(tar), 1 + 3 * 15);
    ck_assert_str_eq(fdit_tar_at(tar, 0)->name, "__taxonomy__");
    for (int c = 0; c < CLASSES; c++)
        for (int k = 0; k < 3; k++) {
            char name[64], id[16];
            size_t at, n;
            snprintf(name, sizeof name, "%s/%s-%d.png", encoded[c], encoded[c], k);
            uint8_t *bytes = bytes_of(&n, "files/%s", name);
            ck_assert_msg(fdit_tar_find(tar, name, &at), "%s", name);
            ck_assert(fdit_tar_at(tar, at)->size == n && !memcmp(fdit_tar_data(tar, at), bytes, n));
            fdit_free(bytes);
            snprintf(name, sizeof name, "%s/%s-%d.cls", encoded[c], encoded[c], k);
            snprintf(id, sizeof id, "%d", c);
            ck_assert_msg(fdit_tar_find(tar, name, &at), "%s", name);
            ck_assert(!memcmp(fdit_tar_data(tar, at), id, strlen(id)));
            snprintf(name, sizeof name, "%s/%s-%d.json", encoded[c], encoded[c], k);
            ck_assert_msg(fdit_tar_find(tar, name, &at), "%s", name);
            json_t *j = NULL;
            ck_assert_ok(ctx, fdit_json_parse(ctx, name, (const char *)fdit_tar_data(tar, at),
                                              (size_t)fdit_tar_at(tar, at)->size, 8, &j));
            ck_assert_str_eq(json_string_value(json_object_get(j, "class")), names[c]);
            ck_assert_int_eq(json_integer_value(json_object_get(j, "id")), c);
            ck_assert_str_eq(json_string_value(json_object_get(json_object_get(j, "ranks"), "family")),
                             c < 3 ? "u" : "v");
            json_decref(j);
        }
    fdit_tar_close(tar);
    ck_assert(!is_there("tar/two"));
    /* the archive is kept, and the sheet is drawn from it */
    o.grid = keep(4, "grid2.png");
    struct fdit_sample_summary s = must(&o);
    ck_assert_uint_eq(s.computed, 0);
    same_file("grid.png", "grid2.png");
    /* another request needs other archives */
    o.per_class = 4;
    must_fail(&o, FDIT_ERROR_FORMAT, "--classes");
    o.overwrite = true;
    must(&o);
}
END_TEST

START_TEST(test_tar_interrupted)
{
    struct fdit_sample_options o = job("whole-tar");
    struct fdit_tar *tar = NULL;
    o.tar = true;
    must(&o);
    /* nothing was finished, then two batches of 4, then one: each time it ends behind a picture */
    static const size_t stops[] = { 2, 9, 5 }, there[] = { 0, 8, 12 };
    o = job("stopped-tar");
    o.tar = true;
    o.batch = 4;
    for (int i = 0; i < 3; i++) {
        struct seen seen = { .stop_at = stops[i] };
        ck_assert_int_eq(run(&o, NULL, &seen), FDIT_INTERRUPTED);
        new_context();
        ck_assert(is_there("stopped-tar/pictures-00000.tar") == (there[i] > 0));
        if (!there[i])
            continue;
        ck_assert_ok(ctx, fdit_tar_open(ctx, test_path(folder, "stopped-tar/pictures-00000.tar"), 0, &tar));
        ck_assert_uint_eq(fdit_tar_count(tar), 1 + 3 * there[i]);
        fdit_tar_close(tar);
    }
    struct fdit_sample_summary s = must(&o);
    ck_assert_uint_eq(s.kept, 12);
    ck_assert_uint_eq(s.computed, 3);
    same_file("whole-tar/pictures-00000.tar", "stopped-tar/pictures-00000.tar");
    same_file("whole-tar/manifest.jsonl", "stopped-tar/manifest.jsonl");
}
END_TEST

/* ------------------------------------------------------------------ guides */

START_TEST(test_guides)
{
    struct fdit_sample_options o = job(NULL);
    struct fdit_sample_source s;
    struct fdit_picture_spec p;
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &s));
    ck_assert_str_eq(s.guide.text, "superclass:genus");
    p = fdit_sample_source_picture(&s, 3, 7);
    ck_assert_int_eq(p.row, 3);
    ck_assert_int_eq(p.guide_row, CLASSES + 1); /* y */
    ck_assert_uint_eq(p.seed, 7);
    fdit_sample_source_close(&s);
    o.guide = "superclass:family";
    ck_assert_int_eq(fdit_sample_source_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "trained guides: superclass:genus"));
    o.guide = "superclass:order";
    ck_assert_int_eq(fdit_sample_source_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    o.guide = "empty";
    ck_assert_int_eq(fdit_sample_source_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    o.guide = "nonsense";
    ck_assert_int_eq(fdit_sample_source_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    /* another class, by class and seed alone, and all others in turn */
    o.guide = "random";
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &s));
    bool hit[CLASSES] = { false };
    for (uint64_t seed = 0; seed < 200; seed++) {
        p = fdit_sample_source_picture(&s, 2, seed);
        ck_assert(p.guide_row >= 0 && p.guide_row < CLASSES && p.guide_row != 2);
        ck_assert_int_eq(fdit_sample_source_picture(&s, 2, seed).guide_row, p.guide_row);
        hit[p.guide_row] = true;
    }
    ck_assert(hit[0] && hit[1] && hit[3] && hit[4]);
    fdit_sample_source_close(&s);
    o.guide = "base";
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &s));
    ck_assert_int_eq(s.guide.files.config.rows, 4);
    ck_assert_int_eq(fdit_sample_source_picture(&s, 2, 0).guide_row, 3);
    fdit_sample_source_close(&s);
    o.delta = NULL;
    ck_assert_int_eq(fdit_sample_source_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    char text[4200];
    snprintf(text, sizeof text, "delta:%s", test_path(folder, "older.safetensors"));
    o = job(NULL);
    o.guide = text;
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &s));
    ck_assert_int_eq(fdit_sample_source_picture(&s, 2, 0).guide_row, 2);
    fdit_sample_source_close(&s);
    /* defaults of other trainings */
    o = job(NULL);
    o.delta = keep(3, "empty.safetensors");
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &s));
    ck_assert_str_eq(s.guide.text, "empty");
    ck_assert_int_eq(fdit_sample_source_picture(&s, 2, 0).guide_row, CLASSES + 5);
    fdit_sample_source_close(&s);
    o.guide = "superclass";
    ck_assert_int_eq(fdit_sample_source_open(ctx, &o, &s), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "trained guides: empty"));
    o.guide = NULL;
    o.delta = keep(3, "plain.safetensors");
    ck_assert_ok(ctx, fdit_sample_source_open(ctx, &o, &s));
    ck_assert_str_eq(s.guide.text, "none");
    fdit_sample_source_close(&s);
}
END_TEST

/* A guide that is the model itself gives what the class alone gives: eps + w (eps - eps). And a
 * second model takes part at all: with another delta's weights the picture is another one. */
START_TEST(test_guide_models)
{
    struct fdit_sample_options o = job(NULL);
    struct latents alone, same, other;
    char text[4200];
    o.latents = keep(3, "alone.safetensors");
    o.guide = "none";
    must(&o);
    alone = read_latents(o.latents);
    o.latents = keep(4, "same.safetensors");
    snprintf(text, sizeof text, "delta:%s", test_path(folder, "delta.safetensors"));
    o.guide = text;
    must(&o);
    same = read_latents(o.latents);
    ck_assert_uint_eq(same_rows(&alone, &same, "the same delta as the guide"), 15);
    o.latents = keep(5, "other.safetensors");
    snprintf(text, sizeof text, "delta:%s", test_path(folder, "older.safetensors"));
    must(&o);
    other = read_latents(o.latents);
    ck_assert(memcmp(alone.x, other.x, alone.n * alone.item * sizeof *alone.x) != 0);
    free_latents(&alone);
    free_latents(&same);
    free_latents(&other);
}
END_TEST

START_TEST(test_files)
{
    struct fdit_sample_options o = job("out");
    o.base = keep(3, "other.safetensors");
    must_fail(&o, FDIT_ERROR_FORMAT, "made from another base");
    ck_assert(!is_there("out"));
    o.force = true;
    must(&o);
    o = job("out2");
    o.base = keep(3, "delta.safetensors");
    o.delta = NULL;
    must_fail(&o, FDIT_ERROR_ARGUMENT, "give it as --delta");
    o = job("out2");
    o.delta = keep(3, "base.safetensors");
    o.base = keep(4, "latent.safetensors");
    must_fail(&o, FDIT_ERROR_FORMAT, "channels");
    /* a model without names: numbers, once a guide is named */
    o = job("out3");
    o.delta = NULL;
    must_fail(&o, FDIT_ERROR_ARGUMENT, "--taxonomy");
    o.guide = "none";
    ck_assert_uint_eq(must(&o).classes, 4);
    ck_assert(is_there("out3/3/3-0.png"));
    o = job("out4");
    o.delta = NULL;
    o.taxonomy = keep(3, "tax.tsv");
    must_fail(&o, FDIT_ERROR_FORMAT, "4 rows");
    o = job("out4");
    o.taxonomy = keep(3, "tax.tsv");
    must(&o);
    o.ranks = "genus";
    must_fail(&o, FDIT_ERROR_ARGUMENT, "--ranks");
    test_file(ctx, folder, "other.tsv", "species\tgenus\tfamily\na\tb\tc\n", 27);
    o.ranks = NULL;
    o.taxonomy = keep(3, "other.tsv");
    must_fail(&o, FDIT_ERROR_FORMAT, "differ");
    /* latents */
    o = job("out5");
    o.base = keep(3, "latent.safetensors");
    o.delta = NULL;
    o.guide = "none";
    must_fail(&o, FDIT_ERROR_ARGUMENT, "--latents");
    o.latents = keep(4, "l.safetensors");
    must(&o);
    ck_assert(is_there("out5/manifest.jsonl"));
    ck_assert(!is_there("out5/0"));
    o.grid = keep(5, "g.png");
    must_fail(&o, FDIT_ERROR_ARGUMENT, "--grid");
    o.grid = NULL;
    o.vae = "/nowhere/vae.safetensors";
    must_fail(&o, FDIT_ERROR_IO, "/nowhere/vae.safetensors");
    o.vae = NULL;
    o.vae_scale = 0.5;
    must_fail(&o, FDIT_ERROR_ARGUMENT, "--vae-scale");
    o = job("out5");
    char *vae = test_fixture("vae");
    o.vae = vae;
    must_fail(&o, FDIT_ERROR_ARGUMENT, "leave --vae out");
    free(vae);
    o = job(NULL);
    must_fail(&o, FDIT_ERROR_ARGUMENT, "--out DIR");
    o = job("out6");
    o.classes = "tow";
    must_fail(&o, FDIT_ERROR_ARGUMENT, "did you mean \"two\"?");
    o = job("out6");
    o.memory = 1000;
    must_fail(&o, FDIT_ERROR_DEVICE, "--batch");
    ck_assert(!is_there("out6"));
}
END_TEST

/* ------------------------------------------------------------------ latents to pictures */

/* Picture k of class "c" in the folder is that decoded from row `row` of the latents. */
static void check_decoded(struct fdit_vae *v, const struct latents *l, size_t row, const char *out)
{
    enum { SIDE = 64 };
    float *decoded = calloc(3 * SIDE * SIDE, sizeof *decoded);
    uint8_t *pixels = calloc(3, SIDE * SIDE);
    struct fdit_picture p;
    char file[256];
    ck_assert_ok(ctx, fdit_vae_decode(ctx, v, l->x + row * l->item, decoded));
    fdit_pixels(decoded, 3, SIDE * SIDE, pixels);
    snprintf(file, sizeof file, "%s/%d/%d-%d.png", out, l->ids[row], l->ids[row], l->seeds[row]);
    ck_assert_ok(ctx, fdit_picture_read(ctx, test_path(folder, "%s", file), &p));
    ck_assert(p.width == SIDE && p.height == SIDE && p.channels == 3);
    ck_assert_int_eq(memcmp(p.pixels, pixels, 3 * SIDE * SIDE), 0);
    fdit_picture_fini(&p);
    free(decoded);
    free(pixels);
}

START_TEST(test_vae)
{
    char *path = test_fixture("vae");
    struct fdit_sample_options o = job("decoded");
    struct fdit_vae *v;
    o.base = keep(0, "latent.safetensors");
    o.delta = NULL;
    o.guide = "none";
    o.vae = path;
    o.latents = keep(3, "decoded.safetensors");
    o.grid = keep(4, "decoded.png");
    ck_assert_uint_eq(must(&o).computed, 12);
    struct latents l = read_latents(o.latents);
    ck_assert_ok(ctx, fdit_vae_open(ctx, path, &v));
    struct fdit_vae_options vo = { .height = 64, .decode = true };
    ck_assert_ok(ctx, fdit_vae_plan(ctx, v, dev, &vo));
    ck_assert_ok(ctx, fdit_vae_allocate(ctx, v));
    for (size_t row = 0; row < l.n; row++)
        check_decoded(v, &l, row, "decoded");
    ck_assert(is_there("decoded.png"));
    /* what is there stays, another scale is another job */
    o.latents = o.grid = NULL;
    ck_assert_uint_eq(must(&o).kept, 12);
    o.vae_scale = 0.5;
    must_fail(&o, FDIT_ERROR_FORMAT, "another autoencoder");
    o.out = keep(2, "scaled");
    must(&o);
    fdit_vae_set_scale(v, 0.5);
    check_decoded(v, &l, 5, "scaled");
    o.vae = NULL;
    o.vae_scale = 0;
    o.latents = keep(3, "l.safetensors"); /* without a decoder it is another job, too */
    must_fail(&o, FDIT_ERROR_FORMAT, "another autoencoder");
    /* archives, in two shards, with as little memory as it goes */
    o = job("tars");
    o.base = keep(0, "latent.safetensors");
    o.delta = NULL;
    o.guide = "none";
    o.vae = path;
    o.tar = true;
    o.shards = 2;
    ck_assert_uint_eq(must(&o).computed, 6);
    ck_assert(is_there("tars/pictures.0-of-2-00000.tar"));
    o.tar = false;
    o.shards = 1;
    o.out = keep(2, "tight");
    size_t need = must(&o).plan_bytes;
    o.out = keep(2, "tighter");
    o.memory = need - 100000; /* weights cannot shrink, bands can */
    ck_assert_uint_le(must(&o).plan_bytes, o.memory);
    same_file("tight/1/1-2.png", "tighter/1/1-2.png");
    fdit_vae_free(v);
    free_latents(&l);
    free(path);
}
END_TEST

/* ------------------------------------------------------------------ the sheet */

START_TEST(test_sheet)
{
    struct fdit_sample_options o = job(NULL);
    struct fdit_picture sheet = { 0 }, plain = { 0 };
    /* no folder: only what the sheet shows is computed */
    o.per_class = FDIT_CONTACT_SHEET_COLUMNS + 4;
    o.grid = keep(3, "sheet.png");
    struct fdit_sample_summary s = must(&o);
    ck_assert_uint_eq(s.pictures, CLASSES * (FDIT_CONTACT_SHEET_COLUMNS + 4));
    ck_assert_uint_eq(s.computed, CLASSES * FDIT_CONTACT_SHEET_COLUMNS);
    ck_assert_uint_eq(s.sheet_classes, CLASSES);
    ck_assert_ok(ctx, fdit_picture_read(ctx, o.grid, &plain));
    for (int c = 0; c < CLASSES; c++) {
        char name[64];
        snprintf(name, sizeof name, "real/%s/p.png", names[c]);
        test_picture(ctx, folder, name, 8, (unsigned)c);
    }
    o.grid_real = keep(4, "real");
    must(&o);
    ck_assert_ok(ctx, fdit_picture_read(ctx, o.grid, &sheet));
    ck_assert(sheet.width != plain.width || sheet.height != plain.height ||
              memcmp(sheet.pixels, plain.pixels, (size_t)sheet.width * (size_t)sheet.height * 3));
    fdit_picture_fini(&sheet);
    fdit_picture_fini(&plain);
    o.grid_real = keep(4, "nowhere");
    ck_assert_int_ne(run(&o, NULL, NULL), FDIT_OK);
}
END_TEST

/* ------------------------------------------------------------------ failures half-way */

/* Whatever write fails: the job says so, what is there is whole, and the next try ends well. */
START_TEST(test_failing_writes)
{
    struct fdit_sample_options o = job("whole");
    must(&o);
    o = job("broken");
    o.tar = _i == 1;
    o.classes = "a/b,two";
    o.per_class = 2;
    o.latents = _i == 1 ? keep(3, "broken.safetensors") : NULL;
    for (uint64_t n = 1;; n++) {
        size_t calls = (size_t)fdit_file_calls();
        fdit_file_fail_at(n);
        enum fdit_status status = run(&o, NULL, NULL);
        fdit_file_fail_at(0);
        if (status == FDIT_OK && fdit_file_calls() - calls < n)
            break;
        if (status == FDIT_OK) /* a sync that may fail, a folder without one */
            continue;
        ck_assert_int_eq(status, FDIT_ERROR_IO);
        ck_assert_uint_lt(n, 200);
        for (int c = 0; c < 2 && !o.tar; c++)
            for (int k = 0; k < 2; k++) {
                char a[64], b[64];
                snprintf(a, sizeof a, "broken/%s/%s-%d.png", encoded[c], encoded[c], k);
                snprintf(b, sizeof b, "whole/%s/%s-%d.png", encoded[c], encoded[c], k);
                if (is_there("%s", a))
                    same_file(a, b);
            }
        test_folder_remove(strdup(test_path(folder, "broken")));
    }
    ck_assert(is_there("broken/manifest.jsonl"));
}
END_TEST

START_TEST(test_failing_memory)
{
    struct fdit_sample_options o = job("out");
    char text[4200];
    snprintf(text, sizeof text, "delta:%s", test_path(folder, "older.safetensors"));
    o.guide = text;
    o.classes = "a/b";
    o.per_class = 2;
    o.grid = keep(3, "sheet.png");
    o.latents = keep(4, "l.safetensors");
    o.overwrite = true;
    must(&o);
    size_t alive = fdit_mem_stats().count;
    uint64_t n = 1;
    for (enum fdit_status status = FDIT_ERROR_MEMORY; status != FDIT_OK; n += 1 + n / 8) {
        fdit_mem_fail_at(n);
        status = run(&o, NULL, NULL);
        fdit_mem_fail_at(0);
        ck_assert_msg(status == FDIT_OK || status == FDIT_ERROR_MEMORY, "%s: %s", fdit_status_text(status),
                      fdit_context_message(ctx));
        size_t now = fdit_mem_stats().count;
        ck_assert_msg(now <= alive + 2, "allocation %" PRIu64 ": %zu blocks are lost", n, now - alive);
    }
    ck_assert_uint_gt(n, 100);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sample_job");
    TCase *tc = tcase_create("jobs");
    ctx = fdit_context_new();
    tcase_add_checked_fixture(tc, make_models, remove_models);
    tcase_add_test(tc, test_request);
    tcase_add_loop_test(tc, test_invariance, 0, 4);
    tcase_add_test(tc, test_invariance_fixture);
    tcase_add_test(tc, test_folder_job);
    tcase_add_test(tc, test_other_options);
    tcase_add_test(tc, test_weights_hash);
    tcase_add_test(tc, test_shards);
    tcase_add_test(tc, test_interrupt);
    tcase_add_test(tc, test_tar);
    tcase_add_test(tc, test_tar_interrupted);
    tcase_add_test(tc, test_guides);
    tcase_add_test(tc, test_guide_models);
    tcase_add_test(tc, test_files);
    tcase_add_test(tc, test_vae);
    tcase_add_test(tc, test_sheet);
    tcase_add_loop_test(tc, test_failing_writes, 0, 2);
    tcase_add_test(tc, test_failing_memory);
    suite_add_tcase(suite, tc);
    int code = test_run(suite);
    fdit_context_free(ctx);
    return code;
}
