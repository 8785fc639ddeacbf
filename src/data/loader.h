/* SPDX-License-Identifier: Apache-2.0
 * loader.h: batches for training, made ahead of need by worker threads.
 *
 *     struct fdit_loader *l;
 *     TRY(fdit_loader_open(ctx, ds, NULL, 0, &(struct fdit_loader_options){ .batch = 32, .seed = 1,
 *                          .flip = true, .workers = 4, .cache_bytes = (size_t)2 << 30 }, &l));
 *     while (...) {
 *         struct fdit_batch b;
 *         TRY(fdit_loader_next(ctx, l, &b));
 *         ... b.x [B, C, S, S], b.labels [B] ...
 *     }
 *     fdit_loader_close(l);
 *
 * Order. Epoch e is the permutation of its n pictures that (seed, FDIT_RNG_SHUFFLE, stream = e)
 * gives; the last n mod group pictures of the permutation are dropped, so an epoch has E = n - n
 * mod group samples. Sample number p (counted from the first of epoch 0, over all epochs) is place
 * p mod E of epoch p / E (with `balance` or `repeats` the epoch's order is that of balance.h), and it is
 * mirrored when word p mod 2^32 of (seed, FDIT_RNG_FLIP, stream = p / 2^32) is odd.
 * All of it is a function of (seed, p) alone: any number of workers, and a start at any position, give the
 * same batches.
 *
 * Memory: the cache (filled as pictures are read), and `ring` + 1 batches of f32, or one without
 * workers.
 *
 * The context given to open must outlive the loader: workers log through it and end with it. */
#ifndef FDIT_DATA_LOADER_H
#define FDIT_DATA_LOADER_H

#include "core/status.h"
#include "data/balance.h"
#include "data/dataset.h"

/* Where items come from. A picture data set is one (fdit_loader_open makes it); a cache of latents
 * can be another. read and expand are called from several threads at once. */
struct fdit_source {
    void *self;
    size_t n;          /* items */
    size_t item_bytes; /* of one item as read gives it and as the cache keeps it */
    size_t item_size;  /* f32 numbers of one item in a batch */
    /* Reads item i into item_bytes at `item`. FDIT_ERROR_FORMAT or _UNSUPPORTED: this item is bad.
     */
    enum fdit_status (*read)(fdit_context *ctx, void *self, size_t i, void *item);
    /* Item to numbers, mirrored or not. seed and position: for sources that draw at random. */
    void (*expand)(void *self, const void *item, bool mirror, uint64_t seed, uint64_t position, float *out);
    int32_t (*label)(void *self, size_t i);
    /* NULL, or reads and expands in one, for items that lie in memory already: read and expand are not called
     * and nothing is kept in the loader's cache. scratch: item_bytes of the calling thread's. */
    enum fdit_status (*sample)(fdit_context *ctx, void *self, size_t i, bool mirror, uint64_t seed,
                               uint64_t position, void *scratch, float *out);
};

struct fdit_loader_options {
    size_t batch;       /* samples that next gives, >= 1 */
    size_t group;       /* samples of an optimiser step, over accumulation and all parts: a multiple of
                     batch * parts; 0 = batch * parts */
    size_t part, parts; /* this loader gives samples [part * batch, (part+1) * batch) of each
                           batch * parts; parts 0 = 1 */
    uint64_t seed;
    uint64_t start;            /* position of the first batch: a multiple of batch * parts */
    size_t cache_bytes;        /* for items kept in memory: all of them or as many as fit; 0 = none */
    int workers;               /* threads; 0 = the work is done inside next */
    int ring;                  /* batches ahead; 0 = 3 */
    bool flip;                 /* mirror half of the samples */
    bool in_order;             /* no shuffling: epoch order is item order (validation) */
    enum fdit_balance balance; /* how often each class is drawn; not with in_order */
    int repeats;               /* an epoch has n times this many samples; 0 = 1 */
    size_t classes;            /* labels are below it; needed with either of the two */
    bool skip_bad;             /* a bad item is replaced by the next good one (cyclic), counted and logged
                           once; else it ends the loader with its message */
    bool leave_bad;            /* with skip_bad: nothing takes its place; its index is FDIT_LOADER_BAD */
};

#define FDIT_LOADER_BAD UINT64_MAX

/* Valid until the next call of next or close. */
struct fdit_batch {
    size_t n;              /* = options.batch */
    const float *x;        /* [n, item_size]: pictures [n, C, S, S], (v / 255 - 0.5) / 0.5 */
    const int32_t *labels; /* [n] class ids */
    const uint64_t *index; /* [n] which picture of the data set (after replacement of bad ones) */
    uint64_t position;     /* of the first sample; sample i has position + i */
    uint64_t epoch;        /* of the first sample */
    uint64_t next;         /* what `start` must be to go on after this batch */
};

struct fdit_loader_stats {
    uint64_t batches;    /* given */
    uint64_t read;       /* items read and decoded */
    uint64_t from_cache; /* samples that needed no decoding */
    uint64_t skipped;    /* different bad items seen */
    uint64_t stalls;     /* calls of next that had to wait, and for how long */
    double stall_seconds;
    size_t cached; /* items in the cache now, of at most cache_items */
    size_t cache_items;
    size_t memory_bytes;    /* cache, batches and bookkeeping */
    uint64_t epoch_samples; /* E */
};

struct fdit_loader;

/* Pictures of a data set: all, or the n whose indices stand in `subset` (copied). ds must outlive
 * the loader. Starts the workers. A batch or group larger than the data, a start that is no
 * multiple: FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_loader_open(fdit_context *ctx, const struct fdit_dataset *ds, const uint32_t *subset,
                                  size_t n, const struct fdit_loader_options *options,
                                  struct fdit_loader **out);
/* The same for any source (copied; what self points to must outlive the loader). */
enum fdit_status fdit_loader_open_source(fdit_context *ctx, const struct fdit_source *source,
                                         const uint32_t *subset, size_t n,
                                         const struct fdit_loader_options *options, struct fdit_loader **out);
/* Waits for the next batch; ends with FDIT_INTERRUPTED within 0.1 s of a stop request. A worker's
 * error is given when its batch is due, and again at every later call. */
enum fdit_status fdit_loader_next(fdit_context *ctx, struct fdit_loader *l, struct fdit_batch *out);
struct fdit_loader_stats fdit_loader_stats(const struct fdit_loader *l);
void fdit_loader_close(struct fdit_loader *l); /* ends the workers; NULL is allowed */

/* Bytes that a loader over n items will use, for the memory plan; SIZE_MAX on overflow. */
size_t fdit_loader_bytes(size_t n, size_t item_bytes, size_t item_size,
                         const struct fdit_loader_options *options);

#endif
