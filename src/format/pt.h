/* SPDX-License-Identifier: Apache-2.0
 * pt.h: files that torch.save wrote (.pt, .pth, .bin): a pickle that describes tensors, and their
 * numbers. Both layouts: a zip file (since torch 1.6), and pickles followed by numbers (before).
 *
 *     struct fdit_pt *pt = NULL;
 *     TRY(fdit_pt_open(ctx, "DiT-XL-2-256x256.pt", &pt));
 *     const struct fdit_st_tensor *t = fdit_pt_find(pt, "ema/x_embedder.proj.weight");
 *     TRY(fdit_st_weights(ctx, fdit_pt_path(pt), t, 0, t->n, buffer));
 *
 * A tensor's name is the path of keys that leads to it, with slashes between them: a flat
 * state_dict has the names of its keys. The file is mapped; numbers are used where they lie. After
 * opening, every tensor lies inside its storage and every storage inside the file. Nothing of the
 * pickle is executed (pt_pickle.h). */
#ifndef FDIT_FORMAT_PT_H
#define FDIT_FORMAT_PT_H

#include "format/tensor.h"

struct fdit_pt;

/* Whether the bytes begin as a torch file, a zip or a pickle does. */
bool fdit_pt_is(const uint8_t *bytes, size_t n);

enum fdit_status fdit_pt_open(fdit_context *ctx, const char *path, struct fdit_pt **out);
/* The same for n bytes in memory, which must outlive the result; `name` stands in messages. */
enum fdit_status fdit_pt_open_memory(fdit_context *ctx, const char *name, const uint8_t *bytes, size_t n,
                                     struct fdit_pt **out);
void fdit_pt_close(struct fdit_pt *pt); /* NULL is allowed */

const char *fdit_pt_path(const struct fdit_pt *pt);
size_t fdit_pt_count(const struct fdit_pt *pt);
/* Tensor i in the order of the pickle. */
const struct fdit_st_tensor *fdit_pt_at(const struct fdit_pt *pt, size_t i);
const struct fdit_st_tensor *fdit_pt_find(const struct fdit_pt *pt, const char *name);
/* The text at a path of keys such as "args/model"; false: none, or longer than the `size` bytes. */
bool fdit_pt_text(const struct fdit_pt *pt, const char *name, char *out, size_t size);
/* The first Python object in the file whose class is not known here, "omegaconf.DictConfig"; false:
 * none. Nothing of it was executed, and no tensor inside it is among those above. */
bool fdit_pt_unknown(const struct fdit_pt *pt, char *out, size_t size);
/* Releases the resident pages of a tensor that has been copied; it can still be read. */
void fdit_pt_drop(const struct fdit_pt *pt, const struct fdit_st_tensor *t);

/* ---- Writing ---- */

struct fdit_pt_writer;

/* Begins a file that torch.load(weights_only=True) reads as an OrderedDict of contiguous float
 * tensors: the caller gives all names first, then the numbers in the same order. */
enum fdit_status fdit_pt_writer_new(fdit_context *ctx, struct fdit_pt_writer **out);
void fdit_pt_writer_free(struct fdit_pt_writer *w); /* removes an unfinished file; NULL is allowed */
/* A text at args/KEY. The tensors are then in "ema" beside "args", as the trainers of DiT and SiT write
 * them. Both strings must outlive the writer; FDIT_ERROR_UNSUPPORTED for more than 4. */
enum fdit_status fdit_pt_writer_arg(fdit_context *ctx, struct fdit_pt_writer *w, const char *key,
                                    const char *value);
/* type: F32, F16, BF16 or F64. */
enum fdit_status fdit_pt_writer_add(fdit_context *ctx, struct fdit_pt_writer *w, const char *name,
                                    enum fdit_st_type type, int rank, const int64_t *shape);
/* Gives all numbers of the i-th tensor added, as float32. */
typedef enum fdit_status (*fdit_pt_fill)(fdit_context *ctx, void *user, size_t i, float *out);
/* Writes the file at once or not at all; holds one tensor at a time. `bytes` (NULL allowed): its
 * size. */
enum fdit_status fdit_pt_writer_save(fdit_context *ctx, struct fdit_pt_writer *w, const char *path,
                                     fdit_pt_fill fill, void *user, uint64_t *bytes);

#endif
