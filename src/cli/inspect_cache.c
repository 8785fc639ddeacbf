/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/inspect_cache.h"

#include "core/mem.h"
#include "format/cache.h"

#include <stdio.h>
#include <string.h>

static enum fdit_status check_all(struct fdit_cli *cli, const struct fdit_cache *c, const char *path)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cache_info *info = fdit_cache_info_of(c);
    fdit_cli_progress_begin(cli, "inspect", "picture", 0, info->n);
    for (size_t i = 0; i < info->n; i++) {
        const uint8_t *data;
        for (int half = 0; half < fdit_cache_halves(info); half++)
            TRY(fdit_cache_item(cli->ctx, c, i, half, &data));
        fdit_cli_progress_update(cli, i + 1, NULL);
        if (fdit_stopped(cli->ctx))
            FAIL(cli->ctx, FDIT_INTERRUPTED, "%s: stopped after %zu of %zu pictures", path, i + 1, info->n);
    }
    fdit_cli_progress_end(cli);
out:
    fdit_cli_progress_drop(cli);
    return status;
}

enum fdit_status fdit_inspect_cache(struct fdit_cli *cli, const char *path, struct fdit_json *out,
                                    struct fdit_taxonomy **tax)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_cache *c = NULL;
    char type[120];
    size_t *counts = NULL, least = SIZE_MAX, most = 0;
    *tax = NULL;
    TRY(fdit_cache_open(cli->ctx, path, &c));
    const struct fdit_cache_info *info = fdit_cache_info_of(c);
    TRY(fdit_taxonomy_parse(cli->ctx, info->taxonomy, strlen(info->taxonomy), path, NULL, tax));
    int32_t classes = fdit_taxonomy_n_classes(*tax);
    TRY(fdit_alloc(cli->ctx, (size_t)classes, sizeof *counts, &counts));
    for (size_t i = 0; i < info->n; i++) {
        int32_t label = fdit_cache_label(c, i);
        if (label >= classes)
            FAIL(cli->ctx, FDIT_ERROR_FORMAT,
                 "%s: picture %zu has label %d, there are %d classes; encode the data again", path, i,
                 (int)label, (int)classes);
        counts[label]++;
    }
    for (int32_t i = 0; i < classes; i++) {
        least = counts[i] < least ? counts[i] : least;
        most = counts[i] > most ? counts[i] : most;
    }
    bool moments = info->kind == FDIT_CACHE_MOMENTS;
    fdit_json_put_text(out, NULL, "kind", "cache");
    fdit_json_put_text(out, NULL, "form", moments ? "moments" : "pixels");
    fdit_json_put_int(out, NULL, "pictures", (int64_t)info->n);
    fdit_json_put_int(out, NULL, "channels", info->channels);
    fdit_json_put_int(out, NULL, "size", info->size);
    fdit_json_put_int(out, NULL, "picture_size", info->picture_size);
    fdit_json_put_text(out, NULL, "flip", info->flip ? "horizontal" : "none");
    fdit_json_put_text(out, NULL, "fit", info->fit);
    fdit_json_put_text(out, NULL, "orient", info->orient);
    fdit_json_put_text(out, NULL, "matte", info->matte);
    if (moments) {
        fdit_json_put_real(out, NULL, "scale", info->scale);
        fdit_json_put_text(out, NULL, "vae", info->vae);
    }
    snprintf(type, sizeof type, "%s of %d x %d x %d, of pictures of %d x %d", moments ? "moments" : "pixels",
             info->channels, info->size, info->size, info->picture_size, info->picture_size);
    fdit_json_put_text(out, NULL, "type", type);
    fdit_json_put_int(out, NULL, "shards", (int64_t)fdit_cache_shards(c));
    fdit_json_put_int(out, NULL, "bytes", (int64_t)fdit_cache_bytes(c));
    fdit_json_put_int(out, NULL, "least_per_class", (int64_t)least);
    fdit_json_put_int(out, NULL, "most_per_class", (int64_t)most);
    TRY(check_all(cli, c, path));
    fdit_json_put_text(out, NULL, "checksums", "right");
out:
    fdit_cache_close(c);
    fdit_free(counts);
    return status;
}
