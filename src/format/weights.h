/* SPDX-License-Identifier: Apache-2.0
 * weights.h: named tensors of a file of weights, whatever its kind and ending: safetensors or
 * torch, one file or the shards that an index names, or a folder that holds one of them. What it
 * is, its content says.
 *
 *     struct fdit_weights *w = NULL;
 *     TRY(fdit_weights_open(ctx, "sd-vae-ft-ema", "vae", &w));
 *     const struct fdit_st_tensor *t = fdit_weights_find(w, "encoder.conv_in.weight");
 * out:
 *     fdit_weights_close(w);
 *
 * Names of nested torch files are paths of keys (pt.h). Errors name the file and what it is
 * instead. */
#ifndef FDIT_FORMAT_WEIGHTS_H
#define FDIT_FORMAT_WEIGHTS_H

#include "format/pt.h"
#include "format/safetensors.h"

struct fdit_weights;

/* The file of weights that a path means: the path itself unless it is a folder; then the file in it
 * that libraries look for first (diffusion_pytorch_model.safetensors, ...), else the only file of
 * weights in it (diffusion_pytorch_model.fp16.safetensors); else the same in its sub-folder `part`
 * ("transformer", "vae"; NULL: none). FDIT_ERROR_FORMAT when there is none, or which of several is
 * meant is not clear. Free with fdit_free. */
enum fdit_status fdit_weights_resolve(fdit_context *ctx, const char *path, const char *part, char **out);

/* fdit_weights_resolve, then opens what it finds. */
enum fdit_status fdit_weights_open(fdit_context *ctx, const char *path, const char *part,
                                   struct fdit_weights **out);
void fdit_weights_close(struct fdit_weights *w); /* NULL is allowed */

/* After opening `path`, what `what` was given, ended with `failed`: FDIT_ERROR_ARGUMENT when `data`, given as
 * `data_what`, holds weights where pictures belong, so that the two were swapped; else `failed`, with the
 * message that is there. */
enum fdit_status fdit_weights_explain(fdit_context *ctx, enum fdit_status failed, const char *what,
                                      const char *path, const char *data_what, const char *data);

const char *fdit_weights_path(const struct fdit_weights *w); /* of the file or index */
bool fdit_weights_torch(const struct fdit_weights *w);       /* false: safetensors */
size_t fdit_weights_count(const struct fdit_weights *w);
/* Tensor i; those of all i follow each other in memory. */
const struct fdit_st_tensor *fdit_weights_at(const struct fdit_weights *w, size_t i);
const struct fdit_st_tensor *fdit_weights_find(const struct fdit_weights *w,
                                               const char *name); /* NULL: none */
/* An entry of safetensors' __metadata__; NULL: none. */
const char *fdit_weights_meta(const struct fdit_weights *w, const char *key);
/* The text at a path of keys of a torch file; see fdit_pt_text. */
bool fdit_weights_text(const struct fdit_weights *w, const char *name, char *out, size_t size);
/* See fdit_pt_unknown. */
bool fdit_weights_unknown(const struct fdit_weights *w, char *out, size_t size);
/* Releases the resident pages of a tensor; it can still be read. */
void fdit_weights_drop(const struct fdit_weights *w, const struct fdit_st_tensor *t);

#endif
