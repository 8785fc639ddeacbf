/* SPDX-License-Identifier: Apache-2.0
 * What a folder holds already: whether it is one of ours, and which pictures are whole. */
#include "sample/album_state.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"
#include "picture/png_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t most_picture = (size_t)1 << 30, most_run = (size_t)1 << 20;

/* ------------------------------------------------------------------ whose folder it is */

static enum fdit_status read_run(fdit_context *ctx, const struct fdit_album *a, char **path, char **text,
                                 size_t *n)
{
    enum fdit_status status = FDIT_OK;
    bool there;
    *text = NULL;
    TRY(fdit_path_join(ctx, a->dir, "run.json", path));
    TRY(fdit_file_regular(ctx, *path, &there));
    if (there)
        TRY(fdit_file_read_all(ctx, *path, most_run, (uint8_t **)text, n));
out:
    return status;
}

/* A folder without run.json must have nothing in it but what is hidden: anything else is
 * somebody's. */
static enum fdit_status check_strange(fdit_context *ctx, const struct fdit_album *a)
{
    enum fdit_status status = FDIT_OK;
    DIR *d = opendir(a->dir);
    if (!d && errno == ENOENT)
        return FDIT_OK;
    if (!d)
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot list the folder", a->dir);
    for (struct dirent *e;;) {
        TRY(fdit_folder_next(ctx, d, a->dir, &e));
        if (!e)
            break;
        if (e->d_name[0] != '.' && strcmp(e->d_name, "lost+found") != 0)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "--out %s is not empty (%s), and no run.json says "
                 "that a sample job made it; choose another folder",
                 a->dir, e->d_name);
    }
out:
    closedir(d);
    return status;
}

/* Sets replace and older; refuses what may not be written to. */
static enum fdit_status check_run(fdit_context *ctx, struct fdit_album *a, const struct fdit_identity *id)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *text = NULL;
    size_t n;
    bool ours;
    a->replace = a->older = false;
    TRY(read_run(ctx, a, &path, &text, &n));
    if (!text) {
        TRY(check_strange(ctx, a));
        goto out;
    }
    status = fdit_identity_compare(ctx, id, path, text, n, &a->older, &ours);
    a->replace = status != FDIT_OK;
    if (status == FDIT_ERROR_FORMAT && ours && a->overwrite)
        status = FDIT_OK;
out:
    fdit_free(path);
    fdit_free(text);
    return status;
}

/* ------------------------------------------------------------------ the lock */

static enum fdit_status busy(fdit_context *ctx, const struct fdit_album *a)
{
    char shard[48];
    fdit_album_shard_text(a, shard);
    return fdit_fail(ctx, FDIT_ERROR_IO,
                     "--out %s: another process is sampling %s; wait for its end, or choose "
                     "another folder",
                     a->dir, *shard ? "this shard there" : "there");
}

/* One process a shard: a locked file of its name, which goes with the job. */
static enum fdit_status claim_shard(fdit_context *ctx, struct fdit_album *a)
{
    enum fdit_status status = FDIT_OK;
    char shard[48], *name = NULL, *path = NULL;
    bool taken;
    fdit_album_shard_text(a, shard);
    TRY(fdit_strf(ctx, &name, ".sample%s.lock", shard));
    TRY(fdit_path_join(ctx, a->dir, name, &path));
    TRY(fdit_file_lock(ctx, path, &a->claim, &taken));
    if (taken)
        TRY(busy(ctx, a));
out:
    fdit_free(name);
    fdit_free(path);
    return status;
}

static enum fdit_status take_folder(fdit_context *ctx, struct fdit_album *a)
{
    enum fdit_status status = FDIT_OK;
    bool parts = a->request->shards > 1;
    status = fdit_folder_lock(ctx, a->dir, parts ? FDIT_FOLDER_TOGETHER : FDIT_FOLDER_ALONE, &a->lock);
    if (status != FDIT_OK)
        return fdit_fail_prefix(ctx, status, "--out");
    if (parts)
        TRY(claim_shard(ctx, a));
out:
    return status;
}

/* ------------------------------------------------------------------ pictures */

/* Counts of what is there but not to be kept, for one warning. */
struct odd {
    size_t broken, others;
    char *first;
};

/* Whether the n bytes are picture p of this job. */
static enum fdit_status is_kept(fdit_context *ctx, const struct fdit_album *a, const struct fdit_identity *id,
                                size_t p, const uint8_t *bytes, size_t n, const char *name, struct odd *odd,
                                bool *kept)
{
    struct fdit_request_item item = fdit_request_at(a->request, p);
    struct fdit_png_scan scan;
    bool whole = fdit_png_scan(bytes, n, FDIT_CAPTION_KEY, &scan) && scan.width == (uint32_t)a->size &&
                 scan.height == (uint32_t)a->size;
    /* without a text: only programs that wrote none, and they wrote another run.json */
    bool ours =
        whole && (scan.text ? fdit_caption_is(scan.text, scan.text_n, id->picture,
                                              fdit_taxonomy_class_name(a->taxonomy, item.id), item.seed)
                            : a->older);
    *kept = ours;
    if (ours)
        return FDIT_OK;
    odd->broken += !whole;
    odd->others += whole;
    return odd->first ? FDIT_OK : fdit_strdup(ctx, name, &odd->first);
}

static enum fdit_status look_at_file(fdit_context *ctx, struct fdit_album *a, const struct fdit_identity *id,
                                     size_t p, struct odd *odd)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    uint8_t *bytes = NULL;
    size_t n;
    bool there;
    TRY(fdit_album_path(ctx, a, p, &path));
    TRY(fdit_file_regular(ctx, path, &there));
    if (!there)
        goto out;
    TRY(fdit_file_read_all(ctx, path, most_picture, &bytes, &n));
    TRY(is_kept(ctx, a, id, p, bytes, n, path, odd, &a->have[p]));
out:
    fdit_free(bytes);
    fdit_free(path);
    return status;
}

/* Whether the archive holds picture p and its class. */
static enum fdit_status look_into(fdit_context *ctx, const struct fdit_album *a,
                                  const struct fdit_identity *id, const struct fdit_tar *tar, size_t p,
                                  struct odd *odd, bool *kept)
{
    enum fdit_status status = FDIT_OK;
    char *png = NULL, *cls = NULL, number[16];
    size_t i, j;
    *kept = false;
    snprintf(number, sizeof number, "%" PRId32, fdit_request_at(a->request, p).id);
    TRY(fdit_album_member(ctx, a, p, ".png", &png));
    TRY(fdit_album_member(ctx, a, p, ".cls", &cls));
    if (!fdit_tar_find(tar, png, &i))
        goto out;
    if (!fdit_tar_find(tar, cls, &j) || fdit_tar_at(tar, j)->size != strlen(number) ||
        memcmp(fdit_tar_data(tar, j), number, strlen(number)) != 0) {
        odd->broken++;
        if (!odd->first)
            TRY(fdit_strdup(ctx, png, &odd->first));
        goto out;
    }
    TRY(is_kept(ctx, a, id, p, fdit_tar_data(tar, i), (size_t)fdit_tar_at(tar, i)->size, png, odd, kept));
out:
    fdit_free(png);
    fdit_free(cls);
    return status;
}

/* Pictures first..end-1 lie in one archive; those before the first that is not there are kept, and the
 * archive goes on behind them: a job that was stopped left it so. */
static enum fdit_status look_at_archive(fdit_context *ctx, struct fdit_album *a,
                                        const struct fdit_identity *id, size_t first, size_t end,
                                        struct odd *odd)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_tar *tar = NULL;
    char *path = NULL;
    bool there, kept = true;
    TRY(fdit_album_path(ctx, a, first, &path));
    TRY(fdit_file_regular(ctx, path, &there));
    if (!there)
        goto out;
    status = fdit_tar_open(ctx, path, 0, &tar);
    if (status != FDIT_OK && status != FDIT_ERROR_MEMORY) {
        odd->broken += end - first;
        status = odd->first ? FDIT_OK : fdit_strdup(ctx, path, &odd->first);
        goto out;
    }
    TRY(status);
    for (size_t p = first; kept && p < end; p++) {
        TRY(look_into(ctx, a, id, tar, p, odd, &kept));
        a->have[p] = kept;
    }
out:
    fdit_tar_close(tar);
    fdit_free(path);
    return status;
}

static enum fdit_status look(fdit_context *ctx, struct fdit_album *a, const struct fdit_identity *id)
{
    enum fdit_status status = FDIT_OK;
    struct odd odd = { 0 };
    size_t n = a->request->n, step = a->tar ? FDIT_ALBUM_TAR : 1;
    for (size_t p = 0; a->pictures && p < n; p += step) {
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "stopped while looking at the pictures in %s; nothing was changed",
                 a->dir);
        if (a->tar)
            TRY(look_at_archive(ctx, a, id, p, n - p < step ? n : p + step, &odd));
        else
            TRY(look_at_file(ctx, a, id, p, &odd));
    }
    for (size_t p = 0; p < n; p++)
        a->kept += a->have[p];
    if (odd.broken)
        fdit_log(ctx, FDIT_LOG_WARNING, "%s: %zu picture%s not whole and drawn again, the first: %s", a->dir,
                 odd.broken, odd.broken == 1 ? " is" : "s are", odd.first);
    else if (odd.others)
        fdit_log(ctx, FDIT_LOG_WARNING, "%s: %zu picture%s of another job and drawn again, the first: %s",
                 a->dir, odd.others, odd.others == 1 ? " is" : "s are", odd.first);
out:
    fdit_free(odd.first);
    return status;
}

enum fdit_status fdit_album_check(fdit_context *ctx, struct fdit_album *a, const struct fdit_identity *id,
                                  bool overwrite)
{
    enum fdit_status status = FDIT_OK;
    a->overwrite = overwrite;
    if (fdit_file_exists(a->dir)) /* without its lock: what is refused anyway is not touched */
        TRY(check_run(ctx, a, id));
    TRY(take_folder(ctx, a));
    TRY(check_run(ctx, a, id)); /* now nobody changes it */
    if (!overwrite)
        TRY(look(ctx, a, id));
out:
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

/* ------------------------------------------------------------------ the beginning */

/* The former job's files go while its run.json still says whose they are: after a kill the same
 * command goes on. */
static enum fdit_status replace_former(fdit_context *ctx, struct fdit_album *a)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *text = NULL;
    json_t *root = NULL;
    size_t n;
    /* the other shards have nothing here yet: they would have been refused */
    if (a->request->shards > 1 && a->lock.fd >= 0 && flock(a->lock.fd, LOCK_EX | LOCK_NB) != 0 &&
        errno == EWOULDBLOCK)
        TRY(busy(ctx, a));
    TRY(read_run(ctx, a, &path, &text, &n));
    if (!text)
        goto out;
    TRY(fdit_json_parse(ctx, path, text, n, 16, &root));
    const char *run = json_string_value(json_object_get(root, "pictures"));
    TRY(fdit_album_sweep(ctx, a->dir, run ? run : "",
                         json_is_true(json_object_get(json_object_get(root, "options"), "tar"))));
out:
    json_decref(root);
    fdit_free(path);
    fdit_free(text);
    return status;
}

enum fdit_status fdit_album_begin(fdit_context *ctx, struct fdit_album *a, const struct fdit_identity *id,
                                  const struct fdit_caption *caption)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *text = NULL;
    size_t n;
    bool ours;
    TRY(fdit_folder_clean(ctx, a->dir, NULL));
    TRY(read_run(ctx, a, &path, &text, &n));
    if (text && a->replace && /* another shard may have been here since the check */
        fdit_identity_compare(ctx, id, path, text, n, &a->older, &ours) == FDIT_OK)
        a->replace = false;
    if (a->replace)
        TRY(replace_former(ctx, a));
    if (!text || a->replace) {
        TRY(fdit_file_write(ctx, path, true, id->text, strlen(id->text)));
        a->older = false;
    }
    a->caption = caption;
    if (a->request->shards > 1 && a->lock.fd >= 0)
        flock(a->lock.fd, LOCK_SH | LOCK_NB);
out:
    fdit_free(path);
    fdit_free(text);
    return status;
}
