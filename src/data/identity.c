/* SPDX-License-Identifier: Apache-2.0 */
#include "data/identity.h"

#include "core/file.h"
#include "core/fnv.h"
#include "core/mem.h"
#include "data/dataset_index.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_READ = 1024, HEAD_BYTES = 1 << 16, REPORT_EVERY = 1024 };

static uint64_t mark_number(uint64_t mark, uint64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
    return fdit_fnv(mark, bytes, sizeof bytes);
}

/* Length of a picture's content, and, into head, its first *n bytes (n NULL: not read). */
static enum fdit_status look_at(fdit_context *ctx, const struct fdit_dataset *ds, size_t i, uint64_t *length,
                                uint8_t *head, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_ds_item *item = &ds->items[i];
    uint32_t shard = ds->archives ? ds->place_shard[item->place] : 0;
    bool spooled = ds->archives && ds->packed[shard];
    uint64_t offset = ds->archives ? item->offset : 0;
    char *name = NULL;
    int fd = -1;
    struct stat st;
    *length = item->size;
    if (!ds->archives) {
        TRY(fdit_dataset_name(ctx, ds, i, &name));
        *length = stat(name, &st) == 0 ? (uint64_t)st.st_size : UINT64_MAX;
        if (*length == UINT64_MAX && !fdit_is_absence(errno))
            TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be looked at", name));
    }
    if (!n)
        goto out;
    *n = 0;
    fd = spooled ? ds->spool
                 : open(ds->archives ? fdit_names_get(&ds->shards, shard) : name, O_RDONLY | O_CLOEXEC);
    /* A file that is not there or not for us is so every time; a shortage of this process is not. */
    if (fd < 0 && fdit_is_shortage(errno))
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be opened",
                            ds->archives ? fdit_names_get(&ds->shards, shard) : name));
    size_t want = *length < HEAD_BYTES ? (size_t)*length : HEAD_BYTES;
    while (fd >= 0 && *n < want) {
        ssize_t got = pread(fd, head + *n, want - *n, (off_t)(offset + *n));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno != EISDIR && (!ds->options.skip_bad || fdit_is_shortage(errno)))
            TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be read; get it again or remove it",
                                ds->archives ? fdit_names_get(&ds->shards, shard) : name));
        if (got <= 0)
            break;
        *n += (size_t)got;
    }
out:
    if (fd >= 0 && !spooled)
        close(fd);
    fdit_free(name);
    return status;
}

enum fdit_status fdit_dataset_marks(fdit_context *ctx, const struct fdit_dataset *ds, uint64_t *marks,
                                    fdit_looked_fn looked, void *user)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *head = NULL;
    size_t read = 0, most = ds->n < MOST_READ ? ds->n : MOST_READ;
    int32_t classes = fdit_taxonomy_n_classes(ds->taxonomy);
    TRY(fdit_alloc(ctx, HEAD_BYTES, 1, &head));
    for (int32_t id = 0; id < classes; id++)
        marks[id] = FDIT_FNV_START;
    for (size_t i = 0; i < ds->n; i++) {
        const struct fdit_ds_item *item = &ds->items[i];
        const char *name = ds->names + item->name;
        uint64_t *mark = &marks[item->label], length;
        bool read_it = read < most && i == read * ds->n / most;
        size_t n = 0;
        if (i % REPORT_EVERY == 0) {
            if (fdit_stopped(ctx))
                FAIL(ctx, FDIT_INTERRUPTED, "stopped while the pictures were listed");
            if (looked)
                looked(user, i, ds->n);
        }
        TRY(look_at(ctx, ds, i, &length, head, read_it ? &n : NULL));
        *mark = fdit_fnv(*mark, name, strlen(name) + 1);
        *mark = mark_number(*mark, length);
        if (!read_it)
            continue;
        *mark = fdit_fnv(*mark, head, n);
        read++;
    }
out:
    fdit_free(head);
    return status;
}
