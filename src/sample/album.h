/* SPDX-License-Identifier: Apache-2.0
 * album.h: the folder of a job's pictures.
 *
 *     DIR/run.json                       what the pictures were made with, see identity.h
 *     DIR/CLASS/CLASS-SEED.png           names encoded by fdit_path_encode, texts as in caption.h;
 * or, as DIR/pictures-00000.tar             archives of up to FDIT_ALBUM_TAR of them: WebDataset
 * shards DIR/manifest.jsonl                 one line a picture in the order of the request:
 *                                        {"index":0,"class":"a","id":0,"seed":7,"file":"a/a-7.png"}
 *
 * An archive begins with __taxonomy__, the classes and ranks as fdit_taxonomy_to_json writes them;
 * then for each picture KEY.png, KEY.cls (its class id) and KEY.json (class, id, seed, ranks). KEY
 * is CLASS/CLASS-SEED without a dot, since the key of a WebDataset sample ends at the first one:
 * dots in a class are %2E there.
 *
 * With N shards: DIR/manifest.I-of-N.jsonl and DIR/pictures.I-of-N-00000.tar. The N shards may fill
 * one folder at the same time; nobody else may write there meanwhile. Every file appears whole or
 * not at all, and the manifest only when all that it names is on the disk. */
#ifndef FDIT_SAMPLE_ALBUM_H
#define FDIT_SAMPLE_ALBUM_H

#include "picture/picture.h"
#include "sample/caption.h"

enum { FDIT_ALBUM_TAR = 1000 };

struct fdit_album;

/* Names only; nothing is read or written. Pictures of `size` pixels a side. `dir`, request and taxonomy must
 * outlive the album. `pictures` false: the manifest alone, whose "file" is null (latents). Free with
 * fdit_album_free. */
enum fdit_status fdit_album_new(fdit_context *ctx, const char *dir, const struct fdit_request *request,
                                const struct fdit_taxonomy *taxonomy, bool pictures, bool tar, int size,
                                struct fdit_album **out);
/* Gives the folder back: an unfinished archive goes, and so does a folder that was made for a job which
 * then wrote nothing. NULL is allowed. */
void fdit_album_free(struct fdit_album *a);

/* Takes the folder (it is made when it is not there) and looks which pictures are there already:
 * whole ones, of the right size, that no other job made. FDIT_ERROR_IO when another process writes
 * there (another shard of the same job may). FDIT_ERROR_FORMAT when it holds anything but a sample
 * job's files, and, unless `overwrite`, when they were made with something else than `id`. Writes
 * no file but the lock. */
enum fdit_status fdit_album_check(fdit_context *ctx, struct fdit_album *a, const struct fdit_identity *id,
                                  bool overwrite);
/* Writes run.json. When the folder's pictures were made with something else (and check was told to
 * overwrite), those that the former job's manifests name, or that say so themselves, go first. Pictures
 * carry texts as in `caption`, which must outlive the album. */
enum fdit_status fdit_album_begin(fdit_context *ctx, struct fdit_album *a, const struct fdit_identity *id,
                                  const struct fdit_caption *caption);
/* picture p of the shard is there, to be kept */
bool fdit_album_has(const struct fdit_album *a, size_t p);
size_t fdit_album_kept(const struct fdit_album *a); /* how many are */
/* Path of picture p as in the manifest; free with fdit_free. */
enum fdit_status fdit_album_file(fdit_context *ctx, const struct fdit_album *a, size_t p, char **out);

/* Puts picture p there. Archives want rising p. One that is there already stays as it is. */
enum fdit_status fdit_album_put(fdit_context *ctx, struct fdit_album *a, size_t p,
                                const struct fdit_picture *picture);
/* Before a job stops: ends the archive that is being written behind its last picture and puts it in
 * place, where the next job takes it over. */
enum fdit_status fdit_album_keep(fdit_context *ctx, struct fdit_album *a);
/* Reads a kept picture back (RGB). */
enum fdit_status fdit_album_get(fdit_context *ctx, const struct fdit_album *a, size_t p,
                                struct fdit_picture *out);
/* Ends the last archive, waits until all is on the disk, and writes the manifest. */
enum fdit_status fdit_album_end(fdit_context *ctx, struct fdit_album *a);

#endif
