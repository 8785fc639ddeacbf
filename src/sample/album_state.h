/* SPDX-License-Identifier: Apache-2.0
 * album_state.h: what album.c (writing) and album_look.c (what is there, the former job) share. */
#ifndef FDIT_SAMPLE_ALBUM_STATE_H
#define FDIT_SAMPLE_ALBUM_STATE_H

#include "core/folder_lock.h"
#include "format/tar.h"
#include "sample/album.h"

struct fdit_album {
    const char *dir;
    const struct fdit_request *request;
    const struct fdit_taxonomy *taxonomy;
    bool pictures, tar;
    int size;
    bool overwrite;
    bool replace; /* what is in the folder is of another job */
    bool older;   /* run.json is of a program that wrote no texts into pictures */
    struct fdit_folder_lock lock;
    struct fdit_file_lock claim; /* of the shard that is being made; not held: none */
    const struct fdit_caption *caption;
    char **names; /* [n_classes] encoded names in the order of the request */
    bool *have;   /* [n] */
    size_t kept;
    size_t made; /* place of the class whose folder was made last, + 1 */
    struct fdit_tar_writer *archive;
    size_t archive_at;  /* its number */
    bool archive_whole; /* ends behind a picture */
};

/* album.c; results are freed with fdit_free */
enum fdit_status fdit_album_member(fdit_context *ctx, const struct fdit_album *a, size_t p, const char *end,
                                   char **out);
/* The file of picture p, or of the archive that holds it. */
enum fdit_status fdit_album_path(fdit_context *ctx, const struct fdit_album *a, size_t p, char **out);
/* ".I-of-N" in file names, "" without shards. */
void fdit_album_shard_text(const struct fdit_album *a, char text[48]);

/* album_sweep.c: removes what the job whose run.json has this under "pictures" made; `tar`: it made
 * archives. Links are neither followed nor removed. */
enum fdit_status fdit_album_sweep(fdit_context *ctx, const char *dir, const char *run, bool tar);
/* A name of one of the folder's own files: manifests, archives. */
bool fdit_album_is_manifest(const char *name);
bool fdit_album_is_archive(const char *name);

#endif
