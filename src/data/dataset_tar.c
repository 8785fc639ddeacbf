/* SPDX-License-Identifier: Apache-2.0
 * The index of archives: a folder of class folders in one, or WebDataset shards. */
#include "core/file.h"
#include "core/mem.h"
#include "core/utf8.h"
#include "data/dataset_index.h"
#include "picture/picture.h"
#include "format/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/statvfs.h>
#ifdef __linux__
#include <sys/vfs.h>
#endif
#include <unistd.h>

enum { largest_id = 10000000, cls_bytes = 64, json_bytes = 1 << 16, large_in_memory = 64 << 20 };
#define TAXONOMY_MEMBER "__taxonomy__"
#define LARGEST_TAXONOMY ((size_t)1 << 28)

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
    struct fdit_names told; /* of this shard's .json members that tell a class id */
    int64_t *told_ids;      /* [told] */
    size_t told_capacity;
    struct {
        size_t n;
        char first[600];
    } without;       /* pictures without a .cls */
    size_t sidecars; /* .json members */
    struct fdit_name_list sidecar_names;
    struct fdit_name_list dotted; /* .cls members whose key would have a dot */
    char *name;                   /* of the present member */
    char *text;                   /* names that are put together */
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

/* KEY.cls and the like, in any case, as the webdataset library takes it. */
static bool is_field(const char *name, const char *field)
{
    size_t key = key_length(name);
    return !strcasecmp(name + key, field);
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

/* Whether what a .cls holds is a name: text that a person wrote, and not a number. */
static bool is_class_name(const char *text, size_t n)
{
    bool letter = false;
    if (memchr(text, 0, n) || !fdit_utf8_valid(text, n))
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 && !strchr("\t\r\n", c))
            return false;
        letter = letter || c >= 0x80 || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    }
    return letter;
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
    if (!digits && is_class_name(at, n - (size_t)(at - text)))
        FAIL(a->ctx, FDIT_ERROR_FORMAT,
             "%s:%s: a class id, digits from 0 to %d, is needed in a .cls member, which holds the text "
             "\"%.*s\" here; if that is the name of a class, write the number into it and the name into the "
             "sample's .json, as {\"class\": \"NAME\", \"id\": NUMBER}, or give folders that have the names "
             "of the classes",
             a->path, a->name, largest_id, (int)strcspn(at, "\r\n"), at);
    if (!digits || m->size > cls_bytes || *rest || rest != text + n || value > largest_id)
        FAIL(a->ctx, FDIT_ERROR_FORMAT, "%s:%s: a class id, digits from 0 to %d, is needed in a .cls member",
             a->path, a->name, largest_id);
    TRY(fdit_names_add(a->ctx, &a->keys, a->name, key_length(a->name), &id, &added));
    TRY(fdit_grow(a->ctx, &a->ids, &a->ids_capacity, id + 1, sizeof *a->ids));
    if (!added && a->ids[id] != value)
        FAIL(a->ctx, FDIT_ERROR_FORMAT,
             "%s:%s: the sample is there twice, with class ids %d and %d; make the archive anew with each "
             "sample once (tar -r adds, it does not replace)",
             a->path, a->name, a->ids[id], value);
    a->ids[id] = value;
out:
    return status;
}

/* The whole of a member of at most `most` bytes as text, into a->buffer; *n is SIZE_MAX for a
 * longer one. */
static enum fdit_status read_text(struct archive *a, const struct fdit_tar_member *m, size_t most, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    *n = SIZE_MAX;
    if (m->size > most)
        return FDIT_OK;
    TRY(fdit_grow(a->ctx, &a->buffer, &a->buffer_capacity, (size_t)m->size + 1, 1));
    TRY(read_fully(a, a->buffer, (size_t)m->size, n));
    a->buffer[*n] = 0;
out:
    return status;
}

/* Whether what is written there takes memory and not a disk. */
static bool lies_in_memory(int fd)
{
#ifdef __linux__
    enum { tmpfs = 0x01021994, ramfs = 0x858458f6 - (INT64_C(1) << 32) };
    struct statfs about;
    return !fstatfs(fd, &about) && ((int32_t)about.f_type == tmpfs || (int32_t)about.f_type == ramfs);
#else
    (void)fd;
    return false;
#endif
}

/* What may be unpacked: FINEDIFFUSION_UNPACK_LIMIT, a number of bytes with or without K, M, G or T;
 * else four fifths of what is free where the spool lies. */
static enum fdit_status unpack_limit(fdit_context *ctx, struct fdit_dataset *ds)
{
    enum fdit_status status = FDIT_OK;
    const char *given = getenv("FINEDIFFUSION_UNPACK_LIMIT");
    struct statvfs about;
    if (!given || !*given) {
        ds->spool_limit =
            fstatvfs(ds->spool, &about) ? UINT64_MAX : (uint64_t)about.f_bavail * about.f_frsize / 5 * 4;
        return FDIT_OK;
    }
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long bytes = strtoull(given, &end, 10);
    const char *unit = *end ? strchr(units, *end >= 'a' ? *end - 32 : *end) : NULL;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if (errno || end == given || *given == '-' || (*end && (!unit || end[1])) || bytes > UINT64_MAX >> shift)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "FINEDIFFUSION_UNPACK_LIMIT=%.40s: a number of bytes is needed, as 20G", given);
    ds->spool_limit = (uint64_t)bytes << shift;
out:
    return status;
}

/* Where --memory is given and what is unpacked takes memory, it is within it. */
static void bound_by_memory(struct fdit_dataset *ds)
{
    ds->spool_in_memory = lies_in_memory(ds->spool);
    if (ds->spool_in_memory && ds->options.memory && ds->spool_limit > ds->options.memory)
        ds->spool_limit = ds->options.memory;
}

static enum fdit_status open_spool(fdit_context *ctx, struct fdit_dataset *ds)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    if (ds->spool >= 0)
        return FDIT_OK;
    TRY(fdit_path_join(ctx, fdit_temporary_folder(), "finediffusion-XXXXXX", &path));
    ds->spool = mkostemp(path, O_CLOEXEC);
    if (ds->spool < 0)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno,
                            "%s: no room to unpack %s; set TMPDIR to a folder that can be written", path,
                            ds->root));
    unlink(path);
    TRY(unpack_limit(ctx, ds));
    bound_by_memory(ds);
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
    if (ds->spool_limit - ds->spool_size < item->size && ds->spool_in_memory)
        FAIL(a->ctx, FDIT_ERROR_MEMORY,
             "%s: %ju bytes are unpacked into TMPDIR, which lies in memory (tmpfs), and \"%.100s\" has "
             "%ju, more than the %ju that may be (--memory, FINEDIFFUSION_UNPACK_LIMIT, or four fifths of "
             "what was free there); set TMPDIR to a folder on a disk, or unpack it yourself",
             a->path, (uintmax_t)ds->spool_size, a->name, (uintmax_t)item->size, (uintmax_t)ds->spool_limit);
    if (ds->spool_limit - ds->spool_size < item->size)
        FAIL(a->ctx, FDIT_ERROR_IO,
             "%s: %ju bytes are unpacked and \"%.100s\" has %ju, more than the %ju that may be "
             "(four fifths of what was "
             "free, or FINEDIFFUSION_UNPACK_LIMIT); set TMPDIR to a folder with more room, or "
             "unpack it yourself",
             a->path, (uintmax_t)ds->spool_size, a->name, (uintmax_t)item->size, (uintmax_t)ds->spool_limit);
    TRY(fdit_grow(a->ctx, &a->buffer, &a->buffer_capacity, 1 << 16, 1));
    memcpy(a->buffer, head, n_head);
    item->offset = ds->spool_size;
    for (size_t n = n_head; n;) {
        for (size_t done = 0; done < n;) {
            ssize_t wrote = pwrite(ds->spool, a->buffer + done, n - done, (off_t)ds->spool_size);
            if (wrote < 0 && errno == EINTR)
                continue;
            if (wrote < 0)
                TRY(fdit_fail_errno(a->ctx, FDIT_ERROR_IO, errno,
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

/* The .json of a sample, n bytes in a->buffer. */
static enum fdit_status take_json(struct archive *a, size_t n)
{
    enum fdit_status status = FDIT_OK;
    int64_t class_id;
    size_t at;
    TRY(fdit_ds_take_json(a->ctx, a->ds, a->name, (const char *)a->buffer, n, &class_id));
    if (class_id < 0)
        return FDIT_OK;
    TRY(fdit_names_add(a->ctx, &a->told, a->name, key_length(a->name), &at, NULL));
    TRY(fdit_grow(a->ctx, &a->told_ids, &a->told_capacity, at + 1, sizeof *a->told_ids));
    a->told_ids[at] = class_id;
out:
    return status;
}

/* Compares what .json and .cls of this shard's samples say. */
static void compare_told(struct archive *a)
{
    struct fdit_dataset *ds = a->ds;
    for (size_t i = 0; i < a->told.n; i++) {
        const char *key = fdit_names_get(&a->told, i);
        size_t at = fdit_names_find(&a->keys, key, fdit_names_length(&a->told, i));
        if (at == FDIT_NAMES_NONE)
            continue;
        if (a->ids[at] == a->told_ids[i])
            ds->told.agree++;
        else if (!ds->told.differ++)
            snprintf(ds->told.first, sizeof ds->told.first,
                     "%.200s: %.200s.json has %" PRId64 ", and %.40s.cls %d", a->path, key, a->told_ids[i],
                     strrchr(key, '/') ? strrchr(key, '/') + 1 : key, (int)a->ids[at]);
    }
}

static enum fdit_status take_member(struct archive *a, const struct fdit_tar_member *m)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_dataset *ds = a->ds;
    struct fdit_ds_item item = { .offset = m->offset, .label = -1 };
    bool packed = ds->packed[a->shard];
    uint8_t head[FDIT_KIND_BYTES];
    size_t n = 0, len = strlen(m->name) + 1;
    enum fdit_kind kind = FDIT_KIND_PNG; /* by its name a picture */
    item.size = m->size > FDIT_DS_LARGEST ? (uint32_t)FDIT_DS_LARGEST + 1 : (uint32_t)m->size;
    if (hidden(m->name))
        return FDIT_OK;
    /* m->name lives until the stream moves on, and fdit_tar_stream_read may move it. */
    TRY(fdit_grow(a->ctx, &a->name, &a->name_capacity, len, 1));
    memcpy(a->name, m->name, len);
    if (is_field(a->name, ".cls"))
        return take_cls(a, m);
    if (is_field(a->name, ".json") || !strcmp(a->name, TAXONOMY_MEMBER)) {
        bool table = a->name[0] == '_' && !strchr(a->name, '.');
        TRY(read_text(a, m, table ? LARGEST_TAXONOMY : json_bytes, &n));
        if (n == SIZE_MAX)
            return table ? FDIT_OK : fdit_ds_ignore(a->ctx, ds, "", a->name, FDIT_KIND_JSON);
        a->sidecars += !table;
        if (!table)
            fdit_name_list_add(&a->sidecar_names, a->name, NULL);
        return table ? fdit_ds_take_taxonomy(a->ctx, ds, a->name, (const char *)a->buffer, n)
                     : take_json(a, n);
    }
    if (fdit_path_has_suffix(a->name, ".cls"))
        fdit_name_list_add(&a->dotted, a->name, NULL);
    if (!fdit_picture_is_name(a->name) || packed)
        TRY(read_fully(a, head, sizeof head, &n));
    if (!fdit_picture_is_name(a->name))
        kind = fdit_kind_of_bytes(head, n);
    if (fdit_kind_group(kind) != FDIT_KIND_IS_PICTURE)
        return fdit_ds_ignore(a->ctx, ds, "", a->name, kind);
    if (packed && item.size <= FDIT_DS_LARGEST) /* a larger one is refused when it is read */
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
    if (*id == FDIT_NAMES_NONE && a->without.n++ == 0)
        snprintf(a->without.first, sizeof a->without.first, "%s:%.*s%s: no %.*s.cls beside it%s", a->path,
                 (int)(before < 200 ? before : 200), a->text, name, (int)key, name,
                 strchr(name + key, '.') && strchr(strchr(name + key, '.') + 1, '.')
                     ? " (the key of a sample ends at the first dot of the name)"
                     : "");
out:
    return status;
}

struct sample {
    uint32_t plain, others; /* pictures KEY.jpg, and KEY.seg.png */
    uint32_t again;         /* of the first ones, members that have the name of the first */
    size_t first;           /* the item of the first, + 1 */
};

/* Keys without a picture, and samples of which it is not clear which picture is meant. */
static enum fdit_status check_samples(struct archive *a, const struct sample *samples)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_name_list orphans = { 0 }, unclear = { 0 }, twice = { 0 };
    for (size_t k = 0; k < a->keys.n; k++) {
        const struct sample *s = &samples[k];
        if (!s->plain && !s->others)
            fdit_name_list_add(&orphans, fdit_names_get(&a->keys, k), NULL);
        if (s->again)
            fdit_name_list_add(&twice, fdit_names_get(&a->keys, k), NULL);
        else if (s->plain > 1 || (!s->plain && s->others > 1))
            fdit_name_list_add(&unclear, fdit_names_get(&a->keys, k), NULL);
    }
    if (a->without.n > 1)
        TRY(fdit_ds_problem(a->ctx, a->ds, "%s; and %zu more pictures without one", a->without.first,
                            a->without.n - 1));
    else if (a->without.n)
        TRY(fdit_ds_problem(a->ctx, a->ds, "%s", a->without.first));
    if (twice.n)
        TRY(fdit_ds_problem(a->ctx, a->ds,
                            "%s: %zu sample%s there twice, a picture of the same name again: %s; make the "
                            "archive anew with each sample once (tar -r adds, it does not replace)",
                            a->path, twice.n, twice.n > 1 ? "s are" : " is", fdit_name_list_text(&twice)));
    if (unclear.n)
        TRY(fdit_ds_problem(
            a->ctx, a->ds,
            "%s: %zu sample%s with several pictures, and it is not clear which is meant: %s; one must be "
            "KEY.jpg, KEY.png or KEY.webp, and the others have a further dot, as KEY.mask.png",
            a->path, unclear.n, unclear.n > 1 ? "s" : "", fdit_name_list_text(&unclear)));
    if (orphans.n)
        TRY(fdit_ds_note(a->ctx, a->ds, "%s: %zu .cls member%s without a picture: %s", a->path, orphans.n,
                         orphans.n > 1 ? "s" : "", fdit_name_list_text(&orphans)));
    if (a->dotted.n)
        TRY(fdit_ds_note(a->ctx, a->ds,
                         "%s: %zu .cls member%s not used, since the key of "
                         "a sample ends at the first dot of the name: %s",
                         a->path, a->dotted.n, a->dotted.n > 1 ? "s are" : " is",
                         fdit_name_list_text(&a->dotted)));
out:
    return status;
}

static void count_picture(const struct fdit_dataset *ds, size_t i, struct sample *s)
{
    const char *name = ds->names + ds->items[i].name;
    if (!is_plain(name)) {
        s->others++;
        return;
    }
    s->plain++;
    if (!s->first)
        s->first = i + 1;
    else if (!strcmp(ds->names + ds->items[s->first - 1].name, name))
        s->again++;
}

/* The labels of a shard's pictures, from `first` on. A sample may have several (KEY.jpg,
 * KEY.seg.png): the one without a further dot counts, or the only one. */
static enum fdit_status label_shard(struct archive *a, size_t first)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_dataset *ds = a->ds;
    struct sample *samples = NULL; /* [keys] */
    size_t kept = first, id;
    TRY(fdit_alloc(a->ctx, a->keys.n, sizeof *samples, &samples));
    for (size_t i = first; i < ds->n; i++) {
        TRY(key_of(a, i, &id));
        ds->items[i].label = id == FDIT_NAMES_NONE ? -1 : (int32_t)id;
        if (id == FDIT_NAMES_NONE)
            continue;
        count_picture(ds, i, &samples[id]);
    }
    TRY(check_samples(a, samples));
    for (size_t i = first; i < ds->n; i++) {
        const char *name = ds->names + ds->items[i].name;
        if (ds->items[i].label < 0)
            continue;
        const struct sample *sample = &samples[ds->items[i].label];
        if (!is_plain(name) && sample->plain) {
            TRY(fdit_ds_ignore(a->ctx, ds, fdit_ds_folder(ds, ds->items[i].place), name, FDIT_KIND_PNG));
            continue;
        }
        ds->items[kept] = ds->items[i];
        ds->items[kept].label = a->ids[ds->items[i].label];
        kept++;
    }
    ds->n = kept;
out:
    fdit_free(samples);
    return status;
}

/* An archive without a KEY.cls: what looks as if it should have some. */
static enum fdit_status check_unlabelled(struct archive *a, size_t first)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_dataset *ds = a->ds;
    bool folders = false;
    for (size_t i = first; i < ds->n && !folders; i++)
        folders = *fdit_ds_folder(ds, ds->items[i].place);
    for (size_t k = 0; k < a->sidecars; k++) /* they may be anybody's */
        ds->kinds[FDIT_KIND_JSON] += 1, ds->ignored++;
    if (!ds->ignored_names.n)
        ds->ignored_names = a->sidecar_names;
    if (a->dotted.n && folders)
        TRY(fdit_ds_note(a->ctx, ds,
                         "%s: %zu .cls members have keys with a dot (%s), where the key of a "
                         "WebDataset sample ends at "
                         "the first dot; the classes are the folders'",
                         a->path, a->dotted.n, fdit_name_list_text(&a->dotted)));
    else if (a->dotted.n)
        TRY(fdit_ds_problem(
            a->ctx, ds,
            "%s: the key of a WebDataset sample ends at the first dot of the file's name, so that %s "
            "belong%s to no sample; write other characters for the dots in the keys",
            a->path, fdit_name_list_text(&a->dotted), a->dotted.n > 1 ? "" : "s"));
out:
    return status;
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
    TRY(fdit_tar_stream_open(ctx, path, &a.stream));
    ds->packed[shard] = fdit_tar_stream_packed(a.stream);
    for (;;) {
        TRY(fdit_tar_stream_next(ctx, a.stream, &m, &found));
        if (!found)
            break;
        TRY(take_member(&a, &m));
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "%s: interrupted", path);
    }
    ds->links += fdit_tar_stream_links(a.stream);
    ds->special += fdit_tar_stream_special(a.stream);
    *labelled = a.keys.n > 0;
    compare_told(&a);
    TRY(*labelled ? label_shard(&a, first) : check_unlabelled(&a, first));
out:
    fdit_tar_stream_close(a.stream);
    fdit_names_fini(&a.keys);
    fdit_names_fini(&a.told);
    fdit_free(a.told_ids);
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
static enum fdit_status class_folders(fdit_context *ctx, struct fdit_dataset *ds, struct fdit_names *classes)
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
        if (!*folder && !ds->options.loose)
            continue;
        const char *class = *folder ? folder + top : ".";
        TRY(fdit_names_add(ctx, classes, class, strlen(class), &id, NULL));
        labels[p] = (int32_t)id;
    }
    size_t kept = 0, without = 0;
    for (size_t i = 0; i < ds->n; i++) {
        ds->items[i].label = labels[ds->items[i].place];
        if (ds->items[i].label < 0 && !without++)
            TRY(fdit_dataset_name(ctx, ds, i, &name));
        if (ds->items[i].label >= 0)
            ds->items[kept++] = ds->items[i];
    }
    ds->n = kept;
    if (without == 1)
        TRY(fdit_ds_problem(ctx, ds, "%s: lies in no class folder and has no .cls member beside it", name));
    else if (without)
        TRY(fdit_ds_problem(ctx, ds,
                            "%s: lies in no class folder and has no .cls member beside it, as %zu other%s",
                            name, without - 1, without == 2 ? "" : "s"));
out:
    fdit_free(name);
    fdit_free(labels);
    return status;
}

enum fdit_status fdit_ds_index_tar(fdit_context *ctx, struct fdit_dataset *ds, const char *const *paths,
                                   size_t n_paths, struct fdit_names *classes, bool *numbered)
{
    enum fdit_status status = FDIT_OK;
    ds->archives = true;
    for (size_t i = 0; i < n_paths; i++) {
        bool labelled = false;
        TRY(take_archive(ctx, ds, paths[i], &labelled));
        if (i && labelled != *numbered)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s and %s: one has .cls members, the other has none", paths[i - 1],
                 paths[i]);
        *numbered = labelled;
    }
    if (ds->spool_in_memory && ds->spool_size >= large_in_memory)
        TRY(fdit_ds_note(ctx, ds,
                         "%s: its %ju MB are unpacked into TMPDIR, which lies in memory (tmpfs): so much "
                         "is taken until the end; set TMPDIR to a folder on a disk to save it",
                         ds->root, (uintmax_t)(ds->spool_size / 1000000)));
    ds->kind = *numbered ? "webdataset" : "tar";
    if (!*numbered)
        TRY(class_folders(ctx, ds, classes));
out:
    return status;
}
