/* SPDX-License-Identifier: Apache-2.0
 * config.h: options out of RUN/config.json (or a file like it), so that a run goes on without its command
 * line. */
#ifndef FDIT_TRAIN_CONFIG_H
#define FDIT_TRAIN_CONFIG_H

#include "train/options.h"

struct fdit_train_config;

/* Reads the file and checks that every value is of its option's kind and in the range of its type:
 * FDIT_ERROR_FORMAT names what is not. The options of a run ("options", "run"), or an object of options by
 * itself. */
enum fdit_status fdit_train_config_open(fdit_context *ctx, const char *path, struct fdit_train_config **out);
void fdit_train_config_close(struct fdit_train_config *c); /* NULL is allowed */
/* Puts all that the file says into o; texts belong to c. */
void fdit_train_config_apply(const struct fdit_train_config *c, struct fdit_train_options *o);
/* Refuses a file that the run itself cannot have written: one without "options", "data", or where the weights
 * come from. */
enum fdit_status fdit_train_config_check_run(fdit_context *ctx, const struct fdit_train_config *c,
                                             const char *path);
/* Paths of o that _apply gave (other ones are left): each becomes the first of these that is there: what it
 * meant in the folder where the run was begun; the same beside `run`, where it and the run moved together;
 * as it is written. run NULL: only the last. FDIT_ERROR_ARGUMENT names the option to give when none is. */
enum fdit_status fdit_train_config_resolve(fdit_context *ctx, struct fdit_train_config *c, const char *run,
                                           struct fdit_train_options *o);
/* What config.json keeps for that: {"cwd":...,"out":...}, both whole. Free with fdit_free. */
enum fdit_status fdit_train_config_places(fdit_context *ctx, const char *run, char **out);

#endif
