/* SPDX-License-Identifier: Apache-2.0
 * inspect_data.h: what `finediffusion inspect` says about a data set: all that it finds, also of
 * one that could not be trained on. */
#ifndef FDIT_CLI_INSPECT_DATA_H
#define FDIT_CLI_INSPECT_DATA_H

#include "cli/cli.h"
#include "data/dataset.h"

struct fdit_inspect_data {
    const char *taxonomy, *ranks;           /* --taxonomy, --ranks */
    const struct fdit_picture_rules *rules; /* of decoding */
    bool pictures;                          /* decode all */
    size_t memory;                          /* that this may take; 0: what the process may have */
    bool classes;                           /* put the table of classes into `out` */
    bool quick;                             /* names only: no picture is opened */
    bool list; /* all that was left out, broken or there twice, and not only the first */
};

/* Puts what it finds into out; "problems" (a list of sentences) is there when the set could not be
 * used, and *usable is false then. */
enum fdit_status fdit_inspect_data(struct fdit_cli *cli, const char *path,
                                   const struct fdit_inspect_data *how, struct fdit_json *out, bool *usable);
/* Its lines for people, behind the first. */
void fdit_inspect_data_print(struct fdit_cli *cli, const json_t *out);

#endif
