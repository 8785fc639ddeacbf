/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/top_up.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum fdit_status fdit_top_up_open(fdit_context *ctx, const char *path, const struct fdit_taxonomy *taxonomy,
                                  struct fdit_top_up *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_dataset_options options = {
        .taxonomy = taxonomy, .size = 1, .channels = 3, .allow_missing = true
    };
    *out = (struct fdit_top_up){ .path = path, .taxonomy = taxonomy };
    status = fdit_dataset_open(ctx, path, &options, &out->data);
    if (status != FDIT_OK)
        TRY(fdit_fail_prefix(ctx, status, "--counts-of"));
out:
    return status;
}

void fdit_top_up_close(struct fdit_top_up *t)
{
    fdit_dataset_close(t->data);
    *t = (struct fdit_top_up){ .data = NULL };
}

enum fdit_status fdit_top_up_request(fdit_context *ctx, const struct fdit_top_up *t, const char *classes,
                                     int n, uint64_t seed, int shard, int shards, struct fdit_request *out)
{
    enum fdit_status status = FDIT_OK;
    int32_t *ids = NULL, *missing = NULL;
    size_t n_ids = 0, total = 0;
    status = fdit_taxonomy_select(ctx, t->taxonomy, classes ? classes : "all", &ids, &n_ids);
    if (status != FDIT_OK)
        TRY(fdit_fail_prefix(ctx, status, "--classes"));
    TRY(fdit_alloc(ctx, n_ids, sizeof *missing, &missing));
    for (size_t i = 0; i < n_ids; i++) {
        const size_t have = fdit_dataset_class_count(t->data, ids[i]);
        missing[i] = have < (size_t)n ? n - (int32_t)have : 0;
        total += (size_t)missing[i];
    }
    if (!total)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--top-up %d: each of the %zu classes has as many pictures in %s; nothing is missing", n, n_ids,
             t->path);
    TRY(fdit_request_counts(ctx, ids, missing, n_ids, seed, shard, shards, out));
out:
    fdit_free(ids);
    fdit_free(missing);
    return status;
}

/* ------------------------------------------------------------------ the data set of both */

/* ".png" of a name; "" where there is no ending of letters and digits. */
static void ending_of(const char *name, char out[8])
{
    const char *dot = strrchr(name, '.');
    const size_t n = dot ? strlen(dot + 1) : 0;
    out[0] = 0;
    if (n && n < 6 && strspn(dot + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == n)
        snprintf(out, 8, "%s", dot);
}

/* Picture i of the data as FOLDER/real-I.ext. */
static enum fdit_status copy_one(fdit_context *ctx, const struct fdit_top_up *t, size_t i, const char *dir,
                                 const char *name, char **file)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL, *into = NULL, *path = NULL, ending[8];
    uint8_t *bytes = NULL;
    size_t n;
    *file = NULL;
    ending_of(name, ending);
    TRY(fdit_path_encode(ctx, fdit_taxonomy_class_name(t->taxonomy, fdit_dataset_label(t->data, i)),
                         &folder));
    TRY(fdit_strf(ctx, file, "%s/real-%zu%s", folder, i, ending));
    TRY(fdit_path_join(ctx, dir, folder, &into));
    TRY(fdit_path_join(ctx, dir, *file, &path));
    if (fdit_is_file(path))
        goto out;
    TRY(fdit_mkdirs(ctx, into));
    TRY(fdit_dataset_read(ctx, t->data, i, &bytes, &n));
    TRY(fdit_file_write(ctx, path, false, bytes, n));
out:
    fdit_free(folder);
    fdit_free(into);
    fdit_free(path);
    fdit_free(bytes);
    return status;
}

/* seed NULL and source: of a real one */
static enum fdit_status put_line(fdit_context *ctx, struct fdit_writer *w, const struct fdit_taxonomy *tax,
                                 int32_t id, const uint64_t *seed, const char *source, const char *file)
{
    enum fdit_status status = FDIT_OK;
    char *line = NULL;
    struct fdit_json b;
    fdit_json_begin(&b);
    fdit_json_put_text(&b, NULL, "class", fdit_taxonomy_class_name(tax, id));
    fdit_json_put_int(&b, NULL, "id", id);
    fdit_json_put_text(&b, NULL, "origin", seed ? "drawn" : "real");
    if (seed)
        fdit_json_put_int(&b, NULL, "seed", (int64_t)*seed);
    else
        fdit_json_put_text(&b, NULL, "source", source);
    fdit_json_put_text(&b, NULL, "file", file);
    TRY(fdit_json_end(ctx, &b, "the manifest", JSON_COMPACT | JSON_ENSURE_ASCII, &line));
    TRY(fdit_writer_write(ctx, w, line, strlen(line)));
    TRY(fdit_writer_write(ctx, w, "\n", 1));
out:
    fdit_json_fini(&b);
    fdit_free(line);
    return status;
}

static enum fdit_status put_real(fdit_context *ctx, const struct fdit_top_up *t, size_t i, const char *dir,
                                 bool tar, struct fdit_writer *w)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL, *file = NULL;
    const size_t n = strlen(t->path);
    TRY(fdit_dataset_name(ctx, t->data, i, &name));
    const char *source = !strncmp(name, t->path, n) && name[n] == '/' ? name + n + 1 : name;
    if (!tar)
        TRY(copy_one(ctx, t, i, dir, source, &file));
    TRY(put_line(ctx, w, t->taxonomy, fdit_dataset_label(t->data, i), NULL, source, file));
out:
    fdit_free(name);
    fdit_free(file);
    return status;
}

enum fdit_status fdit_top_up_finish(fdit_context *ctx, const struct fdit_top_up *t,
                                    const struct fdit_album *album, const struct fdit_request *request,
                                    const char *dir, bool tar)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_writer *w = NULL;
    char *path = NULL, *file = NULL, shard[48] = "";
    const size_t n = fdit_dataset_size(t->data);
    if (request->shards > 1)
        snprintf(shard, sizeof shard, ".%d-of-%d", request->shard, request->shards);
    TRY(fdit_strf(ctx, &path, "%s/manifest-data%s.jsonl", dir, shard));
    TRY(fdit_writer_open(ctx, path, true, &w));
    for (size_t i = (size_t)request->shard; i < n; i += (size_t)request->shards) {
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED,
                 "stopped after copying %zu of %zu pictures; the same command goes on with the others", i, n);
        TRY(put_real(ctx, t, i, dir, tar, w));
    }
    for (size_t p = 0; p < request->n; p++) {
        const struct fdit_request_item item = fdit_request_at(request, p);
        fdit_free(file);
        file = NULL;
        TRY(fdit_album_file(ctx, album, p, &file));
        TRY(put_line(ctx, w, t->taxonomy, item.id, &item.seed, NULL, file));
    }
    if (!tar)
        TRY(fdit_folder_sync(ctx, dir));
    TRY(fdit_writer_commit(ctx, &w));
out:
    fdit_writer_abort(w);
    fdit_free(path);
    fdit_free(file);
    return status;
}
