/* SPDX-License-Identifier: Apache-2.0 */
#include "train/utility.h"

#include "core/file.h"
#include "core/fnv.h"
#include "core/mem.h"
#include "eval/evaluate.h"
#include "eval/scores.h"
#include "format/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const fdit_utility_set_names[FDIT_UTILITY_SETS] = { "real", "generated", "both" };
const char *const fdit_utility_measure_names[FDIT_UTILITY_MEASURES] = { "all", "head", "middle", "tail" };

void fdit_utility_mean(const struct fdit_utility_result *r, enum fdit_utility_set set,
                       enum fdit_utility_measure m, double *mean, double *deviation)
{
    double sum = 0, square = 0, n = r->seeds;
    for (int s = 0; s < r->seeds; s++)
        sum += r->value[set][s][m];
    *mean = sum / n;
    for (int s = 0; s < r->seeds; s++)
        square += (r->value[set][s][m] - *mean) * (r->value[set][s][m] - *mean);
    *deviation = r->seeds > 1 ? sqrt(square / (n - 1)) : NAN;
}

struct job {
    const struct fdit_devices *devices;
    const struct fdit_utility_options *o;
    const struct fdit_utility_hooks *hooks;
    struct fdit_utility_result *r;
    struct fdit_taxonomy *taxonomy; /* of the real pictures, or of the file */
    char *json;                     /* the same as text */
    size_t *n_real, *n_generated;   /* [classes] */
    int32_t *third;                 /* [classes] */
    uint64_t *seen;                 /* [n_seen] hashes of pictures to train on, sorted */
    size_t n_seen;
};

/* ------------------------------------------------------------------ pictures into a cache */

/* In the place of a feature network: keeps what it is given as pixels. */
struct recorder {
    struct job *j;
    const char *dir;
    char *as_made; /* where it goes first when its classes are in another order; NULL */
    struct fdit_feature_set *set;
    struct fdit_extractor extractor;
    struct fdit_cache_job job;
    struct fdit_cache_writer *writer;
    int32_t *labels;
    uint8_t *pixels; /* of a picture */
    size_t at;
    const struct fdit_batch *batch; /* the one that is recorded */
};

static size_t pixels_of(const struct fdit_extractor *e)
{
    return (size_t)e->channels * (size_t)e->size * (size_t)e->size;
}

static int32_t label_of(const struct fdit_feature_set *s, size_t i)
{
    size_t k = s->index[i];
    return s->drawing ? s->drawing->label(s->drawing->self, k)
           : s->cache ? fdit_cache_label(s->cache, k)
                      : fdit_dataset_label(s->dataset, k);
}

/* What kind of cache, with the first batch, when the set is known. */
static enum fdit_status begin_cache(fdit_context *ctx, struct recorder *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json b;
    char *identity = NULL;
    const struct fdit_feature_set *s = r->set;
    size_t n = s->points.n;
    fdit_json_begin(&b);
    if (!r->j->taxonomy) {
        TRY(fdit_taxonomy_to_json(ctx, s->taxonomy, &r->j->json));
        TRY(fdit_taxonomy_parse(ctx, r->j->json, strlen(r->j->json), s->path, NULL, &r->j->taxonomy));
    }
    TRY(fdit_alloc(ctx, n, sizeof *r->labels, &r->labels));
    for (size_t i = 0; i < n; i++) {
        const char *name = fdit_taxonomy_class_name(s->taxonomy, label_of(s, i));
        r->labels[i] = fdit_taxonomy_find_class(r->j->taxonomy, name);
        if (r->labels[i] < 0)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: class \"%s\" is not one of the real pictures' classes",
                 s->path, name);
        if (!r->as_made && i && r->labels[i] < r->labels[i - 1])
            TRY(fdit_strf(ctx, &r->as_made, "%s-as-made", r->dir));
    }
    fdit_json_put_text(&b, NULL, "pictures of", s->path);
    fdit_json_put_int(&b, NULL, "pictures", (int64_t)n);
    fdit_json_put_int(&b, NULL, "size", r->extractor.size);
    fdit_json_put_int(&b, NULL, "channels", r->extractor.channels);
    TRY(fdit_json_end(ctx, &b, "the cache", JSON_COMPACT, &identity));
    r->job = (struct fdit_cache_job){ .info = { .kind = FDIT_CACHE_PIXELS,
                                                .channels = r->extractor.channels,
                                                .size = r->extractor.size,
                                                .picture_size = r->extractor.size,
                                                .flip = r->j->o->train.flip,
                                                .fit = r->j->o->fit == FDIT_FIT_PAD ? "pad" : "crop",
                                                .scale = 1,
                                                .vae = "",
                                                .taxonomy = r->j->json,
                                                .n = n },
                                      .labels = r->labels,
                                      .identity = identity };
    TRY(fdit_cache_begin(ctx, r->as_made ? r->as_made : r->dir, &r->job, NULL, &r->writer));
out:
    fdit_json_fini(&b);
    fdit_free(identity);
    return status;
}

static enum fdit_status begin_batch(fdit_context *ctx, void *user, const struct fdit_batch *b)
{
    struct recorder *r = user;
    r->batch = b;
    return r->writer ? FDIT_OK : begin_cache(ctx, r); /* while the labels stand where the pictures do */
}

/* x is (v / 255 - 0.5) / 0.5 of bytes v. */
static enum fdit_status record(fdit_context *ctx, void *self, const float *x, size_t n, float *features,
                               float *logits)
{
    enum fdit_status status = FDIT_OK;
    struct recorder *r = self;
    size_t item = pixels_of(&r->extractor);
    (void)logits;
    for (size_t i = 0; i < n; i++, r->at++) {
        const bool bad = r->batch->index[i] == FDIT_LOADER_BAD;
        features[i] = 0;
        for (size_t k = 0; k < item; k++)
            r->pixels[k] = (uint8_t)lroundf((x[i * item + k] * 0.5f + 0.5f) * 255);
        if (r->at == fdit_cache_next(r->writer))
            TRY(fdit_cache_put(ctx, r->writer, bad ? NULL : r->pixels));
    }
out:
    return status;
}

static int by_number(const void *pa, const void *pb)
{
    const uint64_t *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

/* A set that was drawn, or is a cache, has the classes in the order of its own taxonomy; training wants those
 * of a cache to ascend. */
static enum fdit_status in_order(fdit_context *ctx, const struct fdit_cache *c, const char *dir)
{
    enum fdit_status status = FDIT_OK;
    const size_t n = fdit_cache_info_of(c)->n;
    struct fdit_cache_writer *w = NULL;
    int32_t *labels = NULL;
    uint64_t *order = NULL; /* label and place: pictures of a class stay as they follow each other */
    size_t at, bad;
    const uint8_t *pixels;
    TRY(fdit_alloc(ctx, n, sizeof *labels, &labels));
    TRY(fdit_alloc(ctx, n, sizeof *order, &order));
    for (size_t i = 0; i < n; i++)
        order[i] = (uint64_t)fdit_cache_label(c, i) << 32 | i;
    qsort(order, n, sizeof *order, by_number);
    for (size_t i = 0; i < n; i++)
        labels[i] = (int32_t)(order[i] >> 32);
    const struct fdit_cache_job job = { .info = *fdit_cache_info_of(c),
                                        .labels = labels,
                                        .identity =
                                            "{\"pictures of\":\"a set, in the order of the classes\"}" };
    TRY(fdit_cache_begin(ctx, dir, &job, NULL, &w));
    while ((at = fdit_cache_next(w)) < n) {
        TRY(fdit_cache_item(ctx, c, (size_t)(uint32_t)order[at], false, &pixels));
        TRY(fdit_cache_put(ctx, w, pixels));
    }
    TRY(fdit_cache_end(ctx, w, &bad));
out:
    fdit_cache_writer_free(w);
    fdit_free(labels);
    fdit_free(order);
    return status;
}

static enum fdit_status remove_in(fdit_context *ctx, const char *dir, const char *name)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    TRY(fdit_path_join(ctx, dir, name, &path));
    TRY(fdit_file_remove(ctx, path));
out:
    fdit_free(path);
    return status;
}

/* The cache in `from` becomes that in `to`. */
static enum fdit_status put_in_order(fdit_context *ctx, const char *from, const char *to)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_cache *c = NULL;
    char name[40];
    TRY(fdit_cache_open(ctx, from, &c));
    TRY(in_order(ctx, c, to));
    TRY(remove_in(ctx, from, "cache.fdc"));
    TRY(remove_in(ctx, from, "encode.json"));
    for (size_t i = 0; i < fdit_cache_shards(c); i++) {
        snprintf(name, sizeof name, "shard-%05zu.fdc", i);
        TRY(remove_in(ctx, from, name));
    }
    (void)rmdir(from);
out:
    fdit_cache_close(c);
    return status;
}

static void close_recorder(struct recorder *r)
{
    fdit_free(r->as_made);
    fdit_cache_writer_free(r->writer);
    fdit_free(r->labels);
    fdit_free(r->pixels);
}

/* The set at `path`, or what is drawn, into OUT/name, unless that is whole already. */
static enum fdit_status take_set(fdit_context *ctx, struct job *j, const char *path,
                                 const struct fdit_drawing *drawing, const char *dir)
{
    enum fdit_status status = FDIT_OK;
    static const struct fdit_extractor_kind kind = { .name = "a classifier", .run = record };
    struct fdit_feature_set set = { 0 };
    struct recorder r = { .j = j, .dir = dir, .set = &set };
    char *index = NULL, name[] = "a classifier of these pictures (--train channels=N)";
    size_t bad;
    r.extractor = (struct fdit_extractor){ .kind = &kind,
                                           .self = &r,
                                           .name = name,
                                           .input = &fdit_input_fit,
                                           .size = j->o->train.size,
                                           .channels = j->o->train.channels,
                                           .width = 1,
                                           .batch = 32 };
    const struct fdit_gather_options how = { .taxonomy = drawing ? NULL : j->taxonomy,
                                             .ranks = j->o->ranks,
                                             .fit = j->o->fit,
                                             .rules = j->o->rules,
                                             .workers = j->o->workers,
                                             .skip_bad = j->o->skip_bad,
                                             .features = true,
                                             .drawing = drawing,
                                             .on_begin = j->hooks->on_begin,
                                             .on_picture = j->hooks->on_picture,
                                             .user = j->hooks->user,
                                             .on_batch = begin_batch,
                                             .batch_user = &r };
    TRY(fdit_path_join(ctx, dir, "cache.fdc", &index));
    if (fdit_is_file(index))
        goto out;
    TRY(fdit_alloc(ctx, 1, pixels_of(&r.extractor), &r.pixels));
    TRY(fdit_feature_set_gather(ctx, NULL, &r.extractor, path, &how, &set));
    TRY(fdit_cache_end(ctx, r.writer, &bad));
    j->r->skipped += bad;
    if (r.as_made)
        TRY(put_in_order(ctx, r.as_made, dir));
out:
    close_recorder(&r);
    fdit_feature_set_fini(&set);
    fdit_free(index);
    return status;
}

/* ------------------------------------------------------------------ what the caches hold */

static enum fdit_status open_set(fdit_context *ctx, const struct job *j, const char *name,
                                 struct fdit_cache **out)
{
    enum fdit_status status = FDIT_OK;
    char *dir = NULL;
    TRY(fdit_path_join(ctx, j->o->out, name, &dir));
    TRY(fdit_cache_open(ctx, dir, out));
out:
    fdit_free(dir);
    return status;
}

static enum fdit_status hash_of(fdit_context *ctx, const struct fdit_cache *c, size_t i, uint64_t *out)
{
    enum fdit_status status = FDIT_OK;
    const uint8_t *pixels;
    TRY(fdit_cache_item(ctx, c, i, false, &pixels));
    *out = fdit_fnv(FDIT_FNV_START, pixels, fdit_cache_item_bytes(fdit_cache_info_of(c)));
out:
    return status;
}

/* A picture that a classifier has seen says nothing about it. */
static enum fdit_status check_unseen(fdit_context *ctx, struct job *j, const struct fdit_cache *real,
                                     const struct fdit_cache *generated, const struct fdit_cache *test)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cache *sets[] = { real, generated };
    uint64_t hash;
    TRY(fdit_alloc(ctx, fdit_cache_info_of(real)->n + fdit_cache_info_of(generated)->n, sizeof *j->seen,
                   &j->seen));
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < fdit_cache_info_of(sets[k])->n; i++)
            TRY(hash_of(ctx, sets[k], i, &j->seen[j->n_seen++]));
    qsort(j->seen, j->n_seen, sizeof *j->seen, by_number);
    for (size_t i = 0; i < fdit_cache_info_of(test)->n; i++) {
        TRY(hash_of(ctx, test, i, &hash));
        if (bsearch(&hash, j->seen, j->n_seen, sizeof hash, by_number))
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "%s: picture %zu is also one to train on (it has the same pixels at this size); take it out "
                 "of one of them",
                 j->o->test, i);
    }
out:
    return status;
}

static enum fdit_status count(fdit_context *ctx, struct job *j, const struct fdit_cache *real,
                              const struct fdit_cache *generated)
{
    enum fdit_status status = FDIT_OK;
    size_t classes = (size_t)fdit_taxonomy_n_classes(j->taxonomy);
    j->r->classes = classes;
    TRY(fdit_alloc(ctx, classes, sizeof *j->n_real, &j->n_real));
    TRY(fdit_alloc(ctx, classes, sizeof *j->n_generated, &j->n_generated));
    TRY(fdit_alloc(ctx, classes, sizeof *j->third, &j->third));
    for (size_t i = 0; i < fdit_cache_info_of(real)->n; i++)
        j->n_real[fdit_cache_label(real, i)]++;
    for (size_t i = 0; i < fdit_cache_info_of(generated)->n; i++)
        j->n_generated[fdit_cache_label(generated, i)]++;
    TRY(fdit_thirds(ctx, j->n_real, classes, j->third));
    for (size_t c = 0; c < classes; c++) {
        if (j->n_real[c] && !j->n_generated[c])
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "class \"%s\" has no generated picture; draw some of every class of the real pictures",
                 fdit_taxonomy_class_name(j->taxonomy, (int32_t)c));
        j->r->tail += j->third[c] == FDIT_TAIL;
    }
out:
    return status;
}

/* Pictures of a class; *at counts those that the new cache holds, or would hold: it may be there in part. */
static enum fdit_status put_class(fdit_context *ctx, struct fdit_cache_writer *w, const struct fdit_cache *c,
                                  int32_t label, size_t *at)
{
    enum fdit_status status = FDIT_OK;
    const uint8_t *pixels;
    for (size_t i = 0; i < fdit_cache_info_of(c)->n; i++) {
        if (fdit_cache_label(c, i) != label)
            continue;
        if ((*at)++ == fdit_cache_next(w)) {
            TRY(fdit_cache_item(ctx, c, i, false, &pixels));
            TRY(fdit_cache_put(ctx, w, pixels));
        }
    }
out:
    return status;
}

/* OUT/both: class after class the real pictures, and for the tail the generated ones. */
static enum fdit_status join(fdit_context *ctx, struct job *j, const struct fdit_cache *real,
                             const struct fdit_cache *generated, const char *dir)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_cache_writer *w = NULL;
    int32_t *labels = NULL;
    size_t n = 0, at = 0, bad, most = fdit_cache_info_of(real)->n + fdit_cache_info_of(generated)->n;
    TRY(fdit_alloc(ctx, most, sizeof *labels, &labels));
    for (size_t c = 0; c < j->r->classes; c++) {
        size_t of = j->n_real[c] + (j->third[c] == FDIT_TAIL ? j->n_generated[c] : 0);
        for (size_t i = 0; i < of; i++)
            labels[n++] = (int32_t)c;
    }
    struct fdit_cache_job job = { .info = *fdit_cache_info_of(real),
                                  .labels = labels,
                                  .identity = "{\"pictures of\":\"real, and generated for the tail\"}" };
    job.info.n = n;
    TRY(fdit_cache_begin(ctx, dir, &job, NULL, &w));
    for (size_t c = 0; c < j->r->classes; c++) {
        TRY(put_class(ctx, w, real, (int32_t)c, &at));
        if (j->third[c] == FDIT_TAIL)
            TRY(put_class(ctx, w, generated, (int32_t)c, &at));
    }
    TRY(fdit_cache_end(ctx, w, &bad));
out:
    fdit_cache_writer_free(w);
    fdit_free(labels);
    return status;
}

static enum fdit_status put_path(fdit_context *ctx, struct fdit_json *b, const char *key, const char *path)
{
    enum fdit_status status = FDIT_OK;
    char *real = NULL;
    if (path)
        TRY(fdit_path_real(ctx, path, &real));
    fdit_json_put_text(b, NULL, key, real ? real : path ? path : "");
out:
    fdit_free(real);
    return status;
}

/* OUT/utility.json says what the sets are made of; a folder of other ones is refused. */
static enum fdit_status check_job(fdit_context *ctx, const struct fdit_utility_options *o)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json b;
    char *path = NULL, *text = NULL;
    uint8_t *before = NULL;
    size_t n = 0;
    fdit_json_begin(&b);
    TRY(put_path(ctx, &b, "real", o->real));
    TRY(put_path(ctx, &b, "test", o->test));
    TRY(put_path(ctx, &b, "generated", o->drawing ? o->drawing->name : o->generated));
    fdit_json_put_text(&b, NULL, "drawing", o->drawing ? o->drawn_how : "");
    fdit_json_put_int(&b, NULL, "drawn", o->drawing ? (int64_t)o->drawing->n : 0);
    TRY(put_path(ctx, &b, "taxonomy", o->taxonomy));
    fdit_json_put_text(&b, NULL, "ranks", o->ranks ? o->ranks : "");
    fdit_json_put_int(&b, NULL, "size", o->train.size);
    fdit_json_put_int(&b, NULL, "channels", o->train.channels);
    fdit_json_put_text(&b, NULL, "fit", o->fit == FDIT_FIT_PAD ? "pad" : "crop");
    TRY(fdit_json_end(ctx, &b, "what the sets are made of", JSON_COMPACT, &text));
    TRY(fdit_path_join(ctx, o->out, "utility.json", &path));
    if (fdit_is_file(path)) {
        TRY(fdit_file_read_all(ctx, path, 1 << 20, &before, &n));
        if (n != strlen(text) || memcmp(before, text, n) != 0)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "%s: its sets were made of other pictures or with other options (see %s); give another "
                 "--out, or the same as before",
                 o->out, path);
    } else {
        TRY(fdit_file_write(ctx, path, false, text, strlen(text)));
    }
out:
    fdit_json_fini(&b);
    fdit_free(path);
    fdit_free(text);
    fdit_free(before);
    return status;
}

static enum fdit_status make_sets(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_utility_options *o = j->o;
    struct fdit_cache *real = NULL, *generated = NULL, *test = NULL;
    char *dir[4] = { NULL };
    static const char *const names[4] = { "real", "generated", "both", "test" };
    for (int k = 0; k < 4; k++)
        TRY(fdit_path_join(ctx, o->out, names[k], &dir[k]));
    TRY(take_set(ctx, j, o->real, NULL, dir[0]));
    TRY(open_set(ctx, j, "real", &real));
    if (!j->taxonomy) { /* it was there */
        TRY(fdit_strdup(ctx, fdit_cache_info_of(real)->taxonomy, &j->json));
        TRY(fdit_taxonomy_parse(ctx, j->json, strlen(j->json), dir[0], NULL, &j->taxonomy));
    }
    TRY(take_set(ctx, j, o->test, NULL, dir[3]));
    TRY(take_set(ctx, j, o->drawing ? o->drawing->name : o->generated, o->drawing, dir[1]));
    TRY(open_set(ctx, j, "generated", &generated));
    TRY(open_set(ctx, j, "test", &test));
    TRY(check_unseen(ctx, j, real, generated, test));
    TRY(count(ctx, j, real, generated));
    TRY(join(ctx, j, real, generated, dir[2]));
    j->r->pictures[FDIT_UTILITY_REAL] = fdit_cache_info_of(real)->n;
    j->r->pictures[FDIT_UTILITY_GENERATED] = fdit_cache_info_of(generated)->n;
    j->r->test = fdit_cache_info_of(test)->n;
out:
    fdit_cache_close(real);
    fdit_cache_close(generated);
    fdit_cache_close(test);
    for (int k = 0; k < 4; k++)
        fdit_free(dir[k]);
    return status;
}

/* ------------------------------------------------------------------ the classifiers */

static enum fdit_status train(fdit_context *ctx, struct job *j, enum fdit_utility_set set, int seed,
                              const char *data, const char *run)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_options o = j->o->train;
    const struct fdit_train_hooks hooks = { .user = j->hooks->user, .on_step = j->hooks->on_step };
    struct fdit_train_summary summary;
    char *config = NULL;
    o.data = data;
    o.out = run;
    o.seed = (uint64_t)seed;
    TRY(fdit_path_join(ctx, run, "config.json", &config));
    o.resume = fdit_is_file(config);
    TRY(fdit_train_check(ctx, &o));
    if (j->hooks->on_classifier)
        j->hooks->on_classifier(j->hooks->user, set, seed, o.steps);
    TRY(fdit_train_run(ctx, j->devices, &o, &hooks, false, &summary));
    j->r->pictures[set] = summary.n_pictures ? summary.n_pictures : j->r->pictures[set];
out:
    fdit_free(config);
    return status;
}

enum fdit_status fdit_utility_plan(fdit_context *ctx, const struct fdit_devices *devices,
                                   const struct fdit_utility_options *o,
                                   void (*on_plan)(void *user, const struct fdit_plan *plan), void *user)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_options t = o->train;
    const struct fdit_train_hooks hooks = { .user = user, .on_plan = on_plan };
    struct fdit_train_summary summary;
    char *data = NULL, *run = NULL, *index = NULL, *config = NULL;
    TRY(fdit_path_join(ctx, o->out, fdit_utility_set_names[FDIT_UTILITY_REAL], &data));
    TRY(fdit_path_join(ctx, data, "cache.fdc", &index));
    TRY(fdit_strf(ctx, &run, "%s-1", data));
    TRY(fdit_path_join(ctx, run, "config.json", &config));
    t.out = run;
    t.resume = fdit_is_file(config);
    t.data = data;
    if (!fdit_is_file(index)) {
        t.data = o->real;
        t.taxonomy = o->taxonomy;
        t.ranks = o->ranks;
        t.fit = o->fit;
        t.workers = o->workers;
    }
    TRY(fdit_train_check(ctx, &t));
    TRY(fdit_train_run(ctx, devices, &t, &hooks, true, &summary));
out:
    fdit_free(data);
    fdit_free(run);
    fdit_free(index);
    fdit_free(config);
    return status;
}

static enum fdit_status test(fdit_context *ctx, struct job *j, const char *data, const char *run,
                             double value[FDIT_UTILITY_MEASURES])
{
    enum fdit_status status = FDIT_OK;
    struct fdit_eval_options o = { .batch = 32, .metrics = "accuracy", .generated = data };
    struct fdit_eval_result r = { 0 };
    double sum[3] = { 0 };
    size_t known[3] = { 0 };
    char *judge = NULL;
    TRY(fdit_strf(ctx, &judge, "judge:%s/delta.safetensors", run));
    o.features = judge;
    TRY(fdit_eval_run(ctx, j->devices->list[0], &o, NULL, &r));
    value[FDIT_UTILITY_ALL] = (double)r.confusions[0].right / (double)r.confusions[0].all;
    for (size_t c = 0; c < j->r->classes; c++) {
        const double share = r.by_class[FDIT_CLASS_TOP1][c];
        if (isnan(share))
            continue;
        sum[j->third[c]] += share;
        known[j->third[c]]++;
    }
    for (int k = 0; k < 3; k++)
        value[FDIT_UTILITY_HEAD + k] = known[k] ? sum[k] / (double)known[k] : NAN;
out:
    fdit_eval_result_fini(&r);
    fdit_free(judge);
    return status;
}

static enum fdit_status one(fdit_context *ctx, struct job *j, enum fdit_utility_set set, int seed)
{
    enum fdit_status status = FDIT_OK;
    char *data = NULL, *unseen = NULL, *run = NULL;
    TRY(fdit_path_join(ctx, j->o->out, fdit_utility_set_names[set], &data));
    TRY(fdit_path_join(ctx, j->o->out, "test", &unseen));
    TRY(fdit_strf(ctx, &run, "%s-%d", data, seed));
    TRY(train(ctx, j, set, seed, data, run));
    TRY(test(ctx, j, unseen, run, j->r->value[set][seed - 1]));
out:
    fdit_free(data);
    fdit_free(unseen);
    fdit_free(run);
    return status;
}

enum fdit_status fdit_utility_run(fdit_context *ctx, const struct fdit_devices *devices,
                                  const struct fdit_utility_options *o,
                                  const struct fdit_utility_hooks *hooks, struct fdit_utility_result *out)
{
    enum fdit_status status = FDIT_OK;
    struct job j = { .devices = devices, .o = o, .hooks = hooks, .r = out };
    *out = (struct fdit_utility_result){ .seeds = o->seeds };
    TRY(fdit_mkdirs(ctx, o->out));
    TRY(check_job(ctx, o));
    if (o->taxonomy) {
        TRY(fdit_taxonomy_load(ctx, o->taxonomy, o->ranks, &j.taxonomy));
        TRY(fdit_taxonomy_to_json(ctx, j.taxonomy, &j.json));
    }
    TRY(make_sets(ctx, &j));
    for (int seed = 1; seed <= o->seeds; seed++)
        for (int set = 0; set < FDIT_UTILITY_SETS; set++)
            TRY(one(ctx, &j, (enum fdit_utility_set)set, seed));
out:
    fdit_taxonomy_free(j.taxonomy);
    fdit_free(j.json);
    fdit_free(j.n_real);
    fdit_free(j.n_generated);
    fdit_free(j.third);
    fdit_free(j.seen);
    return status;
}
