/* SPDX-License-Identifier: Apache-2.0
 * encode.h: pictures to a cache: of the moments of their latents, or of their pixels. A job that
 * was interrupted, or killed at any moment, goes on where it stopped when it is given again. */
#ifndef FDIT_ENCODE_ENCODE_H
#define FDIT_ENCODE_ENCODE_H

#include "core/option_table.h"
#include "data/dataset.h"
#include "picture/picture_rules.h"
#include "device/plan.h"

struct fdit_encode_options {
    const char *data, *out;
    const char *vae;  /* NULL: pixels */
    double vae_scale; /* 0: as its config.json says */
    bool pixels;      /* says that there is no vae */
    int size;         /* of the pictures */
    int channels;     /* of pixels: 1 or 3; an autoencoder knows its own */
    enum fdit_fit fit;
    struct fdit_picture_words look; /* --orient and --matte; a job that goes on keeps what it had */
    bool flip;                      /* mirror images, too */
    const char *taxonomy;           /* file; NULL: folders */
    const char *ranks;              /* picked ranks; NULL: all */
    bool skip_bad;                  /* broken pictures are left out, instead of ending the job */
    int workers;                    /* threads that decode; 0: none */
    size_t memory;                  /* limit of the plan in bytes; 0: the device's memory */
    size_t shard_pictures;          /* 0: as the cache likes it (tests) */
    int part, parts;                /* only part `part` of `parts` of the pictures; parts 0: all */
};
/* A row for each option (core/option_table.h): what is typed, `--help`, and their part of encode.json. */
extern const struct fdit_option fdit_encode_option_table[];
struct fdit_encode_options fdit_encode_defaults(void);

struct fdit_encode_hooks {
    void *user;
    /* The plan, and the bytes that the cache will have. */
    void (*on_plan)(void *user, const struct fdit_plan *plan, uint64_t bytes);
    /* All is checked and about to begin: the summary has what is known then. */
    void (*on_begin)(void *user);
    void (*on_start)(void *user, size_t done, size_t total);
    void (*on_picture)(void *user, size_t done, size_t total);
};

struct fdit_encode_summary {
    size_t pictures, classes;
    size_t mine, encoded, kept; /* of this part */
    size_t bad;                 /* of the cache once it is whole, until then of this part */
    bool whole;                 /* the index is written */
    size_t missing;             /* of other parts, when none of them is at work */
    uint64_t bytes;             /* of the cache's records */
    double seconds, pictures_per_second, gflops;
    size_t plan_bytes, process_plan_bytes, peak_bytes;
    int size, channels; /* of an item */
};

/* plan_only: makes the plan, calls on_plan, and returns. FDIT_INTERRUPTED between two pictures when
 * ctx is asked to stop. Pixels need no device: dev may be NULL without a VAE. Parts may work at the same
 * time, on one machine or several that see the folder; who ends last writes the index. */
enum fdit_status fdit_encode_run(fdit_context *ctx, fdit_device *dev, const struct fdit_encode_options *o,
                                 const struct fdit_encode_hooks *hooks, bool plan_only,
                                 struct fdit_encode_summary *summary);

#endif
