/* SPDX-License-Identifier: Apache-2.0 */
#include "format/weights.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"
#include "format/kind.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_INDEX ((size_t)100 << 20)

struct fdit_weights {
    char *path;
    struct fdit_safetensors *st; /* NULL: torch files */
    struct fdit_pt **pts;
    size_t n_pts;
    struct fdit_st_tensor *tensors; /* of several torch files: those of all */
    const struct fdit_st_tensor **by_name;
    size_t n;
};

/* ------------------------------------------------------------------ folders */

static const char *const first_names[] = {
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.bin.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
};

/* "model-00001-of-00002.safetensors": its index is what is opened. */
static bool is_shard(const char *name)
{
    const char *of = strstr(name, "-of-");
    if (!of || of - name < 6 || strspn(of + 4, "0123456789") < 5)
        return false;
    for (int i = 1; i <= 5; i++)
        if (of[-i] < '0' || of[-i] > '9')
            return false;
    return of[-6] == '-';
}

/* What libraries for training write beside weights. */
static bool is_state(const char *name)
{
    static const char *const words[] = { "optimizer",     "optim",     "scheduler",     "scaler",
                                         "training_args", "rng_state", "random_states", "sampler" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strncmp(name, words[i], strlen(words[i])))
            return true;
    return false;
}

/* 0: not the name of a file of weights; 1: safetensors; 2: torch. */
static int family(const char *name)
{
    static const char *const torch[] = { ".bin", ".pt", ".pth", ".ckpt", ".bin.index.json" };
    if (name[0] == '.' || is_shard(name) || is_state(name))
        return 0;
    if (fdit_path_has_suffix(name, ".safetensors") || fdit_path_has_suffix(name, ".safetensors.index.json"))
        return 1;
    for (size_t i = 0; i < sizeof torch / sizeof *torch; i++)
        if (fdit_path_has_suffix(name, torch[i]))
            return 2;
    return 0;
}

struct candidates {
    char *name; /* one of the best family */
    int family; /* 0: none yet */
    size_t n;
    char shown[300];
};

static enum fdit_status consider(fdit_context *ctx, struct candidates *c, const char *name)
{
    enum fdit_status status = FDIT_OK;
    int of = family(name);
    if (!of || (c->family && of > c->family))
        return FDIT_OK;
    if (of != c->family) {
        c->n = 0;
        c->shown[0] = 0;
    }
    c->family = of;
    fdit_free(c->name);
    c->name = NULL;
    TRY(fdit_strdup(ctx, name, &c->name));
    size_t used = strlen(c->shown);
    snprintf(c->shown + used, sizeof c->shown - used, "%s%.100s", c->n++ ? ", " : "", name);
out:
    return status;
}

/* The file of weights directly in a folder that has a usual name; *out stays NULL when there is
 * none. */
static enum fdit_status usual_file(fdit_context *ctx, const char *folder, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *file = NULL;
    for (size_t i = 0; i < sizeof first_names / sizeof *first_names; i++) {
        fdit_free(file);
        file = NULL;
        TRY(fdit_path_join(ctx, folder, first_names[i], &file));
        if (fdit_is_file(file)) {
            *out = file;
            return FDIT_OK;
        }
    }
out:
    fdit_free(file);
    return status;
}

/* The only one of another name. */
static enum fdit_status only_file(fdit_context *ctx, const char *folder, char **out)
{
    enum fdit_status status = FDIT_OK;
    struct candidates c = { 0 };
    char *file = NULL;
    DIR *dir = opendir(folder);
    if (!dir)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot list the folder", folder));
    for (struct dirent *entry; errno = 0, (entry = readdir(dir));) {
        fdit_free(file);
        file = NULL;
        TRY(fdit_path_join(ctx, folder, entry->d_name, &file));
        if (fdit_is_file(file))
            TRY(consider(ctx, &c, entry->d_name));
    }
    if (errno)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot list the folder", folder));
    if (c.n > 1)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: is a folder with %zu files of weights: %s; give one of them",
             folder, c.n, c.shown);
    if (c.n)
        TRY(fdit_path_join(ctx, folder, c.name, out));
out:
    if (dir)
        closedir(dir);
    fdit_free(c.name);
    fdit_free(file);
    return status;
}

enum fdit_status fdit_weights_resolve(fdit_context *ctx, const char *path, const char *part, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *below = NULL;
    *out = NULL;
    if (!fdit_is_folder(path))
        return fdit_strdup(ctx, path, out);
    TRY(usual_file(ctx, path, out));
    if (!*out && part) {
        TRY(fdit_path_join(ctx, path, part, &below));
        if (fdit_is_folder(below))
            TRY(usual_file(ctx, below, out));
        if (fdit_is_folder(below) && !*out)
            TRY(only_file(ctx, below, out));
    }
    if (!*out)
        TRY(only_file(ctx, path, out));
    if (!*out)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: is a folder without a file of weights (%s, %s, ...)%s%s%s; give the file of weights", path,
             first_names[0], first_names[4], part ? ", and so is a folder " : "", part ? part : "",
             part ? " in it, if there is one" : "");
out:
    fdit_free(below);
    return status;
}

/* ------------------------------------------------------------------ torch files in shards */

static int by_name(const void *pa, const void *pb)
{
    const struct fdit_st_tensor *const *a = pa, *const *b = pb;
    return strcmp((*a)->name, (*b)->name);
}

/* The tensors of all torch files in one list. */
static enum fdit_status join(fdit_context *ctx, struct fdit_weights *w)
{
    enum fdit_status status = FDIT_OK;
    size_t at = 0;
    for (size_t i = 0; i < w->n_pts; i++)
        w->n += fdit_pt_count(w->pts[i]);
    TRY(fdit_alloc(ctx, w->n, sizeof *w->tensors, &w->tensors));
    TRY(fdit_alloc(ctx, w->n, sizeof *w->by_name, &w->by_name));
    for (size_t i = 0; i < w->n_pts; i++)
        for (size_t k = 0; k < fdit_pt_count(w->pts[i]); k++, at++) {
            w->tensors[at] = *fdit_pt_at(w->pts[i], k);
            w->tensors[at].file = (int)i;
            w->by_name[at] = &w->tensors[at];
        }
    qsort(w->by_name, w->n, sizeof *w->by_name, by_name);
    for (size_t i = 1; i < w->n; i++)
        if (!strcmp(w->by_name[i - 1]->name, w->by_name[i]->name))
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s is in two of its files; get them again", w->path,
                 w->by_name[i]->name);
out:
    return status;
}

static enum fdit_status open_torch_shards(fdit_context *ctx, struct fdit_weights *w, const char *folder,
                                          json_t *map, const char **names, size_t n)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    const char *key;
    json_t *value;
    TRY(fdit_alloc(ctx, n, sizeof *w->pts, &w->pts));
    for (; w->n_pts < n; w->n_pts++) {
        fdit_free(path);
        path = NULL;
        TRY(fdit_path_join(ctx, folder, names[w->n_pts], &path));
        TRY(fdit_pt_open(ctx, path, &w->pts[w->n_pts]));
    }
    TRY(join(ctx, w));
    json_object_foreach(map, key, value)
    {
        const struct fdit_st_tensor *t = fdit_weights_find(w, key);
        if (!t || strcmp(names[t->file], json_string_value(value)))
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: tensor %.200s is not in %.200s; index and files do not belong together, get them again",
                 w->path, key, json_string_value(value));
    }
out:
    fdit_free(path);
    return status;
}

/* By the content of the first shard. */
static enum fdit_status open_index(fdit_context *ctx, struct fdit_weights *w)
{
    enum fdit_status status = FDIT_OK;
    json_t *index = NULL;
    const char **names = NULL;
    char *folder = NULL, *path = NULL;
    enum fdit_kind kind;
    size_t n = 0;
    TRY(fdit_json_read(ctx, w->path, MOST_INDEX, 8, &index));
    json_t *map = json_object_get(index, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: is JSON without a weight_map, so not an index of files of weights; give the file of "
             "weights itself",
             w->path);
    TRY(fdit_json_shard_names(ctx, w->path, map, &names, &n));
    TRY(fdit_path_folder(ctx, w->path, &folder));
    TRY(fdit_path_join(ctx, folder, names[0], &path));
    TRY(fdit_kind_of_file(ctx, path, &kind));
    if (kind == FDIT_KIND_TORCH || kind == FDIT_KIND_TORCH_LEGACY || kind == FDIT_KIND_PICKLE ||
        kind == FDIT_KIND_ZIP)
        TRY(open_torch_shards(ctx, w, folder, map, names, n));
    else
        TRY(fdit_safetensors_open(ctx, w->path, &w->st));
out:
    fdit_free(path);
    fdit_free(folder);
    fdit_free(names);
    json_decref(index);
    return status;
}

/* ------------------------------------------------------------------ opening */

static enum fdit_status open_torch(fdit_context *ctx, struct fdit_weights *w)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_alloc(ctx, 1, sizeof *w->pts, &w->pts));
    w->n_pts = 1;
    TRY(fdit_pt_open(ctx, w->path, &w->pts[0]));
out:
    return status;
}

/* A file whose first bytes decide nothing is called damaged by the reader that its name suggests. */
static enum fdit_status open_by_name(fdit_context *ctx, struct fdit_weights *w)
{
    return family(fdit_path_base(w->path)) == 2 ? open_torch(ctx, w)
                                                : fdit_safetensors_open(ctx, w->path, &w->st);
}

static enum fdit_status open_file(fdit_context *ctx, struct fdit_weights *w)
{
    enum fdit_kind kind;
    enum fdit_status status = fdit_kind_of_file(ctx, w->path, &kind);
    if (status != FDIT_OK)
        return status;
    switch (kind) {
    case FDIT_KIND_SAFETENSORS: return fdit_safetensors_open(ctx, w->path, &w->st);
    case FDIT_KIND_TORCH:
    case FDIT_KIND_TORCH_LEGACY:
    case FDIT_KIND_PICKLE:
    case FDIT_KIND_ZIP: return open_torch(ctx, w);
    case FDIT_KIND_JSON: return open_index(ctx, w);
    case FDIT_KIND_UNKNOWN:
    case FDIT_KIND_TEXT_OTHER: return open_by_name(ctx, w);
    default:
        return fdit_kind_refuse(ctx, w->path, kind, "a file of weights (safetensors or torch)",
                                fdit_kind_group(kind) == FDIT_KIND_IS_ARCHIVE
                                    ? "a data set is given with --data"
                                    : "give a checkpoint");
    }
}

/* Whether there are weights, in the form that anything of ours reads. */
static bool holds_weights(const char *path)
{
    static const char *const parts[] = { "transformer", "vae" };
    struct fdit_weights *w = NULL;
    bool found = false;
    for (size_t i = 0; i < 2 && !found; i++) {
        found = fdit_weights_open(NULL, path, parts[i], &w) == FDIT_OK && fdit_weights_count(w);
        fdit_weights_close(w);
        w = NULL;
    }
    return found;
}

enum fdit_status fdit_weights_explain(fdit_context *ctx, enum fdit_status failed, const char *what,
                                      const char *path, const char *data_what, const char *data)
{
    if (failed != FDIT_ERROR_FORMAT || !data || holds_weights(path) || !holds_weights(data))
        return failed;
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "%s %s and %s %s seem to be swapped: the first has "
                     "no weights and the second is weights, not pictures",
                     what, path, data_what, data);
}

enum fdit_status fdit_weights_open(fdit_context *ctx, const char *path, const char *part,
                                   struct fdit_weights **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_weights *w = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *w, &w));
    TRY(fdit_weights_resolve(ctx, path, part, &w->path));
    TRY(open_file(ctx, w));
    *out = w;
    w = NULL;
out:
    fdit_weights_close(w);
    return status;
}

void fdit_weights_close(struct fdit_weights *w)
{
    if (!w)
        return;
    fdit_safetensors_close(w->st);
    for (size_t i = 0; i < w->n_pts; i++)
        fdit_pt_close(w->pts[i]);
    fdit_free(w->pts);
    fdit_free(w->tensors);
    fdit_free(w->by_name);
    fdit_free(w->path);
    fdit_free(w);
}

/* ------------------------------------------------------------------ looking up */

const char *fdit_weights_path(const struct fdit_weights *w)
{
    return w->path;
}

bool fdit_weights_torch(const struct fdit_weights *w)
{
    return !w->st;
}

size_t fdit_weights_count(const struct fdit_weights *w)
{
    return w->st                          ? fdit_safetensors_count(w->st)
           : w->n_pts == 1 && !w->tensors ? fdit_pt_count(w->pts[0])
                                          : w->n;
}

const struct fdit_st_tensor *fdit_weights_at(const struct fdit_weights *w, size_t i)
{
    return w->st ? fdit_safetensors_at(w->st, i) : w->tensors ? &w->tensors[i] : fdit_pt_at(w->pts[0], i);
}

const struct fdit_st_tensor *fdit_weights_find(const struct fdit_weights *w, const char *name)
{
    const struct fdit_st_tensor key = { .name = name }, *at = &key;
    if (w->st)
        return fdit_safetensors_find(w->st, name);
    if (!w->tensors)
        return fdit_pt_find(w->pts[0], name);
    const struct fdit_st_tensor *const *found = bsearch(&at, w->by_name, w->n, sizeof *w->by_name, by_name);
    return found ? *found : NULL;
}

const char *fdit_weights_meta(const struct fdit_weights *w, const char *key)
{
    return w->st ? fdit_safetensors_meta(w->st, key) : NULL;
}

bool fdit_weights_text(const struct fdit_weights *w, const char *name, char *out, size_t size)
{
    return w->n_pts == 1 && fdit_pt_text(w->pts[0], name, out, size);
}

bool fdit_weights_unknown(const struct fdit_weights *w, char *out, size_t size)
{
    for (size_t i = 0; i < w->n_pts; i++)
        if (fdit_pt_unknown(w->pts[i], out, size))
            return true;
    return false;
}

void fdit_weights_drop(const struct fdit_weights *w, const struct fdit_st_tensor *t)
{
    if (w->st)
        fdit_safetensors_drop(w->st, t);
    else
        fdit_pt_drop(w->pts[t->file], t);
}
