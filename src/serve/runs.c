/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/runs.h"

#include "core/file.h"
#include "core/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bytes up to the last line end. */
static size_t whole_lines(const char *bytes, size_t n)
{
    while (n && bytes[n - 1] != '\n')
        n--;
    return n;
}

enum fdit_status fdit_runs_log(fdit_context *ctx, const char *run, int64_t from, char **bytes, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *part = NULL;
    int fd = -1;
    *bytes = NULL;
    *n = 0;
    TRY(fdit_path_join(ctx, run, "log.jsonl", &path));
    TRY(fdit_alloc(ctx, FDIT_RUNS_PART, 1, &part));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s cannot be read", path));
    while (fd >= 0 && *n < FDIT_RUNS_PART) {
        ssize_t got = pread(fd, part + *n, FDIT_RUNS_PART - *n, (off_t)from + (off_t)*n);
        if (got < 0 && errno != EINTR)
            TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s cannot be read", path));
        if (got == 0)
            break;
        *n += got > 0 ? (size_t)got : 0;
    }
    *n = whole_lines(part, *n);
    *bytes = part;
    part = NULL;
out:
    if (fd >= 0)
        close(fd);
    fdit_free(part);
    fdit_free(path);
    return status;
}

static int by_step(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

enum fdit_status fdit_runs_previews(fdit_context *ctx, const char *run, int64_t **steps, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    size_t capacity = 0;
    DIR *folder = NULL;
    *steps = NULL;
    *n = 0;
    TRY(fdit_path_join(ctx, run, "previews", &path));
    folder = opendir(path);
    for (const struct dirent *e; folder && (e = readdir(folder));) {
        int64_t step;
        int end = 0;
        if (sscanf(e->d_name, "step-%" SCNd64 ".png%n", &step, &end) != 1 || !end || e->d_name[end])
            continue;
        TRY(fdit_grow(ctx, steps, &capacity, *n + 1, sizeof **steps));
        (*steps)[(*n)++] = step;
    }
    if (*n)
        qsort(*steps, *n, sizeof **steps, by_step);
out:
    if (folder)
        closedir(folder);
    fdit_free(path);
    if (status != FDIT_OK) {
        fdit_free(*steps);
        *steps = NULL;
        *n = 0;
    }
    return status;
}

enum fdit_status fdit_runs_preview(fdit_context *ctx, const char *run, int64_t step, int *file, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    TRY(fdit_strf(ctx, &path, "%s/previews/step-%" PRId64 ".png", run, step));
    if (!fdit_file_exists(path))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "there is no preview of step %" PRId64, step);
    TRY(fdit_file_open(ctx, path, file, n));
out:
    fdit_free(path);
    return status;
}
