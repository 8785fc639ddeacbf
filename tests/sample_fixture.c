/* SPDX-License-Identifier: Apache-2.0 */
#include "sample_fixture.h"

#include "core/file.h"
#include "core/mem.h"
#include "data_fixture.h"
#include "model/delta.h"
#include "model/init.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

fdit_context *ctx;
fdit_device *dev;
char *folder;

/* ------------------------------------------------------------------ the model */

const char taxonomy_tsv[] = "#independent\n" /* y is one group */
                            "species\tgenus\tfamily\n"
                            "a/b\tx\tu\n"
                            "two\tx\tu\n"
                            "three\ty\tu\n"
                            "four\ty\tv\n"
                            "five\tz\tv\n";
const char by_genus[] = "{\"label-drop\":\"superclass\",\"drop-prob\":0.1,\"superclass\":null,"
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
                                       .table_rows = rows };
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

void make_models(void)
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

void remove_models(void)
{
    test_folder_remove(folder);
    fdit_device_close(dev);
    dev = NULL;
}

/* ------------------------------------------------------------------ jobs */

static char paths[8][4096];

/* folder/name in a place of its own, so that options can point to it. */
const char *keep(int i, const char *name)
{
    snprintf(paths[i], sizeof paths[i], "%s", test_path(folder, "%s", name));
    return paths[i];
}

struct fdit_sample_options job(const char *out)
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

enum fdit_status run(const struct fdit_sample_options *o, struct fdit_sample_summary *summary,
                     struct seen *seen)
{
    struct seen own = { 0 };
    struct fdit_sample_hooks hooks = { .user = seen ? seen : &own,
                                       .on_step = count_step,
                                       .on_picture = count_picture };
    return fdit_sample_run(ctx, FDIT_ONE_DEVICE(dev), o, &hooks, false, summary);
}

struct fdit_sample_summary must(const struct fdit_sample_options *o)
{
    struct fdit_sample_summary summary;
    ck_assert_ok(ctx, run(o, &summary, NULL));
    return summary;
}

/* The job fails with this status, and its message holds these words. */
void must_fail(const struct fdit_sample_options *o, enum fdit_status status, const char *words)
{
    enum fdit_status got = run(o, NULL, NULL);
    ck_assert_msg(got == status, "%s instead of %s: %s", fdit_status_text(got), fdit_status_text(status),
                  fdit_context_message(ctx));
    ck_assert_msg(strstr(fdit_context_message(ctx), words) != NULL, "\"%s\" is not in: %s", words,
                  fdit_context_message(ctx));
}

/* Bytes of folder/..., NULL when it is not there; free with fdit_free. */
uint8_t *bytes_of(size_t *n, const char *format, ...)
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

bool is_there(const char *format, ...)
{
    char name[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return fdit_file_exists(test_path(folder, "%s", name));
}

void same_file(const char *a, const char *b)
{
    size_t n, m;
    uint8_t *x = bytes_of(&n, "%s", a), *y = bytes_of(&m, "%s", b);
    ck_assert_msg(x && y && n == m && !memcmp(x, y, n), "%s and %s differ", a, b);
    fdit_free(x);
    fdit_free(y);
}

const char *const encoded[CLASSES] = { "a%2Fb", "two", "three", "four", "five" };
const char *const names[CLASSES] = { "a/b", "two", "three", "four", "five" };

/* All pictures of two folders, bit for bit. */
void same_pictures(const char *a, const char *b, int per_class)
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
void check_manifest(const char *file, int per_class, size_t first, size_t stride, size_t seed)
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

struct latents read_latents(const char *path)
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

void free_latents(struct latents *l)
{
    fdit_free(l->x);
    fdit_free(l->ids);
    fdit_free(l->seeds);
}

/* Every row of b has the bits of the same picture in a; returns rows of b. */
size_t same_rows(const struct latents *a, const struct latents *b, const char *what)
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
