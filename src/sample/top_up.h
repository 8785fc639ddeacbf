/* SPDX-License-Identifier: Apache-2.0
 * top_up.h: pictures for the classes that have few: `sample --top-up N --counts-of DATA`. Each class gets
 * what it lacks of N, and DIR becomes a data set of both:
 *
 *     DIR/CLASS/CLASS-SEED.png     drawn
 *     DIR/CLASS/real-I.ext         a copy of picture I of DATA, byte for byte
 *     DIR/manifest-data.jsonl      a line for each:
 *                                  {"class":..,"id":..,"origin":"drawn","seed":..,"file":..} or
 *                                  {"class":..,"id":..,"origin":"real","source":..,"file":..}; with N
 *                                  shards manifest-data.I-of-N.jsonl, with every N-th real picture
 * With --tar the copies are samples real-I of archives real-NNNNN.tar (real.I-of-N-NNNNN.tar) beside those of
 * the drawn ones; DIR's archives together are the data set. */
#ifndef FDIT_SAMPLE_TOP_UP_H
#define FDIT_SAMPLE_TOP_UP_H

#include "data/dataset.h"
#include "sample/album.h"

struct fdit_top_up {
    struct fdit_dataset
        *data; /* NULL: a cache or a manifest, which tell counts and have no pictures to copy */
    const char *path;
    const struct fdit_taxonomy *taxonomy;
    size_t *counts; /* [classes] pictures */
};

/* Counts the pictures of `path`, whose classes must all be in the taxonomy; both must outlive it. A cache has
 * its labels, a manifest (.jsonl) a "class" in each line: with these DIR gets the drawn
 * pictures alone. */
enum fdit_status fdit_top_up_open(fdit_context *ctx, const char *path, const struct fdit_taxonomy *taxonomy,
                                  struct fdit_top_up *out);
void fdit_top_up_close(struct fdit_top_up *t); /* an all-zero one is allowed */
/* What the classes (NULL: all) lack of n pictures each. FDIT_ERROR_ARGUMENT when nothing is missing. */
enum fdit_status fdit_top_up_request(fdit_context *ctx, const struct fdit_top_up *t, const char *classes,
                                     int n, uint64_t seed, int shard, int shards, struct fdit_request *out);
/* After fdit_album_end: the copies and the manifest. A copy that is there and the same stays; one that the
 * manifest of before names and DATA has not any more is removed, drawn pictures of before stay and keep their
 * lines: both with a warning. FDIT_INTERRUPTED. */
enum fdit_status fdit_top_up_finish(fdit_context *ctx, const struct fdit_top_up *t,
                                    const struct fdit_album *album, const struct fdit_request *request,
                                    const char *dir, bool tar);

#endif
