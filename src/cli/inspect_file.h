/* SPDX-License-Identifier: Apache-2.0
 * inspect_file.h: what `finediffusion inspect` says about autoencoders, and about files that are
 * neither weights nor a data set. */
#ifndef FDIT_CLI_INSPECT_FILE_H
#define FDIT_CLI_INSPECT_FILE_H

#include "cli/cli.h"
#include "format/kind.h"

/* Whether the path is a file of weights with an autoencoder in it, or a folder with one (and no
 * transformer). What cannot be opened is none. */
bool fdit_inspect_is_vae(const char *path);
/* Checks that it is whole, every number finite. */
enum fdit_status fdit_inspect_vae(struct fdit_cli *cli, const char *path, struct fdit_json *out);
/* JSON and text: what they describe. FDIT_ERROR_FORMAT names the kind of a file that nothing here
 * reads. */
enum fdit_status fdit_inspect_other(struct fdit_cli *cli, const char *path, enum fdit_kind kind,
                                    struct fdit_json *out);

#endif
