/* SPDX-License-Identifier: Apache-2.0
 * inspect_picture.h: what `finediffusion inspect` says of a picture that `sample` drew, from the text in
 * it. */
#ifndef FDIT_CLI_INSPECT_PICTURE_H
#define FDIT_CLI_INSPECT_PICTURE_H

#include "cli/cli.h"
#include "format/json.h"

/* Whether the file is a whole PNG picture with such a text. */
bool fdit_inspect_is_drawn(const char *path);
/* kind, width, height, and "drawn": class, id, seed, model, hash of the weights, options. */
enum fdit_status fdit_inspect_drawn(struct fdit_cli *cli, const char *path, struct fdit_json *out);
void fdit_inspect_drawn_print(struct fdit_cli *cli, const json_t *drawn);

#endif
