/* SPDX-License-Identifier: Apache-2.0
 * The index of archives: a folder of class folders in one, or WebDataset shards. */
#include "core/file.h"
#include "core/mem.h"
#include "data/dataset_index.h"
#include "format/picture.h"
#include "format/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { largest_id = 10000000, cls_bytes = 64 };

struct archive {
    fdit_context *ctx;
    struct fdit_dataset *ds;
    const char *path;
    uint32_t shard;
    size_t place; /* of the last picture: most are beside it */
    struct fdit_tar_stream *stream;
    struct fdit_names keys; /* of this shard's .cls members */
    int32_t *ids;           /* [keys] */
    size_t ids_capacity;
    char *name; /* of the present member */
    char *text; /* names that are put together */
    size_t name_capacity, text_capacity;
    uint8_t *buffer;
    size_t buffer_capacity;
};

/* Archives made on macOS are full of "._x". */
static bool hidden(const char *name)
{
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (fdit_ds_hidden(part, strcspn(part, "/")))
            return true;
    }
    return false;
}

/* The place of this shard's folder name[0..len). */
static enum fdit_status place_of(struct archive *a, const char *name, size_t len, uint32_t *place)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_dataset *ds = a->ds;
    size_t id;
    if (a->place < ds->places.n) {
        const char *last = fdit_ds_folder(ds, a->place);
        if (ds->place_shard[a->place] == a->shard && !strncmp(last, name, len) && !last[len])
            goto same;
    }
    TRY(fdit_grow(a->ctx, &a->text, &a->text_capacity, len + 16, 1));
    int digits = snprintf(a->text, 16, "%u:", a->shard);
    memcpy(a->text + digits, name, len);
    TRY(fdit_names_add(a->ctx, &ds->places, a->text, (size_t)digits + len, &id, NULL));
    TRY(fdit_grow(a->ctx, &ds->place_shard, &ds->place_capacity, id + 1, sizeof *ds->place_shard));
    ds->place_shard[id] = a->shard;
    a->place = id;
same:
    *place = (uint32_t)a->place;
out:
    return status;
}

/* WebDataset's key: the path up to the first dot of the file's name. */
static size_t key_length(const char *name)
{
    const char *base = strrchr(name, '/');
    const char *dot = strchr(base ? base : name, '.');
    return dot ? (size_t)(dot - name) : strlen(name);
}

static bool is_cls(const char *name)
{
    size_t key = key_length(name);
    return !strcmp(name + key, ".cls");
}

static enum fdit_status read_fully(struct archive *a, void *out, size_t n, size_t *got)
{
    enum fdit_status status = FDIT_OK;
    size_t more = 1;
    for (*got = 0; *got < n && more; *got += more)
        TRY(fdit_tar_stream_read(a->ctx, a->stream, (char *)out + *got, n - *got, &more));
out:
    return status;
}

static enum fdit_status take_cls(struct archive *a, const struct fdit_tar_member *m)
{
    enum fdit_status status = FDIT_OK;
    char text[cls_bytes + 1];
    size_t n, id, digits = 0;
    bool added;
    TRY(read_fully(a, text, cls_bytes, &n));
    text[n] = 0;
    char *at = text;
    while (*at == ' ' || *at == '\t')
        at++;
    int32_t value = 0;
    for (; at[digits] >= '0' && at[digits] <= '9' && value <= largest_id; digits++)
        value = value * 10 + (at[digits] - '0');
    const char *rest = at + digits + strspn(at + digits, " \t\r\n");
    if (!digits || m->size > cls_bytes || *rest || rest != text + n || value > largest_id)
        FAIL(a->ctx, FDIT_ERROR_FORMAT,
             "%s:%s: a class id, digits from 0 to %d, is needed in a .cls member", a->path, a->name,
             largest_id);
    TRY(fdit_names_add(a->ctx, &a->keys, a->name, key_length(a->name), &id, &added));
    TRY(fdit_grow(a->ctx, &a->ids, &a->ids_capacity, id + 1, sizeof *a->ids));
    if (!added && a->ids[id] != value)
        FAIL(a->ctx, FDIT_ERROR_FORMAT, "%s:%s: there twice, with ids %d and %d", a->path, a->name,
             a->ids[id], value);
    a->ids[id] = value;
out:
    return status;
}

static enum fdit_status open_spool(fdit_context *ctx, struct fdit_dataset *ds)
{
    enum fdit_status status = FDIT_OK;
    const char *folder = getenv("TMPDIR");
    char *path = NULL;
    if (ds->spool >= 0)
        return FDIT_OK;
    TRY(fdit_path_join(ctx, folder && *folder ? folder : "/var/tmp", "finediffusion-XXXXXX",
                       &path));
    ds->spool = mkostemp(path, O_CLOEXEC);
    if (ds->spool < 0)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno,
                            "%s: no room to unpack %s; set TMPDIR to a folder that can be written",
                            path, ds->root));
    unlink(path);
out:
    fdit_free(path);
    return status;
}

/* Copies the member's `head` and the rest of it to the spool. */
static enum fdit_status spool_member(struct archive *a, const uint8_t *head, size_t n_head,
                                     struct fdit_ds_item *item)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_dataset *ds = a->ds;
    TRY(open_spool(a->ctx, ds));
    TRY(fdit_grow(a->ctx, &a->buffer, &a->buffer_capacity, 1 << 16, 1));
    memcpy(a->buffer, head, n_head);
    item->offset = ds->spool_size;
    for (size_t n = n_head; n;) {
        for (size_t done = 0; done < n;) {
            ssize_t wrote = pwrite(ds->spool, a->buffer + done, n - done, (off_t)ds->spool_size);
            if (wrote < 0 && errno == EINTR)
                continue;
            if (wrote < 0)
                TRY(fdit_fail_errno(
                    a->ctx, FDIT_ERROR_IO, errno,
                    "%s: cannot be unpacked after %llu bytes; set TMPDIR to a folder "
                    "with more room, or unpack it yourself",
                    a->path, (unsigned long long)ds->spool_size));
            done += (size_t)wrote;
            ds->spool_size += (uint64_t)wrote;
        }
        TRY(fdit_tar_stream_read(a->ctx, a->stream, a->buffer, a->buffer_capacity, &n));
    }
out:
    return status;
}

static enum fdit_status take_member(struct archive *a, const struct fdit_tar_member *m)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_dataset *ds = a->ds;
    struct fdit_ds_item item = { .offset = m->offset, .label = -1 };
    bool packed = ds->packed[a->shard];
    uint8_t head[FDIT_PICTURE_SNIFF_BYTES];
    size_t n = 0, len = strlen(m->name) + 1;
    item.size = m->size > FDIT_DS_LARGEST ? (uint32_t)FDIT_DS_LARGEST + 1 : (uint32_t)m->size;
    if (hidden(m->name))
        return FDIT_OK;
    /* m->name lives until the stream moves on, and fdit_tar_stream_read may move it. */
    TRY(fdit_grow(a->ctx, &a->name, &a->name_capacity, len, 1));
    memcpy(a->name, m->name, len);
    if (is_cls(a->name)) {
        TRY(take_cls(a, m));
        return FDIT_OK;
    }
    if (!fdit_picture_is_name(a->name) || packed)
        TRY(read_fully(a, head, sizeof head, &n));
    if (!fdit_picture_is_name(a->name) && fdit_picture_sniff(head, n) == FDIT_PICTURE_UNKNOWN) {
        fdit_ds_ignore(ds, a->name);
        return FDIT_OK;
    }
    if (packed)
        TRY(spool_member(a, head, n, &item));
    const char *slash = strrchr(a->name, '/');
    TRY(place_of(a, a->name, slash ? (size_t)(slash - a->name) : 0, &item.place));
    TRY(fdit_ds_add(a->ctx, ds, slash ? slash + 1 : a->name, &item));
out:
    return status;
}

/* KEY.jpg, and not KEY.seg.jpg. */
static bool is_plain(const char *name)
{
    const char *dot = strchr(name, '.');
    return !dot || !strchr(dot + 1, '.');
}

/* The number in a->keys of what stands before the first dot of picture i. */
static enum fdit_status key_of(struct archive *a, size_t i, size_t *id)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_ds_item *item = &a->ds->items[i];
    const char *name = a->ds->names + item->name, *folder = fdit_ds_folder(a->ds, item->place);
    size_t key = key_length(name), before = strlen(folder);
    TRY(fdit_grow(a->ctx, &a->text, &a->text_capacity, before + key + 2, 1));
    memcpy(a->text, folder, before);
    if (before)
        a->text[before++] = '/';
    memcpy(a->text + before, name, key);
    *id = fdit_names_find(&a->keys, a->text, before + key);
    if (*id == FDIT_NAMES_NONE)
        FAIL(a->ctx, FDIT_ERROR_FORMAT, "%s:%.*s%s: no %.*s.cls beside it", a->path, (int)before,
             a->text, name, (int)key, name);
out:
    return status;
}

/* The labels of a shard's pictures, from `first` on. A sample may have several (KEY.jpg,
 * KEY.seg.png): the one without a further dot counts, or the only one. */
static enum fdit_status label_shard(struct archive *a, size_t first)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_dataset *ds = a->ds;
    struct count {
        uint32_t plain, others;
    } *counts = NULL; /* [keys] */
    size_t kept = first, id;
    TRY(fdit_alloc(a->ctx, a->keys.n, sizeof *counts, &counts));
    for (size_t i = first; i < ds->n; i++) {
        TRY(key_of(a, i, &id));
        ds->items[i].label = (int32_t)id;
        if (is_plain(ds->names + ds->items[i].name))
            counts[id].plain++;
        else
            counts[id].others++;
    }
    for (size_t i = first; i < ds->n; i++) {
        const char *name = ds->names + ds->items[i].name;
        const struct count *count = &counts[ds->items[i].label];
        if (!is_plain(name) && count->plain) {
            fdit_ds_ignore(ds, name);
            continue;
        }
        if (!count->plain && count->others > 1)
            FAIL(a->ctx, FDIT_ERROR_FORMAT,
                 "%s:%s: one of %u pictures of this sample, and none is named %.*s.jpg, .png or "
                 ".webp; "
                 "name the one to use so",
                 a->path, name, count->others, (int)key_length(name), name);
        ds->items[kept] = ds->items[i];
        ds->items[kept].label = a->ids[ds->items[i].label];
        kept++;
    }
    ds->n = kept;
out:
    fdit_free(counts);
    return status;
}

static bool is_gzip(const char *path)
{
    unsigned char head[2] = { 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, head, 2);
    if (fd >= 0)
        close(fd);
    return n == 2 && head[0] == 0x1f && head[1] == 0x8b;
}

/* One archive into the index; *labelled: it has .cls members. */
static enum fdit_status take_archive(fdit_context *ctx, struct fdit_dataset *ds, const char *path,
                                     bool *labelled)
{
    enum fdit_status status = FDIT_OK;
    struct archive a = { .ctx = ctx, .ds = ds, .path = path };
    struct fdit_tar_member m;
    size_t shard, first = ds->n;
    bool found = true;
    TRY(fdit_names_add(ctx, &ds->shards, path, strlen(path), &shard, &found));
    if (!found)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: there twice", path);
    a.shard = (uint32_t)shard;
    TRY(fdit_grow(ctx, &ds->packed, &ds->packed_capacity, shard + 1, sizeof *ds->packed));
    ds->packed[shard] = is_gzip(path);
    TRY(fdit_tar_stream_open(ctx, path, &a.stream));
    for (;;) {
        TRY(fdit_tar_stream_next(ctx, a.stream, &m, &found));
        if (!found)
            break;
        TRY(take_member(&a, &m));
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "%s: interrupted", path);
    }
    ds->links += fdit_tar_stream_skipped(a.stream);
    *labelled = a.keys.n > 0;
    if (*labelled)
        TRY(label_shard(&a, first));
out:
    fdit_tar_stream_close(a.stream);
    fdit_names_fini(&a.keys);
    fdit_free(a.ids);
    fdit_free(a.name);
    fdit_free(a.text);
    fdit_free(a.buffer);
    return status;
}

/* Bytes of the folder that is around all class folders, with its slash; 0 when there is none. */
static size_t common_top(const struct fdit_dataset *ds)
{
    size_t top = 0;
    for (size_t p = 0; p < ds->places.n; p++) {
        const char *folder = fdit_ds_folder(ds, p), *slash = strchr(folder, '/');
        if (!slash)
            return 0;
        if (!p)
            top = (size_t)(slash - folder) + 1;
        else if ((size_t)(slash - folder) + 1 != top || memcmp(folder, fdit_ds_folder(ds, 0), top))
            return 0;
    }
    return top;
}

/* Classes from the folders. */
static enum fdit_status class_folders(fdit_context *ctx, struct fdit_dataset *ds,
                                      struct fdit_names *classes)
{
    enum fdit_status status = FDIT_OK;
    size_t top = common_top(ds), id;
    int32_t *labels = NULL; /* [places] */
    char *name = NULL;
    if (top && ds->options.taxonomy &&
        fdit_taxonomy_find_class(ds->options.taxonomy, fdit_ds_folder(ds, 0) + top) < 0 &&
        fdit_taxonomy_find_class(ds->options.taxonomy, fdit_ds_folder(ds, 0)) >= 0)
        top = 0;
    TRY(fdit_alloc(ctx, ds->places.n, sizeof *labels, &labels));
    for (size_t p = 0; p < ds->places.n; p++) {
        const char *folder = fdit_ds_folder(ds, p);
        labels[p] = -1;
        if (!*folder)
            continue;
        TRY(fdit_names_add(ctx, classes, folder + top, strlen(folder) - top, &id, NULL));
        labels[p] = (int32_t)id;
    }
    for (size_t i = 0; i < ds->n; i++) {
        ds->items[i].label = labels[ds->items[i].place];
        if (ds->items[i].label >= 0)
            continue;
        TRY(fdit_dataset_name(ctx, ds, i, &name));
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: lies in no class folder and has no .cls member beside it",
             name);
    }
out:
    fdit_free(name);
    fdit_free(labels);
    return status;
}

enum fdit_status fdit_ds_index_tar(fdit_context *ctx, struct fdit_dataset *ds,
                                   const char *const *paths, size_t n_paths,
                                   struct fdit_names *classes, bool *numbered)
{
    enum fdit_status status = FDIT_OK;
    ds->archives = true;
    for (size_t i = 0; i < n_paths; i++) {
        bool labelled = false;
        TRY(take_archive(ctx, ds, paths[i], &labelled));
        if (i && labelled != *numbered)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s and %s: one has .cls members, the other has none",
                 paths[i - 1], paths[i]);
        *numbered = labelled;
    }
    ds->kind = *numbered ? "webdataset" : "tar";
    if (!*numbered)
        TRY(class_folders(ctx, ds, classes));
out:
    return status;
}
