/* SPDX-License-Identifier: Apache-2.0 */
#include "train/snapshot.h"

#include "core/file.h"
#include "core/mem.h"
#include "model/ema_length.h"

#include <sys/stat.h>

static enum fdit_status save_profile(fdit_context *ctx, struct fdit_model *m, struct fdit_delta_meta meta,
                                     int i, const char *run)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *average = NULL;
    TRY(fdit_ema_snapshot_path(ctx, run, meta.steps, i, &path));
    TRY(fdit_ema_snapshot_text(ctx, meta.steps, fdit_ema_widths[i], &average));
    meta.average = average;
    TRY(fdit_delta_save(ctx, m, (enum fdit_values)(FDIT_VALUES_PROFILE + i), FDIT_ST_F32, &meta, path));
out:
    fdit_free(path);
    fdit_free(average);
    return status;
}

enum fdit_status fdit_snapshot_save(fdit_context *ctx, struct fdit_model *m,
                                    const struct fdit_delta_meta *meta, int64_t step, const char *run)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_delta_meta mine = *meta;
    char *folder = NULL, *path = NULL;
    mine.steps = step;
    TRY(fdit_path_join(ctx, run, FDIT_SNAPSHOTS, &folder));
    TRY(fdit_mkdirs(ctx, folder));
    TRY(fdit_folder_clean(ctx, folder, NULL));
    for (int i = 0; i < FDIT_EMA_PROFILES && m->options.profiles; i++)
        TRY(save_profile(ctx, m, mine, i, run));
    TRY(fdit_ema_snapshot_path(ctx, run, step, -1, &path));
    TRY(fdit_delta_save(ctx, m, FDIT_VALUES_EMA, FDIT_ST_F32, &mine, path));
out:
    fdit_free(folder);
    fdit_free(path);
    return status;
}

struct counting {
    const char *folder;
    struct fdit_snapshots *out;
};

static enum fdit_status count(fdit_context *ctx, void *user, const char *name, int64_t step, int profile)
{
    enum fdit_status status = FDIT_OK;
    const struct counting *c = user;
    struct fdit_snapshots *out = c->out;
    char *path = NULL;
    struct stat st;
    TRY(fdit_path_join(ctx, c->folder, name, &path));
    if (stat(path, &st) == 0)
        out->bytes += (uint64_t)st.st_size;
    if (profile >= 0)
        goto out;
    out->first = !out->n || step < out->first ? step : out->first;
    out->last = step > out->last ? step : out->last;
    out->n++;
out:
    fdit_free(path);
    return status;
}

enum fdit_status fdit_snapshot_count(fdit_context *ctx, const char *run, struct fdit_snapshots *out)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL;
    bool there;
    *out = (struct fdit_snapshots){ 0 };
    TRY(fdit_path_join(ctx, run, FDIT_SNAPSHOTS, &folder));
    TRY(fdit_ema_snapshot_each(ctx, folder, count, &(struct counting){ folder, out }, &there));
out:
    fdit_free(folder);
    return status;
}
