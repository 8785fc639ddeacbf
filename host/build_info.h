/* SPDX-License-Identifier: Apache-2.0
 * build_info.h: what this build was made with, for --version and reports. */
#ifndef FDIT_HOST_BUILD_INFO_H
#define FDIT_HOST_BUILD_INFO_H

#include "core/status.h"

/* Lines "name  value" that end with a newline each: commit, compiler, devices, instruction sets, libraries,
 * kinds of files. Nothing is opened or started. Free with fdit_free. */
enum fdit_status fdit_build_info(fdit_context *ctx, char **out);

#endif
