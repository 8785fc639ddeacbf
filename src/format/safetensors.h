/* SPDX-License-Identifier: Apache-2.0
 * safetensors.h: files of named arrays: an 8-byte little-endian length, a JSON header of that length,
 * then the numbers (https://huggingface.co/docs/safetensors).
 *
 *     struct fdit_safetensors *st = NULL;
 *     TRY(fdit_safetensors_open(ctx, "dit.safetensors", &st));
 *     const struct fdit_st_tensor *w;
 *     TRY(fdit_safetensors_need(ctx, st, "x_embedder.proj.weight", 4, (int64_t[]){ D, C, p, p }, &w));
 *     TRY(fdit_safetensors_weights(ctx, st, w, 0, w->n, buffer));
 * out:
 *     fdit_safetensors_close(st);
 *
 * Opening checks the whole header: after it every tensor lies inside the file, on its own bytes, and
 * its shape agrees with their number. Errors are FDIT_ERROR_FORMAT and name the file, the tensor, the
 * numbers and what to do. */
#ifndef FDIT_FORMAT_SAFETENSORS_H
#define FDIT_FORMAT_SAFETENSORS_H

#include "core/half.h"
#include "format/tensor.h"

struct fdit_safetensors;

/* Maps the file. A path that ends in ".index.json" opens all shards it names (files beside it). */
enum fdit_status fdit_safetensors_open(fdit_context *ctx, const char *path, struct fdit_safetensors **out);
/* The same for n bytes in memory, which must outlive the result; `name` stands in messages. */
enum fdit_status fdit_safetensors_open_memory(fdit_context *ctx, const char *name, const uint8_t *bytes,
                                              size_t n, struct fdit_safetensors **out);
void fdit_safetensors_close(struct fdit_safetensors *st); /* NULL is allowed */

const char *fdit_safetensors_path(const struct fdit_safetensors *st);
size_t fdit_safetensors_count(const struct fdit_safetensors *st);
/* Tensor i in the order of their bytes in the file (shard after shard). */
const struct fdit_st_tensor *fdit_safetensors_at(const struct fdit_safetensors *st, size_t i);
const struct fdit_st_tensor *fdit_safetensors_find(const struct fdit_safetensors *st,
                                                   const char *name); /* NULL: none */
/* Text of a __metadata__ entry, NULL if there is none; entry i in the header's order. */
const char *fdit_safetensors_meta(const struct fdit_safetensors *st, const char *key);
size_t fdit_safetensors_meta_count(const struct fdit_safetensors *st);
void fdit_safetensors_meta_at(const struct fdit_safetensors *st, size_t i, const char **key,
                              const char **value);

/* The tensor of that name; absent or of another shape is FDIT_ERROR_FORMAT. rank -1: any shape; an
 * entry of -1 allows any size of that dimension. */
enum fdit_status fdit_safetensors_need(fdit_context *ctx, const struct fdit_safetensors *st, const char *name,
                                       int rank, const int64_t *shape, const struct fdit_st_tensor **out);
/* Fails with a message for a tensor that is there but has another shape than wanted. */
enum fdit_status fdit_safetensors_check_shape(fdit_context *ctx, const struct fdit_safetensors *st,
                                              const struct fdit_st_tensor *t, int rank, const int64_t *shape);
/* The functions of tensor.h with the path of the set. */
enum fdit_status fdit_safetensors_f32(fdit_context *ctx, const struct fdit_safetensors *st,
                                      const struct fdit_st_tensor *t, size_t first, size_t n, float *out);
enum fdit_status fdit_safetensors_weights(fdit_context *ctx, const struct fdit_safetensors *st,
                                          const struct fdit_st_tensor *t, size_t first, size_t n, float *out);
enum fdit_status fdit_safetensors_check_finite(fdit_context *ctx, const struct fdit_safetensors *st,
                                               const struct fdit_st_tensor *t);
enum fdit_status fdit_safetensors_i64(fdit_context *ctx, const struct fdit_safetensors *st,
                                      const struct fdit_st_tensor *t, size_t first, size_t n, int64_t *out);
/* Releases the resident pages of a tensor that has been copied; it can still be read. */
void fdit_safetensors_drop(const struct fdit_safetensors *st, const struct fdit_st_tensor *t);

/* ---- Writing ---- */

struct fdit_st_writer;

/* Collects entries; nothing is written before save. The bytes of the file depend only on the entries
 * and their order. Put wider types first: then every tensor is aligned to its type. */
enum fdit_status fdit_st_writer_new(fdit_context *ctx, struct fdit_st_writer **out);
void fdit_st_writer_free(struct fdit_st_writer *w); /* NULL is allowed */
/* Key and value (UTF-8) are copied; a key given before is FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_st_writer_meta(fdit_context *ctx, struct fdit_st_writer *w, const char *key,
                                     const char *value);
/* A tensor from float32 numbers, stored as F32, F16, BF16 (rounded to nearest even) or F64. The name
 * is copied, data must live until save. */
enum fdit_status fdit_st_writer_f32(fdit_context *ctx, struct fdit_st_writer *w, const char *name,
                                    enum fdit_st_type type, int rank, const int64_t *shape,
                                    const float *data);
/* A tensor whose elements lie in memory as they are stored (in host byte order). */
enum fdit_status fdit_st_writer_raw(fdit_context *ctx, struct fdit_st_writer *w, const char *name,
                                    enum fdit_st_type type, int rank, const int64_t *shape, const void *data);
/* Gives elements first..first+n of a tensor while the file is written: as float if `type` is F32, F16,
 * BF16 or F64, else in the type itself. Called in order with chunks of at most 65536. */
typedef enum fdit_status (*fdit_st_fill)(fdit_context *ctx, void *user, size_t first, size_t n, void *out);
enum fdit_status fdit_st_writer_fill(fdit_context *ctx, struct fdit_st_writer *w, const char *name,
                                     enum fdit_st_type type, int rank, const int64_t *shape,
                                     fdit_st_fill fill, void *user);
/* Size of the file that save will write. */
uint64_t fdit_st_writer_bytes(const struct fdit_st_writer *w);
/* Writes the file at once or not at all, and onto the disk (see fdit_writer_open, durable). */
enum fdit_status fdit_st_writer_save(fdit_context *ctx, struct fdit_st_writer *w, const char *path);

#endif
