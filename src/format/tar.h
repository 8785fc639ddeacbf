/* SPDX-License-Identifier: Apache-2.0
 * tar.h: .tar and .tar.gz archives of pictures: ustar, GNU long names, pax (path and size).
 *
 * Only regular files come out. Folders are passed over; links, devices and pipes are passed over and
 * counted. A member whose name is absolute or has a ".." part, a wrong checksum, a sparse member, and a
 * member that is cut off are FDIT_ERROR_FORMAT with the archive's name and the offset. An archive without
 * its end mark (two zero blocks; one is enough) is read when its last member is whole, with a warning.
 * Archives that were joined (cat a.tar b.tar, also compressed) are read one after the other; other bytes
 * behind the end mark are counted in a warning. Of compressed archives the checksums and lengths are
 * compared, at the end at the latest; one that unpacks to 256 MiB and over 100 times its size is
 * refused. "./" and doubled slashes are taken out of names. */
#ifndef FDIT_FORMAT_TAR_H
#define FDIT_FORMAT_TAR_H

#include "core/status.h"

struct fdit_tar_member {
    const char *name;
    uint64_t offset; /* of the content, in the uncompressed archive */
    uint64_t size;
};

/* ---- One member after the other ---- */

struct fdit_tar_stream;

enum fdit_status fdit_tar_stream_open(fdit_context *ctx, const char *path, struct fdit_tar_stream **out);
/* The same for n bytes in memory, which must outlive the stream. */
enum fdit_status fdit_tar_stream_open_memory(fdit_context *ctx, const char *name, const uint8_t *bytes,
                                             size_t n, struct fdit_tar_stream **out);
/* The next regular file; what is left of the one before is passed over. *found is false at the end.
 * member->name lives until the next call. */
enum fdit_status fdit_tar_stream_next(fdit_context *ctx, struct fdit_tar_stream *s,
                                      struct fdit_tar_member *member, bool *found);
/* Up to n bytes of the present member; *got is 0 at its end only. */
enum fdit_status fdit_tar_stream_read(fdit_context *ctx, struct fdit_tar_stream *s, void *out, size_t n,
                                      size_t *got);
bool fdit_tar_stream_packed(const struct fdit_tar_stream *s);    /* by gzip */
size_t fdit_tar_stream_links(const struct fdit_tar_stream *s);   /* passed over so far, hard and symbolic */
size_t fdit_tar_stream_special(const struct fdit_tar_stream *s); /* pipes and devices passed over so far */
void fdit_tar_stream_close(struct fdit_tar_stream *s);           /* NULL is allowed */

/* ---- All members at once, in any order ---- */

struct fdit_tar;

/* .tar: the file is mapped, `limit` does not matter. .tar.gz: the members are unpacked into memory; if
 * their contents need more than `limit` bytes: FDIT_ERROR_MEMORY that names both numbers. */
enum fdit_status fdit_tar_open(fdit_context *ctx, const char *path, size_t limit, struct fdit_tar **out);
enum fdit_status fdit_tar_open_memory(fdit_context *ctx, const char *name, const uint8_t *bytes, size_t n,
                                      size_t limit, struct fdit_tar **out);
void fdit_tar_close(struct fdit_tar *t); /* NULL is allowed */
size_t fdit_tar_count(const struct fdit_tar *t);
/* Member i in the archive's order; a name can occur twice (then the later one counts). */
const struct fdit_tar_member *fdit_tar_at(const struct fdit_tar *t, size_t i);
const uint8_t *fdit_tar_data(const struct fdit_tar *t, size_t i); /* its `size` bytes */
/* The last member of that name: true and its index. */
bool fdit_tar_find(const struct fdit_tar *t, const char *name, size_t *i);
size_t fdit_tar_memory(const struct fdit_tar *t); /* bytes of unpacked contents, 0 if mapped */

/* ---- Writing .tar ---- */

struct fdit_tar_writer;

/* Begins an archive, through fdit_writer_open. Times, owners and modes are constant: the bytes depend
 * on names and contents only. */
enum fdit_status fdit_tar_writer_open(fdit_context *ctx, const char *path, bool durable,
                                      struct fdit_tar_writer **out);
/* Appends a file; the name must be what a reader accepts, else FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_tar_writer_add(fdit_context *ctx, struct fdit_tar_writer *w, const char *name,
                                     const void *bytes, size_t n);
/* Ends the archive and puts it in place; always frees *w and sets it to NULL. */
enum fdit_status fdit_tar_writer_commit(fdit_context *ctx, struct fdit_tar_writer **w);
void fdit_tar_writer_abort(struct fdit_tar_writer *w); /* NULL is allowed */

#endif
