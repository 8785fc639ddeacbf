/* SPDX-License-Identifier: Apache-2.0
 * datadir.h: where the built-in data lies. */
#ifndef FDIT_CORE_DATADIR_H
#define FDIT_CORE_DATADIR_H

#include "core/status.h"

/* The path of a file of the data folder: in $FINEDIFFUSION_DATA and nowhere else when that is set; else where
 * an installed tree, also a moved one, has it seen from the running program; else in data/ beside it,
 * as in a build folder; else where `make install` put it. FDIT_ERROR_IO when none has it. Free with
 * fdit_free. */
enum fdit_status fdit_data_file(fdit_context *ctx, const char *name, char **out);

#endif
