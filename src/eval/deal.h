/* SPDX-License-Identifier: Apache-2.0
 * deal.h: features that several processes compute together, which share a folder and do not talk to each
 * other. The pictures of a set are cut, in their order, into pieces of FDIT_DEAL_PIECE; process r of n
 * computes pieces r, r + n, ... and leaves what the networks gave of each in a file. When all files are there
 * one of the processes takes them in place of the networks, so that what it computes has the bits of one
 * process. A piece whose file is there is not computed again, however many processes there were. */
#ifndef FDIT_EVAL_DEAL_H
#define FDIT_EVAL_DEAL_H

#include "core/status.h"

enum { FDIT_DEAL_PIECE = 64 };

struct fdit_deal {
    const char *folder; /* of the files */
    int rank, size;
    bool take;            /* false: this process's pieces are computed, and nothing is kept in memory */
    size_t computed;      /* pieces that this process has computed */
    char **files;         /* [n] of all pieces that were met, without `take` */
    size_t n, room, last; /* last: which of them this process computed last */
};
void fdit_deal_fini(struct fdit_deal *d);
/* The file of piece i of the set whose hash is `key`. Free with fdit_free. */
enum fdit_status fdit_deal_path(fdit_context *ctx, const struct fdit_deal *d, uint64_t key, size_t i,
                                char **out);
/* Takes the path over, also after a failure. */
enum fdit_status fdit_deal_note(fdit_context *ctx, struct fdit_deal *d, char *path);
/* How many of the files are not there. */
size_t fdit_deal_missing(const struct fdit_deal *d);

/* What networks gave of a piece: a row for each picture that is not bad. */
struct fdit_rows {
    size_t n;                          /* pictures */
    size_t count;                      /* rows */
    int64_t *whole;                    /* [n] 1: the picture has a row; 0: it is bad */
    float *features, *logits, *places; /* [count, width]; NULL where the width is 0 */
    size_t widths[3];
};
/* Room for n rows; count is 0. Free with fdit_rows_fini, also after a failure. */
enum fdit_status fdit_rows_new(fdit_context *ctx, size_t n, size_t features, size_t logits, size_t places,
                               struct fdit_rows *out);
void fdit_rows_fini(struct fdit_rows *r);
enum fdit_status fdit_rows_write(fdit_context *ctx, const struct fdit_rows *r, const char *path);
/* Into rows of the n and widths that the file must have: else FDIT_ERROR_FORMAT. */
enum fdit_status fdit_rows_read(fdit_context *ctx, const char *path, struct fdit_rows *r);

#endif
