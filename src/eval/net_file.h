/* SPDX-License-Identifier: Apache-2.0
 * net_file.h: the file of a feature network: its tensors under their names, whatever stands before the names
 * and whether their parts are joined by dots or, in nested torch files, by slashes. */
#ifndef FDIT_EVAL_NET_FILE_H
#define FDIT_EVAL_NET_FILE_H

#include "format/weights.h"
#include "net/net.h"

struct fdit_net_file {
    struct fdit_weights *weights;
    const char *what; /* the network, for messages */
    char prefix[64];  /* before every name */
};

/* Opens the file that `path` means. `what`: "FID's Inception", for messages. */
enum fdit_status fdit_net_file_open(fdit_context *ctx, const char *path, const char *what,
                                    struct fdit_net_file *out);
void fdit_net_file_close(struct fdit_net_file *f);
/* Whether there is a tensor of this name after some prefix, which names then have. */
bool fdit_net_file_find(struct fdit_net_file *f, const char *name);
/* NULL: none. Not for several threads at once. */
const struct fdit_st_tensor *fdit_net_file_tensor(const struct fdit_net_file *f, const char *name);
/* The tensor NAME + END, which must be there and have this shape (-1: any size). */
enum fdit_status fdit_net_file_need(fdit_context *ctx, const struct fdit_net_file *f, const char *name,
                                    const char *end, int rank, const int64_t *shape,
                                    const struct fdit_st_tensor **out);
/* All numbers of such a tensor; NaN and infinity are refused. */
enum fdit_status fdit_net_file_read(fdit_context *ctx, const struct fdit_net_file *f, const char *name,
                                    const char *end, size_t n, float *to);
const char *fdit_net_file_path(const struct fdit_net_file *f);

#endif
