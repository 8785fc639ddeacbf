/* SPDX-License-Identifier: Apache-2.0
 * sources.h: which picture each record of a cache was made from, so that one whose content changed
 * under the same name is encoded anew.
 *
 *     DIR/sources.fdc   "FDITSRCS", u32 version, u32 0, then 40 bytes a picture: u64 size of the
 * file, i64 its time of change in ns, u64 hash of its content (0: not known), u64 1, u32 CRC-32 of
 * the record it belongs to, u32 0; all little-endian
 *
 * A file of the same size and time is taken as it was; else its content is compared. Pictures in an
 * archive have the size and time of the archive. */
#ifndef FDIT_ENCODE_SOURCES_H
#define FDIT_ENCODE_SOURCES_H

#include "data/dataset.h"
#include "format/cache.h"

struct fdit_sources;

/* Opens or begins the file in the folder of a cache, and looks at each picture that the cache
 * holds: those that changed are marked with fdit_cache_renew. A cache of a program that kept no
 * such file is taken as it is. ds and writer must outlive it. Warns of what changed, with the first
 * name. */
enum fdit_status fdit_sources_open(fdit_context *ctx, const char *dir, const struct fdit_dataset *ds,
                                   struct fdit_cache_writer *writer, struct fdit_sources **out);
/* After fdit_cache_put of picture i. may_fail: pictures may be left out; else one that was encoded and
 * that the system does not give out a second time is an error, since its record would be made again. */
enum fdit_status fdit_sources_put(fdit_context *ctx, struct fdit_sources *s, size_t i, bool may_fail);
enum fdit_status fdit_sources_sync(fdit_context *ctx, struct fdit_sources *s); /* onto the disk */
void fdit_sources_close(struct fdit_sources *s);                               /* NULL is allowed */
size_t fdit_sources_bytes(size_t n);                                           /* memory for n pictures */

#endif
