/* SPDX-License-Identifier: Apache-2.0
 * album.h: the folder of a job's pictures.
 *
 *     DIR/run.json                       what the pictures were made with, see identity.h
 *     DIR/CLASS/CLASS-SEED.png           names encoded by fdit_path_encode; or, as archives,
 *     DIR/pictures-00000.tar             of up to FDIT_ALBUM_TAR such pictures, each with a .cls
 *                                        (its class id) beside it: WebDataset shards
 *     DIR/manifest.jsonl                 one line a picture in the order of the request:
 *                                        {"index":0,"class":"a","id":0,"seed":7,"file":"a/a-7.png"}
 *
 * With N shards: DIR/manifest.I-of-N.jsonl and DIR/pictures.I-of-N-00000.tar. Any number of shards
 * may fill one folder at the same time; only to overwrite another job, one of them must begin
 * first. Every file appears whole or not at all. */
#ifndef FDIT_SAMPLE_ALBUM_H
#define FDIT_SAMPLE_ALBUM_H

#include "format/picture.h"
#include "sample/identity.h"

enum { FDIT_ALBUM_TAR = 1000 };

struct fdit_album;

/* Names only; nothing is read or written. `dir`, request and taxonomy must outlive the album.
 * `pictures` false: the manifest alone, whose "file" is null (latents). Free with
 * fdit_album_free. */
enum fdit_status fdit_album_new(fdit_context *ctx, const char *dir,
                                const struct fdit_request *request,
                                const struct fdit_taxonomy *taxonomy, bool pictures, bool tar,
                                struct fdit_album **out);
void fdit_album_free(struct fdit_album *a); /* an unfinished archive goes; NULL is allowed */

/* Looks which pictures are there already. With another run.json than `id`, or without one but with
 * pictures of these names: FDIT_ERROR_FORMAT, unless `overwrite`. Writes nothing. */
enum fdit_status fdit_album_check(fdit_context *ctx, struct fdit_album *a,
                                  const struct fdit_identity *id, bool overwrite);
/* Makes the folder and run.json. When the folder's pictures were made with something else (and
 * check was told to overwrite), all pictures, archives and manifests of the former job go first. */
enum fdit_status fdit_album_begin(fdit_context *ctx, struct fdit_album *a,
                                  const struct fdit_identity *id);
bool fdit_album_has(const struct fdit_album *a,
                    size_t p); /* picture p of the shard is there, to be kept */
size_t fdit_album_kept(const struct fdit_album *a); /* how many are */
/* Path of picture p as in the manifest; free with fdit_free. */
enum fdit_status fdit_album_file(fdit_context *ctx, const struct fdit_album *a, size_t p,
                                 char **out);

/* Puts picture p there. Archives want rising p. One that is there already stays as it is. */
enum fdit_status fdit_album_put(fdit_context *ctx, struct fdit_album *a, size_t p,
                                const struct fdit_picture *picture);
/* Reads a kept picture back (RGB). */
enum fdit_status fdit_album_get(fdit_context *ctx, const struct fdit_album *a, size_t p,
                                struct fdit_picture *out);
/* Ends the last archive and writes the manifest. */
enum fdit_status fdit_album_end(fdit_context *ctx, struct fdit_album *a);

#endif
