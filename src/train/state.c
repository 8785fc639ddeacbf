/* SPDX-License-Identifier: Apache-2.0 */
#include "train/state.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_FORMAT "finediffusion-checkpoint"

/* Sets of numbers: the values, raw and EMA, the optimiser's moments, then averages of other lengths. */
enum { VALUES = 2, MOST_SETS = VALUES + FDIT_MOST_MOMENTS + FDIT_EMA_PROFILES, CHUNK = 1 << 16 };
#define MOST_STEPS UINT64_C(1000000000000000) /* as of --steps */

static int sets_of(const struct fdit_optimiser *o)
{
    return fdit_group_sets(o->moments);
}

static fdit_buffer *set_of(const struct fdit_optimiser *o, const struct fdit_group *g, int set)
{
    return fdit_group_set(g, o->moments, set);
}

static const char *prefix_of(const struct fdit_optimiser *o, int set)
{
    static const char *const profiles[FDIT_EMA_PROFILES] = { "ema0.05.", "ema0.10." };
    if (set >= VALUES + o->moments)
        return profiles[set - VALUES - o->moments];
    return set >= VALUES ? o->prefix[set - VALUES] : fdit_values_prefix((enum fdit_values)set);
}

size_t fdit_state_prefix(const char *tensor)
{
    const struct fdit_optimiser *o;
    for (size_t i = 0; (o = fdit_optimiser_at(i)); i++)
        for (int set = 0; set < sets_of(o); set++) {
            const char *prefix = prefix_of(o, set);
            if (!strncmp(tensor, prefix, strlen(prefix)))
                return strlen(prefix);
        }
    return 0;
}

/* A parameter's numbers of one set; what processes share is gathered when it is come to (fdit_model_gather).
 * */
struct reader {
    struct fdit_model *model;
    const struct fdit_group *group;
    fdit_buffer *part;
    size_t offset;
};

/* Gives the writer a part of a device tensor. */
static enum fdit_status fill(fdit_context *ctx, void *user, size_t first, size_t n, void *out)
{
    enum fdit_status status = FDIT_OK;
    const struct reader *r = user;
    TRY(fdit_model_gather(ctx, r->model, r->group, r->part));
    const struct fdit_tensor t = fdit_tensor_of(fdit_group_whole(r->group, r->part), FDIT_F32);
    TRY(fdit_read(ctx, r->model->dev, fdit_at(t, r->offset + first), out, n));
out:
    return status;
}

/* Four lanes, so that it runs at the speed of memory. Goes on from one part of a tensor to the next. */
struct sum {
    uint64_t lane[4];
    size_t n;
};

static void sum_add(struct sum *s, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++, s->n++) {
        uint32_t word;
        memcpy(&word, x + i, sizeof word);
        uint64_t h = (s->lane[s->n % 4] ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        s->lane[s->n % 4] = h ^ (h >> 32);
    }
}

static void sum_text(const struct sum *s, char out[17])
{
    uint64_t hash = s->n;
    for (int i = 0; i < 4; i++) {
        hash = (hash ^ s->lane[i]) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    snprintf(out, 17, "%016" PRIx64, hash);
}

/* Of all that a run goes on with, in the order in which it is read again. */
static enum fdit_status sum_of_model(fdit_context *ctx, struct fdit_model *m,
                                     const struct fdit_optimiser *optimiser, char out[17])
{
    enum fdit_status status = FDIT_OK;
    struct sum sum = { .n = 0 };
    float *chunk = NULL;
    TRY(fdit_alloc(ctx, CHUNK, sizeof *chunk, &chunk));
    for (int set = 0; set < sets_of(optimiser); set++)
        for (int i = 0; i < m->params.n; i++) {
            const struct fdit_param *p = &m->params.list[i];
            const struct fdit_group *g = &m->params.groups[p->group];
            struct reader r = { m, g, set_of(optimiser, g, set), p->offset };
            for (size_t at = 0; p->trained && r.part && at < p->count; at += CHUNK) {
                size_t n = p->count - at < CHUNK ? p->count - at : CHUNK;
                TRY(fill(ctx, &r, at, n, chunk));
                sum_add(&sum, chunk, n);
            }
        }
    sum_text(&sum, out);
out:
    fdit_free(chunk);
    return status;
}

static enum fdit_status put_meta(fdit_context *ctx, struct fdit_st_writer *w, struct fdit_model *m,
                                 const struct fdit_optimiser *optimiser, const struct fdit_delta_meta *meta,
                                 const struct fdit_train_position *at)
{
    enum fdit_status status = FDIT_OK;
    char *model = NULL, *step = NULL, *position = NULL, sum[17];
    TRY(sum_of_model(ctx, m, optimiser, sum));
    TRY(fdit_config_to_json(ctx, &m->config, &model));
    TRY(fdit_strf(ctx, &step, "%" PRId64, at->step));
    TRY(fdit_strf(ctx, &position, "%" PRIu64, at->position));
    const struct {
        const char *key, *value;
    } entries[] = {
        { "format", STATE_FORMAT },
        { "version", FDIT_FILE_VERSION },
        { "model", model },
        { "taxonomy", meta->taxonomy },
        { "guide", meta->guide },
        { "flip", meta->flip },
        { "train", meta->train },
        { "optimiser", optimiser->name },
        { "base", meta->fingerprint },
        { "step", step },
        { "position", position },
        { "sum", sum },
    };
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        if (entries[i].value)
            TRY(fdit_st_writer_meta(ctx, w, entries[i].key, entries[i].value));
out:
    fdit_free(model);
    fdit_free(step);
    fdit_free(position);
    return status;
}

enum fdit_status fdit_state_save(fdit_context *ctx, struct fdit_model *m,
                                 const struct fdit_optimiser *optimiser, const struct fdit_delta_meta *meta,
                                 const struct fdit_train_position *at, const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_st_writer *w = NULL;
    struct reader *readers = NULL;
    size_t n = 0;
    bool whole = fdit_params_whole(&m->params);
    TRY(fdit_st_writer_new(ctx, &w));
    TRY(put_meta(ctx, w, m, optimiser, meta, at));
    TRY(fdit_alloc(ctx, (size_t)m->params.n * MOST_SETS, sizeof *readers, &readers));
    for (int set = 0; set < sets_of(optimiser); set++)
        for (int i = 0; i < m->params.n; i++) {
            const struct fdit_param *p = &m->params.list[i];
            const struct fdit_group *g = &m->params.groups[p->group];
            /* a checkpoint of all weights is complete by itself: with the position table */
            bool fixed = whole && p->kind == FDIT_PARAM_POS && set < VALUES;
            fdit_buffer *buffer = fixed ? g->fixed : set_of(optimiser, g, set);
            int64_t shape[4];
            char name[192];
            if ((!p->trained && !fixed) || !buffer)
                continue;
            for (int k = 0; k < p->rank; k++)
                shape[k] = p->shape[k];
            snprintf(name, sizeof name, "%s%s", prefix_of(optimiser, set), p->name);
            readers[n] = (struct reader){ m, g, buffer, p->offset };
            TRY(fdit_st_writer_fill(ctx, w, name, FDIT_ST_F32, p->rank, shape, fill, &readers[n]));
            n++;
        }
    TRY(fdit_st_writer_save(ctx, w, path));
out:
    fdit_st_writer_free(w);
    fdit_free(readers);
    return status;
}

static enum fdit_status meta_number(fdit_context *ctx, const struct fdit_safetensors *st, const char *key,
                                    uint64_t *out)
{
    const char *text = fdit_safetensors_meta(st, key);
    char *end = NULL;
    errno = 0;
    unsigned long long value = text ? strtoull(text, &end, 10) : 0;
    if (!text || *text < '0' || *text > '9' || errno || *end)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: its metadata \"%s\" is not a number; the checkpoint is damaged",
                         fdit_safetensors_path(st), key);
    *out = value;
    return FDIT_OK;
}

/* Sizes that the checkpoint and this model both tell of must be the same: a smaller model finds all its
 * tensors in a deeper one. */
static enum fdit_status check_model(fdit_context *ctx, const struct fdit_safetensors *st,
                                    const struct fdit_model_config *config)
{
    enum fdit_status status = FDIT_OK;
    const char *text = fdit_safetensors_meta(st, "model"), *path = fdit_safetensors_path(st), *key;
    json_t *theirs = NULL, *ours = NULL, *value;
    char *mine = NULL, a[64], b[64];
    if (!text)
        return FDIT_OK;
    TRY(fdit_config_to_json(ctx, config, &mine));
    TRY(fdit_json_parse(ctx, path, mine, strlen(mine), 8, &ours));
    TRY(fdit_json_parse(ctx, path, text, strlen(text), 8, &theirs));
    json_object_foreach(ours, key, value)
    {
        const json_t *other = json_object_get(theirs, key);
        if (other && !json_equal(other, value))
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: is of another model: %s is %s, and %s in this run", path, key,
                 fdit_json_show(other, a, sizeof a), fdit_json_show(value, b, sizeof b));
    }
out:
    fdit_free(mine);
    json_decref(ours);
    json_decref(theirs);
    return status;
}

static enum fdit_status check_meta(fdit_context *ctx, const struct fdit_safetensors *st,
                                   const struct fdit_model_config *config,
                                   const struct fdit_state_wanted *wanted, struct fdit_train_position *at)
{
    enum fdit_status status = FDIT_OK;
    const char *path = fdit_safetensors_path(st), *format = fdit_safetensors_meta(st, "format");
    const char *taxonomy = fdit_safetensors_meta(st, "taxonomy"), *base = fdit_safetensors_meta(st, "base");
    struct fdit_taxonomy *classes = NULL;
    uint64_t step = 0, position = 0;
    if (!format || strcmp(format, STATE_FORMAT))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: is not a checkpoint of a run", path);
    TRY(fdit_file_version_check(ctx, path, format, fdit_safetensors_meta(st, "version")));
    const char *train = fdit_safetensors_meta(st, "train"); /* NULL: of an earlier version */
    *wanted->other_options = false;
    if (wanted->train && train) {
        status = fdit_train_options_same(ctx, path, train, wanted->train, wanted->options);
        *wanted->other_options = status == FDIT_ERROR_ARGUMENT;
        TRY(status);
    }
    TRY(check_model(ctx, st, config));
    const char *optimiser = fdit_safetensors_meta(st, "optimiser");
    if (fdit_optimiser_find(optimiser) != wanted->optimiser)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: is of a run with the optimiser %s, this run has %s", path,
             optimiser ? optimiser : fdit_optimiser_at(0)->name, wanted->optimiser->name);
    TRY(meta_number(ctx, st, "step", &step));
    TRY(meta_number(ctx, st, "position", &position));
    if (step != (uint64_t)wanted->step)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: says that it is of step %" PRIu64 "; it was renamed or damaged",
             path, step);
    if (step > MOST_STEPS || step > UINT64_MAX / wanted->group || position != step * wanted->group)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: says that %" PRIu64 " samples were taken in %" PRIu64 " steps of %" PRIu64
             "; it is damaged, or of another run",
             path, position, step, wanted->group);
    if (wanted->taxonomy && taxonomy) {
        TRY(fdit_taxonomy_parse(ctx, taxonomy, strlen(taxonomy), path, NULL, &classes));
        if (fdit_taxonomy_compare(ctx, classes, path, wanted->taxonomy, "the data") != FDIT_OK)
            TRY(fdit_fail_prefix(ctx, wanted->other, "the checkpoint has other classes"));
    }
    if (wanted->base && base && fdit_fingerprint_compare(ctx, base, wanted->base, path, "--base") != FDIT_OK)
        TRY(fdit_fail_prefix(ctx, wanted->other, "the checkpoint has another base"));
    *at = (struct fdit_train_position){ .step = wanted->step, .position = position };
out:
    fdit_taxonomy_free(classes);
    return status;
}

/* Tensor t into the reader's place (model NULL: nowhere), chunk by chunk: it is never in memory twice. Of
 * what processes share only what is kept here. */
static enum fdit_status load_tensor(fdit_context *ctx, const struct fdit_safetensors *st,
                                    const struct fdit_st_tensor *t, const struct reader *to, float *chunk,
                                    struct sum *sum)
{
    enum fdit_status status = FDIT_OK;
    for (size_t at = 0; at < t->n; at += CHUNK) {
        size_t n = t->n - at < CHUNK ? t->n - at : CHUNK;
        TRY(fdit_safetensors_weights(ctx, st, t, at, n, chunk));
        sum_add(sum, chunk, n);
        if (to->model && to->part == to->group->value)
            fdit_write(to->model->dev, (struct fdit_tensor){ to->part, to->offset + at, FDIT_F32 }, chunk, n);
        else if (to->model)
            fdit_group_write_part(to->model->dev, to->group, to->part, to->offset + at, chunk, n);
        if (at / CHUNK % 64 == 63)
            fdit_safetensors_drop(st, t);
    }
    fdit_safetensors_drop(st, t);
out:
    return status;
}

enum fdit_status fdit_state_load(fdit_context *ctx, struct fdit_model *m, const char *path,
                                 const struct fdit_state_wanted *wanted, struct fdit_train_position *at)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_safetensors *st = NULL;
    struct sum sum = { .n = 0 };
    float *chunk = NULL;
    char got[17];
    TRY(fdit_safetensors_open(ctx, path, &st));
    TRY(check_meta(ctx, st, &m->config, wanted, at));
    const char *said = fdit_safetensors_meta(st, "sum"); /* NULL: of an earlier version */
    TRY(fdit_alloc(ctx, CHUNK, sizeof *chunk, &chunk));
    for (int set = 0; set < sets_of(wanted->optimiser); set++)
        for (int i = 0; i < m->params.n; i++) {
            const struct fdit_param *p = &m->params.list[i];
            const struct fdit_group *g = &m->params.groups[p->group];
            fdit_buffer *buffer = set_of(wanted->optimiser, g, set);
            const struct fdit_st_tensor *t;
            int64_t shape[4];
            char name[192];
            if (!p->trained || !buffer)
                continue;
            for (int k = 0; k < p->rank; k++)
                shape[k] = p->shape[k];
            snprintf(name, sizeof name, "%s%s", prefix_of(wanted->optimiser, set), p->name);
            TRY(fdit_safetensors_need(ctx, st, name, p->rank, shape, &t));
            const struct reader to = { wanted->look ? NULL : m, g, buffer, p->offset };
            TRY(load_tensor(ctx, st, t, &to, chunk, &sum));
        }
    TRY(fdit_device_status(ctx, m->dev));
    sum_text(&sum, got);
    if (said && strcmp(said, got))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: its numbers are not those that were written (their sum says %s, they have %s)", path, said,
             got);
out:
    fdit_free(chunk);
    fdit_safetensors_close(st);
    return status;
}

struct fdit_state_table {
    struct fdit_safetensors *st;
    const struct fdit_model *model;
    const struct fdit_optimiser *optimiser;
};

enum fdit_status fdit_state_table_open(fdit_context *ctx, const struct fdit_model *m,
                                       const struct fdit_optimiser *optimiser, const char *path,
                                       struct fdit_state_table **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_state_table *t = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *t, &t));
    t->model = m;
    t->optimiser = optimiser;
    TRY(fdit_safetensors_open(ctx, path, &t->st));
    *out = t;
    return FDIT_OK;
out:
    fdit_state_table_close(t);
    return status;
}

enum fdit_status fdit_state_table_read(fdit_context *ctx, struct fdit_state_table *t, int set, size_t first,
                                       size_t n, float *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_param *p = t->model->params.ends.table;
    const int64_t shape[2] = { p->shape[0], p->shape[1] };
    const struct fdit_st_tensor *tensor;
    char name[192];
    snprintf(name, sizeof name, "%s%s", prefix_of(t->optimiser, set), p->name);
    TRY(fdit_safetensors_need(ctx, t->st, name, 2, shape, &tensor));
    TRY(fdit_safetensors_weights(ctx, t->st, tensor, first, n, out));
    fdit_safetensors_drop(t->st, tensor);
out:
    return status;
}

void fdit_state_table_close(struct fdit_state_table *t)
{
    if (!t)
        return;
    fdit_safetensors_close(t->st);
    fdit_free(t);
}

const char *fdit_state_optimiser(const struct fdit_checkpoint *cp)
{
    const char *name = fdit_checkpoint_meta(cp, "optimiser");
    return name ? name : fdit_optimiser_find(NULL)->name;
}

enum fdit_status fdit_state_path(fdit_context *ctx, const char *run, int64_t step, char **out)
{
    return fdit_strf(ctx, out, "%s/checkpoints/step-%" PRId64 ".safetensors", run, step);
}

/* The step of "step-N.safetensors", or -1. */
static int64_t step_of(const char *name)
{
    static const char before[] = "step-", behind[] = ".safetensors";
    char *end = NULL;
    errno = 0;
    if (strncmp(name, before, sizeof before - 1) || name[sizeof before - 1] < '1' ||
        name[sizeof before - 1] > '9')
        return -1;
    long long step = strtoll(name + sizeof before - 1, &end, 10);
    return errno || strcmp(end, behind) ? -1 : step;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

enum fdit_status fdit_state_list(fdit_context *ctx, const char *run, int64_t **out, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL;
    DIR *dir = NULL;
    size_t capacity = 0;
    *out = NULL;
    *n = 0;
    TRY(fdit_path_join(ctx, run, "checkpoints", &folder));
    dir = opendir(folder);
    if (!dir && errno != ENOENT && errno != ENOTDIR)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot list the folder", folder));
    for (struct dirent *e; errno = 0, dir && (e = readdir(dir));) {
        int64_t step = step_of(e->d_name);
        if (step < 0)
            continue;
        TRY(fdit_grow(ctx, out, &capacity, *n + 1, sizeof **out));
        (*out)[(*n)++] = step;
    }
    if (errno)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot list the folder", folder));
    if (*n)
        qsort(*out, *n, sizeof **out, ascending);
out:
    if (dir)
        closedir(dir);
    fdit_free(folder);
    return status;
}

enum fdit_status fdit_state_newest(fdit_context *ctx, const char *run, char **out)
{
    enum fdit_status status = FDIT_OK;
    int64_t *steps = NULL;
    size_t n;
    *out = NULL;
    TRY(fdit_state_list(ctx, run, &steps, &n));
    if (n)
        TRY(fdit_state_path(ctx, run, steps[n - 1], out));
out:
    fdit_free(steps);
    return status;
}

enum fdit_status fdit_state_prune(fdit_context *ctx, const char *run, int64_t now, int keep)
{
    enum fdit_status status = FDIT_OK;
    int64_t *steps = NULL;
    char *path = NULL;
    size_t n, usable = 0;
    TRY(fdit_state_list(ctx, run, &steps, &n));
    while (usable < n && steps[usable] <= now)
        usable++;
    for (size_t i = 0; i < n; i++) {
        bool old = keep > 0 && i + (size_t)keep < usable;
        if (!old && i < usable)
            continue;
        fdit_free(path);
        TRY(fdit_state_path(ctx, run, steps[i], &path));
        if (fdit_file_remove(ctx, path) != FDIT_OK)
            fdit_log(ctx, FDIT_LOG_WARNING, "%s", fdit_context_message(ctx));
    }
out:
    fdit_free(path);
    fdit_free(steps);
    return status;
}
