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

#include "core/status.h"

enum fdit_st_type {
    FDIT_ST_BOOL,
    FDIT_ST_U8,
    FDIT_ST_I8,
    FDIT_ST_F8_E5M2,
    FDIT_ST_F8_E4M3,
    FDIT_ST_F8_E8M0,
    FDIT_ST_I16,
    FDIT_ST_U16,
    FDIT_ST_F16,
    FDIT_ST_BF16,
    FDIT_ST_I32,
    FDIT_ST_U32,
    FDIT_ST_F32,
    FDIT_ST_C64,
    FDIT_ST_F64,
    FDIT_ST_I64,
    FDIT_ST_U64,
    FDIT_ST_TYPES
};
size_t fdit_st_type_bytes(enum fdit_st_type type);
const char *fdit_st_type_name(enum fdit_st_type type); /* "F32", "BF16", ... as in the file */

#define FDIT_ST_MAX_RANK 16

struct fdit_st_tensor {
    const char *name;
    enum fdit_st_type type;
    int rank;
    int64_t shape[FDIT_ST_MAX_RANK]; /* first `rank` entries; rank 0 is one number */
    size_t n;                        /* product of the shape, can be 0 */
    size_t bytes;
    const uint8_t *data; /* mapped, little-endian, of any alignment */
    int file;            /* which file of a sharded set, 0 otherwise */
};

struct fdit_safetensors;

/* Maps the file. A path that ends in ".index.json" opens all shards it names (files beside it). */
enum fdit_status fdit_safetensors_open(fdit_context *ctx, const char *path,
                                       struct fdit_safetensors **out);
/* The same for n bytes in memory, which must outlive the result; `name` stands in messages. */
enum fdit_status fdit_safetensors_open_memory(fdit_context *ctx, const char *name,
                                              const uint8_t *bytes, size_t n,
                                              struct fdit_safetensors **out);
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
enum fdit_status fdit_safetensors_need(fdit_context *ctx, const struct fdit_safetensors *st,
                                       const char *name, int rank, const int64_t *shape,
                                       const struct fdit_st_tensor **out);
/* Fails with a message for a tensor that is there but has another shape than wanted. */
enum fdit_status fdit_safetensors_check_shape(fdit_context *ctx, const struct fdit_safetensors *st,
                                              const struct fdit_st_tensor *t, int rank,
                                              const int64_t *shape);
/* Elements first..first+n as float32: exact for F32, F16, BF16, rounded to nearest even for F64. Any
 * other type is refused by name. */
enum fdit_status fdit_safetensors_f32(fdit_context *ctx, const struct fdit_safetensors *st,
                                      const struct fdit_st_tensor *t, size_t first, size_t n,
                                      float *out);
/* The same, and NaN or infinity is FDIT_ERROR_NUMERIC with the tensor's name and the element. An F64
 * number beyond the range of float32 counts as infinity. */
enum fdit_status fdit_safetensors_weights(fdit_context *ctx, const struct fdit_safetensors *st,
                                          const struct fdit_st_tensor *t, size_t first, size_t n,
                                          float *out);
/* Only the check for finite numbers, without keeping them. */
enum fdit_status fdit_safetensors_check_finite(fdit_context *ctx, const struct fdit_safetensors *st,
                                               const struct fdit_st_tensor *t);
/* Elements of an integer type (BOOL and U64 up to 2^63-1 included) as int64; floats are refused. */
enum fdit_status fdit_safetensors_i64(fdit_context *ctx, const struct fdit_safetensors *st,
                                      const struct fdit_st_tensor *t, size_t first, size_t n,
                                      int64_t *out);
/* Releases the resident pages of a tensor that has been copied; it can still be read. */
void fdit_safetensors_drop(const struct fdit_safetensors *st, const struct fdit_st_tensor *t);
/* "[12, 4]" or "[]" for messages, cut with "..." if `size` bytes are too few; returns text. */
const char *fdit_st_shape_text(int rank, const int64_t *shape, char *text, size_t size);

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
                                    enum fdit_st_type type, int rank, const int64_t *shape,
                                    const void *data);
/* Gives elements first..first+n of a tensor while the file is written: as float if `type` is F32, F16,
 * BF16 or F64, else in the type itself. Called in order with chunks of at most 65536. */
typedef enum fdit_status (*fdit_st_fill)(fdit_context *ctx, void *user, size_t first, size_t n,
                                         void *out);
enum fdit_status fdit_st_writer_fill(fdit_context *ctx, struct fdit_st_writer *w, const char *name,
                                     enum fdit_st_type type, int rank, const int64_t *shape,
                                     fdit_st_fill fill, void *user);
/* Size of the file that save will write. */
uint64_t fdit_st_writer_bytes(const struct fdit_st_writer *w);
/* Writes the file at once or not at all, and onto the disk (see fdit_writer_open, durable). */
enum fdit_status fdit_st_writer_save(fdit_context *ctx, struct fdit_st_writer *w, const char *path);

/* ---- Conversions, n numbers; nearest even, NaN stays NaN, overflow is infinity ---- */

void fdit_f32_to_f16(size_t n, const float *x, uint16_t *out);
void fdit_f32_to_bf16(size_t n, const float *x, uint16_t *out);
void fdit_f16_to_f32(size_t n, const uint16_t *x, float *out);
void fdit_bf16_to_f32(size_t n, const uint16_t *x, float *out);

#endif
