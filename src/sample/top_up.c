/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/top_up.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/cache.h"
#include "format/json.h"
#include "format/tar.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ------------------------------------------------------------------ counts */

/* A picture of the class called so. */
static enum fdit_status count(fdit_context *ctx, const struct fdit_top_up *t, const char *name, size_t n)
{
    const int32_t id = fdit_taxonomy_find_class(t->taxonomy, name);
    if (id < 0)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s has pictures of the class %s, which the model does not know", t->path, name);
    t->counts[id] += n;
    return FDIT_OK;
}

static enum fdit_status count_cache(fdit_context *ctx, const struct fdit_top_up *t)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_cache *cache = NULL;
    struct fdit_taxonomy *theirs = NULL;
    size_t *of = NULL;
    TRY(fdit_cache_open(ctx, t->path, &cache));
    const struct fdit_cache_info *info = fdit_cache_info_of(cache);
    TRY(fdit_taxonomy_parse(ctx, info->taxonomy, strlen(info->taxonomy), t->path, NULL, &theirs));
    const size_t classes = (size_t)fdit_taxonomy_n_classes(theirs);
    TRY(fdit_alloc(ctx, classes, sizeof *of, &of));
    for (size_t i = 0; i < info->n; i++)
        of[fdit_cache_label(cache, i)]++;
    for (size_t c = 0; c < classes; c++)
        if (of[c])
            TRY(count(ctx, t, fdit_taxonomy_class_name(theirs, (int32_t)c), of[c]));
out:
    fdit_cache_close(cache);
    fdit_taxonomy_free(theirs);
    fdit_free(of);
    return status;
}

static bool is_manifest(const char *path)
{
    static const char ending[] = ".jsonl";
    const size_t n = strlen(path), end = sizeof ending - 1;
    return n > end && !strcmp(path + n - end, ending) && fdit_is_file(path);
}

struct manifest {
    fdit_context *ctx;
    const struct fdit_top_up *t;
    size_t lines;
    enum fdit_status status;
};

static bool count_line(void *user, const char *line, size_t n)
{
    struct manifest *m = user;
    json_t *root = NULL;
    m->lines++;
    m->status = fdit_json_parse(m->ctx, m->t->path, line, n, 8, &root);
    const char *class = m->status == FDIT_OK ? json_string_value(json_object_get(root, "class")) : NULL;
    if (class)
        m->status = count(m->ctx, m->t, class, 1);
    else if (m->status == FDIT_OK)
        m->status = fdit_fail(m->ctx, FDIT_ERROR_FORMAT,
                              "%s, line %zu: has no \"class\"; give a manifest that 'sample' wrote",
                              m->t->path, m->lines);
    json_decref(root);
    return m->status == FDIT_OK;
}

static enum fdit_status count_manifest(fdit_context *ctx, const struct fdit_top_up *t)
{
    enum fdit_status status = FDIT_OK;
    struct manifest m = { .ctx = ctx, .t = t };
    uint64_t end = 0, size = 0;
    TRY(fdit_file_lines(ctx, t->path, count_line, &m, &end));
    TRY(m.status);
    TRY(fdit_file_size(ctx, t->path, &size));
    if (end < size)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s ends within line %zu; write it again", t->path, m.lines + 1);
out:
    return status;
}

enum fdit_status fdit_top_up_open(fdit_context *ctx, const char *path, const struct fdit_taxonomy *taxonomy,
                                  struct fdit_top_up *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_dataset_options options = {
        .taxonomy = taxonomy, .size = 1, .channels = 3, .allow_missing = true
    };
    const size_t classes = (size_t)fdit_taxonomy_n_classes(taxonomy);
    const bool cache = fdit_cache_is(path);
    *out = (struct fdit_top_up){ .path = path, .taxonomy = taxonomy };
    TRY(fdit_alloc(ctx, classes, sizeof *out->counts, &out->counts));
    status = cache               ? count_cache(ctx, out)
             : is_manifest(path) ? count_manifest(ctx, out)
                                 : fdit_dataset_open(ctx, path, &options, &out->data);
    if (status != FDIT_OK)
        TRY(fdit_fail_prefix(ctx, status, "--counts-of"));
    if (!out->data)
        fdit_log(ctx, FDIT_LOG_NOTE,
                 "--counts-of %s is a %s: the drawn pictures alone are written, no real ones", path,
                 cache ? "cache" : "manifest");
    for (size_t c = 0; out->data && c < classes; c++)
        out->counts[c] = fdit_dataset_class_count(out->data, (int32_t)c);
out:
    return status;
}

void fdit_top_up_close(struct fdit_top_up *t)
{
    fdit_dataset_close(t->data);
    fdit_free(t->counts);
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
        const size_t have = t->counts[ids[i]];
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

/* The name of picture i as told to users: below the data's path, if it lies there. */
static enum fdit_status source_of(fdit_context *ctx, const struct fdit_top_up *t, size_t i, char **name,
                                  const char **source)
{
    enum fdit_status status = FDIT_OK;
    const size_t n = strlen(t->path);
    TRY(fdit_dataset_name(ctx, t->data, i, name));
    *source = !strncmp(*name, t->path, n) && (*name)[n] == '/' ? *name + n + 1 : *name;
out:
    return status;
}

/* FOLDER/real-I.ext, and FOLDER. */
static enum fdit_status copy_name(fdit_context *ctx, const struct fdit_top_up *t, size_t i,
                                  const char *source, char **folder, char **file)
{
    enum fdit_status status = FDIT_OK;
    char ending[8];
    ending_of(source, ending);
    TRY(fdit_path_encode(ctx, fdit_taxonomy_class_name(t->taxonomy, fdit_dataset_label(t->data, i)), folder));
    TRY(fdit_strf(ctx, file, "%s/real-%zu%s", *folder, i, ending));
out:
    return status;
}

/* Whether a file has these bytes; one that cannot be read has not. */
static enum fdit_status has_bytes(fdit_context *ctx, const char *path, const uint8_t *bytes, size_t n,
                                  bool *same)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *there = NULL;
    uint64_t size = 0;
    size_t n_there;
    *same = false;
    if (!fdit_is_file(path))
        goto out;
    TRY(fdit_file_size(ctx, path, &size));
    if (size != n)
        goto out;
    TRY(fdit_file_read_all(ctx, path, n, &there, &n_there));
    *same = n_there == n && !memcmp(there, bytes, n);
out:
    fdit_free(there);
    return status;
}

/* Picture i of the data. A copy that is there and the same stays as it is. */
static enum fdit_status copy_one(fdit_context *ctx, const struct fdit_top_up *t, size_t i, const char *dir,
                                 const char *source, char **file)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL, *into = NULL, *path = NULL;
    uint8_t *bytes = NULL;
    size_t n;
    bool same;
    *file = NULL;
    TRY(copy_name(ctx, t, i, source, &folder, file));
    TRY(fdit_path_join(ctx, dir, folder, &into));
    TRY(fdit_path_join(ctx, dir, *file, &path));
    TRY(fdit_dataset_read(ctx, t->data, i, &bytes, &n));
    TRY(has_bytes(ctx, path, bytes, n, &same));
    if (same)
        goto out;
    TRY(fdit_mkdirs(ctx, into));
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

/* Copies as archives beside those of drawn pictures: real-NNNNN.tar of FDIT_ALBUM_TAR pictures each. */
struct archives {
    bool wanted;
    const char *dir, *shard;
    struct fdit_tar_writer *open; /* NULL: none */
    size_t n;                     /* pictures so far */
};

static enum fdit_status archive_path(fdit_context *ctx, const struct archives *a, size_t number, char **out)
{
    return fdit_strf(ctx, out, "%s/real%s-%05zu.tar", a->dir, a->shard, number);
}

static enum fdit_status begin_archive(fdit_context *ctx, struct archives *a, const struct fdit_taxonomy *tax)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *taxonomy = NULL;
    if (a->open)
        TRY(fdit_tar_writer_commit(ctx, &a->open));
    TRY(archive_path(ctx, a, a->n / FDIT_ALBUM_TAR, &path));
    TRY(fdit_taxonomy_to_json(ctx, tax, &taxonomy));
    TRY(fdit_tar_writer_open(ctx, path, false, &a->open));
    TRY(fdit_tar_writer_add(ctx, a->open, "__taxonomy__", taxonomy, strlen(taxonomy)));
out:
    fdit_free(path);
    fdit_free(taxonomy);
    return status;
}

/* Picture i of the data as the sample real-I: its bytes, and its class. */
static enum fdit_status archive_one(fdit_context *ctx, const struct fdit_top_up *t, size_t i,
                                    struct archives *a, const char *source, char **file)
{
    enum fdit_status status = FDIT_OK;
    char ending[8], class_file[40], id[16];
    uint8_t *bytes = NULL;
    size_t n;
    *file = NULL;
    if (a->n % FDIT_ALBUM_TAR == 0)
        TRY(begin_archive(ctx, a, t->taxonomy));
    a->n++;
    ending_of(source, ending);
    TRY(fdit_strf(ctx, file, "real-%zu%s", i, ending));
    TRY(fdit_dataset_read(ctx, t->data, i, &bytes, &n));
    TRY(fdit_tar_writer_add(ctx, a->open, *file, bytes, n));
    snprintf(class_file, sizeof class_file, "real-%zu.cls", i);
    snprintf(id, sizeof id, "%" PRId32, fdit_dataset_label(t->data, i));
    TRY(fdit_tar_writer_add(ctx, a->open, class_file, id, strlen(id)));
out:
    fdit_free(bytes);
    return status;
}

/* The last one; those that more pictures filled before go. */
static enum fdit_status end_archives(fdit_context *ctx, struct archives *a)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    if (a->open)
        TRY(fdit_tar_writer_commit(ctx, &a->open));
    for (size_t k = (a->n + FDIT_ALBUM_TAR - 1) / FDIT_ALBUM_TAR; a->wanted; k++) {
        fdit_free(path);
        TRY(archive_path(ctx, a, k, &path));
        if (!fdit_is_file(path))
            break;
        TRY(fdit_file_remove(ctx, path));
    }
out:
    fdit_free(path);
    return status;
}

static enum fdit_status put_real(fdit_context *ctx, const struct fdit_top_up *t, size_t i,
                                 struct archives *archives, struct fdit_writer *w)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL, *file = NULL;
    const char *source;
    TRY(source_of(ctx, t, i, &name, &source));
    TRY(archives->wanted ? archive_one(ctx, t, i, archives, source, &file)
                         : copy_one(ctx, t, i, archives->dir, source, &file));
    TRY(put_line(ctx, w, t->taxonomy, fdit_dataset_label(t->data, i), NULL, source, file));
out:
    fdit_free(name);
    fdit_free(file);
    return status;
}

/* ------------------------------------------------------------------ what an earlier job left */

/* The lines of a manifest that was there before. */
struct before {
    fdit_context *ctx;
    const struct fdit_top_up *t;
    const struct fdit_request *request;
    const char *dir;
    bool tar;
    struct fdit_writer *w; /* of the manifest that takes its place */
    size_t removed, more;  /* copies of other data; drawn pictures that are not asked for now */
    char first[600];       /* of the latter */
    size_t place;          /* of the class of the last line in the request */
    enum fdit_status status;
};

/* Index I of FOLDER/real-I.ext, a regular file in a folder of DIR that is not a link. */
static bool is_copy(const char *dir, const char *file, size_t *index)
{
    char path[4096], *end;
    struct stat st;
    const char *slash = strchr(file, '/');
    if (!slash || strchr(slash + 1, '/') || strncmp(slash, "/real-", 6) != 0 || !strncmp(file, "..", 2) ||
        strspn(slash + 6, "0123456789") == 0)
        return false;
    *index = (size_t)strtoull(slash + 6, &end, 10);
    if (*end && *end != '.')
        return false;
    if (snprintf(path, sizeof path, "%s/%.*s", dir, (int)(slash - file), file) >= (int)sizeof path ||
        lstat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return false;
    return snprintf(path, sizeof path, "%s/%s", dir, file) < (int)sizeof path && lstat(path, &st) == 0 &&
           S_ISREG(st.st_mode);
}

/* A copy under a name that no picture of the data has now would be a picture of the new set as well. */
static enum fdit_status sweep_copy(struct before *b, const char *file)
{
    enum fdit_status status = FDIT_OK;
    fdit_context *ctx = b->ctx;
    char *name = NULL, *folder = NULL, *now = NULL, *path = NULL;
    const char *source;
    size_t i;
    if (!is_copy(b->dir, file, &i))
        goto out;
    if (!b->tar && i < fdit_dataset_size(b->t->data)) {
        TRY(source_of(ctx, b->t, i, &name, &source));
        TRY(copy_name(ctx, b->t, i, source, &folder, &now));
        if (!strcmp(now, file))
            goto out;
    }
    TRY(fdit_path_join(ctx, b->dir, file, &path));
    TRY(fdit_file_remove(ctx, path));
    b->removed++;
out:
    fdit_free(name);
    fdit_free(folder);
    fdit_free(now);
    fdit_free(path);
    return status;
}

/* Whether this job draws the picture, in whatever shard. */
static bool is_asked(struct before *b, int64_t id, uint64_t seed)
{
    const struct fdit_request *r = b->request;
    for (size_t i = 0; i < r->n_classes; i++) {
        const size_t c = (b->place + i) % r->n_classes; /* the lines of a class follow each other */
        if (r->ids[c] != id)
            continue;
        b->place = c;
        return seed >= r->seed && seed - r->seed < r->first[c + 1] - r->first[c];
    }
    return false;
}

/* A drawn picture that is there and not asked for now stays, and so does its line. */
static enum fdit_status keep_drawn(struct before *b, const char *file, const char *line, size_t n)
{
    enum fdit_status status = FDIT_OK;
    fdit_context *ctx = b->ctx;
    char *path = NULL;
    TRY(fdit_path_join(ctx, b->dir, file, &path));
    if (b->tar || !fdit_is_file(path))
        goto out;
    TRY(fdit_writer_write(ctx, b->w, line, n));
    TRY(fdit_writer_write(ctx, b->w, "\n", 1));
    if (!b->more++)
        snprintf(b->first, sizeof b->first, "%s", file);
out:
    fdit_free(path);
    return status;
}

static bool take_line(void *user, const char *line, size_t n)
{
    struct before *b = user;
    json_t *root = NULL;
    b->status = fdit_json_parse(b->ctx, "the manifest", line, n, 4, &root);
    if (b->status == FDIT_ERROR_FORMAT) { /* not a line of ours: nothing is known of it */
        b->status = FDIT_OK;
        return true;
    }
    const char *file = json_string_value(json_object_get(root, "file"));
    const char *origin = json_string_value(json_object_get(root, "origin"));
    const json_t *id = json_object_get(root, "id"), *seed = json_object_get(root, "seed");
    if (file && origin && !strcmp(origin, "real"))
        b->status = sweep_copy(b, file);
    else if (file && origin && !strcmp(origin, "drawn") && json_is_integer(id) && json_is_integer(seed) &&
             !is_asked(b, json_integer_value(id), (uint64_t)json_integer_value(seed)))
        b->status = keep_drawn(b, file, line, n);
    json_decref(root);
    return b->status == FDIT_OK;
}

/* Copies that the data do not have any more go; drawn pictures that were asked for before stay. */
static enum fdit_status settle_before(struct before *b, const char *path)
{
    enum fdit_status status = FDIT_OK;
    fdit_context *ctx = b->ctx;
    uint64_t offset = 0;
    if (!fdit_is_file(path))
        goto out;
    TRY(fdit_file_lines(ctx, path, take_line, b, &offset));
    TRY(b->status);
    if (b->removed)
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%s: %s is not as it was: %zu cop%s of pictures that it no longer has, %s removed", b->dir,
                 b->t->path, b->removed, b->removed == 1 ? "y" : "ies", b->removed == 1 ? "was" : "were");
    if (b->more)
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%s: %zu drawn picture%s of before that %s not asked for now, the first: %s; remove %s if "
                 "the set shall be without",
                 b->dir, b->more, b->more == 1 ? "" : "s", b->more == 1 ? "is" : "are", b->first,
                 b->more == 1 ? "it" : "them");
out:
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
    struct archives archives = { .wanted = tar, .dir = dir, .shard = shard };
    if (request->shards > 1)
        snprintf(shard, sizeof shard, ".%d-of-%d", request->shard, request->shards);
    TRY(fdit_strf(ctx, &path, "%s/manifest-data%s.jsonl", dir, shard));
    TRY(fdit_writer_open(ctx, path, true, &w));
    struct before before = { .ctx = ctx, .t = t, .request = request, .dir = dir, .tar = tar, .w = w };
    TRY(settle_before(&before, path));
    for (size_t i = (size_t)request->shard; i < n; i += (size_t)request->shards) {
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED,
                 "stopped after copying %zu of %zu pictures; the same command goes on with the others", i, n);
        TRY(put_real(ctx, t, i, &archives, w));
    }
    TRY(end_archives(ctx, &archives));
    for (size_t p = 0; p < request->n; p++) {
        const struct fdit_request_item item = fdit_request_at(request, p);
        fdit_free(file);
        file = NULL;
        TRY(fdit_album_file(ctx, album, p, &file));
        TRY(put_line(ctx, w, t->taxonomy, item.id, &item.seed, NULL, file));
    }
    TRY(fdit_folder_sync(ctx, dir));
    TRY(fdit_writer_commit(ctx, &w));
out:
    fdit_writer_abort(w);
    fdit_tar_writer_abort(archives.open);
    fdit_free(path);
    fdit_free(file);
    return status;
}
