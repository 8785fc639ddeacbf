/* SPDX-License-Identifier: Apache-2.0
 * tfevents.h: writes the event files that TensorBoard reads: a sequence of TFRecords
 *     u64 n | u32 masked crc32c of these 8 bytes | n bytes | u32 masked crc32c of the n bytes
 * (little endian), each holding one protocol buffer "Event". Only what is needed of that format is
 * encoded here: file version, session start, scalars, PNG pictures. */
#ifndef FDIT_FORMAT_TFEVENTS_H
#define FDIT_FORMAT_TFEVENTS_H

#include "core/status.h"

struct fdit_tfevents;

/* Makes a new file FOLDER/events.out.tfevents.SECONDS.NNN, NNN being the first number that is free,
 * and writes the version; on failure there is no file. first_step > 0: a resumed run; TensorBoard
 * then forgets what older files of the folder say about this and later steps. */
enum fdit_status fdit_tfevents_open(fdit_context *ctx, const char *folder, int64_t first_step,
                                    struct fdit_tfevents **out);
/* The file's path; owned by the writer. */
const char *fdit_tfevents_path(const struct fdit_tfevents *w);

/* n values at one step, in one event. Values that are not finite are written as they are. Readers
 * see an event when the call returns. */
enum fdit_status fdit_tfevents_scalars(fdit_context *ctx, struct fdit_tfevents *w, int64_t step, size_t n,
                                       const char *const *tags, const float *values);
/* A PNG file of `bytes` bytes. */
enum fdit_status fdit_tfevents_image(fdit_context *ctx, struct fdit_tfevents *w, int64_t step,
                                     const char *tag, int width, int height, int channels, const uint8_t *png,
                                     size_t bytes);
/* Closes and frees, also after a failure. NULL is allowed. */
enum fdit_status fdit_tfevents_close(fdit_context *ctx, struct fdit_tfevents *w);

/* CRC-32C (Castagnoli), and the form that TFRecords keep. */
uint32_t fdit_crc32c(const void *bytes, size_t n);
uint32_t fdit_crc32c_mask(uint32_t crc);

#endif
