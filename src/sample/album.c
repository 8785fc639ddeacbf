/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/album_state.h"

#include "core/file.h"
#include "core/fnv.h"
#include "core/mem.h"
#include "format/json.h"
#include "picture/png.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A name as it stands in an archive: the key of a sample ends at the first dot of its last part. Cut at 200
 * bytes as fdit_path_encode does; names are never decoded from it. */
static enum fdit_status without_dots(fdit_context *ctx, const char *name, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL;
    size_t used = 0;
    const uint64_t hash = fdit_fnv(FDIT_FNV_START, name, strlen(name));
    TRY(fdit_alloc(ctx, 3 * strlen(name) + 32, 1, &text));
    for (const char *c = name; *c; c++)
        used += (size_t)snprintf(text + used, 4, *c == '.' ? "%%2E" : "%c", *c);
    if (used > 200) {
        for (used = 182; used && ((uint8_t)text[used] & 0xc0) == 0x80;)
            used--;
        snprintf(text + used, 19, "%%~%016" PRIx64, hash);
    }
    *out = text;
out:
    return status;
}

enum fdit_status fdit_album_new(fdit_context *ctx, const char *dir, const struct fdit_request *request,
                                const struct fdit_taxonomy *taxonomy, bool pictures, bool tar, int size,
                                struct fdit_album **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_album *a = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *a, &a));
    *a = (struct fdit_album){ .dir = dir,
                              .request = request,
                              .taxonomy = taxonomy,
                              .pictures = pictures,
                              .tar = tar,
                              .size = size,
                              .claim = FDIT_FILE_UNLOCKED,
                              .lock = FDIT_FOLDER_UNLOCKED };
    TRY(fdit_alloc(ctx, request->n_classes, sizeof *a->names, &a->names));
    for (size_t i = 0; i < request->n_classes; i++) {
        TRY(fdit_path_encode(ctx, fdit_taxonomy_class_name(taxonomy, request->ids[i]), &a->names[i]));
        if (!tar)
            continue;
        char *plain = a->names[i];
        a->names[i] = NULL;
        status = without_dots(ctx, plain, &a->names[i]);
        fdit_free(plain);
        TRY(status);
    }
    TRY(fdit_alloc(ctx, request->n, sizeof *a->have, &a->have));
    *out = a;
    return FDIT_OK;
out:
    fdit_album_free(a);
    return status;
}

void fdit_album_free(struct fdit_album *a)
{
    if (!a)
        return;
    fdit_tar_writer_abort(a->archive);
    fdit_file_unlock(&a->claim);
    fdit_folder_remove_made(&a->lock); /* empty when nothing was written */
    fdit_folder_unlock(&a->lock);
    for (size_t i = 0; a->names && i < a->request->n_classes; i++)
        fdit_free(a->names[i]);
    fdit_free(a->names);
    fdit_free(a->have);
    fdit_free(a);
}

/* ------------------------------------------------------------------ names */

enum fdit_status fdit_album_member(fdit_context *ctx, const struct fdit_album *a, size_t p, const char *end,
                                   char **out)
{
    struct fdit_request_item item = fdit_request_at(a->request, p);
    const char *name = a->names[item.place];
    return fdit_strf(ctx, out, "%s/%s-%" PRIu64 "%s", name, name, item.seed, end);
}

enum fdit_status fdit_album_file(fdit_context *ctx, const struct fdit_album *a, size_t p, char **out)
{
    return fdit_album_member(ctx, a, p, ".png", out);
}

void fdit_album_shard_text(const struct fdit_album *a, char text[48])
{
    text[0] = 0;
    if (a->request->shards > 1)
        snprintf(text, 48, ".%d-of-%d", a->request->shard, a->request->shards);
}

static enum fdit_status archive_name(fdit_context *ctx, const struct fdit_album *a, size_t number, char **out)
{
    char shard[48];
    fdit_album_shard_text(a, shard);
    return fdit_strf(ctx, out, "pictures%s-%05zu.tar", shard, number);
}

enum fdit_status fdit_album_path(fdit_context *ctx, const struct fdit_album *a, size_t p, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL;
    TRY(a->tar ? archive_name(ctx, a, p / FDIT_ALBUM_TAR, &name) : fdit_album_file(ctx, a, p, &name));
    TRY(fdit_path_join(ctx, a->dir, name, out));
out:
    fdit_free(name);
    return status;
}

/* ------------------------------------------------------------------ pictures */

static enum fdit_status make_folder(fdit_context *ctx, struct fdit_album *a, size_t place)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    struct stat st;
    if (a->made == place + 1)
        return FDIT_OK;
    TRY(fdit_path_join(ctx, a->dir, a->names[place], &path));
    if (a->overwrite && lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
        FAIL(ctx, FDIT_ERROR_IO,
             "--overwrite: %s is a link; what lies behind it is not replaced, remove the link", path);
    TRY(fdit_mkdirs(ctx, path));
    TRY(fdit_folder_clean(ctx, path, NULL));
    a->made = place + 1;
out:
    fdit_free(path);
    return status;
}

static enum fdit_status add_text(fdit_context *ctx, struct fdit_album *a, size_t p, const char *end,
                                 const char *text)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL;
    TRY(fdit_album_member(ctx, a, p, end, &name));
    TRY(fdit_tar_writer_add(ctx, a->archive, name, text, strlen(text)));
out:
    fdit_free(name);
    return status;
}

/* KEY.json: what the class is called and where it belongs, whoever takes the archive apart. */
static enum fdit_status add_json(fdit_context *ctx, struct fdit_album *a, size_t p)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_request_item item = fdit_request_at(a->request, p);
    const struct fdit_taxonomy *tax = a->taxonomy;
    char *text = NULL;
    struct fdit_json b;
    fdit_json_begin(&b);
    fdit_json_put_text(&b, NULL, "class", fdit_taxonomy_class_name(tax, item.id));
    fdit_json_put_int(&b, NULL, "id", item.id);
    fdit_json_put_int(&b, NULL, "seed", (int64_t)item.seed);
    json_t *ranks = fdit_json_put_object(&b, NULL, "ranks");
    for (int32_t r = 0; r < fdit_taxonomy_n_ranks(tax); r++)
        fdit_json_put_text(&b, ranks, fdit_taxonomy_rank_name(tax, r),
                           fdit_taxonomy_group_name(tax, r, fdit_taxonomy_group(tax, r, item.id)));
    TRY(fdit_json_end(ctx, &b, "the classes of an archive", JSON_COMPACT, &text));
    TRY(add_text(ctx, a, p, ".json", text));
out:
    fdit_json_fini(&b);
    fdit_free(text);
    return status;
}

static enum fdit_status begin_archive(fdit_context *ctx, struct fdit_album *a, size_t p)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *taxonomy = NULL;
    TRY(fdit_album_path(ctx, a, p, &path));
    TRY(fdit_taxonomy_to_json(ctx, a->taxonomy, &taxonomy));
    TRY(fdit_tar_writer_open(ctx, path, false, &a->archive));
    a->archive_at = p / FDIT_ALBUM_TAR;
    a->archive_whole = false;
    TRY(fdit_tar_writer_add(ctx, a->archive, "__taxonomy__", taxonomy, strlen(taxonomy)));
out:
    fdit_free(path);
    fdit_free(taxonomy);
    return status;
}

/* Picture p, its class and what else is said of it: all three, or the archive is not whole any more. */
static enum fdit_status add_picture(fdit_context *ctx, struct fdit_album *a, size_t p, const uint8_t *bytes,
                                    size_t n)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL;
    char id[16];
    a->archive_whole = false;
    TRY(fdit_album_file(ctx, a, p, &name));
    TRY(fdit_tar_writer_add(ctx, a->archive, name, bytes, n));
    snprintf(id, sizeof id, "%" PRId32, fdit_request_at(a->request, p).id);
    TRY(add_text(ctx, a, p, ".cls", id));
    TRY(add_json(ctx, a, p));
    a->archive_whole = true;
out:
    fdit_free(name);
    return status;
}

/* The archive of picture p up to that picture: what an interrupted job left of it is taken over. */
static enum fdit_status continue_archive(fdit_context *ctx, struct fdit_album *a, size_t p)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_tar *old = NULL;
    char *path = NULL, *name = NULL;
    size_t at;
    TRY(begin_archive(ctx, a, p));
    for (size_t q = p / FDIT_ALBUM_TAR * FDIT_ALBUM_TAR; q < p && a->have[q]; q++) {
        fdit_free(name);
        name = NULL;
        TRY(fdit_album_file(ctx, a, q, &name));
        if (!old) {
            TRY(fdit_album_path(ctx, a, q, &path));
            TRY(fdit_tar_open(ctx, path, 0, &old));
        }
        if (!fdit_tar_find(old, name, &at))
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: %s was in it a moment ago; another program writes there", path,
                 name);
        TRY(add_picture(ctx, a, q, fdit_tar_data(old, at), (size_t)fdit_tar_at(old, at)->size));
    }
out:
    fdit_tar_close(old);
    fdit_free(path);
    fdit_free(name);
    return status;
}

static enum fdit_status put_in_archive(fdit_context *ctx, struct fdit_album *a, size_t p,
                                       const uint8_t *bytes, size_t n)
{
    enum fdit_status status = FDIT_OK;
    if (a->archive && a->archive_at != p / FDIT_ALBUM_TAR)
        TRY(fdit_tar_writer_commit(ctx, &a->archive));
    if (!a->archive)
        TRY(continue_archive(ctx, a, p));
    TRY(add_picture(ctx, a, p, bytes, n));
out:
    return status;
}

enum fdit_status fdit_album_keep(fdit_context *ctx, struct fdit_album *a)
{
    if (!a->archive || !a->archive_whole)
        return FDIT_OK;
    return fdit_tar_writer_commit(ctx, &a->archive);
}

/* A link in a picture's place is replaced, not what it points to. */
static enum fdit_status put_file(fdit_context *ctx, struct fdit_album *a, size_t p, const uint8_t *bytes,
                                 size_t n)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    struct stat st;
    TRY(make_folder(ctx, a, fdit_request_at(a->request, p).place));
    TRY(fdit_album_path(ctx, a, p, &path));
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
        TRY(fdit_file_remove(ctx, path));
    TRY(fdit_file_write(ctx, path, false, bytes, n));
out:
    fdit_free(path);
    return status;
}

enum fdit_status fdit_album_put(fdit_context *ctx, struct fdit_album *a, size_t p,
                                const struct fdit_picture *picture)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_caption_texts texts = { 0 };
    struct fdit_request_item item = fdit_request_at(a->request, p);
    uint8_t *bytes = NULL;
    size_t n;
    if (a->have[p] || !a->pictures)
        return FDIT_OK;
    TRY(fdit_caption_make(ctx, a->caption, fdit_taxonomy_class_name(a->taxonomy, item.id), item.id, item.seed,
                          &texts));
    TRY(fdit_png_encode_with(ctx, picture, texts.list, FDIT_CAPTION_TEXTS, &bytes, &n));
    TRY(a->tar ? put_in_archive(ctx, a, p, bytes, n) : put_file(ctx, a, p, bytes, n));
out:
    fdit_caption_fini(&texts);
    fdit_free(bytes);
    return status;
}

enum fdit_status fdit_album_get(fdit_context *ctx, const struct fdit_album *a, size_t p,
                                struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *name = NULL;
    struct fdit_tar *archive = NULL;
    size_t at;
    TRY(fdit_album_path(ctx, a, p, &path));
    if (!a->tar) {
        TRY(fdit_picture_read(ctx, path, out));
        goto out;
    }
    TRY(fdit_album_file(ctx, a, p, &name));
    TRY(fdit_tar_open(ctx, path, 0, &archive));
    if (!fdit_tar_find(archive, name, &at))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: %s is missing in it; remove the archive and run again", path, name);
    TRY(fdit_picture_decode(ctx, fdit_tar_data(archive, at), (size_t)fdit_tar_at(archive, at)->size, name,
                            out));
out:
    fdit_tar_close(archive);
    fdit_free(path);
    fdit_free(name);
    return status;
}

/* ------------------------------------------------------------------ the manifest */

/* A JSON object as one line. */
/* Seeds and scores of what a picture was chosen from. */
static void put_candidates(struct fdit_json *b, const struct fdit_request *r, size_t p)
{
    json_t *list = json_array();
    for (int i = 0; i < r->candidates && list; i++)
        json_array_append_new(list,
                              json_pack("{s:I,s:f}", "seed", (json_int_t)fdit_request_candidate(r, p, i),
                                        "score", r->scores[p * (size_t)r->candidates + (size_t)i]));
    fdit_json_put(b, NULL, "candidates", list);
}

static enum fdit_status describe(fdit_context *ctx, const struct fdit_album *a, size_t p,
                                 const struct fdit_request_item *item, const char *file, const char *archive,
                                 char **out)
{
    struct fdit_json b;
    fdit_json_begin(&b);
    fdit_json_put_int(&b, NULL, "index", (int64_t)item->index);
    fdit_json_put_text(&b, NULL, "class", fdit_taxonomy_class_name(a->taxonomy, item->id));
    fdit_json_put_int(&b, NULL, "id", item->id);
    fdit_json_put_int(&b, NULL, "seed", (int64_t)item->seed);
    fdit_json_put_text(&b, NULL, "file", file);
    if (archive)
        fdit_json_put_text(&b, NULL, "tar", archive);
    if (a->request->scores)
        put_candidates(&b, a->request, p);
    enum fdit_status status = fdit_json_end(ctx, &b, "the manifest", JSON_COMPACT | JSON_ENSURE_ASCII, out);
    fdit_json_fini(&b);
    return status;
}

static enum fdit_status write_line(fdit_context *ctx, const struct fdit_album *a, struct fdit_writer *w,
                                   size_t p)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_request_item item = fdit_request_at(a->request, p);
    char *file = NULL, *line = NULL, *archive = NULL;
    TRY(fdit_album_file(ctx, a, p, &file));
    if (a->pictures && a->tar)
        TRY(archive_name(ctx, a, p / FDIT_ALBUM_TAR, &archive));
    TRY(describe(ctx, a, p, &item, a->pictures ? file : NULL, archive, &line));
    TRY(fdit_writer_write(ctx, w, line, strlen(line)));
    TRY(fdit_writer_write(ctx, w, "\n", 1));
out:
    fdit_free(file);
    fdit_free(line);
    fdit_free(archive);
    return status;
}

enum fdit_status fdit_album_end(fdit_context *ctx, struct fdit_album *a)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_writer *w = NULL;
    char shard[48];
    char *name = NULL, *path = NULL;
    if (a->archive)
        TRY(fdit_tar_writer_commit(ctx, &a->archive));
    if (a->pictures) /* those that were kept as well: a job that made them may not have come so far */
        TRY(fdit_folder_sync(ctx, a->dir));
    fdit_album_shard_text(a, shard);
    TRY(fdit_strf(ctx, &name, "manifest%s.jsonl", shard));
    TRY(fdit_path_join(ctx, a->dir, name, &path));
    TRY(fdit_writer_open(ctx, path, true, &w));
    for (size_t p = 0; p < a->request->n; p++)
        TRY(write_line(ctx, a, w, p));
    TRY(fdit_writer_commit(ctx, &w));
out:
    fdit_writer_abort(w);
    fdit_free(name);
    fdit_free(path);
    return status;
}
