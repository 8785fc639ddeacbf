/* SPDX-License-Identifier: Apache-2.0 */
#include "model/ema_length.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/target.h"
#include "format/json.h"
#include "model/delta.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ names */

enum fdit_status fdit_ema_snapshot_path(fdit_context *ctx, const char *run, int64_t step, int profile,
                                        char **out)
{
    char width[16] = "";
    if (profile >= 0)
        snprintf(width, sizeof width, ".ema-%.2f", fdit_ema_widths[profile]);
    return fdit_strf(ctx, out, "%s/" FDIT_SNAPSHOTS "/step-%" PRId64 "%s.safetensors", run, step, width);
}

int64_t fdit_ema_snapshot_step(const char *name, int *profile)
{
    static const char before[] = "step-";
    char *end = NULL, ending[40];
    const char *number = name + sizeof before - 1;
    if (strncmp(name, before, sizeof before - 1) || *number < '1' || *number > '9')
        return -1;
    errno = 0;
    const long long step = strtoll(number, &end, 10);
    for (*profile = -1; *profile < FDIT_EMA_PROFILES && !errno; ++*profile) {
        if (*profile < 0)
            snprintf(ending, sizeof ending, ".safetensors");
        else
            snprintf(ending, sizeof ending, ".ema-%.2f.safetensors", fdit_ema_widths[*profile]);
        if (!strcmp(end, ending))
            return step;
    }
    return -1;
}

enum fdit_status fdit_ema_snapshot_each(fdit_context *ctx, const char *folder, fdit_ema_snapshot_fn each,
                                        void *user, bool *there)
{
    enum fdit_status status = FDIT_OK;
    DIR *dir = opendir(folder);
    *there = dir != NULL;
    if (!dir && errno != ENOENT && errno != ENOTDIR)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot list the folder", folder));
    while (dir) {
        struct dirent *e;
        int profile;
        TRY(fdit_folder_next(ctx, dir, folder, &e));
        if (!e)
            break;
        const int64_t step = fdit_ema_snapshot_step(e->d_name, &profile);
        if (step > 0)
            TRY(each(ctx, user, e->d_name, step, profile));
    }
out:
    if (dir)
        closedir(dir);
    return status;
}

enum fdit_status fdit_ema_snapshot_text(fdit_context *ctx, int64_t step, double width, char **out)
{
    return fdit_strf(ctx, out, "{\"step\":%" PRId64 ",\"width\":%.15g}", step, width);
}

/* ------------------------------------------------------------------ what is stored */

struct stored {
    int64_t step;
    int profile;
    struct fdit_safetensors *file;
};

struct job {
    const struct fdit_ema_length_options *o;
    struct stored *list; /* by step, then by width */
    size_t n, capacity;
    bool any;        /* a snapshot was there, of whatever average */
    double *factors; /* [n] */
    float *chunk;
};

static int in_order(const void *a, const void *b)
{
    const struct stored *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    return x->profile - y->profile;
}

static enum fdit_status add_file(fdit_context *ctx, void *user, const char *name, int64_t step, int profile)
{
    enum fdit_status status = FDIT_OK;
    struct job *j = user;
    (void)name;
    j->any = true;
    if (profile < 0)
        goto out;
    TRY(fdit_grow(ctx, &j->list, &j->capacity, j->n + 1, sizeof *j->list));
    j->list[j->n++] = (struct stored){ .step = step, .profile = profile };
out:
    return status;
}

static enum fdit_status list_files(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL;
    bool there;
    TRY(fdit_path_join(ctx, j->o->run, FDIT_SNAPSHOTS, &folder));
    TRY(fdit_ema_snapshot_each(ctx, folder, add_file, j, &there));
    if (!j->n)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--ema-length: %s holds no averages to choose from%s; train with --snapshots N --ema-profiles",
             folder,
             j->any  ? ", only snapshots of the usual one"
             : there ? ""
                     : " (there is no such folder)");
    qsort(j->list, j->n, sizeof *j->list, in_order);
out:
    fdit_free(folder);
    return status;
}

static bool same_meta(const struct stored *a, const struct stored *b, const char *key)
{
    const char *x = fdit_safetensors_meta(a->file, key), *y = fdit_safetensors_meta(b->file, key);
    return x && y ? !strcmp(x, y) : x == y;
}

/* All are averages of the same run: their names, what was trained from what, and each tensor's shape. */
static enum fdit_status check_file(fdit_context *ctx, const struct job *j, struct stored *s)
{
    enum fdit_status status = FDIT_OK;
    static const char *const keys[] = { "format", "version", "model", "taxonomy", "train", "base" };
    const struct stored *first = &j->list[j->n - 1];
    const char *path = fdit_safetensors_path(s->file), *said = fdit_safetensors_meta(s->file, "average");
    const char *format = fdit_safetensors_meta(s->file, "format");
    char *text = NULL;
    TRY(fdit_file_version_check(ctx, path, format, fdit_safetensors_meta(s->file, "version")));
    TRY(fdit_ema_snapshot_text(ctx, s->step, fdit_ema_widths[s->profile], &text));
    if (!format || strcmp(format, FDIT_DELTA_FORMAT) || !said || strcmp(said, text))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: is not the average that its name says; it was renamed or damaged",
             path);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!same_meta(s, first, keys[i]))
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s and %s are not of one run: their metadata \"%s\" differ", path,
                 fdit_safetensors_path(first->file), keys[i]);
    const size_t n = fdit_safetensors_count(first->file);
    if (fdit_safetensors_count(s->file) != n)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s and %s are not of one run: they hold %zu and %zu tensors", path,
             fdit_safetensors_path(first->file), fdit_safetensors_count(s->file), n);
    for (size_t i = 0; i < n; i++) {
        const struct fdit_st_tensor *t = fdit_safetensors_at(first->file, i), *mine;
        TRY(fdit_safetensors_need(ctx, s->file, t->name, t->rank, t->shape, &mine));
    }
out:
    fdit_free(text);
    return status;
}

static enum fdit_status open_files(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    for (size_t i = j->n; i-- > 0;) { /* the last one is what the others are compared with */
        fdit_free(path);
        path = NULL;
        TRY(fdit_ema_snapshot_path(ctx, j->o->run, j->list[i].step, j->list[i].profile, &path));
        TRY(fdit_safetensors_open(ctx, path, &j->list[i].file));
        TRY(check_file(ctx, j, &j->list[i]));
    }
out:
    fdit_free(path);
    return status;
}

static enum fdit_status choose(fdit_context *ctx, struct job *j, struct fdit_ema_length_report *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_ema_profile *profiles = NULL;
    TRY(fdit_alloc(ctx, j->n, sizeof *profiles, &profiles));
    TRY(fdit_alloc(ctx, j->n, sizeof *j->factors, &j->factors));
    for (size_t i = 0; i < j->n; i++)
        profiles[i] = (struct fdit_ema_profile){ (double)j->list[i].step,
                                                 fdit_ema_power(fdit_ema_widths[j->list[i].profile]) };
    r->snapshots = j->n;
    r->step = j->list[j->n - 1].step;
    TRY(fdit_ema_coefficients(ctx, profiles, j->n,
                              (struct fdit_ema_profile){ (double)r->step, fdit_ema_power(j->o->width) },
                              j->factors));
    for (size_t i = 0; i < j->n; i++)
        r->used += j->factors[i] != 0;
out:
    fdit_free(profiles);
    return status;
}

/* ------------------------------------------------------------------ the sum */

enum { CHUNK = 65536 };

struct piece {
    struct job *job;
    const struct fdit_st_tensor *t; /* of the last file */
};

/* What is the same in all stays what it is: a table of positions, a frozen row. */
static enum fdit_status fill(fdit_context *ctx, void *user, size_t first, size_t n, void *out)
{
    enum fdit_status status = FDIT_OK;
    const struct piece *piece = user;
    struct job *j = piece->job;
    float *to = out;
    double *sum = NULL;
    bool *other = NULL;
    TRY(fdit_alloc(ctx, n, sizeof *sum, &sum));
    TRY(fdit_alloc(ctx, n, sizeof *other, &other));
    for (size_t i = 0; i < j->n; i++) {
        const struct fdit_safetensors *file = j->list[i].file;
        const struct fdit_st_tensor *t = fdit_safetensors_find(file, piece->t->name);
        if (j->factors[i] == 0)
            continue;
        TRY(fdit_safetensors_weights(ctx, file, t, first, n, j->chunk));
        for (size_t k = 0; k < n; k++) {
            other[k] = other[k] || (sum[k] != 0 && j->chunk[k] != to[k]);
            to[k] = j->chunk[k];
            sum[k] += j->factors[i] * (double)j->chunk[k];
        }
        if (first + n == t->n)
            fdit_safetensors_drop(file, t);
    }
    for (size_t k = 0; k < n; k++)
        if (other[k])
            to[k] = (float)sum[k];
out:
    fdit_free(sum);
    fdit_free(other);
    return status;
}

static enum fdit_status put_meta(fdit_context *ctx, const struct job *j, struct fdit_st_writer *w)
{
    enum fdit_status status = FDIT_OK;
    const struct stored *last = &j->list[j->n - 1];
    char *average = NULL;
    for (size_t i = 0; i < fdit_safetensors_meta_count(last->file); i++) {
        const char *key, *value;
        fdit_safetensors_meta_at(last->file, i, &key, &value);
        if (strcmp(key, "average") != 0)
            TRY(fdit_st_writer_meta(ctx, w, key, value));
    }
    TRY(fdit_ema_snapshot_text(ctx, last->step, j->o->width, &average));
    TRY(fdit_st_writer_meta(ctx, w, "average", average));
out:
    fdit_free(average);
    return status;
}

static enum fdit_status write_sum(fdit_context *ctx, struct job *j, struct fdit_ema_length_report *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_safetensors *last = j->list[j->n - 1].file;
    struct fdit_st_writer *w = NULL;
    struct piece *pieces = NULL;
    r->tensors = fdit_safetensors_count(last);
    r->replaced = fdit_is_file(j->o->out);
    TRY(fdit_alloc(ctx, CHUNK, sizeof *j->chunk, &j->chunk));
    TRY(fdit_alloc(ctx, r->tensors, sizeof *pieces, &pieces));
    TRY(fdit_st_writer_new(ctx, &w));
    TRY(put_meta(ctx, j, w));
    for (int pass = 0; pass < 2; pass++) /* the wider type first keeps every tensor aligned */
        for (size_t i = 0; i < r->tensors; i++) {
            const struct fdit_st_tensor *t = fdit_safetensors_at(last, i);
            const bool position = !strcmp(t->name, "pos_embed");
            if (position != (pass == 0))
                continue;
            pieces[i] = (struct piece){ j, t };
            TRY(fdit_st_writer_fill(ctx, w, t->name, position ? FDIT_ST_F32 : j->o->type, t->rank, t->shape,
                                    fill, &pieces[i]));
        }
    r->bytes = fdit_st_writer_bytes(w);
    TRY(fdit_st_writer_save(ctx, w, j->o->out));
out:
    fdit_st_writer_free(w);
    fdit_free(pieces);
    return status;
}

enum fdit_status fdit_ema_length(fdit_context *ctx, const struct fdit_ema_length_options *o,
                                 struct fdit_ema_length_report *report)
{
    enum fdit_status status = FDIT_OK;
    struct job j = { .o = o };
    char *folder = NULL;
    *report = (struct fdit_ema_length_report){ 0 };
    if (!(o->width >= FDIT_EMA_LEAST_WIDTH && o->width <= FDIT_EMA_MOST_WIDTH))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--ema-length %g: give a width from %g to %g, a share of the training; 0.05 and 0.1 are stored",
             o->width, FDIT_EMA_LEAST_WIDTH, FDIT_EMA_MOST_WIDTH);
    TRY(fdit_path_join(ctx, o->run, FDIT_SNAPSHOTS, &folder));
    const struct fdit_input sources[] = { { "the snapshots", folder, true } };
    TRY(fdit_target_check(ctx, "OUT", o->out, sources, 1));
    if (!fdit_path_has_suffix(o->out, ".safetensors") && !(fdit_file_exists(o->out) && !fdit_is_file(o->out)))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: a delta is one safetensors file; name it so", o->out);
    TRY(list_files(ctx, &j));
    TRY(open_files(ctx, &j));
    TRY(choose(ctx, &j, report));
    TRY(write_sum(ctx, &j, report));
out:
    for (size_t i = 0; i < j.n; i++)
        fdit_safetensors_close(j.list[i].file);
    fdit_free(j.list);
    fdit_free(j.factors);
    fdit_free(j.chunk);
    fdit_free(folder);
    return status;
}
