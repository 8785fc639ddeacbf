/* SPDX-License-Identifier: Apache-2.0
 * zip.h: the directory of a zip in memory (PKWARE's APPNOTE.TXT 6.3, zip64 too), for torch files and for
 * numpy's archives. Members stay where they lie; a stored one is used there, a deflated one is unpacked.
 *
 *     struct fdit_zip *z = NULL;
 *     TRY(fdit_zip_open(ctx, "a.npz", bytes, n, &z));
 *     for (size_t i = 0; i < fdit_zip_count(z); i++)
 *         TRY(fdit_zip_place(ctx, z, i, &member));
 * out:
 *     fdit_zip_close(z);
 *
 * Nothing of the file is believed: lengths and places are compared with its size, names without a zero byte
 * are copied, and memory grows with the number of members that really stand in the directory. Errors are
 * FDIT_ERROR_FORMAT and name the file. */
#ifndef FDIT_FORMAT_ZIP_H
#define FDIT_FORMAT_ZIP_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fdit_zip;

enum fdit_zip_method {
    FDIT_ZIP_STORED,
    FDIT_ZIP_DEFLATED,
    FDIT_ZIP_OTHER /* encrypted, or packed otherwise */
};

struct fdit_zip_member {
    const char *name;
    const uint8_t *data; /* in the file, as packed */
    size_t packed, bytes;
    uint32_t crc; /* CRC-32 of the unpacked bytes, by the directory */
    enum fdit_zip_method method;
};

/* `file` stands in messages; it and the bytes must outlive the result. */
enum fdit_status fdit_zip_open(fdit_context *ctx, const char *file, const uint8_t *bytes, size_t n,
                               struct fdit_zip **out);
void fdit_zip_close(struct fdit_zip *z); /* NULL is allowed */

size_t fdit_zip_count(const struct fdit_zip *z);
const char *fdit_zip_name(const struct fdit_zip *z,
                          size_t i); /* of member i < count, in the directory's order */
/* The first member of this name. */
bool fdit_zip_find(const struct fdit_zip *z, const char *name, size_t *i);
/* Whether any member has a checksum. torch can be told to leave them out, and writes 0 for every member then;
 * a 0 among others is a checksum like any other. */
bool fdit_zip_has_sums(const struct fdit_zip *z);
/* Looks the member up behind its own header, and checks that its lengths fit the file and each other. */
enum fdit_status fdit_zip_place(fdit_context *ctx, const struct fdit_zip *z, size_t i,
                                struct fdit_zip_member *out);
/* The first `want` unpacked bytes of a placed member that is stored or deflated. If that is all of it, they
 * must have the checksum. */
enum fdit_status fdit_zip_unpack(fdit_context *ctx, const struct fdit_zip *z, const struct fdit_zip_member *m,
                                 uint8_t *out, size_t want);

#endif
