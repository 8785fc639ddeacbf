/* SPDX-License-Identifier: Apache-2.0
 * pt_zip.h: the directory of a zip file in memory, read by libzip. Members that are stored without
 * compression, as torch.save writes them, are used where they lie. */
#ifndef FDIT_FORMAT_PT_ZIP_H
#define FDIT_FORMAT_PT_ZIP_H

#include "core/status.h"

struct fdit_pt_zip;

/* `file` stands in messages; it and the bytes must outlive the result. Without libzip:
 * FDIT_ERROR_UNSUPPORTED. */
enum fdit_status fdit_pt_zip_open(fdit_context *ctx, const char *file, const uint8_t *bytes, size_t n,
                                  struct fdit_pt_zip **out);
void fdit_pt_zip_close(struct fdit_pt_zip *z); /* NULL is allowed */
/* The name of member i, NULL behind the last. */
const char *fdit_pt_zip_name(const struct fdit_pt_zip *z, size_t i);
bool fdit_pt_zip_find(const struct fdit_pt_zip *z, const char *name, size_t *i);
/* Whether the directory names checksums. torch can be told to leave them out, and writes 0 for every
 * member then; a 0 among others is a checksum like any other. */
bool fdit_pt_zip_has_sums(const struct fdit_pt_zip *z);
/* Where the bytes of a stored member lie, and their CRC-32 by the directory. A compressed or encrypted
 * one is refused by name. */
enum fdit_status fdit_pt_zip_member(fdit_context *ctx, struct fdit_pt_zip *z, size_t i, const uint8_t **data,
                                    size_t *n, uint32_t *crc);

#endif
