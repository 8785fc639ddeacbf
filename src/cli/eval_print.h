/* SPDX-License-Identifier: Apache-2.0
 * eval_print.h: what `eval` found, for people and for programs. */
#ifndef FDIT_CLI_EVAL_PRINT_H
#define FDIT_CLI_EVAL_PRINT_H

#include "cli/cli.h"
#include "eval/evaluate.h"

enum fdit_status fdit_cli_print_eval(struct fdit_cli *cli, const struct fdit_eval_options *o,
                                     const struct fdit_eval_result *r);
enum fdit_status fdit_cli_eval_json(struct fdit_cli *cli, const struct fdit_eval_options *o,
                                    const struct fdit_eval_result *r);

#endif
