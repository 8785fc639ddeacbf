/* SPDX-License-Identifier: Apache-2.0
 * The index of a folder of class folders. */
#include "core/file.h"
#include "core/mem.h"
#include "data/dataset_index.h"
#include "picture/picture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { deepest = 64 };

struct walk {
    fdit_context *ctx;
    struct fdit_dataset *ds;
    struct fdit_names *classes;
    struct fdit_name_list empty, unread, shards, mixed, broken;
    size_t kinds[FDIT_KIND_COUNT]; /* of the other files of the present folder */
    char *picture;                 /* one of the pictures of the present folder */
    struct {
        dev_t device;
        ino_t node;
    } above[deepest]; /* the folders on the way down: a link back to one would never end */
    int depth;
};

enum fdit_status fdit_ds_add(fdit_context *ctx, struct fdit_dataset *ds, const char *name,
                             const struct fdit_ds_item *item)
{
    enum fdit_status status = FDIT_OK;
    size_t len = strlen(name) + 1;
    if (ds->n >= UINT32_MAX)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "%s: more than %u pictures", ds->root, UINT32_MAX);
    TRY(fdit_grow(ctx, &ds->names, &ds->names_capacity, ds->n_names + len, 1));
    TRY(fdit_grow(ctx, &ds->items, &ds->items_capacity, ds->n + 1, sizeof *ds->items));
    ds->items[ds->n] = *item;
    ds->items[ds->n].name = ds->n_names;
    memcpy(ds->names + ds->n_names, name, len);
    ds->n_names += len;
    ds->n++;
out:
    return status;
}

bool fdit_ds_hidden(const char *name, size_t len)
{
    static const char *const junk[] = { "__MACOSX", "@eaDir", "lost+found" };
    if (len && name[0] == '.')
        return true;
    for (size_t i = 0; i < sizeof junk / sizeof *junk; i++)
        if (strlen(junk[i]) == len && !memcmp(junk[i], name, len))
            return true;
    return false;
}

enum entry { ENTRY_OTHER, ENTRY_FILE, ENTRY_FOLDER, ENTRY_BROKEN };

/* What an entry is, links followed. Most file systems say it in the entry itself. */
static enum entry entry_kind(int folder, const struct dirent *e)
{
    struct stat st;
#ifdef DT_REG
    if (e->d_type == DT_REG)
        return ENTRY_FILE;
    if (e->d_type == DT_DIR)
        return ENTRY_FOLDER;
#endif
    if (fstatat(folder, e->d_name, &st, 0))
        return ENTRY_BROKEN;
    return S_ISREG(st.st_mode) ? ENTRY_FILE : S_ISDIR(st.st_mode) ? ENTRY_FOLDER : ENTRY_OTHER;
}

/* What a file is: of one that is called as a picture, that it is one. A file that is not for us is unknown
 * every time; one that cannot be looked at this time could be a picture that is left out. */
static enum fdit_status kind_in(fdit_context *ctx, int folder, const char *path, const char *name,
                                enum fdit_kind *kind)
{
    uint8_t head[FDIT_KIND_BYTES];
    *kind = FDIT_KIND_PNG;
    if (fdit_picture_is_name(name))
        return FDIT_OK;
    *kind = FDIT_KIND_UNKNOWN;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && fdit_is_shortage(errno))
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s/%s: cannot be opened", path, name);
    if (fd < 0)
        return FDIT_OK;
    size_t n = 0;
    ssize_t got = 0;
    while (n < sizeof head &&
           ((got = read(fd, head + n, sizeof head - n)) > 0 || (got < 0 && errno == EINTR)))
        n += got > 0 ? (size_t)got : 0;
    const int errnum = errno;
    close(fd);
    if (got < 0 && (errnum == EIO || errnum == ENOMEM))
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errnum, "%s/%s: cannot be read", path, name);
    if (got >= 0)
        *kind = fdit_kind_of_bytes(head, n);
    return FDIT_OK;
}

/* What `sample` writes beside its class folders. */
static bool is_ours(const char *name)
{
    return !strcmp(name, "run.json") ||
           (!strncmp(name, "manifest", 8) && fdit_path_has_suffix(name, ".jsonl"));
}

static enum fdit_status enter(struct walk *w, int fd, const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct stat st;
    if (fstat(fd, &st))
        return fdit_fail_errno(w->ctx, FDIT_ERROR_IO, errno, "%s", path);
    if (w->depth >= deepest)
        FAIL(w->ctx, FDIT_ERROR_FORMAT, "%s: folders are nested more than %d deep", path, deepest);
    for (int i = 0; i < w->depth; i++)
        if (w->above[i].device == st.st_dev && w->above[i].node == st.st_ino)
            FAIL(w->ctx, FDIT_ERROR_FORMAT, "%s: a link to a folder above it", path);
    w->above[w->depth].device = st.st_dev;
    w->above[w->depth].node = st.st_ino;
    w->depth++;
out:
    return status;
}

/* Reads the entries of one folder: pictures into the index as members of class `relative`, names of
 * sub-folders into `folders`. */
static enum fdit_status scan(struct walk *w, DIR *dir, const char *path, const char *relative,
                             struct fdit_names *folders, size_t *n_pictures)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_dataset *ds = w->ds;
    struct fdit_ds_item item = { .label = -1 };
    size_t id;
    const struct dirent *e;
    for (errno = 0; (e = readdir(dir)); errno = 0) {
        if (fdit_ds_hidden(e->d_name, strlen(e->d_name)))
            continue;
        enum entry entry = entry_kind(dirfd(dir), e);
        if (entry == ENTRY_FILE && !*relative && is_ours(e->d_name))
            continue;
        if (entry == ENTRY_BROKEN && !fdit_is_absence(errno))
            TRY(fdit_fail_errno(w->ctx, FDIT_ERROR_IO, errno, "%s/%s: cannot be looked at", path, e->d_name));
        enum fdit_kind kind = entry == ENTRY_OTHER ? FDIT_KIND_SPECIAL : FDIT_KIND_UNKNOWN;
        if (entry == ENTRY_FILE)
            TRY(kind_in(w->ctx, dirfd(dir), path, e->d_name, &kind));
        if (entry == ENTRY_FOLDER) {
            TRY(fdit_names_add(w->ctx, folders, e->d_name, strlen(e->d_name), &id, NULL));
        } else if (fdit_kind_group(kind) == FDIT_KIND_IS_PICTURE) {
            ++*n_pictures;
            if (!w->picture)
                TRY(fdit_strdup(w->ctx, e->d_name, &w->picture));
            if (!*relative && !ds->options.loose) { /* beside the class folders: in no class */
                TRY(fdit_ds_ignore(w->ctx, ds, relative, e->d_name, kind));
                continue;
            }
            if (item.label < 0) {
                const char *class = *relative ? relative : ".";
                TRY(fdit_names_add(w->ctx, w->classes, class, strlen(class), &id, NULL));
                item.label = (int32_t)id;
                TRY(fdit_names_add(w->ctx, &ds->places, relative, strlen(relative), &id, NULL));
                item.place = (uint32_t)id;
            }
            TRY(fdit_ds_add(w->ctx, ds, e->d_name, &item));
        } else if (entry == ENTRY_BROKEN && fdit_picture_is_name(e->d_name)) {
            fdit_name_list_add(&w->broken, e->d_name, NULL);
        } else {
            w->kinds[kind]++;
            TRY(fdit_ds_ignore(w->ctx, ds, relative, e->d_name, kind));
        }
        if (fdit_stopped(w->ctx))
            FAIL(w->ctx, FDIT_INTERRUPTED, "%s: interrupted", path);
    }
    if (errno)
        TRY(fdit_fail_errno(w->ctx, FDIT_ERROR_IO, errno, "%s", path));
out:
    return status;
}

/* A class's folder without a picture: by what the last one scanned holds instead. */
static void note_without(struct walk *w, const char *relative)
{
    size_t unread = 0, archives = 0;
    char text[24];
    for (int k = 0; k < FDIT_KIND_COUNT; k++) {
        enum fdit_kind_group group = fdit_kind_group((enum fdit_kind)k);
        unread += group == FDIT_KIND_IS_OTHER_PICTURE ? w->kinds[k] : 0;
        archives += group == FDIT_KIND_IS_ARCHIVE || group == FDIT_KIND_IS_OTHER_ARCHIVE ? w->kinds[k] : 0;
    }
    if (archives)
        fdit_name_list_add(&w->shards, relative, NULL);
    else if (unread)
        fdit_name_list_add(&w->unread, relative,
                           fdit_ds_kinds_text(w->kinds, FDIT_KIND_IS_OTHER_PICTURE, text, sizeof text));
    else
        fdit_name_list_add(&w->empty, relative, NULL);
}

static enum fdit_status walk_folder(struct walk *w, const char *path, const char *relative)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_names folders = { 0 };
    char *inner = NULL, *inner_relative = NULL;
    size_t n_pictures = 0;
    char *picture = NULL;
    int depth = w->depth;
    DIR *dir = opendir(path);
    if (!dir)
        return fdit_fail_errno(w->ctx, FDIT_ERROR_IO, errno, "%s: cannot be read", path);
    status = enter(w, dirfd(dir), path);
    memset(w->kinds, 0, sizeof w->kinds);
    if (status == FDIT_OK)
        status = scan(w, dir, path, relative, &folders, &n_pictures);
    closedir(dir); /* before going down: one descriptor at a time */
    picture = w->picture;
    w->picture = NULL;
    TRY(status);
    const bool loose = w->ds->options.loose;
    if (*relative && n_pictures && folders.n && !loose) {
        TRY(fdit_path_join(w->ctx, relative, picture, &inner));
        fdit_name_list_add(&w->mixed, inner, NULL);
        fdit_free(inner);
        inner = NULL;
    }
    if (*relative && !n_pictures && !folders.n && !loose)
        note_without(w, relative);
    if (!*relative && n_pictures && !folders.n && !loose)
        TRY(fdit_ds_problem(
            w->ctx, w->ds,
            "%s: %zu picture%s and no class folder (\"%.100s\"%s); put the pictures of each class "
            "into a folder of its own (eval: or give --no-classes)",
            path, n_pictures, n_pictures > 1 ? "s" : "", picture, n_pictures > 1 ? ", ..." : ""));
    for (size_t i = 0; i < folders.n; i++) {
        const char *name = fdit_names_get(&folders, i);
        TRY(fdit_path_join(w->ctx, path, name, &inner));
        TRY(fdit_strf(w->ctx, &inner_relative, "%s%s%s", relative, *relative ? "/" : "", name));
        TRY(walk_folder(w, inner, inner_relative));
        fdit_free(inner);
        fdit_free(inner_relative);
        inner = inner_relative = NULL;
    }
out:
    w->depth = depth;
    fdit_free(picture);
    fdit_free(inner);
    fdit_free(inner_relative);
    fdit_names_fini(&folders);
    return status;
}

enum fdit_status fdit_ds_index_folder(fdit_context *ctx, struct fdit_dataset *ds, struct fdit_names *classes)
{
    enum fdit_status status = FDIT_OK;
    struct walk w = { .ctx = ctx, .ds = ds, .classes = classes };
    ds->kind = "folder";
    TRY(walk_folder(&w, ds->root, ""));
    if (!ds->n && fdit_ds_has_weights(ds)) /* a model's folder, whatever its parts lack */
        TRY(fdit_ds_no_picture(ctx, ds));
    if (w.broken.n)
        TRY(fdit_ds_note(ctx, ds, "%s: %zu link%s to nowhere left out: %s", ds->root, w.broken.n,
                         w.broken.n > 1 ? "s" : "", fdit_name_list_text(&w.broken)));
    if (w.shards.n)
        TRY(fdit_ds_problem(ctx, ds,
                            "%s: %zu sub-folder%s with archives and no pictures: %s; give such a "
                            "folder itself, or a "
                            "list of archives as \"%s/*/*.tar\"",
                            ds->root, w.shards.n, w.shards.n > 1 ? "s" : "", fdit_name_list_text(&w.shards),
                            ds->root));
    if (w.unread.n)
        TRY(fdit_ds_problem(
            ctx, ds,
            "%s: %zu class folder%s without a picture of a kind that is read: %s; convert the "
            "pictures to PNG or JPEG",
            ds->root, w.unread.n, w.unread.n > 1 ? "s" : "", fdit_name_list_text(&w.unread)));
    if (w.empty.n)
        TRY(fdit_ds_problem(ctx, ds, "%s: %zu class folder%s without a picture: %s; fill or remove %s",
                            ds->root, w.empty.n, w.empty.n > 1 ? "s" : "", fdit_name_list_text(&w.empty),
                            w.empty.n > 1 ? "them" : "it"));
    ds->mixed = w.mixed.n > 0;
    if (w.mixed.n)
        TRY(fdit_ds_problem(
            ctx, ds,
            "%s: %zu folder%s with pictures beside class folders: %s; move the pictures into class folders",
            ds->root, w.mixed.n, w.mixed.n > 1 ? "s" : "", fdit_name_list_text(&w.mixed)));
out:
    fdit_free(w.picture);
    return status;
}
