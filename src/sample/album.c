/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/album.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"
#include "format/png.h"
#include "format/tar.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fdit_album {
    const char *dir;
    const struct fdit_request *request;
    const struct fdit_taxonomy *taxonomy;
    bool pictures, tar;
    bool replace; /* what is in the folder is of another job */
    char **names; /* [n_classes] encoded names in the order of the request */
    bool *have;   /* [n] */
    size_t kept;
    size_t made; /* place of the class whose folder was made last, + 1 */
    struct fdit_tar_writer *archive;
    size_t archive_at; /* its number */
};

enum fdit_status fdit_album_new(fdit_context *ctx, const char *dir,
                                const struct fdit_request *request,
                                const struct fdit_taxonomy *taxonomy, bool pictures, bool tar,
                                struct fdit_album **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_album *a = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *a, &a));
    *a = (struct fdit_album){
        .dir = dir, .request = request, .taxonomy = taxonomy, .pictures = pictures, .tar = tar
    };
    TRY(fdit_alloc(ctx, request->n_classes, sizeof *a->names, &a->names));
    for (size_t i = 0; i < request->n_classes; i++)
        TRY(fdit_path_encode(ctx, fdit_taxonomy_class_name(taxonomy, request->ids[i]),
                             &a->names[i]));
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
    for (size_t i = 0; a->names && i < a->request->n_classes; i++)
        fdit_free(a->names[i]);
    fdit_free(a->names);
    fdit_free(a->have);
    fdit_free(a);
}

/* ------------------------------------------------------------------ names */

static enum fdit_status member(fdit_context *ctx, const struct fdit_album *a, size_t p,
                               const char *end, char **out)
{
    struct fdit_request_item item = fdit_request_at(a->request, p);
    const char *name = a->names[item.place];
    return fdit_strf(ctx, out, "%s/%s-%" PRIu64 "%s", name, name, item.seed, end);
}

enum fdit_status fdit_album_file(fdit_context *ctx, const struct fdit_album *a, size_t p,
                                 char **out)
{
    return member(ctx, a, p, ".png", out);
}

/* ".I-of-N" in file names, "" without shards. */
static void shard_text(const struct fdit_album *a, char text[48])
{
    text[0] = 0;
    if (a->request->shards > 1)
        snprintf(text, 48, ".%d-of-%d", a->request->shard, a->request->shards);
}

static enum fdit_status archive_name(fdit_context *ctx, const struct fdit_album *a, size_t number,
                                     char **out)
{
    char shard[48];
    shard_text(a, shard);
    return fdit_strf(ctx, out, "pictures%s-%05zu.tar", shard, number);
}

/* The path of picture p, or of the archive that holds it. */
static enum fdit_status path_of(fdit_context *ctx, const struct fdit_album *a, size_t p, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL;
    TRY(a->tar ? archive_name(ctx, a, p / FDIT_ALBUM_TAR, &name)
               : fdit_album_file(ctx, a, p, &name));
    TRY(fdit_path_join(ctx, a->dir, name, out));
out:
    fdit_free(name);
    return status;
}

/* ------------------------------------------------------------------ what is there */

static enum fdit_status look(fdit_context *ctx, struct fdit_album *a)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    for (size_t p = 0; a->pictures && p < a->request->n; p++) {
        if (a->tar && p % FDIT_ALBUM_TAR) {
            a->have[p] = a->have[p - 1];
        } else {
            fdit_free(path);
            TRY(path_of(ctx, a, p, &path));
            a->have[p] = fdit_is_file(path);
        }
        a->kept += a->have[p];
    }
out:
    fdit_free(path);
    return status;
}

enum fdit_status fdit_album_check(fdit_context *ctx, struct fdit_album *a,
                                  const struct fdit_identity *id, bool overwrite)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    uint8_t *text = NULL;
    size_t n;
    TRY(fdit_path_join(ctx, a->dir, "run.json", &path));
    TRY(look(ctx, a));
    if (fdit_file_exists(path)) {
        TRY(fdit_file_read_all(ctx, path, (size_t)1 << 20, &text, &n));
        status = fdit_identity_compare(ctx, id, path, (const char *)text, n);
        a->replace = status != FDIT_OK;
        if (status == FDIT_ERROR_FORMAT && overwrite)
            status = FDIT_OK;
        TRY(status);
    } else if (a->kept) {
        a->replace = true;
        if (!overwrite)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s holds %zu of these pictures, but no run.json says how they were made; choose "
                 "another "
                 "--out, or --overwrite to replace them",
                 a->dir, a->kept);
    }
    if (overwrite) {
        memset(a->have, 0, a->request->n * sizeof *a->have);
        a->kept = 0;
    }
out:
    fdit_free(path);
    fdit_free(text);
    return status;
}

bool fdit_album_has(const struct fdit_album *a, size_t p)
{
    return a->have[p];
}

size_t fdit_album_kept(const struct fdit_album *a)
{
    return a->kept;
}

/* ------------------------------------------------------------------ the former job */

static bool starts(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

/* "NAME-DIGITS.png" in the folder NAME. */
static bool is_picture_of(const char *folder, const char *file)
{
    size_t n = strlen(folder);
    if (strncmp(file, folder, n) || file[n] != '-')
        return false;
    size_t digits = strspn(file + n + 1, "0123456789");
    return digits && !strcmp(file + n + 1 + digits, ".png");
}

/* Removes the files of a folder that a job wrote. `name`: of a class folder; NULL: the album. */
static enum fdit_status sweep(fdit_context *ctx, const char *dir, const char *name)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    bool removed = false;
    DIR *d = opendir(dir);
    if (!d)
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s cannot be listed", dir);
    for (struct dirent *e; (e = readdir(d));) {
        const char *file = e->d_name;
        fdit_free(path);
        TRY(fdit_path_join(ctx, dir, file, &path));
        bool old = name ? is_picture_of(name, file)
                        : (starts(file, "manifest.") && fdit_path_has_suffix(file, ".jsonl")) ||
                              (starts(file, "pictures") && fdit_path_has_suffix(file, ".tar"));
        if (old && fdit_is_file(path)) {
            TRY(fdit_file_remove(ctx, path));
            removed = true;
        } else if (!name && file[0] != '.' && fdit_is_folder(path)) {
            TRY(sweep(ctx, path, file));
        }
    }
    if (name && removed)
        rmdir(dir); /* stays when anything else is in it */
out:
    closedir(d);
    fdit_free(path);
    return status;
}

/* Whether run.json says by now what it should: another shard may have been here since the check. */
static bool is_ours(fdit_context *ctx, const char *path, const struct fdit_identity *id)
{
    uint8_t *text = NULL;
    size_t n;
    bool same = fdit_file_exists(path) &&
                fdit_file_read_all(ctx, path, (size_t)1 << 20, &text, &n) == FDIT_OK &&
                n == strlen(id->text) && !memcmp(text, id->text, n);
    fdit_free(text);
    return same;
}

enum fdit_status fdit_album_begin(fdit_context *ctx, struct fdit_album *a,
                                  const struct fdit_identity *id)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    TRY(fdit_mkdirs(ctx, a->dir));
    TRY(fdit_folder_clean(ctx, a->dir, NULL));
    TRY(fdit_path_join(ctx, a->dir, "run.json", &path));
    if (is_ours(ctx, path, id))
        goto out;
    if (a->replace) { /* in this order: no old picture must ever stand beside the new run.json */
        TRY(fdit_file_remove(ctx, path));
        TRY(sweep(ctx, a->dir, NULL));
    }
    TRY(fdit_file_write(ctx, path, true, id->text, strlen(id->text)));
out:
    fdit_free(path);
    return status;
}

/* ------------------------------------------------------------------ pictures */

static enum fdit_status make_folder(fdit_context *ctx, struct fdit_album *a, size_t place)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    if (a->made == place + 1)
        return FDIT_OK;
    TRY(fdit_path_join(ctx, a->dir, a->names[place], &path));
    TRY(fdit_mkdirs(ctx, path));
    TRY(fdit_folder_clean(ctx, path, NULL));
    a->made = place + 1;
out:
    fdit_free(path);
    return status;
}

static enum fdit_status put_in_archive(fdit_context *ctx, struct fdit_album *a, size_t p,
                                       const uint8_t *bytes, size_t n)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *name = NULL;
    char id[16];
    size_t number = p / FDIT_ALBUM_TAR;
    if (a->archive && a->archive_at != number)
        TRY(fdit_tar_writer_commit(ctx, &a->archive));
    if (!a->archive) {
        TRY(path_of(ctx, a, p, &path));
        TRY(fdit_tar_writer_open(ctx, path, false, &a->archive));
        a->archive_at = number;
    }
    TRY(fdit_album_file(ctx, a, p, &name));
    TRY(fdit_tar_writer_add(ctx, a->archive, name, bytes, n));
    fdit_free(name);
    name = NULL;
    TRY(member(ctx, a, p, ".cls", &name));
    snprintf(id, sizeof id, "%" PRId32, fdit_request_at(a->request, p).id);
    TRY(fdit_tar_writer_add(ctx, a->archive, name, id, strlen(id)));
out:
    fdit_free(path);
    fdit_free(name);
    return status;
}

enum fdit_status fdit_album_put(fdit_context *ctx, struct fdit_album *a, size_t p,
                                const struct fdit_picture *picture)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    uint8_t *bytes = NULL;
    size_t n;
    if (a->have[p] || !a->pictures)
        return FDIT_OK;
    if (a->tar) {
        TRY(fdit_png_encode(ctx, picture, &bytes, &n));
        TRY(put_in_archive(ctx, a, p, bytes, n));
    } else {
        TRY(make_folder(ctx, a, fdit_request_at(a->request, p).place));
        TRY(path_of(ctx, a, p, &path));
        TRY(fdit_png_write(ctx, path, picture));
    }
out:
    fdit_free(path);
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
    TRY(path_of(ctx, a, p, &path));
    if (!a->tar) {
        TRY(fdit_picture_read(ctx, path, out));
        goto out;
    }
    TRY(fdit_album_file(ctx, a, p, &name));
    TRY(fdit_tar_open(ctx, path, 0, &archive));
    if (!fdit_tar_find(archive, name, &at))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: %s is missing in it; remove the archive and run again",
             path, name);
    TRY(fdit_picture_decode(ctx, fdit_tar_data(archive, at), (size_t)fdit_tar_at(archive, at)->size,
                            name, out));
out:
    fdit_tar_close(archive);
    fdit_free(path);
    fdit_free(name);
    return status;
}

/* ------------------------------------------------------------------ the manifest */

/* A JSON object as one line. */
static enum fdit_status describe(fdit_context *ctx, const struct fdit_album *a,
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
    enum fdit_status status =
        fdit_json_end(ctx, &b, "the manifest", JSON_COMPACT | JSON_ENSURE_ASCII, out);
    fdit_json_fini(&b);
    return status;
}

static enum fdit_status write_line(fdit_context *ctx, const struct fdit_album *a,
                                   struct fdit_writer *w, size_t p)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_request_item item = fdit_request_at(a->request, p);
    char *file = NULL, *line = NULL, *archive = NULL;
    TRY(fdit_album_file(ctx, a, p, &file));
    if (a->pictures && a->tar)
        TRY(archive_name(ctx, a, p / FDIT_ALBUM_TAR, &archive));
    TRY(describe(ctx, a, &item, a->pictures ? file : NULL, archive, &line));
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
    shard_text(a, shard);
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
