/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/net_file.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>

enum { MOST_NAME = 192 };

enum fdit_status fdit_net_file_open(fdit_context *ctx, const char *path, const char *what,
                                    struct fdit_net_file *out)
{
    *out = (struct fdit_net_file){ .what = what };
    return fdit_weights_open(ctx, path, NULL, &out->weights);
}

void fdit_net_file_close(struct fdit_net_file *f)
{
    fdit_weights_close(f->weights);
    f->weights = NULL;
}

const char *fdit_net_file_path(const struct fdit_net_file *f)
{
    return fdit_weights_path(f->weights);
}

/* Whether `full` ends in `name`, a slash there being as good as a dot. */
static bool ends_in(const char *full, const char *name)
{
    const size_t n = strlen(full), k = strlen(name);
    if (k > n)
        return false;
    for (size_t i = 0; i < k; i++) {
        const char c = full[n - k + i];
        if (c != name[i] && !(c == '/' && name[i] == '.'))
            return false;
    }
    return true;
}

bool fdit_net_file_find(struct fdit_net_file *f, const char *name)
{
    for (size_t i = 0; i < fdit_weights_count(f->weights); i++) {
        const char *full = fdit_weights_at(f->weights, i)->name;
        const size_t before = strlen(full) - strlen(name);
        if (!ends_in(full, name) || before >= sizeof f->prefix ||
            (before && full[before - 1] != '.' && full[before - 1] != '/'))
            continue;
        memcpy(f->prefix, full, before);
        f->prefix[before] = 0;
        return true;
    }
    return false;
}

const struct fdit_st_tensor *fdit_net_file_tensor(const struct fdit_net_file *f, const char *name)
{
    char full[MOST_NAME + sizeof f->prefix];
    snprintf(full, sizeof full, "%s%s", f->prefix, name);
    const struct fdit_st_tensor *t = fdit_weights_find(f->weights, full);
    for (char *c = full + strlen(f->prefix); !t && *c; c++)
        *c = *c == '.' ? '/' : *c;
    return t ? t : fdit_weights_find(f->weights, full);
}

enum fdit_status fdit_net_file_need(fdit_context *ctx, const struct fdit_net_file *f, const char *name,
                                    const char *end, int rank, const int64_t *shape,
                                    const struct fdit_st_tensor **out)
{
    enum fdit_status status = FDIT_OK;
    char full[MOST_NAME];
    snprintf(full, sizeof full, "%s%s", name, end);
    *out = fdit_net_file_tensor(f, full);
    if (!*out)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the tensor %s%s of %s is missing", fdit_net_file_path(f), f->prefix,
             full, f->what);
    TRY(fdit_st_check_shape(ctx, fdit_net_file_path(f), *out, rank, shape));
out:
    return status;
}

enum fdit_status fdit_net_file_read(fdit_context *ctx, const struct fdit_net_file *f, const char *name,
                                    const char *end, size_t n, float *to)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_st_tensor *t;
    TRY(fdit_net_file_need(ctx, f, name, end, -1, NULL, &t));
    if (t->n != n)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: %s has %zu numbers, and %s has %zu there", fdit_net_file_path(f),
             t->name, t->n, f->what, n);
    TRY(fdit_st_weights(ctx, fdit_net_file_path(f), t, 0, n, to));
    fdit_weights_drop(f->weights, t);
out:
    return status;
}
