/* SPDX-License-Identifier: Apache-2.0 */
#include "model/shards.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MOST_INDEX ((size_t)100 << 20)

enum fdit_status fdit_shards_name(fdit_context *ctx, const char *stem, size_t i, size_t n, char **out)
{
    return fdit_strf(ctx, out, "%s-%05zu-of-%05zu.safetensors", stem, i, n);
}

/* The path of an index without its endings. */
static enum fdit_status plain_stem(fdit_context *ctx, const char *index, char **out)
{
    static const char *const endings[] = { ".safetensors.index.json", ".index.json", "" };
    size_t i = 0;
    while (!fdit_path_has_suffix(index, endings[i]))
        i++;
    return fdit_strndup(ctx, index, strlen(index) - strlen(endings[i]), out);
}

static enum fdit_status is_free(fdit_context *ctx, const char *stem, size_t n, bool *free)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    *free = true;
    for (size_t i = 1; i <= n && *free; i++) {
        fdit_free(path);
        path = NULL;
        TRY(fdit_shards_name(ctx, stem, i, n, &path));
        *free = access(path, F_OK) != 0;
    }
out:
    fdit_free(path);
    return status;
}

enum fdit_status fdit_shards_stem(fdit_context *ctx, const char *index, size_t n,
                                  struct fdit_shards_stem *out)
{
    enum fdit_status status = FDIT_OK;
    char *plain = NULL;
    bool free = false;
    *out = (struct fdit_shards_stem){ 0 };
    TRY(plain_stem(ctx, index, &plain));
    TRY(fdit_strf(ctx, &out->unfinished, "%s.v0", plain));
    for (int version = 1; !free; version++) {
        fdit_free(out->final);
        out->final = NULL;
        TRY(version == 1 ? fdit_strdup(ctx, plain, &out->final)
                         : fdit_strf(ctx, &out->final, "%s.v%d", plain, version));
        TRY(is_free(ctx, out->final, n, &free));
        if (version == 100000)
            FAIL(ctx, FDIT_ERROR_IO, "%s: its folder is full of older shards; remove them", index);
    }
out:
    if (status != FDIT_OK)
        fdit_shards_stem_fini(out);
    fdit_free(plain);
    return status;
}

void fdit_shards_stem_fini(struct fdit_shards_stem *s)
{
    fdit_free(s->unfinished);
    fdit_free(s->final);
    *s = (struct fdit_shards_stem){ 0 };
}

enum fdit_status fdit_shards_publish(fdit_context *ctx, const struct fdit_shards_stem *s, size_t n)
{
    enum fdit_status status = FDIT_OK;
    char *from = NULL, *to = NULL;
    for (size_t i = 1; i <= n; i++) {
        fdit_free(from);
        fdit_free(to);
        from = to = NULL;
        TRY(fdit_shards_name(ctx, s->unfinished, i, n, &from));
        TRY(fdit_shards_name(ctx, s->final, i, n, &to));
        if (rename(from, to) != 0)
            TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot put the file in place", to));
    }
out:
    fdit_free(from);
    fdit_free(to);
    return status;
}

void fdit_shards_drop(const struct fdit_shards_stem *s, size_t written, size_t n)
{
    for (size_t i = 1; i <= written; i++)
        for (int last = 0; last < 2; last++) {
            char *path = NULL;
            if (fdit_shards_name(NULL, last ? s->final : s->unfinished, i, n, &path) == FDIT_OK)
                fdit_file_remove(NULL, path);
            fdit_free(path);
        }
}

enum fdit_status fdit_shards_read(fdit_context *ctx, const char *index, struct fdit_shards *out)
{
    enum fdit_status status = FDIT_OK;
    json_t *root = NULL, *value;
    char *folder = NULL;
    const char *key, *last = NULL;
    if (!fdit_is_file(index))
        return FDIT_OK;
    status = fdit_json_read(ctx, index, MOST_INDEX, 8, &root);
    if (status != FDIT_OK && status != FDIT_ERROR_MEMORY)
        return FDIT_OK;
    TRY(status);
    TRY(fdit_path_folder(ctx, index, &folder));
    json_object_foreach(json_object_get(root, "weight_map"), key, value)
    {
        const char *name = json_string_value(value);
        if (!name || strchr(name, '/') || (last && !strcmp(last, name)))
            continue;
        TRY(fdit_grow(ctx, &out->paths, &out->capacity, out->n + 1, sizeof *out->paths));
        TRY(fdit_path_join(ctx, folder, name, &out->paths[out->n]));
        out->n++;
        last = name;
    }
out:
    fdit_free(folder);
    json_decref(root);
    return status;
}

void fdit_shards_fini(struct fdit_shards *s)
{
    for (size_t i = 0; i < s->n; i++)
        fdit_free(s->paths[i]);
    fdit_free(s->paths);
    *s = (struct fdit_shards){ 0 };
}

static bool names(const struct fdit_shards *s, const char *path)
{
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(fdit_path_base(s->paths[i]), fdit_path_base(path)))
            return true;
    return false;
}

/* All files that indices in the folder name. */
static enum fdit_status named(fdit_context *ctx, const char *folder, struct fdit_shards *out)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    DIR *dir = opendir(folder);
    if (!dir) /* then it is not known what is still wanted */
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot list the folder", folder));
    for (struct dirent *entry; errno = 0, (entry = readdir(dir));) {
        if (!fdit_path_has_suffix(entry->d_name, ".index.json"))
            continue;
        fdit_free(path);
        path = NULL;
        TRY(fdit_path_join(ctx, folder, entry->d_name, &path));
        TRY(fdit_shards_read(ctx, path, out));
    }
    if (errno)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot list the folder", folder));
out:
    if (dir)
        closedir(dir);
    fdit_free(path);
    return status;
}

/* "model.v12-00001-of-00003.safetensors" of this index's stem: only this program writes such names. */
static bool is_numbered(const char *name, const char *stem)
{
    size_t n = strlen(stem);
    unsigned version, i, of;
    int used = 0;
    return !strncmp(name, stem, n) &&
           sscanf(name + n, ".v%9u-%5u-of-%5u.safetensors%n", &version, &i, &of, &used) == 3 && used &&
           !name[n + (size_t)used];
}

/* stem-00001-of-00036.safetensors that this program has written: of a convert that was killed before its
 * index was in place. Files of others with such a name stay. */
static bool is_left_over(const char *path, const char *name, const char *stem)
{
    static const char mark[] = "\"format\":\"finediffusion-";
    char head[4096];
    unsigned i, of;
    int used = 0;
    size_t n = strlen(stem);
    if (strncmp(name, stem, n) || sscanf(name + n, "-%5u-of-%5u.safetensors%n", &i, &of, &used) != 2 ||
        !used || name[n + (size_t)used])
        return false;
    const int fd = fdit_regular_open(path, O_RDONLY);
    const ssize_t got = fd >= 0 ? read(fd, head, sizeof head) : 0;
    if (fd >= 0)
        close(fd);
    return got > 0 && memmem(head, (size_t)got, mark, sizeof mark - 1) != NULL;
}

enum fdit_status fdit_shards_clean(fdit_context *ctx, const char *index, const struct fdit_shards *old)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_shards keep = { 0 };
    char *folder = NULL, *plain = NULL, *path = NULL;
    DIR *dir = NULL;
    TRY(fdit_path_folder(ctx, index, &folder));
    TRY(plain_stem(ctx, index, &plain));
    TRY(named(ctx, folder, &keep)); /* the new index is one of them */
    for (size_t i = 0; i < old->n; i++)
        if (!names(&keep, old->paths[i]))
            unlink(old->paths[i]);
    dir = opendir(folder);
    if (!dir)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot list the folder", folder));
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (names(&keep, entry->d_name))
            continue;
        fdit_free(path);
        path = NULL;
        TRY(fdit_path_join(ctx, folder, entry->d_name, &path));
        if (is_numbered(entry->d_name, fdit_path_base(plain)) ||
            is_left_over(path, entry->d_name, fdit_path_base(plain)))
            unlink(path);
    }
out:
    if (dir)
        closedir(dir);
    fdit_shards_fini(&keep);
    fdit_free(path);
    fdit_free(plain);
    fdit_free(folder);
    return status;
}
