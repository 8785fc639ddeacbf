/* SPDX-License-Identifier: Apache-2.0
 * cache.h: encoded pictures on disk: the moments of their latents (f16), or their pixels (8 bits).
 *
 *     DIR/encode.json       what the cache is made from and with: decides whether a job may go on
 *     DIR/shard-00000.fdc   header, then the records of up to shard_pictures pictures
 *     DIR/sources.fdc       sizes, times and contents of the pictures, see encode/sources.h
 *     DIR/encode.lock       empty: locked by the process that writes, while it does; of several that share
 *                           the work, while it begins
 *     DIR/cache.fdc         the index: written last, so its presence says that the cache is whole
 *
 * A record is the picture and, with mirror images, the moments of its mirror image behind it
 * (pixels are mirrored when they are read). Each is `item_bytes` of data and a trailer of 16 bytes:
 *
 *     u32 CRC-32 of the data and the next 12 bytes
 *     u32 picture
 *     i32 label (-1: the picture is broken and the data are zeroes)
 *     u32 1 for a mirror image, else 0
 *
 * so a sample is one contiguous read that is checked by itself. All numbers are little-endian.
 *
 * A shard's header is 64 bytes: "FDITSHRD", u32 version, u32 shard, u64 first picture, u32
 * pictures, u32 halves of a record, u64 item_bytes, u64 hash of encode.json, 12 zero bytes, u32
 * CRC-32. Shards grow by whole records; after a kill they are checked, and bad records made anew.
 *
 * The index: "FDITCACH", u32 version, u32 bytes of JSON, u64 n, JSON, i32 labels [n], u32 places
 * [n] (numbers of the pictures in the shards, where broken ones are left out), u32 CRC-32 of all
 * before.
 *
 * Readers map everything; any number of threads may read. */
#ifndef FDIT_FORMAT_CACHE_H
#define FDIT_FORMAT_CACHE_H

#include "core/status.h"

enum fdit_cache_kind { FDIT_CACHE_MOMENTS, FDIT_CACHE_PIXELS };

struct fdit_cache_info {
    enum fdit_cache_kind kind;
    int channels;         /* moments: latent channels L, an item is [2 L, size, size] f16;
                           * pixels: an item is [channels, size, size] u8 */
    int size;             /* of the items */
    int picture_size;     /* of the pictures that were encoded */
    bool flip;            /* mirror images may be used (moments: they are there) */
    const char *fit;      /* "crop" or "pad" */
    const char *orient;   /* "exif" or "none"; NULL when writing: "none" */
    const char *matte;    /* "white", "black", "#rrggbb" or "none"; likewise */
    double scale, shift;  /* moments: x = (z - shift) scale */
    const char *vae;      /* moments: hash of the autoencoder, hexadecimal; else "" */
    const char *taxonomy; /* JSON of fdit_taxonomy_to_json */
    size_t n;             /* pictures that can be used */
};

static inline size_t fdit_cache_item_bytes(const struct fdit_cache_info *i)
{
    size_t cells = (size_t)i->channels * (size_t)i->size * (size_t)i->size;
    return i->kind == FDIT_CACHE_MOMENTS ? 4 * cells : cells;
}
static inline int fdit_cache_halves(const struct fdit_cache_info *i)
{
    return i->kind == FDIT_CACHE_MOMENTS && i->flip ? 2 : 1;
}

/* Whether x = (z - shift) scale can be that of an autoencoder: known ones have 0.1 to 2, and shifts
 * below 1. */
bool fdit_cache_scale_is_sensible(double scale, double shift);

/* ---- Reading ---- */

struct fdit_cache;

/* Whether the path is a cache, whole or begun: a folder with cache.fdc or encode.json, or a
 * cache.fdc. */
bool fdit_cache_is(const char *path);
/* Opens a whole cache: index, headers and lengths of the shards are checked. One that was not
 * finished, or that is broken: FDIT_ERROR_FORMAT with what is wrong and what to do. */
enum fdit_status fdit_cache_open(fdit_context *ctx, const char *path, struct fdit_cache **out);
void fdit_cache_close(struct fdit_cache *c); /* NULL is allowed */
/* Strings belong to the cache. */
const struct fdit_cache_info *fdit_cache_info_of(const struct fdit_cache *c);
size_t fdit_cache_shards(const struct fdit_cache *c);
uint64_t fdit_cache_bytes(const struct fdit_cache *c);          /* of all files */
int32_t fdit_cache_label(const struct fdit_cache *c, size_t i); /* class id in the cache's taxonomy */
/* Picture i: its data, mapped, after its checksum was found right; mirror: of the mirror image,
 * which must be there. FDIT_ERROR_FORMAT names file and picture. */
enum fdit_status fdit_cache_item(fdit_context *ctx, const struct fdit_cache *c, size_t i, bool mirror,
                                 const uint8_t **out);
/* The checks of the index and of a shard's header, for n bytes in memory. Of the index only the
 * numbers are kept: *out with shards closed (fdit_cache_item must not be called). */
enum fdit_status fdit_cache_parse(fdit_context *ctx, const char *name, const uint8_t *bytes, size_t n,
                                  struct fdit_cache **out);
enum fdit_status fdit_cache_check_shard(fdit_context *ctx, const struct fdit_cache *c, const char *name,
                                        size_t shard, const uint8_t *bytes, size_t n);

/* ---- Writing ---- */

struct fdit_cache_writer;

struct fdit_cache_job {
    struct fdit_cache_info info; /* n: all pictures */
    const int32_t *labels;       /* [n], must outlive the writer */
    const char *identity;        /* one line of JSON: an object whose keys are named when they differ */
    size_t shard_pictures;       /* 0: 4096 */
    int part, parts; /* this writer puts the pictures of part `part` of `parts`; parts 0 = 1: all */
};

/* Whether a picture belongs to the part of the job: runs of 64, or fewer of a small set, are dealt out in
 * turn. */
static inline bool fdit_cache_is_mine(const struct fdit_cache_job *job, size_t picture)
{
    if (job->parts < 2)
        return true;
    const size_t parts = (size_t)job->parts, fair = job->info.n / (16 * parts);
    return picture / (fair < 1 ? 1 : fair > 64 ? 64 : fair) % parts == (size_t)job->part;
}

/* Begins a cache, or goes on with the one in `dir`: FDIT_ERROR_ARGUMENT names the key in which its
 * encode.json differs; a folder with other files in it is refused, and one in which another process
 * writes; that is told in *busy, too (NULL is allowed). Parts of one job may be written at the same time: one
 * after the other begins, from here to fdit_cache_share, and waits for its turn until ctx is asked to
 * stop. */
enum fdit_status fdit_cache_begin(fdit_context *ctx, const char *dir, const struct fdit_cache_job *job,
                                  bool *busy, struct fdit_cache_writer **out);
/* Of a part: what all parts have in common is there, another may begin. */
void fdit_cache_share(struct fdit_cache_writer *w);
/* The first picture of the part that is not there; n: all are. */
size_t fdit_cache_next(const struct fdit_cache_writer *w);
/* Whether its record is there and good, and of this part. */
bool fdit_cache_has(const struct fdit_cache_writer *w, size_t picture);
uint32_t fdit_cache_record_crc(const struct fdit_cache_writer *w, size_t picture); /* of one that is */
void fdit_cache_renew(struct fdit_cache_writer *w, size_t picture);                /* it is to be put again */
/* Writes the picture `next`: halves of item_bytes; NULL: it is broken. Then next is the one behind
 * that is not there. */
enum fdit_status fdit_cache_put(fdit_context *ctx, struct fdit_cache_writer *w, const void *data);
/* What was put is on the disk; of a part that is its end. */
enum fdit_status fdit_cache_sync(fdit_context *ctx, struct fdit_cache_writer *w);
/* After the last, of a writer of all: the index, onto the disk. *bad: broken pictures. A cache without one
 * that can be used is FDIT_ERROR_FORMAT. */
enum fdit_status fdit_cache_end(fdit_context *ctx, struct fdit_cache_writer *w, size_t *bad);
void fdit_cache_writer_free(struct fdit_cache_writer *w); /* what was put stays; NULL is allowed */
/* Bytes that the shards of a job will have. */
uint64_t fdit_cache_job_bytes(const struct fdit_cache_job *job);

#endif
