/* SPDX-License-Identifier: Apache-2.0
 * npz.h: numpy's archives of arrays: a zip of .npy members, stored (numpy.savez) or deflated
 * (numpy.savez_compressed). Statistics of pictures (pytorch-fid, clean-fid: mu, sigma) and features are kept
 * in them.
 *
 *     struct fdit_npz *z = NULL;
 *     TRY(fdit_npz_open(ctx, "reference.npz", &z));
 *     const struct fdit_st_tensor *mu = fdit_npz_find(z, "mu");
 *     if (mu && mu->rank == 1)
 *         TRY(fdit_npz_f64(ctx, z, mu, buffer));
 * out:
 *     fdit_npz_close(z);
 *
 * Arrays of little-endian f2, f4, f8, of integers and of bool, in C and in Fortran order. Python objects are
 * refused: reading them would run what they say. A .npy file is taken for an archive of one array without a
 * name. Opening checks the directory and every array's header;
 * errors are FDIT_ERROR_FORMAT and name the file and the array. */
#ifndef FDIT_FORMAT_NPZ_H
#define FDIT_FORMAT_NPZ_H

#include "format/tensor.h"

struct fdit_npz;

enum fdit_status fdit_npz_open(fdit_context *ctx, const char *path, struct fdit_npz **out);
/* The same for n bytes in memory, which must outlive the result; `name` stands in messages. */
enum fdit_status fdit_npz_open_memory(fdit_context *ctx, const char *name, const uint8_t *bytes, size_t n,
                                      struct fdit_npz **out);
void fdit_npz_close(struct fdit_npz *z); /* NULL is allowed */

size_t fdit_npz_count(const struct fdit_npz *z);
/* Array i, its name without ".npy"; `data` is NULL: the numbers are read by the functions below. */
const struct fdit_st_tensor *fdit_npz_at(const struct fdit_npz *z, size_t i);
const struct fdit_st_tensor *fdit_npz_find(const struct fdit_npz *z, const char *name); /* NULL: none */

/* All numbers of an array, the last index fastest. Its bytes must have the zip's checksum. f32: F16, F32 and
 * F64, rounded to nearest; f64: F32 and F64; i64: integers and bool. */
enum fdit_status fdit_npz_f32(fdit_context *ctx, struct fdit_npz *z, const struct fdit_st_tensor *t,
                              float *out);
enum fdit_status fdit_npz_f64(fdit_context *ctx, struct fdit_npz *z, const struct fdit_st_tensor *t,
                              double *out);
enum fdit_status fdit_npz_i64(fdit_context *ctx, struct fdit_npz *z, const struct fdit_st_tensor *t,
                              int64_t *out);

/* An array to be written: F32, F64 or I64 numbers in the machine's order. */
struct fdit_npz_array {
    const char *name;
    enum fdit_st_type type;
    int rank;
    int64_t shape[4];
    const void *data;
};
/* Writes the file at once or not at all, members stored. The bytes depend on the arrays alone. 4 GiB and
 * more: FDIT_ERROR_UNSUPPORTED. */
enum fdit_status fdit_npz_write(fdit_context *ctx, const char *path, const struct fdit_npz_array *arrays,
                                size_t n);

#endif
