/* SPDX-License-Identifier: Apache-2.0 */
#include "core/target.h"

#include "core/file.h"
#include "core/mem.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char index_end[] = ".safetensors.index.json";

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* A model in parts has files X-NUMBER-of-NUMBER.ENDING beside its index. `stem`: X, n bytes. */
static bool is_part(const char *name, const char *stem, size_t n)
{
    if (strncmp(name, stem, n) != 0 || name[n] != '-')
        return false;
    size_t first = strspn(name + n + 1, "0123456789");
    const char *of = name + n + 1 + first;
    return first && !strncmp(of, "-of-", 4) && strspn(of + 4, "0123456789") > 0;
}

/* The length of X in X.safetensors.index.json or X.bin.index.json; 0: the path is not an index. */
static size_t stem_of(const char *base)
{
    static const char *const ends[] = { index_end, ".bin.index.json", ".index.json" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (fdit_path_has_suffix(base, ends[i]))
            return strlen(base) - strlen(ends[i]);
    return 0;
}

/* What a folder of weights is read for. */
static bool is_weights(const char *name)
{
    static const char *const ends[] = { ".safetensors", ".json", ".bin", ".pt", ".pth", ".ckpt" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (fdit_path_has_suffix(name, ends[i]))
            return true;
    return false;
}

/* Whether the file `at` is among the weights in `folder` (with `stem`: among the parts of that index). */
static bool among(const char *folder, const char *stem, size_t n, const struct stat *at)
{
    bool found = false;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        struct stat st;
        char *path = NULL;
        if (stem ? !is_part(e->d_name, stem, n) : !is_weights(e->d_name))
            continue;
        if (fdit_path_join(NULL, folder, e->d_name, &path) == FDIT_OK && stat(path, &st) == 0)
            found = S_ISREG(st.st_mode) && same(&st, at);
        fdit_free(path);
    }
    if (d)
        closedir(d);
    return found;
}

/* The folder that holds `path`, or will: the nearest one that is there, links resolved. Free with free. */
static char *nearest_folder(const char *path)
{
    char *part = NULL, *real = NULL, *up;
    if (fdit_strdup(NULL, path, &part) != FDIT_OK)
        return NULL;
    real = fdit_is_folder(part) ? realpath(part, NULL) : NULL;
    while (!real && fdit_path_folder(NULL, part, &up) == FDIT_OK) {
        bool end = !strcmp(part, up);
        fdit_free(part);
        part = up;
        real = realpath(part, NULL);
        if (end)
            break;
    }
    fdit_free(part);
    return real;
}

/* Whether `path` lies in the folder `top`, or would, or is it. */
static bool below(const char *path, const struct stat *top)
{
    char *at = nearest_folder(path);
    bool found = false;
    while (at && !found) {
        struct stat st;
        found = stat(at, &st) == 0 && same(&st, top);
        char *slash = strrchr(at, '/');
        if (!slash || !at[1])
            break;
        slash[slash == at] = '\0';
    }
    free(at);
    return found;
}

/* Whether the file `out` (NULL: there is none yet) or its place `path` belongs to the source. */
static bool hits(const char *path, const struct stat *out, const struct fdit_input *s,
                 const struct stat *source)
{
    char *folder = NULL;
    bool found = false;
    if (S_ISDIR(source->st_mode)) {
        if (s->data)
            return below(path, source);
        return out && S_ISREG(out->st_mode) &&
               (among(s->path, NULL, 0, out) || (is_weights(path) && below(path, source)));
    }
    if (!out)
        return false;
    if (same(out, source))
        return true;
    const char *base = fdit_path_base(s->path);
    size_t stem = stem_of(base);
    if (stem && fdit_path_folder(NULL, s->path, &folder) == FDIT_OK)
        found = among(folder, base, stem, out);
    fdit_free(folder);
    return found;
}

static enum fdit_status check_one(fdit_context *ctx, const char *option, const char *path,
                                  const struct fdit_input *s, size_t n)
{
    struct stat out, source;
    bool there = stat(path, &out) == 0;
    if (there && !S_ISREG(out.st_mode) && !S_ISDIR(out.st_mode))
        return FDIT_OK; /* a device or a pipe holds nothing that could be lost */
    for (size_t i = 0; i < n; i++)
        if (s[i].path && stat(s[i].path, &source) == 0 && hits(path, there ? &out : NULL, &s[i], &source))
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s %s %s %s %s, which is read; choose another place",
                             option, path, there && S_ISREG(out.st_mode) ? "is a file of" : "lies in",
                             s[i].option, s[i].path);
    return FDIT_OK;
}

enum fdit_status fdit_target_check(fdit_context *ctx, const char *option, const char *path,
                                   const struct fdit_input *sources, size_t n)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL, *part = NULL;
    DIR *d = NULL;
    if (!path)
        return FDIT_OK;
    TRY(check_one(ctx, option, path, sources, n));
    size_t stem = stem_of(fdit_path_base(path));
    if (!stem)
        goto out;
    TRY(fdit_path_folder(ctx, path, &folder));
    d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!is_part(e->d_name, fdit_path_base(path), stem))
            continue;
        fdit_free(part);
        part = NULL;
        TRY(fdit_path_join(ctx, folder, e->d_name, &part));
        TRY(check_one(ctx, option, part, sources, n));
    }
out:
    if (d)
        closedir(d);
    fdit_free(folder);
    fdit_free(part);
    return status;
}

enum fdit_status fdit_target_ending(fdit_context *ctx, const char *option, const char *path,
                                    const char *ending, const char *what)
{
    struct stat st;
    if (fdit_path_has_suffix(fdit_path_base(path), ending) && strlen(fdit_path_base(path)) > strlen(ending))
        return FDIT_OK;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s %s: %s is written as %s only; give a name that ends so",
                     option, path, what, ending);
}
