/* SPDX-License-Identifier: Apache-2.0
 * dataset_probe.c: the headers of the pictures of a data set, read where they lie. */
#include "data/dataset_index.h"

#include "core/mem.h"
#include "picture/fit.h"
#include "picture/picture_read.h"
#include "picture/resize_float.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    int fd;
    uint64_t offset;
    int errnum; /* of a read that failed; 0 */
};

static bool read_place(void *self, uint64_t at, void *to, size_t n)
{
    struct place *p = self;
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(p->fd, (char *)to + done, n - done, (off_t)(p->offset + at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            p->errnum = errno;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

enum fdit_status fdit_dataset_probe(fdit_context *ctx, const struct fdit_dataset *ds, size_t i,
                                    struct fdit_picture_probe *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_ds_item *item = &ds->items[i];
    uint32_t shard = ds->archives ? ds->place_shard[item->place] : 0;
    bool spooled = ds->archives && ds->packed[shard];
    struct place place = { .fd = ds->spool, .offset = ds->archives ? item->offset : 0 };
    struct fdit_picture_bytes from = { .self = &place, .n = item->size, .read = read_place };
    struct stat st;
    char *name = NULL;
    TRY(fdit_dataset_name(ctx, ds, i, &name));
    if (!spooled)
        place.fd = open(ds->archives ? fdit_names_get(&ds->shards, shard) : name, O_RDONLY | O_CLOEXEC);
    if (place.fd < 0 && ds->archives)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s", name));
    if (place.fd < 0 || (!ds->archives && fstat(place.fd, &st)))
        TRY(fdit_ds_unreadable(ctx, ds, name, errno));
    if (!ds->archives)
        from.n = (uint64_t)st.st_size;
    status = fdit_picture_probe(ctx, &from, name, out);
    if (place.errnum) /* whatever was made of the bytes that did not come */
        status = fdit_ds_unreadable(ctx, ds, name, place.errnum);
out:
    if (!spooled && place.fd >= 0)
        close(place.fd);
    fdit_free(name);
    return status;
}

size_t fdit_ds_bytes_of(const struct fdit_dataset *ds, const struct fdit_picture_probe *p)
{
    int size = ds->options.size;
    return ds->options.whole ? fdit_picture_whole_bytes(p, size) : fdit_picture_fit_bytes(p, size);
}

enum { PLAN_LOOKS = 256 }; /* pictures whose headers a plan looks at */

enum fdit_status fdit_dataset_plan_reading(fdit_context *ctx, struct fdit_dataset *ds, int threads,
                                           size_t limit, bool skip_bad, size_t *bytes)
{
    enum fdit_status status = FDIT_OK;
    if (limit && ds->spool_in_memory) /* what is unpacked is a part of it */
        limit = ds->spool_size < limit / 2 ? limit - (size_t)ds->spool_size : limit / 2;
    size_t looks = ds->n < PLAN_LOOKS ? ds->n : PLAN_LOOKS, most = 0, all;
    struct fdit_picture_rules rules = { .limit = limit };
    char *name = NULL;
    for (size_t k = 0; k < looks; k++) {
        struct fdit_picture_probe p;
        size_t i = k * ds->n / looks;
        if (fdit_dataset_probe(ctx, ds, i, &p) != FDIT_OK)
            continue;
        size_t one = fdit_ds_bytes_of(ds, &p);
        if (limit && one > limit && !skip_bad) {
            TRY(fdit_dataset_name(ctx, ds, i, &name));
            TRY(fdit_picture_read_check(ctx, name, &p, &rules, one));
        }
        most = one > most && !(limit && one > limit) ? one : most;
    }
    ds->tight = !fdit_mul(most, threads > 1 ? (size_t)threads : 1, &all) || (limit && all > limit);
    if (ds->tight)
        all = limit ? limit : SIZE_MAX;
    ds->options.rules.limit = limit;
    fdit_room_set(ds->room, all);
    *bytes = all;
out:
    fdit_free(name);
    return status;
}
