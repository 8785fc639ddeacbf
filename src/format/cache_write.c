/* SPDX-License-Identifier: Apache-2.0
 * cache_write.c: making caches, so that a kill at any moment costs one record. */
#include "format/cache_layout.h"

#include "core/file.h"
#include "core/folder_lock.h"
#include "core/fnv.h"
#include "core/mem.h"
#include "core/phase.h"
#include "format/json.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DEFAULT_SHARD = 4096 };

struct fdit_cache_writer {
    struct fdit_cache_job job;
    struct fdit_cache_layout layout;
    char *dir, *identity;
    struct fdit_file_lock lock;
    struct fdit_folder_lock folder;
    size_t next;                 /* the first picture of the part that is to be put */
    uint8_t *bad;                /* [n] 1: the picture is broken */
    uint8_t *there;              /* [n] 1: its record is good */
    uint32_t *crcs;              /* [n] of the records that are there */
    size_t *have;                /* [shards] records in the file, good or not */
    uint8_t *record;             /* one with its trailers */
    struct fdit_appender *shard; /* number `open`; records behind the last one are appended */
    size_t open;
    int patch; /* the same shard, for records within it that are replaced; -1: none */
};

static struct fdit_cache_layout layout_of(const struct fdit_cache_job *job)
{
    struct fdit_cache_layout l = { .item_bytes = fdit_cache_item_bytes(&job->info),
                                   .halves = fdit_cache_halves(&job->info),
                                   .total = job->info.n,
                                   .per_shard = job->shard_pictures ? job->shard_pictures : DEFAULT_SHARD };
    l.record_bytes = (size_t)l.halves * (l.item_bytes + FDIT_CACHE_TRAILER);
    l.shards = (l.total + l.per_shard - 1) / l.per_shard;
    return l;
}

uint64_t fdit_cache_job_bytes(const struct fdit_cache_job *job)
{
    struct fdit_cache_layout l = layout_of(job);
    return (uint64_t)l.total * l.record_bytes + l.shards * FDIT_CACHE_HEADER;
}

/* ------------------------------------------------------------------ beginning */

/* Files of a cache, and what a killed writer of whole files leaves. */
static bool is_ours(const char *name)
{
    size_t n = strlen(name);
    return name[0] == '.' || !strcmp(name, "encode.json") || !strcmp(name, "cache.fdc") ||
           !strcmp(name, "encode.lock") || !strcmp(name, "sources.fdc") ||
           (!strncmp(name, "shard-", 6) && n > 10 && !strcmp(name + n - 4, ".fdc"));
}

static enum fdit_status check_folder(fdit_context *ctx, const char *dir)
{
    enum fdit_status status = FDIT_OK;
    DIR *d = opendir(dir);
    if (!d)
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s", dir);
    for (struct dirent *e; errno = 0, (e = readdir(d));)
        if (!is_ours(e->d_name))
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s is not empty (%s) and not a cache; choose another folder", dir,
                 e->d_name);
    if (errno)
        status = fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot list the folder", dir);
out:
    closedir(d);
    return status;
}

static bool is_part(const struct fdit_cache_writer *w)
{
    return w->job.parts > 1;
}

static enum fdit_status wait_a_little(fdit_context *ctx, const struct fdit_cache_writer *w)
{
    nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    if (fdit_stopped(ctx))
        return fdit_fail(ctx, FDIT_INTERRUPTED,
                         "stopped while waiting for another process that writes into %s", w->dir);
    return FDIT_OK;
}

/* Parts take the folder together, and wait for the one that writes the index. */
static enum fdit_status take_folder(fdit_context *ctx, struct fdit_cache_writer *w, bool *busy)
{
    enum fdit_status status = FDIT_OK;
    bool waits = false;
    for (;;) {
        status =
            fdit_folder_lock(ctx, w->dir, is_part(w) ? FDIT_FOLDER_TOGETHER : FDIT_FOLDER_ALONE, &w->folder);
        if (busy)
            *busy = w->folder.busy;
        if (!is_part(w) || !w->folder.busy)
            break;
        if (!waits)
            fdit_phase_begin(ctx, 0, "waiting for another process that writes into %s", w->dir);
        waits = true;
        fdit_folder_unlock(&w->folder);
        TRY(wait_a_little(ctx, w));
    }
out:
    if (waits)
        fdit_phase_end(ctx);
    return status;
}

/* One process at a time; the lock goes with it. */
static enum fdit_status take_lock(fdit_context *ctx, struct fdit_cache_writer *w)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    bool busy;
    TRY(fdit_path_join(ctx, w->dir, "encode.lock", &path));
    for (;;) {
        TRY(fdit_file_lock(ctx, path, &w->lock, &busy));
        if (!is_part(w) || !busy)
            break;
        fdit_file_unlock(&w->lock);
        TRY(wait_a_little(ctx, w));
    }
    if (busy)
        FAIL(ctx, FDIT_ERROR_IO,
             "%s: another process is encoding into this folder; wait for it, or choose another", w->dir);
out:
    fdit_free(path);
    return status;
}

/* The first key in which two descriptions differ. */
static enum fdit_status compare(fdit_context *ctx, const char *path, const char *was, size_t n,
                                const char *is)
{
    enum fdit_status status = FDIT_OK;
    json_t *a = NULL, *b = NULL, *value;
    char before[200], now[200];
    const char *key;
    TRY(fdit_json_parse(ctx, path, was, n, 16, &a));
    TRY(fdit_json_parse(ctx, path, is, strlen(is), 16, &b));
    json_object_foreach(b, key, value)
    {
        const json_t *old = json_object_get(a, key);
        if (json_equal(old, value))
            continue;
        if (!strcmp(key, "data"))
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "%s: the cache there was begun with other pictures (their names or classes differ); choose "
                 "another folder",
                 path);
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s: the cache there was begun with %s %s, now it is %s; choose another "
             "folder, or the options that it was begun with",
             path, key, fdit_json_show(old, before, sizeof before), fdit_json_show(value, now, sizeof now));
    }
    if (!json_equal(a, b))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s: the cache there was begun by another version; choose another folder", path);
out:
    json_decref(a);
    json_decref(b);
    return status;
}

/* encode.json as it must be: the identity as one line. */
static enum fdit_status check_identity(fdit_context *ctx, struct fdit_cache_writer *w)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    uint8_t *text = NULL;
    size_t n;
    bool there;
    TRY(fdit_path_join(ctx, w->dir, "encode.json", &path));
    TRY(fdit_file_regular(ctx, path, &there));
    if (!there) {
        TRY(fdit_file_write(ctx, path, true, w->identity, strlen(w->identity)));
        goto out;
    }
    TRY(fdit_file_read_all(ctx, path, (size_t)1 << 20, &text, &n));
    if (strcmp((const char *)text, w->identity) != 0)
        TRY(compare(ctx, path, (const char *)text, n, w->identity));
out:
    fdit_free(path);
    fdit_free(text);
    return status;
}

/* Finds the good records of shard `s`, and the broken pictures among them: all are read, as their checksums
 * say what a kill or a crash left. A bad one within the file is replaced in its place. */
static enum fdit_status scan_shard(fdit_context *ctx, struct fdit_cache_writer *w, size_t s, const char *path)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cache_layout *l = &w->layout;
    struct fdit_file_map map = { 0 };
    uint8_t header[FDIT_CACHE_HEADER];
    size_t first = s * l->per_shard, n = fdit_cache_in_shard(l, s);
    TRY(fdit_file_map(ctx, path, &map));
    fdit_cache_header(l, s, header);
    if (map.size < FDIT_CACHE_HEADER || memcmp(map.data, header, FDIT_CACHE_HEADER) != 0)
        goto out; /* cut off in its first bytes: begun anew */
    for (size_t i = 0; i < n && (map.size - FDIT_CACHE_HEADER) / l->record_bytes > i; i++) {
        const uint8_t *record = map.data + FDIT_CACHE_HEADER + i * l->record_bytes;
        bool good = fdit_cache_is_mine(&w->job, first + i);
        int32_t label = (int32_t)fdit_get32(record + l->item_bytes + 8);
        for (int half = 0; half < l->halves && good; half++)
            good = fdit_cache_half_is_good(record + (size_t)half * (l->item_bytes + FDIT_CACHE_TRAILER),
                                           l->item_bytes, first + i, half);
        if (!good || (label != -1 && label != w->job.labels[first + i]))
            continue;
        w->bad[first + i] = label == -1;
        w->there[first + i] = 1;
        w->crcs[first + i] = fdit_get32(record + l->item_bytes);
        w->have[s] = i + 1; /* cut behind its last good record */
    }
out:
    fdit_file_unmap(&map);
    return status;
}

static enum fdit_status open_shard(fdit_context *ctx, struct fdit_cache_writer *w, size_t s)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    uint8_t header[FDIT_CACHE_HEADER];
    uint64_t keep = w->have[s] ? FDIT_CACHE_HEADER + w->have[s] * w->layout.record_bytes : 0;
    TRY(fdit_cache_shard_path(ctx, w->dir, s, &path));
    TRY(fdit_appender_open(ctx, path, keep, &w->shard));
    w->open = s;
    if (keep)
        goto out;
    fdit_cache_header(&w->layout, s, header);
    TRY(fdit_appender_write(ctx, w->shard, header, sizeof header));
out:
    fdit_free(path);
    return status;
}

/* To the first picture of the part that is not there. */
static void advance(struct fdit_cache_writer *w)
{
    while (w->next < w->layout.total && (w->there[w->next] || !fdit_cache_is_mine(&w->job, w->next)))
        w->next++;
}

/* What is there of all shards. */
static enum fdit_status scan(fdit_context *ctx, struct fdit_cache_writer *w)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    bool there;
    for (size_t s = 0; s < w->layout.shards; s++) {
        fdit_free(path);
        path = NULL;
        TRY(fdit_cache_shard_path(ctx, w->dir, s, &path));
        TRY(fdit_file_regular(ctx, path, &there));
        if (there)
            TRY(scan_shard(ctx, w, s, path));
    }
    advance(w);
out:
    fdit_free(path);
    return status;
}

enum fdit_status fdit_cache_begin(fdit_context *ctx, const char *dir, const struct fdit_cache_job *job,
                                  bool *busy, struct fdit_cache_writer **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_cache_writer *w = NULL;
    *out = NULL;
    if (busy)
        *busy = false;
    if (job->info.n < 1 || job->info.n > UINT32_MAX)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "a cache of %zu pictures; 1 to %u are possible", job->info.n,
             UINT32_MAX);
    TRY(fdit_alloc(ctx, 1, sizeof *w, &w));
    w->patch = -1;
    w->lock = FDIT_FILE_UNLOCKED;
    w->folder = FDIT_FOLDER_UNLOCKED;
    w->job = *job;
    w->layout = layout_of(job);
    TRY(fdit_strdup(ctx, dir, &w->dir));
    TRY(fdit_strf(ctx, &w->identity, "%s\n", job->identity));
    w->layout.identity = fdit_fnv(FDIT_FNV_START, w->identity, strlen(w->identity));
    TRY(fdit_alloc(ctx, job->info.n, 1, &w->bad));
    TRY(fdit_alloc(ctx, w->layout.record_bytes, 1, &w->record));
    TRY(fdit_alloc(ctx, job->info.n, 1, &w->there));
    TRY(fdit_alloc(ctx, job->info.n, sizeof *w->crcs, &w->crcs));
    TRY(fdit_alloc(ctx, w->layout.shards, sizeof *w->have, &w->have));
    if (fdit_is_folder(dir)) /* without its lock: what is refused anyway is not touched */
        TRY(check_folder(ctx, dir));
    TRY(take_folder(ctx, w, busy));
    TRY(check_folder(ctx, dir)); /* now nobody changes it */
    TRY(take_lock(ctx, w));
    TRY(check_identity(ctx, w));
    TRY(scan(ctx, w));
    *out = w;
    w = NULL;
out:
    fdit_cache_writer_free(w);
    return status;
}

void fdit_cache_share(struct fdit_cache_writer *w)
{
    if (is_part(w))
        fdit_file_unlock(&w->lock);
}

size_t fdit_cache_next(const struct fdit_cache_writer *w)
{
    return w->next;
}

bool fdit_cache_has(const struct fdit_cache_writer *w, size_t picture)
{
    return w->there[picture];
}

uint32_t fdit_cache_record_crc(const struct fdit_cache_writer *w, size_t picture)
{
    return w->crcs[picture];
}

void fdit_cache_renew(struct fdit_cache_writer *w, size_t picture)
{
    w->there[picture] = 0;
    if (picture < w->next)
        w->next = picture;
}

/* ------------------------------------------------------------------ records */

static enum fdit_status close_shard(fdit_context *ctx, struct fdit_cache_writer *w)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_appender *shard = w->shard;
    int patch = w->patch;
    w->patch = -1;
    if (patch >= 0) {
        bool synced = fsync(patch) == 0 || errno == EINVAL || errno == ENOTSUP || errno == EROFS;
        int saved = errno;
        close(patch);
        if (!synced)
            return fdit_fail_errno(ctx, FDIT_ERROR_IO, saved, "%s: shard %zu cannot be synced to the disk",
                                   w->dir, w->open);
    }
    if (!shard)
        return FDIT_OK;
    w->shard = NULL;
    status = fdit_appender_sync(ctx, shard);
    if (status != FDIT_OK) {
        fdit_appender_close(NULL, shard);
        return status;
    }
    return fdit_appender_close(ctx, shard);
}

/* The file of shard `open` for records in their places. Parts make it together, all with the same header. */
static enum fdit_status open_patch(fdit_context *ctx, struct fdit_cache_writer *w, const char *path)
{
    enum fdit_status status = FDIT_OK;
    uint8_t header[FDIT_CACHE_HEADER];
    w->patch = open(path, O_WRONLY | O_CLOEXEC | (is_part(w) ? O_CREAT : 0), 0666);
    if (w->patch < 0)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot open for writing", path));
    if (!is_part(w))
        goto out;
    fdit_cache_header(&w->layout, w->open, header);
    TRY(fdit_write_at(ctx, w->patch, path, header, sizeof header, 0));
out:
    return status;
}

/* The record of a picture within the shard's file. */
static enum fdit_status replace_record(fdit_context *ctx, struct fdit_cache_writer *w, size_t place)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cache_layout *l = &w->layout;
    char *path = NULL;
    TRY(fdit_cache_shard_path(ctx, w->dir, w->open, &path));
    if (w->patch < 0)
        TRY(open_patch(ctx, w, path));
    TRY(fdit_write_at(ctx, w->patch, path, w->record, l->record_bytes,
                      FDIT_CACHE_HEADER + place * l->record_bytes));
out:
    fdit_free(path);
    return status;
}

enum fdit_status fdit_cache_put(fdit_context *ctx, struct fdit_cache_writer *w, const void *data)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cache_layout *l = &w->layout;
    size_t picture = w->next;
    if (picture >= l->total)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s: all %zu pictures are there", w->dir, l->total);
    size_t s = picture / l->per_shard, place = picture % l->per_shard;
    if ((w->shard || w->patch >= 0) && w->open != s)
        TRY(close_shard(ctx, w));
    w->open = s;
    const bool in_place = place < w->have[s] || is_part(w);
    if (!in_place && !w->shard)
        TRY(open_shard(ctx, w, s));
    for (int half = 0; half < l->halves; half++) {
        uint8_t *to = w->record + (size_t)half * (l->item_bytes + FDIT_CACHE_TRAILER);
        if (data)
            memcpy(to, (const uint8_t *)data + (size_t)half * l->item_bytes, l->item_bytes);
        else
            memset(to, 0, l->item_bytes);
        fdit_cache_trailer(to, l->item_bytes, picture, data ? w->job.labels[picture] : -1, half,
                           to + l->item_bytes);
    }
    if (in_place)
        TRY(replace_record(ctx, w, place));
    else
        TRY(fdit_appender_write(ctx, w->shard, w->record, l->record_bytes));
    w->have[s] = place < w->have[s] ? w->have[s] : place + 1;
    w->bad[picture] = !data;
    w->there[picture] = 1;
    w->crcs[picture] = fdit_get32(w->record + l->item_bytes);
    advance(w); /* whole ones may lie behind */
    if (w->next == l->total || w->next / l->per_shard != s)
        TRY(close_shard(ctx, w));
out:
    return status;
}

/* ------------------------------------------------------------------ the index */

static enum fdit_status describe(fdit_context *ctx, const struct fdit_cache_writer *w, char **out)
{
    const struct fdit_cache_info *i = &w->job.info;
    char identity[17];
    snprintf(identity, sizeof identity, "%016" PRIx64, w->layout.identity);
    struct fdit_json b;
    fdit_json_begin(&b);
    fdit_json_put_text(&b, NULL, "format", "finediffusion-cache");
    fdit_json_put_text(&b, NULL, "kind", i->kind == FDIT_CACHE_PIXELS ? "pixels" : "moments");
    fdit_json_put_int(&b, NULL, "channels", i->channels);
    fdit_json_put_int(&b, NULL, "size", i->size);
    fdit_json_put_int(&b, NULL, "picture_size", i->picture_size);
    fdit_json_put_bool(&b, NULL, "flip", i->flip);
    fdit_json_put_text(&b, NULL, "fit", i->fit);
    fdit_json_put_text(&b, NULL, "orient", i->orient ? i->orient : "none");
    fdit_json_put_text(&b, NULL, "matte", i->matte ? i->matte : "none");
    fdit_json_put_real(&b, NULL, "scale", i->scale);
    fdit_json_put_real(&b, NULL, "shift", i->shift);
    fdit_json_put_text(&b, NULL, "vae", i->vae);
    fdit_json_put_text(&b, NULL, "taxonomy", i->taxonomy);
    fdit_json_put_int(&b, NULL, "pictures", (int64_t)w->layout.total);
    fdit_json_put_int(&b, NULL, "shard_pictures", (int64_t)w->layout.per_shard);
    fdit_json_put_text(&b, NULL, "identity", identity);
    enum fdit_status status = fdit_json_end(ctx, &b, w->dir, JSON_COMPACT | JSON_REAL_PRECISION(17), out);
    fdit_json_fini(&b);
    return status;
}

enum fdit_status fdit_cache_sync(fdit_context *ctx, struct fdit_cache_writer *w)
{
    return close_shard(ctx, w);
}

enum fdit_status fdit_cache_end(fdit_context *ctx, struct fdit_cache_writer *w, size_t *bad)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *bytes = NULL;
    char *path = NULL, *json = NULL;
    size_t n = 0, length;
    TRY(describe(ctx, w, &json));
    length = strlen(json);
    if (w->next != w->layout.total)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: %zu of %zu pictures are there", w->dir, w->next, w->layout.total);
    TRY(close_shard(ctx, w));
    for (size_t i = 0; i < w->layout.total; i++)
        n += !w->bad[i];
    *bad = w->layout.total - n;
    if (!n)
        FAIL(ctx, FDIT_ERROR_FORMAT, "all %zu pictures are broken", w->layout.total);
    size_t size = 24 + length + 8 * n + 4, at = 0;
    TRY(fdit_alloc(ctx, size, 1, &bytes));
    memcpy(bytes, "FDITCACH", 8);
    fdit_put32(bytes + 8, FDIT_CACHE_VERSION);
    fdit_put32(bytes + 12, (uint32_t)length);
    fdit_put64(bytes + 16, n);
    memcpy(bytes + 24, json, length);
    uint8_t *labels = bytes + 24 + length, *places = labels + 4 * n;
    for (size_t i = 0; i < w->layout.total; i++) {
        if (w->bad[i])
            continue;
        fdit_put32(labels + 4 * at, (uint32_t)w->job.labels[i]);
        fdit_put32(places + 4 * at++, (uint32_t)i);
    }
    fdit_put32(bytes + size - 4, fdit_cache_crc(0, bytes, size - 4));
    TRY(fdit_path_join(ctx, w->dir, "cache.fdc", &path));
    TRY(fdit_file_write(ctx, path, true, bytes, size));
out:
    fdit_free(json);
    fdit_free(bytes);
    fdit_free(path);
    return status;
}

void fdit_cache_writer_free(struct fdit_cache_writer *w)
{
    if (!w)
        return;
    fdit_appender_close(NULL, w->shard);
    if (w->patch >= 0)
        close(w->patch);
    fdit_file_unlock(&w->lock);
    fdit_folder_remove_made(&w->folder); /* empty when nothing was written */
    fdit_folder_unlock(&w->folder);
    fdit_free(w->there);
    fdit_free(w->crcs);
    fdit_free(w->have);
    fdit_free(w->dir);
    fdit_free(w->identity);
    fdit_free(w->bad);
    fdit_free(w->record);
    fdit_free(w);
}
