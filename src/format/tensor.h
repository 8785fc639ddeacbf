/* SPDX-License-Identifier: Apache-2.0
 * tensor.h: one named array of a file, whatever the file's format, and its numbers as float32 or
 * integers. `file` is the path that stands in messages. */
#ifndef FDIT_FORMAT_TENSOR_H
#define FDIT_FORMAT_TENSOR_H

#include "core/status.h"

#include <stdatomic.h>

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
const char *fdit_st_type_name(enum fdit_st_type type); /* "F32", "BF16", ... as in safetensors */
bool fdit_st_type_find(const char *name, enum fdit_st_type *out);
bool fdit_st_is_float(enum fdit_st_type type); /* F32, F16, BF16 or F64: what weights can be */

#define FDIT_ST_MAX_RANK 16

/* The checksum that a file names for some of its bytes. They are summed when the first of their
 * numbers is read: opening a file does not read all of it. */
struct fdit_st_sum {
    const uint8_t *data;
    size_t bytes;
    uint32_t crc;      /* as in zip files */
    atomic_bool right; /* looked at already */
};

struct fdit_st_tensor {
    const char *name;
    enum fdit_st_type type;
    int rank;
    int64_t shape[FDIT_ST_MAX_RANK]; /* first `rank` entries; rank 0 is one number */
    size_t n;                        /* product of the shape, can be 0 */
    size_t bytes;                    /* n numbers of the type */
    const uint8_t *data;             /* first element; mapped, little-endian, of any alignment */
    const int64_t *stride;           /* elements from one index to the next in each dimension; NULL:
                                      * the elements follow each other, the last index fastest */
    int file;                        /* which file of a sharded set, 0 otherwise */
    struct fdit_st_sum *sum;         /* of bytes around `data`; NULL: the file has none */
};

/* "[12, 4]" or "[]" for messages, cut with "..." if `size` bytes are too few; returns text. */
const char *fdit_st_shape_text(int rank, const int64_t *shape, char *text, size_t size);

/* Fails with FDIT_ERROR_FORMAT when the shape is another. rank -1: any; an entry of -1 allows any
 * size of that dimension. */
enum fdit_status fdit_st_check_shape(fdit_context *ctx, const char *file, const struct fdit_st_tensor *t,
                                     int rank, const int64_t *shape);
/* FDIT_ERROR_FORMAT when the tensor's bytes are not those that the file's checksum was made of. The
 * functions below call it. */
enum fdit_status fdit_st_check_sum(fdit_context *ctx, const char *file, const struct fdit_st_tensor *t);
/* Elements first..first+n (counted with the last index fastest) as float32: exact for F32, F16,
 * BF16, rounded to nearest even for F64. Any other type is refused by name. */
enum fdit_status fdit_st_f32(fdit_context *ctx, const char *file, const struct fdit_st_tensor *t,
                             size_t first, size_t n, float *out);
/* The same, and NaN or infinity is FDIT_ERROR_NUMERIC with the tensor's name and the element. An
 * F64 number beyond the range of float32 counts as infinity. */
enum fdit_status fdit_st_weights(fdit_context *ctx, const char *file, const struct fdit_st_tensor *t,
                                 size_t first, size_t n, float *out);
/* Only the check for finite numbers, without keeping them. */
enum fdit_status fdit_st_check_finite(fdit_context *ctx, const char *file, const struct fdit_st_tensor *t);
/* The numbers where they lie, when they are float32 in this machine's order, aligned and without
 * strides; else NULL. */
const float *fdit_st_floats(const struct fdit_st_tensor *t);
/* Elements of an integer type (BOOL and U64 up to 2^63-1 included) as int64; floats are refused. */
enum fdit_status fdit_st_i64(fdit_context *ctx, const char *file, const struct fdit_st_tensor *t,
                             size_t first, size_t n, int64_t *out);

/* FDIT_ERROR_NUMERIC when one of n finite floats, numbers `first`.. of the tensor of that name,
 * would become infinite in the type. */
enum fdit_status fdit_st_check_fits(fdit_context *ctx, const char *name, enum fdit_st_type type, size_t first,
                                    const float *x, size_t n);
/* The largest number of F16 or BF16; of others the largest float. */
float fdit_st_largest(enum fdit_st_type type);
/* n floats as a file holds them, in type F32, F16, BF16 (rounded to nearest even) or F64. `out` is
 * aligned to the type. */
void fdit_st_store(enum fdit_st_type type, const float *x, size_t n, uint8_t *out);
/* n elements between the host's byte order and the files', in place. */
void fdit_st_swap(enum fdit_st_type type, size_t n, uint8_t *bytes);

#endif
