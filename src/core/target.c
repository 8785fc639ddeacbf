/* SPDX-License-Identifier: Apache-2.0 */
#include "core/target.h"

#include "core/file.h"
#include "core/mem.h"

#include <dirent.h>
#include <errno.h>
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

/* Opens a folder that may not be there: then *out is NULL. */
static enum fdit_status open_folder(fdit_context *ctx, const char *folder, DIR **out)
{
    *out = opendir(folder);
    if (*out || errno == ENOENT || errno == ENOTDIR || errno == EACCES)
        return FDIT_OK;
    return fdit_fail_errno(ctx, errno == ENOMEM ? FDIT_ERROR_MEMORY : FDIT_ERROR_IO, errno,
                           "%s: cannot list the folder", folder);
}

/* Whether the file `at` is among the weights in `folder` (with `stem`: among the parts of that index). */
static enum fdit_status among(fdit_context *ctx, const char *folder, const char *stem, size_t n,
                              const struct stat *at, bool *found)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    DIR *d = NULL;
    *found = false;
    TRY(open_folder(ctx, folder, &d));
    while (d && !*found) {
        struct dirent *e;
        struct stat st;
        TRY(fdit_folder_next(ctx, d, folder, &e));
        if (!e)
            break;
        if (stem ? !is_part(e->d_name, stem, n) : !is_weights(e->d_name))
            continue;
        fdit_free(path);
        path = NULL;
        TRY(fdit_path_join(ctx, folder, e->d_name, &path));
        *found = stat(path, &st) == 0 && S_ISREG(st.st_mode) && same(&st, at);
    }
out:
    fdit_free(path);
    if (d)
        closedir(d);
    return status;
}

/* The folder that holds `path`, or will: the nearest one that is there, links resolved; NULL: none. */
static enum fdit_status nearest_folder(fdit_context *ctx, const char *path, char **real)
{
    enum fdit_status status = FDIT_OK;
    char *part = NULL;
    *real = NULL;
    TRY(fdit_strdup(ctx, path, &part));
    if (fdit_is_folder(part))
        TRY(fdit_path_real(ctx, part, real));
    for (bool end = false; !*real && !end;) {
        char *up = NULL;
        TRY(fdit_path_folder(ctx, part, &up));
        end = !strcmp(part, up);
        fdit_free(part);
        part = up;
        TRY(fdit_path_real(ctx, part, real));
    }
out:
    fdit_free(part);
    return status;
}

/* Whether `path` lies in the folder `top`, or would, or is it. */
static enum fdit_status below(fdit_context *ctx, const char *path, const struct stat *top, bool *found)
{
    enum fdit_status status = FDIT_OK;
    char *at = NULL;
    *found = false;
    TRY(nearest_folder(ctx, path, &at));
    while (at && !*found) {
        struct stat st;
        *found = stat(at, &st) == 0 && same(&st, top);
        char *slash = strrchr(at, '/');
        if (!slash || !at[1])
            break;
        slash[slash == at] = '\0';
    }
out:
    fdit_free(at);
    return status;
}

/* Whether the file `out` (NULL: there is none yet) or its place `path` belongs to the source. */
static enum fdit_status hits(fdit_context *ctx, const char *path, const struct stat *out,
                             const struct fdit_input *s, const struct stat *source, bool *found)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL;
    *found = false;
    if (S_ISDIR(source->st_mode) && s->data)
        return below(ctx, path, source, found);
    if (!out)
        return FDIT_OK;
    if (S_ISDIR(source->st_mode)) {
        if (!S_ISREG(out->st_mode))
            return FDIT_OK;
        TRY(among(ctx, s->path, NULL, 0, out, found));
        return *found || !is_weights(path) ? FDIT_OK : below(ctx, path, source, found);
    }
    *found = same(out, source);
    const char *base = fdit_path_base(s->path);
    size_t stem = stem_of(base);
    if (*found || !stem)
        return FDIT_OK;
    TRY(fdit_path_folder(ctx, s->path, &folder));
    TRY(among(ctx, folder, base, stem, out, found));
out:
    fdit_free(folder);
    return status;
}

static enum fdit_status check_one(fdit_context *ctx, const char *option, const char *path,
                                  const struct fdit_input *s, size_t n)
{
    enum fdit_status status = FDIT_OK;
    struct stat out, source;
    bool there = stat(path, &out) == 0, found;
    if (!there && !fdit_is_absence(errno))
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be looked at", path);
    if (there && !S_ISREG(out.st_mode) && !S_ISDIR(out.st_mode))
        return FDIT_OK; /* a device or a pipe holds nothing that could be lost */
    for (size_t i = 0; i < n; i++) {
        if (!s[i].path || stat(s[i].path, &source) != 0)
            continue;
        TRY(hits(ctx, path, there ? &out : NULL, &s[i], &source, &found));
        if (found)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s %s %s %s %s, which is read; choose another place", option,
                 path, there && S_ISREG(out.st_mode) ? "is a file of" : "lies in", s[i].option, s[i].path);
    }
out:
    return status;
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
    TRY(open_folder(ctx, folder, &d));
    while (d) {
        struct dirent *e;
        TRY(fdit_folder_next(ctx, d, folder, &e));
        if (!e)
            break;
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
