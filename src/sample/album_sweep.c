/* SPDX-License-Identifier: Apache-2.0
 * Removing what a former job made, and nothing else. Everything is reached through descriptors of
 * folders that are opened without following links, so that no file outside can be meant. */
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
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "", or ".I-of-N": its length; the rest of the name is behind it. */
static size_t shard_part(const char *text)
{
    if (*text != '.')
        return 0;
    size_t i = strspn(text + 1, "0123456789");
    if (!i || strncmp(text + 1 + i, "-of-", 4) != 0)
        return 0;
    size_t n = strspn(text + i + 5, "0123456789");
    return n ? i + n + 5 : 0;
}

bool fdit_album_is_manifest(const char *name)
{
    size_t n = strlen("manifest");
    return !strncmp(name, "manifest", n) && !strcmp(name + n + shard_part(name + n), ".jsonl");
}

bool fdit_album_is_archive(const char *name)
{
    size_t n = strlen("pictures");
    if (strncmp(name, "pictures", n) != 0)
        return false;
    name += n + shard_part(name + n);
    size_t digits = *name == '-' ? strspn(name + 1, "0123456789") : 0;
    return digits >= 5 && !strcmp(name + 1 + digits, ".tar");
}

static bool is_regular(int folder, const char *name)
{
    struct stat st;
    return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static int open_folder(int folder, const char *name)
{
    return openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static enum fdit_status remove_file(fdit_context *ctx, int folder, const char *name)
{
    if (unlinkat(folder, name, 0) != 0 && errno != ENOENT)
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot remove the file", name);
    return FDIT_OK;
}

/* ------------------------------------------------------------------ what a manifest names */

struct named {
    fdit_context *ctx;
    int folder;
    bool tar; /* archives may go */
    enum fdit_status status;
    bool ours; /* every line so far is a manifest's */
};

/* FOLDER/FOLDER-SEED.png and nothing else: a line cannot lead anywhere else. */
static bool split_file(const char *file, uint64_t seed, char folder[512], const char **name)
{
    char digits[32];
    const char *slash = strchr(file, '/');
    size_t n = slash ? (size_t)(slash - file) : 0;
    if (!n || n >= 512 || strchr(slash + 1, '/') || !strcmp(slash + 1, ".."))
        return false;
    memcpy(folder, file, n);
    folder[n] = '\0';
    if (!strcmp(folder, "..") || !strcmp(folder, "."))
        return false;
    *name = slash + 1;
    snprintf(digits, sizeof digits, "-%" PRIu64 ".png", seed);
    return !strncmp(*name, folder, n) && !strcmp(*name + n, digits);
}

static bool take_line(void *user, const char *line, size_t n)
{
    struct named *m = user;
    json_t *root = NULL;
    char folder[512];
    const char *name;
    enum fdit_status parsed = fdit_json_parse(m->ctx, "manifest", line, n, 4, &root);
    if (parsed == FDIT_ERROR_MEMORY)
        m->status = parsed;
    const char *file = json_string_value(json_object_get(root, "file"));
    const char *archive = json_string_value(json_object_get(root, "tar"));
    const json_t *seed = json_object_get(root, "seed"), *id = json_object_get(root, "id");
    m->ours = parsed == FDIT_OK && json_is_integer(seed) && json_is_integer(id) &&
              json_is_string(json_object_get(root, "class"));
    if (m->ours && archive) {
        if (m->tar && fdit_album_is_archive(archive) && is_regular(m->folder, archive))
            m->status = remove_file(m->ctx, m->folder, archive);
    } else if (m->ours && file && split_file(file, (uint64_t)json_integer_value(seed), folder, &name)) {
        int inner = open_folder(m->folder, folder);
        if (inner >= 0 && is_regular(inner, name))
            m->status = remove_file(m->ctx, inner, name);
        if (inner >= 0)
            close(inner);
        unlinkat(m->folder, folder, AT_REMOVEDIR); /* stays when anything else is in it */
    }
    json_decref(root);
    return m->ours && m->status == FDIT_OK;
}

/* The pictures that a manifest names, then the manifest. */
static enum fdit_status sweep_manifest(fdit_context *ctx, const char *dir, int folder, const char *name,
                                       bool tar)
{
    enum fdit_status status = FDIT_OK;
    struct named m = { .ctx = ctx, .folder = folder, .tar = tar };
    char *path = NULL;
    uint64_t end;
    TRY(fdit_path_join(ctx, dir, name, &path));
    TRY(fdit_file_lines(ctx, path, take_line, &m, &end));
    TRY(m.status);
    if (m.ours)
        TRY(remove_file(ctx, folder, name));
out:
    fdit_free(path);
    return status;
}

/* ------------------------------------------------------------------ what says itself whose it is */

/* NAME-SEED.png in the folder NAME. */
static bool is_picture_of(const char *folder, const char *file, uint64_t *seed)
{
    size_t n = strlen(folder);
    char again[32];
    if (strncmp(file, folder, n) != 0 || file[n] != '-' || sscanf(file + n + 1, "%19" SCNu64, seed) != 1)
        return false;
    snprintf(again, sizeof again, "%" PRIu64 ".png", *seed);
    return !strcmp(file + n + 1, again);
}

/* Whether the picture says that the job made it for this folder. */
static enum fdit_status says_so(fdit_context *ctx, const char *dir, const char *folder, const char *file,
                                const char *run, bool *yes)
{
    enum fdit_status status = FDIT_OK;
    char *inner = NULL, *path = NULL, *encoded = NULL;
    uint8_t *bytes = NULL;
    struct fdit_png_scan scan;
    json_t *root = NULL;
    uint64_t seed;
    size_t n;
    *yes = false;
    if (!is_picture_of(folder, file, &seed))
        return FDIT_OK;
    TRY(fdit_path_join(ctx, dir, folder, &inner));
    TRY(fdit_path_join(ctx, inner, file, &path));
    TRY(fdit_file_read_all(ctx, path, (size_t)1 << 30, &bytes, &n));
    if (!fdit_png_scan(bytes, n, FDIT_CAPTION_KEY, &scan) || !scan.text ||
        !fdit_caption_is(scan.text, scan.text_n, run, NULL, 0))
        goto out;
    TRY(fdit_json_parse(ctx, path, scan.text, scan.text_n, 16, &root));
    const char *name = json_string_value(json_object_get(root, "class"));
    TRY(fdit_path_encode(ctx, name, &encoded));
    *yes = !strcmp(encoded, folder) && fdit_caption_is(scan.text, scan.text_n, run, name, seed);
out:
    json_decref(root);
    fdit_free(inner);
    fdit_free(path);
    fdit_free(encoded);
    fdit_free(bytes);
    return status;
}

static enum fdit_status sweep_class(fdit_context *ctx, const char *dir, int top, const char *folder,
                                    const char *run)
{
    enum fdit_status status = FDIT_OK;
    int fd = open_folder(top, folder);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        if (fd >= 0)
            close(fd);
        return FDIT_OK; /* a link, or not for us */
    }
    bool removed = false, yes;
    for (;;) {
        struct dirent *e;
        TRY(fdit_folder_next(ctx, d, folder, &e));
        if (!e)
            break;
        if (!is_regular(dirfd(d), e->d_name))
            continue;
        TRY(says_so(ctx, dir, folder, e->d_name, run, &yes));
        if (!yes)
            continue;
        TRY(remove_file(ctx, dirfd(d), e->d_name));
        removed = true;
    }
    if (removed)
        unlinkat(top, folder, AT_REMOVEDIR);
out:
    closedir(d);
    return status;
}

enum fdit_status fdit_album_sweep(fdit_context *ctx, const char *dir, const char *run, bool tar)
{
    enum fdit_status status = FDIT_OK;
    for (int round = 0; round < 2;
         round++) { /* manifests first: the pictures' own word costs a look at each */
        DIR *d = opendir(dir);
        if (!d)
            return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s cannot be listed", dir);
        for (struct dirent *e; status == FDIT_OK;) {
            status = fdit_folder_next(ctx, d, dir, &e);
            if (status != FDIT_OK || !e)
                break;
            const char *name = e->d_name;
            if (round == 0 && fdit_album_is_manifest(name) && is_regular(dirfd(d), name))
                status = sweep_manifest(ctx, dir, dirfd(d), name, tar);
            else if (round == 1 && tar && fdit_album_is_archive(name) && is_regular(dirfd(d), name))
                status = remove_file(ctx, dirfd(d), name);
            else if (round == 1 && name[0] != '.')
                status = sweep_class(ctx, dir, dirfd(d), name, run);
        }
        closedir(d);
        TRY(status);
    }
out:
    return status;
}
